//! Call events of both generations of peers, and malformed ones.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use call_signal::{
    CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersion,
    CallVersionRange, ChatEvent, ChatMessage, Envelope, FieldFault, Invitation, MessageError,
    Offer, RtcSession, SdpKind, SessionDescription, lz_string,
};

const ID: &str = "luuFPHrkierdJ2FPLb8Nyw==";
const CALL_TYPE: &str = r#"{"capabilities":{"encryption":false},"media":"audio"}"#;

fn decode(event: &str, params: &str) -> Result<CallMessage, MessageError> {
    let message = ChatMessage::decode(&format!(r#"{{"event":"{event}","params":{params}}}"#))?;
    match message.into_event() {
        ChatEvent::Call(call) => Ok(call),
        other => panic!("{} is no call event", other.name()),
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
    let other =
        ChatMessage::decode(r#"{"event":"x.msg.react","params":{"text":"secret"}}"#).unwrap();
    assert!(!format!("{:?}", other.event()).contains("secret"));
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
