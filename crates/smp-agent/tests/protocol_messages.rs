//! Recorded messages of other programs at every level: read, compared, and written byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod protocol_golden;

use std::collections::HashMap;

use double_ratchet::E2eParams;
use protocol_golden::{
    array, assert_digest, base64, e2e_bytes, file, hex, list, number, ratchet_message,
    ratchet_plain, sha256, text,
};
use serde_json::Value;
use smp_agent::protocol::{
    AMessage, AgentDecodeError, AgentEnvelope, AgentMessage, AgentVersion, PADDED_INFO,
    PADDED_INFO_PQ, PADDED_MESSAGE, PADDED_MESSAGE_PQ, QueueAddress, QueueInfo, message_hash,
    padded_info, padded_message,
};
use smp_protocol::{
    AuthPublicKey, BoxKey, ClientEnvelope, ClientMessage, DecodeError, DhPublicKey, PrivateHeader,
    QueueMode, QueueUri, Reader, RelayAddress, SenderId,
};

const AGENT: &str = include_str!("vectors/agent.json");
const HELLO: &str = include_str!("vectors/agent_hello.json");
const ENVELOPES: &str = include_str!("vectors/agent_envelopes.json");

/// Every recorded message, in the order of its sender, and those of the third connection behind.
fn recorded() -> Vec<Value> {
    let (agent, hello) = (file(AGENT), file(HELLO));
    let lists = [
        list(&agent, "messages"),
        list(&hello, "messages"),
        list(&hello, "quota_continue"),
    ];
    lists.concat()
}

/// What stands inside the ratchet's encryption, if the message has one.
fn plain(message: &Value) -> Option<Vec<u8>> {
    message
        .get("agent_message")
        .map(|it| base64(&it["bytes_b64"]))
}

/// The agent's envelope, made out of its recorded parts alone.
fn envelope_bytes(message: &Value) -> Vec<u8> {
    let envelope = &message["agent_envelope"];
    let mut bytes = vec![0, u8::try_from(number(&envelope["version"])).unwrap()];
    bytes.extend(text(&envelope["tag"]).bytes());
    match text(&envelope["tag"]) {
        "C" if envelope["e2e_params"].is_null() => bytes.push(b'0'),
        "C" => {
            bytes.push(b'1');
            bytes.extend(e2e_bytes(&envelope["e2e_params"]));
        }
        "R" => {
            bytes.extend(e2e_bytes(&envelope["e2e_params"]));
            bytes.extend(hex(&envelope["info_hex"]));
        }
        "I" => {
            let request = text(&envelope["connection_request"]);
            bytes.extend(protocol_golden::large(request.as_bytes()));
            bytes.extend(base64(&envelope["info_b64"]));
        }
        _ => {}
    }
    if let Some(plain) = plain(message) {
        bytes.extend(ratchet_message(&message["ratchet"], &plain));
    }
    assert_digest(&bytes, &envelope["len"], &envelope["sha256"]);
    bytes
}

#[test]
fn recorded_messages_are_read_and_written() {
    let mut kinds: HashMap<String, usize> = HashMap::new();
    for message in recorded() {
        let Some(bytes) = plain(&message) else {
            continue;
        };
        let (value, read) = (&message["agent_message"], AgentMessage::decode(&bytes));
        let kind = compare(&read.clone().unwrap(), &value["decoded"]);
        *kinds.entry(kind).or_default() += 1;
        assert_eq!(read.unwrap().to_bytes().unwrap(), bytes);
        assert_eq!(message_hash(&bytes), array(&value["sha256"]));
    }
    let count = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
    let user_messages = count("A_MSG");
    assert_eq!(user_messages, 14);
    assert_eq!(count("A_RCVD"), 8);
    assert_eq!(
        (count("HELLO"), count("EREADY"), count("A_QCONT")),
        (2, 2, 1)
    );
    for kind in ["QADD", "QKEY", "QUSE", "QTEST"] {
        assert_eq!(count(kind), 1, "{kind}");
    }
    assert_eq!(
        (count("AgentConnInfo"), count("AgentConnInfoReply")),
        (3, 3)
    );
}

/// That a message is what the file says; its kind.
fn compare(message: &AgentMessage, decoded: &Value) -> String {
    match message {
        AgentMessage::ConnectionInfo(info) => assert_eq!(info, &base64(&decoded["info_b64"])),
        AgentMessage::ConnectionInfoReply { queues, info } => {
            assert_eq!(info, &base64(&decoded["info_b64"]));
            let expected: Vec<_> = list(decoded, "queues").iter().map(queue_info).collect();
            assert_eq!(queues, &expected);
        }
        AgentMessage::Message {
            id,
            previous_hash,
            message,
        } => {
            assert_eq!(*id, decoded["sender_msg_id"]);
            assert_eq!(previous_hash, &hex(&decoded["previous_msg_hash"]));
            compare_inner(message, &decoded["message"]);
            return text(&decoded["message"]["type"]).to_owned();
        }
        AgentMessage::RatchetInfo(_) => panic!("never in a ratchet"),
    }
    text(&decoded["type"]).to_owned()
}

fn compare_inner(message: &AMessage, decoded: &Value) {
    match message {
        AMessage::Hello => assert_eq!(decoded["type"], "HELLO"),
        AMessage::Message(body) => assert_eq!(body, &base64(&decoded["body_b64"])),
        AMessage::Received(receipts) => {
            let expected = list(decoded, "receipts");
            assert_eq!(receipts.len(), expected.len());
            for (receipt, expected) in receipts.iter().zip(expected) {
                assert_eq!(receipt.id, expected["agent_msg_id"]);
                assert_eq!(receipt.hash, hex(&expected["msg_hash"]));
                assert_eq!(receipt.info, hex(&expected["info_hex"]));
            }
        }
        AMessage::Ready(id) => assert_eq!(*id, decoded["last_decrypted_msg_id"]),
        AMessage::QueueContinue(at) => assert_eq!(*at, address(&decoded["address"])),
        AMessage::AddQueues(queues) => {
            let [(added, expected)] = pairs(queues, decoded)[..] else {
                panic!("not one queue");
            };
            assert_eq!(added.queue, queue_uri(&expected["queue_uri"]));
            assert_eq!(added.replaces, Some(address(&expected["replaces"])));
        }
        AMessage::QueueKeys(queues) => {
            for (keyed, expected) in pairs(queues, decoded) {
                assert_eq!(keyed.queue, queue_info(&expected["queue_info"]));
                let key = AuthPublicKey::from_spki(&hex(&expected["sender_key_spki"]));
                assert_eq!(Ok(keyed.key), key);
            }
        }
        AMessage::UseQueues(queues) => {
            for (used, expected) in pairs(queues, decoded) {
                assert_eq!(used.address, address(&expected["address"]));
                assert_eq!(used.primary, expected["primary"] == "T");
            }
        }
        AMessage::TestQueues(queues) => {
            for (tested, expected) in pairs(queues, decoded) {
                assert_eq!(*tested, address(expected));
            }
        }
    }
}

fn pairs<'a, T>(queues: &'a [T], decoded: &'a Value) -> Vec<(&'a T, &'a Value)> {
    let expected = list(decoded, "queues");
    assert_eq!(queues.len(), expected.len());
    queues.iter().zip(expected).collect()
}

fn relay(server: &Value) -> RelayAddress {
    let hosts = list(server, "hosts")
        .iter()
        .map(|host| text(host).parse().unwrap());
    RelayAddress::new(
        smp_protocol::Fingerprint(array(&server["key_hash"])),
        hosts.collect(),
        text(&server["port"]).parse().ok(),
    )
    .unwrap()
}

fn address(value: &Value) -> QueueAddress {
    QueueAddress {
        relay: relay(&value["server"]),
        sender_id: SenderId::new(&hex(&value["sender_id"])).unwrap(),
    }
}

fn queue_info(value: &Value) -> QueueInfo {
    let QueueAddress { relay, sender_id } = address(value);
    QueueInfo {
        version: smp_protocol::ClientVersion(number(&value["client_version"]) as u16),
        relay,
        sender_id,
        dh_key: DhPublicKey::from_spki(&hex(&value["dh_public_spki"])).unwrap(),
        mode: (value["queue_mode"] == "M").then_some(QueueMode::Messaging),
    }
}

fn queue_uri(value: &Value) -> QueueUri {
    let version = |key: &str| smp_protocol::ClientVersion(number(&value[key]) as u16);
    let (min, max) = (version("client_version_min"), version("client_version_max"));
    let QueueAddress { relay, sender_id } = address(value);
    QueueUri {
        versions: smp_protocol::ClientVersionRange::new(min, max).unwrap(),
        relay,
        sender_id,
        dh_key: DhPublicKey::from_spki(&hex(&value["dh_public_spki"])).unwrap(),
        mode: (value["queue_mode"]["bool"] == "T").then_some(QueueMode::Messaging),
    }
}

#[test]
fn each_recorded_message_holds_the_hash_of_the_one_before_it() {
    let mut last: HashMap<String, (i64, [u8; 32])> = HashMap::new();
    let (mut held, mut apart) = (0, 0);
    for message in recorded() {
        let by = text(&message["by"]).to_owned();
        if message["agent_envelope"]["tag"] == "R" {
            // Not encrypted by a ratchet, and of the chain all the same. The one before it was
            // recorded as well.
            let info = hex(&message["agent_envelope"]["info_hex"]);
            assert_eq!(
                AgentMessage::decode(&info),
                Ok(AgentMessage::RatchetInfo(Vec::new()))
            );
            let (id, _) = last[&by];
            last.insert(by, (id + 1, message_hash(&info)));
            continue;
        }
        let Some(bytes) = plain(&message) else {
            continue;
        };
        let id = match AgentMessage::decode(&bytes).unwrap() {
            AgentMessage::Message {
                id, previous_hash, ..
            } => {
                match last.get(&by) {
                    Some((last, hash)) if last + 1 == id => {
                        assert_eq!(previous_hash, hash, "message {id} of {by}");
                        held += 1;
                    }
                    _ => apart += 1,
                }
                id
            }
            // Connection information is the first.
            _ => 1,
        };
        last.insert(by, (id, message_hash(&bytes)));
    }
    // Apart from those whose predecessor is not recorded.
    assert_eq!((held, apart), (27, 4));
}

#[test]
fn recorded_envelopes_are_read_and_written() {
    let mut kinds: HashMap<String, usize> = HashMap::new();
    for message in recorded() {
        let (bytes, value) = (envelope_bytes(&message), &message["agent_envelope"]);
        let envelope = AgentEnvelope::decode(&bytes).unwrap();
        assert_eq!(envelope.version(), AgentVersion::RATCHET_ON_CONFIRMATION);
        assert_eq!(kind_of(&envelope), text(&value["tag"]));
        *kinds.entry(kind_of(&envelope).to_owned()).or_default() += 1;
        match &envelope {
            AgentEnvelope::Confirmation { e2e, encrypted, .. } => {
                assert_eq!(e2e.is_some(), !value["e2e_params"].is_null());
                if let Some(params) = e2e {
                    assert_eq!(encoded(params), e2e_bytes(&value["e2e_params"]));
                }
                assert_eq!(encrypted.len(), number(&message["ratchet"]["message_len"]));
            }
            AgentEnvelope::Message { encrypted, .. } => {
                assert_eq!(
                    sha256(encrypted),
                    array(&message["ratchet"]["message_sha256"])
                );
            }
            AgentEnvelope::Invitation { request, info, .. } => {
                assert!(request.is_invitation());
                assert_eq!(request.to_string(), text(&value["connection_request"]));
                assert_eq!(*info, base64(&value["info_b64"]));
            }
            AgentEnvelope::RatchetKey { params, info, .. } => {
                assert_eq!(encoded(params), e2e_bytes(&value["e2e_params"]));
                assert_eq!(*info, hex(&value["info_hex"]));
            }
        }
        assert_eq!(envelope.to_bytes().unwrap(), bytes);
    }
    let count = |kind: &str| kinds[kind];
    assert_eq!(
        (count("C"), count("M"), count("I"), count("R")),
        (6, 31, 1, 2)
    );
}

fn encoded(params: &E2eParams) -> Vec<u8> {
    let mut out = Vec::new();
    params.encode(&mut out);
    out
}

fn kind_of(envelope: &AgentEnvelope<'_>) -> &'static str {
    match envelope {
        AgentEnvelope::Confirmation { .. } => "C",
        AgentEnvelope::Message { .. } => "M",
        AgentEnvelope::Invitation { .. } => "I",
        AgentEnvelope::RatchetKey { .. } => "R",
    }
}

#[test]
fn recorded_messages_are_padded_to_the_lengths_of_their_kind() {
    for message in recorded().iter().filter(|message| plain(message).is_some()) {
        let padded = number(&message["ratchet"]["padded_len"]);
        let (info, pq) = (
            message["agent_envelope"]["tag"] == "C",
            padded < PADDED_INFO,
        );
        let expected = if info {
            padded_info(pq)
        } else {
            padded_message(pq)
        };
        assert_eq!(padded, expected);
    }
    assert_eq!(
        (padded_info(false), padded_info(true)),
        (PADDED_INFO, PADDED_INFO_PQ)
    );
    let messages = (padded_message(false), padded_message(true));
    assert_eq!(messages, (PADDED_MESSAGE, PADDED_MESSAGE_PQ));
}

#[test]
fn recorded_envelopes_go_through_their_queues_as_recorded() {
    for message in recorded() {
        let value = &message["client_envelope"];
        let header = match &message["client_message"]["private_header"]["sender_key_spki"] {
            Value::Null => PrivateHeader::Empty,
            key => PrivateHeader::Confirmation(AuthPublicKey::from_spki(&hex(key)).unwrap()),
        };
        let sender_key = match &value["e2e_public_spki"] {
            Value::Null => None,
            key => Some(DhPublicKey::from_spki(&hex(key)).unwrap()),
        };
        let body = envelope_bytes(&message);
        let sealed = ClientMessage {
            header,
            body: &body,
        }
        .seal(
            u16::try_from(number(&value["version"])).unwrap(),
            sender_key.as_ref(),
            &BoxKey::from_bytes(&array(&value["dh_secret"])),
            &array(&value["nonce"]),
        )
        .unwrap();
        assert_digest(&sealed, &value["envelope_len"], &value["envelope_sha256"]);
    }
}

#[test]
fn whole_recorded_client_envelopes_are_opened_to_the_message_and_closed_again() {
    let (envelopes, hello) = (file(ENVELOPES), file(HELLO));
    let mut whole = list(&envelopes, "envelopes").to_vec();
    // The first confirmation over queues that the recipient secures: its keys stand with the
    // message itself.
    let first = list(&hello, "messages")
        .iter()
        .find(|message| message["by"] == "bob" && message["agent_envelope"]["tag"] == "C");
    let first = first.unwrap();
    let mut keys = first["ratchet"].clone();
    keys["agent_envelope_tag"] = "C".into();
    keys["dh_secret"] = first["client_envelope"]["dh_secret"].clone();
    keys["client_envelope_b64"] = hello["first_confirmation_client_envelope_b64"].clone();
    keys["agent_message_sha256"] = first["agent_message"]["sha256"].clone();
    whole.push(keys);

    for value in &whole {
        let bytes = base64(&value["client_envelope_b64"]);
        let key = BoxKey::from_bytes(&array(&value["dh_secret"]));
        let envelope = ClientEnvelope::decode(&bytes).unwrap();
        let opened = envelope.open(&key).unwrap();
        let message = opened.message();
        let inner = AgentEnvelope::decode(message.body).unwrap();
        assert_eq!(kind_of(&inner), text(&value["agent_envelope_tag"]));
        if let AgentEnvelope::Confirmation { encrypted, .. }
        | AgentEnvelope::Message { encrypted, .. } = &inner
        {
            let plain = ratchet_plain(value, encrypted);
            assert_eq!(message_hash(&plain), array(&value["agent_message_sha256"]));
            let read = AgentMessage::decode(&plain).unwrap();
            assert_eq!(read.to_bytes().unwrap(), plain);
        }
        let again = ClientMessage {
            header: message.header,
            body: &inner.to_bytes().unwrap(),
        }
        .seal(
            envelope.version,
            envelope.sender_key.as_ref(),
            &key,
            &envelope.nonce,
        );
        assert_eq!(again.unwrap(), bytes);
    }
    assert_eq!(whole.len(), 5);
}

#[test]
fn a_kind_of_a_newer_version_is_told_from_a_wrong_message() {
    let unknown = Err(AgentDecodeError::UnknownType);
    assert_eq!(AgentMessage::decode(b"Z"), unknown);
    let message = |rest: &[u8]| {
        let bytes = [b"M\0\0\0\0\0\0\0\x02\0", rest].concat();
        AgentMessage::decode(&bytes)
    };
    assert_eq!(message(b"Z"), unknown);
    assert_eq!(message(b"QZ"), unknown);
    assert!(matches!(
        message(b"Hello"),
        Err(AgentDecodeError::Malformed(DecodeError::Trailing(_)))
    ));
    assert!(matches!(
        message(b"Q"),
        Err(AgentDecodeError::Malformed(DecodeError::Short(_)))
    ));
    assert!(matches!(
        message(b"V\0"),
        Err(AgentDecodeError::Malformed(DecodeError::Empty(_)))
    ));
    let envelope = AgentEnvelope::decode(b"\0\x07Z");
    assert_eq!(envelope, Err(AgentDecodeError::UnknownType));
    let request = AgentEnvelope::decode(b"\0\x07I\0\x01x");
    assert!(matches!(request, Err(AgentDecodeError::Request(_))));
}

#[test]
fn more_queues_than_the_limit_are_refused() {
    let info = AgentMessage::decode(&plain(&recorded()[15]).unwrap()).unwrap();
    let AgentMessage::ConnectionInfoReply { mut queues, info } = info else {
        panic!("not the first confirmation");
    };
    queues.resize(smp_agent::protocol::MAX_QUEUES, queues[0].clone());
    let most = AgentMessage::ConnectionInfoReply {
        queues: queues.clone(),
        info: info.clone(),
    };
    let mut bytes = most.to_bytes().unwrap();
    assert_eq!(AgentMessage::decode(&bytes), Ok(most));
    queues.push(queues[0].clone());
    assert!(
        AgentMessage::ConnectionInfoReply { queues, info }
            .to_bytes()
            .is_err()
    );
    bytes[1] += 1;
    let error = AgentMessage::decode(&bytes).unwrap_err();
    assert!(matches!(
        error,
        AgentDecodeError::Malformed(DecodeError::Limit(_))
    ));
}

#[test]
fn a_queue_of_each_version_says_what_it_is_for_in_its_own_way() {
    let mut queue =
        queue_info(&file(AGENT)["messages"][15]["agent_message"]["decoded"]["queues"][0]);
    let mut bytes = |version: u16, mode: Option<QueueMode>| {
        queue.version = smp_protocol::ClientVersion(version);
        queue.mode = mode;
        let mut out = Vec::new();
        queue.encode(&mut out).map(|()| out)
    };
    let bare = bytes(2, None).unwrap();
    let messaging = Some(QueueMode::Messaging);
    for (version, mode, end) in [
        (2, messaging, ""),
        (3, None, ""),
        (3, messaging, "T"),
        (3, Some(QueueMode::Contact), "F"),
        (4, None, ""),
        (4, messaging, "M"),
        (4, Some(QueueMode::Contact), "C"),
        (9, messaging, "M"),
    ] {
        let bytes = bytes(version, mode).unwrap();
        assert_eq!(&bytes[2..], [&bare[2..], end.as_bytes()].concat());
        let read = QueueInfo::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read.mode, mode.filter(|_| !end.is_empty()));
    }
    assert!(bytes(1, None).is_err());
    let read = QueueInfo::decode(&mut Reader::new(&[&[0, 1], &bare[2..]].concat()));
    assert_eq!(read, Err(DecodeError::Limit("client version")));
    // What follows version 2 is not the mode.
    let mut reader_bytes = bare;
    reader_bytes.push(b'T');
    let mut reader = Reader::new(&reader_bytes);
    assert!(QueueInfo::decode(&mut reader).is_ok());
    assert_eq!(reader.rest(), b"T");
}
