//! How agents begin and end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod driver_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driver_support::*;
use smp_agent::{Agent, AgentError, AgentEvent, Store, StoreError, StoreKey};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

const SECOND: Duration = Duration::from_secs(1);

fn key() -> StoreKey {
    StoreKey::Raw(Zeroizing::new([7; 32]))
}

#[tokio::test(start_paused = true)]
async fn a_closed_agent_gives_its_store_back_and_answers_nothing() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let (id, ..) = alice.invite().await;
    let (agent, clone) = (alice.agent.clone(), alice.agent.clone());
    let store = alice.agent.close().await.unwrap();
    assert!(matches!(agent.connections().await, Err(AgentError::Closed)));
    assert!(matches!(
        agent.set_servers(Vec::new()).await,
        Err(AgentError::Closed)
    ));
    agent.hurry();
    assert!(clone.close().await.is_none());
    // What was told before is still there; then there is nothing.
    let end = timeout(SECOND, async {
        while alice.events.next().await.is_some() {}
    });
    end.await.unwrap();
    let again = Peer::over("alice", store, alice.options.clone());
    assert!(again.agent.links(id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn closing_takes_no_longer_than_some_seconds() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    two.go_down();
    alice.send(at_alice, "waiting").await;
    sleep(SECOND / 10).await;
    let began = Instant::now();
    let mut alice = alice.restart().await;
    assert!(began.elapsed() <= 6 * SECOND, "{:?}", began.elapsed());
    two.come_up();
    assert_eq!(bob.message(at_bob).await, "waiting");
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_ends_with_its_last_handle_and_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let net = Net::new();
    let relay = net.relay("one");
    let store = Store::create(&path, &key()).unwrap();
    let mut alice = Peer::over("alice", store, options(&net, "alice", &[&relay]));
    let (id, ..) = alice.invite().await;
    let Peer {
        agent,
        mut events,
        options,
        ..
    } = alice;
    drop(agent);
    sleep(10 * SECOND).await;
    assert!(matches!(Store::open(&path, &key()), Err(StoreError::InUse)));
    while timeout(SECOND, events.next()).await.is_ok() {}
    drop(events);
    let store = opened(&path).await;
    let again = Peer::over("alice", store, options);
    assert!(again.agent.links(id).await.unwrap().is_some());
}

async fn opened(path: &Path) -> Store {
    for _ in 0..1_000 {
        match Store::open(path, &key()) {
            Ok(store) => return store,
            Err(StoreError::InUse) => sleep(SECOND / 100).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store was not given back")
}

#[tokio::test(start_paused = true)]
async fn notices_that_nobody_reads_are_dropped_and_events_are_not() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    // Each message is a notice of its sender and an event of its recipient.
    for text in numbered("bob", 600) {
        bob.send(at_bob, &text).await;
        if text.ends_with("50") {
            sleep(SECOND).await;
        }
    }
    assert_eq!(alice.messages(at_alice, 600).await, numbered("bob", 600));
    let mut notices = 0;
    while let Ok(Some(event)) = timeout(SECOND, bob.events.next()).await {
        notices += usize::from(matches!(event, AgentEvent::Notice(_)));
    }
    assert!((1..=256).contains(&notices), "{notices}");
}

/// On threads of their own and in real time, all agents live apart from the relays.
#[test]
fn agents_on_their_own_threads_connect_and_end() {
    let relays = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let net = relays.block_on(async { Net::new() });
    let (one, two) = relays.block_on(async { (net.relay("one"), net.relay("two")) });
    let here = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    here.block_on(async {
        let mut alice = started(&net, "alice", &one, Store::create(&path, &key()).unwrap());
        let mut bob = started(&net, "bob", &two, Store::in_memory().unwrap());
        let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        alice.agent.test_server(&two.server()).await.unwrap();
        drop(alice);
        bob.send(at_bob, "while away").await;
        let mut alice = started(&net, "alice", &one, opened(&path).await);
        assert_eq!(alice.message(at_alice).await, "while away");
        drop(alice.stop().await);
        assert!(Store::open(&path, &key()).is_ok());
    });
}

fn started(net: &Arc<Net>, name: &str, relay: &Arc<TestRelay>, store: Store) -> Peer {
    let options = options(net, name, &[relay]);
    let (agent, events) = Agent::start(store, options.clone()).unwrap();
    Peer::of(name, agent, events, options)
}

#[test]
fn a_store_that_cannot_be_read_does_not_start() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let net = Net::new();
        let mut store = Store::in_memory().unwrap();
        let drop_table = |tx: &smp_agent::Transaction<'_>| {
            tx.sql().execute_batch("DROP TABLE receive_queue").unwrap();
            Ok::<_, StoreError>(())
        };
        store.transaction(drop_table).unwrap();
        let refused = Agent::start(store, options(&net, "alice", &[]));
        assert!(matches!(refused, Err(AgentError::Core(_))));
    });
}
