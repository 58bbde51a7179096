//! The relays where messages wait for this side.

use std::collections::{HashMap, HashSet};

use smp_client::{Event, Relay, RelayEvent, RelayEvents, SealedMessage, Subscription};
use smp_protocol::{AuthPrivateKey, EntityId, RecipientId, RelayAddress};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::options::AgentOptions;

/// What relays told, of all relays, that waits for the actor. Each relay's own waits at the relay.
const TOLD: usize = 64;

/// What a relay told.
pub(super) struct Told {
    relay: RelayAddress,
    /// Which of the connections with the relay it was, counted over all.
    generation: u64,
    event: RelayEvent,
}

/// What that means.
pub(super) enum News {
    /// A message came.
    Message(RelayAddress, RecipientId, SealedMessage),
    /// A queue is gone there.
    Lost(RelayAddress, RecipientId),
    /// Somebody else receives a queue's messages now, by the same keys.
    TakenOver(RelayAddress, RecipientId),
    /// There is a connection again, or for the first time.
    Up {
        relay: RelayAddress,
        /// Attempts failed before.
        again: bool,
    },
    /// There is no connection any more, or there could be none.
    Down(RelayAddress, String),
}

/// The relays where messages wait for this side, each with a connection of its own.
pub(super) struct Receivers {
    relays: HashMap<RelayAddress, Receiver>,
    generations: u64,
    told: mpsc::Sender<Told>,
}

/// One of them.
struct Receiver {
    relay: Relay,
    generation: u64,
    queues: HashMap<RecipientId, AuthPrivateKey>,
    /// Commands under way.
    commands: usize,
    /// Live connections: those of single queues, or one for all.
    connections: HashSet<Option<EntityId>>,
    /// An attempt to connect failed, or a connection broke, and none was made since.
    failed: bool,
    /// It was told that there is no connection.
    told_down: bool,
    /// Passes on what the relay tells.
    _pump: AbortOnDropHandle<()>,
}

impl Receivers {
    pub(super) fn new() -> (Self, mpsc::Receiver<Told>) {
        let (told, receiver) = mpsc::channel(TOLD);
        let receivers = Self {
            relays: HashMap::new(),
            generations: 0,
            told,
        };
        (receivers, receiver)
    }

    /// Receives from a queue. One that is received from already, or was created so, stays as it is.
    pub(super) fn subscribe(
        &mut self,
        options: &AgentOptions,
        relay: &RelayAddress,
        queue: RecipientId,
        key: AuthPrivateKey,
    ) {
        let receiver = self.receiver(options, relay);
        receiver.relay.subscribe([Subscription::Messages {
            queue: queue.clone(),
            key: key.clone(),
        }]);
        receiver.queues.insert(queue, key);
    }

    /// Does not receive from a queue any more.
    pub(super) fn unsubscribe(&mut self, relay: &RelayAddress, queue: &RecipientId) {
        if let Some(receiver) = self.relays.get_mut(relay) {
            receiver.queues.remove(queue);
            receiver.relay.unsubscribe(&queue.0);
        }
    }

    /// The relay for a recipient's command, which [`Self::command_done`] ends.
    pub(super) fn for_command(&mut self, options: &AgentOptions, relay: &RelayAddress) -> Relay {
        let receiver = self.receiver(options, relay);
        receiver.commands += 1;
        receiver.relay.clone()
    }

    pub(super) fn command_done(&mut self, relay: &RelayAddress) {
        if let Some(receiver) = self.relays.get_mut(relay) {
            receiver.commands = receiver.commands.saturating_sub(1);
        }
    }

    fn receiver(&mut self, options: &AgentOptions, address: &RelayAddress) -> &mut Receiver {
        self.relays.entry(address.clone()).or_insert_with(|| {
            self.generations += 1;
            Receiver::new(options, address, self.generations, self.told.clone())
        })
    }

    /// Forgets relays without queues and commands. Returns which, and whether they were connected.
    pub(super) fn forget_unused(&mut self) -> Vec<(RelayAddress, bool)> {
        let unused = self
            .relays
            .extract_if(|_, receiver| receiver.queues.is_empty() && receiver.commands == 0);
        unused
            .map(|(relay, receiver)| (relay, !receiver.connections.is_empty()))
            .collect()
    }

    /// Connects anew with those relays whose password is another one now.
    pub(super) fn renew(&mut self, options: &AgentOptions) {
        for (address, receiver) in &mut self.relays {
            if *receiver.relay.address() == options.server(address) {
                continue;
            }
            self.generations += 1;
            let told = self.told.clone();
            let mut renewed = Receiver::new(options, address, self.generations, told);
            renewed.commands = receiver.commands;
            renewed.queues = std::mem::take(&mut receiver.queues);
            renewed.failed = true;
            // Commands that are under way there keep the former connections, which must not take
            // the queues back.
            for queue in renewed.queues.keys() {
                receiver.relay.unsubscribe(&queue.0);
            }
            *receiver = renewed;
            receiver.subscribe_all();
        }
    }

    /// The network is back.
    pub(super) fn hurry(&self) {
        for receiver in self.relays.values() {
            receiver.relay.hurry();
        }
    }

    /// What something that a relay told means; nothing if the connection is given up, or if it
    /// means nothing.
    pub(super) fn news(&mut self, told: Told) -> Option<News> {
        let receiver = self.relays.get_mut(&told.relay)?;
        if receiver.generation != told.generation {
            return None;
        }
        receiver.news(told.relay, told.event)
    }
}

impl Receiver {
    fn new(
        options: &AgentOptions,
        address: &RelayAddress,
        generation: u64,
        told: mpsc::Sender<Told>,
    ) -> Self {
        let (relay, events) = options.connect(options.server(address));
        let pump = tokio::spawn(pass_on(address.clone(), generation, events, told));
        Self {
            relay,
            generation,
            queues: HashMap::new(),
            commands: 0,
            connections: HashSet::new(),
            failed: false,
            told_down: false,
            _pump: AbortOnDropHandle::new(pump),
        }
    }

    fn subscribe_all(&self) {
        let queues = self.queues.iter();
        self.relay
            .subscribe(queues.map(|(queue, key)| Subscription::Messages {
                queue: queue.clone(),
                key: key.clone(),
            }));
    }

    fn news(&mut self, address: RelayAddress, event: RelayEvent) -> Option<News> {
        match event {
            RelayEvent::Connected { queue } => {
                let first = self.connections.is_empty();
                self.connections.insert(queue);
                let again = std::mem::take(&mut self.failed);
                self.told_down = false;
                (first || again).then_some(News::Up {
                    relay: address,
                    again,
                })
            }
            RelayEvent::Disconnected { queue, reason } => {
                self.connections.remove(&queue);
                self.down(address, reason.to_string())
            }
            RelayEvent::Unreachable { error, .. } => self.down(address, error.to_string()),
            RelayEvent::SubscriptionFailed {
                queue,
                again: false,
                ..
            } => self.lost(queue).map(|queue| News::Lost(address, queue)),
            RelayEvent::Told(Event::Message { queue, message }) => {
                Some(News::Message(address, queue, message))
            }
            RelayEvent::Told(Event::Deleted { queue }) => {
                self.lost(queue).map(|queue| News::Lost(address, queue))
            }
            RelayEvent::Told(Event::End { queue }) => self
                .lost(queue)
                .map(|queue| News::TakenOver(address, queue)),
            _ => None,
        }
    }

    /// Told once, until there is a connection again.
    fn down(&mut self, address: RelayAddress, reason: String) -> Option<News> {
        self.failed = true;
        let tell = !self.told_down && self.connections.is_empty();
        self.told_down |= tell;
        tell.then_some(News::Down(address, reason))
    }

    /// Its relay subscribes to it no more. Nothing if it was not wanted any more.
    fn lost(&mut self, queue: EntityId) -> Option<RecipientId> {
        let queue = RecipientId(queue);
        self.queues.remove(&queue).map(|_| queue)
    }
}

/// Passes on what a relay tells, as fast as the actor takes it.
async fn pass_on(
    relay: RelayAddress,
    generation: u64,
    mut events: RelayEvents,
    told: mpsc::Sender<Told>,
) {
    while let Some(event) = events.next().await {
        let relay = relay.clone();
        let event = Told {
            relay,
            generation,
            event,
        };
        if told.send(event).await.is_err() {
            return;
        }
    }
}
