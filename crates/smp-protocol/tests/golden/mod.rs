//! Recorded sessions, with those bytes made again that the files hold a digest of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use smp_protocol::{BoxKey, SessionId, SessionParams, SmpVersion};

const FILES: [&str; 4] = [
    include_str!("../vectors/smp_v6_v10.json"),
    include_str!("../vectors/smp_v11_v18.json"),
    include_str!("../vectors/smp_v19.json"),
    include_str!("../vectors/smp_proxy.json"),
];

/// One transmission of a session.
pub(crate) struct Recorded {
    pub(crate) params: SessionParams,
    pub(crate) from_client: bool,
    /// As the file has it.
    pub(crate) value: Value,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// Its command or response.
    pub(crate) command: Vec<u8>,
    /// Whether the bytes are the recorded ones: not of the one message whose key is not recorded.
    pub(crate) whole: bool,
}

impl Recorded {
    pub(crate) fn tag(&self) -> &str {
        self.value["tag"].as_str().unwrap()
    }

    /// What the file says of the command or response, [`Value::Null`] if nothing.
    pub(crate) fn decoded(&self) -> &Value {
        &self.value["decoded"]
    }
}

/// Every transmission of every session, those inside forwarded ones behind them.
pub(crate) fn transmissions() -> Vec<Recorded> {
    let mut all = Vec::new();
    for file in FILES {
        let file: Value = serde_json::from_str(file).unwrap();
        let sessions = list(&file, "sessions");
        let sent = long_bodies(sessions);
        for session in sessions {
            read_session(session, &sent, &mut all);
        }
    }
    all
}

/// The bodies of long `SEND`s, which come back in messages.
fn long_bodies(sessions: &[Value]) -> Vec<Vec<u8>> {
    let blocks = sessions.iter().flat_map(|session| list(session, "blocks"));
    let all = blocks.flat_map(|block| list(block, "transmissions"));
    let long = all.filter(|value| value["tag"] == "SEND" && value["bytes"].is_object());
    long.map(|value| made_again(value, &Value::Null, &[]).split_off(b"SEND T ".len()))
        .collect()
}

fn read_session(session: &Value, sent: &[Vec<u8>], all: &mut Vec<Recorded>) {
    let version = u16::try_from(session["smp_version"].as_u64().unwrap()).unwrap();
    let id = SessionId::new(&hex(&session["session_id"])).unwrap();
    let params = SessionParams::new(SmpVersion(version), id);
    let mut forwarded = Value::Null;
    for block in list(session, "blocks") {
        let from_client = block["from"] == "client";
        for value in list(block, "transmissions") {
            if value["tag"] == "PFWD" {
                forwarded = value["decoded"].clone();
            }
            all.push(read(&params, from_client, value, &forwarded, sent));
            if let Some(inner) = value["decoded"].get("inner_transmission") {
                let version = forwarded["forward_version"].as_u64().unwrap();
                let version = SmpVersion(u16::try_from(version).unwrap());
                let params = SessionParams::new(version, params.session_id.clone());
                all.push(read(&params, from_client, inner, &Value::Null, &[]));
            }
        }
    }
}

fn read(
    params: &SessionParams,
    from_client: bool,
    value: &Value,
    forwarded: &Value,
    sent: &[Vec<u8>],
) -> Recorded {
    let digest = &value["bytes"]["sha256"];
    let prefix = prefix(params, value);
    let (bytes, command) = if digest.is_null() {
        let bytes = hex(&value["bytes"]);
        let command = bytes.strip_prefix(&prefix[..]).unwrap().to_vec();
        (bytes, command)
    } else {
        let command = made_again(value, forwarded, sent);
        ([&prefix[..], &command].concat(), command)
    };
    let whole = value["tag"] != "MSG" || !value["decoded"]["dh_secret"].is_null();
    if whole && !digest.is_null() {
        assert_eq!(bytes.len() as u64, value["bytes"]["len"].as_u64().unwrap());
        assert_eq!(Sha256::digest(&bytes)[..], hex(digest), "{value}");
    }
    Recorded {
        params: params.clone(),
        from_client,
        value: value.clone(),
        bytes,
        command,
        whole,
    }
}

/// What stands before the command.
fn prefix(params: &SessionParams, value: &Value) -> Vec<u8> {
    let authorization = hex(&value["authorization"]);
    let mut prefix = short(&authorization);
    if params.version.0 >= 16 && !authorization.is_empty() {
        prefix.push(b'0');
    }
    if params.version.0 < 7 {
        prefix.extend(short(params.session_id.as_bytes()));
    }
    prefix.extend(short(&hex(&value["corr_id"])));
    prefix.extend(short(&hex(&value["entity_id"])));
    prefix
}

/// The long commands and responses.
fn made_again(value: &Value, forwarded: &Value, sent: &[Vec<u8>]) -> Vec<u8> {
    let decoded = &value["decoded"];
    let text = value["tag"].as_str().unwrap();
    let mut command = [text.as_bytes(), b" "].concat();
    match text {
        "MSG" => {
            command.extend(short(&hex(&decoded["msg_id"])));
            command.extend(message_body(decoded, sent));
        }
        "SEND" if decoded.is_null() => {
            command.extend(b"F ");
            command.resize(number(&value["command"]["len"]), b'A');
        }
        "SEND" => {
            let flag = hex(&value["command"]["head"])[5];
            command.extend([flag, b' ']);
            command.extend(client_envelope(&decoded["client_envelope"]));
        }
        "PFWD" => {
            command.extend([
                0,
                u8::try_from(number(&decoded["forward_version"])).unwrap(),
            ]);
            command.extend(short(&x25519(&decoded["command_dh_public"])));
            let inner = hex(&decoded["inner_block"]);
            let (nonce, padded) = (&decoded["nonce"], &decoded["padded_len"]);
            command.extend(sealed(&decoded["secret"], nonce, &inner, padded));
        }
        "PRES" => {
            let inner = hex(&decoded["inner_block"]);
            let (nonce, padded) = (&decoded["response_nonce"], &decoded["padded_len"]);
            command.extend(sealed(&forwarded["secret"], nonce, &inner, padded));
        }
        "PKEY" => {
            command.extend(short(&hex(&decoded["session_id"])));
            for version in ["version_min", "version_max"] {
                command.extend([0, u8::try_from(number(&decoded[version])).unwrap()]);
            }
            let chain = list(decoded, "certificates_der_b64");
            command.push(u8::try_from(chain.len()).unwrap());
            chain
                .iter()
                .for_each(|certificate| command.extend(large(&base64(certificate))));
            command.extend(large(&base64(&decoded["signed_key_der_b64"])));
        }
        _ => panic!("{text} is not made again"),
    }
    command
}

/// The encrypted message; without its key what is known of it, and zeros.
fn message_body(decoded: &Value, sent: &[Vec<u8>]) -> Vec<u8> {
    let body = &decoded["enc_body"];
    if body["b64"].is_string() {
        return base64(&body["b64"]);
    }
    if decoded["dh_secret"].is_null() {
        let mut known = hex(&body["head"]);
        known.resize(number(&body["len"]), 0);
        return known;
    }
    let plain = &decoded["plain"];
    let plain = if plain.is_string() {
        hex(plain)
    } else {
        let time_and_flags = &hex(&plain["head"])[..10];
        let is_it = |plain: &Vec<u8>| Sha256::digest(plain)[..] == hex(&decoded["plain"]["sha256"]);
        sent.iter()
            .map(|body| [time_and_flags, body].concat())
            .find(is_it)
            .unwrap()
    };
    sealed(
        &decoded["dh_secret"],
        &decoded["msg_id"],
        &plain,
        &decoded["padded_len"],
    )
}

fn client_envelope(envelope: &Value) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(number(&envelope["version"])).unwrap()];
    match &envelope["sender_e2e_key"] {
        Value::Null => bytes.push(b'0'),
        key => {
            bytes.push(b'1');
            bytes.extend(short(&hex(&key["spki"])));
        }
    }
    bytes.extend(hex(&envelope["nonce"]));
    let plain = hex(&envelope["client_message_plain"]);
    let (nonce, padded) = (&envelope["nonce"], &envelope["padded_len"]);
    bytes.extend(sealed(&envelope["dh_secret"], nonce, &plain, padded));
    bytes
}

fn sealed(secret: &Value, nonce: &Value, plain: &[u8], padded: &Value) -> Vec<u8> {
    let key = BoxKey::from_bytes(&hex(secret).try_into().unwrap());
    key.seal_padded(&hex(nonce).try_into().unwrap(), plain, number(padded))
        .unwrap()
}

fn x25519(raw: &Value) -> Vec<u8> {
    [
        b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00",
        &hex(raw)[..],
    ]
    .concat()
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn large(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

pub(crate) fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

pub(crate) fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Bytes in hexadecimal.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let digits: Vec<u8> = value
        .as_str()
        .unwrap()
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|digits| digits[0] * 16 + digits[1])
        .collect()
}
