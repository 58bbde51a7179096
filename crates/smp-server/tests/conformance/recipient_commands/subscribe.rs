//! "Subscribe to queue" and "Subscription END notification".

use crate::prelude::*;

#[tokio::test(start_paused = true)]
async fn subscribe_is_answered_by_sok_when_nothing_waits() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_a_waiting_message_follows_the_answer() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    let corr_id = client.corr_id();
    let sub = client.transmission(
        &corr_id,
        &queue.recipient().into(),
        Some(&queue.key),
        &Command::Sub,
    );
    client.send(&[sub]).await;
    let answer = client.next().await;
    assert_eq!((answer.corr_id, answer.response), (Some(corr_id), SOK));
    let message = client.next().await;
    assert_eq!(message.corr_id, None);
    assert_eq!(message.entity, queue.recipient().into());
    assert_eq!(queue.open(&message.response).body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn subscribe_the_next_message_waits_for_the_acknowledgement() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    post(&mut sender, &queue, b"one").await;
    post(&mut sender, &queue, b"two").await;
    let first = recipient.message(&queue).await;
    assert_eq!(first.body, b"one");
    assert!(recipient.silent().await);
    let second = queue.open(&recipient.ack(&queue, &first).await);
    assert_eq!(second.body, b"two");
    assert_eq!(recipient.ack(&queue, &second).await, OK);
    post(&mut sender, &queue, b"three").await;
    assert_eq!(recipient.message(&queue).await.body, b"three");
}

#[tokio::test(start_paused = true)]
async fn subscribe_holds_until_the_connection_is_closed() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    drop(recipient);
    post(&mut sender, &queue, b"hello").await;
    let mut recipient = relay.client().await;
    assert!(
        recipient.silent().await,
        "a new connection has no subscription"
    );
    assert_eq!(recipient.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(recipient.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn subscribe_what_was_not_acknowledged_comes_again_in_the_next_connection() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    post(&mut sender, &queue, b"hello").await;
    let first = recipient.message(&queue).await;
    drop(recipient);
    let mut recipient = relay.client().await;
    assert_eq!(recipient.manage(&queue, Command::Sub).await, SOK);
    let again = recipient.message(&queue).await;
    assert_eq!(
        again, first,
        "with the same id, so that the client knows it"
    );
}

#[tokio::test(start_paused = true)]
async fn subscribe_in_another_connection_ends_the_first_subscription() {
    let relay = relay();
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let queue = create(&mut first, MESSAGING).await;
    assert_eq!(second.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(
        first.event().await,
        (queue.recipient().into(), Response::End)
    );
    post(&mut second, &queue, b"hello").await;
    assert_eq!(second.message(&queue).await.body, b"hello");
    assert!(first.silent().await, "no further messages after END");
}

#[tokio::test(start_paused = true)]
async fn subscribe_in_another_connection_brings_what_the_first_did_not_acknowledge() {
    let relay = relay();
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let queue = create(&mut first, MESSAGING).await;
    post(&mut second, &queue, b"hello").await;
    let message = first.message(&queue).await;
    assert_eq!(second.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(second.message(&queue).await, message);
    assert_eq!(first.event().await.1, Response::End);
    assert_eq!(
        first.ack(&queue, &message).await,
        NO_MSG,
        "it has no subscription any more"
    );
    assert_eq!(second.ack(&queue, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn subscribe_end_concerns_one_queue_alone() {
    let relay = relay();
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let taken = create(&mut first, MESSAGING).await;
    let kept = create(&mut first, MESSAGING).await;
    assert_eq!(second.manage(&taken, Command::Sub).await, SOK);
    assert_eq!(
        first.event().await,
        (taken.recipient().into(), Response::End)
    );
    post(&mut second, &kept, b"hello").await;
    assert_eq!(first.message(&kept).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn subscribe_back_and_forth_ends_each_in_turn() {
    let relay = relay();
    let (mut one, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut one, MESSAGING).await;
    for _ in 0..3 {
        assert_eq!(other.manage(&queue, Command::Sub).await, SOK);
        assert_eq!(one.event().await.1, Response::End);
        assert_eq!(one.manage(&queue, Command::Sub).await, SOK);
        assert_eq!(other.event().await.1, Response::End);
    }
    post(&mut other, &queue, b"hello").await;
    assert_eq!(one.message(&queue).await.body, b"hello");
    assert!(other.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_at_the_same_time_leaves_exactly_one_subscribed() {
    let relay = relay();
    let (mut one, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut one, MESSAGING).await;
    let ids = [one.corr_id(), other.corr_id()];
    let sub = |client: &mut Client, id: &CorrId| {
        client.transmission(
            id,
            &queue.recipient().into(),
            Some(&queue.key),
            &Command::Sub,
        )
    };
    let (first, second) = (sub(&mut other, &ids[1]), sub(&mut one, &ids[0]));
    // Neither waits: the END for the first is still on its way when that one subscribes again.
    other.send(&[first]).await;
    one.send(&[second]).await;
    assert_eq!(other.answer(&ids[1]).await, SOK);
    assert_eq!(one.answer(&ids[0]).await, SOK);
    post(&mut relay.client().await, &queue, b"hello").await;
    let mut listening = 0;
    for client in [&mut one, &mut other] {
        match client.event().await.1 {
            Response::End => assert!(client.silent().await, "nothing follows END"),
            message => {
                assert_eq!(queue.open(&message).body, b"hello");
                listening += 1;
            }
        }
    }
    assert_eq!(listening, 1);
}

#[tokio::test(start_paused = true)]
async fn subscribe_again_in_the_same_connection_redelivers_and_ends_nothing() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    let first = client.message(&queue).await;
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(client.message(&queue).await, first);
    assert!(client.silent().await);
    assert_eq!(client.ack(&queue, &first).await, OK);
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_again_keeps_the_delivered_message_acknowledgeable() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = client.message(&queue).await;
    let ids = [client.corr_id(), client.corr_id()];
    let entity = queue.recipient().into();
    let commands = [Command::Sub, Command::Ack(first.id)];
    let block: Vec<_> = (ids.iter().zip(&commands))
        .map(|(id, command)| client.transmission(id, &entity, Some(&queue.key), command))
        .collect();
    client.send(&block).await;
    assert_eq!(client.answer(&ids[0]).await, SOK);
    let second = queue.open(&client.answer(&ids[1]).await);
    assert_eq!(second.body, b"two");
    assert!(client.silent().await, "neither comes twice");
}

#[tokio::test(start_paused = true)]
async fn subscribe_one_connection_takes_messages_of_many_queues() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let mut queues = Vec::new();
    for _ in 0..30 {
        queues.push(create(&mut recipient, MESSAGING).await);
    }
    for (number, queue) in queues.iter().enumerate() {
        post(&mut sender, queue, &[number as u8]).await;
    }
    for (number, queue) in queues.iter().enumerate() {
        let message = recipient.message(queue).await;
        assert_eq!(message.body, [number as u8]);
        assert_eq!(recipient.ack(queue, &message).await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn subscribe_with_another_id_than_the_recipients_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(
        client
            .run(queue.sender(), Some(&queue.key), Command::Sub)
            .await,
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn subscribe_must_be_authorized() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(
        client.run(queue.recipient(), None, Command::Sub).await,
        NO_AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn subscribe_more_queues_than_a_connection_may_is_prohibited() {
    let relay = relay_with("[limits]\nsubscriptions = 2");
    let mut client = relay.client().await;
    let mut queues = Vec::new();
    for _ in 0..3 {
        queues.push(create_only(&mut client, MESSAGING).await);
    }
    assert_eq!(client.manage(&queues[0], Command::Sub).await, SOK);
    assert_eq!(client.manage(&queues[1], Command::Get).await, OK);
    assert_eq!(client.manage(&queues[2], Command::Sub).await, PROHIBITED);
    assert_eq!(client.manage(&queues[2], Command::Get).await, PROHIBITED);
    assert_eq!(
        client.manage(&queues[0], Command::Sub).await,
        SOK,
        "that one it has"
    );
    assert_eq!(client.manage(&queues[1], Command::Get).await, OK);
    let (key, dh) = (key_of(&mut client), DhPrivateKey::generate(&mut client.rng));
    let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
    assert_eq!(
        client.run(EntityId::EMPTY, Some(&key), new).await,
        PROHIBITED
    );
    let mut another = relay.client().await;
    assert_eq!(another.manage(&queues[2], Command::Sub).await, SOK);
}
