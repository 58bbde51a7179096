//! What was deleted is gone from the disk after compaction, wherever SQLite moved it meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use smp_protocol::{AuthPublicKey, LinkData, MessageFlags, MessageId, QueueMode};
use smp_server::store::{
    DiskStore, Durability, NotifierRecord, QueueChange, QueueId, QueueRecord, QueueStatus, Store,
    StoredBody, StoredMessage,
};

fn disk(folder: &Path) -> DiskStore {
    DiskStore::open(folder, Durability::Process).unwrap()
}

/// Random bytes by which deleted data is known again.
type Mark = [u8; 16];

/// Makes marks and knows whose they are.
struct Marks {
    rng: StdRng,
}

impl Marks {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

/// A queue and every mark that is stored for it alone.
struct Marked {
    id: QueueId,
    marks: Vec<Mark>,
    messages: Vec<MessageId>,
    /// Of recipients' keys, which may change.
    keys: Vec<Mark>,
}

/// How often each of the marks stands in the folder's files.
fn count(folder: &Path, marks: &[Mark]) -> usize {
    let by_start: HashMap<[u8; 4], Vec<&Mark>> =
        marks.iter().fold(HashMap::new(), |mut all, mark| {
            let start = mark[..4].try_into().unwrap();
            all.entry(start).or_insert_with(Vec::new).push(mark);
            all
        });
    let mut first = [false; 256];
    by_start
        .keys()
        .for_each(|start| first[usize::from(start[0])] = true);
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for at in 0..bytes.len().saturating_sub(15) {
            // Holes are most of the bytes.
            if !first[usize::from(bytes[at])] || bytes[at..at + 4] == [0; 4] {
                continue;
            }
            if let Some(marks) = by_start.get(&bytes[at..at + 4]) {
                found += marks
                    .iter()
                    .filter(|mark| bytes[at..].starts_with(&mark[..]))
                    .count();
            }
        }
    }
    found
}

async fn make(store: &DiskStore, marks: &mut Marks) -> Marked {
    let (id, sender, link_id) = (
        marks.bytes::<24>(),
        marks.bytes::<24>(),
        marks.bytes::<24>(),
    );
    let (recipient_key, delivery_key) = (marks.bytes::<32>(), marks.bytes::<32>());
    let (fixed, user) = (marks.bytes::<64>(), marks.bytes::<1500>());
    let record = QueueRecord {
        recipient_id: QueueId(id),
        sender_id: QueueId(sender),
        recipient_keys: vec![AuthPublicKey::X25519(recipient_key)],
        delivery_key,
        sender_key: None,
        mode: Some(QueueMode::Messaging),
        status: QueueStatus::Active,
        notifier: None,
        link_id: Some(QueueId(link_id)),
        service: None,
        used_on: 1,
    };
    let link = LinkData {
        fixed: fixed.to_vec(),
        user: user.to_vec(),
    };
    store.create(record, Some(link)).await.unwrap();
    let parts: [&[u8]; 6] = [&id, &sender, &link_id, &delivery_key, &fixed, &user[1400..]];
    Marked {
        id: QueueId(id),
        marks: parts.map(|part| part[..16].try_into().unwrap()).to_vec(),
        messages: Vec::new(),
        keys: vec![recipient_key[..16].try_into().unwrap()],
    }
}

/// Records grow, so that they are moved from page to page.
async fn grow(store: &DiskStore, marks: &mut Marks, queue: &mut Marked) {
    let key = marks.bytes::<32>();
    let change = QueueChange::SenderKey(AuthPublicKey::Ed25519(key));
    store.update(&queue.id, change).await.unwrap();
    let notifier = NotifierRecord {
        id: QueueId(marks.bytes()),
        key: AuthPublicKey::X25519(marks.bytes()),
        secret: marks.bytes(),
        service: None,
    };
    queue
        .marks
        .push(notifier.id.as_bytes()[..16].try_into().unwrap());
    queue.marks.push(notifier.secret[..16].try_into().unwrap());
    queue.marks.push(key[..16].try_into().unwrap());
    store
        .update(&queue.id, QueueChange::Notifier(Some(notifier)))
        .await
        .unwrap();
}

async fn send(store: &DiskStore, marks: &mut Marks, queue: &mut Marked) {
    let (id, body) = (marks.bytes::<24>(), marks.bytes::<2000>());
    queue.marks.push(id[..16].try_into().unwrap());
    queue.marks.push(body[..16].try_into().unwrap());
    queue.marks.push(body[1984..].try_into().unwrap());
    queue.messages.push(MessageId(id));
    let message = StoredMessage {
        id: MessageId(id),
        timestamp: 1,
        body: StoredBody::Message {
            flags: MessageFlags { notification: true },
            body: body.to_vec(),
        },
    };
    store.push(&queue.id, message, 100).await.unwrap();
}

#[tokio::test]
async fn what_was_deleted_is_in_no_file_after_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let store = disk(folder.path());
    let mut marks = Marks {
        rng: StdRng::seed_from_u64(5),
    };
    let mut queues = Vec::new();
    for _ in 0..1500 {
        queues.push(make(&store, &mut marks).await);
    }
    for queue in &mut queues {
        if marks.rng.random_bool(0.6) {
            grow(&store, &mut marks, queue).await;
        }
        for _ in 0..marks.rng.random_range(0..3) {
            send(&store, &mut marks, queue).await;
        }
    }
    let mut gone = Vec::new();
    let mut kept = Vec::new();
    for queue in queues {
        if marks.rng.random_bool(0.5) {
            // Acknowledged first, as recipients do, or deleted with the queue.
            if marks.rng.random_bool(0.5) {
                for message in &queue.messages {
                    store.acknowledge(&queue.id, message).await.unwrap();
                }
            }
            store.delete(&queue.id).await.unwrap();
            gone.extend(queue.marks);
            gone.extend(queue.keys);
        } else {
            kept.push(queue);
        }
    }
    // Others come in their place.
    for _ in 0..300 {
        kept.push(make(&store, &mut marks).await);
    }
    let staying: Vec<Mark> = kept.iter().flat_map(|queue| queue.marks.clone()).collect();
    store.compact().await.unwrap();
    assert_eq!(count(folder.path(), &gone), 0, "of {}", gone.len());
    assert!(count(folder.path(), &staying) >= staying.len());
    store.close().await.unwrap();
    drop(store);
    let store = disk(folder.path());
    assert_eq!(store.counts().await.unwrap().queues, kept.len() as u64);
    for queue in &kept {
        let first = store.first(&queue.id).await.unwrap().map(|first| first.id);
        assert!(first.as_ref() == queue.messages.first());
        assert!(store.link_data(&queue.id).await.unwrap().is_some());
    }
}

/// Recipients' keys come and go, so that records grow and shrink.
async fn rekey(store: &DiskStore, marks: &mut Marks, queue: &mut Marked, gone: &mut Vec<Mark>) {
    let keys: Vec<[u8; 32]> = (0..marks.rng.random_range(1..20))
        .map(|_| marks.bytes())
        .collect();
    let change = keys.iter().map(|key| AuthPublicKey::X25519(*key)).collect();
    store
        .update(&queue.id, QueueChange::RecipientKeys(change))
        .await
        .unwrap();
    gone.append(&mut queue.keys);
    queue.keys = keys
        .iter()
        .map(|key| key[..16].try_into().unwrap())
        .collect();
}

#[tokio::test]
async fn what_moved_between_pages_is_in_no_file_after_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let store = disk(folder.path());
    let mut marks = Marks {
        rng: StdRng::seed_from_u64(
            std::env::var("STORE_SEED").map_or(1, |seed| seed.parse().unwrap()),
        ),
    };
    let (mut queues, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..6000 {
        let at = marks.rng.random_range(0..queues.len().max(1));
        match marks.rng.random_range(0..10) {
            0..3 => queues.push(make(&store, &mut marks).await),
            _ if queues.is_empty() => {}
            3 | 4 => {
                let queue: Marked = queues.swap_remove(at);
                store.delete(&queue.id).await.unwrap();
                gone.extend(queue.marks);
                gone.extend(queue.keys);
            }
            5..8 => rekey(&store, &mut marks, &mut queues[at], &mut gone).await,
            _ => send(&store, &mut marks, &mut queues[at]).await,
        }
    }
    store.compact().await.unwrap();
    assert_eq!(count(folder.path(), &gone), 0, "of {}", gone.len());
    let staying: Vec<Mark> = queues.iter().flat_map(|queue| queue.keys.clone()).collect();
    assert!(count(folder.path(), &staying) >= staying.len());
}

#[tokio::test]
async fn compaction_gives_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = disk(folder.path());
    let mut marks = Marks {
        rng: StdRng::seed_from_u64(6),
    };
    let mut queues = Vec::new();
    for _ in 0..300 {
        let mut queue = make(&store, &mut marks).await;
        send(&store, &mut marks, &mut queue).await;
        queues.push(queue);
    }
    store.compact().await.unwrap();
    let full = size(folder.path());
    for queue in &queues[1..] {
        store.delete(&queue.id).await.unwrap();
    }
    store.compact().await.unwrap();
    let empty = size(folder.path());
    assert!(empty < full / 10, "{full} bytes, then {empty}");
}

/// Bytes on the disk, without those that are kept for deletions.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_name() != "reserve");
    files
        .map(|file| file.metadata().unwrap().blocks() * 512)
        .sum()
}
