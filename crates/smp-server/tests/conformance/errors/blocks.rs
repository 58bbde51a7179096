//! `BLOCK` and `SESSION`.

use rand::RngExt;

use crate::prelude::*;

const BLOCK: Response = Response::Err(ErrorType::Block);

/// The next thing that comes is ERR BLOCK about nothing; and the session goes on.
async fn assert_block(client: &mut Client) {
    let received = client.next().await;
    assert_eq!((received.corr_id, received.entity), (None, EntityId::EMPTY));
    assert_eq!(received.response, BLOCK);
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Ping).await,
        Response::Pong
    );
}

fn ping(client: &mut Client) -> Vec<u8> {
    let corr_id = client.corr_id();
    client.transmission(&corr_id, &EntityId::EMPTY, None, &Command::Ping)
}

/// A transmission with its length.
fn item(transmission: &[u8]) -> Vec<u8> {
    [&(transmission.len() as u16).to_be_bytes(), transmission].concat()
}

#[tokio::test(start_paused = true)]
async fn block_content_that_is_no_transmissions_is_block() {
    let relay = relay();
    for version in [6, 10, 11, 20].map(SmpVersion) {
        let mut client = relay.client_of(version).await;
        let one = item(&ping(&mut client));
        let contents = [
            Vec::new(),
            vec![0],
            [&[0], &one[..]].concat(),
            [&[2], &one[..]].concat(),
            [&[1], &one[..], &one].concat(),
            [&[1], &one[..], b"#"].concat(),
            [&[1], &one[..one.len() - 1]].concat(),
            vec![1, 0xff, 0xff],
            vec![255],
        ];
        for content in contents {
            client.send_content(&content).await;
            assert_block(&mut client).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn block_with_a_wrong_count_executes_nothing() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let corr_id = client.corr_id();
    let sending = client.transmission(&corr_id, &queue.sender().into(), None, &send(b"no"));
    let sending = item(&sending);
    for content in [
        [&[2], &sending[..]].concat(),
        [&[1], &sending[..], &sending].concat(),
    ] {
        client.send_content(&content).await;
        assert_block(&mut client).await;
    }
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn block_an_authorization_of_another_size_is_block() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let corr_id = client.corr_id();
    let bytes = client.transmission(&corr_id, &queue.recipient().into(), None, &Command::Sub);
    for length in [1, 63, 65, 79, 81, 114, 255] {
        let mut changed = vec![length];
        changed.resize(1 + usize::from(length), 7);
        changed.push(b'0');
        changed.extend_from_slice(&bytes[1..]);
        client.send(&[changed]).await;
        assert_block(&mut client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn block_a_correlation_id_of_another_size_is_block() {
    let relay = relay();
    let mut client = relay.client().await;
    for length in [1, 16, 23, 25, 255] {
        let mut bytes = vec![0, length];
        bytes.resize(2 + usize::from(length), 7);
        bytes.extend_from_slice(b"\0PING");
        client.send(&[bytes]).await;
        assert_block(&mut client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn block_a_transmission_that_is_cut_off_is_block() {
    let relay = relay();
    let mut client = relay.client().await;
    let whole = ping(&mut client);
    for length in 0..whole.len() - 4 {
        client.send(&[whole[..length].to_vec()]).await;
        assert_block(&mut client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn block_one_bad_transmission_leaves_the_others_of_its_block() {
    let relay = relay();
    let mut client = relay.client().await;
    let (first, bad, last) = (ping(&mut client), vec![5, 1, 2], ping(&mut client));
    client.send(&[first, bad, last]).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.next().await.response);
    }
    assert_eq!(answers, [Response::Pong, BLOCK, Response::Pong]);
}

#[tokio::test(start_paused = true)]
async fn block_an_authorized_command_without_correlation_id_is_block() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let corr_id = client.corr_id();
    let entity = EntityId::from(queue.recipient());
    let sub = client.transmission(&corr_id, &entity, Some(&queue.key), &Command::Sub);
    // Authorization of 80 bytes, no service, 24 bytes of id.
    assert_eq!((sub[0], sub[81], sub[82]), (80, b'0', 24));
    let without = [&sub[..82], &[0], &sub[107..]].concat();
    client.send(&[without]).await;
    let received = client.next().await;
    assert_eq!((received.corr_id, received.response), (None, BLOCK));
    assert_eq!(received.entity, entity);
}

#[tokio::test(start_paused = true)]
async fn block_any_content_is_survived() {
    let relay = relay();
    let mut bystander = relay.client().await;
    for version in [6, 8, 16, 20].map(SmpVersion) {
        let mut client = relay.client_of(version).await;
        for round in 0..100 {
            let length = client.rng.random_range(0..200);
            let mut content: Vec<u8> = (0..length).map(|_| client.rng.random()).collect();
            if round % 2 == 0 {
                // So that more than the count is looked at.
                content = [&[1], &item(&content)[..]].concat();
            }
            client.send_content(&content).await;
            assert!(matches!(client.next().await.response, Response::Err(_)));
        }
    }
    let queue = create(&mut bystander, MESSAGING).await;
    post(&mut bystander, &queue, b"hello").await;
    assert_eq!(bystander.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn session_another_session_id_in_version_6_is_session() {
    let relay = relay();
    let mut client = relay.client_of(SmpVersion(6)).await;
    let queue = create(&mut client, MESSAGING).await;
    let own = client.params.session_id.clone();
    for other in [&[9; 32][..], &[9; 48], b""] {
        client.params.session_id = SessionId::new(other).unwrap();
        let corr_id = client.corr_id();
        let entity = EntityId::from(queue.sender());
        let bytes = client.transmission(&corr_id, &entity, None, &send(b"no"));
        client.params.session_id = own.clone();
        client.send(&[bytes]).await;
        let received = client.received_for(&corr_id).await;
        assert_eq!(received.response, error(ErrorType::Session));
        assert_eq!(received.entity, entity);
    }
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Ping).await,
        Response::Pong
    );
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn session_id_is_in_what_is_authorized_from_version_7_on() {
    let relay = relay();
    let mut client = relay.client_of(SmpVersion(7)).await;
    let queue = create(&mut client, MESSAGING).await;
    let own = client.params.session_id.clone();
    client.params.session_id = SessionId::new(&[9; 32]).unwrap();
    let corr_id = client.corr_id();
    let entity = EntityId::from(queue.recipient());
    let bytes = client.transmission(&corr_id, &entity, Some(&queue.key), &Command::Sub);
    client.params.session_id = own;
    client.send(&[bytes]).await;
    assert_eq!(client.answer(&corr_id).await, AUTH);
}
