//! One client's session: its blocks in, the relay's blocks out.
//!
//! A session has no socket and no task of its own. Its connection hands it each block that came in
//! ([`Session::handle_block`]), asks it to look into its inbox ([`Session::handle_events`]), and
//! then writes whatever [`Session::take_blocks`] returns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use smp_protocol::{
    Authorization, Block, BlockCipher, BlockError, BlockOpener, Command, CommandError, CorrId,
    EntityId, ErrorType, MessageId, Response, SessionParams, SmpVersion, Transmission,
    TransmissionError, plain_content, transmissions,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::access::{KeyCache, Party, Proof, Target};
use super::forward::Forwarding;
use super::inbox::{Event, Inbox};
use super::limits::TokenBucket;
use super::outbox::Outbox;
use super::registry::{ConnectionId, Subscriber};
use super::service::{self, ServiceSession};
use super::{Relay, SessionSetup};
use crate::store::{QueueId, QueueRecord, ServiceKind, Store};

/// Blocks that wait in the outbox at most.
const BLOCKS_AT_ONCE: usize = 8;

/// Events handled before what they lead to is written.
const EVENTS_AT_ONCE: usize = 16;

/// How a connection takes messages of a queue; one way excludes the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By subscription: SUB, or NEW with it.
    Sub,
    /// One by one: GET.
    Get,
}

/// A queue of which this connection takes messages.
pub(crate) struct Subscription {
    pub(crate) access: Access,
    /// The message that was handed out and waits for its ACK.
    pub(crate) delivered: Option<MessageId>,
    /// Whether that message is to be handed out once more, since the client subscribed again.
    pub(crate) again: bool,
    /// Whether it holds for as long as this connection listens for its service.
    pub(crate) by_service: bool,
}

impl Subscription {
    pub(crate) fn new(access: Access, delivered: Option<MessageId>) -> Self {
        Self {
            access,
            delivered,
            again: false,
            by_service: false,
        }
    }
}

/// A client's session.
pub(crate) struct Session<S: Store> {
    pub(super) relay: Arc<Relay<S>>,
    pub(super) id: ConnectionId,
    pub(super) inbox: Arc<Inbox>,
    pub(super) params: SessionParams,
    pub(super) keys: KeyCache,
    pub(super) forward_key: Option<smp_protocol::BoxKey>,
    pub(super) service: Option<ServiceSession>,
    pub(super) subscriptions: HashMap<QueueId, Subscription>,
    pub(super) notifiers: HashSet<QueueId>,
    pub(super) forwarding: Forwarding,
    broken: bool,
    commands: TokenBucket,
    creations: TokenBucket,
    opener: Option<BlockOpener>,
    outbox: Outbox,
}

impl<S: Store> Session<S> {
    pub(crate) fn new(relay: Arc<Relay<S>>, id: ConnectionId, setup: SessionSetup) -> Self {
        let limits = &relay.config.limits;
        let now = Instant::now();
        let (sealer, opener) = match setup.cipher {
            Some(BlockCipher { sealer, opener }) => (Some(sealer), Some(opener)),
            None => (None, None),
        };
        let per_second = limits.commands_per_second;
        let per_minute = limits.new_queues_per_minute;
        Self {
            id,
            inbox: Arc::new(Inbox::new(limits.subscriptions + INBOX_RESERVE)),
            keys: KeyCache::new(setup.session_key),
            forward_key: setup.forward_key,
            service: setup.service,
            subscriptions: HashMap::new(),
            notifiers: HashSet::new(),
            forwarding: Forwarding::new(relay.config.proxy.concurrent),
            broken: false,
            commands: TokenBucket::new(per_second.saturating_mul(2), per_second.into(), now),
            creations: TokenBucket::new(per_minute, f64::from(per_minute) / 60.0, now),
            opener,
            outbox: Outbox::new(sealer),
            params: setup.params,
            relay,
        }
    }

    /// What others have for this session.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Whether the client listens to anything; if so it may be silent for as long as it likes.
    pub(crate) fn listens(&self) -> bool {
        let subscribed = |one: &Subscription| one.access == Access::Sub;
        self.subscriptions.values().any(subscribed)
            || !self.notifiers.is_empty()
            || self
                .service
                .as_ref()
                .is_some_and(|service| service.subscribed)
    }

    /// Opens a block. Its transmissions go to [`Self::handle_transmission`] one after the other.
    ///
    /// # Errors
    /// The block can't be decrypted or is no block: the connection has to be closed.
    pub(crate) fn open_block<'b>(
        &mut self,
        block: &'b mut Block,
    ) -> Result<impl Iterator<Item = &'b [u8]> + 'b + use<'b, S>, BlockError> {
        let content = match &mut self.opener {
            Some(opener) => opener.open(block)?,
            None => plain_content(block)?,
        };
        let transmissions = transmissions(content).ok();
        if transmissions.is_none() {
            self.respond(None, EntityId::EMPTY, &Response::Err(ErrorType::Block));
        }
        Ok(transmissions.into_iter().flatten())
    }

    /// Executes a command. Its answer waits in the outbox. Who asks too fast waits for its turn,
    /// but not beyond `stop`: what was read is executed.
    pub(crate) async fn handle_transmission(&mut self, bytes: &[u8], stop: &CancellationToken) {
        let params = self.params.clone();
        match Transmission::decode(bytes, &params) {
            Ok(transmission) => {
                self.wait_for_turn(&transmission, stop).await;
                self.relay.metrics.commands.inc();
                self.handle(&transmission, &params).await;
            }
            Err(TransmissionError::Session { corr_id, entity }) => {
                self.respond(corr_id, entity, &Response::Err(ErrorType::Session));
            }
            Err(_) => {
                self.respond(None, EntityId::EMPTY, &Response::Err(ErrorType::Block));
            }
        }
    }

    /// Whether so much waits in the outbox that it has to be written before more is done: the
    /// answers to one block can be 255 blocks.
    pub(crate) fn must_write(&self) -> bool {
        self.outbox.full_blocks() >= BLOCKS_AT_ONCE
    }

    /// Whether the session can't go on: the store did not give what it has for the client.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Handles some of what the inbox holds; returns whether anything is left.
    pub(crate) async fn handle_events(&mut self) -> bool {
        for _ in 0..EVENTS_AT_ONCE {
            let Some(event) = self.inbox.pop() else {
                return false;
            };
            self.handle_event(event).await;
        }
        !self.inbox.is_empty()
    }

    /// The blocks that are ready to be written, in order.
    pub(crate) fn take_blocks(&mut self) -> Vec<Box<Block>> {
        self.outbox.take()
    }

    /// Nobody delivers to this session any more.
    fn close(&mut self) {
        for (id, subscription) in self.subscriptions.drain() {
            if subscription.access == Access::Sub {
                self.relay.queues.unsubscribe(id, self.id);
            }
        }
        for id in self.notifiers.drain() {
            self.relay.notifiers.unsubscribe(id, self.id);
        }
        self.close_service();
    }

    pub(super) fn version(&self) -> SmpVersion {
        self.params.version
    }

    pub(super) fn subscriber(&self) -> Subscriber {
        Subscriber {
            connection: self.id,
            inbox: Arc::clone(&self.inbox),
        }
    }

    async fn wait_for_turn(&mut self, transmission: &Transmission<'_>, stop: &CancellationToken) {
        let now = Instant::now();
        let mut wait = self.commands.take(now);
        if transmission.command.starts_with(b"NEW ") {
            wait = wait.max(self.creations.take(now));
        }
        if !wait.is_zero() {
            // Whether it was the time or the end makes no difference.
            let _ = timeout(wait, stop.cancelled()).await;
        }
    }

    async fn handle(&mut self, transmission: &Transmission<'_>, params: &SessionParams) {
        let answer = match Command::decode(params.version, transmission.command) {
            Ok(command) => self.execute(transmission, params, command).await,
            Err(error) => Err(ErrorType::Cmd(error)),
        };
        let response = match answer {
            Ok(Some(response)) => response,
            Ok(None) => return,
            Err(error) => {
                if error == ErrorType::Auth {
                    self.relay.metrics.auth_errors.inc();
                }
                Response::Err(error)
            }
        };
        // IDS and answers without queue go out with the entity that came in, which is empty then.
        self.respond(transmission.corr_id, transmission.entity.clone(), &response);
    }

    /// Executes a command; `None` is answered later.
    async fn execute(
        &mut self,
        transmission: &Transmission<'_>,
        params: &SessionParams,
        command: Command,
    ) -> Result<Option<Response>, ErrorType> {
        let authorized = transmission.authorization != Authorization::None;
        let credentials = command.credentials();
        let checked = credentials.check(authorized, !transmission.entity.is_empty());
        checked.map_err(ErrorType::Cmd)?;
        let corr_id = transmission.corr_id;
        match command {
            Command::Ping => return Ok(Some(Response::Pong)),
            Command::Prxy { relay, basic_auth } => {
                return self
                    .prxy(relay, basic_auth.as_ref(), corr_id)
                    .await
                    .map(|()| None);
            }
            Command::Pfwd { version, key, body } => {
                let entity = &transmission.entity;
                return self
                    .pfwd(entity, version, key, body, corr_id)
                    .await
                    .map(|()| None);
            }
            Command::Rfwd(body) => {
                let corr_id = corr_id.ok_or(ErrorType::Cmd(CommandError::Syntax))?;
                return self.rfwd(&corr_id, body).await.map(Some);
            }
            Command::Rslv(_) => return Err(Relay::<S>::rslv()),
            Command::Subs { .. } => return self.subs(transmission).await.map(Some),
            Command::Nsubs { .. } => return self.nsubs(transmission).await.map(Some),
            _ => {}
        }
        let service = self.service.as_ref();
        let (signed, as_service) = service::signed(service, transmission, params, &command)?;
        let proof = Proof::new(transmission, signed)?;
        let entity = &transmission.entity;
        let target = self
            .relay
            .authorize(&mut self.keys, entity, &proof, &command)
            .await;
        // A queue with many keys costs as many commands, whether one of them was right or not.
        let checks = self.keys.take_checks();
        self.commands.charge(checks.saturating_sub(1));
        match (target?, command) {
            (Target::New, Command::New(new)) => {
                let corr_id = corr_id.ok_or(ErrorType::Cmd(CommandError::Syntax))?;
                self.new_queue(*new, &corr_id, as_service).await.map(Some)
            }
            (Target::Queue(record, Party::Recipient), command) => self
                .execute_recipient(&record, command, as_service)
                .await
                .map(Some),
            (Target::Queue(record, Party::Notifier), Command::Nsub) => {
                self.nsub(&record, as_service).await.map(Some)
            }
            (Target::Queue(record, _), command) => {
                let version = self.version();
                self.relay
                    .execute_sender(&record, version, command)
                    .await
                    .map(Some)
            }
            (Target::New, _) => Err(ErrorType::Internal),
        }
    }

    async fn execute_recipient(
        &mut self,
        record: &QueueRecord,
        command: Command,
        as_service: bool,
    ) -> Result<Response, ErrorType> {
        self.relay.used(record).await;
        match command {
            Command::Sub => self.sub(record, as_service).await,
            Command::Key(key) => self.key(record, key).await,
            Command::Rkey(keys) => self.rkey(record, keys).await,
            Command::Lset { link_id, data } => self.lset(record, &link_id, data).await,
            Command::Ldel => self.ldel(record).await,
            Command::Nkey { key, dh_key } => self.nkey(record, key, &dh_key).await,
            Command::Ndel => self.ndel(record).await,
            Command::Get => self.get(record).await,
            Command::Ack(id) => self.ack(record, id).await,
            Command::Off => self.off(record).await,
            Command::Del => self.del(record).await,
            Command::Que => self.que(record).await,
            _ => Err(ErrorType::Internal),
        }
    }

    async fn handle_event(&mut self, event: Event) {
        match event {
            Event::Message(id) => self.deliver_first(id).await,
            Event::Ended(id) => self.subscription_ended(id),
            Event::Deleted(id) => {
                if self.subscriptions.remove(&id).is_some() || self.serves(ServiceKind::Messages) {
                    self.respond(None, id, &Response::Deld);
                }
            }
            Event::Notification(id) => self.deliver_notifications(id),
            Event::NotifierEnded(id) => self.notifier_ended(id),
            Event::NotifierDeleted(id) => {
                if self.notifiers.remove(&id) || self.serves(ServiceKind::Notifications) {
                    self.respond(None, id, &Response::Deld);
                }
            }
            Event::ServiceEnded { count, ids_hash } => self.service_ended(count, ids_hash),
            Event::AllDelivered => self.respond(None, EntityId::EMPTY, &Response::Alls),
            Event::Answer {
                corr_id,
                entity,
                response,
            } => {
                self.respond(corr_id, entity, &response);
            }
        }
    }

    /// Another connection subscribed to the queue, unless this one did so again since.
    fn subscription_ended(&mut self, id: QueueId) {
        if self.relay.queues.has(id, self.id) {
            return;
        }
        if self.subscriptions.remove(&id).is_some() || self.serves(ServiceKind::Messages) {
            self.respond(None, id, &Response::End);
        }
    }

    /// Hands out a queue's first message, unless one is out already.
    async fn deliver_first(&mut self, id: QueueId) {
        let subscription = self.subscriptions.get(&id);
        let waits = |one: &Subscription| {
            one.access == Access::Sub && (one.delivered.is_none() || one.again)
        };
        if !subscription.is_none_or(waits) {
            return;
        }
        let by_service = subscription.is_none_or(|one| one.by_service);
        let record = match self.relay.record(id).await {
            Ok(Some(record)) => record,
            Ok(None) => return self.queue_lost(id),
            Err(_) => return,
        };
        if !self.takes(&record, by_service) {
            return;
        }
        let Ok(first) = self.relay.first(&id).await else {
            return;
        };
        let Some(message) = first else {
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.again = false;
            }
            return;
        };
        let subscription = Subscription {
            access: Access::Sub,
            delivered: Some(message.id),
            again: false,
            by_service,
        };
        self.subscriptions.insert(id, subscription);
        let response = self.relay.deliver(&record, message);
        self.respond(None, id, &response);
    }

    /// Whether messages of a queue go to this connection, and to no later one.
    pub(super) fn takes(&self, record: &QueueRecord, by_service: bool) -> bool {
        if by_service {
            self.service_takes(record)
        } else {
            self.relay.queues.has(record.recipient_id, self.id)
        }
    }

    /// The queue was deleted while this connection subscribed to it.
    fn queue_lost(&mut self, id: QueueId) {
        if self.subscriptions.remove(&id).is_some() {
            self.relay.queues.unsubscribe(id, self.id);
            self.respond(None, id, &Response::Deld);
        }
    }

    pub(super) fn respond(
        &mut self,
        corr_id: Option<CorrId>,
        entity: impl Into<EntityId>,
        response: &Response,
    ) {
        self.outbox
            .push(&self.params, corr_id.as_ref(), &entity.into(), response);
    }
}

impl<S: Store> Drop for Session<S> {
    /// However the connection ended.
    fn drop(&mut self) {
        self.close();
        self.relay.metrics.connections.dec();
    }
}

/// Events that an inbox holds beside one for each subscription.
const INBOX_RESERVE: usize = 1024;
