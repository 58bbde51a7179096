//! Hosts on a network in virtual time.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use netem::{
    Access, BitRate, Clock, Delivery, HostId, Jitter, LinkConfig, Loss, NatConfig, Network,
    NetworkError, Place, Probability, Reorder,
};
use proptest::prelude::*;

const A: &str = "198.51.100.1:1000";
const B: &str = "198.51.100.2:2000";

fn at(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(address) => address,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn ip(text: &str) -> IpAddr {
    at(&format!("{text}:0")).ip()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Two public hosts.
fn pair(a: Access, b: Access) -> Result<(Network, HostId, HostId), NetworkError> {
    let mut net = Network::new(1);
    let first = net.add_host(Place::Internet, &[at(A).ip()], a)?;
    let second = net.add_host(Place::Internet, &[at(B).ip()], b)?;
    Ok((net, first, second))
}

/// All that arrives, polled at each event.
fn drain(net: &mut Network) -> Vec<Delivery> {
    let mut delivered = Vec::new();
    while let Some(event) = net.next_event() {
        delivered.extend(net.poll(event));
    }
    delivered
}

#[test]
fn a_datagram_crosses_the_senders_uplink_and_the_receivers_downlink() -> Result<(), NetworkError> {
    let access = |up, down| Access {
        up: LinkConfig::with_delay(ms(up)),
        down: LinkConfig::with_delay(ms(down)),
    };
    let (mut net, a, b) = pair(access(10, 1_000), access(2_000, 25))?;
    let now = Instant::now();
    net.send(now, at(A), at(B), *b"hello")?;
    assert_eq!(
        drain(&mut net),
        [Delivery {
            at: now + ms(35),
            host: b,
            to: at(B),
            from: at(A),
            payload: b"hello".to_vec(),
        }]
    );
    let (sender, receiver) = (net.stats(a)?, net.stats(b)?);
    assert_eq!((sender.up.delivered, sender.down.sent), (1, 0));
    assert_eq!((receiver.up.sent, receiver.down.delivered), (0, 1));
    Ok(())
}

#[test]
fn datagrams_sent_at_one_time_arrive_in_the_order_of_sending() -> Result<(), NetworkError> {
    let (mut net, _, _) = pair(Access::default(), Access::default())?;
    let third = at("198.51.100.3:3000");
    net.add_host(Place::Internet, &[third.ip()], Access::default())?;
    let now = Instant::now();
    net.send(now, at(B), third, *b"")?;
    net.send(now, at(A), third, *b"")?;
    let senders: Vec<SocketAddr> = drain(&mut net).iter().map(|arrival| arrival.from).collect();
    assert_eq!(senders, [at(B), at(A)]);
    Ok(())
}

#[test]
fn headers_count_against_the_rate() -> Result<(), NetworkError> {
    // A byte takes a millisecond.
    let slow = LinkConfig {
        rate: Some(BitRate::from_kbps(8)),
        ..LinkConfig::PERFECT
    };
    let access = Access {
        up: slow,
        down: LinkConfig::PERFECT,
    };
    let mut net = Network::new(1);
    net.add_host(
        Place::Internet,
        &[ip("198.51.100.1"), ip("[2001:db8::1]")],
        access,
    )?;
    net.add_host(
        Place::Internet,
        &[ip("198.51.100.2"), ip("[2001:db8::2]")],
        access,
    )?;
    let now = Instant::now();
    net.send(now, at(A), at(B), [0; 100])?;
    net.send(now, at("[2001:db8::1]:1"), at("[2001:db8::2]:2"), [0; 100])?;
    let times: Vec<Duration> = drain(&mut net)
        .iter()
        .map(|arrival| arrival.at - now)
        .collect();
    assert_eq!(times, [ms(128), ms(128 + 148)]);
    Ok(())
}

#[test]
fn hosts_behind_one_translator_share_its_line() -> Result<(), NetworkError> {
    let mut net = Network::new(1);
    let slow = LinkConfig {
        rate: Some(BitRate::from_kbps(8)),
        ..LinkConfig::PERFECT
    };
    let site = Access {
        up: slow,
        down: LinkConfig::PERFECT,
    };
    let nat = net.add_nat(
        Place::Internet,
        &[ip("203.0.113.1")],
        NatConfig::default(),
        site,
    )?;
    net.add_host(Place::Internet, &[at(B).ip()], Access::default())?;
    let now = Instant::now();
    for host in ["192.168.1.2:1", "192.168.1.3:1"] {
        net.add_host(Place::Behind(nat), &[at(host).ip()], Access::default())?;
        net.send(now, at(host), at(B), [0; 72])?;
    }
    let times: Vec<Duration> = drain(&mut net)
        .iter()
        .map(|arrival| arrival.at - now)
        .collect();
    assert_eq!(times, [ms(100), ms(200)]);
    Ok(())
}

#[test]
fn translators_nest() -> Result<(), NetworkError> {
    let mut net = Network::new(1);
    let free = Access::default();
    let carrier = net.add_nat(
        Place::Internet,
        &[ip("203.0.113.1")],
        NatConfig::symmetric(),
        free,
    )?;
    let place = Place::Behind(carrier);
    let home = net.add_nat(place, &[ip("100.64.0.9")], NatConfig::full_cone(), free)?;
    let inside = at("192.168.1.2:1000");
    net.add_host(Place::Behind(home), &[inside.ip()], free)?;
    net.add_host(Place::Internet, &[at(B).ip()], free)?;
    let now = Instant::now();
    net.send(now, inside, at(B), *b"out")?;
    let outside = drain(&mut net)[0].from;
    assert_eq!(outside.ip(), ip("203.0.113.1"));
    net.send(now, at(B), outside, *b"back")?;
    let back = &drain(&mut net)[0];
    assert_eq!((back.to, back.from), (inside, at(B)));
    Ok(())
}

#[test]
fn a_cut_host_is_reached_again_when_it_is_restored() -> Result<(), NetworkError> {
    let (mut net, _, b) = pair(
        Access::default(),
        Access::both(LinkConfig::with_delay(ms(10))),
    )?;
    let mut clock = Clock::new();
    net.send(clock.now(), at(A), at(B), *b"under way")?;
    net.cut(clock.now(), b)?;
    net.send(clock.now(), at(A), at(B), *b"lost")?;
    net.send(clock.now(), at(B), at(A), *b"lost")?;
    clock.advance_by(ms(5));
    net.restore(clock.now(), b)?;
    net.send(clock.now(), at(A), at(B), *b"back")?;
    let payloads: Vec<_> = drain(&mut net)
        .into_iter()
        .map(|arrival| arrival.payload)
        .collect();
    assert_eq!(payloads, [b"under way".to_vec(), b"back".to_vec()]);
    Ok(())
}

#[test]
fn a_scheduled_cut_takes_both_links_down() -> Result<(), NetworkError> {
    let (mut net, a, _) = pair(Access::default(), Access::default())?;
    let now = Instant::now();
    net.schedule_cut(now, a, now + ms(10), now + ms(20))?;
    for after in [0, 10, 19, 20] {
        net.send(now + ms(after), at(A), at(B), *b"out")?;
        net.send(now + ms(after), at(B), at(A), *b"in")?;
    }
    let times: Vec<Duration> = drain(&mut net)
        .iter()
        .map(|arrival| arrival.at - now)
        .collect();
    assert_eq!(times, [ms(0), ms(0), ms(20), ms(20)]);
    Ok(())
}

#[test]
fn links_change_under_way() -> Result<(), NetworkError> {
    let (mut net, a, _) = pair(Access::default(), Access::default())?;
    let now = Instant::now();
    net.reconfigure(now, a, Access::both(LinkConfig::with_delay(ms(70))))?;
    net.send(now, at(A), at(B), *b"slow")?;
    assert_eq!(drain(&mut net)[0].at, now + ms(70));
    Ok(())
}

#[test]
fn a_datagram_to_nowhere_is_counted() -> Result<(), NetworkError> {
    let (mut net, _, _) = pair(Access::default(), Access::default())?;
    net.send(Instant::now(), at(A), at("192.0.2.77:1"), *b"?")?;
    assert_eq!((drain(&mut net).len(), net.unroutable()), (0, 1));
    Ok(())
}

#[test]
fn mistakes_in_the_set_up_are_errors() -> Result<(), NetworkError> {
    let (mut net, _, _) = pair(Access::default(), Access::default())?;
    let free = Access::default();
    let add_host = Network::add_host;
    assert_eq!(
        add_host(&mut net, Place::Internet, &[at(A).ip()], free),
        Err(NetworkError::AddressTaken)
    );
    assert_eq!(
        add_host(&mut net, Place::Internet, &[], free),
        Err(NetworkError::NoAddress)
    );
    let two = [ip("203.0.113.1"), ip("203.0.113.2")];
    let nat = net.add_nat(Place::Internet, &two, NatConfig::default(), free);
    assert_eq!(nat, Err(NetworkError::TooManyAddresses));
    Ok(())
}

#[test]
fn sending_from_an_address_that_no_host_has_is_an_error() -> Result<(), NetworkError> {
    let (mut net, a, _) = pair(Access::default(), Access::default())?;
    let now = Instant::now();
    let stranger = at("192.0.2.77:1");
    assert_eq!(
        net.send(now, stranger, at(B), *b""),
        Err(NetworkError::UnknownSource)
    );
    assert_eq!(
        net.send_as(now, a, at(B), at(A), *b""),
        Err(NetworkError::UnknownSource)
    );
    let other_family = at("[2001:db8::1]:1");
    assert_eq!(
        net.send(now, at(A), other_family, *b""),
        Err(NetworkError::FamilyMismatch)
    );
    Ok(())
}

#[test]
fn a_private_address_used_twice_needs_its_host_named() -> Result<(), NetworkError> {
    let (mut net, _, b) = pair(Access::default(), Access::default())?;
    let free = Access::default();
    let private = at("192.168.1.2:1");
    let mut hosts = Vec::new();
    for external in ["203.0.113.1", "203.0.113.2"] {
        let nat = net.add_nat(Place::Internet, &[ip(external)], NatConfig::default(), free)?;
        hosts.push(net.add_host(Place::Behind(nat), &[private.ip()], free)?);
    }
    let now = Instant::now();
    assert_eq!(
        net.send(now, private, at(B), *b""),
        Err(NetworkError::AmbiguousSource)
    );
    net.send_as(now, hosts[1], private, at(B), *b"")?;
    let arrival = &drain(&mut net)[0];
    assert_eq!((arrival.host, arrival.from.ip()), (b, ip("203.0.113.2")));
    Ok(())
}

#[test]
fn ids_of_another_network_are_errors() -> Result<(), NetworkError> {
    let (mut net, a, _) = pair(Access::default(), Access::default())?;
    let nat = net.add_nat(
        Place::Internet,
        &[ip("203.0.113.1")],
        NatConfig::default(),
        Access::default(),
    )?;
    let mut empty = Network::new(1);
    let now = Instant::now();
    let unknown = NetworkError::UnknownNode;
    assert_eq!(empty.cut(now, a), Err(unknown));
    assert_eq!(empty.stats(nat), Err(unknown));
    assert_eq!(empty.nat_stats(nat), Err(unknown));
    let behind = empty.add_host(Place::Behind(nat), &[at(A).ip()], Access::default());
    assert_eq!(behind, Err(unknown));
    Ok(())
}

/// Sends datagrams at the given times through a NAT and unsteady links, polling at every event or
/// only at the end.
fn run(
    start: Instant,
    seed: u64,
    waits: &[u64],
    eager: bool,
) -> Result<Vec<Delivery>, NetworkError> {
    let unsteady = LinkConfig {
        loss: Loss::bursts(Probability::percent(10.0), 2.0),
        delay: ms(20),
        jitter: Jitter::Normal { deviation: ms(6) },
        reorder: Reorder {
            probability: Probability::percent(5.0),
            hold: ms(15),
        },
        duplicate: Probability::percent(5.0),
        rate: Some(BitRate::from_mbps(1)),
        queue_bytes: 4_000,
        mtu: None,
    };
    let mut net = Network::new(seed);
    let nat = net.add_nat(
        Place::Internet,
        &[ip("203.0.113.1")],
        NatConfig {
            mapping_timeout: ms(150),
            ..NatConfig::symmetric()
        },
        Access::both(unsteady),
    )?;
    let inside = at("192.168.1.2:1000");
    net.add_host(Place::Behind(nat), &[inside.ip()], Access::both(unsteady))?;
    net.add_host(Place::Internet, &[at(B).ip()], Access::both(unsteady))?;
    let (mut now, mut delivered) = (start, Vec::new());
    for (number, wait) in waits.iter().enumerate() {
        now += ms(*wait);
        if eager {
            while let Some(event) = net.next_event().filter(|&event| event <= now) {
                delivered.extend(net.poll(event));
            }
        }
        net.send(now, inside, at(B), vec![number as u8; 500])?;
    }
    delivered.extend(drain(&mut net));
    Ok(delivered)
}

proptest! {
    #[test]
    fn the_same_seed_and_calls_give_the_same_deliveries(
        seed: u64, waits in proptest::collection::vec(0_u64..200, 1..80),
    ) {
        let start = Instant::now();
        prop_assert_eq!(run(start, seed, &waits, true), run(start, seed, &waits, true));
    }

    #[test]
    fn polling_late_changes_nothing(
        seed: u64, waits in proptest::collection::vec(0_u64..200, 1..80),
    ) {
        let start = Instant::now();
        prop_assert_eq!(run(start, seed, &waits, true), run(start, seed, &waits, false));
    }

    #[test]
    fn only_what_was_sent_arrives(
        seed: u64, waits in proptest::collection::vec(0_u64..200, 1..80),
    ) {
        for arrival in run(Instant::now(), seed, &waits, true)? {
            prop_assert_eq!(arrival.to, at(B));
            prop_assert_eq!(arrival.from.ip(), ip("203.0.113.1"));
            prop_assert_eq!(arrival.payload.len(), 500);
            prop_assert!(usize::from(arrival.payload[0]) < waits.len());
        }
    }
}
