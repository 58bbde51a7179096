//! Profiles, contact requests and the end of a contact.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use call_signal::{
    ChatEvent, ChatMessage, ContactRequest, ContactRequestId, DisplayName, EncodeError, Envelope,
    FieldFault, MAX_PROFILE_IMAGE, MAX_PROFILE_TEXT, MessageContent, MessageError, MessageId,
    Profile, ProfileImage, RawJson, RequestMessage,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const IMAGE: &str = "data:image/jpg;base64,/9j/4AAQ";

fn decode(event: &str, params: &str) -> Result<ChatEvent, MessageError> {
    ChatMessage::decode(&format!(r#"{{"event":"{event}","params":{params}}}"#))
        .map(ChatMessage::into_event)
}

fn decode_profile(members: &str) -> Result<Profile, MessageError> {
    match decode("x.info", &format!(r#"{{"profile":{{{members}}}}}"#))? {
        ChatEvent::Profile(profile) => Ok(*profile),
        other => panic!("{other:?}"),
    }
}

fn alice() -> Profile {
    Profile::new(DisplayName::new("alice").unwrap())
}

#[test]
fn a_profile_is_read_with_all_that_it_has() {
    let profile = decode_profile(&format!(
        r#""displayName":"alice","fullName":"Alice B.","shortDescr":"calls","image":"{IMAGE}",
        "contactLink":"simplex:/a#x","peerType":"bot","preferences":{{ "calls" : 1}},"new":[1]"#
    ))
    .unwrap();
    assert_eq!(
        profile,
        Profile {
            full_name: "Alice B.".into(),
            short_descr: Some("calls".into()),
            image: ProfileImage::new(IMAGE),
            contact_link: Some("simplex:/a#x".into()),
            peer_type: Some("bot".into()),
            preferences: Some(RawJson::parse(r#"{ "calls" : 1}"#).unwrap()),
            ..alice()
        }
    );
    assert!(profile.image.is_some());
}

#[test]
fn a_profile_needs_only_a_display_name() {
    assert_eq!(decode_profile(r#""displayName":"alice""#), Ok(alice()));
    let nulls = r#""displayName":"alice","fullName":null,"image":null,"preferences":null"#;
    assert_eq!(decode_profile(nulls), Ok(alice()));
}

#[test]
fn our_own_profile_says_no_more_than_it_has_to() {
    let message = Envelope::default().profile(&alice()).unwrap();
    assert_eq!(
        message.raw(),
        r#"{"v":"1-16","event":"x.info","params":{"profile":{"displayName":"alice","fullName":""}}}"#
    );
    assert_eq!(message.id(), None);
    assert_eq!(ChatMessage::decode(message.raw()).unwrap(), message);
}

#[test]
fn keys_of_a_profile_are_written_in_alphabetical_order() {
    let members = [
        r#""contactLink":"simplex:/a#x","displayName":"alice","fullName":"B","#,
        r#""image":"data:image/png;base64,AA==","peerType":"bot","preferences":{},"#,
        r#""shortDescr":"calls""#,
    ]
    .concat();
    let profile = decode_profile(&members).unwrap();
    let written = Envelope::default().profile(&profile).unwrap();
    assert_eq!(
        written.raw_params(),
        format!(r#"{{"profile":{{{members}}}}}"#)
    );
}

#[test]
fn a_hostile_name_is_kept_as_it_is_and_shown_clean() {
    let profile = decode_profile(r##""displayName":"#\u202ebob\n\u0000 ""##).unwrap();
    assert_eq!(profile.display_name.as_str(), "#\u{202e}bob\n\0 ");
    assert_eq!(profile.display_name.to_string(), "#bob");
    let written = Envelope::default().profile(&profile).unwrap();
    let again = ChatMessage::decode(written.raw()).unwrap();
    assert_eq!(again.event(), &ChatEvent::Profile(profile.into()));
}

#[test]
fn a_picture_that_is_none_or_too_long_is_left_out() {
    let longest = format!("{IMAGE}{}", "A".repeat(MAX_PROFILE_IMAGE - IMAGE.len()));
    for (image, taken) in [
        (longest.clone(), true),
        (longest + "A", false),
        ("https://example.com/a.png".into(), false),
        ("data:text/html,a".into(), false),
        (String::new(), false),
    ] {
        let members = format!(r#""displayName":"alice","image":"{image}""#);
        let profile = decode_profile(&members).unwrap();
        assert_eq!(profile.image.is_some(), taken);
    }
}

#[test]
fn texts_of_a_profile_have_a_limit() {
    let longest = "a".repeat(MAX_PROFILE_TEXT);
    let too_long = longest.clone() + "a";
    for field in ["displayName", "fullName", "shortDescr", "peerType"] {
        let members = |text: &str| match field {
            "displayName" => format!(r#""displayName":"{text}""#),
            _ => format!(r#""displayName":"alice","{field}":"{text}""#),
        };
        assert!(decode_profile(&members(&longest)).is_ok(), "{field}");
        let Err(MessageError::Contact { event, error }) = decode_profile(&members(&too_long))
        else {
            panic!("{field}")
        };
        assert_eq!(event, "x.info");
        assert_eq!(error.field(), format!("profile.{field}"));
        let limit = MAX_PROFILE_TEXT;
        assert_eq!(error.fault(), FieldFault::TooLong { limit });
    }
    let profile = Profile {
        full_name: too_long,
        ..alice()
    };
    let error = EncodeError::ProfileTextTooLong {
        limit: MAX_PROFILE_TEXT,
        actual: MAX_PROFILE_TEXT + 1,
    };
    assert_eq!(Envelope::default().profile(&profile), Err(error));
}

#[test]
fn a_malformed_profile_names_its_field() {
    for (params, field, fault) in [
        ("[]", "params", FieldFault::NotAnObject),
        ("{}", "profile", FieldFault::Missing),
        (r#"{"profile":1}"#, "profile", FieldFault::NotAnObject),
        (
            r#"{"profile":{}}"#,
            "profile.displayName",
            FieldFault::Missing,
        ),
        (
            r#"{"profile":{"displayName":7}}"#,
            "profile.displayName",
            FieldFault::NotAString,
        ),
        (
            r#"{"profile":{"displayName":"a","displayName":"b"}}"#,
            "profile",
            FieldFault::DuplicateKey,
        ),
        (
            r#"{"profile":{"displayName":"a","contactLink":{}}}"#,
            "profile.contactLink",
            FieldFault::NotAString,
        ),
    ] {
        for event in ["x.info", "x.contact"] {
            let Err(MessageError::Contact { event: name, error }) = decode(event, params) else {
                panic!("{params}")
            };
            assert_eq!(
                (name, error.field(), error.fault()),
                (event, field, fault),
                "{params}"
            );
        }
    }
}

#[test]
fn a_contact_request_is_read_with_all_that_it_has() {
    let params = concat!(
        r#"{"contactReqId":"AQIDBA==","content":{"text":"hi","type":"text"},"msgId":"aWQ=","#,
        r#""profile":{"displayName":"alice","fullName":""},"welcomeMsgId":"d2Vs"}"#
    );
    let ChatEvent::ContactRequest(request) = decode("x.contact", params).unwrap() else {
        panic!()
    };
    let expected = ContactRequest {
        profile: alice(),
        request_id: Some(ContactRequestId::received("AQIDBA==")),
        welcome_id: Some(MessageId::received("d2Vs")),
        message: Some(RequestMessage {
            id: MessageId::received("aWQ="),
            content: MessageContent::Text("hi".into()),
        }),
    };
    assert_eq!(*request, expected);
    let written = Envelope::default().contact_request(&expected).unwrap();
    assert_eq!(written.raw_params(), params);
    assert_eq!(written.id(), None);
}

#[test]
fn half_a_message_in_a_contact_request_is_none() {
    for member in [r#""msgId":"aWQ=""#, r#""content":{"type":"x"}"#] {
        let params = format!(r#"{{"profile":{{"displayName":"alice"}},{member}}}"#);
        let request = Box::new(ContactRequest::from(alice()));
        assert_eq!(
            decode("x.contact", &params),
            Ok(ChatEvent::ContactRequest(request))
        );
    }
}

#[test]
fn ids_of_contact_requests_are_16_random_bytes() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let [one, other] = [(); 2].map(|()| ContactRequestId::random(&mut rng));
    assert_ne!(one, other);
    // 16 bytes are 22 characters and two of padding, as in the recorded request.
    assert_eq!(one.as_str().len(), 24);
    assert!(one.as_str().ends_with("=="));
}

#[test]
fn a_deleted_contact_is_told_whatever_else_is_said() {
    for params in ["{}", r#"{"notice":{},"silent":true}"#, "[]"] {
        assert_eq!(
            decode("x.direct.del", params),
            Ok(ChatEvent::ContactDeleted)
        );
    }
    let written = Envelope::default().contact_deleted();
    assert_eq!(
        written.raw(),
        r#"{"v":"1-16","event":"x.direct.del","params":{}}"#
    );
    assert_eq!(ChatMessage::decode(written.raw()).unwrap(), written);
}

#[test]
fn an_event_made_by_name_is_checked() {
    let params = RawJson::parse(r#"{"profile":{"displayName":"alice"},"sotto":1}"#).unwrap();
    let message = Envelope::default().event("x.info", &params).unwrap();
    assert_eq!(message.event(), &ChatEvent::Profile(alice().into()));
    assert_eq!(message.raw_params(), params.as_str());
    assert!(Envelope::default().event("x.msg.new", &params).is_err());
    assert!(Envelope::default().event("x.info.probe", &params).is_ok());
}

#[test]
fn debug_output_shows_nothing_of_a_person() {
    let request = ContactRequest {
        profile: Profile {
            full_name: "secret".into(),
            short_descr: Some("secret".into()),
            image: ProfileImage::new("data:image/secret"),
            contact_link: Some("secret".into()),
            ..Profile::new(DisplayName::new("secret").unwrap())
        },
        request_id: Some(ContactRequestId::received("secret")),
        welcome_id: Some(MessageId::received("secret")),
        message: Some(RequestMessage {
            id: MessageId::received("secret"),
            content: MessageContent::Text("secret".into()),
        }),
    };
    let message = Envelope::default().contact_request(&request).unwrap();
    let printed = format!(
        "{request:?} {message:?} {:?} {:?} {:?}",
        message.event(),
        request.profile.image,
        request.profile.display_name
    );
    assert!(!printed.contains("secret"), "{printed}");
}
