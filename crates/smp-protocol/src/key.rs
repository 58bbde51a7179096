//! Keys: those that authorise commands, and those that agree secrets.
//!
//! On the wire a public key is a short string with the key's SubjectPublicKeyInfo in DER, which
//! has 44 bytes for both curves.

use std::fmt;

use ed25519_dalek::SigningKey;
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::encoding::{DecodeError, Reader, put_short_array};
use crate::id::random;

/// Length of a raw key, public or private, in bytes.
pub const KEY_SIZE: usize = 32;

/// Length of a public key in DER, in bytes.
pub const SPKI_SIZE: usize = 44;

const ED25519_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const X25519_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00";

/// The two ways to authorise commands (document, "Cryptographic algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthKeyKind {
    /// Signatures.
    Ed25519,
    /// Authenticators that anyone who can check them could have made.
    X25519,
}

/// A public key that commands for one queue are verified with.
///
/// Equality takes the same time for all keys of one kind. `Debug` shows the kind alone.
#[derive(Clone, Copy)]
pub enum AuthPublicKey {
    /// A key for signatures.
    Ed25519([u8; KEY_SIZE]),
    /// A key for authenticators.
    X25519([u8; KEY_SIZE]),
}

impl AuthPublicKey {
    /// Which of the two it is.
    #[must_use]
    pub fn kind(&self) -> AuthKeyKind {
        match self {
            Self::Ed25519(_) => AuthKeyKind::Ed25519,
            Self::X25519(_) => AuthKeyKind::X25519,
        }
    }

    /// The key as DER.
    #[must_use]
    pub fn to_spki(&self) -> [u8; SPKI_SIZE] {
        match self {
            Self::Ed25519(key) => to_spki(&ED25519_PREFIX, key),
            Self::X25519(key) => to_spki(&X25519_PREFIX, key),
        }
    }

    /// Takes a key out of its DER.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not a key of either kind.
    pub fn from_spki(der: &[u8]) -> Result<Self, DecodeError> {
        if let Some(key) = from_spki(&ED25519_PREFIX, der) {
            return Ok(Self::Ed25519(key));
        }
        from_spki(&X25519_PREFIX, der)
            .map(Self::X25519)
            .ok_or(DecodeError::Value("authorization key"))
    }

    /// Reads a short string with the DER.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off, [`DecodeError::Value`] if it is no such key.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_spki(reader.short("authorization key")?)
    }

    /// Appends a short string with the DER.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_short_array(out, &self.to_spki());
    }
}

impl PartialEq for AuthPublicKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ed25519(a), Self::Ed25519(b)) | (Self::X25519(a), Self::X25519(b)) => {
                a.ct_eq(b).into()
            }
            _ => false,
        }
    }
}

impl Eq for AuthPublicKey {}

impl fmt::Debug for AuthPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "AuthPublicKey::Ed25519",
            Self::X25519(_) => "AuthPublicKey::X25519",
        })
    }
}

/// A private key that commands for one queue are authorised with. Wiped when dropped.
#[derive(Clone)]
pub enum AuthPrivateKey {
    /// A key for signatures.
    Ed25519(Box<SigningKey>),
    /// A key for authenticators.
    X25519(DhPrivateKey),
}

impl AuthPrivateKey {
    /// A new random key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng, kind: AuthKeyKind) -> Self {
        let mut bytes = random(rng);
        let key = Self::from_bytes(kind, &bytes);
        bytes.zeroize();
        key
    }

    /// The key of these raw bytes: the seed of an Ed25519 key, or an X25519 key.
    #[must_use]
    pub fn from_bytes(kind: AuthKeyKind, bytes: &[u8; KEY_SIZE]) -> Self {
        match kind {
            AuthKeyKind::Ed25519 => Self::Ed25519(Box::new(SigningKey::from_bytes(bytes))),
            AuthKeyKind::X25519 => Self::X25519(DhPrivateKey::from_bytes(bytes)),
        }
    }

    /// The raw bytes, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        match self {
            Self::Ed25519(key) => key.as_bytes(),
            Self::X25519(key) => key.as_bytes(),
        }
    }

    /// Which of the two it is.
    #[must_use]
    pub fn kind(&self) -> AuthKeyKind {
        match self {
            Self::Ed25519(_) => AuthKeyKind::Ed25519,
            Self::X25519(_) => AuthKeyKind::X25519,
        }
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> AuthPublicKey {
        match self {
            Self::Ed25519(key) => AuthPublicKey::Ed25519(key.verifying_key().to_bytes()),
            Self::X25519(key) => AuthPublicKey::X25519(key.public().0),
        }
    }
}

impl fmt::Debug for AuthPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthPrivateKey")
    }
}

/// A public X25519 key that a secret is agreed with. `Debug` shows no byte of it.
#[derive(Clone, Copy)]
pub struct DhPublicKey(pub [u8; KEY_SIZE]);

impl DhPublicKey {
    /// The key as DER.
    #[must_use]
    pub fn to_spki(&self) -> [u8; SPKI_SIZE] {
        to_spki(&X25519_PREFIX, &self.0)
    }

    /// Takes a key out of its DER.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not an X25519 key.
    pub fn from_spki(der: &[u8]) -> Result<Self, DecodeError> {
        from_spki(&X25519_PREFIX, der)
            .map(Self)
            .ok_or(DecodeError::Value("X25519 key"))
    }

    /// Reads a short string with the DER.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off, [`DecodeError::Value`] if it is no such key.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_spki(reader.short("X25519 key")?)
    }

    /// Appends a short string with the DER.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_short_array(out, &self.to_spki());
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        &self.0
    }
}

impl PartialEq for DhPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for DhPublicKey {}

impl fmt::Debug for DhPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhPublicKey")
    }
}

/// A private X25519 key. Wiped when dropped.
#[derive(Clone)]
pub struct DhPrivateKey(StaticSecret);

impl DhPrivateKey {
    /// A new random key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = random(rng);
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        key
    }

    /// The key of these raw bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_SIZE]) -> Self {
        Self(StaticSecret::from(*bytes))
    }

    /// The raw bytes, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        self.0.as_bytes()
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> DhPublicKey {
        DhPublicKey(PublicKey::from(&self.0).to_bytes())
    }
}

impl fmt::Debug for DhPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhPrivateKey")
    }
}

/// A public key of low order: with it the secret is the same for every private key, so that
/// everyone knows it (RFC 7748, section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the public key has a low order")]
pub struct WeakPublicKey;

/// The raw result of X25519 between two parties. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DhSecret([u8; KEY_SIZE]);

impl DhSecret {
    /// What both parties agree on.
    ///
    /// # Errors
    /// [`WeakPublicKey`] if the other party's key makes the secret known to all.
    pub fn agree(private: &DhPrivateKey, public: &DhPublicKey) -> Result<Self, WeakPublicKey> {
        let secret = private.0.diffie_hellman(&PublicKey::from(public.0));
        if secret.was_contributory() {
            Ok(Self(secret.to_bytes()))
        } else {
            Err(WeakPublicKey)
        }
    }

    /// A secret that was agreed before and stored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_SIZE]) -> Self {
        Self(*bytes)
    }

    /// The raw bytes, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        &self.0
    }
}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret")
    }
}

fn to_spki(prefix: &[u8; 12], key: &[u8; KEY_SIZE]) -> [u8; SPKI_SIZE] {
    let mut der = [0; SPKI_SIZE];
    der[..prefix.len()].copy_from_slice(prefix);
    der[prefix.len()..].copy_from_slice(key);
    der
}

fn from_spki(prefix: &[u8; 12], der: &[u8]) -> Option<[u8; KEY_SIZE]> {
    der.strip_prefix(prefix)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_bytes(raw: [u8; 32], signs: bool) {
            let key = if signs { AuthPublicKey::Ed25519(raw) } else { AuthPublicKey::X25519(raw) };
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), 1 + SPKI_SIZE);
            prop_assert_eq!(AuthPublicKey::decode(&mut Reader::new(&bytes)), Ok(key));
            let dh = DhPublicKey::decode(&mut Reader::new(&bytes));
            prop_assert_eq!(dh.ok(), (!signs).then_some(DhPublicKey(raw)));
        }

        #[test]
        fn no_bytes_make_a_key_panic(bytes: Vec<u8>) {
            let _ = AuthPublicKey::from_spki(&bytes);
            let _ = DhPublicKey::from_spki(&bytes);
        }

        #[test]
        fn both_sides_agree_on_one_secret(a: [u8; 32], b: [u8; 32]) {
            let (a, b) = (DhPrivateKey::from_bytes(&a), DhPrivateKey::from_bytes(&b));
            let one = DhSecret::agree(&a, &b.public()).unwrap();
            let other = DhSecret::agree(&b, &a.public()).unwrap();
            prop_assert_eq!(one.as_bytes(), other.as_bytes());
        }
    }

    #[test]
    fn a_key_of_low_order_is_refused() {
        let private = DhPrivateKey::from_bytes(&[9; 32]);
        for first in [0, 1] {
            let mut weak = [0; 32];
            weak[0] = first;
            assert_eq!(
                DhSecret::agree(&private, &DhPublicKey(weak)).err(),
                Some(WeakPublicKey)
            );
        }
    }

    #[test]
    fn keys_of_two_kinds_are_never_equal() {
        assert_ne!(
            AuthPublicKey::Ed25519([1; 32]),
            AuthPublicKey::X25519([1; 32])
        );
        assert_ne!(
            AuthPublicKey::X25519([2; 32]),
            AuthPublicKey::X25519([1; 32])
        );
        assert_eq!(
            AuthPublicKey::X25519([1; 32]),
            AuthPublicKey::X25519([1; 32])
        );
    }

    #[test]
    fn debug_shows_no_byte_of_a_key() {
        let key = AuthPrivateKey::from_bytes(AuthKeyKind::Ed25519, &[7; 32]);
        assert_eq!(format!("{key:?}"), "AuthPrivateKey");
        assert_eq!(format!("{:?}", key.public()), "AuthPublicKey::Ed25519");
        assert_eq!(format!("{:?}", DhPublicKey([7; 32])), "DhPublicKey");
    }
}
