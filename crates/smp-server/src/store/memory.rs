//! Queues and messages in memory alone.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use smp_protocol::{Fingerprint, IdsHash, LinkData, MessageId, ServiceRole};

use super::index::{Change, Content, Index, Key, Room, Waiter};
use super::record::Packed;
use super::{
    Acknowledged, Counts, CreateError, Cursor, Expired, Lookup, Page, Pushed, QueueChange, QueueId,
    QueueRecord, ServiceIds, ServiceKind, Store, StoreError, StoredBody, StoredMessage, Updated,
};

/// A store that a restart empties.
pub struct MemoryStore {
    state: Mutex<State>,
    services: ServiceIds,
}

struct State {
    index: Index<Vec<u8>>,
    links: HashMap<Key, LinkData>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let state = State {
            index: Index::new(),
            links: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            services: ServiceIds::random(),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn update(&mut self, id: &QueueId, change: QueueChange) -> Updated {
        let Some(key) = self.index.key(id) else {
            return Updated::Gone;
        };
        if let QueueChange::Link(Some((_, data))) = &change
            && self
                .links
                .get(&key)
                .is_some_and(|present| present.fixed != data.fixed)
        {
            return Updated::Refused;
        }
        let record = match self.index.change(key, &change) {
            None => return Updated::Gone,
            Some(Change::Refused) => return Updated::Refused,
            Some(Change::To(record)) => record,
        };
        match change {
            QueueChange::Link(Some((_, data))) => {
                self.links.insert(key, data);
            }
            QueueChange::Link(None) => {
                self.links.remove(&key);
            }
            _ => {}
        }
        self.index
            .replace(key, record)
            .map_or(Updated::Gone, Updated::Done)
    }

    fn delete(&mut self, id: &QueueId) -> Option<Arc<QueueRecord>> {
        let key = self.index.key(id)?;
        self.links.remove(&key);
        self.index.remove(key).map(|(record, _)| record)
    }

    fn push(&mut self, id: &QueueId, message: StoredMessage, quota: u32) -> Pushed {
        let Some(key) = self.index.key(id) else {
            return Pushed::Gone;
        };
        let StoredMessage {
            id,
            timestamp,
            body,
        } = message;
        let (number, content, pushed) = match self.index.room(key, quota) {
            Room::Yes { number, first } => {
                let content = match body {
                    StoredBody::Message { flags, body } => Content::Message { flags, body },
                    StoredBody::Quota => Content::Quota,
                };
                (
                    number,
                    content,
                    if first { Pushed::First } else { Pushed::Queued },
                )
            }
            Room::Mark { number } => (number, Content::Quota, Pushed::QuotaExceeded),
            Room::No => return Pushed::QuotaExceeded,
        };
        self.index.push(
            key,
            Waiter {
                id,
                timestamp,
                number,
                content,
            },
        );
        pushed
    }

    fn first(&self, id: &QueueId) -> Option<StoredMessage> {
        let first = self.index.first(self.index.key(id)?)?;
        let body = match &first.content {
            Content::Message { flags, body } => StoredBody::Message {
                flags: *flags,
                body: body.clone(),
            },
            Content::Quota => StoredBody::Quota,
        };
        Some(StoredMessage {
            id: first.id,
            timestamp: first.timestamp,
            body,
        })
    }

    fn acknowledge(&mut self, id: &QueueId, message: &MessageId) -> Acknowledged {
        let Some(key) = self.index.key(id) else {
            return Acknowledged::NotFirst;
        };
        if self
            .index
            .first(key)
            .is_none_or(|first| first.id != *message)
        {
            return Acknowledged::NotFirst;
        }
        self.index.pop(key);
        Acknowledged::Done {
            next: self.first(id),
        }
    }
}

impl Store for MemoryStore {
    async fn create(&self, record: QueueRecord, link: Option<LinkData>) -> Result<(), CreateError> {
        let mut state = self.state.lock();
        if !state.index.is_free(&record) {
            return Err(CreateError::Taken);
        }
        let key = state.index.next_key();
        state.index.add(Packed::new(&record));
        if let Some(link) = link {
            state.links.insert(key, link);
        }
        Ok(())
    }

    async fn find(&self, lookup: Lookup) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        Ok(self.state.lock().index.find(lookup))
    }

    async fn update(&self, id: &QueueId, change: QueueChange) -> Result<Updated, StoreError> {
        Ok(self.state.lock().update(id, change))
    }

    async fn link_data(&self, id: &QueueId) -> Result<Option<LinkData>, StoreError> {
        let state = self.state.lock();
        Ok(state
            .index
            .key(id)
            .and_then(|key| state.links.get(&key))
            .cloned())
    }

    async fn delete(&self, id: &QueueId) -> Result<Option<Arc<QueueRecord>>, StoreError> {
        Ok(self.state.lock().delete(id))
    }

    async fn push(
        &self,
        id: &QueueId,
        message: StoredMessage,
        quota: u32,
    ) -> Result<Pushed, StoreError> {
        Ok(self.state.lock().push(id, message, quota))
    }

    async fn first(&self, id: &QueueId) -> Result<Option<StoredMessage>, StoreError> {
        Ok(self.state.lock().first(id))
    }

    async fn acknowledge(
        &self,
        id: &QueueId,
        message: &MessageId,
    ) -> Result<Acknowledged, StoreError> {
        Ok(self.state.lock().acknowledge(id, message))
    }

    async fn length(&self, id: &QueueId) -> Result<u32, StoreError> {
        let state = self.state.lock();
        Ok(state.index.key(id).map_or(0, |key| state.index.length(key)))
    }

    async fn expire_messages(
        &self,
        before: u64,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<usize>, StoreError> {
        let index = &mut self.state.lock().index;
        let (keys, next) = index.step(from, limit);
        let mut expired = 0;
        for key in keys {
            while index
                .first(key)
                .is_some_and(|first| first.timestamp < before)
            {
                index.pop(key);
                expired += 1;
            }
        }
        Ok(Expired { expired, next })
    }

    async fn expire_queues(
        &self,
        before: u32,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<Vec<Arc<QueueRecord>>>, StoreError> {
        let mut state = self.state.lock();
        let (keys, next) = state.index.step(from, limit);
        let mut expired = Vec::new();
        for key in keys {
            let record = state.index.packed(key);
            let unused = record.filter(|record| record.used_on() < before);
            if let Some(id) = unused.map(Packed::recipient_id) {
                expired.extend(state.delete(&id));
            }
        }
        Ok(Expired { expired, next })
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
        Ok(self.state.lock().index.totals(*service, kind))
    }

    async fn service_queues(
        &self,
        service: &QueueId,
        kind: ServiceKind,
        from: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(self.state.lock().index.page(*service, kind, from, limit))
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let index = &self.state.lock().index;
        Ok(Counts {
            queues: index.queues(),
            messages: index.messages(),
        })
    }

    async fn compact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
