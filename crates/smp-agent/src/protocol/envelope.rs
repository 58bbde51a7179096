//! What stands inside the encryption of one queue (document, "Communication between SMP agents").

use std::fmt;

use double_ratchet::E2eParams;
use smp_protocol::encoding::{put_large, put_maybe, put_u16};
use smp_protocol::{DecodeError, EncodeError, Reader};
use thiserror::Error;

use super::{AgentVersion, ConnectionRequest, LinkTextError};

/// What an agent sends through a queue: the body of a [`ClientMessage`](smp_protocol::ClientMessage)
/// (document, `decryptedSMPClientMessage`).
///
/// `Debug` says the kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentEnvelope<'a> {
    /// Confirms a queue.
    Confirmation {
        /// The version of what is in it.
        version: AgentVersion,
        /// The sender's keys for the ratchet, in the first confirmation of a connection.
        e2e: Option<E2eParams>,
        /// Connection information, encrypted by the ratchet.
        encrypted: &'a [u8],
    },
    /// Any message of a connection.
    Message {
        /// The version of what is in it.
        version: AgentVersion,
        /// A message, encrypted by the ratchet.
        encrypted: &'a [u8],
    },
    /// Asks the owner of a contact address for a connection. No ratchet encrypts it.
    Invitation {
        /// The version of what is in it.
        version: AgentVersion,
        /// The invitation that the owner may answer. It goes as text.
        request: ConnectionRequest,
        /// What the application says of itself.
        info: &'a [u8],
    },
    /// Keys for a new ratchet. No ratchet encrypts it.
    RatchetKey {
        /// The version of what is in it.
        version: AgentVersion,
        /// The keys.
        params: E2eParams,
        /// An [`AgentMessage::RatchetInfo`](super::AgentMessage::RatchetInfo), which counts as a
        /// message of the connection.
        info: &'a [u8],
    },
}

impl<'a> AgentEnvelope<'a> {
    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// [`AgentDecodeError::UnknownType`] for a kind that this version does not know,
    /// [`AgentDecodeError::Request`] for an invitation that is none, [`AgentDecodeError::Malformed`]
    /// for anything else that is no envelope.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, AgentDecodeError> {
        let mut reader = Reader::new(bytes);
        let version = AgentVersion(reader.u16("agent version")?);
        Ok(match reader.u8("agent envelope")? {
            b'C' => Self::Confirmation {
                version,
                e2e: reader.maybe("ratchet keys", E2eParams::decode)?,
                encrypted: reader.take_rest(),
            },
            b'M' => Self::Message {
                version,
                encrypted: reader.take_rest(),
            },
            b'I' => Self::Invitation {
                version,
                request: request(&mut reader)?,
                info: reader.take_rest(),
            },
            b'R' => Self::RatchetKey {
                version,
                params: E2eParams::decode(&mut reader)?,
                info: reader.take_rest(),
            },
            _ => return Err(AgentDecodeError::UnknownType),
        })
    }

    /// Appends all of it.
    ///
    /// # Errors
    /// [`EncodeError`] if the invitation is longer than 65,535 bytes or has no form.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_u16(out, self.version().0);
        match self {
            Self::Confirmation { e2e, encrypted, .. } => {
                out.push(b'C');
                put_maybe(out, e2e.as_ref(), |out, params| {
                    params.encode(out);
                    Ok::<(), EncodeError>(())
                })?;
                out.extend_from_slice(encrypted);
            }
            Self::Message { encrypted, .. } => {
                out.push(b'M');
                out.extend_from_slice(encrypted);
            }
            Self::Invitation { request, info, .. } => {
                out.push(b'I');
                put_large(out, request.to_string().as_bytes(), "connection request")?;
                out.extend_from_slice(info);
            }
            Self::RatchetKey { params, info, .. } => {
                out.push(b'R');
                params.encode(out);
                out.extend_from_slice(info);
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

    /// The version of what is in it.
    #[must_use]
    pub fn version(&self) -> AgentVersion {
        match self {
            Self::Confirmation { version, .. }
            | Self::Message { version, .. }
            | Self::Invitation { version, .. }
            | Self::RatchetKey { version, .. } => *version,
        }
    }
}

fn request(reader: &mut Reader<'_>) -> Result<ConnectionRequest, AgentDecodeError> {
    const WHAT: &str = "connection request";
    let text = str::from_utf8(reader.large(WHAT)?).map_err(|_| DecodeError::Value(WHAT))?;
    Ok(text.parse::<ConnectionRequest>()?)
}

impl fmt::Debug for AgentEnvelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirmation { .. } => "AgentEnvelope::Confirmation",
            Self::Message { .. } => "AgentEnvelope::Message",
            Self::Invitation { .. } => "AgentEnvelope::Invitation",
            Self::RatchetKey { .. } => "AgentEnvelope::RatchetKey",
        })
    }
}

/// Why bytes of a peer are no envelope or no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AgentDecodeError {
    /// A kind that this version does not know; the peer's program may be newer.
    #[error("the message is of a kind that this version does not know")]
    UnknownType,
    /// The bytes are wrong.
    #[error("the message is wrong: {0}")]
    Malformed(#[from] DecodeError),
    /// The request for a connection in it is wrong.
    #[error("the request for a connection is wrong: {0}")]
    Request(#[from] LinkTextError),
}
