//! The store does what plain maps do, whatever comes in whatever order, also after reopening.

use std::fmt::Write;

use proptest::prelude::*;
use smp_agent::{
    ConnectionId, EventId, OutgoingId, ReceiveQueueId, RequestId, SendQueueId, Store, StoreError,
    Timestamp,
};

use crate::reference::Reference;
use crate::support::{Folder, Samples, key, shown_key, shown_receive_queue, shown_send_queue};

/// Settings' names.
const NAMES: [&str; 3] = ["servers", "profile", "x"];

/// Ids that are looked at: those up to the greatest that can be there, and one more.
const IDS: std::ops::RangeInclusive<i64> = 0..=40;

/// Numbers of messages.
const MESSAGES: std::ops::Range<i64> = 0..4;

/// A change: which, at what, and what to.
type Op = (u8, i64, u64);

/// How a transaction ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    /// With an error of the one who began it.
    Abort,
    /// With a crash at this write, if there are so many.
    Crash(u64),
}

/// What comes after a transaction.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Reopen,
    Compact,
    ChangeKey(u8),
    /// Goes on with a copy.
    Export(u8),
}

fn hash(number: u64) -> [u8; 32] {
    [number as u8 % 4; 32]
}

/// Makes a change, and says what came of it. The store and the reference have the same methods.
macro_rules! apply {
    ($on:expr, $op:expr) => {{
        let (kind, at, seed): Op = $op;
        let mut samples = Samples::new(seed);
        let (connection, number) = (ConnectionId(at), seed as i64 % MESSAGES.end);
        let to = SendQueueId(seed as i64 % 6);
        match kind % 36 {
            0 | 1 => format!("{:?}", $on.insert_connection(&samples.connection())),
            2 => {
                let mut changed = samples.connection();
                changed.id = connection;
                format!("{:?}", $on.save_connection(&changed))
            }
            3 => format!("{:?}", $on.delete_connection(connection)),
            4 | 5 => format!("{:?}", $on.save_ratchet(connection, &samples.ratchet())),
            6 => {
                let keys = samples.initiator_keys();
                format!("{:?}", $on.save_initiator_keys(connection, &keys))
            }
            7 => format!("{:?}", $on.delete_initiator_keys(connection)),
            8 => {
                let params = samples.joiner_params();
                format!("{:?}", $on.save_joiner_params(connection, &params))
            }
            9 => format!("{:?}", $on.delete_joiner_params(connection)),
            10 => format!("{:?}", $on.set_own_info(connection, &samples.bytes(12_000))),
            11 => format!(
                "{:?}",
                $on.set_link_data(connection, &samples.bytes(12_000))
            ),
            12 => format!(
                "{:?}",
                $on.set_joining(connection, Some(&samples.joining()))
            ),
            13 => format!("{:?}", $on.set_joining(connection, None)),
            14 => format!(
                "{:?}",
                $on.insert_receive_queue(&samples.receive_queue(connection))
            ),
            15 => {
                let mut queue = samples.receive_queue(ConnectionId(0));
                queue.id = ReceiveQueueId(at);
                format!("{:?}", $on.save_receive_queue(&queue))
            }
            16 => format!("{:?}", $on.delete_receive_queue(ReceiveQueueId(at))),
            17 => format!(
                "{:?}",
                $on.insert_send_queue(&samples.send_queue(connection))
            ),
            18 => {
                let mut queue = samples.send_queue(ConnectionId(0));
                queue.id = SendQueueId(at);
                format!("{:?}", $on.save_send_queue(&queue))
            }
            19 => format!("{:?}", $on.delete_send_queue(SendQueueId(at))),
            20 | 21 => format!(
                "{:?}",
                $on.push_outgoing(&samples.outgoing(SendQueueId(at)))
            ),
            22 => format!("{:?}", $on.remove_outgoing(OutgoingId(at))),
            23 => format!("{:?}", $on.move_outgoing(SendQueueId(at), to)),
            24 => {
                let body = samples.bytes(16_000);
                format!("{:?}", $on.push_event(connection, samples.time(), &body))
            }
            25 => format!("{:?}", $on.remove_event(EventId(at))),
            26 => format!("{:?}", $on.hold(connection, &samples.held(number))),
            27 => format!("{:?}", $on.remove_held(connection, number)),
            28 => format!("{:?}", $on.insert_request(&samples.request(connection))),
            29 => format!("{:?}", $on.delete_request(RequestId(at))),
            30 => {
                let sent = $on.remember_sent(connection, number, &hash(seed), samples.time());
                format!("{sent:?}")
            }
            31 => {
                let forgotten = $on.forget_sent_before(Timestamp(seed as i64 % 2_000_000_000_000));
                format!("{:?} {forgotten:?}", $on.forget_sent(connection, number))
            }
            33 => format!(
                "{:?}",
                $on.owe_receipt(connection, &samples.receipt(number))
            ),
            34 => {
                let taken = $on.take_owed_receipts(connection, seed as usize % 3);
                let taken = taken.map(|taken| {
                    let each = taken.into_iter().map(|one| (one.id, one.hash, one.info));
                    each.collect::<Vec<_>>()
                });
                format!("{taken:?}")
            }
            32 => format!(
                "{:?}",
                $on.remember_seen(connection, &hash(seed), samples.time())
            ),
            _ => {
                let value = samples.bytes(9_000);
                let value = (seed % 3 > 0).then_some(&value[..]);
                format!(
                    "{:?}",
                    $on.set_setting(NAMES[at as usize % NAMES.len()], value)
                )
            }
        }
    }};
}

/// Everything that can be asked.
macro_rules! shown {
    ($on:expr) => {{
        let mut out = String::new();
        let show = &mut out;
        for one in $on.connections()? {
            writeln!(show, "{one:?}").unwrap();
        }
        for id in IDS.map(ConnectionId) {
            writeln!(show, "{id:?} {:?}", $on.connection(id)?).unwrap();
            let ratchet = $on.ratchet(id)?.map(|ratchet| ratchet.to_bytes());
            let keys = $on.initiator_keys(id)?.map(|keys| keys.to_bytes());
            let params = $on.joiner_params(id)?.map(|params| {
                let mut bytes = Vec::new();
                params.encode(&mut bytes);
                bytes
            });
            let parts = (ratchet, keys, params, $on.own_info(id)?, $on.link_data(id)?);
            writeln!(show, "{parts:?}").unwrap();
            if let Some(joining) = $on.joining(id)? {
                writeln!(show, "{:?} {}", joining.link, shown_key(&joining.key)).unwrap();
            }
            let receive = $on.receive_queues(id)?;
            let receive = receive.iter().map(|queue| queue.id).collect::<Vec<_>>();
            let send = $on.send_queues(id)?;
            let send = send.iter().map(|queue| queue.id).collect::<Vec<_>>();
            let held = $on.first_held(id)?.map(|held| {
                let times = (held.sent_at, held.held_at);
                (
                    held.message_id,
                    held.previous_hash,
                    held.hash,
                    times,
                    held.body,
                )
            });
            let counts = ($on.held_count(id)?, $on.request_count(id)?);
            writeln!(show, "{receive:?} {send:?} {held:?} {counts:?}").unwrap();
            for number in MESSAGES {
                let seen = $on.seen(id, &hash(number as u64))?;
                writeln!(show, "{:?} {seen}", $on.sent_hash(id, number)?).unwrap();
            }
        }
        for queue in $on.all_receive_queues()? {
            let same = $on.receive_queue(queue.id)?.unwrap();
            assert_eq!(shown_receive_queue(&queue), shown_receive_queue(&same));
            writeln!(show, "{}", shown_receive_queue(&queue)).unwrap();
            if let Some(ids) = &queue.ids {
                let found = $on.find_receive_queue(&queue.relay, &ids.recipient)?;
                writeln!(show, "{:?}", found.map(|queue| queue.id)).unwrap();
            }
        }
        for queue in $on.all_send_queues()? {
            let same = $on.send_queue(queue.id)?.unwrap();
            assert_eq!(shown_send_queue(&queue), shown_send_queue(&same));
            writeln!(show, "{}", shown_send_queue(&queue)).unwrap();
            let first = $on.first_outgoing(queue.id)?.map(|outgoing| outgoing.id);
            writeln!(show, "{first:?} {}", $on.outgoing_count(queue.id)?).unwrap();
        }
        writeln!(show, "{:?}", $on.queues_with_outgoing()?).unwrap();
        for id in IDS.map(OutgoingId) {
            if let Some(one) = $on.outgoing(id)? {
                let what = (one.id, one.queue, one.kind, one.message_id, one.notify);
                writeln!(show, "{what:?} {:?} {:?}", one.created, one.body).unwrap();
            }
        }
        let first = $on.first_event()?.map(|event| event.id);
        writeln!(show, "{first:?} {}", $on.event_count()?).unwrap();
        for event in $on.events(EventId(2), 5)? {
            let what = (event.id, event.connection, event.at, event.body);
            writeln!(show, "{what:?}").unwrap();
        }
        let held = ($on.oldest_held()?, $on.connections_with_held()?);
        writeln!(show, "{held:?}").unwrap();
        for one in $on.requests()? {
            let same = $on.request(one.id)?.unwrap();
            assert!(one == same);
            let what = (one.id, one.address, one.link, one.info, one.received);
            writeln!(show, "{what:?}").unwrap();
        }
        for name in NAMES {
            writeln!(show, "{:?}", $on.setting(name)?).unwrap();
        }
        Ok::<String, StoreError>(out)
    }};
}

fn shown_store(store: &mut Store) -> String {
    store
        .transaction(|transaction| shown!(transaction))
        .unwrap()
}

fn shown_reference(reference: &Reference) -> String {
    (|| shown!(reference))().unwrap()
}

/// Runs a transaction in the store. `None` if nothing came of it.
fn run(store: &mut Store, ops: &[Op], end: End) -> Option<Vec<String>> {
    if let End::Crash(write) = end {
        store.crash_after_writes(Some(write));
    }
    let outcomes = store.transaction(|transaction| {
        let outcomes = ops.iter().map(|op| apply!(transaction, *op));
        let outcomes = outcomes.collect::<Vec<_>>();
        match end {
            End::Abort => Err(StoreError::Undone),
            _ => Ok(outcomes),
        }
    });
    store.crash_after_writes(None);
    match (outcomes, end) {
        (Ok(outcomes), _) => Some(outcomes),
        (Err(StoreError::Undone), End::Abort) | (Err(StoreError::Crashed), End::Crash(_)) => None,
        (Err(error), _) => panic!("{error}"),
    }
}

fn then(mut store: Store, folder: &mut Folder, key_number: &mut u8, then: Then) -> Store {
    match then {
        Then::Nothing => return store,
        Then::Compact => {
            store.compact().unwrap();
            return store;
        }
        Then::ChangeKey(number) => {
            store.change_key(&key(number)).unwrap();
            *key_number = number;
            return store;
        }
        Then::Export(number) => {
            let other = Folder::new();
            store.export(&other.file(), &key(number)).unwrap();
            *key_number = number;
            drop(store);
            *folder = other;
        }
        Then::Reopen => drop(store),
    }
    Store::open(&folder.file(), &key(*key_number)).unwrap()
}

fn op() -> impl Strategy<Value = Op> {
    (any::<u8>(), 1..7_i64, any::<u64>())
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Commit),
        1 => Just(End::Abort),
        1 => (1..12_u64).prop_map(End::Crash),
    ]
}

fn what_then() -> impl Strategy<Value = Then> {
    prop_oneof![
        8 => Just(Then::Nothing),
        2 => Just(Then::Reopen),
        1 => Just(Then::Compact),
        1 => any::<u8>().prop_map(Then::ChangeKey),
        1 => any::<u8>().prop_map(Then::Export),
    ]
}

fn transactions() -> impl Strategy<Value = Vec<(Vec<Op>, End, Then)>> {
    let ops = prop::collection::vec(op(), 1..10);
    prop::collection::vec((ops, end(), what_then()), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_does_what_plain_maps_do(transactions in transactions()) {
        let (mut folder, mut key_number) = (Folder::new(), 1);
        let mut store = folder.create();
        let mut reference = Reference::default();
        for (ops, end, what) in transactions {
            let mut changed = reference.clone();
            let expected: Vec<_> = ops.iter().map(|op| apply!(changed, *op)).collect();
            if let Some(outcomes) = run(&mut store, &ops, end) {
                prop_assert_eq!(outcomes, expected);
                reference = changed;
            }
            prop_assert_eq!(shown_store(&mut store), shown_reference(&reference));
            store = then(store, &mut folder, &mut key_number, what);
            prop_assert_eq!(shown_store(&mut store), shown_reference(&reference));
        }
    }
}
