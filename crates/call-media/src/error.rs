//! Errors, sorted by whose fault they are.

use std::io;
use std::path::{Path, PathBuf};

/// What a source, a sink or a codec can answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// A media file could not be read or written, or is not what it claims to be.
    #[error(transparent)]
    File(#[from] FileError),
    /// A codec refused its input.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A device or another source or sink of the application failed.
    #[error("{0}")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A media file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct FileError {
    /// The file as the caller named it.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub fault: FileFault,
}

impl FileError {
    pub(crate) fn new(path: &Path, fault: impl Into<FileFault>) -> Self {
        Self {
            path: path.to_owned(),
            fault: fault.into(),
        }
    }
}

/// What can be wrong with a media file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileFault {
    /// The operating system refused: no such file, no permission, disk full.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not the format that was expected.
    #[error("not a {expected} file: {reason}")]
    NotThatFormat {
        /// The format that was expected: `WAV` or `IVF`.
        expected: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// The right format, but of a kind that is not read here, or with values no file has.
    #[error("unusable: {0}")]
    Unusable(String),
    /// A sound file without a single sample, or a video without a frame.
    #[error("nothing in it")]
    Empty,
    /// The file ends before the data that it announces.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The format cannot hold more data, 4 GiB in a WAV file; what was written before is kept.
    #[error("full: the format holds no more than 4 GiB")]
    Full,
}

/// What a codec can answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The peer's packet is no valid Opus packet. The decoder stays usable: conceal the packet.
    #[error("the peer's packet is not valid Opus: {0}")]
    BadPacket(&'static str),
    /// A setting outside of what the codec takes: ours to fix.
    #[error("setting out of range: {0}")]
    BadSetting(&'static str),
    /// The codec library failed, out of memory for example.
    #[error("the codec failed: {0}")]
    Library(&'static str),
}
