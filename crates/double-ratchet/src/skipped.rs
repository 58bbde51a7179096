//! The keys of messages that have not come yet although later ones have.

use std::ops::Range;

use crate::kdf::MessageKey;
use crate::secret::{ChainKey, HeaderKey};

/// How many messages of a chain one message may skip.
pub const MAX_SKIPPED: u32 = 512;

/// How many keys of skipped messages a ratchet holds. Those of the oldest chains go first.
pub const MAX_SKIPPED_TOTAL: usize = 2048;

/// How many chains with skipped messages a ratchet holds. Each costs one decryption of a header
/// when a message of no known chain comes. The oldest go first.
pub const MAX_SKIPPED_CHAINS: usize = 64;

/// How many turns of the peer the keys of a skipped message are kept: a message that is later than
/// this is given up, so that what was recorded on the way does not stay open for ever.
pub const MAX_SKIPPED_TURNS: u64 = 1024;

/// The keys of all skipped messages, chain by chain, the oldest first.
#[derive(Default)]
pub(crate) struct SkippedKeys {
    chains: Vec<SkippedChain>,
}

/// The skipped messages of one chain, by their numbers.
pub(crate) struct SkippedChain {
    pub(crate) header_key: HeaderKey,
    /// The turn that the chain began with.
    pub(crate) turn: u64,
    /// Whether the chain began with a KEM's secret.
    pub(crate) pq: bool,
    pub(crate) keys: Vec<SkippedKey>,
}

pub(crate) struct SkippedKey {
    pub(crate) number: u32,
    pub(crate) key: MessageKey,
}

/// Where in the skipped keys something is.
#[derive(Clone, Copy)]
pub(crate) struct At {
    chain: usize,
    key: usize,
}

impl SkippedKeys {
    pub(crate) fn chains(&self) -> &[SkippedChain] {
        &self.chains
    }

    pub(crate) fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.keys.len()).sum()
    }

    /// The key of a message, and where it is.
    pub(crate) fn find(&self, chain: usize, number: u32) -> Option<(At, &SkippedKey)> {
        let keys = &self.chains.get(chain)?.keys;
        let key = keys.binary_search_by_key(&number, |key| key.number).ok()?;
        Some((At { chain, key }, &keys[key]))
    }

    /// The place of the chain with this header key.
    pub(crate) fn chain(&self, header_key: &HeaderKey) -> Option<usize> {
        self.chains
            .iter()
            .rposition(|chain| chain.header_key == *header_key)
    }

    /// Forgets a key that has been used.
    pub(crate) fn remove(&mut self, at: At) {
        let keys = &mut self.chains[at.chain].keys;
        keys.remove(at.key);
        if keys.is_empty() {
            self.chains.remove(at.chain);
        }
    }

    /// Adds keys of one chain, all later than those that it has, and forgets what is too old or
    /// too much.
    pub(crate) fn add(&mut self, mut added: SkippedChain) {
        if added.keys.is_empty() {
            return;
        }
        match self.chain(&added.header_key) {
            Some(chain) => self.chains[chain].keys.append(&mut added.keys),
            None => self.chains.push(added),
        }
        self.trim();
    }

    /// Forgets the chains that are too old in this turn.
    pub(crate) fn expire(&mut self, turn: u64) {
        self.chains
            .retain(|chain| turn.saturating_sub(chain.turn) <= MAX_SKIPPED_TURNS);
    }

    fn trim(&mut self) {
        let surplus = self.chains.len().saturating_sub(MAX_SKIPPED_CHAINS);
        self.chains.drain(..surplus);
        let mut surplus = self.len().saturating_sub(MAX_SKIPPED_TOTAL);
        while surplus > 0 {
            let oldest = &mut self.chains[0].keys;
            let dropped = surplus.min(oldest.len());
            oldest.drain(..dropped);
            surplus -= dropped;
            if oldest.is_empty() {
                self.chains.remove(0);
            }
        }
    }

    /// Takes stored chains as they are, if they are within the bounds and in order.
    pub(crate) fn restore(chains: Vec<SkippedChain>) -> Option<Self> {
        let skipped = Self { chains };
        let chains = &skipped.chains;
        let ordered = chains.iter().all(|chain| {
            !chain.keys.is_empty() && chain.keys.is_sorted_by(|a, b| a.number < b.number)
        });
        let bounded = chains.len() <= MAX_SKIPPED_CHAINS && skipped.len() <= MAX_SKIPPED_TOTAL;
        (ordered && bounded && chains.is_sorted_by(|a, b| a.turn < b.turn)).then_some(skipped)
    }
}

/// A chain moved on to one of its messages.
pub(crate) struct Ahead {
    /// The keys of the messages on the way.
    pub(crate) skipped: Vec<SkippedKey>,
    /// The message's own.
    pub(crate) key: MessageKey,
    /// What comes after it.
    pub(crate) chain_key: ChainKey,
}

impl ChainKey {
    /// Moves on from the message `next` to the message `number`, which is not before it.
    pub(crate) fn ahead(&self, next: u32, number: u32) -> Ahead {
        let mut chain_key = self.clone();
        Ahead {
            skipped: chain_key.take(next..number),
            key: chain_key.advance(),
            chain_key,
        }
    }

    /// The keys of the messages from `next` up to `count`, which are the chain's last.
    pub(crate) fn remaining(&self, next: u32, count: u32) -> Vec<SkippedKey> {
        self.clone().take(next..count)
    }

    fn take(&mut self, numbers: Range<u32>) -> Vec<SkippedKey> {
        numbers
            .map(|number| SkippedKey {
                number,
                key: self.advance(),
            })
            .collect()
    }

    fn advance(&mut self) -> MessageKey {
        let step = self.step();
        *self = step.chain_key;
        step.message_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn chain(turn: u64, count: u32) -> SkippedChain {
        let mut header_key = [0; 32];
        header_key[..8].copy_from_slice(&turn.to_be_bytes());
        SkippedChain {
            header_key: HeaderKey::from_bytes(&header_key),
            turn,
            pq: false,
            keys: numbers(0..count),
        }
    }

    fn numbers(numbers: Range<u32>) -> Vec<SkippedKey> {
        numbers
            .map(|number| SkippedKey {
                number,
                key: MessageKey {
                    key: Secret::zero(),
                    iv: [0; 16],
                },
            })
            .collect()
    }

    fn held(skipped: &SkippedKeys) -> Vec<(u64, usize)> {
        let chains = skipped.chains().iter();
        chains.map(|chain| (chain.turn, chain.keys.len())).collect()
    }

    #[test]
    fn no_more_keys_are_held_than_allowed_and_the_oldest_go_first() {
        let mut skipped = SkippedKeys::default();
        for turn in 1..=4 {
            skipped.add(chain(turn, MAX_SKIPPED));
        }
        assert_eq!(skipped.len(), MAX_SKIPPED_TOTAL);
        skipped.add(chain(5, 500));
        assert_eq!(
            held(&skipped),
            [(1, 12), (2, 512), (3, 512), (4, 512), (5, 500)]
        );
        // Of a chain the first messages go first.
        assert!(skipped.find(0, 499).is_none() && skipped.find(0, 500).is_some());
        skipped.add(chain(6, 20));
        assert_eq!(held(&skipped)[0], (2, 504));
        assert_eq!(skipped.len(), MAX_SKIPPED_TOTAL);
    }

    #[test]
    fn no_more_chains_are_held_than_allowed_and_the_oldest_go_first() {
        let mut skipped = SkippedKeys::default();
        for turn in 1..=MAX_SKIPPED_CHAINS as u64 + 3 {
            skipped.add(chain(turn, 1));
        }
        assert_eq!(skipped.chains().len(), MAX_SKIPPED_CHAINS);
        assert_eq!(held(&skipped)[0], (4, 1));
    }

    #[test]
    fn a_chain_that_is_too_old_is_given_up() {
        let mut skipped = SkippedKeys::default();
        skipped.add(chain(1, 1));
        skipped.add(chain(2, 1));
        skipped.expire(1 + MAX_SKIPPED_TURNS);
        assert_eq!(held(&skipped), [(1, 1), (2, 1)]);
        skipped.expire(2 + MAX_SKIPPED_TURNS);
        assert_eq!(held(&skipped), [(2, 1)]);
    }

    #[test]
    fn a_chain_without_keys_is_not_held() {
        let mut skipped = SkippedKeys::default();
        skipped.add(chain(1, 0));
        assert!(skipped.chains().is_empty());
        skipped.add(chain(2, 2));
        for number in 0..2 {
            let (at, _) = skipped.find(0, number).unwrap();
            skipped.remove(at);
        }
        assert!(skipped.chains().is_empty());
    }

    #[test]
    fn later_keys_join_those_of_their_chain() {
        let mut skipped = SkippedKeys::default();
        skipped.add(chain(1, 2));
        let mut later = chain(1, 0);
        later.keys = numbers(5..7);
        skipped.add(later);
        assert_eq!(held(&skipped), [(1, 4)]);
        assert!(skipped.find(0, 6).is_some() && skipped.find(0, 3).is_none());
    }

    #[test]
    fn stored_chains_out_of_order_or_beyond_the_bounds_are_refused() {
        let refused = |chains: Vec<SkippedChain>| SkippedKeys::restore(chains).is_none();
        assert!(refused(vec![chain(2, 1), chain(1, 1)]));
        assert!(refused(vec![chain(1, 1), chain(1, 1)]));
        assert!(refused(vec![chain(1, 0)]));
        assert!(refused((1..=65).map(|turn| chain(turn, 1)).collect()));
        assert!(refused((1..=5).map(|turn| chain(turn, 512)).collect()));
        let mut unordered = chain(1, 3);
        unordered.keys.swap(0, 1);
        assert!(refused(vec![unordered]));
        assert!(!refused((1..=64).map(|turn| chain(turn, 32)).collect()));
    }
}
