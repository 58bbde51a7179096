//! The task that owns the core.

use std::collections::HashMap;
use std::time::Duration;

use smp_client::SealedMessage;
use smp_protocol::{RecipientId, RelayAddress, ServerAddress};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clock::Clock;
use super::events::{AgentEvent, RelayState, Teller};
use super::handle::{Asked, Command};
use super::options::AgentOptions;
use super::receivers::{News, Receivers, Told};
use super::requests::{Outcome, as_recipient, as_sender};
use super::senders::Senders;
use crate::core::limits::STORE_PAUSE;
use crate::core::{Core, CoreError, Failure, Output, Request, Ticket};
use crate::model::Timestamp;
use crate::store::Store;

/// How long an agent that ends waits for answers. What has none by then is asked again at the next
/// start.
const CLOSING: Duration = Duration::from_secs(5);

/// Owns the core: does for it what takes time, and tells it what came of that.
pub(super) struct Actor {
    core: Core,
    clock: Clock,
    options: AgentOptions,
    teller: Teller,
    asked: Asked,
    receivers: Receivers,
    told: mpsc::Receiver<Told>,
    senders: Senders,
    requests: JoinSet<Outcome>,
    under_way: HashMap<Id, UnderWay>,
    /// Queues that are gone, which the store did not take yet. No relay says so twice.
    lost: Vec<(RelayAddress, RecipientId)>,
    /// When the store is asked again to take them.
    lost_until: Timestamp,
}

/// A request that runs.
struct UnderWay {
    ticket: Ticket,
    /// Where, if it is a recipient's.
    receiver: Option<RelayAddress>,
}

/// How a request's task ended.
type Done = Result<(Id, Outcome), JoinError>;

/// What there is to do.
enum Wake {
    Command(Option<Command>),
    Told(Told),
    Done(Done),
    Hurry,
    Timeout,
}

impl Actor {
    pub(super) fn new(
        core: Core,
        clock: Clock,
        options: AgentOptions,
        teller: Teller,
        asked: Asked,
    ) -> Self {
        let (receivers, told) = Receivers::new();
        let senders = Senders::new(&options);
        Self {
            core,
            clock,
            options,
            teller,
            asked,
            receivers,
            told,
            senders,
            requests: JoinSet::new(),
            under_way: HashMap::new(),
            lost: Vec::new(),
            lost_until: Timestamp::default(),
        }
    }

    /// Runs until the agent is closed, or nobody can ask it for anything any more.
    pub(super) async fn run(mut self) {
        let closer = self.serve().await;
        let store = self.close().await;
        if let Some(closer) = closer {
            let _ = closer.send(store);
        }
    }

    /// Returns who wants the store, if anybody does.
    async fn serve(&mut self) -> Option<oneshot::Sender<Store>> {
        loop {
            self.do_outputs();
            self.forget_receivers();
            match self.wake().await {
                Wake::Command(None) => return None,
                Wake::Command(Some(Command::Close(closer))) => return Some(closer),
                Wake::Command(Some(Command::Work(work))) => {
                    work(&mut self.core, self.clock.now());
                }
                Wake::Command(Some(Command::Servers(servers, reply))) => {
                    self.set_servers(servers);
                    let _ = reply.send(());
                }
                Wake::Told(told) => self.take_told(told),
                Wake::Done(done) => {
                    if let Some((recipient, relay, message)) = self.take_outcome(done) {
                        self.take_message(&relay, &recipient, message);
                    }
                }
                Wake::Hurry => {
                    self.receivers.hurry();
                    self.senders.hurry();
                    self.core.hurry(self.clock.now());
                }
                Wake::Timeout => {
                    let now = self.clock.now();
                    note(self.core.handle_timeout(now));
                    if self.lost_until <= now {
                        for (relay, recipient) in std::mem::take(&mut self.lost) {
                            self.take_lost(relay, recipient);
                        }
                    }
                }
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let mut due = self.core.next_timeout();
        if !self.lost.is_empty() {
            due = due.min(self.lost_until);
        }
        let due = self.clock.wake_at(due);
        tokio::select! {
            command = self.asked.commands.recv() => Wake::Command(command),
            Some(told) = self.told.recv() => Wake::Told(told),
            Some(done) = self.requests.join_next_with_id() => Wake::Done(done),
            () = self.asked.hurry.notified() => Wake::Hurry,
            () = sleep_until(due) => Wake::Timeout,
        }
    }

    fn do_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Request {
                    ticket,
                    relay,
                    request,
                } => self.start_request(ticket, relay, request),
                Output::Subscribe {
                    relay,
                    recipient,
                    key,
                } => self
                    .receivers
                    .subscribe(&self.options, &relay, recipient, key),
                Output::Unsubscribe { relay, recipient } => {
                    self.receivers.unsubscribe(&relay, &recipient);
                }
                Output::Events => self.teller.stored(),
                Output::Notice(notice) => self.teller.tell(AgentEvent::Notice(notice)),
            }
        }
    }

    fn start_request(&mut self, ticket: Ticket, address: RelayAddress, request: Request) {
        let (task, receiver) = if request.is_senders() {
            let way = self.senders.way(&self.options, address);
            (self.requests.spawn(as_sender(way, request)), None)
        } else {
            let relay = self.receivers.for_command(&self.options, &address);
            let task = self.requests.spawn(as_recipient(relay, request));
            (task, Some(address))
        };
        self.under_way
            .insert(task.id(), UnderWay { ticket, receiver });
    }

    /// Tells the core what became of a request. Returns the message that came with it.
    fn take_outcome(&mut self, done: Done) -> Option<(RecipientId, RelayAddress, SealedMessage)> {
        let (id, outcome) = match done {
            Ok(done) => done,
            Err(error) => {
                let failure = Failure::Unreachable("the request was interrupted".to_owned());
                let outcome = Outcome {
                    result: Err(failure),
                    next: None,
                };
                (error.id(), outcome)
            }
        };
        let UnderWay { ticket, receiver } = self.under_way.remove(&id)?;
        if let Some(relay) = &receiver {
            self.receivers.command_done(relay);
        }
        let now = self.clock.now();
        note(self.core.handle_outcome(ticket, outcome.result, now));
        let (recipient, message) = outcome.next?;
        Some((recipient, receiver?, message))
    }

    fn take_message(
        &mut self,
        relay: &RelayAddress,
        recipient: &RecipientId,
        message: SealedMessage,
    ) {
        let (SealedMessage { id, body }, now) = (message, self.clock.now());
        note(self.core.handle_message(relay, recipient, id, body, now));
    }

    fn take_told(&mut self, told: Told) {
        match self.receivers.news(told) {
            Some(News::Message(relay, recipient, message)) => {
                self.take_message(&relay, &recipient, message);
            }
            Some(News::Lost(relay, recipient)) => self.take_lost(relay, recipient),
            Some(News::TakenOver(relay, recipient)) => {
                self.teller.relay(relay.clone(), RelayState::TakenOver);
                self.take_lost(relay, recipient);
            }
            Some(News::Up { relay, again }) => {
                let now = self.clock.now();
                self.core.handle_relay(&relay, true, now);
                if again {
                    self.core.hurry(now);
                }
                self.teller.relay(relay, RelayState::Connected);
            }
            Some(News::Down(relay, reason)) => {
                let now = self.clock.now();
                self.core.handle_relay(&relay, false, now);
                let state = RelayState::Disconnected(reason);
                self.teller.relay(relay, state);
            }
            None => {}
        }
    }

    fn take_lost(&mut self, relay: RelayAddress, recipient: RecipientId) {
        let now = self.clock.now();
        let taken = self.core.handle_queue_lost(&relay, &recipient, now);
        if taken.is_err() {
            self.lost.push((relay, recipient));
            self.lost_until = now.plus(STORE_PAUSE);
        }
        note(taken);
    }

    fn forget_receivers(&mut self) {
        for (relay, connected) in self.receivers.forget_unused() {
            // Nobody knows how it is from now on.
            self.core.handle_relay(&relay, true, self.clock.now());
            if connected {
                let reason = "it is not needed any more".to_owned();
                self.teller.relay(relay, RelayState::Disconnected(reason));
            }
        }
    }

    fn set_servers(&mut self, servers: Vec<ServerAddress>) {
        self.options.servers = servers;
        self.core.set_config(self.options.core_config());
        self.senders.renew(&self.options);
        self.receivers.renew(&self.options);
    }

    /// Waits for what is under way, as long as that may be, and ends.
    async fn close(mut self) -> Store {
        // Callers learn at once that nothing is taken any more, and relays keep their messages.
        self.asked.commands.close();
        while self.asked.commands.try_recv().is_ok() {}
        self.told.close();
        let deadline = Instant::now() + CLOSING;
        while let Ok(Some(done)) = timeout_at(deadline, self.requests.join_next_with_id()).await {
            self.take_outcome(done);
            self.do_last_outputs();
        }
        self.requests.shutdown().await;
        self.core.into_store()
    }

    /// Tells what there is to tell, and begins nothing.
    fn do_last_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Events => self.teller.stored(),
                Output::Notice(notice) => self.teller.tell(AgentEvent::Notice(notice)),
                Output::Request { .. } | Output::Subscribe { .. } | Output::Unsubscribe { .. } => {}
            }
        }
    }
}

/// The core goes on after an error: what failed is tried again.
fn note(result: Result<(), CoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the store did not take what a relay said");
    }
}
