//! How the user or the system ends the program.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;

/// SIGINT and SIGTERM, which end a command in order.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    seen: bool,
}

impl Stop {
    /// From here on the signals do nothing else.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::other)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::other)?,
            seen: false,
        })
    }

    /// Cancel-safe.
    pub(crate) async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.seen = true;
    }

    /// Whether there was one.
    pub(crate) fn seen(&self) -> bool {
        self.seen
    }
}

/// Waits until then, or for ever.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
