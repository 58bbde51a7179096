//! "Short link commands" and "Link response".

use crate::prelude::*;

/// A queue of this mode with a link.
async fn linked(client: &mut Client, mode: QueueMode) -> Queue {
    let link = Some(link_data(b"fixed", b"user"));
    create_with(
        client,
        NewQueueOptions {
            mode,
            link,
            ..Default::default()
        },
    )
    .await
}

/// The answer that shows the link of [`linked`].
fn shown(queue: &Queue) -> Response {
    Response::Lnk {
        sender_id: queue.sender(),
        data: link_data(b"fixed", b"user"),
    }
}

async fn lkey(client: &mut Client, id: impl Into<EntityId>, key: &AuthPrivateKey) -> Response {
    client.run(id, Some(key), Command::Lkey(key.public())).await
}

#[tokio::test(start_paused = true)]
async fn set_link_key_shows_the_link_and_secures_the_queue() {
    let relay = relay();
    for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
        let (mut recipient, mut sender) = (relay.client().await, relay.client().await);
        let queue = linked(&mut recipient, MESSAGING).await;
        let key = key(&mut sender, kind);
        assert_eq!(lkey(&mut sender, queue.link(), &key).await, shown(&queue));
        assert_eq!(sender.run(queue.sender(), None, send(b"no")).await, AUTH);
        assert_eq!(
            sender.run(queue.sender(), Some(&key), send(b"yes")).await,
            OK
        );
        assert_eq!(recipient.message(&queue).await.body, b"yes");
    }
}

#[tokio::test(start_paused = true)]
async fn set_link_key_can_be_repeated_with_the_same_key_alone() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, MESSAGING).await;
    let (key, other) = (key_of(&mut client), key_of(&mut client));
    assert_eq!(lkey(&mut client, queue.link(), &key).await, shown(&queue));
    assert_eq!(lkey(&mut client, queue.link(), &key).await, shown(&queue));
    assert_eq!(lkey(&mut client, queue.link(), &other).await, AUTH);
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"yes")).await,
        OK
    );
}

#[tokio::test(start_paused = true)]
async fn set_link_key_is_authorized_by_the_key_in_it() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, MESSAGING).await;
    let (key, other) = (key_of(&mut client), key_of(&mut client));
    let command = Command::Lkey(key.public());
    assert_eq!(
        client
            .run(queue.link(), Some(&other), command.clone())
            .await,
        AUTH
    );
    assert_eq!(client.run(queue.link(), None, command).await, NO_AUTH);
    post(&mut client, &queue, b"still open").await;
}

#[tokio::test(start_paused = true)]
async fn set_link_key_after_another_sender_secured_the_queue_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, MESSAGING).await;
    let first = secure(&mut client, &queue).await;
    let late = key_of(&mut client);
    assert_eq!(lkey(&mut client, queue.link(), &late).await, AUTH);
    assert_eq!(lkey(&mut client, queue.link(), &first).await, shown(&queue));
}

#[tokio::test(start_paused = true)]
async fn set_link_key_of_a_contact_queue_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, CONTACT).await;
    let key = key_of(&mut client);
    assert_eq!(lkey(&mut client, queue.link(), &key).await, AUTH);
    post(&mut client, &queue, b"still open").await;
}

#[tokio::test(start_paused = true)]
async fn set_link_key_with_an_id_that_is_no_links_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, MESSAGING).await;
    let (key, nowhere) = (key_of(&mut client), LinkId::generate(&mut client.rng));
    assert_eq!(lkey(&mut client, nowhere, &key).await, AUTH);
    assert_eq!(lkey(&mut client, queue.sender(), &key).await, AUTH);
    assert_eq!(lkey(&mut client, queue.recipient(), &key).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn set_link_key_a_link_id_does_not_take_messages() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, MESSAGING).await;
    assert_eq!(client.run(queue.link(), None, send(b"no")).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn get_link_data_may_be_repeated_by_anyone() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, CONTACT).await;
    for _ in 0..3 {
        let mut anyone = relay.client().await;
        for _ in 0..3 {
            let answer = anyone.run(queue.link(), None, Command::Lget).await;
            assert_eq!(answer, shown(&queue));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn get_link_data_does_not_secure_the_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, CONTACT).await;
    assert_eq!(
        client.run(queue.link(), None, Command::Lget).await,
        shown(&queue)
    );
    post(&mut client, &queue, b"hello").await;
}

#[tokio::test(start_paused = true)]
async fn get_link_data_of_a_messaging_queue_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, MESSAGING).await;
    assert_eq!(client.run(queue.link(), None, Command::Lget).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn get_link_data_is_not_authorized_and_needs_a_link() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, CONTACT).await;
    let key = key_of(&mut client);
    assert_eq!(
        client.run(queue.link(), Some(&key), Command::Lget).await,
        HAS_AUTH
    );
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Lget).await,
        NO_ENTITY
    );
    let nowhere = LinkId::generate(&mut client.rng);
    assert_eq!(client.run(nowhere, None, Command::Lget).await, AUTH);
    assert_eq!(client.run(queue.sender(), None, Command::Lget).await, AUTH);
    assert_eq!(
        client.run(queue.recipient(), None, Command::Lget).await,
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn link_response_is_about_the_link() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = linked(&mut client, CONTACT).await;
    let corr_id = client.corr_id();
    let link = queue.link().into();
    let lget = client.transmission(&corr_id, &link, None, &Command::Lget);
    client.send(&[lget]).await;
    let received = client.received_for(&corr_id).await;
    assert_eq!(received.entity, link);
    let sender_id = queue.sender();
    let expected = [
        b"LNK \x18",
        sender_id.as_bytes(),
        &b"\x00\x05fixed\x00\x04user"[..],
    ]
    .concat();
    assert_eq!(received.bytes, expected);
}
