//! Queues, who they are found by, and what waits in them: the part that both engines have in
//! memory. It decides; engines write down what it decided.

mod ids;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smp_protocol::{IdsHash, MessageFlags, MessageId};

use self::ids::Ids;
use super::record::{IdKind, Packed};
use super::{Cursor, Lookup, NotifierRecord, Page, QueueChange, QueueId, QueueRecord, ServiceKind};

/// A queue's place, by which engines know it too.
pub(super) type Key = u32;

/// Queues that there may be: their keys leave two bits for the kinds of ids.
pub(super) const MAX_QUEUES: Key = 1 << 30;

/// Everything of all queues but links' data. `B` is a message's body, or where it is.
pub(super) struct Index<B> {
    places: Vec<Option<Place<B>>>,
    free: Vec<Key>,
    ids: Ids,
    queues: u64,
    services: HashMap<(QueueId, ServiceKind), Totals>,
    messages: u64,
}

struct Place<B> {
    record: Packed,
    // Most queues are empty most of the time.
    waiting: Option<Box<Waiting<B>>>,
}

struct Waiting<B> {
    messages: VecDeque<Waiter<B>>,
    full: bool,
}

/// A message in its queue.
pub(super) struct Waiter<B> {
    pub(super) id: MessageId,
    pub(super) timestamp: u64,
    /// Its number in the queue, growing.
    pub(super) number: u64,
    pub(super) content: Content<B>,
}

/// What a message in its queue is.
#[derive(Clone)]
pub(super) enum Content<B> {
    Message { flags: MessageFlags, body: B },
    Quota,
}

#[derive(Default, Clone, Copy)]
struct Totals {
    count: i64,
    hash: IdsHash,
}

/// What may become of a new message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It may be added under this number.
    Yes { number: u64, first: bool },
    /// The quota marker is to be added instead, under this number.
    Mark { number: u64 },
    /// Nothing is added.
    No,
}

/// What a change leads to.
pub(super) enum Change {
    /// The queue's record is to become this.
    To(Packed),
    /// It is not allowed.
    Refused,
}

impl<B> Index<B> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            ids: Ids::new(),
            queues: 0,
            services: HashMap::new(),
            messages: 0,
        }
    }

    /// Makes room for so many queues, before the first is added.
    pub(super) fn reserve(&mut self, queues: usize) {
        self.places.reserve(queues);
        // Each has two at least.
        self.ids.reserve(2 * queues);
    }

    pub(super) fn queues(&self) -> u64 {
        self.queues
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn key(&self, id: &QueueId) -> Option<Key> {
        self.named(id, IdKind::Recipient)
    }

    pub(super) fn find(&self, lookup: Lookup) -> Option<Arc<QueueRecord>> {
        let key = match lookup {
            Lookup::Recipient(id) => self.named(&id, IdKind::Recipient),
            Lookup::Sender(id) => self.named(&id, IdKind::Sender),
            Lookup::Notifier(id) => self.named(&id, IdKind::Notifier),
            Lookup::Link(id) => self.named(&id, IdKind::Link),
        }?;
        self.packed(key)?.record().map(Arc::new)
    }

    pub(super) fn packed(&self, key: Key) -> Option<&Packed> {
        self.place(key).map(|place| &place.record)
    }

    /// Whether a queue with these ids can be added: none is another queue's of the same kind.
    pub(super) fn is_free(&self, record: &QueueRecord) -> bool {
        let notifier = record.notifier.as_ref().map(|notifier| notifier.id);
        let ids = [
            (Some(record.recipient_id), IdKind::Recipient),
            (Some(record.sender_id), IdKind::Sender),
            (notifier, IdKind::Notifier),
            (record.link_id, IdKind::Link),
        ];
        let taken =
            |(id, kind): (Option<QueueId>, _)| id.is_some_and(|id| self.is_taken(&id, kind));
        self.next_key() < MAX_QUEUES && !ids.into_iter().any(taken)
    }

    /// The place that the next queue gets.
    pub(super) fn next_key(&self) -> Key {
        self.free
            .last()
            .copied()
            .unwrap_or(self.places.len() as Key)
    }

    /// Adds a queue whose ids are free, at the place [`Self::next_key`].
    pub(super) fn add(&mut self, record: Packed) {
        let key = self.next_key();
        self.free.pop();
        self.add_at(key, record);
    }

    /// Adds a queue at its place; places that are left out are found by [`Self::complete`].
    pub(super) fn add_at(&mut self, key: Key, record: Packed) {
        if self.places.len() <= key as usize {
            self.places.resize_with(key as usize + 1, || None);
        }
        self.places[key as usize] = Some(Place {
            record,
            waiting: None,
        });
        self.queues += 1;
        self.enter(key);
    }

    /// All places there are, of which some may be free.
    pub(super) fn places(&self) -> Key {
        self.places.len() as Key
    }

    /// Finds the free places, after all queues were added at theirs.
    pub(super) fn complete(&mut self) {
        let free = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_none());
        self.free = free.map(|(key, _)| key as Key).collect();
    }

    /// What a change makes of a queue. Links' data is for the engine to compare.
    pub(super) fn change(&self, key: Key, change: &QueueChange) -> Option<Change> {
        let mut record = self.packed(key)?.record()?;
        match change {
            QueueChange::SenderKey(new) => match &record.sender_key {
                Some(present) if present != new => return Some(Change::Refused),
                _ => record.sender_key = Some(*new),
            },
            QueueChange::RecipientKeys(keys) => record.recipient_keys.clone_from(keys),
            QueueChange::Status(status) => record.status = status.clone(),
            QueueChange::Notifier(notifier) => {
                let taken = |one: &NotifierRecord| self.is_taken(&one.id, IdKind::Notifier);
                if notifier.as_ref().is_some_and(taken) {
                    return Some(Change::Refused);
                }
                record.notifier.clone_from(notifier);
            }
            QueueChange::Link(None) => record.link_id = None,
            QueueChange::Link(Some((id, _))) => {
                let allowed = match record.link_id {
                    Some(present) => present == *id,
                    None => !self.is_taken(id, IdKind::Link),
                };
                if !allowed {
                    return Some(Change::Refused);
                }
                record.link_id = Some(*id);
            }
            QueueChange::Service {
                kind: ServiceKind::Messages,
                service,
            } => {
                record.service = *service;
            }
            QueueChange::Service {
                kind: ServiceKind::Notifications,
                service,
            } => match &mut record.notifier {
                Some(notifier) => notifier.service = *service,
                None => return Some(Change::Refused),
            },
            QueueChange::UsedOn(day) => record.used_on = *day,
        }
        Some(Change::To(Packed::new(&record)))
    }

    /// Puts a changed record in the place of the former.
    pub(super) fn replace(&mut self, key: Key, record: Packed) -> Option<Arc<QueueRecord>> {
        self.leave(key);
        let place = self.places.get_mut(key as usize)?.as_mut()?;
        place.record = record;
        self.enter(key);
        self.packed(key)?.record().map(Arc::new)
    }

    /// Removes a queue; what waited in it is returned too.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Arc<QueueRecord>, VecDeque<Waiter<B>>)> {
        self.leave(key);
        let place = self.places.get_mut(key as usize)?.take()?;
        self.free.push(key);
        self.queues -= 1;
        let messages = place
            .waiting
            .map(|waiting| waiting.messages)
            .unwrap_or_default();
        self.messages -= messages.len() as u64;
        Some((Arc::new(place.record.record()?), messages))
    }

    /// Whether a queue has room for a message.
    pub(super) fn room(&self, key: Key, quota: u32) -> Room {
        let Some(waiting) = self
            .waiting(key)
            .filter(|waiting| !waiting.messages.is_empty())
        else {
            return Room::Yes {
                number: 0,
                first: true,
            };
        };
        let number = waiting.messages.back().map_or(0, |last| last.number + 1);
        if waiting.full {
            Room::No
        } else if waiting.messages.len() >= quota as usize {
            Room::Mark { number }
        } else {
            Room::Yes {
                number,
                first: false,
            }
        }
    }

    /// Adds a message behind the others.
    pub(super) fn push(&mut self, key: Key, waiter: Waiter<B>) {
        let Some(Some(place)) = self.places.get_mut(key as usize) else {
            return;
        };
        let waiting = place.waiting.get_or_insert_with(|| {
            Box::new(Waiting {
                messages: VecDeque::with_capacity(1),
                full: false,
            })
        });
        waiting.full = matches!(waiter.content, Content::Quota);
        waiting.messages.push_back(waiter);
        self.messages += 1;
    }

    /// How many of a queue's first messages came before `before`, and the number of the last.
    pub(super) fn old(&self, key: Key, before: u64) -> Option<(usize, u64)> {
        let messages = &self.waiting(key)?.messages;
        let old = messages.iter().take_while(|one| one.timestamp < before);
        old.enumerate().last().map(|(at, one)| (at + 1, one.number))
    }

    pub(super) fn first(&self, key: Key) -> Option<&Waiter<B>> {
        self.waiting(key)?.messages.front()
    }

    pub(super) fn length(&self, key: Key) -> u32 {
        self.waiting(key)
            .map_or(0, |waiting| waiting.messages.len() as u32)
    }

    /// Removes a queue's first message.
    pub(super) fn pop(&mut self, key: Key) -> Option<Waiter<B>> {
        let place = self.places.get_mut(key as usize)?.as_mut()?;
        let waiting = place.waiting.as_mut()?;
        let first = waiting.messages.pop_front()?;
        if waiting.messages.is_empty() {
            place.waiting = None;
        }
        self.messages -= 1;
        Some(first)
    }

    /// The places of up to `limit` queues from a position on, and where to go on.
    pub(super) fn step(&self, from: Cursor, limit: usize) -> (Vec<Key>, Option<Cursor>) {
        let end = from.0.saturating_add(limit).min(self.places.len());
        let begin = from.0.min(end);
        let there = |key: &usize| self.places[*key].is_some();
        let keys = (begin..end).filter(there).map(|key| key as Key).collect();
        (keys, (end < self.places.len()).then_some(Cursor(end)))
    }

    /// How many queues a service has, and which.
    pub(super) fn totals(&self, service: QueueId, kind: ServiceKind) -> (i64, IdsHash) {
        let totals = self
            .services
            .get(&(service, kind))
            .copied()
            .unwrap_or_default();
        (totals.count, totals.hash)
    }

    /// Some of a service's queues.
    pub(super) fn page(
        &self,
        service: QueueId,
        kind: ServiceKind,
        from: Cursor,
        limit: usize,
    ) -> Page {
        /// Places looked at in one step.
        const LOOKED_AT: usize = 10_000;
        let mut ids = Vec::new();
        let mut at = from.0;
        while at < self.places.len() && at - from.0 < LOOKED_AT && ids.len() < limit {
            if let Some(place) = &self.places[at] {
                let of = place.record.service(kind).filter(|(of, _)| *of == service);
                ids.extend(of.map(|(_, id)| id));
            }
            at += 1;
        }
        Page {
            ids,
            next: (at < self.places.len()).then_some(Cursor(at)),
        }
    }

    fn place(&self, key: Key) -> Option<&Place<B>> {
        self.places.get(key as usize)?.as_ref()
    }

    fn waiting(&self, key: Key) -> Option<&Waiting<B>> {
        self.place(key)?.waiting.as_deref()
    }

    fn named(&self, id: &QueueId, kind: IdKind) -> Option<Key> {
        self.ids
            .find(id, kind, |key| id_of(&self.places, key, kind))
    }

    /// Whether another queue has this id of this kind. What ids of other kinds there are does not
    /// matter: whoever may choose one must not learn of them.
    fn is_taken(&self, id: &QueueId, kind: IdKind) -> bool {
        self.named(id, kind).is_some()
    }

    /// Notes a queue's ids and services.
    fn enter(&mut self, key: Key) {
        for kind in IdKind::ALL {
            if let Some(id) = id_of(&self.places, key, kind) {
                let id_of = |key, kind| id_of(&self.places, key, kind);
                self.ids.insert(&id, (key, kind), id_of);
            }
        }
        self.count(key, 1);
    }

    /// Undoes [`Self::enter`].
    fn leave(&mut self, key: Key) {
        for kind in IdKind::ALL {
            if let Some(id) = id_of(&self.places, key, kind) {
                self.ids.remove(&id, key, kind);
            }
        }
        self.count(key, -1);
    }

    fn count(&mut self, key: Key, by: i64) {
        for kind in [ServiceKind::Messages, ServiceKind::Notifications] {
            let Some((service, id)) = self.packed(key).and_then(|record| record.service(kind))
            else {
                continue;
            };
            let totals = self.services.entry((service, kind)).or_default();
            totals.count += by;
            totals.hash.combine(IdsHash::of(&id.into()));
            if totals.count == 0 {
                self.services.remove(&(service, kind));
            }
        }
    }
}

fn id_of<B>(places: &[Option<Place<B>>], key: Key, kind: IdKind) -> Option<QueueId> {
    places.get(key as usize)?.as_ref()?.record.id(kind)
}

#[cfg(test)]
mod tests {
    use smp_protocol::AuthPublicKey;

    use super::*;
    use crate::store::{NotifierRecord, QueueStatus};

    /// A queue with four ids that begin with these numbers.
    fn queue([recipient, sender, notifier, link]: [u16; 4]) -> QueueRecord {
        let id = |number: u16| {
            let mut id = [0; 24];
            id[..2].copy_from_slice(&number.to_be_bytes());
            QueueId(id)
        };
        QueueRecord {
            recipient_id: id(recipient),
            sender_id: id(sender),
            recipient_keys: Vec::new(),
            delivery_key: [0; 32],
            sender_key: None,
            mode: None,
            status: QueueStatus::Active,
            notifier: Some(NotifierRecord {
                id: id(notifier),
                key: AuthPublicKey::Ed25519([0; 32]),
                secret: [0; 32],
                service: None,
            }),
            link_id: Some(id(link)),
            service: None,
            used_on: 0,
        }
    }

    #[test]
    fn an_id_is_taken_only_by_one_of_its_kind() {
        let mut index = Index::<()>::new();
        index.add(Packed::new(&queue([1, 2, 3, 4])));
        for taken in 1..=4 {
            for at in 0..4 {
                let mut ids = [11, 12, 13, 14];
                ids[at] = taken;
                let same_kind = usize::from(taken) == at + 1;
                assert_eq!(index.is_free(&queue(ids)), !same_kind, "{taken}, {at}");
            }
        }
        assert!(index.is_free(&queue([11, 12, 13, 14])));
    }

    #[test]
    fn one_id_may_name_something_of_each_kind() {
        let mut index = Index::<()>::new();
        let rows = [[1, 2, 3, 4], [4, 1, 2, 3], [3, 3, 1, 2], [2, 4, 4, 1]];
        for ids in rows {
            assert!(index.is_free(&queue(ids)), "{ids:?}");
            index.add(Packed::new(&queue(ids)));
        }
        for gone in rows {
            for ids in rows {
                let record = queue(ids);
                let notifier = record.notifier.as_ref().unwrap().id;
                let there = index.key(&record.recipient_id).is_some();
                for lookup in [
                    Lookup::Sender(record.sender_id),
                    Lookup::Notifier(notifier),
                    Lookup::Link(record.link_id.unwrap()),
                ] {
                    let found = index.find(lookup).is_some_and(|found| *found == record);
                    assert_eq!(found, there, "{lookup:?} of {ids:?}");
                }
            }
            let key = index.key(&queue(gone).recipient_id).unwrap();
            index.remove(key);
        }
    }

    #[test]
    fn ids_are_found_while_the_table_grows_and_shrinks() {
        let mut index = Index::<()>::new();
        let ids = |number: u16| [number, number + 10_000, number + 20_000, number + 30_000];
        for number in 0..10_000 {
            index.add(Packed::new(&queue(ids(number))));
        }
        for number in (0..10_000).step_by(3) {
            let key = index.key(&queue(ids(number)).recipient_id);
            assert!(index.remove(key.unwrap()).is_some());
        }
        for number in 0..10_000 {
            let record = queue(ids(number));
            let notifier = record.notifier.as_ref().unwrap().id;
            for lookup in [
                Lookup::Recipient(record.recipient_id),
                Lookup::Sender(record.sender_id),
                Lookup::Notifier(notifier),
                Lookup::Link(record.link_id.unwrap()),
            ] {
                let found = index.find(lookup).is_some_and(|found| *found == record);
                assert_eq!(found, number % 3 != 0);
            }
        }
        assert_eq!(index.queues(), 6666);
    }
}
