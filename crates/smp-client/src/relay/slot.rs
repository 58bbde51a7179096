//! One connection of a relay, made whenever something needs it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use smp_protocol::{EntityId, ServerAddress};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::Backoff;
use super::subscriptions::Wanted;
use super::{Inner, Patience, RelayEvent, RelayOptions, SlotKey, Subscription};
use crate::connect::{Connector, Isolation};
use crate::error::{ClientError, DisconnectReason, Fault};
use crate::event::Event;
use crate::session::{Events, Session};

/// How long a connection has to hold before pauses begin anew.
const HOLDS: Duration = Duration::from_secs(30);

/// What all slots of a relay share.
pub(super) struct Context {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) address: ServerAddress,
    pub(super) options: RelayOptions,
    pub(super) events: mpsc::Sender<RelayEvent>,
    pub(super) relay: Weak<Inner>,
}

impl Context {
    /// Tells the listener, if there is one, and waits for it to have room.
    async fn tell(&self, event: RelayEvent) {
        let _ = self.events.send(event).await;
    }

    /// Takes a slot away if nothing needs it, or the relay is gone.
    fn retire(&self, slot: &Slot) -> bool {
        self.relay.upgrade().is_none_or(|relay| relay.retire(slot))
    }
}

/// One connection: what it is for, and how it is.
pub(super) struct Slot {
    pub(super) key: Mutex<SlotKey>,
    pub(super) wanted: Wanted,
    /// Ends a pause.
    pub(super) hurry: Notify,
    isolation: Isolation,
    /// Callers who want a session.
    callers: AtomicUsize,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Session),
    Down(ClientError),
}

impl Slot {
    pub(super) fn new(key: SlotKey) -> Self {
        Self {
            key: Mutex::new(key),
            wanted: Wanted::default(),
            hurry: Notify::new(),
            isolation: Isolation::generate(&mut crate::random()),
            callers: AtomicUsize::new(0),
            state: watch::Sender::new(State::Connecting),
        }
    }

    /// Whether there has to be a connection.
    pub(super) fn is_needed(&self) -> bool {
        self.callers.load(Ordering::SeqCst) > 0 || !self.wanted.is_empty()
    }

    /// The queue that the connection is for, if it is for one.
    fn queue(&self) -> Option<EntityId> {
        match &*self.key.lock() {
            SlotKey::Queue(queue) => Some(queue.clone()),
            SlotKey::All | SlotKey::New(_) => None,
        }
    }
}

/// Somebody who wants a slot's session.
pub(super) struct Demand {
    pub(super) slot: Arc<Slot>,
}

impl Demand {
    pub(super) fn new(slot: &Arc<Slot>) -> Self {
        slot.callers.fetch_add(1, Ordering::SeqCst);
        Self {
            slot: Arc::clone(slot),
        }
    }

    /// Waits for a live session.
    pub(super) async fn session(&self, patience: Patience) -> Result<Session, ClientError> {
        let mut state = self.slot.state.subscribe();
        let up = async {
            loop {
                match &*state.borrow_and_update() {
                    State::Up(session) if !session.is_closed() => {
                        session.touch();
                        return Ok(session.clone());
                    }
                    State::Down(error)
                        if patience == Patience::FailFast || !error.is_temporary() =>
                    {
                        return Err(error.clone());
                    }
                    _ => {}
                }
                if state.changed().await.is_err() {
                    return Err(ClientError::Disconnected(DisconnectReason::Closed));
                }
            }
        };
        let Patience::Wait(limit) = patience else {
            return up.await;
        };
        match timeout(limit, up).await {
            Ok(session) => session,
            Err(_) => match &*self.slot.state.borrow() {
                State::Down(error) => Err(error.clone()),
                _ => Err(ClientError::Timeout),
            },
        }
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.slot.callers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Connects, and again when that is over, as long as there is need of it.
pub(super) async fn run(context: Arc<Context>, slot: Arc<Slot>) {
    let mut backoff = Backoff::new();
    loop {
        let end = connect(&context, &slot).await;
        if end == End::Held {
            backoff.reset();
        }
        // After a failure it stays, so that others do not try at once again.
        if end != End::Failed && context.retire(&slot) {
            return;
        }
        let pause = backoff.next(&mut crate::random());
        tokio::select! {
            () = sleep(pause) => {}
            () = slot.hurry.notified() => backoff.reset(),
        }
        if context.retire(&slot) {
            return;
        }
        slot.state.send_replace(State::Connecting);
    }
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// There was none.
    Failed,
    /// Soon, or because the relay broke the protocol.
    Broke,
    /// After a while.
    Held,
}

/// Connects once, and serves until the connection is over.
async fn connect(context: &Context, slot: &Slot) -> End {
    let options = &context.options.session;
    let attempt = Session::connect(
        &*context.connector,
        &context.address,
        &slot.isolation,
        options,
    )
    .await;
    let (session, events) = match attempt {
        Ok(connected) => connected,
        Err(error) => {
            tracing::debug!("no session with a relay: {error}");
            let (queue, error) = (slot.queue(), Arc::new(error));
            slot.state
                .send_replace(State::Down(ClientError::Connect(Arc::clone(&error))));
            context.tell(RelayEvent::Unreachable { queue, error }).await;
            return End::Failed;
        }
    };
    let since = Instant::now();
    session.touch();
    slot.state.send_replace(State::Up(session.clone()));
    context
        .tell(RelayEvent::Connected {
            queue: slot.queue(),
        })
        .await;
    let reason = serve(context, slot, &session, events).await;
    let held = since.elapsed() >= HOLDS && reason.fault() != Fault::Relay;
    slot.state.send_replace(State::Down(reason.clone().into()));
    slot.wanted.lost();
    context
        .tell(RelayEvent::Disconnected {
            queue: slot.queue(),
            reason,
        })
        .await;
    if held { End::Held } else { End::Broke }
}

async fn serve(
    context: &Context,
    slot: &Slot,
    session: &Session,
    events: Events,
) -> DisconnectReason {
    tokio::select! {
        reason = pass_on(context, slot, events) => reason,
        never = subscribe(context, slot, session) => match never {},
        () = idle(context, slot, session) => {
            session.close_because(DisconnectReason::Idle);
            DisconnectReason::Idle
        }
    }
}

/// Passes events on, up to the last one.
async fn pass_on(context: &Context, slot: &Slot, mut events: Events) -> DisconnectReason {
    while let Some(event) = events.next().await {
        match &event {
            Event::Disconnected(reason) => return reason.clone(),
            Event::End { queue } | Event::Deleted { queue } => slot.wanted.remove(queue),
            _ => {}
        }
        context.tell(RelayEvent::Told(event)).await;
    }
    DisconnectReason::Closed
}

/// Subscribes to what is wanted, some at a time.
async fn subscribe(context: &Context, slot: &Slot, session: &Session) -> Infallible {
    loop {
        let batch = slot.wanted.next_batch().await;
        // Each subscription may bring a message; what came before goes first.
        session.events_taken().await;
        let results = ask(session, &batch).await;
        let mut subscribed = Vec::new();
        for (subscription, result) in batch.iter().zip(results) {
            let queue = subscription.queue().clone();
            match result {
                Ok(()) => subscribed.push(queue),
                // All of them are asked for again in the next connection.
                Err(ClientError::Disconnected(_)) => {}
                Err(error) => {
                    let again = error.is_temporary();
                    match again {
                        true => slot.wanted.again(&queue),
                        false => slot.wanted.remove(&queue),
                    }
                    context
                        .tell(RelayEvent::SubscriptionFailed {
                            queue,
                            error,
                            again,
                        })
                        .await;
                }
            }
        }
        if !subscribed.is_empty() {
            context
                .tell(RelayEvent::Subscribed { queues: subscribed })
                .await;
        }
    }
}

async fn ask(session: &Session, batch: &[Subscription]) -> Vec<Result<(), ClientError>> {
    let requests = batch.iter().map(Subscription::request).collect();
    session
        .subscribe_all(requests)
        .await
        .into_iter()
        .map(|result| result.map(drop))
        .collect()
}

/// Waits until the session was not used for long and nothing needs it.
async fn idle(context: &Context, slot: &Slot, session: &Session) {
    let limit = context.options.idle;
    loop {
        let unused = session.last_used() + limit;
        let now = Instant::now();
        if unused > now {
            sleep_until(unused).await;
        } else if slot.is_needed() || session.is_busy() {
            sleep(limit).await;
        } else {
            return;
        }
    }
}
