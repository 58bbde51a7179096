//! An orderly end: what was answered holds, whatever else is going on.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::Request;
use smp_protocol::{Command, DhPrivateKey, EntityId, NewQueue, QueueRequest, Response};
use tokio::net::TcpStream;

use crate::crash::load::Load;
use crate::support::{Folder, Hello, Queue, Raw, Signal, connect, new_key, report, silent, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_nothing_and_succeeds() {
    const STOPS: u32 = 5;
    let folder = Folder::new(Load::CONFIGURATION).await;
    let load = Load::start();
    let mut longest = Duration::ZERO;
    for _ in 0..STOPS {
        let mut relay = folder.start().await;
        load.lead_to(&relay.address);
        load.answers(200).await;
        let began = Instant::now();
        relay.signal(Signal::TERM);
        let status = relay.ended().await;
        longest = longest.max(began.elapsed());
        let said = relay.whole_output().await;
        assert!(status.success(), "{status}: {said}");
        assert!(
            said.contains("stopped: every accepted command is done"),
            "{said}"
        );
    }
    let relay = folder.start().await;
    load.lead_to(&relay.address);
    let figures = load.finish().await;
    report(format_args!(
        "{STOPS} stops, the longest took {longest:?}; {figures}"
    ));
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[tokio::test]
async fn those_who_linger_do_not_hold_up_the_end() {
    let folder = Folder::new("limits.new_queues_per_minute = 1").await;
    let mut relay = folder.start().await;
    let address = &relay.address;
    // One who says nothing, one in the middle of the handshake, one in the middle of a block, and
    // one who waits for his turn for minutes.
    let silent = TcpStream::connect(("127.0.0.1", relay.port)).await.unwrap();
    let hello = Hello::of(address).await;
    let mut in_block = Raw::of(address).await;
    in_block.write(&[7; 100]).await.unwrap();
    let mut waiting = Raw::of(address).await;
    let many: Vec<_> = (0..20)
        .map(|_| {
            let key = new_key();
            let command = Command::New(Box::new(NewQueue {
                auth_key: key.public(),
                dh_key: DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public(),
                basic_auth: address.basic_auth.clone(),
                subscribe: false,
                request: Some(QueueRequest::Contact(None)),
                notifier: None,
            }));
            waiting
                .transmission(&EntityId::EMPTY, Some(&key), &command)
                .1
        })
        .collect();
    let block = waiting.block(&many);
    waiting.write(&block[..]).await.unwrap();
    until("it waits for its turn", async || {
        folder.stats().await["queues_created"] == 1
    })
    .await;
    let began = Instant::now();
    relay.signal(Signal::TERM);
    assert!(relay.ended().await.success());
    let elapsed = began.elapsed();
    // Well within what the relay gives to connections that don't end.
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
    drop((silent, hello, in_block, waiting));
}

/// The other relay has the commands when this one is told to stop, and answers later.
#[tokio::test]
async fn commands_that_are_on_their_way_through_it_are_answered() {
    const COMMANDS: usize = 60;
    let folder = Folder::new("").await;
    let destination = folder.start().await;
    let proxy = Folder::new("proxy.allow_private_networks = true").await;
    let mut relay = proxy.start().await;
    let (recipient, _events) = connect(&destination.address).await;
    let queue = Queue::create(&recipient, QueueRequest::Contact(None)).await;
    let (sender, _) = connect(&relay.address).await;
    let route = sender
        .proxy_session(&destination.address.relay)
        .await
        .unwrap();
    destination.signal(Signal::STOP);
    let entity = EntityId::from(queue.ids.sender_id.clone());
    let send = Command::Send {
        flags: silent(),
        body: b"late".to_vec(),
    };
    let forwarded =
        (0..COMMANDS).map(|_| sender.forward(&route, Request::about(&entity, None, &send)));
    let stop = async {
        // A command behind the forwarded ones: those were read when it is answered.
        sender.ping().await.unwrap();
        relay.signal(Signal::TERM);
        until("the relay stops", async || {
            TcpStream::connect(("127.0.0.1", relay.port)).await.is_err()
        })
        .await;
        destination.signal(Signal::CONT);
    };
    let (answers, ()) = tokio::join!(join_all(forwarded), stop);
    for answer in answers {
        assert_eq!(answer.unwrap(), Response::Ok);
    }
    assert!(relay.ended().await.success());
    let info = recipient.queue_info(queue.key()).await.unwrap();
    assert!(info.contains(&format!("\"qiSize\":{COMMANDS}")), "{info}");
}

#[tokio::test]
async fn an_interrupt_stops_it_too() {
    let folder = Folder::new("").await;
    let mut relay = folder.start().await;
    relay.signal(Signal::INT);
    assert!(relay.ended().await.success());
    folder.run(&["stats"]).await.failed("no relay runs in");
}
