//! Two peers that talk to each other.

use std::sync::OnceLock;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{
    DecryptError, Decrypted, E2eParams, InitiatorKeys, KemCiphertext, KemKeyPair, KemPublicKey,
    KemSecret, KeySource, PqSupport, RandomKeys, Ratchet, X448PrivateKey,
};

/// Short, so that tests that try every bit end soon.
pub(super) const PADDED: usize = 32;

/// New keys of all kinds but one: making a KEM's pair costs more than all the rest, so that pairs
/// are taken in turn out of a few.
pub(super) struct Keys {
    random: RandomKeys<StdRng>,
    pairs_taken: usize,
}

pub(super) fn keys(seed: u64) -> Keys {
    Keys {
        random: RandomKeys(StdRng::seed_from_u64(seed)),
        pairs_taken: 0,
    }
}

static PAIRS: [OnceLock<KemKeyPair>; 6] = [const { OnceLock::new() }; 6];

impl KeySource for Keys {
    fn x448(&mut self) -> X448PrivateKey {
        self.random.x448()
    }

    fn kem_pair(&mut self) -> KemKeyPair {
        let at = self.pairs_taken % PAIRS.len();
        self.pairs_taken += 1;
        let make = || KemKeyPair::generate(&mut StdRng::seed_from_u64(at as u64));
        PAIRS[at].get_or_init(make).clone()
    }

    fn encapsulate(&mut self, to: &KemPublicKey) -> (KemCiphertext, KemSecret) {
        self.random.encapsulate(to)
    }
}

pub(super) struct Peers {
    pub(super) joiner: Ratchet,
    pub(super) initiator: Ratchet,
    /// What the initiator's side was made of.
    pub(super) own: InitiatorKeys,
    pub(super) params: E2eParams,
    pub(super) keys: Keys,
}

impl Peers {
    /// Both support a KEM or both do not; it is in the parameters already.
    pub(super) fn new(seed: u64, pq: PqSupport) -> Self {
        Self::proposing(seed, pq, pq == PqSupport::On)
    }

    pub(super) fn proposing(seed: u64, pq: PqSupport, kem: bool) -> Self {
        let mut keys = keys(seed);
        let own = InitiatorKeys::generate(&mut keys, kem);
        let (joiner, params) = Ratchet::joiner(&own.params(), pq, &mut keys).unwrap();
        let initiator = Ratchet::initiator(&own, &params, pq).unwrap();
        Self {
            joiner,
            initiator,
            own,
            params,
            keys,
        }
    }

    /// Two that have exchanged some messages.
    pub(super) fn talking(seed: u64, pq: PqSupport) -> Self {
        let mut peers = Self::new(seed, pq);
        peers.exchange();
        peers.exchange();
        peers
    }

    /// A message each way, the joiner's first.
    pub(super) fn exchange(&mut self) {
        let message = self.joiner_sends("from the joiner");
        self.initiator_reads(&message).unwrap();
        let message = self.initiator_sends("from the initiator");
        self.joiner_reads(&message).unwrap();
    }

    pub(super) fn joiner_sends(&mut self, text: &str) -> Vec<u8> {
        send(&mut self.joiner, text)
    }

    pub(super) fn initiator_sends(&mut self, text: &str) -> Vec<u8> {
        send(&mut self.initiator, text)
    }

    pub(super) fn joiner_reads(&mut self, message: &[u8]) -> Result<Decrypted, DecryptError> {
        receive(&mut self.joiner, message, &mut self.keys)
    }

    pub(super) fn initiator_reads(&mut self, message: &[u8]) -> Result<Decrypted, DecryptError> {
        receive(&mut self.initiator, message, &mut self.keys)
    }
}

pub(super) fn send(side: &mut Ratchet, text: &str) -> Vec<u8> {
    side.encrypt(text.as_bytes(), PADDED, None).unwrap()
}

/// Decrypts, and sees to it that an error changes nothing.
pub(super) fn receive(
    side: &mut Ratchet,
    message: &[u8],
    keys: &mut Keys,
) -> Result<Decrypted, DecryptError> {
    let before = side.to_bytes();
    let decrypted = side.decrypt(message, keys);
    if let Err(error) = &decrypted {
        assert_eq!(side.to_bytes(), before, "{error} changed the ratchet");
    }
    decrypted
}

pub(super) fn copy(side: &Ratchet) -> Ratchet {
    Ratchet::from_bytes(&side.to_bytes()).unwrap()
}
