//! Session descriptions and candidates, and their limits.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use call_signal::{
    CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersion, EncodeError, Envelope,
    ExtraCandidates, FieldError, FieldFault, IceCandidate, MAX_CANDIDATES, MAX_CANDIDATES_TEXT,
    MAX_SDP, Offer, RawJson, RtcSession, SdpKind, SessionDescription, lz_string, write_candidates,
};

const SESSION: &str = r#"{"type":"offer","sdp":"v=0\r\n"}"#;

/// `description` and `candidates` are the texts to compress.
fn decode_session(description: &str, candidates: &str) -> Result<RtcSession, FieldError> {
    let description = lz_string::compress_to_base64(description);
    let candidates = lz_string::compress_to_base64(candidates);
    let json = format!(r#"{{"rtcSession":"{description}","rtcIceCandidates":"{candidates}"}}"#);
    RtcSession::from_json(&RawJson::parse(&json).unwrap(), SdpKind::Offer)
}

#[test]
fn candidates_leave_absent_keys_out_and_take_null_for_absent() {
    let json = r#"[{"candidate":"","sdpMid":null,"sdpMLineIndex":null,"usernameFragment":null,"foundation":"1"},{}]"#;
    let session = decode_session(SESSION, json).unwrap();
    assert_eq!(session.candidates, vec![IceCandidate::default(); 2]);
    let written = write_candidates(&session.candidates);
    assert_eq!(written, r#"[{"candidate":""},{"candidate":""}]"#);
}

#[test]
fn too_many_candidates_are_cut_off_and_the_call_goes_on() {
    let flood = format!("[{}]", vec![r#"{"sdpMid":"0"}"#; 100_000].join(","));
    let session = decode_session(SESSION, &flood).unwrap();
    assert_eq!(session.candidates.len(), MAX_CANDIDATES);
    assert_eq!(session.candidates[0].sdp_mid.as_deref(), Some("0"));
}

#[test]
fn the_most_candidates_that_are_taken_are_taken_whole() {
    let line = "candidate:4294967295 1 tcp 4294967295 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 65535 typ relay raddr 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff rport 65535 tcptype passive";
    let candidate = IceCandidate {
        candidate: line.to_owned(),
        sdp_mid: Some("3".to_owned()),
        sdp_mline_index: Some(3),
        username_fragment: Some("u".repeat(256)),
    };
    let candidates = vec![candidate; MAX_CANDIDATES];
    let session = decode_session(SESSION, &write_candidates(&candidates)).unwrap();
    assert_eq!(session.candidates, candidates);
}

#[test]
fn candidates_beyond_the_limit_of_text_are_cut_off_as_whole_candidates() {
    let text = "😀".repeat(MAX_CANDIDATES_TEXT / 7);
    let long = format!(r#"{{"candidate":"{text}"}}"#);
    let flood = format!("[{}]", vec![long; 9].join(","));
    let session = decode_session(SESSION, &flood).unwrap();
    assert_eq!(session.candidates.len(), 3);
    let endless = format!(r#"[{{"candidate":"{}"#, "😀".repeat(MAX_CANDIDATES_TEXT));
    let session = decode_session(SESSION, &endless).unwrap();
    assert_eq!(session.candidates, []);
}

#[test]
fn an_sdp_of_the_longest_kind_passes_and_a_longer_one_does_not() {
    // Six characters an escape: the longest way to write it.
    let sdp = |length: usize| format!(r#"{{"type":"offer","sdp":"{}"}}"#, "\\u0001".repeat(length));
    let session = decode_session(&sdp(MAX_SDP), "[]").unwrap();
    assert_eq!(session.description.sdp.len(), MAX_SDP);
    for (length, field) in [(MAX_SDP + 1, "rtcSession.sdp"), (2 * MAX_SDP, "rtcSession")] {
        let error = decode_session(&sdp(length), "[]").unwrap_err();
        assert_eq!(error.fault(), FieldFault::TooLong { limit: MAX_SDP });
        assert_eq!(error.field(), field);
    }
}

#[test]
fn our_own_messages_keep_the_limits_too() {
    let call = |event| CallMessage {
        call_id: CallId([0; 16]),
        event,
    };
    let offer = |session| {
        call(CallEvent::Offer(Offer {
            call_type: CallType {
                media: CallMedia::Audio,
                encryption: false,
            },
            session,
            dh_public_key: None,
            version: CallVersion::V1,
        }))
    };
    let encode = |call: &CallMessage| Envelope::default().call(call).unwrap_err();
    assert_eq!(
        encode(&offer(session(&"a".repeat(MAX_SDP + 1), SdpKind::Offer))),
        EncodeError::SdpTooLong {
            limit: MAX_SDP,
            actual: MAX_SDP + 1
        },
    );
    assert_eq!(
        encode(&offer(session("", SdpKind::Answer))),
        EncodeError::WrongSdpType
    );
    let candidates = vec![IceCandidate::default(); MAX_CANDIDATES + 1];
    assert_eq!(
        encode(&call(CallEvent::Extra(ExtraCandidates { candidates }))),
        EncodeError::TooManyCandidates {
            limit: MAX_CANDIDATES,
            actual: MAX_CANDIDATES + 1
        },
    );
}

#[test]
fn a_session_outside_the_five_events_is_read_and_written_alike() {
    let session = session("v=0\r\n", SdpKind::Answer);
    let json = session.to_json().unwrap();
    assert!(json.as_str().starts_with(r#"{"rtcIceCandidates":""#));
    assert_eq!(
        RtcSession::from_json(&json, SdpKind::Answer).unwrap(),
        session
    );
    let error = RtcSession::from_json(&json, SdpKind::Offer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rtcSession.type is of the wrong SDP type"
    );
}

fn session(sdp: &str, kind: SdpKind) -> RtcSession {
    RtcSession {
        description: SessionDescription {
            kind,
            sdp: sdp.to_owned(),
        },
        candidates: Vec::new(),
    }
}
