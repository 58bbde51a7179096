//! What is read of a peer's SDP is what the WebRTC library reads.

use std::io::Cursor;

use call_core::{Candidate, RemoteCandidates, SdpSummary, SectionKind};
use proptest::prelude::*;
use rtc::sdp::description::session::SessionDescription;

const DIGEST: &str = "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:\
                      AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89";

fn lines() -> impl Strategy<Value = String> {
    let space = "[ \t\r\u{a0}\u{b}\u{85}]{0,2}";
    let candidate = (space, space).prop_map(|(before, after)| {
        format!("a={before}candidate:1 1 udp 1 192.0.2.1 5 typ host{after}")
    });
    let fingerprint = (space, space)
        .prop_map(|(before, after)| format!("a={before}fingerprint:sha-256 {DIGEST}{after}"));
    let media =
        (space, "(audio|video|application|text)", space).prop_map(|(before, kind, after)| {
            format!("m={before}{kind}{after} 9 UDP/TLS/RTP/SAVPF 111")
        });
    let hidden = "(a|m|s|\r|a=\r|a=x\r)[=]?[ \t]?(candidate:1 1 udp 1 192.0.2.9 5 typ host|m=audio 9 UDP/TLS/RTP/SAVPF 1)?";
    prop_oneof![
        candidate,
        fingerprint,
        media,
        hidden,
        Just("a=mid:x".to_owned()),
        Just("a=sendrecv".to_owned()),
    ]
}

fn offer() -> impl Strategy<Value = String> {
    let end = "(\r\n|\n|\r|\r\r\n)";
    prop::collection::vec(
        (lines(), prop_oneof![4 => Just("\r\n".to_owned()), 1 => end]),
        0..8,
    )
    .prop_map(|lines| {
        let tail: String = lines
            .into_iter()
            .flat_map(|(line, end)| [line, end])
            .collect();
        format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 {DIGEST}\r\n\
                 m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{tail}"
        )
    })
}

/// Values of the attributes `key`, of the session and of all sections.
fn values<'a>(parsed: &'a SessionDescription, key: &'a str) -> impl Iterator<Item = &'a str> {
    let of_media = parsed.media_descriptions.iter().flat_map(|m| &m.attributes);
    parsed
        .attributes
        .iter()
        .chain(of_media)
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_reader_and_the_library_see_the_same(sdp in offer()) {
        let mut remote = RemoteCandidates::new();
        let filtered = remote.filter_sdp(&sdp);
        let Ok(summary) = SdpSummary::parse(&filtered) else {
            return Ok(());
        };
        let Ok(parsed) = SessionDescription::unmarshal(&mut Cursor::new(filtered.as_bytes())) else {
            return Ok(());
        };
        let ours: Vec<_> = summary.media().iter().map(|m| (m.kind, m.rejected)).collect();
        let theirs: Vec<_> = parsed
            .media_descriptions
            .iter()
            .map(|media| {
                let kind = match media.media_name.media.as_str() {
                    "audio" => SectionKind::Audio,
                    _ => SectionKind::Video,
                };
                (kind, media.media_name.port.value == 0)
            })
            .collect();
        prop_assert_eq!(ours, theirs);
        for value in values(&parsed, "fingerprint") {
            prop_assert_eq!(value, format!("sha-256 {DIGEST}"));
        }
        // Every candidate that the library finds was taken, none twice.
        let candidates: Vec<_> = values(&parsed, "candidate").collect();
        prop_assert!(candidates.iter().all(|text| text.parse::<Candidate>().is_ok()));
        prop_assert_eq!(candidates.len(), remote.taken());
    }
}
