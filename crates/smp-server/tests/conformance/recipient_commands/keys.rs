//! "Secure queue by recipient" and "Set queue recipient keys".

use crate::prelude::*;

#[tokio::test(start_paused = true)]
async fn secure_by_recipient_lets_only_authorized_messages_in() {
    let relay = relay();
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        for mode in [MESSAGING, CONTACT] {
            let mut client = relay.client().await;
            let queue = create(&mut client, mode).await;
            let (key, other) = (key(&mut client, kind), key(&mut client, kind));
            assert_eq!(client.manage(&queue, Command::Key(key.public())).await, OK);
            assert_eq!(client.run(queue.sender(), None, send(b"no")).await, AUTH);
            assert_eq!(
                client.run(queue.sender(), Some(&other), send(b"no")).await,
                AUTH
            );
            assert_eq!(
                client.run(queue.sender(), Some(&key), send(b"yes")).await,
                OK
            );
            assert_eq!(client.message(&queue).await.body, b"yes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn secure_by_recipient_the_same_key_again_is_ok_and_another_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let (key, other) = (key_of(&mut client), stranger(&mut client));
    assert_eq!(client.manage(&queue, Command::Key(key.public())).await, OK);
    assert_eq!(client.manage(&queue, Command::Key(key.public())).await, OK);
    assert_eq!(client.manage(&queue, Command::Key(other)).await, AUTH);
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"yes")).await,
        OK
    );
}

#[tokio::test(start_paused = true)]
async fn secure_by_recipient_does_not_replace_the_key_of_skey() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = secure(&mut client, &queue).await;
    let other = stranger(&mut client);
    assert_eq!(client.manage(&queue, Command::Key(other)).await, AUTH);
    assert_eq!(client.manage(&queue, Command::Key(key.public())).await, OK);
}

#[tokio::test(start_paused = true)]
async fn secure_by_recipient_with_the_senders_id_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = stranger(&mut client);
    assert_eq!(
        client
            .run(queue.sender(), Some(&queue.key), Command::Key(key))
            .await,
        AUTH
    );
    post(&mut client, &queue, b"still open").await;
}

#[tokio::test(start_paused = true)]
async fn secure_by_recipient_a_key_that_cannot_be_read_is_syntax() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let spki = stranger(&mut client).to_spki();
    let (short, wrong) = (&spki[..43], [&[0x31], &spki[1..]].concat());
    let cases: [&[u8]; 5] = [
        b"x",
        b"",
        &[&[43], short].concat(),
        &[&[44], &wrong[..]].concat(),
        &[&[44], &spki[..], b"!"].concat(),
    ];
    for case in cases {
        let command = [b"KEY ", case].concat();
        let answer = client
            .run_bytes(queue.recipient(), Some(&queue.key), &command)
            .await;
        assert_eq!(answer, SYNTAX);
    }
}

#[tokio::test(start_paused = true)]
async fn recipient_keys_each_may_manage_the_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let added = [
        key(&mut client, AuthKeyKind::Ed25519),
        key(&mut client, AuthKeyKind::X25519),
    ];
    let keys = vec![queue.key.public(), added[0].public(), added[1].public()];
    assert_eq!(client.manage(&queue, Command::Rkey(keys)).await, OK);
    post(&mut client, &queue, b"hello").await;
    client.message(&queue).await;
    for key in [&queue.key, &added[0], &added[1]] {
        let mut other = relay.client().await;
        assert_eq!(
            other.run(queue.recipient(), Some(key), Command::Sub).await,
            SOK
        );
        assert_eq!(other.message(&queue).await.body, b"hello");
    }
    let unknown = key_of(&mut client);
    assert_eq!(
        client
            .run(queue.recipient(), Some(&unknown), Command::Sub)
            .await,
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn recipient_keys_take_the_place_of_the_former() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let new = key_of(&mut client);
    assert_eq!(
        client
            .manage(&queue, Command::Rkey(vec![new.public()]))
            .await,
        OK
    );
    assert_eq!(client.manage(&queue, Command::Que).await, AUTH);
    assert_eq!(
        client
            .run(queue.recipient(), Some(&new), Command::Sub)
            .await,
        SOK
    );
}

#[tokio::test(start_paused = true)]
async fn recipient_keys_of_a_messaging_queue_are_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let keys = vec![queue.key.public(), stranger(&mut client)];
    assert_eq!(client.manage(&queue, Command::Rkey(keys)).await, AUTH);
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
}

#[tokio::test(start_paused = true)]
async fn recipient_keys_are_1_to_255() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let none = client
        .run_bytes(queue.recipient(), Some(&queue.key), b"RKEY \0")
        .await;
    assert_eq!(none, SYNTAX);
    let mut keys: Vec<_> = (0..254).map(|_| stranger(&mut client)).collect();
    keys.push(queue.key.public());
    assert_eq!(client.manage(&queue, Command::Rkey(keys)).await, OK);
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
}

#[tokio::test(start_paused = true)]
async fn recipient_keys_leave_subscriptions_as_they_are() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let new = key_of(&mut client);
    assert_eq!(
        client
            .manage(&queue, Command::Rkey(vec![new.public()]))
            .await,
        OK
    );
    post(&mut client, &queue, b"hello").await;
    let message = client.message(&queue).await;
    let ack = client
        .run(queue.recipient(), Some(&new), Command::Ack(message.id))
        .await;
    assert_eq!(ack, OK);
}
