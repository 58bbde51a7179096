//! Durability against a loss of power: operations wait for the disk, and share the waiting.
//!
//! Nothing here loses power. What is shown: an operation fails if the disk can't be synchronised,
//! so it does wait for that; the thread that synchronises works during each operation; it works
//! less often than there are operations, if many come at a time; and a slot whose message was
//! acknowledged is not written again before that.

use std::path::Path;

use futures_util::future::join_all;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use smp_server::store::{
    Acknowledged, CreateError, Cursor, DiskStore, Durability, Lookup, QueueChange, QueueId, Store,
    StoreError,
};

use crate::support::{
    Disk, QUOTA, block_on, child, child_done, child_folder, created, message, message_id, queue,
    succeeds,
};

/// Bytes of a slot in the file of bodies.
const SLOT: u64 = 16_384;

/// A store whose file of bodies is a pipe: it opens, and can't be synchronised.
fn on_a_pipe(folder: &Path, durability: Durability) -> DiskStore {
    let path = folder.join("bodies");
    if !path.exists() {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    DiskStore::open(folder, durability).unwrap()
}

#[tokio::test]
async fn without_power_in_mind_no_operation_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_a_pipe(folder.path(), Durability::Process);
    let id = created(&store).await.recipient_id;
    store.update(&id, QueueChange::UsedOn(1)).await.unwrap();
    store.delete(&id).await.unwrap();
}

#[tokio::test]
async fn an_operation_fails_if_the_disk_can_not_be_synchronised() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_a_pipe(folder.path(), Durability::Process);
    let ids = [
        created(&store).await.recipient_id,
        created(&store).await.recipient_id,
    ];
    drop(store);
    let store = on_a_pipe(folder.path(), Durability::Power);
    let record = queue();
    match store.create(record.clone(), None).await {
        Err(CreateError::Store(StoreError::Sync(_))) => {}
        other => panic!("{other:?}"),
    }
    let change = QueueChange::UsedOn(1);
    let results = [
        store.update(&ids[0], change).await.map(drop),
        store
            .expire_queues(2, Cursor::default(), 10)
            .await
            .map(drop),
        store.delete(&ids[1]).await.map(drop),
    ];
    for (at, result) in results.into_iter().enumerate() {
        assert!(
            matches!(result, Err(StoreError::Sync(_))),
            "operation {at}: {result:?}"
        );
    }
    // What only looks goes on.
    assert!(
        store
            .find(Lookup::Recipient(record.recipient_id))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_refusal_waits_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = on_a_pipe(folder.path(), Durability::Process);
    let record = created(&store).await;
    drop(store);
    let store = on_a_pipe(folder.path(), Durability::Power);
    assert!(matches!(
        store.create(record.clone(), None).await,
        Err(CreateError::Taken)
    ));
    let done = store
        .acknowledge(&record.recipient_id, &message_id(1))
        .await
        .unwrap();
    assert!(matches!(done, Acknowledged::NotFirst));
}

#[tokio::test]
async fn a_slot_is_used_again_when_its_acknowledgement_is_on_the_disk() {
    let disk = Disk::with(Durability::Power);
    let id = created(&disk.store).await.recipient_id;
    for number in 0..20 {
        disk.store.push(&id, message(number), QUOTA).await.unwrap();
        disk.store
            .acknowledge(&id, &message_id(number))
            .await
            .unwrap();
    }
    // Each acknowledgement had synchronised when it returned, or all slots would wait for that. The
    // last one's slot may be on its way back.
    assert!(disk.bodies() <= 3 * SLOT, "{}", disk.bodies());
}

#[tokio::test]
async fn a_slot_is_not_used_again_before_its_acknowledgement_is_on_the_disk() {
    let disk = Disk::with(Durability::Power);
    let (one, other) = (created(&disk.store).await, created(&disk.store).await);
    let (one, other) = (one.recipient_id, other.recipient_id);
    let mut grown = 0;
    for number in 0..50 {
        disk.store.compact().await.unwrap();
        assert_eq!(disk.bodies(), 0);
        disk.store.push(&one, message(number), QUOTA).await.unwrap();
        // The push begins when the acknowledgement waits for the disk. Only if the disk is faster
        // than the push does it get the same slot.
        let (id, after) = (message_id(number), message_id(1_000 + number));
        let acknowledge = disk.store.acknowledge(&one, &id);
        let push = disk.store.push(&other, message(1_000 + number), QUOTA);
        let (acknowledged, pushed) = tokio::join!(biased; acknowledge, push);
        acknowledged.unwrap();
        pushed.unwrap();
        grown += u32::from(disk.bodies() > SLOT);
        disk.store.acknowledge(&other, &after).await.unwrap();
    }
    assert!(grown > 0, "each of 50 slots was used again at once");
}

#[test]
fn operations_at_the_same_time_share_the_waiting() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(&mut child("power::child_that_counts", folder.path()));
}

/// Alone in its process, so that the thread that synchronises is known.
#[test]
fn child_that_counts() {
    const OPERATIONS: u64 = 200;
    let Some(folder) = child_folder() else {
        return;
    };
    let store = DiskStore::open(&folder, Durability::Power).unwrap();
    let id = block_on(created(&store)).recipient_id;
    let one_by_one = async {
        for number in 0..OPERATIONS {
            let before = rests();
            push(&store, &id, number).await;
            assert!(rests() > before, "nothing was synchronised meanwhile");
        }
    };
    let all = async {
        join_all((0..OPERATIONS).map(|number| push(&store, &id, OPERATIONS + number))).await;
    };
    let one_by_one = rests_during(|| block_on(one_by_one));
    let all = rests_during(|| block_on(all));
    assert!(
        4 * all < one_by_one,
        "{all} rests for all at a time, {one_by_one} one by one"
    );
    child_done();
}

async fn push(store: &DiskStore, id: &QueueId, number: u64) {
    store.push(id, message(number), u32::MAX).await.unwrap();
}

fn rests_during(work: impl FnOnce()) -> u64 {
    let before = rests();
    work();
    rests() - before
}

/// How often the store's thread gave up its processor: to wait for orders, or for the disk.
fn rests() -> u64 {
    let mut rests = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = thread.unwrap().path().join("status");
        let Ok(status) = std::fs::read_to_string(status) else {
            continue;
        };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|line| line.trim_start_matches(':').trim().to_owned())
        };
        if field("Name").as_deref() == Some("store") {
            rests.extend(
                field("voluntary_ctxt_switches").map(|count| count.parse::<u64>().unwrap()),
            );
        }
    }
    match rests[..] {
        [rests] => rests,
        _ => panic!("{} threads of stores", rests.len()),
    }
}
