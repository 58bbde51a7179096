//! What is not the protocol: the exact error or a closed connection, and nobody else notices.
//! tests/smp-peer's abuse says the same from outside, in other words; see `peers`.

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, Command, CommandError, DhPrivateKey, EntityId, ErrorType,
    NewQueue, QueueIds, QueueRequest, Response, SmpVersion,
};
use tokio::io::AsyncWriteExt;

use crate::support::{Bystander, Folder, Hello, Raw, Relay, silent};

const NEWEST: SmpVersion = SmpVersion(20);
const OLDEST: SmpVersion = SmpVersion(6);

/// A relay, with two who use it.
async fn relay() -> (Folder, Relay, Bystander) {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let bystander = Bystander::of(&relay.address).await;
    (folder, relay, bystander)
}

fn key_of(version: SmpVersion) -> AuthPrivateKey {
    let kind = match version < SmpVersion::AUTH_ENCRYPTION {
        true => AuthKeyKind::Ed25519,
        false => AuthKeyKind::X25519,
    };
    AuthPrivateKey::generate(&mut UnwrapErr(SysRng), kind)
}

/// NEW with this key.
fn new(relay: &Relay, version: SmpVersion, key: &AuthPrivateKey) -> Command {
    Command::New(Box::new(NewQueue {
        auth_key: key.public(),
        dh_key: DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public(),
        basic_auth: relay.address.basic_auth.clone(),
        subscribe: false,
        request: (version >= SmpVersion::SKEY).then_some(QueueRequest::Contact(None)),
        notifier: None,
    }))
}

async fn create(relay: &Relay, raw: &mut Raw) -> (AuthPrivateKey, QueueIds) {
    let version = raw.params.version;
    let key = key_of(version);
    let command = new(relay, version, &key);
    match raw.run(&EntityId::EMPTY, Some(&key), &command).await {
        Response::Ids(ids) => (key, *ids),
        other => panic!("expected IDS, not {other:?}"),
    }
}

fn send(body: &[u8]) -> Command {
    Command::Send {
        flags: silent(),
        body: body.to_vec(),
    }
}

fn refused(error: ErrorType) -> Response {
    Response::Err(error)
}

#[tokio::test]
async fn a_block_that_is_cut_short_or_garbage_closes_the_connection() {
    let (_folder, relay, mut bystander) = relay().await;
    for version in [OLDEST, NEWEST] {
        let mut raw = Raw::of_version(&relay.address, version).await;
        let block = raw.block(&[]);
        raw.write(&block[..100]).await.unwrap();
        raw.stream.shutdown().await.unwrap();
        assert!(raw.is_closed().await);
        bystander.exchange().await;

        let mut raw = Raw::of_version(&relay.address, version).await;
        raw.write(&[0xaa; 16_384]).await.unwrap();
        assert!(raw.is_closed().await);
        bystander.exchange().await;
    }
}

#[tokio::test]
async fn counts_and_lengths_that_lie_are_answered_with_block_and_the_session_goes_on() {
    let (_folder, relay, mut bystander) = relay().await;
    for version in [OLDEST, NEWEST] {
        let mut raw = Raw::of_version(&relay.address, version).await;
        let (_, ping) = raw.transmission(&EntityId::EMPTY, None, &Command::Ping);
        let length = u16::try_from(ping.len()).unwrap();
        let item = |count: u8, length: u16, rest: &[u8]| {
            [&[count][..], &length.to_be_bytes(), &ping, rest].concat()
        };
        for content in [
            vec![],
            vec![0],
            vec![255],
            item(2, length, b""),
            item(1, length, b"more"),
            item(1, length + 1, b""),
            item(1, u16::MAX, b""),
            item(255, length, b""),
            vec![1, 0, 0],
            vec![1, 0, 1, 255],
        ] {
            let block = raw.block_of(&content);
            raw.write(&block[..]).await.unwrap();
            let answer = raw.next().await;
            let block = refused(ErrorType::Block);
            assert!(
                matches!(answer, Some((None, response)) if response == block),
                "{content:?}"
            );
        }
        let pong = raw.run(&EntityId::EMPTY, None, &Command::Ping).await;
        assert_eq!(pong, Response::Pong);
        bystander.exchange().await;
    }
}

#[tokio::test]
async fn who_asks_for_another_relay_or_version_is_not_served() {
    let (folder, relay, mut bystander) = relay().await;
    let mut other = Hello::of(&relay.address).await;
    other
        .answer(&relay.address, |hello| hello.key_hash.0[0] ^= 1)
        .await;
    assert!(other.is_closed().await);
    for version in [0, 5, 21, u16::MAX] {
        let mut other = Hello::of(&relay.address).await;
        other
            .answer(&relay.address, |hello| hello.version = SmpVersion(version))
            .await;
        assert!(other.is_closed().await, "{version}");
    }
    let mut garbage = Hello::of(&relay.address).await;
    garbage.stream.write_all(&[0xff; 16_384]).await.unwrap();
    assert!(garbage.is_closed().await);
    bystander.exchange().await;
    assert_eq!(folder.stats().await["handshakes_failed"], 6);
}

#[tokio::test]
async fn a_transmission_of_another_session_does_nothing() {
    let (_folder, relay, mut bystander) = relay().await;
    for (version, error) in [(OLDEST, ErrorType::Session), (NEWEST, ErrorType::Auth)] {
        let mut one = Raw::of_version(&relay.address, version).await;
        let mut other = Raw::of_version(&relay.address, version).await;
        let (key, ids) = create(&relay, &mut one).await;
        let sender = key_of(version);
        let secure = Command::Key(sender.public());
        let recipient_id: EntityId = ids.recipient_id.clone().into();
        assert_eq!(
            one.run(&recipient_id, Some(&key), &secure).await,
            Response::Ok
        );
        let sender_id: EntityId = ids.sender_id.clone().into();
        let (_, seen) = one.transmission(&sender_id, Some(&sender), &send(b"once"));
        for (raw, answer) in [(&mut one, Response::Ok), (&mut other, refused(error))] {
            let block = raw.block(std::slice::from_ref(&seen));
            raw.write(&block[..]).await.unwrap();
            assert_eq!(raw.next().await.unwrap().1, answer);
        }
        let Response::Info(info) = one.run(&recipient_id, Some(&key), &Command::Que).await else {
            panic!("no INFO");
        };
        assert!(info.contains("\"qiSize\":1"), "{info}");
        bystander.exchange().await;
    }
}

#[tokio::test]
async fn a_block_that_comes_twice_closes_the_connection() {
    let (_folder, relay, mut bystander) = relay().await;
    let mut raw = Raw::of(&relay.address).await;
    let (key, ids) = create(&relay, &mut raw).await;
    let sender_id: EntityId = ids.sender_id.into();
    let (_, bytes) = raw.transmission(&sender_id, None, &send(b"once"));
    let block = raw.block(&[bytes]);
    raw.write(&block[..]).await.unwrap();
    raw.write(&block[..]).await.unwrap();
    assert_eq!(raw.next().await.unwrap().1, Response::Ok);
    assert!(raw.is_closed().await);
    let mut raw = Raw::of(&relay.address).await;
    let Response::Info(info) = raw
        .run(&ids.recipient_id.into(), Some(&key), &Command::Que)
        .await
    else {
        panic!("no INFO");
    };
    assert!(info.contains("\"qiSize\":1"), "{info}");
    bystander.exchange().await;
}

#[tokio::test]
async fn who_has_no_right_to_a_queue_learns_nothing() {
    let (_folder, relay, mut bystander) = relay().await;
    let mut raw = Raw::of(&relay.address).await;
    let (key, ids) = create(&relay, &mut raw).await;
    let (others, _) = create(&relay, &mut raw).await;
    let recipient_id: EntityId = ids.recipient_id.into();
    let sender_id: EntityId = ids.sender_id.into();
    let nobody = EntityId::new(&[9; 24]).unwrap();
    let auth = refused(ErrorType::Auth);
    for command in [
        Command::Sub,
        Command::Get,
        Command::Off,
        Command::Del,
        Command::Que,
    ] {
        for (entity, key) in [
            (&recipient_id, &others),
            (&sender_id, &key),
            (&nobody, &key),
        ] {
            assert_eq!(raw.run(entity, Some(key), &command).await, auth);
        }
        let unsigned = raw.run(&recipient_id, None, &command).await;
        assert_eq!(unsigned, refused(ErrorType::Cmd(CommandError::NoAuth)));
        let no_entity = raw.run(&EntityId::EMPTY, Some(&key), &command).await;
        assert!(
            matches!(no_entity, Response::Err(ErrorType::Cmd(_))),
            "{no_entity:?}"
        );
    }
    assert_eq!(raw.run(&sender_id, Some(&others), &send(b"")).await, auth);
    assert_eq!(raw.run(&nobody, None, &send(b"")).await, auth);
    // NEW with the key of one, signed by another's.
    let command = new(&relay, NEWEST, &key);
    assert_eq!(
        raw.run(&EntityId::EMPTY, Some(&others), &command).await,
        auth
    );
    bystander.exchange().await;
}
