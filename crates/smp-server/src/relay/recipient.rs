//! Recipient commands: NEW, SUB, KEY, RKEY, LSET, LDEL, NKEY, NDEL, GET, ACK, OFF, DEL, QUE.

use serde::Serialize;
use smp_protocol::{
    AuthPublicKey, BoxKey, CorrId, DhPrivateKey, DhPublicKey, DhSecret, ErrorType, KEY_SIZE,
    LinkData, LinkId, MessageId, NewQueue, QueueIds, QueueMode, QueueRequest, ReceivedMessage,
    Response, SenderId,
};

use super::inbox::Event;
use super::random;
use super::sender::active;
use super::service::prohibited;
use super::session::{Access, Session, Subscription};
use crate::store::{
    Acknowledged, CreateError, NotifierRecord, QueueChange, QueueId, QueueRecord, QueueStatus,
    ServiceKind, Store, StoreError, StoredBody, StoredMessage, Updated,
};

/// What a recipient's command leads to.
pub(super) type Answer = Result<Response, ErrorType>;

/// Ids and link data that a new queue shall have.
struct Wanted {
    mode: Option<QueueMode>,
    sender_id: Option<QueueId>,
    link: Option<(QueueId, LinkData)>,
}

impl<S: Store> Session<S> {
    /// Create queue. The caller verified that the client has the key in `new`.
    pub(super) async fn new_queue(
        &mut self,
        new: NewQueue,
        corr_id: &CorrId,
        as_service: bool,
    ) -> Answer {
        self.relay.may_create(new.basic_auth.as_ref())?;
        if new.subscribe {
            self.room_for_subscription(None)?;
        }
        let wanted = wanted(&new, corr_id)?;
        let own = DhPrivateKey::generate(&mut random());
        let secret = agree(&own, &new.dh_key)?;
        let notifier = new
            .notifier
            .as_ref()
            .map(|(key, dh)| notifier(*key, dh))
            .transpose()?;
        let service = self.join(ServiceKind::Messages, as_service).await?;
        let mut record = QueueRecord {
            recipient_id: QueueId::random(),
            sender_id: wanted.sender_id.unwrap_or_else(QueueId::random),
            recipient_keys: vec![new.auth_key],
            delivery_key: secret,
            sender_key: None,
            mode: wanted.mode,
            status: QueueStatus::Active,
            notifier: None,
            link_id: wanted.link.as_ref().map(|(id, _)| *id),
            service,
            used_on: self.relay.clock.today(),
        };
        let ntf_key = notifier.map(|(notifier, key)| {
            let credentials = (notifier.id.into(), key);
            record.notifier = Some(notifier);
            credentials
        });
        let ids = QueueIds {
            recipient_id: record.recipient_id.into(),
            sender_id: record.sender_id.into(),
            dh_key: own.public(),
            mode: record.mode,
            link_id: record.link_id.map(Into::into),
            service_id: service.map(Into::into),
            notifier: ntf_key,
        };
        let id = record.recipient_id;
        match self
            .relay
            .store
            .create(record, wanted.link.map(|(_, data)| data))
            .await
        {
            Ok(()) => {}
            Err(CreateError::Taken) => return Err(ErrorType::Auth),
            Err(CreateError::Store(error)) => return Err(self.relay.store_error(&error)),
        }
        self.relay.metrics.queues_created.inc();
        if new.subscribe {
            self.listen(id, service.is_some());
        }
        Ok(Response::Ids(Box::new(ids)))
    }

    /// Subscribe to queue. A waiting message follows by itself.
    pub(super) async fn sub(&mut self, record: &QueueRecord, as_service: bool) -> Answer {
        unblocked(record)?;
        let id = record.recipient_id;
        if let Some(Subscription {
            access: Access::Get,
            ..
        }) = self.subscriptions.get(&id)
        {
            return Err(prohibited());
        }
        self.room_for_subscription(Some(&id))?;
        let service = self
            .associate(record, ServiceKind::Messages, as_service)
            .await?;
        self.listen(id, service.is_some());
        self.inbox.push(Event::Message(id));
        Ok(Response::Sok(service.map(Into::into)))
    }

    /// Makes this connection the queue's listener. A message that is out comes again, and may be
    /// acknowledged before it does.
    fn listen(&mut self, id: QueueId, by_service: bool) {
        let former = self.subscriptions.get(&id);
        let delivered = former.and_then(|subscription| subscription.delivered);
        let subscription = Subscription {
            access: Access::Sub,
            delivered,
            again: true,
            by_service,
        };
        self.subscriptions.insert(id, subscription);
        // The queues of a service have one listener together.
        let former = if by_service {
            self.relay
                .queues
                .remove(id)
                .filter(|former| former.connection != self.id)
        } else {
            self.relay.queues.subscribe(id, self.subscriber())
        };
        if let Some(former) = former {
            former.inbox.push(Event::Ended(id));
        }
    }

    /// Whether this connection may take messages of one more queue, or goes on with `id`.
    fn room_for_subscription(&self, id: Option<&QueueId>) -> Result<(), ErrorType> {
        let known = id.is_some_and(|id| self.subscriptions.contains_key(id));
        if known || self.subscriptions.len() < self.relay.config.limits.subscriptions {
            Ok(())
        } else {
            Err(prohibited())
        }
    }

    /// Get message: one, without subscription. From now on this connection takes messages of the
    /// queue in no other way.
    pub(super) async fn get(&mut self, record: &QueueRecord) -> Answer {
        unblocked(record)?;
        let id = record.recipient_id;
        if let Some(Subscription {
            access: Access::Sub,
            ..
        }) = self.subscriptions.get(&id)
        {
            return Err(prohibited());
        }
        self.room_for_subscription(Some(&id))?;
        let first = self.relay.first(&id).await?;
        let delivered = first.as_ref().map(|message| message.id);
        self.subscriptions
            .insert(id, Subscription::new(Access::Get, delivered));
        Ok(first.map_or(Response::Ok, |message| self.relay.deliver(record, message)))
    }

    /// Acknowledge message delivery: deletes it and hands out the next, if there is a subscription.
    pub(super) async fn ack(&mut self, record: &QueueRecord, message: MessageId) -> Answer {
        let id = record.recipient_id;
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return Err(ErrorType::NoMsg);
        };
        if subscription.delivered != Some(message) {
            return Err(ErrorType::NoMsg);
        }
        let acknowledged = self.relay.store.acknowledge(&id, &message).await;
        let acknowledged = acknowledged.map_err(|error| self.relay.store_error(&error))?;
        subscription.delivered = None;
        subscription.again = false;
        let (access, by_service) = (subscription.access, subscription.by_service);
        let next = match acknowledged {
            Acknowledged::Done { next } => next,
            // Expired in between: for the recipient it is as good as acknowledged.
            Acknowledged::NotFirst => self.relay.first(&id).await?,
        };
        self.relay.metrics.messages_acknowledged.inc();
        let Some(next) = next else {
            return Ok(Response::Ok);
        };
        // What another connection subscribed to in between goes there.
        if access == Access::Get || !self.takes(record, by_service) {
            return Ok(Response::Ok);
        }
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.delivered = Some(next.id);
        }
        Ok(self.relay.deliver(record, next))
    }

    /// Secure queue by recipient.
    pub(super) async fn key(&self, record: &QueueRecord, key: AuthPublicKey) -> Answer {
        unblocked(record)?;
        self.relay.secure(record, key).await?;
        Ok(Response::Ok)
    }

    /// Set queue recipient keys: of contact queues alone.
    pub(super) async fn rkey(&self, record: &QueueRecord, keys: Vec<AuthPublicKey>) -> Answer {
        if record.mode != Some(QueueMode::Contact) {
            return Err(ErrorType::Auth);
        }
        unblocked(record)?;
        self.change(record, QueueChange::RecipientKeys(keys)).await
    }

    /// Set short link: once; later only the user data changes.
    pub(super) async fn lset(&self, record: &QueueRecord, id: &LinkId, data: LinkData) -> Answer {
        unblocked(record)?;
        let id = QueueId::try_from(id.as_bytes()).map_err(|_| ErrorType::Auth)?;
        let allowed = match record.link_id {
            Some(link_id) => link_id == id,
            None => record.mode == Some(QueueMode::Contact),
        };
        if !allowed {
            return Err(ErrorType::Auth);
        }
        self.change(record, QueueChange::Link(Some((id, data))))
            .await
    }

    /// Delete short link.
    pub(super) async fn ldel(&self, record: &QueueRecord) -> Answer {
        self.change(record, QueueChange::Link(None)).await
    }

    /// Enable notifications: new credentials take the place of former ones.
    pub(super) async fn nkey(
        &self,
        record: &QueueRecord,
        key: AuthPublicKey,
        dh: &DhPublicKey,
    ) -> Answer {
        unblocked(record)?;
        let (notifier, dh) = notifier(key, dh)?;
        let id = notifier.id.into();
        self.change(record, QueueChange::Notifier(Some(notifier)))
            .await?;
        self.relay.notifier_gone(record, Some(self.id));
        Ok(Response::Nid {
            notifier_id: id,
            dh_key: dh,
        })
    }

    /// Disable notifications.
    pub(super) async fn ndel(&self, record: &QueueRecord) -> Answer {
        self.change(record, QueueChange::Notifier(None)).await?;
        self.relay.notifier_gone(record, Some(self.id));
        Ok(Response::Ok)
    }

    /// Suspend queue: no more messages; those that wait can be taken.
    pub(super) async fn off(&self, record: &QueueRecord) -> Answer {
        if let QueueStatus::Blocked(_) = record.status {
            return Ok(Response::Ok);
        }
        self.change(record, QueueChange::Status(QueueStatus::Suspended))
            .await
    }

    /// Delete queue, with its messages, link and notifier.
    pub(super) async fn del(&mut self, record: &QueueRecord) -> Answer {
        let id = record.recipient_id;
        let deleted = self.relay.store.delete(&id).await;
        let Some(record) = deleted.map_err(|error| self.relay.store_error(&error))? else {
            return Err(ErrorType::Auth);
        };
        self.relay.metrics.queues_deleted.inc();
        self.subscriptions.remove(&id);
        self.relay.queue_gone(&record, Some(self.id));
        Ok(Response::Ok)
    }

    /// Get queue state, as JSON in the form that the document shows.
    pub(super) async fn que(&self, record: &QueueRecord) -> Answer {
        let id = record.recipient_id;
        let first = self.relay.first(&id).await?;
        let size = self.relay.store.length(&id).await;
        let size = size.map_err(|error| self.relay.store_error(&error))?;
        let subscription = self.subscriptions.get(&id);
        let info = QueueInfo {
            snd: record.sender_key.is_some(),
            ntf: record.notifier.is_some(),
            sub: subscription.map(SubscriptionInfo::new),
            size,
            msg: first.as_ref().map(MessageInfo::new),
        };
        serde_json::to_string(&info)
            .map(Response::Info)
            .map_err(|_| ErrorType::Internal)
    }

    async fn change(&self, record: &QueueRecord, change: QueueChange) -> Answer {
        match self.relay.store.update(&record.recipient_id, change).await {
            Ok(Updated::Done(_)) => Ok(Response::Ok),
            Ok(Updated::Refused | Updated::Gone) => Err(ErrorType::Auth),
            Err(error) => Err(self.relay.store_error(&error)),
        }
    }
}

/// What the request part of NEW asks for, checked.
fn wanted(new: &NewQueue, corr_id: &CorrId) -> Result<Wanted, ErrorType> {
    // Ids that follow from the correlation id can't be used to ask whether a queue exists.
    let check = |sender_id: &SenderId| match QueueId::try_from(sender_id.as_bytes()) {
        Ok(id) if *sender_id == QueueRequest::link_sender_id(corr_id) => Ok(Some(id)),
        _ => Err(prohibited()),
    };
    Ok(match &new.request {
        None => Wanted {
            mode: None,
            sender_id: None,
            link: None,
        },
        Some(QueueRequest::Messaging(None)) => Wanted {
            mode: Some(QueueMode::Messaging),
            sender_id: None,
            link: None,
        },
        Some(QueueRequest::Contact(None)) => Wanted {
            mode: Some(QueueMode::Contact),
            sender_id: None,
            link: None,
        },
        Some(QueueRequest::Messaging(Some((sender_id, data)))) => Wanted {
            mode: Some(QueueMode::Messaging),
            sender_id: check(sender_id)?,
            link: Some((QueueId::random(), data.clone())),
        },
        Some(QueueRequest::Contact(Some((link_id, sender_id, data)))) => {
            let link_id = QueueId::try_from(link_id.as_bytes()).map_err(|_| prohibited())?;
            Wanted {
                mode: Some(QueueMode::Contact),
                sender_id: check(sender_id)?,
                link: Some((link_id, data.clone())),
            }
        }
    })
}

fn agree(own: &DhPrivateKey, theirs: &DhPublicKey) -> Result<[u8; KEY_SIZE], ErrorType> {
    let secret = DhSecret::agree(own, theirs).map_err(|_| ErrorType::Crypto)?;
    Ok(*secret.as_bytes())
}

fn notifier(
    key: AuthPublicKey,
    dh: &DhPublicKey,
) -> Result<(NotifierRecord, DhPublicKey), ErrorType> {
    let own = DhPrivateKey::generate(&mut random());
    let secret = agree(&own, dh)?;
    let record = NotifierRecord {
        id: QueueId::random(),
        key,
        secret,
        service: None,
    };
    Ok((record, own.public()))
}

/// A queue that its operator did not block. A suspended one may still be read.
pub(super) fn unblocked(record: &QueueRecord) -> Result<(), ErrorType> {
    match &record.status {
        QueueStatus::Blocked(_) => active(record),
        QueueStatus::Active | QueueStatus::Suspended => Ok(()),
    }
}

impl<S: Store> super::Relay<S> {
    /// The first message of a queue.
    pub(super) async fn first(&self, id: &QueueId) -> Result<Option<StoredMessage>, ErrorType> {
        self.store
            .first(id)
            .await
            .map_err(|error: StoreError| self.store_error(&error))
    }

    /// A message as the queue's recipient gets it.
    pub(super) fn deliver(&self, record: &QueueRecord, message: StoredMessage) -> Response {
        self.metrics.messages_delivered.inc();
        let StoredMessage {
            id,
            timestamp,
            body,
        } = message;
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        let received = match &body {
            StoredBody::Message { flags, body } => ReceivedMessage::Message {
                timestamp,
                flags: *flags,
                body,
            },
            StoredBody::Quota => ReceivedMessage::Quota { timestamp },
        };
        let key = BoxKey::from_bytes(&record.delivery_key);
        match received.seal_for_recipient(&key, &id) {
            Ok(body) => Response::Msg { id, body },
            Err(_) => Response::Err(ErrorType::Internal),
        }
    }
}

#[derive(Serialize)]
struct QueueInfo {
    #[serde(rename = "qiSnd")]
    snd: bool,
    #[serde(rename = "qiNtf")]
    ntf: bool,
    #[serde(rename = "qiSub", skip_serializing_if = "Option::is_none")]
    sub: Option<SubscriptionInfo>,
    #[serde(rename = "qiSize")]
    size: u32,
    #[serde(rename = "qiMsg", skip_serializing_if = "Option::is_none")]
    msg: Option<MessageInfo>,
}

#[derive(Serialize)]
struct SubscriptionInfo {
    #[serde(rename = "qSubThread")]
    thread: &'static str,
    #[serde(rename = "qDelivered", skip_serializing_if = "Option::is_none")]
    delivered: Option<String>,
}

impl SubscriptionInfo {
    fn new(subscription: &Subscription) -> Self {
        let thread = match subscription.access {
            Access::Sub => "noSub",
            Access::Get => "prohibitSub",
        };
        Self {
            thread,
            delivered: subscription.delivered.map(text),
        }
    }
}

#[derive(Serialize)]
struct MessageInfo {
    #[serde(rename = "msgId")]
    id: String,
    #[serde(rename = "msgTs")]
    timestamp: String,
    #[serde(rename = "msgType")]
    kind: &'static str,
}

impl MessageInfo {
    fn new(message: &StoredMessage) -> Self {
        let kind = match message.body {
            StoredBody::Message { .. } => "message",
            StoredBody::Quota => "quota",
        };
        Self {
            id: text(message.id),
            timestamp: crate::clock::rfc3339(message.timestamp),
            kind,
        }
    }
}

fn text(id: MessageId) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(id.as_bytes())
}
