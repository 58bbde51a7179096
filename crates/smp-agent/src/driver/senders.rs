//! The ways of senders' commands, none of which is a connection that receives.

use std::collections::HashMap;
use std::sync::Arc;

use smp_client::{Relay, Router};
use smp_protocol::RelayAddress;

use super::options::{AgentOptions, Routing};

/// Relays that are remembered. When there are more, the others are forgotten, which costs a
/// connection.
const MOST_RELAYS: usize = 1024;

/// The ways of senders' commands.
pub(super) enum Senders {
    /// Through the servers.
    Proxied {
        router: Arc<Router>,
        proxies: Vec<Relay>,
    },
    /// To the relays themselves.
    Direct(HashMap<RelayAddress, Relay>),
}

/// The way of one command.
pub(super) enum Way {
    /// As the router decides.
    Routed(Arc<Router>, RelayAddress),
    /// To the relay itself.
    Direct(Relay),
}

impl Senders {
    pub(super) fn new(options: &AgentOptions) -> Self {
        let Routing::Proxied(fallback) = options.routing else {
            return Self::Direct(HashMap::new());
        };
        let servers = options.servers.iter();
        let proxies: Vec<_> = servers
            .map(|server| options.connect(server.clone()).0)
            .collect();
        let (connector, relay) = (Arc::clone(&options.connector), options.relay.clone());
        let router = Router::new(proxies.clone(), fallback, connector, relay);
        Self::Proxied {
            router: Arc::new(router),
            proxies,
        }
    }

    /// Goes through the servers that are configured now. What is under way keeps its way.
    pub(super) fn renew(&mut self, options: &AgentOptions) {
        if let Self::Proxied { .. } = self {
            *self = Self::new(options);
        }
    }

    pub(super) fn way(&mut self, options: &AgentOptions, relay: RelayAddress) -> Way {
        match self {
            Self::Proxied { router, .. } => Way::Routed(Arc::clone(router), relay),
            Self::Direct(relays) => {
                if relays.len() >= MOST_RELAYS && !relays.contains_key(&relay) {
                    relays.clear();
                }
                let relay = relays
                    .entry(relay)
                    .or_insert_with_key(|relay| options.connect(relay.clone().into()).0);
                Way::Direct(relay.clone())
            }
        }
    }

    /// The network is back.
    pub(super) fn hurry(&self) {
        match self {
            Self::Proxied { proxies, .. } => proxies.iter().for_each(Relay::hurry),
            Self::Direct(relays) => relays.values().for_each(Relay::hurry),
        }
    }
}
