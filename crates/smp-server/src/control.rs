//! The operator's way into a running relay: a socket in its folder that nobody else can open.
//!
//! One line of JSON asks, one line answers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smp_protocol::BlockingReason;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use crate::metrics::Snapshot;
use crate::server::BREATH;

/// The socket's name in the relay's folder.
const SOCKET: &str = "control.sock";

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// What an operator may ask of a running relay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(crate) enum Request {
    /// The figures.
    Stats,
    /// Take the certificates from the folder anew.
    Reload,
    /// Delete what is deleted from the disk as well.
    Compact,
    /// Block a queue, by the sender's or the link's id in base64url.
    Block {
        /// The id.
        id: String,
        /// What senders are told.
        reason: Reason,
    },
    /// Take a block back.
    Unblock {
        /// The id.
        id: String,
    },
}

/// Why a queue is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reason {
    /// Unwanted messages.
    Spam,
    /// Content against the operator's rules.
    Content,
}

impl From<Reason> for BlockingReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Spam => Self::Spam,
            Reason::Content => Self::Content,
        }
    }
}

/// What the relay answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The figures.
    Stats(Box<Snapshot>),
    /// It was not done.
    Failed {
        /// Why, and what to do.
        error: String,
    },
}

/// Who answers requests.
pub(crate) trait Operator: Send + Sync + 'static {
    /// Does what is asked.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// Why a running relay could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ControlError {
    /// Nobody listens.
    #[error("no relay runs in {0}: start it with `sotto-smp start`")]
    NotRunning(PathBuf),
    /// Somebody listens already.
    #[error("another relay runs in {0}: stop it first")]
    Running(PathBuf),
    /// The socket can't be used.
    #[error("can't use {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer is none.
    #[error("the relay's answer can't be read: is it another version?")]
    Answer,
}

/// Listens in `folder`. A socket that a dead relay left is replaced.
///
/// # Errors
/// [`ControlError::Running`] if a relay listens there, [`ControlError::Socket`] if the socket
/// can't be made.
pub(crate) fn listen(folder: &Path) -> Result<UnixListener, ControlError> {
    let path = folder.join(SOCKET);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(ControlError::Running(folder.to_owned()));
    }
    let made = remove(&path)
        .and_then(|()| UnixListener::bind(&path))
        .and_then(|listener| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
    made.map_err(|source| ControlError::Socket { path, source })
}

/// Answers one request after the other, for as long as it is polled.
pub(crate) async fn serve(listener: UnixListener, operator: Arc<impl Operator>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    if let Err(error) = serve_one(stream, &*operator).await {
                        tracing::debug!("control connection: {error}");
                    }
                });
            }
            Err(error) => {
                // A lack of files or memory passes.
                tracing::debug!("control socket: {error}");
                sleep(BREATH).await;
            }
        }
    }
}

/// Asks the relay that runs in `folder`.
///
/// # Errors
/// [`ControlError`] if none runs there or it does not answer.
pub(crate) async fn ask(folder: &Path, request: &Request) -> Result<Answer, ControlError> {
    let path = folder.join(SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Err(ControlError::NotRunning(folder.to_owned()));
        }
        Err(source) => return Err(ControlError::Socket { path, source }),
    };
    let line = exchange(stream, request).await;
    let line = line.map_err(|source| ControlError::Socket { path, source })?;
    serde_json::from_str(&line).map_err(|_| ControlError::Answer)
}

async fn exchange(stream: UnixStream, request: &Request) -> std::io::Result<String> {
    let mut stream = BufReader::new(stream);
    write_line(&mut stream, request).await?;
    let mut line = String::new();
    stream.take(MAX_LINE).read_line(&mut line).await?;
    Ok(line)
}

async fn serve_one(stream: UnixStream, operator: &impl Operator) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(MAX_LINE).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => operator.answer(request).await,
        Err(error) => Answer::Failed {
            error: format!("the request can't be read: {error}"),
        },
    };
    write_line(&mut stream, &answer).await
}

async fn write_line(
    stream: &mut BufReader<UnixStream>,
    value: &impl Serialize,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
