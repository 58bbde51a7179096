//! Many at once: connections, commands, queues, and readers who never read.

use std::time::{Duration, Instant};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::Session;
use smp_client::SessionOptions;
use smp_protocol::{
    AuthPrivateKey, Command, DhPrivateKey, EntityId, LinkData, LinkId, NewQueue, QueueRequest,
    Response, ServerAddress,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{
    Bystander, Folder, Hello, PATIENCE, Queue, Raw, Relay, connect, link, new_key, silent, until,
};

/// Connections that come and go, at most so many at a time.
async fn in_turn(address: &ServerAddress, count: usize, at_once: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        if tasks.len() == at_once {
            tasks.join_next().await.unwrap().unwrap();
        }
        let address = address.clone();
        tasks.spawn(async move { come_and_go(&address, number).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Leaves at one of the stages of a connection.
async fn come_and_go(address: &ServerAddress, number: usize) {
    let port = address.relay.port_or_default();
    match number % 8 {
        0 => {
            let (session, _events) = {
                let (link, _) = link(address).await.unwrap();
                let options = SessionOptions::default();
                Session::over(link, address, &options).await.unwrap()
            };
            session.ping().await.unwrap();
        }
        1 => drop(link(address).await.unwrap()),
        2 => {
            let mut hello = Hello::of(address).await;
            let _ = hello.stream.write_all(&[1; 1000]).await;
        }
        3 => {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
            let mut sink = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut sink))
                .await
                .unwrap();
        }
        _ => drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap()),
    }
}

/// Whether the relay has no more open than it had.
async fn lets_go(relay: &Relay, files: usize) {
    until("all connections are let go", async || {
        relay.open_files() <= files
    })
    .await;
}

#[tokio::test]
async fn thousands_of_connections_in_turn_leave_nothing_behind() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    let files = relay.open_files();
    // The first ones warm up the memory allocator.
    bystander
        .exchange_during(in_turn(&relay.address, 400, 16))
        .await;
    lets_go(&relay, files).await;
    let memory = relay.memory();
    let flood = in_turn(&relay.address, 2000, 16);
    let ((), exchanged) = bystander.exchange_during(flood).await;
    assert!(exchanged > 10, "{exchanged}");
    lets_go(&relay, files).await;
    let growth = relay.memory().saturating_sub(memory);
    assert!(growth < 4 << 20, "{growth} bytes more than {memory}");
    let stats = folder.stats().await;
    assert_eq!(stats["connections"], 2, "{stats:#}");
    bystander.exchange().await;
}

#[tokio::test]
async fn who_comes_when_there_is_no_place_is_turned_away_at_once() {
    let folder = Folder::new("limits.connections = 4").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    let third = connect(&relay.address).await;
    let fourth = TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap();
    for _ in 0..5 {
        let mut turned_away = TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap();
        let read = timeout(PATIENCE, turned_away.read(&mut [0])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    bystander.exchange().await;
    assert_eq!(folder.stats().await["connections_refused"], 5);
    drop((third, fourth));
    until("there is a place again", async || {
        link(&relay.address).await.is_ok()
    })
    .await;
    bystander.exchange().await;
}

#[tokio::test]
async fn a_lack_of_file_descriptors_passes() {
    let metrics = crate::support::free_port();
    let folder = Folder::new(&format!("metrics.listen = \"127.0.0.1:{metrics}\"")).await;
    let relay = folder.start_in_shell("ulimit -n 64").await;
    let mut bystander = Bystander::of(&relay.address).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap());
    }
    until("no descriptor is left", async || relay.open_files() >= 64).await;
    // These wait for descriptors as well.
    let scrape = TcpStream::connect(("127.0.0.1", metrics)).await.unwrap();
    let control = tokio::net::UnixStream::connect(folder.path().join("control.sock"));
    let control = control.await.unwrap();
    for _ in 0..10 {
        bystander.exchange().await;
    }
    drop((crowd, scrape, control));
    // Others get in again, the operator and Prometheus too.
    bystander.exchange().await;
    Bystander::of(&relay.address).await;
    assert!(folder.stats().await["connections"].as_i64().unwrap() >= 2);
    let mut scrape = TcpStream::connect(("127.0.0.1", metrics)).await.unwrap();
    scrape
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    timeout(PATIENCE, scrape.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn the_relay_takes_the_descriptors_that_it_may_have_and_says_if_they_are_few() {
    let folder = Folder::new("limits.connections = 200").await;
    let mut relay = folder.start_in_shell("ulimit -Sn 64; ulimit -Hn 200").await;
    relay.prints("too few for `limits.connections = 200`").await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap());
    }
    Bystander::of(&relay.address).await;
    relay.stop().await;
    let relay = folder.start_in_shell("ulimit -Sn 64; ulimit -Hn 300").await;
    assert!(!relay.output().contains("too few"));
}

#[tokio::test]
async fn waiting_for_file_descriptors_costs_no_time_of_the_processor() {
    let metrics = crate::support::free_port();
    let folder = Folder::new(&format!("metrics.listen = \"127.0.0.1:{metrics}\"")).await;
    let relay = folder.start_in_shell("ulimit -n 64").await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap());
    }
    until("no descriptor is left", async || relay.open_files() >= 64).await;
    let _scrape = TcpStream::connect(("127.0.0.1", metrics)).await.unwrap();
    let control = tokio::net::UnixStream::connect(folder.path().join("control.sock"));
    let _control = control.await.unwrap();
    let before = relay.cpu();
    // What it does in this second is what is measured.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = relay.cpu() - before;
    assert!(spent < Duration::from_millis(300), "{spent:?}");
}

fn new(address: &ServerAddress, key: &AuthPrivateKey) -> Command {
    Command::New(Box::new(NewQueue {
        auth_key: key.public(),
        dh_key: DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public(),
        basic_auth: address.basic_auth.clone(),
        subscribe: false,
        request: Some(QueueRequest::Contact(None)),
        notifier: None,
    }))
}

#[tokio::test]
async fn a_flood_of_new_queues_waits_its_turn() {
    let folder = Folder::new("limits.new_queues_per_minute = 30").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    let mut raw = Raw::of(&relay.address).await;
    let began = Instant::now();
    let flood = async {
        for _ in 0..31 {
            let key = new_key();
            let command = new(&relay.address, &key);
            let answer = raw.run(&EntityId::EMPTY, Some(&key), &command).await;
            assert!(matches!(answer, Response::Ids(_)), "{answer:?}");
        }
        began.elapsed()
    };
    let (elapsed, exchanged) = bystander.exchange_during(flood).await;
    // 30 at once; each further one takes two seconds.
    let (least, most) = (Duration::from_millis(1900), Duration::from_secs(20));
    assert!(elapsed > least && elapsed < most, "{elapsed:?}");
    assert!(exchanged > 10, "{exchanged}");
}

#[tokio::test]
async fn a_flood_of_commands_waits_its_turn() {
    let folder = Folder::new("limits.commands_per_second = 100").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    let mut raw = Raw::of(&relay.address).await;
    let began = Instant::now();
    let flood = async {
        let pings: Vec<_> = (0..250)
            .map(|_| raw.transmission(&EntityId::EMPTY, None, &Command::Ping).1)
            .collect();
        let block = raw.block(&pings);
        raw.write(&block[..]).await.unwrap();
        for _ in 0..pings.len() {
            assert_eq!(raw.next().await.unwrap().1, Response::Pong);
        }
        began.elapsed()
    };
    let (elapsed, _) = bystander.exchange_during(flood).await;
    // 200 at once, the others in half a second.
    let (least, most) = (Duration::from_millis(450), Duration::from_secs(10));
    assert!(elapsed > least && elapsed < most, "{elapsed:?}");
}

/// A queue whose link shows as much as a link can.
async fn large_link(session: &Session) -> LinkId {
    let queue = Queue::create(session, QueueRequest::Contact(None)).await;
    let data = LinkData {
        fixed: vec![1; 2000],
        user: vec![2; 13_000],
    };
    let link = LinkId::generate(&mut UnwrapErr(SysRng));
    session
        .set_link(queue.key(), link.clone(), data)
        .await
        .unwrap();
    link
}

/// Asks for 255 answers of a block each and reads none of them.
async fn ask_and_never_read(address: &ServerAddress, link: &LinkId) -> Raw {
    let mut raw = Raw::of(address).await;
    let entity = EntityId::from(link.clone());
    let asked: Vec<_> = (0..200)
        .map(|_| raw.transmission(&entity, None, &Command::Lget).1)
        .collect();
    for _ in 0..2 {
        let block = raw.block(&asked);
        raw.write(&block[..]).await.unwrap();
    }
    raw
}

#[tokio::test]
async fn who_asks_for_much_and_never_reads_is_disconnected_and_holds_little_memory() {
    const READERS: u64 = 20;
    let folder = Folder::new("limits.write_seconds = 2\nlimits.commands_per_second = 100000").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    let (session, _events) = connect(&relay.address).await;
    let link = large_link(&session).await;
    let before = relay.memory();
    let mut most = 0;
    let attack = async {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(ask_and_never_read(&relay.address, &link).await);
        }
        until("they are disconnected", async || {
            most = most.max(relay.memory());
            folder.stats().await["slow_connections"] == READERS
        })
        .await;
    };
    bystander.exchange_during(attack).await;
    let each = most.saturating_sub(before) / READERS;
    assert!(each < 1 << 20, "{each} bytes for each reader");
    bystander.exchange().await;
}

/// Subscribes to queues in which messages wait and reads none of them.
#[tokio::test]
async fn who_subscribes_and_never_reads_is_disconnected_and_loses_nothing() {
    const QUEUES: usize = 400;
    let folder = Folder::new("limits.write_seconds = 2\nlimits.commands_per_second = 100000").await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    let queues = {
        let (recipient, events) = connect(&relay.address).await;
        // Nobody takes them, so they wait.
        drop(events);
        let mut queues = Vec::new();
        for _ in 0..QUEUES {
            queues.push(Queue::create(&recipient, QueueRequest::Contact(None)).await);
        }
        queues
    };
    let (sender, _) = connect(&relay.address).await;
    for queue in &queues {
        let body = vec![3; 15_000];
        sender
            .send_message(&queue.ids.sender_id, None, silent(), body)
            .await
            .unwrap();
    }
    let before = relay.memory();
    let mut raw = Raw::of(&relay.address).await;
    let subscribe: Vec<_> = queues
        .iter()
        .map(|queue| {
            let entity = EntityId::from(queue.ids.recipient_id.clone());
            raw.transmission(&entity, Some(&queue.key), &Command::Sub).1
        })
        .collect();
    for some in subscribe.chunks(80) {
        let block = raw.block(some);
        raw.write(&block[..]).await.unwrap();
    }
    let attack = until("it is disconnected", async || {
        folder.stats().await["slow_connections"] == 1
    });
    bystander.exchange_during(attack).await;
    let growth = relay.memory().saturating_sub(before);
    assert!(growth < 3 << 20, "{growth} bytes");
    drop(raw);
    // Whoever comes again finds all of them.
    let (recipient, mut events) = connect(&relay.address).await;
    let keys: Vec<_> = queues.iter().map(Queue::key).collect();
    for subscribed in recipient.subscribe(&keys).await {
        subscribed.unwrap();
    }
    for _ in 0..QUEUES {
        crate::support::events_message(&mut events).await;
    }
}
