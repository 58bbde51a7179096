//! Messages and notifications from relay to recipient, and envelopes from sender to recipient.

use serde_json::Value;
use sha2::{Digest, Sha256};
use smp_protocol::{
    BoxKey, ClientEnvelope, ClientMessage, CorrId, DhPrivateKey, DhPublicKey, DhSecret,
    MessageFlags, MessageId, NotificationMeta, PADDED_CONFIRMATION, PADDED_ENVELOPE, PrivateHeader,
    ReceivedMessage, SEALED_MESSAGE_SIZE,
};

use crate::golden::{Recorded, base64, hex, list, number};
use crate::session::{array, sessions};

#[test]
fn every_message_is_opened_and_sealed_again() {
    let (mut messages, mut markers, mut queues) = (0, 0, 0);
    for session in sessions() {
        let all = session.blocks.iter().flat_map(|block| &block.transmissions);
        for recorded in all.filter(|recorded| recorded.tag() == "MSG") {
            let entity = hex(&recorded.value["entity_id"]);
            let queue = session
                .queues
                .iter()
                .find(|(id, ..)| id.as_bytes() == entity);
            let agreed = queue.map(|(.., secret)| *secret.as_bytes());
            let known = &recorded.decoded()["dh_secret"];
            let known = known.is_string().then(|| array(known));
            if let (Some(agreed), Some(known)) = (agreed, known) {
                assert_eq!(agreed, known);
            }
            queues += usize::from(agreed.is_some());
            let key = BoxKey::from_bytes(&agreed.or(known).unwrap());
            match check_message(recorded, &key) {
                true => markers += 1,
                false => messages += 1,
            }
        }
    }
    assert_eq!((messages, markers, queues), (51, 1, 47));
}

/// Whether it is the marker of a full queue.
fn check_message(recorded: &Recorded, key: &BoxKey) -> bool {
    let decoded = recorded.decoded();
    let id = MessageId(array(&decoded["msg_id"]));
    let sealed = recorded.command.strip_prefix(b"MSG \x18").unwrap();
    let sealed = sealed.strip_prefix(id.as_bytes()).unwrap();
    assert_eq!(sealed.len(), SEALED_MESSAGE_SIZE);
    assert_eq!(
        Sha256::digest(sealed)[..],
        hex(&decoded["enc_body"]["sha256"])
    );

    let mut opened = sealed.to_vec();
    let message = ReceivedMessage::open(key, &id, &mut opened).unwrap();
    assert_eq!(message.seal_for_recipient(key, &id).unwrap(), sealed);
    let plain = &decoded["plain_decoded"];
    match message {
        ReceivedMessage::Quota { timestamp } => {
            assert_eq!(plain["quota"], true);
            assert_eq!(plain["timestamp_seconds"], timestamp);
        }
        // The one without its key in the recording.
        ReceivedMessage::Message { .. } if plain.is_null() => {}
        ReceivedMessage::Message {
            timestamp,
            flags,
            body,
        } => {
            assert_eq!(plain["timestamp_seconds"], timestamp);
            assert_eq!(plain["notification_flag"] == "T", flags.notification);
            match &plain["sent_body"] {
                Value::String(_) => assert_eq!(body, hex(&plain["sent_body"])),
                digest => assert_eq!(Sha256::digest(body)[..], hex(&digest["sha256"])),
            }
        }
    }
    let mut forged = sealed.to_vec();
    forged[40] ^= 1;
    assert!(ReceivedMessage::open(key, &id, &mut forged).is_err());
    plain["quota"] == true
}

#[test]
fn the_notification_is_opened_and_sealed_again() {
    let mut all = 0;
    for session in sessions() {
        let transmissions = session.blocks.iter().flat_map(|block| &block.transmissions);
        for recorded in transmissions.filter(|recorded| recorded.tag() == "NMSG") {
            let decoded = recorded.decoded();
            let key = BoxKey::from_bytes(&array(&decoded["dh_secret"]));
            let (nonce, sealed) = (array(&decoded["nonce"]), hex(&decoded["enc_meta"]));
            let meta = NotificationMeta::open(&key, &nonce, &sealed).unwrap();
            let plain = hex(&decoded["plain"]);
            assert_eq!(plain[1..25], *meta.message_id.as_bytes());
            assert_eq!(plain[25..], meta.timestamp.to_be_bytes());
            assert_eq!(meta.seal(&key, &nonce)[..], sealed);
            all += 1;
        }
    }
    assert_eq!(all, 1);
}

#[test]
fn every_envelope_of_the_sessions_is_sealed_again_and_opened() {
    let (mut with_key, mut without) = (0, 0);
    for session in sessions() {
        for recorded in session.blocks.iter().flat_map(|block| &block.transmissions) {
            let Some(envelope) = recorded.decoded().get("client_envelope") else {
                continue;
            };
            match check_envelope(recorded, envelope) {
                true => with_key += 1,
                false => without += 1,
            }
        }
    }
    assert_eq!((with_key, without), (1, 1));
}

/// Whether the sender's key is in it.
fn check_envelope(recorded: &Recorded, value: &Value) -> bool {
    let body = &recorded.command[b"SEND T ".len()..];
    assert_eq!(body.len(), number(&value["envelope_len"]));
    assert_eq!(Sha256::digest(body)[..], hex(&value["envelope_sha256"]));
    let sender = &value["sender_e2e_key"];
    let sender_key = (!sender.is_null()).then(|| DhPublicKey(array(&sender["public"])));
    let recipient = DhPrivateKey::from_bytes(&array(&value["recipient_e2e_private"]));
    assert_eq!(
        recipient.public(),
        DhPublicKey(array(&value["recipient_e2e_public"]))
    );
    let secret = DhSecret::from_bytes(&array(&value["dh_secret"]));
    if let Some(key) = &sender_key {
        let private = DhPrivateKey::from_bytes(&array(&sender["private"]));
        let agreed = DhSecret::agree(&private, &recipient.public()).unwrap();
        assert_eq!(agreed.as_bytes(), secret.as_bytes());
        assert_eq!(
            DhSecret::agree(&recipient, key).unwrap().as_bytes(),
            secret.as_bytes()
        );
    }

    let key = BoxKey::from(&secret);
    let envelope = ClientEnvelope::decode(body).unwrap();
    assert_eq!(usize::from(envelope.version), number(&value["version"]));
    assert_eq!(envelope.sender_key, sender_key);
    assert_eq!(envelope.nonce, array::<24>(&value["nonce"]));
    let padded = if sender_key.is_some() {
        PADDED_CONFIRMATION
    } else {
        PADDED_ENVELOPE
    };
    assert_eq!(padded, number(&value["padded_len"]));

    let opened = envelope.open(&key).unwrap();
    let message = opened.message();
    assert_eq!(plain(&message), hex(&value["client_message_plain"]));
    let again = message.seal(envelope.version, sender_key.as_ref(), &key, &envelope.nonce);
    assert_eq!(again.unwrap(), body);
    assert!(envelope.open(&BoxKey::from_bytes(&[0; 32])).is_err());
    sender_key.is_some()
}

#[test]
fn every_envelope_of_two_agents_is_opened_and_sealed_again() {
    let file: Value =
        serde_json::from_str(include_str!("../vectors/agent_envelopes.json")).unwrap();
    let envelopes = list(&file, "envelopes");
    let (mut with_key, mut with_confirmation) = (0, 0);
    for value in envelopes {
        let body = base64(&value["client_envelope_b64"]);
        let key = BoxKey::from_bytes(&array(&value["dh_secret"]));
        let envelope = ClientEnvelope::decode(&body).unwrap();
        let opened = envelope.open(&key).unwrap();
        let message = opened.message();
        // An agent's envelope: its version, then its tag.
        assert_eq!(
            message.body[2],
            value["agent_envelope_tag"].as_str().unwrap().as_bytes()[0]
        );
        let again = message.seal(
            envelope.version,
            envelope.sender_key.as_ref(),
            &key,
            &envelope.nonce,
        );
        assert_eq!(again.unwrap(), body);
        with_key += usize::from(envelope.sender_key.is_some());
        with_confirmation += usize::from(message.header != PrivateHeader::Empty);
    }
    assert_eq!((envelopes.len(), with_key, with_confirmation), (4, 2, 0));
}

fn plain(message: &ClientMessage<'_>) -> Vec<u8> {
    let header = match &message.header {
        PrivateHeader::Empty => vec![b'_'],
        PrivateHeader::Confirmation(key) => [&b"K\x2c"[..], &key.to_spki()].concat(),
    };
    [&header[..], message.body].concat()
}

#[test]
fn another_id_key_or_flag_changes_the_message() {
    let key = BoxKey::from_bytes(&[1; 32]);
    let seal = |notification, id| {
        let flags = MessageFlags { notification };
        let message = ReceivedMessage::Message {
            timestamp: 1,
            flags,
            body: b"body",
        };
        message
            .seal_for_recipient(&key, &MessageId(CorrId([id; 24]).0))
            .unwrap()
    };
    assert_ne!(seal(true, 1), seal(false, 1));
    assert_ne!(seal(true, 1), seal(true, 2));
}
