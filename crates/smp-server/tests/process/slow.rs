//! Who takes his time: each has what the configuration allows, and then the connection is closed.

use std::time::{Duration, Instant};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_protocol::{
    ClientHello, Command, DhPrivateKey, EntityId, NewQueue, QueueRequest, Response, ServerAddress,
    SmpVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::support::{Bystander, Folder, Hello, PATIENCE, Raw, new_key, until};

async fn tcp(address: &ServerAddress) -> TcpStream {
    let port = address.relay.port_or_default();
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Sends these bytes one by one until the relay closes the connection, and says how long it took.
async fn trickle(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        let mut pace = interval(Duration::from_millis(100));
        for byte in bytes {
            pace.tick().await;
            if writer.write_all(&[*byte]).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut sink = Vec::new();
    tokio::select! {
        // An error is an end as well: what was not read is lost with the connection.
        _ = timeout(PATIENCE, reader.read_to_end(&mut sink)) => {}
        () = write => {}
    }
    began.elapsed()
}

#[tokio::test]
async fn the_handshake_is_limited_however_it_is_drawn_out() {
    let folder = Folder::new("limits.handshake_seconds = 1").await;
    let relay = folder.start().await;
    let address = &relay.address;
    let mut bystander = Bystander::of(address).await;
    let hello = ClientHello {
        version: SmpVersion(20),
        key_hash: *address.relay.fingerprint(),
        client_key: Some(DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public()),
        proxy: false,
        service: None,
    };
    let hello = hello.to_block().unwrap();
    // A TLS record of a ClientHello that will be long.
    let client_hello = [&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3][..], &[7; 200]].concat();
    let slow = async {
        let nothing = trickle(tcp(address).await, &[]);
        let in_tls = trickle(tcp(address).await, &client_hello);
        let no_tls = trickle(tcp(address).await, &[22; 200]);
        let (first, second) = (Hello::of(address).await, Hello::of(address).await);
        let no_hello = trickle(first.stream, &[]);
        let in_hello = trickle(second.stream, &hello[..200]);
        let (a, b, c, d, e) = tokio::join!(nothing, in_tls, no_hello, in_hello, no_tls);
        [a, b, c, d, e]
    };
    let (times, exchanged) = bystander.exchange_during(slow).await;
    let (least, most) = (Duration::from_millis(800), Duration::from_secs(10));
    assert!(times.iter().all(|time| *time < most), "{times:?}");
    // What is no TLS at all is known before.
    assert!(times[..4].iter().all(|time| *time > least), "{times:?}");
    assert!(exchanged > 5, "{exchanged}");
    assert_eq!(folder.stats().await["handshakes_failed"], 5);
}

#[tokio::test]
async fn a_block_that_was_begun_must_be_finished() {
    let folder = Folder::new("limits.block_seconds = 1").await;
    let relay = folder.start().await;
    let address = &relay.address;
    let mut bystander = Bystander::of(address).await;
    let slow = async {
        let mut raw = Raw::of(address).await;
        let (_, ping) = raw.transmission(&EntityId::EMPTY, None, &Command::Ping);
        let block = raw.block(&[ping]);
        let alone = trickle(raw.stream, &block[..200]);
        // A subscriber may be silent for as long as it likes, yet not in the middle of a block.
        let mut raw = Raw::of(address).await;
        subscribe(address, &mut raw).await;
        let subscribed = trickle(raw.stream, &block[..1]);
        let (a, b) = tokio::join!(alone, subscribed);
        [a, b]
    };
    let (times, _) = bystander.exchange_during(slow).await;
    let (least, most) = (Duration::from_millis(800), Duration::from_secs(10));
    assert!(
        times.iter().all(|time| *time > least && *time < most),
        "{times:?}"
    );
    assert_eq!(folder.stats().await["slow_connections"], 2);
    bystander.exchange().await;
}

/// Subscribes to a new queue.
async fn subscribe(address: &ServerAddress, raw: &mut Raw) {
    let key = new_key();
    let command = Command::New(Box::new(NewQueue {
        auth_key: key.public(),
        dh_key: DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public(),
        basic_auth: address.basic_auth.clone(),
        subscribe: true,
        request: Some(QueueRequest::Contact(None)),
        notifier: None,
    }));
    let answer = raw.run(&EntityId::EMPTY, Some(&key), &command).await;
    assert!(matches!(answer, Response::Ids(_)), "{answer:?}");
}

/// The kernel finds those whose machine is gone: it asks after a minute of silence. That this takes
/// four minutes is its affair; that it is asked to is ours.
#[tokio::test]
async fn the_system_is_told_to_find_half_open_connections() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    bystander.exchange().await;
    // `sl local remote st queues tr:when`; 01 is an established connection, 02 its keep-alive.
    let port = format!(":{:04X}", relay.port);
    until("the keep-alive timer of each connection runs", async || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let timers: Vec<_> = lines
            .filter(|fields| fields[1].ends_with(&port) && fields[3] == "01")
            .map(|fields| fields[5][..2].to_owned())
            .collect();
        timers == ["02", "02"]
    })
    .await;
}
