//! How many messages a queue takes, and the marker behind them.

use smp_server::store::{Acknowledged, Pushed, QueueId, Store, StoredBody, StoredMessage};

use crate::support::{created, drained, message, message_id, numbers};

rules! {
    a_full_queue_refuses_a_message,
    the_first_refused_message_leaves_the_marker,
    later_refused_messages_leave_nothing,
    an_acknowledged_message_makes_no_room_in_a_full_queue,
    a_full_queue_refuses_until_the_marker_is_acknowledged,
    an_emptied_queue_takes_as_many_again,
    a_queue_that_was_never_refused_takes_more_after_an_acknowledgement,
    a_quota_of_one_takes_one,
    a_lowered_quota_keeps_what_is_there,
    a_raised_quota_does_not_open_a_full_queue,
    a_full_queue_does_not_fill_others,
}

async fn push(store: &impl Store, id: &QueueId, number: u64) -> Pushed {
    store.push(id, message(number), 3).await.unwrap()
}

/// A queue with three messages and the marker, which is the fourth.
async fn full(store: &impl Store) -> QueueId {
    let id = created(store).await.recipient_id;
    for number in 1..=3 {
        push(store, &id, number).await;
    }
    assert_eq!(push(store, &id, 4).await, Pushed::QuotaExceeded);
    id
}

async fn acknowledge(store: &impl Store, id: &QueueId, number: u64) {
    let done = store.acknowledge(id, &message_id(number)).await.unwrap();
    assert!(matches!(done, Acknowledged::Done { .. }));
}

async fn a_full_queue_refuses_a_message(store: &impl Store) {
    let id = created(store).await.recipient_id;
    let pushed = [
        push(store, &id, 1).await,
        push(store, &id, 2).await,
        push(store, &id, 3).await,
    ];
    assert_eq!(pushed, [Pushed::First, Pushed::Queued, Pushed::Queued]);
    assert_eq!(push(store, &id, 4).await, Pushed::QuotaExceeded);
}

async fn the_first_refused_message_leaves_the_marker(store: &impl Store) {
    let id = full(store).await;
    assert_eq!(store.length(&id).await.unwrap(), 4);
    let messages = drained(store, &id).await;
    let marker = StoredMessage {
        body: StoredBody::Quota,
        ..message(4)
    };
    assert!(messages == [message(1), message(2), message(3), marker]);
}

async fn later_refused_messages_leave_nothing(store: &impl Store) {
    let id = full(store).await;
    for number in 5..8 {
        assert_eq!(push(store, &id, number).await, Pushed::QuotaExceeded);
    }
    assert_eq!(store.length(&id).await.unwrap(), 4);
    assert_eq!(numbers(&drained(store, &id).await), [1, 2, 3, 4]);
}

async fn an_acknowledged_message_makes_no_room_in_a_full_queue(store: &impl Store) {
    let id = full(store).await;
    acknowledge(store, &id, 1).await;
    assert_eq!(push(store, &id, 5).await, Pushed::QuotaExceeded);
    assert_eq!(store.length(&id).await.unwrap(), 3);
}

async fn a_full_queue_refuses_until_the_marker_is_acknowledged(store: &impl Store) {
    let id = full(store).await;
    for number in 1..=3 {
        acknowledge(store, &id, number).await;
    }
    // The marker alone is there.
    assert_eq!(push(store, &id, 5).await, Pushed::QuotaExceeded);
    assert_eq!(store.length(&id).await.unwrap(), 1);
    acknowledge(store, &id, 4).await;
    assert_eq!(push(store, &id, 6).await, Pushed::First);
}

async fn an_emptied_queue_takes_as_many_again(store: &impl Store) {
    let id = full(store).await;
    drained(store, &id).await;
    for number in 11..=13 {
        assert_ne!(push(store, &id, number).await, Pushed::QuotaExceeded);
    }
    assert_eq!(push(store, &id, 14).await, Pushed::QuotaExceeded);
    assert_eq!(numbers(&drained(store, &id).await), [11, 12, 13, 14]);
}

async fn a_queue_that_was_never_refused_takes_more_after_an_acknowledgement(store: &impl Store) {
    let id = created(store).await.recipient_id;
    for number in 1..=3 {
        push(store, &id, number).await;
    }
    acknowledge(store, &id, 1).await;
    assert_eq!(push(store, &id, 4).await, Pushed::Queued);
    assert_eq!(numbers(&drained(store, &id).await), [2, 3, 4]);
}

async fn a_quota_of_one_takes_one(store: &impl Store) {
    let id = created(store).await.recipient_id;
    let push = async |number| store.push(&id, message(number), 1).await.unwrap();
    assert_eq!(push(1).await, Pushed::First);
    assert_eq!(push(2).await, Pushed::QuotaExceeded);
    assert_eq!(numbers(&drained(store, &id).await), [1, 2]);
}

async fn a_lowered_quota_keeps_what_is_there(store: &impl Store) {
    let id = created(store).await.recipient_id;
    for number in 1..=3 {
        push(store, &id, number).await;
    }
    assert_eq!(
        store.push(&id, message(4), 2).await.unwrap(),
        Pushed::QuotaExceeded
    );
    assert_eq!(numbers(&drained(store, &id).await), [1, 2, 3, 4]);
}

async fn a_raised_quota_does_not_open_a_full_queue(store: &impl Store) {
    let id = full(store).await;
    assert_eq!(
        store.push(&id, message(5), 100).await.unwrap(),
        Pushed::QuotaExceeded
    );
    assert_eq!(store.length(&id).await.unwrap(), 4);
}

async fn a_full_queue_does_not_fill_others(store: &impl Store) {
    full(store).await;
    let other = created(store).await.recipient_id;
    assert_eq!(push(store, &other, 1).await, Pushed::First);
}
