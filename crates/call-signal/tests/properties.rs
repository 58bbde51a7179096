//! What must hold for any input: nothing panics, and decoding undoes encoding.

use call_signal::{
    Answer, BodyLimit, CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallType,
    CallVersion, CallVersionRange, ChatEvent, ChatMessage, ChatVersionRange, ContactRequest,
    ContactRequestId, Container, DisplayName, EncodeError, Envelope, ExtraCandidates, IceCandidate,
    Invitation, MAX_BODY, MessageContent, MessageDeletion, MessageId, MessageRef, MessageUpdate,
    NewMessage, Offer, Profile, ProfileImage, Quote, RawJson, RequestMessage, RtcSession, SdpKind,
    SessionDescription, decode_body, encode_body, lz_string, parse_candidates, printable_line,
    write_candidates,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~\r\n]{0,300}",
        "(a=candidate:1 1 udp\r\n){0,9}"
    ]
}

fn candidate() -> impl Strategy<Value = IceCandidate> {
    (
        text(),
        option::of(text()),
        option::of(any::<u16>()),
        option::of(text()),
    )
        .prop_map(
            |(candidate, sdp_mid, sdp_mline_index, username_fragment)| IceCandidate {
                candidate,
                sdp_mid,
                sdp_mline_index,
                username_fragment,
            },
        )
}

fn session(kind: SdpKind) -> impl Strategy<Value = RtcSession> {
    (text(), vec(candidate(), 0..4)).prop_map(move |(sdp, candidates)| RtcSession {
        description: SessionDescription { kind, sdp },
        candidates,
    })
}

fn call_type() -> impl Strategy<Value = CallType> {
    let media = prop_oneof![Just(CallMedia::Audio), Just(CallMedia::Video)];
    (media, any::<bool>()).prop_map(|(media, encryption)| CallType { media, encryption })
}

fn key() -> impl Strategy<Value = Option<CallDhPublicKey>> {
    option::of(any::<[u8; 32]>().prop_map(CallDhPublicKey))
}

fn versions() -> impl Strategy<Value = CallVersionRange> {
    any::<[u16; 2]>().prop_filter_map("not empty", |[min, max]| {
        CallVersionRange::new(CallVersion(min.min(max)), CallVersion(min.max(max)))
    })
}

fn call_event() -> impl Strategy<Value = CallEvent> {
    let invitation =
        (call_type(), key(), versions()).prop_map(|(call_type, dh_public_key, versions)| {
            Invitation {
                call_type,
                dh_public_key,
                versions,
            }
        });
    let offer = (call_type(), session(SdpKind::Offer), key(), any::<u16>()).prop_map(
        |(call_type, session, dh_public_key, version)| Offer {
            call_type,
            session,
            dh_public_key,
            version: CallVersion(version),
        },
    );
    prop_oneof![
        invitation.prop_map(CallEvent::Invitation),
        offer.prop_map(CallEvent::Offer),
        session(SdpKind::Answer).prop_map(|session| CallEvent::Answer(Answer { session })),
        vec(candidate(), 0..5)
            .prop_map(|candidates| CallEvent::Extra(ExtraCandidates { candidates })),
        Just(CallEvent::End),
    ]
}

fn call() -> impl Strategy<Value = CallMessage> {
    (any::<[u8; 16]>(), call_event()).prop_map(|(id, event)| CallMessage {
        call_id: CallId(id),
        event,
    })
}

/// Names as people write them and as they should not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z A-Z]{0,60}",
        "[#@a\u{0}\n\u{1b}\u{a0}\u{200b}\u{200d}\u{202e}\u{2028}\u{2066}é… ]{0,70}",
    ]
}

fn profile() -> impl Strategy<Value = Profile> {
    let image = option::of("[A-Za-z0-9+/]{0,40}={0,2}")
        .prop_map(|data| ProfileImage::new(format!("data:image/png;base64,{}", data?)));
    let preferences = option::of(any::<u8>())
        .prop_map(|value| RawJson::parse(&format!("{{ \"calls\":[{}]}}", value?)).ok());
    let texts = (name(), text(), option::of(text()));
    let more = (option::of(text()), option::of(text()));
    (texts, image, more, preferences).prop_map(|(texts, image, more, preferences)| Profile {
        display_name: DisplayName::received(texts.0),
        full_name: texts.1,
        short_descr: texts.2,
        image,
        contact_link: more.0,
        peer_type: more.1,
        preferences,
    })
}

fn message_id() -> impl Strategy<Value = MessageId> {
    text().prop_map(MessageId::received)
}

/// Content that can be sent.
fn content() -> impl Strategy<Value = MessageContent> {
    text()
        .prop_filter("empty", |text| !text.is_empty())
        .prop_map(MessageContent::Text)
}

fn contact_request() -> impl Strategy<Value = ContactRequest> {
    let message =
        (message_id(), content()).prop_map(|(id, content)| RequestMessage { id, content });
    let ids = (option::of(text()), option::of(message_id()));
    (profile(), ids, option::of(message)).prop_map(|(profile, ids, message)| ContactRequest {
        profile,
        request_id: ids.0.map(ContactRequestId::received),
        welcome_id: ids.1,
        message,
    })
}

fn container() -> impl Strategy<Value = Container> {
    let reference = (option::of(message_id()), any::<bool>(), text())
        .prop_map(|(id, sent, sent_at)| MessageRef { id, sent, sent_at })
        .boxed();
    let quote = (text(), reference.clone()).prop_map(|(text, reference)| Quote {
        content: MessageContent::Text(text),
        reference,
    });
    prop_oneof![
        Just(Container::Simple),
        Just(Container::Forward),
        quote.prop_map(Container::Quote),
        reference.prop_map(Container::Comment),
    ]
}

fn contact_event() -> impl Strategy<Value = ChatEvent> {
    let life = || (any::<bool>(), option::of(any::<i64>()));
    let message =
        (content(), container(), life()).prop_map(|(content, container, (live, ttl))| NewMessage {
            content,
            container,
            live,
            ttl,
            has_file: false,
        });
    let update =
        (message_id(), content(), life()).prop_map(|(id, content, (live, ttl))| MessageUpdate {
            id,
            content,
            live,
            ttl,
        });
    prop_oneof![
        profile().prop_map(|profile| ChatEvent::Profile(profile.into())),
        contact_request().prop_map(|request| ChatEvent::ContactRequest(request.into())),
        message.prop_map(ChatEvent::Message),
        update.prop_map(ChatEvent::MessageUpdate),
        message_id().prop_map(|id| ChatEvent::MessageDeletion(MessageDeletion { id })),
        Just(ChatEvent::ContactDeleted),
    ]
}

fn write(envelope: Envelope, event: &ChatEvent) -> Result<ChatMessage, EncodeError> {
    match event {
        ChatEvent::Call(call) => envelope.call(call),
        ChatEvent::Profile(profile) => envelope.profile(profile),
        ChatEvent::ContactRequest(request) => envelope.contact_request(request),
        ChatEvent::Message(message) => envelope.message(message),
        ChatEvent::MessageUpdate(update) => envelope.update(update),
        ChatEvent::MessageDeletion(deletion) => Ok(envelope.deletion(deletion)),
        ChatEvent::ContactDeleted => Ok(envelope.contact_deleted()),
        ChatEvent::Other { event, .. } => panic!("{event} is made by name"),
    }
}

/// An event between contacts as text, with some characters changed.
fn damaged_event() -> impl Strategy<Value = String> {
    let changes = vec((any::<prop::sample::Index>(), "[ -~]"), 0..3);
    (contact_event(), changes).prop_filter_map("fits", |(event, changes)| {
        let mut text = write(Envelope::default(), &event).ok()?.raw().to_owned();
        for (place, character) in changes {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let at = *place.get(&places);
            let end = at + text[at..].chars().next()?.len_utf8();
            text.replace_range(at..end, &character);
        }
        Some(text)
    })
}

/// Bytes that get further into a decoder than random ones: a good body with some bytes changed.
fn damaged_body() -> impl Strategy<Value = Vec<u8>> {
    let body = (call(), any::<bool>()).prop_filter_map("fits", |(call, compress)| {
        let message = Envelope::default().call(&call).ok()?;
        let body = encode_body(&[message], BodyLimit::Plain).ok()?;
        if !compress {
            return Some(body);
        }
        let frame = zstd::bulk::compress(&body, 3).ok()?;
        let length = u16::try_from(frame.len()).ok()?.to_be_bytes();
        Some([b"X\x011".as_slice(), &length, &frame].concat())
    });
    (body, vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |(mut body, changes)| {
            for (place, byte) in changes {
                let place = place.index(body.len());
                body[place] = byte;
            }
            body
        },
    )
}

proptest! {
    #[test]
    fn a_call_message_comes_back_with_its_text(call in call()) {
        let message = Envelope::default().call(&call)?;
        let decoded = ChatMessage::decode(message.raw())?;
        prop_assert_eq!(decoded.call(), Some(&call));
        prop_assert_eq!(&decoded, &message);
        let params = RawJson::parse(message.raw_params())?;
        prop_assert_eq!(params.as_str(), decoded.raw_params());
    }

    #[test]
    fn an_event_between_contacts_comes_back_with_its_text(
        event in contact_event(),
        id in option::of(message_id()),
    ) {
        let envelope = Envelope { id, ..Envelope::default() };
        let message = write(envelope, &event)?;
        let decoded = ChatMessage::decode(message.raw())?;
        prop_assert_eq!(decoded.event(), &event);
        prop_assert_eq!(&decoded, &message);
        let params = RawJson::parse(message.raw_params())?;
        let by_name = Envelope::default().event(event.name(), &params)?;
        prop_assert_eq!(by_name.into_event(), event);
    }

    #[test]
    fn no_damage_makes_an_event_panic_or_grow(text in damaged_event()) {
        let Ok(message) = ChatMessage::decode(&text) else {
            return Ok(());
        };
        if let ChatEvent::Message(NewMessage { content, .. }) = message.event() {
            prop_assert!(content.text().len() <= text.len());
        }
        if matches!(message.event(), ChatEvent::Other { .. }) {
            return Ok(());
        }
        // What was taken and can be written says the same when it is read again.
        if let Ok(written) = write(Envelope::default(), message.event()) {
            let again = ChatMessage::decode(written.raw())?;
            prop_assert_eq!(again.event(), message.event());
        }
    }

    #[test]
    fn what_is_shown_of_a_name_is_one_short_line_without_surprises(name in name()) {
        let shown = DisplayName::received(&name).to_string();
        prop_assert!(shown.chars().count() <= DisplayName::MAX_CHARS);
        prop_assert!(shown.trim() == shown && !shown.contains("  "));
        let surprises = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c) || (c.is_whitespace() && c != ' ');
        prop_assert!(!shown.contains(surprises));
        prop_assert_eq!(&printable_line(&shown, DisplayName::MAX_CHARS), &shown);
        if let Ok(own) = DisplayName::new(&name) {
            prop_assert_eq!((own.as_str(), shown.as_str()), (name.as_str(), name.as_str()));
        }
    }

    #[test]
    fn a_body_comes_back(calls in vec(call(), 1..4)) {
        let messages = calls
            .iter()
            .map(|call| Envelope::default().call(call))
            .collect::<Result<Vec<_>, _>>()?;
        if let Ok(body) = encode_body(&messages, BodyLimit::PostQuantum) {
            let decoded = decode_body(&body)?.into_iter().collect::<Result<Vec<_>, _>>()?;
            prop_assert_eq!(decoded, messages);
        }
    }

    #[test]
    fn candidates_come_back(candidates in vec(candidate(), 0..9)) {
        prop_assert_eq!(parse_candidates(&write_candidates(&candidates))?, candidates);
    }

    #[test]
    fn any_text_survives_lz_string(text in text()) {
        let encoded = lz_string::compress_to_base64(&text);
        prop_assert_eq!(lz_string::decompress_from_base64(&encoded, 10_000)?, text);
    }

    #[test]
    fn any_code_units_survive_lz_string(units in vec(prop_oneof![any::<u16>(), 0..4_u16], 0..500)) {
        let encoded = lz_string::compress_utf16_to_base64(&units);
        prop_assert_eq!(encoded.len() % 4, 0);
        prop_assert_eq!(lz_string::decompress_utf16_from_base64(&encoded, units.len())?, units);
    }

    #[test]
    fn ids_keys_and_versions_come_back(
        id in any::<[u8; 16]>(),
        key in any::<[u8; 32]>(),
        versions in versions(),
    ) {
        let (id, key) = (CallId(id), CallDhPublicKey(key));
        prop_assert_eq!(CallId::from_base64(&id.to_base64()), Ok(id));
        prop_assert_eq!(CallDhPublicKey::from_base64(&key.to_base64()), Ok(key));
        prop_assert_eq!(CallDhPublicKey::from_spki(&key.to_spki()), Some(key));
        prop_assert_eq!(versions.to_string().parse(), Ok(versions));
    }

    #[test]
    fn the_order_of_ids_is_that_of_their_bytes(one in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        prop_assert_eq!(CallId(one).cmp(&CallId(other)), one.cmp(&other));
    }

    #[test]
    fn no_bytes_make_a_body_panic(body in vec(any::<u8>(), 0..600), form in 0..4_usize) {
        let prefixed = [["", "{", "[", "X"][form].as_bytes(), &body].concat();
        let _ = decode_body(&prefixed);
    }

    #[test]
    fn no_damage_makes_a_body_panic_or_lose_its_text(body in damaged_body()) {
        for message in decode_body(&body).into_iter().flatten().flatten() {
            prop_assert!(message.raw().len() <= MAX_BODY);
            prop_assert!(message.raw().contains(message.raw_params()));
            let again = ChatMessage::decode(message.raw())?;
            prop_assert_eq!(again, message);
        }
    }

    #[test]
    fn no_text_makes_lz_string_panic_or_pass_its_limit(
        encoded in prop_oneof![any::<String>(), "[A-Za-z0-9+/]{0,200}={0,4}"],
        limit in 0..300_usize,
    ) {
        if let Ok(units) = lz_string::decompress_utf16_from_base64(&encoded, limit) {
            prop_assert!(units.len() <= limit);
        }
    }

    #[test]
    fn no_text_makes_the_small_parsers_panic(text in text(), bytes in vec(any::<u8>(), 0..64)) {
        let _ = CallId::from_base64(&text);
        let _ = CallDhPublicKey::from_base64(&text);
        let _ = CallDhPublicKey::from_spki(&bytes);
        let _ = text.parse::<CallVersionRange>();
        let _ = text.parse::<ChatVersionRange>();
        let _ = parse_candidates(&text);
        let _ = parse_candidates(&format!("[{{{text}}}]"));
        let _ = SessionDescription::from_json(&text);
        let _ = RawJson::parse(&text);
    }
}
