//! What is wrong with the text of a link.

use smp_protocol::AddressError;
use thiserror::Error;

use super::MAX_LINK;
use crate::protocol::MAX_QUEUES;

/// What is wrong with the text of a link, for whoever pasted it. None of it repeats the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum LinkTextError {
    /// Longer than [`MAX_LINK`].
    #[error("the link is longer than {MAX_LINK} bytes")]
    TooLong,
    /// It does not begin as a link does.
    #[error("this is no SimpleX link: those begin with simplex:/ or https://")]
    NotALink,
    /// It begins as a link, but not as one of the known kinds.
    #[error("this kind of link is not known; a newer version may know it")]
    UnknownKind,
    /// Its end is missing.
    #[error("the link is cut off; copy all of it")]
    CutOff,
    /// There is a space inside, so that something else may stand beside the link.
    #[error("there is a space in the link, or text beside it; paste the link alone")]
    Space,
    /// There are several lines, and the link may end with one of them or go on.
    #[error("it is not clear where the link ends; paste it alone and in one line")]
    Ambiguous,
    /// What stands behind `#` does not begin with `/?`, as it does in a full link.
    #[error("what follows the # of the link is not understood")]
    NoParameters,
    /// A short link where a full one has to be.
    #[error("this is a short link, where a full one has to be")]
    NotFull,
    /// A full link where a short one has to be.
    #[error("this is a full link, where a short one has to be")]
    NotShort,
    /// A parameter is not percent-encoded UTF-8.
    #[error("the link is damaged: a part of it is not percent-encoded text")]
    Encoding,
    /// The agent's versions are no range.
    #[error("the link is damaged: its versions are no range")]
    Versions,
    /// The address of a queue is wrong.
    #[error("the link is damaged: {0}")]
    Queue(AddressError),
    /// More than [`MAX_QUEUES`].
    #[error("the link has more than {MAX_QUEUES} queues")]
    TooManyQueues,
    /// The versions of the encryption are no range.
    #[error("the link is damaged: the versions of its encryption are no range")]
    E2eVersions,
    /// The keys are not two X448 keys.
    #[error("the link is damaged: its keys are not two X448 keys")]
    E2eKeys,
    /// The post-quantum key is none.
    #[error("the link is damaged: its post-quantum key is no sntrup761 key")]
    KemKey,
    /// The link's id is missing or not base64url of at most 255 bytes.
    #[error("the link is damaged: its id is not base64url")]
    LinkId,
    /// The link's key is not 32 bytes in base64url.
    #[error("the link is damaged: its key is not 32 bytes in base64url")]
    LinkKey,
    /// The server of a short link is missing or wrong.
    #[error("the link is damaged, or its server cannot be reached: {0}")]
    Server(AddressError),
}

/// [`LinkTextError::CutOff`] if it is, or else the error.
pub(super) fn cut_if(is_cut: bool, error: LinkTextError) -> LinkTextError {
    if is_cut { LinkTextError::CutOff } else { error }
}
