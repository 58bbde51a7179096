//! What is deleted or acknowledged is in no file after a compaction.
//!
//! All that is to go has the same bytes in it, the ink, everywhere: in ids, keys, secrets, link
//! data and bodies. So whatever is left of anything is found.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use smp_protocol::{AuthPublicKey, LinkData, MessageFlags, MessageId};
use smp_server::store::{
    DiskStore, Durability, NotifierRecord, QueueChange, QueueId, QueueRecord, Store, StoredBody,
    StoredMessage,
};

use crate::support::{Disk, QUOTA, block_on, drained, link, queue, walk};

/// Bytes by which something is known again.
type Ink = [u8; 8];

/// So long a store may take to erase what a former process left.
const PATIENCE: Duration = Duration::from_secs(20);

/// In all that goes.
const GONE: Ink = *b"\xf7gone\xf9\xfa\xfb";

/// In all that stays.
const STAYS: Ink = *b"\xf7stay\xf9\xfa\xfb";

/// Writes in one ink, each time something else.
struct Pen {
    ink: Ink,
    written: u64,
    rng: StdRng,
}

impl Pen {
    fn new(ink: Ink) -> Self {
        Self {
            ink,
            written: 0,
            rng: StdRng::seed_from_u64(u64::from_be_bytes(ink)),
        }
    }

    /// The ink over and over, with a number in the midst.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.written += 1;
        let mut bytes: Vec<u8> = self.ink.iter().copied().cycle().take(length).collect();
        if length >= 24 {
            bytes[8..16].copy_from_slice(&self.written.to_be_bytes());
        }
        bytes
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().unwrap()
    }

    fn id(&mut self) -> QueueId {
        QueueId(self.array())
    }

    fn keys(&mut self) -> Vec<AuthPublicKey> {
        // Now and then so many that a record does not fit on a page.
        let count = if self.rng.random_bool(0.05) {
            255
        } else {
            self.rng.random_range(1..4)
        };
        (0..count)
            .map(|_| AuthPublicKey::Ed25519(self.array()))
            .collect()
    }

    fn notifier(&mut self) -> NotifierRecord {
        NotifierRecord {
            id: self.id(),
            key: AuthPublicKey::X25519(self.array()),
            secret: self.array(),
            service: None,
        }
    }

    fn link(&mut self, fixed: &[u8]) -> LinkData {
        let length = self.rng.random_range(8..6_000);
        link(fixed, &self.bytes(length))
    }

    fn queue(&mut self) -> QueueRecord {
        QueueRecord {
            recipient_id: self.id(),
            sender_id: self.id(),
            recipient_keys: self.keys(),
            delivery_key: self.array(),
            sender_key: Some(AuthPublicKey::Ed25519(self.array())),
            notifier: self.rng.random_bool(0.5).then(|| self.notifier()),
            link_id: self.rng.random_bool(0.5).then(|| self.id()),
            ..queue()
        }
    }

    fn message(&mut self) -> StoredMessage {
        let length = self.rng.random_range(8..12_000);
        StoredMessage {
            id: MessageId(self.array()),
            timestamp: 1,
            body: StoredBody::Message {
                flags: MessageFlags::default(),
                body: self.bytes(length),
            },
        }
    }

    async fn create(&mut self, store: &impl Store) -> QueueId {
        let record = self.queue();
        let fixed = self.bytes(64);
        let data = record.link_id.map(|_| self.link(&fixed));
        let id = record.recipient_id;
        store.create(record, data).await.unwrap();
        id
    }

    async fn push(&mut self, store: &impl Store, id: &QueueId) {
        store.push(id, self.message(), QUOTA).await.unwrap();
    }
}

/// How often the ink is in a file.
fn count(path: &Path, ink: Ink) -> usize {
    let bytes = std::fs::read(path).unwrap_or_default();
    let mut at = 0;
    let mut count = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| *byte == ink[0]) {
        at += next + 1;
        count += usize::from(bytes[at..].starts_with(&ink[1..]));
    }
    count
}

/// Where the ink is in a folder, and how often.
fn found(folder: &Path, ink: Ink) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let count = count(&file.path(), ink);
        if count > 0 {
            found.push((file.file_name().into_string().unwrap(), count));
        }
    }
    found
}

fn none_is_left(folder: &Path) {
    assert_eq!(found(folder, GONE), []);
}

/// Both inks in turn, so that what stays is among what goes.
struct Pens {
    gone: Pen,
    stays: Pen,
}

impl Pens {
    fn new() -> Self {
        Self {
            gone: Pen::new(GONE),
            stays: Pen::new(STAYS),
        }
    }
}

/// That the search finds what is there, or it would find nothing for ever.
#[tokio::test]
async fn what_stays_is_found() {
    let disk = Disk::new();
    let mut pen = Pen::new(STAYS);
    let id = pen.create(&disk.store).await;
    pen.push(&disk.store, &id).await;
    let files = |disk: &Disk| -> Vec<String> {
        let mut files: Vec<_> = found(disk.path(), STAYS)
            .into_iter()
            .map(|(file, _)| file)
            .collect();
        files.sort_unstable();
        files
    };
    assert_eq!(files(&disk), ["bodies", "queues.db-wal"]);
    disk.store.compact().await.unwrap();
    assert_eq!(files(&disk), ["bodies", "queues.db"]);
}

#[tokio::test]
async fn an_acknowledged_message_leaves_nothing() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    let id = pens.stays.create(&disk.store).await;
    pens.gone.push(&disk.store, &id).await;
    drained(&disk.store, &id).await;
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
}

#[tokio::test]
async fn acknowledged_messages_leave_nothing_beside_those_that_stay() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let id = pens.stays.create(&disk.store).await;
        for _ in 0..pens.gone.rng.random_range(0..12) {
            pens.gone.push(&disk.store, &id).await;
        }
        for _ in 0..3 {
            pens.stays.push(&disk.store, &id).await;
        }
        ids.push(id);
    }
    for id in &ids {
        while disk.store.length(id).await.unwrap() > 3 {
            let first = disk.store.first(id).await.unwrap().unwrap();
            disk.store.acknowledge(id, &first.id).await.unwrap();
        }
    }
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
    for id in &ids {
        assert_eq!(drained(&disk.store, id).await.len(), 3);
    }
}

#[tokio::test]
async fn a_taken_message_leaves_nothing_after_the_end() {
    for durability in [Durability::Process, Durability::Power] {
        let disk = Disk::with(durability);
        let mut pens = Pens::new();
        let id = taken_and_left(&disk.store, &mut pens).await;
        assert_ne!(found(disk.path(), GONE), [], "{durability:?}");
        disk.store.close().await.unwrap();
        none_is_left(disk.path());
        assert_eq!(drained(&disk.reopened().store, &id).await.len(), 3);
    }
}

#[tokio::test]
async fn a_taken_message_leaves_nothing_soon_after_the_begin() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    let id = taken_and_left(&disk.store, &mut pens).await;
    // Not closed.
    let disk = disk.reopened();
    let end = Instant::now() + PATIENCE;
    while count(&disk.path().join("bodies"), GONE) > 0 {
        assert!(Instant::now() < end, "bodies of taken messages stay");
        std::thread::yield_now();
    }
    assert_eq!(drained(&disk.store, &id).await.len(), 3);
}

/// Takes messages of a queue, behind which three are that stay.
async fn taken_and_left(store: &DiskStore, pens: &mut Pens) -> QueueId {
    let id = pens.stays.create(store).await;
    for _ in 0..40 {
        pens.gone.push(store, &id).await;
    }
    for _ in 0..3 {
        pens.stays.push(store, &id).await;
    }
    for _ in 0..40 {
        let first = store.first(&id).await.unwrap().unwrap();
        store.acknowledge(&id, &first.id).await.unwrap();
    }
    id
}

#[tokio::test]
async fn a_refused_message_leaves_nothing() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    let id = pens.stays.create(&disk.store).await;
    disk.store.push(&id, pens.stays.message(), 1).await.unwrap();
    // The first of them lends its id to the marker, so that is not in the ink.
    let refused = StoredMessage {
        id: pens.stays.message().id,
        ..pens.gone.message()
    };
    disk.store.push(&id, refused, 1).await.unwrap();
    disk.store.push(&id, pens.gone.message(), 1).await.unwrap();
    disk.store
        .push(&QueueId::random(), pens.gone.message(), 1)
        .await
        .unwrap();
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
}

#[tokio::test]
async fn what_was_replaced_leaves_nothing() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    for _ in 0..50 {
        let record = pens.stays.queue();
        let id = record.recipient_id;
        let link_id = pens.stays.id();
        let fixed = pens.stays.bytes(64);
        let record = QueueRecord {
            recipient_keys: pens.gone.keys(),
            notifier: Some(pens.gone.notifier()),
            link_id: Some(link_id),
            ..record
        };
        disk.store
            .create(record, Some(pens.gone.link(&fixed)))
            .await
            .unwrap();
        for change in [
            QueueChange::RecipientKeys(pens.stays.keys()),
            QueueChange::Notifier(Some(pens.stays.notifier())),
            QueueChange::Link(Some((link_id, pens.stays.link(&fixed)))),
        ] {
            disk.store.update(&id, change).await.unwrap();
        }
    }
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
}

#[tokio::test]
async fn what_expired_leaves_nothing() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    let store = &disk.store;
    for _ in 0..20 {
        let stays = pens.stays.create(store).await;
        pens.gone.push(store, &stays).await;
        let record = QueueRecord {
            link_id: None,
            used_on: 1,
            ..pens.gone.queue()
        };
        let gone = record.recipient_id;
        store.create(record, None).await.unwrap();
        pens.gone.push(store, &gone).await;
    }
    store
        .expire_messages(2, Default::default(), usize::MAX)
        .await
        .unwrap();
    let step = store
        .expire_queues(2, Default::default(), usize::MAX)
        .await
        .unwrap();
    assert_eq!(step.expired.len(), 20);
    store.compact().await.unwrap();
    none_is_left(disk.path());
}

/// Queues come and go in random order, so that rows move between pages and pages are freed.
async fn come_and_go(store: &DiskStore, pens: &mut Pens, rounds: usize) {
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..rounds {
        for _ in 0..60 {
            let id = pens.gone.create(store).await;
            pens.gone.push(store, &id).await;
            going.push(id);
        }
        for _ in 0..20 {
            let id = pens.stays.create(store).await;
            pens.stays.push(store, &id).await;
            staying.push(id);
        }
        going.shuffle(&mut rng);
        let left = if round + 1 == rounds {
            0
        } else {
            going.len() / 2
        };
        for id in going.drain(left..) {
            store.delete(&id).await.unwrap();
        }
        // What stays grows and shrinks, too.
        for id in &staying {
            let change = QueueChange::RecipientKeys(pens.stays.keys());
            store.update(id, change).await.unwrap();
        }
    }
}

#[tokio::test]
async fn deleted_queues_leave_nothing_beside_those_that_stay() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    come_and_go(&disk.store, &mut pens, 5).await;
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
    // Nor after the end, and after another begin.
    let folder = disk.closed().await;
    none_is_left(folder.path());
    drop(DiskStore::open(folder.path(), Durability::Process).unwrap());
    none_is_left(folder.path());
}

#[tokio::test]
async fn what_went_before_a_reopening_leaves_nothing() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    come_and_go(&disk.store, &mut pens, 3).await;
    let disk = disk.reopened();
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
}

#[tokio::test]
async fn a_compaction_that_was_cut_short_is_made_good_by_the_next() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    come_and_go(&disk.store, &mut pens, 8).await;
    let mut disk = Some(disk);
    // Each time it comes a little further, and finds what the one before left half done.
    for polls in 0..6 {
        let now = disk.take().unwrap();
        let mut compaction = Box::pin(now.store.compact());
        for _ in 0..=polls {
            let _ = futures_util::poll!(&mut compaction);
            // Its steps are made between those of others.
            let id = pens.gone.create(&now.store).await;
            pens.gone.push(&now.store, &id).await;
            now.store.delete(&id).await.unwrap();
        }
        drop(compaction);
        disk = Some(now.reopened());
    }
    let disk = disk.unwrap();
    disk.store.compact().await.unwrap();
    none_is_left(disk.path());
    let counts = disk.store.counts().await.unwrap();
    assert_eq!((counts.queues, counts.messages), (160, 160));
}

#[tokio::test]
async fn a_compaction_with_nothing_left_leaves_an_empty_file_of_bodies() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    come_and_go(&disk.store, &mut pens, 1).await;
    assert!(disk.bodies() > 0);
    walk(async |from| {
        let step = disk
            .store
            .expire_queues(u32::MAX, from, 1_000)
            .await
            .unwrap();
        ((), step.next)
    })
    .await;
    disk.store.compact().await.unwrap();
    assert_eq!(disk.bodies(), 0);
    assert_eq!(found(disk.path(), STAYS), []);
}

#[test]
fn deleted_data_leaves_nothing_while_others_work() {
    /// Queues and messages that others make and delete before the first compaction: the log is
    /// brought to the tables beside them.
    const WARM: u64 = 4_000;
    let disk = Disk::new();
    let store = &disk.store;
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let mut ink = STAYS;
                ink[7] = number;
                block_on(work(store, Pen::new(ink), stop, done));
            });
        }
        let mut pen = Pen::new(GONE);
        while done.load(Ordering::Relaxed) < WARM {
            std::thread::yield_now();
        }
        for _ in 0..8 {
            block_on(async {
                for _ in 0..10 {
                    let id = pen.create(store).await;
                    pen.push(store, &id).await;
                    pen.push(store, &id).await;
                    let first = store.first(&id).await.unwrap().unwrap();
                    store.acknowledge(&id, &first.id).await.unwrap();
                    store.delete(&id).await.unwrap();
                }
                store.compact().await.unwrap();
            });
            let left = found(disk.path(), GONE);
            if !left.is_empty() {
                // The others end, or the scope would wait for ever.
                stop.store(true, Ordering::Relaxed);
            }
            assert_eq!(left, []);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Load: queues that come and go and messages that are sent and taken.
async fn work(store: &DiskStore, mut pen: Pen, stop: &AtomicBool, done: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let id = pen.create(store).await;
        for _ in 0..5 {
            pen.push(store, &id).await;
        }
        drained(store, &id).await;
        store.delete(&id).await.unwrap();
        done.fetch_add(12, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn compactions_at_the_same_time_leave_nothing() {
    let disk = Disk::new();
    let mut pens = Pens::new();
    come_and_go(&disk.store, &mut pens, 1).await;
    let store = Arc::new(&disk.store);
    let (one, other) = tokio::join!(store.compact(), store.compact());
    one.unwrap();
    other.unwrap();
    none_is_left(disk.path());
}
