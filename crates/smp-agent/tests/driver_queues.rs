//! Queues that are replaced, added and deleted.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod driver_support;

use std::time::Duration;

use driver_support::*;
use smp_agent::core::{Event, Notice};
use smp_agent::{Agent, AgentEvent, ConnectionId, RelayState};
use tokio::time::{sleep, timeout};

const HOUR: Duration = Duration::from_secs(3_600);

async fn queue_changed(peer: &mut Peer, connection: ConnectionId) {
    peer.event(connection, "QueueChanged", |event| {
        matches!(event, Event::QueueChanged).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_moves_to_another_relay() {
    let net = Net::new();
    let (one, two, three) = (net.relay("one"), net.relay("two"), net.relay("three"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    bob.agent
        .set_servers(vec![two.server(), three.server()])
        .await
        .unwrap();
    bob.agent.rotate(at_bob).await.unwrap();
    queue_changed(&mut bob, at_bob).await;
    sleep(Duration::from_secs(5)).await;
    two.go_down();
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    // The relay that serves nothing any more is let go.
    assert!(net.dialled_by("bob").contains(&"three".to_owned()));
    let dials = net.dials("bob", "two");
    sleep(2 * HOUR).await;
    assert_eq!(net.dials("bob", "two"), dials);
}

#[tokio::test(start_paused = true)]
async fn messages_on_their_way_are_told_in_order_while_queues_move() {
    let net = Net::new();
    let relays = [net.relay("one"), net.relay("two"), net.relay("three")];
    let all: Vec<_> = relays.iter().collect();
    let mut alice = Peer::new(&net, "alice", &all);
    let mut bob = Peer::new(&net, "bob", &all);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    let send = |agent: Agent, at: ConnectionId, who: &'static str| async move {
        for text in numbered(who, 60) {
            agent.send(at, text.as_bytes(), true).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::spawn(send(alice.agent.clone(), at_alice, "alice"));
    tokio::spawn(send(bob.agent.clone(), at_bob, "bob"));
    sleep(Duration::from_millis(200)).await;
    bob.agent.rotate(at_bob).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    alice.agent.rotate(at_alice).await.unwrap();
    assert_eq!(bob.messages(at_bob, 60).await, numbered("alice", 60));
    assert_eq!(alice.messages(at_alice, 60).await, numbered("bob", 60));
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_queue_survives_the_death_of_the_first_relay() {
    let net = Net::new();
    let (one, two, three) = (net.relay("one"), net.relay("two"), net.relay("three"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    bob.agent
        .set_servers(vec![two.server(), three.server()])
        .await
        .unwrap();
    bob.agent.add_queue(at_bob).await.unwrap();
    queue_changed(&mut bob, at_bob).await;
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    two.go_down();
    for text in numbered("alice", 5) {
        alice.send(at_alice, &text).await;
    }
    assert_eq!(bob.messages(at_bob, 5).await, numbered("alice", 5));
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    // What comes a second time when it is back is not told again.
    two.come_up();
    let end = tokio::time::Instant::now() + HOUR;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, bob.events.next()).await {
        if let AgentEvent::Event(event) = event {
            assert!(!matches!(event.event, Event::Message { .. }), "{event:?}");
        }
    }
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn queues_move_when_they_are_old() {
    let net = Net::new();
    let (one, two, three) = (net.relay("one"), net.relay("two"), net.relay("three"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob_options = options(&net, "bob", &[&two, &three]);
    bob_options.rotate_after = Some(3 * HOUR);
    let mut bob = Peer::with("bob", bob_options);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    sleep(2 * HOUR).await;
    let early = timeout(Duration::from_secs(60), queue_changed(&mut bob, at_bob));
    assert!(early.await.is_err());
    for _ in 0..2 {
        sleep(4 * HOUR).await;
        queue_changed(&mut bob, at_bob).await;
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    }
}

#[tokio::test(start_paused = true)]
async fn queues_leave_a_relay_that_is_dead() {
    let net = Net::new();
    let (one, two, three) = (net.relay("one"), net.relay("two"), net.relay("three"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    bob.agent
        .set_servers(vec![two.server(), three.server()])
        .await
        .unwrap();
    two.go_down();
    alice.send(at_alice, "into the dead relay").await;
    sleep(26 * HOUR).await;
    assert_eq!(bob.message(at_bob).await, "into the dead relay");
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_connection_leaves_nothing_at_relays() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    let last = bob.send(at_bob, "farewell").await;
    bob.agent.delete(at_bob).await.unwrap();
    bob.notice("Deleted", |notice| {
        matches!(notice, Notice::Deleted { connection } if *connection == at_bob).then_some(())
    })
    .await;
    assert!(last > 0);
    assert!(bob.agent.connections().await.unwrap().is_empty());
    assert_eq!(alice.message(at_alice).await, "farewell");

    let id = alice.send(at_alice, "to nobody").await;
    alice
        .event(at_alice, "NotDelivered", |event| match event {
            Event::NotDelivered { id: failed, .. } => {
                assert_eq!(*failed, id);
                Some(())
            }
            _ => None,
        })
        .await;
    // Nothing is there to connect for.
    let dials = net.dials("bob", "two");
    two.cut();
    sleep(HOUR).await;
    assert_eq!(net.dials("bob", "two"), dials);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_deleted_while_it_is_created_goes() {
    let net = Net::new();
    let relay = net.relay("one");
    for polls in 0..30 {
        let mut alice = Peer::new(&net, "alice", &[&relay]);
        let id = alice.agent.invite(b"", b"").await.unwrap();
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
        alice.agent.delete(id).await.unwrap();
        alice
            .notice("Deleted", |notice| {
                matches!(notice, Notice::Deleted { .. }).then_some(())
            })
            .await;
        let dials = net.dials("alice", "one");
        relay.cut();
        sleep(HOUR).await;
        assert_eq!(net.dials("alice", "one"), dials, "nothing is subscribed to");
    }
}

#[tokio::test(start_paused = true)]
async fn another_password_does_not_lose_queues() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    let mut server = relay.server();
    server.basic_auth = Some("new".parse().unwrap());
    bob.agent.set_servers(vec![server]).await.unwrap();
    let lost = |event: &AgentEvent| match event {
        AgentEvent::Event(event) => Some(event.event == Event::QueueLost),
        AgentEvent::Relay { state, .. } => Some(*state == RelayState::TakenOver),
        _ => None,
    };
    let end = tokio::time::Instant::now() + HOUR;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, bob.events.next()).await {
        assert_ne!(lost(&event), Some(true), "{event:?}");
    }
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}
