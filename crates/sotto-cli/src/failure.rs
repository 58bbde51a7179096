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
    /// What was waited for did not come about: declined, missed or cancelled.
    NotConnected = 7,
    /// There is no profile, or it can't be opened.
    Profile = 8,
    /// There is no such contact, it is not connected, or the link can't be used.
    Contact = 9,
    /// No server is configured, or one can't be used.
    Server = 10,
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
            Profile,
            Contact,
            Server,
        ]
        .into_iter()
        .find(|status| *status as i32 == code)
    }
}

/// What each status means, for `--help`.
macro_rules! statuses {
    () => {
        "\
Exit status:
  0   done; of a call: it was connected and has ended
  1   anything else
  2   the command line can't work
  3   timeout: nobody answered, it did not connect, or the connection was lost
  4   security refused: no frame encryption, no AES-256-GCM, wrong certificate or key
  5   bad signalling: it ended before the call was connected, or made no sense
  6   bad media: a file can't be read or written
  7   declined, missed or cancelled
  8   the profile: there is none, wrong passphrase, in use, or damaged
  9   the contact or the link: unknown, not connected, used already, or changed
  10  the servers: none is configured, or one can't be used"
    };
}

pub(crate) use statuses;

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

    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Status::Usage, text)
    }

    pub(crate) fn other(text: impl fmt::Display) -> Self {
        Self::new(Status::Other, text)
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
