//! What a session keeps to.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smp_protocol::{Command, RelayAddress, ServiceRole, VersionRange};
use smp_transport::{
    BlockStream, ClientHandshakeOptions, ClientSession, ServiceOptions, TlsCredentials,
    client_handshake,
};
use tokio::time::timeout;

use crate::connect::{Link, Stream};
use crate::error::ConnectError;

/// Commands without an answer that a session has at most by default. Others wait.
const IN_FLIGHT: usize = 256;

/// What a session keeps to.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The versions to speak.
    pub versions: VersionRange,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When the relay is asked whether it is there.
    pub keep_alive: KeepAlive,
    /// Most commands without an answer; others wait for their turn. Each holds up to a block.
    pub in_flight: usize,
    /// The service that the client is, if it is one. The connector has to show its certificates.
    pub service: Option<ServiceIdentity>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            versions: VersionRange::SUPPORTED,
            timeouts: Timeouts::default(),
            keep_alive: KeepAlive::default(),
            in_flight: IN_FLIGHT,
            service: None,
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The handshake after TLS.
    pub handshake: Duration,
    /// A command, from when it was asked for to its answer.
    pub command: Duration,
    /// A command through a proxy, and asking a proxy for its session with another relay.
    pub proxied: Duration,
}

impl Default for Timeouts {
    /// 20 s, 20 s and 45 s.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(20),
            command: Duration::from_secs(20),
            proxied: Duration::from_secs(45),
        }
    }
}

impl Timeouts {
    pub(super) fn of(&self, command: &Command) -> Duration {
        match command {
            Command::Prxy { .. } | Command::Pfwd { .. } => self.proxied,
            _ => self.command,
        }
    }
}

/// When the relay is asked with `PING` whether it is still there: after silence if something is
/// subscribed to, and after a command without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long the relay may be silent.
    pub silence: Duration,
    /// How long it has for an answer.
    pub answer: Duration,
    /// After how many questions without an answer the session is over.
    pub unanswered: u32,
}

impl Default for KeepAlive {
    /// After 60 s of silence; 15 s for an answer; over after 3.
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            answer: Duration::from_secs(15),
            unanswered: 3,
        }
    }
}

/// A service, as it shows itself to relays (document, "Client services").
#[derive(Clone)]
pub struct ServiceIdentity {
    /// What it is for.
    pub role: ServiceRole,
    /// Its certificates and key.
    pub credentials: Arc<TlsCredentials>,
}

impl fmt::Debug for ServiceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceIdentity")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl SessionOptions {
    /// Begins a session over a connection.
    pub(crate) async fn handshake(
        &self,
        link: Link,
        relay: &RelayAddress,
        proxy: bool,
    ) -> Result<(BlockStream<Box<dyn Stream>>, ClientSession), ConnectError> {
        let service = self.service.as_ref().map(|service| ServiceOptions {
            role: service.role,
            credentials: &service.credentials,
        });
        let options = ClientHandshakeOptions {
            versions: self.versions,
            proxy,
            service,
            now: SystemTime::now(),
        };
        let mut io = BlockStream::new(link.stream);
        let mut rng = crate::random();
        let identity = relay.fingerprint();
        let handshake = client_handshake(&mut io, &link.session_id, identity, &options, &mut rng);
        match timeout(self.timeouts.handshake, handshake).await {
            Ok(begun) => Ok((io, begun?)),
            Err(_) => Err(ConnectError::Timeout),
        }
    }
}
