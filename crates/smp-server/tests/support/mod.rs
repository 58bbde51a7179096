//! A relay in this process and raw clients of it, over streams in memory and in virtual time.
//!
//! The clients are made of smp-protocol's parts and nothing more: they can send what no good
//! client would.

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used)]

mod client;
mod queue;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;
use smp_client::{MemoryConnector, MemoryLink};
use smp_protocol::{
    Fingerprint, RelayAddress, ServiceRole, SessionId, SignatureAlgorithm, SmpVersion, VersionRange,
};
use smp_server::store::{MemoryStore, Store};
use smp_server::{Clock, Config, Relay};
use smp_transport::{
    BlockStream, Certificate, ClientHandshakeError, ClientHandshakeOptions, Purpose,
    ServiceOptions, TlsCredentials, Validity, client_handshake,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use client::{Client, Received};
pub(crate) use queue::{
    NewQueueOptions, Opened, Queue, create, create_only, create_with, error, key_of, link_data,
    new_queue, secure, secure_with, send, send_notified,
};
pub(crate) use store::SharedStore;

/// In virtual time: an answer that does not come by then does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Unix time at the begin of a test.
pub(crate) const START: u64 = 1_800_000_000;

/// Certificates made twice are the same, so that they are of one service.
const FIFTY_YEARS: Duration = Duration::from_secs(50 * 365 * 86_400);

/// Bytes that a stream holds: a few blocks.
const BUFFER: usize = 4 * 16_384;

/// A relay and the way to it.
pub(crate) struct TestRelay<S: Store = MemoryStore> {
    pub(crate) relay: Arc<Relay<S>>,
    pub(crate) credentials: TlsCredentials,
    pub(crate) stop: CancellationToken,
    /// Bytes that the stream of a new connection holds.
    pub(crate) buffer: AtomicUsize,
    sessions: AtomicU64,
}

/// A relay with the default configuration and queues in memory.
pub(crate) fn relay() -> TestRelay {
    relay_with("")
}

/// A relay with more lines of configuration.
pub(crate) fn relay_with(lines: &str) -> TestRelay {
    TestRelay::new(lines, MemoryStore::new())
}

/// A relay that forwards commands to `destination`, whatever address it is asked for.
pub(crate) fn proxy_of(destination: &TestRelay, lines: &str) -> TestRelay {
    let (connector, links) = MemoryConnector::new();
    tokio::spawn(accept(
        Arc::clone(&destination.relay),
        destination.credentials.clone(),
        destination.stop.clone(),
        links,
    ));
    TestRelay::with_connector(lines, MemoryStore::new(), connector)
}

/// A relay whose connections to others are taken by nobody, as long as the receiver is there.
pub(crate) fn proxy_of_nobody(lines: &str) -> (TestRelay, mpsc::Receiver<MemoryLink>) {
    let (connector, links) = MemoryConnector::new();
    (
        TestRelay::with_connector(lines, MemoryStore::new(), connector),
        links,
    )
}

async fn accept(
    relay: Arc<Relay<MemoryStore>>,
    credentials: TlsCredentials,
    stop: CancellationToken,
    mut links: mpsc::Receiver<MemoryLink>,
) {
    while let Some(link) = links.recv().await {
        let (relay, credentials, stop) = (Arc::clone(&relay), credentials.clone(), stop.clone());
        tokio::spawn(async move {
            let MemoryLink {
                stream, session_id, ..
            } = link;
            let versions = VersionRange::SUPPORTED;
            relay
                .serve_stream(stream, &session_id, &credentials, versions, stop)
                .await;
        });
    }
}

/// Certificates of a service, other ones for each name.
pub(crate) fn service_credentials(name: &str) -> TlsCredentials {
    let seed = name
        .bytes()
        .fold(7_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let rng = &mut StdRng::seed_from_u64(seed);
    let validity = Validity::from_now(SystemTime::UNIX_EPOCH + FIFTY_YEARS, 36_500);
    TlsCredentials::self_signed(
        Purpose::Service,
        name,
        validity,
        SignatureAlgorithm::Ed25519,
        rng,
    )
    .unwrap()
}

impl<S: Store> TestRelay<S> {
    pub(crate) fn new(lines: &str, store: S) -> Self {
        let (connector, _) = MemoryConnector::new();
        Self::with_connector(lines, store, connector)
    }

    fn with_connector(lines: &str, store: S, connector: MemoryConnector) -> Self {
        let config: Config = toml::from_str(&format!("hosts = [\"localhost\"]\n{lines}")).unwrap();
        let rng = &mut StdRng::seed_from_u64(1);
        let validity = Validity::from_now(SystemTime::now(), 365);
        let ed25519 = SignatureAlgorithm::Ed25519;
        let ca = TlsCredentials::self_signed(Purpose::Authority, "CA", validity, ed25519, rng);
        let credentials = ca
            .unwrap()
            .issue(Purpose::Relay, "relay", validity, ed25519, rng);
        let clock = Clock::simulated(START);
        Self {
            relay: Arc::new(Relay::new(config, store, clock, Arc::new(connector))),
            credentials: credentials.unwrap(),
            stop: CancellationToken::new(),
            buffer: AtomicUsize::new(BUFFER),
            sessions: AtomicU64::new(0),
        }
    }

    /// What clients know the relay by.
    pub(crate) fn identity(&self) -> Fingerprint {
        self.credentials.identity()
    }

    /// Where proxies are told to find it.
    pub(crate) fn address(&self) -> RelayAddress {
        let host = "localhost".parse().unwrap();
        RelayAddress::new(self.identity(), vec![host], Some(5223)).unwrap()
    }

    /// A client of the newest version.
    pub(crate) async fn client(&self) -> Client {
        self.client_of(VersionRange::SUPPORTED.max()).await
    }

    /// A client of this version.
    pub(crate) async fn client_of(&self, version: SmpVersion) -> Client {
        self.connect(version, false, None).await.unwrap()
    }

    /// A client that forwards the commands of others.
    pub(crate) async fn proxy_of(&self, version: SmpVersion) -> Client {
        self.connect(version, true, None).await.unwrap()
    }

    /// A service of the newest version.
    pub(crate) async fn service(&self, role: ServiceRole, credentials: &TlsCredentials) -> Client {
        self.service_of(VersionRange::SUPPORTED.max(), role, credentials)
            .await
    }

    /// A service of this version.
    pub(crate) async fn service_of(
        &self,
        version: SmpVersion,
        role: ServiceRole,
        credentials: &TlsCredentials,
    ) -> Client {
        let service = ServiceOptions { role, credentials };
        self.connect(version, false, Some(service)).await.unwrap()
    }

    async fn connect(
        &self,
        version: SmpVersion,
        proxy: bool,
        service: Option<ServiceOptions<'_>>,
    ) -> Result<Client, ClientHandshakeError> {
        let offered = if version < SmpVersion::AUTH_ENCRYPTION {
            VersionRange::LEGACY
        } else {
            VersionRange::SUPPORTED
        };
        let chain = service.map_or(&[][..], |service| service.credentials.chain());
        let (io, session_id) = self.stream(offered, chain);
        let options = ClientHandshakeOptions {
            versions: VersionRange::new(SmpVersion(6), version).unwrap(),
            proxy,
            service,
            now: SystemTime::now(),
        };
        self.shake_hands(io, &session_id, options).await
    }

    /// Begins a session on a stream, as these options say.
    pub(crate) async fn shake_hands(
        &self,
        mut io: BlockStream<DuplexStream>,
        session_id: &SessionId,
        options: ClientHandshakeOptions<'_>,
    ) -> Result<Client, ClientHandshakeError> {
        let seed = u64::from_be_bytes(session_id.as_bytes()[..8].try_into().unwrap());
        let mut rng = StdRng::seed_from_u64(seed + 1000);
        let identity = self.identity();
        let session = client_handshake(&mut io, session_id, &identity, &options, &mut rng).await?;
        assert_eq!(session.params.version, options.versions.max());
        let fingerprint = options
            .service
            .map(|service| service.credentials.identity());
        Ok(Client::new(io, session, fingerprint, rng))
    }

    /// A stream to the relay before the handshake, and its session id. The relay offers these
    /// versions, and believes that the client showed this chain in TLS.
    pub(crate) fn stream(
        &self,
        offered: VersionRange,
        chain: &[Certificate],
    ) -> (BlockStream<DuplexStream>, SessionId) {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let mut id = [0x5e; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let session_id = SessionId::new(&id).unwrap();
        (self.stream_of(&session_id, offered, chain), session_id)
    }

    /// As [`Self::stream`], with this session id.
    pub(crate) fn stream_of(
        &self,
        session_id: &SessionId,
        offered: VersionRange,
        chain: &[Certificate],
    ) -> BlockStream<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(self.buffer.load(Ordering::Relaxed));
        let relay = Arc::clone(&self.relay);
        let (credentials, stop) = (self.credentials.clone(), self.stop.clone());
        let (id, chain) = (session_id.clone(), chain.to_vec());
        tokio::spawn(async move {
            relay
                .serve_service_stream(theirs, &id, &credentials, &chain, offered, stop)
                .await;
        });
        BlockStream::new(ours)
    }

    /// Tells the relay to stop.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}
