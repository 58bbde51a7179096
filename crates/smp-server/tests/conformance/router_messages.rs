//! "Correlating responses with commands", "Keep-alive command", "Deliver queue message" and the
//! texts of "Router messages".

use std::collections::HashSet;

use crate::prelude::*;

#[tokio::test(start_paused = true)]
async fn ping_is_answered_by_pong() {
    let relay = relay();
    let mut client = relay.client().await;
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Ping).await,
        Response::Pong
    );
}

#[tokio::test(start_paused = true)]
async fn ping_is_sent_unsigned_and_without_queue_id() {
    let relay = relay();
    let mut client = relay.client().await;
    let key = key_of(&mut client);
    let entity = EntityId::generate(&mut client.rng);
    assert_eq!(
        client.run(EntityId::EMPTY, Some(&key), Command::Ping).await,
        HAS_AUTH
    );
    assert_eq!(client.run(entity, None, Command::Ping).await, HAS_AUTH);
}

#[tokio::test(start_paused = true)]
async fn correlating_a_block_of_255_pings_is_answered_in_one_block_and_in_order() {
    let relay = relay();
    let mut client = relay.client().await;
    let ids: Vec<_> = (0..255).map(|_| client.corr_id()).collect();
    let mut block = Vec::new();
    for id in &ids {
        block.push(client.transmission(id, &EntityId::EMPTY, None, &Command::Ping));
    }
    client.send(&block).await;
    for id in &ids {
        let received = client.next().await;
        assert_eq!(
            (received.corr_id, received.response),
            (Some(*id), Response::Pong)
        );
    }
    assert_eq!(client.blocks, 1);
}

#[tokio::test(start_paused = true)]
async fn correlating_answers_keep_the_order_of_their_commands() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let other = create(&mut client, CONTACT).await;
    let (to, of) = (
        EntityId::from(queue.sender()),
        EntityId::from(queue.recipient()),
    );
    let nowhere = EntityId::generate(&mut client.rng);
    let key = stranger(&mut client);
    let own = Some(&queue.key);
    let commands = [
        (of.clone(), own, Command::Sub, SOK),
        (
            other.recipient().into(),
            Some(&other.key),
            Command::Sub,
            SOK,
        ),
        (EntityId::EMPTY, None, Command::Ping, Response::Pong),
        (to.clone(), None, send(b"one"), OK),
        (nowhere, None, send(b"no"), AUTH),
        (of.clone(), own, Command::Key(key), OK),
        (to, None, send(b"no"), AUTH),
        (of.clone(), own, Command::Off, OK),
        (of.clone(), own, Command::Ldel, OK),
        (of.clone(), own, Command::Get, PROHIBITED),
        (of, own, Command::Del, OK),
    ];
    let mut block = Vec::new();
    let mut expected = Vec::new();
    for (entity, key, command, answer) in commands {
        let corr_id = client.corr_id();
        block.push(client.transmission(&corr_id, &entity, key, &command));
        expected.push((corr_id, entity, answer));
    }
    client.send(&block).await;
    for (corr_id, entity, answer) in expected {
        let received = client.next().await;
        assert_eq!(received.corr_id, Some(corr_id));
        assert_eq!((received.entity, received.response), (entity, answer));
    }
}

#[tokio::test(start_paused = true)]
async fn correlating_what_answers_no_command_has_no_correlation_id() {
    let relay = relay();
    let (mut client, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut client, MESSAGING).await;
    let second = create(&mut client, MESSAGING).await;
    post(&mut other, &queue, b"hello").await;
    assert_eq!(other.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(other.manage(&second, Command::Del).await, OK);
    let mut events = HashSet::new();
    for _ in 0..3 {
        let received = client.next().await;
        assert_eq!(received.corr_id, None);
        events.insert(received.response.tag());
    }
    assert_eq!(events, HashSet::from(["MSG", "END", "DELD"]));
}

#[tokio::test(start_paused = true)]
async fn correlating_answers_to_a_closed_connection_are_discarded() {
    let relay = relay();
    let (mut client, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut client, MESSAGING).await;
    let corr_id = sender.corr_id();
    let bytes = sender.transmission(&corr_id, &queue.sender().into(), None, &send(b"hello"));
    sender.send(&[bytes]).await;
    drop(sender);
    assert_eq!(
        client.message(&queue).await.body,
        b"hello",
        "what was sent is executed"
    );
    let mut other = relay.client().await;
    assert!(other.silent().await);
}

#[tokio::test(start_paused = true)]
async fn deliver_every_message_has_the_same_length() {
    let relay = relay_with("[messages]\nquota = 3");
    for version in [6, 8, 11, 20].map(SmpVersion) {
        let mut client = relay.client_of(version).await;
        let queue = create_only(&mut client, MESSAGING).await;
        for body in [&b""[..], b"x", &[b'x'; 16_048]] {
            post(&mut client, &queue, body).await;
        }
        assert_eq!(client.run(queue.sender(), None, send(b"no")).await, QUOTA);
        for _ in 0..4 {
            let response = client.manage(&queue, Command::Get).await;
            let Response::Msg { id, body } = &response else {
                panic!("expected MSG");
            };
            assert_eq!(body.len(), 16_122);
            assert_eq!(client.manage(&queue, Command::Ack(*id)).await, OK);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deliver_each_message_has_another_id() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let mut seen = HashSet::new();
    for _ in 0..20 {
        post(&mut client, &queue, b"the same").await;
        let message = client.message(&queue).await;
        assert!(seen.insert(message.id));
        assert_eq!(client.ack(&queue, &message).await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn deliver_the_timestamp_is_when_the_relay_received_the_message() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    post(&mut client, &queue, b"hello").await;
    tokio::time::sleep(std::time::Duration::from_secs(1000)).await;
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(client.message(&queue).await.timestamp, START as i64 + 100);
}

#[tokio::test(start_paused = true)]
async fn deliver_encrypts_with_the_keys_of_the_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let (queue, other) = (
        create(&mut client, MESSAGING).await,
        create(&mut client, MESSAGING).await,
    );
    post(&mut client, &queue, b"hello").await;
    let (_, Response::Msg { id, mut body }) = client.event().await else {
        panic!("expected MSG");
    };
    assert!(!body.windows(5).any(|part| part == b"hello"));
    let foreign = BoxKey::from(DhSecret::agree(&other.dh, &queue.ids.dh_key).unwrap());
    assert!(ReceivedMessage::open(&foreign, &id, &mut body).is_err());
}

#[tokio::test(start_paused = true)]
async fn deliver_goes_to_all_subscribed_queues_of_a_connection_at_once() {
    let relay = relay();
    let (mut client, mut sender) = (relay.client().await, relay.client().await);
    let mut queues = Vec::new();
    for _ in 0..5 {
        queues.push(create(&mut client, MESSAGING).await);
    }
    // An unacknowledged message of one queue holds up no other.
    for queue in &queues {
        post(&mut sender, queue, b"hello").await;
        client.message(queue).await;
    }
}

#[tokio::test(start_paused = true)]
async fn router_messages_have_the_words_of_the_document() {
    let relay = relay();
    let (mut client, mut other) = (relay.client().await, relay.client().await);
    let queue = create_only(&mut client, MESSAGING).await;
    let corr_id = client.corr_id();
    let entity = EntityId::from(queue.recipient());
    let mut said = Vec::new();
    for (command, key) in [
        (Command::Sub, Some(&queue.key)),
        (Command::Off, Some(&queue.key)),
    ] {
        let bytes = client.transmission(&corr_id, &entity, key, &command);
        client.send(&[bytes]).await;
        said.push(client.received_for(&corr_id).await.bytes);
    }
    let ping = client.transmission(&corr_id, &EntityId::EMPTY, None, &Command::Ping);
    client.send(&[ping]).await;
    said.push(client.received_for(&corr_id).await.bytes);
    assert_eq!(other.manage(&queue, Command::Sub).await, SOK);
    said.push(client.next().await.bytes);
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    said.push(other.next().await.bytes);
    assert_eq!(said, [&b"SOK 0"[..], b"OK", b"PONG", b"END", b"DELD"]);
}
