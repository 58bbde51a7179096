//! Agreement on the media key of a call: X25519, and HKDF from call version 2 on.

use std::fmt;

use call_signal::{CallDhPublicKey, CallId, CallVersion};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha512;
use subtle::{Choice, ConstantTimeEq};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

/// HKDF `info` of call version 2.
const KEY_INFO: &[u8] = b"SimpleXCallMediaKey";

/// X25519 key pair of one side, made afresh for each call (RFC 7748 §5).
///
/// The private half is wiped on drop and never printed.
pub struct CallKeyPair {
    secret: StaticSecret,
    public: PublicKey,
}

impl CallKeyPair {
    /// Makes a key pair out of 32 bytes of `rng`.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::from_secret(StaticSecret::random_from_rng(rng))
    }

    /// Takes a private key as its 32 raw bytes, clamped on use. The caller wipes its own copy.
    pub fn from_secret_bytes(secret: &[u8; 32]) -> Self {
        Self::from_secret(StaticSecret::from(*secret))
    }

    fn from_secret(secret: StaticSecret) -> Self {
        let public = PublicKey::from(&secret);
        Self { secret, public }
    }

    /// The half to send, as `callDhPubKey`.
    pub fn public_key(&self) -> CallDhPublicKey {
        CallDhPublicKey(self.public.to_bytes())
    }

    /// Derives the media key that both sides share.
    ///
    /// Version 1 takes the X25519 output as it is. Version 2 takes HKDF-SHA512 (RFC 5869) of it
    /// with the 16 bytes of the call id as the salt, so that one pair of keys gives another media
    /// key in another call.
    ///
    /// # Errors
    ///
    /// See [`KeyError`]. After any of them the call must end: there is no key to go on with.
    pub fn agree(
        &self,
        peer: &CallDhPublicKey,
        version: CallVersion,
        call_id: &CallId,
    ) -> Result<MediaKey, KeyError> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer.0));
        if !shared.was_contributory() {
            return Err(KeyError::LowOrderPeerKey);
        }
        if self.is_own(&shared) {
            return Err(KeyError::ReflectedPeerKey);
        }
        match version {
            CallVersion::V1 => Ok(MediaKey::from_bytes(shared.as_bytes())),
            CallVersion::V2 => derive_v2(&shared, call_id),
            other => Err(KeyError::UnsupportedVersion(other)),
        }
    }

    /// Whether `shared` is what our own public key would have given. Comparing results and not
    /// keys also finds our key in a non-canonical form or with a low-order point added.
    fn is_own(&self, shared: &SharedSecret) -> bool {
        let own = self.secret.diffie_hellman(&self.public);
        shared.as_bytes().ct_eq(own.as_bytes()).into()
    }
}

impl fmt::Debug for CallKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallKeyPair(..)")
    }
}

fn derive_v2(shared: &SharedSecret, call_id: &CallId) -> Result<MediaKey, KeyError> {
    let mut key = Zeroizing::new([0; MediaKey::LEN]);
    Hkdf::<Sha512>::new(Some(&call_id.0), shared.as_bytes())
        .expand(KEY_INFO, key.as_mut_slice())
        .map_err(|_| KeyError::Derivation)?;
    Ok(MediaKey(key))
}

/// The 32-byte AES-256 key of a call's frames, the same for both directions.
///
/// Wiped on drop, never printed, compared in constant time.
#[derive(Clone)]
pub struct MediaKey(Zeroizing<[u8; Self::LEN]>);

impl MediaKey {
    /// Bytes in a media key.
    pub const LEN: usize = 32;

    /// Takes a key as raw bytes. The caller wipes its own copy.
    pub fn from_bytes(key: &[u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(*key))
    }

    /// The raw key, for a cipher. Never to be logged, stored or sent.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl ConstantTimeEq for MediaKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

impl PartialEq for MediaKey {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for MediaKey {}

impl fmt::Debug for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MediaKey(..)")
    }
}

/// Why two sides have no media key. All but [`KeyError::Derivation`] are the peer's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The peer misbehaved: its key is a point of low order, so that the result would be zero
    /// whatever our key is (RFC 7748 §6.1).
    #[error("the peer's key is a point of low order, which gives a key that anyone knows")]
    LowOrderPeerKey,
    /// The peer, or someone between, sent our own key back.
    #[error("the peer's key is our own key sent back")]
    ReflectedPeerKey,
    /// The peer is incompatible: it chose a call version with a derivation unknown here.
    #[error("call version {} is not supported", .0.0)]
    UnsupportedVersion(CallVersion),
    /// Ours: the derivation refused its parameters, which are constants. Never seen.
    #[error("the key derivation failed")]
    Derivation,
}
