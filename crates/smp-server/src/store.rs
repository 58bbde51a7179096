//! Where queues and messages are kept.
//!
//! The relay is written against [`Store`]; its engines are [`MemoryStore`] and [`DiskStore`]. The
//! methods are asynchronous so that an engine on another machine can serve later. An operation is
//! atomic for its queue, and what has returned `Ok` is done for good: with [`DiskStore`] it
//! survives the death of the process at any instant.

mod disk;
mod index;
mod memory;
mod record;
mod service_ids;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use rand::Rng;
use smp_protocol::{
    AuthPublicKey, BlockingInfo, EntityId, Fingerprint, ID_SIZE, IdsHash, LinkData, MessageFlags,
    MessageId, QueueMode, ServiceRole,
};

pub use disk::{DiskStore, Durability};
pub use memory::MemoryStore;
pub(crate) use service_ids::ServiceIds;

/// An id that this relay made: of a recipient, sender, notifier, link or service.
///
/// `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub [u8; ID_SIZE]);

impl QueueId {
    /// A new one from the system's randomness.
    pub fn random() -> Self {
        let mut bytes = [0; ID_SIZE];
        crate::relay::random().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; ID_SIZE] {
        &self.0
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueId")
    }
}

/// A queue as it is stored. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueRecord {
    /// Names it to its recipient; the store's key.
    pub recipient_id: QueueId,
    /// Names it to its sender.
    pub sender_id: QueueId,
    /// 1 to 255 keys that verify recipients' commands.
    pub recipient_keys: Vec<AuthPublicKey>,
    /// Agreed with the recipient, encrypts messages on their way to it.
    pub delivery_key: [u8; 32],
    /// Verifies senders' commands once the queue is secured.
    pub sender_key: Option<AuthPublicKey>,
    /// What it is for; queues made by versions before 9 don't say.
    pub mode: Option<QueueMode>,
    /// Whether it takes messages.
    pub status: QueueStatus,
    /// Who is told of messages.
    pub notifier: Option<NotifierRecord>,
    /// Names its short link.
    pub link_id: Option<QueueId>,
    /// The service that takes its messages.
    pub service: Option<QueueId>,
    /// The day of its last use, since 1970.
    pub used_on: u32,
}

impl fmt::Debug for QueueRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueRecord")
    }
}

/// Whether a queue takes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueStatus {
    /// It does.
    Active,
    /// Its recipient suspended it.
    Suspended,
    /// The operator blocked it.
    Blocked(BlockingInfo),
}

/// Who is told of a queue's messages.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifierRecord {
    /// Names the queue to the notifier.
    pub id: QueueId,
    /// Verifies the notifier's commands.
    pub key: AuthPublicKey,
    /// Agreed with the recipient, encrypts what notifications say.
    pub secret: [u8; 32],
    /// The service that takes its notifications.
    pub service: Option<QueueId>,
}

/// A message as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Names it.
    pub id: MessageId,
    /// When it came, in seconds since 1970.
    pub timestamp: u64,
    /// What it is.
    pub body: StoredBody,
}

/// What a stored message is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredBody {
    /// What a sender sent.
    Message {
        /// What the sender said about it.
        flags: MessageFlags,
        /// The body of SEND.
        body: Vec<u8>,
    },
    /// The mark that the queue was full.
    Quota,
}

/// By what a queue is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The recipient's id.
    Recipient(QueueId),
    /// The sender's id.
    Sender(QueueId),
    /// The notifier's id.
    Notifier(QueueId),
    /// The link's id.
    Link(QueueId),
}

/// A change of one queue.
#[derive(Clone)]
pub enum QueueChange {
    /// Set once; the same again is fine, another is refused.
    SenderKey(AuthPublicKey),
    /// In the place of the former.
    RecipientKeys(Vec<AuthPublicKey>),
    /// The new status.
    Status(QueueStatus),
    /// The new notifier, or none. Refused if its id is taken.
    Notifier(Option<NotifierRecord>),
    /// The new link with its data, or none. Refused if the id is taken, if the queue has a link
    /// with another id, or if it has one with other fixed data.
    Link(Option<(QueueId, LinkData)>),
    /// The service that takes messages or notifications, or none. Refused without a notifier.
    Service {
        /// What it takes.
        kind: ServiceKind,
        /// Which.
        service: Option<QueueId>,
    },
    /// The day of the last use, since 1970.
    UsedOn(u32),
}

/// What a service takes of queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Their messages.
    Messages,
    /// Their notifications.
    Notifications,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Updated {
    /// It is made; this is the queue now.
    Done(Arc<QueueRecord>),
    /// The queue does not allow it; nothing changed.
    Refused,
    /// There is no such queue.
    Gone,
}

/// What became of a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is the first of the queue.
    First,
    /// Others are before it.
    Queued,
    /// The queue is full. The first time the quota marker is put behind the messages.
    QuotaExceeded,
    /// There is no such queue.
    Gone,
}

/// What became of an acknowledgement.
#[derive(Clone)]
pub enum Acknowledged {
    /// The message is deleted.
    Done {
        /// The queue's first message now.
        next: Option<StoredMessage>,
    },
    /// It is not the queue's first message, or there is no such queue.
    NotFirst,
}

/// How far a walk over the store came; the default is its begin. Meaningful to one engine alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(crate) usize);

/// A part of a service's queues.
#[derive(Clone, Debug)]
pub struct Page {
    /// Recipients' ids for messages, notifiers' ids for notifications.
    pub ids: Vec<QueueId>,
    /// Where to go on, unless this was all.
    pub next: Option<Cursor>,
}

/// A step of expiry.
#[derive(Clone, Debug)]
pub struct Expired<T> {
    /// What expired.
    pub expired: T,
    /// Where to go on, unless this was all.
    pub next: Option<Cursor>,
}

/// What is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queues.
    pub queues: u64,
    /// Messages, quota markers included.
    pub messages: u64,
}

/// Keeps queues and messages.
pub trait Store: Send + Sync + 'static {
    /// Adds a queue, with its link's data if it has a link.
    fn create(
        &self,
        record: QueueRecord,
        link: Option<LinkData>,
    ) -> impl Future<Output = Result<(), CreateError>> + Send;

    /// Finds a queue.
    fn find(
        &self,
        lookup: Lookup,
    ) -> impl Future<Output = Result<Option<Arc<QueueRecord>>, StoreError>> + Send;

    /// Changes a queue, by its recipient's id as in all that follow.
    fn update(
        &self,
        id: &QueueId,
        change: QueueChange,
    ) -> impl Future<Output = Result<Updated, StoreError>> + Send;

    /// The data of a queue's link.
    fn link_data(
        &self,
        id: &QueueId,
    ) -> impl Future<Output = Result<Option<LinkData>, StoreError>> + Send;

    /// Deletes a queue with its messages and link; returns what it was.
    fn delete(
        &self,
        id: &QueueId,
    ) -> impl Future<Output = Result<Option<Arc<QueueRecord>>, StoreError>> + Send;

    /// Adds a message. When `quota` messages are there it is refused, and so are all others until
    /// the recipient acknowledged everything, the quota marker included.
    fn push(
        &self,
        id: &QueueId,
        message: StoredMessage,
        quota: u32,
    ) -> impl Future<Output = Result<Pushed, StoreError>> + Send;

    /// The first message of a queue.
    fn first(
        &self,
        id: &QueueId,
    ) -> impl Future<Output = Result<Option<StoredMessage>, StoreError>> + Send;

    /// Deletes a queue's first message if this is its id.
    fn acknowledge(
        &self,
        id: &QueueId,
        message: &MessageId,
    ) -> impl Future<Output = Result<Acknowledged, StoreError>> + Send;

    /// How many messages a queue holds, the quota marker included.
    fn length(&self, id: &QueueId) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Looks at up to `limit` queues and deletes their messages that came before `before`, in
    /// seconds since 1970.
    fn expire_messages(
        &self,
        before: u64,
        from: Cursor,
        limit: usize,
    ) -> impl Future<Output = Result<Expired<usize>, StoreError>> + Send;

    /// Looks at up to `limit` queues and deletes those not used since day `before`.
    fn expire_queues(
        &self,
        before: u32,
        from: Cursor,
        limit: usize,
    ) -> impl Future<Output = Result<Expired<Vec<Arc<QueueRecord>>>, StoreError>> + Send;

    /// The id of a service, which follows from its certificate, its role and a secret of the store:
    /// so nothing is kept of services that have no queues.
    fn service(
        &self,
        fingerprint: &Fingerprint,
        role: ServiceRole,
    ) -> impl Future<Output = Result<QueueId, StoreError>> + Send;

    /// How many queues a service has, and which.
    fn service_totals(
        &self,
        service: &QueueId,
        kind: ServiceKind,
    ) -> impl Future<Output = Result<(i64, IdsHash), StoreError>> + Send;

    /// Some of a service's queues that may have something for it, at most `limit`.
    fn service_queues(
        &self,
        service: &QueueId,
        kind: ServiceKind,
        from: Cursor,
        limit: usize,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// What is stored.
    fn counts(&self) -> impl Future<Output = Result<Counts, StoreError>> + Send;

    /// Makes sure that nothing deleted is left on the disk.
    fn compact(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes what is not written. Nothing else is called afterwards.
    fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Why a queue was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// One of its ids is another queue's id of the same kind; nothing changed.
    #[error("an id is taken")]
    Taken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store failed. What was accepted before is not lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full or refused.
    #[error("the disk refused: {0}; make room or repair it, and the relay goes on")]
    Io(#[from] std::io::Error),
    /// The database refused; a full disk is among the reasons.
    #[error("the database refused: {0}; make room or repair the disk, and the relay goes on")]
    Database(#[from] rusqlite::Error),
    /// The disk could not be synchronised.
    #[error("the disk can't be synchronised: {0}")]
    Sync(Arc<std::io::Error>),
    /// Another process has the store.
    #[error("another relay uses {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// What is stored can't be read.
    #[error(
        "{what} in {} can't be read: move the folder away to begin with an empty relay",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl From<[u8; ID_SIZE]> for QueueId {
    fn from(bytes: [u8; ID_SIZE]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for QueueId {
    type Error = std::array::TryFromSliceError;

    /// Only ids of this length are ours.
    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl From<QueueId> for EntityId {
    fn from(id: QueueId) -> Self {
        Self::from(id.0)
    }
}

macro_rules! protocol_ids {
    ($($name:ident),+) => {
        $(impl From<QueueId> for smp_protocol::$name {
            fn from(id: QueueId) -> Self {
                Self::from(id.0)
            }
        })+
    };
}

protocol_ids!(RecipientId, SenderId, NotifierId, LinkId, ServiceId);
