//! Network address translators with the behaviours that RFC 4787 tells apart.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::random::Dice;
use crate::units::after;

/// The recommended lifetime of a mapping (RFC 4787, REQ-5).
const DEFAULT_MAPPING_TIMEOUT: Duration = Duration::from_secs(5 * 60);

const DEFAULT_MAPPING_LIMIT: usize = 4096;

/// The remote addresses or endpoints that one mapping's filter remembers.
const FILTER_LIMIT: usize = 1024;

/// The first port that is given out where the host's own is not kept.
const FIRST_PORT: u16 = 1024;

/// How much of the remote endpoint a mapping or a filter depends on (RFC 4787, sections 4.1 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Nothing: all remote endpoints are alike.
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and port.
    AddressAndPortDependent,
}

/// How a translator chooses the external port of a new mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortAllocation {
    /// The host's own port where it is free, else a random one (RFC 4787, section 4.2.1).
    Preserve,
    /// A random free port.
    Random,
}

/// How a translator behaves. The default is what RFC 4787 asks for in a home: endpoint-independent
/// mapping, address-dependent filtering, hairpinning and mappings that live for five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatConfig {
    /// What a host's external port depends on.
    pub mapping: Behaviour,
    /// What may come in through a mapping: anything, or only what its host has sent to before.
    pub filtering: Behaviour,
    /// Whether hosts reach one another through their external endpoints. The receiver sees the
    /// sender's external endpoint (RFC 4787, REQ-9).
    pub hairpinning: bool,
    /// How external ports are chosen.
    pub ports: PortAllocation,
    /// How long a mapping, and a filter's permission, lives after the last packet that refreshes
    /// it, at most a day. Outbound packets always do.
    pub mapping_timeout: Duration,
    /// Whether inbound packets that pass the filter refresh it too (RFC 4787, REQ-6).
    pub inbound_refresh: bool,
    /// The mappings that may exist at once; while so many live, packets that need another are
    /// dropped.
    pub mapping_limit: usize,
}

impl NatConfig {
    /// A translator with this mapping and filtering, and otherwise the default.
    #[must_use]
    pub const fn new(mapping: Behaviour, filtering: Behaviour) -> Self {
        Self {
            mapping,
            filtering,
            hairpinning: true,
            ports: PortAllocation::Preserve,
            mapping_timeout: DEFAULT_MAPPING_TIMEOUT,
            inbound_refresh: false,
            mapping_limit: DEFAULT_MAPPING_LIMIT,
        }
    }

    /// A full cone: whoever learns the external endpoint reaches the host.
    #[must_use]
    pub const fn full_cone() -> Self {
        Self::new(
            Behaviour::EndpointIndependent,
            Behaviour::EndpointIndependent,
        )
    }

    /// A restricted cone: one external endpoint, open to the addresses that the host has sent to.
    #[must_use]
    pub const fn restricted_cone() -> Self {
        Self::new(Behaviour::EndpointIndependent, Behaviour::AddressDependent)
    }

    /// A port-restricted cone: one external endpoint, open to the endpoints that the host has sent
    /// to.
    #[must_use]
    pub const fn port_restricted_cone() -> Self {
        Self::new(
            Behaviour::EndpointIndependent,
            Behaviour::AddressAndPortDependent,
        )
    }

    /// A symmetric translator: an external endpoint on a random port for each remote endpoint, and
    /// open to that one alone.
    #[must_use]
    pub const fn symmetric() -> Self {
        let both = Behaviour::AddressAndPortDependent;
        Self {
            ports: PortAllocation::Random,
            ..Self::new(both, both)
        }
    }
}

impl Default for NatConfig {
    fn default() -> Self {
        Self::restricted_cone()
    }
}

/// What a translator has done so far, in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatStats {
    /// Mappings made.
    pub mappings_created: u64,
    /// Outbound packets that needed a mapping or a permission when the table was full, or that had
    /// no external address of their family.
    pub refused: u64,
    /// Inbound packets to an endpoint without a live mapping.
    pub unmapped: u64,
    /// Inbound packets that the filter kept out.
    pub filtered: u64,
    /// Packets between two hosts behind the translator that came back through it.
    pub hairpinned: u64,
    /// Packets that would have needed hairpinning of a translator without it.
    pub hairpins_refused: u64,
}

/// The part of a remote endpoint that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Anyone,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

impl Behaviour {
    fn scope(self, remote: SocketAddr) -> Scope {
        match self {
            Self::EndpointIndependent => Scope::Anyone,
            Self::AddressDependent => Scope::Address(remote.ip()),
            Self::AddressAndPortDependent => Scope::Endpoint(remote),
        }
    }
}

/// An internal endpoint, and the remote endpoints that see the same external one.
type MappingKey = (SocketAddr, Scope);

#[derive(Debug)]
struct Mapping {
    key: MappingKey,
    refreshed: Instant,
    /// Who may send through the mapping, and when that was last confirmed.
    permitted: BTreeMap<Scope, Instant>,
}

/// One translator's table.
#[derive(Debug)]
pub(super) struct Nat {
    config: NatConfig,
    external: Vec<IpAddr>,
    endpoints: BTreeMap<MappingKey, SocketAddr>,
    mappings: BTreeMap<SocketAddr, Mapping>,
    dice: Dice,
    stats: NatStats,
}

impl Nat {
    pub(super) fn new(config: NatConfig, external: Vec<IpAddr>, seed: u64) -> Self {
        Self {
            config,
            external,
            endpoints: BTreeMap::new(),
            mappings: BTreeMap::new(),
            dice: Dice::new(seed, 0),
            stats: NatStats::default(),
        }
    }

    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.external.contains(&address)
    }

    pub(super) fn stats(&self) -> NatStats {
        self.stats
    }

    pub(super) fn forget(&mut self) {
        self.endpoints.clear();
        self.mappings.clear();
    }

    /// The external endpoint from which a packet from `from` to `to` goes out; `None` where it is
    /// dropped.
    pub(super) fn outbound(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        let translated = self
            .mapping_for(now, from, to)
            .filter(|&at| self.permit(now, at, to));
        if translated.is_none() {
            self.stats.refused += 1;
        }
        translated
    }

    /// The internal endpoint to which a packet from `from` to the external endpoint `to` goes;
    /// `None` where it is dropped.
    pub(super) fn inbound(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        let timeout = self.config.mapping_timeout;
        let live = self
            .mappings
            .get_mut(&to)
            .filter(|mapping| mapping.lives(now, timeout));
        let Some(mapping) = live else {
            self.stats.unmapped += 1;
            return None;
        };
        let scope = self.config.filtering.scope(from);
        let permission = mapping.permitted.get_mut(&scope);
        let Some(confirmed) = permission.filter(|at| now < after(**at, timeout)) else {
            self.stats.filtered += 1;
            return None;
        };
        if self.config.inbound_refresh {
            *confirmed = now;
            mapping.refreshed = now;
        }
        Some(mapping.key.0)
    }

    /// The external and the internal endpoint of a packet from one host behind the translator to
    /// the external endpoint of another.
    pub(super) fn hairpin(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<(SocketAddr, SocketAddr)> {
        if !self.config.hairpinning {
            self.stats.hairpins_refused += 1;
            return None;
        }
        let external = self.outbound(now, from, to)?;
        let internal = self.inbound(now, external, to)?;
        self.stats.hairpinned += 1;
        Some((external, internal))
    }

    /// Finds or makes the mapping from `from` towards `to`.
    fn mapping_for(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<SocketAddr> {
        let key = (from, self.config.mapping.scope(to));
        let known = self.endpoints.get(&key).copied();
        let timeout = self.config.mapping_timeout;
        if let Some(endpoint) = known
            && self
                .mappings
                .get(&endpoint)
                .is_some_and(|mapping| mapping.lives(now, timeout))
        {
            return Some(endpoint);
        }
        self.forget_expired(now);
        if self.mappings.len() >= self.config.mapping_limit {
            return None;
        }
        let endpoint = self.free_endpoint(from)?;
        self.endpoints.insert(key, endpoint);
        self.mappings.insert(
            endpoint,
            Mapping {
                key,
                refreshed: now,
                permitted: BTreeMap::new(),
            },
        );
        self.stats.mappings_created += 1;
        Some(endpoint)
    }

    /// Lets the filter of the mapping at `endpoint` pass `remote`, and refreshes the mapping.
    fn permit(&mut self, now: Instant, endpoint: SocketAddr, remote: SocketAddr) -> bool {
        let timeout = self.config.mapping_timeout;
        let scope = self.config.filtering.scope(remote);
        let Some(mapping) = self.mappings.get_mut(&endpoint) else {
            return false;
        };
        mapping.refreshed = now;
        if mapping.permitted.len() >= FILTER_LIMIT && !mapping.permitted.contains_key(&scope) {
            mapping
                .permitted
                .retain(|_, confirmed| now < after(*confirmed, timeout));
            if mapping.permitted.len() >= FILTER_LIMIT {
                return false;
            }
        }
        mapping.permitted.insert(scope, now);
        true
    }

    fn forget_expired(&mut self, now: Instant) {
        let timeout = self.config.mapping_timeout;
        self.mappings
            .retain(|_, mapping| mapping.lives(now, timeout));
        self.endpoints
            .retain(|_, endpoint| self.mappings.contains_key(endpoint));
    }

    fn free_endpoint(&mut self, from: SocketAddr) -> Option<SocketAddr> {
        let address = self
            .external
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == from.is_ipv4())?;
        let own = SocketAddr::new(address, from.port());
        if self.config.ports == PortAllocation::Preserve && !self.mappings.contains_key(&own) {
            return Some(own);
        }
        let first = FIRST_PORT + self.dice.below(u32::from(u16::MAX - FIRST_PORT) + 1) as u16;
        (first..=u16::MAX)
            .chain(FIRST_PORT..first)
            .map(|port| SocketAddr::new(address, port))
            .find(|endpoint| !self.mappings.contains_key(endpoint))
    }
}

impl Mapping {
    fn lives(&self, now: Instant, timeout: Duration) -> bool {
        now < after(self.refreshed, timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HOST: &str = "10.0.0.2:5000";
    const NEIGHBOUR: &str = "10.0.0.3:5000";
    const SERVER: &str = "198.51.100.1:3478";
    const STRANGER: &str = "198.51.100.2:3478";
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(config: NatConfig) -> (Nat, Instant) {
        let external = vec![
            "203.0.113.1".parse().unwrap(),
            "2001:db8::1".parse().unwrap(),
        ];
        let config = NatConfig {
            mapping_timeout: TIMEOUT,
            ..config
        };
        (Nat::new(config, external, 9), Instant::now())
    }

    #[test]
    fn the_hosts_port_is_kept_while_it_is_free() {
        let (mut nat, now) = nat(NatConfig::full_cone());
        assert_eq!(
            nat.outbound(now, at(HOST), at(SERVER)),
            Some(at("203.0.113.1:5000"))
        );
        let other = nat.outbound(now, at(NEIGHBOUR), at(SERVER)).unwrap();
        assert_ne!(other.port(), 5000);
        assert!(other.port() >= FIRST_PORT);
    }

    #[test]
    fn random_ports_differ_from_the_hosts_and_from_one_another() {
        let (mut nat, now) = nat(NatConfig::symmetric());
        let ports: BTreeSet<u16> = (1..=100)
            .filter_map(|port| nat.outbound(now, at(HOST), SocketAddr::new(at(SERVER).ip(), port)))
            .map(|external| external.port())
            .collect();
        assert_eq!(ports.len(), 100);
        assert!(ports.iter().all(|&port| port >= FIRST_PORT));
    }

    #[test]
    fn each_family_has_its_own_external_address() {
        let (mut nat, now) = nat(NatConfig::full_cone());
        let (host, server) = (at("[fd00::2]:5000"), at("[2001:db8::99]:3478"));
        assert_eq!(
            nat.outbound(now, host, server),
            Some(at("[2001:db8::1]:5000"))
        );
        assert_eq!(
            nat.inbound(now, server, at("[2001:db8::1]:5000")),
            Some(host)
        );
    }

    #[test]
    fn a_family_without_an_external_address_is_refused() {
        let (mut nat, now) = nat(NatConfig::full_cone());
        nat.external.truncate(1);
        assert_eq!(
            nat.outbound(now, at("[fd00::2]:5000"), at("[2001:db8::99]:3478")),
            None
        );
        assert_eq!(nat.stats().refused, 1);
    }

    #[test]
    fn a_mapping_dies_when_nothing_refreshes_it() {
        let (mut nat, now) = nat(NatConfig::full_cone());
        let external = nat.outbound(now, at(HOST), at(SERVER)).unwrap();
        let almost = now + TIMEOUT - Duration::from_nanos(1);
        assert_eq!(nat.inbound(almost, at(SERVER), external), Some(at(HOST)));
        assert_eq!(nat.inbound(now + TIMEOUT, at(SERVER), external), None);
        assert_eq!(nat.stats().unmapped, 1);
    }

    #[test]
    fn outbound_packets_refresh_a_mapping() {
        let (mut nat, now) = nat(NatConfig::full_cone());
        let external = nat.outbound(now, at(HOST), at(SERVER)).unwrap();
        nat.outbound(now + TIMEOUT / 2, at(HOST), at(SERVER));
        assert_eq!(
            nat.inbound(now + TIMEOUT, at(SERVER), external),
            Some(at(HOST))
        );
    }

    #[test]
    fn inbound_packets_refresh_a_mapping_only_where_asked() {
        for (inbound_refresh, survivor) in [(false, None), (true, Some(at(HOST)))] {
            let (mut nat, now) = nat(NatConfig {
                inbound_refresh,
                ..NatConfig::symmetric()
            });
            let external = nat.outbound(now, at(HOST), at(SERVER)).unwrap();
            nat.inbound(now + TIMEOUT / 2, at(SERVER), external)
                .unwrap();
            assert_eq!(nat.inbound(now + TIMEOUT, at(SERVER), external), survivor);
        }
    }

    #[test]
    fn packets_that_the_filter_keeps_out_refresh_nothing() {
        let config = NatConfig {
            inbound_refresh: true,
            ..NatConfig::restricted_cone()
        };
        let (mut nat, now) = nat(config);
        let external = nat.outbound(now, at(HOST), at(SERVER)).unwrap();
        assert_eq!(nat.inbound(now + TIMEOUT / 2, at(STRANGER), external), None);
        assert_eq!(nat.inbound(now + TIMEOUT, at(SERVER), external), None);
        assert_eq!((nat.stats().filtered, nat.stats().unmapped), (1, 1));
    }

    #[test]
    fn a_permission_expires_though_its_mapping_lives() {
        let (mut nat, now) = nat(NatConfig::restricted_cone());
        let external = nat.outbound(now, at(HOST), at(SERVER)).unwrap();
        nat.outbound(now + TIMEOUT / 2, at(HOST), at(STRANGER));
        assert_eq!(
            nat.inbound(now + TIMEOUT, at(STRANGER), external),
            Some(at(HOST))
        );
        assert_eq!(nat.inbound(now + TIMEOUT, at(SERVER), external), None);
        assert_eq!(nat.stats().filtered, 1);
    }

    #[test]
    fn a_full_table_refuses_until_a_mapping_dies() {
        let (mut nat, now) = nat(NatConfig {
            mapping_limit: 1,
            ..NatConfig::full_cone()
        });
        assert!(nat.outbound(now, at(HOST), at(SERVER)).is_some());
        assert_eq!(nat.outbound(now, at(NEIGHBOUR), at(SERVER)), None);
        assert!(
            nat.outbound(now + TIMEOUT, at(NEIGHBOUR), at(SERVER))
                .is_some()
        );
        assert_eq!(
            (nat.stats().refused, nat.mappings.len(), nat.endpoints.len()),
            (1, 1, 1)
        );
    }

    #[test]
    fn a_filter_remembers_only_so_many() {
        let (mut nat, now) = nat(NatConfig::port_restricted_cone());
        let sent = (1..=2 * FILTER_LIMIT)
            .map(|port| SocketAddr::new(at(SERVER).ip(), port as u16))
            .filter_map(|remote| nat.outbound(now, at(HOST), remote))
            .count();
        assert_eq!(sent, FILTER_LIMIT);
        assert!(nat.outbound(now + TIMEOUT, at(HOST), at(SERVER)).is_some());
    }

    #[test]
    fn every_port_can_be_given_out_and_then_no_more() {
        let mapping_limit = usize::MAX;
        let (mut nat, now) = nat(NatConfig {
            mapping_limit,
            ..NatConfig::symmetric()
        });
        let address = at("203.0.113.1:0").ip();
        let key = (at(HOST), Scope::Anyone);
        for port in FIRST_PORT..u16::MAX {
            let mapping = Mapping {
                key,
                refreshed: now,
                permitted: BTreeMap::new(),
            };
            nat.mappings.insert(SocketAddr::new(address, port), mapping);
        }
        let last = nat.outbound(now, at(HOST), at(SERVER)).unwrap();
        assert_eq!(last.port(), u16::MAX);
        assert_eq!(nat.outbound(now, at(HOST), at(STRANGER)), None);
    }
}
