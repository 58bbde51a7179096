//! Why something that was asked of the core was not done.

use smp_protocol::{DecodeError, EncodeError};
use thiserror::Error;

use crate::model::{ConnectionId, RequestId};
use crate::store::StoreError;

/// Why something that was asked of the core was not done. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such connection; it may have been deleted.
    #[error("there is no connection {}", .0.0)]
    NoSuchConnection(ConnectionId),
    /// There is no such request; it may have been answered already.
    #[error("there is no request {}", .0.0)]
    NoSuchRequest(RequestId),
    /// The connection is not made yet, or it failed.
    #[error("the connection is not established")]
    NotConnected,
    /// The ratchets are out of step, and new keys are not agreed yet.
    #[error("the encryption with this contact is out of step; wait until new keys are agreed")]
    OutOfStep,
    /// The message is longer than the padding allows.
    #[error("the message has {length} bytes, at most {limit} can be sent")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Too many messages wait to be sent.
    #[error("too many messages wait to be sent to this contact")]
    TooManyWaiting,
    /// No relay is configured.
    #[error("no message relay is configured; add one, for example smp://FINGERPRINT@HOST")]
    NoRelay,
    /// The link leads to something else than was asked for.
    #[error("the link is not of this kind: {0}")]
    WrongLink(&'static str),
    /// The link's versions have nothing in common with ours.
    #[error("the link needs a version of the protocol that this program does not know")]
    Version,
    /// Something is under way already.
    #[error("{0} is under way already")]
    Busy(&'static str),
    /// A value does not fit its field: a bug.
    #[error("cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// A stored event cannot be read: the store is damaged.
    #[error("a stored event cannot be read: {0}")]
    Event(DecodeError),
    /// The ratchet refused to encrypt: a bug.
    #[error("cannot be encrypted: {0}")]
    Encrypt(#[from] double_ratchet::EncryptError),
    /// The peer's keys are unusable.
    #[error("the keys of the peer are unusable: {0}")]
    Keys(#[from] double_ratchet::AgreementError),
}
