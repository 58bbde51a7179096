//! Expiry, in steps that hold up nobody for long.

use std::sync::Arc;

use super::DiskStore;
use crate::store::index::Key;
use crate::store::record::Packed;
use crate::store::{Cursor, Expired, QueueRecord, StoreError};

/// Queues of which one step of expiry deletes something, at most.
const EXPIRED_IN_STEP: usize = 100;

impl DiskStore {
    pub(super) fn expire_messages_now(
        &self,
        before: u64,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<usize>, StoreError> {
        let (keys, mut next) = self.shared.index.read().step(from, limit);
        let (mut expired, mut queues) = (0, 0);
        for key in keys {
            let deleted = self.expire_waiting(key, before)?;
            expired += deleted;
            queues += usize::from(deleted > 0);
            if queues == EXPIRED_IN_STEP {
                next = Some(Cursor(key as usize + 1));
                break;
            }
        }
        Ok(Expired { expired, next })
    }

    /// Deletes a queue's first messages as far as they are old.
    fn expire_waiting(&self, key: Key, before: u64) -> Result<usize, StoreError> {
        // Most queues have nothing to expire; the writer goes on with its work meanwhile.
        if self.shared.index.read().old(key, before).is_none() {
            return Ok(0);
        }
        let mut database = self.shared.writer.lock();
        let Some((count, last)) = self.shared.index.read().old(key, before) else {
            return Ok(0);
        };
        database.delete_messages(key, last)?;
        let mut index = self.shared.index.write();
        let popped: Vec<_> = (0..count).filter_map(|_| index.pop(key)).collect();
        self.release(popped.iter());
        Ok(popped.len())
    }

    pub(super) fn expire_queues_now(
        &self,
        before: u32,
        from: Cursor,
        limit: usize,
    ) -> Result<Expired<Vec<Arc<QueueRecord>>>, StoreError> {
        let (unused, next) = {
            let index = self.shared.index.read();
            let (keys, mut next) = index.step(from, limit);
            let mut unused = Vec::new();
            for key in keys {
                let record = index.packed(key).filter(|record| record.used_on() < before);
                unused.extend(record.map(Packed::recipient_id));
                if unused.len() == EXPIRED_IN_STEP {
                    next = Some(Cursor(key as usize + 1));
                    break;
                }
            }
            (unused, next)
        };
        let mut expired = Vec::new();
        for id in unused {
            expired.extend(self.delete_unless(&id, |record| record.used_on() >= before)?);
        }
        Ok(Expired { expired, next })
    }
}
