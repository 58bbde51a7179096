//! Sessions with other relays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smp_client::{ConnectError, Connector, ForwardSession, SessionOptions};
use smp_protocol::{EntityId, RelayAddress};
use tokio::time::Instant;

/// One session with each other relay, for all clients: so that relay can't tell them apart.
pub(crate) struct Forwarder {
    connector: Arc<dyn Connector>,
    options: SessionOptions,
    limit: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_address: HashMap<RelayAddress, Slot>,
    by_session: HashMap<EntityId, ForwardSession>,
}

/// The place of a relay: whoever comes first connects, the others wait for that.
#[derive(Clone)]
struct Slot {
    session: Arc<tokio::sync::Mutex<State>>,
    used: Instant,
}

#[derive(Default)]
enum State {
    #[default]
    Fresh,
    Open(ForwardSession),
    /// Until when nobody tries again.
    Failed(Arc<ConnectError>, Instant),
}

/// How long after a failure nobody tries to connect to the same relay.
const RETRY_AFTER: Duration = Duration::from_secs(10);

impl Forwarder {
    /// Sessions made by `connector`, with at most `limit` relays.
    pub(crate) fn new(
        connector: Arc<dyn Connector>,
        options: SessionOptions,
        limit: usize,
    ) -> Self {
        Self {
            connector,
            options,
            limit,
            known: Mutex::default(),
        }
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.known.lock().by_session.len()
    }

    /// The session with this id.
    pub(crate) fn find(&self, id: &EntityId) -> Option<ForwardSession> {
        let session = self.known.lock().by_session.get(id).cloned()?;
        (!session.is_closed()).then_some(session)
    }

    /// The session with a relay, made if there is none.
    pub(crate) async fn session(
        &self,
        address: &RelayAddress,
    ) -> Result<ForwardSession, Arc<ConnectError>> {
        let slot = self.slot(address);
        let mut state = slot.lock().await;
        match &*state {
            State::Open(session) if !session.is_closed() => return Ok(session.clone()),
            State::Failed(error, until) if Instant::now() < *until => return Err(error.clone()),
            _ => {}
        }
        let connected = ForwardSession::connect(&*self.connector, address, &self.options).await;
        match connected {
            Ok(session) => {
                let id = EntityId::from(session.offer().session_id.clone());
                let mut known = self.known.lock();
                known.by_session.retain(|_, session| !session.is_closed());
                known.by_session.insert(id, session.clone());
                *state = State::Open(session.clone());
                Ok(session)
            }
            Err(error) => {
                let error = Arc::new(error);
                *state = State::Failed(error.clone(), Instant::now() + RETRY_AFTER);
                Err(error)
            }
        }
    }

    /// The place of a relay; the one that was not used for longest gives way if there are too many.
    fn slot(&self, address: &RelayAddress) -> Arc<tokio::sync::Mutex<State>> {
        let now = Instant::now();
        let mut known = self.known.lock();
        if let Some(slot) = known.by_address.get_mut(address) {
            slot.used = now;
            return Arc::clone(&slot.session);
        }
        if known.by_address.len() >= self.limit {
            known.make_room();
        }
        let slot = Slot {
            session: Arc::default(),
            used: now,
        };
        known.by_address.insert(address.clone(), slot.clone());
        slot.session
    }
}

impl Known {
    fn make_room(&mut self) {
        let oldest = self.by_address.iter().min_by_key(|(_, slot)| slot.used);
        let Some(address) = oldest.map(|(address, _)| address.clone()) else {
            return;
        };
        let Some(slot) = self.by_address.remove(&address) else {
            return;
        };
        // A place whose lock is held is being connected: its session ends with its last use.
        if let Ok(state) = slot.session.try_lock()
            && let State::Open(session) = &*state
        {
            self.by_session
                .remove(&EntityId::from(session.offer().session_id.clone()));
            session.close();
        }
    }
}
