//! Events on their way to whoever listens.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use smp_protocol::SEALED_MESSAGE_SIZE;
use tokio::sync::Notify;

use crate::error::DisconnectReason;
use crate::event::Event;

/// Events from which on nothing more is read from the relay, unless an answer is awaited.
const ENOUGH: usize = 64;

/// Bytes of events that a relay may send beside those that subscriptions explain.
const RESERVE: usize = 4 << 20;

/// Bytes of events that each subscription explains: a message, which is acknowledged before the
/// next one comes, and that it ended; twice, since subscribing again delivers again.
const FOR_SUBSCRIPTION: usize = 2 * (SEALED_MESSAGE_SIZE + 2 * size_of::<Event>());

/// Events between the session's task and [`Events`].
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Notify,
    taken: Notify,
}

struct State {
    events: VecDeque<Event>,
    /// Bytes that the events hold.
    weight: usize,
    listening: bool,
    end: Option<DisconnectReason>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let state = State {
            events: VecDeque::new(),
            weight: 0,
            listening: true,
            end: None,
        };
        Self {
            state: Mutex::new(state),
            arrived: Notify::new(),
            taken: Notify::new(),
        }
    }

    /// Adds an event, unless nobody listens. `false` says that there are more than `subscriptions`
    /// explain.
    pub(super) fn push_within(&self, event: Event, subscriptions: usize) -> bool {
        self.push(event);
        self.state.lock().weight <= RESERVE + subscriptions.saturating_mul(FOR_SUBSCRIPTION)
    }

    /// Adds an event, unless nobody listens.
    pub(super) fn push(&self, event: Event) {
        let mut state = self.state.lock();
        if state.listening && state.end.is_none() {
            state.weight += event.weight();
            state.events.push_back(event);
            self.arrived.notify_one();
        }
    }

    /// There will be no more events.
    pub(super) fn end(&self, reason: DisconnectReason) {
        self.state.lock().end.get_or_insert(reason);
        self.arrived.notify_one();
    }

    /// Whether it is no use to read more events.
    pub(super) fn is_full(&self) -> bool {
        self.state.lock().events.len() >= ENOUGH
    }

    /// Waits until events were taken, if there are many.
    pub(super) async fn has_room(&self) {
        loop {
            let mut taken = pin!(self.taken.notified());
            taken.as_mut().enable();
            if !self.is_full() {
                return;
            }
            taken.await;
        }
    }

    /// The next event, or whether there will be one.
    fn pop(&self) -> Next {
        let mut state = self.state.lock();
        if let Some(event) = state.events.pop_front() {
            state.weight -= event.weight();
            if state.events.len() < ENOUGH {
                self.taken.notify_waiters();
            }
            return Next::Event(event);
        }
        match &state.end {
            None => Next::Later,
            Some(reason) if state.listening => {
                let event = Event::Disconnected(reason.clone());
                state.listening = false;
                Next::Event(event)
            }
            Some(_) => Next::Over,
        }
    }
}

enum Next {
    Event(Event),
    Later,
    Over,
}

/// What the relay of one session tells.
///
/// Take events all the time: while many wait, nothing is read from the relay but answers to
/// commands. Dropping it throws all events away.
pub struct Events {
    inbox: Arc<Inbox>,
}

impl Events {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox }
    }

    /// Waits for the next event. The last one is [`Event::Disconnected`], after which there is
    /// nothing. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.inbox.pop() {
                Next::Event(event) => return Some(event),
                Next::Over => return None,
                Next::Later => self.inbox.arrived.notified().await,
            }
        }
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.inbox.pop() {
            Next::Event(event) => Some(event),
            Next::Later | Next::Over => None,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.inbox.state.lock();
        state.listening = false;
        state.events.clear();
        state.weight = 0;
        self.inbox.taken.notify_waiters();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
