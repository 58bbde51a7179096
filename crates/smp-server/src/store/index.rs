//! Queues, who they are found by, and what waits in them: the part that both engines have in
//! memory. It decides; engines write down what it decided.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smp_protocol::{IdsHash, MessageFlags, MessageId};

use super::{Cursor, Lookup, Page, QueueChange, QueueId, QueueRecord, ServiceKind};

/// A queue's place, by which engines know it too.
pub(super) type Key = u32;

/// Everything of all queues but links' data. `B` is a message's body, or where it is.
pub(super) struct Index<B> {
    places: Vec<Option<Place<B>>>,
    free: Vec<Key>,
    recipients: HashMap<QueueId, Key>,
    senders: HashMap<QueueId, Key>,
    notifiers: HashMap<QueueId, Key>,
    links: HashMap<QueueId, Key>,
    services: HashMap<(QueueId, ServiceKind), Totals>,
    messages: u64,
}

struct Place<B> {
    record: Arc<QueueRecord>,
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
    To(QueueRecord),
    /// It is not allowed.
    Refused,
}

impl<B> Index<B> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            recipients: HashMap::new(),
            senders: HashMap::new(),
            notifiers: HashMap::new(),
            links: HashMap::new(),
            services: HashMap::new(),
            messages: 0,
        }
    }

    pub(super) fn queues(&self) -> u64 {
        self.recipients.len() as u64
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn key(&self, id: &QueueId) -> Option<Key> {
        self.recipients.get(id).copied()
    }

    pub(super) fn find(&self, lookup: Lookup) -> Option<Arc<QueueRecord>> {
        let key = match lookup {
            Lookup::Recipient(id) => self.recipients.get(&id),
            Lookup::Sender(id) => self.senders.get(&id),
            Lookup::Notifier(id) => self.notifiers.get(&id),
            Lookup::Link(id) => self.links.get(&id),
        }?;
        self.record(*key).cloned()
    }

    pub(super) fn record(&self, key: Key) -> Option<&Arc<QueueRecord>> {
        self.place(key).map(|place| &place.record)
    }

    /// Whether a queue with these ids can be added.
    pub(super) fn is_free(&self, record: &QueueRecord) -> bool {
        !(self.recipients.contains_key(&record.recipient_id)
            || self.senders.contains_key(&record.sender_id)
            || record
                .notifier
                .as_ref()
                .is_some_and(|one| self.notifiers.contains_key(&one.id))
            || record
                .link_id
                .is_some_and(|id| self.links.contains_key(&id)))
    }

    /// The place that the next queue gets.
    pub(super) fn next_key(&self) -> Key {
        self.free
            .last()
            .copied()
            .unwrap_or(self.places.len() as Key)
    }

    /// Adds a queue whose ids are free, at the place [`Self::next_key`].
    pub(super) fn add(&mut self, record: QueueRecord) {
        let key = self.next_key();
        self.free.pop();
        self.add_at(key, record);
    }

    /// Adds a queue at its place; places that are left out are found by [`Self::complete`].
    pub(super) fn add_at(&mut self, key: Key, record: QueueRecord) {
        let record = Arc::new(record);
        self.recipients.insert(record.recipient_id, key);
        self.senders.insert(record.sender_id, key);
        self.enter(key, &record);
        if self.places.len() <= key as usize {
            self.places.resize_with(key as usize + 1, || None);
        }
        self.places[key as usize] = Some(Place {
            record,
            waiting: None,
        });
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
        let mut record = (**self.record(key)?).clone();
        match change {
            QueueChange::SenderKey(new) => match &record.sender_key {
                Some(present) if present != new => return Some(Change::Refused),
                _ => record.sender_key = Some(*new),
            },
            QueueChange::RecipientKeys(keys) => record.recipient_keys.clone_from(keys),
            QueueChange::Status(status) => record.status = status.clone(),
            QueueChange::Notifier(notifier) => {
                if notifier
                    .as_ref()
                    .is_some_and(|one| self.notifiers.contains_key(&one.id))
                {
                    return Some(Change::Refused);
                }
                record.notifier.clone_from(notifier);
            }
            QueueChange::Link(None) => record.link_id = None,
            QueueChange::Link(Some((id, _))) => {
                let allowed = match record.link_id {
                    Some(present) => present == *id,
                    None => !self.links.contains_key(id),
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
        Some(Change::To(record))
    }

    /// Puts a changed record in the place of the former.
    pub(super) fn replace(&mut self, key: Key, record: QueueRecord) -> Option<Arc<QueueRecord>> {
        let former = Arc::clone(self.record(key)?);
        self.leave(&former);
        let record = Arc::new(record);
        self.enter(key, &record);
        let place = self.places.get_mut(key as usize)?.as_mut()?;
        place.record = Arc::clone(&record);
        Some(record)
    }

    /// Removes a queue; what waited in it is returned too.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Arc<QueueRecord>, VecDeque<Waiter<B>>)> {
        let place = self.places.get_mut(key as usize)?.take()?;
        self.free.push(key);
        self.recipients.remove(&place.record.recipient_id);
        self.senders.remove(&place.record.sender_id);
        self.leave(&place.record);
        let messages = place
            .waiting
            .map(|waiting| waiting.messages)
            .unwrap_or_default();
        self.messages -= messages.len() as u64;
        Some((place.record, messages))
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
        let end = (from.0 + limit).min(self.places.len());
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
        while at < self.places.len() && at < from.0 + LOOKED_AT && ids.len() < limit {
            if let Some(place) = &self.places[at] {
                ids.extend(in_service(&place.record, service, kind));
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

    /// Notes what may change of a record's ids.
    fn enter(&mut self, key: Key, record: &QueueRecord) {
        if let Some(notifier) = &record.notifier {
            self.notifiers.insert(notifier.id, key);
        }
        if let Some(id) = record.link_id {
            self.links.insert(id, key);
        }
        self.count(record, 1);
    }

    /// Undoes [`Self::enter`].
    fn leave(&mut self, record: &QueueRecord) {
        if let Some(notifier) = &record.notifier {
            self.notifiers.remove(&notifier.id);
        }
        if let Some(id) = record.link_id {
            self.links.remove(&id);
        }
        self.count(record, -1);
    }

    fn count(&mut self, record: &QueueRecord, by: i64) {
        for kind in [ServiceKind::Messages, ServiceKind::Notifications] {
            let Some((service, id)) = service_of(record, kind) else {
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

/// The service that takes `kind` of a queue, and the id by which it knows the queue.
fn service_of(record: &QueueRecord, kind: ServiceKind) -> Option<(QueueId, QueueId)> {
    match kind {
        ServiceKind::Messages => Some((record.service?, record.recipient_id)),
        ServiceKind::Notifications => {
            let notifier = record.notifier.as_ref()?;
            Some((notifier.service?, notifier.id))
        }
    }
}

fn in_service(record: &QueueRecord, service: QueueId, kind: ServiceKind) -> Option<QueueId> {
    let (of, id) = service_of(record, kind)?;
    (of == service).then_some(id)
}
