//! AES-256-GCM with initialisation vectors of 16 bytes and the tag kept apart.

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key, Nonce, Tag};

use crate::secret::KEY_SIZE;

pub(crate) const IV_SIZE: usize = 16;
pub(crate) const TAG_SIZE: usize = 16;

/// Derived together with the key, which is used for one message alone.
pub(crate) type Iv = [u8; IV_SIZE];

type Cipher = AesGcm<Aes256, U16>;

/// Another key, other associated data or other bytes.
#[derive(Debug)]
pub(crate) struct Forged;

/// Encrypts where the bytes are.
pub(crate) fn seal(
    key: &[u8; KEY_SIZE],
    iv: &Iv,
    associated: &[u8],
    bytes: &mut [u8],
) -> [u8; TAG_SIZE] {
    let sealed = Cipher::new(<&Key<Cipher>>::from(key)).encrypt_inout_detached(
        &Nonce::<U16>::from(*iv),
        associated,
        bytes.into(),
    );
    let Ok(tag) = sealed else {
        unreachable!("no message is as long as 64 GiB");
    };
    tag.into()
}

/// Decrypts where the bytes are.
pub(crate) fn open(
    key: &[u8; KEY_SIZE],
    iv: &Iv,
    associated: &[u8],
    bytes: &mut [u8],
    tag: &[u8; TAG_SIZE],
) -> Result<(), Forged> {
    Cipher::new(<&Key<Cipher>>::from(key))
        .decrypt_inout_detached(
            &Nonce::<U16>::from(*iv),
            associated,
            bytes.into(),
            &Tag::<U16>::from(*tag),
        )
        .map_err(|_| Forged)
}
