//! The key derivations: HKDF-SHA512 (RFC 5869) with one label for each use.

use hkdf::HkdfExtract;
use sha2::Sha512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::aead::{IV_SIZE, Iv};
use crate::kem::KemSecret;
use crate::secret::{ChainKey, HeaderKey, KEY_SIZE, RootKey, Secret};
use crate::x448::X448Secret;

const AGREEMENT_LABEL: &[u8] = b"SimpleXX3DH";
const ROOT_LABEL: &[u8] = b"SimpleXRootRatchet";
const CHAIN_LABEL: &[u8] = b"SimpleXChainRatchet";
const AGREEMENT_SALT: [u8; 64] = [0; 64];

/// What X3DH ends with, the same for both peers.
pub(crate) struct Agreed {
    pub(crate) header_key: HeaderKey,
    pub(crate) next_header_key: HeaderKey,
    pub(crate) root_key: RootKey,
}

impl Agreed {
    /// X3DH's three agreements in their order, and the KEM's secret if one was accepted.
    pub(crate) fn derive(agreements: &[X448Secret; 3], kem: Option<&KemSecret>) -> Self {
        let [dh_1, dh_2, dh_3] = agreements.each_ref().map(|dh| &dh.as_bytes()[..]);
        let mut keys = Keys::default();
        derive(
            &AGREEMENT_SALT,
            &[dh_1, dh_2, dh_3, optional(kem)],
            AGREEMENT_LABEL,
            &mut keys,
        );
        Self {
            header_key: HeaderKey::from_bytes(&keys[0]),
            next_header_key: HeaderKey::from_bytes(&keys[1]),
            root_key: RootKey::from_bytes(&keys[2]),
        }
    }
}

/// What a step of the root gives (document, `KDF_RK_HE`).
pub(crate) struct RootStep {
    pub(crate) root_key: RootKey,
    pub(crate) chain_key: ChainKey,
    pub(crate) next_header_key: HeaderKey,
}

impl RootKey {
    /// Mixes an agreement, and the KEM's secret if there is one, into the root.
    pub(crate) fn step(&self, dh: &X448Secret, kem: Option<&KemSecret>) -> RootStep {
        let mut keys = Keys::default();
        derive(
            self.as_bytes(),
            &[dh.as_bytes(), optional(kem)],
            ROOT_LABEL,
            &mut keys,
        );
        RootStep {
            root_key: RootKey::from_bytes(&keys[0]),
            chain_key: ChainKey::from_bytes(&keys[1]),
            next_header_key: HeaderKey::from_bytes(&keys[2]),
        }
    }
}

/// What a step of a chain gives (document, `KDF_CK`).
pub(crate) struct ChainStep {
    pub(crate) chain_key: ChainKey,
    pub(crate) message_key: MessageKey,
    pub(crate) header_iv: Iv,
}

/// What one message's body is encrypted with. Wiped when dropped.
pub(crate) struct MessageKey {
    pub(crate) key: Secret<KEY_SIZE>,
    pub(crate) iv: Iv,
}

impl Drop for MessageKey {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

impl ZeroizeOnDrop for MessageKey {}

impl ChainKey {
    /// The keys of the next message.
    pub(crate) fn step(&self) -> ChainStep {
        let mut keys = Keys::default();
        derive(&[], &[self.as_bytes()], CHAIN_LABEL, &mut keys);
        let mut ivs = [[0; IV_SIZE]; 2];
        ivs.as_flattened_mut().copy_from_slice(&keys[2]);
        let [iv, header_iv] = ivs;
        ChainStep {
            chain_key: ChainKey::from_bytes(&keys[0]),
            message_key: MessageKey {
                key: Secret::from_bytes(&keys[1]),
                iv,
            },
            header_iv,
        }
    }
}

type Keys = Zeroizing<[[u8; KEY_SIZE]; 3]>;

fn optional(kem: Option<&KemSecret>) -> &[u8] {
    kem.map_or(&[], |secret| secret.as_bytes())
}

fn derive(salt: &[u8], inputs: &[&[u8]], label: &[u8], keys: &mut Keys) {
    let mut extract = HkdfExtract::<Sha512>::new(Some(salt));
    inputs.iter().for_each(|input| extract.input_ikm(input));
    let (mut extracted, hkdf) = extract.finalize();
    extracted.as_mut_slice().zeroize();
    let Ok(()) = hkdf.expand(label, keys.as_flattened_mut()) else {
        unreachable!("three keys are not more than HKDF gives");
    };
}
