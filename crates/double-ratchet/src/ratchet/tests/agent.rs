//! Messages of a whole connection between two agents. Each comes with its own keys, so that it is
//! made again and opened by itself.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::recorded::{array, base64, hex, number};
use crate::aead::Iv;
use crate::kdf::MessageKey;
use crate::message::{self, SealedHeader, SealedMessage, padded_header, unpad};
use crate::secret::{HeaderKey, Secret};
use crate::{
    E2eParams, E2eVersion, KemCiphertext, KemParams, KemPublicKey, MessageHeader, PqSupport,
    X448PublicKey,
};

#[test]
fn every_message_of_a_connection_is_made_again_and_opened() {
    let mut count = 0;
    for recorded in messages() {
        let keys = &recorded["ratchet"];
        if keys.is_null() {
            continue;
        }
        let message = make(keys, &base64(&recorded["agent_message"]["bytes_b64"]));
        assert_eq!(message.len(), number(&keys["message_len"]));
        assert_eq!(Sha256::digest(&message)[..], hex(&keys["message_sha256"]));
        open(
            keys,
            &message,
            &base64(&recorded["agent_message"]["bytes_b64"]),
        );
        check_params(&recorded["agent_envelope"], &message);
        count += 1;
    }
    assert_eq!(count, 28);
}

#[test]
fn the_parameters_for_a_new_ratchet_are_made_again() {
    let mut count = 0;
    for recorded in messages() {
        let envelope = &recorded["agent_envelope"];
        if envelope["tag"] == "R" {
            let mut bytes = hex(&envelope["head_hex"]);
            params(&envelope["e2e_params"]).encode(&mut bytes);
            bytes.extend(hex(&envelope["info_hex"]));
            assert_eq!(Sha256::digest(&bytes)[..], hex(&envelope["sha256"]));
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

fn messages() -> Vec<Value> {
    let file: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/agent.json")).unwrap();
    file["messages"].as_array().unwrap().clone()
}

fn make(keys: &Value, plain: &[u8]) -> Vec<u8> {
    let header = base64(&keys["header_plain_b64"]);
    let version = E2eVersion::V3;
    let header = MessageHeader::decode(version, &header).unwrap();
    let associated = array(&keys["associated_data"]);
    let header = SealedHeader::seal(
        &header,
        version,
        padded_header(version, PqSupport::On),
        &header_key(keys),
        &array::<16>(&keys["header_iv"]),
        &associated,
    );
    let padded = number(&keys["padded_len"]);
    message::seal(&associated, &header, &message_key(keys), plain, padded)
}

fn open(keys: &Value, message: &[u8], plain: &[u8]) {
    let associated = array(&keys["associated_data"]);
    let sealed = SealedMessage::decode(message).unwrap();
    let padded = sealed.open_header(&header_key(keys), &associated).unwrap();
    let mut header = Vec::new();
    let read = sealed.read_header(&padded).unwrap();
    read.encode(sealed.version, &mut header);
    assert_eq!(header, base64(&keys["header_plain_b64"]));
    let mut opened = sealed.open_body(&message_key(keys), &associated).unwrap();
    unpad(&mut opened).unwrap();
    assert_eq!(*opened, plain);
}

/// The joiner's parameters are in front of its first message.
fn check_params(envelope: &Value, message: &[u8]) {
    if envelope["tag"] == "C" && !envelope["e2e_params"].is_null() {
        let mut bytes = [&hex(&envelope["head_hex"])[..], b"1"].concat();
        params(&envelope["e2e_params"]).encode(&mut bytes);
        bytes.extend(message);
        assert_eq!(bytes.len(), number(&envelope["len"]));
        assert_eq!(Sha256::digest(&bytes)[..], hex(&envelope["sha256"]));
    }
}

fn params(recorded: &Value) -> E2eParams {
    let public = |value| KemPublicKey::from_bytes(&base64(value).try_into().unwrap());
    let kem = &recorded["kem"];
    let kem = match kem.get("accepted_ciphertext_b64") {
        Some(ciphertext) => KemParams::Accepted {
            ciphertext: KemCiphertext::from_bytes(&base64(ciphertext).try_into().unwrap()),
            key: public(&kem["public_b64"]),
        },
        None => KemParams::Proposed(public(&kem["proposed_public_b64"])),
    };
    let key = |name| X448PublicKey::from_spki(&hex(&recorded[name])).unwrap();
    E2eParams {
        version: E2eVersion(number(&recorded["version"]) as u16),
        key_1: key("key_1_spki"),
        key_2: key("key_2_spki"),
        kem: Some(kem),
    }
}

fn header_key(keys: &Value) -> HeaderKey {
    HeaderKey::from_bytes(&array(&keys["header_key"]))
}

fn message_key(keys: &Value) -> MessageKey {
    let iv: Iv = array(&keys["message_iv"]);
    MessageKey {
        key: Secret::from_bytes(&array(&keys["message_key"])),
        iv,
    }
}
