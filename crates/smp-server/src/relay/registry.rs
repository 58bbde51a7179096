//! Who listens to what: one subscriber for each queue, notifier and service.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use super::inbox::Inbox;
use crate::store::QueueId;

/// A connection's number, unique while the process lives. It says nothing of who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A connection that listens.
#[derive(Clone)]
pub(crate) struct Subscriber {
    pub(crate) connection: ConnectionId,
    pub(crate) inbox: Arc<Inbox>,
}

/// One subscriber for each id; the newest wins.
pub(crate) struct Registry {
    shards: Sharded<Subscriber>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: Sharded::new(),
        }
    }

    /// Makes `subscriber` the one for `id`; returns the former if it was another connection.
    pub(crate) fn subscribe(&self, id: QueueId, subscriber: Subscriber) -> Option<Subscriber> {
        let connection = subscriber.connection;
        let former = self.shards.lock(&id).insert(id, subscriber)?;
        (former.connection != connection).then_some(former)
    }

    /// Forgets `connection` if it is still the one for `id`.
    pub(crate) fn unsubscribe(&self, id: QueueId, connection: ConnectionId) -> bool {
        match self.shards.lock(&id).entry(id) {
            Entry::Occupied(entry) if entry.get().connection == connection => {
                entry.remove();
                true
            }
            _ => false,
        }
    }

    /// Forgets whoever listens to `id`, since it is gone.
    pub(crate) fn remove(&self, id: QueueId) -> Option<Subscriber> {
        self.shards.lock(&id).remove(&id)
    }

    /// Who listens to `id`.
    pub(crate) fn subscriber(&self, id: QueueId) -> Option<Subscriber> {
        self.shards.lock(&id).get(&id).cloned()
    }

    /// Whether `connection` is the one for `id`.
    pub(crate) fn has(&self, id: QueueId, connection: ConnectionId) -> bool {
        self.shards
            .lock(&id)
            .get(&id)
            .is_some_and(|one| one.connection == connection)
    }

    /// How many ids somebody listens to.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .shards
            .iter()
            .map(|shard| shard.lock().len())
            .sum()
    }
}

/// A map behind several locks, so that cores rarely meet at one.
pub(crate) struct Sharded<V> {
    shards: Vec<Mutex<HashMap<QueueId, V>>>,
    hasher: RandomState,
}

impl<V> Sharded<V> {
    /// Many times the cores of a machine.
    const SHARDS: usize = 64;

    pub(crate) fn new() -> Self {
        let shards = (0..Self::SHARDS)
            .map(|_| Mutex::new(HashMap::new()))
            .collect();
        Self {
            shards,
            hasher: RandomState::new(),
        }
    }

    /// Looks at each part, one after the other.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&mut HashMap<QueueId, V>)) {
        for shard in &self.shards {
            look(&mut shard.lock());
        }
    }

    /// The part in which `id` lives.
    pub(crate) fn lock(&self, id: &QueueId) -> parking_lot::MutexGuard<'_, HashMap<QueueId, V>> {
        let mut hasher = std::hash::BuildHasher::build_hasher(&self.hasher);
        id.hash(&mut hasher);
        let shard = hasher.finish() as usize % self.shards.len();
        self.shards[shard].lock()
    }
}
