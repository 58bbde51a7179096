//! The relay against the document, `simplex-messaging.md`, version 20: a test for each thing that
//! it says of commands, responses and errors and that a client can see. Modules are the document's
//! sections; a test's name begins with the section, or with the command, and says the rule.
//!
//! Where recorded sessions of a real relay show something else than the text, they decide.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod errors;
mod notifier_commands;
mod proxying;
mod recipient_commands;
mod resolver_commands;
mod router_messages;
mod sender_commands;
mod services;
mod short_links;
#[path = "../support/mod.rs"]
mod support;
mod transport;
mod versions;

/// What every module uses.
mod prelude {
    pub(crate) use smp_protocol::*;

    pub(crate) use crate::support::*;

    pub(crate) const OK: Response = Response::Ok;
    pub(crate) const SOK: Response = Response::Sok(None);
    pub(crate) const AUTH: Response = Response::Err(ErrorType::Auth);
    pub(crate) const NO_MSG: Response = Response::Err(ErrorType::NoMsg);
    pub(crate) const QUOTA: Response = Response::Err(ErrorType::Quota);
    pub(crate) const SERVICE: Response = Response::Err(ErrorType::Service);
    pub(crate) const CRYPTO: Response = Response::Err(ErrorType::Crypto);
    pub(crate) const UNKNOWN: Response = command_error(CommandError::Unknown);
    pub(crate) const SYNTAX: Response = command_error(CommandError::Syntax);
    pub(crate) const PROHIBITED: Response = command_error(CommandError::Prohibited);
    pub(crate) const NO_AUTH: Response = command_error(CommandError::NoAuth);
    pub(crate) const HAS_AUTH: Response = command_error(CommandError::HasAuth);
    pub(crate) const NO_ENTITY: Response = command_error(CommandError::NoEntity);

    pub(crate) const MESSAGING: QueueMode = QueueMode::Messaging;
    pub(crate) const CONTACT: QueueMode = QueueMode::Contact;

    const fn command_error(error: CommandError) -> Response {
        Response::Err(ErrorType::Cmd(error))
    }

    /// A key of either kind.
    pub(crate) fn key(client: &mut Client, kind: AuthKeyKind) -> AuthPrivateKey {
        AuthPrivateKey::generate(&mut client.rng, kind)
    }

    /// A public key whose secret nobody has to know.
    pub(crate) fn stranger(client: &mut Client) -> AuthPublicKey {
        key(client, AuthKeyKind::X25519).public()
    }

    /// A public key of agreements.
    pub(crate) fn dh_key(client: &mut Client) -> DhPublicKey {
        DhPrivateKey::generate(&mut client.rng).public()
    }

    /// Sends a message without authorization; it is accepted.
    pub(crate) async fn post(sender: &mut Client, queue: &Queue, body: &[u8]) {
        assert_eq!(sender.run(queue.sender(), None, send(body)).await, OK);
    }
}
