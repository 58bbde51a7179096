//! Which commands need an authorization and an entity id (document, "Command verification").

use super::Command;
use crate::error::CommandError;

/// Whether a command comes with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Always.
    Required,
    /// As it likes, or as the queue wants it.
    Optional,
    /// Never.
    Forbidden,
}

/// What a command comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// A signature or an authenticator.
    pub authorization: Need,
    /// The id of a queue, a link, a service or a proxy's session.
    pub entity: Need,
}

impl Credentials {
    const QUEUE: Self = Self {
        authorization: Need::Required,
        entity: Need::Required,
    };
    const CREATE: Self = Self {
        authorization: Need::Required,
        entity: Need::Forbidden,
    };
    const SEND: Self = Self {
        authorization: Need::Optional,
        entity: Need::Required,
    };
    const ENTITY: Self = Self {
        authorization: Need::Forbidden,
        entity: Need::Required,
    };
    const NOTHING: Self = Self {
        authorization: Need::Forbidden,
        entity: Need::Forbidden,
    };

    /// Whether a command came with what it needs and with nothing more.
    ///
    /// # Errors
    /// [`CommandError::NoAuth`] if it needs an authorization and has none, or has none of the
    /// queue ids that go with it, [`CommandError::NoEntity`] if it lacks the entity id alone,
    /// [`CommandError::HasAuth`] if it has what it may not have.
    pub fn check(self, has_authorization: bool, has_entity: bool) -> Result<(), CommandError> {
        let lacks = |need, has: bool| need == Need::Required && !has;
        let exceeds = |need, has: bool| need == Need::Forbidden && has;
        if lacks(self.authorization, has_authorization) {
            return Err(CommandError::NoAuth);
        }
        if exceeds(self.authorization, has_authorization) || exceeds(self.entity, has_entity) {
            return Err(CommandError::HasAuth);
        }
        match lacks(self.entity, has_entity) {
            true if self.authorization == Need::Required => Err(CommandError::NoAuth),
            true => Err(CommandError::NoEntity),
            false => Ok(()),
        }
    }
}

impl Command {
    /// What the command needs, may have and may not have.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        match self {
            Self::New(_) => Credentials::CREATE,
            Self::Sub
            | Self::Subs { .. }
            | Self::Key(_)
            | Self::Rkey(_)
            | Self::Lset { .. }
            | Self::Ldel
            | Self::Nkey { .. }
            | Self::Ndel
            | Self::Get
            | Self::Ack(_)
            | Self::Off
            | Self::Del
            | Self::Que
            | Self::Skey(_)
            | Self::Lkey(_)
            | Self::Nsub
            | Self::Nsubs { .. } => Credentials::QUEUE,
            // Authorised once the queue is secured; the relay compares it with the queue's state.
            Self::Send { .. } => Credentials::SEND,
            Self::Lget | Self::Pfwd { .. } => Credentials::ENTITY,
            Self::Ping | Self::Prxy { .. } | Self::Rfwd(_) | Self::Rslv(_) => Credentials::NOTHING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_too_much_is_told_apart() {
        let cases = [
            (
                Credentials::QUEUE,
                [Err(CommandError::NoAuth), Err(CommandError::NoAuth)],
            ),
            (Credentials::CREATE, [Err(CommandError::NoAuth), Ok(())]),
            (
                Credentials::SEND,
                [Err(CommandError::NoEntity), Err(CommandError::NoEntity)],
            ),
            (
                Credentials::ENTITY,
                [Err(CommandError::NoEntity), Err(CommandError::HasAuth)],
            ),
            (Credentials::NOTHING, [Ok(()), Err(CommandError::HasAuth)]),
        ];
        for (credentials, without_entity) in cases {
            assert_eq!(
                [false, true].map(|auth| credentials.check(auth, false)),
                without_entity
            );
        }
        let cases = [
            (Credentials::QUEUE, [Err(CommandError::NoAuth), Ok(())]),
            (
                Credentials::CREATE,
                [Err(CommandError::NoAuth), Err(CommandError::HasAuth)],
            ),
            (Credentials::SEND, [Ok(()), Ok(())]),
            (Credentials::ENTITY, [Ok(()), Err(CommandError::HasAuth)]),
            (
                Credentials::NOTHING,
                [Err(CommandError::HasAuth), Err(CommandError::HasAuth)],
            ),
        ];
        for (credentials, with_entity) in cases {
            assert_eq!(
                [false, true].map(|auth| credentials.check(auth, true)),
                with_entity
            );
        }
    }
}
