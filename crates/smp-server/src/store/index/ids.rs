//! Which queue an id names. One table for all kinds, with entries of four bytes, since the ids
//! themselves are in the records. The same id may name something else of another kind.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{Key, MAX_QUEUES};
use crate::store::QueueId;
use crate::store::record::IdKind;

/// Parts of the table, so that growing moves a small part of it at a time. A power of two.
const PARTS: usize = 256;

/// Bits of a [`Key`] beside the kind.
const KEY_BITS: u32 = MAX_QUEUES.ilog2();

/// A queue's place and the kind of the id.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

impl Entry {
    fn new(key: Key, kind: IdKind) -> Self {
        Self(key | (kind as u32) << KEY_BITS)
    }

    fn key(self) -> Key {
        self.0 & ((1 << KEY_BITS) - 1)
    }

    fn kind(self) -> IdKind {
        IdKind::ALL[(self.0 >> KEY_BITS) as usize]
    }
}

/// The table. `id_of` tells an entry's id by the records that are there.
pub(super) struct Ids {
    parts: Box<[HashTable<Entry>]>,
    /// Keyed at random, for clients may choose ids.
    hasher: RandomState,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Makes room for ids in an empty table.
    pub(super) fn reserve(&mut self, ids: usize) {
        for part in &mut self.parts {
            part.reserve(ids / PARTS, |_| 0);
        }
    }

    pub(super) fn find(
        &self,
        id: &QueueId,
        kind: IdKind,
        id_of: impl Fn(Key) -> Option<QueueId>,
    ) -> Option<Key> {
        let hash = self.hasher.hash_one(id.as_bytes());
        let is_it = |entry: &Entry| entry.kind() == kind && id_of(entry.key()) == Some(*id);
        let found = self.parts[part(hash)].find(hash, is_it)?;
        Some(found.key())
    }

    /// Adds an id that is not there as one of this kind.
    pub(super) fn insert(
        &mut self,
        id: &QueueId,
        (key, kind): (Key, IdKind),
        id_of: impl Fn(Key, IdKind) -> Option<QueueId>,
    ) {
        let hash = self.hasher.hash_one(id.as_bytes());
        let rehash = |entry: &Entry| {
            // Every entry has its record.
            let id = id_of(entry.key(), entry.kind()).unwrap_or(QueueId([0; 24]));
            self.hasher.hash_one(id.as_bytes())
        };
        self.parts[part(hash)].insert_unique(hash, Entry::new(key, kind), rehash);
    }

    pub(super) fn remove(&mut self, id: &QueueId, key: Key, kind: IdKind) {
        let hash = self.hasher.hash_one(id.as_bytes());
        let entry = Entry::new(key, kind);
        if let Ok(found) = self.parts[part(hash)].find_entry(hash, |other| *other == entry) {
            found.remove();
        }
    }
}

/// The table itself uses the low bits and the seven highest.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}
