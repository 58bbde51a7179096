//! Messages, their order and their acknowledgement.

use smp_protocol::MessageFlags;
use smp_server::store::{Acknowledged, Pushed, QueueId, Store, StoredBody, StoredMessage};

use crate::support::{
    LONGEST, QUOTA, created, drained, message, message_id, message_of, noise, numbers,
};

rules! {
    the_first_message_of_a_queue_is_the_first,
    later_messages_are_behind_it,
    a_message_after_all_were_acknowledged_is_the_first_again,
    a_missing_queue_takes_no_message,
    an_empty_queue_has_no_first_message,
    the_first_message_stays_until_it_is_acknowledged,
    messages_come_in_the_order_in_which_they_went,
    a_message_comes_back_as_it_was,
    bodies_of_every_length_come_back,
    an_acknowledgement_gives_the_next_message,
    the_last_acknowledgement_gives_none,
    only_the_first_message_can_be_acknowledged,
    a_message_can_be_acknowledged_once,
    nothing_is_acknowledged_in_a_missing_or_empty_queue,
    queues_keep_their_messages_apart,
}

async fn push(store: &impl Store, id: &QueueId, number: u64) -> Pushed {
    store.push(id, message(number), QUOTA).await.unwrap()
}

async fn acknowledge(store: &impl Store, id: &QueueId, number: u64) -> Acknowledged {
    store.acknowledge(id, &message_id(number)).await.unwrap()
}

async fn the_first_message_of_a_queue_is_the_first(store: &impl Store) {
    let id = created(store).await.recipient_id;
    assert_eq!(push(store, &id, 1).await, Pushed::First);
    assert_eq!(store.length(&id).await.unwrap(), 1);
}

async fn later_messages_are_behind_it(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    assert_eq!(push(store, &id, 2).await, Pushed::Queued);
    assert_eq!(push(store, &id, 3).await, Pushed::Queued);
    assert_eq!(store.length(&id).await.unwrap(), 3);
}

async fn a_message_after_all_were_acknowledged_is_the_first_again(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    acknowledge(store, &id, 1).await;
    assert_eq!(push(store, &id, 2).await, Pushed::First);
}

async fn a_missing_queue_takes_no_message(store: &impl Store) {
    // A sender's id is none of a recipient's.
    let id = created(store).await.sender_id;
    assert_eq!(push(store, &id, 1).await, Pushed::Gone);
    assert_eq!(store.counts().await.unwrap().messages, 0);
}

async fn an_empty_queue_has_no_first_message(store: &impl Store) {
    let id = created(store).await.recipient_id;
    assert!(store.first(&id).await.unwrap().is_none());
    assert!(store.first(&QueueId::random()).await.unwrap().is_none());
    assert_eq!(store.length(&id).await.unwrap(), 0);
}

async fn the_first_message_stays_until_it_is_acknowledged(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    push(store, &id, 2).await;
    for _ in 0..2 {
        assert!(store.first(&id).await.unwrap() == Some(message(1)));
    }
    assert_eq!(store.length(&id).await.unwrap(), 2);
}

async fn messages_come_in_the_order_in_which_they_went(store: &impl Store) {
    let id = created(store).await.recipient_id;
    // Neither ids nor times say anything about the order.
    let order = [5, 3, 9, 1, 7];
    for number in order {
        push(store, &id, number).await;
    }
    assert_eq!(numbers(&drained(store, &id).await), order);
}

async fn a_message_comes_back_as_it_was(store: &impl Store) {
    let id = created(store).await.recipient_id;
    for notification in [true, false] {
        let sent = StoredMessage {
            id: message_id(77),
            timestamp: u64::from(u32::MAX) + 5,
            body: StoredBody::Message {
                flags: MessageFlags { notification },
                body: b"body".to_vec(),
            },
        };
        store.push(&id, sent.clone(), QUOTA).await.unwrap();
        assert!(drained(store, &id).await == [sent]);
    }
}

async fn bodies_of_every_length_come_back(store: &impl Store) {
    let id = created(store).await.recipient_id;
    let lengths = [
        0, 1, 255, 256, 4_095, 4_096, 16_000, 16_048, 16_064, LONGEST,
    ];
    let sent = lengths.map(|length| message_of(length as u64, &noise(length as u64, length)));
    for message in &sent {
        store.push(&id, message.clone(), QUOTA).await.unwrap();
    }
    assert!(drained(store, &id).await == sent);
    // A short body in the place of a long one has nothing of it.
    for message in sent.iter().rev() {
        store.push(&id, message.clone(), QUOTA).await.unwrap();
        assert!(drained(store, &id).await == [message.clone()]);
    }
}

async fn an_acknowledgement_gives_the_next_message(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    push(store, &id, 2).await;
    let done = acknowledge(store, &id, 1).await;
    assert!(matches!(done, Acknowledged::Done { next } if next == Some(message(2))));
    assert!(store.first(&id).await.unwrap() == Some(message(2)));
    assert_eq!(store.length(&id).await.unwrap(), 1);
}

async fn the_last_acknowledgement_gives_none(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    let done = acknowledge(store, &id, 1).await;
    assert!(matches!(done, Acknowledged::Done { next: None }));
    assert!(store.first(&id).await.unwrap().is_none());
}

async fn only_the_first_message_can_be_acknowledged(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    push(store, &id, 2).await;
    for other in [2, 3] {
        assert!(matches!(
            acknowledge(store, &id, other).await,
            Acknowledged::NotFirst
        ));
    }
    assert_eq!(numbers(&drained(store, &id).await), [1, 2]);
}

async fn a_message_can_be_acknowledged_once(store: &impl Store) {
    let id = created(store).await.recipient_id;
    push(store, &id, 1).await;
    push(store, &id, 2).await;
    acknowledge(store, &id, 1).await;
    assert!(matches!(
        acknowledge(store, &id, 1).await,
        Acknowledged::NotFirst
    ));
    assert_eq!(numbers(&drained(store, &id).await), [2]);
}

async fn nothing_is_acknowledged_in_a_missing_or_empty_queue(store: &impl Store) {
    let id = created(store).await.recipient_id;
    for id in [id, QueueId::random()] {
        assert!(matches!(
            acknowledge(store, &id, 1).await,
            Acknowledged::NotFirst
        ));
    }
}

async fn queues_keep_their_messages_apart(store: &impl Store) {
    let (one, other) = (
        created(store).await.recipient_id,
        created(store).await.recipient_id,
    );
    // The same message in both: what is done to one of them is not done to the other.
    for number in [1, 2] {
        push(store, &one, number).await;
        push(store, &other, number).await;
    }
    acknowledge(store, &one, 1).await;
    assert_eq!(numbers(&drained(store, &one).await), [2]);
    assert_eq!(numbers(&drained(store, &other).await), [1, 2]);
}
