//! Finds this side's candidates and carries what goes through a relay, without sockets or clock.
//!
//! STUN and TURN are webrtc-rs's sans-IO clients; what is decided here is which candidates there
//! are, when gathering is over, and which datagram goes where.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::IceServer;
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::stun::message::TransactionId;
use rtc::turn::client::{Client, ClientConfig, Event};

use crate::transport::{Datagram, LocalCandidate};

/// A server that has not answered by then is not waited for.
pub(crate) const GATHER_TIMEOUT: Duration = Duration::from_secs(10);

/// Peers' addresses for which a relay is asked to let traffic through, at most.
const MAX_PERMISSIONS: usize = 64;

/// A server whose name was resolved, and the socket that reaches it.
#[derive(Clone, Debug)]
pub(crate) struct ReachableServer {
    pub(crate) server: IceServer,
    pub(crate) address: SocketAddr,
    /// Local address of the socket from which it is asked.
    pub(crate) base: SocketAddr,
}

/// What came of gathering.
#[derive(Debug)]
pub(crate) enum GatherEvent {
    Candidate(LocalCandidate),
    /// There will be no more.
    Complete,
}

/// What to do with a datagram from a socket.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// It was an answer of a server.
    Consumed,
    /// A peer sent this to the relayed address `local`.
    Relayed(Vec<RelayedDatagram>),
    /// It is the peer's, or nobody's.
    Direct,
}

/// A datagram that a relay passed on.
#[derive(Debug)]
pub(crate) struct RelayedDatagram {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// Gathers for one call.
pub(crate) struct Gatherer {
    servers: Vec<Server>,
    known: HashSet<SocketAddr>,
    relay_only: bool,
    datagrams: VecDeque<Datagram>,
    events: VecDeque<GatherEvent>,
    /// When gathering is over at the latest; `None` until all servers are added.
    deadline: Option<Instant>,
    complete: bool,
}

struct Server {
    client: Client,
    address: SocketAddr,
    base: SocketAddr,
    binding: Option<TransactionId>,
    allocating: bool,
    relayed: Option<SocketAddr>,
    permitted: HashSet<SocketAddr>,
}

impl Gatherer {
    pub(crate) fn new(relay_only: bool) -> Self {
        Self {
            servers: Vec::new(),
            known: HashSet::new(),
            relay_only,
            datagrams: VecDeque::new(),
            events: VecDeque::new(),
            deadline: None,
            complete: false,
        }
    }

    /// A socket of this side is open; in relay-only mode it is no candidate.
    pub(crate) fn add_socket(&mut self, address: SocketAddr) {
        if !self.relay_only {
            self.found(LocalCandidate::Host(address), address);
        }
    }

    /// Asks a server for addresses.
    pub(crate) fn add_server(&mut self, now: Instant, reachable: &ReachableServer) {
        match Server::new(now, reachable, self.relay_only) {
            Ok(server) => self.servers.push(server),
            Err(error) => tracing::warn!(%error, "an ICE server can't be used"),
        }
        self.pump();
    }

    /// All sockets and servers were added.
    pub(crate) fn all_added(&mut self, now: Instant) {
        self.deadline = Some(now + GATHER_TIMEOUT);
        self.check_complete();
    }

    /// Lets a peer's address through the relays. Called for each of its candidates.
    pub(crate) fn permit(&mut self, now: Instant, peer: SocketAddr) {
        for server in &mut self.servers {
            server.permit(now, peer);
        }
        self.pump();
    }

    /// A datagram from `peer` reached the socket at `local`.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        bytes: &[u8],
    ) -> Incoming {
        let Some(server) = self
            .servers
            .iter_mut()
            .find(|s| s.address == peer && s.base == local)
        else {
            // In relay-only mode nothing that comes another way is the peer's.
            return if self.relay_only {
                Incoming::Consumed
            } else {
                Incoming::Direct
            };
        };
        let message = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: local,
                peer_addr: peer,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            },
            message: bytes.into(),
        };
        if let Err(error) = server.client.handle_read(message) {
            tracing::debug!(%error, "a datagram of an ICE server was dropped");
        }
        let relayed = self.pump();
        if relayed.is_empty() {
            Incoming::Consumed
        } else {
            Incoming::Relayed(relayed)
        }
    }

    /// Sends a datagram of the transport: through a relay if it leaves from a relayed address.
    pub(crate) fn send(&mut self, now: Instant, datagram: Datagram) {
        let relay = self
            .servers
            .iter_mut()
            .find(|s| s.relayed == Some(datagram.local));
        match relay {
            Some(server) => {
                server.send(now, &datagram);
                self.pump();
            }
            // In relay-only mode nothing leaves for the peer another way.
            None if self.relay_only => {}
            None => self.datagrams.push_back(datagram),
        }
    }

    pub(crate) fn poll_datagram(&mut self) -> Option<Datagram> {
        self.datagrams.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<GatherEvent> {
        self.events.pop_front()
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| !self.complete);
        self.servers
            .iter_mut()
            .filter_map(|s| s.client.poll_timeout())
            .chain(deadline)
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for server in &mut self.servers {
            if let Err(error) = server.client.handle_timeout(now) {
                tracing::debug!(%error, "an ICE server's client");
            }
        }
        self.pump();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.finish();
        }
    }

    /// Gives allocations back.
    pub(crate) fn close(&mut self, now: Instant) {
        for server in &mut self.servers {
            if let Some(relayed) = server.relayed.take()
                && let Ok(mut relay) = server.client.relay(relayed)
                && let Err(error) = relay.close(now)
            {
                tracing::debug!(%error, "an allocation was not given back");
            }
        }
        self.pump();
    }

    /// Takes what the clients have to say; returns what the relays passed on.
    fn pump(&mut self) -> Vec<RelayedDatagram> {
        let mut relayed = Vec::new();
        let mut found = Vec::new();
        for server in &mut self.servers {
            while let Some(event) = server.client.poll_event() {
                server.on_event(event, &mut found, &mut relayed);
            }
            while let Some(message) = server.client.poll_write() {
                self.datagrams.push_back(Datagram {
                    local: server.base,
                    peer: message.transport.peer_addr,
                    bytes: message.message.freeze(),
                });
            }
        }
        for (candidate, address) in found {
            self.found(candidate, address);
        }
        self.check_complete();
        relayed
    }

    fn found(&mut self, candidate: LocalCandidate, address: SocketAddr) {
        if !self.complete && self.known.insert(address) {
            self.events.push_back(GatherEvent::Candidate(candidate));
        }
    }

    fn check_complete(&mut self) {
        if self.deadline.is_some() && self.servers.iter().all(Server::is_done) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.complete, true) {
            self.events.push_back(GatherEvent::Complete);
        }
    }
}

impl Server {
    fn new(
        now: Instant,
        reachable: &ReachableServer,
        relay_only: bool,
    ) -> Result<Self, rtc::shared::error::Error> {
        let ReachableServer {
            server,
            address,
            base,
        } = reachable;
        let credentials = server.credentials();
        let text = |get: fn(&call_core::TurnCredentials) -> &str| {
            credentials.map(|c| get(c).to_owned()).unwrap_or_default()
        };
        let config = ClientConfig {
            stun_serv_addr: address.to_string(),
            turn_serv_addr: address.to_string(),
            local_addr: *base,
            transport_protocol: TransportProtocol::UDP,
            username: text(call_core::TurnCredentials::username),
            password: text(call_core::TurnCredentials::password),
            ..ClientConfig::default()
        };
        let provider = rtc::crypto::default_provider()
            .map_err(|error| rtc::shared::error::Error::Crypto(error.to_string()))?;
        let mut client = Client::new(config, provider)?;
        let binding = if relay_only {
            None
        } else {
            Some(client.send_binding_request(now)?)
        };
        if server.is_relay() {
            client.allocate(now)?;
        }
        Ok(Self {
            client,
            address: *address,
            base: *base,
            binding,
            allocating: server.is_relay(),
            relayed: None,
            permitted: HashSet::new(),
        })
    }

    fn is_done(&self) -> bool {
        self.binding.is_none() && !self.allocating
    }

    fn on_event(
        &mut self,
        event: Event,
        found: &mut Vec<(LocalCandidate, SocketAddr)>,
        relayed: &mut Vec<RelayedDatagram>,
    ) {
        match event {
            Event::BindingResponse(_, address) => {
                self.binding = None;
                if address != self.base {
                    let base = self.base;
                    found.push((LocalCandidate::ServerReflexive { address, base }, address));
                }
            }
            Event::BindingError(_, error) => {
                self.binding = None;
                tracing::warn!(%error, "a STUN server refused the request");
            }
            Event::AllocateResponse(_, address) => {
                self.allocating = false;
                self.relayed = Some(address);
                found.push((LocalCandidate::Relay { address }, address));
            }
            Event::AllocateError(_, error) => {
                self.allocating = false;
                tracing::warn!(%error, "a TURN server refused an allocation");
            }
            Event::TransactionTimeout(id) if self.binding == Some(id) => self.binding = None,
            Event::TransactionTimeout(_) => self.allocating = false,
            Event::DataIndicationOrChannelData(_, peer, bytes) => {
                if let Some(local) = self.relayed {
                    relayed.push(RelayedDatagram {
                        local,
                        peer,
                        bytes: bytes.freeze(),
                    });
                }
            }
            // The nonce went stale: the next datagram asks again.
            Event::CreatePermissionError(_, rtc::shared::error::Error::ErrTryAgain) => {
                self.permitted.clear();
            }
            Event::CreatePermissionError(_, error) => {
                tracing::debug!(%error, "a TURN server refused a permission");
            }
            _ => {}
        }
    }

    fn permit(&mut self, now: Instant, peer: SocketAddr) {
        let Some(relayed) = self.relayed else { return };
        if peer.is_ipv4() != relayed.is_ipv4() || self.permitted.contains(&peer) {
            return;
        }
        if self.permitted.len() == MAX_PERMISSIONS {
            return;
        }
        if let Ok(mut relay) = self.client.relay(relayed) {
            match relay.create_permission(now, peer) {
                Ok(_) => {
                    self.permitted.insert(peer);
                }
                Err(error) => tracing::debug!(%error, "no permission was asked for"),
            }
        }
    }

    fn send(&mut self, now: Instant, datagram: &Datagram) {
        self.permit(now, datagram.peer);
        let Ok(mut relay) = self.client.relay(datagram.local) else {
            return;
        };
        if let Err(error) = relay.send_to(now, &datagram.bytes, datagram.peer) {
            tracing::trace!(%error, "a datagram was not relayed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: ([u8; 4], u16) = ([192, 0, 2, 1], 4000);
    const STRANGER: ([u8; 4], u16) = ([198, 51, 100, 9], 9);

    fn turn(address: SocketAddr) -> ReachableServer {
        ReachableServer {
            server: "turn:user:password@203.0.113.1".parse().unwrap(),
            address,
            base: SOCKET.into(),
        }
    }

    fn events(gatherer: &mut Gatherer) -> Vec<GatherEvent> {
        std::iter::from_fn(|| gatherer.poll_event()).collect()
    }

    #[test]
    fn the_wait_for_servers_begins_when_they_are_known() {
        let t0 = Instant::now();
        let mut gatherer = Gatherer::new(true);
        assert_eq!(gatherer.poll_timeout(), None);
        let late = t0 + GATHER_TIMEOUT * 2;
        gatherer.add_server(late, &turn(([203, 0, 113, 1], 3478).into()));
        gatherer.all_added(late);
        gatherer.handle_timeout(late);
        assert!(events(&mut gatherer).is_empty());
        gatherer.handle_timeout(late + GATHER_TIMEOUT);
        assert!(matches!(events(&mut gatherer)[..], [GatherEvent::Complete]));
    }

    #[test]
    fn without_servers_gathering_is_over_at_once() {
        let mut gatherer = Gatherer::new(false);
        gatherer.add_socket(SOCKET.into());
        gatherer.all_added(Instant::now());
        assert!(matches!(
            events(&mut gatherer)[..],
            [
                GatherEvent::Candidate(LocalCandidate::Host(_)),
                GatherEvent::Complete
            ]
        ));
    }

    #[test]
    fn in_relay_only_mode_nothing_passes_between_a_socket_and_a_peer() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(true);
        gatherer.add_socket(SOCKET.into());
        gatherer.all_added(now);
        assert!(matches!(events(&mut gatherer)[..], [GatherEvent::Complete]));
        let incoming = gatherer.handle_datagram(now, SOCKET.into(), STRANGER.into(), b"\x00\x01");
        assert!(matches!(incoming, Incoming::Consumed));
        let datagram = Datagram {
            local: SOCKET.into(),
            peer: STRANGER.into(),
            bytes: Bytes::from_static(b"media"),
        };
        gatherer.send(now, datagram);
        assert!(gatherer.poll_datagram().is_none());
    }
}
