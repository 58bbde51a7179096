//! Many at a time: what one gets, no other gets, and nothing is lost between them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;

use smp_protocol::AuthPublicKey;
use smp_server::store::{
    Acknowledged, Counts, Pushed, QueueChange, QueueId, QueueRecord, Store, Updated,
};

use crate::support::{block_on, created, drained, message, message_id, message_of, noise, queue};

rules! {
    senders_at_the_same_time_lose_nothing,
    senders_at_the_same_time_keep_to_the_quota,
    one_of_many_acknowledgements_is_the_one,
    one_of_many_queues_with_an_id_is_made,
    one_of_many_senders_keys_is_set,
    who_reads_while_others_take_gets_whole_messages,
    queues_that_go_take_no_message_with_them,
}

/// Threads of a test.
const MANY: u64 = 4;

/// Runs the same on many threads at a time; what each of them gives.
fn many<T: Send>(work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    scope(|scope| {
        let work = &work;
        let threads = (0..MANY).map(|number| scope.spawn(move || work(number)));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

async fn senders_at_the_same_time_lose_nothing(store: &impl Store) {
    const EACH: u64 = 50;
    let id = created(store).await.recipient_id;
    let push = |number| block_on(store.push(&id, message(number), u32::MAX)).unwrap();
    let pushed = many(|sender| {
        let numbers = (0..EACH).map(|number| sender * EACH + number);
        numbers
            .map(push)
            .filter(|pushed| *pushed == Pushed::First)
            .count()
    });
    assert_eq!(pushed.iter().sum::<usize>(), 1);
    let mut next: Vec<u64> = (0..MANY).map(|sender| sender * EACH).collect();
    for taken in drained(store, &id).await {
        let number = taken.timestamp - 1_000;
        assert!(taken == message(number));
        // Each sender's messages are in its order.
        let next = &mut next[(number / EACH) as usize];
        assert_eq!(number, *next);
        *next += 1;
    }
    assert!((1..).zip(next).all(|(sender, next)| next == sender * EACH));
}

async fn senders_at_the_same_time_keep_to_the_quota(store: &impl Store) {
    const QUOTA: u32 = 10;
    for _ in 0..10 {
        let id = created(store).await.recipient_id;
        let push = |number| block_on(store.push(&id, message(number), QUOTA)).unwrap();
        let accepted = many(|sender| {
            let pushed = (0..10).map(|number| push(10 * sender + number));
            pushed
                .filter(|pushed| *pushed != Pushed::QuotaExceeded)
                .count()
        });
        assert_eq!(accepted.iter().sum::<usize>(), QUOTA as usize);
        assert_eq!(store.length(&id).await.unwrap(), QUOTA + 1);
    }
}

async fn one_of_many_acknowledgements_is_the_one(store: &impl Store) {
    let id = created(store).await.recipient_id;
    for number in 0..20 {
        store.push(&id, message(number), u32::MAX).await.unwrap();
        store
            .push(&id, message(100 + number), u32::MAX)
            .await
            .unwrap();
        let done = many(|_| {
            let acknowledged = block_on(store.acknowledge(&id, &message_id(number))).unwrap();
            matches!(acknowledged, Acknowledged::Done { .. })
        });
        assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
        assert_eq!(drained(store, &id).await.len(), 1);
    }
}

async fn one_of_many_queues_with_an_id_is_made(store: &impl Store) {
    for number in 1..=20 {
        let sender_id = QueueId::random();
        let made = many(|_| {
            let record = QueueRecord {
                sender_id,
                ..queue()
            };
            block_on(store.create(record, None)).is_ok()
        });
        assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
        assert_eq!(store.counts().await.unwrap().queues, number);
    }
}

async fn one_of_many_senders_keys_is_set(store: &impl Store) {
    for _ in 0..20 {
        let id = created(store).await.recipient_id;
        let set = many(|number| {
            let change = QueueChange::SenderKey(AuthPublicKey::Ed25519([number as u8; 32]));
            matches!(
                block_on(store.update(&id, change)).unwrap(),
                Updated::Done(_)
            )
        });
        assert_eq!(set.into_iter().filter(|set| *set).count(), 1);
    }
}

async fn who_reads_while_others_take_gets_whole_messages(store: &impl Store) {
    const MESSAGES: u64 = 300;
    let long = |number| message_of(number, &noise(number, 16_000));
    let ids = [
        created(store).await.recipient_id,
        created(store).await.recipient_id,
    ];
    let stop = AtomicBool::new(false);
    let read = AtomicU64::new(0);
    scope(|scope| {
        let (stop, read, ids) = (&stop, &read, &ids);
        for id in ids {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(first) = block_on(store.first(id)).unwrap() {
                        assert!(first == long(first.timestamp - 1_000));
                        read.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                block_on(store.compact()).unwrap();
            }
        });
        // The room of a taken message is soon another's, of the other queue.
        for number in 0..MESSAGES {
            let id = &ids[number as usize % 2];
            block_on(store.push(id, long(number), u32::MAX)).unwrap();
            block_on(store.acknowledge(id, &message_id(number))).unwrap();
        }
        // The readers shall have read something, however busy the machine is.
        block_on(store.push(&ids[0], long(0), u32::MAX)).unwrap();
        while read.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

async fn queues_that_go_take_no_message_with_them(store: &impl Store) {
    let stays = created(store).await.recipient_id;
    many(|number| {
        for round in 0..20 {
            let id = block_on(created(store)).recipient_id;
            block_on(store.push(&id, message(round), u32::MAX)).unwrap();
            block_on(store.push(&stays, message(20 * number + round), u32::MAX)).unwrap();
            block_on(store.delete(&id)).unwrap();
        }
    });
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 1,
            messages: 20 * MANY
        }
    );
    let mut taken: Vec<u64> = drained(store, &stays)
        .await
        .iter()
        .map(|message| message.timestamp - 1_000)
        .collect();
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..20 * MANY));
}
