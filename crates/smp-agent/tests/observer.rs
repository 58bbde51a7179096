//! What relays see of a connection, as docs/THREATS.md says: everything that two agents ask of
//! relays is written down, and then looked at as an observer would.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, VecDeque};

use rand::SeedableRng;
use rand::rngs::StdRng;
use smp_agent::core::{Core, CoreConfig, Event, Output, Reply, Request};
use smp_agent::protocol::ConnectionLink;
use smp_agent::{ConnectionId, Store, Timestamp};
use smp_protocol::{
    BoxKey, DhPrivateKey, DhSecret, EntityId, LinkData, MessageFlags, MessageId, QueueIds,
    QueueMode, QueueRequest, ReceivedMessage, RecipientId, RelayAddress,
};

const NOW: Timestamp = Timestamp(1_750_000_000_000);
const ALICE: usize = 0;
const BOB: usize = 1;

/// The body of each message of a connection that is made.
const BODY: usize = 16_043;
/// The body of the message that makes it.
const CONFIRMATION: usize = 15_992;

/// What one relay knows of one queue.
struct Queue {
    relay: RelayAddress,
    owner: usize,
    recipient: RecipientId,
    delivery: BoxKey,
    /// Ids and keys.
    names: Vec<Vec<u8>>,
    link: Option<LinkData>,
    /// All that was sent, with its flag.
    sent: Vec<(MessageFlags, Vec<u8>)>,
    /// Not acknowledged yet; the first is delivered.
    waiting: VecDeque<(MessageId, Vec<u8>)>,
}

/// Two agents, their relays, and an observer who sees all that these see.
struct World {
    cores: Vec<Core>,
    queues: Vec<Queue>,
    by_id: HashMap<EntityId, usize>,
    rng: StdRng,
}

impl World {
    fn new(post_quantum: bool) -> Self {
        let core = |seed: u64, relays: &[&str]| {
            let config = CoreConfig {
                relays: relays.iter().map(|relay| address(relay)).collect(),
                post_quantum,
                ..CoreConfig::default()
            };
            let random = Box::new(StdRng::seed_from_u64(seed));
            Core::new(Store::in_memory().unwrap(), config, random, NOW).unwrap()
        };
        Self {
            cores: vec![core(1, &["one"]), core(2, &["two"])],
            queues: Vec::new(),
            by_id: HashMap::new(),
            rng: StdRng::seed_from_u64(3),
        }
    }

    /// Does what the agents ask until they ask for nothing.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for agent in [ALICE, BOB] {
                while let Some(output) = self.cores[agent].poll_output() {
                    idle = false;
                    if let Output::Request {
                        ticket,
                        relay,
                        request,
                    } = output
                    {
                        let reply = self.execute(agent, &relay, request);
                        let outcome = Ok(reply);
                        self.cores[agent]
                            .handle_outcome(ticket, outcome, NOW)
                            .unwrap();
                    }
                }
            }
            if idle {
                return;
            }
        }
    }

    fn execute(&mut self, agent: usize, relay: &RelayAddress, request: Request) -> Reply {
        match request {
            Request::Create {
                key,
                delivery_key,
                request,
                ..
            } => return self.create(agent, relay, &key.public().to_spki(), delivery_key, request),
            Request::Secure {
                recipient,
                sender_key,
                ..
            } => {
                let name = sender_key.to_spki().to_vec();
                self.queue(&recipient.0).names.push(name);
            }
            Request::SenderSecure { sender, key } => {
                let name = key.public().to_spki().to_vec();
                self.queue(&sender.0).names.push(name);
            }
            Request::Send {
                sender,
                flags,
                body,
                ..
            } => self.send(&sender.0, flags, body),
            Request::Acknowledge { recipient, .. } => {
                self.queue(&recipient.0).waiting.pop_front();
                self.deliver(&recipient.0);
            }
            Request::LinkKey { link, key } => {
                let name = key.public().to_spki().to_vec();
                let queue = self.queue(&link.0);
                queue.names.push(name);
                return link_reply(queue);
            }
            Request::LinkData { link } => return link_reply(self.queue(&link.0)),
            _ => {}
        }
        Reply::Done
    }

    fn create(
        &mut self,
        owner: usize,
        relay: &RelayAddress,
        key: &[u8],
        delivery_key: smp_protocol::DhPublicKey,
        request: QueueRequest,
    ) -> Reply {
        let own = DhPrivateKey::generate(&mut self.rng);
        let recipient = RecipientId::generate(&mut self.rng);
        let (sender, link, link_id) = match request {
            QueueRequest::Messaging(None) | QueueRequest::Contact(None) => {
                (EntityId::generate(&mut self.rng).into(), None, None)
            }
            QueueRequest::Messaging(Some((sender, data))) => {
                let link_id = EntityId::generate(&mut self.rng).into();
                (sender, Some(data), Some(link_id))
            }
            QueueRequest::Contact(Some((link_id, sender, data))) => {
                (sender, Some(data), Some(link_id))
            }
        };
        let ids = QueueIds {
            recipient_id: recipient.clone(),
            sender_id: sender,
            dh_key: own.public(),
            mode: Some(QueueMode::Messaging),
            link_id,
            service_id: None,
            notifier: None,
        };
        let index = self.queues.len();
        let mut names = vec![key.to_vec(), delivery_key.to_spki().to_vec()];
        let entities = [
            Some(&recipient.0),
            Some(&ids.sender_id.0),
            ids.link_id.as_ref().map(|id| &id.0),
        ];
        for id in entities.into_iter().flatten() {
            names.push(id.as_bytes().to_vec());
            self.by_id.insert(id.clone(), index);
        }
        self.queues.push(Queue {
            relay: relay.clone(),
            owner,
            recipient,
            delivery: BoxKey::from(DhSecret::agree(&own, &delivery_key).unwrap()),
            names,
            link,
            sent: Vec::new(),
            waiting: VecDeque::new(),
        });
        Reply::Created(Box::new(ids))
    }

    fn queue(&mut self, id: &EntityId) -> &mut Queue {
        let index = self.by_id[id];
        &mut self.queues[index]
    }

    fn send(&mut self, id: &EntityId, flags: MessageFlags, body: Vec<u8>) {
        let message = MessageId::generate(&mut self.rng);
        let queue = self.queue(id);
        let received = ReceivedMessage::Message {
            timestamp: NOW.0 / 1000,
            flags,
            body: &body,
        };
        let sealed = received
            .seal_for_recipient(&queue.delivery, &message)
            .unwrap();
        queue.sent.push((flags, body));
        queue.waiting.push_back((message, sealed));
        if queue.waiting.len() == 1 {
            self.deliver(id);
        }
    }

    fn deliver(&mut self, id: &EntityId) {
        let queue = self.queue(id);
        let (owner, relay, recipient) = (queue.owner, queue.relay.clone(), queue.recipient.clone());
        if let Some((id, body)) = queue.waiting.front().cloned() {
            self.cores[owner]
                .handle_message(&relay, &recipient, id, body, NOW)
                .unwrap();
        }
    }

    /// Takes all events, with receipts. Says how many were messages.
    fn take_events(&mut self, agent: usize) -> usize {
        let mut messages = 0;
        while let Some(event) = self.cores[agent].first_event().unwrap() {
            messages += usize::from(matches!(event.event, Event::Message { .. }));
            self.cores[agent].take_event(event.id, true, NOW).unwrap();
        }
        self.settle();
        messages
    }

    /// Alice invites, Bob connects.
    fn connect(&mut self, short: bool) -> [ConnectionId; 2] {
        let alice = self.cores[ALICE]
            .invite(b"the profile of Alice", b"what Alice's link shows", NOW)
            .unwrap();
        self.settle();
        let links = self.cores[ALICE].links(alice).unwrap().unwrap();
        let link = if short {
            links.short.unwrap()
        } else {
            links.full
        };
        let link: ConnectionLink = link.parse().unwrap();
        let bob = self.cores[BOB]
            .connect(&link, b"the profile of Bob", NOW)
            .unwrap();
        self.settle();
        for agent in [ALICE, BOB] {
            self.take_events(agent);
        }
        [alice, bob]
    }
}

fn link_reply(queue: &Queue) -> Reply {
    Reply::Link {
        sender: sender_of(queue),
        data: queue.link.clone().unwrap(),
    }
}

/// The second id that the relay made.
fn sender_of(queue: &Queue) -> smp_protocol::SenderId {
    smp_protocol::SenderId::new(&queue.names[3]).unwrap()
}

fn address(host: &str) -> RelayAddress {
    let text = format!("smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@{host}.example");
    text.parse().unwrap()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Sends bodies as long as a text, a ringing call, its description and candidates, the shortest and
/// the longest message; the other side takes all, with receipts.
fn talk(world: &mut World, connections: [ConnectionId; 2]) -> usize {
    let longest = world.cores[ALICE]
        .message_limit(connections[ALICE])
        .unwrap();
    let lengths = [1, 2, 90, 260, 2_900, 6_000, 300, 70, longest];
    for from in [ALICE, BOB] {
        for length in lengths {
            let body = vec![b'x'; length];
            world.cores[from]
                .send(connections[from], &body, true, NOW)
                .unwrap();
            world.settle();
        }
        let to = 1 - from;
        assert_eq!(world.take_events(to), lengths.len());
    }
    lengths.len()
}

#[test]
fn all_messages_of_a_connection_look_alike() {
    for post_quantum in [false, true] {
        let mut world = World::new(post_quantum);
        let connections = world.connect(true);
        let before: Vec<_> = world.queues.iter().map(|queue| queue.sent.len()).collect();
        let spoken = talk(&mut world, connections);
        for (queue, before) in world.queues.iter().zip(before) {
            assert!(
                queue.sent[..before]
                    .iter()
                    .all(|(_, body)| body.len() == CONFIRMATION)
            );
            let after = &queue.sent[before..];
            assert!(after.iter().all(|(_, body)| body.len() == BODY));
            // Messages of the application are marked, receipts are not; there is nothing between.
            let marked = after.iter().filter(|(flags, _)| flags.notification).count();
            assert_eq!(marked, spoken);
            assert_eq!(after.len() - marked, spoken, "a receipt for each");
        }
    }
}

#[test]
fn no_message_comes_twice_with_the_same_bytes() {
    let mut world = World::new(true);
    let connections = world.connect(true);
    talk(&mut world, connections);
    let mut bodies: Vec<_> = world.queues.iter().flat_map(|queue| &queue.sent).collect();
    let count = bodies.len();
    bodies.sort_by(|a, b| a.1.cmp(&b.1));
    bodies.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(bodies.len(), count);
}

#[test]
fn nothing_that_a_relay_has_of_one_queue_names_another() {
    let mut world = World::new(true);
    for short in [true, false] {
        let connections = world.connect(short);
        talk(&mut world, connections);
    }
    assert_eq!(world.queues.len(), 4);
    for (index, queue) in world.queues.iter().enumerate() {
        assert!(queue.names.len() >= 5);
        for (other_index, other) in world.queues.iter().enumerate() {
            for name in &queue.names {
                if index != other_index {
                    assert!(!other.names.contains(name), "an id or a key serves twice");
                }
                // The raw bytes too, without what every key of a kind begins with.
                let raw = &name[name.len().saturating_sub(24)..];
                let stored = other.sent.iter().map(|(_, body)| &body[..]);
                let link = other
                    .link
                    .iter()
                    .flat_map(|link| [&link.fixed[..], &link.user[..]]);
                for bytes in stored.chain(link) {
                    assert!(
                        !contains(bytes, raw),
                        "an id or a key stands in what is stored"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_that_was_said_can_be_read_at_a_relay() {
    let mut world = World::new(false);
    let connections = world.connect(true);
    world.cores[ALICE]
        .send(connections[ALICE], b"a word in confidence", false, NOW)
        .unwrap();
    world.settle();
    assert_eq!(world.take_events(BOB), 1);
    let texts: [&[u8]; 4] = [
        b"profile of Alice",
        b"profile of Bob",
        b"link shows",
        b"in confidence",
    ];
    for queue in &world.queues {
        let link = queue
            .link
            .iter()
            .flat_map(|link| [&link.fixed[..], &link.user[..]]);
        for bytes in queue.sent.iter().map(|(_, body)| &body[..]).chain(link) {
            assert!(texts.iter().all(|text| !contains(bytes, text)));
        }
    }
}

#[test]
fn the_data_of_all_links_has_one_size() {
    let mut world = World::new(true);
    for data in [&b""[..], b"short", &[b'y'; 9_000]] {
        world.cores[ALICE].invite(b"", data, NOW).unwrap();
        world.cores[BOB].create_address(data, NOW).unwrap();
        world.settle();
    }
    assert_eq!(world.queues.len(), 6);
    for queue in &world.queues {
        let link = queue.link.as_ref().unwrap();
        assert_eq!((link.fixed.len(), link.user.len()), (2_048, 13_824));
    }
}

#[test]
fn after_the_first_exchange_both_sides_report_post_quantum_keys() {
    for short in [true, false] {
        let mut world = World::new(true);
        let connections = world.connect(short);
        talk(&mut world, connections);
        talk(&mut world, connections);
        let [alice, bob] = [ALICE, BOB].map(|agent| {
            let security = world.cores[agent].security(connections[agent]);
            security.unwrap().unwrap()
        });
        assert_eq!(alice.code, bob.code);
        for side in [alice, bob] {
            assert!(side.post_quantum_sending && side.post_quantum_receiving);
        }
    }
}
