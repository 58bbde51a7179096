//! How an account is opened.

use std::fmt;
use std::sync::Arc;

use smp_agent::Routing;
use smp_client::{Connector, RelayOptions};

use super::servers::Servers;
use crate::config::Config;

/// How an account is opened. The default is the most private that there is: calls through relays
/// alone, messages through one of the account's own servers, post-quantum keys.
#[derive(Clone, Default)]
pub struct AccountOptions {
    /// Servers to add to those that the account has; they stay there.
    pub servers: Servers,
    /// How calls are made. Its ICE servers are used beside those of the account and not kept.
    pub config: Config,
    /// How messages go to the relays of contacts.
    pub routing: Routing,
    /// The way to relays; `None` for TCP, without a proxy for Tor.
    pub connector: Option<Arc<dyn Connector>>,
    /// What connections with relays keep to.
    pub relay: RelayOptions,
    /// New connections without post-quantum keys, for peers that know none of them: these get none
    /// in any case.
    pub no_post_quantum: bool,
}

impl fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountOptions")
            .field("routing", &self.routing)
            .finish_non_exhaustive()
    }
}
