//! Messages that people write to each other.

use call_signal::{
    ChatEvent, ChatMessage, Container, EncodeError, Envelope, FieldFault, MessageContent,
    MessageDeletion, MessageError, MessageId, MessageRef, MessageUpdate, NewMessage, Quote,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const HI: &str = r#""content":{"text":"hi","type":"text"}"#;
const REFERENCE: &str = r#"{"msgId":"aWQ=","sent":true,"sentAt":"2026-11-23T20:09:26Z"}"#;

fn decode(event: &str, params: &str) -> Result<ChatEvent, MessageError> {
    ChatMessage::decode(&format!(r#"{{"event":"{event}","params":{params}}}"#))
        .map(ChatMessage::into_event)
}

fn decode_new(members: &str) -> Result<NewMessage, MessageError> {
    match decode("x.msg.new", &format!("{{{members}}}"))? {
        ChatEvent::Message(message) => Ok(message),
        other => panic!("{other:?}"),
    }
}

fn reference() -> MessageRef {
    MessageRef {
        id: Some(MessageId::received("aWQ=")),
        sent: true,
        sent_at: "2026-11-23T20:09:26Z".into(),
    }
}

#[test]
fn a_text_is_sent_with_a_new_id() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let message = Envelope::random(&mut rng).text("hello \"bob\"\n").unwrap();
    let id = message.id().unwrap().as_str();
    assert_eq!(
        message.raw(),
        format!(
            r#"{{"v":"1-16","msgId":"{id}","event":"x.msg.new","params":{{"content":{{"text":"hello \"bob\"\n","type":"text"}}}}}}"#
        )
    );
    assert_eq!(ChatMessage::decode(message.raw()).unwrap(), message);
}

#[test]
fn content_of_any_kind_has_a_text() {
    for (content, kind, text) in [
        (
            r#"{"type":"link","text":"see","preview":{}}"#,
            "link",
            "see",
        ),
        (r#"{"type":"image","text":"","image":"data:"}"#, "image", ""),
        (r#"{"type":"voice","duration":3}"#, "voice", ""),
        (
            r#"{"type":"report","reason":"spam","text":null}"#,
            "report",
            "",
        ),
        (
            r#"{"type":"hologram","text":"look","x":[]}"#,
            "hologram",
            "look",
        ),
    ] {
        let message = decode_new(&format!(r#""content":{content}"#)).unwrap();
        assert_eq!(message.content.text(), text);
        let (kind, text) = (kind.into(), text.into());
        assert_eq!(message.content, MessageContent::Other { kind, text });
    }
    let empty = decode_new(r#""content":{"type":"text","text":""}"#);
    assert_eq!(empty, Ok(NewMessage::text("")));
}

#[test]
fn what_a_message_refers_to_is_told() {
    let content = MessageContent::Text("hi".into());
    let quote = Quote {
        content: content.clone(),
        reference: reference(),
    };
    for (members, container) in [
        ("", Container::Simple),
        (r#","forward":false"#, Container::Simple),
        (r#","forward":true"#, Container::Forward),
        (r#","forward":{"from":1}"#, Container::Forward),
        (
            &format!(r#","parent":{REFERENCE}"#),
            Container::Comment(reference()),
        ),
        (
            &format!(r#","quote":{{{HI},"msgRef":{REFERENCE}}},"forward":true"#),
            Container::Quote(quote),
        ),
    ] {
        let message = decode_new(&format!("{HI}{members}")).unwrap();
        assert_eq!(message.container, container);
        assert_eq!(message.content, content);
    }
}

#[test]
fn life_time_and_file_are_told() {
    let message = decode_new(&format!(
        r#"{HI},"live":true,"ttl":86400,"file":{{"fileName":"a"}},"scope":{{}},"mentions":{{}}"#
    ))
    .unwrap();
    let expected = NewMessage {
        live: true,
        ttl: Some(86400),
        has_file: true,
        ..NewMessage::text("hi")
    };
    assert_eq!(message, expected);
    let plain = decode_new(&format!(r#"{HI},"live":false,"ttl":null,"file":null"#));
    assert_eq!(plain, Ok(NewMessage::text("hi")));
}

#[test]
fn every_text_is_written_with_its_keys_in_alphabetical_order() {
    let members = [
        format!(r#"{HI},"forward":true"#),
        format!(r#"{HI},"live":true,"parent":{REFERENCE},"ttl":60"#),
        format!(r#"{HI},"live":true,"quote":{{{HI},"msgRef":{REFERENCE}}},"ttl":-1"#),
        format!(
            r#"{HI},"quote":{{{HI},"msgRef":{{"sent":false,"sentAt":"2026-11-23T20:09:26Z"}}}}"#
        ),
    ];
    for members in members {
        let message = decode_new(&members).unwrap();
        let written = Envelope::default().message(&message).unwrap();
        assert_eq!(written.raw_params(), format!("{{{members}}}"));
    }
}

#[test]
fn an_update_is_read_and_written() {
    let params = format!(r#"{{{HI},"live":true,"msgId":"aWQ=","ttl":60}}"#);
    let update = MessageUpdate {
        id: MessageId::received("aWQ="),
        content: MessageContent::Text("hi".into()),
        live: true,
        ttl: Some(60),
    };
    assert_eq!(
        decode("x.msg.update", &params),
        Ok(ChatEvent::MessageUpdate(update.clone()))
    );
    let written = Envelope::default().update(&update).unwrap();
    assert_eq!(written.raw_params(), params);
}

#[test]
fn a_deletion_is_read_and_written() {
    let deletion = MessageDeletion {
        id: MessageId::received("aWQ="),
    };
    assert_eq!(
        decode("x.msg.del", r#"{"memberId":"x","msgId":"aWQ="}"#),
        Ok(ChatEvent::MessageDeletion(deletion.clone()))
    );
    let written = Envelope::default().deletion(&deletion);
    assert_eq!(written.raw_params(), r#"{"msgId":"aWQ="}"#);
    assert_eq!(ChatMessage::decode(written.raw()).unwrap(), written);
}

#[test]
fn what_is_no_text_cannot_be_written() {
    let link = MessageContent::Other {
        kind: "link".into(),
        text: "see".into(),
    };
    let update = |content| MessageUpdate {
        id: MessageId::received("aWQ="),
        content,
        live: false,
        ttl: None,
    };
    let write = |message| Envelope::default().message(&message);
    let empty = Err(EncodeError::EmptyText);
    let no_text = Err(EncodeError::NotText);
    assert_eq!(Envelope::default().text(""), empty);
    assert_eq!(
        Envelope::default().update(&update(MessageContent::Text(String::new()))),
        empty
    );
    assert_eq!(Envelope::default().update(&update(link.clone())), no_text);
    assert_eq!(
        write(NewMessage {
            content: link.clone(),
            ..NewMessage::text("")
        }),
        no_text
    );
    assert_eq!(
        write(NewMessage {
            has_file: true,
            ..NewMessage::text("hi")
        }),
        no_text
    );
    let quote = Quote {
        content: link,
        reference: reference(),
    };
    assert_eq!(
        write(NewMessage {
            container: Container::Quote(quote),
            ..NewMessage::text("hi")
        }),
        no_text
    );
}

#[test]
fn a_malformed_message_names_its_field() {
    for (members, field, fault) in [
        ("", "content", FieldFault::Missing),
        (r#""content":"hi""#, "content", FieldFault::NotAnObject),
        (
            r#""content":{"text":"hi"}"#,
            "content.type",
            FieldFault::Missing,
        ),
        (
            r#""content":{"type":"text"}"#,
            "content.text",
            FieldFault::Missing,
        ),
        (
            r#""content":{"type":"file","text":1}"#,
            "content.text",
            FieldFault::NotAString,
        ),
        (
            &format!(r#"{HI},"forward":1"#),
            "forward",
            FieldFault::NotABoolean,
        ),
        (
            &format!(r#"{HI},"live":1"#),
            "live",
            FieldFault::NotABoolean,
        ),
        (
            &format!(r#"{HI},"ttl":1.5"#),
            "ttl",
            FieldFault::NotAnInteger,
        ),
        (
            &format!(r#"{HI},"parent":{{"sent":true}}"#),
            "parent.sentAt",
            FieldFault::Missing,
        ),
        (
            &format!(r#"{HI},"quote":{{{HI}}}"#),
            "quote.msgRef",
            FieldFault::Missing,
        ),
        (&format!("{HI},{HI}"), "params", FieldFault::DuplicateKey),
    ] {
        let Err(MessageError::Contact { event, error }) = decode_new(members) else {
            panic!("{members}")
        };
        assert_eq!(
            (event, error.field(), error.fault()),
            ("x.msg.new", field, fault),
            "{members}"
        );
    }
    for event in ["x.msg.update", "x.msg.del"] {
        let Err(MessageError::Contact { event: name, error }) = decode(event, &format!("{{{HI}}}"))
        else {
            panic!("{event}")
        };
        assert_eq!((name, error.field()), (event, "msgId"));
    }
}

#[test]
fn debug_output_shows_nothing_that_was_written() {
    let message = NewMessage {
        container: Container::Quote(Quote {
            content: MessageContent::Other {
                kind: "secret".into(),
                text: "secret".into(),
            },
            reference: MessageRef {
                id: Some(MessageId::received("secret")),
                sent: true,
                sent_at: "secret".into(),
            },
        }),
        ..NewMessage::text("secret")
    };
    let printed = format!("{message:?} {:?}", ChatEvent::Message(message.clone()));
    assert!(!printed.contains("secret"), "{printed}");
}
