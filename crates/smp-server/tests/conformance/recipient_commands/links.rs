//! "Set short link" and "Delete short link".

use crate::prelude::*;

/// LSET with these parameters.
fn lset(link_id: &LinkId, fixed: &[u8], user: &[u8]) -> Command {
    Command::Lset {
        link_id: link_id.clone(),
        data: link_data(fixed, user),
    }
}

/// What LGET says of a link.
async fn get(client: &mut Client, link_id: &LinkId) -> Option<LinkData> {
    match client.run(link_id.clone(), None, Command::Lget).await {
        Response::Lnk { data, .. } => Some(data),
        answer => {
            assert_eq!(answer, AUTH);
            None
        }
    }
}

#[tokio::test(start_paused = true)]
async fn set_short_link_shows_its_data_under_the_clients_id() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    assert_eq!(get(&mut client, &link_id).await, None);
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        OK
    );
    let answer = client.run(link_id, None, Command::Lget).await;
    let data = link_data(b"fixed", b"user");
    assert_eq!(
        answer,
        Response::Lnk {
            sender_id: queue.sender(),
            data
        }
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_again_changes_the_user_data() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        OK
    );
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"changed"))
            .await,
        OK
    );
    assert_eq!(
        get(&mut client, &link_id).await,
        Some(link_data(b"fixed", b"changed"))
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_with_other_fixed_data_is_auth_and_changes_nothing() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        OK
    );
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"other", b"changed"))
            .await,
        AUTH
    );
    assert_eq!(
        get(&mut client, &link_id).await,
        Some(link_data(b"fixed", b"user"))
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_under_another_id_than_the_queues_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let (link_id, other) = (
        LinkId::generate(&mut client.rng),
        LinkId::generate(&mut client.rng),
    );
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        OK
    );
    assert_eq!(
        client.manage(&queue, lset(&other, b"fixed", b"user")).await,
        AUTH
    );
    assert_eq!(get(&mut client, &other).await, None);
}

#[tokio::test(start_paused = true)]
async fn set_short_link_under_an_id_of_another_queue_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let second = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        OK
    );
    assert_eq!(
        client
            .manage(&second, lset(&link_id, b"fixed", b"stolen"))
            .await,
        AUTH
    );
    assert_eq!(
        get(&mut client, &link_id).await,
        Some(link_data(b"fixed", b"user"))
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_of_a_messaging_queue_without_link_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let link_id = LinkId::generate(&mut client.rng);
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_changes_the_user_data_of_a_messaging_queues_link() {
    let relay = relay();
    let mut client = relay.client().await;
    let link = Some(link_data(b"fixed", b"user"));
    let queue = create_with(
        &mut client,
        NewQueueOptions {
            link,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(
        client
            .manage(&queue, lset(&queue.link(), b"fixed", b"changed"))
            .await,
        OK
    );
    let key = key_of(&mut client);
    let answer = client
        .run(queue.link(), Some(&key), Command::Lkey(key.public()))
        .await;
    let data = link_data(b"fixed", b"changed");
    assert_eq!(
        answer,
        Response::Lnk {
            sender_id: queue.sender(),
            data
        }
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_holds_data_of_the_length_that_clients_use() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    let data = link_data(&[1; 2048], &[2; 13_824]);
    let command = Command::Lset {
        link_id: link_id.clone(),
        data: data.clone(),
    };
    assert_eq!(client.manage(&queue, command).await, OK);
    assert_eq!(get(&mut client, &link_id).await, Some(data));
}

#[tokio::test(start_paused = true)]
async fn set_short_link_with_an_id_of_another_length_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    for length in [0, 23, 25] {
        let link_id = LinkId::new(&vec![1; length]).unwrap();
        assert_eq!(
            client
                .manage(&queue, lset(&link_id, b"fixed", b"user"))
                .await,
            AUTH
        );
    }
}

#[tokio::test(start_paused = true)]
async fn delete_short_link_removes_the_data() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let link_id = LinkId::generate(&mut client.rng);
    assert_eq!(
        client
            .manage(&queue, lset(&link_id, b"fixed", b"user"))
            .await,
        OK
    );
    assert_eq!(client.manage(&queue, Command::Ldel).await, OK);
    assert_eq!(get(&mut client, &link_id).await, None);
    post(&mut client, &queue, b"the queue is still there").await;
}

#[tokio::test(start_paused = true)]
async fn delete_short_link_of_a_messaging_queue_removes_the_data() {
    let relay = relay();
    let mut client = relay.client().await;
    let link = Some(link_data(b"fixed", b"user"));
    let queue = create_with(
        &mut client,
        NewQueueOptions {
            link,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(client.manage(&queue, Command::Ldel).await, OK);
    let key = key_of(&mut client);
    let answer = client
        .run(queue.link(), Some(&key), Command::Lkey(key.public()))
        .await;
    assert_eq!(answer, AUTH);
}

#[tokio::test(start_paused = true)]
async fn delete_short_link_is_ok_without_a_link_and_a_second_time() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    assert_eq!(client.manage(&queue, Command::Ldel).await, OK);
    assert_eq!(client.manage(&queue, Command::Ldel).await, OK);
}

#[tokio::test(start_paused = true)]
async fn delete_short_link_makes_room_for_another_one() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, CONTACT).await;
    let (first, second) = (
        LinkId::generate(&mut client.rng),
        LinkId::generate(&mut client.rng),
    );
    assert_eq!(
        client.manage(&queue, lset(&first, b"fixed", b"user")).await,
        OK
    );
    assert_eq!(client.manage(&queue, Command::Ldel).await, OK);
    assert_eq!(
        client
            .manage(&queue, lset(&second, b"other", b"data"))
            .await,
        OK
    );
    assert_eq!(get(&mut client, &first).await, None);
    assert_eq!(
        get(&mut client, &second).await,
        Some(link_data(b"other", b"data"))
    );
}

#[tokio::test(start_paused = true)]
async fn set_short_link_does_not_tell_whether_there_is_a_queue_with_the_id() {
    let relay = relay();
    let mut client = relay.client().await;
    let other = create(&mut client, CONTACT).await;
    let (recipient, sender) = (other.recipient(), other.sender());
    for id in [EntityId::from(recipient), EntityId::from(sender)] {
        let link_id = LinkId::new(id.as_bytes()).unwrap();
        let queue = create(&mut client, CONTACT).await;
        let lset = lset(&link_id, b"fixed", b"user");
        assert_eq!(client.manage(&queue, lset).await, OK);
        assert!(get(&mut client, &link_id).await.is_some());
    }
    post(&mut client, &other, b"each id names what it named").await;
}
