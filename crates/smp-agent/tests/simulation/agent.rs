//! An agent: the core, what stands in for its driver, and an application that writes down what it
//! was told.

use std::collections::{BTreeMap, BTreeSet};

use smp_protocol::{AuthPrivateKey, RecipientId};

use crate::{
    ConnectionId, Core, CoreConfig, Event, EventId, FailReason, Integrity, RequestId, Store,
    Timestamp, UndeliveredReason,
};

pub(crate) struct Agent {
    /// Nothing while it is down.
    pub(crate) core: Option<Core>,
    /// The store while it is down.
    pub(crate) store: Option<Store>,
    /// How often it was started: what was meant for a former core is lost.
    pub(crate) epoch: u64,
    /// What a failing write means, if writes are to fail.
    pub(crate) armed: Option<Failing>,
    /// The next input's outputs are lost with the core.
    pub(crate) loses_outputs: bool,
    pub(crate) config: CoreConfig,
    /// Milliseconds that its clock is before the true time.
    pub(crate) clock: i64,
    /// It is suspended until then.
    pub(crate) asleep: i64,
    /// Its connection to each relay.
    pub(crate) links: Vec<Link>,
    /// What it wants messages of: relay and queue.
    pub(crate) wanted: BTreeMap<(usize, Vec<u8>), AuthPrivateKey>,
    /// When the next timeout is scheduled.
    pub(crate) timer: Option<i64>,
    pub(crate) takes: bool,
    pub(crate) app: App,
    /// A former state of the store, and of the application with it.
    pub(crate) copy: Option<(tempfile::TempDir, App)>,
    pub(crate) restored: bool,
}

/// What a failing write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// The program ended there.
    Crash,
    /// The disk is full for a while.
    Full,
}

/// The connection of an agent to a relay over which it receives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) session: u64,
    pub(crate) up: bool,
    pub(crate) reconnects: bool,
}

/// What an application knows. It is stored with the core's store.
#[derive(Clone, Default)]
pub(crate) struct App {
    pub(crate) sides: BTreeMap<i64, Side>,
    /// Requests at the contact address: who asked, and what became of it.
    pub(crate) requests: Vec<(RequestId, usize)>,
    /// The contact address or the invitation that this agent made.
    pub(crate) made: Option<ConnectionId>,
    /// What its link shows.
    pub(crate) shows: &'static [u8],
}

/// One connection as one side knows it.
#[derive(Clone, Default)]
pub(crate) struct Side {
    pub(crate) peer: Option<usize>,
    pub(crate) connected: u32,
    pub(crate) failed: Vec<FailReason>,
    /// Numbers and bodies of its messages, and whether it wants receipts.
    pub(crate) sent: Vec<(i64, Vec<u8>, bool)>,
    pub(crate) told: Vec<Told>,
    /// How many messages were told already when it was told that some are missing, and how many.
    pub(crate) missing: Vec<(usize, u32)>,
    /// Receipts that came.
    pub(crate) received: Vec<(i64, bool)>,
    pub(crate) undelivered: Vec<(i64, UndeliveredReason)>,
    pub(crate) out_of_step: u32,
    pub(crate) in_step: u32,
    pub(crate) queue_changed: u32,
    pub(crate) queue_lost: u32,
    /// Events that the application has seen, so that none comes twice.
    pub(crate) seen: BTreeSet<i64>,
    pub(crate) deleted: bool,
    /// Queues that were to take the place of others, or to be added.
    pub(crate) rotations: u32,
}

#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) id: i64,
    pub(crate) integrity: Integrity,
    pub(crate) body: Vec<u8>,
    /// Whether a receipt was given.
    pub(crate) receipt: bool,
}

/// The text by which an agent introduces itself.
pub(crate) fn info(agent: usize) -> Vec<u8> {
    format!("agent {agent}").into_bytes()
}

fn introduced(info: &[u8]) -> usize {
    let text = std::str::from_utf8(info).unwrap();
    text.strip_prefix("agent ").unwrap().parse().unwrap()
}

impl Agent {
    pub(crate) fn new(config: CoreConfig, relays: usize) -> Self {
        let link = Link {
            session: 0,
            up: false,
            reconnects: false,
        };
        Self {
            core: None,
            store: Some(Store::in_memory().unwrap()),
            epoch: 0,
            armed: None,
            loses_outputs: false,
            config,
            clock: 0,
            asleep: 0,
            links: vec![link; relays],
            wanted: BTreeMap::new(),
            timer: None,
            takes: false,
            app: App::default(),
            copy: None,
            restored: false,
        }
    }

    /// What its clock shows.
    pub(crate) fn time(&self, now: i64) -> Timestamp {
        Timestamp(now + self.clock)
    }

    pub(crate) fn wants(&self, relay: usize, recipient: &RecipientId) -> bool {
        self.wanted
            .contains_key(&(relay, recipient.as_bytes().to_vec()))
    }
}

impl App {
    /// The application took an event.
    pub(crate) fn take(
        &mut self,
        id: EventId,
        connection: ConnectionId,
        event: &Event,
        receipt: bool,
    ) {
        let side = self.sides.entry(connection.0).or_default();
        assert!(side.seen.insert(id.0), "event {} was taken before", id.0);
        match event {
            Event::PeerInfo(info) => {
                let peer = introduced(info);
                assert_eq!(side.peer.replace(peer), None, "two introductions of a peer");
                assert_eq!(
                    side.connected, 0,
                    "an introduction after the connection was made"
                );
            }
            Event::Connected => {
                assert!(side.peer.is_some(), "connected without introduction");
                side.connected += 1;
            }
            Event::Message {
                id,
                integrity,
                body,
                ..
            } => {
                assert!(
                    side.connected > 0,
                    "a message before the connection is made"
                );
                side.told.push(Told {
                    id: *id,
                    integrity: *integrity,
                    body: body.to_vec(),
                    receipt,
                });
            }
            Event::Missing(count) => side.missing.push((side.told.len(), *count)),
            Event::Received { id, matches } => side.received.push((*id, *matches)),
            Event::Requested { request, info } => self.requests.push((*request, introduced(info))),
            Event::Failed(reason) => side.failed.push(*reason),
            Event::NotDelivered { id, reason } => side.undelivered.push((*id, *reason)),
            Event::OutOfStep => side.out_of_step += 1,
            Event::InStep => side.in_step += 1,
            Event::QueueChanged => side.queue_changed += 1,
            Event::QueueLost => side.queue_lost += 1,
            other => unreachable!("an event that this application does not know: {other:?}"),
        }
    }
}
