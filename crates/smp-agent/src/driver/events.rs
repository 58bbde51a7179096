//! What the agent tells the application.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use smp_protocol::RelayAddress;
use tokio::sync::{broadcast, watch};

use super::error::AgentError;
use super::handle::Asking;
use crate::core::{Notice, NumberedEvent};
use crate::model::EventId;

/// Events that are read from the store at once.
const AT_ONCE: usize = 32;

/// Notices that wait for the application; when there are more, the oldest are dropped.
const NOTICES: usize = 256;

/// The pause after the store could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What the agent tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AgentEvent {
    /// What happened in a connection. It comes again after a restart, until it was taken with
    /// [`Agent::take_event`](super::Agent::take_event).
    Event(NumberedEvent),
    /// Something worth showing and not worth keeping.
    Notice(Notice),
    /// How the connection with a relay is in which this side receives. Not kept either.
    Relay {
        /// Which one.
        relay: RelayAddress,
        /// How it is.
        state: RelayState,
    },
}

/// How the connection with a relay is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayState {
    /// Messages come in.
    Connected,
    /// There is no connection, for this reason. It is made again as long as it is needed.
    Disconnected(String),
    /// Somebody else has the keys of a queue there, and receives its messages now: the store, or a
    /// copy of it, is open twice. [`Event::QueueLost`](crate::core::Event::QueueLost) says in which
    /// connection.
    TakenOver,
}

/// What an agent tells, as long as it runs. A runtime of tokio with time has to be there.
pub struct AgentEvents {
    agent: Asking,
    fresh: watch::Receiver<()>,
    notices: broadcast::Receiver<AgentEvent>,
    /// Events that were read from the store.
    read: VecDeque<NumberedEvent>,
    /// The last of them.
    after: EventId,
    /// There may be more in the store.
    more: bool,
}

impl AgentEvents {
    /// Waits for what is next; nothing once the agent was closed. Stored events come in their
    /// order, and each once. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<AgentEvent> {
        loop {
            // Notices come first: they tell what led to the events that are there by now.
            match self.notices.try_recv() {
                Ok(notice) => return Some(notice),
                Err(broadcast::error::TryRecvError::Lagged(_)) => continue,
                Err(_) => {}
            }
            if let Some(event) = self.read.pop_front() {
                return Some(AgentEvent::Event(event));
            }
            if self.more {
                self.read_more().await?;
                continue;
            }
            tokio::select! {
                biased;
                notice = self.notices.recv() => match notice {
                    Ok(notice) => return Some(notice),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                changed = self.fresh.changed() => {
                    changed.ok()?;
                    self.more = true;
                }
            }
        }
    }

    /// Reads events from the store. Whatever changes here changes after the last wait.
    async fn read_more(&mut self) -> Option<()> {
        let after = self.after;
        let read = self.agent.core(move |core, _| core.events(after, AT_ONCE));
        match read.await {
            Ok(events) => {
                self.more = events.len() == AT_ONCE;
                self.after = events.last().map_or(after, |event| event.id);
                self.read.extend(events);
                Some(())
            }
            Err(AgentError::Closed) => None,
            Err(error) => {
                tracing::warn!(%error, "events cannot be read");
                tokio::time::sleep(STORE_PAUSE).await;
                Some(())
            }
        }
    }
}

impl fmt::Debug for AgentEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentEvents")
    }
}

/// The agent's side of [`AgentEvents`].
pub(super) struct Teller {
    fresh: watch::Sender<()>,
    notices: broadcast::Sender<AgentEvent>,
}

impl Teller {
    pub(super) fn new(agent: Asking) -> (Self, AgentEvents) {
        let (fresh, stored) = watch::channel(());
        let (notices, receiver) = broadcast::channel(NOTICES);
        let events = AgentEvents {
            agent,
            fresh: stored,
            notices: receiver,
            read: VecDeque::new(),
            after: EventId(0),
            more: true,
        };
        (Self { fresh, notices }, events)
    }

    /// There are new events in the store.
    pub(super) fn stored(&self) {
        self.fresh.send_replace(());
    }

    /// Tells it to whoever listens.
    pub(super) fn tell(&self, event: AgentEvent) {
        let _ = self.notices.send(event);
    }

    pub(super) fn relay(&self, relay: RelayAddress, state: RelayState) {
        self.tell(AgentEvent::Relay { relay, state });
    }
}
