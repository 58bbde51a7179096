//! Recorded values, and those bytes made again of which the files hold a digest.

#![allow(dead_code, reason = "each test uses a part of it")]

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use smp_protocol::pad;

type Cipher = AesGcm<Aes256, U16>;

/// Length of a padded header of the ratchet, without and with room for post-quantum keys.
const PADDED_HEADERS: [usize; 2] = [88, 2310];

pub(crate) fn file(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

pub(crate) fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap()
}

/// Bytes in hexadecimal.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text(value)
        .as_bytes()
        .chunks(2)
        .map(|digits| digit(digits[0]) * 16 + digit(digits[1]))
        .collect()
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// That the bytes have the recorded length and digest.
pub(crate) fn assert_digest(bytes: &[u8], length: &Value, digest: &Value) {
    assert_eq!(bytes.len(), number(length));
    assert_eq!(sha256(bytes), array(digest));
}

pub(crate) fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub(crate) fn large(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A message of the ratchet with the recorded keys.
pub(crate) fn ratchet_message(ratchet: &Value, plain: &[u8]) -> Vec<u8> {
    let header = match &ratchet["header_plain"] {
        Value::Null => base64(&ratchet["header_plain_b64"]),
        header => hex(header),
    };
    let padded = number(&ratchet["padded_len"]);
    let padded_header = PADDED_HEADERS[usize::from(padded < 14_000)];
    let associated = hex(&ratchet["associated_data"]);
    let (key, iv) = (array(&ratchet["header_key"]), array(&ratchet["header_iv"]));
    let mut body = pad(&header, padded_header).unwrap();
    let tag = seal(&key, &iv, &associated, &mut body);
    let header = [&[0, 3], &iv[..], &tag, &large(&body)].concat();

    let (key, iv) = (
        array(&ratchet["message_key"]),
        array(&ratchet["message_iv"]),
    );
    let mut body = pad(plain, padded).unwrap();
    let tag = seal(&key, &iv, &[associated, header.clone()].concat(), &mut body);
    let message = [large(&header), tag.to_vec(), body].concat();
    assert_digest(
        &message,
        &ratchet["message_len"],
        &ratchet["message_sha256"],
    );
    message
}

/// What a message of the ratchet says, with the recorded keys.
pub(crate) fn ratchet_plain(keys: &Value, message: &[u8]) -> Vec<u8> {
    let (length, rest) = message.split_first_chunk::<2>().unwrap();
    let (header, rest) = rest.split_at(u16::from_be_bytes(*length).into());
    let (tag, body) = rest.split_first_chunk::<16>().unwrap();
    let mut body = body.to_vec();
    let associated = [hex(&keys["associated_data"]), header.to_vec()].concat();
    Cipher::new(&Key::<Cipher>::from(array(&keys["message_key"])))
        .decrypt_inout_detached(
            &Nonce::<U16>::from(array::<16>(&keys["message_iv"])),
            &associated,
            body.as_mut_slice().into(),
            &Tag::<U16>::from(*tag),
        )
        .unwrap();
    smp_protocol::unpad(&body).unwrap().to_vec()
}

fn seal(key: &[u8; 32], iv: &[u8; 16], associated: &[u8], bytes: &mut [u8]) -> [u8; 16] {
    Cipher::new(&Key::<Cipher>::from(*key))
        .encrypt_inout_detached(&Nonce::<U16>::from(*iv), associated, bytes.into())
        .unwrap()
        .into()
}

/// The bytes of `E2eParams` or, with a range of versions, of `E2eParamsRange`.
pub(crate) fn e2e_bytes(e2e: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for version in ["version", "version_min", "version_max"] {
        if let Some(version) = e2e[version].as_u64() {
            bytes.extend(u16::try_from(version).unwrap().to_be_bytes());
        }
    }
    bytes.extend(short(&hex(&e2e["key_1_spki"])));
    bytes.extend(short(&hex(&e2e["key_2_spki"])));
    let kem = &e2e["kem"];
    if kem.is_null() {
        bytes.push(b'0');
    } else if kem["proposed_public_b64"].is_string() {
        bytes.extend(b"1P");
        bytes.extend(large(&base64(&kem["proposed_public_b64"])));
    } else {
        bytes.extend(b"1A");
        bytes.extend(large(&base64(&kem["accepted_ciphertext_b64"])));
        bytes.extend(large(&base64(&kem["public_b64"])));
    }
    bytes
}
