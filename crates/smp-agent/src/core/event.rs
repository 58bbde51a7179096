//! What the application is told. Events are kept until it has taken them.

use std::fmt;

use smp_protocol::encoding::{DecodeError, Reader, put_i64, put_u32};
use zeroize::Zeroizing;

use crate::model::{ConnectionId, EventId, RequestId, Timestamp};

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// Takes it out of the store: see [`Core::take_event`](super::Core::take_event).
    pub id: EventId,
    /// The connection that it is about.
    pub connection: ConnectionId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What happened in a connection.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// What the peer says of itself, once, before [`Event::Connected`].
    PeerInfo(Zeroizing<Vec<u8>>),
    /// Both sides can send.
    Connected,
    /// A message of the peer. Each comes once, and in the order in which they were sent.
    Message {
        /// Its number.
        id: i64,
        /// When the peer's message reached the relay, by the relay's clock.
        sent_at: Timestamp,
        /// What the numbers and hashes say about messages before it.
        integrity: Integrity,
        /// SHA-256 of it, by which its receipt names it.
        hash: [u8; 32],
        /// What the peer's application sent.
        body: Zeroizing<Vec<u8>>,
    },
    /// Messages of the peer are lost, this many; whatever comes next was sent after them.
    Missing(u32),
    /// The peer's device has a message of this side.
    Received {
        /// The number of this side's message.
        id: i64,
        /// Whether the peer received it as it was sent: it knows its hash.
        matches: bool,
    },
    /// Someone wrote to this contact address and wants to connect.
    Requested {
        /// Names the request, to accept or to reject it.
        request: RequestId,
        /// What the peer says of itself.
        info: Zeroizing<Vec<u8>>,
    },
    /// The connection came to nothing.
    Failed(FailReason),
    /// A message of this side will not reach the peer.
    NotDelivered {
        /// Its number.
        id: i64,
        /// Why.
        reason: UndeliveredReason,
    },
    /// Messages cannot be opened any more: the ratchets are out of step. New keys are needed:
    /// [`Core::resynchronise`](super::Core::resynchronise).
    OutOfStep,
    /// The ratchets fit together again, under new keys.
    InStep,
    /// This side receives through a new queue.
    QueueChanged,
    /// A receive queue is gone at its relay: deleted, expired or taken over.
    QueueLost,
}

/// What a message's number and hash say about the messages before it (document, "agentMsgHeader").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// It follows on the one before it, or on those of which [`Event::Missing`] told.
    Ok,
    /// It came after messages that were sent later were told already.
    Late,
    /// By its number it follows on the one before it, by its hash it does not.
    Changed,
}

/// Why a connection came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailReason {
    /// The invitation was used already, or its queue is gone.
    LinkGone,
    /// The data behind a short link are not those that the link was made for.
    LinkForged,
    /// The peer speaks no common version of the protocol.
    Version,
    /// The peer refused this side's confirmation: its queue is gone.
    PeerGone,
    /// The relay refuses to create queues.
    RelayRefused,
    /// The short link names its relay by host alone, and no such relay is configured.
    UnknownRelay,
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LinkGone => "the link was used already, or it was deleted",
            Self::LinkForged => {
                "what the relay keeps behind this link is not what the link was made for"
            }
            Self::Version => {
                "the peer's program speaks no version of the protocol that this one knows"
            }
            Self::PeerGone => "the peer deleted the connection",
            Self::RelayRefused => "the relay refuses to create queues; it may need a password",
            Self::UnknownRelay => {
                "the link does not say how to recognise its relay; add that relay first"
            }
        })
    }
}

/// Why a message will not reach the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UndeliveredReason {
    /// The peer's queue is gone: the peer deleted the connection.
    PeerGone,
    /// It could not be handed to the peer's relay for too long.
    Expired,
    /// The relay refused it for another reason.
    Refused,
}

impl fmt::Display for UndeliveredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerGone => "the peer deleted the connection",
            Self::Expired => "the peer's relay could not be reached for too long",
            Self::Refused => "the peer's relay refused it",
        })
    }
}

impl fmt::Debug for Event {
    /// Prints what it is, and nothing that was said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerInfo(_) => f.write_str("PeerInfo"),
            Self::Connected => f.write_str("Connected"),
            Self::Message { id, integrity, .. } => {
                write!(f, "Message({id}, {integrity:?})")
            }
            Self::Missing(count) => write!(f, "Missing({count})"),
            Self::Received { id, matches } => write!(f, "Received({id}, {matches})"),
            Self::Requested { request, .. } => write!(f, "Requested({})", request.0),
            Self::Failed(reason) => write!(f, "Failed({reason:?})"),
            Self::NotDelivered { id, reason } => write!(f, "NotDelivered({id}, {reason:?})"),
            Self::OutOfStep => f.write_str("OutOfStep"),
            Self::InStep => f.write_str("InStep"),
            Self::QueueChanged => f.write_str("QueueChanged"),
            Self::QueueLost => f.write_str("QueueLost"),
        }
    }
}

impl Event {
    /// The bytes that the store keeps.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::new());
        match self {
            Self::PeerInfo(info) => {
                out.reserve_exact(1 + info.len());
                out.push(b'I');
                out.extend_from_slice(info);
            }
            Self::Connected => out.push(b'C'),
            Self::Message {
                id,
                sent_at,
                integrity,
                hash,
                body,
            } => {
                out.reserve_exact(64 + body.len());
                out.push(b'M');
                put_i64(&mut out, *id);
                put_i64(&mut out, sent_at.0);
                out.push(*integrity as u8);
                out.extend_from_slice(hash);
                out.extend_from_slice(body);
            }
            Self::Missing(count) => {
                out.push(b'G');
                put_u32(&mut out, *count);
            }
            Self::Received { id, matches } => {
                out.push(b'V');
                put_i64(&mut out, *id);
                out.push(u8::from(*matches));
            }
            Self::Requested { request, info } => {
                out.reserve_exact(16 + info.len());
                out.push(b'R');
                put_i64(&mut out, request.0);
                out.extend_from_slice(info);
            }
            Self::Failed(reason) => out.extend([b'F', *reason as u8]),
            Self::NotDelivered { id, reason } => {
                out.push(b'N');
                put_i64(&mut out, *id);
                out.push(*reason as u8);
            }
            Self::OutOfStep => out.push(b'O'),
            Self::InStep => out.push(b'S'),
            Self::QueueChanged => out.push(b'Q'),
            Self::QueueLost => out.push(b'L'),
        }
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "stored event";
        let mut reader = Reader::new(bytes);
        let rest = |reader: &mut Reader<'_>| Zeroizing::new(reader.take_rest().to_vec());
        let event = match reader.u8(WHAT)? {
            b'I' => Self::PeerInfo(rest(&mut reader)),
            b'C' => Self::Connected,
            b'M' => Self::Message {
                id: reader.i64(WHAT)?,
                sent_at: Timestamp(reader.i64(WHAT)?),
                integrity: integrity(reader.u8(WHAT)?)?,
                hash: reader.array(WHAT)?,
                body: rest(&mut reader),
            },
            b'G' => Self::Missing(reader.u32(WHAT)?),
            b'V' => Self::Received {
                id: reader.i64(WHAT)?,
                matches: reader.u8(WHAT)? == 1,
            },
            b'R' => Self::Requested {
                request: RequestId(reader.i64(WHAT)?),
                info: rest(&mut reader),
            },
            b'F' => Self::Failed(fail_reason(reader.u8(WHAT)?)?),
            b'N' => Self::NotDelivered {
                id: reader.i64(WHAT)?,
                reason: undelivered_reason(reader.u8(WHAT)?)?,
            },
            b'O' => Self::OutOfStep,
            b'S' => Self::InStep,
            b'Q' => Self::QueueChanged,
            b'L' => Self::QueueLost,
            _ => return Err(DecodeError::Value(WHAT)),
        };
        reader.finish(WHAT)?;
        Ok(event)
    }
}

fn integrity(code: u8) -> Result<Integrity, DecodeError> {
    [Integrity::Ok, Integrity::Late, Integrity::Changed]
        .into_iter()
        .find(|integrity| *integrity as u8 == code)
        .ok_or(DecodeError::Value("integrity"))
}

fn fail_reason(code: u8) -> Result<FailReason, DecodeError> {
    use FailReason::{LinkForged, LinkGone, PeerGone, RelayRefused, UnknownRelay, Version};
    [
        LinkGone,
        LinkForged,
        Version,
        PeerGone,
        RelayRefused,
        UnknownRelay,
    ]
    .into_iter()
    .find(|reason| *reason as u8 == code)
    .ok_or(DecodeError::Value("reason"))
}

fn undelivered_reason(code: u8) -> Result<UndeliveredReason, DecodeError> {
    use UndeliveredReason::{Expired, PeerGone, Refused};
    [PeerGone, Expired, Refused]
        .into_iter()
        .find(|reason| *reason as u8 == code)
        .ok_or(DecodeError::Value("reason"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events() -> Vec<Event> {
        let bytes = || Zeroizing::new(b"what was said".to_vec());
        let mut events = vec![
            Event::PeerInfo(bytes()),
            Event::Connected,
            Event::Missing(3),
            Event::Received {
                id: 7,
                matches: true,
            },
            Event::Requested {
                request: RequestId(3),
                info: bytes(),
            },
            Event::OutOfStep,
            Event::InStep,
            Event::QueueChanged,
            Event::QueueLost,
        ];
        events.extend((0..6).map(|code| Event::Failed(fail_reason(code).unwrap())));
        events.extend((0..3).map(|code| Event::NotDelivered {
            id: 9,
            reason: undelivered_reason(code).unwrap(),
        }));
        let integrities = [Integrity::Ok, Integrity::Late, Integrity::Changed];
        events.extend(integrities.map(|integrity| Event::Message {
            id: 5,
            sent_at: Timestamp(1_700_000_000_000),
            integrity,
            hash: [6; 32],
            body: bytes(),
        }));
        events
    }

    #[test]
    fn every_event_comes_back_from_the_store() {
        for event in events() {
            assert_eq!(Event::decode(&event.encode()).unwrap(), event);
        }
    }

    #[test]
    fn debug_shows_nothing_that_was_said() {
        for event in events() {
            assert!(!format!("{event:?}").contains("said"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Event::decode(&bytes);
        }
    }
}
