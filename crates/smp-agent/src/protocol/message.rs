//! What stands inside the ratchet's encryption (document, "Messages between SMP agents").

use std::fmt;

use sha2::{Digest, Sha256};
use smp_protocol::encoding::{put_bool, put_i64, put_large, put_list, put_maybe, put_short};
use smp_protocol::{AuthPublicKey, DecodeError, EncodeError, QueueUri, Reader};

use super::{AgentDecodeError, QueueAddress, QueueInfo};

/// Length that a message is padded to before its encryption, in bytes.
pub const PADDED_MESSAGE: usize = 15840;

/// Length that connection information is padded to before its encryption, in bytes.
pub const PADDED_INFO: usize = 14832;

/// The same as [`PADDED_MESSAGE`], where the ratchet's header has room for post-quantum keys.
pub const PADDED_MESSAGE_PQ: usize = 13618;

/// The same as [`PADDED_INFO`], where the ratchet's header has room for post-quantum keys.
pub const PADDED_INFO_PQ: usize = 11106;

/// Most queues in one message or link. Connections have one or two.
pub const MAX_QUEUES: usize = 16;

/// Most receipts in one message: as many as their count can say.
pub const MAX_RECEIPTS: usize = u8::MAX as usize;

/// [`PADDED_MESSAGE_PQ`] or [`PADDED_MESSAGE`].
#[must_use]
pub fn padded_message(pq: bool) -> usize {
    if pq {
        PADDED_MESSAGE_PQ
    } else {
        PADDED_MESSAGE
    }
}

/// [`PADDED_INFO_PQ`] or [`PADDED_INFO`].
#[must_use]
pub fn padded_info(pq: bool) -> usize {
    if pq { PADDED_INFO_PQ } else { PADDED_INFO }
}

/// What the next message holds of this one: the SHA-256 of all of it, as it was encoded.
///
/// Connection information and [`AgentMessage::RatchetInfo`] count as well.
#[must_use]
pub fn message_hash(encoded: &[u8]) -> [u8; 32] {
    Sha256::digest(encoded).into()
}

/// What stands inside the ratchet's encryption (document, `decryptedAgentMessage`).
///
/// `Debug` says the kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentMessage {
    /// In the confirmation of a reply queue: what the application says of itself.
    ConnectionInfo(Vec<u8>),
    /// In the first confirmation.
    ConnectionInfoReply {
        /// Where the answer goes, 1 to [`MAX_QUEUES`].
        queues: Vec<QueueInfo>,
        /// What the application says of itself.
        info: Vec<u8>,
    },
    /// In an exchange of keys for a new ratchet, where it is not encrypted by one: nothing yet.
    RatchetInfo(Vec<u8>),
    /// Everything else.
    Message {
        /// Its number in this direction of the connection.
        id: i64,
        /// The [`message_hash`] of the message before it, at most 255 bytes.
        previous_hash: Vec<u8>,
        /// What it says.
        message: AMessage,
    },
}

impl AgentMessage {
    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// [`AgentDecodeError::UnknownType`] for a kind that this version does not know,
    /// [`AgentDecodeError::Malformed`] for what is no message.
    pub fn decode(bytes: &[u8]) -> Result<Self, AgentDecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.u8("agent message")? {
            b'I' => Self::ConnectionInfo(reader.take_rest().to_vec()),
            b'D' => Self::ConnectionInfoReply {
                queues: queues(&mut reader, "reply queues", QueueInfo::decode)?,
                info: reader.take_rest().to_vec(),
            },
            b'R' => Self::RatchetInfo(reader.take_rest().to_vec()),
            b'M' => Self::Message {
                id: reader.i64("message id")?,
                previous_hash: reader.short("previous hash")?.to_vec(),
                message: AMessage::decode(&mut reader)?,
            },
            _ => return Err(AgentDecodeError::UnknownType),
        })
    }

    /// Appends all of it.
    ///
    /// # Errors
    /// [`EncodeError`] if a list or a string does not fit its field.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::ConnectionInfo(info) => put_tagged(out, b'I', info),
            Self::ConnectionInfoReply { queues, info } => {
                out.push(b'D');
                put_queues(out, queues, "reply queues", |out, queue| queue.encode(out))?;
                out.extend_from_slice(info);
            }
            Self::RatchetInfo(info) => put_tagged(out, b'R', info),
            Self::Message {
                id,
                previous_hash,
                message,
            } => {
                out.push(b'M');
                put_i64(out, *id);
                put_short(out, previous_hash, "previous hash")?;
                message.encode(out)?;
            }
        }
        Ok(())
    }

    /// The same as bytes of their own.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode(&mut out)?;
        Ok(out)
    }
}

impl fmt::Debug for AgentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionInfo(_) => "AgentMessage::ConnectionInfo",
            Self::ConnectionInfoReply { .. } => "AgentMessage::ConnectionInfoReply",
            Self::RatchetInfo(_) => "AgentMessage::RatchetInfo",
            Self::Message { .. } => "AgentMessage::Message",
        })
    }
}

/// What one agent says to the other (document, `aMessage`).
///
/// `Debug` says the kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum AMessage {
    /// HELLO: the sender's queue is secured with the key that it sent to the recipient.
    Hello,
    /// A_MSG: what the application says.
    Message(Vec<u8>),
    /// A_RCVD: messages that the application has, 1 to [`MAX_RECEIPTS`].
    Received(Vec<Receipt>),
    /// EREADY: the new ratchet works. The number is that of the last message decrypted with the
    /// old one.
    Ready(i64),
    /// A_QCONT: this queue, which was full, has room again.
    QueueContinue(QueueAddress),
    /// QADD: queues to send to in future, 1 to [`MAX_QUEUES`].
    AddQueues(Vec<AddedQueue>),
    /// QKEY: the sender's keys for queues that were added, 1 to [`MAX_QUEUES`].
    QueueKeys(Vec<KeyedQueue>),
    /// QUSE: queues that are ready, 1 to [`MAX_QUEUES`].
    UseQueues(Vec<UsedQueue>),
    /// QTEST: the first message in these queues, 1 to [`MAX_QUEUES`].
    TestQueues(Vec<QueueAddress>),
}

impl AMessage {
    /// Reads all that is left.
    ///
    /// # Errors
    /// [`AgentDecodeError::UnknownType`] for a kind that this version does not know,
    /// [`AgentDecodeError::Malformed`] for what is no message.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, AgentDecodeError> {
        const WHAT: &str = "message";
        let message = match reader.u8(WHAT)? {
            b'H' => Self::Hello,
            b'M' => Self::Message(reader.take_rest().to_vec()),
            b'V' => Self::Received(reader.list("receipts", Receipt::decode)?),
            b'E' => Self::Ready(reader.i64("last message id")?),
            b'Q' => match reader.u8(WHAT)? {
                b'C' => Self::QueueContinue(QueueAddress::decode(reader)?),
                b'A' => Self::AddQueues(queues(reader, "added queues", AddedQueue::decode)?),
                b'K' => Self::QueueKeys(queues(reader, "keys of queues", KeyedQueue::decode)?),
                b'U' => Self::UseQueues(queues(reader, "ready queues", UsedQueue::decode)?),
                b'T' => Self::TestQueues(queues(reader, "tested queues", QueueAddress::decode)?),
                _ => return Err(AgentDecodeError::UnknownType),
            },
            _ => return Err(AgentDecodeError::UnknownType),
        };
        reader.finish(WHAT)?;
        Ok(message)
    }

    /// Appends all of it.
    ///
    /// # Errors
    /// [`EncodeError`] if a list or a string does not fit its field.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Hello => out.push(b'H'),
            Self::Message(body) => put_tagged(out, b'M', body),
            Self::Received(receipts) => {
                out.push(b'V');
                put_list(out, receipts, "receipts", |out, receipt| {
                    receipt.encode(out)
                })?;
            }
            Self::Ready(id) => {
                out.push(b'E');
                put_i64(out, *id);
            }
            Self::QueueContinue(address) => {
                out.extend_from_slice(b"QC");
                address.encode(out);
            }
            Self::AddQueues(queues) => {
                out.extend_from_slice(b"QA");
                put_queues(out, queues, "added queues", |out, queue| queue.encode(out))?;
            }
            Self::QueueKeys(queues) => {
                out.extend_from_slice(b"QK");
                put_queues(out, queues, "keys of queues", |out, queue| {
                    queue.encode(out)
                })?;
            }
            Self::UseQueues(queues) => {
                out.extend_from_slice(b"QU");
                put_queues(out, queues, "ready queues", |out, queue| {
                    queue.encode(out);
                    Ok(())
                })?;
            }
            Self::TestQueues(queues) => {
                out.extend_from_slice(b"QT");
                put_queues(out, queues, "tested queues", |out, queue| {
                    queue.encode(out);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for AMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "AMessage::Hello",
            Self::Message(_) => "AMessage::Message",
            Self::Received(_) => "AMessage::Received",
            Self::Ready(_) => "AMessage::Ready",
            Self::QueueContinue(_) => "AMessage::QueueContinue",
            Self::AddQueues(_) => "AMessage::AddQueues",
            Self::QueueKeys(_) => "AMessage::QueueKeys",
            Self::UseQueues(_) => "AMessage::UseQueues",
            Self::TestQueues(_) => "AMessage::TestQueues",
        })
    }
}

/// Says that the application has a message. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message's number, which its sender gave it.
    pub id: i64,
    /// Its [`message_hash`], at most 255 bytes.
    pub hash: Vec<u8>,
    /// What the application adds, at most 65,535 bytes.
    pub info: Vec<u8>,
}

impl Receipt {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: reader.i64("message id")?,
            hash: reader.short("message hash")?.to_vec(),
            info: reader.large("receipt")?.to_vec(),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_i64(out, self.id);
        put_short(out, &self.hash, "message hash")?;
        put_large(out, &self.info, "receipt")
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// A queue that the sender of QADD receives in from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedQueue {
    /// The queue.
    pub queue: QueueUri,
    /// The queue that it takes the place of.
    pub replaces: Option<QueueAddress>,
}

impl AddedQueue {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            queue: QueueUri::decode(reader)?,
            replaces: reader.maybe("replaced queue", QueueAddress::decode)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.queue.encode(out);
        put_maybe(out, self.replaces.as_ref(), |out, address| {
            address.encode(out);
            Ok(())
        })
    }
}

/// A queue that was added, with the sender's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedQueue {
    /// The queue, with the sender's key for the secret.
    pub queue: QueueInfo,
    /// The sender's key for the relay.
    pub key: AuthPublicKey,
}

impl KeyedQueue {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            queue: QueueInfo::decode(reader)?,
            key: AuthPublicKey::decode(reader)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.queue.encode(out)?;
        self.key.encode(out);
        Ok(())
    }
}

/// A queue that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedQueue {
    /// The queue.
    pub address: QueueAddress,
    /// Whether it is the one to use first.
    pub primary: bool,
}

impl UsedQueue {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            address: QueueAddress::decode(reader)?,
            primary: reader.bool("primary queue")?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.address.encode(out);
        put_bool(out, self.primary);
    }
}

/// A list of 1 to [`MAX_QUEUES`].
pub(super) fn queues<T>(
    reader: &mut Reader<'_>,
    what: &'static str,
    item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    match reader.peek() {
        Some(count) if usize::from(count) > MAX_QUEUES => Err(DecodeError::Limit(what)),
        _ => reader.list(what, item),
    }
}

/// Appends a list of 1 to [`MAX_QUEUES`].
pub(super) fn put_queues<T>(
    out: &mut Vec<u8>,
    items: &[T],
    what: &'static str,
    put: impl FnMut(&mut Vec<u8>, &T) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    if items.len() > MAX_QUEUES {
        return Err(EncodeError(what));
    }
    put_list(out, items, what, put)
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, rest: &[u8]) {
    out.push(tag);
    out.extend_from_slice(rest);
}
