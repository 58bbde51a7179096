//! What can go wrong, and what to do about it.

use smp_protocol::encoding::DecodeError;
use thiserror::Error;

use crate::version::E2eVersion;
use crate::x448::WeakPublicKey;

/// Why no ratchet could be made out of two peers' parameters. All are the peer's fault: the
/// connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AgreementError {
    /// The peers have no version in common.
    #[error("the peer speaks no version of the encryption that is spoken here: {}-{}", .min.0, .max.0)]
    Version {
        /// The oldest version that the peer speaks.
        min: E2eVersion,
        /// The newest one.
        max: E2eVersion,
    },
    /// A public key whose secret everyone knows.
    #[error(transparent)]
    WeakKey(#[from] WeakPublicKey),
    /// The peer's keys are our own: somebody sent our parameters back to us.
    #[error("the peer's keys are our own")]
    OwnKeys,
    /// A KEM was accepted that nobody proposed.
    #[error("a KEM was accepted that was not proposed")]
    KemState,
}

/// Why a message was not encrypted. The ratchet is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// The peer's first message has not come yet, and without it there is no key to send with.
    /// Keep the message until [`Ratchet::can_send`](crate::Ratchet::can_send).
    #[error("nothing can be sent before the peer's first message")]
    NoSendingChain,
    /// The text and its length do not fit the padding. The caller's fault.
    #[error("a message of {length} bytes does not fit {padded}")]
    TooLong {
        /// How long the text is.
        length: usize,
        /// What it was to be padded to.
        padded: usize,
    },
    /// 2^32 messages were sent without one answer. Only a message from the peer helps.
    #[error("the chain has no numbers left")]
    ChainFull,
}

/// Why a message was not decrypted. The ratchet is as it was, byte for byte, so that whoever can
/// put bytes into a queue gains nothing by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The newest message of the current chain once more. Drop and acknowledge it.
    #[error("the message has been read already")]
    Duplicate,
    /// An older message of the current chain, so many before the newest, that has been read
    /// already or whose key is gone. Drop and acknowledge it.
    #[error("the message is {0} before the newest, and was read already or given up")]
    Earlier(u32),
    /// No key opens the header: a message of a former chain that has been read already, or of
    /// another ratchet, or a damaged or forged one. Drop it; if all messages are like this, the
    /// peer's ratchet is another one, and the agent offers to make a new one.
    #[error("no key opens the header")]
    Header,
    /// The header skips more messages than [`MAX_SKIPPED`](crate::MAX_SKIPPED). So many were lost
    /// that only a new ratchet helps.
    #[error("{0} messages would be skipped, which is too many")]
    TooManySkipped(u32),
    /// The header is right and the body is not: damaged on the way, or the peer derived another
    /// key. Drop it; the same message undamaged still opens.
    #[error("the body does not open with its key")]
    Body,
    /// The bytes are no message: not ours, cut off, or made by a newer program.
    #[error("no message of the ratchet: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer accepted a KEM that was not proposed. Its ratchet is out of step: make a new one.
    #[error("a KEM was accepted that was not proposed")]
    KemState,
    /// The peer's new key has a low order. No honest peer sends one: make a new ratchet, or none.
    #[error(transparent)]
    WeakKey(#[from] WeakPublicKey),
    /// A new chain in an older version than both peers have agreed on. The peer's ratchet is out
    /// of step or was set back: make a new one.
    #[error("a new chain of version {}, after a newer one was agreed", .0.0)]
    Downgrade(E2eVersion),
}

/// Why stored bytes are no ratchet, or no keys of an initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StateError {
    /// A newer program wrote them. Leave them alone and ask for that program.
    #[error("the state has format {0}, which a newer program wrote")]
    Newer(u8),
    /// They are damaged, or something else. Only a new ratchet helps.
    #[error("the state is damaged: {0}")]
    Malformed(#[from] DecodeError),
}
