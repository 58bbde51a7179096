//! The chat envelope around any event.

use call_signal::{
    CallEvent, CallId, CallMessage, ChatMessage, ChatVersionRange, EncodeError, Envelope,
    FieldFault, MessageError, RawJson,
};

const ID: &str = "luuFPHrkierdJ2FPLb8Nyw==";

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
