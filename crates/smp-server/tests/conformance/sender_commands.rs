//! "Sender commands": "Secure queue by sender" and "Send message".

use crate::prelude::*;

#[tokio::test(start_paused = true)]
async fn secure_by_sender_lets_only_authorized_messages_in() {
    let relay = relay();
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
        let queue = create(&mut recipient, MESSAGING).await;
        let (key, other) = (key(&mut sender, kind), key(&mut sender, kind));
        secure_with(&mut sender, &queue, &key).await;
        assert_eq!(sender.run(queue.sender(), None, send(b"no")).await, AUTH);
        assert_eq!(
            sender.run(queue.sender(), Some(&other), send(b"no")).await,
            AUTH
        );
        assert_eq!(
            sender.run(queue.sender(), Some(&key), send(b"yes")).await,
            OK
        );
        assert_eq!(recipient.message(&queue).await.body, b"yes");
    }
}

#[tokio::test(start_paused = true)]
async fn secure_by_sender_the_same_key_again_is_ok_and_another_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = secure(&mut client, &queue).await;
    secure_with(&mut client, &queue, &key).await;
    let other = key_of(&mut client);
    let skey = Command::Skey(other.public());
    assert_eq!(client.run(queue.sender(), Some(&other), skey).await, AUTH);
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"yes")).await,
        OK
    );
}

#[tokio::test(start_paused = true)]
async fn secure_by_sender_is_authorized_by_the_key_in_it() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let (key, other) = (key_of(&mut client), key_of(&mut client));
    let skey = Command::Skey(key.public());
    assert_eq!(
        client.run(queue.sender(), Some(&other), skey.clone()).await,
        AUTH
    );
    assert_eq!(client.run(queue.sender(), None, skey).await, NO_AUTH);
    post(&mut client, &queue, b"still open").await;
}

#[tokio::test(start_paused = true)]
async fn secure_by_sender_with_the_recipients_id_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = key_of(&mut client);
    let skey = Command::Skey(key.public());
    assert_eq!(client.run(queue.recipient(), Some(&key), skey).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn secure_by_sender_does_not_replace_the_key_of_key() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let (key, other) = (key_of(&mut client), key_of(&mut client));
    assert_eq!(client.manage(&queue, Command::Key(key.public())).await, OK);
    let skey = Command::Skey(other.public());
    assert_eq!(client.run(queue.sender(), Some(&other), skey).await, AUTH);
    secure_with(&mut client, &queue, &key).await;
}

#[tokio::test(start_paused = true)]
async fn secure_by_sender_of_a_contact_queue_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let key = key_of(&mut client);
    let skey = Command::Skey(key.public());
    assert_eq!(client.run(queue.sender(), Some(&key), skey).await, AUTH);
    post(&mut client, &queue, b"still open").await;
}

#[tokio::test(start_paused = true)]
async fn send_to_a_queue_that_is_not_secured_needs_no_authorization() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    post(&mut sender, &queue, b"one").await;
    post(&mut relay.client().await, &queue, b"two").await;
    let first = recipient.message(&queue).await;
    assert_eq!(first.body, b"one");
    assert_eq!(
        queue.open(&recipient.ack(&queue, &first).await).body,
        b"two"
    );
}

#[tokio::test(start_paused = true)]
async fn send_with_authorization_to_a_queue_that_is_not_secured_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        let key = key(&mut client, kind);
        assert_eq!(
            client.run(queue.sender(), Some(&key), send(b"no")).await,
            AUTH
        );
    }
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn send_without_authorization_to_a_secured_queue_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    secure(&mut client, &queue).await;
    assert_eq!(client.run(queue.sender(), None, send(b"no")).await, AUTH);
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn send_to_a_queue_that_does_not_exist_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let nowhere = SenderId::generate(&mut client.rng);
    let key = key_of(&mut client);
    assert_eq!(client.run(nowhere.clone(), None, send(b"no")).await, AUTH);
    assert_eq!(client.run(nowhere, Some(&key), send(b"no")).await, AUTH);
    for length in [1, 23, 25, 255] {
        let id = EntityId::new(&vec![1; length]).unwrap();
        assert_eq!(client.run(id, None, send(b"no")).await, AUTH);
    }
}

#[tokio::test(start_paused = true)]
async fn send_with_the_recipients_id_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(client.run(queue.recipient(), None, send(b"no")).await, AUTH);
    assert_eq!(client.manage(&queue, send(b"no")).await, AUTH);
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn send_without_queue_id_is_no_entity() {
    let relay = relay();
    let mut client = relay.client().await;
    assert_eq!(
        client.run(EntityId::EMPTY, None, send(b"x")).await,
        NO_ENTITY
    );
}

#[tokio::test(start_paused = true)]
async fn send_takes_messages_of_up_to_the_versions_length_and_delivers_them_whole() {
    for version in [6, 7, 8, 10, 11, 16, 20].map(SmpVersion) {
        let relay = relay();
        let (mut recipient, mut sender) = (
            relay.client_of(version).await,
            relay.client_of(version).await,
        );
        let queue = create(&mut recipient, MESSAGING).await;
        let longest = match version.0 {
            6 | 7 => 16_088,
            8..=10 => 16_064,
            _ => 16_048,
        };
        for length in [0, 1, longest] {
            let body: Vec<_> = (0..length).map(|at| at as u8).collect();
            post(&mut sender, &queue, &body).await;
            let message = recipient.message(&queue).await;
            assert_eq!(message.body, body);
            assert_eq!(recipient.ack(&queue, &message).await, OK);
        }
        let large = sender
            .run(queue.sender(), None, send(&vec![0; longest + 1]))
            .await;
        assert_eq!(large, error(ErrorType::LargeMsg));
        assert!(recipient.silent().await);
    }
}

#[tokio::test(start_paused = true)]
async fn send_the_longest_message_of_an_old_sender_reaches_a_new_recipient() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client_of(SmpVersion(6)).await);
    let queue = create(&mut recipient, MESSAGING).await;
    let body = vec![b'a'; 16_088];
    post(&mut sender, &queue, &body).await;
    assert_eq!(recipient.message(&queue).await.body, body);
}

#[tokio::test(start_paused = true)]
async fn send_the_longest_message_is_also_taken_with_authorization() {
    let relay = relay();
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        let mut client = relay.client().await;
        let queue = create(&mut client, MESSAGING).await;
        let key = key(&mut client, kind);
        secure_with(&mut client, &queue, &key).await;
        let body = vec![b'a'; 16_048];
        assert_eq!(
            client.run(queue.sender(), Some(&key), send(&body)).await,
            OK
        );
        assert_eq!(client.message(&queue).await.body, body);
    }
}

#[tokio::test(start_paused = true)]
async fn send_flags_go_to_the_recipient() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for notification in [true, false] {
        let flags = MessageFlags { notification };
        let command = Command::Send {
            flags,
            body: b"hello".to_vec(),
        };
        assert_eq!(client.run(queue.sender(), None, command).await, OK);
        let message = client.message(&queue).await;
        assert_eq!(message.flags, Some(flags));
        client.ack(&queue, &message).await;
    }
}

#[tokio::test(start_paused = true)]
async fn send_flags_of_later_versions_are_skipped() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(
        client
            .run_bytes(queue.sender(), None, b"SEND TFx hello")
            .await,
        OK
    );
    let message = client.message(&queue).await;
    assert_eq!(message.flags, Some(MessageFlags { notification: true }));
    assert_eq!(message.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn send_without_flags_or_body_is_syntax() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for command in [
        &b"SEND"[..],
        b"SEND ",
        b"SEND T",
        b"SEND x hello",
        b"SEND  hello",
    ] {
        assert_eq!(
            client.run_bytes(queue.sender(), None, command).await,
            SYNTAX
        );
    }
    assert_eq!(
        client.run_bytes(queue.sender(), None, b"SEND F ").await,
        OK,
        "an empty body"
    );
    assert_eq!(client.message(&queue).await.body, b"");
}

#[tokio::test(start_paused = true)]
async fn send_keeps_the_order() {
    let relay = relay();
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    let ids: Vec<_> = (0..60).map(|_| sender.corr_id()).collect();
    let block: Vec<_> = (ids.iter().enumerate())
        .map(|(number, id)| {
            sender.transmission(id, &queue.sender().into(), None, &send(&[number as u8]))
        })
        .collect();
    sender.send(&block).await;
    for id in &ids {
        assert_eq!(sender.answer(id).await, OK);
    }
    let mut message = recipient.message(&queue).await;
    for number in 0..59 {
        assert_eq!(message.body, [number]);
        message = queue.open(&recipient.ack(&queue, &message).await);
    }
    assert_eq!(message.body, [59]);
    assert_eq!(recipient.ack(&queue, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn send_to_a_full_queue_is_quota() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    for _ in 0..128 {
        post(&mut client, &queue, b"x").await;
    }
    assert_eq!(client.run(queue.sender(), None, send(b"x")).await, QUOTA);
    assert_eq!(client.run(queue.sender(), None, send(b"x")).await, QUOTA);
}

#[tokio::test(start_paused = true)]
async fn send_to_a_full_queue_is_quota_until_all_messages_and_the_marker_were_received() {
    let relay = relay_with("[messages]\nquota = 3");
    let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    for number in 0..3 {
        post(&mut sender, &queue, &[number]).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(sender.run(queue.sender(), None, send(b"no")).await, QUOTA);
    let mut message = recipient.message(&queue).await;
    for number in 0..3 {
        assert_eq!(message.body, [number]);
        message = queue.open(&recipient.ack(&queue, &message).await);
        assert_eq!(sender.run(queue.sender(), None, send(b"no")).await, QUOTA);
    }
    assert_eq!(message.flags, None, "the last is the marker");
    assert_eq!(
        message.timestamp,
        START as i64 + 5,
        "of the time of the first refusal"
    );
    assert_eq!(recipient.ack(&queue, &message).await, OK);
    post(&mut sender, &queue, b"yes").await;
    assert_eq!(recipient.message(&queue).await.body, b"yes");
}

#[tokio::test(start_paused = true)]
async fn send_to_a_queue_that_is_just_full_leaves_no_marker() {
    let relay = relay_with("[messages]\nquota = 2");
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = client.message(&queue).await;
    let second = queue.open(&client.ack(&queue, &first).await);
    post(&mut client, &queue, b"three").await;
    let third = queue.open(&client.ack(&queue, &second).await);
    assert_eq!(third.body, b"three");
    assert_eq!(client.ack(&queue, &third).await, OK);
}

#[tokio::test(start_paused = true)]
async fn send_a_full_queue_gets_one_marker_each_time_that_it_is_full() {
    let relay = relay_with("[messages]\nquota = 1");
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    for _ in 0..2 {
        post(&mut client, &queue, b"hello").await;
        for _ in 0..3 {
            assert_eq!(client.run(queue.sender(), None, send(b"no")).await, QUOTA);
        }
        let message = client.message(&queue).await;
        let marker = queue.open(&client.ack(&queue, &message).await);
        assert_eq!(marker.flags, None);
        assert_eq!(client.ack(&queue, &marker).await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn send_one_full_queue_does_not_fill_others() {
    let relay = relay_with("[messages]\nquota = 1");
    let mut client = relay.client().await;
    let (full, other) = (
        create(&mut client, MESSAGING).await,
        create(&mut client, MESSAGING).await,
    );
    post(&mut client, &full, b"hello").await;
    assert_eq!(client.run(full.sender(), None, send(b"no")).await, QUOTA);
    post(&mut client, &other, b"hello").await;
}

#[tokio::test(start_paused = true)]
async fn send_any_number_before_the_queue_is_secured_up_to_its_capacity() {
    let relay = relay_with("[messages]\nquota = 4");
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    // The sender repeats its confirmation, since answers may get lost.
    for _ in 0..3 {
        post(&mut client, &queue, b"confirmation").await;
    }
    let key = secure(&mut client, &queue).await;
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"hello")).await,
        OK
    );
    let mut message = client.message(&queue).await;
    for _ in 0..3 {
        assert_eq!(message.body, b"confirmation");
        message = queue.open(&client.ack(&queue, &message).await);
    }
    assert_eq!(message.body, b"hello");
}
