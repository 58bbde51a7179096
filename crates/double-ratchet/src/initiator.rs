//! The keys of the peer that makes the link.

use std::fmt;

use sha2::{Digest, Sha256};
use smp_protocol::encoding::{DecodeError, Reader, put_maybe};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::StateError;
use crate::kem::{KEM_SECRET_KEY_SIZE, KemKeyPair};
use crate::keys::KeySource;
use crate::params::{E2eParamsRange, KemParams};
use crate::version::E2eVersion;
use crate::x448::{X448_KEY_SIZE, X448PrivateKey, X448PublicKey};

/// The private keys behind parameters that were sent, kept until the peer answers: two of X448 and,
/// if a KEM was proposed, its pair. Wiped when dropped.
#[derive(Clone)]
pub struct InitiatorKeys {
    pub(crate) key_1: X448PrivateKey,
    pub(crate) key_2: X448PrivateKey,
    pub(crate) kem: Option<KemKeyPair>,
}

impl InitiatorKeys {
    const FORMAT: u8 = 1;

    /// New keys, with a pair for the KEM if one is to be proposed.
    #[must_use]
    pub fn generate(keys: &mut impl KeySource, kem: bool) -> Self {
        Self {
            key_1: keys.x448(),
            key_2: keys.x448(),
            kem: kem.then(|| keys.kem_pair()),
        }
    }

    /// The public keys, for a link in all versions that are spoken here.
    #[must_use]
    pub fn params(&self) -> E2eParamsRange {
        E2eParamsRange {
            min: E2eVersion::OLDEST,
            max: E2eVersion::CURRENT,
            key_1: self.key_1.public(),
            key_2: self.key_2.public(),
            kem: self
                .kem
                .as_ref()
                .map(|pair| KemParams::Proposed(pair.public())),
        }
    }

    /// SHA-256 of both raw public keys. When both peers send keys to make a new ratchet, the one
    /// with the larger hash becomes the joiner.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        params_hash(&self.key_1.public(), &self.key_2.public())
    }

    /// All keys, to be stored where secrets may be.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Never grows, so that no copy is left behind.
        let mut out = Zeroizing::new(Vec::with_capacity(
            2 + 4 * X448_KEY_SIZE + KEM_SECRET_KEY_SIZE,
        ));
        out.push(Self::FORMAT);
        put_key(&mut out, &self.key_1);
        put_key(&mut out, &self.key_2);
        let Ok(()) = put_maybe(&mut out, self.kem.as_ref(), |out, pair| {
            out.extend_from_slice(pair.as_bytes());
            Ok::<(), std::convert::Infallible>(())
        });
        out
    }

    /// The keys that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`StateError::Newer`] if a newer program wrote them, [`StateError::Malformed`] if they are
    /// damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(bytes);
        read_format(&mut reader, Self::FORMAT)?;
        let keys = Self {
            key_1: read_key(&mut reader)?,
            key_2: read_key(&mut reader)?,
            kem: reader.maybe("KEM pair", read_pair)?,
        };
        reader.finish("initiator's keys")?;
        Ok(keys)
    }
}

/// SHA-256 of two raw public keys, as [`InitiatorKeys::hash`] has it for one's own.
#[must_use]
pub fn params_hash(key_1: &X448PublicKey, key_2: &X448PublicKey) -> [u8; 32] {
    Sha256::new()
        .chain_update(key_1.as_bytes())
        .chain_update(key_2.as_bytes())
        .finalize()
        .into()
}

impl fmt::Debug for InitiatorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitiatorKeys")
    }
}

impl ZeroizeOnDrop for InitiatorKeys {}

pub(crate) fn read_format(reader: &mut Reader<'_>, known: u8) -> Result<(), StateError> {
    match reader.u8("format")? {
        format if format == known => Ok(()),
        0 => Err(DecodeError::Value("format").into()),
        format => Err(StateError::Newer(format)),
    }
}

/// A private key and its public one, so that it need not be computed when it is read.
pub(crate) fn put_key(out: &mut Vec<u8>, key: &X448PrivateKey) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(key.public().as_bytes());
}

pub(crate) fn read_key(reader: &mut Reader<'_>) -> Result<X448PrivateKey, DecodeError> {
    let secret = chunk(reader, "X448 key")?;
    let public = X448PublicKey(*chunk(reader, "X448 key")?);
    Ok(X448PrivateKey::restore(secret, public))
}

pub(crate) fn read_pair(reader: &mut Reader<'_>) -> Result<KemKeyPair, DecodeError> {
    chunk(reader, "KEM pair").map(KemKeyPair::from_bytes)
}

/// The next `N` bytes where they are: secrets are not copied on the way.
pub(crate) fn chunk<'a, const N: usize>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<&'a [u8; N], DecodeError> {
    let bytes = reader.bytes(N, what)?;
    bytes.try_into().map_err(|_| DecodeError::Short(what))
}
