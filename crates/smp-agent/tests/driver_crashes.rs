//! Programs that end at one write or another: what was said comes once, and what was begun is finished.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod driver_support;

use std::time::Duration;

use driver_support::*;
use smp_agent::core::Event;
use smp_agent::{AgentEvent, ConnectionState};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Connects, while the store of one side fails from its nth write on until the next start. Returns
/// whether it came to that.
async fn connect_with_crash(writes: u64, inviter: bool, pause: Duration) -> bool {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, short, _) = alice.invite().await;
    if inviter { &alice } else { &bob }
        .crash_after(writes)
        .await;
    let Ok(at_bob) = bob.agent.connect(&short, b"bob").await else {
        return true; // It was not begun.
    };
    sleep(pause).await;
    let crashed;
    if inviter {
        (alice, crashed) = alice.recover().await;
    } else {
        (bob, crashed) = bob.recover().await;
    }
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    crashed
}

#[tokio::test(start_paused = true)]
async fn whoever_crashes_at_some_write_is_connected_after_the_next_start() {
    for inviter in [false, true] {
        let mut writes = 1;
        while connect_with_crash(writes, inviter, Duration::from_secs(20)).await {
            writes += 2;
        }
        assert!(
            writes > 15,
            "inviter {inviter}: a connection takes more than {writes} writes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_crashes_and_starts_at_once_is_connected() {
    for writes in (1..50).step_by(3) {
        for inviter in [false, true] {
            let pause = Duration::from_millis(writes % 3 * 20);
            connect_with_crash(writes, inviter, pause).await;
        }
    }
}

/// Both talk while one of them crashes. What [`Agent::send`](smp_agent::Agent::send) took comes, and
/// what it did not take does not.
async fn talk_with_crash(writes: u64, pause: Duration) -> bool {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    bob.crash_after(writes).await;
    let (mut from_alice, mut from_bob) = (numbered("alice", 4), Vec::new());
    for (there, back) in from_alice.iter().zip(numbered("bob", 4)) {
        alice.send(at_alice, there).await;
        if bob.agent.send(at_bob, back.as_bytes(), true).await.is_ok() {
            from_bob.push(back);
        }
    }
    // Some events are taken meanwhile, as far as the store lets them.
    let mut taken = Vec::new();
    while let Ok(Some(event)) = timeout(pause, bob.events.next()).await {
        if let AgentEvent::Event(event) = event
            && bob.agent.take_event(event.id, true).await.is_ok()
            && let Event::Message { body, .. } = event.event
        {
            taken.push(String::from_utf8(body.to_vec()).unwrap());
        }
    }
    let crashed;
    (bob, crashed) = bob.recover().await;
    alice.send(at_alice, "the end").await;
    bob.send(at_bob, "the end").await;
    from_alice.push("the end".to_owned());
    from_bob.push("the end".to_owned());
    let rest = from_alice.len() - taken.len();
    taken.extend(bob.messages(at_bob, rest).await);
    assert_eq!(taken, from_alice);
    assert_eq!(alice.messages(at_alice, from_bob.len()).await, from_bob);
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    crashed
}

#[tokio::test(start_paused = true)]
async fn whoever_crashes_at_some_write_loses_and_doubles_no_message() {
    let mut writes = 1;
    while talk_with_crash(writes, Duration::from_secs(7)).await {
        writes += 8;
    }
    assert!(writes > 40, "{writes}");
}

#[tokio::test(start_paused = true)]
async fn whoever_crashes_and_starts_at_once_loses_and_doubles_no_message() {
    for writes in (1..60).step_by(4) {
        talk_with_crash(writes, Duration::from_millis(writes % 4)).await;
    }
}

/// A queue moves while one side crashes.
async fn rotate_with_crash(writes: u64, receiver: bool) -> bool {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&one, &two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    if receiver { &bob } else { &alice }
        .crash_after(writes)
        .await;
    if bob.agent.rotate(at_bob).await.is_err() {
        return true; // It was not begun.
    }
    let _ = alice.agent.send(at_alice, b"meanwhile", true).await;
    sleep(Duration::from_secs(12)).await;
    let crashed;
    if receiver {
        (bob, crashed) = bob.recover().await;
    } else {
        (alice, crashed) = alice.recover().await;
    }
    bob.event(at_bob, "QueueChanged", |event| match event {
        Event::QueueChanged => Some(()),
        Event::QueueLost => panic!("the queue was lost"),
        _ => None,
    })
    .await;
    alice.send(at_alice, "the end").await;
    while bob.message(at_bob).await != "the end" {}
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    let connection = bob.agent.connection(at_bob).await.unwrap();
    assert_eq!(connection.state, ConnectionState::Connected);
    crashed
}

#[tokio::test(start_paused = true)]
async fn a_queue_moves_whoever_crashes_at_some_write() {
    for receiver in [false, true] {
        let mut writes = 1;
        while rotate_with_crash(writes, receiver).await {
            writes += 7;
        }
        assert!(writes > 10, "receiver {receiver}: {writes}");
    }
}

/// A request is accepted while one side crashes.
async fn request_with_crash(writes: u64, owner: bool) -> bool {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let address = alice.agent.create_address(b"").await.unwrap();
    let (short, _) = alice.links(address).await;
    if owner { &alice } else { &bob }.crash_after(writes).await;
    let Ok(at_bob) = bob.agent.connect(&short, b"bob").await else {
        return true; // It was not begun.
    };
    let mut at_alice = None;
    let end = Instant::now() + Duration::from_secs(12);
    while let (None, Ok(Some(event))) = (at_alice, timeout_at(end, alice.events.next()).await) {
        if let AgentEvent::Event(event) = event
            && let Event::Requested { request, .. } = event.event
        {
            at_alice = alice.agent.accept(request, b"alice").await.ok();
        }
    }
    tokio::time::sleep_until(end).await;
    let crashed;
    if owner {
        (alice, crashed) = alice.recover().await;
    } else {
        (bob, crashed) = bob.recover().await;
    }
    let at_alice = match at_alice {
        Some(id) => id,
        None => {
            let request = alice
                .event(address, "Requested", |event| match event {
                    Event::Requested { request, .. } => Some(*request),
                    _ => None,
                })
                .await;
            alice.agent.accept(request, b"alice").await.unwrap()
        }
    };
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    crashed
}

#[tokio::test(start_paused = true)]
async fn a_request_is_accepted_whoever_crashes_at_some_write() {
    for owner in [false, true] {
        let mut writes = 1;
        while request_with_crash(writes, owner).await {
            writes += 3;
        }
        assert!(writes > 10, "owner {owner}: {writes}");
    }
}
