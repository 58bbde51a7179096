//! Every step of the conversations that SimpleX's own program recorded, made again byte for byte
//! from the recorded keys, with the whole state after each.

use serde_json::{Map, Value, json};
use smp_protocol::encoding::Reader;

use super::recorded::{Recorded, array, base64, hex, number, pair, to_hex, x448};
use crate::kdf::Agreed;
use crate::message::padded_header;
use crate::{
    DecryptError, E2eParams, E2eVersion, InitiatorKeys, KemParams, MessageHeader, PqSupport,
    Ratchet, params_hash,
};

#[test]
fn conversations_without_a_kem_are_made_again() {
    let steps = replay_all(include_str!("../../../tests/vectors/ratchet.json"));
    assert_eq!(steps, 51);
}

#[test]
fn conversations_with_a_kem_are_made_again() {
    let steps = replay_all(include_str!("../../../tests/vectors/ratchet_pq.json"));
    assert_eq!(steps, 30);
}

#[test]
fn conversations_that_switch_the_kem_are_made_again() {
    let steps = replay_all(include_str!(
        "../../../tests/vectors/ratchet_pq_switch.json"
    ));
    assert_eq!(steps, 48);
}

fn replay_all(file: &str) -> usize {
    let scenarios: Map<String, Value> = serde_json::from_str(file).unwrap();
    scenarios
        .iter()
        .map(|(name, scenario)| replay(name, scenario))
        .sum()
}

/// Both sides of a recorded conversation.
struct Replay {
    joiner: Ratchet,
    initiator: Ratchet,
    messages: Map<String, Value>,
}

fn replay(name: &str, scenario: &Value) -> usize {
    let own = InitiatorKeys {
        key_1: x448(&scenario["initiator"]["x448_private_1"]),
        key_2: x448(&scenario["initiator"]["x448_private_2"]),
        kem: scenario["initiator"].get("kem_proposed").map(pair),
    };
    let offered = params(&scenario["initiator"]["e2e_params_b64"]);
    assert_eq!(own.params().for_version(offered.version).unwrap(), offered);
    assert_eq!(own.hash(), params_hash(&offered.key_1, &offered.key_2));

    let (mut joiner, answered) = join(scenario, &offered);
    let support = joiner.support();
    let mut initiator = Ratchet::initiator(&own, &answered, support).unwrap();
    check_agreement(&own, &answered, &scenario["x3dh"], &initiator);

    // The recorded programs spoke nothing newer than their first version.
    let max = E2eVersion(number(&scenario["version"]) as u16);
    joiner.versions.max = max;
    initiator.versions.max = max;
    check_state(name, &joiner, &scenario["joiner_state"]);
    check_state(name, &initiator, &scenario["initiator_state"]);

    let mut replay = Replay {
        joiner,
        initiator,
        messages: Map::new(),
    };
    let steps = scenario["steps"].as_array().unwrap();
    for (at, step) in steps.iter().enumerate() {
        replay.step(&format!("{name}, step {at}"), step);
    }
    steps.len()
}

fn join(scenario: &Value, offered: &E2eParams) -> (Ratchet, E2eParams) {
    let recorded = &scenario["joiner"];
    let mut keys = Recorded::default();
    for name in ["x448_private_1", "x448_private_2", "x448_private_3"] {
        keys.x448.push_back(x448(&recorded[name]));
    }
    keys.add_pair(&recorded["kem_own"]);
    keys.add_encapsulated(&recorded["kem_accepted"]);
    let support = support(&scenario["joiner_state"]["pq_support"]);
    let bytes = base64(&recorded["e2e_params_b64"]);

    let (ratchet, params) = if let Some(proposed) = recorded.get("kem_proposed") {
        // It proposes a KEM although it could accept one, as a peer does in a resynchronisation.
        let own = InitiatorKeys {
            key_1: keys.x448.pop_front().unwrap(),
            key_2: keys.x448.pop_front().unwrap(),
            kem: Some(pair(proposed)),
        };
        let params = own.params().for_version(offered.version).unwrap();
        let ratchet = Ratchet::joiner_with(&own, offered, support, &mut keys).unwrap();
        (ratchet, params)
    } else {
        Ratchet::joiner(&offered.clone().into(), support, &mut keys).unwrap()
    };
    assert!(keys.is_used_up());
    let mut encoded = Vec::new();
    params.encode(&mut encoded);
    assert_eq!(encoded, bytes);
    assert_eq!(self::params(&recorded["e2e_params_b64"]), params);
    (ratchet, params)
}

fn params(base64ed: &Value) -> E2eParams {
    let bytes = base64(base64ed);
    let mut reader = Reader::new(&bytes);
    let params = E2eParams::decode(&mut reader).unwrap();
    assert!(reader.is_empty());
    params
}

fn support(value: &Value) -> PqSupport {
    if value.as_bool().unwrap() {
        PqSupport::On
    } else {
        PqSupport::Off
    }
}

/// X3DH's intermediate values.
fn check_agreement(own: &InitiatorKeys, peer: &E2eParams, recorded: &Value, ratchet: &Ratchet) {
    let agreements = [
        own.key_1.agree(&peer.key_2).unwrap(),
        own.key_2.agree(&peer.key_1).unwrap(),
        own.key_2.agree(&peer.key_2).unwrap(),
    ];
    for (agreed, name) in agreements.iter().zip(["dh_1", "dh_2", "dh_3"]) {
        assert_eq!(agreed.as_bytes()[..], hex(&recorded[name]));
    }
    let secret = match &peer.kem {
        Some(KemParams::Accepted { ciphertext, .. }) => {
            Some(own.kem.as_ref().unwrap().decapsulate(ciphertext))
        }
        _ => None,
    };
    let agreed = Agreed::derive(&agreements, secret.as_ref());
    assert_eq!(
        *agreed.header_key.as_bytes(),
        array(&recorded["header_key"])
    );
    let next = agreed.next_header_key.as_bytes();
    assert_eq!(*next, array(&recorded["next_header_key"]));
    assert_eq!(*agreed.root_key.as_bytes(), array(&recorded["root_key"]));
    assert_eq!(ratchet.associated_data(), hex(&recorded["associated_data"]));
}

impl Replay {
    fn step(&mut self, at: &str, step: &Value) {
        let side = match step["by"].as_str().unwrap() {
            "joiner" => &mut self.joiner,
            _ => &mut self.initiator,
        };
        // Every step is made by a ratchet that was stored before it.
        *side = Ratchet::from_bytes(&side.to_bytes()).unwrap();
        let label = step["message_label"].as_str().unwrap();
        if step["op"] == "encrypt" {
            encrypt(at, side, step);
            self.messages
                .insert(label.into(), step["message_b64"].clone());
        } else {
            decrypt(at, side, step, &base64(&self.messages[label]));
        }
    }
}

fn encrypt(at: &str, side: &mut Ratchet, step: &Value) {
    let preference = step["pq_preference"].as_bool();
    let chain = side.sending.as_ref().unwrap();
    assert_eq!(*chain.header_key.as_bytes(), array(&step["header_key"]));
    assert_eq!(*chain.chain_key.as_bytes(), array(&step["chain_key"]));
    let next = chain.chain_key.step();
    assert_eq!(next.header_iv, array(&step["header_iv"]));
    assert_eq!(next.message_key.iv, array(&step["message_iv"]));
    assert_eq!(
        *next.message_key.key.as_bytes(),
        array(&step["message_key"])
    );

    let mut header = Vec::new();
    side.header().encode(side.version(), &mut header);
    assert_eq!(header, base64(&step["header_plain_b64"]), "{at}");
    let decoded = MessageHeader::decode(side.version(), &header).unwrap();
    assert_eq!(decoded, side.header());

    let plain = step["plaintext"].as_str().unwrap();
    let padded = number(&step["padded_len"]);
    let message = side.encrypt(plain.as_bytes(), padded, preference).unwrap();
    assert_eq!(message, base64(&step["message_b64"]), "{at}");
    let padded = padded_header(side.version(), side.support());
    assert_eq!(padded, number(&step["header_padded_len"]), "{at}");
    check_state(at, side, &step["state_after"]);
}

fn decrypt(at: &str, side: &mut Ratchet, step: &Value, message: &[u8]) {
    let before = side.to_bytes();
    let mut keys = Recorded::of(&step["generated"]);
    match side.decrypt(message, &mut keys) {
        Ok(decrypted) => {
            assert_eq!(step["result"], "ok", "{at}");
            let plain = step["plaintext"].as_str().unwrap();
            assert_eq!(*decrypted.plain, plain.as_bytes(), "{at}");
            let turned = step["ratchet_step"].as_bool().unwrap_or(false);
            assert_eq!(decrypted.turned, turned, "{at}");
            assert_eq!(decrypted.pq, side.pq_receiving(), "{at}");
            assert_eq!(
                side.skipped.len(),
                number(&step["skipped_keys_held"]),
                "{at}"
            );
            check_state(at, side, &step["state_after"]);
        }
        Err(error) => {
            assert_eq!(step["result"], "error", "{at}: {error}");
            assert_eq!(error, recorded_error(step), "{at}");
            assert_eq!(side.to_bytes(), before, "{at}");
        }
    }
    assert!(keys.is_used_up(), "{at}");
}

fn recorded_error(step: &Value) -> DecryptError {
    match step["error"].as_str().unwrap() {
        "duplicate" => DecryptError::Duplicate,
        "header" => DecryptError::Header,
        _ => {
            let text = step["haskell_error"].as_str().unwrap();
            let (_, before) = text.rsplit_once(' ').unwrap();
            DecryptError::Earlier(before.parse().unwrap())
        }
    }
}

/// Compares what is recorded of a state, which is all of it or what has changed.
fn check_state(at: &str, ratchet: &Ratchet, recorded: &Value) {
    let state = view(ratchet);
    for (name, value) in recorded.as_object().unwrap() {
        assert_eq!(&state[name], value, "{at}: {name}");
    }
}

fn view(ratchet: &Ratchet) -> Value {
    let sending = ratchet.sending.as_ref();
    let receiving = ratchet.receiving.as_ref();
    let key = |key: Option<&[u8; 32]>| key.map(|key| to_hex(key));
    json!({
        "version": ratchet.version().0,
        "max_version": ratchet.versions.max.0,
        "root_key": to_hex(ratchet.root_key.as_bytes()),
        "header_key_snd": key(sending.map(|chain| chain.header_key.as_bytes())),
        "chain_key_snd": key(sending.map(|chain| chain.chain_key.as_bytes())),
        "header_key_rcv": key(receiving.map(|chain| chain.header_key.as_bytes())),
        "chain_key_rcv": key(receiving.map(|chain| chain.chain_key.as_bytes())),
        "next_header_key_snd": to_hex(ratchet.next_sending_header_key.as_bytes()),
        "next_header_key_rcv": to_hex(ratchet.next_receiving_header_key.as_bytes()),
        "ns": ratchet.sent,
        "nr": receiving.map_or(0, |chain| chain.next),
        "pn": ratchet.previous_count,
        "pq_support": ratchet.support() == PqSupport::On,
        "pq_enabled": ratchet.pq_enabled(),
        "pq_snd": ratchet.pq_sending(),
        "pq_rcv": ratchet.pq_receiving(),
        "kem_keypair_kept": ratchet.pq.own.is_some(),
    })
}
