//! A full disk: nothing is lost, nothing is half done, and it passes.

use smp_agent::{ConnectionId, EventId, Store, StoreError, Timestamp, Transaction};

use crate::support::{Folder, Samples, done, dump, key};

/// Lets the file have so many pages more, as if the disk had no more room.
fn limit(store: &mut Store, pages: i64) {
    done(store, |transaction| {
        let sql = transaction.sql();
        let now: i64 = sql.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit = format!("PRAGMA max_page_count = {}", now + pages);
        Ok(sql.query_row(&limit, [], |_| Ok(()))?)
    });
}

fn push(store: &mut Store) -> Result<(), StoreError> {
    store.transaction(|transaction| {
        transaction.set_setting("last", Some(b"before the event"))?;
        transaction.push_event(ConnectionId(1), Timestamp(0), &[7; 16_000])?;
        Ok(())
    })
}

#[test]
fn a_transaction_on_a_full_disk_is_undone_and_the_store_goes_on() {
    let folder = Folder::new();
    let mut store = folder.create();
    push(&mut store).unwrap();
    limit(&mut store, 23);
    let mut pushed = 0;
    let before = loop {
        let before = dump(&mut store);
        match push(&mut store) {
            Ok(()) => pushed += 1,
            Err(StoreError::Full) => break before,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(pushed > 2);
    assert_eq!(dump(&mut store), before);
    assert!(matches!(push(&mut store), Err(StoreError::Full)));

    // Removing makes room.
    let first = done(&mut store, |transaction| transaction.first_event()).unwrap();
    assert!(done(&mut store, |transaction| transaction.remove_event(first.id)));
    push(&mut store).unwrap();
    assert!(matches!(push(&mut store), Err(StoreError::Full)));

    // And so does a larger disk.
    limit(&mut store, 100);
    push(&mut store).unwrap();
    let before = dump(&mut store);
    drop(store);
    assert_eq!(dump(&mut folder.open().unwrap()), before);
}

#[test]
fn an_error_that_is_passed_over_undoes_the_transaction_all_the_same() {
    let folder = Folder::new();
    let mut store = folder.create();
    let before = dump(&mut store);
    limit(&mut store, 5);
    let result = store.transaction(|transaction| {
        transaction.set_setting("small", Some(b"it fits"))?;
        let full = transaction.set_setting("large", Some(&[1; 100_000]));
        assert!(matches!(full, Err(StoreError::Full)));
        // Had SQLite undone the transaction, this would be one of its own.
        let after = transaction.set_setting("after", Some(b"it would fit"));
        assert!(matches!(after, Err(StoreError::Full)));
        Ok::<_, StoreError>(())
    });
    assert!(matches!(result, Err(StoreError::Full)));
    assert_eq!(dump(&mut store), before);
    done(&mut store, |transaction| {
        transaction.set_setting("small", Some(b"it fits"))
    });
}

/// Needs a small file system: `SMALL_DISK=/mnt/small cargo test … -- --ignored`, after
/// `mount -t tmpfs -o size=2m tmpfs /mnt/small`.
#[test]
#[ignore = "needs a file system of some MB that it can fill, named by SMALL_DISK"]
fn a_disk_that_is_really_full_loses_nothing() {
    let disk = std::path::PathBuf::from(std::env::var_os("SMALL_DISK").unwrap());
    let (path, others) = (disk.join("contacts.db"), disk.join("of others"));
    let _ = std::fs::remove_file(&path);
    let mut store = Store::create(&path, &key(1)).unwrap();
    let mut samples = Samples::new(5);
    let id = done(&mut store, |transaction| {
        transaction.insert_connection(&samples.connection())
    });
    for _ in 0..3 {
        std::fs::write(&others, vec![1; 100_000]).unwrap();
        let full = fill(&mut store, id, &mut samples);
        let copy = disk.join("copy.db");
        let attempts = [
            store.change_key(&key(2)),
            store.export(&copy, &key(2)),
            store.compact(),
        ];
        for attempt in attempts {
            assert!(matches!(attempt, Err(StoreError::Full)), "{attempt:?}");
        }
        assert!(!copy.exists());
        assert_eq!(dump(&mut store), full);
        drop(store);
        store = Store::open(&path, &key(1)).unwrap();
        assert_eq!(dump(&mut store), full);

        std::fs::remove_file(&others).unwrap();
        let all = |transaction: &Transaction<'_>| transaction.events(EventId(0), usize::MAX);
        for event in done(&mut store, all) {
            done(&mut store, |transaction| transaction.remove_event(event.id));
        }
    }
}

/// Pushes events until there is no room; gives what is there then.
fn fill(store: &mut Store, id: ConnectionId, samples: &mut Samples) -> String {
    loop {
        let before = dump(store);
        let body = samples.bytes(30_000);
        let pushed = store.transaction(|transaction| {
            transaction.save_ratchet(id, &samples.ratchet())?;
            transaction.push_event(id, Timestamp(0), &body)
        });
        match pushed {
            Ok(_) => {}
            Err(StoreError::Full) => {
                assert_eq!(dump(store), before);
                return before;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}
