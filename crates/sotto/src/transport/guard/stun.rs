//! STUN messages of ICE (RFC 8489, RFC 8445 §7.3).

use rtc::crypto::RTCCrypto;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::Message;
use zeroize::Zeroizing;

/// Longest message that is taken. Checks have some 100 bytes.
const MAX_MESSAGE: usize = 1_280;

/// Most attributes in a message.
const MAX_ATTRIBUTES: usize = 32;

const HEADER_LEN: usize = 20;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_LEN: usize = 4;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const FINGERPRINT: u16 = 0x8028;

/// The Binding messages that the library acts on.
pub(super) enum StunClass {
    Request,
    Indication,
    Success,
}

/// What a message is, if it is one of those.
pub(super) fn class(bytes: &[u8]) -> Option<StunClass> {
    if bytes.len() < HEADER_LEN || bytes.len() > MAX_MESSAGE || bytes[4..8] != MAGIC_COOKIE {
        return None;
    }
    match bytes[..2] {
        [0x00, 0x01] => Some(StunClass::Request),
        [0x00, 0x11] => Some(StunClass::Indication),
        [0x01, 0x01] => Some(StunClass::Success),
        _ => None,
    }
}

/// ICE user name fragment and password of this side.
pub(super) struct Credentials {
    ufrag: String,
    password: Zeroizing<String>,
}

impl Credentials {
    /// Those of a description: with BUNDLE all sections have the same.
    pub(super) fn of_sdp(sdp: &str) -> Option<Self> {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            ufrag: value("a=ice-ufrag:")?.trim().to_owned(),
            password: Zeroizing::new(value("a=ice-pwd:")?.trim().to_owned()),
        })
    }

    /// Whether a Binding request is for this side, from someone who knows the password, and has
    /// nothing in it that the password does not protect.
    pub(super) fn is_meant(&self, bytes: &[u8], crypto: &dyn RTCCrypto) -> bool {
        let Some(username) = protected_username(bytes) else {
            return false;
        };
        let ours = username
            .strip_prefix(self.ufrag.as_bytes())
            .is_some_and(|rest| rest.starts_with(b":"));
        if !ours {
            return false;
        }
        let mut message = Message {
            raw: bytes.to_vec(),
            ..Message::default()
        };
        message.decode().is_ok()
            && MessageIntegrity::check(&mut message, self.password.as_bytes(), crypto).is_ok()
    }
}

/// The USERNAME of a well-formed message in which nothing but a FINGERPRINT follows the integrity:
/// the library also acts on attributes behind it, which anyone can add.
fn protected_username(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    let mut rest = bytes.get(HEADER_LEN..)?;
    if rest.len() != length {
        return None;
    }
    let (mut username, mut protected) = (None, false);
    for _ in 0..MAX_ATTRIBUTES {
        let [t0, t1, l0, l1, ..] = *rest else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(ATTRIBUTE_HEADER_LEN..ATTRIBUTE_HEADER_LEN + len)?;
        match (u16::from_be_bytes([t0, t1]), protected) {
            (MESSAGE_INTEGRITY, false) if len == INTEGRITY_LEN => protected = true,
            (FINGERPRINT, true) if len == FINGERPRINT_LEN => {}
            (MESSAGE_INTEGRITY | FINGERPRINT, _) | (_, true) => return None,
            (USERNAME, false) if username.replace(value).is_some() => return None,
            _ => {}
        }
        rest = rest.get(ATTRIBUTE_HEADER_LEN + len.next_multiple_of(4)..)?;
    }
    username.filter(|_| protected && rest.is_empty())
}
