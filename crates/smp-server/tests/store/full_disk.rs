//! A disk without room: commands get errors, nothing accepted is lost, and with room the work goes
//! on.
//!
//! Once by a limit on the length of files, which fails each file for itself, and once on a small
//! disk in memory that something else fills to the last byte.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smp_server::store::{
    Acknowledged, CreateError, DiskStore, Durability, Pushed, QueueChange, QueueId, Store,
    StoreError, StoredMessage, Updated,
};

use crate::support::{
    block_on, child_after, child_done, child_folder, created, drained, link, loudly, message_of,
    noise, queue, succeeds,
};

/// Bytes of the longest file under the limit.
const LIMIT: u64 = 1 << 20;

/// Bytes of the small disk.
const SMALL: &str = "28m";

/// So long a store may take to see that there is room again.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_store_under_a_limit_loses_nothing_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ignored = "trap '' XFSZ";
    succeeds(&mut child_after(
        ignored,
        "full_disk::child_under_a_limit",
        folder.path(),
    ));
}

#[test]
fn child_under_a_limit() {
    let Some(folder) = child_folder() else {
        return;
    };
    block_on(fill(&folder, |full| {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = if full { Some(LIMIT) } else { maximum };
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
    }));
    child_done();
}

#[test]
fn a_store_on_a_full_disk_loses_nothing_and_goes_on() {
    on_a_small_disk("full_disk::child_on_a_disk_that_others_fill");
}

#[test]
fn child_on_a_disk_that_others_fill() {
    let Some(folder) = child_folder() else {
        return;
    };
    let other = folder.join("of-somebody-else");
    block_on(fill(&folder.join("store"), |full| {
        if full {
            take_the_rest(&other);
        } else {
            std::fs::remove_file(&other).unwrap();
        }
    }));
    child_done();
}

/// Fills a disk with a file, to the last byte.
fn take_the_rest(path: &Path) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for piece in [1 << 20, 1 << 12, 1] {
        while file
            .write(&vec![b'x'; piece])
            .is_ok_and(|written| written == piece)
        {}
    }
}

#[test]
fn a_store_that_fills_the_disk_goes_on_when_its_messages_are_taken() {
    on_a_small_disk("full_disk::child_that_fills_a_disk");
}

#[test]
fn child_that_fills_a_disk() {
    if let Some(folder) = child_folder() {
        block_on(fill_and_empty(&folder.join("store"), |_| {}));
        child_done();
    }
}

#[test]
fn a_store_on_a_full_disk_goes_on_in_the_room_of_taken_messages() {
    on_a_small_disk("full_disk::child_on_a_disk_that_stays_full");
}

#[test]
fn child_on_a_disk_that_stays_full() {
    if let Some(folder) = child_folder() {
        let other = folder.join("of-somebody-else");
        block_on(fill_and_empty(&folder.join("store"), |pushed| {
            if pushed == 500 {
                take_the_rest(&other);
            }
        }));
        child_done();
    }
}

/// Fills a store until there is no room, takes nearly all messages, and sends again. `pushed` is
/// told after each message.
async fn fill_and_empty(folder: &Path, pushed: impl Fn(usize)) {
    let store = DiskStore::open(folder, Durability::Process).unwrap();
    let mut queue = Filled::new(&store).await;
    while queue.push(&store).await.is_ok() {
        pushed(queue.waiting.len());
    }
    while queue.waiting.len() > 3 {
        queue.acknowledge(&store).await;
    }
    until_accepted(&store, &mut queue).await;
    for _ in 0..100 {
        queue.push(&store).await.unwrap();
    }
    drop(store);
    let store = DiskStore::open(folder, Durability::Process).unwrap();
    queue.drain(&store).await;
}

/// Runs a child on a disk in memory, in a namespace of its own, so that the disk goes with it.
fn on_a_small_disk(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!(
        "mount -t tmpfs -o size={SMALL} none '{}'",
        folder.path().display()
    );
    let namespace = || {
        let mut namespace = Command::new("unshare");
        namespace.args(["--map-root-user", "--mount"]);
        namespace
    };
    let may_mount = namespace().args(["sh", "-c", &mount]).output();
    if !may_mount.is_ok_and(|output| output.status.success()) {
        loudly("SKIPPED: no disk in memory can be mounted here, so none was filled");
        return;
    }
    let child = child_after(&mount, name, folder.path());
    let mut command = namespace();
    command.arg(child.get_program()).args(child.get_args());
    command.envs(
        child
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    succeeds(&mut command);
}

/// A queue, and what must be in it.
struct Filled {
    id: QueueId,
    waiting: Vec<u64>,
    next: u64,
}

impl Filled {
    async fn new(store: &impl Store) -> Self {
        Self {
            id: created(store).await.recipient_id,
            waiting: Vec::new(),
            next: 0,
        }
    }

    fn message(number: u64) -> StoredMessage {
        message_of(number, &noise(number, 16_000))
    }

    async fn push(&mut self, store: &impl Store) -> Result<Pushed, StoreError> {
        self.next += 1;
        let pushed = store
            .push(&self.id, Self::message(self.next), u32::MAX)
            .await;
        if pushed.is_ok() {
            self.waiting.push(self.next);
        }
        pushed
    }

    /// Acknowledges the first message.
    async fn acknowledge(&mut self, store: &impl Store) {
        let first = Self::message(self.waiting.remove(0));
        assert!(store.first(&self.id).await.unwrap().as_ref() == Some(&first));
        let done = store.acknowledge(&self.id, &first.id).await.unwrap();
        let Acknowledged::Done { next } = done else {
            panic!("the first message can't be acknowledged");
        };
        assert!(next == self.waiting.first().map(|number| Self::message(*number)));
    }

    /// That all is there and nothing else, without taking it.
    async fn check(&self, store: &impl Store) {
        assert_eq!(
            store.length(&self.id).await.unwrap() as usize,
            self.waiting.len()
        );
        let first = store.first(&self.id).await.unwrap();
        assert!(first == self.waiting.first().map(|number| Self::message(*number)));
    }

    async fn drain(&mut self, store: &impl Store) {
        let waiting = self.waiting.drain(..).map(Self::message);
        assert!(drained(store, &self.id).await.into_iter().eq(waiting));
    }
}

/// Fills a store, works on it without room, and with room again. `set_full` takes the room and
/// gives it back.
async fn fill(folder: &Path, set_full: impl Fn(bool)) {
    let store = DiskStore::open(folder, Durability::Process).unwrap();
    let mut one = Filled::new(&store).await;
    let mut other = Filled::new(&store).await;
    for _ in 0..50 {
        one.push(&store).await.unwrap();
        other.push(&store).await.unwrap();
    }
    set_full(true);
    let error = until_refused(&store, &mut one).await;
    assert!(
        matches!(error, StoreError::Io(_) | StoreError::Database(_)),
        "{error:?}"
    );
    assert!(error.to_string().contains("make room"), "{error}");
    one.check(&store).await;
    other.check(&store).await;
    changes_are_whole(&store).await;

    // Recipients go on, and what they took makes room for others, over and over.
    for _ in 0..20 {
        one.acknowledge(&store).await;
    }
    let mut accepted = 0;
    for _ in 0..150 {
        other.acknowledge(&store).await;
        accepted += u32::from(other.push(&store).await.is_ok());
        if other.waiting.len() < 10 {
            break;
        }
    }
    one.check(&store).await;
    other.check(&store).await;
    loudly(&format!(
        "{accepted} messages accepted in the place of acknowledged ones"
    ));

    // So does a relay that begins again meanwhile, whatever room its end made.
    drop(store);
    set_full(true);
    let store = DiskStore::open(folder, Durability::Process).unwrap();
    for queue in [&mut one, &mut other] {
        queue.check(&store).await;
        queue.acknowledge(&store).await;
    }

    set_full(false);
    until_accepted(&store, &mut one).await;
    for _ in 0..100 {
        one.push(&store).await.unwrap();
        other.push(&store).await.unwrap();
    }
    changes_are_whole(&store).await;
    store.compact().await.unwrap();
    drop(store);
    let store = DiskStore::open(folder, Durability::Process).unwrap();
    for queue in [&mut one, &mut other] {
        queue.check(&store).await;
        queue.push(&store).await.unwrap();
        queue.drain(&store).await;
    }
    store.close().await.unwrap();
}

/// Pushes until there is no room; the error.
async fn until_refused(store: &DiskStore, queue: &mut Filled) -> StoreError {
    for _ in 0..10_000 {
        if let Err(error) = queue.push(store).await {
            // It is refused as long as there is no room.
            for _ in 0..10 {
                queue.push(store).await.unwrap_err();
            }
            return error;
        }
    }
    panic!("there is room for ever");
}

/// Pushes until there is room again.
async fn until_accepted(store: &DiskStore, queue: &mut Filled) {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = queue.push(store).await {
        assert!(Instant::now() < end, "{error}");
        std::thread::yield_now();
    }
}

/// New queues and changes are there or not, but not in part.
async fn changes_are_whole(store: &DiskStore) {
    for number in 0..20 {
        let record = queue();
        let id = record.recipient_id;
        match store
            .create(record.clone(), Some(link(b"fixed", &noise(number, 9_000))))
            .await
        {
            Ok(()) => assert!(store.link_data(&id).await.unwrap().is_some()),
            Err(CreateError::Taken) => panic!("taken by whom?"),
            Err(CreateError::Store(_)) => {
                let found = store
                    .find(smp_server::store::Lookup::Recipient(id))
                    .await
                    .unwrap();
                assert!(found.is_none());
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let day = record.used_on + 1;
        let updated = store.update(&id, QueueChange::UsedOn(day)).await;
        let now = store
            .find(smp_server::store::Lookup::Recipient(id))
            .await
            .unwrap()
            .unwrap();
        match updated {
            Ok(Updated::Done(_)) => assert_eq!(now.used_on, day),
            Ok(other) => panic!("{other:?}"),
            Err(_) => assert_eq!(now.used_on, record.used_on),
        }
    }
}
