//! The signalling on standard input and output, and word of when it has all been written.

use call_signal::{ChannelError, Incoming, Lines, OutgoingMessage, SentId, SignalChannel};
use tokio::io::{Stdin, Stdout};
use tokio::sync::oneshot;

/// A channel on standard input and output. It takes the sender with it when it is dropped, which
/// is after everything was written or could not be.
pub(super) struct Stdio {
    lines: Lines<Stdin, Stdout>,
    _open: oneshot::Sender<()>,
}

impl Stdio {
    /// The receiver ends with the channel.
    pub(super) fn open() -> (Self, oneshot::Receiver<()>) {
        let (open, closed) = oneshot::channel();
        let lines = Lines::new(tokio::io::stdin(), tokio::io::stdout());
        (Self { lines, _open: open }, closed)
    }
}

impl SignalChannel for Stdio {
    async fn send(&mut self, message: OutgoingMessage) -> Result<SentId, ChannelError> {
        self.lines.send(message).await
    }

    async fn receive(&mut self) -> Result<Incoming, ChannelError> {
        self.lines.receive().await
    }

    async fn close(&mut self) -> Result<(), ChannelError> {
        self.lines.close().await
    }

    fn binding(&self) -> Option<[u8; 32]> {
        self.lines.binding()
    }
}
