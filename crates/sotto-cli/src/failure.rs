//! Why a command did not do its job, and the exit status that says so.

use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// Exit status of a command that failed. 2 is clap's as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Anything else.
    Other = 1,
    /// The command line can't work.
    Usage = 2,
    /// Nobody answered, the call did not connect, or its network path was lost.
    Timeout = 3,
    /// The peer offered something too weak or wrong.
    Security = 4,
    /// The signalling ended too early or made no sense.
    Signalling = 5,
    /// A media file can't be used.
    Media = 6,
    /// The call was declined, missed or cancelled before it was connected.
    NotConnected = 7,
}

impl Status {
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        use Status::*;
        [
            Other,
            Usage,
            Timeout,
            Security,
            Signalling,
            Media,
            NotConnected,
        ]
        .into_iter()
        .find(|status| *status as i32 == code)
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// One line for the user, and the exit status.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    text: String,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl fmt::Display) -> Self {
        // One failure is one line, whatever a file name holds.
        let text = text.to_string().replace(['\n', '\r'], " ");
        Self { status, text }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Status::Other, format_args!("{error:#}"))
    }
}

impl From<call_media::FileError> for Failure {
    fn from(error: call_media::FileError) -> Self {
        Self::new(Status::Media, error)
    }
}

impl From<call_media::MediaError> for Failure {
    fn from(error: call_media::MediaError) -> Self {
        Self::new(Status::Media, error)
    }
}
