//! What single records promise beyond the plain model.

use smp_agent::{ConnectionId, StoreError, Timestamp};

use crate::support::{Folder, Samples, done};

/// The limit that the documentation of the store names.
const SEEN_KEPT: usize = 2_000;

fn hash(number: usize) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    hash
}

#[test]
fn the_newest_hashes_of_each_connection_are_kept() {
    let folder = Folder::new();
    let mut store = folder.create();
    done(&mut store, |transaction| {
        let connection = Samples::new(1).connection();
        let busy = transaction.insert_connection(&connection)?;
        let quiet = transaction.insert_connection(&connection)?;
        transaction.remember_seen(quiet, &hash(0), Timestamp(0))?;
        for number in 0..SEEN_KEPT + 10 {
            transaction.remember_seen(busy, &hash(number), Timestamp(0))?;
            // Once more changes nothing, and lets nothing go.
            transaction.remember_seen(busy, &hash(number), Timestamp(1))?;
        }
        for number in 0..SEEN_KEPT + 10 {
            assert_eq!(transaction.seen(busy, &hash(number))?, number >= 10);
        }
        assert!(transaction.seen(quiet, &hash(0))?);
        assert!(!transaction.seen(quiet, &hash(1))?);
        Ok(())
    });
}

#[test]
fn ids_are_never_used_again() {
    let folder = Folder::new();
    let mut store = folder.create();
    let mut samples = Samples::new(2);
    let ids = done(&mut store, |transaction| {
        let connection = transaction.insert_connection(&samples.connection())?;
        let send = transaction.insert_send_queue(&samples.send_queue(connection))?;
        let ids = (
            connection,
            transaction.insert_receive_queue(&samples.receive_queue(connection))?,
            send,
            transaction.push_outgoing(&samples.outgoing(send))?,
            transaction.push_event(connection, Timestamp(0), b"")?,
            transaction.insert_request(&samples.request(connection))?,
        );
        transaction.delete_connection(connection)?;
        Ok(ids)
    });
    drop(store);
    let mut store = folder.open().unwrap();
    done(&mut store, |transaction| {
        let connection = transaction.insert_connection(&samples.connection())?;
        let send = transaction.insert_send_queue(&samples.send_queue(connection))?;
        assert!(connection > ids.0);
        let receive = transaction.insert_receive_queue(&samples.receive_queue(connection))?;
        assert!(receive > ids.1 && send > ids.2);
        assert!(transaction.push_outgoing(&samples.outgoing(send))? > ids.3);
        assert!(transaction.push_event(connection, Timestamp(0), b"")? > ids.4);
        assert!(transaction.insert_request(&samples.request(connection))? > ids.5);
        Ok(())
    });
}

#[test]
fn an_event_may_tell_of_a_connection_that_is_gone() {
    let folder = Folder::new();
    let mut store = folder.create();
    done(&mut store, |transaction| {
        let id = transaction.insert_connection(&Samples::new(3).connection())?;
        transaction.push_event(id, Timestamp(1), b"message")?;
        transaction.delete_connection(id)?;
        transaction.push_event(id, Timestamp(2), b"deleted")?;
        let events = transaction.events(smp_agent::EventId(0), usize::MAX)?;
        assert_eq!(events.len(), 1);
        assert_eq!(
            (events[0].connection, &events[0].body[..]),
            (id, &b"deleted"[..])
        );
        Ok(())
    });
}

#[test]
fn a_transaction_that_panics_is_undone() {
    let folder = Folder::new();
    let mut store = folder.create();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        done(&mut store, |transaction| -> Result<(), StoreError> {
            transaction.set_setting("name", Some(b"value"))?;
            panic!("on purpose");
        });
    }));
    assert!(result.is_err());
    assert!(done(&mut store, |transaction| transaction.setting("name")).is_none());
}

#[test]
fn what_is_missing_does_not_undo_the_rest() {
    let folder = Folder::new();
    let mut store = folder.create();
    done(&mut store, |transaction| {
        transaction.set_setting("name", Some(b"value"))?;
        let missing = transaction.set_own_info(ConnectionId(9), b"info");
        assert!(matches!(
            missing,
            Err(StoreError::Missing { table: "own_info" })
        ));
        Ok(())
    });
    assert!(done(&mut store, |transaction| transaction.setting("name")).is_some());
}

#[test]
fn a_store_can_go_to_another_thread() {
    fn needs_send(_: impl Send) {}
    needs_send(Folder::new().create());
}

#[test]
fn debug_shows_nothing() {
    let folder = Folder::new();
    let mut store = folder.create();
    assert_eq!(format!("{store:?}"), "Store");
    done(&mut store, |transaction| {
        assert_eq!(format!("{transaction:?}"), "Transaction");
        Ok(())
    });
}
