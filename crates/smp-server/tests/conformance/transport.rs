//! "Transport connection with the SMP router", as far as it can be seen without TLS.

use std::time::{Duration, SystemTime};

use smp_transport::{BlockIo, ClientHandshakeOptions, verify_relay_key};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The relay's hello.
async fn hello_of(relay: &TestRelay, offered: VersionRange) -> (ServerHello, SessionId) {
    let (mut io, session_id) = relay.stream(offered, &[]);
    let block = io.read_block().await.unwrap().unwrap();
    (ServerHello::from_block(&block).unwrap(), session_id)
}

fn client_hello(relay: &TestRelay, version: u16) -> ClientHello {
    let client_key = Some(DhPrivateKey::from_bytes(&[5; 32]).public());
    let version = SmpVersion(version);
    ClientHello {
        version,
        key_hash: relay.identity(),
        client_key,
        proxy: false,
        service: None,
    }
}

/// Answers the relay's hello with this content; whether the relay closes the connection then.
async fn refused(relay: &TestRelay, offered: VersionRange, content: &[u8]) -> bool {
    let (mut io, _) = relay.stream(offered, &[]);
    io.read_block().await.unwrap().unwrap();
    io.write_block(plain_block(content).unwrap()).await.unwrap();
    matches!(
        tokio::time::timeout(PATIENCE, io.read_block()).await,
        Ok(Ok(None) | Err(_))
    )
}

#[tokio::test(start_paused = true)]
async fn handshake_hello_offers_all_versions_with_a_signed_session_key() {
    let relay = relay();
    let (hello, session_id) = hello_of(&relay, VersionRange::SUPPORTED).await;
    assert_eq!(
        hello.versions,
        VersionRange::new(SmpVersion(6), SmpVersion(20)).unwrap()
    );
    assert_eq!(hello.session_id, session_id);
    let key = hello.key.unwrap();
    verify_relay_key(&key, &relay.identity(), SystemTime::now()).unwrap();
    assert_eq!(key.chain.certificates().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn handshake_each_session_has_another_key() {
    let relay = relay();
    let (first, _) = hello_of(&relay, VersionRange::SUPPORTED).await;
    let (second, _) = hello_of(&relay, VersionRange::SUPPORTED).await;
    assert_ne!(
        first.key.unwrap().signed_key,
        second.key.unwrap().signed_key
    );
}

#[tokio::test(start_paused = true)]
async fn handshake_without_alpn_offers_version_6_alone_and_no_key() {
    let relay = relay();
    let (hello, _) = hello_of(&relay, VersionRange::LEGACY).await;
    assert_eq!(
        hello.versions,
        VersionRange::new(SmpVersion(6), SmpVersion(6)).unwrap()
    );
    assert!(hello.key.is_none());
    let later = client_hello(&relay, 7).encode().unwrap();
    assert!(refused(&relay, VersionRange::LEGACY, &later).await);
}

#[tokio::test(start_paused = true)]
async fn handshake_with_another_identity_is_refused() {
    let relay = relay();
    let hello = ClientHello {
        key_hash: Fingerprint([1; 32]),
        ..client_hello(&relay, 20)
    };
    assert!(refused(&relay, VersionRange::SUPPORTED, &hello.encode().unwrap()).await);
}

#[tokio::test(start_paused = true)]
async fn handshake_with_a_version_that_was_not_offered_is_refused() {
    let relay = relay();
    for version in [0, 5, 21, u16::MAX] {
        let hello = client_hello(&relay, version).encode().unwrap();
        assert!(refused(&relay, VersionRange::SUPPORTED, &hello).await);
    }
}

#[tokio::test(start_paused = true)]
async fn handshake_that_cannot_be_read_is_refused() {
    let relay = relay();
    let hello = client_hello(&relay, 20).encode().unwrap();
    for length in [0, 1, 2, 20, 40, hello.len() - 1] {
        assert!(refused(&relay, VersionRange::SUPPORTED, &hello[..length]).await);
    }
    let weak = ClientHello {
        client_key: Some(DhPublicKey([0; 32])),
        ..client_hello(&relay, 20)
    };
    assert!(refused(&relay, VersionRange::SUPPORTED, &weak.encode().unwrap()).await);
}

#[tokio::test(start_paused = true)]
async fn handshake_ignores_what_later_versions_add() {
    let relay = relay();
    for version in [6, 7, 13, 14, 15, 16, 20] {
        let mut hello = client_hello(&relay, version).encode().unwrap();
        hello.extend_from_slice(&[0; 100]);
        assert!(!refused(&relay, VersionRange::SUPPORTED, &hello).await);
    }
}

#[tokio::test(start_paused = true)]
async fn handshake_must_not_take_for_ever() {
    let relay = relay_with("[limits]\nhandshake_seconds = 10");
    let (mut silent, _) = relay.stream(VersionRange::SUPPORTED, &[]);
    let (ours, theirs) = tokio::io::duplex(65_536);
    drop(theirs);
    drop(ours);
    let started = Instant::now();
    silent.read_block().await.unwrap().unwrap();
    assert!(matches!(silent.read_block().await, Ok(None) | Err(_)));
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn handshake_session_ids_of_48_bytes_work_as_well() {
    let relay = relay();
    let session_id = SessionId::new(&[3; 48]).unwrap();
    let io = relay.stream_of(&session_id, VersionRange::SUPPORTED, &[]);
    let options = ClientHandshakeOptions {
        versions: VersionRange::SUPPORTED,
        proxy: false,
        service: None,
        now: SystemTime::now(),
    };
    let mut client = relay.shake_hands(io, &session_id, options).await.unwrap();
    let queue = create(&mut client, MESSAGING).await;
    let key = secure(&mut client, &queue).await;
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"hello")).await,
        OK
    );
    assert_eq!(client.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn blocks_are_encrypted_from_version_11_on_unless_for_proxies() {
    let relay = relay();
    let ping = |client: &mut Client| {
        let corr_id = client.corr_id();
        let ping = client.transmission(&corr_id, &EntityId::EMPTY, None, &Command::Ping);
        client.block(&[ping])
    };
    for (version, proxy, encrypted) in [
        (6, false, false),
        (10, false, false),
        (11, false, true),
        (20, false, true),
        (20, true, false),
    ] {
        let version = SmpVersion(version);
        let mut client = if proxy {
            relay.proxy_of(version).await
        } else {
            relay.client_of(version).await
        };
        assert_eq!(client.params.block_encryption, encrypted);
        let block = ping(&mut client);
        client.io.write_block(block).await.unwrap();
        let answer = client.io.read_block().await.unwrap().unwrap();
        let readable = answer.windows(4).any(|part| part == b"PONG");
        assert_eq!(readable, !encrypted);
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_that_were_not_encrypted_with_the_next_key_end_the_connection() {
    let relay = relay();
    let mut client = relay.client().await;
    let corr_id = client.corr_id();
    let ping = client.transmission(&corr_id, &EntityId::EMPTY, None, &Command::Ping);
    let block = client.block(&[ping]);
    client.io.write_block(block.clone()).await.unwrap();
    assert_eq!(client.answer(&corr_id).await, Response::Pong);
    client.io.write_block(block).await.unwrap();
    assert!(client.closed().await, "the same block again");

    let mut client = relay.client().await;
    client
        .io
        .write_block(plain_block(b"in clear").unwrap())
        .await
        .unwrap();
    assert!(client.closed().await);
}

#[tokio::test(start_paused = true)]
async fn blocks_with_a_padding_that_is_none_end_the_connection() {
    let relay = relay();
    let mut client = relay.client_of(SmpVersion(10)).await;
    client
        .io
        .write_block(Box::new([0xff; BLOCK_SIZE]))
        .await
        .unwrap();
    assert!(client.closed().await);
}

#[tokio::test(start_paused = true)]
async fn keep_alive_a_silent_client_without_subscription_is_disconnected() {
    let relay = relay_with("[limits]\nidle_minutes = 10");
    let mut client = relay.client().await;
    let queue = create_only(&mut client, MESSAGING).await;
    assert_eq!(
        client.manage(&queue, Command::Get).await,
        OK,
        "which subscribes to nothing"
    );
    sleep(9 * MINUTE).await;
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Ping).await,
        Response::Pong
    );
    sleep(9 * MINUTE).await;
    assert!(client.silent().await);
    sleep(MINUTE).await;
    assert!(client.closed().await);
}

#[tokio::test(start_paused = true)]
async fn keep_alive_a_subscribed_client_may_be_silent() {
    let relay = relay_with("[limits]\nidle_minutes = 10");
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let key = key_of(&mut client);
    let credentials = Some((key.public(), DhPrivateKey::generate(&mut client.rng)));
    let options = NewQueueOptions {
        notifier: credentials,
        ..Default::default()
    };
    let queue = create_with(&mut client, options).await;
    assert_eq!(
        notifier
            .run(queue.notifier(), Some(&key), Command::Nsub)
            .await,
        SOK
    );
    sleep(24 * 60 * MINUTE).await;
    let mut sender = relay.client().await;
    let sent = sender
        .run(queue.sender(), None, send_notified(b"hello"))
        .await;
    assert_eq!(sent, OK);
    assert_eq!(client.message(&queue).await.body, b"hello");
    assert!(matches!(notifier.event().await.1, Response::Nmsg { .. }));
}

#[tokio::test(start_paused = true)]
async fn keep_alive_half_a_block_does_not_keep_a_connection() {
    let relay = relay_with("[limits]\nidle_minutes = 10");
    let (stream, theirs) = tokio::io::duplex(65_536);
    let id = SessionId::new(&[4; 32]).unwrap();
    let (served, credentials) = (relay.relay.clone(), relay.credentials.clone());
    let stop = relay.stop.clone();
    tokio::spawn(async move {
        let versions = VersionRange::SUPPORTED;
        served
            .serve_stream(theirs, &id, &credentials, versions, stop)
            .await;
    });
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut block = vec![0; BLOCK_SIZE];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut block)
        .await
        .unwrap();
    writer
        .write_all(&*client_hello(&relay, 20).to_block().unwrap())
        .await
        .unwrap();
    writer.write_all(&[0; 8000]).await.unwrap();
    let started = Instant::now();
    let left = tokio::io::AsyncReadExt::read(&mut reader, &mut block)
        .await
        .unwrap();
    assert_eq!((left, started.elapsed()), (0, 2 * MINUTE));
}

#[tokio::test(start_paused = true)]
async fn general_a_client_that_does_not_read_is_disconnected_and_loses_nothing() {
    let relay = relay_with("[limits]\nwrite_seconds = 30");
    let (mut slow, mut sender) = (relay.client().await, relay.client().await);
    let mut queues = Vec::new();
    for _ in 0..20 {
        queues.push(create(&mut slow, MESSAGING).await);
    }
    for queue in &queues {
        post(&mut sender, queue, b"hello").await;
    }
    sleep(2 * MINUTE).await;
    // What fitted into the stream is still there; then it ends.
    let mut blocks = 0;
    while let Ok(Some(_)) = slow.io.read_block().await {
        blocks += 1;
    }
    assert!(blocks < 20);
    let mut client = relay.client().await;
    for queue in &queues {
        assert_eq!(client.manage(queue, Command::Sub).await, SOK);
        assert_eq!(client.message(queue).await.body, b"hello");
    }
}

#[tokio::test(start_paused = true)]
async fn general_a_stopping_relay_closes_its_connections() {
    let relay = relay();
    let (mut idle, mut subscribed) = (relay.client().await, relay.client().await);
    create(&mut subscribed, MESSAGING).await;
    relay.stop();
    assert!(idle.closed().await);
    assert!(subscribed.closed().await);
}

#[tokio::test(start_paused = true)]
async fn general_commands_that_come_too_fast_wait_and_are_not_refused() {
    let relay = relay_with("[limits]\ncommands_per_second = 10");
    let mut client = relay.client().await;
    let ids: Vec<_> = (0..120).map(|_| client.corr_id()).collect();
    let mut block = Vec::new();
    for id in &ids {
        block.push(client.transmission(id, &EntityId::EMPTY, None, &Command::Ping));
    }
    let started = Instant::now();
    client.send(&block).await;
    for id in &ids {
        assert_eq!(client.answer(id).await, Response::Pong);
    }
    // 20 go at once, the others at 10 a second.
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn general_new_queues_that_come_too_fast_wait_and_are_not_refused() {
    let relay = relay_with("[limits]\nnew_queues_per_minute = 6");
    let mut client = relay.client().await;
    let started = Instant::now();
    for _ in 0..7 {
        create(&mut client, MESSAGING).await;
    }
    assert_eq!(started.elapsed().as_secs(), 10);
    let mut other = relay.client().await;
    create(&mut other, MESSAGING).await;
    assert_eq!(
        started.elapsed().as_secs(),
        10,
        "another connection has its own share"
    );
}

#[tokio::test(start_paused = true)]
async fn general_who_waits_for_a_turn_does_not_when_the_relay_stops() {
    let relay = relay_with("[limits]\ncommands_per_second = 1\nnew_queues_per_minute = 1");
    let mut client = relay.client().await;
    let ids: Vec<_> = (0..100).map(|_| client.corr_id()).collect();
    let mut block = Vec::new();
    for id in &ids {
        block.push(client.transmission(id, &EntityId::EMPTY, None, &Command::Ping));
    }
    client.send(&block).await;
    sleep(Duration::from_secs(5)).await;
    let stopped = Instant::now();
    relay.stop();
    // What was read is executed and answered all the same.
    for id in &ids {
        assert_eq!(client.answer(id).await, Response::Pong);
    }
    assert!(client.closed().await);
    let elapsed = stopped.elapsed();
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
}
