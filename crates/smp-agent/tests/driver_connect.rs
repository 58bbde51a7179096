//! Making connections: agents with their driver, over real relays in this process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod driver_support;

use std::time::Duration;

use driver_support::*;
use smp_agent::core::{Event, FailReason, Notice, Step};
use smp_agent::{AgentEvent, ConnectionId, ConnectionState, RequestId, ServerTestStep};
use smp_client::{ClientError, ConnectError};
use smp_protocol::ErrorType;
use tokio::time::{Instant, sleep, timeout, timeout_at};

#[tokio::test(start_paused = true)]
async fn a_short_invitation_connects_two_agents() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, short, _) = alice.invite().await;
    let at_bob = bob.connect(&short).await;
    connect_and_talk(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_invitation_connects_two_agents() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, _, full) = alice.invite().await;
    let at_bob = bob.connect(&full).await;
    connect_and_talk(&mut alice, at_alice, &mut bob, at_bob).await;
}

/// Each learns of the other, then they can talk, and nobody is between them.
async fn connect_and_talk(
    alice: &mut Peer,
    at_alice: ConnectionId,
    bob: &mut Peer,
    at_bob: ConnectionId,
) {
    assert_eq!(info(alice, at_alice).await, "bob");
    assert_eq!(info(bob, at_bob).await, "alice");
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
    exchange(alice, at_alice, bob, at_bob).await;
    let codes = [
        alice.agent.security(at_alice).await.unwrap().unwrap().code,
        bob.agent.security(at_bob).await.unwrap().unwrap().code,
    ];
    assert_eq!(codes[0], codes[1]);
}

async fn info(peer: &mut Peer, connection: ConnectionId) -> String {
    peer.event(connection, "PeerInfo", |event| match event {
        Event::PeerInfo(info) => Some(String::from_utf8(info.to_vec()).unwrap()),
        Event::Failed(reason) => panic!("it came to nothing: {reason}"),
        _ => None,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn many_connect_by_one_contact_address() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one, &two]);
    let address = alice.agent.create_address(b"shown").await.unwrap();
    let (short, full) = alice.links(address).await;
    for (name, link) in [("bob", &short), ("carol", &full)] {
        let mut other = Peer::new(&net, name, &[&one, &two]);
        let at_other = other.connect(link).await;
        let request = requested(&mut alice, address, name).await;
        let at_alice = alice.agent.accept(request, b"alice").await.unwrap();
        assert_eq!(info(&mut other, at_other).await, "alice");
        alice.connected(at_alice).await;
        other.connected(at_other).await;
        exchange(&mut alice, at_alice, &mut other, at_other).await;
    }
}

async fn requested(alice: &mut Peer, address: ConnectionId, name: &str) -> RequestId {
    alice
        .event(address, "Requested", |event| match event {
            Event::Requested { request, info } => {
                assert_eq!(info.as_slice(), name.as_bytes());
                Some(*request)
            }
            _ => None,
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_gone() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let address = alice.agent.create_address(b"").await.unwrap();
    let (short, _) = alice.links(address).await;
    let bob = Peer::new(&net, "bob", &[&relay]);
    bob.connect(&short).await;
    let request = requested(&mut alice, address, "bob").await;
    alice.agent.reject(request).await.unwrap();
    assert!(alice.agent.accept(request, b"alice").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn post_quantum_is_on_both_ways_after_the_first_exchange() {
    let net = Net::new();
    let relay = net.relay("one");
    for short_link in [true, false] {
        let mut alice = Peer::new(&net, "alice", &[&relay]);
        let mut bob = Peer::new(&net, "bob", &[&relay]);
        let (at_alice, short, full) = alice.invite().await;
        let at_bob = bob.connect(if short_link { &short } else { &full }).await;
        alice.connected(at_alice).await;
        bob.connected(at_bob).await;
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        // A full link carries no post-quantum key: these come with the messages.
        if !short_link {
            exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        }
        for (peer, id) in [(&alice, at_alice), (&bob, at_bob)] {
            let security = peer.agent.security(id).await.unwrap().unwrap();
            assert!(security.post_quantum_sending, "{} sends", peer.name);
            assert!(security.post_quantum_receiving, "{} receives", peer.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_serves_one_joiner() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let mut carol = Peer::new(&net, "carol", &[&two]);
    let (at_alice, short, full) = alice.invite().await;
    let at_bob = bob.connect(&short).await;
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
    for link in [&short, &full] {
        let at_carol = carol.connect(link).await;
        assert_eq!(failure(&mut carol, at_carol).await, FailReason::LinkGone);
        let connection = carol.agent.connection(at_carol).await.unwrap();
        assert_eq!(connection.state, ConnectionState::Failed);
    }
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_serves_one_of_two_who_join_at_once() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut others = [
        Peer::new(&net, "bob", &[&relay]),
        Peer::new(&net, "carol", &[&relay]),
    ];
    let (at_alice, short, _) = alice.invite().await;
    let ids = [
        others[0].connect(&short).await,
        others[1].connect(&short).await,
    ];
    alice.connected(at_alice).await;
    let mut connected = 0;
    for (other, id) in others.iter_mut().zip(ids) {
        connected += other
            .event(id, "an end", |event| match event {
                Event::Connected => Some(1),
                Event::Failed(FailReason::LinkGone) => Some(0),
                _ => None,
            })
            .await;
    }
    assert_eq!(connected, 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_deleted_leads_nowhere() {
    let net = Net::new();
    let relay = net.relay("one");
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let mut bob = Peer::new(&net, "bob", &[&relay]);
    let (at_alice, short, full) = alice.invite().await;
    alice.agent.delete(at_alice).await.unwrap();
    alice
        .notice("Deleted", |notice| {
            matches!(notice, Notice::Deleted { connection } if *connection == at_alice)
                .then_some(())
        })
        .await;
    for link in [&short, &full] {
        let at_bob = bob.connect(link).await;
        assert_eq!(failure(&mut bob, at_bob).await, FailReason::LinkGone);
    }
}

async fn failure(peer: &mut Peer, connection: ConnectionId) -> FailReason {
    peer.event(connection, "Failed", |event| match event {
        Event::Failed(reason) => Some(*reason),
        Event::Connected => panic!("it was connected"),
        _ => None,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_link_by_host_alone_needs_a_relay_that_is_known() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let (at_alice, short, _) = alice.invite().await;
    let smp_agent::protocol::ConnectionLink::Short(mut link) = short else {
        panic!()
    };
    link.server =
        smp_agent::protocol::LinkServer::new(one.address.hosts().to_vec(), Some(5223), None)
            .unwrap();
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let at_bob = bob.connect(&link.clone().into()).await;
    assert_eq!(failure(&mut bob, at_bob).await, FailReason::UnknownRelay);

    let mut carol_options = options(&net, "carol", &[&two]);
    carol_options.known = vec![one.address.clone()];
    let mut carol = Peer::with("carol", carol_options);
    let at_carol = carol.connect(&link.into()).await;
    alice.connected(at_alice).await;
    carol.connected(at_carol).await;
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_relay_does_not_hold_an_invitation_up() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    two.go_down();
    // Which one is tried first is random.
    for _ in 0..8 {
        let mut alice = Peer::new(&net, "alice", &[&one, &two]);
        let id = alice.agent.invite(b"alice", b"").await.unwrap();
        let ready = alice.notice("LinkReady", |notice| match notice {
            Notice::Progress {
                step: Step::LinkReady,
                ..
            } => Some(()),
            _ => None,
        });
        timeout(Duration::from_secs(10), ready).await.unwrap();
        alice.links(id).await;
    }
    assert!(net.dials("alice", "two") > 0, "both were tried");
}

#[tokio::test(start_paused = true)]
async fn an_invitation_waits_for_the_only_relay() {
    let net = Net::new();
    let relay = net.relay("one");
    relay.go_down();
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let id = alice.agent.invite(b"alice", b"").await.unwrap();
    let waiting = |notice: &Notice| match notice {
        Notice::Waiting {
            connection,
            command: "NEW",
            reason,
        } if *connection == id => Some(reason.clone()),
        _ => None,
    };
    let reason = alice.notice("Waiting", waiting).await;
    assert!(
        !reason.contains("one:") && !reason.contains("smp:"),
        "{reason}"
    );
    sleep(Duration::from_secs(600)).await;
    relay.come_up();
    alice.agent.hurry();
    let links = timeout(Duration::from_secs(2), alice.links(id));
    links.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_relay_with_another_password_refuses_queues() {
    let net = Net::new();
    let lines = "[queues]\npassword = \"right\"";
    let relay = net.relay_with("one", lines, Some("wrong"));
    let mut alice = Peer::new(&net, "alice", &[&relay]);
    let id = alice.agent.invite(b"alice", b"").await.unwrap();
    assert_eq!(failure(&mut alice, id).await, FailReason::RelayRefused);

    let mut right = relay.server();
    right.basic_auth = Some("right".parse().unwrap());
    alice.agent.set_servers(vec![right]).await.unwrap();
    alice.invite().await;
}

#[tokio::test(start_paused = true)]
async fn without_server_nothing_is_begun() {
    let net = Net::new();
    let alice = Peer::new(&net, "alice", &[]);
    let refused = alice.agent.invite(b"", b"").await.unwrap_err();
    assert!(
        refused.to_string().contains("no message relay"),
        "{refused}"
    );
    assert!(alice.agent.connections().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_is_tested_step_by_step() {
    let net = Net::new();
    let open = net.relay("one");
    let closed = net.relay_with("two", "[queues]\npassword = \"right\"", Some("wrong"));
    let down = net.relay("three");
    down.go_down();
    let alice = Peer::new(&net, "alice", &[]);
    alice.agent.test_server(&open.server()).await.unwrap();

    let refused = alice.agent.test_server(&closed.server()).await.unwrap_err();
    assert_eq!(refused.step, ServerTestStep::CreateQueue);
    assert!(matches!(
        refused.error,
        ClientError::Refused(ErrorType::Auth)
    ));

    let unreachable = alice.agent.test_server(&down.server()).await.unwrap_err();
    assert_eq!(unreachable.step, ServerTestStep::Connect);
    let ClientError::Connect(error) = unreachable.error else {
        panic!()
    };
    assert!(matches!(*error, ConnectError::Tcp(_)));
}

/// Connects, while one side is ended and started again once it has told so many things.
async fn connect_with_restart(after: usize, inviter: bool, short_link: bool) {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let (at_alice, short, full) = alice.invite().await;
    let at_bob = bob.connect(if short_link { &short } else { &full }).await;
    let restarted = if inviter { &mut alice } else { &mut bob };
    let mut told = 0;
    while told < after {
        match timeout(Duration::from_secs(20), restarted.events.next()).await {
            // Events are not taken here: they come again.
            Ok(Some(AgentEvent::Event(_) | AgentEvent::Notice(_))) => told += 1,
            Ok(Some(_)) => {}
            Ok(None) => panic!("the agent ended"),
            Err(_) => break,
        }
    }
    if inviter {
        alice = alice.restart().await;
    } else {
        bob = bob.restart().await;
    }
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
    exchange(&mut alice, at_alice, &mut bob, at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_joiner_that_is_restarted_at_any_step_connects() {
    for after in 0..9 {
        connect_with_restart(after, false, after % 2 == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_inviter_that_is_restarted_at_any_step_connects() {
    for after in 0..7 {
        connect_with_restart(after, true, after % 2 == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_made_while_relays_break_all_connections() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    for every in [0, 1, 2, 3, 5, 8, 13, 40, 100, 700] {
        let mut alice = Peer::new(&net, "alice", &[&one]);
        let mut bob = Peer::new(&net, "bob", &[&two]);
        let breaking = tokio::spawn({
            let (one, two) = (one.clone(), two.clone());
            async move {
                for _ in 0..20 {
                    for _ in 0..every {
                        tokio::task::yield_now().await;
                    }
                    sleep(Duration::from_millis(every)).await;
                    one.cut();
                    sleep(Duration::from_millis(every)).await;
                    two.cut();
                }
            }
        });
        let (at_alice, at_bob) = pair(&mut alice, &mut bob).await;
        exchange(&mut alice, at_alice, &mut bob, at_bob).await;
        breaking.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_twice_is_told_once() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let address = alice.agent.create_address(b"").await.unwrap();
    let (short, _) = alice.links(address).await;
    two.go_down();
    let at_bob = bob.connect(&short).await;
    bob.notice("LinkRead", |notice| {
        let Notice::Progress { step, .. } = notice else {
            return None;
        };
        (*step == Step::LinkRead).then_some(())
    })
    .await;
    one.mute("bob");
    two.come_up();
    bob.agent.hurry();
    sleep(Duration::from_secs(2)).await;
    one.cut();
    let requests = requests(&mut alice).await;
    assert_eq!(requests.len(), 1);
    let at_alice = alice.agent.accept(requests[0], b"alice").await.unwrap();
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_delivered_twice_is_told_once() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    let mut alice = Peer::new(&net, "alice", &[&one]);
    let mut bob = Peer::new(&net, "bob", &[&two]);
    let address = alice.agent.create_address(b"").await.unwrap();
    let (short, _) = alice.links(address).await;
    sleep(Duration::from_secs(1)).await;
    one.deafen("alice");
    let at_bob = bob.connect(&short).await;
    sleep(Duration::from_secs(2)).await;
    one.cut();
    let requests = requests(&mut alice).await;
    assert_eq!(requests.len(), 1);
    let at_alice = alice.agent.accept(requests[0], b"alice").await.unwrap();
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
}

/// All requests of the next minutes.
async fn requests(alice: &mut Peer) -> Vec<RequestId> {
    let mut requests = Vec::new();
    let end = Instant::now() + Duration::from_secs(300);
    while let Ok(Some(event)) = timeout_at(end, alice.events.next()).await {
        if let AgentEvent::Event(event) = event
            && let Event::Requested { request, .. } = event.event
        {
            requests.push(request);
        }
    }
    requests
}

/// Connects, while what one of them asks of one relay is executed and the answers are lost, from
/// some moment on and for two seconds.
#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_do_not_matter() {
    let net = Net::new();
    let (one, two) = (net.relay("one"), net.relay("two"));
    for who in ["alice", "bob"] {
        for relay in [&one, &two] {
            for polls in (0..120).step_by(15) {
                let mut alice = Peer::new(&net, "alice", &[&one]);
                let mut bob = Peer::new(&net, "bob", &[&two]);
                let (at_alice, short, _) = alice.invite().await;
                let at_bob = bob.connect(&short).await;
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
                relay.mute(who);
                sleep(Duration::from_secs(2)).await;
                relay.cut();
                alice.connected(at_alice).await;
                bob.connected(at_bob).await;
                exchange(&mut alice, at_alice, &mut bob, at_bob).await;
            }
        }
    }
}
