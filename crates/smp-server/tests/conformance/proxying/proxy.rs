//! "Request proxied session" and "Send command via proxy", seen by a client of the proxy.

use std::time::SystemTime;

use rand::SeedableRng;
use rand::rngs::StdRng;
use smp_transport::{BlockStream, server_handshake, verify_relay_key};
use tokio::time::Instant;

use super::Route;
use crate::prelude::*;

fn prxy<S: smp_server::store::Store>(destination: &TestRelay<S>) -> Command {
    Command::Prxy {
        relay: destination.address(),
        basic_auth: None,
    }
}

fn proxy_error(error: ProxyError) -> Response {
    Response::Err(ErrorType::Proxy(error))
}

/// PRXY; the session that the proxy offers, once the client has checked it.
async fn session(client: &mut Client, destination: &TestRelay) -> (EntityId, Route) {
    let Response::Pkey {
        session_id,
        certificates,
        ..
    } = client.run(EntityId::EMPTY, None, prxy(destination)).await
    else {
        panic!("expected PKEY");
    };
    let now = SystemTime::now();
    let key = verify_relay_key(&certificates, &destination.identity(), now).unwrap();
    let route = Route {
        session_id: SessionId::new(session_id.as_bytes()).unwrap(),
        key,
    };
    (session_id.into(), route)
}

/// A command through the proxy.
async fn run(
    client: &mut Client,
    session: &(EntityId, Route),
    entity: impl Into<EntityId>,
    key: Option<&AuthPrivateKey>,
    command: Command,
) -> Response {
    let (id, route) = session;
    let sealed = route.seal(client, 18, entity, key, &command);
    let answer = client
        .run_with(sealed.corr_id, id, None, sealed.pfwd())
        .await;
    match answer {
        Response::Pres(body) => sealed.open(body),
        other => other,
    }
}

#[tokio::test(start_paused = true)]
async fn proxied_session_offers_the_key_that_the_destination_signed() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    session(&mut client, &destination).await;
}

#[tokio::test(start_paused = true)]
async fn proxied_session_shows_the_versions_in_which_commands_are_forwarded() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    let Response::Pkey { versions, .. } =
        client.run(EntityId::EMPTY, None, prxy(&destination)).await
    else {
        panic!("expected PKEY");
    };
    assert_eq!(versions, VersionRange::PROXIED);
}

#[tokio::test(start_paused = true)]
async fn proxied_session_is_one_for_all_clients() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let (mut one, mut other) = (proxy.client().await, proxy.client_of(SmpVersion(8)).await);
    let first = session(&mut one, &destination).await.0;
    assert_eq!(session(&mut one, &destination).await.0, first);
    assert_eq!(session(&mut other, &destination).await.0, first);
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_secures_and_sends() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut recipient = destination.client().await;
    let queue = create(&mut recipient, MESSAGING).await;
    for version in [8, 11, 14, 20].map(SmpVersion) {
        let mut client = proxy.client_of(version).await;
        let session = session(&mut client, &destination).await;
        let queue = create(&mut recipient, MESSAGING).await;
        let key = key_of(&mut client);
        let skey = Command::Skey(key.public());
        assert_eq!(
            run(&mut client, &session, queue.sender(), Some(&key), skey).await,
            OK
        );
        let sent = run(
            &mut client,
            &session,
            queue.sender(),
            Some(&key),
            send(b"hello"),
        )
        .await;
        assert_eq!(sent, OK);
        assert_eq!(recipient.message(&queue).await.body, b"hello");
        assert_eq!(
            run(&mut client, &session, queue.sender(), None, send(b"no")).await,
            AUTH
        );
    }
    let mut client = proxy.client().await;
    let session = session(&mut client, &destination).await;
    let longest = send(&[b'a'; 16_048]);
    assert_eq!(
        run(&mut client, &session, queue.sender(), None, longest).await,
        OK
    );
}

#[tokio::test(start_paused = true)]
async fn resolve_name_passes_a_proxy() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    let (id, route) = session(&mut client, &destination).await;
    let rslv = Command::Rslv("privacy.simplex".to_owned());
    let Response::Pkey { versions, .. } =
        client.run(EntityId::EMPTY, None, prxy(&destination)).await
    else {
        panic!("expected PKEY");
    };
    assert!(versions.contains(rslv.since()), "{versions:?}");
    let sealed = route.seal(&mut client, 20, EntityId::EMPTY, None, &rslv);
    let Response::Pres(body) = client
        .run_with(sealed.corr_id, &id, None, sealed.pfwd())
        .await
    else {
        panic!("expected PRES");
    };
    let no_resolver = Response::Err(ErrorType::Name(NameError::NoResolver));
    assert_eq!(sealed.open(body), no_resolver);
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_holds_up_no_other_command() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    let ids = [client.corr_id(), client.corr_id()];
    let first = client.transmission(&ids[0], &EntityId::EMPTY, None, &prxy(&destination));
    let second = client.transmission(&ids[1], &EntityId::EMPTY, None, &Command::Ping);
    client.send(&[first, second]).await;
    assert_eq!(client.next().await.response, Response::Pong);
    assert!(matches!(
        client.answer(&ids[0]).await,
        Response::Pkey { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_one_client_does_not_hold_up_the_others() {
    // Slow, for all clients of the proxy together.
    let destination = relay_with("[limits]\ncommands_per_second = 10");
    let proxy = proxy_of(&destination, "[proxy]\nconcurrent = 1000");
    let (mut greedy, mut other) = (proxy.client().await, proxy.client().await);
    let (id, route) = session(&mut greedy, &destination).await;
    for _ in 0..400 {
        let sealed = route.seal(&mut greedy, 18, EntityId::EMPTY, None, &send(b"much"));
        let pfwd = greedy.transmission(&sealed.corr_id, &id, None, &sealed.pfwd());
        greedy.send(&[pfwd]).await;
    }
    let session = session(&mut other, &destination).await;
    let started = Instant::now();
    let to = EntityId::generate(&mut other.rng);
    assert_eq!(
        run(&mut other, &session, to, None, send(b"one")).await,
        AUTH
    );
    // Behind the share of the greedy one, of which 20 go at once.
    let elapsed = started.elapsed().as_secs();
    assert!(elapsed <= 4, "{elapsed} s");
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_without_such_a_session_is_no_session() {
    let relay = relay();
    let mut client = relay.client().await;
    let entity = EntityId::generate(&mut client.rng);
    let pfwd = || Command::Pfwd {
        version: SmpVersion(18),
        key: DhPublicKey([9; 32]),
        body: vec![0; 9],
    };
    let no_session = proxy_error(ProxyError::NoSession);
    assert_eq!(client.run(entity.clone(), None, pfwd()).await, no_session);
    assert_eq!(client.run(EntityId::EMPTY, None, pfwd()).await, NO_ENTITY);
    let key = key_of(&mut client);
    assert_eq!(client.run(entity, Some(&key), pfwd()).await, HAS_AUTH);
}

#[tokio::test(start_paused = true)]
async fn proxied_session_with_another_password_is_basic_auth() {
    let destination = relay();
    let proxy = proxy_of(&destination, "[queues]\npassword = \"secret\"");
    let mut client = proxy.client().await;
    let with = |text: Option<&str>| Command::Prxy {
        relay: destination.address(),
        basic_auth: text.map(|text| text.parse().unwrap()),
    };
    let basic_auth = proxy_error(ProxyError::BasicAuth);
    assert_eq!(
        client.run(EntityId::EMPTY, None, with(None)).await,
        basic_auth
    );
    assert_eq!(
        client.run(EntityId::EMPTY, None, with(Some("wrong"))).await,
        basic_auth
    );
    let right = client
        .run(EntityId::EMPTY, None, with(Some("secret")))
        .await;
    assert!(matches!(right, Response::Pkey { .. }));
}

#[tokio::test(start_paused = true)]
async fn proxied_session_of_a_relay_that_is_no_proxy_is_basic_auth() {
    let destination = relay();
    let relay = proxy_of(&destination, "[proxy]\nenabled = false");
    let mut client = relay.client().await;
    let answer = client.run(EntityId::EMPTY, None, prxy(&destination)).await;
    assert_eq!(answer, proxy_error(ProxyError::BasicAuth));
}

#[tokio::test(start_paused = true)]
async fn proxied_session_is_asked_for_without_queue_id_and_authorization() {
    let relay = relay();
    let mut client = relay.client().await;
    let key = key_of(&mut client);
    assert_eq!(
        client.run(EntityId::EMPTY, Some(&key), prxy(&relay)).await,
        HAS_AUTH
    );
    let entity = EntityId::generate(&mut client.rng);
    assert_eq!(client.run(entity, None, prxy(&relay)).await, HAS_AUTH);
}

#[tokio::test(start_paused = true)]
async fn proxied_session_with_a_relay_that_is_not_there_is_network() {
    let relay = relay();
    for (version, failed) in [
        (19, NetworkError::Failed),
        (20, NetworkError::Connect(String::new())),
    ] {
        let mut client = relay.client_of(SmpVersion(version)).await;
        let answer = client.run(EntityId::EMPTY, None, prxy(&relay)).await;
        assert_eq!(
            answer,
            proxy_error(ProxyError::Broker(BrokerError::Network(failed)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn proxied_session_with_a_relay_of_another_identity_is_refused() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    let address = destination.address();
    let other = RelayAddress::new(
        Fingerprint([1; 32]),
        address.hosts().to_vec(),
        address.port(),
    )
    .unwrap();
    let prxy = Command::Prxy {
        relay: other,
        basic_auth: None,
    };
    let identity = TransportError::Handshake(HandshakeError::Identity);
    let answer = client.run(EntityId::EMPTY, None, prxy).await;
    assert_eq!(
        answer,
        proxy_error(ProxyError::Broker(BrokerError::Transport(identity)))
    );
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_after_the_destination_is_gone_is_an_error_and_not_silence() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    let session = session(&mut client, &destination).await;
    destination.stop();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let answer = run(&mut client, &session, EntityId::EMPTY, None, send(b"no")).await;
    assert!(
        matches!(answer, Response::Err(ErrorType::Proxy(_))),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_what_the_destination_refuses_to_the_proxy_is_protocol() {
    let destination = relay();
    let proxy = proxy_of(&destination, "");
    let mut client = proxy.client().await;
    let (id, route) = session(&mut client, &destination).await;
    let foreign = Route {
        key: DhPublicKey([9; 32]),
        ..route
    };
    let sealed = foreign.seal(&mut client, 18, EntityId::EMPTY, None, &send(b"no"));
    let answer = client
        .run_with(sealed.corr_id, &id, None, sealed.pfwd())
        .await;
    let protocol = ProxyError::Protocol(Box::new(ErrorType::Crypto));
    assert_eq!(answer, proxy_error(protocol));
}

#[tokio::test(start_paused = true)]
async fn proxied_session_with_a_relay_that_says_nothing_is_timeout() {
    let (proxy, _links) = proxy_of_nobody("[proxy]\ntimeout_seconds = 5");
    for (version, timeout) in [(19, NetworkError::Failed), (20, NetworkError::Timeout)] {
        let mut client = proxy.client_of(SmpVersion(version)).await;
        let answer = client.run(EntityId::EMPTY, None, prxy(&proxy)).await;
        assert_eq!(
            answer,
            proxy_error(ProxyError::Broker(BrokerError::Network(timeout)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn proxied_session_with_a_relay_that_knows_no_proxies_is_version() {
    let (proxy, mut links) = proxy_of_nobody("");
    let (old, credentials, stop) = (
        proxy.relay.clone(),
        proxy.credentials.clone(),
        proxy.stop.clone(),
    );
    tokio::spawn(async move {
        let link = links.recv().await.unwrap();
        let legacy = VersionRange::LEGACY;
        old.serve_stream(link.stream, &link.session_id, &credentials, legacy, stop)
            .await;
    });
    let mut client = proxy.client().await;
    let answer = client.run(EntityId::EMPTY, None, prxy(&proxy)).await;
    let version = BrokerError::Transport(TransportError::Version);
    assert_eq!(answer, proxy_error(ProxyError::Broker(version)));
}

#[tokio::test(start_paused = true)]
async fn send_via_proxy_that_the_destination_does_not_answer_is_timeout() {
    let (proxy, mut links) = proxy_of_nobody("[proxy]\ntimeout_seconds = 5");
    let credentials = proxy.credentials.clone();
    tokio::spawn(async move {
        // Shakes hands, and never speaks again.
        let link = links.recv().await.unwrap();
        let mut io = BlockStream::new(link.stream);
        let mut rng = StdRng::seed_from_u64(9);
        let (id, versions) = (link.session_id, VersionRange::SUPPORTED);
        let now = SystemTime::now();
        let session =
            server_handshake(&mut io, &credentials, &id, &[], versions, now, &mut rng).await;
        session.unwrap();
        std::future::pending::<()>().await;
    });
    let mut client = proxy.client().await;
    let session = session(&mut client, &proxy).await;
    let to = EntityId::generate(&mut client.rng);
    let answer = run(&mut client, &session, to, None, send(b"hello")).await;
    assert_eq!(
        answer,
        proxy_error(ProxyError::Broker(BrokerError::Timeout))
    );
}
