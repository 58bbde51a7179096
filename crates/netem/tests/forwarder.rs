//! The forwarder between real sockets on the loopback interface.
//!
//! Timeouts only keep a failing test from hanging; no test measures time.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use netem::{
    BitRate, Forwarder, ForwarderConfig, IpVersion, Link, LinkConfig, Loss, Probability, Reorder,
    Side,
};

/// How long a test waits for a datagram that is sure to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Few enough that the kernel's smallest receive buffer holds them.
const DATAGRAMS: u32 = 100;

fn peer(address: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 65_535];
    let (length, from) = socket.recv_from(&mut buffer)?;
    buffer.truncate(length);
    Ok((buffer, from))
}

/// Sends one datagram and waits for it, so that all before it on this link have been decided.
fn exchange(
    from: &UdpSocket,
    via: SocketAddr,
    to: &UdpSocket,
    payload: &[u8],
) -> io::Result<SocketAddr> {
    from.send_to(payload, via)?;
    let (received, sender) = receive(to)?;
    assert_eq!(received, payload);
    Ok(sender)
}

fn both_ways(address: &str) -> io::Result<()> {
    let (a, b) = (peer(address)?, peer(address)?);
    let forwarder = Forwarder::start(ForwarderConfig::default())?;
    let (b_for_a, a_for_b) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    assert_eq!(exchange(&a, b_for_a, &b, b"to b")?, a_for_b);
    assert_eq!(exchange(&b, a_for_b, &a, b"to a")?, b_for_a);
    assert_eq!(exchange(&a, b_for_a, &b, b"")?, a_for_b);
    let stats = forwarder.stop();
    assert_eq!((stats.a_to_b.delivered, stats.b_to_a.delivered), (2, 1));
    assert_eq!(
        (stats.sockets, stats.unroutable, stats.socket_errors),
        (2, 0, 0)
    );
    Ok(())
}

#[test]
fn replies_to_the_address_seen_find_their_way_back() -> io::Result<()> {
    both_ways("127.0.0.1")
}

#[test]
fn replies_find_their_way_back_over_ipv6() -> io::Result<()> {
    // Some machines have no IPv6.
    if peer("::1").is_err() {
        Ok(())
    } else {
        both_ways("::1")
    }
}

#[test]
fn every_candidate_of_a_side_has_its_own_address() -> io::Result<()> {
    let forwarder = Forwarder::start(ForwarderConfig::default())?;
    let (a1, a2, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?, peer("127.0.0.1")?);
    let a1_for_b = forwarder.expose(Side::A, a1.local_addr()?)?;
    let a2_for_b = forwarder.expose(Side::A, a2.local_addr()?)?;
    let b_for_a = forwarder.expose(Side::B, b.local_addr()?)?;
    assert_ne!(a1_for_b, a2_for_b);
    assert_eq!(forwarder.expose(Side::A, a1.local_addr()?)?, a1_for_b);
    assert_eq!(exchange(&a1, b_for_a, &b, b"1")?, a1_for_b);
    assert_eq!(exchange(&a2, b_for_a, &b, b"2")?, a2_for_b);
    assert_eq!(exchange(&b, a1_for_b, &a1, b"3")?, b_for_a);
    assert_eq!(exchange(&b, a2_for_b, &a2, b"4")?, b_for_a);
    Ok(())
}

#[test]
fn a_sender_that_was_not_exposed_is_learned() -> io::Result<()> {
    let forwarder = Forwarder::start(ForwarderConfig::default())?;
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let b_for_a = forwarder.expose(Side::B, b.local_addr()?)?;
    let learned = exchange(&a, b_for_a, &b, b"peer-reflexive")?;
    assert_eq!(exchange(&b, learned, &a, b"reply")?, b_for_a);
    assert_eq!(forwarder.expose(Side::A, a.local_addr()?)?, learned);
    Ok(())
}

#[test]
fn an_address_can_be_assigned_after_it_was_handed_out() -> io::Result<()> {
    let forwarder = Forwarder::start(ForwarderConfig::default())?;
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let b_for_a = forwarder.reserve(Side::B, IpVersion::V4)?;
    forwarder.assign(b_for_a, b.local_addr()?)?;
    let a_for_b = exchange(&a, b_for_a, &b, b"hello")?;
    assert_eq!(exchange(&b, a_for_b, &a, b"reply")?, b_for_a);
    Ok(())
}

#[test]
fn addresses_that_make_no_sense_are_refused() -> io::Result<()> {
    let forwarder = Forwarder::start(ForwarderConfig {
        socket_limit: 2,
        ..ForwarderConfig::default()
    })?;
    let kind = |result: io::Result<SocketAddr>| result.map_err(|error| error.kind());
    let (own, real) = (
        forwarder.reserve(Side::A, IpVersion::V4)?,
        SocketAddr::from(([127, 0, 0, 1], 9)),
    );
    let invalid = Err(io::ErrorKind::InvalidInput);
    assert_eq!(kind(forwarder.expose(Side::B, own)), invalid);
    assert_eq!(
        kind(forwarder.expose(Side::B, SocketAddr::from(([127, 0, 0, 1], 0)))),
        invalid
    );
    assert_eq!(
        kind(forwarder.expose(Side::B, SocketAddr::from(([0, 0, 0, 0], 9)))),
        invalid
    );
    assert!(
        forwarder
            .assign(own, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9)))
            .is_err()
    );
    forwarder.expose(Side::B, real)?;
    let full = kind(forwarder.expose(Side::A, real));
    assert_eq!(full, Err(io::ErrorKind::QuotaExceeded));
    Ok(())
}

#[test]
fn exactly_the_packets_that_the_link_loses_are_lost() -> io::Result<()> {
    let seed = 77;
    let lossy = LinkConfig {
        loss: Loss::bursts(Probability::percent(30.0), 3.0),
        duplicate: Probability::percent(20.0),
        ..LinkConfig::PERFECT
    };
    let mut link = Link::new(lossy, seed);
    let now = Instant::now();
    (0..DATAGRAMS).for_each(|number| link.send(now, 0, number));
    let foretold: Vec<u32> = std::iter::from_fn(|| link.poll(now)).collect();

    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let forwarder = Forwarder::start(ForwarderConfig {
        a_to_b: lossy,
        seed,
        ..ForwarderConfig::default()
    })?;
    let (b_for_a, _) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    for number in 0..DATAGRAMS {
        a.send_to(&number.to_be_bytes(), b_for_a)?;
    }
    for number in &foretold {
        assert_eq!(receive(&b)?.0, number.to_be_bytes());
    }
    let stats = forwarder.stop().a_to_b;
    assert_eq!(stats.duplicated, link.stats().duplicated);
    assert_eq!(stats.delivered, foretold.len() as u64);
    Ok(())
}

#[test]
fn a_delayed_link_keeps_the_order_and_every_packet() -> io::Result<()> {
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let forwarder = Forwarder::start(ForwarderConfig {
        a_to_b: LinkConfig {
            rate: Some(BitRate::from_mbps(20)),
            ..LinkConfig::with_delay(Duration::from_millis(20))
        },
        ..ForwarderConfig::default()
    })?;
    let (b_for_a, _) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    for number in 0..DATAGRAMS {
        a.send_to(&number.to_be_bytes(), b_for_a)?;
    }
    for number in 0..DATAGRAMS {
        assert_eq!(receive(&b)?.0, number.to_be_bytes());
    }
    Ok(())
}

#[test]
fn a_packet_held_back_is_overtaken_by_the_next() -> io::Result<()> {
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    // Held until long after the second has passed, but not longer than the test is patient.
    let held = Reorder {
        probability: Probability::ONE,
        hold: Duration::from_secs(2),
    };
    let forwarder = Forwarder::start(ForwarderConfig {
        a_to_b: LinkConfig {
            reorder: held,
            ..LinkConfig::PERFECT
        },
        ..ForwarderConfig::default()
    })?;
    let (b_for_a, _) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    a.send_to(b"first", b_for_a)?;
    while forwarder.stats().a_to_b.sent == 0 {
        std::thread::yield_now();
    }
    forwarder.reconfigure(Side::A, LinkConfig::PERFECT);
    a.send_to(b"second", b_for_a)?;
    assert_eq!(receive(&b)?.0, b"second");
    let stats = forwarder.stop().a_to_b;
    assert_eq!((stats.sent, stats.lost(), stats.delivered), (2, 0, 1));
    Ok(())
}

#[test]
fn nothing_crosses_a_cut_link_and_the_other_way_stays_open() -> io::Result<()> {
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let forwarder = Forwarder::start(ForwarderConfig::default())?;
    let (b_for_a, a_for_b) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    forwarder.cut(Side::A);
    a.send_to(b"lost", b_for_a)?;
    exchange(&b, a_for_b, &a, b"still open")?;
    while forwarder.stats().a_to_b.sent == 0 {
        std::thread::yield_now();
    }
    forwarder.restore(Side::A);
    exchange(&a, b_for_a, &b, b"back")?;
    assert_eq!(forwarder.stop().a_to_b.dropped_by_cut, 1);
    Ok(())
}

#[test]
fn a_stopped_forwarder_frees_its_addresses_and_threads() -> io::Result<()> {
    let forwarder = Forwarder::start(ForwarderConfig {
        a_to_b: LinkConfig::with_delay(Duration::from_secs(3_600)),
        ..ForwarderConfig::default()
    })?;
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let (b_for_a, a_for_b) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    a.send_to(b"never arrives", b_for_a)?;
    exchange(&b, a_for_b, &a, b"sync")?;
    forwarder.stop();
    UdpSocket::bind(b_for_a)?;
    UdpSocket::bind(a_for_b)?;
    Ok(())
}

#[tokio::test]
async fn a_forwarder_can_be_used_and_dropped_inside_an_async_runtime() -> io::Result<()> {
    let (a, b) = (peer("127.0.0.1")?, peer("127.0.0.1")?);
    let forwarder = Forwarder::start(ForwarderConfig::default())?;
    let (b_for_a, _) = forwarder.pair(a.local_addr()?, b.local_addr()?)?;
    exchange(&a, b_for_a, &b, b"hello")?;
    drop(forwarder);
    Ok(())
}
