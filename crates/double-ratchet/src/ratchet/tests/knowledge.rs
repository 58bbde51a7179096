//! What an observer can read who knows the secrets of one of the two key agreements.
//!
//! The observer sees every byte. It follows both sides with ratchets of its own, which are made as
//! theirs are, but with other keys in the place of those that it does not know. Its success with
//! all keys shows that it does everything right.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::peers::{PADDED, copy};
use crate::{
    E2eParams, InitiatorKeys, KemCiphertext, KemKeyPair, KemPublicKey, KemSecret, KeySource,
    PqSupport, Ratchet, X448PrivateKey,
};

const BOTH: Known = Known {
    x448: true,
    kem: true,
};
const X448: Known = Known {
    x448: true,
    kem: false,
};
const KEM: Known = Known {
    x448: false,
    kem: true,
};

#[test]
fn a_known_x448_or_kem_opens_nothing_if_the_link_has_a_kem() {
    assert_eq!(read_from_the_beginning(BOTH, true), [true; MESSAGES]);
    assert_eq!(read_from_the_beginning(X448, true), [false; MESSAGES]);
    assert_eq!(read_from_the_beginning(KEM, true), [false; MESSAGES]);
}

#[test]
fn a_known_x448_or_kem_opens_nothing_after_the_first_exchange_if_the_link_has_none() {
    assert_eq!(read_from_the_beginning(BOTH, false), [true; MESSAGES]);
    // The joiner's first message comes before there is a KEM.
    let mut first = [false; MESSAGES];
    first[0] = true;
    assert_eq!(read_from_the_beginning(X448, false), first);
    assert_eq!(read_from_the_beginning(KEM, false), [false; MESSAGES]);
}

#[test]
fn stolen_ratchets_are_worth_nothing_after_an_exchange_of_which_either_secret_is_unknown() {
    assert_eq!(read_after_theft(BOTH), [true; MESSAGES]);
    // One more message each way goes to keys that were stolen.
    let mut exchange = [false; MESSAGES];
    exchange[..2].fill(true);
    assert_eq!(read_after_theft(X448), exchange);
    assert_eq!(read_after_theft(KEM), exchange);
}

const MESSAGES: usize = 8;

#[derive(Clone, Copy)]
struct Known {
    x448: bool,
    kem: bool,
}

/// Keys out of two generators, so that one of them can be known and the other not.
struct Split {
    x448: StdRng,
    kem: StdRng,
}

impl Split {
    /// What the peers use.
    fn real(seed: u64) -> Self {
        Self {
            x448: StdRng::seed_from_u64(seed),
            kem: StdRng::seed_from_u64(seed + 1),
        }
    }

    /// What an observer puts in their place.
    fn known(seed: u64, known: Known) -> Self {
        let real = Self::real(seed);
        let other = Self::real(seed + 1_000);
        Self {
            x448: if known.x448 { real.x448 } else { other.x448 },
            kem: if known.kem { real.kem } else { other.kem },
        }
    }
}

impl KeySource for Split {
    fn x448(&mut self) -> X448PrivateKey {
        X448PrivateKey::generate(&mut self.x448)
    }

    fn kem_pair(&mut self) -> KemKeyPair {
        KemKeyPair::generate(&mut self.kem)
    }

    fn encapsulate(&mut self, to: &KemPublicKey) -> (KemCiphertext, KemSecret) {
        to.encapsulate(&mut self.kem)
    }
}

struct Both {
    joiner: Ratchet,
    initiator: Ratchet,
    keys: Split,
}

fn read_from_the_beginning(known: Known, kem_in_link: bool) -> [bool; MESSAGES] {
    let mut keys = Split::real(10);
    let own = InitiatorKeys::generate(&mut keys, kem_in_link);
    let (joiner, params) = Ratchet::joiner(&own.params(), PqSupport::On, &mut keys).unwrap();
    let initiator = Ratchet::initiator(&own, &params, PqSupport::On).unwrap();
    let mut peers = Both {
        joiner,
        initiator,
        keys,
    };
    let mut observer = observe(known, &own, &params, &peers);
    listen(&mut peers, &mut observer)
}

/// Does what both peers did, with the keys that it knows and the public ones that it saw.
fn observe(known: Known, own: &InitiatorKeys, params: &E2eParams, peers: &Both) -> Both {
    let mut keys = Split::known(10, known);
    let guessed = InitiatorKeys::generate(&mut keys, own.kem.is_some());
    let (mut joiner, _) = Ratchet::joiner(&own.params(), PqSupport::On, &mut keys).unwrap();
    let mut initiator = Ratchet::initiator(&guessed, params, PqSupport::On).unwrap();
    // Everyone saw the public keys that messages are bound to.
    joiner.associated_data = peers.joiner.associated_data;
    initiator.associated_data = peers.initiator.associated_data;
    Both {
        joiner,
        initiator,
        keys,
    }
}

fn read_after_theft(known: Known) -> [bool; MESSAGES] {
    let mut keys = Split::real(20);
    let own = InitiatorKeys::generate(&mut keys, true);
    let (joiner, params) = Ratchet::joiner(&own.params(), PqSupport::On, &mut keys).unwrap();
    let initiator = Ratchet::initiator(&own, &params, PqSupport::On).unwrap();
    let mut peers = Both {
        joiner,
        initiator,
        keys,
    };
    let mut nobody = Both {
        joiner: copy(&peers.joiner),
        initiator: copy(&peers.initiator),
        keys: Split::real(99),
    };
    listen(&mut peers, &mut nobody);

    peers.keys = Split::real(30);
    let mut thief = Both {
        joiner: copy(&peers.joiner),
        initiator: copy(&peers.initiator),
        keys: Split::known(30, known),
    };
    listen(&mut peers, &mut thief)
}

/// The peers take turns, and the observer tries each message.
fn listen(peers: &mut Both, observer: &mut Both) -> [bool; MESSAGES] {
    std::array::from_fn(|at| {
        let text = format!("message {at}");
        let (from, to, listener) = if at % 2 == 0 {
            (
                &mut peers.joiner,
                &mut peers.initiator,
                &mut observer.initiator,
            )
        } else {
            (
                &mut peers.initiator,
                &mut peers.joiner,
                &mut observer.joiner,
            )
        };
        let message = from.encrypt(text.as_bytes(), PADDED, None).unwrap();
        let decrypted = to.decrypt(&message, &mut peers.keys).unwrap();
        assert_eq!(*decrypted.plain, text.as_bytes());
        let read = listener.decrypt(&message, &mut observer.keys);
        read.is_ok_and(|read| *read.plain == text.as_bytes())
    })
}
