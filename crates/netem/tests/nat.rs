//! The behaviours of RFC 4787, seen from the hosts.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use Behaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use netem::{Access, Behaviour, NatConfig, NatId, Network, Place, PortAllocation};
use proptest::prelude::*;

const BEHAVIOURS: [Behaviour; 3] = [
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
];

const SEED: u64 = 3;

/// An address family's cast.
struct Cast {
    external: IpAddr,
    host: SocketAddr,
    neighbour: SocketAddr,
    server: SocketAddr,
    other_port: SocketAddr,
    other_server: SocketAddr,
}

impl Cast {
    fn ipv4() -> Self {
        Self::new(
            "203.0.113.1",
            "192.168.1.2",
            "192.168.1.3",
            "198.51.100.1",
            "198.51.100.2",
        )
    }

    fn ipv6() -> Self {
        Self::new(
            "2001:db8:1::1",
            "fd00::2",
            "fd00::3",
            "2001:db8:2::1",
            "2001:db8:2::2",
        )
    }

    fn new(external: &str, host: &str, neighbour: &str, server: &str, other: &str) -> Self {
        let at = |address: &str, port| SocketAddr::new(ip(address), port);
        Self {
            external: ip(external),
            host: at(host, 5_000),
            neighbour: at(neighbour, 6_000),
            server: at(server, 3_478),
            other_port: at(server, 3_479),
            other_server: at(other, 3_478),
        }
    }

    /// The remote endpoints: one, another port of its address, and another address.
    fn remotes(&self) -> [SocketAddr; 3] {
        [self.server, self.other_port, self.other_server]
    }
}

fn ip(text: &str) -> IpAddr {
    match text.parse() {
        Ok(address) => address,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// Two hosts behind a translator and two servers, joined by perfect links.
struct Lab {
    net: Network,
    nat: NatId,
    now: Instant,
    cast: Cast,
}

impl Lab {
    fn new(cast: Cast, config: NatConfig) -> Self {
        let mut net = Network::new(SEED);
        let nat = add(net.add_nat(Place::Internet, &[cast.external], config, Access::default()));
        for (place, address) in [
            (Place::Behind(nat), cast.host),
            (Place::Behind(nat), cast.neighbour),
            (Place::Internet, cast.server),
            (Place::Internet, cast.other_server),
        ] {
            add(net.add_host(place, &[address.ip()], Access::default()));
        }
        Self {
            net,
            nat,
            now: Instant::now(),
            cast,
        }
    }

    /// Sends a datagram, and returns who got it and whom they saw as its sender.
    fn send(&mut self, from: SocketAddr, to: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
        add(self.net.send(self.now, from, to, *b"x"));
        self.net
            .poll(self.now)
            .map(|delivery| (delivery.to, delivery.from))
    }

    /// The external endpoint that `to` sees when `from` sends to it.
    fn external(&mut self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        match self.send(from, to) {
            Some((receiver, seen)) if receiver == to => seen,
            other => panic!("{other:?}"),
        }
    }
}

fn add<T>(result: Result<T, netem::NetworkError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn kinds() -> impl Iterator<Item = NatConfig> {
    BEHAVIOURS.into_iter().flat_map(|mapping| {
        BEHAVIOURS.into_iter().map(move |filtering| NatConfig {
            ports: PortAllocation::Random,
            ..NatConfig::new(mapping, filtering)
        })
    })
}

fn labs(config: NatConfig) -> [Lab; 2] {
    [Cast::ipv4(), Cast::ipv6()].map(|cast| Lab::new(cast, config))
}

#[test]
fn mapping_depends_on_the_remote_endpoint_as_configured() {
    for (config, mut lab) in kinds().flat_map(|config| labs(config).map(|lab| (config, lab))) {
        let [one, same_address, other_address] = lab
            .cast
            .remotes()
            .map(|remote| lab.external(lab.cast.host, remote));
        let reused = (one == same_address, one == other_address);
        let expected = match config.mapping {
            EndpointIndependent => (true, true),
            AddressDependent => (true, false),
            AddressAndPortDependent => (false, false),
        };
        assert_eq!(reused, expected, "{config:?}");
        assert_eq!(one.ip(), lab.cast.external);
        assert_eq!(
            lab.external(lab.cast.host, lab.cast.server),
            one,
            "a mapping stays"
        );
    }
}

#[test]
fn filtering_depends_on_the_remote_endpoint_as_configured() {
    for (config, mut lab) in kinds().flat_map(|config| labs(config).map(|lab| (config, lab))) {
        let external = lab.external(lab.cast.host, lab.cast.server);
        let passed = lab
            .cast
            .remotes()
            .map(|remote| lab.send(remote, external).is_some());
        let expected = match config.filtering {
            EndpointIndependent => [true, true, true],
            AddressDependent => [true, true, false],
            AddressAndPortDependent => [true, false, false],
        };
        assert_eq!(passed, expected, "{config:?}");
        let kept_out = expected.iter().filter(|&&passes| !passes).count() as u64;
        assert_eq!(
            lab.net.nat_stats(lab.nat).map(|stats| stats.filtered),
            Ok(kept_out)
        );
    }
}

#[test]
fn replies_reach_the_host_through_every_kind() {
    for (config, mut lab) in kinds().flat_map(|config| labs(config).map(|lab| (config, lab))) {
        for remote in lab.cast.remotes() {
            let external = lab.external(lab.cast.host, remote);
            assert_eq!(
                lab.send(remote, external),
                Some((lab.cast.host, remote)),
                "{config:?}"
            );
        }
    }
}

#[test]
fn nothing_comes_in_unasked_through_any_kind() {
    for mut lab in kinds().flat_map(labs) {
        let guess = SocketAddr::new(lab.cast.external, lab.cast.host.port());
        assert_eq!(lab.send(lab.cast.server, guess), None);
        assert_eq!(
            lab.net.nat_stats(lab.nat).map(|stats| stats.unmapped),
            Ok(1)
        );
    }
}

#[test]
fn the_named_kinds_are_those_of_the_table() {
    let kind = |config: NatConfig| (config.mapping, config.filtering);
    assert_eq!(
        kind(NatConfig::full_cone()),
        (EndpointIndependent, EndpointIndependent)
    );
    assert_eq!(
        kind(NatConfig::restricted_cone()),
        (EndpointIndependent, AddressDependent)
    );
    let port_restricted = kind(NatConfig::port_restricted_cone());
    assert_eq!(
        port_restricted,
        (EndpointIndependent, AddressAndPortDependent)
    );
    let symmetric = kind(NatConfig::symmetric());
    assert_eq!(
        symmetric,
        (AddressAndPortDependent, AddressAndPortDependent)
    );
}

#[test]
fn hairpinned_packets_carry_the_senders_external_endpoint() {
    for mut lab in labs(NatConfig::full_cone()) {
        let (host, neighbour) = (lab.cast.host, lab.cast.neighbour);
        let host_outside = lab.external(host, lab.cast.server);
        let neighbour_outside = lab.external(neighbour, lab.cast.server);
        assert_eq!(
            lab.send(host, neighbour_outside),
            Some((neighbour, host_outside))
        );
        assert_eq!(
            lab.send(neighbour, host_outside),
            Some((host, neighbour_outside))
        );
        assert_eq!(
            lab.net.nat_stats(lab.nat).map(|stats| stats.hairpinned),
            Ok(2)
        );
    }
}

#[test]
fn hairpinned_packets_pass_the_filter_too() {
    for mut lab in labs(NatConfig::port_restricted_cone()) {
        let (host, neighbour) = (lab.cast.host, lab.cast.neighbour);
        let host_outside = lab.external(host, lab.cast.server);
        let neighbour_outside = lab.external(neighbour, lab.cast.server);
        assert_eq!(lab.send(host, neighbour_outside), None);
        assert_eq!(
            lab.send(neighbour, host_outside),
            Some((host, neighbour_outside))
        );
    }
}

#[test]
fn without_hairpinning_hosts_reach_one_another_only_inside() {
    for mut lab in labs(NatConfig {
        hairpinning: false,
        ..NatConfig::full_cone()
    }) {
        let (host, neighbour) = (lab.cast.host, lab.cast.neighbour);
        let neighbour_outside = lab.external(neighbour, lab.cast.server);
        assert_eq!(lab.send(host, neighbour_outside), None);
        assert_eq!(lab.send(host, neighbour), Some((neighbour, host)));
        assert_eq!(
            lab.net
                .nat_stats(lab.nat)
                .map(|stats| stats.hairpins_refused),
            Ok(1)
        );
    }
}

#[test]
fn a_mapping_ends_after_its_timeout_in_virtual_time() {
    let timeout = Duration::from_secs(30);
    for mut lab in labs(NatConfig {
        mapping_timeout: timeout,
        ..NatConfig::symmetric()
    }) {
        let before = lab.external(lab.cast.host, lab.cast.server);
        lab.now += timeout;
        assert_eq!(lab.send(lab.cast.server, before), None);
        assert_ne!(lab.external(lab.cast.host, lab.cast.server), before);
    }
}

#[test]
fn a_restarted_translator_knows_no_mapping() {
    for mut lab in labs(NatConfig::full_cone()) {
        let before = lab.external(lab.cast.host, lab.cast.server);
        assert_eq!(lab.net.forget_mappings(lab.now, lab.nat), Ok(()));
        assert_eq!(lab.send(lab.cast.server, before), None);
    }
}

/// Hosts behind two translators learn their external endpoints from a server, and then send checks
/// to each other a few times, as ICE does. Returns whether an answer came back.
fn punch(a: NatConfig, b: NatConfig) -> bool {
    let mut net = Network::new(SEED);
    let now = Instant::now();
    let server = SocketAddr::new(ip("198.51.100.1"), 3_478);
    add(net.add_host(Place::Internet, &[server.ip()], Access::default()));
    let mut outside = Vec::new();
    // Both sites use the same private address, as homes do.
    let private = SocketAddr::new(ip("192.168.1.2"), 5_000);
    for (config, external) in [(a, "203.0.113.1"), (b, "203.0.113.2")] {
        let nat = add(net.add_nat(Place::Internet, &[ip(external)], config, Access::default()));
        let host = add(net.add_host(Place::Behind(nat), &[private.ip()], Access::default()));
        add(net.send_as(now, host, private, server, *b"binding"));
        outside.extend(net.poll(now).map(|request| (host, request.from)));
    }
    let [(first, first_outside), (second, second_outside)] = outside[..] else {
        panic!("the server hears from both");
    };
    let mut answered = false;
    for (host, peer) in [(first, second_outside), (second, first_outside)].repeat(3) {
        add(net.send_as(now, host, private, peer, *b"check"));
        while let Some(arrival) = net.poll(now) {
            if arrival.payload == b"check" {
                // The answer goes to where the check came from, which a symmetric translator has
                // never announced.
                add(net.send_as(now, arrival.host, arrival.to, arrival.from, *b"answer"));
            } else {
                answered = true;
            }
        }
    }
    answered
}

#[test]
fn hole_punching_fails_only_where_neither_port_can_be_foreseen() {
    let full = NatConfig::full_cone();
    let restricted = NatConfig::restricted_cone();
    let port_restricted = NatConfig::port_restricted_cone();
    let symmetric = NatConfig::symmetric();
    for (a, b, reached) in [
        (full, full, true),
        (full, symmetric, true),
        (restricted, restricted, true),
        (restricted, symmetric, true),
        (port_restricted, port_restricted, true),
        (port_restricted, symmetric, false),
        (symmetric, symmetric, false),
    ] {
        assert_eq!(punch(a, b), reached, "{a:?} {b:?}");
        assert_eq!(punch(b, a), reached, "{b:?} {a:?}");
    }
}

proptest! {
    #[test]
    fn a_reply_reaches_the_host_that_asked_and_no_other(
        kind in 0_usize..9,
        preserve: bool,
        inbound_refresh: bool,
        mapping_limit in 1_usize..20,
        packets in proptest::collection::vec(
            (any::<bool>(), 5_000_u16..5_004, 0_usize..3, 0_u64..40), 1..60,
        ),
    ) {
        let ports = if preserve { PortAllocation::Preserve } else { PortAllocation::Random };
        let mapping_timeout = Duration::from_secs(60);
        let Some(kind) = kinds().nth(kind) else { return Ok(()) };
        let config = NatConfig { ports, inbound_refresh, mapping_limit, mapping_timeout, ..kind };
        let mut lab = Lab::new(Cast::ipv4(), config);
        for (first, port, remote, wait) in packets {
            lab.now += Duration::from_secs(wait);
            let sender = if first { lab.cast.host } else { lab.cast.neighbour };
            let (sender, remote) = (SocketAddr::new(sender.ip(), port), lab.cast.remotes()[remote]);
            let refused = lab.net.nat_stats(lab.nat).map(|stats| stats.refused);
            match lab.send(sender, remote) {
                Some((receiver, external)) => {
                    prop_assert_eq!(receiver, remote);
                    prop_assert_eq!(lab.send(remote, external), Some((sender, remote)));
                }
                None => prop_assert_ne!(
                    lab.net.nat_stats(lab.nat).map(|stats| stats.refused), refused,
                ),
            }
        }
    }
}
