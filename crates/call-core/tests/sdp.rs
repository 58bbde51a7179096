//! What is checked in a peer's SDP.

use call_core::{
    HashAlgorithm, MAX_FINGERPRINTS, MAX_SDP_LEN, MAX_SSRCS, SdpError, SdpSummary, SectionKind,
    SetupRole,
};
use proptest::prelude::*;

#[test]
fn offers_of_one_two_and_four_media_sections_are_taken() {
    for kinds in [
        &["audio"][..],
        &["audio", "video"],
        &["audio", "video", "audio", "video"],
    ] {
        let summary = SdpSummary::parse(&offer(kinds)).unwrap();
        let found: Vec<_> = summary
            .media()
            .iter()
            .map(|m| (m.kind, m.mid.clone().unwrap(), m.rejected))
            .collect();
        let expected = kinds.iter().enumerate().map(|(n, kind)| match *kind {
            "audio" => (SectionKind::Audio, n.to_string(), false),
            _ => (SectionKind::Video, n.to_string(), false),
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert_eq!(summary.setup(), Some(SetupRole::ActPass));
        assert!(summary.has_ice_ufrag());
        assert_eq!(summary.fingerprints().len(), 1);
        assert_eq!(summary.fingerprints()[0].algorithm, HashAlgorithm::Sha256);
        assert_eq!(summary.fingerprints()[0].digest, [0xab; 32]);
    }
}

#[test]
fn an_answer_with_session_level_attributes_is_taken() {
    let sdp = format!(
        "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n{}a=setup:active\nm=audio 9 {PROTOCOL} 111\n",
        fingerprint("SHA-512", 64, "0f")
    );
    let summary = SdpSummary::parse(&sdp).unwrap();
    assert_eq!(summary.setup(), Some(SetupRole::Active));
    assert_eq!(summary.fingerprints()[0].algorithm, HashAlgorithm::Sha512);
    assert_eq!(summary.media()[0].mid, None);
    assert!(!summary.has_ice_ufrag());
}

#[test]
fn a_section_of_port_0_is_rejected_unless_bundled() {
    let sdp = offer(&["audio", "video", "video"]).replace("m=video 9", "m=video 0");
    let sdp = sdp + "a=bundle-only\r\n";
    let rejected = SdpSummary::parse(&sdp)
        .unwrap()
        .media()
        .iter()
        .map(|m| m.rejected)
        .collect::<Vec<_>>();
    assert_eq!(rejected, [false, true, false]);
}

#[test]
fn text_that_is_no_sdp_is_refused() {
    for text in [
        "",
        "hello",
        "v=1\r\n",
        " v=0\r\n",
        "{\"type\":\"offer\"}",
        "\u{feff}v=0\r\n",
    ] {
        assert_eq!(SdpSummary::parse(text), Err(SdpError::NotSdp), "{text}");
    }
    assert_eq!(SdpSummary::parse("v=0\r\ns=-\r\n"), Err(SdpError::NoMedia));
    let long = "v=0\r\n".repeat(MAX_SDP_LEN / 5 + 1);
    assert_eq!(SdpSummary::parse(&long), Err(SdpError::TooLong(long.len())));
}

#[test]
fn an_sdp_without_a_strong_fingerprint_is_refused() {
    let with =
        |lines: &str| SdpSummary::parse(&format!("v=0\r\nm=audio 9 {PROTOCOL} 111\r\n{lines}"));
    let strong = fingerprint("sha-256", 32, "AB");
    assert_eq!(with(""), Err(SdpError::NoFingerprint));
    for (name, len) in [("sha-1", 20), ("md5", 16), ("sha-224", 28), ("sha-999", 32)] {
        let weak = fingerprint(name, len, "AB");
        assert_eq!(with(&weak), Err(SdpError::WeakFingerprint), "{name}");
        assert_eq!(
            with(&format!("{weak}{strong}")),
            Err(SdpError::WeakFingerprint)
        );
        assert_eq!(
            with(&format!("{strong}{weak}")),
            Err(SdpError::WeakFingerprint)
        );
    }
    for line in [
        "a=fingerprint:sha-256\r\n".to_owned(),
        "a=fingerprint:sha-256 \r\n".to_owned(),
        fingerprint("sha-256", 31, "AB"),
        fingerprint("sha-256", 33, "AB"),
        fingerprint("sha-384", 32, "AB"),
        fingerprint("sha-256", 32, "AG"),
        fingerprint("sha-256", 32, "+A"),
        fingerprint("sha-256", 32, "é"),
        strong
            .replace(':', "-")
            .replace("fingerprint-", "fingerprint:"),
    ] {
        assert_eq!(with(&line), Err(SdpError::InvalidFingerprint), "{line}");
    }
}

#[test]
fn different_fingerprints_are_all_reported_up_to_a_limit() {
    let lines = |count: usize| {
        let lines = (0..count).map(|n| fingerprint("sha-384", 48, &format!("{n:02X}")));
        format!(
            "v=0\r\nm=audio 9 {PROTOCOL} 111\r\n{}",
            lines.collect::<String>()
        )
    };
    let summary = SdpSummary::parse(&lines(MAX_FINGERPRINTS)).unwrap();
    assert_eq!(summary.fingerprints().len(), MAX_FINGERPRINTS);
    let refused = SdpSummary::parse(&lines(MAX_FINGERPRINTS + 1));
    assert_eq!(refused, Err(SdpError::TooManyFingerprints));
}

#[test]
fn media_without_dtls_srtp_are_refused() {
    for protocol in [
        "RTP/AVP",
        "RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "UDP/DTLS/SCTP",
        "",
    ] {
        let sdp = offer(&["audio"]).replace(PROTOCOL, protocol);
        assert_eq!(
            SdpSummary::parse(&sdp),
            Err(SdpError::InsecureProtocol),
            "{protocol}"
        );
    }
    let tcp = offer(&["audio"]).replace(PROTOCOL, "TCP/DTLS/RTP/SAVPF");
    assert!(SdpSummary::parse(&tcp).is_ok());
}

#[test]
fn malformed_media_lines_and_too_many_are_refused() {
    for line in [
        "m=audio",
        "m=audio 9 UDP/TLS/RTP/SAVPF",
        "m=audio x UDP/TLS/RTP/SAVPF 1",
    ] {
        assert_eq!(
            SdpSummary::parse(&format!("v=0\r\n{line}\r\n")),
            Err(SdpError::InvalidMediaLine)
        );
    }
    assert!(SdpSummary::parse(&offer(&["audio"; 8])).is_ok());
    assert_eq!(
        SdpSummary::parse(&offer(&["audio"; 9])),
        Err(SdpError::TooManySections)
    );
}

#[test]
fn invalid_mids_and_roles_are_refused() {
    let long = format!("a=mid:{}", "m".repeat(65));
    for (from, to, error) in [
        ("a=mid:1", "a=mid:0", SdpError::InvalidMid),
        ("a=mid:1", "a=mid:", SdpError::InvalidMid),
        ("a=mid:1", "a=mid:a b", SdpError::InvalidMid),
        ("a=mid:1", "a=mid:1\r\na=mid:2", SdpError::InvalidMid),
        ("a=mid:1", &long, SdpError::InvalidMid),
        ("s=-", "a=mid:7", SdpError::InvalidMid),
        ("a=setup:actpass", "a=setup:both", SdpError::InvalidSetup),
    ] {
        let sdp = offer(&["audio", "video"]).replace(from, to);
        assert_eq!(SdpSummary::parse(&sdp), Err(error), "{to}");
    }
}

#[test]
fn lines_that_readers_could_understand_in_two_ways_are_refused() {
    let sdp = offer(&["audio"]);
    for (from, to) in [
        ("a=mid", "a= mid"),
        ("a=mid", "a=\tmid"),
        ("a=mid", "a=\u{a0}mid"),
        ("a=mid:0\r\n", "a=mid:0\r"),
        ("a=mid:0\r\n", "a=mid:0\r\r\n"),
        (
            "a=mid",
            "a=\rcandidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=mid",
        ),
        ("m=audio", "m= audio"),
        ("m=audio 9", "m=audio\t9"),
        ("m=audio 9 ", "m=audio 9\u{b}"),
    ] {
        let changed = sdp.replace(from, to);
        assert_eq!(
            SdpSummary::parse(&changed),
            Err(SdpError::AmbiguousLine),
            "{to:?}"
        );
    }
    let trailing = sdp.replace("a=sendrecv", "a=sendrecv \t");
    assert_eq!(SdpSummary::parse(&trailing), SdpSummary::parse(&sdp));
}

#[test]
fn a_call_has_audio_and_nothing_but_audio_and_video() {
    let parse = |kinds: &[&str]| SdpSummary::parse(&offer(kinds));
    assert_eq!(parse(&["video"]), Err(SdpError::NoAudio));
    assert_eq!(parse(&["application"]), Err(SdpError::UnknownMedia));
    assert_eq!(
        parse(&["audio", "application"]),
        Err(SdpError::UnknownMedia)
    );
    let rejected = offer(&["audio"]).replace("m=audio 9", "m=audio 0");
    assert_eq!(SdpSummary::parse(&rejected), Err(SdpError::NoAudio));
}

#[test]
fn simulcast_is_refused() {
    for line in ["a=rid:h send\r\n", "a=simulcast:send h;l\r\n"] {
        let sdp = offer(&["audio", "video"]) + line;
        assert_eq!(SdpSummary::parse(&sdp), Err(SdpError::Simulcast));
    }
}

#[test]
fn the_streams_of_each_section_are_reported_up_to_a_limit() {
    let with = |lines: &str| SdpSummary::parse(&(offer(&["audio", "video"]) + lines));
    let summary =
        with("a=ssrc-group:FID 4294967295 7\r\na=ssrc:4294967295 cname:x\r\na=ssrc:7 cname:x\r\n")
            .unwrap();
    assert!(summary.media()[0].ssrcs.is_empty());
    assert_eq!(summary.media()[1].ssrcs, [u32::MAX, 7]);
    for line in [
        "a=ssrc:\r\n",
        "a=ssrc:4294967296 cname:x\r\n",
        "a=ssrc:-1 cname:x\r\n",
        "a=ssrc:+1 cname:x\r\n",
        "a=ssrc-group:FID 1 x\r\n",
    ] {
        assert_eq!(with(line), Err(SdpError::InvalidSsrc), "{line}");
    }
    let many = |count: usize| (0..count).map(|n| format!("a=ssrc:{n} cname:x\r\n"));
    assert!(with(&many(MAX_SSRCS).collect::<String>()).is_ok());
    let refused = with(&many(MAX_SSRCS + 1).collect::<String>());
    assert_eq!(refused, Err(SdpError::TooManySsrcs));
}

#[test]
fn no_fingerprint_is_printed() {
    let text = format!("{:?}", SdpSummary::parse(&offer(&["audio"])).unwrap());
    assert!(
        !text.contains("171") && !text.to_lowercase().contains("ab,"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(v=0\r\n)?([amcv]=[a-z]{0,11}:?[ -~é]{0,20}[\r\n]{0,2}){0,12}|.*") {
        let _ = SdpSummary::parse(&text);
    }

    #[test]
    fn no_change_of_an_offer_makes_the_reader_panic(at in 0usize..400, with in "\\PC{0,3}") {
        let mut sdp = offer(&["audio", "video"]);
        let at = at.min(sdp.len() - 1);
        sdp.replace_range(at..=at, &with);
        let _ = SdpSummary::parse(&sdp);
    }
}

const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

fn offer(kinds: &[&str]) -> String {
    let head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n".to_owned();
    kinds.iter().enumerate().fold(head, |sdp, (mid, kind)| {
        sdp + &format!("m={kind} 9 {PROTOCOL} 111 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n")
            + &fingerprint("sha-256", 32, "AB")
            + &format!("a=setup:actpass\r\na=mid:{mid}\r\na=sendrecv\r\na=rtcp-mux\r\n")
    })
}

fn fingerprint(algorithm: &str, len: usize, byte: &str) -> String {
    format!(
        "a=fingerprint:{algorithm} {}\r\n",
        vec![byte; len].join(":")
    )
}
