//! Queues and messages on disk.
//!
//! SQLite holds what is small: queues, links' data, and which message is where. Bodies are all
//! about 16 KB, so they stand in slots of one file beside it, which are used again. A body is
//! written before its row and its slot is given away only after the row's deletion is on the disk:
//! whenever the process dies, each row that is there has its body.
//!
//! ```text
//! data/lock      held while the relay runs
//! data/queues.db SQLite, with its -wal and -shm: queue, link, message, service
//! data/bodies    slots of 16 KB
//! ```
//!
//! Queues' records and the places of messages are in memory too ([`Index`]), so that finding costs
//! no disk. Every change is committed first and then made in memory.

mod bodies;
mod database;
mod record;
mod sync;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use smp_protocol::{Fingerprint, IdsHash, LinkData, MessageFlags, MessageId, ServiceRole};

use self::bodies::{Bodies, Slot};
use self::database::{Database, MessageRow};
use self::sync::Syncer;
use super::index::{Change, Content, Index, Key, Room, Waiter};
use super::{
    Acknowledged, Counts, CreateError, Cursor, Expired, Lookup, Page, Pushed, QueueChange, QueueId,
    QueueRecord, ServiceKind, Store, StoreError, StoredBody, StoredMessage, Updated,
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
    index: Mutex<Index<Slot>>,
    /// Held for the whole of a change, so that changes are made in the order of their commits.
    writer: Mutex<Database>,
    bodies: Arc<Bodies>,
    syncer: Syncer,
    durability: Durability,
    _lock: File,
}

impl DiskStore {
    /// Opens the store in `folder`, or makes one there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it, [`StoreError::Damaged`] if what is there
    /// can't be read, and what the disk says.
    pub fn open(folder: &Path, durability: Durability) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)?;
        let lock = lock(folder)?;
        let path = folder.join("queues.db");
        let database = Database::open(&path)?;
        let mut index = Index::new();
        database.queues(|key, bytes| {
            let record = record::decode(bytes).ok_or_else(|| damaged(&path, "a queue"))?;
            index.add_at(key, record);
            Ok(())
        })?;
        index.complete();
        let mut used = Vec::new();
        database.messages(|row| {
            used.extend(row.slot);
            index.push(row.queue, waiter(&row));
            Ok(())
        })?;
        let bodies = Arc::new(Bodies::open(&folder.join("bodies"), &used)?);
        let syncer = Syncer::start(&path, Arc::clone(&bodies))?;
        let (index, writer) = (Mutex::new(index), Mutex::new(database));
        Ok(Self {
            index,
            writer,
            bodies,
            syncer,
            durability,
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

    fn create_now(&self, record: QueueRecord, link: Option<&LinkData>) -> Result<(), CreateError> {
        let mut database = self.writer.lock();
        let key = {
            let index = self.index.lock();
            if !index.is_free(&record) {
                return Err(CreateError::Taken);
            }
            index.next_key()
        };
        database.insert_queue(key, &record::encode(&record), link)?;
        self.index.lock().add(record);
        Ok(())
    }

    fn update_now(&self, id: &QueueId, change: &QueueChange) -> Result<Updated, StoreError> {
        let mut database = self.writer.lock();
        let (key, changed) = {
            let index = self.index.lock();
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
        database.replace_queue(key, &record::encode(&record), link)?;
        Ok(self
            .index
            .lock()
            .replace(key, record)
            .map_or(Updated::Gone, Updated::Done))
    }

    fn delete_now(&self, id: &QueueId) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        let mut database = self.writer.lock();
        let Some(key) = self.index.lock().key(id) else {
            return Ok(None);
        };
        database.delete_queue(key)?;
        let removed = self.index.lock().remove(key);
        Ok(removed.map(|(record, waiting)| {
            self.bodies.release(waiting.iter().filter_map(slot_of));
            record
        }))
    }

    fn push_now(
        &self,
        id: &QueueId,
        message: &StoredMessage,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        // The copy to the disk's cache needs no lock.
        let slot = match &message.body {
            StoredBody::Message { body, .. } => Some(self.bodies.write(&message.id, body)?),
            StoredBody::Quota => None,
        };
        let pushed = self.push_slot(id, message, slot, quota);
        if !matches!(pushed, Ok(Pushed::First | Pushed::Queued)) {
            self.bodies.give_back(slot);
        }
        pushed
    }

    fn push_slot(
        &self,
        id: &QueueId,
        message: &StoredMessage,
        slot: Option<Slot>,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        let mut database = self.writer.lock();
        let (queue, room) = {
            let index = self.index.lock();
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
        self.index.lock().push(queue, waiter(&row));
        Ok(pushed)
    }

    /// A queue's first message. Whoever acknowledges it meanwhile frees its slot, so the body is
    /// read again if it is another one's by then.
    fn first_now(&self, id: &QueueId) -> Result<Option<StoredMessage>, StoreError> {
        loop {
            let (message, timestamp, content) = {
                let index = self.index.lock();
                let Some(first) = index.key(id).and_then(|key| index.first(key)) else {
                    return Ok(None);
                };
                (first.id, first.timestamp, first.content.clone())
            };
            let body = match content {
                Content::Quota => StoredBody::Quota,
                Content::Message { flags, body: slot } => {
                    match self.bodies.read(slot, &message)? {
                        Some(body) => StoredBody::Message { flags, body },
                        None if self.is_first(id, &message) => {
                            // A loss of power took the body; nobody was told it would survive that.
                            tracing::warn!("a message was lost with the last loss of power");
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
        let index = self.index.lock();
        let first = index.key(id).and_then(|key| index.first(key));
        first.is_some_and(|first| first.id == *message)
    }

    /// Deletes the first message if this is its id; says whether it was.
    fn acknowledge_now(&self, id: &QueueId, message: &MessageId) -> Result<bool, StoreError> {
        let mut database = self.writer.lock();
        let (key, number) = {
            let index = self.index.lock();
            let key = index.key(id);
            let first = key.and_then(|key| Some((key, index.first(key)?)));
            match first.filter(|(_, first)| first.id == *message) {
                Some((key, first)) => (key, first.number),
                None => return Ok(false),
            }
        };
        database.delete_message(key, number)?;
        let popped = self.index.lock().pop(key);
        self.bodies.release(popped.iter().filter_map(slot_of));
        Ok(true)
    }

    fn expire_messages_now(
        &self,
        before: u64,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<usize>, StoreError> {
        let (keys, next) = self.index.lock().step(from, limit);
        let mut expired = 0;
        for key in keys {
            while self.expire_first(key, before)? {
                expired += 1;
            }
        }
        Ok(Expired { expired, next })
    }

    fn expire_first(&self, key: Key, before: u64) -> Result<bool, StoreError> {
        let old = |index: &Index<Slot>| {
            let first = index.first(key).filter(|first| first.timestamp < before);
            first.map(|first| first.number)
        };
        // Most queues have nothing to expire; the writer goes on with its work meanwhile.
        if old(&self.index.lock()).is_none() {
            return Ok(false);
        }
        let mut database = self.writer.lock();
        let Some(number) = old(&self.index.lock()) else {
            return Ok(false);
        };
        database.delete_message(key, number)?;
        let popped = self.index.lock().pop(key);
        self.bodies.release(popped.iter().filter_map(slot_of));
        Ok(true)
    }

    fn expire_queues_now(
        &self,
        before: u32,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<Vec<Arc<QueueRecord>>>, StoreError> {
        let (unused, next) = {
            let index = self.index.lock();
            let (keys, next) = index.step(from, limit);
            let records = keys.into_iter().filter_map(|key| index.record(key));
            let unused = records.filter(|record| record.used_on < before);
            (
                unused.map(|record| record.recipient_id).collect::<Vec<_>>(),
                next,
            )
        };
        let mut expired = Vec::new();
        for id in unused {
            expired.extend(self.delete_now(&id)?);
        }
        Ok(Expired { expired, next })
    }
}

impl Store for DiskStore {
    async fn create(&self, record: QueueRecord, link: Option<LinkData>) -> Result<(), CreateError> {
        self.create_now(record, link.as_ref())?;
        Ok(self.settled().await?)
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        Ok(self.index.lock().find(lookup))
    }

    async fn update(&self, id: &QueueId, change: QueueChange) -> Result<Updated, StoreError> {
        let updated = self.update_now(id, &change)?;
        self.settled().await?;
        Ok(updated)
    }

    async fn link_data(&self, id: &QueueId) -> Result<Option<LinkData>, StoreError> {
        let key = self.index.lock().key(id);
        key.map_or(Ok(None), |key| self.writer.lock().link(key))
    }

    async fn delete(&self, id: &QueueId) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        let deleted = self.delete_now(id)?;
        self.settled().await?;
        Ok(deleted)
    }

    async fn push(
        &self,
        id: &QueueId,
        message: StoredMessage,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        let pushed = self.push_now(id, &message, quota)?;
        self.settled().await?;
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
        let index = self.index.lock();
        Ok(index.key(id).map_or(0, |key| index.length(key)))
    }

    async fn expire_messages(
        &self,
        before: u64,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<usize>, StoreError> {
        self.expire_messages_now(before, from, limit)
    }

    async fn expire_queues(
        &self,
        before: u32,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<Vec<Arc<QueueRecord>>>, StoreError> {
        self.expire_queues_now(before, from, limit)
    }

    async fn service(
        &self,
        fingerprint: &Fingerprint,
        role: ServiceRole,
    ) -> Result<QueueId, StoreError> {
        let id = self.writer.lock().service(fingerprint.as_bytes(), role)?;
        self.settled().await?;
        Ok(id)
    }

    async fn service_totals(
        &self,
        service: &QueueId,
        kind: ServiceKind,
    ) -> Result<(i64, IdsHash), StoreError> {
        Ok(self.index.lock().totals(*service, kind))
    }

    async fn service_queues(
        &self,
        service: &QueueId,
        kind: ServiceKind,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(self.index.lock().page(*service, kind, from, limit))
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let index = self.index.lock();
        Ok(Counts {
            queues: index.queues(),
            messages: index.messages(),
        })
    }

    async fn compact(&self) -> Result<(), StoreError> {
        let commit = self.syncer.committed();
        self.syncer.synced(commit).await?;
        self.writer.lock().truncate_log()?;
        Ok(self.bodies.compact()?)
    }

    async fn close(&self) -> Result<(), StoreError> {
        let commit = self.syncer.committed();
        self.syncer.synced(commit).await?;
        self.writer.lock().truncate_log()
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
