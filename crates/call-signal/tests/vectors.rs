//! Chat messages, compressed bodies and LZ-string texts that SimpleX's programs made.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use call_signal::{
    BodyLimit, CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallVersion,
    CallVersionRange, ChatEvent, ChatMessage, ChatVersionRange, Container, EncodeError, Envelope,
    MAX_PROFILE_IMAGE, MessageContent, MessageId, NewMessage, Profile, SdpKind, decode_body,
    encode_body, lz_string, parse_candidates, write_candidates,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

const CHAT: &str = include_str!("vectors/chat.json");
const COMPRESSED: &str = include_str!("vectors/chat_compressed.json");
const LZ_STRING: &str = include_str!("vectors/lz_string.json");

fn list(file: &str, key: &str) -> Vec<Value> {
    let Value::Object(mut file) = serde_json::from_str(file).unwrap() else {
        panic!()
    };
    let Some(Value::Array(list)) = file.remove(key) else {
        panic!("{key} is no array")
    };
    list
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_all(body: &[u8]) -> Vec<ChatMessage> {
    decode_body(body)
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// The only message of a body.
fn decode_one(body: &[u8]) -> ChatMessage {
    let [message] = <[ChatMessage; 1]>::try_from(decode_all(body)).unwrap();
    message
}

fn call_texts() -> Vec<String> {
    let messages = list(CHAT, "messages");
    let calls = messages
        .iter()
        .filter(|message| text(message, "event").starts_with("x.call."));
    calls
        .map(|message| text(message, "text").to_owned())
        .collect()
}

fn calls(event: &str) -> Vec<CallMessage> {
    let messages = call_texts()
        .into_iter()
        .map(|text| decode_one(text.as_bytes()));
    let of_event = messages.filter(|message| message.name() == event);
    of_event
        .map(|message| message.call().unwrap().clone())
        .collect()
}

#[test]
fn every_json_body_is_read_and_keeps_its_text() {
    let messages = [list(CHAT, "messages"), list(COMPRESSED, "messages")].concat();
    let plain: Vec<&Value> = messages
        .iter()
        .filter(|message| message["form"] == "json")
        .collect();
    assert_eq!(plain.len(), 44);
    for vector in plain {
        let text = text(vector, "text");
        let decoded = decode_all(text.as_bytes());
        let names: Value = match decoded.as_slice() {
            [message] => message.name().into(),
            messages => messages.iter().map(ChatMessage::name).collect(),
        };
        assert_eq!(names, vector["event"]);
        for message in &decoded {
            assert!(text.contains(message.raw()));
            assert!(
                message
                    .raw()
                    .ends_with(&format!("\"params\":{}}}", message.raw_params()))
            );
            assert_eq!(message.versions(), ChatVersionRange::SPOKEN);
        }
        assert_eq!(
            encode_body(&decoded, BodyLimit::PostQuantum).unwrap(),
            text.as_bytes()
        );
    }
}

#[test]
fn only_messages_in_a_ready_connection_have_an_id() {
    for vector in list(CHAT, "messages") {
        let message = decode_one(text(&vector, "text").as_bytes());
        assert_eq!(
            message.id().is_some(),
            vector["carried_in"] == "A_MSG",
            "{message:?}"
        );
    }
}

/// Every recorded message, also those in batches and in compressed bodies.
fn all_messages() -> Vec<ChatMessage> {
    let vectors = [list(CHAT, "messages"), list(COMPRESSED, "messages")].concat();
    let bodies = vectors.iter().map(|vector| match text(vector, "form") {
        "compressed" => STANDARD.decode(text(vector, "body_b64")).unwrap(),
        _ => text(vector, "text").as_bytes().to_vec(),
    });
    bodies.flat_map(|body| decode_all(&body)).collect()
}

#[test]
fn every_other_event_is_kept_raw() {
    let mut names = Vec::new();
    for message in all_messages() {
        if let ChatEvent::Other { event, params } = message.event() {
            names.push(event.clone());
            assert_eq!(params.as_str(), message.raw_params());
            let envelope = envelope_of(&message);
            assert_eq!(envelope.event(event, params).unwrap(), message);
        }
    }
    names.sort_unstable();
    let expected = [
        "x.grp.acpt",
        "x.grp.inv",
        "x.grp.mem.new",
        "x.info.probe",
        "x.info.probe",
        "x.msg.file.descr",
        "x.msg.react",
        "x.ok",
    ];
    assert_eq!(names, expected);
}

/// Writes the event of `message` anew; `None` if it is of a kind that is kept raw.
fn write_again(message: &ChatMessage) -> Option<Result<ChatMessage, EncodeError>> {
    let envelope = envelope_of(message);
    Some(match message.event() {
        ChatEvent::Call(call) => envelope.call(call),
        ChatEvent::Profile(profile) => envelope.profile(profile),
        ChatEvent::ContactRequest(request) => envelope.contact_request(request),
        ChatEvent::Message(message) => envelope.message(message),
        ChatEvent::MessageUpdate(update) => envelope.update(update),
        ChatEvent::MessageDeletion(deletion) => Ok(envelope.deletion(deletion)),
        ChatEvent::ContactDeleted => Ok(envelope.contact_deleted()),
        ChatEvent::Other { .. } => return None,
    })
}

#[test]
fn every_event_between_contacts_is_written_to_the_same_text() {
    let mut written = Vec::new();
    let mut not_text = 0;
    for message in all_messages() {
        match write_again(&message) {
            Some(Ok(again)) => {
                assert_eq!(again.raw(), message.raw());
                assert_eq!(again, message);
                written.push(message.name().to_owned());
            }
            Some(Err(error)) => {
                assert_eq!(error, EncodeError::NotText);
                not_text += 1;
            }
            None => {}
        }
    }
    // A message with a link preview, and one with a file.
    assert_eq!(not_text, 2);
    let count = |name| written.iter().filter(|written| *written == name).count();
    assert_eq!(count("x.info"), 5);
    assert_eq!(count("x.contact"), 1);
    assert_eq!(count("x.msg.new"), 14);
    assert_eq!(count("x.msg.update"), 1);
    assert_eq!(count("x.msg.del"), 1);
}

#[test]
fn profiles_are_those_of_the_recorded_people() {
    let profiles = |name| -> Vec<Profile> {
        let messages = all_messages().into_iter();
        let of_name = messages.filter(|message| message.name() == name);
        let profiles = of_name.map(|message| match message.into_event() {
            ChatEvent::Profile(profile) => *profile,
            ChatEvent::ContactRequest(request) => {
                let id = request.request_id.unwrap();
                assert_eq!(id.as_str(), "wMyu9ftEbZyXRmWFQCh64w==");
                assert_eq!((request.welcome_id, request.message), (None, None));
                request.profile
            }
            other => panic!("{other:?}"),
        });
        profiles.collect()
    };
    let all = [profiles("x.info"), profiles("x.contact")].concat();
    let names: Vec<&str> = all.iter().map(|it| it.display_name.as_str()).collect();
    assert_eq!(names, ["alice", "alice", "bob", "bob", "alice", "bob"]);
    for profile in &all {
        // The profile with the picture was set later and does not say that it is a bot's.
        let bot = profile.image.is_none().then_some("bot");
        assert_eq!(profile.peer_type.as_deref(), bot);
        let preferences = profile.preferences.as_ref().unwrap().as_str();
        assert!(preferences.contains(r#""calls":{"allow":"yes"}"#));
        assert_eq!(
            (&profile.short_descr, &profile.contact_link),
            (&None, &None)
        );
    }
    let with_image: Vec<&Profile> = all.iter().filter(|it| it.image.is_some()).collect();
    let [profile] = with_image[..] else { panic!() };
    assert_eq!(profile.full_name, "Alice with a large picture");
    let image = profile.image.as_ref().unwrap().as_str();
    assert!((10_000..MAX_PROFILE_IMAGE).contains(&image.len()));
}

#[test]
fn messages_say_what_the_recorded_people_wrote() {
    let messages: Vec<NewMessage> = list(CHAT, "messages")
        .iter()
        .filter_map(
            |vector| match decode_one(text(vector, "text").as_bytes()).into_event() {
                ChatEvent::Message(message) => Some(message),
                _ => None,
            },
        )
        .collect();
    let [hello, reply, long, link, file, after, bobs, fine] = &messages[..] else {
        panic!("{}", messages.len())
    };
    for (message, text) in [
        (hello, "hello from alice"),
        (after, "after resync"),
        (bobs, "hello from bob"),
        (fine, "fine"),
    ] {
        assert_eq!(message, &NewMessage::text(text));
    }
    assert!(
        long.content
            .text()
            .starts_with("a long line that compresses")
    );
    let Container::Quote(quote) = &reply.container else {
        panic!()
    };
    assert_eq!(reply.content.text(), "a reply with a quote");
    assert_eq!(&quote.content, &bobs.content);
    assert!(!quote.reference.sent);
    assert_eq!(quote.reference.sent_at, "2026-11-23T20:09:26Z");
    let other = |kind: &str, text: &str| MessageContent::Other {
        kind: kind.into(),
        text: text.into(),
    };
    assert_eq!(link.content, other("link", "see https://example.com"));
    assert_eq!(file.content, other("file", ""));
    assert!(file.has_file && !link.has_file);
}

#[test]
fn the_edited_and_deleted_message_is_the_reply() {
    let messages = all_messages();
    let reply = messages
        .iter()
        .find(|message| message.raw().contains("a reply with a quote"));
    let id = reply.unwrap().id().unwrap();
    for message in &messages {
        match message.event() {
            ChatEvent::MessageUpdate(update) => {
                assert_eq!(&update.id, id);
                assert_eq!(update.content.text(), "an edited reply");
            }
            ChatEvent::MessageDeletion(deletion) => assert_eq!(&deletion.id, id),
            _ => {}
        }
    }
}

#[test]
fn every_call_event_is_written_to_the_same_text() {
    let texts = call_texts();
    assert_eq!(texts.len(), 18);
    for text in texts {
        let message = decode_one(text.as_bytes());
        let call = message.call().unwrap();
        let written = envelope_of(&message).call(call).unwrap();
        assert_eq!(written.raw(), text);
        assert_eq!(written, message);
    }
}

fn envelope_of(message: &ChatMessage) -> Envelope {
    Envelope {
        versions: message.versions(),
        id: message.id().cloned(),
    }
}

#[test]
fn call_ids_are_those_of_the_recorded_calls() {
    let recorded = list(CHAT, "calls");
    for (invitation, recorded) in calls("x.call.inv").iter().zip(&recorded) {
        assert_eq!(hex(&invitation.call_id.0), text(recorded, "call_id_hex"));
        assert_eq!(invitation.call_id.to_base64(), text(recorded, "call_id"));
    }
    for event in ["x.call.inv", "x.call.offer", "x.call.answer", "x.call.end"] {
        assert_eq!(calls(event).len(), recorded.len());
    }
    assert_eq!(calls("x.call.extra").len(), 2 * recorded.len());
}

#[test]
fn keys_are_those_of_the_recorded_calls() {
    let recorded = list(CHAT, "calls");
    let check = |key: Option<CallDhPublicKey>, call: &Value, side: &str| {
        let raw = call[format!("{side}_dh_public")].as_str();
        assert_eq!(key.map(|key| hex(&key.0)).as_deref(), raw);
        let sent = call[format!("{side}_dh_public_as_sent")].as_str();
        assert_eq!(key.map(|key| key.to_base64()).as_deref(), sent);
    };
    for (message, call) in calls("x.call.inv").iter().zip(&recorded) {
        let CallEvent::Invitation(invitation) = &message.event else {
            panic!()
        };
        check(invitation.dh_public_key, call, "caller");
        assert_eq!(invitation.versions, CallVersionRange::V1);
        assert_eq!(
            invitation.call_type.encryption,
            invitation.dh_public_key.is_some()
        );
    }
    for (message, call) in calls("x.call.offer").iter().zip(&recorded) {
        let CallEvent::Offer(offer) = &message.event else {
            panic!()
        };
        check(offer.dh_public_key, call, "callee");
        assert_eq!(offer.version, CallVersion::V1);
    }
}

#[test]
fn sessions_and_candidates_are_what_was_compressed() {
    let pairs = list(LZ_STRING, "lz_string");
    let original = |name: &str| {
        let pair = pairs.iter().find(|pair| pair["name"] == name).unwrap();
        text(pair, "text").to_owned()
    };
    for message in calls("x.call.offer") {
        let CallEvent::Offer(offer) = message.event else {
            panic!()
        };
        assert_eq!(offer.session.description.kind, SdpKind::Offer);
        assert_eq!(offer.session.description.to_json(), original("offer"));
        assert_eq!(
            write_candidates(&offer.session.candidates),
            original("offerIce")
        );
    }
    for message in calls("x.call.answer") {
        let CallEvent::Answer(answer) = message.event else {
            panic!()
        };
        assert_eq!(answer.session.description.to_json(), original("answer"));
        assert_eq!(
            write_candidates(&answer.session.candidates),
            original("answerIce")
        );
    }
    for message in calls("x.call.extra") {
        let CallEvent::Extra(extra) = message.event else {
            panic!()
        };
        assert_eq!(write_candidates(&extra.candidates), original("extra"));
        assert_eq!(
            parse_candidates(&original("extra")).unwrap(),
            extra.candidates
        );
    }
}

#[test]
fn the_first_call_is_a_video_call() {
    let media: Vec<CallMedia> = calls("x.call.inv")
        .iter()
        .map(|message| match &message.event {
            CallEvent::Invitation(invitation) => invitation.call_type.media,
            _ => panic!(),
        })
        .collect();
    assert_eq!(
        media,
        [CallMedia::Video, CallMedia::Audio, CallMedia::Audio]
    );
}

#[test]
fn compressed_bodies_are_read_and_made_again_byte_for_byte() {
    let messages = list(COMPRESSED, "messages");
    let compressed: Vec<&Value> = messages
        .iter()
        .filter(|message| message["form"] == "compressed")
        .collect();
    assert_eq!(compressed.len(), 2);
    for vector in compressed {
        let body = STANDARD.decode(text(vector, "body_b64")).unwrap();
        let message = decode_one(&body);
        assert_eq!(message.name(), vector["event"]);
        assert_eq!(
            message.raw().len() as u64,
            vector["text_len"].as_u64().unwrap()
        );
        assert!(message.raw().starts_with(text(vector, "text_head")));
        assert!(message.raw().ends_with(text(vector, "text_tail")));
        assert_eq!(
            hex(&Sha256::digest(message.raw())),
            text(vector, "text_sha256")
        );

        let limit = match text(vector, "carried_in") {
            "AgentConnInfo" => BodyLimit::PostQuantumInfo,
            _ => BodyLimit::PostQuantum,
        };
        assert_eq!(encode_body(&[message], limit).unwrap(), body);
    }
}

#[test]
fn lz_string_texts_match_in_both_directions() {
    let pairs = list(LZ_STRING, "lz_string");
    assert_eq!(pairs.len(), 13);
    for pair in pairs {
        let encoded = text(&pair, "lz_base64");
        // Half a surrogate pair is no text, so the file lists its code units instead.
        let units: Vec<u16> = match pair["text"].as_str() {
            Some(text) => text.encode_utf16().collect(),
            None => Vec::deserialize(&pair["units"]).unwrap(),
        };
        assert_eq!(lz_string::compress_utf16_to_base64(&units), encoded);
        assert_eq!(
            lz_string::decompress_utf16_from_base64(encoded, 10_000).unwrap(),
            units
        );
        if let Some(text) = pair["text"].as_str() {
            assert_eq!(lz_string::compress_to_base64(text), encoded);
            assert_eq!(
                lz_string::decompress_from_base64(encoded, 10_000).unwrap(),
                text
            );
        }
    }
}

#[test]
fn new_message_ids_have_the_form_of_recorded_ones() {
    let is_base64_of_12_bytes = |id: &MessageId| {
        let text = URL_SAFE.decode(id.as_str()).unwrap();
        id.as_str().len() == 24 && STANDARD.decode(text).unwrap().len() == 12
    };
    for text in call_texts() {
        assert!(is_base64_of_12_bytes(
            decode_one(text.as_bytes()).id().unwrap()
        ));
    }
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let [one, other] = [(); 2].map(|()| MessageId::random(&mut rng));
    assert!(is_base64_of_12_bytes(&one));
    assert_ne!(one, other);
    assert_ne!(CallId::random(&mut rng), CallId::random(&mut rng));
}
