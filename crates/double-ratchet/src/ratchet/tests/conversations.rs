//! Arbitrary conversations: messages of both sides late, lost, doubled and out of order, a KEM
//! asked for and not, versions that meet in the middle.

use proptest::prelude::*;
use proptest::sample::Index;

use super::peers::{Keys, PADDED, keys, receive};
use crate::{
    DecryptError, E2eVersion, InitiatorKeys, MAX_SKIPPED_CHAINS, MAX_SKIPPED_TOTAL, PqSupport,
    Ratchet,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_message_opens_exactly_once(
        beginning in beginnings(),
        steps in prop::collection::vec(steps(), 1..70),
    ) {
        let mut conversation = Conversation::begin(&beginning);
        for step in &steps {
            conversation.step(step);
        }
        conversation.end();
    }
}

#[derive(Clone, Debug)]
struct Beginning {
    seed: u64,
    /// Whether the link proposes a KEM, and whether the joiner and the initiator support one.
    pq: [bool; 3],
    /// The newest versions of joiner and initiator.
    max: [u16; 2],
}

fn beginnings() -> impl Strategy<Value = Beginning> {
    let max = prop_oneof![
        3 => Just([3, 3]),
        1 => Just([2, 3]),
        1 => Just([3, 2]),
        1 => Just([2, 2]),
    ];
    (any::<u64>(), any::<[bool; 3]>(), max).prop_map(|(seed, pq, max)| Beginning { seed, pq, max })
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Joiner,
    Initiator,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Side, Option<bool>),
    /// A waiting message comes, not always the oldest.
    Deliver(Side, Index),
    /// A message that has come comes again.
    Again(Side, Index),
    /// A waiting message never comes.
    Lose(Side, Index),
    /// A peer's program is replaced by one that knows the newest version.
    Update(Side),
}

fn steps() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::Joiner), Just(Side::Initiator)];
    let asked = prop_oneof![4 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    prop_oneof![
        8 => (side(), asked).prop_map(|(side, pq)| Step::Send(side, pq)),
        8 => (side(), any::<Index>()).prop_map(|(side, at)| Step::Deliver(side, at)),
        2 => (side(), any::<Index>()).prop_map(|(side, at)| Step::Again(side, at)),
        1 => (side(), any::<Index>()).prop_map(|(side, at)| Step::Lose(side, at)),
        1 => side().prop_map(Step::Update),
    ]
}

/// One side, and what was sent to it.
struct Peer {
    ratchet: Ratchet,
    waiting: Vec<(String, Vec<u8>)>,
    opened: Vec<Vec<u8>>,
}

impl Peer {
    fn new(mut ratchet: Ratchet, max: u16) -> Self {
        ratchet.versions.max = E2eVersion(max);
        if let Some(sending) = &mut ratchet.sending {
            sending.offered = E2eVersion(max);
        }
        Self {
            ratchet,
            waiting: Vec::new(),
            opened: Vec::new(),
        }
    }

    fn open(&mut self, at: usize, keys: &mut Keys) {
        let (text, message) = self.waiting.remove(at);
        let decrypted = receive(&mut self.ratchet, &message, keys).unwrap();
        assert_eq!(*decrypted.plain, text.as_bytes());
        self.opened.push(message);
    }
}

struct Conversation {
    joiner: Peer,
    initiator: Peer,
    keys: Keys,
    sent: usize,
}

impl Conversation {
    fn begin(beginning: &Beginning) -> Self {
        let support = |on| if on { PqSupport::On } else { PqSupport::Off };
        let [kem, joiner_pq, initiator_pq] = beginning.pq;
        let [joiner_max, initiator_max] = beginning.max;
        let mut keys = keys(beginning.seed);
        let own = InitiatorKeys::generate(&mut keys, kem);
        let mut offered = own.params();
        offered.max = E2eVersion(joiner_max.min(initiator_max));
        let (joiner, params) = Ratchet::joiner(&offered, support(joiner_pq), &mut keys).unwrap();
        let initiator = Ratchet::initiator(&own, &params, support(initiator_pq)).unwrap();
        Self {
            joiner: Peer::new(joiner, joiner_max),
            initiator: Peer::new(initiator, initiator_max),
            keys,
            sent: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(side, pq) => self.send(side, pq),
            Step::Deliver(side, at) => {
                let (peer, keys) = self.peer(side);
                if !peer.waiting.is_empty() {
                    peer.open(at.index(peer.waiting.len()), keys);
                }
            }
            Step::Again(side, at) => {
                let (peer, keys) = self.peer(side);
                if !peer.opened.is_empty() {
                    let message = at.get(&peer.opened);
                    let error = receive(&mut peer.ratchet, message, keys).unwrap_err();
                    use DecryptError::{Duplicate, Earlier, Header};
                    assert!(matches!(error, Duplicate | Earlier(_) | Header), "{error}");
                }
            }
            Step::Lose(side, at) => {
                let (peer, _) = self.peer(side);
                if !peer.waiting.is_empty() {
                    peer.waiting.remove(at.index(peer.waiting.len()));
                }
            }
            Step::Update(side) => self.peer(side).0.ratchet.versions.max = E2eVersion::CURRENT,
        }
        self.check();
    }

    fn peer(&mut self, side: Side) -> (&mut Peer, &mut Keys) {
        match side {
            Side::Joiner => (&mut self.joiner, &mut self.keys),
            Side::Initiator => (&mut self.initiator, &mut self.keys),
        }
    }

    fn send(&mut self, side: Side, pq: Option<bool>) {
        let (from, to) = match side {
            Side::Joiner => (&mut self.joiner, &mut self.initiator),
            Side::Initiator => (&mut self.initiator, &mut self.joiner),
        };
        let text = format!("message {}", self.sent);
        let could = from.ratchet.can_send();
        let sent = from.ratchet.encrypt(text.as_bytes(), PADDED, pq);
        assert_eq!(sent.is_ok(), could);
        if let Ok(message) = sent {
            to.waiting.push((text, message));
            self.sent += 1;
        }
    }

    /// What holds after every step; both sides go on as if they had been stored and read.
    fn check(&mut self) {
        for peer in [&mut self.joiner, &mut self.initiator] {
            let bytes = peer.ratchet.to_bytes();
            peer.ratchet = Ratchet::from_bytes(&bytes).unwrap();
            assert_eq!(peer.ratchet.to_bytes(), bytes);
            assert!(peer.ratchet.skipped.len() <= MAX_SKIPPED_TOTAL);
            assert!(peer.ratchet.skipped.chains().len() <= MAX_SKIPPED_CHAINS);
        }
    }

    /// Everything that is still on its way comes, the newest first; then both agree.
    fn end(&mut self) {
        for side in [Side::Initiator, Side::Joiner] {
            let (peer, keys) = self.peer(side);
            while !peer.waiting.is_empty() {
                peer.open(peer.waiting.len() - 1, keys);
            }
        }
        for side in [Side::Joiner, Side::Initiator, Side::Joiner, Side::Initiator] {
            self.send(side, None);
            let (peer, keys) = match side {
                Side::Joiner => self.peer(Side::Initiator),
                Side::Initiator => self.peer(Side::Joiner),
            };
            peer.open(0, keys);
        }
        let (joiner, initiator) = (&self.joiner.ratchet, &self.initiator.ratchet);
        assert_eq!(joiner.version(), initiator.version());
        assert_eq!(joiner.pq_receiving(), initiator.pq_sending());
        assert_eq!(joiner.associated_data(), initiator.associated_data());
    }
}

#[test]
fn both_sides_report_the_kem_after_the_first_exchange() {
    for proposed in [true, false] {
        let mut peers = super::peers::Peers::proposing(1, PqSupport::On, proposed);
        peers.exchange();
        if !proposed {
            // Without a key in the link it takes one message more.
            assert!(!peers.initiator.pq_receiving());
            let message = peers.joiner_sends("once more");
            assert!(peers.initiator_reads(&message).unwrap().pq);
        }
        for side in [&peers.joiner, &peers.initiator] {
            assert!(side.pq_sending() && side.pq_receiving() && side.pq_enabled());
        }
    }
}

#[test]
fn a_kem_comes_into_a_ratchet_that_began_without() {
    let mut peers = super::peers::Peers::talking(2, PqSupport::Off);
    assert_eq!(peers.joiner.support(), PqSupport::Off);
    peers.joiner.enable_pq();
    peers.initiator.enable_pq();
    for _ in 0..3 {
        peers.exchange();
    }
    for side in [&peers.joiner, &peers.initiator] {
        assert_eq!(side.support(), PqSupport::On);
        assert!(side.pq_sending() && side.pq_receiving());
    }
}

#[test]
fn who_asks_for_none_with_each_message_stays_without_a_kem() {
    let mut peers = super::peers::Peers::talking(3, PqSupport::On);
    for _ in 0..4 {
        let message = peers.joiner.encrypt(b"none", PADDED, Some(false)).unwrap();
        peers.initiator_reads(&message).unwrap();
        let message = peers.initiator_sends("as you like");
        peers.joiner_reads(&message).unwrap();
    }
    assert!(!peers.joiner.pq_sending() && !peers.joiner.pq_receiving());
    assert_eq!(peers.joiner.support(), PqSupport::On);
}
