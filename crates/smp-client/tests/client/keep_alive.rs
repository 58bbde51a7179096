//! Whether the relay is still there.

use std::time::Duration;

use smp_client::{ClientError, DisconnectReason, Event, QueueKey, Session};
use smp_protocol::{AuthKeyKind, RecipientId, Response};
use tokio::time::{Instant, sleep};

use crate::fake::{FakeSession, id, key, session};

const SILENCE: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(15);

async fn subscribe(session: &Session, relay: &mut FakeSession) {
    let (id, key) = (RecipientId(id("queue")), key(AuthKeyKind::Ed25519, 1));
    let queues = [QueueKey { id: &id, key: &key }];
    let (subscribed, ()) = tokio::join!(session.subscribe(&queues), async {
        let sub = relay.expect("SUB").await;
        relay.answer(&sub, Response::Sok(None)).await;
    });
    assert!(matches!(subscribed[..], [Ok(None)]));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_who_is_not_listened_to() {
    let (_session, _events, mut relay) = session().await;
    assert!(relay.is_silent(Duration::from_secs(3600)).await);
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_subscription_leads_to_a_ping() {
    let (session, _events, mut relay) = session().await;
    subscribe(&session, &mut relay).await;
    for _ in 0..3 {
        let start = Instant::now();
        let ping = relay.expect("PING").await;
        assert!(start.elapsed().abs_diff(SILENCE) < Duration::from_millis(10));
        relay.answer(&ping, Response::Pong).await;
    }
    assert!(!session.is_closed());
}

#[tokio::test(start_paused = true)]
async fn who_speaks_is_not_asked() {
    let (session, mut events, mut relay) = session().await;
    subscribe(&session, &mut relay).await;
    for _ in 0..10 {
        assert!(relay.is_silent(SILENCE - Duration::from_secs(1)).await);
        relay.tell(&id("queue"), Response::End).await;
        events.next().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_answers_no_ping_is_left() {
    let (session, mut events, mut relay) = session().await;
    subscribe(&session, &mut relay).await;
    let start = Instant::now();
    for _ in 0..3 {
        relay.expect("PING").await;
    }
    let over = Event::Disconnected(DisconnectReason::Unresponsive);
    assert_eq!(events.next().await, Some(over));
    let expected = SILENCE + 3 * ANSWER;
    assert!(start.elapsed().abs_diff(expected) < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_answers_no_command_is_left_without_a_subscription_too() {
    let (session, mut events, _relay) = session().await;
    assert!(matches!(session.ping().await, Err(ClientError::Timeout)));
    let start = Instant::now();
    let over = Event::Disconnected(DisconnectReason::Unresponsive);
    assert_eq!(events.next().await, Some(over));
    assert!(start.elapsed().abs_diff(3 * ANSWER) < Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_read_is_left() {
    let (session, _events, relay) = session().await;
    let key = key(AuthKeyKind::Ed25519, 1);
    let queue = smp_protocol::SenderId(id("queue"));
    let flags = smp_protocol::MessageFlags::default();
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (session, key, queue) = (session.clone(), key.clone(), queue.clone());
        let body = vec![0; 16_000];
        sends.spawn(async move { session.send_message(&queue, Some(&key), flags, body).await });
    }
    sleep(Duration::from_secs(100)).await;
    assert_eq!(session.closed().await, DisconnectReason::Unresponsive);
    drop(relay);
    while let Some(sent) = sends.join_next().await {
        assert!(matches!(sent.unwrap(), Err(ClientError::Timeout)));
    }
}
