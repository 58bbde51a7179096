//! What a sender encrypts for the recipient of its queue, so that no relay reads it: the body of
//! `SEND` (document, "Send message").

use crate::encoding::{DecodeError, EncodeError, Reader, put_maybe, put_u16};
use crate::key::{AuthPublicKey, DhPublicKey};
use crate::secret_box::{BoxKey, Nonce, OpenError, PAD_LENGTH_SIZE, unpad};

/// Length in bytes that a message is padded to before its encryption.
pub const PADDED_ENVELOPE: usize = 16000;

/// The same for an envelope with the sender's key in it, which is as much longer outside.
pub const PADDED_CONFIRMATION: usize = 15904;

/// A sender's envelope: the body of `SEND`, still encrypted.
///
/// `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientEnvelope<'a> {
    /// The version of the protocol between clients.
    pub version: u16,
    /// The sender's key, in the first message: with it and the key in the queue's address both
    /// agree on the secret for all messages of the queue.
    pub sender_key: Option<DhPublicKey>,
    /// The nonce of the box.
    pub nonce: Nonce,
    /// The box.
    pub sealed: &'a [u8],
}

impl<'a> ClientEnvelope<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no envelope.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(Self {
            version: reader.u16("client version")?,
            sender_key: reader.maybe("sender's key", DhPublicKey::decode)?,
            nonce: reader.array("nonce")?,
            sealed: reader.rest(),
        })
    }

    /// Decrypts the message in it. `key` is agreed from the sender's key and that of the queue's
    /// address.
    ///
    /// # Errors
    /// [`OpenError`] if it was not made by [`ClientMessage::seal`] with this key.
    pub fn open(&self, key: &BoxKey) -> Result<OpenedMessage, OpenError> {
        let plain = key.open(&self.nonce, self.sealed)?;
        let inner = unpad(&plain).map_err(|_| OpenError::Padding)?;
        let mut reader = Reader::new(inner);
        let header = PrivateHeader::decode(&mut reader)?;
        let end = PAD_LENGTH_SIZE + inner.len();
        let body = end - reader.rest().len()..end;
        Ok(OpenedMessage {
            header,
            plain,
            body,
        })
    }
}

impl std::fmt::Debug for ClientEnvelope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientEnvelope")
    }
}

/// What a message begins with inside the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateHeader {
    /// Nothing.
    Empty,
    /// The key that the recipient is to secure the queue with, if the sender cannot do it itself.
    Confirmation(AuthPublicKey),
}

impl PrivateHeader {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8("private header")? {
            b'_' => Ok(Self::Empty),
            b'K' => AuthPublicKey::decode(reader).map(Self::Confirmation),
            _ => Err(DecodeError::Value("private header")),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.push(b'_'),
            Self::Confirmation(key) => {
                out.push(b'K');
                key.encode(out);
            }
        }
    }
}

/// A message before its encryption for the recipient.
///
/// `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientMessage<'a> {
    /// What it begins with.
    pub header: PrivateHeader,
    /// What the agents say to each other.
    pub body: &'a [u8],
}

impl ClientMessage<'_> {
    /// The body of `SEND`. `key` is agreed from `sender_key`'s private key and that of the queue's
    /// address; the nonce is random. The length depends on whether there is a `sender_key`, and on
    /// nothing else.
    ///
    /// # Errors
    /// [`EncodeError`] if the message is longer than [`PADDED_ENVELOPE`], or
    /// [`PADDED_CONFIRMATION`] with a `sender_key`, allows.
    pub fn seal(
        &self,
        version: u16,
        sender_key: Option<&DhPublicKey>,
        key: &BoxKey,
        nonce: &Nonce,
    ) -> Result<Vec<u8>, EncodeError> {
        let padded = if sender_key.is_some() {
            PADDED_CONFIRMATION
        } else {
            PADDED_ENVELOPE
        };
        let mut header = Vec::with_capacity(48);
        self.header.encode(&mut header);
        let sealed = key.seal_padded_parts(nonce, &[&header, self.body], padded)?;
        let mut out = Vec::with_capacity(80 + sealed.len());
        put_u16(&mut out, version);
        put_maybe(&mut out, sender_key, |out, key| {
            key.encode(out);
            Ok::<(), EncodeError>(())
        })?;
        out.extend_from_slice(nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }
}

impl std::fmt::Debug for ClientMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientMessage")
    }
}

/// A message after its decryption. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct OpenedMessage {
    header: PrivateHeader,
    plain: Vec<u8>,
    body: std::ops::Range<usize>,
}

impl OpenedMessage {
    /// The message, borrowed.
    #[must_use]
    pub fn message(&self) -> ClientMessage<'_> {
        ClientMessage {
            header: self.header,
            body: &self.plain[self.body.clone()],
        }
    }
}

impl std::fmt::Debug for OpenedMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenedMessage")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    proptest! {
        #[test]
        fn a_message_comes_back_to_its_recipient(
            confirmed: bool,
            first: bool,
            nonce: [u8; 24],
            body in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let key = BoxKey::from_bytes(&KEY);
            let header = if confirmed {
                PrivateHeader::Confirmation(AuthPublicKey::X25519([1; 32]))
            } else {
                PrivateHeader::Empty
            };
            let message = ClientMessage { header, body: &body };
            let sender_key = first.then_some(DhPublicKey([2; 32]));
            let sealed = message.seal(4, sender_key.as_ref(), &key, &nonce).unwrap();
            let envelope = ClientEnvelope::decode(&sealed).unwrap();
            prop_assert_eq!(envelope.version, 4);
            prop_assert_eq!(envelope.sender_key, sender_key);
            let opened = envelope.open(&key).unwrap();
            prop_assert_eq!(opened.message(), message);
        }

        #[test]
        fn no_bytes_make_an_envelope_panic(bytes: Vec<u8>) {
            let key = BoxKey::from_bytes(&KEY);
            let _ = ClientEnvelope::decode(&bytes).map(|envelope| envelope.open(&key).is_ok());
            let sealed = key.seal_padded(&[1; 24], &bytes, bytes.len() + 2).unwrap();
            let (version, sender_key, nonce) = (4, None, [1; 24]);
            let envelope = ClientEnvelope { version, sender_key, nonce, sealed: &sealed };
            let _ = envelope.open(&key);
        }
    }

    #[test]
    fn envelopes_of_one_kind_have_one_length() {
        let key = BoxKey::from_bytes(&KEY);
        let length = |body: &[u8], sender_key: Option<&DhPublicKey>| {
            let message = ClientMessage {
                header: PrivateHeader::Empty,
                body,
            };
            message.seal(4, sender_key, &key, &[1; 24]).unwrap().len()
        };
        let sender_key = DhPublicKey([2; 32]);
        assert_eq!(length(b"", None), length(&[0; 15997], None));
        assert_eq!(
            length(b"", Some(&sender_key)),
            length(&[0; 15901], Some(&sender_key))
        );
        assert!(length(b"", None) <= 16048);
    }
}
