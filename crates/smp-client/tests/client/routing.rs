//! Commands through a proxy: a scripted proxy that plays the relay behind it too.

use std::sync::Arc;

use smp_client::{
    ClientError, Fallback, MemoryConnector, Misbehaviour, Relay, RelayOptions, Request, Route,
    Router, RoutingError, Session, SessionOptions,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, BrokerError, CertChainAndKey, Command, CommandError, CorrId,
    DhPrivateKey, DhPublicKey, EntityId, ErrorType, FORWARDED_SIZE, ForwardSecret, LinkId,
    MessageFlags, NetworkError, ProxyError, ProxySessionId, RelayAddress, Response, SenderId,
    ServerAddress, SessionId, SessionKey, SessionParams, SmpVersion, Transmission, TransportError,
    VersionRange, encode_unauthorized, verify,
};
use smp_transport::{TlsCredentials, sign_key};
use tokio::sync::mpsc;

use crate::fake::{FakeRelay, FakeSession, Received, address_of, credentials, id, key, rng};

/// A relay behind the proxy, as it would be in its session with the proxy.
struct Behind {
    credentials: TlsCredentials,
    key: DhPrivateKey,
    session_id: ProxySessionId,
    versions: VersionRange,
}

/// A command as the relay behind the proxy gets it.
struct Inner {
    corr_id: CorrId,
    entity: EntityId,
    command: Command,
    params: SessionParams,
    secret: ForwardSecret,
    bytes: Vec<u8>,
    /// The client's key for this command.
    key: DhPublicKey,
}

impl Behind {
    fn new() -> Self {
        Self {
            credentials: credentials(30),
            key: DhPrivateKey::generate(&mut rng(31)),
            session_id: ProxySessionId(EntityId::new(&[6; 32]).unwrap()),
            versions: VersionRange::new(SmpVersion(8), SmpVersion(17)).unwrap(),
        }
    }

    fn address(&self) -> RelayAddress {
        address_of(&self.credentials)
    }

    fn certificates(&self) -> CertChainAndKey {
        sign_key(&self.credentials, &self.key.public().to_spki()).unwrap()
    }

    fn offer(&self) -> Response {
        Response::Pkey {
            session_id: self.session_id.clone(),
            versions: self.versions,
            certificates: self.certificates(),
        }
    }

    fn open(&self, received: &Received) -> Inner {
        let Command::Pfwd { version, key, body } = &received.command else {
            panic!()
        };
        assert_eq!(received.entity, self.session_id.0);
        assert_eq!(body.len(), FORWARDED_SIZE);
        let secret = ForwardSecret::agree(&self.key, key, &received.corr_id).unwrap();
        let mut body = body.clone();
        let bytes = secret.open_command(&mut body).unwrap().to_vec();
        let params = SessionParams::new(*version, SessionId(self.session_id.0.clone()));
        let transmission = Transmission::decode(&bytes, &params).unwrap();
        assert_eq!(transmission.corr_id, Some(received.corr_id));
        Inner {
            corr_id: received.corr_id,
            entity: transmission.entity.clone(),
            command: Command::decode(*version, transmission.command).unwrap(),
            params: params.clone(),
            secret,
            key: *key,
            bytes: bytes.clone(),
        }
    }

    fn is_authorized(&self, inner: &Inner, key: &AuthPrivateKey) -> bool {
        let transmission = Transmission::decode(&inner.bytes, &inner.params).unwrap();
        let signed = transmission.signed_bytes(&inner.params);
        let session_key = SessionKey::Private(&self.key);
        verify(
            &key.public(),
            session_key,
            &transmission.authorization,
            &inner.corr_id,
            &signed,
        )
    }
}

impl Inner {
    /// What the proxy gives back to the client.
    fn answer(&self, response: &Response) -> Response {
        self.answer_as(Some(self.corr_id), &self.entity, response)
    }

    fn answer_as(
        &self,
        corr_id: Option<CorrId>,
        entity: &EntityId,
        response: &Response,
    ) -> Response {
        let mut bytes = Vec::new();
        encode_unauthorized(&self.params, corr_id.as_ref(), entity, &mut bytes, |out| {
            response.encode(self.params.version, out)
        })
        .unwrap();
        Response::Pres(self.secret.seal_response(&bytes).unwrap())
    }
}

/// A session with a proxy.
async fn proxy() -> (Session, FakeSession) {
    let (session, _, relay) = FakeRelay::new().session(&SessionOptions::default()).await;
    (session, relay)
}

#[tokio::test(start_paused = true)]
async fn commands_reach_the_relay_behind_the_proxy() {
    let behind = Behind::new();
    let (session, mut proxy) = proxy().await;
    let (queue, key) = (id("sender"), key(AuthKeyKind::X25519, 1));
    let play = async {
        let prxy = proxy.expect("PRXY").await;
        let asked = Command::Prxy {
            relay: behind.address(),
            basic_auth: None,
        };
        assert!(prxy.entity.is_empty() && prxy.command == asked && proxy.is_unauthorized(&prxy));
        proxy.answer(&prxy, behind.offer()).await;
        let mut keys = Vec::new();
        for tag in ["SKEY", "SEND", "SEND"] {
            let pfwd = proxy.expect("PFWD").await;
            assert!(proxy.is_unauthorized(&pfwd));
            // As recorded in smp_proxy.json: the version, and lengths of command and transmission.
            let Command::Pfwd { version, .. } = &pfwd.command else {
                unreachable!()
            };
            assert_eq!(*version, SmpVersion(17));
            assert_eq!(pfwd.bytes.len(), 16_353);
            let inner = behind.open(&pfwd);
            assert_eq!((inner.command.tag(), &inner.entity), (tag, &queue));
            assert!(behind.is_authorized(&inner, &key));
            keys.push(inner.key);
            let response = match keys.len() {
                3 => Response::Err(ErrorType::Auth),
                _ => Response::Ok,
            };
            proxy.answer(&pfwd, inner.answer(&response)).await;
        }
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    };
    let ask = async {
        let relay = session.proxy_session(&behind.address()).await.unwrap();
        let skey = Command::Skey(key.public());
        let send = Command::Send {
            flags: MessageFlags::default(),
            body: vec![1; 100],
        };
        for command in [&skey, &send] {
            let request = Request::about(&queue, Some(&key), command);
            assert_eq!(
                session.forward(&relay, request).await.unwrap(),
                Response::Ok
            );
        }
        let request = Request::about(&queue, Some(&key), &send);
        let refused = session.forward(&relay, request).await;
        assert!(matches!(refused, Err(RoutingError::Relay(ErrorType::Auth))));
    };
    tokio::join!(ask, play);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_the_relays_is_refused() {
    let behind = Behind::new();
    let other = credentials(40);
    let key = behind.key.public().to_spki();
    let mut signed_by_another = behind.certificates();
    signed_by_another.signed_key = sign_key(&other, &key).unwrap().signed_key;
    let of_another = sign_key(&other, &key).unwrap();
    let mut broken = behind.certificates();
    *broken.signed_key.last_mut().unwrap() ^= 1;
    for certificates in [signed_by_another, of_another, broken] {
        let (session, mut proxy) = proxy().await;
        let play = async {
            let prxy = proxy.expect("PRXY").await;
            let (session_id, versions) = (behind.session_id.clone(), behind.versions);
            proxy
                .answer(
                    &prxy,
                    Response::Pkey {
                        session_id,
                        versions,
                        certificates,
                    },
                )
                .await;
        };
        let address = behind.address();
        let (asked, ()) = tokio::join!(session.proxy_session(&address), play);
        let Err(ClientError::Misbehaved(what)) = asked else {
            panic!()
        };
        assert_eq!(what, Misbehaviour::ForeignKey);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_proxy_changes_is_not_taken_for_an_answer() {
    let behind = Behind::new();
    let (session, mut proxy) = proxy().await;
    let queue = id("sender");
    let lies: [fn(&Inner) -> Response; 4] = [
        |inner| inner.answer_as(Some(CorrId([1; 24])), &inner.entity, &Response::Ok),
        |inner| inner.answer_as(Some(inner.corr_id), &id("other"), &Response::Ok),
        |_| Response::Pres(vec![0; FORWARDED_SIZE]),
        |_| Response::Pres(Vec::new()),
    ];
    let play = async {
        let prxy = proxy.expect("PRXY").await;
        proxy.answer(&prxy, behind.offer()).await;
        for lie in lies {
            let pfwd = proxy.expect("PFWD").await;
            let response = lie(&behind.open(&pfwd));
            proxy.answer(&pfwd, response).await;
        }
        let pfwd = proxy.expect("PFWD").await;
        proxy.answer(&pfwd, Response::Ok).await;
    };
    let ask = async {
        let relay = session.proxy_session(&behind.address()).await.unwrap();
        let request = Request::about(&queue, None, &Command::Lget);
        for expected in [
            Misbehaviour::UnknownCommand,
            Misbehaviour::ForeignEntity,
            Misbehaviour::Forged,
            Misbehaviour::Forged,
        ] {
            let error = session.forward(&relay, request).await.unwrap_err();
            assert!(
                matches!(&error, RoutingError::Answer(what) if *what == expected),
                "{error:?}"
            );
        }
        let error = session.forward(&relay, request).await.unwrap_err();
        assert!(matches!(
            error,
            RoutingError::Proxy(ClientError::Misbehaved(_))
        ));
    };
    tokio::join!(ask, play);
}

#[tokio::test(start_paused = true)]
async fn only_commands_of_senders_go_through_a_proxy() {
    let behind = Behind::new();
    let (session, mut proxy) = proxy().await;
    let address = behind.address();
    let (relay, ()) = tokio::join!(session.proxy_session(&address), async {
        let prxy = proxy.expect("PRXY").await;
        proxy.answer(&prxy, behind.offer()).await;
    });
    let relay = relay.unwrap();
    let forwarded = session.forward(&relay, Request::new(&Command::Sub)).await;
    assert!(matches!(
        forwarded,
        Err(RoutingError::NotForwardable("SUB"))
    ));
    // Names came in version 20, which this relay does not have.
    let name = Command::Rslv("alice.simplex".to_owned());
    let forwarded = session.forward(&relay, Request::new(&name)).await;
    assert!(matches!(
        forwarded,
        Err(RoutingError::Command(ClientError::Version { .. }))
    ));
    assert!(proxy.is_silent(crate::fake::SOON).await);
}

#[tokio::test(start_paused = true)]
async fn the_relay_sees_no_newer_version_than_the_command_needs() {
    let versions = VersionRange::new(SmpVersion(8), SmpVersion(20)).unwrap();
    let behind = Behind {
        versions,
        ..Behind::new()
    };
    let (session, mut proxy) = proxy().await;
    let address = behind.address();
    let (relay, ()) = tokio::join!(session.proxy_session(&address), offer(&mut proxy, &behind));
    let relay = relay.unwrap();
    let queue = id("link");
    let commands = [
        (Command::Lget, 18),
        (Command::Rslv("alice.simplex".to_owned()), 20),
    ];
    for (command, spoken) in commands {
        let request = match command {
            Command::Lget => Request::about(&queue, None, &command),
            _ => Request::new(&command),
        };
        let (answer, ()) = tokio::join!(session.forward(&relay, request), async {
            let pfwd = proxy.expect("PFWD").await;
            let inner = behind.open(&pfwd);
            assert_eq!(inner.params.version, SmpVersion(spoken));
            proxy
                .answer(&pfwd, inner.answer(&Response::Rname("{}".to_owned())))
                .await;
        });
        assert_eq!(answer.unwrap(), Response::Rname("{}".to_owned()));
    }
}

/// A router through the proxies, and where its direct connections arrive.
fn router(
    proxies: &[&FakeRelay],
    fallback: Fallback,
) -> (Router, mpsc::Receiver<smp_client::MemoryLink>) {
    let proxies = proxies.iter().map(|fake| {
        let address: ServerAddress = fake.address();
        Relay::new(
            Arc::new(fake.connector.clone()),
            address,
            RelayOptions::default(),
        )
        .0
    });
    let (connector, direct) = MemoryConnector::new();
    let options = RelayOptions::default();
    (
        Router::new(proxies.collect(), fallback, Arc::new(connector), options),
        direct,
    )
}

fn sender() -> SenderId {
    SenderId(id("sender"))
}

async fn send(router: &Router, relay: &RelayAddress) -> Result<Route, RoutingError> {
    let sent = router
        .send_message(relay, &sender(), None, MessageFlags::default(), vec![1])
        .await;
    sent.map(|routed| routed.route)
}

async fn offer(proxy: &mut FakeSession, behind: &Behind) {
    let prxy = proxy.expect("PRXY").await;
    proxy.answer(&prxy, behind.offer()).await;
}

async fn pass(proxy: &mut FakeSession, behind: &Behind, response: Response) {
    let pfwd = proxy.expect("PFWD").await;
    let response = behind.open(&pfwd).answer(&response);
    proxy.answer(&pfwd, response).await;
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_asked_once_for_a_relay() {
    let (behind, mut fake) = (Behind::new(), FakeRelay::new());
    let (router, _direct) = router(&[&fake], Fallback::Never);
    let address = behind.address();
    let play = async {
        let mut proxy = fake.accept().await;
        offer(&mut proxy, &behind).await;
        for _ in 0..3 {
            pass(&mut proxy, &behind, Response::Ok).await;
        }
    };
    let (a, b, c, ()) = tokio::join!(
        send(&router, &address),
        send(&router, &address),
        send(&router, &address),
        play
    );
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], [Route::Proxied; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_lost_its_session_is_asked_again_once() {
    let (behind, mut fake) = (Behind::new(), FakeRelay::new());
    let (router, _direct) = router(&[&fake], Fallback::IfUnavailable);
    let address = behind.address();
    let no_session = Response::Err(ErrorType::Proxy(ProxyError::NoSession));
    let play = async {
        let mut proxy = fake.accept().await;
        offer(&mut proxy, &behind).await;
        let pfwd = proxy.expect("PFWD").await;
        proxy.answer(&pfwd, no_session.clone()).await;
        offer(&mut proxy, &behind).await;
        pass(&mut proxy, &behind, Response::Ok).await;
        // The next command meets the same twice.
        let pfwd = proxy.expect("PFWD").await;
        proxy.answer(&pfwd, no_session.clone()).await;
        offer(&mut proxy, &behind).await;
        let pfwd = proxy.expect("PFWD").await;
        proxy.answer(&pfwd, no_session.clone()).await;
    };
    let ask = async {
        assert_eq!(send(&router, &address).await.unwrap(), Route::Proxied);
        let error = send(&router, &address).await.unwrap_err();
        assert!(matches!(
            error,
            RoutingError::Proxy(ClientError::Refused(_))
        ));
    };
    tokio::join!(ask, play);
}

#[tokio::test(start_paused = true)]
async fn the_relay_is_never_its_own_proxy() {
    let fake = FakeRelay::new();
    let (router, _direct) = router(&[&fake], Fallback::Never);
    let error = send(&router, &fake.address().relay).await.unwrap_err();
    assert!(matches!(error, RoutingError::NoProxy));
}

#[tokio::test(start_paused = true)]
async fn when_one_proxy_does_not_reach_the_relay_the_other_does() {
    let behind = Behind::new();
    let mut fakes = [FakeRelay::new(), FakeRelay::new()];
    fakes[1].credentials = Arc::new(credentials(2));
    let (router, _direct) = router(&[&fakes[0], &fakes[1]], Fallback::Never);
    let address = behind.address();
    let [first, second] = &mut fakes;
    let refuse = Response::Err(ErrorType::Proxy(ProxyError::Broker(BrokerError::Timeout)));
    // Whichever is asked first refuses.
    let play = async {
        let (mut refused, other) = tokio::select! {
            proxy = first.accept() => (proxy, second),
            proxy = second.accept() => (proxy, first),
        };
        let prxy = refused.expect("PRXY").await;
        refused.answer(&prxy, refuse).await;
        let mut proxy = other.accept().await;
        offer(&mut proxy, &behind).await;
        pass(&mut proxy, &behind, Response::Ok).await;
        pass(&mut proxy, &behind, Response::Ok).await;
    };
    let ask = async {
        assert_eq!(send(&router, &address).await.unwrap(), Route::Proxied);
        assert_eq!(send(&router, &address).await.unwrap(), Route::Proxied);
    };
    tokio::join!(ask, play);
}

/// What becomes of a command when the proxy answers `PRXY` like this.
async fn fall_back(fallback: Fallback, refusal: ErrorType) -> Result<Route, RoutingError> {
    let (behind, mut fake) = (Behind::new(), FakeRelay::new());
    let (router, accepted) = router(&[&fake], fallback);
    let mut direct = FakeRelay::new();
    direct.credentials = Arc::new(behind.credentials.clone());
    direct.accepted = accepted;
    let address = behind.address();
    let play = async {
        let mut proxy = fake.accept().await;
        let prxy = proxy.expect("PRXY").await;
        proxy.answer(&prxy, Response::Err(refusal)).await;
        let mut session = direct.accept().await;
        let sent = session.expect("SEND").await;
        session.answer(&sent, Response::Ok).await;
        std::future::pending().await
    };
    tokio::select! {
        sent = send(&router, &address) => sent,
        never = play => never,
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_goes_directly_only_as_the_fallback_allows() {
    let broker = |error| ErrorType::Proxy(ProxyError::Broker(error));
    let too_old = broker(BrokerError::Transport(TransportError::Version));
    let unreachable = broker(BrokerError::Network(NetworkError::Failed));
    let no_proxy = ErrorType::Cmd(CommandError::Unknown);
    let cases = [
        (Fallback::Never, &too_old, None),
        (Fallback::Never, &unreachable, None),
        (Fallback::IfHidden, &too_old, None),
        (Fallback::IfHidden, &unreachable, None),
        (Fallback::IfTooOld, &too_old, Some(Route::Direct)),
        (Fallback::IfTooOld, &no_proxy, Some(Route::Direct)),
        (Fallback::IfTooOld, &unreachable, None),
        (Fallback::IfUnavailable, &unreachable, Some(Route::Direct)),
        (Fallback::IfUnavailable, &too_old, Some(Route::Direct)),
    ];
    assert_eq!(Fallback::default(), Fallback::Never);
    for (fallback, refusal, expected) in cases {
        let sent = fall_back(fallback, refusal.clone()).await;
        assert_eq!(sent.ok(), expected, "{fallback:?}, {refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_proxy_has_goes_no_other_way() {
    let (behind, mut fake) = (Behind::new(), FakeRelay::new());
    let (router, mut direct) = router(&[&fake], Fallback::IfUnavailable);
    let address = behind.address();
    let play = async {
        let mut proxy = fake.accept().await;
        offer(&mut proxy, &behind).await;
        proxy.expect("PFWD").await;
        drop(proxy);
    };
    let (sent, ()) = tokio::join!(send(&router, &address), play);
    assert!(matches!(
        sent,
        Err(RoutingError::Proxy(ClientError::Disconnected(_)))
    ));
    assert!(direct.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn links_are_read_through_the_proxy() {
    let (behind, mut fake) = (Behind::new(), FakeRelay::new());
    let (router, _direct) = router(&[&fake], Fallback::Never);
    let (address, link, key) = (
        behind.address(),
        LinkId(id("link")),
        key(AuthKeyKind::X25519, 3),
    );
    let data = smp_protocol::LinkData {
        fixed: vec![1],
        user: vec![2],
    };
    let shown = Response::Lnk {
        sender_id: sender(),
        data: data.clone(),
    };
    let play = async {
        let mut proxy = fake.accept().await;
        offer(&mut proxy, &behind).await;
        for _ in 0..2 {
            pass(&mut proxy, &behind, shown.clone()).await;
        }
        pass(&mut proxy, &behind, Response::Ok).await;
        pass(&mut proxy, &behind, Response::Ok).await;
    };
    let ask = async {
        let expected = (sender(), data);
        assert_eq!(
            router.link_data(&address, &link).await.unwrap().answer,
            expected
        );
        assert_eq!(
            router.link_key(&address, &link, &key).await.unwrap().answer,
            expected
        );
        router
            .sender_secure(&address, &sender(), &key)
            .await
            .unwrap();
        let error = router.link_data(&address, &link).await.unwrap_err();
        assert!(matches!(
            error,
            RoutingError::Answer(Misbehaviour::Unexpected { .. })
        ));
    };
    tokio::join!(ask, play);
}
