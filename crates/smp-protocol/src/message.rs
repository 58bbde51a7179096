//! What a relay encrypts for a queue's recipient: messages, and the notice of one.

use crate::encoding::{DecodeError, EncodeError, Reader, put_i64};
use crate::flags::MessageFlags;
use crate::id::{ID_SIZE, MessageId};
use crate::secret_box::{BoxKey, Nonce, OpenError, TAG_SIZE};
use crate::version::MAX_MESSAGE;

/// Length in bytes of the body of each `MSG`: room for the longest message of any version.
pub const SEALED_MESSAGE_SIZE: usize = PADDED_MESSAGE + TAG_SIZE;

/// Length in bytes of the encrypted part of each `NMSG`.
pub const SEALED_NOTIFICATION_SIZE: usize = PADDED_NOTIFICATION + TAG_SIZE;

const PADDED_MESSAGE: usize = MAX_MESSAGE + 18;
const PADDED_NOTIFICATION: usize = 128;
const QUOTA: &[u8] = b"QUOTA ";

/// What is in a `MSG` (document, "Deliver queue message").
///
/// `Debug` shows neither body nor time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReceivedMessage<'a> {
    /// A message that a sender sent.
    Message {
        /// When the relay received it, in seconds since 1970.
        timestamp: i64,
        /// What the sender said about it.
        flags: MessageFlags,
        /// The body of `SEND`.
        body: &'a [u8],
    },
    /// The queue was full, and this is the last there was in it: senders may go on.
    Quota {
        /// When the relay refused the first message, in seconds since 1970.
        timestamp: i64,
    },
}

impl<'a> ReceivedMessage<'a> {
    /// Encrypts for the recipient. `key` is agreed from the keys in `NEW` and `IDS`.
    ///
    /// # Errors
    /// [`EncodeError`] if the body is longer than any version allows.
    pub fn seal_for_recipient(&self, key: &BoxKey, id: &MessageId) -> Result<Vec<u8>, EncodeError> {
        let mut head = Vec::with_capacity(16);
        let body = match self {
            Self::Message {
                timestamp,
                flags,
                body,
            } => {
                put_i64(&mut head, *timestamp);
                flags.encode(&mut head);
                head.push(b' ');
                body
            }
            Self::Quota { timestamp } => {
                head.extend_from_slice(QUOTA);
                put_i64(&mut head, *timestamp);
                &[][..]
            }
        };
        key.seal_padded_parts(id.as_bytes(), &[&head, body], PADDED_MESSAGE)
    }

    /// Decrypts the body of a `MSG` where it stands.
    ///
    /// # Errors
    /// [`OpenError`] if it was not encrypted by [`Self::seal_for_recipient`] with this key and id.
    pub fn open(key: &BoxKey, id: &MessageId, sealed: &'a mut [u8]) -> Result<Self, OpenError> {
        let plain = key.open_padded_in_place(id.as_bytes(), sealed)?;
        Self::decode(plain).map_err(OpenError::from)
    }

    fn decode(plain: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(plain);
        // A time that begins with these letters is 185 thousand million years away.
        if reader.take(QUOTA) {
            return Ok(Self::Quota {
                timestamp: reader.i64("timestamp")?,
            });
        }
        let timestamp = reader.i64("timestamp")?;
        let flags = MessageFlags::decode(&mut reader)?;
        reader.space("message")?;
        Ok(Self::Message {
            timestamp,
            flags,
            body: reader.take_rest(),
        })
    }
}

impl std::fmt::Debug for ReceivedMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Message { .. } => "ReceivedMessage::Message",
            Self::Quota { .. } => "ReceivedMessage::Quota",
        })
    }
}

/// What a relay tells of a message through a notifier that cannot read it (document, "Deliver
/// message notification").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationMeta {
    /// The message.
    pub message_id: MessageId,
    /// When the relay received it, in seconds since 1970.
    pub timestamp: i64,
}

impl NotificationMeta {
    /// Encrypts for the recipient. `key` is agreed from the keys in `NKEY` and `NID`, or in `NEW`
    /// and `IDS`; the nonce is random and sent beside it.
    #[must_use]
    pub fn seal(&self, key: &BoxKey, nonce: &Nonce) -> [u8; SEALED_NOTIFICATION_SIZE] {
        const LENGTH: usize = 1 + ID_SIZE + size_of::<i64>();
        let mut plain = [b'#'; PADDED_NOTIFICATION];
        plain[..2].copy_from_slice(&(LENGTH as u16).to_be_bytes());
        plain[2] = ID_SIZE as u8;
        plain[3..3 + ID_SIZE].copy_from_slice(self.message_id.as_bytes());
        plain[3 + ID_SIZE..2 + LENGTH].copy_from_slice(&self.timestamp.to_be_bytes());
        key.seal_array(nonce, &plain)
    }

    /// Decrypts. What newer versions add behind it is skipped.
    ///
    /// # Errors
    /// [`OpenError`] if it was not encrypted by [`Self::seal`] with this key and nonce.
    pub fn open(key: &BoxKey, nonce: &Nonce, sealed: &[u8]) -> Result<Self, OpenError> {
        let plain = key.open_padded(nonce, sealed)?;
        let mut reader = Reader::new(&plain);
        let message_id = MessageId::decode(&mut reader)?;
        Ok(Self {
            message_id,
            timestamp: reader.i64("timestamp")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: MessageId = MessageId([4; ID_SIZE]);

    fn key() -> BoxKey {
        BoxKey::from_bytes(&[3; 32])
    }

    proptest! {
        #[test]
        fn a_message_comes_back_to_its_recipient(
            timestamp in 0..i64::from(u32::MAX),
            notification: bool,
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let flags = MessageFlags { notification };
            let message = ReceivedMessage::Message { timestamp, flags, body: &body };
            let mut sealed = message.seal_for_recipient(&key(), &ID).unwrap();
            prop_assert_eq!(sealed.len(), SEALED_MESSAGE_SIZE);
            prop_assert_eq!(ReceivedMessage::open(&key(), &ID, &mut sealed), Ok(message));
        }

        #[test]
        fn no_decrypted_bytes_make_a_message_panic(plain: Vec<u8>) {
            let _ = ReceivedMessage::decode(&plain);
            let sealed = key().seal_padded(&[1; 24], &plain, plain.len() + 2).unwrap();
            let _ = NotificationMeta::open(&key(), &[1; 24], &sealed);
        }

        #[test]
        fn a_notification_comes_back_to_its_recipient(id: [u8; 24], timestamp: i64) {
            let meta = NotificationMeta { message_id: MessageId(id), timestamp };
            let sealed = meta.seal(&key(), &[7; 24]);
            prop_assert_eq!(NotificationMeta::open(&key(), &[7; 24], &sealed), Ok(meta));
        }
    }

    #[test]
    fn the_longest_body_fits_and_one_byte_more_does_not() {
        let sealed = |length: usize| {
            let (flags, body) = (MessageFlags::default(), vec![0; length]);
            let message = ReceivedMessage::Message {
                timestamp: 0,
                flags,
                body: &body,
            };
            message.seal_for_recipient(&key(), &ID)
        };
        assert!(sealed(MAX_MESSAGE).is_ok());
        // The padding has room for six bytes more, which no version uses.
        assert!(sealed(MAX_MESSAGE + 7).is_err());
    }

    #[test]
    fn the_marker_of_a_full_queue_is_as_long_as_a_message() {
        let quota = ReceivedMessage::Quota { timestamp: 5 };
        let mut sealed = quota.seal_for_recipient(&key(), &ID).unwrap();
        assert_eq!(sealed.len(), SEALED_MESSAGE_SIZE);
        assert_eq!(ReceivedMessage::open(&key(), &ID, &mut sealed), Ok(quota));
    }

    #[test]
    fn another_message_id_does_not_open_a_message() {
        let quota = ReceivedMessage::Quota { timestamp: 5 };
        let mut sealed = quota.seal_for_recipient(&key(), &ID).unwrap();
        let opened = ReceivedMessage::open(&key(), &MessageId([5; 24]), &mut sealed);
        assert_eq!(opened, Err(OpenError::Forged));
    }
}
