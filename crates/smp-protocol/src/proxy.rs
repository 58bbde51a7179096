//! The layers around a command that goes to a relay through a proxy (document, "Proxying sender
//! commands").
//!
//! ```text
//! client ── PFWD: box for the relay ──▶ proxy ── RFWD: the same in a box of the two ──▶ relay
//! client ◀── PRES: box for the client ── proxy ◀── RRES: the same in a box of the two ── relay
//! ```
//!
//! An answer's box has the key of its command's box and the nonce backwards. (The document says
//! "increased by 1"; relays do it backwards.)

use crate::block::transmissions;
use crate::encoding::{DecodeError, EncodeError, Reader};
use crate::id::CorrId;
use crate::key::{DhPrivateKey, DhPublicKey, DhSecret, WeakPublicKey};
use crate::secret_box::{BoxKey, Nonce, OpenError, TAG_SIZE};
use crate::version::SmpVersion;

/// Length in bytes of what `PFWD` and `PRES` carry.
pub const FORWARDED_SIZE: usize = PADDED_FORWARDED + TAG_SIZE;

/// Longest transmission that fits into `PFWD` and `PRES`, in bytes.
pub const MAX_FORWARDED_TRANSMISSION: usize = PADDED_FORWARDED - PREFIX - 2;

const PADDED_FORWARDED: usize = 16226;

/// In front of the one transmission of a block: the count and the length.
const PREFIX: usize = 3;

/// What a client and a relay share for one command through a proxy, so that the proxy reads
/// neither the command nor its answer.
pub struct ForwardSecret {
    key: BoxKey,
    corr_id: CorrId,
}

impl ForwardSecret {
    /// The secret of the command that `corr_id` names, in `PFWD` and inside.
    ///
    /// A client takes a new private key for each command and the relay's session key from `PKEY`;
    /// the relay takes its own and the one in the command.
    ///
    /// # Errors
    /// [`WeakPublicKey`] if the other's key makes the secret known to all.
    pub fn agree(
        private: &DhPrivateKey,
        public: &DhPublicKey,
        corr_id: &CorrId,
    ) -> Result<Self, WeakPublicKey> {
        let key = DhSecret::agree(private, public)?.into();
        Ok(Self {
            key,
            corr_id: *corr_id,
        })
    }

    /// The body of `PFWD`: one transmission to the relay, with its authorization for the session
    /// of proxy and relay.
    ///
    /// # Errors
    /// [`EncodeError`] if it is longer than [`MAX_FORWARDED_TRANSMISSION`].
    pub fn seal_command(&self, transmission: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.seal(self.corr_id.as_bytes(), transmission)
    }

    /// The transmission that a client put into a forwarded command.
    ///
    /// # Errors
    /// [`OpenError`] if it was not made by [`Self::seal_command`] with this secret.
    pub fn open_command<'a>(&self, body: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        self.open(self.corr_id.as_bytes(), body)
    }

    /// The relay's answer to the command, as it gets into `PRES`.
    ///
    /// # Errors
    /// [`EncodeError`] if it is longer than [`MAX_FORWARDED_TRANSMISSION`].
    pub fn seal_response(&self, transmission: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.seal(&response_nonce(&self.corr_id), transmission)
    }

    /// The transmission with the relay's answer, out of `PRES`.
    ///
    /// # Errors
    /// [`OpenError`] if it was not made by [`Self::seal_response`] with this secret.
    pub fn open_response<'a>(&self, body: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        self.open(&response_nonce(&self.corr_id), body)
    }

    fn seal(&self, nonce: &Nonce, transmission: &[u8]) -> Result<Vec<u8>, EncodeError> {
        let too_long = EncodeError("forwarded transmission");
        let length = u16::try_from(transmission.len())
            .map_err(|_| too_long)?
            .to_be_bytes();
        let parts = [&[1, length[0], length[1]], transmission];
        self.key
            .seal_padded_parts(nonce, &parts, PADDED_FORWARDED)
            .map_err(|_| too_long)
    }

    fn open<'a>(&self, nonce: &Nonce, body: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        let mut all = transmissions(self.key.open_padded_in_place(nonce, body)?)?;
        match (all.next(), all.next()) {
            (Some(transmission), None) => Ok(transmission),
            _ => Err(DecodeError::Limit("forwarded transmissions").into()),
        }
    }
}

/// A client's command on its way from the proxy to the relay: the content of `RFWD` (document,
/// "Forward command to destination router").
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ForwardedTransmission<'a> {
    /// The correlation id of the client's `PFWD`.
    pub corr_id: CorrId,
    /// The version that the client speaks with the relay.
    pub version: SmpVersion,
    /// The client's key for this command.
    pub key: DhPublicKey,
    /// What [`ForwardSecret::seal_command`] made.
    pub body: &'a [u8],
}

impl<'a> ForwardedTransmission<'a> {
    /// The content of `RFWD`. `key` is agreed from both hellos of proxy and relay, and `corr_id`
    /// is that of `RFWD` itself.
    #[must_use]
    pub fn seal(&self, key: &BoxKey, corr_id: &CorrId) -> Vec<u8> {
        let mut head = Vec::with_capacity(72);
        self.corr_id.encode(&mut head);
        self.version.encode(&mut head);
        self.key.encode(&mut head);
        key.seal_parts(corr_id.as_bytes(), &[&head, self.body])
    }

    /// Reads the content of `RFWD`.
    ///
    /// # Errors
    /// [`OpenError`] if it was not made by [`Self::seal`] with this key and id.
    pub fn open(key: &BoxKey, corr_id: &CorrId, sealed: &'a mut [u8]) -> Result<Self, OpenError> {
        let head_size = |plain: &[u8]| -> Result<_, DecodeError> {
            let mut reader = Reader::new(plain);
            let corr_id = CorrId::decode(&mut reader)?;
            let version = SmpVersion::decode(&mut reader)?;
            let key = DhPublicKey::decode(&mut reader)?;
            Ok((corr_id, version, key, plain.len() - reader.rest().len()))
        };
        let plain = key.open_in_place(corr_id.as_bytes(), sealed)?;
        let (corr_id, version, key, head) = head_size(plain)?;
        Ok(Self {
            corr_id,
            version,
            key,
            body: &plain[head..],
        })
    }
}

/// A relay's answer on its way to the proxy: the content of `RRES`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ForwardedResponse<'a> {
    /// The correlation id of the client's `PFWD`.
    pub corr_id: CorrId,
    /// What [`ForwardSecret::seal_response`] made, for `PRES`.
    pub body: &'a [u8],
}

impl<'a> ForwardedResponse<'a> {
    /// The content of `RRES`. `key` is agreed from both hellos of proxy and relay, and `corr_id`
    /// is that of the `RFWD` that this answers.
    #[must_use]
    pub fn seal(&self, key: &BoxKey, corr_id: &CorrId) -> Vec<u8> {
        let mut head = Vec::with_capacity(32);
        self.corr_id.encode(&mut head);
        key.seal_parts(&response_nonce(corr_id), &[&head, self.body])
    }

    /// Reads the content of `RRES`.
    ///
    /// # Errors
    /// [`OpenError`] if it was not made by [`Self::seal`] with this key and id.
    pub fn open(key: &BoxKey, corr_id: &CorrId, sealed: &'a mut [u8]) -> Result<Self, OpenError> {
        let plain = key.open_in_place(&response_nonce(corr_id), sealed)?;
        let mut reader = Reader::new(plain);
        let corr_id = CorrId::decode(&mut reader)?;
        Ok(Self {
            corr_id,
            body: reader.rest(),
        })
    }
}

/// The nonce of the answer to what had this id for a nonce.
fn response_nonce(corr_id: &CorrId) -> Nonce {
    let mut nonce = corr_id.0;
    nonce.reverse();
    nonce
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::MAX_TRANSMISSION;

    const PFWD: CorrId = CorrId([1; 24]);

    /// An id that reads differently backwards.
    fn rfwd() -> CorrId {
        CorrId(std::array::from_fn(|i| i as u8))
    }

    fn secrets() -> [ForwardSecret; 2] {
        let (client, relay) = (
            DhPrivateKey::from_bytes(&[3; 32]),
            DhPrivateKey::from_bytes(&[4; 32]),
        );
        [
            ForwardSecret::agree(&client, &relay.public(), &rfwd()).unwrap(),
            ForwardSecret::agree(&relay, &client.public(), &rfwd()).unwrap(),
        ]
    }

    proptest! {
        #[test]
        fn a_command_and_its_answer_pass_through_all_layers(
            command in prop::collection::vec(any::<u8>(), 0..500),
            answer in prop::collection::vec(any::<u8>(), 0..500),
        ) {
            let [client, relay] = secrets();
            let session = BoxKey::from_bytes(&[5; 32]);
            let body = client.seal_command(&command).unwrap();
            prop_assert_eq!(body.len(), FORWARDED_SIZE);

            let key = DhPublicKey([6; 32]);
            let sent =
                ForwardedTransmission { corr_id: PFWD, version: SmpVersion(18), key, body: &body };
            let mut sealed = sent.seal(&session, &rfwd());
            let received = ForwardedTransmission::open(&session, &rfwd(), &mut sealed).unwrap();
            prop_assert!(received == sent);
            let mut body = received.body.to_vec();
            prop_assert_eq!(relay.open_command(&mut body).unwrap(), &command[..]);

            let body = relay.seal_response(&answer).unwrap();
            let sent = ForwardedResponse { corr_id: PFWD, body: &body };
            let mut sealed = sent.seal(&session, &rfwd());
            let received = ForwardedResponse::open(&session, &rfwd(), &mut sealed).unwrap();
            prop_assert!(received == sent);
            let mut body = received.body.to_vec();
            prop_assert_eq!(client.open_response(&mut body).unwrap(), &answer[..]);
        }

        #[test]
        fn no_decrypted_bytes_make_a_forward_panic(plain: Vec<u8>) {
            let session = BoxKey::from_bytes(&[5; 32]);
            let mut command = session.seal(&rfwd().0, &plain);
            let _ = ForwardedTransmission::open(&session, &rfwd(), &mut command);
            let mut response = session.seal(&response_nonce(&rfwd()), &plain);
            let _ = ForwardedResponse::open(&session, &rfwd(), &mut response);
        }
    }

    #[test]
    fn an_answers_nonce_is_the_commands_backwards() {
        let nonce = response_nonce(&rfwd());
        assert_eq!((nonce[0], nonce[23]), (23, 0));
    }

    #[test]
    fn a_command_is_not_taken_for_an_answer() {
        let [client, relay] = secrets();
        let mut command = client.seal_command(b"command").unwrap();
        assert_eq!(client.open_response(&mut command), Err(OpenError::Forged));
        assert!(relay.open_command(&mut command).is_ok());
    }

    #[test]
    fn the_longest_transmission_fits_through_the_proxy() {
        let [client, _] = secrets();
        let longest = client
            .seal_command(&[7; MAX_FORWARDED_TRANSMISSION])
            .unwrap();
        assert!(
            client
                .seal_command(&[7; MAX_FORWARDED_TRANSMISSION + 1])
                .is_err()
        );
        let forwarded = ForwardedTransmission {
            corr_id: PFWD,
            version: SmpVersion(18),
            key: DhPublicKey([6; 32]),
            body: &longest,
        };
        let sealed = forwarded.seal(&BoxKey::from_bytes(&[5; 32]), &rfwd());
        // No authorization, the id, no entity, the tag of the command and a space.
        let around = 1 + 25 + 1 + 5;
        assert!(around + sealed.len() <= MAX_TRANSMISSION);
    }

    #[test]
    fn two_transmissions_in_one_command_are_refused() {
        let [client, relay] = secrets();
        let two = [2, 0, 1, 7, 0, 1, 8];
        let mut body = client
            .key
            .seal_padded(&rfwd().0, &two, PADDED_FORWARDED)
            .unwrap();
        assert!(matches!(
            relay.open_command(&mut body),
            Err(OpenError::Content(_))
        ));
    }
}
