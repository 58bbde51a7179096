//! Compaction: what is left of deleted data leaves the disk, and free room goes back to it.

use parking_lot::MutexGuard;

use super::Shared;
use crate::store::StoreError;
use crate::store::index::Key;

/// Queues whose rows move in one step: commits wait for so much at most.
const QUEUES: Key = 200;

/// Pages that are given back in one step.
const PAGES: u32 = 200;

/// How far a compaction came.
pub(super) enum Compaction {
    /// Nothing is done yet.
    Begin,
    /// Rows move to fresh pages. If a former compaction was cut short, what it had moved by then
    /// moves once more.
    Rows { again: bool },
    /// Free pages are given back.
    Pages,
    /// Free slots become holes.
    Bodies,
}

impl Compaction {
    /// Does the next step, and says whether that was the last. What is left of deleted data is in
    /// the log alone then.
    pub(super) fn step(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        let mut writer = shared.writer.lock();
        *self = match *self {
            Self::Begin => Self::Rows {
                again: !writer.sides.is_even(),
            },
            Self::Rows { again } => {
                let all = shared.index.read().places();
                match (writer.move_rows(QUEUES, all)?, again) {
                    (false, _) => Self::Rows { again },
                    (true, true) => Self::Rows { again: false },
                    (true, false) => Self::Pages,
                }
            }
            Self::Pages if !writer.give_back_pages(PAGES)? => Self::Pages,
            Self::Pages => Self::Bodies,
            Self::Bodies => {
                drop(writer);
                shared.bodies.compact()?;
                return Ok(true);
            }
        };
        // Who waits comes first.
        MutexGuard::unlock_fair(writer);
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use smp_protocol::{AuthPublicKey, LinkData, MessageFlags, MessageId};

    use crate::store::disk::{DiskStore, Durability};
    use crate::store::{
        QueueChange, QueueId, QueueRecord, QueueStatus, Store, StoredBody, StoredMessage,
    };

    fn id(kind: u8, number: u8) -> QueueId {
        let mut id = [kind; 24];
        id[0] = number;
        QueueId(id)
    }

    fn open(folder: &Path) -> DiskStore {
        DiskStore::open(folder, Durability::Process).unwrap()
    }

    async fn make(store: &DiskStore, number: u8) {
        let record = QueueRecord {
            recipient_id: id(b'R', number),
            sender_id: id(b'S', number),
            recipient_keys: Vec::new(),
            delivery_key: [number; 32],
            sender_key: None,
            mode: None,
            status: QueueStatus::Active,
            notifier: None,
            link_id: Some(id(b'L', number)),
            service: None,
            used_on: 0,
        };
        let link = LinkData {
            fixed: vec![number],
            user: vec![number; 9000],
        };
        store.create(record, Some(link)).await.unwrap();
        for sent in 0..number % 3 {
            send(store, number, sent).await;
        }
    }

    async fn send(store: &DiskStore, number: u8, sent: u8) {
        let message = StoredMessage {
            id: MessageId([sent; 24]),
            timestamp: 0,
            body: StoredBody::Message {
                flags: MessageFlags::default(),
                body: vec![number, sent],
            },
        };
        store.push(&id(b'R', number), message, 10).await.unwrap();
    }

    /// What a queue holds: its sender's key, its link, and what its messages are.
    async fn read(store: &DiskStore, number: u8) -> Option<(Option<u8>, u8, Vec<u8>)> {
        let queue = id(b'R', number);
        let found = store.find(crate::store::Lookup::Recipient(queue)).await;
        let key = found.unwrap()?.sender_key.map(|key| match key {
            AuthPublicKey::Ed25519(bytes) | AuthPublicKey::X25519(bytes) => bytes[0],
        });
        let link = store.link_data(&queue).await.unwrap()?.user[0];
        let mut sent = Vec::new();
        let mut first = store.first(&queue).await.unwrap();
        while let Some(message) = first {
            sent.push(message.id.as_bytes()[0]);
            store.acknowledge(&queue, &message.id).await.unwrap();
            first = store.first(&queue).await.unwrap();
        }
        Some((key, link, sent))
    }

    /// Stops a compaction after each number of steps, changes queues on both sides of the border,
    /// and reads everything after the store was opened again.
    #[tokio::test]
    async fn queues_change_while_their_rows_move() {
        const QUEUES: u8 = 60;
        for steps in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            for number in 0..QUEUES {
                make(&store, number).await;
            }
            for _ in 0..steps {
                let mut writer = store.shared.writer.lock();
                let all = store.shared.index.read().places();
                writer.move_rows(10, all).unwrap();
            }
            for number in (0..QUEUES).step_by(7) {
                store.delete(&id(b'R', number)).await.unwrap();
            }
            for number in (1..QUEUES).step_by(7) {
                let change = QueueChange::SenderKey(AuthPublicKey::X25519([number; 32]));
                store.update(&id(b'R', number), change).await.unwrap();
                send(&store, number, 9).await;
            }
            for number in [100, 101, 102] {
                make(&store, number).await;
            }
            drop(store);
            let store = open(folder.path());
            for number in (0..QUEUES).chain(100..103) {
                let mut sent: Vec<u8> = (0..number % 3).collect();
                let changed = number < QUEUES && number % 7 == 1;
                sent.extend(changed.then_some(9));
                let expected = (changed.then_some(number), number, sent);
                let there = number >= QUEUES || number % 7 != 0;
                let read = read(&store, number).await;
                assert_eq!(read, there.then_some(expected), "{steps}, {number}");
            }
        }
    }

    #[tokio::test]
    async fn a_compaction_that_was_cut_short_is_done_again_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        for number in 0..40 {
            make(&store, number).await;
        }
        store.shared.writer.lock().move_rows(10, 40).unwrap();
        assert!(!store.shared.writer.lock().sides.is_even());
        drop(store);
        let store = open(folder.path());
        store.compact().await.unwrap();
        assert!(store.shared.writer.lock().sides.is_even());
        // Moved to the other side twice.
        assert_eq!(store.shared.writer.lock().sides.of(0), 0);
        let store = open_after(store, folder.path()).await;
        for number in 0..40 {
            assert!(read(&store, number).await.is_some());
        }
    }

    async fn open_after(store: DiskStore, folder: &Path) -> DiskStore {
        store.close().await.unwrap();
        drop(store);
        open(folder)
    }
}
