//! What a message costs in the store, beside writing the same bytes to a file.

#![allow(missing_docs, clippy::expect_used)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smp_protocol::{AuthPublicKey, MessageFlags, MessageId, QueueMode};
use smp_server::store::{
    DiskStore, Durability, MemoryStore, Pushed, QueueId, QueueRecord, QueueStatus, Store,
    StoredBody, StoredMessage,
};
use tokio::runtime::Runtime;

/// The longest body of SEND today.
const BODY: usize = 16_048;

/// Messages that wait in other queues meanwhile.
const WAITING: usize = 10_000;

const QUEUES: usize = 10_000;

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn queue() -> QueueRecord {
    QueueRecord {
        recipient_id: QueueId::random(),
        sender_id: QueueId::random(),
        recipient_keys: vec![AuthPublicKey::Ed25519([1; 32])],
        delivery_key: [2; 32],
        sender_key: Some(AuthPublicKey::X25519([3; 32])),
        mode: Some(QueueMode::Messaging),
        status: QueueStatus::Active,
        notifier: None,
        link_id: None,
        service: None,
        used_on: 20_000,
    }
}

fn message() -> StoredMessage {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut id = [5; 24];
    id[..8].copy_from_slice(&number.to_be_bytes());
    StoredMessage {
        id: MessageId(id),
        timestamp: 1,
        body: StoredBody::Message {
            flags: MessageFlags::default(),
            body: vec![number as u8; BODY],
        },
    }
}

async fn filled<S: Store>(store: &S) -> Vec<QueueId> {
    let mut ids = Vec::new();
    for _ in 0..QUEUES {
        let record = queue();
        ids.push(record.recipient_id);
        store.create(record, None).await.expect("a queue");
    }
    for at in 0..WAITING {
        let other = &ids[QUEUES / 2 + at % (QUEUES / 2)];
        store.push(other, message(), u32::MAX).await.expect("room");
    }
    ids.truncate(QUEUES / 2);
    ids
}

/// A message comes, is read for delivery and acknowledged.
async fn cycle<S: Store>(store: &S, queue: &QueueId) {
    let message = message();
    let id = message.id;
    let pushed = store.push(queue, message, 128).await.expect("room");
    assert_eq!(pushed, Pushed::First);
    black_box(store.first(queue).await.expect("a message"));
    black_box(store.acknowledge(queue, &id).await.expect("the first"));
}

fn engine<S: Store>(criterion: &mut Criterion, runtime: &Runtime, name: &str, store: &S) {
    let queues = runtime.block_on(filled(store));
    let mut at = 0;
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Bytes(BODY as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            at = (at + 7919) % queues.len();
            runtime.block_on(cycle(store, &queues[at]));
        });
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let disk = DiskStore::open(folder.path(), Durability::Process).expect("a store");
    engine(criterion, &runtime, "disk: push, first, acknowledge", &disk);
    engine(
        criterion,
        &runtime,
        "memory: push, first, acknowledge",
        &MemoryStore::new(),
    );
    raw(criterion, &folder.path().join("raw"));
}

/// The same bytes written and read, without a store.
fn raw(criterion: &mut Criterion, path: &std::path::Path) {
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Bytes(BODY as u64));
    group.bench_function("raw file: write, read", |bencher| {
        bencher.iter(|| {
            let StoredBody::Message { body, .. } = message().body else {
                return;
            };
            file.write_all_at(&body, 0).expect("room");
            let mut read = vec![0; BODY];
            file.read_exact_at(&mut read, 0).expect("bytes");
            black_box(read);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(std::time::Duration::from_secs(1))
        .measurement_time(std::time::Duration::from_secs(3));
    targets = messages
}
criterion_main!(benches);
