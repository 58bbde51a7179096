//! What the child does until it is killed, and what it must have left.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smp_protocol::{AuthPublicKey, LinkData, MessageFlags, MessageId, QueueMode};
use smp_server::store::{
    Acknowledged, DiskStore, Durability, NotifierRecord, Pushed, QueueChange, QueueId, QueueRecord,
    QueueStatus, Store, StoredBody, StoredMessage, Updated,
};

use crate::support::{LONGEST, block_on, link, noise};

/// The variable that holds the round's number.
pub(super) const ROUND: &str = "SOTTO_STORE_ROUND";

/// What the child says before it opens the store.
pub(super) const WORKING: &str = "opening";

/// What the child says when an operation failed for lack of room.
pub(super) const FULL: &str = "full";

/// Queues to which one thread sends and from which another takes.
const PAIRS: u32 = 3;

/// Threads that make, change and delete queues.
const CHANGERS: u32 = 2;

/// The step that deletes a changed queue.
const DELETED: u32 = 7;

/// Who does something in the child, each on a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actor {
    /// Makes the pair's queue and sends to it.
    Sender(u32),
    /// Takes the messages of a pair's queue.
    Recipient(u32),
    Changer(u32),
}

/// An actor begins a step with a queue, or has done it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) actor: Actor,
    pub(super) queue: u32,
    /// From 1 on.
    pub(super) step: u32,
    pub(super) done: bool,
}

impl Event {
    pub(super) fn line(&self) -> String {
        let (kind, number) = match self.actor {
            Actor::Sender(number) => ("sender", number),
            Actor::Recipient(number) => ("recipient", number),
            Actor::Changer(number) => ("changer", number),
        };
        format!(
            "@ {kind} {number} {} {} {}\n",
            self.queue, self.step, self.done
        )
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let parts: Vec<&str> = line.split(' ').collect();
        let ["@", kind, number, queue, step, done] = parts[..] else {
            return None;
        };
        let number = number.parse().ok()?;
        Some(Self {
            actor: match kind {
                "sender" => Actor::Sender(number),
                "recipient" => Actor::Recipient(number),
                "changer" => Actor::Changer(number),
                _ => return None,
            },
            queue: queue.parse().ok()?,
            step: step.parse().ok()?,
            done: done.parse().ok()?,
        })
    }
}

/// One child's run; all that it stores follows from its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) number: u64,
}

impl Round {
    /// Whether its child has little room.
    pub(super) fn is_full(self) -> bool {
        self.number % 8 == 5
    }

    fn id(self, kind: u8, actor: u32, queue: u32) -> QueueId {
        let mut bytes = [kind; 24];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..12].copy_from_slice(&actor.to_be_bytes());
        bytes[12..16].copy_from_slice(&queue.to_be_bytes());
        QueueId(bytes)
    }

    fn record(self, kind: u8, actor: u32, queue: u32) -> QueueRecord {
        let QueueId(seed) = self.id(kind, actor, queue);
        let mut key = [kind; 32];
        key[..24].copy_from_slice(&seed);
        QueueRecord {
            recipient_id: QueueId(seed),
            sender_id: self.id(kind + 1, actor, queue),
            recipient_keys: vec![AuthPublicKey::Ed25519(key)],
            delivery_key: key,
            sender_key: None,
            mode: Some(QueueMode::Contact),
            status: QueueStatus::Active,
            notifier: None,
            link_id: None,
            service: None,
            used_on: 1,
        }
    }

    /// The queue of a pair.
    pub(super) fn pair(self, pair: u32) -> QueueRecord {
        self.record(b'a', pair, 0)
    }

    /// A message of a pair, from 1 on.
    pub(super) fn message(self, pair: u32, number: u32) -> StoredMessage {
        let seed = (self.number << 32) ^ (u64::from(pair) << 24) ^ u64::from(number);
        let length = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % (LONGEST + 1);
        StoredMessage {
            id: MessageId(self.id(b'm', pair, number).0),
            timestamp: u64::from(number),
            body: StoredBody::Message {
                flags: MessageFlags {
                    notification: number.is_multiple_of(3),
                },
                body: noise(seed, length),
            },
        }
    }

    /// The number of a message of a pair.
    pub(super) fn number_of(self, message: &StoredMessage) -> u32 {
        message.timestamp as u32
    }

    /// The queue that a changer begins with.
    pub(super) fn changed(self, changer: u32, queue: u32) -> QueueRecord {
        self.record(b'k', changer, queue)
    }

    fn link(self, queue: u32, version: u64) -> LinkData {
        let seed = (self.number << 20) ^ u64::from(queue);
        let length = 40 * (queue as usize % 100);
        link(&noise(seed, 60), &noise(seed ^ version, length))
    }

    /// What a step does to a changed queue; the first makes it and the last deletes it.
    fn change(self, changer: u32, queue: u32, step: u32) -> QueueChange {
        let link_id = self.id(b'x', changer, queue);
        match step {
            2 => QueueChange::SenderKey(AuthPublicKey::X25519([step as u8; 32])),
            3 => QueueChange::Link(Some((link_id, self.link(queue, 0)))),
            4 => QueueChange::Notifier(Some(NotifierRecord {
                id: self.id(b'y', changer, queue),
                key: AuthPublicKey::X25519([4; 32]),
                secret: [5; 32],
                service: None,
            })),
            5 => QueueChange::Link(Some((link_id, self.link(queue, 1)))),
            _ => QueueChange::Status(QueueStatus::Suspended),
        }
    }

    /// What a changed queue is after a step.
    pub(super) fn after(
        self,
        changer: u32,
        queue: u32,
        step: u32,
    ) -> Option<(QueueRecord, Option<LinkData>)> {
        if step == 0 || step == DELETED {
            return None;
        }
        let (mut record, mut link) = (self.changed(changer, queue), None);
        for step in 2..=step {
            match self.change(changer, queue, step) {
                QueueChange::SenderKey(key) => record.sender_key = Some(key),
                QueueChange::Notifier(notifier) => record.notifier = notifier,
                QueueChange::Status(status) => record.status = status,
                QueueChange::Link(Some((id, data))) => {
                    (record.link_id, link) = (Some(id), Some(data));
                }
                _ => {}
            }
        }
        Some((record, link))
    }
}

/// Works until it is killed.
pub(super) fn run(folder: &Path) {
    let round = Round {
        number: std::env::var(ROUND).unwrap().parse().unwrap(),
    };
    let reports = Reports(File::from(
        std::io::stdout().as_fd().try_clone_to_owned().unwrap(),
    ));
    reports.line(&format!("\n{WORKING}\n"));
    // Now and then each operation waits for the disk, and now and then the disk is full.
    let durability = match round.number % 8 {
        7 => Durability::Power,
        _ => Durability::Process,
    };
    let room = round.is_full().then(|| Room::little(folder));
    let store = DiskStore::open(folder, durability).unwrap();
    let work = Work {
        store: &store,
        round,
        reports: &reports,
        room: room.as_ref(),
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for pair in 0..PAIRS {
            let (sent, arrived) = mpsc::channel();
            threads.push(scope.spawn(move || block_on(work.send(pair, sent))));
            threads.push(scope.spawn(move || block_on(work.take(pair, arrived))));
        }
        for changer in 0..CHANGERS {
            threads.push(scope.spawn(move || block_on(work.change(changer))));
        }
        // In half of the rounds what is free is given back all the time.
        if round.number.is_multiple_of(2) || room.is_some() {
            threads.push(scope.spawn(move || block_on(work.compact())));
        }
        // None ends but by a failure, of which the parent shall know at once.
        while threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        std::process::exit(1);
    });
}

/// The pipe, without a buffer.
struct Reports(File);

impl Reports {
    /// Short enough that the pipe takes it whole.
    fn line(&self, line: &str) {
        (&self.0).write_all(line.as_bytes()).unwrap();
    }
}

/// A limit on the length of files, which grows when operations failed for a while.
struct Room {
    limit: AtomicU64,
    failures: AtomicU64,
}

impl Room {
    /// Little more than the shortest file has now, less than others have.
    fn little(folder: &Path) -> Self {
        let lengths = ["bodies", "queues.db", "queues.db-wal"]
            .map(|name| folder.join(name).metadata().map_or(0, |file| file.len()));
        let shortest = lengths.into_iter().min().unwrap_or(0);
        let room = Self {
            limit: AtomicU64::new(shortest + (128 << 10)),
            failures: AtomicU64::new(0),
        };
        room.set(room.limit.load(Ordering::Relaxed));
        room
    }

    fn set(&self, limit: u64) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(
            Resource::Fsize,
            Rlimit {
                current: Some(limit),
                maximum,
            },
        )
        .unwrap();
    }

    /// An operation failed.
    fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) % 20 == 19 {
            self.set(self.limit.fetch_add(128 << 10, Ordering::Relaxed) + (128 << 10));
        }
    }
}

/// What the threads work with.
#[derive(Clone, Copy)]
struct Work<'a> {
    store: &'a DiskStore,
    round: Round,
    reports: &'a Reports,
    room: Option<&'a Room>,
}

impl Work<'_> {
    /// Reports a step and makes it, again and again while there is no room.
    async fn step<T, E: std::fmt::Debug>(
        &self,
        (actor, queue, step): (Actor, u32, u32),
        work: impl AsyncFn() -> Result<T, E>,
    ) -> T {
        self.reports.line(
            &Event {
                actor,
                queue,
                step,
                done: false,
            }
            .line(),
        );
        let done = loop {
            match (work().await, self.room) {
                (Ok(done), _) => break done,
                (Err(_), Some(room)) => {
                    self.reports.line(&format!("{FULL}\n"));
                    room.failed();
                }
                (Err(error), None) => panic!("{error:?}"),
            }
        };
        self.reports.line(
            &Event {
                actor,
                queue,
                step,
                done: true,
            }
            .line(),
        );
        done
    }

    async fn send(self, pair: u32, sent: mpsc::Sender<u32>) {
        let (actor, record) = (Actor::Sender(pair), self.round.pair(pair));
        let id = record.recipient_id;
        self.step((actor, 0, 1), async || {
            self.store.create(record.clone(), None).await
        })
        .await;
        for number in 1.. {
            let message = self.round.message(pair, number);
            let push = async || self.store.push(&id, message.clone(), u32::MAX).await;
            let pushed = self.step((actor, 0, number + 1), push).await;
            assert!(matches!(pushed, Pushed::First | Pushed::Queued));
            sent.send(number).unwrap();
        }
    }

    async fn take(self, pair: u32, arrived: mpsc::Receiver<u32>) {
        let (actor, id) = (Actor::Recipient(pair), self.round.pair(pair).recipient_id);
        // Some stay, those of one pair more than those of another.
        let behind = 7 * pair;
        for number in arrived.iter().filter(|number| *number > behind) {
            let number = number - behind;
            let message = self.round.message(pair, number);
            assert!(self.store.first(&id).await.unwrap().as_ref() == Some(&message));
            let acknowledge = async || self.store.acknowledge(&id, &message.id).await;
            let done = self.step((actor, 0, number), acknowledge).await;
            assert!(matches!(done, Acknowledged::Done { .. }));
        }
    }

    async fn change(self, changer: u32) {
        let actor = Actor::Changer(changer);
        for queue in 0.. {
            let record = self.round.changed(changer, queue);
            let id = record.recipient_id;
            let create = async || self.store.create(record.clone(), None).await;
            self.step((actor, queue, 1), create).await;
            // Some queues stay as they are after a step.
            for step in 2..=(queue % 10).min(DELETED - 1) {
                let change = self.round.change(changer, queue, step);
                let update = async || self.store.update(&id, change.clone()).await;
                let updated = self.step((actor, queue, step), update).await;
                assert!(matches!(updated, Updated::Done(_)));
            }
            if queue % 10 > DELETED {
                let delete = async || self.store.delete(&id).await;
                assert!(self.step((actor, queue, DELETED), delete).await.is_some());
            }
        }
    }

    async fn compact(self) {
        loop {
            let compacted = self.store.compact().await;
            assert!(compacted.is_ok() || self.room.is_some(), "{compacted:?}");
        }
    }
}
