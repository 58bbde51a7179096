//! What other connections have for this one.
//!
//! Events are small and say only that there is something: a connection reads the message itself
//! from the store when it is about to write it, so that a slow reader holds no bodies in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use smp_protocol::{CorrId, EntityId, IdsHash, Response};
use tokio::sync::Notify;

use crate::store::QueueId;

/// Something that happened outside this connection.
pub(crate) enum Event {
    /// The queue has a message and had none.
    Message(QueueId),
    /// Another connection subscribed to the queue.
    Ended(QueueId),
    /// Another connection deleted the queue.
    Deleted(QueueId),
    /// There are notifications for the notifier.
    Notification(QueueId),
    /// Another connection subscribed to the notifier.
    NotifierEnded(QueueId),
    /// The notifier is gone, with its queue or alone.
    NotifierDeleted(QueueId),
    /// Another connection of the same service took its subscriptions.
    ServiceEnded { count: i64, ids_hash: IdsHash },
    /// Every queue of the service has been looked at.
    AllDelivered,
    /// The answer to a command that took its time.
    Answer {
        corr_id: Option<CorrId>,
        entity: EntityId,
        response: Box<Response>,
    },
}

/// Events of one connection, in order.
pub(crate) struct Inbox {
    events: Mutex<VecDeque<Event>>,
    limit: usize,
    overflowed: AtomicBool,
    arrived: Notify,
}

impl Inbox {
    /// An inbox that holds `limit` events; with more, the connection is beyond help.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            events: Mutex::new(VecDeque::new()),
            limit,
            overflowed: AtomicBool::new(false),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn push(&self, event: Event) {
        {
            let mut events = self.events.lock();
            if events.len() < self.limit {
                events.push_back(event);
            } else {
                self.overflowed.store(true, Ordering::Relaxed);
            }
        }
        self.arrived.notify_one();
    }

    pub(crate) fn pop(&self) -> Option<Event> {
        self.events.lock().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.lock().is_empty()
    }

    /// Whether an event was lost: its connection has to be closed, and its client comes again.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// Returns when there is an event, at once if there is one already. Cancel-safe.
    pub(crate) async fn arrived(&self) {
        while self.is_empty() && !self.overflowed() {
            self.arrived.notified().await;
        }
    }
}
