//! Which queues are to be subscribed to, and which are.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use smp_protocol::EntityId;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Subscription;
use crate::session::Session;

/// Subscriptions that are asked for at once: fewer than the places for commands, so that others
/// get through meanwhile.
const BATCH: usize = 128;

/// How long a subscription that failed for now waits for its next attempt.
const AGAIN: Duration = Duration::from_secs(10);

/// The queues of a slot.
#[derive(Default)]
pub(super) struct Wanted {
    queues: Mutex<HashMap<EntityId, Queue>>,
    changed: Notify,
}

struct Queue {
    subscription: Subscription,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be asked for, not before this time.
    Waiting(Instant),
    /// Asked for, or there.
    Asked,
}

impl Wanted {
    pub(super) fn add(&self, subscription: Subscription) {
        let id = subscription.queue().clone();
        let state = State::Waiting(Instant::now());
        self.queues.lock().entry(id).or_insert(Queue {
            subscription,
            state,
        });
        self.changed.notify_one();
    }

    /// Adds a queue that `session` is subscribed to.
    pub(super) fn add_active(&self, subscription: Subscription, session: &Session) {
        let mut queues = self.queues.lock();
        // If it is over, its slot may have seen that already.
        let state = match session.is_closed() {
            true => State::Waiting(Instant::now()),
            false => State::Asked,
        };
        queues.insert(
            subscription.queue().clone(),
            Queue {
                subscription,
                state,
            },
        );
        drop(queues);
        self.changed.notify_one();
    }

    pub(super) fn remove(&self, queue: &EntityId) {
        self.queues.lock().remove(queue);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.lock().is_empty()
    }

    /// The connection is gone, and with it all subscriptions.
    pub(super) fn lost(&self) {
        let now = Instant::now();
        for queue in self.queues.lock().values_mut() {
            queue.state = State::Waiting(now);
        }
    }

    /// A subscription failed for now.
    pub(super) fn again(&self, queue: &EntityId) {
        if let Some(queue) = self.queues.lock().get_mut(queue) {
            queue.state = State::Waiting(Instant::now() + AGAIN);
        }
    }

    /// Waits until there are subscriptions to be asked for, and takes some of them.
    pub(super) async fn next_batch(&self) -> Vec<Subscription> {
        loop {
            let (batch, next) = self.take_batch();
            if !batch.is_empty() {
                return batch;
            }
            match next {
                None => self.changed.notified().await,
                Some(next) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(next) => {}
                    }
                }
            }
        }
    }

    /// Subscriptions whose time has come, and else the time at which one has.
    fn take_batch(&self) -> (Vec<Subscription>, Option<Instant>) {
        let now = Instant::now();
        let (mut batch, mut next) = (Vec::new(), None);
        for queue in self.queues.lock().values_mut() {
            match queue.state {
                State::Waiting(time) if time <= now && batch.len() < BATCH => {
                    queue.state = State::Asked;
                    batch.push(queue.subscription.clone());
                }
                State::Waiting(time) => {
                    next = Some(next.map_or(time, |next: Instant| next.min(time)));
                }
                State::Asked => {}
            }
        }
        (batch, next)
    }
}
