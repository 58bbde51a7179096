//! What the guard lets in.

use std::net::SocketAddr;

use call_core::{Refusal, SdpSummary};
use proptest::prelude::*;

use super::dtls::{MAX_HANDSHAKE_BYTES, MAX_PLAIN_FRAGMENTS, MAX_SEALED_HANDSHAKE};
use super::streams::{MAX_REPORTERS, MAX_UNDECLARED};
use super::{Guard, MAX_KNOWN_REMOTES};
use crate::transport::forge::{binding_request, fragment, record, role, rtcp, rtp};

const OURS: &str = "v=0\r\na=ice-ufrag:ours\r\na=ice-pwd:secretsecretsecretsecret\r\n";
const PASSWORD: &str = "secretsecretsecretsecret";
const CLIENT_HELLO: u8 = 1;
const CERTIFICATE: u8 = 11;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

fn address(n: usize) -> SocketAddr {
    ([198, 51, 100, (n >> 8) as u8], 1024 + (n & 0xff) as u16).into()
}

fn guard() -> Guard {
    let mut guard = Guard::new().unwrap();
    guard.described(OURS);
    guard
}

/// A guard that knows the peer at `address(0)`.
fn acquainted() -> Guard {
    let mut guard = guard();
    assert!(guard.add_candidate("candidate:1 1 udp 1 198.51.100.0 1024 typ host"));
    guard
}

fn request() -> Vec<u8> {
    binding_request("ours:theirs", Some(PASSWORD), role(true))
}

fn hello(number: u32) -> Vec<u8> {
    let body = fragment(CLIENT_HELLO, 3, 0, 0, 3, b"abc");
    record(HANDSHAKE, 0, number, &body)
}

fn summary(streams: &str) -> SdpSummary {
    let digest = ["AB"; 32].join(":");
    let sdp = format!(
        "v=0\r\na=fingerprint:sha-256 {digest}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{streams}"
    );
    SdpSummary::parse(&sdp).unwrap()
}

#[test]
fn only_stun_passes_from_an_unknown_address() {
    let mut guard = guard();
    guard.connected();
    for datagram in [&hello(0), &rtp(1), &rtcp(1), &vec![64, 0], &vec![]] {
        assert!(!guard.admit(address(0), datagram));
    }
    assert_eq!(guard.dropped().strangers, 5);
    assert!(guard.admit(address(0), &request()));
    assert!(guard.admit(address(0), &hello(0)));
    assert!(!guard.admit(address(1), &hello(0)));
}

#[test]
fn a_candidate_of_the_peer_is_a_known_address() {
    let mut guard = acquainted();
    assert!(guard.admit(address(0), &hello(0)));
    let mapped = SocketAddr::new("::ffff:198.51.100.0".parse().unwrap(), 1024);
    assert!(guard.admit(mapped, &hello(1)));
    assert!(!guard.add_candidate("candidate:1 1 udp 1 name.local 1024 typ host"));
}

#[test]
fn a_candidate_in_the_peers_description_is_a_known_address() {
    let mut guard = guard();
    let sdp = "v=0\r\na=candidate:1 1 udp 1 198.51.100.0 1024 typ host\r\n";
    guard.peer_described(&summary(""), sdp);
    assert!(guard.admit(address(0), &hello(0)));
}

#[test]
fn a_binding_request_needs_our_name_and_password() {
    let mut guard = guard();
    for datagram in [
        binding_request("ours:theirs", None, role(true)),
        binding_request("ours:theirs", Some("another password"), role(true)),
        binding_request("theirs:ours", Some(PASSWORD), role(true)),
        binding_request("our", Some(PASSWORD), role(true)),
        binding_request("ourselves:theirs", Some(PASSWORD), role(true)),
    ] {
        assert!(!guard.admit(address(0), &datagram));
    }
    assert_eq!((guard.dropped().stun, guard.known_remotes()), (5, 0));
    let mut undescribed = Guard::new().unwrap();
    assert!(!undescribed.admit(address(0), &request()));
}

#[test]
fn nothing_may_follow_the_integrity_of_a_request() {
    let mut guard = guard();
    let mut datagram = request();
    let (kind, value) = role(false);
    datagram.extend(kind.value().to_be_bytes());
    datagram.extend([0, 8]);
    datagram.extend(value);
    let length = (datagram.len() - 20) as u16;
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
    assert!(!guard.admit(address(0), &datagram));
}

#[test]
fn responses_and_indications_pass_from_known_addresses_only() {
    for kind in [[0x01, 0x01], [0x00, 0x11]] {
        let mut message = request();
        message[..2].copy_from_slice(&kind);
        assert!(acquainted().admit(address(0), &message));
        assert!(!acquainted().admit(address(1), &message));
    }
    let mut error = request();
    error[..2].copy_from_slice(&[0x01, 0x11]);
    assert!(!acquainted().admit(address(0), &error));
}

#[test]
fn the_first_addresses_of_the_peer_stay() {
    let mut guard = guard();
    let admitted = (0..1_000).filter(|n| guard.admit(address(*n), &request()));
    assert_eq!(admitted.count(), MAX_KNOWN_REMOTES);
    assert_eq!(guard.known_remotes(), MAX_KNOWN_REMOTES);
    assert!(guard.admit(address(0), &request()));
    assert!(!guard.add_candidate("candidate:1 1 udp 1 203.0.113.1 7 typ host"));
}

#[test]
fn a_hello_in_two_fragments_and_its_retransmissions_pass() {
    let mut guard = acquainted();
    for number in 0..20 {
        let (first, second) = ([1; 1_200], [2; 400]);
        let fragments = [
            fragment(CLIENT_HELLO, 1_600, 0, 0, 1_200, &first),
            fragment(CLIENT_HELLO, 1_600, 0, 1_200, 400, &second),
        ];
        for (n, body) in fragments.iter().enumerate() {
            let datagram = record(HANDSHAKE, 0, number * 2 + n as u32, body);
            assert!(guard.admit(address(0), &datagram));
        }
    }
}

#[test]
fn a_flight_of_whole_messages_in_one_record_passes() {
    let mut body = fragment(CERTIFICATE, 4, 1, 0, 4, b"cert");
    body.extend(fragment(14, 0, 2, 0, 0, b""));
    let mut datagram = record(HANDSHAKE, 0, 0, &body);
    datagram.extend(record(20, 0, 1, &[1]));
    datagram.extend(record(HANDSHAKE, 1, 0, &[0; 48]));
    assert!(acquainted().admit(address(0), &datagram));
}

#[test]
fn malformed_records_and_fragments_are_dropped() {
    let plain = |body: Vec<u8>| record(HANDSHAKE, 0, 0, &body);
    let mut cut = hello(0);
    cut.pop();
    let mut followed = fragment(CLIENT_HELLO, 9, 0, 0, 3, b"abc");
    followed.extend(fragment(CLIENT_HELLO, 3, 1, 0, 3, b"abc"));
    let mut version = hello(0);
    version[1] = 3;
    for datagram in [
        cut,
        version,
        vec![HANDSHAKE],
        plain(vec![]),
        plain(vec![1, 0, 0]),
        plain(followed),
        plain(fragment(CLIENT_HELLO, 3, 0, 0, 2, b"abc")),
        plain(fragment(CLIENT_HELLO, 3, 0, 0, 3, b"ab")),
        plain(fragment(CLIENT_HELLO, 3, 0, 1, 3, b"abc")),
        plain(fragment(CLIENT_HELLO, 3, 0, 0, 0, b"")),
        plain(fragment(CLIENT_HELLO, 32 * 1024 + 1, 0, 0, 3, b"abc")),
        record(HANDSHAKE, 1, 0, &[0; 65]),
        record(HANDSHAKE, 2, 0, &[0; 48]),
        record(23, 0, 0, b"data"),
        record(23, 1, 0, b"data"),
        record(24, 0, 0, b"data"),
        record(20, 0, 0, &[2]),
        record(ALERT, 0, 0, &[2]),
    ] {
        let mut guard = acquainted();
        assert!(!guard.admit(address(0), &datagram), "{datagram:?}");
        assert_eq!(guard.dropped().dtls, 1);
    }
}

#[test]
fn fragments_are_counted_before_and_after_the_handshake() {
    let mut guard = acquainted();
    let admitted = |guard: &mut Guard| {
        let flood = (0..40_000).map(hello);
        flood
            .filter(|datagram| guard.admit(address(0), datagram))
            .count()
    };
    assert_eq!(admitted(&mut guard), MAX_PLAIN_FRAGMENTS);
    guard.connected();
    assert_eq!(admitted(&mut guard), 0);
    let sealed = record(HANDSHAKE, 1, 0, &[0; 48]);
    let sealed = (0..1_000).filter(|_| guard.admit(address(0), &sealed));
    assert_eq!(sealed.count(), MAX_SEALED_HANDSHAKE);
}

#[test]
fn the_bytes_of_a_handshake_are_limited() {
    let mut guard = acquainted();
    let alert = record(ALERT, 1, 0, &[0; 1_000]);
    let admitted = (0..1_000).filter(|_| guard.admit(address(0), &alert));
    assert_eq!(admitted.count(), MAX_HANDSHAKE_BYTES / alert.len());
}

#[test]
fn media_pass_after_the_handshake_and_of_declared_streams() {
    let mut guard = acquainted();
    let declared = summary("a=ssrc:7 cname:x\r\na=ssrc-group:FID 7 8\r\n");
    guard.peer_described(&declared, "");
    assert!(!guard.admit(address(0), &rtp(7)));
    guard.connected();
    assert!(guard.admit(address(0), &rtp(7)));
    assert!(guard.admit(address(0), &rtp(8)));
    assert!(guard.admit(address(0), &rtcp(7)));
    assert!(!guard.admit(address(0), &rtp(9)));
    assert!(!guard.admit(address(0), &rtp(7)[..27]));
    assert!(!guard.admit(address(0), &rtcp(7)[..27]));
    let flood = (100..100_100).filter(|ssrc| guard.admit(address(0), &rtp(*ssrc)));
    assert_eq!(flood.count(), 0);
}

#[test]
fn a_peer_that_declares_no_streams_has_few() {
    let mut guard = acquainted();
    guard.peer_described(&summary(""), "");
    guard.connected();
    let media = (0..100_000).filter(|ssrc| guard.admit(address(0), &rtp(*ssrc)));
    assert_eq!(media.count(), MAX_UNDECLARED);
    let reports = (1_000..101_000).filter(|ssrc| guard.admit(address(0), &rtcp(*ssrc)));
    assert_eq!(reports.count(), MAX_REPORTERS);
    assert_eq!(guard.streams.kept(), MAX_UNDECLARED + MAX_REPORTERS);
}

#[test]
fn a_handshake_that_fails_is_explained() {
    let alert = |description| record(ALERT, 0, 0, &[2, description]);
    let refusal = |sent: &[Vec<u8>], received: &[Vec<u8>]| {
        let mut guard = acquainted();
        for datagram in received {
            guard.admit(address(0), datagram);
        }
        for datagram in sent {
            guard.sent(datagram);
        }
        (guard.handshake_failed(), guard.handshake_refusal())
    };
    let certificate = || {
        let body = fragment(CERTIFICATE, 4, 1, 0, 4, b"cert");
        record(HANDSHAKE, 0, 1, &body)
    };
    assert_eq!(refusal(&[], &[]), (false, Refusal::DtlsHandshake));
    assert_eq!(refusal(&[], &[hello(0)]), (false, Refusal::NoAes256Gcm));
    let agreed = [hello(0), certificate()];
    assert_eq!(refusal(&[], &agreed), (false, Refusal::DtlsHandshake));
    for description in [40, 47, 71] {
        let expected = (true, Refusal::NoAes256Gcm);
        assert_eq!(refusal(&[alert(description)], &[hello(0)]), expected);
        assert_eq!(refusal(&[], &[alert(description)]), expected);
    }
    assert_eq!(refusal(&[], &[alert(42)]), (true, Refusal::DtlsHandshake));
}

proptest! {
    #[test]
    fn no_bytes_make_the_guard_panic_or_grow(
        datagrams in prop::collection::vec(
            (0usize..100, prop::collection::vec(any::<u8>(), 0..200), 0usize..5),
            0..200,
        ),
        connected in any::<bool>(),
    ) {
        let mut guard = acquainted();
        if connected {
            guard.connected();
        }
        for (from, bytes, kind) in datagrams {
            let mut datagram = match kind {
                0 => vec![],
                1 => request(),
                2 => hello(0),
                3 => rtp(0),
                _ => rtcp(0),
            };
            let at = from % (datagram.len() + 1);
            datagram.splice(at..at, bytes);
            guard.admit(address(from), &datagram);
            guard.sent(&datagram);
        }
        let (fragments, sealed, bytes) = guard.dtls.admitted();
        prop_assert!(guard.known_remotes() <= MAX_KNOWN_REMOTES);
        prop_assert!(fragments <= MAX_PLAIN_FRAGMENTS && sealed <= MAX_SEALED_HANDSHAKE);
        prop_assert!(bytes <= MAX_HANDSHAKE_BYTES);
        prop_assert!(guard.streams.kept() <= MAX_UNDECLARED + MAX_REPORTERS);
    }

    #[test]
    fn a_request_with_one_wrong_byte_is_dropped(at in 0usize..88, bit in 0u8..8) {
        let mut datagram = request();
        // Behind the integrity is the fingerprint, which protects against nothing.
        let at = at % (datagram.len() - 8);
        datagram[at] ^= 1 << bit;
        prop_assert!(!guard().admit(address(0), &datagram));
    }
}
