//! What has to be so when all is over.

use std::collections::BTreeMap;

use crate::agent::Side;
use crate::scenario::Action;
use crate::world::{HOUR, MINUTE, SECOND, START, World};
use crate::{ConnectionId, Core, CoreError, FailReason, Integrity, StoreError};
use smp_agent::protocol::{LinkSecrets, ShortLink, UserLinkData, open_link};
use smp_agent::{ConnectionState, RatchetSync, ReceiveQueueState, ReceiveSwitch};

/// Both ends of a connection: agent and connection there.
type Pair = [(usize, i64); 2];

/// Nothing goes wrong any more: in time nothing is under way.
pub(crate) fn settles(world: &mut World) {
    world.run(START + world.scenario.length);
    settle_again(world);
}

fn settle_again(world: &mut World) {
    let quiet = world.rest(72 * HOUR);
    for (number, agent) in world.agents.iter().enumerate() {
        let under_way = agent.core.as_ref().expect("it runs").under_way();
        assert!(
            quiet && under_way == 0,
            "agent {number} has {under_way} requests under way"
        );
    }
}

/// Some messages each way over connections that settled.
pub(crate) fn talk(world: &mut World) {
    for round in 0..3 {
        for agent in 0..world.agents.len() {
            let sides = connected_sides(world, agent);
            for side in sides {
                assert!(
                    world.send(agent, side, round == 1),
                    "agent {agent} cannot send over {side}"
                );
                world.run(world.now + MINUTE);
            }
        }
    }
    settle_again(world);
}

fn connected_sides(world: &World, agent: usize) -> Vec<i64> {
    let sides = &world.agents[agent].app.sides;
    sides
        .iter()
        .filter(|(_, side)| side.connected > 0 && side.failed.is_empty() && !side.deleted)
        .map(|(id, _)| *id)
        .collect()
}

fn side(world: &World, end: (usize, i64)) -> &Side {
    &world.agents[end.0].app.sides[&end.1]
}

/// The ends that found each other.
fn pairs(world: &World) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (id, side) in &world.agents[0].app.sides {
        let Some(peer) = side.peer else { continue };
        let theirs = world.agents[peer].app.sides.keys();
        let theirs: Vec<_> = theirs.collect();
        assert_eq!(theirs.len(), 1, "one connection of each who joins");
        pairs.push([(0, *id), (peer, *theirs[0])]);
    }
    pairs
}

/// Each who joined is connected, or was told why not, and nobody else has the connection.
pub(crate) fn connected(world: &mut World) {
    let pairs = pairs(world);
    let joined = world.agents.len() - 1;
    if world.scenario.way.is_address() {
        assert_eq!(pairs.len(), joined, "connections at the address");
        let mut who: Vec<_> = world.agents[0]
            .app
            .requests
            .iter()
            .map(|(_, who)| *who)
            .collect();
        who.sort_unstable();
        assert_eq!(who, (1..=joined).collect::<Vec<_>>(), "requests");
    } else {
        assert_eq!(pairs.len(), 1, "connections of one invitation");
        for agent in 1..=joined {
            if agent != pairs[0][1].0 {
                let side = world.agents[agent]
                    .app
                    .sides
                    .values()
                    .next()
                    .expect("it tried");
                assert_eq!(side.failed, [FailReason::LinkGone]);
                assert_eq!((side.connected, side.peer), (0, None));
            }
        }
    }
    for pair in pairs {
        agrees(world, pair);
    }
}

fn agrees(world: &mut World, pair: Pair) {
    let mut codes = Vec::new();
    let both = pair
        .iter()
        .all(|(agent, _)| world.scenario.post_quantum[*agent]);
    for (place, end) in pair.into_iter().enumerate() {
        let other = pair[1 - place];
        let known = side(world, end);
        assert_eq!(known.peer, Some(other.0));
        assert_eq!(
            (known.connected, known.failed.as_slice()),
            (1, &[][..]),
            "agent {}",
            end.0
        );
        let id = ConnectionId(end.1);
        let core = world.agents[end.0].core.as_mut().expect("it runs");
        let connection = core.connection(id).unwrap();
        assert_eq!(connection.state, ConnectionState::Connected);
        assert_eq!(connection.sync, RatchetSync::Ok, "agent {}", end.0);
        let security = core.security(id).unwrap().expect("keys");
        let quantum = (
            security.post_quantum_sending,
            security.post_quantum_receiving,
        );
        assert_eq!(quantum, (both, both), "post-quantum at agent {}", end.0);
        codes.push(security.code);
    }
    assert_eq!(codes[0], codes[1], "security codes");
}

/// All messages, each once, in order and unaltered; all receipts.
pub(crate) fn strictly(world: &World) {
    for pair in pairs(world) {
        for [from, to] in [pair, [pair[1], pair[0]]] {
            let (sender, receiver) = (side(world, from), side(world, to));
            let told: Vec<_> = receiver
                .told
                .iter()
                .map(|told| (told.id, &told.body))
                .collect();
            let sent: Vec<_> = sender
                .sent
                .iter()
                .map(|(id, body, _)| (*id, body))
                .collect();
            if told != sent {
                let numbers =
                    |list: &[(i64, &Vec<u8>)]| list.iter().map(|(id, _)| *id).collect::<Vec<_>>();
                panic!(
                    "agent {} sent {:?}, and agent {} was told {:?}, {:?}",
                    from.0,
                    numbers(&sent),
                    to.0,
                    numbers(&told),
                    receiver
                        .told
                        .iter()
                        .map(|told| told.integrity)
                        .collect::<Vec<_>>()
                );
            }
            assert_eq!(receiver.missing, [], "agent {} misses messages", to.0);
            for told in &receiver.told {
                assert_eq!(
                    told.integrity,
                    Integrity::Ok,
                    "message {} of agent {}",
                    told.id,
                    from.0
                );
            }
            assert_eq!(sender.undelivered, []);
            let messages = receiver.told.iter().zip(&sender.sent);
            let wanted: BTreeMap<i64, bool> = messages
                .filter(|(told, (_, _, wants))| told.receipt && *wants)
                .map(|(told, _)| (told.id, true))
                .collect();
            let got: BTreeMap<i64, bool> = sender.received.iter().copied().collect();
            assert_eq!(got, wanted, "receipts of agent {}", from.0);
            assert_eq!(got.len(), sender.received.len(), "a receipt came twice");
            assert_eq!(sender.out_of_step, 0, "agent {} is out of step", from.0);
            if world.stats.lost_queues == 0 {
                assert_eq!(sender.queue_lost, 0);
                assert_eq!(
                    sender.queue_changed, sender.rotations,
                    "changes of queues of agent {}",
                    from.0
                );
            }
        }
    }
    for (number, relay) in world.relays.iter().enumerate() {
        assert!(
            relay.complaints.is_empty(),
            "relay {number}: {:?}",
            relay.complaints
        );
    }
}

/// Behind the link stands what its maker wrote last.
pub(crate) fn link_shows(world: &mut World) {
    let app = &world.agents[0].app;
    let (Some(id), shows) = (app.made, app.shows) else {
        return;
    };
    let core = world.agents[0].core.as_mut().expect("it runs");
    let Some(links) = core.links(id).unwrap() else {
        return;
    };
    let link: ShortLink = links.short.expect("a short link").parse().unwrap();
    let secrets = LinkSecrets::of(&link);
    let queues = world.relays.iter().flat_map(|relay| relay.queues.values());
    let mut data = queues.filter_map(|queue| queue.link.as_ref());
    let (_, data) = data.find(|(id, _)| id == secrets.link_id()).expect("data");
    let (_, user) = open_link(&link, data).unwrap();
    let (UserLinkData::Invitation { data, .. } | UserLinkData::Contact { data, .. }) = user;
    assert_eq!(data, shows, "what the link shows");
}

/// Stores and relays have what is in use, and nothing else.
pub(crate) fn nothing_is_left(world: &mut World) {
    let addresses: Vec<_> = world
        .relays
        .iter()
        .map(|relay| relay.address.clone())
        .collect();
    let mut used = Vec::new();
    for (number, agent) in world.agents.iter_mut().enumerate() {
        let core: &mut Core = agent.core.as_mut().expect("it runs");
        let queues = core
            .store()
            .transaction(|tx| {
                assert_eq!(tx.event_count()?, 0, "events of agent {number}");
                assert_eq!(
                    tx.queues_with_outgoing()?.len(),
                    0,
                    "agent {number} has messages to send"
                );
                assert_eq!(
                    tx.connections_with_held()?.len(),
                    0,
                    "agent {number} holds messages"
                );
                for connection in tx.connections()? {
                    let waits = connection.state == ConnectionState::Waiting;
                    let keys = tx.initiator_keys(connection.id)?.is_some();
                    assert!(!keys || waits, "old keys at agent {number}");
                    assert!(
                        tx.joining(connection.id)?.is_none(),
                        "agent {number} still joins"
                    );
                }
                tx.all_receive_queues()
            })
            .map_err(|error: StoreError| CoreError::from(error))
            .unwrap();
        for queue in queues {
            assert_eq!(queue.state, ReceiveQueueState::Active, "agent {number}");
            assert_eq!(
                queue.switch,
                ReceiveSwitch::None,
                "a change of queues of agent {number} hangs"
            );
            assert!(queue.replaces.is_none(), "agent {number}");
            let relay = addresses
                .iter()
                .position(|address| *address == queue.relay)
                .unwrap();
            let ids = queue.ids.expect("ids");
            used.push((relay, ids.recipient.as_bytes().to_vec()));
        }
    }
    for place in &used {
        assert!(
            world.relays[place.0].queues.contains_key(&place.1),
            "a queue in use is gone at relay {}",
            place.0
        );
    }
    for (number, relay) in world.relays.iter().enumerate() {
        for (recipient, queue) in &relay.queues {
            assert!(
                !queue.known || used.contains(&(number, recipient.clone())),
                "a queue of agent {} that nobody uses is left at relay {number}",
                queue.owner
            );
        }
        let lost = relay.queues.values().filter(|queue| !queue.known).count();
        assert!(
            lost < 60,
            "{lost} queues at relay {number} that nobody knows"
        );
    }
}

/// All delete their connections: nothing is left.
pub(crate) fn parting(world: &mut World) {
    for agent in 0..world.agents.len() {
        let delay = 1 + SECOND * (agent as i64 % 2) * (world.now % 7);
        world.act_after(delay, agent, Action::Delete);
    }
    settle_again(world);
    for (number, agent) in world.agents.iter_mut().enumerate() {
        let core = agent.core.as_mut().expect("it runs");
        assert_eq!(core.under_way(), 0);
        assert!(
            core.connections().unwrap().is_empty(),
            "agent {number} still has a connection"
        );
        let left = core.store().transaction(|tx| {
            Ok::<_, StoreError>((tx.all_receive_queues()?.len(), tx.all_send_queues()?.len()))
        });
        assert_eq!(left.unwrap(), (0, 0), "queues of agent {number}");
    }
    for (number, relay) in world.relays.iter().enumerate() {
        let left = relay.queues.values().filter(|queue| queue.known).count();
        assert_eq!(left, 0, "queues are left at relay {number}");
    }
}

/// After new keys messages get through again both ways.
pub(crate) fn heals(world: &mut World) {
    for agent in 0..world.agents.len() {
        for side in connected_sides(world, agent) {
            if world.agents[agent].restored {
                world.act_after(SECOND, agent, Action::Resynchronise(Some(side)));
            }
        }
    }
    settle_again(world);
    for round in 0..2 {
        for pair in pairs(world) {
            for [from, to] in [pair, [pair[1], pair[0]]] {
                if side(world, from).connected == 0 || side(world, to).connected == 0 {
                    continue;
                }
                assert!(
                    world.send(from.0, from.1, false),
                    "agent {} cannot send",
                    from.0
                );
                settle_again(world);
                let body = &side(world, from).sent.last().expect("sent").1;
                let got = side(world, to)
                    .told
                    .last()
                    .is_some_and(|told| told.body == *body);
                assert!(
                    got,
                    "round {round}: a message of agent {} is lost after new keys",
                    from.0
                );
            }
        }
    }
}

/// What was told was sent so, and is told once.
pub(crate) fn nothing_is_altered(world: &World) {
    for pair in pairs(world) {
        for [from, to] in [pair, [pair[1], pair[0]]] {
            let (sender, receiver) = (side(world, from), side(world, to));
            let mut seen = std::collections::BTreeSet::new();
            for told in &receiver.told {
                if !world.agents[from.0].restored {
                    let sent = sender
                        .sent
                        .iter()
                        .any(|(id, body, _)| (*id, body) == (told.id, &told.body));
                    assert!(sent, "message {} was never sent so", told.id);
                }
                assert!(
                    seen.insert(&told.body),
                    "message {} was told twice",
                    told.id
                );
            }
        }
    }
}

/// A message that was not told is missed by the next one, or some event tells of it.
pub(crate) fn losses_are_reported(world: &World) {
    for pair in pairs(world) {
        for [from, to] in [pair, [pair[1], pair[0]]] {
            let (sender, receiver) = (side(world, from), side(world, to));
            for (id, body, _) in &sender.sent {
                if receiver.told.iter().any(|told| told.body == *body) {
                    continue;
                }
                let missed = receiver
                    .told
                    .iter()
                    .filter(|told| told.id > *id)
                    .any(|told| told.integrity != Integrity::Ok)
                    || !receiver.missing.is_empty();
                let last = receiver.told.iter().all(|told| told.id < *id);
                let told = sender.undelivered.iter().any(|(lost, _)| lost == id)
                    || receiver.out_of_step + receiver.queue_lost > 0
                    || sender.out_of_step > 0;
                assert!(
                    missed || last || told,
                    "nobody was told that message {id} is lost"
                );
            }
        }
    }
}
