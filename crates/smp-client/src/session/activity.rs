//! When something last happened.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What keep-alive and back-pressure have to know of a session.
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds after the start.
    heard: AtomicU64,
    /// Milliseconds after the start.
    used: AtomicU64,
    blocks: AtomicU64,
    subscriptions: AtomicUsize,
    probe: AtomicBool,
    changed: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            used: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            subscriptions: AtomicUsize::new(0),
            probe: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// A block came from the relay.
    pub(super) fn heard(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn last_heard(&self) -> Instant {
        self.start + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// How many blocks came from the relay.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Somebody sent a command.
    pub(super) fn used(&self) {
        self.used.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn last_used(&self) -> Instant {
        self.start + Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// A subscription was asked for.
    pub(super) fn subscribed(&self) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// How many subscriptions were asked for.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// The relay has to show that it is there.
    pub(super) fn probe(&self) {
        self.probe.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(super) fn take_probe(&self) -> bool {
        self.probe.swap(false, Ordering::Relaxed)
    }

    /// Waits until there is a first subscription or a probe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn now(&self) -> u64 {
        self.start
            .elapsed()
            .as_millis()
            .try_into()
            .unwrap_or(u64::MAX)
    }
}
