//! Sessions with other relays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smp_client::{ConnectError, Connector, ForwardSession, SessionOptions};
use smp_protocol::{BrokerError, EntityId, ProxyError, RelayAddress};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How long after a failure nobody tries to connect to the same relay.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Without use for so long a session is closed.
const IDLE: Duration = Duration::from_secs(300);

/// Connections that are being made at a time, of all clients.
const CONNECTING: usize = 64;

/// One session with each other relay, for all clients: so that relay can't tell them apart.
pub(crate) struct Forwarder {
    connector: Arc<dyn Connector>,
    options: SessionOptions,
    limits: ForwarderLimits,
    connecting: Semaphore,
    known: Mutex<Known>,
}

/// What all clients together may cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForwarderLimits {
    /// Relays with which there is a session, or that are being tried.
    pub(crate) relays: usize,
    /// For making a session.
    pub(crate) timeout: Duration,
}

#[derive(Default)]
struct Known {
    relays: HashMap<RelayAddress, Place>,
    ids: HashMap<EntityId, RelayAddress>,
}

/// A relay's place.
struct Place {
    /// Whoever comes first connects; the others wait for that.
    attempt: Arc<tokio::sync::Mutex<Attempt>>,
    open: Option<ForwardSession>,
    used: Instant,
}

/// What became of the last attempt to connect.
#[derive(Default)]
struct Attempt {
    /// Why it failed, and until when nobody tries again.
    failed: Option<(ProxyError, Instant)>,
}

impl Forwarder {
    /// Sessions made by `connector`.
    pub(crate) fn new(
        connector: Arc<dyn Connector>,
        options: SessionOptions,
        limits: ForwarderLimits,
    ) -> Self {
        let connecting = Semaphore::new(CONNECTING);
        Self {
            connector,
            options,
            limits,
            connecting,
            known: Mutex::default(),
        }
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.known.lock().ids.len()
    }

    /// The session with this id.
    pub(crate) fn find(&self, id: &EntityId) -> Option<ForwardSession> {
        let mut known = self.known.lock();
        let known = &mut *known;
        let place = known.relays.get_mut(known.ids.get(id)?)?;
        place.used = Instant::now();
        place.open.clone().filter(|session| !session.is_closed())
    }

    /// The session with a relay, made if there is none.
    pub(crate) async fn session(
        &self,
        address: &RelayAddress,
    ) -> Result<ForwardSession, ProxyError> {
        let (attempt, open) = self.place(address)?;
        if let Some(session) = open {
            return Ok(session);
        }
        let mut attempt_now = attempt.lock().await;
        // Whoever had the lock before may have done it.
        if let (_, Some(session)) = self.place(address)? {
            return Ok(session);
        }
        if let Some((error, until)) = &attempt_now.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let connected = timeout(self.limits.timeout, self.connect(address)).await;
        let connected = connected.unwrap_or(Err(ConnectError::Timeout));
        match connected {
            Ok(session) => {
                attempt_now.failed = None;
                self.keep(address, &attempt, session)
            }
            Err(error) => {
                let error = error.to_proxy_error();
                attempt_now.failed = Some((error.clone(), Instant::now() + RETRY_AFTER));
                Err(error)
            }
        }
    }

    /// Closes sessions that nobody used for long, and forgets relays that are not reached.
    pub(crate) fn close_idle(&self) {
        let mut known = self.known.lock();
        known.relays.retain(|_, place| !place.is_idle());
        let Known { relays, ids } = &mut *known;
        ids.retain(|_, address| relays.contains_key(address));
    }

    async fn connect(&self, address: &RelayAddress) -> Result<ForwardSession, ConnectError> {
        // Never closed.
        let _permit = self.connecting.acquire().await;
        ForwardSession::connect(&*self.connector, address, &self.options).await
    }

    /// The place of a relay, and its session if it is open.
    #[allow(clippy::type_complexity)]
    fn place(
        &self,
        address: &RelayAddress,
    ) -> Result<(Arc<tokio::sync::Mutex<Attempt>>, Option<ForwardSession>), ProxyError> {
        let mut known = self.known.lock();
        if let Some(place) = known.relays.get_mut(address) {
            place.used = Instant::now();
            let open = place.open.clone().filter(|session| !session.is_closed());
            return Ok((Arc::clone(&place.attempt), open));
        }
        if known.relays.len() >= self.limits.relays && !known.make_room() {
            return Err(ProxyError::Broker(BrokerError::Timeout));
        }
        let attempt = Arc::default();
        let place = Place {
            attempt: Arc::clone(&attempt),
            open: None,
            used: Instant::now(),
        };
        known.relays.insert(address.clone(), place);
        Ok((attempt, None))
    }

    /// Notes a new session, unless its relay lost its place meanwhile.
    fn keep(
        &self,
        address: &RelayAddress,
        attempt: &Arc<tokio::sync::Mutex<Attempt>>,
        session: ForwardSession,
    ) -> Result<ForwardSession, ProxyError> {
        let mut known = self.known.lock();
        let known = &mut *known;
        match known.relays.get_mut(address) {
            Some(place) if Arc::ptr_eq(&place.attempt, attempt) => {
                if let Some(former) = place.open.replace(session.clone()) {
                    known
                        .ids
                        .remove(&EntityId::from(former.offer().session_id.clone()));
                }
                let id = EntityId::from(session.offer().session_id.clone());
                known.ids.insert(id, address.clone());
                Ok(session)
            }
            _ => {
                session.close();
                Err(ProxyError::Broker(BrokerError::Timeout))
            }
        }
    }
}

impl Known {
    /// Makes room for a relay. A session that somebody may be using stays.
    fn make_room(&mut self) -> bool {
        let unused = |(_, place): &(&RelayAddress, &Place)| place.is_free();
        let oldest = self
            .relays
            .iter()
            .filter(unused)
            .min_by_key(|(_, place)| place.used);
        let Some(address) = oldest.map(|(address, _)| address.clone()) else {
            return false;
        };
        self.relays.remove(&address);
        self.ids.retain(|_, of| *of != address);
        true
    }
}

impl Place {
    /// Whether nobody connects, and no session is open that was used lately.
    fn is_free(&self) -> bool {
        let connecting = Arc::strong_count(&self.attempt) > 1;
        let open = self
            .open
            .as_ref()
            .is_some_and(|session| !session.is_closed());
        !connecting && (!open || self.used.elapsed() >= IDLE)
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.attempt) == 1 && self.used.elapsed() >= IDLE
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(session) = &self.open {
            session.close();
        }
    }
}
