//! What peers of a ratchet send each other, and what is stored of one.

use std::ops::Range;
use std::sync::LazyLock;

use double_ratchet::{
    DecryptError, E2eParams, E2eParamsRange, E2eVersion, InitiatorKeys, KemCiphertext, KemKeyPair,
    KemPublicKey, KemSecret, KeySource, MessageHeader, PqSupport, RandomKeys, Ratchet,
    X448PrivateKey,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use smp_protocol::Reader;

/// New keys of all kinds but one: a KEM's pair costs more than all the rest, so that there is one.
struct Keys(RandomKeys<ChaCha20Rng>);

impl KeySource for Keys {
    fn x448(&mut self) -> X448PrivateKey {
        self.0.x448()
    }

    fn kem_pair(&mut self) -> KemKeyPair {
        PAIR.clone()
    }

    fn encapsulate(&mut self, to: &KemPublicKey) -> (KemCiphertext, KemSecret) {
        self.0.encapsulate(to)
    }
}

static PAIR: LazyLock<KemKeyPair> =
    LazyLock::new(|| KemKeyPair::generate(&mut ChaCha20Rng::seed_from_u64(1)));

/// Length of padded texts.
const PADDED: usize = 48;

/// How many messages of a script are delivered: each may cost new keys.
const MAX_DELIVERED: usize = 24;

/// An initiator in the middle of a conversation, and what its peer has sent it since.
struct Fixture {
    own: InitiatorKeys,
    params: E2eParams,
    state: Vec<u8>,
    /// Four of the current chain, then four of the next one.
    messages: Vec<Vec<u8>>,
}

static FIXTURES: LazyLock<[Fixture; 2]> =
    LazyLock::new(|| [PqSupport::Off, PqSupport::On].map(Fixture::new));

impl Fixture {
    /// One of the two, and what follows the byte that chooses it and the kind of check.
    fn chosen(data: &[u8]) -> Option<(&'static Self, u8, &[u8])> {
        let (&byte, rest) = data.split_first()?;
        let fixture = &FIXTURES[usize::from(byte & 1)];
        Some((fixture, byte >> 1, rest))
    }

    fn new(pq: PqSupport) -> Self {
        let mut keys = keys();
        let own = InitiatorKeys::generate(&mut keys, pq == PqSupport::On);
        let (mut joiner, params) = ours(Ratchet::joiner(&own.params(), pq, &mut keys));
        let mut initiator = ours(Ratchet::initiator(&own, &params, pq));
        let first = send(&mut joiner, 100);
        ours(initiator.decrypt(&first, &mut keys));
        let mut messages: Vec<_> = (0..4).map(|at| send(&mut joiner, at)).collect();
        let state = initiator.to_bytes().to_vec();
        let answer = send(&mut initiator, 101);
        ours(joiner.decrypt(&answer, &mut keys));
        messages.extend((4..8).map(|at| send(&mut joiner, at)));
        Self {
            own,
            params,
            state,
            messages,
        }
    }

    fn ratchet(&self) -> Ratchet {
        ours(Ratchet::from_bytes(&self.state))
    }
}

fn keys() -> Keys {
    Keys(RandomKeys(ChaCha20Rng::seed_from_u64(7)))
}

fn send(side: &mut Ratchet, text: u8) -> Vec<u8> {
    ours(side.encrypt(&[text], PADDED, None))
}

fn ours<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("two honest peers: {error}"))
}

/// Behind a byte that chooses: a message as it comes, a message of the peer with some bytes
/// changed, the plain text of a header, or an order in which the peer's messages come. Only the
/// peer's messages open, each once, and what fails changes nothing.
pub fn ratchet_message(data: &[u8]) {
    let Some((fixture, kind, bytes)) = Fixture::chosen(data) else {
        return;
    };
    match kind % 4 {
        0 => only_messages_open(fixture, bytes),
        1 => {
            let Some((&at, patches)) = bytes.split_first() else {
                return;
            };
            let at = usize::from(at) % fixture.messages.len();
            only_messages_open(fixture, &patched(&fixture.messages[at], patches));
        }
        2 => {
            for version in [E2eVersion::V2, E2eVersion::V3] {
                if let Ok(header) = MessageHeader::decode(version, bytes) {
                    let mut again = Vec::new();
                    header.encode(version, &mut again);
                    assert_eq!(again, bytes);
                }
            }
        }
        _ => each_opens_once(fixture, bytes),
    }
}

fn only_messages_open(fixture: &Fixture, message: &[u8]) {
    let mut ratchet = fixture.ratchet();
    let opened = ratchet.decrypt(message, &mut keys());
    let sent = fixture.messages.iter().position(|sent| sent == message);
    match (opened, sent) {
        (Ok(opened), Some(at)) => assert_eq!(*opened.plain, [at as u8]),
        (Ok(_), None) => panic!("a forged message opens"),
        (Err(error), Some(_)) => panic!("a message does not open: {error}"),
        (Err(_), None) => assert!(*ratchet.to_bytes() == fixture.state),
    }
}

fn each_opens_once(fixture: &Fixture, order: &[u8]) {
    let (mut ratchet, mut keys) = (fixture.ratchet(), keys());
    let mut opened = [false; 8];
    for &byte in order.iter().take(MAX_DELIVERED) {
        let at = usize::from(byte) % opened.len();
        let before = ratchet.to_bytes();
        match ratchet.decrypt(&fixture.messages[at], &mut keys) {
            Ok(message) => {
                assert_eq!(*message.plain, [at as u8]);
                assert!(!std::mem::replace(&mut opened[at], true), "it opens twice");
                let stored = ratchet.to_bytes();
                ratchet = ours(Ratchet::from_bytes(&stored));
                assert!(ratchet.to_bytes() == stored);
            }
            Err(error) => {
                use DecryptError::{Duplicate, Earlier, Header};
                assert!(opened[at], "it does not open: {error}");
                assert!(matches!(error, Duplicate | Earlier(_) | Header));
                assert!(ratchet.to_bytes() == before);
            }
        }
    }
}

/// Behind a byte that chooses: a stored ratchet, one with some bytes changed, or an initiator's
/// keys. What is read is stored the same again, and works or fails without panic.
pub fn ratchet_state(data: &[u8]) {
    let Some((fixture, kind, bytes)) = Fixture::chosen(data) else {
        return;
    };
    match kind % 3 {
        0 => any_ratchet(fixture, bytes),
        1 => any_ratchet(fixture, &patched(&fixture.state, bytes)),
        _ => {
            if let Ok(own) = InitiatorKeys::from_bytes(bytes) {
                assert!(*own.to_bytes() == bytes);
                let _ = own.params();
                let _ = Ratchet::initiator(&own, &fixture.params, PqSupport::On);
            }
        }
    }
}

fn any_ratchet(fixture: &Fixture, bytes: &[u8]) {
    let Ok(mut ratchet) = Ratchet::from_bytes(bytes) else {
        return;
    };
    assert!(*ratchet.to_bytes() == bytes);
    for message in &fixture.messages[..5] {
        let _ = ratchet.decrypt(message, &mut keys());
    }
    for pq in [None, Some(true), Some(false)] {
        let sent = ratchet.encrypt(b"text", PADDED, pq);
        assert!(ratchet.can_send() || sent.is_err());
    }
    let stored = ratchet.to_bytes();
    assert!(ours(Ratchet::from_bytes(&stored)).to_bytes() == stored);
}

/// Parameters in one version and for a range. What is taken is the same when it is written and read
/// again, and makes a ratchet or fails without panic.
pub fn e2e_params(data: &[u8]) {
    let fixture = &FIXTURES[1];
    let mut reader = Reader::new(data);
    if let Ok(params) = E2eParams::decode(&mut reader) {
        let mut again = Vec::new();
        params.encode(&mut again);
        assert_eq!(again, data[read(data, &reader)]);
        if let Ok(mut ratchet) = Ratchet::initiator(&fixture.own, &params, PqSupport::On) {
            let _ = ratchet.decrypt(&fixture.messages[0], &mut keys());
        }
        let _ = Ratchet::joiner_with(&fixture.own, &params, PqSupport::On, &mut keys());
    }
    let mut reader = Reader::new(data);
    if let Ok(range) = E2eParamsRange::decode(&mut reader) {
        let mut again = Vec::new();
        range.encode(&mut again);
        assert_eq!(again, data[read(data, &reader)]);
        assert_eq!(range.newest().map(|params| params.version), range.version());
        if let Ok((mut ratchet, params)) = Ratchet::joiner(&range, PqSupport::On, &mut keys()) {
            assert!(params.version <= range.max && params.version >= range.min);
            send(&mut ratchet, 1);
        }
    }
}

fn read(data: &[u8], reader: &Reader<'_>) -> Range<usize> {
    0..data.len() - reader.rest().len()
}

/// Changes bytes: each patch is a place in two bytes and what is added there without carry.
fn patched(original: &[u8], patches: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for patch in patches.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([patch[0], patch[1]])) % bytes.len();
        bytes[at] ^= patch[2];
    }
    bytes
}
