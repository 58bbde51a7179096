//! Which servers and addresses a call uses.

use std::net::IpAddr;

use clap::Args;
use sotto::{Config, ConfigError, IceServer};

use crate::failure::{Failure, Status};

/// Options on the network path of calls.
#[derive(Args)]
pub(crate) struct NetworkArgs {
    /// STUN or TURN server, one each time: stun:host:port, turn:user:password@host:port
    #[arg(long, value_name = "URL")]
    pub(crate) ice: Vec<String>,
    /// Let nothing but relayed addresses leave this machine, which needs a TURN server; with
    /// contacts that is so anyway
    #[arg(long)]
    pub(crate) relay_only: bool,
    /// Allow direct calls: the contact learns this machine's addresses
    #[arg(long, conflicts_with = "relay_only")]
    pub(crate) direct: bool,
    /// Use this local address, one each time; otherwise every address that is not loopback
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Vec<IpAddr>,
}

impl NetworkArgs {
    /// The configuration of calls, with servers of the command line alone.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let config = Config {
            // The value is not repeated: it may hold a password.
            ice_servers: sotto::parse_servers(&self.ice.join("\n"))
                .map_err(|error| Failure::usage(format_args!("--ice: {error}")))?,
            relay_only: self.relay_only,
            bind: self.bind.clone(),
            ..Config::default()
        };
        Ok(config)
    }

    /// With a contact: directly only if that is asked for, or if nothing leaves this machine.
    pub(crate) fn contact_config(&self) -> Result<Config, Failure> {
        let config = self.config()?;
        let local = !config.bind.is_empty() && config.bind.iter().all(IpAddr::is_loopback);
        let relay_only = self.relay_only || !(self.direct || local);
        Ok(Config {
            relay_only,
            ..config
        })
    }

    /// With nobody knows whom: directly unless the opposite is asked for. No other servers are
    /// known.
    pub(crate) fn whole_config(&self) -> Result<Config, Failure> {
        let config = self.config()?;
        // The SDK says so as well, but only after files were opened.
        if config.relay_only && !config.ice_servers.iter().any(IceServer::is_relay) {
            return Err(Failure::new(Status::Usage, ConfigError::NoRelay));
        }
        Ok(config)
    }
}

/// Whether the peer learns an address of this machine that means something to it.
pub(crate) fn shows_address(config: &Config) -> bool {
    let local = !config.bind.is_empty() && config.bind.iter().all(IpAddr::is_loopback);
    !config.relay_only && !local
}

/// What is said before an address is shown.
pub(crate) const DIRECT: &str =
    "sotto: a direct call: the peer learns this machine's addresses (see --relay-only)";

/// The same with contacts, where it was asked for.
pub(crate) const DIRECT_TO_CONTACTS: &str =
    "sotto: direct calls: contacts learn this machine's addresses";
