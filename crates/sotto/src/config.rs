//! How calls are made.

use std::net::IpAddr;

use call_core::{IceServer, IceServerScheme, IceTransport};

/// How this side makes calls.
#[derive(Clone, Debug)]
pub struct Config {
    /// STUN and TURN servers; each call uses a random choice of them.
    pub ice_servers: Vec<IceServer>,
    /// Let nothing but relayed addresses leave this side, so that the peer does not learn where it
    /// is. On by default; needs a TURN server.
    pub relay_only: bool,
    /// Refuse calls whose frames would not be encrypted end to end. On by default.
    pub require_frame_encryption: bool,
    /// Local addresses to use; empty for every address of this machine that is not loopback.
    pub bind: Vec<IpAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ice_servers: Vec::new(),
            relay_only: true,
            require_frame_encryption: true,
            bind: Vec::new(),
        }
    }
}

impl Config {
    /// For a call within this machine or a trusted network: the peer learns this side's addresses.
    pub fn direct() -> Self {
        Self {
            relay_only: false,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.relay_only && !self.ice_servers.iter().any(IceServer::is_relay) {
            return Err(ConfigError::NoRelay);
        }
        if !self.ice_servers.iter().all(is_over_udp) {
            return Err(ConfigError::NotOverUdp);
        }
        Ok(())
    }
}

fn is_over_udp(server: &IceServer) -> bool {
    let plain = matches!(
        server.scheme(),
        IceServerScheme::Stun | IceServerScheme::Turn
    );
    plain && server.transport() == IceTransport::Udp
}

/// A [`Config`] that can't work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Relay-only calls without a relay.
    #[error(
        "relay-only calls need a TURN server: add one (turn:user:password@host:port), or allow \
         direct calls, which show your address to the peer"
    )]
    NoRelay,
    /// A server is to be reached over TCP or TLS.
    #[error("STUN and TURN servers are reached over UDP alone: use stun:… or turn:… without TLS")]
    NotOverUdp,
}
