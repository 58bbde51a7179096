//! The file: who may read it, what can be seen of it, and what happens with files that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use smp_agent::{Store, StoreError, Timestamp};

use crate::support::{Folder, Samples, done, dump, key, passphrase};

const INFO: &[u8] = b"Alice Anderson, the display name";

/// A store with names, ids and links in it.
fn filled(folder: &Folder) -> Store {
    let mut store = folder.create();
    fill(&mut store);
    store
}

fn fill(store: &mut Store) {
    let mut samples = Samples::new(11);
    done(store, |transaction| {
        let id = transaction.insert_connection(&samples.connection())?;
        transaction.set_own_info(id, INFO)?;
        transaction.save_ratchet(id, &samples.ratchet())?;
        for _ in 0..4 {
            transaction.insert_receive_queue(&samples.receive_queue(id))?;
            transaction.insert_request(&samples.request(id))?;
        }
        transaction.push_event(id, Timestamp(1), INFO)?;
        transaction.set_setting("servers", Some(INFO))
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_owner_alone_can_read_the_file_and_its_journal() {
    let folder = Folder::new();
    let mut store = folder.create();
    done(&mut store, |transaction| {
        transaction.set_setting("servers", Some(INFO))?;
        assert_eq!(mode(&folder.file()), 0o600);
        assert_eq!(mode(&folder.journal()), 0o600);
        Ok(())
    });
    store.change_key(&key(2)).unwrap();
    assert_eq!(mode(&folder.file()), 0o600);
    store.export(&folder.path().join("copy"), &key(3)).unwrap();
    assert_eq!(mode(&folder.path().join("copy")), 0o600);
}

#[test]
fn neither_the_file_nor_its_journal_shows_anything() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    done(&mut store, |transaction| {
        transaction.delete_connection(smp_agent::ConnectionId(1))?;
        let journal = fs::read(folder.journal()).unwrap();
        assert!(journal.len() > 4096, "the former pages are in it");
        for bytes in [journal, fs::read(folder.file()).unwrap()] {
            for part in [
                INFO,
                b"SQLite format",
                b"simplex:",
                b"servers",
                b"CREATE TABLE",
            ] {
                assert!(!contains(&bytes, part), "{part:?}");
            }
        }
        // Pages of zeros or of one text would show in how often each byte is there.
        for page in fs::read(folder.file()).unwrap().chunks(4096) {
            let mut counts = [0; 256];
            page.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
            assert!(*counts.iter().max().unwrap() < 60);
        }
        Ok(())
    });
}

#[test]
fn the_journal_is_empty_after_each_transaction() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    for number in 0..3 {
        done(&mut store, |transaction| {
            transaction.set_setting("x", Some(&[number; 5_000]))
        });
        assert_eq!(fs::metadata(folder.journal()).unwrap().len(), 0);
    }
    let undone = store.transaction(|transaction| {
        transaction.set_setting("x", Some(&[9; 5_000]))?;
        Err::<(), _>(StoreError::Undone)
    });
    assert!(undone.is_err());
    assert_eq!(fs::metadata(folder.journal()).unwrap().len(), 0);
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let folder = Folder::new();
    let mut store = Store::create(&folder.file(), &passphrase("grüne Tür")).unwrap();
    fill(&mut store);
    let before = dump(&mut store);
    drop(store);
    let wrong = Store::open(&folder.file(), &passphrase("gruene Tuer"));
    assert!(matches!(wrong, Err(StoreError::WrongKey)));
    let mut store = Store::open(&folder.file(), &passphrase("grüne Tür")).unwrap();
    assert_eq!(dump(&mut store), before);
}

#[test]
fn a_wrong_key_is_told_as_such_and_changes_nothing() {
    let folder = Folder::new();
    drop(filled(&folder));
    let before = fs::read(folder.file()).unwrap();
    let error = Store::open(&folder.file(), &key(2)).unwrap_err();
    assert!(matches!(error, StoreError::WrongKey));
    assert_eq!(
        error.to_string(),
        "wrong passphrase, or the file is damaged"
    );
    assert_eq!(fs::read(folder.file()).unwrap(), before);
    folder.open().unwrap();
}

#[test]
fn a_changed_key_opens_the_same_store() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    let before = dump(&mut store);
    let salt = fs::read(folder.file()).unwrap()[..16].to_vec();
    store.change_key(&key(2)).unwrap();
    assert_eq!(dump(&mut store), before);
    // It goes on, with its journal where it belongs.
    done(&mut store, |transaction| {
        transaction.set_setting("x", Some(b"later"))?;
        assert!(fs::metadata(folder.journal()).unwrap().len() > 0);
        Ok(())
    });
    let before = dump(&mut store);
    drop(store);
    assert!(matches!(folder.open(), Err(StoreError::WrongKey)));
    let mut store = Store::open(&folder.file(), &key(2)).unwrap();
    assert_eq!(dump(&mut store), before);
    assert_ne!(fs::read(folder.file()).unwrap()[..16], salt);
    let names = fs::read_dir(folder.path()).unwrap();
    assert_eq!(names.count(), 2, "the file and its journal");
}

#[test]
fn what_a_change_of_key_left_behind_is_removed() {
    let folder = Folder::new();
    drop(filled(&folder));
    let left = folder.path().join("contacts.db-new");
    fs::write(&left, b"half a copy").unwrap();
    drop(folder.open().unwrap());
    assert!(!left.exists());
}

#[test]
fn an_export_is_a_store_with_a_key_of_its_own() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    let before = dump(&mut store);
    let copy = folder.path().join("a copy's name; with 'quotes'");
    store.export(&copy, &passphrase("other words")).unwrap();
    assert!(matches!(
        store.export(&copy, &key(1)),
        Err(StoreError::Exists)
    ));
    done(&mut store, |transaction| {
        transaction.set_setting("x", Some(b"later"))
    });
    let mut copy = Store::open(&copy, &passphrase("other words")).unwrap();
    assert_eq!(dump(&mut copy), before);
    done(&mut copy, |transaction| {
        transaction.set_setting("y", Some(b"here"))
    });
}

#[test]
fn a_store_in_memory_can_be_exported() {
    let folder = Folder::new();
    let mut store = Store::in_memory().unwrap();
    fill(&mut store);
    store.change_key(&key(7)).unwrap();
    store.export(&folder.file(), &key(1)).unwrap();
    assert_eq!(dump(&mut folder.open().unwrap()), dump(&mut store));
}

#[test]
fn an_export_that_fails_leaves_nothing() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    let nowhere = folder.path().join("no folder").join("copy");
    assert!(matches!(
        store.export(&nowhere, &key(1)),
        Err(StoreError::Io(_))
    ));
    let exists = store.export(&folder.file(), &key(1));
    assert!(matches!(exists, Err(StoreError::Exists)));
    done(&mut store, |transaction| {
        transaction.set_setting("x", Some(b"later"))
    });
    drop(store);
    folder.open().unwrap();
}

#[test]
fn a_store_is_made_where_there_is_none() {
    let folder = Folder::new();
    assert!(matches!(folder.open(), Err(StoreError::NotFound)));
    drop(filled(&folder));
    let before = fs::read(folder.file()).unwrap();
    let again = Store::create(&folder.file(), &key(1));
    assert!(matches!(again, Err(StoreError::Exists)));
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

#[test]
fn an_empty_file_is_the_rest_of_a_creation() {
    let folder = Folder::new();
    fs::write(folder.file(), b"").unwrap();
    assert!(matches!(folder.open(), Err(StoreError::Empty)));
    drop(filled(&folder));
    assert_eq!(mode(&folder.file()), 0o600);
    folder.open().unwrap();
}

#[test]
fn a_creation_that_was_cut_short_can_be_made_again() {
    let folder = Folder::new();
    // What a crash in the first transaction leaves: some pages, and a journal that says that there
    // was none before.
    drop(filled(&folder));
    let mut store = folder.open().unwrap();
    let journal = done(&mut store, |transaction| {
        transaction.set_setting("x", Some(b"y"))?;
        Ok(fs::read(folder.journal()).unwrap())
    });
    drop(store);
    let mut head = journal[..512].to_vec();
    // The database file format, section 3: valid, no pages, and none in the database.
    head[..8].copy_from_slice(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    head[8..12].copy_from_slice(&0_u32.to_be_bytes());
    head[16..20].copy_from_slice(&0_u32.to_be_bytes());
    fs::write(folder.journal(), head).unwrap();
    let opened = folder.open();
    assert!(matches!(opened, Err(StoreError::Empty)), "{opened:?}");
    assert_eq!(fs::metadata(folder.file()).unwrap().len(), 0);
    drop(filled(&folder));
    folder.open().unwrap();
}

#[test]
fn files_of_others_are_no_stores() {
    let folder = Folder::new();
    let not_a_store = |what: &str| {
        let opened = folder.open();
        assert!(
            matches!(opened, Err(StoreError::NotAStore)),
            "{what}: {opened:?}"
        );
    };
    fs::create_dir(folder.file()).unwrap();
    not_a_store("a folder");
    assert!(matches!(
        Store::create(&folder.file(), &key(1)),
        Err(StoreError::Exists)
    ));
    fs::remove_dir(folder.file()).unwrap();

    fs::write(folder.file(), b"a shopping list").unwrap();
    not_a_store("a short file");
    fs::write(folder.file(), b"a shopping list ".repeat(1_000)).unwrap();
    let opened = folder.open();
    assert!(matches!(opened, Err(StoreError::WrongKey)), "a long file");
    fs::remove_file(folder.file()).unwrap();

    let plain = rusqlite::Connection::open(folder.file()).unwrap();
    plain.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(plain);
    not_a_store("a database without encryption");
    fs::remove_file(folder.file()).unwrap();

    let other = rusqlite::Connection::open(folder.file()).unwrap();
    let spec = format!("x'{}'", "01".repeat(32));
    other.key(None::<&str>, spec, false).unwrap();
    other.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(other);
    not_a_store("another program's database under the same key");
}

#[test]
fn a_link_to_a_store_opens_it() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.file(), &link).unwrap();
    assert!(matches!(
        Store::open(&link, &key(1)),
        Err(StoreError::InUse)
    ));
    let before = dump(&mut store);
    drop(store);
    assert_eq!(dump(&mut Store::open(&link, &key(1)).unwrap()), before);
    assert!(!folder.path().join("link-journal").exists());
}

#[test]
fn a_compacted_store_is_smaller_and_has_the_same_in_it() {
    let folder = Folder::new();
    let mut store = filled(&folder);
    let before = dump(&mut store);
    done(&mut store, |transaction| {
        transaction.set_setting("x", Some(&[7; 200_000]))
    });
    done(&mut store, |transaction| transaction.set_setting("x", None));
    let large = fs::metadata(folder.file()).unwrap().len();
    store.compact().unwrap();
    assert!(fs::metadata(folder.file()).unwrap().len() < large - 190_000);
    assert_eq!(dump(&mut store), before);
}
