//! Two conversations whose keys come from a seed, and nothing else: recorded from the programs in
//! TypeScript and C.

use std::convert::Infallible;

use rand::rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use sha2::{Digest, Sha512};

use super::recorded::{array, base64, hex, number};
use crate::{
    InitiatorKeys, KemCiphertext, KemKeyPair, KemParams, KemPublicKey, KemSecret, KeySource,
    PqSupport, Ratchet, X448PrivateKey,
};

#[test]
fn a_conversation_without_a_kem_follows_from_its_seed() {
    assert_eq!(replay("pq_off", PqSupport::Off), 18);
}

#[test]
fn a_conversation_with_a_kem_follows_from_its_seed() {
    assert_eq!(replay("pq_accepted", PqSupport::On), 18);
}

fn replay(name: &str, pq: PqSupport) -> usize {
    let file: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/ratchet_seeded.json")).unwrap();
    let scenario = &file["scenarios"][name];
    let offset = number(&scenario["initiator"]["x448_1"]["stream_offset"]);
    let mut keys = SeededKeys(Stream::new(
        &hex(&file["random_source"]["seed_hex"]),
        offset,
    ));

    let own = InitiatorKeys::generate(&mut keys, pq == PqSupport::On);
    let recorded = &scenario["initiator"];
    assert_eq!(*own.key_1.as_bytes(), array(&recorded["x448_1"]["private"]));
    assert_eq!(own.key_2.public().0, array(&recorded["x448_2"]["public"]));
    if let Some(pair) = &own.kem {
        assert_eq!(pair.as_bytes()[..], base64(&recorded["kem"]["secret_b64"]));
        let public = pair.public();
        assert_eq!(
            public.as_bytes()[..],
            base64(&recorded["kem"]["public_b64"])
        );
    }

    let (mut joiner, params) = Ratchet::joiner(&own.params(), pq, &mut keys).unwrap();
    let recorded = &scenario["joiner"];
    assert_eq!(params.key_1.0, array(&recorded["x448_1"]["public"]));
    assert_eq!(
        joiner.own_key.public().0,
        array(&recorded["x448_3"]["public"])
    );
    if let Some(KemParams::Accepted { ciphertext, key }) = &params.kem {
        let encapsulated = &recorded["kem_encapsulated"];
        assert_eq!(
            ciphertext.as_bytes()[..],
            base64(&encapsulated["ciphertext_b64"])
        );
        assert_eq!(key.as_bytes()[..], base64(&recorded["kem"]["public_b64"]));
    }
    let mut initiator = Ratchet::initiator(&own, &params, pq).unwrap();
    assert_eq!(
        initiator.associated_data(),
        hex(&scenario["x3dh"]["associated_data"])
    );
    let root = initiator.root_key.as_bytes();
    assert_eq!(*root, array(&scenario["x3dh"]["root_key"]));

    // The recorded program drew two IVs before the first message, and threw them away.
    keys.0.skip(32);
    let steps = scenario["steps"].as_array().unwrap();
    let mut messages: Vec<(&str, Vec<u8>)> = Vec::new();
    for step in steps {
        let by_joiner = step["by"] == "joiner";
        let side = if by_joiner {
            &mut joiner
        } else {
            &mut initiator
        };
        let plain = step["plaintext"].as_str().unwrap();
        if step["op"] == "encrypt" {
            let padded = number(&step["padded_len"]);
            let message = side.encrypt(plain.as_bytes(), padded, None).unwrap();
            assert_eq!(message, base64(&step["message_b64"]), "{plain}");
            messages.push((plain, message));
            // And one with each message.
            keys.0.skip(16);
        } else {
            let (_, message) = messages.iter().find(|(text, _)| *text == plain).unwrap();
            assert_eq!(keys.0.offset, number(&step["stream_offset"]), "{plain}");
            let decrypted = side.decrypt(message, &mut keys).unwrap();
            assert_eq!(*decrypted.plain, plain.as_bytes());
            check_turn(side, step);
        }
    }
    steps.len()
}

fn check_turn(side: &Ratchet, step: &Value) {
    let Some(private) = step.get("new_x448_private") else {
        return;
    };
    assert_eq!(*side.own_key.as_bytes(), array(private));
    assert_eq!(*side.root_key.as_bytes(), array(&step["root_key_after"]));
    if let Some(digest) = step.get("new_kem_public_sha512") {
        let public = side.pq.own.as_ref().unwrap().pair.public();
        assert_eq!(Sha512::digest(public.as_bytes())[..], hex(digest));
    }
}

/// SHA-512 of the seed and a counter of eight bytes, block after block.
struct Stream {
    seed: Vec<u8>,
    offset: usize,
}

impl Stream {
    fn new(seed: &[u8], offset: usize) -> Self {
        Self {
            seed: seed.to_vec(),
            offset,
        }
    }

    fn skip(&mut self, count: usize) {
        self.offset += count;
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, mut out: &mut [u8]) -> Result<(), Infallible> {
        while !out.is_empty() {
            let (block, at) = ((self.offset / 64) as u64, self.offset % 64);
            let block = Sha512::new()
                .chain_update(&self.seed)
                .chain_update(block.to_be_bytes())
                .finalize();
            let count = out.len().min(64 - at);
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&block[at..at + count]);
            self.skip(count);
            out = later;
        }
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

struct SeededKeys(Stream);

impl KeySource for SeededKeys {
    fn x448(&mut self) -> X448PrivateKey {
        let key = X448PrivateKey::generate(&mut self.0);
        // The recorded program drew these for blinding.
        self.0.skip(16);
        key
    }

    fn kem_pair(&mut self) -> KemKeyPair {
        KemKeyPair::generate(&mut self.0)
    }

    fn encapsulate(&mut self, to: &KemPublicKey) -> (KemCiphertext, KemSecret) {
        to.encapsulate(&mut self.0)
    }
}
