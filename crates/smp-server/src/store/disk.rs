//! Queues and messages on disk.
//!
//! SQLite holds what is small: queues, links' data, and which message is where. Bodies are all
//! about 16 KB, so they stand in slots of one file beside it, which are used again. A body is
//! written before its row and given away after the row is deleted: whenever the process dies, each
//! row that is there has its body. A slot names its message and has a checksum, so that after a loss
//! of power no body is taken for another.
//!
//! ```text
//! data/lock      held while the relay runs
//! data/queues.db SQLite, with its -wal and -shm: queue, link, message, salt
//! data/bodies    slots of 16 KB
//! data/reserve   room on the disk that is kept for deletions
//! ```
//!
//! Queues' records and the places of messages are in memory too ([`Index`]), so that finding costs
//! no disk. Every change is committed first and then made in memory. A commit is in the system's
//! hands when it returns, and takes some microseconds; what is slow, synchronising and compacting,
//! is done by a thread of the store.

mod bodies;
mod compaction;
mod database;
mod expiry;
mod migration;
mod reserve;
mod sides;
mod sync;

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use smp_protocol::{Fingerprint, IdsHash, LinkData, MessageFlags, MessageId, ServiceRole};

use self::bodies::{Bodies, Slot};
use self::database::{Database, MessageRow, is_full};
use self::reserve::Reserve;
use self::sync::Syncer;
use super::index::{Change, Content, Index, Key, Room, Waiter};
use super::record::Packed;
use super::{
    Acknowledged, Counts, CreateError, Cursor, Expired, Lookup, Page, Pushed, QueueChange, QueueId,
    QueueRecord, ServiceIds, ServiceKind, Store, StoreError, StoredBody, StoredMessage, Updated,
};

/// What an operation that returned survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process. The disk is synchronised each second.
    #[default]
    Process,
    /// A loss of power: operations wait until the disk is synchronised, many at a time.
    Power,
}

/// A store in a folder.
pub struct DiskStore {
    shared: Arc<Shared>,
    syncer: Syncer,
    durability: Durability,
    services: ServiceIds,
    _lock: File,
}

/// What the store's thread works on, too.
struct Shared {
    index: RwLock<Index<Slot>>,
    /// Held for the whole of a change, so that changes are made in the order of their commits. Who
    /// holds it may lock the index, never the other way round.
    writer: Mutex<Database>,
    bodies: Bodies,
    reserve: Arc<Reserve>,
}

impl DiskStore {
    /// Opens the store in `folder`, or makes one there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it, [`StoreError::Damaged`] if what is there
    /// can't be read, and what the disk says.
    pub fn open(folder: &Path, durability: Durability) -> Result<Self, StoreError> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700).create(folder)?;
        let lock = lock(folder)?;
        let path = folder.join("queues.db");
        let reserve = Arc::new(Reserve::open(&folder.join("reserve"))?);
        let bodies = Bodies::open(&folder.join("bodies"))?;
        if !bodies.is_new() && is_empty(&path) {
            return Err(damaged(&path, "the database"));
        }
        let mut database = open_database(&path, &reserve)?;
        let services = database.service_ids()?;
        let index = load(&mut database, &bodies, &path)?;
        // The files' names, too, shall survive.
        File::open(folder)?.sync_all()?;
        let shared = Arc::new(Shared {
            index: RwLock::new(index),
            writer: Mutex::new(database),
            bodies,
            reserve,
        });
        let syncer = Syncer::start(&path, Arc::clone(&shared))?;
        Ok(Self {
            shared,
            syncer,
            durability,
            services,
            _lock: lock,
        })
    }

    /// Waits until what was just committed survives what it shall survive.
    async fn settled(&self) -> Result<(), StoreError> {
        let commit = self.syncer.committed();
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.syncer.synced(commit).await,
        }
    }

    /// Whether something may be added: not while what is left of the disk is for deletions.
    fn is_open(&self) -> Result<(), StoreError> {
        match self.shared.reserve.is_given_up() {
            true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into()),
            false => Ok(()),
        }
    }

    fn create_now(&self, record: &QueueRecord, link: Option<&LinkData>) -> Result<(), CreateError> {
        self.is_open()?;
        let mut database = self.shared.writer.lock();
        let key = {
            let index = self.shared.index.read();
            if !index.is_free(record) {
                return Err(CreateError::Taken);
            }
            index.next_key()
        };
        let record = Packed::new(record);
        database.insert_queue(key, &record, link)?;
        self.shared.index.write().add(record);
        Ok(())
    }

    fn update_now(&self, id: &QueueId, change: &QueueChange) -> Result<Updated, StoreError> {
        let mut database = self.shared.writer.lock();
        let (key, changed) = {
            let index = self.shared.index.read();
            let Some(key) = index.key(id) else {
                return Ok(Updated::Gone);
            };
            (key, index.change(key, change))
        };
        let record = match changed {
            None => return Ok(Updated::Gone),
            Some(Change::Refused) => return Ok(Updated::Refused),
            Some(Change::To(record)) => record,
        };
        let link = match change {
            QueueChange::Link(Some((_, data))) => {
                if database
                    .link(key)?
                    .is_some_and(|present| present.fixed != data.fixed)
                {
                    return Ok(Updated::Refused);
                }
                Some(Some(data))
            }
            QueueChange::Link(None) => Some(None),
            _ => None,
        };
        database.replace_queue(key, &record, link)?;
        Ok(self
            .shared
            .index
            .write()
            .replace(key, record)
            .map_or(Updated::Gone, Updated::Done))
    }

    fn delete_now(&self, id: &QueueId) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        self.delete_unless(id, |_| false)
    }

    fn delete_unless(
        &self,
        id: &QueueId,
        stays: impl Fn(&Packed) -> bool,
    ) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        let mut database = self.shared.writer.lock();
        let key = {
            let index = self.shared.index.read();
            let goes = |key: &Key| index.packed(*key).is_some_and(|record| !stays(record));
            index.key(id).filter(goes)
        };
        let Some(key) = key else {
            return Ok(None);
        };
        database.delete_queue(key)?;
        let removed = self.shared.index.write().remove(key);
        Ok(removed.map(|(record, waiting)| {
            self.release(waiting.iter());
            record
        }))
    }

    fn push_now(
        &self,
        id: &QueueId,
        message: &StoredMessage,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        self.is_open()?;
        // What is refused anyway costs no copy.
        if let Some(refused) = self.refused(id, quota) {
            return Ok(refused);
        }
        // The copy to the disk's cache needs no lock.
        let slot = match &message.body {
            StoredBody::Message { body, .. } => Some(self.shared.bodies.write(&message.id, body)?),
            StoredBody::Quota => None,
        };
        let pushed = self.push_slot(id, message, slot, quota);
        if !matches!(pushed, Ok(Pushed::First | Pushed::Queued)) {
            self.shared.bodies.give_back(slot);
        }
        pushed
    }

    /// Why nothing becomes of a new message, as far as that is seen without the writer.
    fn refused(&self, id: &QueueId, quota: u32) -> Option<Pushed> {
        let index = self.shared.index.read();
        let Some(key) = index.key(id) else {
            return Some(Pushed::Gone);
        };
        (index.room(key, quota) == Room::No).then_some(Pushed::QuotaExceeded)
    }

    /// Gives away the slots of messages whose rows are deleted.
    fn release<'a>(&self, messages: impl Iterator<Item = &'a Waiter<Slot>>) {
        let at_once = self.durability == Durability::Process;
        let slots = messages.filter_map(slot_of);
        self.shared.bodies.release(slots, at_once);
    }

    fn push_slot(
        &self,
        id: &QueueId,
        message: &StoredMessage,
        slot: Option<Slot>,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        let mut database = self.shared.writer.lock();
        let (queue, room) = {
            let index = self.shared.index.read();
            let Some(key) = index.key(id) else {
                return Ok(Pushed::Gone);
            };
            (key, index.room(key, quota))
        };
        let (number, slot, pushed) = match room {
            Room::Yes {
                number,
                first: true,
            } => (number, slot, Pushed::First),
            Room::Yes {
                number,
                first: false,
            } => (number, slot, Pushed::Queued),
            Room::Mark { number } => (number, None, Pushed::QuotaExceeded),
            Room::No => return Ok(Pushed::QuotaExceeded),
        };
        let notification = match &message.body {
            StoredBody::Message { flags, .. } => flags.notification,
            StoredBody::Quota => false,
        };
        let (id, timestamp) = (message.id, message.timestamp);
        let row = MessageRow {
            queue,
            number,
            id,
            timestamp,
            notification,
            slot,
        };
        database.insert_message(&row)?;
        self.shared.index.write().push(queue, waiter(&row));
        Ok(pushed)
    }

    /// A queue's first message. Whoever acknowledges it meanwhile frees its slot, so the body is
    /// read again if it is another one's by then.
    fn first_now(&self, id: &QueueId) -> Result<Option<StoredMessage>, StoreError> {
        loop {
            let (message, timestamp, content) = {
                let index = self.shared.index.read();
                let Some(first) = index.key(id).and_then(|key| index.first(key)) else {
                    return Ok(None);
                };
                (first.id, first.timestamp, first.content.clone())
            };
            let body = match content {
                Content::Quota => StoredBody::Quota,
                Content::Message { flags, body: slot } => {
                    match self.shared.bodies.read(slot, &message)? {
                        Some(body) => StoredBody::Message { flags, body },
                        None if self.is_first(id, &message) => {
                            // A loss of power took the body, of which nobody was told that it would
                            // survive that, or the disk is damaged. The queue goes on.
                            tracing::warn!("a message can't be read any more and is dropped");
                            self.acknowledge_now(id, &message)?;
                            continue;
                        }
                        None => continue,
                    }
                }
            };
            return Ok(Some(StoredMessage {
                id: message,
                timestamp,
                body,
            }));
        }
    }

    fn is_first(&self, id: &QueueId, message: &MessageId) -> bool {
        let index = self.shared.index.read();
        let first = index.key(id).and_then(|key| index.first(key));
        first.is_some_and(|first| first.id == *message)
    }

    /// Deletes the first message if this is its id; says whether it was.
    fn acknowledge_now(&self, id: &QueueId, message: &MessageId) -> Result<bool, StoreError> {
        let mut database = self.shared.writer.lock();
        let (key, number) = {
            let index = self.shared.index.read();
            let key = index.key(id);
            let first = key.and_then(|key| Some((key, index.first(key)?)));
            match first.filter(|(_, first)| first.id == *message) {
                Some((key, first)) => (key, first.number),
                None => return Ok(false),
            }
        };
        database.delete_messages(key, number)?;
        let popped = self.shared.index.write().pop(key);
        self.release(popped.iter());
        Ok(true)
    }
}

impl Store for DiskStore {
    async fn create(&self, record: QueueRecord, link: Option<LinkData>) -> Result<(), CreateError> {
        self.create_now(&record, link.as_ref())?;
        Ok(self.settled().await?)
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        Ok(self.shared.index.read().find(lookup))
    }

    async fn update(&self, id: &QueueId, change: QueueChange) -> Result<Updated, StoreError> {
        let updated = self.update_now(id, &change)?;
        if matches!(updated, Updated::Done(_)) {
            self.settled().await?;
        }
        Ok(updated)
    }

    async fn link_data(&self, id: &QueueId) -> Result<Option<LinkData>, StoreError> {
        let key = self.shared.index.read().key(id);
        key.map_or(Ok(None), |key| self.shared.writer.lock().link(key))
    }

    async fn delete(&self, id: &QueueId) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        let deleted = self.delete_now(id)?;
        if deleted.is_some() {
            self.settled().await?;
        }
        Ok(deleted)
    }

    async fn push(
        &self,
        id: &QueueId,
        message: StoredMessage,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        let pushed = self.push_now(id, &message, quota)?;
        if pushed != Pushed::Gone {
            self.settled().await?;
        }
        Ok(pushed)
    }

    async fn first(&self, id: &QueueId) -> Result<Option<StoredMessage>, StoreError> {
        self.first_now(id)
    }

    async fn acknowledge(
        &self,
        id: &QueueId,
        message: &MessageId,
    ) -> Result<Acknowledged, StoreError> {
        if !self.acknowledge_now(id, message)? {
            return Ok(Acknowledged::NotFirst);
        }
        self.settled().await?;
        Ok(Acknowledged::Done {
            next: self.first_now(id)?,
        })
    }

    async fn length(&self, id: &QueueId) -> Result<u32, StoreError> {
        let index = self.shared.index.read();
        Ok(index.key(id).map_or(0, |key| index.length(key)))
    }

    async fn expire_messages(
        &self,
        before: u64,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<usize>, StoreError> {
        let step = self.expire_messages_now(before, from, limit)?;
        if step.expired > 0 {
            self.settled().await?;
        }
        Ok(step)
    }

    async fn expire_queues(
        &self,
        before: u32,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<Vec<Arc<QueueRecord>>>, StoreError> {
        let step = self.expire_queues_now(before, from, limit)?;
        if !step.expired.is_empty() {
            self.settled().await?;
        }
        Ok(step)
    }

    async fn service(
        &self,
        fingerprint: &Fingerprint,
        role: ServiceRole,
    ) -> Result<QueueId, StoreError> {
        Ok(self.services.id(fingerprint, role))
    }

    async fn service_totals(
        &self,
        service: &QueueId,
        kind: ServiceKind,
    ) -> Result<(i64, IdsHash), StoreError> {
        Ok(self.shared.index.read().totals(*service, kind))
    }

    async fn service_queues(
        &self,
        service: &QueueId,
        kind: ServiceKind,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(self.shared.index.read().page(*service, kind, from, limit))
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let index = self.shared.index.read();
        Ok(Counts {
            queues: index.queues(),
            messages: index.messages(),
        })
    }

    async fn compact(&self) -> Result<(), StoreError> {
        self.syncer.compacted().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.syncer.closed().await
    }
}

/// Reads everything that is small.
fn load(database: &mut Database, bodies: &Bodies, path: &Path) -> Result<Index<Slot>, StoreError> {
    let mut index = Index::new();
    index.reserve(database.places()?);
    database.queues(|key, record| {
        index.add_at(key, record);
        Ok(())
    })?;
    index.complete();
    let (mut used, mut lost) = (Vec::new(), Vec::new());
    database.messages(|row| {
        if row.slot.is_some_and(|slot| !bodies.has(slot)) {
            lost.push((row.queue, row.number));
        } else {
            used.extend(row.slot);
            index.push(row.queue, waiter(&row));
        }
        Ok(())
    })?;
    if !lost.is_empty() {
        // Their slots are given to others now, so the rows must not stay.
        tracing::warn!(
            "{} messages have no body any more and are dropped",
            lost.len()
        );
        database.delete_lost(&lost)?;
    }
    if !bodies.complete(used) {
        return Err(damaged(path, "a message"));
    }
    Ok(index)
}

fn open_database(path: &Path, reserve: &Arc<Reserve>) -> Result<Database, StoreError> {
    match Database::open(path, reserve) {
        // Even the log needs some room.
        Err(StoreError::Database(error)) if is_full(&error) && reserve.is_there() => {
            reserve.give_up()?;
            Database::open(path, reserve)
        }
        opened => opened,
    }
}

/// One process at a time has a store; the lock ends with it, however it ends.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |file| file.len() == 0)
}

fn damaged(path: &Path, what: &'static str) -> StoreError {
    StoreError::Damaged {
        path: PathBuf::from(path),
        what,
    }
}

fn waiter(row: &MessageRow) -> Waiter<Slot> {
    let flags = MessageFlags {
        notification: row.notification,
    };
    let content = match row.slot {
        Some(body) => Content::Message { flags, body },
        None => Content::Quota,
    };
    Waiter {
        id: row.id,
        timestamp: row.timestamp,
        number: row.number,
        content,
    }
}

fn slot_of(waiter: &Waiter<Slot>) -> Option<Slot> {
    match waiter.content {
        Content::Message { body, .. } => Some(body),
        Content::Quota => None,
    }
}
