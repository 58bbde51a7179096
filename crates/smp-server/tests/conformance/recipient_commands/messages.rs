//! "Get message command" and "Acknowledge message delivery".

use crate::prelude::*;

/// GET of a queue.
async fn get(client: &mut Client, queue: &Queue) -> Response {
    client.manage(queue, Command::Get).await
}

#[tokio::test(start_paused = true)]
async fn get_message_answers_with_the_first_message() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    assert_eq!(queue.open(&get(&mut client, &queue).await).body, b"one");
}

#[tokio::test(start_paused = true)]
async fn get_message_from_an_empty_queue_is_ok() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(get(&mut client, &queue).await, OK);
}

#[tokio::test(start_paused = true)]
async fn get_message_is_no_subscription() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(get(&mut client, &queue).await, OK);
    post(&mut client, &queue, b"hello").await;
    assert!(client.silent().await);
    let message = queue.open(&get(&mut client, &queue).await);
    assert_eq!(message.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn get_message_gives_the_same_until_it_is_acknowledged() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = queue.open(&get(&mut client, &queue).await);
    assert_eq!(queue.open(&get(&mut client, &queue).await), first);
    assert_eq!(
        client.ack(&queue, &first).await,
        OK,
        "GET brings one message, not the next"
    );
    let second = queue.open(&get(&mut client, &queue).await);
    assert_eq!(second.body, b"two");
    assert_eq!(client.ack(&queue, &second).await, OK);
    assert_eq!(get(&mut client, &queue).await, OK);
}

#[tokio::test(start_paused = true)]
async fn get_message_after_sub_is_prohibited() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(get(&mut client, &queue).await, PROHIBITED);
    let created = create(&mut client, MESSAGING).await;
    assert_eq!(
        get(&mut client, &created).await,
        PROHIBITED,
        "NEW subscribed to it"
    );
    post(&mut client, &queue, b"hello").await;
    assert_eq!(
        client.message(&queue).await.body,
        b"hello",
        "the subscription is still there"
    );
}

#[tokio::test(start_paused = true)]
async fn get_message_makes_sub_prohibited_in_its_connection() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(get(&mut client, &queue).await, OK);
    assert_eq!(client.manage(&queue, Command::Sub).await, PROHIBITED);
    post(&mut client, &queue, b"hello").await;
    let message = queue.open(&get(&mut client, &queue).await);
    assert_eq!(client.manage(&queue, Command::Sub).await, PROHIBITED);
    assert_eq!(client.ack(&queue, &message).await, OK);
    assert_eq!(client.manage(&queue, Command::Sub).await, PROHIBITED);
    let mut other = relay.client().await;
    assert_eq!(
        other.manage(&queue, Command::Sub).await,
        SOK,
        "another connection may"
    );
}

#[tokio::test(start_paused = true)]
async fn get_message_leaves_the_subscription_of_another_connection() {
    let relay = relay();
    let (mut subscriber, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut subscriber, MESSAGING).await;
    post(&mut other, &queue, b"one").await;
    let first = subscriber.message(&queue).await;
    assert_eq!(queue.open(&get(&mut other, &queue).await), first);
    assert!(subscriber.silent().await, "no END");
    // Both may acknowledge: the second finds it done.
    assert_eq!(other.ack(&queue, &first).await, OK);
    assert_eq!(subscriber.ack(&queue, &first).await, OK);
    post(&mut other, &queue, b"two").await;
    assert_eq!(subscriber.message(&queue).await.body, b"two");
}

#[tokio::test(start_paused = true)]
async fn get_message_of_a_suspended_queue_still_gives_what_waits() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    assert_eq!(client.manage(&queue, Command::Off).await, OK);
    assert_eq!(queue.open(&get(&mut client, &queue).await).body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn acknowledge_deletes_the_message_and_answers_with_the_next() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for body in [b"one", b"two"] {
        post(&mut client, &queue, body).await;
    }
    let first = client.message(&queue).await;
    let second = queue.open(&client.ack(&queue, &first).await);
    assert_eq!(second.body, b"two");
    assert_ne!(second.id, first.id);
    let mut other = relay.client().await;
    assert_eq!(other.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(
        other.message(&queue).await,
        second,
        "the first is gone for everyone"
    );
}

#[tokio::test(start_paused = true)]
async fn acknowledge_the_last_message_is_answered_by_ok() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    let message = client.message(&queue).await;
    assert_eq!(client.ack(&queue, &message).await, OK);
    let mut other = relay.client().await;
    assert_eq!(other.manage(&queue, Command::Sub).await, SOK);
    assert!(other.silent().await);
}

#[tokio::test(start_paused = true)]
async fn acknowledge_with_another_id_is_no_msg_and_deletes_nothing() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    let message = client.message(&queue).await;
    let other = MessageId::generate(&mut client.rng);
    assert_eq!(client.manage(&queue, Command::Ack(other)).await, NO_MSG);
    assert_eq!(client.ack(&queue, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn acknowledge_twice_is_no_msg_and_loses_nothing() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = client.message(&queue).await;
    let second = queue.open(&client.ack(&queue, &first).await);
    assert_eq!(client.ack(&queue, &first).await, NO_MSG);
    assert_eq!(client.ack(&queue, &second).await, OK);
    assert_eq!(client.ack(&queue, &second).await, NO_MSG);
}

#[tokio::test(start_paused = true)]
async fn acknowledge_what_was_not_delivered_is_no_msg() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let id = MessageId::generate(&mut client.rng);
    assert_eq!(client.manage(&queue, Command::Ack(id)).await, NO_MSG);
}

#[tokio::test(start_paused = true)]
async fn acknowledge_in_a_connection_without_subscription_is_no_msg() {
    let relay = relay();
    let (mut client, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    let message = client.message(&queue).await;
    // The text has PROHIBITED here as well; NO_MSG is what clients take for done.
    assert_eq!(other.ack(&queue, &message).await, NO_MSG);
    assert_eq!(client.ack(&queue, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn acknowledge_without_a_whole_id_is_syntax() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for command in [&b"ACK"[..], b"ACK ", b"ACK \x03abc", b"ACK \x18abc"] {
        let answer = client
            .run_bytes(queue.recipient(), Some(&queue.key), command)
            .await;
        assert_eq!(answer, SYNTAX);
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledge_by_the_former_subscriber_does_not_bring_it_the_next() {
    let relay = relay();
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let queue = create(&mut first, MESSAGING).await;
    post(&mut second, &queue, b"one").await;
    post(&mut second, &queue, b"two").await;
    let message = first.message(&queue).await;
    let ids = [first.corr_id(), second.corr_id()];
    let entity = queue.recipient().into();
    let ack = first.transmission(
        &ids[0],
        &entity,
        Some(&queue.key),
        &Command::Ack(message.id),
    );
    let sub = second.transmission(&ids[1], &entity, Some(&queue.key), &Command::Sub);
    // END is not with the first yet when it acknowledges.
    second.send(&[sub]).await;
    first.send(&[ack]).await;
    assert_eq!(second.answer(&ids[1]).await, SOK);
    assert_eq!(first.answer(&ids[0]).await, OK);
    assert_eq!(first.event().await.1, Response::End);
    let mut next = second.message(&queue).await;
    if next.body == b"one" {
        next = queue.open(&second.ack(&queue, &next).await);
    }
    assert_eq!(next.body, b"two");
    assert!(first.silent().await);
}

#[tokio::test(start_paused = true)]
async fn acknowledge_a_message_that_expired_brings_the_next() {
    let relay = relay_with("[messages]\nexpire_days = 1");
    let upkeep = std::sync::Arc::clone(&relay.relay).upkeep(relay.stop.clone());
    tokio::spawn(upkeep);
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"old").await;
    let old = client.message(&queue).await;
    tokio::time::sleep(std::time::Duration::from_secs(26 * 3600)).await;
    post(&mut client, &queue, b"new").await;
    assert_eq!(queue.open(&client.ack(&queue, &old).await).body, b"new");
}

#[tokio::test(start_paused = true)]
async fn acknowledge_is_not_waited_for_longer_than_messages_are_kept() {
    let relay = relay_with("[messages]\nexpire_days = 1");
    let upkeep = std::sync::Arc::clone(&relay.relay).upkeep(relay.stop.clone());
    tokio::spawn(upkeep);
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"old").await;
    tokio::time::sleep(std::time::Duration::from_secs(12 * 3600)).await;
    post(&mut relay.client().await, &queue, b"new").await;
    tokio::time::sleep(std::time::Duration::from_secs(14 * 3600)).await;
    let mut client = relay.client().await;
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(client.message(&queue).await.body, b"new");
}
