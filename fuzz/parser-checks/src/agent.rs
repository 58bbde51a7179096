//! What agents send each other, links, and what stands behind them.

use smp_agent::protocol::{AMessage, AgentDecodeError, AgentVersionRange};
use smp_agent::protocol::{
    AgentEnvelope, AgentMessage, ConnectionLink, ConnectionRequest, FixedLinkData, LinkError,
    LinkNonces, LinkSigningKey, LinkTextError, MAX_LINK, MAX_QUEUES, MAX_RECEIPTS, RequestKind,
    ShortLink, UserLinkData, open_link, seal_link,
};
use smp_protocol::{MAX_ADDRESS, Reader};

/// The seed of the root key of the corpus's links, made for them alone.
const ROOT_KEY: [u8; 32] = [7; 32];

/// A queue's message. What is taken is the same when it is written and read again.
pub fn agent_envelope(data: &[u8]) {
    let Ok(envelope) = AgentEnvelope::decode(data) else {
        return;
    };
    if let AgentEnvelope::Invitation { request, .. } = &envelope
        && !is_readable(&request.to_string())
    {
        return;
    }
    let bytes = envelope
        .to_bytes()
        .unwrap_or_else(|error| panic!("an envelope cannot be written: {error}"));
    assert_eq!(AgentEnvelope::decode(&bytes), Ok(envelope));
}

/// A message inside the ratchet's encryption. What is taken keeps its limits, and is the same when
/// it is written and read again.
pub fn agent_message(data: &[u8]) {
    let message = match AgentMessage::decode(data) {
        Ok(message) => message,
        Err(error) => {
            assert!(!matches!(error, AgentDecodeError::Request(_)));
            return;
        }
    };
    let (queues, receipts) = match &message {
        AgentMessage::ConnectionInfoReply { queues, .. } => (queues.len(), 1),
        AgentMessage::Message { message, .. } => match message {
            AMessage::AddQueues(queues) => (queues.len(), 1),
            AMessage::QueueKeys(queues) => (queues.len(), 1),
            AMessage::UseQueues(queues) => (queues.len(), 1),
            AMessage::TestQueues(queues) => (queues.len(), 1),
            AMessage::Received(receipts) => (1, receipts.len()),
            _ => (1, 1),
        },
        _ => (1, 1),
    };
    assert!((1..=MAX_QUEUES).contains(&queues) && (1..=MAX_RECEIPTS).contains(&receipts));
    let bytes = message
        .to_bytes()
        .unwrap_or_else(|error| panic!("a message cannot be written: {error}"));
    assert_eq!(AgentMessage::decode(&bytes), Ok(message));
}

/// A link as text, or in binary. What is taken is the same when it is written and read again, as
/// text and in binary.
pub fn connection_link(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        match text.parse() {
            Ok(ConnectionLink::Full(request)) => full_link(&request),
            Ok(ConnectionLink::Short(link)) => short_link(&link),
            Err(error) => assert!(error != LinkTextError::TooLong || text.len() > MAX_LINK),
        }
    }
    if let Ok(request) = ConnectionRequest::decode(&mut Reader::new(data)) {
        full_link(&request);
        binary(&request);
    }
    if let Ok(link) = ShortLink::decode(&mut Reader::new(data)) {
        short_link(&link);
    }
}

fn full_link(request: &ConnectionRequest) {
    assert!((1..=MAX_QUEUES).contains(&request.queues.len()));
    let text = request.to_string();
    // A link in binary may have older versions than an address is read with.
    let is_old = matches!(request.kind, RequestKind::Contact)
        && request.versions != request.versions.adjust();
    if is_readable(&text) && !is_old {
        assert_eq!(text.parse().as_ref(), Ok(request));
        assert_eq!(text.parse(), Ok(ConnectionLink::Full(request.clone())));
    }
}

fn short_link(link: &ShortLink) {
    let text = link.to_string();
    if is_readable(&text) {
        assert_eq!(text.parse().as_ref(), Ok(link));
        assert_eq!(text.parse(), Ok(ConnectionLink::Short(link.clone())));
    }
    let mut bytes = Vec::new();
    link.encode(&mut bytes);
    let again = ShortLink::decode(&mut Reader::new(&bytes));
    assert!(again.is_ok_and(|again| again.key == link.key && again.server == link.server));
}

/// Whether no text in it can be longer than the limits, once it is written with percent signs.
fn is_readable(text: &str) -> bool {
    text.len() <= MAX_ADDRESS
}

/// The request is the same when it is written in binary and read again.
fn binary(request: &ConnectionRequest) {
    // Behind an old queue the next one's version may look like the word for "cannot secure it".
    if request
        .queues
        .iter()
        .any(|queue| queue.versions.min().0 > 0xff)
    {
        return;
    }
    let mut bytes = Vec::new();
    let written = request.encode(&mut bytes);
    assert_eq!(written, Ok(()), "a request cannot be written");
    let again = ConnectionRequest::decode(&mut Reader::new(&bytes));
    assert_eq!(again.as_ref(), Ok(request));
}

/// The data of a link: the fixed part or the user part, as they are inside the encryption. What is
/// taken is the same when it is written and read again, and when it is sealed and opened.
pub fn link_data(data: &[u8]) {
    let root = LinkSigningKey::from_bytes(&ROOT_KEY);
    if let Ok(mut fixed) = FixedLinkData::decode(data) {
        binary(&fixed.request);
        fixed.root_key = root.verifying_key();
        let (versions, data) = (fixed.versions, fixed.entity_id.clone().unwrap_or_default());
        let user = if fixed.request.is_invitation() {
            UserLinkData::Invitation { versions, data }
        } else {
            address(versions, data)
        };
        seal_and_open(&fixed, &user, &root);
    }
    if let Ok(user) = UserLinkData::decode(data) {
        let mut bytes = Vec::new();
        let written = user.encode(&mut bytes);
        assert_eq!(written, Ok(()), "user data cannot be written");
        assert_eq!(UserLinkData::decode(&bytes).as_ref(), Ok(&user));
        if let Some(fixed) = fixed_for(&user, &root) {
            seal_and_open(&fixed, &user, &root);
        }
    }
}

fn address(versions: AgentVersionRange, data: Vec<u8>) -> UserLinkData {
    UserLinkData::Contact {
        versions,
        direct: true,
        owners: Vec::new(),
        relays: Vec::new(),
        data,
    }
}

fn fixed_for(user: &UserLinkData, root: &LinkSigningKey) -> Option<FixedLinkData> {
    let UserLinkData::Contact { versions, .. } = user else {
        return None;
    };
    Some(FixedLinkData {
        versions: *versions,
        root_key: root.verifying_key(),
        request: CONTACT.parse().ok()?,
        entity_id: None,
    })
}

/// A throw-away address.
const CONTACT: &str = "simplex:/contact#/?v=2-7&smp=smp%3A%2F%2FPIiloWr13PLqta2AYdl4nwzP1wNvQilN02Jv7i_-Z38%3D%40localhost%3A25223%2FrAc73I77d1Zq950xpvFByx7j0i472qXc%23%2F%3Fv%3D1-4%26dh%3DMCowBQYDK2VuAyEAqX8qVzI4pFvfzIEw3JQAnCJgYZi1CNjAT5MrgFVvkl8%253D%26q%3Dc";

fn seal_and_open(fixed: &FixedLinkData, user: &UserLinkData, root: &LinkSigningKey) {
    let nonces = LinkNonces {
        fixed: [1; 24],
        user: [2; 24],
    };
    // It may be longer than its padding.
    let Ok((key, data)) = seal_link(fixed, user, root, &nonces) else {
        return;
    };
    let kind = if user.is_invitation() {
        "i#AAAA/"
    } else {
        "a#"
    };
    let text = format!("https://localhost/{kind}{}", "A".repeat(43));
    let Ok(link) = text.parse::<ShortLink>() else {
        panic!("our own link is refused");
    };
    match open_link(&ShortLink { key, ..link }, &data) {
        Ok(opened) => assert!(opened.1 == *user && opened.0.root_key == fixed.root_key),
        Err(error) => assert!(matches!(error, LinkError::Owners(_)), "{error}"),
    }
}
