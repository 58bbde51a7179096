//! Which of the configured servers a call uses.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::IceServer;

/// Most TURN servers in one call. A second one keeps the call possible if the first is down; each
/// more would only be one more party that sees the call's times and sizes.
pub const MAX_RELAYS_PER_CALL: usize = 2;

/// Most STUN servers in one call; each learns the address of the device.
pub const MAX_STUN_PER_CALL: usize = 1;

/// Chooses the servers of one call: TURN servers first, then STUN servers, each kind drawn
/// uniformly and in random order from those configured. A server listed twice counts once.
///
/// A fresh choice for each call means that no single operator sees all calls. With `relay_only`
/// there is no STUN server in it: its answer would be of no use, and it would learn our address.
/// Without `relay_only` the choice may be empty, which leaves direct connections on the own
/// network.
///
/// # Errors
///
/// [`NoRelayServer`] if `relay_only` and no TURN server is configured: never fall back to a direct
/// connection by yourself.
pub fn choose_servers<R: Rng + ?Sized>(
    servers: &[IceServer],
    relay_only: bool,
    rng: &mut R,
) -> Result<Vec<IceServer>, NoRelayServer> {
    let mut relays: Vec<&IceServer> = Vec::new();
    let mut stun: Vec<&IceServer> = Vec::new();
    for server in servers {
        let kind = if server.is_relay() {
            &mut relays
        } else {
            &mut stun
        };
        if !kind.contains(&server) {
            kind.push(server);
        }
    }
    if relay_only {
        if relays.is_empty() {
            return Err(NoRelayServer);
        }
        stun.clear();
    }
    let mut chosen: Vec<_> = relays
        .sample(rng, MAX_RELAYS_PER_CALL)
        .copied()
        .cloned()
        .collect();
    chosen.extend(stun.sample(rng, MAX_STUN_PER_CALL).copied().cloned());
    Ok(chosen)
}

/// A relay-only call has no TURN server to go through. A fault of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this call must go through a relay, but no TURN server is configured; add a line \
     turn:username:password@host:port, or allow direct connections"
)]
pub struct NoRelayServer;
