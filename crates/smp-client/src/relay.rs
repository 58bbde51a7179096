//! A relay for as long as it is needed: connected when there is something to do, connected again
//! when the connection breaks, and subscribed again.

mod backoff;
mod slot;
mod subscriptions;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use smp_protocol::{
    AuthPrivateKey, Command, EntityId, NotifierId, QueueIds, RecipientId, ServerAddress,
};
use tokio::sync::mpsc;

use crate::connect::Connector;
use crate::error::{ClientError, ConnectError, DisconnectReason};
use crate::event::Event;
use crate::session::{QueueParameters, Request, Session, SessionOptions};
use slot::{Context, Demand, Slot};

/// How long a session without subscriptions may be unused by default.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// How long a caller waits for a connection by default.
const PATIENCE: Duration = Duration::from_secs(30);

/// Events that wait to be taken. Those of a session wait in it.
const EVENTS: usize = 64;

/// A relay, and the subscriptions there.
///
/// There is no connection until something needs one. While there are subscriptions, a connection
/// that breaks is made again: after 0.5 to 1 s at first, then after twice as long up to 30 to
/// 60 s, the exact time being random; once a connection has held for 30 s it begins anew. Then all
/// queues are subscribed to again.
///
/// Runs as tasks of tokio's runtime. A clone is the same relay; the last one that is dropped ends
/// all connections.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

/// What a [`Relay`] keeps to.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// What each session keeps to.
    pub session: SessionOptions,
    /// Which commands share a session.
    pub mode: SessionMode,
    /// How long a session without subscriptions may be unused before it is closed.
    pub idle: Duration,
}

impl Default for RelayOptions {
    /// One session, closed when it was not used for 5 minutes.
    fn default() -> Self {
        Self {
            session: SessionOptions::default(),
            mode: SessionMode::default(),
            idle: IDLE,
        }
    }
}

/// Which commands share a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionMode {
    /// All: the relay sees which queues belong together.
    #[default]
    PerRelay,
    /// Those about one queue: a session for each, and through a SOCKS proxy a way for each. What a
    /// recipient and a sender do are two queues here, since their ids differ.
    PerQueue,
}

/// What to do when there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Wait for one this long, over several attempts if need be.
    Wait(Duration),
    /// Wait for an attempt that is being made, or make one if none failed just now.
    FailFast,
}

impl Default for Patience {
    /// Wait for 30 s.
    fn default() -> Self {
        Self::Wait(PATIENCE)
    }
}

/// A queue to be subscribed to, whenever there is a connection.
#[derive(Clone, Debug)]
pub enum Subscription {
    /// To its messages.
    Messages {
        /// The queue.
        queue: RecipientId,
        /// The recipient's key.
        key: AuthPrivateKey,
    },
    /// To notifications of them.
    Notifications {
        /// The queue, as its notifier names it.
        queue: NotifierId,
        /// The notifier's key.
        key: AuthPrivateKey,
    },
}

impl Subscription {
    /// The queue, as the subscriber names it.
    #[must_use]
    pub fn queue(&self) -> &EntityId {
        match self {
            Self::Messages { queue, .. } => &queue.0,
            Self::Notifications { queue, .. } => &queue.0,
        }
    }

    fn request(&self) -> Request<'_> {
        match self {
            Self::Messages { queue, key } => Request::about(&queue.0, Some(key), &Command::Sub),
            Self::Notifications { queue, key } => {
                Request::about(&queue.0, Some(key), &Command::Nsub)
            }
        }
    }
}

/// What happens at a relay. `queue` is there if sessions are those of one queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RelayEvent {
    /// There is a connection.
    Connected {
        /// Whose.
        queue: Option<EntityId>,
    },
    /// The connection is gone. If it is needed, it is made again.
    Disconnected {
        /// Whose.
        queue: Option<EntityId>,
        /// Why.
        reason: DisconnectReason,
    },
    /// An attempt to connect failed. If it is needed, there will be another.
    Unreachable {
        /// Whose.
        queue: Option<EntityId>,
        /// Why.
        error: Arc<ConnectError>,
    },
    /// These queues are subscribed to in the present connection.
    Subscribed {
        /// As the subscriber names them.
        queues: Vec<EntityId>,
    },
    /// A queue could not be subscribed to.
    SubscriptionFailed {
        /// As the subscriber names it.
        queue: EntityId,
        /// Why.
        error: ClientError,
        /// Whether it will be tried again. If not, it is forgotten.
        again: bool,
    },
    /// The relay told something. Never [`Event::Disconnected`]. After [`Event::End`] and
    /// [`Event::Deleted`] the queue is not subscribed to again.
    Told(Event),
}

impl Relay {
    /// A relay that connectors of this kind reach, and what happens there.
    ///
    /// Events have to be taken all the time, or to be dropped if nobody wants them.
    #[must_use]
    pub fn new(
        connector: Arc<dyn Connector>,
        address: ServerAddress,
        options: RelayOptions,
    ) -> (Self, RelayEvents) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let inner = Arc::new_cyclic(|relay: &Weak<Inner>| Inner {
            context: Arc::new(Context {
                connector,
                address,
                options,
                events,
                relay: relay.clone(),
            }),
            slots: Mutex::new(Slots::default()),
        });
        (Self { inner }, RelayEvents { receiver })
    }

    /// The relay's address.
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.inner.context.address
    }

    /// Whether the relay does not learn this side's network address.
    #[must_use]
    pub fn hides_address(&self) -> bool {
        self.inner.context.connector.hides_address()
    }

    /// Which commands share a session.
    #[must_use]
    pub fn mode(&self) -> SessionMode {
        self.inner.context.options.mode
    }

    /// A live session for commands about a queue or link; all have the same with
    /// [`SessionMode::PerRelay`]. Ask again for each command: it is the same as long as it lives.
    ///
    /// # Errors
    /// Why there is no connection: [`ClientError::Connect`], [`ClientError::Disconnected`], or
    /// [`ClientError::Timeout`] if an attempt took longer than the patience.
    pub async fn session(
        &self,
        queue: &EntityId,
        patience: Patience,
    ) -> Result<Session, ClientError> {
        self.inner
            .demand(self.inner.key_of(queue))
            .session(patience)
            .await
    }

    /// Subscribes to queues, and keeps that up. How it goes is told in events.
    pub fn subscribe(&self, subscriptions: impl IntoIterator<Item = Subscription>) {
        for subscription in subscriptions {
            let key = self.inner.key_of(subscription.queue());
            self.inner.demand(key).slot.wanted.add(subscription);
        }
    }

    /// Does not subscribe again to a queue. SMP has no command to end a subscription: until the
    /// connection ends, the relay may still deliver.
    pub fn unsubscribe(&self, queue: &EntityId) {
        if let Some(slot) = self.inner.slot(&self.inner.key_of(queue)) {
            slot.wanted.remove(queue);
        }
    }

    /// Creates a queue; one that is subscribed to at once stays so. Its first event may come
    /// before this returns.
    ///
    /// # Errors
    /// As [`Session::create_queue`] and [`Self::session`].
    pub async fn create_queue(
        &self,
        key: &AuthPrivateKey,
        parameters: QueueParameters,
        patience: Patience,
    ) -> Result<QueueIds, ClientError> {
        let subscribe = parameters.subscribe;
        let demand = self.inner.demand(self.inner.key_of_new());
        let session = demand.session(patience).await?;
        let ids = session.create_queue(key, parameters).await?;
        if subscribe {
            let (queue, key) = (ids.recipient_id.clone(), key.clone());
            self.inner.rename(&demand, &queue.0);
            demand
                .slot
                .wanted
                .add_active(Subscription::Messages { queue, key }, &session);
        }
        Ok(ids)
    }

    /// Makes connections that are needed now, without waiting out the pause after a failure: when
    /// the network has come back, say.
    pub fn hurry(&self) {
        for place in self.inner.slots.lock().places.values() {
            place.slot.hurry.notify_waiters();
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

/// What happens at a [`Relay`].
#[derive(Debug)]
pub struct RelayEvents {
    receiver: mpsc::Receiver<RelayEvent>,
}

impl RelayEvents {
    /// Waits for the next event; there is none after the relay was dropped. May be dropped while
    /// it waits.
    pub async fn next(&mut self) -> Option<RelayEvent> {
        self.receiver.recv().await
    }
}

struct Inner {
    context: Arc<Context>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    places: HashMap<SlotKey, Place>,
    created: u64,
}

/// Which commands a slot's session is for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum SlotKey {
    All,
    Queue(EntityId),
    /// A queue that has no id yet.
    New(u64),
}

/// A slot with its task.
struct Place {
    slot: Arc<Slot>,
    task: tokio::task::AbortHandle,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    fn key_of(&self, queue: &EntityId) -> SlotKey {
        match self.context.options.mode {
            SessionMode::PerRelay => SlotKey::All,
            SessionMode::PerQueue => SlotKey::Queue(queue.clone()),
        }
    }

    fn key_of_new(&self) -> SlotKey {
        match self.context.options.mode {
            SessionMode::PerRelay => SlotKey::All,
            SessionMode::PerQueue => {
                let mut slots = self.slots.lock();
                slots.created += 1;
                SlotKey::New(slots.created)
            }
        }
    }

    fn slot(&self, key: &SlotKey) -> Option<Arc<Slot>> {
        self.slots
            .lock()
            .places
            .get(key)
            .map(|place| Arc::clone(&place.slot))
    }

    /// The slot for this key, which connects as long as the demand lasts.
    fn demand(&self, key: SlotKey) -> Demand {
        let mut slots = self.slots.lock();
        let place = slots.places.entry(key.clone()).or_insert_with(|| {
            let slot = Arc::new(Slot::new(key));
            let task = tokio::spawn(slot::run(Arc::clone(&self.context), Arc::clone(&slot)));
            Place {
                slot,
                task: task.abort_handle(),
            }
        });
        Demand::new(&place.slot)
    }

    /// A queue that had no id has one now.
    fn rename(&self, demand: &Demand, queue: &EntityId) {
        let mut slots = self.slots.lock();
        let mut key = demand.slot.key.lock();
        if let SlotKey::New(_) = *key
            && let Some(place) = slots.places.remove(&key)
        {
            *key = SlotKey::Queue(queue.clone());
            slots.places.insert(key.clone(), place);
        }
    }

    /// Takes a slot away if nothing needs it.
    fn retire(&self, slot: &Slot) -> bool {
        let mut slots = self.slots.lock();
        if slot.is_needed() {
            return false;
        }
        // Dropping the place ends the slot's task, which is the caller.
        slots.places.remove(&*slot.key.lock());
        true
    }
}
