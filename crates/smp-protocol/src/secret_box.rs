//! The one symmetric encryption of SMP: NaCl's box after the key agreement.
//!
//! XSalsa20-Poly1305, the tag before the ciphertext. The key goes through HSalsa20 first, whether
//! it was agreed or is a plain symmetric one.

use dryoc::classic::crypto_box::{
    crypto_box_detached_afternm, crypto_box_detached_afternm_inplace,
    crypto_box_open_detached_afternm_inplace,
};
use dryoc::classic::crypto_core::crypto_core_hsalsa20;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::encoding::{DecodeError, EncodeError, MAX_LARGE};
use crate::key::{DhSecret, KEY_SIZE};

/// Length of a nonce in bytes.
pub const NONCE_SIZE: usize = 24;

/// Length in bytes of the tag in front of a ciphertext.
pub const TAG_SIZE: usize = 16;

/// Length in bytes of the length in front of padded bytes.
pub const PAD_LENGTH_SIZE: usize = 2;

/// What a nonce is. The same one is never used twice with one key.
pub type Nonce = [u8; NONCE_SIZE];

const PAD: u8 = b'#';

/// A key that seals and opens boxes. Wiped when dropped.
///
/// Making one costs an HSalsa20; keep it where a key is used more than once.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BoxKey([u8; KEY_SIZE]);

impl BoxKey {
    /// The key of a symmetric secret that is not the result of an agreement.
    #[must_use]
    pub fn from_bytes(secret: &[u8; KEY_SIZE]) -> Self {
        let mut key = [0; KEY_SIZE];
        crypto_core_hsalsa20(&mut key, &[0; 16], secret, None);
        Self(key)
    }

    /// Encrypts `plain`.
    #[must_use]
    pub fn seal(&self, nonce: &Nonce, plain: &[u8]) -> Vec<u8> {
        self.seal_parts(nonce, &[plain])
    }

    /// Encrypts `parts`, one after the other.
    #[must_use]
    pub fn seal_parts(&self, nonce: &Nonce, parts: &[&[u8]]) -> Vec<u8> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(TAG_SIZE + length);
        out.extend_from_slice(&[0; TAG_SIZE]);
        for part in parts {
            out.extend_from_slice(part);
        }
        self.seal_in_place(nonce, &mut out);
        out
    }

    /// Encrypts `plain` padded to `padded` bytes.
    ///
    /// # Errors
    /// [`EncodeError`] if `plain` is too long.
    pub fn seal_padded(
        &self,
        nonce: &Nonce,
        plain: &[u8],
        padded: usize,
    ) -> Result<Vec<u8>, EncodeError> {
        self.seal_padded_parts(nonce, &[plain], padded)
    }

    /// Encrypts `parts`, one after the other, padded together to `padded` bytes.
    ///
    /// # Errors
    /// [`EncodeError`] if they are too long.
    pub fn seal_padded_parts(
        &self,
        nonce: &Nonce,
        parts: &[&[u8]],
        padded: usize,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(TAG_SIZE + padded);
        out.extend_from_slice(&[0; TAG_SIZE]);
        pad_parts(&mut out, parts, padded)?;
        self.seal_in_place(nonce, &mut out);
        Ok(out)
    }

    /// Decrypts what [`Self::seal`] made.
    ///
    /// # Errors
    /// [`OpenError::Forged`] if another key, another nonce or other bytes were used.
    pub fn open(&self, nonce: &Nonce, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (tag, ciphertext) = sealed.split_first_chunk().ok_or(OpenError::Forged)?;
        let mut plain = ciphertext.to_vec();
        self.open_detached(nonce, tag, &mut plain)?;
        Ok(plain)
    }

    /// Decrypts what [`Self::seal_padded`] made and takes the padding off.
    ///
    /// # Errors
    /// [`OpenError::Forged`] as [`Self::open`], [`OpenError::Padding`] if the padding is wrong.
    pub fn open_padded(&self, nonce: &Nonce, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plain = self.open(nonce, sealed)?;
        let length = unpad(&plain).map_err(|_| OpenError::Padding)?.len();
        plain.copy_within(PAD_LENGTH_SIZE..PAD_LENGTH_SIZE + length, 0);
        plain.truncate(length);
        Ok(plain)
    }

    /// Encrypts all but the first 16 bytes of `buffer`, and puts the tag there.
    ///
    /// # Panics
    /// If `buffer` has less than 16 bytes, which is a mistake of the caller.
    pub fn seal_in_place(&self, nonce: &Nonce, buffer: &mut [u8]) {
        let Some((tag, plain)) = buffer.split_first_chunk_mut() else {
            panic!("no room for the tag");
        };
        crypto_box_detached_afternm_inplace(plain, tag, nonce, &self.0);
    }

    /// Decrypts `buffer` where it stands, and gives the part that is plaintext now.
    ///
    /// # Errors
    /// [`OpenError::Forged`] if another key, another nonce or other bytes were used. Then `buffer`
    /// is as it was.
    pub fn open_in_place<'a>(
        &self,
        nonce: &Nonce,
        buffer: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let (tag, ciphertext) = buffer.split_first_chunk_mut().ok_or(OpenError::Forged)?;
        self.open_detached(nonce, tag, ciphertext)?;
        Ok(ciphertext)
    }

    /// Decrypts `buffer` where it stands, and gives what is inside the padding.
    ///
    /// # Errors
    /// [`OpenError::Forged`] as [`Self::open_in_place`], [`OpenError::Padding`] if the padding is
    /// wrong.
    pub fn open_padded_in_place<'a>(
        &self,
        nonce: &Nonce,
        buffer: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let plain = self.open_in_place(nonce, buffer)?;
        let length = unpad(plain).map_err(|_| OpenError::Padding)?.len();
        Ok(&mut plain[PAD_LENGTH_SIZE..PAD_LENGTH_SIZE + length])
    }

    /// Encrypts the `N` bytes of `plain` into an array with the tag before them.
    pub(crate) fn seal_array<const N: usize, const SEALED: usize>(
        &self,
        nonce: &Nonce,
        plain: &[u8; N],
    ) -> [u8; SEALED] {
        const { assert!(SEALED == TAG_SIZE + N) };
        let mut out = [0; SEALED];
        let (tag, ciphertext) = out.split_at_mut(TAG_SIZE);
        let mut computed = [0; TAG_SIZE];
        // It fails only for a ciphertext shorter than the plaintext.
        let sealed = crypto_box_detached_afternm(ciphertext, &mut computed, plain, nonce, &self.0);
        debug_assert!(sealed.is_ok());
        tag.copy_from_slice(&computed);
        out
    }

    fn open_detached(
        &self,
        nonce: &Nonce,
        tag: &[u8; TAG_SIZE],
        data: &mut [u8],
    ) -> Result<(), OpenError> {
        crypto_box_open_detached_afternm_inplace(data, tag, nonce, &self.0)
            .map_err(|_| OpenError::Forged)
    }
}

impl From<&DhSecret> for BoxKey {
    fn from(secret: &DhSecret) -> Self {
        Self::from_bytes(secret.as_bytes())
    }
}

impl From<DhSecret> for BoxKey {
    fn from(secret: DhSecret) -> Self {
        Self::from(&secret)
    }
}

impl std::fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxKey")
    }
}

/// Why a box could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The tag is not of these bytes under this key and nonce.
    #[error("the bytes were not encrypted with this key and nonce")]
    Forged,
    /// The length inside is longer than the bytes.
    #[error("the padding is wrong")]
    Padding,
    /// The content is not what belongs into this box.
    #[error("the decrypted content is wrong: {0}")]
    Content(#[from] DecodeError),
}

/// Pads `plain` to `padded` bytes: its length in two bytes, itself, and `#` to the end
/// (document, "SMP Transmission and transport block structure").
///
/// # Errors
/// [`EncodeError`] if it does not fit, or is longer than two bytes can say.
pub fn pad(plain: &[u8], padded: usize) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(padded);
    pad_parts(&mut out, &[plain], padded)?;
    Ok(out)
}

/// What is inside the padding. What the padding consists of does not matter.
///
/// # Errors
/// [`DecodeError::Short`] if there are fewer bytes than the length says.
pub fn unpad(padded: &[u8]) -> Result<&[u8], DecodeError> {
    let short = DecodeError::Short("padded bytes");
    let (length, rest) = padded.split_first_chunk::<PAD_LENGTH_SIZE>().ok_or(short)?;
    rest.get(..u16::from_be_bytes(*length).into()).ok_or(short)
}

fn pad_parts(out: &mut Vec<u8>, parts: &[&[u8]], padded: usize) -> Result<(), EncodeError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let too_long = EncodeError("padded bytes");
    if length > MAX_LARGE || length + PAD_LENGTH_SIZE > padded {
        return Err(too_long);
    }
    let end = out.len() + padded;
    out.extend_from_slice(&(length as u16).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.resize(end, PAD);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crypto_secretbox::aead::{AeadInPlace, KeyInit};
    use crypto_secretbox::{Key, Nonce as OracleNonce, XSalsa20Poly1305};
    use proptest::prelude::*;

    use super::*;

    /// The same box, made by another implementation.
    fn oracle(key: &BoxKey, nonce: &Nonce, plain: &[u8]) -> Vec<u8> {
        let cipher = XSalsa20Poly1305::new(Key::from_slice(&key.0));
        let mut data = plain.to_vec();
        let nonce = OracleNonce::from_slice(nonce);
        let tag = cipher
            .encrypt_in_place_detached(nonce, b"", &mut data)
            .unwrap();
        [tag.as_slice(), &data].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_box_is_the_one_of_another_implementation(
            secret: [u8; 32],
            nonce: [u8; 24],
            length in 0..20_000usize,
            seed: u8,
        ) {
            let key = BoxKey::from_bytes(&secret);
            let plain: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let sealed = key.seal(&nonce, &plain);
            prop_assert_eq!(&sealed, &oracle(&key, &nonce, &plain));
            prop_assert_eq!(key.open(&nonce, &sealed).unwrap(), plain);
        }

        #[test]
        fn a_changed_box_stays_closed(
            nonce: [u8; 24],
            plain in prop::collection::vec(any::<u8>(), 0..200),
            place: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let key = BoxKey::from_bytes(&[5; 32]);
            let mut sealed = key.seal(&nonce, &plain);
            let place = place.index(sealed.len());
            sealed[place] ^= 1 << bit;
            let before = sealed.clone();
            prop_assert_eq!(key.open_in_place(&nonce, &mut sealed).err(), Some(OpenError::Forged));
            prop_assert_eq!(sealed, before);
        }

        #[test]
        fn padding_comes_off_again(
            plain in prop::collection::vec(any::<u8>(), 0..300),
            more in 0..100usize,
        ) {
            let padded = pad(&plain, plain.len() + 2 + more).unwrap();
            prop_assert_eq!(padded.len(), plain.len() + 2 + more);
            prop_assert_eq!(unpad(&padded).unwrap(), &plain[..]);
            prop_assert!(pad(&plain, plain.len() + 1).is_err());
        }

        #[test]
        fn no_bytes_make_unpadding_panic(bytes: Vec<u8>) {
            let _ = unpad(&bytes);
            let _ = BoxKey::from_bytes(&[1; 32]).open_padded(&[0; 24], &bytes);
        }
    }

    #[test]
    fn what_is_padded_inside_a_box_comes_out_bare() {
        let (key, nonce) = (BoxKey::from_bytes(&[8; 32]), [9; 24]);
        let mut sealed = key.seal_padded(&nonce, b"content", 64).unwrap();
        assert_eq!(sealed.len(), 64 + TAG_SIZE);
        assert_eq!(key.open_padded(&nonce, &sealed).unwrap(), b"content");
        assert_eq!(
            key.open_padded_in_place(&nonce, &mut sealed).unwrap(),
            b"content"
        );
    }

    #[test]
    fn a_length_beyond_the_end_is_wrong_padding() {
        let (key, nonce) = (BoxKey::from_bytes(&[8; 32]), [9; 24]);
        let sealed = key.seal(&nonce, &[0, 9, 1, 2]);
        assert_eq!(key.open_padded(&nonce, &sealed), Err(OpenError::Padding));
    }

    /// The example of NaCl's documentation ("crypto_box"): firstkey out of the shared secret.
    #[test]
    fn a_key_is_the_secret_after_hsalsa20() {
        let shared = [
            0x4a, 0x5d, 0x9d, 0x5b, 0xa4, 0xce, 0x2d, 0xe1, 0x72, 0x8e, 0x3b, 0xf4, 0x80, 0x35,
            0x0f, 0x25, 0xe0, 0x7e, 0x21, 0xc9, 0x47, 0xd1, 0x9e, 0x33, 0x76, 0xf0, 0x9b, 0x3c,
            0x1e, 0x16, 0x17, 0x42,
        ];
        let first_key = [
            0x1b, 0x27, 0x55, 0x64, 0x73, 0xe9, 0x85, 0xd4, 0x62, 0xcd, 0x51, 0x19, 0x7a, 0x9a,
            0x46, 0xc7, 0x60, 0x09, 0x54, 0x9e, 0xac, 0x64, 0x74, 0xf2, 0x06, 0xc4, 0xee, 0x08,
            0x44, 0xf6, 0x83, 0x89,
        ];
        assert_eq!(BoxKey::from_bytes(&shared).0, first_key);
    }
}
