//! Recorded keys and values.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{KemCiphertext, KemKeyPair, KemPublicKey, KemSecret, KeySource, X448PrivateKey};

/// Gives out keys in their order, and panics if there are no more.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) x448: VecDeque<X448PrivateKey>,
    pub(super) pairs: VecDeque<KemKeyPair>,
    pub(super) encapsulated: VecDeque<(KemCiphertext, KemSecret)>,
}

impl Recorded {
    /// What a step generated: `dh_private`, and perhaps `kem` and `kem_encapsulated`.
    pub(super) fn of(generated: &Value) -> Self {
        let mut keys = Self::default();
        if let Some(private) = generated.get("dh_private") {
            keys.x448.push_back(x448(private));
        }
        keys.add_pair(&generated["kem"]);
        keys.add_encapsulated(&generated["kem_encapsulated"]);
        keys
    }

    pub(super) fn add_pair(&mut self, value: &Value) {
        if !value.is_null() {
            self.pairs.push_back(pair(value));
        }
    }

    pub(super) fn add_encapsulated(&mut self, value: &Value) {
        if !value.is_null() {
            let ciphertext = base64(&value["ciphertext_b64"]).try_into().unwrap();
            self.encapsulated.push_back((
                KemCiphertext::from_bytes(&ciphertext),
                KemSecret::from_bytes(&array(&value["shared_secret"])),
            ));
        }
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.x448.is_empty() && self.pairs.is_empty() && self.encapsulated.is_empty()
    }
}

impl KeySource for Recorded {
    fn x448(&mut self) -> X448PrivateKey {
        self.x448.pop_front().unwrap()
    }

    fn kem_pair(&mut self) -> KemKeyPair {
        self.pairs.pop_front().unwrap()
    }

    fn encapsulate(&mut self, _: &KemPublicKey) -> (KemCiphertext, KemSecret) {
        self.encapsulated.pop_front().unwrap()
    }
}

pub(super) fn x448(private: &Value) -> X448PrivateKey {
    X448PrivateKey::from_bytes(&array(private))
}

pub(super) fn pair(value: &Value) -> KemKeyPair {
    let secret = base64(&value["secret_b64"]).try_into().unwrap();
    let pair = KemKeyPair::from_bytes(&secret);
    assert_eq!(pair.public().as_bytes()[..], base64(&value["public_b64"]));
    pair
}

pub(super) fn array<const N: usize>(hexadecimal: &Value) -> [u8; N] {
    hex(hexadecimal).try_into().unwrap()
}

pub(super) fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

pub(super) fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}
