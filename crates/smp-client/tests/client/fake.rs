//! A relay that does what the test says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use smp_client::{Events, Isolation, MemoryConnector, MemoryLink, Session, SessionOptions};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, AuthPublicKey, Authorization, BlockWriter, BoxKey, Command,
    CorrId, EntityId, Host, RelayAddress, Response, ServerAddress, ServiceId, ServiceReply,
    SessionKey, SignatureAlgorithm, SmpVersion, Transmission, VersionRange, encode_unauthorized,
    plain_content, transmissions, verify,
};
use smp_transport::{
    BlockIo, BlockStream, Purpose, ServerSession, TlsCredentials, Validity, server_handshake,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Long enough for everything that does not wait for a timer.
pub(crate) const SOON: Duration = Duration::from_millis(1);

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn key(kind: AuthKeyKind, seed: u64) -> AuthPrivateKey {
    AuthPrivateKey::generate(&mut rng(seed), kind)
}

pub(crate) fn id(text: &str) -> EntityId {
    EntityId::new(text.as_bytes()).unwrap()
}

/// A chain of an offline and an online certificate.
pub(crate) fn credentials(seed: u64) -> TlsCredentials {
    let rng = &mut rng(seed);
    let validity = Validity::from_now(SystemTime::now(), 365);
    let algorithm = SignatureAlgorithm::Ed25519;
    let offline =
        TlsCredentials::self_signed(Purpose::Authority, "CA", validity, algorithm, rng).unwrap();
    offline
        .issue(Purpose::Relay, "relay", validity, algorithm, rng)
        .unwrap()
}

/// The relay's listening side.
pub(crate) struct FakeRelay {
    pub(crate) credentials: Arc<TlsCredentials>,
    pub(crate) versions: VersionRange,
    pub(crate) accepted: mpsc::Receiver<MemoryLink>,
    pub(crate) connector: MemoryConnector,
}

impl FakeRelay {
    pub(crate) fn new() -> Self {
        Self::with_versions(6, 20)
    }

    pub(crate) fn with_versions(min: u16, max: u16) -> Self {
        let (connector, accepted) = MemoryConnector::new();
        Self {
            credentials: Arc::new(credentials(1)),
            versions: VersionRange::new(SmpVersion(min), SmpVersion(max)).unwrap(),
            accepted,
            connector,
        }
    }

    pub(crate) fn address(&self) -> ServerAddress {
        address_of(&self.credentials).into()
    }

    /// Waits for a connection and shakes hands.
    pub(crate) async fn accept(&mut self) -> FakeSession {
        let link = self.accepted.recv().await.unwrap();
        self.greet(link).await
    }

    pub(crate) async fn greet(&self, link: MemoryLink) -> FakeSession {
        let mut io = BlockStream::new(link.stream);
        let rng = &mut rng(7);
        let session = server_handshake(
            &mut io,
            &self.credentials,
            &link.session_id,
            &[],
            self.versions,
            SystemTime::now(),
            rng,
        );
        let session = session.await.unwrap();
        FakeSession::new(io, session)
    }

    /// A client of this relay and the relay's side of it.
    pub(crate) async fn session(
        &mut self,
        options: &SessionOptions,
    ) -> (Session, Events, FakeSession) {
        let (connector, address) = (self.connector.clone(), self.address());
        let isolation = Isolation::generate(&mut rng(8));
        let connect = Session::connect(&connector, &address, &isolation, options);
        let (connected, fake) = tokio::join!(connect, self.accept());
        let (session, events) = connected.unwrap();
        (session, events, fake)
    }
}

pub(crate) fn address_of(credentials: &TlsCredentials) -> RelayAddress {
    let host: Host = "relay.example".parse().unwrap();
    RelayAddress::new(credentials.identity(), vec![host], None).unwrap()
}

/// A session with the default options.
pub(crate) async fn session() -> (Session, Events, FakeSession) {
    FakeRelay::new().session(&SessionOptions::default()).await
}

/// A command as the relay got it.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) corr_id: CorrId,
    pub(crate) entity: EntityId,
    pub(crate) command: Command,
    /// The bytes of the whole transmission.
    pub(crate) bytes: Vec<u8>,
}

impl Received {
    pub(crate) fn tag(&self) -> &'static str {
        self.command.tag()
    }
}

/// The relay's side of a session.
pub(crate) struct FakeSession {
    pub(crate) io: BlockStream<DuplexStream>,
    pub(crate) session: ServerSession,
    received: VecDeque<Received>,
}

impl FakeSession {
    pub(crate) fn new(io: BlockStream<DuplexStream>, session: ServerSession) -> Self {
        Self {
            io,
            session,
            received: VecDeque::new(),
        }
    }

    /// The next command.
    pub(crate) async fn receive(&mut self) -> Received {
        while self.received.is_empty() {
            let block = self
                .receive_block()
                .await
                .expect("the client closed the session");
            self.received.extend(block);
        }
        self.received.pop_front().unwrap()
    }

    /// The next command, which has to be this one.
    pub(crate) async fn expect(&mut self, tag: &str) -> Received {
        let received = self.receive().await;
        assert_eq!(received.tag(), tag);
        received
    }

    /// The commands of the next block, or nothing if the client closed.
    pub(crate) async fn receive_block(&mut self) -> Option<Vec<Received>> {
        let mut block = self.io.read_block().await.ok()??;
        let content = match &mut self.session.cipher {
            Some(cipher) => cipher.open(&mut block).unwrap(),
            None => plain_content(&block).unwrap(),
        };
        let params = &self.session.params;
        let received = transmissions(content).unwrap().map(|bytes| {
            let transmission = Transmission::decode(bytes, params).unwrap();
            Received {
                corr_id: transmission.corr_id.unwrap(),
                entity: transmission.entity.clone(),
                command: Command::decode(params.version, transmission.command).unwrap(),
                bytes: bytes.to_vec(),
            }
        });
        Some(received.collect())
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_silent(&mut self, time: Duration) -> bool {
        self.received.is_empty()
            && tokio::time::timeout(time, self.receive_block())
                .await
                .is_err()
    }

    pub(crate) async fn answer(&mut self, to: &Received, response: Response) {
        self.send(Some(to.corr_id), &to.entity, response).await;
    }

    pub(crate) async fn tell(&mut self, entity: &EntityId, response: Response) {
        self.send(None, entity, response).await;
    }

    pub(crate) async fn send(
        &mut self,
        corr_id: Option<CorrId>,
        entity: &EntityId,
        response: Response,
    ) {
        self.send_all(&[(corr_id, entity.clone(), response)]).await;
    }

    /// Several in one block.
    pub(crate) async fn send_all(&mut self, all: &[(Option<CorrId>, EntityId, Response)]) {
        let params = self.session.params.clone();
        let mut block = BlockWriter::new();
        for (corr_id, entity, response) in all {
            let mut bytes = Vec::new();
            encode_unauthorized(&params, corr_id.as_ref(), entity, &mut bytes, |out| {
                response.encode(params.version, out)
            })
            .unwrap();
            assert!(block.try_push(&bytes));
        }
        self.send_block(block).await;
    }

    pub(crate) async fn send_block(&mut self, block: BlockWriter) {
        let sealer = self
            .session
            .cipher
            .as_mut()
            .map(|cipher| &mut cipher.sealer);
        self.io.write_block(block.finish(sealer)).await.unwrap();
    }

    /// Whether the command was authorised with this key.
    pub(crate) fn is_authorized(&self, received: &Received, key: &AuthPublicKey) -> bool {
        let params = &self.session.params;
        let transmission = Transmission::decode(&received.bytes, params).unwrap();
        let session_key = match &self.session.key {
            Some(key) => SessionKey::Private(key),
            None => SessionKey::None,
        };
        let mut signed = transmission.signed_bytes(params);
        if let (Some(_), Some(service)) = (transmission.service_signature, &self.session.service) {
            signed = signed.with_service(service.fingerprint.as_bytes());
        }
        let authorization = &transmission.authorization;
        verify(key, session_key, authorization, &received.corr_id, &signed)
    }

    pub(crate) fn is_unauthorized(&self, received: &Received) -> bool {
        let transmission = Transmission::decode(&received.bytes, &self.session.params).unwrap();
        transmission.authorization == Authorization::None
    }

    /// Tells a service that it is accepted.
    pub(crate) async fn accept_service(&mut self, id: ServiceId) {
        let reply = ServiceReply::Accepted(id).to_block().unwrap();
        self.io.write_block(reply).await.unwrap();
    }

    /// What proxy and relay agreed on.
    pub(crate) fn proxy_key(&self) -> BoxKey {
        BoxKey::from(self.session.secret.as_ref().unwrap())
    }
}
