//! What a store does, said in the plainest way: a list that is searched from its begin.

use smp_protocol::{IdsHash, LinkData, MessageId, ServiceRole};
use smp_server::store::{
    Counts, Lookup, Pushed, QueueChange, QueueId, QueueRecord, ServiceKind, StoredBody,
    StoredMessage,
};

#[derive(Default)]
pub(super) struct Reference {
    queues: Vec<Queue>,
    services: Vec<(u8, ServiceRole, QueueId)>,
}

struct Queue {
    record: QueueRecord,
    link: Option<LinkData>,
    messages: Vec<StoredMessage>,
}

/// What becomes of a change.
#[allow(clippy::large_enum_variant)]
pub(super) enum Outcome {
    Done(Box<QueueRecord>),
    Refused,
    Gone,
}

impl Reference {
    fn queue(&self, id: &QueueId) -> Option<&Queue> {
        self.queues
            .iter()
            .find(|queue| queue.record.recipient_id == *id)
    }

    fn queue_mut(&mut self, id: &QueueId) -> Option<&mut Queue> {
        self.queues
            .iter_mut()
            .find(|queue| queue.record.recipient_id == *id)
    }

    pub(super) fn find(&self, lookup: Lookup) -> Option<&QueueRecord> {
        let mut records = self.queues.iter().map(|queue| &queue.record);
        records.find(|record| match lookup {
            Lookup::Recipient(id) => record.recipient_id == id,
            Lookup::Sender(id) => record.sender_id == id,
            Lookup::Notifier(id) => record.notifier.as_ref().is_some_and(|one| one.id == id),
            Lookup::Link(id) => record.link_id == Some(id),
        })
    }

    pub(super) fn create(&mut self, record: QueueRecord, link: Option<LinkData>) -> bool {
        let mut lookups = vec![Lookup::Recipient(record.recipient_id)];
        lookups.push(Lookup::Sender(record.sender_id));
        lookups.extend(record.notifier.as_ref().map(|one| Lookup::Notifier(one.id)));
        lookups.extend(record.link_id.map(Lookup::Link));
        let free = lookups
            .into_iter()
            .all(|lookup| self.find(lookup).is_none());
        if free {
            self.queues.push(Queue {
                record,
                link,
                messages: Vec::new(),
            });
        }
        free
    }

    /// `None` where the document and the trait leave open what happens.
    pub(super) fn update(&mut self, id: &QueueId, change: &QueueChange) -> Option<Outcome> {
        let Some(queue) = self.queue(id) else {
            return Some(Outcome::Gone);
        };
        let allowed = match change {
            QueueChange::SenderKey(key) => queue
                .record
                .sender_key
                .is_none_or(|present| present == *key),
            QueueChange::Notifier(Some(new)) => match self.find(Lookup::Notifier(new.id)) {
                // Its own id again.
                Some(record) if record.recipient_id == *id => return None,
                found => found.is_none(),
            },
            QueueChange::Link(Some((link, data))) => match queue.record.link_id {
                Some(present) => {
                    let fixed = queue.link.as_ref().map(|present| &present.fixed);
                    present == *link && fixed.is_none_or(|fixed| *fixed == data.fixed)
                }
                None => self.find(Lookup::Link(*link)).is_none(),
            },
            QueueChange::Service {
                kind: ServiceKind::Notifications,
                ..
            } => queue.record.notifier.is_some(),
            _ => true,
        };
        if !allowed {
            return Some(Outcome::Refused);
        }
        let queue = self.queue_mut(id)?;
        queue.apply(change);
        Some(Outcome::Done(Box::new(queue.record.clone())))
    }

    pub(super) fn link_data(&self, id: &QueueId) -> Option<&LinkData> {
        self.queue(id)?.link.as_ref()
    }

    pub(super) fn delete(&mut self, id: &QueueId) -> Option<QueueRecord> {
        let at = self
            .queues
            .iter()
            .position(|queue| queue.record.recipient_id == *id)?;
        Some(self.queues.remove(at).record)
    }

    pub(super) fn messages(&self, id: &QueueId) -> &[StoredMessage] {
        self.queue(id).map_or(&[], |queue| &queue.messages)
    }

    pub(super) fn first(&self, id: &QueueId) -> Option<&StoredMessage> {
        self.messages(id).first()
    }

    pub(super) fn push(&mut self, id: &QueueId, message: StoredMessage, quota: u32) -> Pushed {
        let Some(Queue { messages, .. }) = self.queue_mut(id) else {
            return Pushed::Gone;
        };
        if messages
            .iter()
            .any(|message| message.body == StoredBody::Quota)
        {
            return Pushed::QuotaExceeded;
        }
        if messages.len() >= quota as usize {
            messages.push(StoredMessage {
                body: StoredBody::Quota,
                ..message
            });
            return Pushed::QuotaExceeded;
        }
        messages.push(message);
        if messages.len() == 1 {
            Pushed::First
        } else {
            Pushed::Queued
        }
    }

    pub(super) fn acknowledge(&mut self, id: &QueueId, message: &MessageId) -> bool {
        let is_first = self.first(id).is_some_and(|first| first.id == *message);
        if let Some(queue) = self.queue_mut(id).filter(|_| is_first) {
            queue.messages.remove(0);
        }
        is_first
    }

    pub(super) fn expire_messages(&mut self, before: u64) -> usize {
        let former = self.counts().messages;
        for queue in &mut self.queues {
            queue.messages.retain(|message| message.timestamp >= before);
        }
        (former - self.counts().messages) as usize
    }

    /// The recipients' ids of those that expired, sorted.
    pub(super) fn expire_queues(&mut self, before: u32) -> Vec<QueueId> {
        let unused = self
            .queues
            .extract_if(.., |queue| queue.record.used_on < before);
        let mut ids: Vec<_> = unused.map(|queue| queue.record.recipient_id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether a service may have this id.
    pub(super) fn service(&mut self, certificate: u8, role: ServiceRole, id: QueueId) -> bool {
        let same = |one: &&(u8, ServiceRole, QueueId)| (one.0, one.1) == (certificate, role);
        if let Some((_, _, present)) = self.services.iter().find(same) {
            return *present == id;
        }
        let new = self.services.iter().all(|(_, _, other)| *other != id);
        self.services.push((certificate, role, id));
        new
    }

    /// A service's queues, sorted, and their totals.
    pub(super) fn served(
        &self,
        service: &QueueId,
        kind: ServiceKind,
    ) -> (Vec<QueueId>, (i64, IdsHash)) {
        let records = self.queues.iter().map(|queue| &queue.record);
        let ids = records.filter_map(|record| match kind {
            ServiceKind::Messages => record
                .service
                .filter(|of| of == service)
                .map(|_| record.recipient_id),
            ServiceKind::Notifications => {
                let notifier = record.notifier.as_ref()?;
                notifier
                    .service
                    .filter(|of| of == service)
                    .map(|_| notifier.id)
            }
        });
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        let mut hash = IdsHash::default();
        ids.iter()
            .for_each(|id| hash.combine(IdsHash::of(&(*id).into())));
        let totals = (ids.len() as i64, hash);
        (ids, totals)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            queues: self.queues.len() as u64,
            messages: self
                .queues
                .iter()
                .map(|queue| queue.messages.len() as u64)
                .sum(),
        }
    }
}

impl Queue {
    fn apply(&mut self, change: &QueueChange) {
        match change.clone() {
            QueueChange::SenderKey(key) => self.record.sender_key = Some(key),
            QueueChange::RecipientKeys(keys) => self.record.recipient_keys = keys,
            QueueChange::Status(status) => self.record.status = status,
            QueueChange::Notifier(notifier) => self.record.notifier = notifier,
            QueueChange::Link(link) => {
                self.record.link_id = link.as_ref().map(|(id, _)| *id);
                self.link = link.map(|(_, data)| data);
            }
            QueueChange::Service {
                kind: ServiceKind::Messages,
                service,
            } => {
                self.record.service = service;
            }
            QueueChange::Service {
                kind: ServiceKind::Notifications,
                service,
            } => {
                if let Some(notifier) = &mut self.record.notifier {
                    notifier.service = service;
                }
            }
            QueueChange::UsedOn(day) => self.record.used_on = day,
        }
    }
}
