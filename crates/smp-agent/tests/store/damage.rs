//! Files and rows that are damaged: an error that says where, never a panic, never other values.

use std::fs;

use smp_agent::{ConnectionId, EventId, ReceiveQueueId, Store, StoreError, Timestamp, Transaction};

use crate::support::{Folder, Samples, done, try_dump};

const PAGE: usize = 4096;

fn fill(store: &mut Store) {
    let mut samples = Samples::new(21);
    done(store, |transaction| {
        let id = transaction.insert_connection(&samples.connection())?;
        transaction.set_own_info(id, &samples.exactly(9_000))?;
        transaction.set_link_data(id, &samples.exactly(3_000))?;
        transaction.set_joining(id, Some(&samples.joining()))?;
        transaction.save_ratchet(id, &samples.ratchet())?;
        transaction.save_initiator_keys(id, &samples.initiator_keys())?;
        transaction.save_joiner_params(id, &samples.joiner_params())?;
        transaction.hold(id, &samples.held(1))?;
        transaction.insert_request(&samples.request(id))?;
        transaction.remember_sent(id, 1, &samples.array(), Timestamp(0))?;
        transaction.remember_seen(id, &samples.array(), Timestamp(0))?;
        transaction.owe_receipt(id, &samples.receipt(1))?;
        transaction.set_setting("servers", Some(&samples.exactly(2_000)))?;
        for _ in 0..3 {
            let queue = transaction.insert_send_queue(&samples.send_queue(id))?;
            transaction.insert_receive_queue(&samples.receive_queue(id))?;
            transaction.push_outgoing(&samples.outgoing(queue))?;
            transaction.push_event(id, Timestamp(0), &samples.exactly(7_000))?;
        }
        Ok(())
    });
}

/// Asks everything once.
fn ask(transaction: &Transaction<'_>) -> Vec<StoreError> {
    let id = ConnectionId(1);
    let mut errors = Vec::new();
    macro_rules! ask {
        ($($question:expr),* $(,)?) => {
            $(errors.extend($question.err());)*
        };
    }
    ask!(
        transaction.connections(),
        transaction.connection(id),
        transaction.own_info(id),
        transaction.link_data(id),
        transaction.joining(id),
        transaction.ratchet(id),
        transaction.initiator_keys(id),
        transaction.joiner_params(id),
        transaction.receive_queues(id),
        transaction.receive_queue(ReceiveQueueId(1)),
        transaction.all_receive_queues(),
        transaction.all_send_queues(),
        transaction.queues_with_outgoing(),
        transaction.events(EventId(0), 9),
        transaction.first_event(),
        transaction.event_count(),
        transaction.first_held(id),
        transaction.held_count(id),
        transaction.oldest_held(),
        transaction.connections_with_held(),
        transaction.requests(),
        transaction.request_count(id),
        transaction.sent_hash(id, 1),
        transaction.seen(id, &[0; 32]),
        transaction.setting("servers"),
        transaction.take_owed_receipts(id, 0),
    );
    for number in 1..=3 {
        ask!(
            transaction.outgoing(smp_agent::OutgoingId(number)),
            transaction.first_outgoing(smp_agent::SendQueueId(number)),
        );
    }
    errors
}

#[test]
fn each_damaged_page_is_noticed() {
    let folder = Folder::new();
    let mut store = folder.create();
    fill(&mut store);
    let whole = try_dump(&mut store).unwrap();
    drop(store);
    let bytes = fs::read(folder.file()).unwrap();
    assert!(bytes.len() / PAGE > 60);
    let mut quiet = 0;
    for page in 0..bytes.len() / PAGE {
        let mut damaged = bytes.clone();
        damaged[page * PAGE + 1_000] ^= 1;
        fs::write(folder.file(), damaged).unwrap();
        let mut store = match folder.open() {
            Err(StoreError::WrongKey) if page == 0 => continue,
            Err(StoreError::Damaged { .. }) if page > 0 => continue,
            Err(error) => panic!("page {page}: {error:?}"),
            Ok(store) => store,
        };
        match try_dump(&mut store) {
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => panic!("page {page}: {error:?}"),
            // Nothing is in a filler, and nobody reads an index here.
            Ok(shown) if shown == whole => quiet += 1,
            Ok(_) => panic!("page {page} gives other values"),
        }
        let errors = store.transaction(|transaction| Ok::<_, StoreError>(ask(transaction)));
        for error in errors.unwrap_or_else(|error| vec![error]) {
            assert!(
                matches!(error, StoreError::Damaged { .. }),
                "page {page}: {error:?}"
            );
        }
    }
    assert!(quiet < bytes.len() / PAGE / 2, "{quiet} pages");
}

#[test]
fn a_file_that_was_cut_off_is_no_longer_a_store() {
    let folder = Folder::new();
    let mut store = folder.create();
    fill(&mut store);
    drop(store);
    let bytes = fs::read(folder.file()).unwrap();
    for length in [
        1,
        15,
        16,
        100,
        4_095,
        4_096,
        5_000,
        8_192,
        bytes.len() / 2,
        bytes.len() - 1,
    ] {
        fs::write(folder.file(), &bytes[..length]).unwrap();
        let opened = folder.open();
        let fits = match opened {
            Err(StoreError::NotAStore) => length < PAGE,
            Err(StoreError::Damaged { .. }) => length >= PAGE,
            _ => false,
        };
        assert!(fits, "{length} bytes: {opened:?}");
    }
}

#[test]
fn a_damaged_value_in_any_column_is_an_error_that_names_the_table() {
    let folder = Folder::new();
    let mut store = folder.create();
    fill(&mut store);
    let columns: Vec<(String, String)> = done(&mut store, |transaction| {
        let find = "SELECT tables.name, columns.name
            FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
            WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%'
                AND tables.name <> 'version' AND columns.name NOT IN ('filler', 'id')";
        let mut statement = transaction.sql().prepare(find)?;
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(columns.collect::<Result<_, _>>()?)
    });
    assert!(columns.len() > 60);
    let mut noticed = 0;
    for (table, column) in &columns {
        for value in [
            "NULL",
            "-1",
            "77777777",
            "x''",
            "x'77'",
            "zeroblob(20000)",
            "'text'",
        ] {
            let errors = store.transaction(|transaction| {
                let sql = transaction.sql();
                sql.execute_batch("PRAGMA defer_foreign_keys = ON")?;
                let damage = format!("UPDATE {table} SET {column} = {value} WHERE rowid = 1");
                let by_key = format!("UPDATE {table} SET {column} = {value} WHERE connection = 1");
                // Strict tables don't take everything.
                if sql.execute(&damage, []).is_err() && sql.execute(&by_key, []).is_err() {
                    return Err(StoreError::Undone);
                }
                let errors = ask(transaction);
                for error in &errors {
                    let (StoreError::Damaged { what } | StoreError::Newer { what }) = error else {
                        panic!("{table}.{column} = {value}: {error:?}");
                    };
                    assert_eq!(what, table, "{column} = {value}");
                }
                noticed += usize::from(!errors.is_empty());
                Err::<(), _>(StoreError::Undone)
            });
            assert!(errors.is_err());
        }
    }
    assert!(noticed > 60, "{noticed}");
}

#[test]
fn keys_of_a_newer_program_are_told_as_such() {
    let folder = Folder::new();
    let mut store = folder.create();
    fill(&mut store);
    done(&mut store, |transaction| {
        // The format comes first.
        let newer = "UPDATE ratchet SET state = cast(x'63' || substr(state, 2) AS BLOB)";
        transaction.execute(newer, [])?;
        let newer = transaction.ratchet(ConnectionId(1)).err().unwrap();
        assert!(
            matches!(newer, StoreError::Newer { what: "ratchet" }),
            "{newer:?}"
        );
        Ok(())
    });
}
