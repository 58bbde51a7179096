//! Who may write the user part of a link's data.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rand::CryptoRng;
use smp_protocol::encoding::{put_short, put_short_array};
use smp_protocol::{AuthPublicKey, DecodeError, EncodeError, KEY_SIZE, Reader, SIGNATURE_SIZE};
use thiserror::Error;
use zeroize::Zeroizing;

/// Most owners of one link, so that checking who made whom an owner takes no long time.
pub const MAX_OWNERS: usize = 32;

/// Verifies what was signed for a link: the root key or an owner's.
///
/// `Debug` shows no byte of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkVerifyingKey(pub [u8; KEY_SIZE]);

impl LinkVerifyingKey {
    /// Whether `signature` is this key's for `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_SIZE]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok()
    }

    /// Reads a short string with the DER of an Ed25519 key.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or no such key.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match AuthPublicKey::decode(reader)? {
            AuthPublicKey::Ed25519(key) => Ok(Self(key)),
            AuthPublicKey::X25519(_) => Err(DecodeError::Value("key of a link")),
        }
    }

    /// Appends a short string with the DER.
    pub fn encode(&self, out: &mut Vec<u8>) {
        AuthPublicKey::Ed25519(self.0).encode(out);
    }
}

impl fmt::Debug for LinkVerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkVerifyingKey")
    }
}

/// Signs what is shown for a link: the root key or an owner's. Wiped when dropped.
#[derive(Clone)]
pub struct LinkSigningKey(Box<SigningKey>);

impl LinkSigningKey {
    /// A new random key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; KEY_SIZE]);
        rng.fill_bytes(&mut *seed);
        Self::from_bytes(&seed)
    }

    /// The key of this seed.
    #[must_use]
    pub fn from_bytes(seed: &[u8; KEY_SIZE]) -> Self {
        Self(Box::new(SigningKey::from_bytes(seed)))
    }

    /// The seed, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        self.0.as_bytes()
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifying_key(&self) -> LinkVerifyingKey {
        LinkVerifyingKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_SIZE] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for LinkSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSigningKey")
    }
}

/// Says that a key may write the user part as well (document, `ownerAuth`).
///
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerAuth {
    /// Names the owner to the application.
    pub id: Vec<u8>,
    /// The owner's key.
    pub key: LinkVerifyingKey,
    /// Of the root key, or of an owner before this one in the list.
    pub signature: [u8; SIGNATURE_SIZE],
}

impl OwnerAuth {
    /// Makes `key` an owner's.
    #[must_use]
    pub fn new(id: Vec<u8>, key: LinkVerifyingKey, by: &LinkSigningKey) -> Self {
        let signature = by.sign(&signed(&id, &key));
        Self { id, key, signature }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // What newer versions add at the end is ignored.
        let mut inner = Reader::new(reader.short("owner")?);
        Ok(Self {
            id: inner.short("owner id")?.to_vec(),
            key: LinkVerifyingKey::decode(&mut inner)?,
            signature: signature(&mut inner)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut inner = Vec::with_capacity(2 + self.id.len() + KEY_SIZE + SIGNATURE_SIZE);
        put_short(&mut inner, &self.id, "owner id")?;
        self.key.encode(&mut inner);
        put_short_array(&mut inner, &self.signature);
        put_short(out, &inner, "owner")
    }
}

impl fmt::Debug for OwnerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerAuth")
    }
}

/// Why a list of owners is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnersError {
    /// An owner was made one neither by the root key nor by an owner before it.
    #[error("an owner was not made one by the root key or by an owner before it")]
    Signature,
    /// An id or a key stands there twice.
    #[error("an owner stands there twice")]
    Twice,
    /// The root key is an owner's.
    #[error("the root key is an owner's as well")]
    RootKey,
}

/// That each owner was made one by the root key or by an owner before it.
pub(super) fn check_owners(
    root_key: &LinkVerifyingKey,
    owners: &[OwnerAuth],
) -> Result<(), OwnersError> {
    for (index, owner) in owners.iter().enumerate() {
        let before = &owners[..index];
        if owner.key == *root_key {
            return Err(OwnersError::RootKey);
        }
        if before
            .iter()
            .any(|other| other.key == owner.key || other.id == owner.id)
        {
            return Err(OwnersError::Twice);
        }
        let message = signed(&owner.id, &owner.key);
        let is_by = |key: &LinkVerifyingKey| key.verify(&message, &owner.signature);
        if !is_by(root_key) && !before.iter().any(|other| is_by(&other.key)) {
            return Err(OwnersError::Signature);
        }
    }
    Ok(())
}

/// A short string of 64 bytes.
pub(super) fn signature(reader: &mut Reader<'_>) -> Result<[u8; SIGNATURE_SIZE], DecodeError> {
    const WHAT: &str = "signature";
    let bytes = reader.short(WHAT)?;
    bytes.try_into().map_err(|_| DecodeError::Limit(WHAT))
}

/// What makes an owner: the id and the key. The document does not say in which form the key is
/// signed, and no recorded data has an owner; DER is the form that it has everywhere else.
fn signed(id: &[u8], key: &LinkVerifyingKey) -> Vec<u8> {
    [id, &AuthPublicKey::Ed25519(key.0).to_spki()].concat()
}
