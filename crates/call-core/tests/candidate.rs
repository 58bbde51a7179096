//! The candidate attribute (RFC 8839 §5.1), and the filter for the peer's candidates.

use call_core::{
    Candidate, CandidateAddress, CandidateError, CandidateKind, CandidateRefusal,
    CandidateTransport, MAX_CANDIDATE_LEN, MAX_REMOTE_CANDIDATES, RemoteCandidates,
};
use call_signal::IceCandidate;
use proptest::prelude::*;

const SRFLX: &str = "candidate:842163049 1 udp 1677729535 203.0.113.7 61000 typ srflx \
                     raddr 192.0.2.5 rport 50000 generation 0 ufrag sXP5 network-cost 999";

#[test]
fn the_parts_of_a_browsers_candidate_are_found_and_written_back() {
    let candidate: Candidate = SRFLX.parse().unwrap();
    assert_eq!(candidate.foundation(), "842163049");
    assert_eq!((candidate.component(), candidate.port()), (1, 61000));
    assert_eq!(*candidate.transport(), CandidateTransport::Udp);
    assert_eq!(candidate.priority(), 1_677_729_535);
    assert_eq!(candidate.address().ip(), Some([203, 0, 113, 7].into()));
    assert_eq!(*candidate.kind(), CandidateKind::ServerReflexive);
    let related = candidate.related().unwrap();
    assert_eq!(
        (related.address.ip(), related.port),
        (Some([192, 0, 2, 5].into()), 50000)
    );
    assert_eq!(candidate.extensions().len(), 3);
    assert_eq!(candidate.to_string(), SRFLX);
}

#[test]
fn other_spellings_of_peers_are_taken() {
    for text in [
        "1 1 UDP 1 192.0.2.1 9 typ HOST",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host",
        "candidate:1  1 udp 1 192.0.2.1 9 typ host ",
    ] {
        let candidate: Candidate = text.parse().unwrap();
        assert_eq!(
            candidate.to_string(),
            "candidate:1 1 udp 1 192.0.2.1 9 typ host"
        );
    }
    let text = "1 1 udp 1 192.0.2.1 9 typ srflx raddr laptop.example rport 5";
    assert!(
        text.parse::<Candidate>()
            .unwrap()
            .to_string()
            .ends_with("raddr :: rport 5")
    );
    let tcp: Candidate = "1 1 tcp 1 ::1 9 typ host tcptype active".parse().unwrap();
    assert_eq!(*tcp.transport(), CandidateTransport::Tcp);
}

#[test]
fn mdns_names_are_taken_and_names_of_the_public_dns_are_not() {
    let parse = |address: &str| format!("1 1 udp 1 {address} 9 typ host").parse::<Candidate>();
    let name = "3f6b2a9e-1b7c-4b1d-9c3e-0d2f6f6f7a11.local";
    let candidate = parse(name).unwrap();
    assert_eq!(*candidate.address(), CandidateAddress::Mdns(name.into()));
    assert_eq!(
        parse("ABC.Local").unwrap().address().to_string(),
        "abc.local"
    );
    let long = format!("{}.local", "a".repeat(64));
    for address in [
        "tracker.example.org",
        "a.b.local",
        ".local",
        "local",
        "a_.local",
        &long,
    ] {
        assert_eq!(
            parse(address).unwrap_err(),
            CandidateError::Invalid("address"),
            "{address}"
        );
    }
}

#[test]
fn wrong_parts_are_named() {
    use CandidateError::*;
    let long = format!(
        "1 1 udp 1 ::1 9 typ host x {}",
        "y".repeat(MAX_CANDIDATE_LEN)
    );
    let many = format!("1 1 udp 1 ::1 9 typ host{}", " x y".repeat(17));
    let foundation = format!("{} 1 udp 1 ::1 9 typ host", "f".repeat(33));
    for (text, error) in [
        ("", Missing("foundation")),
        ("1 1 udp", Missing("priority")),
        ("1 1 udp 1 ::1 9 host host", Missing("typ")),
        ("1 1 udp 1 ::1 9 typ", Missing("type")),
        ("1 1 udp 1 ::1 9 typ host x", Missing("extension value")),
        (foundation.as_str(), Invalid("foundation")),
        ("1.2 1 udp 1 ::1 9 typ host", Invalid("foundation")),
        ("1 0 udp 1 ::1 9 typ host", Invalid("component")),
        ("1 257 udp 1 ::1 9 typ host", Invalid("component")),
        ("1 +1 udp 1 ::1 9 typ host", Invalid("component")),
        ("1 1 u:p 1 ::1 9 typ host", Invalid("transport")),
        ("1 1 udp 4294967296 ::1 9 typ host", Invalid("priority")),
        ("1 1 udp 1 fe80::1%eth0 9 typ host", Invalid("address")),
        ("1 1 udp 1 ::1 65536 typ host", Invalid("port")),
        ("1 1 udp 1 ::1 9 typ ho/st", Invalid("type")),
        (
            "1 1 udp 1 ::1 9 typ host raddr ::1 rport x",
            Invalid("rport"),
        ),
        ("1 1 udp 1 ::1 9 typ host é 1", Invalid("extension")),
        (long.as_str(), TooLong(long.len())),
        (many.as_str(), TooManyExtensions),
    ] {
        assert_eq!(text.parse::<Candidate>().unwrap_err(), error, "{text}");
    }
}

#[test]
fn no_address_of_a_candidate_is_printed() {
    let text = format!("{:?}", SRFLX.parse::<Candidate>().unwrap());
    assert!(!text.contains("203") && !text.contains("192"), "{text}");
    let candidate: Candidate = SRFLX.parse().unwrap();
    assert_eq!(
        format!(
            "{:?} {:?}",
            candidate.address(),
            candidate.related().unwrap()
        ),
        "Ip(v4) RelatedAddress(..)"
    );
}

#[test]
fn usable_candidates_of_the_peer_are_taken_once() {
    let mut remote = RemoteCandidates::new();
    let taken = remote.take(&ice(SRFLX)).unwrap();
    assert_eq!(taken, ice(SRFLX));
    assert_eq!(remote.take(&ice(SRFLX)), Err(CandidateRefusal::Duplicate));
    let other_line = IceCandidate {
        sdp_mid: Some("1".into()),
        ..ice(SRFLX)
    };
    assert_eq!(remote.take(&other_line), Err(CandidateRefusal::Duplicate));
    assert!(remote.take(&host("abc.local", 5)).is_ok());
    assert!(remote.take(&host("192.168.1.2", 5)).is_ok());
    assert!(remote.take(&host("192.168.1.2", 6)).is_ok());
    assert!(remote.take(&ice("")).is_ok());
    assert_eq!(remote.take(&ice("")), Err(CandidateRefusal::Duplicate));
    assert_eq!((remote.taken(), remote.refused()), (4, 3));
}

#[test]
fn unusable_candidates_of_the_peer_are_refused() {
    use CandidateRefusal::*;
    for (text, refusal) in [
        ("1 1 tcp 1 192.0.2.1 9 typ host tcptype active", Transport),
        ("1 1 sctp 1 192.0.2.1 9 typ host", Transport),
        ("1 2 udp 1 192.0.2.1 9 typ host", Component),
        ("1 1 udp 1 192.0.2.1 9 typ new", Kind),
        ("1 1 udp 1 192.0.2.1 0 typ host", Address),
        ("1 1 udp 1 0.0.0.0 9 typ host", Address),
        ("1 1 udp 1 :: 9 typ host", Address),
        ("1 1 udp 1 ::ffff:0.0.0.0 9 typ host", Address),
        ("1 1 udp 1 224.0.0.251 5353 typ host", Address),
        ("1 1 udp 1 ::ffff:224.0.0.1 9 typ host", Address),
        ("1 1 udp 1 ff02::fb 5353 typ host", Address),
        ("1 1 udp 1 255.255.255.255 9 typ host", Address),
        ("garbage", Malformed(CandidateError::Missing("component"))),
    ] {
        assert_eq!(
            RemoteCandidates::new().take(&ice(text)),
            Err(refusal),
            "{text}"
        );
    }
    let long_mid = IceCandidate {
        sdp_mid: Some("m".repeat(65)),
        ..ice(SRFLX)
    };
    let long_ufrag = IceCandidate {
        username_fragment: Some("u".repeat(257)),
        ..ice(SRFLX)
    };
    for candidate in [long_mid, long_ufrag] {
        assert_eq!(RemoteCandidates::new().take(&candidate), Err(TooLong));
    }
}

#[test]
fn a_flood_of_candidates_fills_no_memory_and_an_ice_restart_makes_room() {
    let mut remote = RemoteCandidates::new();
    let flood =
        || (0..100_000u32).map(|n| host(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(), 7));
    let taken = flood()
        .filter(|candidate| remote.take(candidate).is_ok())
        .count();
    assert_eq!(
        (taken, remote.taken()),
        (MAX_REMOTE_CANDIDATES, MAX_REMOTE_CANDIDATES)
    );
    assert_eq!(remote.refused(), 100_000 - MAX_REMOTE_CANDIDATES as u64);
    assert_eq!(
        remote.take(&host("192.0.2.1", 7)),
        Err(CandidateRefusal::TooMany)
    );
    remote.restart();
    assert!(remote.take(&host("192.0.2.1", 7)).is_ok());
}

#[test]
fn candidates_in_the_peers_sdp_go_through_the_same_filter() {
    let sdp = "v=0\r\na=candidate:1 1 UDP 1 192.0.2.1 5 typ host\r\n\
               a=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\n\
               a=candidate:\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\na=mid:0\r\n";
    let mut remote = RemoteCandidates::new();
    let filtered = remote.filter_sdp(sdp);
    assert_eq!(
        filtered,
        "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=mid:0\r\n"
    );
    assert_eq!((remote.taken(), remote.refused()), (1, 3));
    assert_eq!(
        remote.take(&host("192.0.2.1", 5)),
        Err(CandidateRefusal::Duplicate)
    );
}

#[test]
fn white_space_does_not_hide_a_candidate_in_an_sdp() {
    let line = "candidate:1 1 udp 1 192.0.2.1 5 typ host";
    for space in [" ", "\t", "\u{a0}", "\u{85}", "\u{b}"] {
        let sdp = format!("v=0\r\na={space}{line}{space}\r\n");
        let filtered = RemoteCandidates::new().filter_sdp(&sdp);
        assert_eq!(filtered, format!("v=0\r\na={line}\r\n"));
    }
    for hidden in [format!("a=\r{line}\r\n"), format!("a=x\r {line}\r\n")] {
        let mut remote = RemoteCandidates::new();
        assert!(!remote.filter_sdp(&hidden).contains("candidate"));
        assert_eq!((remote.taken(), remote.refused()), (0, 1));
    }
}

proptest! {
    #[test]
    fn a_candidate_written_and_parsed_is_the_same(text in candidate()) {
        let candidate: Candidate = text.parse().unwrap();
        prop_assert_eq!(&candidate.to_string(), &text);
        prop_assert_eq!(candidate.to_string().parse::<Candidate>().unwrap(), candidate);
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_takes_is_stable(
        text in "(candidate:)?[a1]{1,3} [12] (udp|tcp) [0-9]{1,11} (::1|10.0.0.1|a.local) \
                 [0-9]{1,6} typ (host|relay|x)( (raddr|rport|x) [a0.:]{1,4}){0,4}|.*",
    ) {
        if let Ok(candidate) = text.parse::<Candidate>() {
            prop_assert_eq!(candidate.to_string().parse::<Candidate>().unwrap(), candidate);
        }
        let _ = RemoteCandidates::new().take(&ice(&text));
        let _ = RemoteCandidates::new().filter_sdp(&text);
    }
}

fn candidate() -> impl Strategy<Value = String> {
    let address = || {
        prop_oneof![
            any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
            "[a-z0-9-]{1,40}\\.local",
        ]
    };
    let related = prop::option::of((address(), any::<u16>()));
    let kind = prop_oneof!["host", "srflx", "prflx", "relay", "[a-z]{1,8}"];
    let extensions = prop::collection::vec(
        "(generation [0-9]|ufrag [A-Za-z0-9+/]{4,9}|x-[a-z]{1,5} [!-~]{1,9})",
        0..5,
    );
    let head = (
        "[A-Za-z0-9+/]{1,32}",
        1u16..=256,
        prop_oneof!["udp", "tcp", "[a-z]{1,9}"],
        any::<u32>(),
    );
    (head, address(), any::<u16>(), kind, related, extensions).prop_map(
        |((foundation, component, transport, priority), address, port, kind, related, extensions)| {
            let mut text = format!(
                "candidate:{foundation} {component} {transport} {priority} {address} {port} typ {kind}"
            );
            if let Some((address, port)) = related {
                text += &format!(" raddr {address} rport {port}");
            }
            extensions.iter().fold(text, |text, extension| text + " " + extension)
        },
    )
}

fn host(address: &str, port: u16) -> IceCandidate {
    ice(&format!("1 1 udp 1 {address} {port} typ host"))
}

fn ice(candidate: &str) -> IceCandidate {
    IceCandidate {
        candidate: candidate.into(),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
        username_fragment: None,
    }
}
