//! Messages: delivered once and in order, whatever relays, networks and programs do meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod driver_support;

use std::time::Duration;

use driver_support::*;
use smp_agent::core::{Event, Notice, UndeliveredReason};
use smp_agent::{Agent, AgentEvent, ConnectionId, RelayState, Routing, Store, StoreKey};
use smp_client::{Fallback, SessionMode};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn messages_come_in_order_both_ways_with_receipts() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    let mut last = (0, 0);
    for (there, back) in numbered("alice", 40).iter().zip(numbered("bob", 40)) {
        last = (
            alice.send(at_alice, there).await,
            bob.send(at_bob, &back).await,
        );
    }
    assert_eq!(bob.messages(at_bob, 40).await, numbered("alice", 40));
    assert_eq!(alice.messages(at_alice, 40).await, numbered("bob", 40));
    alice.receipt(at_alice, last.0).await;
    bob.receipt(at_bob, last.1).await;
}

#[tokio::test(start_paused = true)]
async fn the_longest_message_gets_through_and_a_longer_one_is_refused() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    let limit = alice.agent.message_limit(at_alice).await.unwrap();
    let longest = "m".repeat(limit);
    alice.send(at_alice, &longest).await;
    assert_eq!(bob.message(at_bob).await, longest);
    let longer = "m".repeat(limit + 1);
    assert!(
        alice
            .agent
            .send(at_alice, longer.as_bytes(), false)
            .await
            .is_err()
    );
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn breaking_connections_lose_and_double_nothing() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    let breaking = tokio::spawn(async move {
        for pause in (0..).map(|round: u64| round * 7919 % 23) {
            sleep(Duration::from_millis(pause)).await;
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
            let relay = if pause % 2 == 0 { &one } else { &two };
            for who in ["alice", "bob"] {
                match pause % 3 {
                    0 => relay.mute(who),
                    1 => relay.deafen(who),
                    _ => {}
                }
            }
            sleep(Duration::from_millis(pause)).await;
            relay.cut();
            sleep(Duration::from_millis(700)).await;
        }
    });
    let send = |agent: Agent, at: ConnectionId, who: &'static str| async move {
        for text in numbered(who, 60) {
            agent.send(at, text.as_bytes(), true).await.unwrap();
            sleep(Duration::from_millis(130)).await;
        }
    };
    tokio::spawn(send(alice.agent.clone(), at_alice, "alice"));
    tokio::spawn(send(bob.agent.clone(), at_bob, "bob"));
    assert_eq!(bob.messages(at_bob, 60).await, numbered("alice", 60));
    assert_eq!(alice.messages(at_alice, 60).await, numbered("bob", 60));
    breaking.abort();
    silent(&mut alice).await;
    silent(&mut bob).await;
}

/// No message comes any more.
async fn silent(peer: &mut Peer) {
    let end = Instant::now() + 120 * SECOND;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, peer.events.next()).await {
        if let AgentEvent::Event(event) = event {
            assert!(!matches!(event.event, Event::Message { .. }), "{event:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_relay_and_go_when_it_is_back() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    relay.go_down();
    for text in numbered("alice", 5) {
        alice.send(at_alice, &text).await;
    }
    let state = alice.wait("Disconnected", disconnected).await;
    assert!(!state.contains("one"), "{state}");
    let command = alice
        .notice("Waiting", |notice| match notice {
            Notice::Waiting {
                command, reason, ..
            } => {
                assert!(
                    !reason.contains("one") && !reason.contains("smp:"),
                    "{reason}"
                );
                Some(*command)
            }
            _ => None,
        })
        .await;
    assert_eq!(command, "SEND");
    sleep(1_000 * SECOND).await;
    relay.come_up();
    let connected = |event: &AgentEvent| match event {
        AgentEvent::Relay {
            state: RelayState::Connected,
            ..
        } => Some(()),
        _ => None,
    };
    alice.wait("Connected", connected).await;
    // What waits is not left to its own pauses, which are long by now.
    let messages = bob.messages(at_bob, 5);
    let messages = timeout(61 * SECOND, messages).await.unwrap();
    assert_eq!(messages, numbered("alice", 5));
}

fn disconnected(event: &AgentEvent) -> Option<String> {
    match event {
        AgentEvent::Relay {
            state: RelayState::Disconnected(reason),
            ..
        } => Some(reason.clone()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn hurry_sends_what_waits_at_once() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    two.go_down();
    alice.send(at_alice, "late").await;
    sleep(1_000 * SECOND).await;
    two.come_up();
    alice.agent.hurry();
    bob.agent.hurry();
    let message = timeout(2 * SECOND, bob.message(at_bob)).await.unwrap();
    assert_eq!(message, "late");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_goes_on_when_the_peer_has_emptied_it() {
    fill_and_empty(Routing::Direct).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_behind_a_proxy_goes_on_when_the_peer_has_emptied_it() {
    fill_and_empty(Routing::Proxied(Fallback::Never)).await;
}

async fn fill_and_empty(routing: Routing) {
    let net = Net::new();
    let one = net.relay("one");
    let two = net.relay_with("two", "[messages]\nquota = 4", None);
    let mut alice_options = options(&net, "alice", &[&one]);
    alice_options.routing = routing;
    let mut alice = Peer::with("alice", alice_options);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;

    let (options, store) = (bob.options.clone(), bob.stop().await);
    for text in numbered("alice", 20) {
        alice.send(at_alice, &text).await;
    }
    let full = |notice: &Notice| match notice {
        Notice::Waiting { reason, .. } => reason.contains("full").then_some(()),
        _ => None,
    };
    alice.notice("a full queue", full).await;
    sleep(30 * SECOND).await;
    let mut bob = Peer::over("bob", store, options);
    // Without the peer's word it would be tried after five minutes.
    for ten in numbered("alice", 20).chunks(4) {
        let messages = timeout(20 * SECOND, bob.messages(at_bob, 4)).await.unwrap();
        assert_eq!(messages, ten);
    }
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_peers_relay_sees_only_the_proxy() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice_options = options(&net, "alice", &[&one]);
    alice_options.routing = Routing::Proxied(Fallback::Never);
    let mut bob_options = options(&net, "bob", &[&two]);
    bob_options.routing = Routing::Proxied(Fallback::Never);
    let mut alice = Peer::with("alice", alice_options);
    let mut bob = Peer::with("bob", bob_options);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    for _ in 0..3 {
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    }
    assert_eq!(net.dialled_by("alice"), ["one"]);
    assert_eq!(net.dialled_by("bob"), ["two"]);
    assert_eq!(net.dialled_by("one"), ["two"]);
    assert_eq!(net.dialled_by("two"), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_gone_is_gone_behind_a_proxy_too() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice_options = options(&net, "alice", &[&one]);
    alice_options.routing = Routing::Proxied(Fallback::Never);
    let mut alice = Peer::with("alice", alice_options);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    bob.agent.delete(at_bob).await.unwrap();
    bob.notice("Deleted", |notice| {
        matches!(notice, Notice::Deleted { .. }).then_some(())
    })
    .await;
    let id = alice.send(at_alice, "to nobody").await;
    let reason = alice
        .event(at_alice, "NotDelivered", |event| match event {
            Event::NotDelivered { id: failed, reason } if *failed == id => Some(*reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, UndeliveredReason::PeerGone);
}

#[tokio::test(start_paused = true)]
async fn another_proxy_takes_the_place_of_one_that_is_down() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let (three, four) = (net.relay("three"), net.relay("four"));
    let mut alice_options = options(&net, "alice", &[&one]);
    alice_options.routing = Routing::Proxied(Fallback::Never);
    let mut alice = Peer::with("alice", alice_options);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    alice
        .agent
        .set_servers(vec![one.server(), three.server(), four.server()])
        .await
        .unwrap();
    for proxy in [&three, &four, &three] {
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        proxy.go_down();
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        proxy.come_up();
    }
    assert_eq!(net.dials("alice", "two"), 0);
}

#[tokio::test(start_paused = true)]
async fn new_keys_can_be_agreed_at_any_time() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
    for both in [false, true] {
        alice.agent.resynchronise(at_alice).await.unwrap();
        if both {
            bob.agent.resynchronise(at_bob).await.unwrap();
        }
        let in_step = |event: &Event| matches!(event, Event::InStep).then_some(());
        alice.event(at_alice, "InStep", in_step).await;
        bob.event(at_bob, "InStep", in_step).await;
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        let codes = [
            alice.agent.security(at_alice).await.unwrap().unwrap().code,
            bob.agent.security(at_bob).await.unwrap().unwrap().code,
        ];
        assert_eq!(codes[0], codes[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_receives_does_not_send() {
    let net = Net::new();
    let relay = net.relay("one");
    for routing in [Routing::Direct, Routing::Proxied(Fallback::IfUnavailable)] {
        let names = [format!("alice {routing:?}"), format!("bob {routing:?}")];
        let mut peers = names.each_ref().map(|name| {
            let mut options = options(&net, name, &[&relay]);
            options.routing = routing;
            Peer::with(name, options)
        });
        let [alice, bob] = &mut peers;
        let (at_alice, at_bob) = pair(alice, bob).await;
        exchange(alice, at_alice, bob, at_bob).await;
        for name in &names {
            assert_eq!(net.dials(name, "one"), 2, "one to receive, one to send");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_queue_can_have_a_connection_of_its_own() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut bob_options = options(&net, "bob", &[&two]);
    bob_options.relay.mode = SessionMode::PerQueue;
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut carol = Peer::new(&net, "carol", &[&one]);
    let mut bob = Peer::with("bob", bob_options);
    let (at_alice, with_alice) = pair(&mut alice, &mut bob).await;
    let (at_carol, with_carol) = pair(&mut carol, &mut bob).await;
    exchange(&mut alice, at_alice, &mut bob, with_alice).await;
    exchange(&mut carol, at_carol, &mut bob, with_carol).await;
    assert_eq!(net.dials("bob", "two"), 2);
    two.cut();
    exchange(&mut alice, at_alice, &mut bob, with_alice).await;
    exchange(&mut carol, at_carol, &mut bob, with_carol).await;
    assert_eq!(net.dials("bob", "two"), 4);
}

#[tokio::test(start_paused = true)]
async fn without_a_proxy_messages_wait_and_say_why() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob_options = options(&net, "bob", &[&one]);
    bob_options.routing = Routing::Proxied(Fallback::Never);
    let mut bob = Peer::with("bob", bob_options);
    let (at_alice, short, _) = alice.invite().await;
    let at_bob = bob.connect(&short).await;
    let reason = bob
        .notice("Waiting", |notice| match notice {
            Notice::Waiting { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert!(reason.contains("no proxy"), "{reason}");
    assert_eq!(net.dials("bob", "one"), 0);
    bob.agent
        .set_servers(vec![one.server(), two.server()])
        .await
        .unwrap();
    bob.agent.hurry();
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn events_come_until_they_are_taken_and_once_a_start() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    for text in numbered("alice", 100) {
        alice.send(at_alice, &text).await;
    }
    for _ in 0..2 {
        let events = stored(&mut bob, 100).await;
        assert!(events.is_sorted_by(|one, other| one.0 < other.0));
        let texts: Vec<_> = events.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, numbered("alice", 100));
        silent(&mut bob).await;
        bob = bob.restart().await;
    }
    assert_eq!(bob.messages(at_bob, 100).await, numbered("alice", 100));
    let mut bob = bob.restart().await;
    silent(&mut bob).await;
}

/// So many messages, none of which is taken.
async fn stored(peer: &mut Peer, count: usize) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        // Whoever waits gives up now and then.
        let Ok(event) = timeout(Duration::from_micros(1), peer.events.next()).await else {
            continue;
        };
        let event = event.unwrap();
        if let AgentEvent::Event(event) = event
            && let Event::Message { body, .. } = &event.event
        {
            found.push((event.id.0, String::from_utf8(body.to_vec()).unwrap()));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn waiting_for_events_can_be_given_up_at_any_point() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
    for text in numbered("alice", 70) {
        alice.send(at_alice, &text).await;
    }
    let mut found = Vec::new();
    while found.len() < 70 {
        let mut polls = 0;
        // Each attempt is polled once more than the last one before it is dropped.
        for limit in 1.. {
            let next = bob.events.next();
            let mut next = std::pin::pin!(next);
            polls = 0;
            let event = std::future::poll_fn(|cx| {
                polls += 1;
                if polls > limit {
                    return std::task::Poll::Ready(None);
                }
                next.as_mut().poll(cx).map(Some)
            })
            .await;
            if let Some(event) = event {
                if let Some(AgentEvent::Event(event)) = event
                    && let Event::Message { body, .. } = event.event
                {
                    assert_eq!(event.connection, at_bob);
                    found.push(String::from_utf8(body.to_vec()).unwrap());
                }
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(polls > 0);
    }
    assert_eq!(found, numbered("alice", 70));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_open_twice_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy");
    let key = || StoreKey::Raw(Zeroizing::new([7; 32]));
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (_, at_bob) = pair(&mut alice, &mut bob).await;
    let to = path.clone();
    let export = move |store: &mut Store| store.export(&to, &key());
    bob.agent.with_store(export).await.unwrap().unwrap();

    let copy = Store::open(&path, &key()).unwrap();
    let copy = Peer::over("the copy of bob", copy, bob.options.clone());
    let taken_over = |event: &AgentEvent| match event {
        AgentEvent::Relay {
            relay,
            state: RelayState::TakenOver,
        } => Some(*relay == two.address),
        _ => None,
    };
    assert!(bob.wait("TakenOver", taken_over).await);
    bob.event(at_bob, "QueueLost", |event| {
        matches!(event, Event::QueueLost).then_some(())
    })
    .await;
    copy.stop().await;
}
