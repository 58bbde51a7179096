//! Datagrams as an attacker makes them, for tests.

use rtc::stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USERNAME, AttrType,
};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;

/// A role attribute with the strongest tie-breaker there is.
pub(crate) fn role(controlling: bool) -> (AttrType, [u8; 8]) {
    if controlling {
        (ATTR_ICE_CONTROLLING, [0xff; 8])
    } else {
        (ATTR_ICE_CONTROLLED, [0; 8])
    }
}

/// A Binding request, with integrity by `password`, if there is one.
pub(crate) fn binding_request(
    username: &str,
    password: Option<&str>,
    role: (AttrType, [u8; 8]),
) -> Vec<u8> {
    let provider = rtc::crypto::default_provider().unwrap();
    let mut message = Message::new();
    let mut setters: Vec<Box<dyn Setter + '_>> = vec![
        Box::new(BINDING_REQUEST),
        Box::new(TransactionId::new()),
        Box::new(TextAttribute::new(ATTR_USERNAME, username.to_owned())),
    ];
    if let Some(password) = password {
        setters.push(Box::new(Attribute(role.0, role.1.to_vec())));
        setters.push(Box::new(Attribute(ATTR_PRIORITY, vec![0x6e, 0, 0, 1])));
        setters.push(Box::new(
            MessageIntegrity::new_short_term_integrity_with_provider(
                password.to_owned(),
                provider.crypto(),
            ),
        ));
        setters.push(Box::new(FINGERPRINT));
    } else {
        setters.push(Box::new(Attribute(role.0, role.1.to_vec())));
    }
    message.build(&setters).unwrap();
    message.raw
}

struct Attribute(AttrType, Vec<u8>);

impl Setter for Attribute {
    fn add_to(&self, message: &mut Message) -> Result<(), rtc::shared::error::Error> {
        message.add(self.0, &self.1);
        Ok(())
    }
}

/// A DTLS record.
pub(crate) fn record(kind: u8, epoch: u16, number: u32, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend([0, 0]);
    record.extend(number.to_be_bytes());
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

/// A handshake fragment of `kind` with these header fields, and `body`.
pub(crate) fn fragment(
    kind: u8,
    length: u32,
    message: u16,
    offset: u32,
    present: u32,
    body: &[u8],
) -> Vec<u8> {
    let mut fragment = vec![kind];
    fragment.extend(&length.to_be_bytes()[1..]);
    fragment.extend(message.to_be_bytes());
    fragment.extend(&offset.to_be_bytes()[1..]);
    fragment.extend(&present.to_be_bytes()[1..]);
    fragment.extend(body);
    fragment
}

/// An RTP packet with room for a tag, of zeros.
pub(crate) fn rtp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend([0; 6]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0; 60]);
    packet
}

/// An RTCP receiver report, likewise.
pub(crate) fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0; 20]);
    packet
}
