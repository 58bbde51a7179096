//! The commands and responses of recorded sessions: read, compared field by field, written back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod golden;

use std::collections::BTreeMap;

use golden::{Recorded, base64, hex, list, number, transmissions};
use serde_json::Value;
use smp_protocol::{
    AuthPublicKey, Command, CommandError, DhPublicKey, ErrorType, LinkData, MessageFlags,
    QueueMode, QueueRequest, Response, SenderId, SmpVersion, Transmission,
};

/// How many transmissions with each tag the recordings hold, those inside forwarded ones included.
const COUNTS: [(&str, usize); 36] = [
    ("ACK", 55),
    ("DEL", 13),
    ("DELD", 3),
    ("END", 15),
    ("ERR", 49),
    ("FOO", 1),
    ("GET", 23),
    ("IDS", 33),
    ("INFO", 1),
    ("KEY", 14),
    ("LDEL", 1),
    ("LGET", 4),
    ("LKEY", 1),
    ("LNK", 3),
    ("LSET", 3),
    ("MSG", 52),
    ("NDEL", 1),
    ("NEW", 35),
    ("NID", 1),
    ("NKEY", 1),
    ("NMSG", 1),
    ("NSUB", 1),
    ("OFF", 5),
    ("OK", 140),
    ("PFWD", 3),
    ("PING", 15),
    ("PKEY", 1),
    ("PONG", 14),
    ("PRES", 3),
    ("PRXY", 1),
    ("QUE", 1),
    ("RKEY", 2),
    ("SEND", 42),
    ("SKEY", 14),
    ("SOK", 6),
    ("SUB", 29),
];

#[test]
fn all_recorded_transmissions_are_here() {
    let all = transmissions();
    let mut counts = BTreeMap::new();
    for recorded in &all {
        *counts.entry(recorded.tag()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from(COUNTS));
    assert_eq!(all.len(), 587);
    assert_eq!(all.iter().filter(|recorded| !recorded.whole).count(), 1);
}

#[test]
fn every_transmission_comes_apart_as_recorded() {
    for recorded in transmissions() {
        let transmission = Transmission::decode(&recorded.bytes, &recorded.params).unwrap();
        assert_eq!(transmission.command, recorded.command);
        assert_eq!(
            transmission.entity.as_bytes(),
            hex(&recorded.value["entity_id"])
        );
        let corr_id = transmission
            .corr_id
            .map_or(Vec::new(), |id| id.as_bytes().to_vec());
        assert_eq!(corr_id, hex(&recorded.value["corr_id"]));
        let mut authorization = Vec::new();
        transmission.authorization.encode(&mut authorization);
        assert_eq!(authorization[1..], hex(&recorded.value["authorization"]));
    }
}

#[test]
fn every_recorded_command_is_read_and_written_back() {
    let mut refused = Vec::new();
    let (mut read, mut compared) = (0, 0);
    for recorded in transmissions()
        .iter()
        .filter(|recorded| recorded.from_client)
    {
        match Command::decode(recorded.params.version, &recorded.command) {
            Ok(command) => {
                read += 1;
                assert_eq!(command.tag(), recorded.tag());
                let mut bytes = Vec::new();
                command.encode(recorded.params.version, &mut bytes).unwrap();
                assert_eq!(bytes, recorded.command);
                compared += usize::from(!recorded.decoded().is_null());
                compare_command(&command, recorded);
            }
            Err(error) => refused.push((recorded.tag().to_owned(), error)),
        }
    }
    let expected = [
        ("FOO".to_owned(), CommandError::Unknown),
        ("KEY".to_owned(), CommandError::Syntax),
    ];
    assert_eq!(refused, expected);
    assert_eq!((read, compared), (263, 69));
}

#[test]
fn every_recorded_response_is_read_and_written_back() {
    let mut read = 0;
    for recorded in transmissions()
        .iter()
        .filter(|recorded| !recorded.from_client)
    {
        let response = Response::decode(recorded.params.version, &recorded.command).unwrap();
        assert_eq!(response.tag(), recorded.tag());
        let mut bytes = Vec::new();
        response
            .encode(recorded.params.version, &mut bytes)
            .unwrap();
        assert_eq!(bytes, recorded.command);
        compare_response(&response, recorded);
        read += 1;
    }
    assert_eq!(read, 322);
}

#[test]
fn what_the_relay_refused_before_any_key_is_refused_here() {
    let all = transmissions();
    let mut refused = 0;
    for (index, recorded) in all
        .iter()
        .enumerate()
        .filter(|(_, recorded)| recorded.from_client)
    {
        let version = recorded.params.version;
        let ours = Command::decode(version, &recorded.command).and_then(|command| {
            let has = |field: &str| recorded.value[field] != "";
            command
                .credentials()
                .check(has("authorization"), has("entity_id"))?;
            Ok(command)
        });
        let theirs = answer(&all[index..], recorded);
        let theirs = theirs.filter(|error| matches!(error, ErrorType::Cmd(_)));
        refused += usize::from(theirs.is_some());
        assert_eq!(
            ours.err().map(ErrorType::from),
            theirs,
            "{}",
            recorded.value["note"]
        );
    }
    assert_eq!(refused, 5);
}

#[test]
fn a_message_is_too_large_where_the_relay_said_so() {
    let all = transmissions();
    let mut sent = 0;
    for (index, recorded) in all
        .iter()
        .enumerate()
        .filter(|(_, recorded)| recorded.tag() == "SEND")
    {
        let command = Command::decode(recorded.params.version, &recorded.command).unwrap();
        let answer = answer(&all[index..], recorded);
        let is_too_large = command.is_too_large(recorded.params.version);
        assert_eq!(is_too_large, answer == Some(ErrorType::LargeMsg));
        sent += 1;
    }
    assert_eq!(sent, 42);
}

/// The error that answers a command, if there is one.
fn answer(following: &[Recorded], recorded: &Recorded) -> Option<ErrorType> {
    let answer = following.iter().find(|answer| {
        !answer.from_client
            && answer.value["corr_id"] == recorded.value["corr_id"]
            && answer.value["entity_id"] == recorded.value["entity_id"]
    })?;
    match Response::decode(answer.params.version, &answer.command).unwrap() {
        Response::Err(error) => Some(error),
        _ => None,
    }
}

fn compare_command(command: &Command, recorded: &Recorded) {
    let decoded = recorded.decoded();
    match command {
        Command::New(_) => compare_new(command, recorded),
        Command::Key(key) | Command::Skey(key) | Command::Lkey(key) => {
            compare_key(*key, &decoded["sender_key"]);
        }
        Command::Rkey(keys) if !decoded.is_null() => {
            let expected = list(decoded, "keys");
            assert_eq!(keys.len(), expected.len());
            keys.iter()
                .zip(expected)
                .for_each(|(key, expected)| compare_key(*key, expected));
        }
        Command::Lset { link_id, data } => {
            assert_eq!(link_id.as_bytes(), hex(&decoded["link_id"]));
            if !decoded["fixed"].is_null() {
                assert_eq!(*data, link_data(decoded));
            }
        }
        Command::Nkey { key, dh_key } => {
            compare_key(*key, &decoded["notifier_key"]);
            compare_dh_key(*dh_key, &decoded["recipient_notification_dh"]);
        }
        Command::Ack(id) => assert_eq!(id.as_bytes()[..], recorded.command[5..]),
        Command::Send { flags, body } => {
            let notification = recorded.command[5] == b'T';
            assert_eq!(*flags, MessageFlags { notification });
            assert_eq!(body[..], recorded.command[7..]);
        }
        Command::Prxy { relay, basic_auth } => {
            let hosts: Vec<_> = relay.hosts().iter().map(ToString::to_string).collect();
            assert_eq!(hosts, list(decoded, "hosts"));
            assert_eq!(relay.port().unwrap().to_string(), decoded["port"]);
            assert_eq!(
                relay.fingerprint().as_bytes()[..],
                hex(&decoded["key_hash"])
            );
            assert_eq!(basic_auth.as_ref().unwrap().as_str(), decoded["basic_auth"]);
        }
        Command::Pfwd { version, key, body } => {
            assert_eq!(usize::from(version.0), number(&decoded["forward_version"]));
            assert_eq!(key.as_bytes()[..], hex(&decoded["command_dh_public"]));
            assert_eq!(body.len(), number(&decoded["encrypted_len"]));
        }
        _ => assert!(decoded.is_null(), "{} is not compared", command.tag()),
    }
}

fn compare_new(command: &Command, recorded: &Recorded) {
    let (Command::New(new), decoded) = (command, recorded.decoded()) else {
        panic!("no NEW");
    };
    compare_key(new.auth_key, &decoded["recipient_auth_key"]);
    compare_dh_key(new.dh_key, &decoded["recipient_dh_key"]);
    if let Some(expected) = decoded.get("basic_auth") {
        assert_eq!(
            new.basic_auth.as_ref().map(|password| password.as_str()),
            expected.as_str()
        );
        assert_eq!(new.subscribe, decoded["subscribe"]);
    }
    assert_eq!(new.mode(), decoded.get("queue_mode").map(mode));
    assert!(new.notifier.is_none());
    let link = &decoded["link_data"];
    match &new.request {
        Some(QueueRequest::Messaging(Some((sender_id, data)))) => {
            assert_eq!(*sender_id, link_sender_id(recorded));
            assert_eq!(sender_id.as_bytes(), hex(&link["sender_id"]));
            assert_eq!(*data, link_data(link));
        }
        Some(QueueRequest::Contact(Some((link_id, sender_id, data)))) => {
            assert_eq!(*sender_id, link_sender_id(recorded));
            assert_eq!(link_id.as_bytes(), hex(&link["link_id"]));
            assert_eq!(sender_id.as_bytes(), hex(&link["sender_id"]));
            assert_eq!(*data, link_data(link));
        }
        _ => assert!(link.is_null()),
    }
}

fn link_sender_id(recorded: &Recorded) -> SenderId {
    let corr_id: [u8; 24] = hex(&recorded.value["corr_id"]).try_into().unwrap();
    QueueRequest::link_sender_id(&corr_id.into())
}

fn compare_response(response: &Response, recorded: &Recorded) {
    let decoded = recorded.decoded();
    match response {
        Response::Ids(_) => compare_ids(response, recorded),
        Response::Lnk { sender_id, data } => {
            assert_eq!(sender_id.as_bytes(), hex(&decoded["snd_id"]));
            assert_eq!(*data, link_data(decoded));
        }
        Response::Sok(service_id) => {
            assert!(service_id.is_none() && decoded["service_id"].is_null());
        }
        Response::Msg { id, body } => {
            assert_eq!(id.as_bytes()[..], hex(&decoded["msg_id"]));
            assert_eq!(body.len(), number(&decoded["enc_body"]["len"]));
        }
        Response::Nid {
            notifier_id,
            dh_key,
        } => {
            assert_eq!(notifier_id.as_bytes(), hex(&decoded["notifier_id"]));
            assert_eq!(dh_key.to_spki()[..], hex(&decoded["server_dh_spki"]));
        }
        Response::Nmsg { nonce, meta } => {
            assert_eq!(nonce[..], hex(&decoded["nonce"]));
            assert_eq!(*meta, hex(&decoded["enc_meta"]));
        }
        Response::Pkey {
            session_id,
            versions,
            certificates,
        } => {
            assert_eq!(session_id.as_bytes(), hex(&decoded["session_id"]));
            assert_eq!(
                usize::from(versions.min().0),
                number(&decoded["version_min"])
            );
            assert_eq!(
                usize::from(versions.max().0),
                number(&decoded["version_max"])
            );
            let expected: Vec<_> = list(decoded, "certificates_der_b64")
                .iter()
                .map(base64)
                .collect();
            assert_eq!(certificates.chain.certificates(), expected);
            assert_eq!(
                certificates.signed_key,
                base64(&decoded["signed_key_der_b64"])
            );
        }
        Response::Pres(body) => assert_eq!(body.len(), number(&decoded["encrypted_len"])),
        Response::Info(json) => assert_eq!(*json, decoded["parameter_text"]),
        Response::Err(error) => {
            let mut text = Vec::new();
            error.encode(recorded.params.version, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), decoded["parameter_text"]);
        }
        Response::Pong | Response::Ok | Response::End | Response::Deld => {
            assert!(decoded.as_object().unwrap().is_empty());
        }
        _ => panic!("{} is not compared", response.tag()),
    }
}

fn compare_ids(response: &Response, recorded: &Recorded) {
    let (Response::Ids(ids), decoded) = (response, recorded.decoded()) else {
        panic!("no IDS");
    };
    let version = recorded.params.version;
    assert_eq!(ids.recipient_id.as_bytes(), hex(&decoded["rcv_id"]));
    assert_eq!(ids.sender_id.as_bytes(), hex(&decoded["snd_id"]));
    assert_eq!(ids.dh_key.to_spki()[..], hex(&decoded["server_dh_spki"]));
    let expected = match decoded.get("sender_can_secure").and_then(Value::as_str) {
        Some("T") => Some(QueueMode::Messaging),
        Some(_) => Some(QueueMode::Contact),
        None => decoded.get("queue_mode").map(mode),
    };
    assert_eq!(ids.mode, expected);
    assert_eq!(ids.mode.is_some(), version >= SmpVersion::SKEY);
    let link_id = decoded.get("link_id").filter(|id| !id.is_null()).map(hex);
    assert_eq!(
        ids.link_id.as_ref().map(|id| id.as_bytes().to_vec()),
        link_id
    );
    assert!(ids.service_id.is_none() && decoded["service_id"].is_null());
    assert!(ids.notifier.is_none() && decoded["notifier"].is_null());
}

fn link_data(value: &Value) -> LinkData {
    LinkData {
        fixed: hex(&value["fixed"]),
        user: hex(&value["user"]),
    }
}

fn mode(value: &Value) -> QueueMode {
    match value.as_str().unwrap() {
        "M" => QueueMode::Messaging,
        "C" => QueueMode::Contact,
        other => panic!("mode {other}"),
    }
}

/// Compares with a key that the file describes, if it does.
fn compare_key(key: AuthPublicKey, expected: &Value) {
    if expected.is_null() {
        return;
    }
    assert_eq!(key.to_spki()[..], hex(&expected["spki"]));
    let raw = hex(&expected["public"]).try_into().unwrap();
    assert_eq!(
        key,
        match expected["type"].as_str().unwrap() {
            "ed25519" => AuthPublicKey::Ed25519(raw),
            _ => AuthPublicKey::X25519(raw),
        }
    );
}

fn compare_dh_key(key: DhPublicKey, expected: &Value) {
    assert_eq!(key.as_bytes()[..], hex(&expected["public"]));
}
