//! Call events of both generations of peers, and malformed ones.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use call_signal::{
    CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersion,
    CallVersionRange, ChatEvent, ChatMessage, ChatVersionRange, EncodeError, Envelope,
    ExtraCandidates, FieldFault, IceCandidate, Invitation, MAX_CANDIDATES, MAX_CANDIDATES_TEXT,
    MAX_SDP, MessageError, Offer, RawJson, RtcSession, SdpKind, SessionDescription, lz_string,
    write_candidates,
};

const ID: &str = "luuFPHrkierdJ2FPLb8Nyw==";
const CALL_TYPE: &str = r#"{"capabilities":{"encryption":false},"media":"audio"}"#;

fn decode(event: &str, params: &str) -> Result<CallMessage, MessageError> {
    let message = ChatMessage::decode(&format!(r#"{{"event":"{event}","params":{params}}}"#))?;
    match message.into_event() {
        ChatEvent::Call(call) => Ok(call),
        ChatEvent::Other { event, .. } => panic!("{event} is no call event"),
    }
}

fn decode_invitation(members: &str) -> Result<Invitation, MessageError> {
    let params = format!(r#"{{"callId":"{ID}","invitation":{{"callType":{CALL_TYPE}{members}}}}}"#);
    match decode("x.call.inv", &params)?.event {
        CallEvent::Invitation(invitation) => Ok(invitation),
        other => panic!("{other:?}"),
    }
}

/// `session` and `candidates` are the texts to compress.
fn offer_params(session: &str, candidates: &str, members: &str) -> String {
    let session = lz_string::compress_to_base64(session);
    let candidates = lz_string::compress_to_base64(candidates);
    format!(
        r#"{{"callId":"{ID}","offer":{{"callType":{CALL_TYPE},"rtcSession":{{"rtcSession":"{session}","rtcIceCandidates":"{candidates}"}}{members}}}}}"#
    )
}

fn decode_offer(session: &str, candidates: &str, members: &str) -> Result<Offer, MessageError> {
    match decode("x.call.offer", &offer_params(session, candidates, members))?.event {
        CallEvent::Offer(offer) => Ok(offer),
        other => panic!("{other:?}"),
    }
}

const SESSION: &str = r#"{"type":"offer","sdp":"v=0\r\n"}"#;

fn range(min: u16, max: u16) -> CallVersionRange {
    CallVersionRange::new(CallVersion(min), CallVersion(max)).unwrap()
}

fn assert_malformed<T: std::fmt::Debug>(
    result: Result<T, MessageError>,
    event: &str,
    field: &str,
    fault: FieldFault,
) {
    let Err(MessageError::Call {
        event: actual,
        error,
    }) = result
    else {
        panic!("{result:?}")
    };
    assert_eq!(
        (actual, error.field(), error.fault()),
        (event, field, fault)
    );
}

#[test]
fn an_invitation_of_the_older_generation_means_version_1() {
    assert_eq!(
        decode_invitation("").unwrap().versions,
        CallVersionRange::V1
    );
    assert_eq!(
        decode_invitation(r#","callVRange":null"#).unwrap().versions,
        CallVersionRange::V1
    );
}

#[test]
fn an_invitation_of_the_newer_generation_says_its_versions() {
    let versions = |text| {
        decode_invitation(&format!(r#","callVRange":"{text}""#))
            .unwrap()
            .versions
    };
    assert_eq!(versions("1-2"), range(1, 2));
    assert_eq!(versions("2"), range(2, 2));
    assert_eq!(versions("1"), CallVersionRange::V1);
}

#[test]
fn an_offer_says_the_chosen_version_or_means_1() {
    let version = |members| decode_offer(SESSION, "[]", members).unwrap().version;
    assert_eq!(version(""), CallVersion::V1);
    assert_eq!(version(r#","callVersion":null"#), CallVersion::V1);
    assert_eq!(version(r#","callVersion":2"#), CallVersion::V2);
}

#[test]
fn newer_fields_are_written_in_alphabetical_order() {
    let key = CallDhPublicKey([0; 32]);
    let call_type = CallType {
        media: CallMedia::Video,
        encryption: true,
    };
    let invitation = CallMessage {
        call_id: CallId([0; 16]),
        event: CallEvent::Invitation(Invitation {
            call_type,
            dh_public_key: Some(key),
            versions: range(1, 2),
        }),
    };
    assert_eq!(
        Envelope::default().call(&invitation).unwrap().raw_params(),
        concat!(
            r#"{"callId":"AAAAAAAAAAAAAAAAAAAAAA==","invitation":{"callDhPubKey":"#,
            r#""MCowBQYDK2VuAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","#,
            r#""callType":{"capabilities":{"encryption":true},"media":"video"},"#,
            r#""callVRange":"1-2"}}"#,
        )
    );
    let offer = CallMessage {
        call_id: CallId([0; 16]),
        event: CallEvent::Offer(Offer {
            call_type,
            session: session("v=0\r\n", SdpKind::Offer),
            dh_public_key: None,
            version: CallVersion::V2,
        }),
    };
    let written = Envelope::default().call(&offer).unwrap();
    let expected = r#""offer":{"callType":{"capabilities":{"encryption":true},"media":"video"},"callVersion":2,"rtcSession":{"rtcIceCandidates":""#;
    assert!(
        written.raw_params().contains(expected),
        "{}",
        written.raw_params()
    );
}

#[test]
fn keys_of_our_own_stand_in_order_among_simplexs_and_are_ignored_on_reading() {
    let end = CallMessage {
        call_id: CallId([0; 16]),
        event: CallEvent::End,
    };
    let extra = RawJson::parse(r#"{"r" : 1}"#).unwrap();
    let message = Envelope::default()
        .call_with(&end, &[("sotto", &extra), ("a", &extra)])
        .unwrap();
    assert_eq!(
        message.raw_params(),
        r#"{"a":{"r" : 1},"callId":"AAAAAAAAAAAAAAAAAAAAAA==","sotto":{"r" : 1}}"#,
    );
    assert_eq!(ChatMessage::decode(message.raw()).unwrap(), message);
    let taken = Envelope::default().call_with(&end, &[("callId", &extra)]);
    assert_eq!(taken, Err(EncodeError::DuplicateKey));
}

#[test]
fn white_space_and_unknown_keys_stay_in_the_raw_text() {
    let params = format!("{{ \"x\" : [ 1 ,2],\n \"callId\" : \"{ID}\" }}");
    let text = format!(" {{\"params\" :  {params} , \"event\":\"x.call.end\",\"z\":0}}\r\n");
    let message = ChatMessage::decode(&text).unwrap();
    assert_eq!(message.raw_params(), params);
    assert_eq!(message.raw(), text.trim());
    assert_eq!(message.versions(), ChatVersionRange::V1);
    assert_eq!(message.id(), None);
}

#[test]
fn an_unknown_event_is_never_an_error() {
    for params in ["{}", "[]", "0", r#"{"callId":5}"#] {
        let text = format!(r#"{{"v":"9-99","event":"x.call.new-fangled","params":{params}}}"#);
        let message = ChatMessage::decode(&text).unwrap();
        assert_eq!(
            (message.name(), message.raw_params()),
            ("x.call.new-fangled", params)
        );
        assert_eq!(message.call(), None);
    }
}

#[test]
fn a_malformed_envelope_names_its_field() {
    for (json, field, fault) in [
        (r#"{"params":{}}"#, "event", FieldFault::Missing),
        (
            r#"{"event":null,"params":{}}"#,
            "event",
            FieldFault::Missing,
        ),
        (
            r#"{"event":1,"params":{}}"#,
            "event",
            FieldFault::NotAString,
        ),
        (r#"{"event":"x.ok"}"#, "params", FieldFault::Missing),
        (
            r#"{"v":"2-1","event":"x.ok","params":{}}"#,
            "v",
            FieldFault::NotAVersionRange,
        ),
        (
            r#"{"v":1,"event":"x.ok","params":{}}"#,
            "v",
            FieldFault::NotAString,
        ),
        (
            r#"{"msgId":[],"event":"x.ok","params":{}}"#,
            "msgId",
            FieldFault::NotAString,
        ),
        (
            r#"{"event":"x.ok","event":"x.ok","params":{}}"#,
            "",
            FieldFault::DuplicateKey,
        ),
    ] {
        let Err(MessageError::Envelope(error)) = ChatMessage::decode(json) else {
            panic!("{json}")
        };
        assert_eq!((error.field(), error.fault()), (field, fault), "{json}");
    }
}

#[test]
fn what_is_no_object_is_no_message() {
    for json in ["[]", "1", "null", "\"{}\""] {
        assert_eq!(ChatMessage::decode(json), Err(MessageError::NotAnObject));
    }
    for text in ["", "{", "{}{}", "{'event':1}"] {
        assert!(
            matches!(ChatMessage::decode(text), Err(MessageError::NotJson(_))),
            "{text}"
        );
    }
}

#[test]
fn a_malformed_call_event_names_event_and_field() {
    let with_id = |members: &str| format!(r#"{{"callId":"{ID}"{members}}}"#);
    let extra = |text: &str| with_id(&format!(r#","extra":{{"rtcExtraInfo":{text}}}"#));
    for (event, params, field, fault) in [
        ("x.call.end", "[]".into(), "params", FieldFault::NotAnObject),
        ("x.call.end", "{}".into(), "callId", FieldFault::Missing),
        (
            "x.call.end",
            r#"{"callId":7}"#.into(),
            "callId",
            FieldFault::NotAString,
        ),
        (
            "x.call.end",
            r#"{"callId":"+/+/"}"#.into(),
            "callId",
            FieldFault::NotBase64,
        ),
        (
            "x.call.end",
            r#"{"callId":"AAAA"}"#.into(),
            "callId",
            FieldFault::WrongLength {
                expected: 16,
                actual: 3,
            },
        ),
        ("x.call.inv", with_id(""), "invitation", FieldFault::Missing),
        (
            "x.call.inv",
            with_id(r#","invitation":7"#),
            "invitation",
            FieldFault::NotAnObject,
        ),
        (
            "x.call.inv",
            with_id(r#","invitation":{}"#),
            "invitation.callType",
            FieldFault::Missing,
        ),
        (
            "x.call.inv",
            with_id(r#","invitation":{"callType":{"media":"smell"}}"#),
            "invitation.callType.media",
            FieldFault::UnknownMedia,
        ),
        (
            "x.call.inv",
            with_id(r#","invitation":{"callType":{"media":"audio","capabilities":{}}}"#),
            "invitation.callType.capabilities.encryption",
            FieldFault::Missing,
        ),
        (
            "x.call.inv",
            with_id(
                r#","invitation":{"callType":{"media":"audio","capabilities":{"encryption":1}}}"#,
            ),
            "invitation.callType.capabilities.encryption",
            FieldFault::NotABoolean,
        ),
        (
            "x.call.answer",
            with_id(r#","answer":{}"#),
            "answer.rtcSession",
            FieldFault::Missing,
        ),
        (
            "x.call.extra",
            extra("{}"),
            "extra.rtcExtraInfo.rtcIceCandidates",
            FieldFault::Missing,
        ),
        (
            "x.call.extra",
            extra(r#"{"rtcIceCandidates":"?"}"#),
            "extra.rtcExtraInfo.rtcIceCandidates",
            FieldFault::Lz(lz_string::LzError::NotBase64 { position: 0 }),
        ),
    ] {
        assert_malformed(decode(event, &params), event, field, fault);
    }
}

#[test]
fn a_malformed_invitation_names_its_field() {
    for (members, field, fault) in [
        (
            r#","callVRange":"2-1""#,
            "callVRange",
            FieldFault::NotAVersionRange,
        ),
        (r#","callVRange":2"#, "callVRange", FieldFault::NotAString),
        (r#","callDhPubKey":"AAAA""#, "callDhPubKey", {
            FieldFault::WrongLength {
                expected: 44,
                actual: 3,
            }
        }),
    ] {
        let field = format!("invitation.{field}");
        assert_malformed(decode_invitation(members), "x.call.inv", &field, fault);
    }
}

#[test]
fn a_malformed_offer_names_its_field() {
    let session = "offer.rtcSession.rtcSession";
    let candidates = "offer.rtcSession.rtcIceCandidates";
    let field = |parent: &str, rest: &str| format!("{parent}{rest}");
    for (json, ice, field, fault) in [
        ("nonsense", "[]", field(session, ""), FieldFault::NotJson),
        ("[]", "[]", field(session, ""), FieldFault::NotAnObject),
        ("{}", "[]", field(session, ".type"), FieldFault::Missing),
        (
            r#"{"type":"rollback"}"#,
            "[]",
            field(session, ".type"),
            FieldFault::UnknownSdpType,
        ),
        (
            r#"{"type":"answer","sdp":""}"#,
            "[]",
            field(session, ".type"),
            FieldFault::WrongSdpType,
        ),
        (
            r#"{"type":"offer","sdp":null}"#,
            "[]",
            field(session, ".sdp"),
            FieldFault::Missing,
        ),
        (
            r#"{"type":"offer","sdp":"\udc00"}"#,
            "[]",
            field(session, ".sdp"),
            FieldFault::NotUnicode,
        ),
        (SESSION, "{}", field(candidates, ""), FieldFault::NotAnArray),
        (SESSION, "[{}", field(candidates, ""), FieldFault::NotJson),
        (
            SESSION,
            "[{},7]",
            field(candidates, "[1]"),
            FieldFault::NotAnObject,
        ),
        (
            SESSION,
            r#"[{"sdpMid":0}]"#,
            field(candidates, "[0].sdpMid"),
            FieldFault::NotAString,
        ),
        (
            SESSION,
            r#"[{"sdpMLineIndex":-1}]"#,
            field(candidates, "[0].sdpMLineIndex"),
            FieldFault::NotANumber,
        ),
    ] {
        assert_malformed(decode_offer(json, ice, ""), "x.call.offer", &field, fault);
    }
    let versions = decode_offer(SESSION, "[]", r#","callVersion":"2""#);
    assert_malformed(
        versions,
        "x.call.offer",
        "offer.callVersion",
        FieldFault::NotANumber,
    );
}

#[test]
fn errors_never_repeat_what_the_message_said() {
    let secret = "198.51.100.7";
    let results = [
        ChatMessage::decode(&format!(r#"{{"event":{secret}"#)).unwrap_err(),
        ChatMessage::decode(&format!(r#"{{"v":"{secret}","event":"x","params":0}}"#)).unwrap_err(),
        decode("x.call.end", &format!(r#"{{"callId":"{secret}"}}"#)).unwrap_err(),
        decode_invitation(&format!(r#","callVRange":"{secret}""#)).unwrap_err(),
        decode_offer(&format!(r#"{{"type":"{secret}"}}"#), "[]", "").unwrap_err(),
        decode_offer(SESSION, &format!(r#"[{{"candidate":["{secret}"]}}]"#), "").unwrap_err(),
    ];
    for error in results {
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("198") && !shown.contains("51.100"),
            "{shown}"
        );
    }
}

#[test]
fn debug_output_of_a_message_shows_neither_ids_nor_content() {
    let text = offer_params(SESSION, r#"[{"candidate":"198.51.100.7"}]"#, "");
    let json = format!(r#"{{"msgId":"c2VjcmV0","event":"x.call.offer","params":{text}}}"#);
    let message = ChatMessage::decode(&json).unwrap();
    let shown = format!("{message:?} {:?}", message.clone().into_event());
    for hidden in ["luuF", "c2Vj", "198", "v=0"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    let other = ChatMessage::decode(r#"{"event":"x.msg.new","params":{"text":"secret"}}"#).unwrap();
    assert!(!format!("{:?}", other.event()).contains("secret"));
}

#[test]
fn candidates_leave_absent_keys_out_and_take_null_for_absent() {
    let json = r#"[{"candidate":"","sdpMid":null,"sdpMLineIndex":null,"usernameFragment":null,"foundation":"1"},{}]"#;
    let offer = decode_offer(SESSION, json, "").unwrap();
    assert_eq!(offer.session.candidates, vec![IceCandidate::default(); 2]);
    assert_eq!(
        write_candidates(&offer.session.candidates),
        r#"[{"candidate":""},{"candidate":""}]"#,
    );
}

#[test]
fn too_many_candidates_are_cut_off_and_the_call_goes_on() {
    let one = r#"{"candidate":"candidate:1 1 udp 1 203.0.113.9 9 typ relay","sdpMid":"0"}"#;
    let flood = format!("[{}]", vec![one; 100_000].join(","));
    let offer = decode_offer(SESSION, &flood, "").unwrap();
    assert_eq!(offer.session.candidates.len(), MAX_CANDIDATES);
    assert_eq!(offer.session.candidates[0].sdp_mid.as_deref(), Some("0"));
}

#[test]
fn candidates_beyond_the_limit_of_text_are_cut_off_as_whole_candidates() {
    let long = format!(
        r#"{{"candidate":"{}"}}"#,
        "😀".repeat(MAX_CANDIDATES_TEXT / 7)
    );
    let flood = format!("[{}]", vec![long; 100].join(","));
    assert_eq!(
        decode_offer(SESSION, &flood, "")
            .unwrap()
            .session
            .candidates
            .len(),
        3
    );
    let endless = format!(r#"[{{"candidate":"{}"#, "😀".repeat(MAX_CANDIDATES_TEXT));
    assert_eq!(
        decode_offer(SESSION, &endless, "")
            .unwrap()
            .session
            .candidates,
        []
    );
}

#[test]
fn an_sdp_of_the_longest_kind_passes_and_a_longer_one_does_not() {
    // Six characters an escape: the longest way to write it.
    let sdp = |length: usize| format!(r#"{{"type":"offer","sdp":"{}"}}"#, "\\u0001".repeat(length));
    assert_eq!(
        decode_offer(&sdp(MAX_SDP), "[]", "")
            .unwrap()
            .session
            .description
            .sdp
            .len(),
        MAX_SDP,
    );
    let too_long = FieldFault::TooLong { limit: MAX_SDP };
    let field = "offer.rtcSession.rtcSession.sdp";
    assert_malformed(
        decode_offer(&sdp(MAX_SDP + 1), "[]", ""),
        "x.call.offer",
        field,
        too_long,
    );
    let field = "offer.rtcSession.rtcSession";
    assert_malformed(
        decode_offer(&sdp(2 * MAX_SDP), "[]", ""),
        "x.call.offer",
        field,
        too_long,
    );
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

#[test]
fn a_call_event_made_by_name_is_checked() {
    let params = RawJson::parse(&format!(r#"{{"callId":"{ID}"}}"#)).unwrap();
    let message = Envelope::default().event("x.call.end", &params).unwrap();
    assert_eq!(
        message.call().map(|call| &call.event),
        Some(&CallEvent::End)
    );
    assert!(Envelope::default().event("x.call.inv", &params).is_err());
    assert!(
        Envelope::default()
            .event("x.call.ringing", &params)
            .unwrap()
            .call()
            .is_none()
    );
}
