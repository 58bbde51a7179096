//! What a relay tells without being asked.

use std::fmt;

use smp_protocol::{
    BoxKey, EntityId, IdsHash, MessageId, Nonce, NotifierId, OpenError, ReceivedMessage,
    RecipientId,
};

use crate::error::DisconnectReason;

/// What a relay tells without being asked, in its order (document, "Router messages").
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message of a queue that is subscribed to. The next one comes when it is acknowledged.
    Message {
        /// The queue.
        queue: RecipientId,
        /// The message, still encrypted.
        message: SealedMessage,
    },
    /// Another connection has the subscription of this queue or notifier now.
    End {
        /// The queue, as its recipient or its notifier names it.
        queue: EntityId,
    },
    /// Another connection deleted the queue.
    Deleted {
        /// The queue, as its recipient or its notifier names it.
        queue: EntityId,
    },
    /// There is a message in a queue whose notifier this is.
    Notification {
        /// The queue, as its notifier names it.
        queue: NotifierId,
        /// The nonce of `meta`.
        nonce: Nonce,
        /// What the recipient can read: see
        /// [`NotificationMeta::open`](smp_protocol::NotificationMeta::open).
        meta: Vec<u8>,
    },
    /// Another connection has subscriptions of this service now.
    ServiceEnd {
        /// How many queues that concerns.
        count: i64,
        /// Which queues that concerns.
        ids_hash: IdsHash,
    },
    /// All messages that waited for this service were delivered.
    AllDelivered,
    /// The session is over. It is the last event.
    Disconnected(DisconnectReason),
}

impl Event {
    /// Roughly the memory that it holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let held = match self {
            Self::Message { message, .. } => message.body.len(),
            Self::Notification { meta, .. } => meta.len(),
            _ => 0,
        };
        size_of::<Self>() + held
    }
}

/// A message as the relay encrypted it for the queue's recipient. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedMessage {
    /// Names the message in its queue.
    pub id: MessageId,
    /// The encrypted content.
    pub body: Vec<u8>,
}

impl SealedMessage {
    /// Decrypts the message where it stands, which can be done once.
    ///
    /// # Errors
    /// [`OpenError`] if it was not encrypted with the secret of the queue, which is agreed from
    /// the keys in `NEW` and `IDS`.
    pub fn open(&mut self, key: &BoxKey) -> Result<ReceivedMessage<'_>, OpenError> {
        ReceivedMessage::open(key, &self.id, &mut self.body)
    }
}

impl fmt::Debug for SealedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedMessage")
    }
}
