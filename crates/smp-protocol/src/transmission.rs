//! Transmissions: one command or answer with what ties it to its session, queue and author.

use thiserror::Error;

use crate::auth::Authorization;
use crate::encoding::{DecodeError, Reader, put_short_array};
use crate::id::{CorrId, EntityId};
use crate::secret_box::NONCE_SIZE;
use crate::session::SessionParams;

/// A transmission as it was received, borrowed from its block (document, "SMP Transmission and
/// transport block structure").
#[derive(Clone)]
pub struct Transmission<'a> {
    /// Signature or authenticator, or nothing.
    pub authorization: Authorization,
    /// The signature of the service, beside the authorization for the queue.
    pub service_signature: Option<[u8; SIGNATURE_SIZE]>,
    /// Ties an answer to its command. Relays leave it out when they answer nothing.
    pub corr_id: Option<CorrId>,
    /// The queue, link, service or session.
    pub entity: EntityId,
    /// The command or answer.
    pub command: &'a [u8],
    /// What is authorised, as far as it was sent.
    sent: &'a [u8],
}

/// Length of an Ed25519 signature in bytes.
pub const SIGNATURE_SIZE: usize = 64;

/// Why a transmission could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransmissionError {
    /// Its bytes are no transmission; `ERR BLOCK` answers it.
    #[error("the transmission is wrong: {0}")]
    Syntax(#[from] DecodeError),
    /// It belongs to another session (version 6 only); `ERR SESSION` answers it.
    #[error("the transmission belongs to another session")]
    Session {
        /// For the answer.
        corr_id: Option<CorrId>,
        /// For the answer.
        entity: EntityId,
    },
}

impl<'a> Transmission<'a> {
    /// Reads a transmission of a session.
    ///
    /// # Errors
    /// [`TransmissionError`] if it is none, or is of another session.
    pub fn decode(bytes: &'a [u8], params: &SessionParams) -> Result<Self, TransmissionError> {
        let mut reader = Reader::new(bytes);
        let authorization = Authorization::decode(&mut reader)?;
        let service_signature = if params.service_signatures() && !authorization.is_none() {
            reader.maybe("service signature", |reader| {
                let bytes = reader.short("service signature")?;
                bytes
                    .try_into()
                    .map_err(|_| DecodeError::Limit("service signature"))
            })?
        } else {
            None
        };
        let sent = reader.rest();
        let same_session = params.implicit_session_id()
            || reader.short("session id")? == params.session_id.as_bytes();
        let corr_id = decode_corr_id(&mut reader)?;
        let entity = EntityId::decode(&mut reader)?;
        if !same_session {
            return Err(TransmissionError::Session { corr_id, entity });
        }
        let command = reader.take_rest();
        Ok(Self {
            authorization,
            service_signature,
            corr_id,
            entity,
            command,
            sent,
        })
    }

    /// What the authorization is of.
    #[must_use]
    pub fn signed_bytes<'s>(&self, params: &'s SessionParams) -> SignedBytes<'s>
    where
        'a: 's,
    {
        SignedBytes::of_sent(params, self.sent)
    }
}

/// A transmission to be sent, before its authorization: correlation id, entity and command.
///
/// First it is made, then [`signed_bytes`](Self::signed_bytes) are authorised, then it is written.
/// In version 6 the session id is a part of it.
pub struct Unsigned {
    sent: Vec<u8>,
}

impl Unsigned {
    /// Puts one together; `command` appends the command or answer.
    ///
    /// # Errors
    /// What `command` returns.
    pub fn new<E>(
        params: &SessionParams,
        corr_id: Option<&CorrId>,
        entity: &EntityId,
        command: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut sent = Vec::with_capacity(128);
        put_sent(&mut sent, params, corr_id, entity);
        command(&mut sent)?;
        Ok(Self { sent })
    }

    /// What is to be authorised.
    #[must_use]
    pub fn signed_bytes<'a>(&'a self, params: &'a SessionParams) -> SignedBytes<'a> {
        SignedBytes::of_sent(params, &self.sent)
    }

    /// Appends the transmission.
    pub fn encode(
        &self,
        params: &SessionParams,
        authorization: &Authorization,
        service_signature: Option<&[u8; SIGNATURE_SIZE]>,
        out: &mut Vec<u8>,
    ) {
        put_authorization(out, params, authorization, service_signature);
        out.extend_from_slice(&self.sent);
    }
}

/// Appends a transmission without authorization, as relays send all of theirs; `command` appends
/// the command or answer.
///
/// # Errors
/// What `command` returns.
pub fn encode_unauthorized<E>(
    params: &SessionParams,
    corr_id: Option<&CorrId>,
    entity: &EntityId,
    out: &mut Vec<u8>,
    command: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_authorization(out, params, &Authorization::None, None);
    put_sent(out, params, corr_id, entity);
    command(out)
}

/// The bytes that an authorization is of: session id, correlation id, entity and command; in a
/// service's session the queue's authorization has the service's fingerprint in front of them.
#[derive(Clone, Copy)]
pub struct SignedBytes<'a> {
    fingerprint: &'a [u8],
    session_id: Option<&'a [u8]>,
    sent: &'a [u8],
}

impl<'a> SignedBytes<'a> {
    /// The same with the SHA-256 fingerprint of the service's identity certificate in front: what
    /// a queue's key authorises beside a service's signature.
    #[must_use]
    pub fn with_service(self, fingerprint: &'a [u8; 32]) -> Self {
        Self {
            fingerprint,
            ..self
        }
    }

    /// Gives the bytes part by part.
    pub fn for_each(&self, mut take: impl FnMut(&[u8])) {
        take(self.fingerprint);
        if let Some(id) = self.session_id {
            take(&[id.len() as u8]);
            take(id);
        }
        take(self.sent);
    }

    /// The bytes in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.fingerprint.len() + 256 + self.sent.len());
        self.for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    fn of_sent(params: &'a SessionParams, sent: &'a [u8]) -> Self {
        let session_id = params
            .implicit_session_id()
            .then(|| params.session_id.as_bytes());
        Self {
            fingerprint: &[],
            session_id,
            sent,
        }
    }
}

fn put_authorization(
    out: &mut Vec<u8>,
    params: &SessionParams,
    authorization: &Authorization,
    service_signature: Option<&[u8; SIGNATURE_SIZE]>,
) {
    authorization.encode(out);
    if !params.service_signatures() || authorization.is_none() {
        return;
    }
    match service_signature {
        None => out.push(b'0'),
        Some(signature) => {
            out.push(b'1');
            put_short_array(out, signature);
        }
    }
}

fn put_sent(
    out: &mut Vec<u8>,
    params: &SessionParams,
    corr_id: Option<&CorrId>,
    entity: &EntityId,
) {
    if !params.implicit_session_id() {
        params.session_id.encode(out);
    }
    match corr_id {
        None => out.push(0),
        Some(corr_id) => corr_id.encode(out),
    }
    entity.encode(out);
}

fn decode_corr_id(reader: &mut Reader<'_>) -> Result<Option<CorrId>, DecodeError> {
    let bytes = reader.short("correlation id")?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match <[u8; NONCE_SIZE]>::try_from(bytes) {
        Ok(bytes) => Ok(Some(CorrId(bytes))),
        Err(_) => Err(DecodeError::Limit("correlation id")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::AUTHENTICATOR_SIZE;
    use crate::id::SessionId;
    use crate::version::SmpVersion;

    fn params(version: u16) -> SessionParams {
        SessionParams::new(SmpVersion(version), SessionId::new(&[1; 32]).unwrap())
    }

    fn authorizations() -> impl Strategy<Value = Authorization> {
        prop_oneof![
            Just(Authorization::None),
            Just(Authorization::Signature([2; SIGNATURE_SIZE])),
            Just(Authorization::Authenticator([3; AUTHENTICATOR_SIZE])),
        ]
    }

    proptest! {
        #[test]
        fn a_transmission_comes_back_from_its_bytes(
            version in 6..=20u16,
            authorization in authorizations(),
            service: bool,
            corr_id: Option<[u8; 24]>,
            entity in prop::collection::vec(any::<u8>(), 0..=255),
            command: Vec<u8>,
        ) {
            let params = params(version);
            let (corr_id, entity) = (corr_id.map(CorrId), EntityId::new(&entity).unwrap());
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(&command);
                Ok::<(), ()>(())
            };
            let unsigned = Unsigned::new(&params, corr_id.as_ref(), &entity, write).unwrap();
            let signature = service.then_some([4; SIGNATURE_SIZE]);
            let mut bytes = Vec::new();
            unsigned.encode(&params, &authorization, signature.as_ref(), &mut bytes);

            let decoded = Transmission::decode(&bytes, &params).unwrap();
            prop_assert_eq!(decoded.authorization, authorization);
            let has_service = version >= 16 && !authorization.is_none();
            prop_assert_eq!(decoded.service_signature, signature.filter(|_| has_service));
            prop_assert_eq!(decoded.corr_id, corr_id);
            prop_assert_eq!(&decoded.entity, &entity);
            prop_assert_eq!(decoded.command, &command[..]);
            let signed = unsigned.signed_bytes(&params).to_vec();
            prop_assert_eq!(decoded.signed_bytes(&params).to_vec(), &signed[..]);
            prop_assert!(signed.starts_with(&[32, 1, 1]));

            let mut bare = Vec::new();
            encode_unauthorized(&params, corr_id.as_ref(), &entity, &mut bare, write).unwrap();
            if authorization.is_none() {
                prop_assert_eq!(bare, bytes);
            }
        }

        #[test]
        fn no_bytes_make_a_transmission_panic(version in 6..=20u16, bytes: Vec<u8>) {
            let _ = Transmission::decode(&bytes, &params(version));
        }
    }

    #[test]
    fn a_transmission_of_another_session_is_refused_and_can_be_answered() {
        let other = SessionParams {
            session_id: SessionId::new(&[9; 32]).unwrap(),
            ..params(6)
        };
        let mut bytes = Vec::new();
        let (corr_id, entity) = (CorrId([5; 24]), EntityId::new(b"queue").unwrap());
        encode_unauthorized(&other, Some(&corr_id), &entity, &mut bytes, |out| {
            out.extend_from_slice(b"PING");
            Ok::<(), ()>(())
        })
        .unwrap();
        let refused = TransmissionError::Session {
            corr_id: Some(corr_id),
            entity,
        };
        assert_eq!(
            Transmission::decode(&bytes, &params(6)).err(),
            Some(refused)
        );
        assert!(Transmission::decode(&bytes, &other).is_ok());
    }

    #[test]
    fn authorizations_and_correlation_ids_of_other_lengths_are_refused() {
        for bytes in [
            &[114; 115][..],
            &[1, 0],
            &[0, 23],
            &[&[0, 23][..], &[0; 24]].concat(),
        ] {
            let decoded = Transmission::decode(bytes, &params(19));
            assert!(matches!(decoded, Err(TransmissionError::Syntax(_))));
        }
    }
}
