//! Hosts, translators and the links between them.

mod nat;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

pub use nat::{Behaviour, NatConfig, NatStats, PortAllocation};

use crate::link::{Link, LinkConfig, LinkStats};
use crate::random::Dice;
use crate::units::wire_bytes;
use nat::Nat;

/// A host of a [`Network`]. A machine with two uplinks, say Wi-Fi and mobile, is two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(usize);

/// A translator of a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(usize);

/// Anything with a pair of access links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A host; its links lead to the network that it is in.
    Host(HostId),
    /// A translator; its links lead to the network that it is in, and all hosts behind it share
    /// them.
    Nat(NatId),
}

impl From<HostId> for Node {
    fn from(host: HostId) -> Self {
        Self::Host(host)
    }
}

impl From<NatId> for Node {
    fn from(nat: NatId) -> Self {
        Self::Nat(nat)
    }
}

/// The network that a host or a translator is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Place {
    /// The public internet.
    #[default]
    Internet,
    /// The network behind a translator.
    Behind(NatId),
}

/// The two links of a host or a translator. The default is perfect both ways.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Access {
    /// Away from the node.
    pub up: LinkConfig,
    /// Towards the node.
    pub down: LinkConfig,
}

impl Access {
    /// The same both ways.
    #[must_use]
    pub const fn both(config: LinkConfig) -> Self {
        Self {
            up: config,
            down: config,
        }
    }
}

/// What the two links of a node have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccessStats {
    /// Away from the node.
    pub up: LinkStats,
    /// Towards the node.
    pub down: LinkStats,
}

/// A datagram that has reached a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrived.
    pub at: Instant,
    /// The host that it reached.
    pub host: HostId,
    /// The endpoint of the host that it is for.
    pub to: SocketAddr,
    /// The sender as the host sees it, which is behind a translator not the sender's own endpoint.
    pub from: SocketAddr,
    /// What was sent.
    pub payload: Vec<u8>,
}

/// Why a [`Network`] could not do what its user asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The address belongs to another node in the same place.
    #[error("the address is taken in this place")]
    AddressTaken,
    /// A translator has one external address a family, and was given two.
    #[error("a translator has one external address a family")]
    TooManyAddresses,
    /// A node needs an address.
    #[error("a node needs an address")]
    NoAddress,
    /// The host or translator is none of this network's.
    #[error("no such host or translator")]
    UnknownNode,
    /// No host has the source address.
    #[error("no host has the source address")]
    UnknownSource,
    /// Hosts in several places have the source address; say which one sends.
    #[error("several hosts have the source address")]
    AmbiguousSource,
    /// Source and destination are of different families.
    #[error("source and destination are of different families")]
    FamilyMismatch,
}

/// Hosts, translators before them, and an internet between them, for UDP datagrams.
///
/// The network is a tree. Its root is the internet; each host and each translator hangs on the
/// internet or on another translator by two [`Link`]s, up and down. A datagram climbs from its
/// host, through the translators on the way, to the place that holds its destination, and descends
/// from there. A packet counts with its IP and UDP headers (28 bytes, or 48 with IPv6) against
/// rates, queues and MTUs.
///
/// It has no clock. [`send`](Self::send) takes the time of sending; [`poll`](Self::poll), called
/// until it returns `None`, gives what has reached a host by then; and
/// [`next_event`](Self::next_event) says when to poll next. Polling late changes nothing: each
/// datagram keeps the time at which it arrived. Time never goes back.
///
/// The same seed and the same calls give the same deliveries.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    nats: Vec<Site>,
    arrived: VecDeque<Delivery>,
    unroutable: u64,
    seeds: Dice,
}

#[derive(Debug)]
struct Host {
    addresses: Vec<IpAddr>,
    edge: Edge,
}

#[derive(Debug)]
struct Site {
    nat: Nat,
    edge: Edge,
}

/// The links by which a node hangs on its place.
#[derive(Debug)]
struct Edge {
    place: Place,
    up: Link<Packet>,
    down: Link<Packet>,
}

#[derive(Debug, Clone)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Network {
    /// An internet without hosts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hosts: Vec::new(),
            nats: Vec::new(),
            arrived: VecDeque::new(),
            unroutable: 0,
            seeds: Dice::new(seed, 0),
        }
    }

    /// Adds a host with its addresses, on all ports of which it sends and receives. The same
    /// private address may be used in several places.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode), [`NoAddress`](NetworkError::NoAddress) or
    /// [`AddressTaken`](NetworkError::AddressTaken).
    pub fn add_host(
        &mut self,
        place: Place,
        addresses: &[IpAddr],
        access: Access,
    ) -> Result<HostId, NetworkError> {
        self.check_free(place, addresses)?;
        let edge = self.edge(place, access);
        self.hosts.push(Host {
            addresses: addresses.to_vec(),
            edge,
        });
        Ok(HostId(self.hosts.len() - 1))
    }

    /// Adds a translator with its external addresses, at most one of each family. Only families
    /// with an external address pass through it.
    ///
    /// # Errors
    /// Those of [`add_host`](Self::add_host), and
    /// [`TooManyAddresses`](NetworkError::TooManyAddresses).
    pub fn add_nat(
        &mut self,
        place: Place,
        external: &[IpAddr],
        config: NatConfig,
        access: Access,
    ) -> Result<NatId, NetworkError> {
        self.check_free(place, external)?;
        let of_ipv4 = external.iter().filter(|address| address.is_ipv4()).count();
        if of_ipv4 > 1 || external.len() - of_ipv4 > 1 {
            return Err(NetworkError::TooManyAddresses);
        }
        let nat = Nat::new(config, external.to_vec(), self.seeds.seed());
        let edge = self.edge(place, access);
        self.nats.push(Site { nat, edge });
        Ok(NatId(self.nats.len() - 1))
    }

    /// Sends a datagram from the host that has the address of `src`.
    ///
    /// What becomes of it on the way is no error: it may be lost, filtered or unroutable.
    ///
    /// # Errors
    /// [`UnknownSource`](NetworkError::UnknownSource),
    /// [`AmbiguousSource`](NetworkError::AmbiguousSource) or
    /// [`FamilyMismatch`](NetworkError::FamilyMismatch).
    pub fn send(
        &mut self,
        now: Instant,
        src: SocketAddr,
        dst: SocketAddr,
        payload: impl Into<Vec<u8>>,
    ) -> Result<(), NetworkError> {
        let mut owners =
            (0..self.hosts.len()).filter(|&i| self.hosts[i].addresses.contains(&src.ip()));
        let owner = owners.next().ok_or(NetworkError::UnknownSource)?;
        if owners.next().is_some() {
            return Err(NetworkError::AmbiguousSource);
        }
        self.send_as(now, HostId(owner), src, dst, payload)
    }

    /// Sends a datagram from `host`, for networks in which several hosts have the same address.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode), [`UnknownSource`](NetworkError::UnknownSource)
    /// where the host has no such address, or [`FamilyMismatch`](NetworkError::FamilyMismatch).
    pub fn send_as(
        &mut self,
        now: Instant,
        host: HostId,
        src: SocketAddr,
        dst: SocketAddr,
        payload: impl Into<Vec<u8>>,
    ) -> Result<(), NetworkError> {
        self.advance(now);
        let sender = self
            .hosts
            .get_mut(host.0)
            .ok_or(NetworkError::UnknownNode)?;
        if !sender.addresses.contains(&src.ip()) {
            return Err(NetworkError::UnknownSource);
        }
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(NetworkError::FamilyMismatch);
        }
        let packet = Packet {
            from: src,
            to: dst,
            payload: payload.into(),
        };
        sender.edge.carry(now, Way::Up, packet);
        Ok(())
    }

    /// The next datagram that has reached a host by `now`, in the order of arrival.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery> {
        self.advance(now);
        self.arrived.pop_front()
    }

    /// When to poll next; `None` where nothing is under way. Since packets pass through several
    /// links, that poll may give nothing.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let arrived = self.arrived.front().map(|delivery| delivery.at);
        let moving = self.next_hop().map(|(due, _, _)| due);
        arrived.into_iter().chain(moving).min()
    }

    /// Replaces what a node's links do to packets sent from `now` on.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn reconfigure(
        &mut self,
        now: Instant,
        node: impl Into<Node>,
        access: Access,
    ) -> Result<(), NetworkError> {
        let edge = self.edge_at(now, node.into())?;
        edge.up.reconfigure(access.up);
        edge.down.reconfigure(access.down);
        Ok(())
    }

    /// Takes both links of a node down from `now` until [`restore`](Self::restore).
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn cut(&mut self, now: Instant, node: impl Into<Node>) -> Result<(), NetworkError> {
        let edge = self.edge_at(now, node.into())?;
        edge.up.cut();
        edge.down.cut();
        Ok(())
    }

    /// Ends a [`cut`](Self::cut) at `now`; scheduled ones stay.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn restore(&mut self, now: Instant, node: impl Into<Node>) -> Result<(), NetworkError> {
        let edge = self.edge_at(now, node.into())?;
        edge.up.restore();
        edge.down.restore();
        Ok(())
    }

    /// Schedules, at `now`, an outage of both links of a node from `from` up to, but not including,
    /// `until`.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn schedule_cut(
        &mut self,
        now: Instant,
        node: impl Into<Node>,
        from: Instant,
        until: Instant,
    ) -> Result<(), NetworkError> {
        let edge = self.edge_at(now, node.into())?;
        edge.up.schedule_cut(from, until);
        edge.down.schedule_cut(from, until);
        Ok(())
    }

    /// Makes a translator lose all mappings, as a restart does.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn forget_mappings(&mut self, now: Instant, nat: NatId) -> Result<(), NetworkError> {
        self.advance(now);
        self.nats
            .get_mut(nat.0)
            .ok_or(NetworkError::UnknownNode)?
            .nat
            .forget();
        Ok(())
    }

    /// What a node's links have done so far.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn stats(&self, node: impl Into<Node>) -> Result<AccessStats, NetworkError> {
        let edge = match node.into() {
            Node::Host(host) => self.hosts.get(host.0).map(|host| &host.edge),
            Node::Nat(nat) => self.nats.get(nat.0).map(|site| &site.edge),
        };
        let edge = edge.ok_or(NetworkError::UnknownNode)?;
        Ok(AccessStats {
            up: edge.up.stats(),
            down: edge.down.stats(),
        })
    }

    /// What a translator has done so far.
    ///
    /// # Errors
    /// [`UnknownNode`](NetworkError::UnknownNode).
    pub fn nat_stats(&self, nat: NatId) -> Result<NatStats, NetworkError> {
        self.nats
            .get(nat.0)
            .map(|site| site.nat.stats())
            .ok_or(NetworkError::UnknownNode)
    }

    /// Datagrams dropped since no node had their destination.
    #[must_use]
    pub const fn unroutable(&self) -> u64 {
        self.unroutable
    }
}

impl Network {
    fn check_free(&self, place: Place, addresses: &[IpAddr]) -> Result<(), NetworkError> {
        if let Place::Behind(nat) = place
            && nat.0 >= self.nats.len()
        {
            return Err(NetworkError::UnknownNode);
        }
        if addresses.is_empty() {
            return Err(NetworkError::NoAddress);
        }
        if addresses
            .iter()
            .any(|&address| self.owner(place, address).is_some())
        {
            return Err(NetworkError::AddressTaken);
        }
        Ok(())
    }

    fn edge(&mut self, place: Place, access: Access) -> Edge {
        let up = Link::new(access.up, self.seeds.seed());
        let down = Link::new(access.down, self.seeds.seed());
        Edge { place, up, down }
    }

    fn edge_mut(&mut self, node: Node) -> Result<&mut Edge, NetworkError> {
        let edge = match node {
            Node::Host(host) => self.hosts.get_mut(host.0).map(|host| &mut host.edge),
            Node::Nat(nat) => self.nats.get_mut(nat.0).map(|site| &mut site.edge),
        };
        edge.ok_or(NetworkError::UnknownNode)
    }

    fn edge_at(&mut self, now: Instant, node: Node) -> Result<&mut Edge, NetworkError> {
        self.advance(now);
        self.edge_mut(node)
    }

    /// The node in `place` that has `address`.
    fn owner(&self, place: Place, address: IpAddr) -> Option<Node> {
        let host = self
            .hosts
            .iter()
            .position(|host| host.edge.place == place && host.addresses.contains(&address));
        let nat = || {
            self.nats
                .iter()
                .position(|site| site.edge.place == place && site.nat.owns(address))
        };
        host.map(|i| Node::Host(HostId(i)))
            .or_else(|| nat().map(|i| Node::Nat(NatId(i))))
    }

    /// The earliest packet to reach the end of a link, and which link that is.
    fn next_hop(&self) -> Option<(Instant, Node, Way)> {
        let hosts = self.hosts.iter().enumerate();
        let hosts = hosts.map(|(i, host)| (Node::Host(HostId(i)), &host.edge));
        let nats = self.nats.iter().enumerate();
        let nats = nats.map(|(i, site)| (Node::Nat(NatId(i)), &site.edge));
        hosts
            .chain(nats)
            .flat_map(|(node, edge)| {
                let up = edge.up.next_delivery().map(|due| (due, node, Way::Up));
                let down = edge.down.next_delivery().map(|due| (due, node, Way::Down));
                up.into_iter().chain(down)
            })
            .min_by_key(|&(due, _, _)| due)
    }

    /// Moves every packet as far as it gets by `now`, each at its own time.
    fn advance(&mut self, now: Instant) {
        while let Some((due, node, way)) = self.next_hop().filter(|&(due, _, _)| due <= now) {
            let Ok(edge) = self.edge_mut(node) else {
                return;
            };
            let place = edge.place;
            let link = match way {
                Way::Up => &mut edge.up,
                Way::Down => &mut edge.down,
            };
            let Some(packet) = link.poll(due) else { return };
            match (way, node) {
                (Way::Up, _) => self.route(due, place, packet),
                (Way::Down, Node::Host(host)) => self.arrive(due, host, packet),
                (Way::Down, Node::Nat(nat)) => self.enter(due, nat, packet),
            }
        }
    }

    /// A packet is in `place`: it goes down to the node that it is for, or up and out.
    fn route(&mut self, now: Instant, place: Place, packet: Packet) {
        match (self.owner(place, packet.to.ip()), place) {
            (Some(node), _) => self.carry_down(now, node, packet),
            (None, Place::Behind(nat)) => self.leave(now, nat, packet),
            (None, Place::Internet) => self.unroutable += 1,
        }
    }

    /// A packet leaves the network behind a translator, or turns round in it.
    fn leave(&mut self, now: Instant, id: NatId, packet: Packet) {
        let Some(site) = self.nats.get_mut(id.0) else {
            return;
        };
        if site.nat.owns(packet.to.ip()) {
            if let Some((from, to)) = site.nat.hairpin(now, packet.from, packet.to) {
                self.descend(now, Place::Behind(id), Packet { from, to, ..packet });
            }
        } else if let Some(from) = site.nat.outbound(now, packet.from, packet.to) {
            site.edge.carry(now, Way::Up, Packet { from, ..packet });
        }
    }

    /// A packet enters the network behind a translator.
    fn enter(&mut self, now: Instant, id: NatId, packet: Packet) {
        let Some(site) = self.nats.get_mut(id.0) else {
            return;
        };
        if let Some(to) = site.nat.inbound(now, packet.from, packet.to) {
            self.descend(now, Place::Behind(id), Packet { to, ..packet });
        }
    }

    fn descend(&mut self, now: Instant, place: Place, packet: Packet) {
        match self.owner(place, packet.to.ip()) {
            Some(node) => self.carry_down(now, node, packet),
            None => self.unroutable += 1,
        }
    }

    fn carry_down(&mut self, now: Instant, node: Node, packet: Packet) {
        if let Ok(edge) = self.edge_mut(node) {
            edge.carry(now, Way::Down, packet);
        }
    }

    fn arrive(&mut self, at: Instant, host: HostId, packet: Packet) {
        let Packet { from, to, payload } = packet;
        self.arrived.push_back(Delivery {
            at,
            host,
            to,
            from,
            payload,
        });
    }
}

impl Edge {
    fn carry(&mut self, now: Instant, way: Way, packet: Packet) {
        let bytes = wire_bytes(packet.to, packet.payload.len());
        match way {
            Way::Up => self.up.send(now, bytes, packet),
            Way::Down => self.down.send(now, bytes, packet),
        }
    }
}
