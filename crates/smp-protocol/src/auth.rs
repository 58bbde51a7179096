//! Who may do what: signatures and deniable authenticators (document, "Cryptographic algorithms"
//! and "Deniable client authentication scheme").

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::encoding::{DecodeError, Reader, put_short_array};
use crate::id::CorrId;
use crate::key::{
    AuthPrivateKey, AuthPublicKey, DhPrivateKey, DhPublicKey, DhSecret, KEY_SIZE, WeakPublicKey,
};
use crate::secret_box::{BoxKey, TAG_SIZE};
use crate::transmission::{SIGNATURE_SIZE, SignedBytes};

/// Length of an authenticator in bytes: a box with a SHA-512 in it.
pub const AUTHENTICATOR_SIZE: usize = TAG_SIZE + HASH_SIZE;

const HASH_SIZE: usize = 64;

/// What a transmission begins with. The kinds are told apart by their length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// Nothing.
    None,
    /// An Ed25519 signature.
    Signature([u8; SIGNATURE_SIZE]),
    /// A box that the relay could have made as well, so that nobody else is convinced by it.
    Authenticator([u8; AUTHENTICATOR_SIZE]),
}

impl Authorization {
    /// Reads a short string.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] if it has the length of no kind, [`DecodeError::Short`] if it is cut
    /// off. Both are answered by `ERR BLOCK`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.short("authorization")?;
        if bytes.is_empty() {
            Ok(Self::None)
        } else if let Ok(signature) = bytes.try_into() {
            Ok(Self::Signature(signature))
        } else if let Ok(authenticator) = bytes.try_into() {
            Ok(Self::Authenticator(authenticator))
        } else {
            Err(DecodeError::Limit("authorization"))
        }
    }

    /// Whether there is no authorization.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Appends a short string.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(0),
            Self::Signature(bytes) => put_short_array(out, bytes),
            Self::Authenticator(bytes) => put_short_array(out, bytes),
        }
    }

    /// A signature.
    #[must_use]
    pub fn sign(key: &SigningKey, signed: &SignedBytes<'_>) -> Self {
        Self::Signature(key.sign(&signed.to_vec()).to_bytes())
    }

    /// An authenticator with a key that was agreed before: a client that sends many commands with
    /// one key in one session makes it once.
    #[must_use]
    pub fn authenticate(key: &BoxKey, corr_id: &CorrId, signed: &SignedBytes<'_>) -> Self {
        let mut hash = Sha512::new();
        signed.for_each(|part| hash.update(part));
        let hash: [u8; HASH_SIZE] = hash.finalize().into();
        Self::Authenticator(key.seal_array(&corr_id.0, &hash))
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "Authorization::None",
            Self::Signature(_) => "Authorization::Signature",
            Self::Authenticator(_) => "Authorization::Authenticator",
        })
    }
}

/// Why a command cannot be authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorizeError {
    /// An authenticator needs the relay's session key, which there is from version 7 on.
    #[error("the relay gave no session key, which this queue's key needs")]
    NoSessionKey,
    /// The relay's session key is of low order.
    #[error(transparent)]
    WeakSessionKey(#[from] WeakPublicKey),
}

/// Authorises a command with the key of its queue.
///
/// # Errors
/// [`AuthorizeError`] if the key is for authenticators and the relay's session key is missing or
/// weak.
pub fn authorize(
    key: &AuthPrivateKey,
    session_key: Option<&DhPublicKey>,
    corr_id: &CorrId,
    signed: &SignedBytes<'_>,
) -> Result<Authorization, AuthorizeError> {
    match key {
        AuthPrivateKey::Ed25519(key) => Ok(Authorization::sign(key, signed)),
        AuthPrivateKey::X25519(key) => {
            let session_key = session_key.ok_or(AuthorizeError::NoSessionKey)?;
            let key = BoxKey::from(DhSecret::agree(key, session_key)?);
            Ok(Authorization::authenticate(&key, corr_id, signed))
        }
    }
}

/// What the relay checks an authenticator with.
///
/// The agreement costs more than everything else, so that its result is worth keeping for a queue
/// in a session; but keep it only once an authorization with it was right. Else the time that a
/// second wrong one takes would tell that the queue exists.
#[derive(Clone, Copy)]
pub enum SessionKey<'a> {
    /// There is none: the session has version 6.
    None,
    /// The key of the relay's hello.
    Private(&'a DhPrivateKey),
    /// What was agreed from that key and the queue's.
    Agreed(&'a BoxKey),
}

impl SessionKey<'_> {
    /// What is agreed with a queue's key, to be kept.
    ///
    /// `None` if one of the two is not for authenticators, or the queue's is weak.
    #[must_use]
    pub fn agree(self, queue_key: &AuthPublicKey) -> Option<BoxKey> {
        match (self, queue_key) {
            (Self::Private(private), AuthPublicKey::X25519(public)) => {
                DhSecret::agree(private, &DhPublicKey(*public))
                    .ok()
                    .map(BoxKey::from)
            }
            (Self::Agreed(key), AuthPublicKey::X25519(_)) => Some(key.clone()),
            _ => None,
        }
    }
}

/// Whether the authorization was made with the private key that belongs to `key`.
///
/// It takes the same time for each wrong authorization of one kind, also if `key` is of the other
/// kind. No authorization at all is never right.
#[must_use]
pub fn verify(
    key: &AuthPublicKey,
    session_key: SessionKey<'_>,
    authorization: &Authorization,
    corr_id: &CorrId,
    signed: &SignedBytes<'_>,
) -> bool {
    match (key, authorization) {
        (AuthPublicKey::Ed25519(key), Authorization::Signature(signature)) => {
            verify_signature(key, signature, signed)
        }
        (AuthPublicKey::X25519(_), Authorization::Authenticator(authenticator)) => {
            let Some(agreed) = session_key.agree(key) else {
                verify_dummy(session_key, authorization, corr_id, signed);
                return false;
            };
            verify_authenticator(&agreed, authenticator, corr_id, signed)
        }
        _ => {
            verify_dummy(session_key, authorization, corr_id, signed);
            false
        }
    }
}

/// Takes the time of [`verify`], for a queue that does not exist, so that an answer's time does
/// not tell which it was (document, "Error responses").
pub fn verify_dummy(
    session_key: SessionKey<'_>,
    authorization: &Authorization,
    corr_id: &CorrId,
    signed: &SignedBytes<'_>,
) {
    match authorization {
        Authorization::None => {}
        Authorization::Signature(signature) => {
            std::hint::black_box(verify_signature(&DUMMY_ED25519, signature, signed));
        }
        Authorization::Authenticator(authenticator) => {
            let agreed = session_key
                .agree(&AuthPublicKey::X25519(DUMMY_X25519))
                .unwrap_or_else(|| BoxKey::from_bytes(&DUMMY_X25519));
            std::hint::black_box(verify_authenticator(
                &agreed,
                authenticator,
                corr_id,
                signed,
            ));
        }
    }
}

/// Whether an Ed25519 signature is right: a queue's, or a service's.
#[must_use]
pub fn verify_signature(
    key: &[u8; KEY_SIZE],
    signature: &[u8; SIGNATURE_SIZE],
    signed: &SignedBytes<'_>,
) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key) else {
        return false;
    };
    key.verify_strict(&signed.to_vec(), &Signature::from_bytes(signature))
        .is_ok()
}

/// The base point, since what is no point would be refused at once.
const DUMMY_ED25519: [u8; KEY_SIZE] = {
    let mut point = [0x66; KEY_SIZE];
    point[0] = 0x58;
    point
};

/// The base point.
const DUMMY_X25519: [u8; KEY_SIZE] = {
    let mut point = [0; KEY_SIZE];
    point[0] = 9;
    point
};

fn verify_authenticator(
    key: &BoxKey,
    authenticator: &[u8; AUTHENTICATOR_SIZE],
    corr_id: &CorrId,
    signed: &SignedBytes<'_>,
) -> bool {
    match Authorization::authenticate(key, corr_id, signed) {
        Authorization::Authenticator(expected) => expected.ct_eq(authenticator).into(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{EntityId, SessionId};
    use crate::key::AuthKeyKind;
    use crate::session::SessionParams;
    use crate::transmission::Unsigned;
    use crate::version::SmpVersion;

    const CORR_ID: CorrId = CorrId([5; 24]);
    const KINDS: [AuthKeyKind; 2] = [AuthKeyKind::Ed25519, AuthKeyKind::X25519];

    fn params() -> SessionParams {
        SessionParams::new(SmpVersion(19), SessionId::new(&[1; 32]).unwrap())
    }

    fn transmission(command: &[u8]) -> Unsigned {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(command);
            Ok::<(), ()>(())
        };
        Unsigned::new(&params(), Some(&CORR_ID), &EntityId::EMPTY, write).unwrap()
    }

    fn server() -> DhPrivateKey {
        DhPrivateKey::from_bytes(&[8; 32])
    }

    fn authorized(key: &AuthPrivateKey, command: &[u8]) -> Authorization {
        let unsigned = transmission(command);
        let signed = unsigned.signed_bytes(&params()).to_vec();
        let params = params();
        assert_eq!(signed, unsigned.signed_bytes(&params).to_vec());
        let session_key = server().public();
        authorize(
            key,
            Some(&session_key),
            &CORR_ID,
            &unsigned.signed_bytes(&params),
        )
        .unwrap()
    }

    fn verified(key: &AuthPublicKey, authorization: &Authorization, command: &[u8]) -> bool {
        let (unsigned, params, server) = (transmission(command), params(), server());
        let signed = unsigned.signed_bytes(&params);
        let private = SessionKey::Private(&server);
        let plain = verify(key, private, authorization, &CORR_ID, &signed);
        if let Some(agreed) = private.agree(key) {
            let cached = SessionKey::Agreed(&agreed);
            assert_eq!(verify(key, cached, authorization, &CORR_ID, &signed), plain);
        }
        plain
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn only_the_right_key_and_command_are_authorised(
            seed: [u8; 32],
            other: [u8; 32],
            command: Vec<u8>,
            place: prop::sample::Index,
            bit in 0..8u8,
        ) {
            for kind in KINDS {
                let key = AuthPrivateKey::from_bytes(kind, &seed);
                let authorization = authorized(&key, &command);
                prop_assert!(verified(&key.public(), &authorization, &command));
                prop_assert!(!verified(&key.public(), &authorization, b"another command"));
                prop_assert!(!verified(&key.public(), &Authorization::None, &command));
                let other = AuthPrivateKey::from_bytes(kind, &other).public();
                prop_assert_eq!(
                    verified(&other, &authorization, &command),
                    other == key.public(),
                );

                let mut bytes = Vec::new();
                authorization.encode(&mut bytes);
                let place = 1 + place.index(bytes.len() - 1);
                bytes[place] ^= 1 << bit;
                let changed = Authorization::decode(&mut Reader::new(&bytes)).unwrap();
                prop_assert!(!verified(&key.public(), &changed, &command));
            }
        }

        #[test]
        fn no_bytes_make_an_authorization_panic(bytes: Vec<u8>) {
            if let Ok(authorization) = Authorization::decode(&mut Reader::new(&bytes)) {
                let mut again = Vec::new();
                authorization.encode(&mut again);
                prop_assert!(bytes.starts_with(&again));
            }
        }
    }

    #[test]
    fn a_key_of_the_other_kind_is_never_right() {
        let [signing, agreeing] = KINDS.map(|kind| AuthPrivateKey::from_bytes(kind, &[4; 32]));
        assert!(!verified(
            &signing.public(),
            &authorized(&agreeing, b"SUB"),
            b"SUB"
        ));
        assert!(!verified(
            &agreeing.public(),
            &authorized(&signing, b"SUB"),
            b"SUB"
        ));
    }

    #[test]
    fn a_weak_queue_key_authorises_nobody() {
        let (server, weak) = (server(), AuthPublicKey::X25519([0; 32]));
        assert!(SessionKey::Private(&server).agree(&weak).is_none());
        let zero = BoxKey::from_bytes(&[0; 32]);
        let (unsigned, params) = (transmission(b"SUB"), params());
        let forged = Authorization::authenticate(&zero, &CORR_ID, &unsigned.signed_bytes(&params));
        assert!(!verified(&weak, &forged, b"SUB"));
    }

    #[test]
    fn an_authenticator_needs_a_session_key() {
        let key = AuthPrivateKey::from_bytes(AuthKeyKind::X25519, &[4; 32]);
        let (unsigned, params) = (transmission(b"SUB"), params());
        let signed = unsigned.signed_bytes(&params);
        assert_eq!(
            authorize(&key, None, &CORR_ID, &signed),
            Err(AuthorizeError::NoSessionKey),
        );
        let made = authorized(&key, b"SUB");
        assert!(!verify(
            &key.public(),
            SessionKey::None,
            &made,
            &CORR_ID,
            &signed
        ));
    }

    #[test]
    fn the_service_is_part_of_what_a_queue_key_signs() {
        let (unsigned, params) = (transmission(b"SUB"), params());
        let signed = unsigned.signed_bytes(&params);
        let with_service = signed.with_service(&[7; 32]).to_vec();
        assert_eq!(with_service, [&[7; 32][..], &signed.to_vec()].concat());
    }

    #[test]
    fn the_dummy_keys_are_points_of_full_order() {
        let key = VerifyingKey::from_bytes(&DUMMY_ED25519).unwrap();
        assert!(!key.is_weak());
        let server = server();
        assert!(
            SessionKey::Private(&server)
                .agree(&AuthPublicKey::X25519(DUMMY_X25519))
                .is_some()
        );
    }
}
