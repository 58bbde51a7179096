//! What an agent may use and how.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{Connector, Fallback, Relay, RelayEvents, RelayOptions};
use smp_protocol::{RelayAddress, ServerAddress};

use crate::core::{CoreConfig, Randomness};

/// Makes generators of keys, ids and nonces.
pub(super) type MakeRandomness = Arc<dyn Fn() -> Randomness + Send + Sync>;

/// What an agent may use and how.
#[derive(Clone)]
pub struct AgentOptions {
    /// Relays where queues are created, with their passwords; also the proxies of private routing.
    pub servers: Vec<ServerAddress>,
    /// Relays that short links may name by their host alone, besides `servers`.
    pub known: Vec<RelayAddress>,
    /// The way to relays.
    pub connector: Arc<dyn Connector>,
    /// What connections with relays keep to.
    pub relay: RelayOptions,
    /// How messages go to the relays of peers.
    pub routing: Routing,
    /// Whether new connections are to be post-quantum.
    pub post_quantum: bool,
    /// After how long a receive queue is replaced by one at another server; `None`: never because
    /// of its age.
    pub rotate_after: Option<Duration>,
    /// Where keys, ids and nonces come from.
    pub random: MakeRandomness,
}

impl AgentOptions {
    /// These servers, reached by this connector; otherwise the defaults: private routing without
    /// fallback, post-quantum, queues of any age, the system's randomness.
    #[must_use]
    pub fn new(servers: Vec<ServerAddress>, connector: Arc<dyn Connector>) -> Self {
        Self {
            servers,
            known: Vec::new(),
            connector,
            relay: RelayOptions::default(),
            routing: Routing::default(),
            post_quantum: true,
            rotate_after: None,
            random: Arc::new(|| Box::new(UnwrapErr(SysRng))),
        }
    }

    pub(super) fn core_config(&self) -> CoreConfig {
        CoreConfig {
            relays: self
                .servers
                .iter()
                .map(|server| server.relay.clone())
                .collect(),
            others: self.known.clone(),
            post_quantum: self.post_quantum,
            rotate_after: self
                .rotate_after
                .map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// The relay as it is configured, if it is: the fingerprint alone says which one it is, and so
    /// who gets to see the password.
    pub(super) fn server(&self, relay: &RelayAddress) -> ServerAddress {
        let configured = self
            .servers
            .iter()
            .find(|server| server.relay.fingerprint() == relay.fingerprint());
        ServerAddress {
            relay: relay.clone(),
            basic_auth: configured.and_then(|server| server.basic_auth.clone()),
        }
    }

    /// A relay with connections of its own.
    pub(super) fn connect(&self, server: ServerAddress) -> (Relay, RelayEvents) {
        Relay::new(Arc::clone(&self.connector), server, self.relay.clone())
    }
}

impl fmt::Debug for AgentOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentOptions")
            .field("routing", &self.routing)
            .field("post_quantum", &self.post_quantum)
            .finish_non_exhaustive()
    }
}

/// How messages go to the relays of peers. Never over the connections that receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Routing {
    /// Through one of the servers, never the relay itself, so that the peer's relay does not learn
    /// where they come from. With one server alone, peers there are reached by the fallback or not
    /// at all.
    Proxied(Fallback),
    /// To the relay itself: it learns this side's network address, unless the connector hides it.
    Direct,
}

impl Default for Routing {
    /// Proxied, without fallback.
    fn default() -> Self {
        Self::Proxied(Fallback::Never)
    }
}
