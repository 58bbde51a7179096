//! One session: answers, batches, timeouts, events.

use std::time::Duration;

use smp_client::{
    ClientError, DisconnectReason, Event, Fault, QueueKey, QueueParameters, Request, SealedMessage,
    SessionOptions,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, AuthorizeError, Command, DhPublicKey, EntityId, ErrorType,
    IdsHash, MessageFlags, MessageId, NotifierId, QueueIds, QueueMode, QueueRequest, RecipientId,
    Response, SenderId, SmpVersion,
};
use tokio::time::{Instant, timeout};

use crate::fake::{FakeRelay, FakeSession, Received, SOON, id, key, session};

const MESSAGE: MessageId = MessageId([5; 24]);

fn message() -> Response {
    Response::Msg {
        id: MESSAGE,
        body: vec![1, 2, 3],
    }
}

fn sealed() -> SealedMessage {
    SealedMessage {
        id: MESSAGE,
        body: vec![1, 2, 3],
    }
}

fn recipient(text: &str) -> RecipientId {
    RecipientId(id(text))
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_commands_in_any_order() {
    let (session, _events, mut relay) = session().await;
    let ids = ["a", "b", "c"].map(recipient);
    let key = key(AuthKeyKind::Ed25519, 1);
    let ask = |n: usize| {
        session.queue_info(QueueKey {
            id: &ids[n],
            key: &key,
        })
    };
    let play = async {
        let mut all = [
            relay.receive().await,
            relay.receive().await,
            relay.receive().await,
        ];
        all.rotate_left(1);
        for command in &all {
            let text = String::from_utf8(command.entity.as_bytes().to_vec()).unwrap();
            relay.answer(command, Response::Info(text)).await;
        }
    };
    let (a, b, c, ()) = tokio::join!(ask(0), ask(1), ask(2), play);
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn commands_do_not_wait_for_the_answers_of_others() {
    const COMMANDS: usize = 40;
    let (session, _events, mut relay) = session().await;
    let queue = SenderId(id("queue"));
    let silent = MessageFlags {
        notification: false,
    };
    let send = async |_| {
        let sent = session.send_message(&queue, None, silent, vec![7; 15_000]);
        sent.await.unwrap();
    };
    let sends = (0..COMMANDS).map(send).collect::<Vec<_>>();
    let play = async {
        let mut all = Vec::new();
        for _ in 0..COMMANDS {
            all.push(relay.expect("SEND").await);
        }
        for command in &all {
            relay.answer(command, Response::Ok).await;
        }
    };
    let start = Instant::now();
    tokio::join!(all(sends), play);
    assert!(start.elapsed() < SOON);
}

/// Waits for all of them at the same time.
async fn all(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        match futures.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_single_command_does_not_wait_for_company() {
    let (session, _events, mut relay) = session().await;
    let start = Instant::now();
    let play = async {
        let ping = relay.expect("PING").await;
        relay.answer(&ping, Response::Pong).await;
    };
    let (answer, ()) = tokio::join!(session.ping(), play);
    answer.unwrap();
    assert!(start.elapsed() < SOON);
}

#[tokio::test(start_paused = true)]
async fn commands_that_wait_together_share_a_block() {
    let (session, _events, mut relay) = session().await;
    let ids: Vec<_> = (0..100).map(|n| recipient(&n.to_string())).collect();
    let key = key(AuthKeyKind::X25519, 1);
    let queues: Vec<_> = ids.iter().map(|id| QueueKey { id, key: &key }).collect();
    let play = async {
        let mut blocks = 0;
        let mut answered = 0;
        while answered < ids.len() {
            let block = relay.receive_block().await.unwrap();
            blocks += 1;
            answered += block.len();
            for command in &block {
                assert!(relay.is_authorized(command, &key.public()));
                let gone = command.entity == ids[7].0;
                let auth = Response::Err(ErrorType::Auth);
                relay
                    .answer(command, if gone { auth } else { Response::Sok(None) })
                    .await;
            }
        }
        blocks
    };
    let (subscribed, blocks) = tokio::join!(session.subscribe(&queues), play);
    assert!(blocks <= 2, "{blocks} blocks");
    for (n, result) in subscribed.into_iter().enumerate() {
        match result {
            Ok(None) => assert_ne!(n, 7),
            Err(ClientError::Refused(ErrorType::Auth)) => assert_eq!(n, 7),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn more_subscriptions_than_places_all_get_their_answers() {
    let options = SessionOptions {
        in_flight: 4,
        ..SessionOptions::default()
    };
    let (session, _events, mut relay) = FakeRelay::new().session(&options).await;
    let ids: Vec<_> = (0..50).map(|n| recipient(&n.to_string())).collect();
    let key = key(AuthKeyKind::Ed25519, 1);
    let queues: Vec<_> = ids.iter().map(|id| QueueKey { id, key: &key }).collect();
    let play = async {
        let mut answered = 0;
        while answered < ids.len() {
            let block = relay.receive_block().await.unwrap();
            assert!(block.len() <= 4);
            answered += block.len();
            for command in &block {
                relay.answer(command, Response::Sok(None)).await;
            }
        }
    };
    let (subscribed, ()) = tokio::join!(session.subscribe(&queues), play);
    assert_eq!(subscribed.len(), 50);
    assert!(subscribed.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_command_without_an_answer_fails_in_time_and_the_session_goes_on() {
    let (session, _events, mut relay) = session().await;
    let start = Instant::now();
    let queue = recipient("queue");
    let key = key(AuthKeyKind::Ed25519, 1);
    let queue = QueueKey {
        id: &queue,
        key: &key,
    };
    let (failed, late) = tokio::join!(session.secure(queue, key.public()), relay.expect("KEY"));
    assert!(matches!(failed, Err(ClientError::Timeout)));
    assert_eq!(start.elapsed(), Duration::from_secs(20));

    // The relay is asked whether it is there; it answers everything, late.
    let play = async {
        let ping = relay.expect("PING").await;
        relay.answer(&late, Response::Ok).await;
        relay.answer(&ping, Response::Pong).await;
        let ping = relay.expect("PING").await;
        relay.answer(&ping, Response::Pong).await;
    };
    let ((), answer) = tokio::join!(play, session.ping());
    answer.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_answers_only_pings_is_left() {
    let options = SessionOptions {
        in_flight: 2,
        ..SessionOptions::default()
    };
    let (session, _events, mut relay) = FakeRelay::new().session(&options).await;
    let key = key(AuthKeyKind::Ed25519, 1);
    let queue = recipient("queue");
    let queue = QueueKey {
        id: &queue,
        key: &key,
    };
    let play = async {
        while let Some(block) = relay.receive_block().await {
            for command in block {
                if command.command == Command::Ping {
                    relay.answer(&command, Response::Pong).await;
                }
            }
        }
    };
    let ask = async {
        for _ in 0..3 {
            assert!(matches!(
                session.delete(queue).await,
                Err(ClientError::Timeout)
            ));
        }
        assert_eq!(session.closed().await, DisconnectReason::Unresponsive);
    };
    tokio::join!(ask, play);
}

#[tokio::test(start_paused = true)]
async fn a_command_given_up_before_it_was_sent_is_not_sent() {
    let (session, _events, mut relay) = session().await;
    let queue = recipient("queue");
    let key = key(AuthKeyKind::Ed25519, 1);
    {
        let mut delete = Box::pin(session.delete(QueueKey {
            id: &queue,
            key: &key,
        }));
        // Polled once: the driver has not run yet.
        assert!(futures_poll(&mut delete).is_none());
    }
    let (answer, ()) = tokio::join!(session.ping(), async {
        let ping = relay.expect("PING").await;
        relay.answer(&ping, Response::Pong).await;
    });
    answer.unwrap();
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_message_goes_to_whoever_acknowledged() {
    let (session, mut events, mut relay) = session().await;
    let (id, key) = (recipient("queue"), key(AuthKeyKind::Ed25519, 1));
    let queue = QueueKey { id: &id, key: &key };
    let play = async {
        let ack = relay.expect("ACK").await;
        assert_eq!(ack.command, Command::Ack(MESSAGE));
        relay.answer(&ack, message()).await;
        let get = relay.expect("GET").await;
        relay.answer(&get, Response::Ok).await;
    };
    let ask = async {
        let next = session.acknowledge(queue, MESSAGE).await.unwrap();
        assert_eq!(next, Some(sealed()));
        assert_eq!(session.get_message(queue).await.unwrap(), None);
    };
    tokio::join!(ask, play);
    assert_eq!(events.try_next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_too_late_for_its_caller_is_an_event() {
    let (session, mut events, mut relay) = session().await;
    let (id, key) = (recipient("queue"), key(AuthKeyKind::Ed25519, 1));
    let queue = QueueKey { id: &id, key: &key };
    let given_up = timeout(SOON, session.acknowledge(queue, MESSAGE));
    let (given_up, ack) = tokio::join!(given_up, relay.expect("ACK"));
    assert!(given_up.is_err());
    relay.answer(&ack, message()).await;
    let expected = Event::Message {
        queue: id.clone(),
        message: sealed(),
    };
    assert_eq!(events.next().await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_answered_with_a_message_gives_an_event() {
    let (session, mut events, mut relay) = session().await;
    let (id, key) = (recipient("queue"), key(AuthKeyKind::Ed25519, 1));
    let queues = [QueueKey { id: &id, key: &key }];
    let (subscribed, ()) = tokio::join!(session.subscribe(&queues), async {
        let sub = relay.expect("SUB").await;
        relay.answer(&sub, message()).await;
    });
    assert!(matches!(subscribed[..], [Ok(None)]));
    let expected = Event::Message {
        queue: id.clone(),
        message: sealed(),
    };
    assert_eq!(events.next().await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn what_the_relay_tells_comes_as_events_in_order() {
    let (session, mut events, mut relay) = session().await;
    let (one, ids_hash) = (id("one"), IdsHash([3; 16]));
    relay.tell(&one, message()).await;
    relay
        .tell(
            &one,
            Response::Nmsg {
                nonce: [4; 24],
                meta: vec![9],
            },
        )
        .await;
    relay.tell(&one, Response::Deld).await;
    relay.tell(&one, Response::End).await;
    relay
        .tell(&EntityId::EMPTY, Response::Ends { count: 7, ids_hash })
        .await;
    relay.tell(&EntityId::EMPTY, Response::Alls).await;
    drop(relay);
    let expected = [
        Event::Message {
            queue: RecipientId(one.clone()),
            message: sealed(),
        },
        Event::Notification {
            queue: NotifierId(one.clone()),
            nonce: [4; 24],
            meta: vec![9],
        },
        Event::Deleted { queue: one.clone() },
        Event::End { queue: one.clone() },
        Event::ServiceEnd { count: 7, ids_hash },
        Event::AllDelivered,
        Event::Disconnected(DisconnectReason::ClosedByRelay),
    ];
    for event in expected {
        assert_eq!(events.next().await, Some(event));
    }
    assert_eq!(events.next().await, None);
    assert!(session.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_slow_stops_the_relay() {
    let (_session, mut events, mut relay) = session().await;
    let flood = async {
        for n in 0..1000u32 {
            relay.tell(&id(&n.to_string()), Response::End).await;
        }
    };
    let mut flood = Box::pin(flood);
    assert!(timeout(Duration::from_secs(5), &mut flood).await.is_err());
    let listen = async {
        for n in 0..1000u32 {
            assert_eq!(
                events.next().await,
                Some(Event::End {
                    queue: id(&n.to_string())
                })
            );
        }
    };
    tokio::join!(flood, listen);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_slow_gets_its_answers() {
    let (session, mut events, mut relay) = session().await;
    let play = async {
        let ping = relay.expect("PING").await;
        for n in 0..1000u32 {
            relay.tell(&id(&n.to_string()), Response::End).await;
        }
        relay.answer(&ping, Response::Pong).await;
    };
    let (answer, ()) = tokio::join!(session.ping(), play);
    answer.unwrap();
    assert!(events.try_next().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_created_with_the_password_of_the_address() {
    let mut fake = FakeRelay::new();
    let mut address = fake.address();
    address.basic_auth = Some("secret".parse().unwrap());
    let isolation = smp_client::Isolation::generate(&mut crate::fake::rng(1));
    let options = SessionOptions::default();
    let connector = fake.connector.clone();
    let connect = smp_client::Session::connect(&connector, &address, &isolation, &options);
    let (connected, mut relay) = tokio::join!(connect, fake.accept());
    let (session, _events) = connected.unwrap();

    let key = key(AuthKeyKind::Ed25519, 1);
    let corr_id = smp_protocol::CorrId([5; 24]);
    let chosen = smp_client::ChosenSenderId::from_corr_id(corr_id);
    let link = (chosen.id().clone(), smp_protocol::LinkData::default());
    let parameters = QueueParameters {
        dh_key: DhPublicKey([9; 32]),
        subscribe: true,
        request: Some(QueueRequest::Messaging(Some(link))),
        notifier: None,
        sender_id: Some(chosen.clone()),
    };
    let ids = QueueIds {
        recipient_id: recipient("r"),
        sender_id: chosen.id().clone(),
        dh_key: DhPublicKey([8; 32]),
        mode: Some(QueueMode::Messaging),
        link_id: None,
        service_id: None,
        notifier: None,
    };
    let play = async {
        let new = relay.expect("NEW").await;
        assert!(new.entity.is_empty() && relay.is_authorized(&new, &key.public()));
        let Command::New(queue) = &new.command else {
            unreachable!()
        };
        assert_eq!(queue.basic_auth, address.basic_auth);
        assert_eq!(queue.auth_key, key.public());
        assert_eq!(new.corr_id, corr_id);
        // The relay checks that the sender id comes from the correlation id.
        use sha3::Digest;
        let digest = sha3::Sha3_384::digest(new.corr_id.as_bytes());
        assert_eq!(chosen.id().as_bytes(), &digest[..24]);
        relay
            .answer(&new, Response::Ids(Box::new(ids.clone())))
            .await;
    };
    let (created, ()) = tokio::join!(session.create_queue(&key, parameters), play);
    assert_eq!(created.unwrap(), ids);
}

#[test]
fn each_chosen_sender_id_is_another() {
    use smp_client::ChosenSenderId;
    assert_ne!(
        ChosenSenderId::generate().id(),
        ChosenSenderId::generate().id()
    );
}

#[tokio::test(start_paused = true)]
async fn a_sender_secures_and_sends_with_its_own_key() {
    let (session, _events, mut relay) = session().await;
    let (queue, key) = (SenderId(id("sender")), key(AuthKeyKind::X25519, 2));
    let play = async {
        let skey = relay.expect("SKEY").await;
        assert_eq!(skey.command, Command::Skey(key.public()));
        assert!(relay.is_authorized(&skey, &key.public()));
        relay.answer(&skey, Response::Ok).await;
        let send = relay.expect("SEND").await;
        assert!(relay.is_authorized(&send, &key.public()));
        relay.answer(&send, Response::Err(ErrorType::Quota)).await;
        let send = relay.expect("SEND").await;
        assert!(relay.is_unauthorized(&send));
        relay.answer(&send, Response::Ok).await;
    };
    let flags = MessageFlags { notification: true };
    let ask = async {
        session.sender_secure(&queue, &key).await.unwrap();
        let full = session
            .send_message(&queue, Some(&key), flags, vec![1])
            .await;
        assert!(matches!(full, Err(ClientError::Refused(ErrorType::Quota))));
        session
            .send_message(&queue, None, flags, vec![1])
            .await
            .unwrap();
    };
    tokio::join!(ask, play);
}

async fn refused(versions: (u16, u16), key: &AuthPrivateKey, command: Command) -> ClientError {
    let mut fake = FakeRelay::with_versions(versions.0, versions.1);
    let (session, _events, mut relay) = fake.session(&SessionOptions::default()).await;
    let entity = id("queue");
    let error = session
        .request(Request::about(&entity, Some(key), &command))
        .await
        .unwrap_err();
    assert!(relay.is_silent(SOON).await);
    error
}

#[tokio::test(start_paused = true)]
async fn a_relay_without_a_session_key_knows_signatures_alone() {
    let x25519 = key(AuthKeyKind::X25519, 1);
    let error = refused((6, 6), &x25519, Command::Sub).await;
    assert!(matches!(
        error,
        ClientError::Authorize(AuthorizeError::NoSessionKey)
    ));

    let mut fake = FakeRelay::with_versions(6, 6);
    let (session, _events, mut relay) = fake.session(&SessionOptions::default()).await;
    let (id, key) = (recipient("queue"), key(AuthKeyKind::Ed25519, 1));
    let queues = [QueueKey { id: &id, key: &key }];
    let (subscribed, ()) = tokio::join!(session.subscribe(&queues), async {
        let sub = relay.expect("SUB").await;
        assert!(relay.is_authorized(&sub, &key.public()));
        relay.answer(&sub, Response::Ok).await;
    });
    assert!(matches!(subscribed[..], [Ok(None)]));
}

#[tokio::test(start_paused = true)]
async fn what_the_session_does_not_know_is_not_sent() {
    let key = key(AuthKeyKind::Ed25519, 1);
    let error = refused((6, 8), &key, Command::Skey(key.public())).await;
    let ClientError::Version { needs, has } = error else {
        panic!("{error:?}")
    };
    assert_eq!((needs, has), (SmpVersion::SKEY, SmpVersion::PROXY));

    let too_long = Command::Send {
        flags: MessageFlags::default(),
        body: vec![0; 17_000],
    };
    let error = refused((6, 20), &key, too_long).await;
    assert!(matches!(error, ClientError::Encode(_)) && error.fault() == Fault::Ours);
}

#[tokio::test(start_paused = true)]
async fn closing_fails_what_waits_and_ends_the_connection() {
    let (session, mut events, mut relay) = session().await;
    let other = session.clone();
    let close = async {
        relay.expect("PING").await;
        other.close();
        assert!(relay.receive_block().await.is_none());
    };
    let (answer, ()) = tokio::join!(session.ping(), close);
    let Err(ClientError::Disconnected(DisconnectReason::Closed)) = answer else {
        panic!()
    };
    assert_eq!(
        events.next().await,
        Some(Event::Disconnected(DisconnectReason::Closed))
    );
    assert!(matches!(
        session.ping().await,
        Err(ClientError::Disconnected(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_the_last_session() {
    let (session, _events, mut relay) = session().await;
    let other = session.clone();
    drop(session);
    assert!(relay.is_silent(SOON).await);
    drop(other);
    assert!(relay.receive_block().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_version_from_6_on_is_spoken() {
    for version in 6..=20 {
        let mut fake = FakeRelay::with_versions(version, version);
        let (session, _events, mut relay) = fake.session(&SessionOptions::default()).await;
        assert_eq!(session.version(), SmpVersion(version));
        let (id, key) = (recipient("queue"), key(AuthKeyKind::Ed25519, 1));
        let queues = [QueueKey { id: &id, key: &key }];
        let play = async |relay: &mut FakeSession, command: Received| {
            assert!(relay.is_authorized(&command, &key.public()));
            relay.answer(&command, Response::Sok(None)).await;
        };
        let (subscribed, ()) = tokio::join!(session.subscribe(&queues), async {
            let sub = relay.expect("SUB").await;
            play(&mut relay, sub).await;
        });
        assert!(matches!(subscribed[..], [Ok(None)]), "{version}");
    }
}
