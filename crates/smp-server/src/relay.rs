//! What the relay does with commands, whatever they came in by.
//!
//! Down goes a block, up comes a block: [`session::Session`] is one client's side of it, [`Relay`]
//! what all sessions share. Nothing here knows of sockets.
//!
//! A message takes this way: SEND → [`Store::push`] → the recipient's inbox learns that there is
//! something → the recipient's session reads it from the store, seals and writes it → ACK →
//! [`Store::acknowledge`]. No body is held in between.

mod access;
mod forward;
mod inbox;
mod limits;
mod notifier;
mod outbox;
mod recipient;
mod registry;
mod sender;
mod service;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{Connector, SessionOptions, Timeouts};
use smp_protocol::{
    BasicAuth, BlockingInfo, BlockingReason, BoxKey, Command, DhPrivateKey, ErrorType, Response,
    SessionParams, SmpVersion,
};

use self::forward::{Forwarder, ForwarderLimits};
use self::inbox::Event;
use self::notifier::Notifications;
use self::registry::{ConnectionId, Registry, Subscriber};
pub(crate) use self::service::ServiceSession;
pub(crate) use self::session::Session;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::{Lookup, QueueChange, QueueId, QueueRecord, QueueStatus, Store, StoreError};

/// What all sessions of a relay share.
pub struct Relay<S: Store> {
    pub(crate) config: Config,
    pub(crate) store: S,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    queues: Registry,
    notifiers: Registry,
    services: Registry,
    notifier_services: Registry,
    notifications: Notifications,
    forwarder: Forwarder,
    connections: AtomicU64,
    /// When an error of the store was last logged, in seconds since 1970.
    logged: AtomicU64,
}

/// Seconds in which one error of the store is logged at most: a full disk refuses many commands.
const LOG_INTERVAL: u64 = 10;

/// What a handshake agreed on, for a new session.
pub(crate) struct SessionSetup {
    pub(crate) params: SessionParams,
    /// The relay's half of the session key, from version 7 on.
    pub(crate) session_key: Option<DhPrivateKey>,
    /// Agreed in both hellos: opens what another relay forwards in this session.
    pub(crate) forward_key: Option<BoxKey>,
    pub(crate) cipher: Option<smp_protocol::BlockCipher>,
    pub(crate) service: Option<ServiceSession>,
}

/// How sessions with other relays are made.
fn forward_options(config: &crate::config::Proxy) -> SessionOptions {
    let limit = Duration::from_secs(config.timeout_seconds.into());
    let timeouts = Timeouts {
        handshake: limit,
        command: limit,
        ..Timeouts::default()
    };
    SessionOptions {
        timeouts,
        in_flight: forward::IN_FLIGHT,
        ..SessionOptions::default()
    }
}

/// The system's generator, as the cryptographic crates take it. It fails only where nothing works.
pub(crate) fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

impl<S: Store> Relay<S> {
    /// A relay over `store`, which reaches other relays by `connector`.
    pub fn new(config: Config, store: S, clock: Clock, connector: Arc<dyn Connector>) -> Self {
        let options = forward_options(&config.proxy);
        let limits = ForwarderLimits {
            relays: config.proxy.relays,
            timeout: Duration::from_secs(config.proxy.timeout_seconds.into()),
        };
        Self {
            forwarder: Forwarder::new(connector, options, limits),
            config,
            store,
            clock,
            metrics: Metrics::default(),
            queues: Registry::new(),
            notifiers: Registry::new(),
            services: Registry::new(),
            notifier_services: Registry::new(),
            notifications: Notifications::new(),
            connections: AtomicU64::new(0),
            logged: AtomicU64::new(0),
        }
    }

    /// A new session on a connection whose handshake is done.
    pub(crate) fn session(self: &Arc<Self>, setup: SessionSetup) -> Session<S> {
        let id = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed));
        self.metrics.connections.inc();
        Session::new(Arc::clone(self), id, setup)
    }

    /// Executes a sender's or link command on a queue that it was verified for.
    async fn execute_sender(
        &self,
        record: &QueueRecord,
        version: SmpVersion,
        command: Command,
    ) -> Result<Response, ErrorType> {
        match command {
            Command::Skey(key) => self.skey(record, key).await,
            Command::Send { flags, body } => self.send(record, version, flags, body).await,
            Command::Lkey(key) => self.lkey(record, key).await,
            Command::Lget => self.lget(record).await,
            _ => Err(ErrorType::Internal),
        }
    }

    /// Whether a queue may be created with this password.
    fn may_create(&self, auth: Option<&BasicAuth>) -> Result<(), ErrorType> {
        if self.config.queues.allow_new && self.knows_password(auth) {
            Ok(())
        } else {
            Err(ErrorType::Auth)
        }
    }

    /// Whether `auth` is the password, or none is asked for.
    fn knows_password(&self, auth: Option<&BasicAuth>) -> bool {
        match (&self.config.queues.password, auth) {
            (None, _) => true,
            (Some(password), Some(auth)) => &password.0 == auth,
            (Some(_), None) => false,
        }
    }

    async fn record(&self, id: QueueId) -> Result<Option<Arc<QueueRecord>>, ErrorType> {
        let found = self.store.find(Lookup::Recipient(id)).await;
        found.map_err(|error| self.store_error(&error))
    }

    /// Tells the queue's listener that it has a message.
    fn announce(&self, record: &QueueRecord) {
        if let Some(listener) = self.listener(record) {
            listener.inbox.push(Event::Message(record.recipient_id));
        }
    }

    /// Who takes the queue's messages.
    fn listener(&self, record: &QueueRecord) -> Option<Subscriber> {
        match record.service {
            Some(service) => self.services.subscriber(service),
            None => self.queues.subscriber(record.recipient_id),
        }
    }

    /// The queue is no more; whoever listened to it learns so, but for connection `by`.
    pub(crate) fn queue_gone(&self, record: &QueueRecord, by: Option<ConnectionId>) {
        let listener = self.listener(record);
        self.queues.remove(record.recipient_id);
        if let Some(former) = listener
            && Some(former.connection) != by
        {
            former.inbox.push(Event::Deleted(record.recipient_id));
        }
        self.notifier_gone(record, by);
    }

    /// Notes, once a day, that a queue is in use.
    async fn used(&self, record: &QueueRecord) {
        let today = self.clock.today();
        if record.used_on != today {
            let change = QueueChange::UsedOn(today);
            if let Err(error) = self.store.update(&record.recipient_id, change).await {
                self.store_error(&error);
            }
        }
    }

    /// The answer to a failed operation of the store. The operator reads the cause in the log; the
    /// client learns only that it was the storage.
    pub(crate) fn store_error(&self, error: &StoreError) -> ErrorType {
        self.metrics.store_errors.inc();
        let (now, last) = (self.clock.now(), self.logged.load(Ordering::Relaxed));
        if now >= last + LOG_INTERVAL {
            self.logged.store(now, Ordering::Relaxed);
            tracing::error!("storage: {error}");
        }
        ErrorType::Store(String::new())
    }
}

/// What the operator asks for.
impl<S: Store> Relay<S> {
    /// How many queues connections are subscribed to.
    pub(crate) fn subscribed(&self) -> usize {
        self.queues.len()
    }

    /// Forgets what nobody asks for any more.
    pub(crate) fn forget(&self) {
        self.forwarder.close_idle();
        self.notifications.expire(self.clock.now());
    }

    /// How many sessions with other relays there are.
    pub(crate) fn proxy_sessions(&self) -> usize {
        self.forwarder.len()
    }

    /// As [`Self::block`], with an id in base64url and the reason as a word.
    pub(crate) async fn block_by_text(
        &self,
        id: &str,
        reason: Option<BlockingReason>,
    ) -> anyhow::Result<()> {
        let bytes = URL_SAFE_NO_PAD.decode(id.trim_end_matches('='));
        let id = bytes
            .ok()
            .and_then(|bytes| QueueId::try_from(&bytes[..]).ok());
        let id = id.context("that is no id of this relay: 24 bytes in base64url")?;
        let info = reason.map(|reason| BlockingInfo {
            reason,
            notice: None,
        });
        anyhow::ensure!(
            self.block(id, info).await?,
            "there is no queue with this id"
        );
        Ok(())
    }

    /// Blocks the queue of a sender's or link's id, or takes the block back with `None`, which
    /// leaves a suspended queue as it is. Returns whether there is one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn block(&self, id: QueueId, info: Option<BlockingInfo>) -> Result<bool, StoreError> {
        let mut found = self.store.find(Lookup::Sender(id)).await?;
        if found.is_none() {
            found = self.store.find(Lookup::Link(id)).await?;
        }
        let Some(record) = found else {
            return Ok(false);
        };
        let blocked = matches!(record.status, QueueStatus::Blocked(_));
        let status = match info {
            Some(info) => QueueStatus::Blocked(info),
            None if blocked => QueueStatus::Active,
            None => return Ok(true),
        };
        self.store
            .update(&record.recipient_id, QueueChange::Status(status))
            .await?;
        Ok(true)
    }
}
