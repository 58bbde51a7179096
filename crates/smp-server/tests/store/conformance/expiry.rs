//! Messages that nobody took and queues that nobody uses.

use std::sync::Arc;

use smp_server::store::{
    Counts, Lookup, Pushed, QueueChange, QueueId, QueueRecord, Store, StoredMessage,
};

use crate::support::{QUOTA, created, drained, link, message, notifier, numbers, queue, walk};

rules! {
    older_messages_expire_and_later_ones_stay,
    what_is_behind_an_expired_message_is_the_first,
    an_expired_message_can_not_be_acknowledged,
    an_expired_marker_opens_its_queue,
    a_marker_that_stays_keeps_its_queue_full,
    messages_expire_in_steps,
    messages_of_many_queues_expire,
    a_queue_that_expiry_emptied_takes_a_first_message,
    nothing_old_is_nothing_expired,
    unused_queues_expire_and_others_stay,
    a_used_queue_stays,
    queues_expire_in_steps,
    many_queues_expire,
    an_expired_queue_leaves_nothing,
    queues_that_come_and_go_between_steps_do_not_hide_others,
}

/// The time of the message `number`.
fn at(number: u64) -> u64 {
    message(number).timestamp
}

async fn filled(store: &impl Store, messages: u64) -> QueueId {
    let id = created(store).await.recipient_id;
    for number in 0..messages {
        store.push(&id, message(number), QUOTA).await.unwrap();
    }
    id
}

/// Expires messages in steps of `limit` queues; how many of each step.
async fn expire_messages(store: &impl Store, before: u64, limit: usize) -> Vec<usize> {
    walk(async |from| {
        let step = store.expire_messages(before, from, limit).await.unwrap();
        (step.expired, step.next)
    })
    .await
}

async fn expire_queues(store: &impl Store, before: u32, limit: usize) -> Vec<Vec<QueueId>> {
    walk(async |from| {
        let step = store.expire_queues(before, from, limit).await.unwrap();
        (
            step.expired
                .into_iter()
                .map(|record| record.recipient_id)
                .collect(),
            step.next,
        )
    })
    .await
}

async fn used_on(store: &impl Store, used_on: u32) -> QueueId {
    let record = QueueRecord { used_on, ..queue() };
    store.create(record.clone(), None).await.unwrap();
    record.recipient_id
}

async fn older_messages_expire_and_later_ones_stay(store: &impl Store) {
    let id = filled(store, 5).await;
    assert_eq!(expire_messages(store, at(3), 10).await, [3]);
    assert_eq!(store.length(&id).await.unwrap(), 2);
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 1,
            messages: 2
        }
    );
    assert_eq!(numbers(&drained(store, &id).await), [3, 4]);
}

async fn what_is_behind_an_expired_message_is_the_first(store: &impl Store) {
    let id = filled(store, 3).await;
    expire_messages(store, at(2), 10).await;
    assert!(store.first(&id).await.unwrap() == Some(message(2)));
}

async fn an_expired_message_can_not_be_acknowledged(store: &impl Store) {
    let id = filled(store, 2).await;
    expire_messages(store, at(1), 10).await;
    let acknowledged = store.acknowledge(&id, &message(0).id).await.unwrap();
    assert!(matches!(
        acknowledged,
        smp_server::store::Acknowledged::NotFirst
    ));
    assert_eq!(store.length(&id).await.unwrap(), 1);
}

async fn full(store: &impl Store) -> QueueId {
    let id = created(store).await.recipient_id;
    for number in 0..3 {
        store.push(&id, message(number), 2).await.unwrap();
    }
    id
}

async fn an_expired_marker_opens_its_queue(store: &impl Store) {
    let id = full(store).await;
    assert_eq!(expire_messages(store, at(3), 10).await, [3]);
    assert_eq!(store.push(&id, message(4), 2).await.unwrap(), Pushed::First);
}

async fn a_marker_that_stays_keeps_its_queue_full(store: &impl Store) {
    let id = full(store).await;
    assert_eq!(expire_messages(store, at(2), 10).await, [2]);
    assert_eq!(
        store.push(&id, message(4), 2).await.unwrap(),
        Pushed::QuotaExceeded
    );
    assert_eq!(numbers(&drained(store, &id).await), [2]);
}

async fn messages_expire_in_steps(store: &impl Store) {
    for limit in [1, 3, usize::MAX] {
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(filled(store, 3).await);
        }
        let steps = expire_messages(store, at(2), limit).await;
        assert!(
            steps
                .iter()
                .all(|expired| *expired <= limit.saturating_mul(2))
        );
        assert_eq!(steps.iter().sum::<usize>(), 14);
        for id in ids {
            assert_eq!(numbers(&drained(store, &id).await), [2]);
        }
    }
}

/// More than an engine may want to do in one step.
const MANY: usize = 250;

async fn messages_of_many_queues_expire(store: &impl Store) {
    for _ in 0..MANY {
        filled(store, 1).await;
    }
    let steps = expire_messages(store, u64::MAX, usize::MAX).await;
    assert_eq!(steps.iter().sum::<usize>(), MANY);
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: MANY as u64,
            messages: 0
        }
    );
}

async fn many_queues_expire(store: &impl Store) {
    for _ in 0..MANY {
        used_on(store, 10).await;
    }
    assert_eq!(
        expire_queues(store, 11, usize::MAX).await.concat().len(),
        MANY
    );
    assert_eq!(store.counts().await.unwrap(), Counts::default());
}

async fn a_queue_that_expiry_emptied_takes_a_first_message(store: &impl Store) {
    let id = filled(store, 2).await;
    expire_messages(store, u64::MAX, 10).await;
    assert!(store.first(&id).await.unwrap().is_none());
    assert_eq!(
        store.push(&id, message(9), QUOTA).await.unwrap(),
        Pushed::First
    );
    assert!(drained(store, &id).await == [message(9)]);
}

async fn nothing_old_is_nothing_expired(store: &impl Store) {
    assert_eq!(
        expire_messages(store, u64::MAX, 10)
            .await
            .iter()
            .sum::<usize>(),
        0
    );
    assert!(expire_queues(store, u32::MAX, 10).await.concat().is_empty());
    let id = filled(store, 2).await;
    assert_eq!(
        expire_messages(store, at(0), 10)
            .await
            .iter()
            .sum::<usize>(),
        0
    );
    assert!(
        expire_queues(store, queue().used_on, 10)
            .await
            .concat()
            .is_empty()
    );
    assert_eq!(numbers(&drained(store, &id).await), [0, 1]);
}

async fn unused_queues_expire_and_others_stay(store: &impl Store) {
    let days = [10, 11, 12, 13];
    let mut ids = Vec::new();
    for day in days {
        ids.push(used_on(store, day).await);
    }
    let mut expired = expire_queues(store, 12, 100).await.concat();
    expired.sort_unstable();
    let mut unused = ids[..2].to_vec();
    unused.sort_unstable();
    assert!(expired == unused);
    for (id, day) in ids.into_iter().zip(days) {
        let found = store.find(Lookup::Recipient(id)).await.unwrap();
        assert_eq!(found.is_some(), day >= 12);
    }
}

async fn a_used_queue_stays(store: &impl Store) {
    let id = used_on(store, 10).await;
    store.update(&id, QueueChange::UsedOn(12)).await.unwrap();
    assert!(expire_queues(store, 12, 100).await.concat().is_empty());
}

async fn queues_expire_in_steps(store: &impl Store) {
    for limit in [1, 3, usize::MAX] {
        let mut unused = Vec::new();
        for _ in 0..7 {
            unused.push(used_on(store, 10).await);
            used_on(store, 20).await;
        }
        let steps = expire_queues(store, 15, limit).await;
        assert!(steps.iter().all(|expired| expired.len() <= limit));
        let mut expired = steps.concat();
        expired.sort_unstable();
        unused.sort_unstable();
        assert!(expired == unused);
    }
}

async fn an_expired_queue_leaves_nothing(store: &impl Store) {
    let record = QueueRecord {
        notifier: Some(notifier()),
        link_id: Some(QueueId::random()),
        used_on: 1,
        ..queue()
    };
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    store
        .push(&record.recipient_id, message(1), QUOTA)
        .await
        .unwrap();
    let step = store
        .expire_queues(2, Default::default(), 10)
        .await
        .unwrap();
    assert!(step.expired.iter().map(Arc::as_ref).eq([&record]));
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    store.create(record.clone(), None).await.unwrap();
    assert!(
        store
            .link_data(&record.recipient_id)
            .await
            .unwrap()
            .is_none()
    );
    let messages: Vec<StoredMessage> = drained(store, &record.recipient_id).await;
    assert!(messages.is_empty());
}

async fn queues_that_come_and_go_between_steps_do_not_hide_others(store: &impl Store) {
    let mut unused = Vec::new();
    let mut go = Vec::new();
    for _ in 0..6 {
        unused.push(used_on(store, 10).await);
        go.push(used_on(store, 20).await);
    }
    let steps = walk(async |from| {
        let step = store.expire_queues(15, from, 2).await.unwrap();
        if let Some(id) = go.pop() {
            store.delete(&id).await.unwrap();
            used_on(store, 20).await;
        }
        (
            step.expired
                .into_iter()
                .map(|record| record.recipient_id)
                .collect::<Vec<_>>(),
            step.next,
        )
    });
    let expired = steps.await.concat();
    assert!(unused.iter().all(|id| expired.contains(id)));
}
