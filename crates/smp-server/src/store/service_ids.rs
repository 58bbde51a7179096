//! Ids of services.

use rand::Rng;
use sha2::{Digest, Sha256};
use smp_protocol::{Fingerprint, ID_SIZE, ServiceRole};
use zeroize::Zeroizing;

use super::QueueId;

/// Bytes of a relay's salt.
pub(crate) const SALT_SIZE: usize = 32;

/// Makes a service's id of its certificate and role: the begin of the SHA-256 of salt, role and
/// fingerprint.
///
/// The salt is the relay's own and secret, so that a service has another id at each relay, and
/// nobody but the two knows it.
pub(crate) struct ServiceIds {
    salt: Zeroizing<[u8; SALT_SIZE]>,
}

impl ServiceIds {
    /// With a new salt.
    pub(crate) fn random() -> Self {
        let mut salt = [0; SALT_SIZE];
        crate::relay::random().fill_bytes(&mut salt);
        Self::new(salt)
    }

    /// With a salt that was kept.
    pub(crate) fn new(salt: [u8; SALT_SIZE]) -> Self {
        Self { salt: salt.into() }
    }

    /// What is to be kept.
    pub(crate) fn salt(&self) -> &[u8; SALT_SIZE] {
        &self.salt
    }

    /// The id of a service.
    pub(crate) fn id(&self, fingerprint: &Fingerprint, role: ServiceRole) -> QueueId {
        let role = match role {
            ServiceRole::Messaging => 0_u8,
            ServiceRole::Notifier => 1,
            ServiceRole::Proxy => 2,
        };
        let digest = Sha256::new()
            .chain_update(*self.salt)
            .chain_update([role])
            .chain_update(fingerprint.as_bytes())
            .finalize();
        let mut id = [0; ID_SIZE];
        id.copy_from_slice(&digest[..ID_SIZE]);
        QueueId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_salt_role_and_certificate() {
        let (one, other) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let ids = ServiceIds::new([3; SALT_SIZE]);
        let id = ids.id(&one, ServiceRole::Messaging);
        assert!(id == ServiceIds::new(*ids.salt()).id(&one, ServiceRole::Messaging));
        assert!(id != ids.id(&other, ServiceRole::Messaging));
        assert!(id != ids.id(&one, ServiceRole::Notifier));
        assert!(id != ids.id(&one, ServiceRole::Proxy));
        assert!(id != ServiceIds::random().id(&one, ServiceRole::Messaging));
    }
}
