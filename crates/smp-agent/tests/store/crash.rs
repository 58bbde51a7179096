//! Crashes: at each write of a script, and whenever the process is killed.

use smp_agent::{ConnectionId, EventId, Held, SendQueueId, StoreError, Timestamp, Transaction};

use crate::support::{Folder, Samples, done, dump};

type Work = fn(&Transaction<'_>) -> Result<(), StoreError>;

/// What an agent does from an invitation to its end, each in a transaction.
const SCRIPT: &[Work] = &[
    |transaction| {
        let mut samples = Samples::new(1);
        let id = transaction.insert_connection(&samples.connection())?;
        transaction.set_own_info(id, b"Alice")?;
        transaction.save_initiator_keys(id, &samples.initiator_keys())?;
        transaction
            .insert_receive_queue(&samples.receive_queue(id))
            .map(drop)
    },
    |transaction| {
        let mut queue = transaction.all_receive_queues()?.remove(0);
        queue.secured = !queue.secured;
        transaction.save_receive_queue(&queue)
    },
    |transaction| {
        let mut samples = Samples::new(2);
        let mut connection = transaction.connections()?.remove(0);
        transaction.save_ratchet(connection.id, &samples.ratchet())?;
        transaction.delete_initiator_keys(connection.id)?;
        let queue = transaction.insert_send_queue(&samples.send_queue(connection.id))?;
        transaction.push_outgoing(&samples.outgoing(queue))?;
        connection.sent.id += 1;
        transaction.save_connection(&connection)
    },
    |transaction| {
        let mut samples = Samples::new(3);
        let mut connection = transaction.connections()?.remove(0);
        connection.received.id += 1;
        transaction.save_ratchet(connection.id, &samples.ratchet())?;
        transaction.remember_seen(connection.id, &samples.array(), Timestamp(1))?;
        transaction.push_event(connection.id, Timestamp(1), &samples.bytes(15_000))?;
        transaction.save_connection(&connection)
    },
    |transaction| {
        let held: Held = Samples::new(4).held(9);
        transaction.hold(ConnectionId(1), &held)
    },
    |transaction| {
        let mut samples = Samples::new(5);
        transaction.remove_held(ConnectionId(1), 9)?;
        transaction
            .push_event(ConnectionId(1), Timestamp(2), &samples.bytes(15_000))
            .map(drop)
    },
    |transaction| {
        let mut samples = Samples::new(6);
        let other = transaction.insert_send_queue(&samples.send_queue(ConnectionId(1)))?;
        transaction.move_outgoing(SendQueueId(1), other)?;
        transaction.delete_send_queue(SendQueueId(1))
    },
    |transaction| {
        let first = transaction.first_outgoing(SendQueueId(2))?.unwrap();
        transaction.remember_sent(ConnectionId(1), 5, &[5; 32], Timestamp(3))?;
        transaction.remove_outgoing(first.id)
    },
    |transaction| transaction.remove_event(EventId(1)).map(drop),
    |transaction| transaction.delete_connection(ConnectionId(1)),
];

#[test]
fn a_crash_at_any_write_leaves_what_was_before_its_transaction() {
    let folder = Folder::new();
    let mut store = folder.create();
    let mut states = vec![dump(&mut store)];
    for work in SCRIPT {
        done(&mut store, work);
        states.push(dump(&mut store));
    }
    for write in 1.. {
        let folder = Folder::new();
        let mut store = folder.create();
        store.crash_after_writes(Some(write));
        let mut results = SCRIPT.iter().map(|work| store.transaction(work));
        let Some(crashed) = results.position(|result| match result {
            Ok(()) => false,
            Err(StoreError::Crashed) => true,
            Err(error) => panic!("{error:?}"),
        }) else {
            assert!(write > 30, "{write}");
            return;
        };
        // Nothing is written any more.
        assert!(matches!(
            store.transaction(SCRIPT[0]),
            Err(StoreError::Crashed)
        ));
        drop(store);
        let mut store = folder.open().unwrap();
        assert_eq!(dump(&mut store), states[crashed], "write {write}");
        for (work, state) in SCRIPT[crashed..].iter().zip(&states[crashed + 1..]) {
            done(&mut store, work);
            assert_eq!(&dump(&mut store), state);
        }
    }
}

#[test]
fn a_store_in_memory_goes_on_after_a_crash() {
    let mut store = smp_agent::Store::in_memory().unwrap();
    done(&mut store, SCRIPT[0]);
    let before = dump(&mut store);
    store.crash_after_writes(Some(2));
    assert!(matches!(
        store.transaction(SCRIPT[2]),
        Err(StoreError::Crashed)
    ));
    // Reading is no write.
    assert_eq!(dump(&mut store), before);
    store.crash_after_writes(None);
    done(&mut store, SCRIPT[2]);
}
