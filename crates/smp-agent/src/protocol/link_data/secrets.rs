//! What comes out of a link's key.

use hkdf::Hkdf;
use sha2::Sha512;
use sha3::{Digest, Sha3_256};
use smp_protocol::{BoxKey, ID_SIZE, LinkId};
use zeroize::Zeroizing;

use crate::protocol::{LINK_KEY_SIZE, LinkKey, ShortLink, ShortLinkKind};

const CONTACT_INFO: &[u8] = b"SimpleXContactLink";
const INVITATION_INFO: &[u8] = b"SimpleXInvLink";

/// Length of the key that encrypts a link's data, in bytes.
const ENCRYPTION_KEY_SIZE: usize = 32;

/// What it takes to ask for a link's data and to decrypt it (document, "Link key derivation").
///
/// Wiped when dropped. `Debug` is the type's name alone.
#[derive(Clone)]
pub struct LinkSecrets {
    link_id: LinkId,
    key: BoxKey,
}

impl LinkSecrets {
    /// Those of an invitation, whose id the link holds beside its key.
    #[must_use]
    pub fn invitation(link_id: LinkId, key: &LinkKey) -> Self {
        let mut bytes = Zeroizing::new([0; ENCRYPTION_KEY_SIZE]);
        expand(key, INVITATION_INFO, &mut *bytes);
        Self {
            link_id,
            key: BoxKey::from_bytes(&bytes),
        }
    }

    /// Those of an address.
    #[must_use]
    pub fn contact(key: &LinkKey) -> Self {
        let mut bytes = Zeroizing::new([0; ID_SIZE + ENCRYPTION_KEY_SIZE]);
        expand(key, CONTACT_INFO, &mut *bytes);
        let mut link_id = [0; ID_SIZE];
        let mut encryption_key = Zeroizing::new([0; ENCRYPTION_KEY_SIZE]);
        link_id.copy_from_slice(&bytes[..ID_SIZE]);
        encryption_key.copy_from_slice(&bytes[ID_SIZE..]);
        Self {
            link_id: link_id.into(),
            key: BoxKey::from_bytes(&encryption_key),
        }
    }

    /// Those of a short link.
    #[must_use]
    pub fn of(link: &ShortLink) -> Self {
        match &link.kind {
            ShortLinkKind::Invitation { link_id } => Self::invitation(link_id.clone(), &link.key),
            ShortLinkKind::Contact(_) => Self::contact(&link.key),
        }
    }

    /// Names the link to the server.
    #[must_use]
    pub fn link_id(&self) -> &LinkId {
        &self.link_id
    }

    pub(super) fn key(&self) -> &BoxKey {
        &self.key
    }
}

impl std::fmt::Debug for LinkSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkSecrets")
    }
}

impl LinkKey {
    /// The key of a link with this fixed data, which is without its signature.
    #[must_use]
    pub fn of_fixed_data(data: &[u8]) -> Self {
        let hash = Zeroizing::<[u8; LINK_KEY_SIZE]>::new(Sha3_256::digest(data).into());
        Self::from_bytes(&hash)
    }
}

fn expand(key: &LinkKey, info: &[u8], out: &mut [u8]) {
    // It fails only for more than 255 hashes.
    let result = Hkdf::<Sha512>::new(None, key.as_bytes()).expand(info, out);
    debug_assert!(result.is_ok());
}
