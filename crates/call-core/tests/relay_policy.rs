//! Relay-only calls let no address of the device out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use call_core::{filter_candidate, filter_sdp};
use call_signal::IceCandidate;
use proptest::prelude::*;

#[test]
fn a_relay_candidate_goes_out_without_its_related_address_and_network_hints() {
    let text = "candidate:7 1 UDP 41885439 198.51.100.3 50001 typ relay raddr 203.0.113.7 \
                rport 61000 generation 0 ufrag sXP5 network-id 1 network-cost 50";
    let expected = "candidate:7 1 udp 41885439 198.51.100.3 50001 typ relay raddr 0.0.0.0 rport 9 \
                    generation 0 ufrag sXP5";
    let candidate = ice(text);
    let filtered = filter_candidate(&candidate).unwrap();
    assert_eq!(
        filtered,
        IceCandidate {
            candidate: expected.into(),
            ..candidate
        }
    );

    let filtered = filter_candidate(&ice("7 1 udp 1 2001:db8::3 5 typ relay")).unwrap();
    assert_eq!(
        filtered.candidate,
        "candidate:7 1 udp 1 2001:db8::3 5 typ relay raddr :: rport 9"
    );
}

#[test]
fn the_end_of_candidates_goes_out() {
    assert_eq!(filter_candidate(&ice("")), Some(ice("")));
}

#[test]
fn nothing_but_udp_relay_candidates_with_an_address_goes_out() {
    for text in [
        "1 1 udp 1 192.168.1.5 5 typ host",
        "1 1 udp 1 203.0.113.7 5 typ srflx raddr 192.168.1.5 rport 5",
        "1 1 udp 1 203.0.113.7 5 typ prflx raddr 192.168.1.5 rport 5",
        "1 1 udp 1 203.0.113.7 5 typ relay2",
        "1 1 tcp 1 198.51.100.3 5 typ relay tcptype passive",
        "1 1 udp 1 abc.local 5 typ relay",
        "1 1 udp 1 192.168.1.5 5 typ host typ relay",
        "typ relay",
        " ",
        "garbage",
    ] {
        assert_eq!(filter_candidate(&ice(text)), None, "{text}");
    }
}

#[test]
fn an_extension_with_an_address_in_it_does_not_go_out() {
    let text = "1 1 udp 1 198.51.100.3 5 typ relay ufrag 10.0.0.1 generation fe80::1 x 10.0.0.1";
    let filtered = filter_candidate(&ice(text)).unwrap();
    assert!(filtered.candidate.ends_with("raddr 0.0.0.0 rport 9"));
}

#[test]
fn every_line_of_an_sdp_that_holds_an_address_is_changed_and_no_other() {
    for (line, filtered) in [
        (
            "o=- 4611 2 IN IP4 192.168.1.5",
            "o=- 4611 2 IN IP4 127.0.0.1",
        ),
        ("o=- 4611 2 IN IP6 fe80::5", "o=- 4611 2 IN IP6 ::1"),
        (
            "o=- 4611 2 IN IP4 laptop.example",
            "o=- 4611 2 IN IP4 127.0.0.1",
        ),
        ("o=- 4611 2 IN IP4 0.0.0.0", "o=- 4611 2 IN IP4 0.0.0.0"),
        ("o=laptop", "o=- 0 0 IN IP4 127.0.0.1"),
        ("c=IN IP4 192.168.1.5", "c=IN IP4 0.0.0.0"),
        ("c=IN IP4 224.2.1.1/127/3", "c=IN IP4 0.0.0.0"),
        ("c=IN IP6 2001:db8::5", "c=IN IP6 ::"),
        ("c=IN IP4 laptop.example", "c=IN IP4 0.0.0.0"),
        ("c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.1"),
        ("c=laptop.example", "c=IN IP4 0.0.0.0"),
        ("a=rtcp:5001 IN IP4 192.168.1.5", "a=rtcp:9 IN IP4 0.0.0.0"),
        ("a=rtcp:5001 IN IP6 fe80::5", "a=rtcp:9 IN IP6 ::"),
        ("a=rtcp:5001", "a=rtcp:9"),
        ("a=rtcp:9 IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0"),
        ("a=rtcp:a b c d e", "a=rtcp:9 IN IP4 0.0.0.0"),
        (
            "m=audio 5000 UDP/TLS/RTP/SAVPF 111",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        ),
        (
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        ),
        (
            "m=video 0 UDP/TLS/RTP/SAVPF 96",
            "m=video 0 UDP/TLS/RTP/SAVPF 96",
        ),
        ("a=ssrc:1 cname:me@192.168.1.5", "a=ssrc:1 cname:me@0.0.0.0"),
        ("a=x:fe80::5", "a=x:::"),
        ("a=rtcp-mux", "a=rtcp-mux"),
        ("a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 nack pli"),
        ("a=end-of-candidates", "a=end-of-candidates"),
        ("b=AS:30", "b=AS:30"),
        ("", ""),
    ] {
        assert_eq!(filter_sdp(line), filtered);
    }
    let fingerprint = format!("a=fingerprint:sha-256 AA{}", ":BB".repeat(31));
    assert_eq!(filter_sdp(&fingerprint), fingerprint);
}

#[test]
fn candidate_lines_are_filtered_and_line_ends_kept() {
    let sdp = "v=0\r\na=candidate:1 1 udp 1 192.168.1.5 5 typ host\r\n\
               a=candidate:2 1 udp 1 198.51.100.3 6 typ relay raddr 192.168.1.5 rport 5\n\
               a=remote-candidates:1 192.168.1.9 5\r\na=candidate:broken\ra=mid:0";
    let expected = "v=0\r\n\
                    a=candidate:2 1 udp 1 198.51.100.3 6 typ relay raddr 0.0.0.0 rport 9\na=mid:0";
    assert_eq!(filter_sdp(sdp), expected);
}

#[test]
fn a_candidate_hidden_behind_a_lone_carriage_return_is_found() {
    let sdp = "a=mid:0\ra=candidate:1 1 udp 1 abcdef.local 5 typ host\r\n";
    assert_eq!(filter_sdp(sdp), "a=mid:0\r");
}

#[test]
fn a_filtered_sdp_does_not_change_when_filtered_again() {
    let sdp = "v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\nm=audio 5000 UDP/TLS/RTP/SAVPF 111\r\n\
               c=IN IP4 10.0.0.1\r\na=rtcp:5001 IN IP4 10.0.0.1\r\n\
               a=candidate:2 1 udp 1 198.51.100.3 6 typ relay raddr 10.0.0.1 rport 5\r\n";
    let once = filter_sdp(sdp);
    assert_eq!(filter_sdp(&once), once);
}

const RELAY_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
const RELAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 3);

proptest! {
    #[test]
    fn no_address_is_left_in_an_sdp_but_those_of_relays_and_placeholders(
        sdp in prop::collection::vec(line(), 0..30).prop_map(|lines| lines.concat()),
    ) {
        let filtered = filter_sdp(&sdp);
        for address in addresses(&filtered) {
            let allowed = address.is_unspecified()
                || address.is_loopback()
                || address == IpAddr::V4(RELAY_V4)
                || address == IpAddr::V6(RELAY_V6);
            prop_assert!(allowed, "{address} in {filtered}");
        }
        prop_assert_eq!(sdp.matches("typ relay").count(), filtered.matches("typ relay").count());
        prop_assert!(!filtered.contains("raddr") || !filtered.contains("typ host"));
    }

    #[test]
    fn text_without_addresses_is_left_byte_for_byte(sdp in "([a-z]=[a-z -]{0,9}(\r\n|\n|\r)?){0,9}") {
        prop_assume!(!sdp.contains("c=") && !sdp.contains("o=") && !sdp.contains("m="));
        prop_assert_eq!(filter_sdp(&sdp), sdp);
    }

    #[test]
    fn no_text_makes_the_filters_panic(text in "([acmo]=)?[a-f0-9:. \r\n\\PC]{0,60}|.*") {
        let _ = filter_sdp(&text);
        let _ = filter_candidate(&ice(&text));
    }
}

/// One line that holds an address of the device, or of a relay where it may.
fn line() -> impl Strategy<Value = String> {
    let address = prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv6Addr>().prop_map(IpAddr::V6),
        any::<[u8; 4]>().prop_map(|v4| IpAddr::V6(Ipv4Addr::from(v4).to_ipv6_mapped())),
        (0u16..2).prop_map(|n| IpAddr::V6(Ipv6Addr::new(0xfe80 * n, 0, 0, 0, 0, 0, 0, 1 + n))),
        (1u16..).prop_map(|n| IpAddr::V6(Ipv6Addr::new(n, 0, 0, 0, 0, 0, 0, 0))),
    ];
    let relay = prop::sample::select(vec![RELAY_V4.to_string(), RELAY_V6.to_string()]);
    let end = prop::sample::select(vec!["\r\n", "\n", "\r"]);
    (0..13usize, address, relay, any::<u16>(), end).prop_map(|(kind, address, relay, port, end)| {
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let line = match kind {
            0 => format!("o=- 1 2 IN {family} {address}"),
            1 => format!("o={address} 1 2 IN {family} {address}"),
            2 => format!("c=IN {family} {address}"),
            3 => format!("c=IN {family} {address}/127"),
            4 => format!("a=rtcp:{port} IN {family} {address}"),
            5 => format!("a=candidate:1 1 udp 1 {address} {port} typ host"),
            6 => {
                format!("a=candidate:1 1 udp 1 {address} {port} typ srflx raddr {address} rport 1")
            }
            7 => format!(
                "a=candidate:1 1 udp 1 {relay} {port} typ relay raddr {address} rport {port}"
            ),
            8 => format!("a=candidate:1 1 udp 1 {relay} {port} typ relay x {address}"),
            9 => format!("a=remote-candidates:1 {address} {port}"),
            10 => format!("a=ssrc:1 cname:me@{address}"),
            11 => format!("s={address}:{port}"),
            _ => format!("a=x:[{address}]:{port} ({address})"),
        };
        line + end
    })
}

/// All addresses in a text, read in another way than the filter does.
fn addresses(text: &str) -> Vec<IpAddr> {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':')
        .flat_map(|token| {
            let inner = token.trim_matches(['.', ':']);
            [token, token.trim_end_matches(':'), inner]
                .into_iter()
                .filter_map(|t| t.parse().ok())
        })
        .collect()
}

fn ice(candidate: &str) -> IceCandidate {
    IceCandidate {
        candidate: candidate.into(),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
        username_fragment: Some("sXP5".into()),
    }
}
