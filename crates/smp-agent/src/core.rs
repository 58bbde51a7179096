//! The agent without network and clock.
//!
//! [`Core`] turns what the application asks ([`Core::invite`], [`Core::connect`], [`Core::send`],
//! …) and what relays deliver and answer ([`Core::handle_message`], [`Core::handle_outcome`]) into
//! commands for relays and events for the application. The order of calls:
//!
//! 1. Any input, each with the time.
//! 2. [`Core::poll_output`] until it returns nothing.
//! 3. [`Core::handle_timeout`] when [`Core::next_timeout`] is reached, and 2. again.
//! 4. [`Core::first_event`] and [`Core::take_event`] whenever there are events.
//!
//! Each input is one transaction of the store. Its outputs come after the commit, and all work at
//! relays follows from the store: whoever drops a core at any moment, and makes another one with
//! the same store, loses and doubles nothing.

mod api;
mod error;
mod event;
mod handshake;
mod jobs;
pub mod limits;
mod links;
mod maintenance;
mod output;
mod receive;
mod resync;
mod rotation;
mod send;
mod step;
mod work;

use std::collections::{BTreeMap, HashMap, VecDeque};

use rand::CryptoRng;
use smp_protocol::{MessageId, RecipientId, RelayAddress};

pub use api::Security;
pub use error::CoreError;
pub use event::{Event, FailReason, Integrity, NumberedEvent, UndeliveredReason};
pub use links::Links;
pub use output::{Failure, Notice, Output, Reply, Request, Step, Ticket};

use crate::model::{ReceiveQueueId, ReceiveQueueState, Timestamp};
use crate::store::Store;
use jobs::{Job, Jobs, Next, Pending};
use limits::{MAINTENANCE, MAX_EVENTS, STORE_PAUSE};
use step::{Effect, StepError};

/// Where keys, ids and nonces come from.
pub type Randomness = Box<dyn CryptoRng + Send>;

/// What a core may use and how.
#[derive(Clone, Debug, Default)]
pub struct CoreConfig {
    /// Relays where queues are created, one at random each time. Messages are sent to any relay.
    pub relays: Vec<RelayAddress>,
    /// Relays that short links may name by their host alone, besides `relays`.
    pub others: Vec<RelayAddress>,
    /// Whether new connections are to be post-quantum.
    pub post_quantum: bool,
    /// After how many milliseconds a receive queue is replaced by one at another relay; `None`:
    /// never because of its age.
    pub rotate_after: Option<i64>,
}

impl CoreConfig {
    fn known_relays(&self) -> Vec<RelayAddress> {
        self.relays.iter().chain(&self.others).cloned().collect()
    }
}

/// The agent without network and clock; see the [module](self).
pub struct Core {
    store: Store,
    config: CoreConfig,
    random: Randomness,
    jobs: Jobs,
    ready: VecDeque<Job>,
    outputs: VecDeque<Output>,
    /// Messages that came when nothing could be kept; one a queue, since the relay waits for its
    /// acknowledgement.
    stalled: BTreeMap<ReceiveQueueId, (MessageId, Vec<u8>)>,
    stalled_until: Option<Timestamp>,
    held_until: Option<Timestamp>,
    /// Since when relays have been out of reach.
    down: HashMap<RelayAddress, Timestamp>,
    maintenance_at: Timestamp,
}

impl Core {
    /// A core that goes on where the store says.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn new(
        store: Store,
        config: CoreConfig,
        random: Randomness,
        now: Timestamp,
    ) -> Result<Self, CoreError> {
        let mut core = Self {
            store,
            config,
            random,
            jobs: Jobs::default(),
            ready: VecDeque::new(),
            outputs: VecDeque::new(),
            stalled: BTreeMap::new(),
            stalled_until: None,
            held_until: None,
            down: HashMap::new(),
            maintenance_at: now.plus(MAINTENANCE),
        };
        core.step(now, |step| step.resume())?;
        core.pump(now);
        Ok(core)
    }

    /// What became of a request.
    ///
    /// # Errors
    /// [`CoreError::Store`]: the outcome is lost, and the request made again.
    pub fn handle_outcome(
        &mut self,
        ticket: Ticket,
        outcome: Result<Reply, Failure>,
        now: Timestamp,
    ) -> Result<(), CoreError> {
        let Some((job, pending)) = self.jobs.outcome(ticket) else {
            return Ok(());
        };
        let (next, result) = self.settle(&job, pending, outcome, now);
        if self.jobs.finish(&job, next, now) {
            self.ready.push_back(job);
        }
        self.pump(now);
        result
    }

    fn settle(
        &mut self,
        job: &Job,
        pending: Pending,
        outcome: Result<Reply, Failure>,
        now: Timestamp,
    ) -> (Next, Result<(), CoreError>) {
        let settled = match outcome {
            Ok(reply) => self.try_step(now, |step| {
                step.succeeded(job, pending, reply)?;
                Ok(Next::Done)
            }),
            Err(failure) => self.try_step(now, |step| Ok(step.refused(job, &pending, &failure)?)),
        };
        match settled {
            Ok(next) => (next, Ok(())),
            Err(StepError::Core(error)) => (Next::After(STORE_PAUSE), Err(error)),
            Err(StepError::Peer(reason)) => {
                let misled = Failure::Refused(smp_protocol::ErrorType::Internal);
                tracing::debug!(reason, "a relay's answer is of no use");
                let _ = self.try_step(now, |step| {
                    Ok(step.refused(job, &Pending::Acknowledged, &misled)?)
                });
                (Next::Later, Ok(()))
            }
        }
    }

    /// A message that a relay delivered. It is acknowledged once it is stored.
    ///
    /// # Errors
    /// [`CoreError::Store`]: the message is kept in memory and tried again.
    pub fn handle_message(
        &mut self,
        relay: &RelayAddress,
        recipient: &RecipientId,
        id: MessageId,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), CoreError> {
        let result = self.message(relay, recipient, id, body, now);
        self.pump(now);
        result
    }

    fn message(
        &mut self,
        relay: &RelayAddress,
        recipient: &RecipientId,
        id: MessageId,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), CoreError> {
        let queue = self.step(now, |step| {
            Ok(step.tx.find_receive_queue(relay, recipient)?)
        })?;
        match queue {
            Some(queue) if queue.state == ReceiveQueueState::Active => {
                self.take_message(queue.id, id, body, now)
            }
            // Its deletion is under way, or it was the last word of a queue that is gone.
            _ => Ok(()),
        }
    }

    fn take_message(
        &mut self,
        queue: ReceiveQueueId,
        id: MessageId,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), CoreError> {
        let full = self.step(now, |step| Ok(step.tx.event_count()? >= MAX_EVENTS))?;
        if full {
            self.stalled.insert(queue, (id, body));
            return Ok(());
        }
        let kept = body.clone();
        let result = self.try_step(now, |step| {
            let Some(queue) = step.receive_queue(queue)? else {
                return Ok(());
            };
            let queue_id = queue.id;
            step.receive(queue, id, body)?;
            step.acknowledge(queue_id, id);
            Ok(())
        });
        match result {
            Ok(()) => Ok(()),
            Err(StepError::Peer(reason)) => self.step(now, |step| {
                if let Some(found) = step.receive_queue(queue)? {
                    step.dropped(found.connection, reason);
                }
                step.acknowledge(queue, id);
                Ok(())
            }),
            Err(StepError::Core(error)) => {
                self.stalled.insert(queue, (id, kept));
                self.stalled_until = Some(now.plus(STORE_PAUSE));
                Err(error)
            }
        }
    }

    /// A queue is gone at its relay, or another client receives its messages now.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn handle_queue_lost(
        &mut self,
        relay: &RelayAddress,
        recipient: &RecipientId,
        now: Timestamp,
    ) -> Result<(), CoreError> {
        self.step(now, |step| {
            match step.tx.find_receive_queue(relay, recipient)? {
                Some(queue) => step.receive_queue_lost(&queue),
                None => Ok(()),
            }
        })?;
        self.pump(now);
        Ok(())
    }

    /// A relay that this side receives from can be reached, or not any more. One that is out of
    /// reach for [`limits::DEAD_RELAY`] is left: its queues are replaced by others.
    pub fn handle_relay(&mut self, relay: &RelayAddress, reachable: bool, now: Timestamp) {
        if reachable {
            self.down.remove(relay);
        } else {
            self.down.entry(relay.clone()).or_insert(now);
        }
    }

    /// The network is back: what waits is tried now.
    pub fn hurry(&mut self, now: Timestamp) {
        self.ready.extend(self.jobs.waiting());
        self.pump(now);
    }

    /// Does what was to be done by now.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn handle_timeout(&mut self, now: Timestamp) -> Result<(), CoreError> {
        self.ready.extend(self.jobs.due(now));
        let mut result = Ok(());
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            result = self.step(now, |step| step.release_overdue());
            if result.is_err() {
                self.held_until = Some(now.plus(STORE_PAUSE));
            }
        }
        if self.stalled_until.is_some_and(|until| until <= now) {
            self.stalled_until = None;
            result = result.and(self.take_stalled(now));
        }
        if self.maintenance_at <= now {
            self.maintenance_at = now.plus(MAINTENANCE);
            let down = std::mem::take(&mut self.down);
            result = result.and(self.step(now, |step| step.maintain(&down)));
            self.down = down;
        }
        self.pump(now);
        result
    }

    fn take_stalled(&mut self, now: Timestamp) -> Result<(), CoreError> {
        let mut result = Ok(());
        for (queue, (id, body)) in std::mem::take(&mut self.stalled) {
            result = result.and(self.take_message(queue, id, body, now));
        }
        result
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Timestamp {
        let others = [self.jobs.next_due(), self.held_until, self.stalled_until];
        let others = others.into_iter().flatten();
        others.fold(self.maintenance_at, Timestamp::min)
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Requests without outcome.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.jobs.under_way()
    }

    /// The store, for whoever closes the core.
    #[must_use]
    pub fn into_store(self) -> Store {
        self.store
    }

    /// The store. What is changed through it is not noticed here, so it serves the tables of whoever
    /// uses the agent.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Changes what the core may use. Present queues stay where they are.
    pub fn set_config(&mut self, config: CoreConfig) {
        self.config = config;
    }

    /// Starts what is ready.
    fn pump(&mut self, now: Timestamp) {
        while let Some(job) = self.ready.pop_front() {
            if !self.jobs.may_start(&job) || self.is_being_created(&job) {
                continue;
            }
            match self.step(now, |step| step.start(&job)) {
                Ok(Some((relay, request, pending))) => {
                    let ticket = self.jobs.start(job, pending);
                    self.outputs.push_back(Output::Request {
                        ticket,
                        relay,
                        request,
                    });
                }
                Ok(None) => self.jobs.forget(&job),
                Err(error) => {
                    tracing::warn!(%error, "work at a relay could not start");
                    self.jobs.postpone(job, now.plus(STORE_PAUSE));
                }
            }
        }
    }

    /// Whether a queue is to be deleted whose creation is under way: its outcome comes first, so
    /// that no queue is left behind.
    fn is_being_created(&self, job: &Job) -> bool {
        match job {
            Job::Delete(id) => !self.jobs.may_start(&Job::Create(*id)),
            _ => false,
        }
    }

    /// One transaction, and after its commit what follows from it.
    fn step<T>(
        &mut self,
        now: Timestamp,
        f: impl FnOnce(&mut step::Step<'_>) -> Result<T, CoreError>,
    ) -> Result<T, CoreError> {
        self.try_step(now, |step| Ok(f(step)?))
            .map_err(|error| match error {
                StepError::Core(error) => error,
                StepError::Peer(reason) => CoreError::WrongLink(reason),
            })
    }

    fn try_step<T>(
        &mut self,
        now: Timestamp,
        f: impl FnOnce(&mut step::Step<'_>) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let mut effects = Vec::new();
        let (config, random) = (&self.config, &mut self.random);
        let value = self.store.transaction(|tx| {
            f(&mut step::Step {
                tx,
                now,
                config,
                random,
                effects: &mut effects,
            })
        })?;
        for effect in effects {
            self.take_effect(effect, now);
        }
        Ok(value)
    }

    fn take_effect(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Work(job) => {
                if self.jobs.add(&job, false) {
                    self.ready.push_back(job);
                }
            }
            Effect::Hurry(job) => {
                if self.jobs.add(&job, true) {
                    self.ready.push_back(job);
                }
            }
            Effect::Subscribe(queue) => self.subscribe(queue, now),
            Effect::Unsubscribe(relay, recipient) => self
                .outputs
                .push_back(Output::Unsubscribe { relay, recipient }),
            Effect::Held(until) => {
                let sooner = self.held_until.is_none_or(|held| until < held);
                if sooner {
                    self.held_until = Some(until);
                }
            }
            Effect::Events => {
                if !matches!(self.outputs.back(), Some(Output::Events)) {
                    self.outputs.push_back(Output::Events);
                }
            }
            Effect::Notice(notice) => self.outputs.push_back(Output::Notice(notice)),
        }
    }

    fn subscribe(&mut self, queue: ReceiveQueueId, now: Timestamp) {
        let found = self.step(now, |step| Ok(step.receive_queue(queue)?));
        if let Ok(Some(queue)) = found
            && let Some(ids) = queue.ids
        {
            self.outputs.push_back(Output::Subscribe {
                relay: queue.relay,
                recipient: ids.recipient,
                key: queue.key,
            });
        }
    }
}

impl step::Step<'_> {
    /// All work that the store knows of.
    fn resume(&mut self) -> Result<(), CoreError> {
        for connection in self.tx.connections()? {
            if connection.state == crate::model::ConnectionState::Resolving {
                self.work(Job::Resolve(connection.id));
            }
            self.finish_deletion(connection.id)?;
        }
        for queue in self.tx.all_receive_queues()? {
            match queue.state {
                ReceiveQueueState::New => self.work(Job::Create(queue.id)),
                ReceiveQueueState::Active => {
                    self.effects.push(Effect::Subscribe(queue.id));
                    self.work(Job::SetLink(queue.id));
                    if queue.sender_key.is_some() && !queue.secured {
                        self.work(Job::SecureReceive(queue.id));
                    }
                }
                ReceiveQueueState::Deleting => self.work(Job::Delete(queue.id)),
            }
        }
        for queue in self.tx.all_send_queues()? {
            self.work(Job::Send(queue.id));
        }
        if self.tx.oldest_held()?.is_some() {
            self.effects.push(Effect::Held(self.now));
        }
        if self.tx.event_count()? > 0 {
            self.effects.push(Effect::Events);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}
