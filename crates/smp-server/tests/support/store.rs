//! A store that a test keeps a hand on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smp_protocol::{Fingerprint, IdsHash, LinkData, MessageId, ServiceRole};
use smp_server::store::{
    Acknowledged, Counts, CreateError, Cursor, Expired, Lookup, MemoryStore, Page, Pushed,
    QueueChange, QueueId, QueueRecord, ServiceKind, Store, StoreError, StoredMessage, Updated,
};

/// Queues in memory, which the test may count while the relay has them. It fails when told to.
#[derive(Clone, Default)]
pub(crate) struct SharedStore {
    inner: Arc<MemoryStore>,
    broken: Arc<AtomicBool>,
}

impl SharedStore {
    /// From now on everything fails, or nothing.
    pub(crate) fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the secret path of the disk").into());
        }
        Ok(())
    }
}

macro_rules! pass_on {
    ($(fn $name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(async fn $name(&self, $($arg: $kind),*) -> $result {
            self.check()?;
            self.inner.$name($($arg),*).await
        })*
    };
}

impl Store for SharedStore {
    pass_on! {
        fn create(record: QueueRecord, link: Option<LinkData>) -> Result<(), CreateError>;
        fn find(lookup: Lookup) -> Result<Option<Arc<QueueRecord>>, StoreError>;
        fn update(id: &QueueId, change: QueueChange) -> Result<Updated, StoreError>;
        fn link_data(id: &QueueId) -> Result<Option<LinkData>, StoreError>;
        fn delete(id: &QueueId) -> Result<Option<Arc<QueueRecord>>, StoreError>;
        fn push(id: &QueueId, message: StoredMessage, quota: u32) -> Result<Pushed, StoreError>;
        fn first(id: &QueueId) -> Result<Option<StoredMessage>, StoreError>;
        fn acknowledge(id: &QueueId, message: &MessageId) -> Result<Acknowledged, StoreError>;
        fn length(id: &QueueId) -> Result<u32, StoreError>;
        fn expire_messages(
            before: u64,
            from: Cursor,
            limit: usize
        ) -> Result<Expired<usize>, StoreError>;
        fn expire_queues(
            before: u32,
            from: Cursor,
            limit: usize
        ) -> Result<Expired<Vec<Arc<QueueRecord>>>, StoreError>;
        fn service(fingerprint: &Fingerprint, role: ServiceRole) -> Result<QueueId, StoreError>;
        fn service_totals(
            service: &QueueId,
            kind: ServiceKind
        ) -> Result<(i64, IdsHash), StoreError>;
        fn service_queues(
            service: &QueueId,
            kind: ServiceKind,
            from: Cursor,
            limit: usize
        ) -> Result<Page, StoreError>;
        fn counts() -> Result<Counts, StoreError>;
        fn compact() -> Result<(), StoreError>;
        fn close() -> Result<(), StoreError>;
    }
}
