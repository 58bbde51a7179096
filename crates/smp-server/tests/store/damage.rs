//! What stands on the disk and can't be used: a clear error, no panic, and nothing made worse.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;
use smp_server::store::{DiskStore, Durability, QueueId, QueueRecord, Store, StoreError};
use tempfile::TempDir;

use crate::support::{
    Disk, LONGEST, QUOTA, child, child_done, child_folder, created, drained, link, message,
    message_of, noise, numbers, queue, succeeds,
};

/// Bytes of a slot in the file of bodies.
const SLOT: u64 = 16_384;

fn open(folder: &Path) -> Result<DiskStore, StoreError> {
    DiskStore::open(folder, Durability::Process)
}

/// The error with which a store does not open.
fn refused(folder: &Path) -> StoreError {
    open(folder).err().expect("the store opens")
}

fn is_damaged(folder: &Path) {
    let error = refused(folder);
    let StoreError::Damaged { path, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*path, database(folder));
    let text = error.to_string();
    assert!(
        text.contains("can't be read: move the folder away"),
        "{text}"
    );
    assert!(text.contains(path.to_str().unwrap()), "{text}");
}

fn database(folder: &Path) -> PathBuf {
    folder.join("queues.db")
}

/// A folder with a closed store in it: two queues with links, and three messages each, whose
/// bodies are in the slots 0 to 5.
async fn folder() -> (TempDir, [QueueId; 2]) {
    let disk = Disk::new();
    let ids = filled(&disk.store).await;
    (disk.closed().await, ids)
}

async fn filled(store: &DiskStore) -> [QueueId; 2] {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let record = QueueRecord {
            link_id: Some(QueueId::random()),
            ..queue()
        };
        ids.push(record.recipient_id);
        store
            .create(record, Some(link(b"fixed", &noise(1, 9_000))))
            .await
            .unwrap();
    }
    for number in 0..3 {
        for (at, id) in ids.iter().enumerate() {
            let number = 10 * at as u64 + number;
            let message = message_of(number, &noise(number, LONGEST));
            store.push(id, message, QUOTA).await.unwrap();
        }
    }
    ids.try_into().unwrap()
}

/// Changes each table whose name begins like this.
fn change(folder: &Path, tables: &str, change: impl Fn(&str) -> String) {
    let connection = Connection::open(database(folder)).unwrap();
    let mut names = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ? || '%'")
        .unwrap();
    let names = names
        .query_map([tables], |row| row.get::<_, String>(0))
        .unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    let changed: usize = names
        .iter()
        .map(|name| connection.execute(&change(name), []).unwrap())
        .sum();
    assert!(changed > 0, "no row was changed");
}

/// Uses every queue of a store in every way; what comes of it is not looked at.
async fn use_all(store: &DiskStore, ids: &[QueueId]) {
    for id in ids {
        let _ = store.link_data(id).await;
        let _ = store.push(id, message(99), QUOTA).await;
        while let Ok(Some(first)) = store.first(id).await {
            if store.acknowledge(id, &first.id).await.is_err() {
                break;
            }
        }
    }
    let _ = store
        .expire_messages(u64::MAX, Default::default(), 100)
        .await;
    let _ = store.compact().await;
    for id in ids {
        let _ = store.delete(id).await;
    }
    let _ = store.counts().await;
}

#[tokio::test]
async fn a_store_that_is_in_use_is_refused() {
    let disk = Disk::new();
    let error = refused(disk.path());
    assert!(
        matches!(&error, StoreError::InUse(path) if path == disk.path()),
        "{error:?}"
    );
    assert!(error.to_string().contains("another relay uses"), "{error}");
    // The one that has it is not disturbed.
    let id = created(&disk.store).await.recipient_id;
    assert!(disk.reopened().store.delete(&id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_that_another_process_uses_is_refused() {
    let disk = Disk::new();
    succeeds(&mut child(
        "damage::child_that_opens_a_store_in_use",
        disk.path(),
    ));
    created(&disk.store).await;
}

#[test]
fn child_that_opens_a_store_in_use() {
    if let Some(folder) = child_folder() {
        assert!(matches!(refused(&folder), StoreError::InUse(_)));
        child_done();
    }
}

#[tokio::test]
async fn a_lock_of_the_dead_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lock"), "4711").unwrap();
    open(folder.path()).unwrap();
    // Nor one of a store that was refused.
    std::fs::write(database(folder.path()), "no database").unwrap();
    is_damaged(folder.path());
    std::fs::remove_file(database(folder.path())).unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn a_file_in_the_place_of_the_folder_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(refused(file.path()), StoreError::Io(_)));
}

#[test]
fn a_folder_that_is_made_is_its_users_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("outer/inner");
    drop(open(&inner).unwrap());
    for made in [&inner, inner.parent().unwrap()] {
        let mode = made.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{made:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_stays() {
    let (folder, _) = folder().await;
    let other = noise(1, 40_000);
    std::fs::write(database(folder.path()), &other).unwrap();
    is_damaged(folder.path());
    assert!(std::fs::read(database(folder.path())).unwrap() == other);
}

#[tokio::test]
async fn a_database_of_somebody_else_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(database(folder.path())).unwrap();
    connection
        .execute_batch("CREATE TABLE queue_0 (mine); CREATE TABLE link (mine);")
        .unwrap();
    drop(connection);
    is_damaged(folder.path());
    let connection = Connection::open(database(folder.path())).unwrap();
    connection
        .execute("INSERT INTO queue_0 VALUES (1)", [])
        .unwrap();
}

#[tokio::test]
async fn a_database_that_is_cut_off_is_refused() {
    let (folder, _) = folder().await;
    let whole = std::fs::read(database(folder.path())).unwrap();
    // By a page at least: the last one has nothing of which SQLite would notice the lack.
    for length in [1]
        .into_iter()
        .chain((0..=whole.len() - 4_096).step_by(3_000))
    {
        std::fs::write(database(folder.path()), &whole[..length]).unwrap();
        is_damaged(folder.path());
    }
}

#[tokio::test]
async fn a_database_with_wrong_bytes_makes_nothing_panic() {
    let (folder, ids) = folder().await;
    let whole = std::fs::read(database(folder.path())).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut opened = 0;
    for _ in 0..40 {
        let copy = tempfile::tempdir().unwrap();
        let mut changed = whole.clone();
        // In one place, for what many do to each other is seldom more than noise.
        let at = rng.random_range(0..changed.len());
        changed[at] ^= rng.random_range(1..=255_u8);
        std::fs::write(database(copy.path()), changed).unwrap();
        std::fs::copy(folder.path().join("bodies"), copy.path().join("bodies")).unwrap();
        match open(copy.path()) {
            Ok(store) => {
                opened += 1;
                use_all(&store, &ids).await;
            }
            Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}"),
        }
    }
    assert!((1..40).contains(&opened), "{opened}");
}

#[tokio::test]
async fn a_newer_layout_is_refused_and_stays() {
    for version in [3, 1_000_000, -1] {
        let (folder, _) = folder().await;
        let connection = Connection::open(database(folder.path())).unwrap();
        connection
            .pragma_update(None, "user_version", version)
            .unwrap();
        drop(connection);
        is_damaged(folder.path());
        assert!(refused(folder.path()).to_string().contains("newer"));
        let connection = Connection::open(database(folder.path())).unwrap();
        let now: i32 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(now, version);
    }
}

#[tokio::test]
async fn a_damaged_record_is_refused() {
    for record in [
        "x''",
        "x'00'",
        "'text'",
        "substr(record, 1, length(record) - 1)",
        "record || x'00'",
        // One byte of a key is another.
        "substr(record, 1, 90) || x'aa55' || substr(record, 93)",
    ] {
        let (folder, _) = folder().await;
        change(folder.path(), "queue", |table| {
            format!("UPDATE {table} SET record = {record}")
        });
        is_damaged(folder.path());
    }
}

#[tokio::test]
async fn a_record_in_an_impossible_place_is_refused() {
    for key in ["4000000000", "1000000000", "-1", "1099511627776"] {
        let (folder, _) = folder().await;
        change(folder.path(), "queue", |table| {
            format!("UPDATE {table} SET key = {key} WHERE key = (SELECT max(key) FROM {table})")
        });
        is_damaged(folder.path());
    }
}

#[tokio::test]
async fn a_damaged_message_is_refused() {
    for values in [
        "slot = 'text'",
        "slot = -1",
        "slot = 4294967296",
        "id = x'00'",
        "id = 7",
        "number = 'text'",
        "timestamp = x'00'",
    ] {
        let (folder, _) = folder().await;
        change(folder.path(), "message", |table| {
            format!(
                "UPDATE {table} SET {values}
                    WHERE queue = (SELECT max(queue) FROM {table}) AND number = 1"
            )
        });
        is_damaged(folder.path());
    }
}

#[tokio::test]
async fn a_message_in_an_impossible_slot_does_not_harm_the_others() {
    for slot in [6_u32, 1_000, 4_294_967_295] {
        let (folder, ids) = folder().await;
        // The first message of the second queue.
        change(folder.path(), "message", |table| {
            format!("UPDATE {table} SET slot = {slot} WHERE slot = 1")
        });
        let store = open(folder.path()).unwrap();
        // Slots are used that far, at least in the first case.
        for number in 20..30 {
            store.push(&ids[0], message(number), QUOTA).await.unwrap();
        }
        assert_eq!(numbers(&drained(&store, &ids[1]).await), [11, 12]);
        for number in 30..40 {
            store.push(&ids[1], message(number), QUOTA).await.unwrap();
        }
        store.compact().await.unwrap();
        let expected: Vec<u64> = (0..3).chain(20..30).collect();
        assert_eq!(numbers(&drained(&store, &ids[0]).await), expected);
        let expected: Vec<u64> = (30..40).collect();
        assert_eq!(numbers(&drained(&store, &ids[1]).await), expected);
    }
}

#[tokio::test]
async fn two_messages_in_one_slot_are_refused() {
    let (folder, _) = folder().await;
    change(folder.path(), "message", |table| {
        format!("UPDATE {table} SET slot = 0 WHERE number = 1")
    });
    is_damaged(folder.path());
}

#[tokio::test]
async fn a_message_of_no_queue_makes_nothing_panic() {
    let (folder, ids) = folder().await;
    change(folder.path(), "message", |table| {
        format!("UPDATE {table} SET queue = 77 WHERE slot = 1")
    });
    match open(folder.path()) {
        Ok(store) => use_all(&store, &ids).await,
        Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}"),
    }
}

fn bodies(folder: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.join("bodies"))
        .unwrap()
}

/// What is in both queues, after they took one more message each.
async fn left(folder: &Path, ids: &[QueueId; 2]) -> [Vec<u64>; 2] {
    let store = open(folder).unwrap();
    let mut left = Vec::new();
    for id in ids {
        store.push(id, message(99), QUOTA).await.unwrap();
    }
    store.compact().await.unwrap();
    drop(store);
    let store = open(folder).unwrap();
    for id in ids {
        let messages = drained(&store, id).await;
        for one in &messages {
            let number = one.timestamp - 1_000;
            let sent = message_of(number, &noise(number, LONGEST));
            assert!(*one == if number == 99 { message(99) } else { sent });
        }
        left.push(numbers(&messages));
    }
    left.try_into().unwrap()
}

#[tokio::test]
async fn bodies_that_are_cut_off_are_lost_and_the_others_stay() {
    // In the midst of the fourth slot, which is that of the second queue's second message.
    let (folder, ids) = folder().await;
    bodies(folder.path()).set_len(3 * SLOT + 5_000).unwrap();
    assert_eq!(
        left(folder.path(), &ids).await,
        [vec![0, 1, 99], vec![10, 99]]
    );
}

#[tokio::test]
async fn a_missing_file_of_bodies_loses_them_and_the_queues_stay() {
    let (folder, ids) = folder().await;
    std::fs::remove_file(folder.path().join("bodies")).unwrap();
    assert_eq!(left(folder.path(), &ids).await, [[99], [99]]);
}

#[tokio::test]
async fn a_body_with_a_wrong_byte_is_lost_and_never_delivered() {
    for at in [0, 25, 26, 40, 9_000, LONGEST as u64] {
        let (folder, ids) = folder().await;
        let file = bodies(folder.path());
        let mut byte = [0];
        file.read_exact_at(&mut byte, 2 * SLOT + at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 2 * SLOT + at).unwrap();
        assert_eq!(
            left(folder.path(), &ids).await,
            [vec![0, 2, 99], vec![10, 11, 12, 99]]
        );
    }
}

#[tokio::test]
async fn bodies_that_changed_places_are_lost_and_never_delivered() {
    let (folder, ids) = folder().await;
    let file = bodies(folder.path());
    let (mut one, mut other) = (vec![0; SLOT as usize], vec![0; SLOT as usize]);
    file.read_exact_at(&mut one, 0).unwrap();
    file.read_exact_at(&mut other, SLOT).unwrap();
    file.write_all_at(&other, 0).unwrap();
    file.write_all_at(&one, SLOT).unwrap();
    assert_eq!(left(folder.path(), &ids).await, [[1, 2, 99], [11, 12, 99]]);
}

/// Queues after some of their messages were taken and others came, whose bodies are in the slots of
/// the taken ones: what is in each now.
async fn later(folder: &Path, ids: &[QueueId; 2]) -> [Vec<u64>; 2] {
    let store = open(folder).unwrap();
    for _ in 0..2 {
        let first = store.first(&ids[0]).await.unwrap().unwrap();
        store.acknowledge(&ids[0], &first.id).await.unwrap();
    }
    for number in [20, 21, 22] {
        let message = message_of(number, &noise(number, LONGEST));
        store.push(&ids[1], message, QUOTA).await.unwrap();
    }
    store.close().await.unwrap();
    [vec![2], vec![10, 11, 12, 20, 21, 22]]
}

/// That only some of these are delivered, in order, and one more that comes; [`left`] looks at
/// their bytes.
async fn only_some_are_left(folder: &Path, ids: &[QueueId; 2], expected: [&[u64]; 2]) {
    let left = left(folder, ids).await;
    for (left, expected) in left.iter().zip(expected) {
        assert_eq!(left, &[expected, &[99]].concat());
    }
}

#[tokio::test]
async fn bodies_that_are_older_than_their_rows_are_never_taken_for_others() {
    let (folder, ids) = folder().await;
    let path = folder.path().join("bodies");
    let older = std::fs::read(&path).unwrap();
    let rows = later(folder.path(), &ids).await;
    assert_eq!(rows[1].len(), 6);
    std::fs::write(&path, older).unwrap();
    // What was there then is there still; what came later never was.
    only_some_are_left(folder.path(), &ids, [&[2], &[10, 11, 12]]).await;
}

#[tokio::test]
async fn bodies_that_are_newer_than_their_rows_are_never_taken_for_others() {
    let (folder, ids) = folder().await;
    let rows = database(folder.path());
    let older = std::fs::read(&rows).unwrap();
    later(folder.path(), &ids).await;
    std::fs::write(&rows, older).unwrap();
    // The slots of the messages that were taken have others' bodies.
    only_some_are_left(folder.path(), &ids, [&[2], &[10, 11, 12]]).await;
}

/// A copy of the folder of a store that works, which is what a killed one leaves.
fn copy(disk: &Disk) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(disk.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_log_that_ends_in_the_midst_of_a_change_loses_that_alone() {
    let disk = Disk::new();
    let ids = filled(&disk.store).await;
    for garbage in [&noise(5, 10_000)[..], &[0; 10_000]] {
        let copy = copy(&disk);
        let log = copy.path().join("queues.db-wal");
        let mut bytes = std::fs::read(&log).unwrap();
        bytes.extend_from_slice(garbage);
        std::fs::write(&log, bytes).unwrap();
        let left = left(copy.path(), &ids).await;
        assert_eq!(left, [[0, 1, 2, 99], [10, 11, 12, 99]]);
    }
}

#[tokio::test]
async fn a_change_that_is_cut_off_in_the_log_is_not_made() {
    let disk = Disk::new();
    let ids = filled(&disk.store).await;
    let copy = copy(&disk);
    let log = OpenOptions::new()
        .write(true)
        .open(copy.path().join("queues.db-wal"))
        .unwrap();
    log.set_len(log.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(
        left(copy.path(), &ids).await,
        [vec![0, 1, 2, 99], vec![10, 11, 99]]
    );
}
