//! Notifications: NSUB, and NMSG for each message whose sender asked for it.

use std::collections::VecDeque;

use rand::Rng;
use smp_protocol::{BoxKey, ErrorType, MessageId, NONCE_SIZE, Nonce, NotificationMeta, Response};

use super::inbox::Event;
use super::recipient::{Answer, unblocked};
use super::registry::{ConnectionId, Sharded, Subscriber};
use super::service::prohibited;
use super::session::Session;
use super::{Relay, random};
use crate::store::{NotifierRecord, QueueId, QueueRecord, ServiceKind, Store};

/// Notifications kept for one notifier that does not listen; the oldest go first. They say only
/// that there is a message, and the recipient takes all of them then.
const KEPT: usize = 4;

/// Notifications that wait for their notifier. They are in memory alone.
pub(crate) struct Notifications {
    waiting: Sharded<VecDeque<Notification>>,
}

struct Notification {
    nonce: Nonce,
    meta: Vec<u8>,
    /// In seconds since 1970.
    since: u64,
}

/// Seconds after which a notification is not worth waking anybody.
const LIFETIME: u64 = crate::clock::DAY;

impl Notifications {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Sharded::new(),
        }
    }

    fn add(&self, id: QueueId, notification: Notification) {
        let mut shard = self.waiting.lock(&id);
        let waiting = shard.entry(id).or_default();
        if waiting.len() == KEPT {
            waiting.pop_front();
        }
        waiting.push_back(notification);
    }

    /// Forgets those for which no notifier came.
    pub(super) fn expire(&self, now: u64) {
        self.waiting.for_each(|shard| {
            shard.retain(|_, waiting| {
                waiting.retain(|notification| notification.since + LIFETIME > now);
                !waiting.is_empty()
            });
        });
    }

    fn take(&self, id: QueueId) -> VecDeque<Notification> {
        self.waiting.lock(&id).remove(&id).unwrap_or_default()
    }
}

impl<S: Store> Session<S> {
    /// Subscribe to queue notifications.
    pub(super) async fn nsub(&mut self, record: &QueueRecord, as_service: bool) -> Answer {
        unblocked(record)?;
        let Some(notifier) = &record.notifier else {
            return Err(ErrorType::Auth);
        };
        let full = self.notifiers.len() >= self.relay.config.limits.subscriptions;
        if full && !self.notifiers.contains(&notifier.id) {
            return Err(prohibited());
        }
        let service = self
            .associate(record, ServiceKind::Notifications, as_service)
            .await?;
        // The notifiers of a service have one listener together.
        let former = if service.is_some() {
            self.notifiers.remove(&notifier.id);
            self.relay
                .notifiers
                .remove(notifier.id)
                .filter(|former| former.connection != self.id)
        } else {
            self.notifiers.insert(notifier.id);
            self.relay
                .notifiers
                .subscribe(notifier.id, self.subscriber())
        };
        if let Some(former) = former {
            former.inbox.push(Event::NotifierEnded(notifier.id));
        }
        self.inbox.push(Event::Notification(notifier.id));
        Ok(Response::Sok(service.map(Into::into)))
    }

    /// Another connection subscribed to the notifier, unless this one did so again since.
    pub(super) fn notifier_ended(&mut self, id: QueueId) {
        if self.relay.notifiers.has(id, self.id) {
            return;
        }
        if self.notifiers.remove(&id) || self.serves(ServiceKind::Notifications) {
            self.respond(None, id, &Response::End);
        }
    }

    /// Hands out what waits for a notifier.
    pub(super) fn deliver_notifications(&mut self, id: QueueId) {
        let subscribed = self.notifiers.contains(&id) && self.relay.notifiers.has(id, self.id);
        if !subscribed && !self.serves(ServiceKind::Notifications) {
            return;
        }
        for Notification { nonce, meta, .. } in self.relay.notifications.take(id) {
            self.relay.metrics.notifications_delivered.inc();
            self.respond(None, id, &Response::Nmsg { nonce, meta });
        }
    }
}

impl<S: Store> Relay<S> {
    /// A message came whose sender wants the recipient to be notified.
    pub(super) fn notify(&self, record: &QueueRecord, message: &MessageId, timestamp: u64) {
        let Some(notifier) = &record.notifier else {
            return;
        };
        let mut nonce = [0; NONCE_SIZE];
        random().fill_bytes(&mut nonce);
        let since = timestamp;
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let meta = NotificationMeta {
            message_id: *message,
            timestamp,
        };
        let meta = meta
            .seal(&BoxKey::from_bytes(&notifier.secret), &nonce)
            .to_vec();
        self.notifications
            .add(notifier.id, Notification { nonce, meta, since });
        let listener = self.notifier_listener(notifier);
        if let Some(listener) = listener {
            listener.inbox.push(Event::Notification(notifier.id));
        }
    }

    /// The record's notifier is no more, by a command of connection `by`.
    pub(super) fn notifier_gone(&self, record: &QueueRecord, by: Option<ConnectionId>) {
        let Some(notifier) = &record.notifier else {
            return;
        };
        drop(self.notifications.take(notifier.id));
        let listener = self.notifier_listener(notifier);
        self.notifiers.remove(notifier.id);
        if let Some(former) = listener
            && Some(former.connection) != by
        {
            former.inbox.push(Event::NotifierDeleted(notifier.id));
        }
    }

    fn notifier_listener(&self, notifier: &NotifierRecord) -> Option<Subscriber> {
        match notifier.service {
            Some(service) => self.notifier_services.subscriber(service),
            None => self.notifiers.subscriber(notifier.id),
        }
    }
}
