//! Sender and link commands, direct or through another relay: SKEY, SEND, LKEY, LGET.

use smp_protocol::{
    AuthPublicKey, ErrorType, MessageFlags, MessageId, QueueMode, Response, SmpVersion,
    max_message_length,
};

use super::{Relay, random};
use crate::store::{
    Pushed, QueueChange, QueueRecord, QueueStatus, Store, StoredBody, StoredMessage, Updated,
};

/// A queue that takes messages and may be changed by senders.
pub(super) fn active(record: &QueueRecord) -> Result<(), ErrorType> {
    match &record.status {
        QueueStatus::Active => Ok(()),
        QueueStatus::Suspended => Err(ErrorType::Auth),
        QueueStatus::Blocked(info) => Err(ErrorType::Blocked(info.clone())),
    }
}

impl<S: Store> Relay<S> {
    /// Secure queue by sender: only queues made for it, and only once.
    pub(super) async fn skey(
        &self,
        record: &QueueRecord,
        key: AuthPublicKey,
    ) -> Result<Response, ErrorType> {
        if record.mode != Some(QueueMode::Messaging) {
            return Err(ErrorType::Auth);
        }
        active(record)?;
        self.secure(record, key).await?;
        Ok(Response::Ok)
    }

    /// Sets the sender's key; the same key again is fine, another is refused.
    pub(super) async fn secure(
        &self,
        record: &QueueRecord,
        key: AuthPublicKey,
    ) -> Result<(), ErrorType> {
        match self
            .store
            .update(&record.recipient_id, QueueChange::SenderKey(key))
            .await
        {
            Ok(Updated::Done(_)) => Ok(()),
            Ok(Updated::Refused | Updated::Gone) => Err(ErrorType::Auth),
            Err(error) => Err(self.store_error(&error)),
        }
    }

    /// Send message. The queue's sender was verified, or it has none yet.
    pub(super) async fn send(
        &self,
        record: &QueueRecord,
        version: SmpVersion,
        flags: MessageFlags,
        body: Vec<u8>,
    ) -> Result<Response, ErrorType> {
        active(record)?;
        if body.len() > max_message_length(version) {
            return Err(ErrorType::LargeMsg);
        }
        let id = MessageId::generate(&mut random());
        let timestamp = self.clock.now();
        let message = StoredMessage {
            id,
            timestamp,
            body: StoredBody::Message { flags, body },
        };
        let id_of_queue = record.recipient_id;
        let quota = self.config.messages.quota;
        let pushed = match self.store.push(&id_of_queue, message, quota).await {
            Ok(pushed) => pushed,
            Err(error) => {
                // It may be stored all the same; then its recipient has to learn of it.
                self.announce(record);
                return Err(self.store_error(&error));
            }
        };
        // Who listens may have changed while the message was on its way to the disk.
        let record = &*self.record(id_of_queue).await?.ok_or(ErrorType::Auth)?;
        match pushed {
            Pushed::First => self.announce(record),
            Pushed::Queued => {}
            Pushed::QuotaExceeded => {
                self.metrics.quota_exceeded.inc();
                return Err(ErrorType::Quota);
            }
            Pushed::Gone => return Err(ErrorType::Auth),
        }
        self.metrics.messages_received.inc();
        if flags.notification {
            self.notify(record, &id, timestamp);
        }
        Ok(Response::Ok)
    }

    /// Set link key: secures a messaging queue and returns its link's data.
    pub(super) async fn lkey(
        &self,
        record: &QueueRecord,
        key: AuthPublicKey,
    ) -> Result<Response, ErrorType> {
        if record.mode != Some(QueueMode::Messaging) {
            return Err(ErrorType::Auth);
        }
        active(record)?;
        self.secure(record, key).await?;
        self.link(record).await
    }

    /// Get link data: of contact queues alone, for anyone who has the link.
    pub(super) async fn lget(&self, record: &QueueRecord) -> Result<Response, ErrorType> {
        if record.mode != Some(QueueMode::Contact) {
            return Err(ErrorType::Auth);
        }
        active(record)?;
        self.link(record).await
    }

    async fn link(&self, record: &QueueRecord) -> Result<Response, ErrorType> {
        match self.store.link_data(&record.recipient_id).await {
            Ok(Some(data)) => Ok(Response::Lnk {
                sender_id: record.sender_id.into(),
                data,
            }),
            Ok(None) => Err(ErrorType::Auth),
            Err(error) => Err(self.store_error(&error)),
        }
    }

    /// What a name is called: this relay has no resolver.
    pub(super) fn rslv() -> ErrorType {
        ErrorType::Name(smp_protocol::NameError::NoResolver)
    }
}
