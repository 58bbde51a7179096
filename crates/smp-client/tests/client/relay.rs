//! A relay for as long as it is needed: back-off, subscribing again, sessions for each queue.

use std::sync::Arc;
use std::time::Duration;

use smp_client::{
    ClientError, DisconnectReason, Event, Misbehaviour, Patience, QueueKey, QueueParameters, Relay,
    RelayEvent, RelayEvents, RelayOptions, SessionMode, Subscription,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, CorrId, DhPublicKey, EntityId, ErrorType, MessageId, NotifierId,
    QueueIds, RecipientId, Response, SenderId,
};
use tokio::time::{Instant, sleep, timeout};

use crate::fake::{FakeRelay, FakeSession, SOON, id, key};

const SECOND: Duration = Duration::from_secs(1);

fn relay_of(fake: &FakeRelay, options: RelayOptions) -> (Relay, RelayEvents) {
    Relay::new(Arc::new(fake.connector.clone()), fake.address(), options)
}

fn recipient_key() -> AuthPrivateKey {
    key(AuthKeyKind::Ed25519, 1)
}

fn messages(queue: &str) -> Subscription {
    Subscription::Messages {
        queue: RecipientId(id(queue)),
        key: recipient_key(),
    }
}

/// Answers so many subscriptions, and gives their queues.
async fn subscribe_all(session: &mut FakeSession, count: usize) -> Vec<EntityId> {
    let mut queues = Vec::new();
    for _ in 0..count {
        let sub = session.receive().await;
        assert!(matches!(sub.tag(), "SUB" | "NSUB"));
        assert!(session.is_authorized(&sub, &recipient_key().public()));
        session.answer(&sub, Response::Sok(None)).await;
        queues.push(sub.entity);
    }
    queues.sort();
    queues
}

/// Queues that were told to be subscribed to, until there are so many.
async fn subscribed(events: &mut RelayEvents, count: usize) -> Vec<EntityId> {
    let mut all = Vec::new();
    while all.len() < count {
        if let RelayEvent::Subscribed { queues } = events.next().await.unwrap() {
            all.extend(queues);
        }
    }
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn nothing_is_connected_until_something_needs_it() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    assert!(timeout(SECOND, fake.accepted.recv()).await.is_err());
    let queue = id("queue");
    let (session, mut other) =
        tokio::join!(relay.session(&queue, Patience::default()), fake.accept());
    let session = session.unwrap();
    assert!(matches!(
        events.next().await,
        Some(RelayEvent::Connected { queue: None })
    ));
    let (answer, ()) = tokio::join!(session.ping(), async {
        let ping = other.expect("PING").await;
        other.answer(&ping, Response::Pong).await;
    });
    answer.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_break_it_connects_and_subscribes_again() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    let notifier = Subscription::Notifications {
        queue: NotifierId(id("n")),
        key: recipient_key(),
    };
    relay.subscribe([messages("a"), messages("b"), notifier]);
    let all = vec![id("a"), id("b"), id("n")];

    let mut session = fake.accept().await;
    assert_eq!(subscribe_all(&mut session, 3).await, all);
    assert_eq!(subscribed(&mut events, 3).await, all);
    sleep(40 * SECOND).await;

    let broken = Instant::now();
    drop(session);
    let Some(RelayEvent::Disconnected { reason, .. }) = events.next().await else {
        panic!()
    };
    assert_eq!(reason, DisconnectReason::ClosedByRelay);
    let mut session = fake.accept().await;
    let pause = broken.elapsed();
    assert!((SECOND / 2..=SECOND + SOON).contains(&pause), "{pause:?}");
    assert_eq!(subscribe_all(&mut session, 3).await, all);
    assert!(matches!(
        events.next().await,
        Some(RelayEvent::Connected { .. })
    ));
    assert_eq!(subscribed(&mut events, 3).await, all);
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_grow_and_begin_anew_when_a_connection_held() {
    let mut fake = FakeRelay::new();
    let (relay, events) = relay_of(&fake, RelayOptions::default());
    drop(events);
    relay.subscribe([messages("a")]);
    let mut whole = SECOND;
    drop(fake.accepted.recv().await.unwrap());
    for _ in 0..9 {
        let failed = Instant::now();
        let link = fake.accepted.recv().await.unwrap();
        let pause = failed.elapsed();
        assert!(
            (whole / 2..=whole + SOON).contains(&pause),
            "{pause:?} of {whole:?}"
        );
        whole = (2 * whole).min(60 * SECOND);
        drop(link);
    }
    let mut session = fake.accept().await;
    subscribe_all(&mut session, 1).await;
    sleep(31 * SECOND).await;
    drop(session);
    let broken = Instant::now();
    fake.accepted.recv().await.unwrap();
    assert!(broken.elapsed() <= SECOND + SOON);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_hold_does_not_shorten_the_pauses() {
    let mut fake = FakeRelay::new();
    let (relay, events) = relay_of(&fake, RelayOptions::default());
    drop(events);
    relay.subscribe([messages("a")]);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let mut session = fake.accept().await;
        subscribe_all(&mut session, 1).await;
        // Nonsense, so that it is the client that ends it.
        session
            .send(Some(CorrId([1; 24])), &EntityId::EMPTY, Response::Ok)
            .await;
        assert!(session.receive_block().await.is_none());
        let ended = Instant::now();
        let link = fake.accepted.recv().await.unwrap();
        pauses.push(ended.elapsed());
        drop(link);
    }
    assert!(pauses.last().unwrap() > &(20 * SECOND), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn hurry_ends_a_pause() {
    let mut fake = FakeRelay::new();
    let (relay, events) = relay_of(&fake, RelayOptions::default());
    drop(events);
    relay.subscribe([messages("a")]);
    for _ in 0..8 {
        drop(fake.accepted.recv().await.unwrap());
    }
    sleep(SECOND).await;
    relay.hurry();
    assert!(timeout(SOON, fake.accepted.recv()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_breaks_the_protocol_is_named() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    relay.subscribe([messages("a")]);
    let mut session = fake.accept().await;
    session
        .send(Some(CorrId([1; 24])), &EntityId::EMPTY, Response::Ok)
        .await;
    assert!(matches!(
        events.next().await,
        Some(RelayEvent::Connected { .. })
    ));
    let Some(RelayEvent::Disconnected { reason, .. }) = events.next().await else {
        panic!()
    };
    assert_eq!(
        reason,
        DisconnectReason::Misbehaved(Misbehaviour::UnknownCommand)
    );
}

#[tokio::test(start_paused = true)]
async fn queues_that_ended_or_are_gone_are_not_subscribed_to_again() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    relay.subscribe(["a", "b", "c", "d", "e"].map(messages));
    let mut session = fake.accept().await;
    for _ in 0..5 {
        let sub = session.receive().await;
        let refuse = sub.entity == id("e");
        let refused = Response::Err(ErrorType::Auth);
        session
            .answer(&sub, if refuse { refused } else { Response::Sok(None) })
            .await;
    }
    session.tell(&id("a"), Response::End).await;
    session.tell(&id("b"), Response::Deld).await;
    relay.unsubscribe(&id("c"));
    let (mut ends, mut failed) = (0, 0);
    while ends + failed < 3 {
        match events.next().await.unwrap() {
            RelayEvent::Told(Event::End { queue }) => {
                assert_eq!(queue, id("a"));
                ends += 1;
            }
            RelayEvent::Told(Event::Deleted { queue }) => {
                assert_eq!(queue, id("b"));
                ends += 1;
            }
            RelayEvent::SubscriptionFailed {
                queue,
                error,
                again,
            } => {
                assert!(queue == id("e") && !again);
                assert!(matches!(error, ClientError::Refused(ErrorType::Auth)));
                failed += 1;
            }
            _ => {}
        }
    }
    drop(session);
    let mut session = fake.accept().await;
    assert_eq!(subscribe_all(&mut session, 1).await, [id("d")]);
    assert!(session.is_silent(10 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_fails_for_now_is_tried_again_in_the_same_session() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    relay.subscribe([messages("a")]);
    let mut session = fake.accept().await;
    let sub = session.expect("SUB").await;
    session
        .answer(&sub, Response::Err(ErrorType::Internal))
        .await;
    let failed = Instant::now();
    subscribe_all(&mut session, 1).await;
    assert!(failed.elapsed() >= 10 * SECOND);
    assert!(matches!(
        events.next().await,
        Some(RelayEvent::Connected { .. })
    ));
    let event = events.next().await;
    assert!(matches!(
        event,
        Some(RelayEvent::SubscriptionFailed { again: true, .. })
    ));
    assert_eq!(subscribed(&mut events, 1).await, [id("a")]);
}

#[tokio::test(start_paused = true)]
async fn many_subscriptions_go_in_batches_as_fast_as_their_messages_are_taken() {
    const QUEUES: usize = 1000;
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    relay.subscribe((0..QUEUES).map(|n| messages(&n.to_string())));
    let mut session = fake.accept().await;
    let message = || Response::Msg {
        id: MessageId([1; 24]),
        body: vec![0; 100],
    };
    let play = async {
        let mut answered = 0;
        while answered < QUEUES {
            let Some(block) = session.receive_block().await else {
                return answered;
            };
            for sub in block {
                session.answer(&sub, Response::Sok(None)).await;
                session.tell(&sub.entity, message()).await;
                answered += 1;
            }
        }
        answered
    };
    let mut play = Box::pin(play);
    // Nobody listens: the subscriptions stop before long.
    assert!(timeout(5 * SECOND, &mut play).await.is_err());
    let listen = async {
        let mut told = 0;
        while told < QUEUES {
            if let RelayEvent::Told(Event::Message { .. }) = events.next().await.unwrap() {
                told += 1;
            }
        }
    };
    let (answered, ()) = tokio::join!(play, listen);
    assert_eq!(answered, QUEUES);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_a_connection_as_long_as_it_likes() {
    let mut fake = FakeRelay::new();
    let (relay, events) = relay_of(&fake, RelayOptions::default());
    drop(events);
    let start = Instant::now();
    let (queue, patience) = (id("queue"), Patience::Wait(5 * SECOND));
    let refuse = async {
        loop {
            drop(fake.accepted.recv().await.unwrap());
        }
    };
    let session = tokio::select! {
        session = relay.session(&queue, patience) => session,
        () = refuse => unreachable!(),
    };
    assert!(matches!(session, Err(ClientError::Connect(_))));
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_over_attempts_that_fail() {
    let mut fake = FakeRelay::new();
    let (relay, _events) = relay_of(&fake, RelayOptions::default());
    let queue = id("queue");
    let accept = async {
        for _ in 0..2 {
            drop(fake.accepted.recv().await.unwrap());
        }
        fake.accept().await
    };
    let (session, _other) = tokio::join!(relay.session(&queue, Patience::default()), accept);
    session.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_patience_gets_the_failure_of_the_first_attempt() {
    let mut fake = FakeRelay::new();
    let (relay, events) = relay_of(&fake, RelayOptions::default());
    drop(events);
    let start = Instant::now();
    let queue = id("queue");
    let refuse = async { drop(fake.accepted.recv().await.unwrap()) };
    let (session, ()) = tokio::join!(relay.session(&queue, Patience::FailFast), refuse);
    assert!(matches!(session, Err(ClientError::Connect(_))));
    let session = relay.session(&queue, Patience::FailFast).await;
    assert!(matches!(session, Err(ClientError::Connect(_))));
    assert!(start.elapsed() < SOON);
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_make_attempts_faster() {
    let mut fake = FakeRelay::new();
    let (relay, events) = relay_of(&fake, RelayOptions::default());
    drop(events);
    let queue = id("queue");
    let refuse = async {
        let mut attempts = 0;
        while let Ok(Some(link)) = timeout(3 * SECOND, fake.accepted.recv()).await {
            drop(link);
            attempts += 1;
        }
        attempts
    };
    let ask = async {
        for _ in 0..100 {
            assert!(relay.session(&queue, Patience::FailFast).await.is_err());
            sleep(SECOND / 50).await;
        }
    };
    let (attempts, ()) = tokio::join!(refuse, ask);
    assert!((2..=5).contains(&attempts), "{attempts} attempts in 2 s");
}

#[tokio::test(start_paused = true)]
async fn what_the_options_forbid_is_not_waited_for() {
    let onion = "a".repeat(56) + ".onion";
    let relay = smp_protocol::RelayAddress::new(
        smp_protocol::Fingerprint([1; 32]),
        vec![onion.parse().unwrap()],
        None,
    );
    let connector = smp_client::TcpConnector::new(smp_client::TcpOptions::default(), None);
    let connector = Arc::new(connector.unwrap());
    let (relay, _events) = Relay::new(connector, relay.unwrap().into(), RelayOptions::default());
    let start = Instant::now();
    assert!(
        relay
            .session(&id("queue"), Patience::default())
            .await
            .is_err()
    );
    assert!(start.elapsed() < SOON);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_is_closed_and_made_anew_when_needed() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    let queue = id("queue");
    let (session, mut other) =
        tokio::join!(relay.session(&queue, Patience::default()), fake.accept());
    session.unwrap();
    assert!(other.is_silent(299 * SECOND).await);
    assert!(
        timeout(3 * SECOND, other.receive_block())
            .await
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        events.next().await,
        Some(RelayEvent::Connected { .. })
    ));
    let Some(RelayEvent::Disconnected { reason, .. }) = events.next().await else {
        panic!()
    };
    assert_eq!(reason, DisconnectReason::Idle);
    assert!(timeout(600 * SECOND, fake.accepted.recv()).await.is_err());
    let (session, _other) = tokio::join!(relay.session(&queue, Patience::default()), fake.accept());
    session.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_relay_ends_its_connections() {
    let mut fake = FakeRelay::new();
    let (relay, mut events) = relay_of(&fake, RelayOptions::default());
    relay.subscribe([messages("a")]);
    let mut session = fake.accept().await;
    subscribe_all(&mut session, 1).await;
    subscribed(&mut events, 1).await;
    drop(relay);
    assert!(session.receive_block().await.is_none());
    assert!(events.next().await.is_none());
}

fn ids(queue: &str) -> Response {
    Response::Ids(Box::new(QueueIds {
        recipient_id: RecipientId(id(queue)),
        sender_id: SenderId(id("sender")),
        dh_key: DhPublicKey([8; 32]),
        mode: None,
        link_id: None,
        service_id: None,
        notifier: None,
    }))
}

fn parameters() -> QueueParameters {
    QueueParameters {
        dh_key: DhPublicKey([9; 32]),
        subscribe: true,
        request: None,
        notifier: None,
        sender_id: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_created_stays_subscribed_to() {
    for mode in [SessionMode::PerRelay, SessionMode::PerQueue] {
        let mut fake = FakeRelay::new();
        let options = RelayOptions {
            mode,
            ..RelayOptions::default()
        };
        let (relay, _events) = relay_of(&fake, options);
        let key = recipient_key();
        let play = async {
            let mut session = fake.accept().await;
            let new = session.expect("NEW").await;
            session.answer(&new, ids("new queue")).await;
            session
        };
        let create = relay.create_queue(&key, parameters(), Patience::default());
        let (created, mut other) = tokio::join!(create, play);
        let queue = created.unwrap().recipient_id;

        // The queue's commands go through the session that created it.
        let session = relay.session(&queue.0, Patience::FailFast).await.unwrap();
        let queue = QueueKey {
            id: &queue,
            key: &key,
        };
        let (info, ()) = tokio::join!(session.queue_info(queue), async {
            let info = other.expect("QUE").await;
            other.answer(&info, Response::Info(String::new())).await;
        });
        info.unwrap();
        drop(session);
        drop(other);
        let mut other = fake.accept().await;
        assert_eq!(subscribe_all(&mut other, 1).await, [id("new queue")]);
    }
}

#[tokio::test(start_paused = true)]
async fn queues_have_sessions_and_ways_of_their_own_if_asked() {
    let mut fake = FakeRelay::new();
    let options = RelayOptions {
        mode: SessionMode::PerQueue,
        ..RelayOptions::default()
    };
    let (relay, mut events) = relay_of(&fake, options);
    relay.subscribe([messages("a"), messages("b")]);
    let mut sessions = Vec::new();
    let mut isolations = Vec::new();
    for _ in 0..2 {
        let link = fake.accepted.recv().await.unwrap();
        isolations.push(link.isolation.clone());
        let mut session = fake.greet(link).await;
        let queues = subscribe_all(&mut session, 1).await;
        sessions.push((queues[0].clone(), session));
    }
    assert_ne!(isolations[0], isolations[1]);
    assert_ne!(sessions[0].0, sessions[1].0);
    subscribed(&mut events, 2).await;

    // One breaks, and comes back the same way; the other stays.
    let (queue, session) = sessions.remove(0);
    drop(session);
    let Some(RelayEvent::Disconnected { queue: broken, .. }) = events.next().await else {
        panic!()
    };
    assert_eq!(broken, Some(queue.clone()));
    let link = fake.accepted.recv().await.unwrap();
    assert_eq!(link.isolation, isolations[0]);
    let mut session = fake.greet(link).await;
    assert_eq!(subscribe_all(&mut session, 1).await, [queue]);
    assert!(sessions[0].1.is_silent(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn all_queues_share_one_way_otherwise() {
    let mut fake = FakeRelay::new();
    let (relay, _events) = relay_of(&fake, RelayOptions::default());
    relay.subscribe([messages("a")]);
    let link = fake.accepted.recv().await.unwrap();
    let first = link.isolation.clone();
    let mut session = fake.greet(link).await;
    subscribe_all(&mut session, 1).await;
    relay.subscribe([messages("b")]);
    assert_eq!(subscribe_all(&mut session, 1).await, [id("b")]);
    drop(session);
    assert_eq!(fake.accepted.recv().await.unwrap().isolation, first);
}
