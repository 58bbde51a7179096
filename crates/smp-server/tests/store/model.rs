//! Random operations on each engine, beside a model that is too simple to be wrong.

mod reference;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use smp_protocol::{
    AuthPublicKey, BlockingInfo, BlockingReason, Fingerprint, LinkData, QueueMode, ServiceRole,
};
use smp_server::store::{
    Acknowledged, CreateError, Cursor, Lookup, MemoryStore, NotifierRecord, QueueChange, QueueId,
    QueueRecord, QueueStatus, ServiceKind, Store, Updated,
};

use self::reference::{Outcome, Reference};
use crate::support::{Disk, block_on, link, message_id, message_of, noise, walk};

/// Ids of each kind: few, so that they meet.
const IDS: u8 = 5;

/// What is done; queues, ids and keys are numbers.
#[derive(Debug, Clone)]
enum Operation {
    Create(Box<Wanted>),
    Change(u8, Change),
    Delete(u8),
    Push {
        queue: u8,
        length: usize,
        quota: u32,
    },
    First(u8),
    /// Of the message that stands there in the queue.
    Acknowledge {
        queue: u8,
        place: usize,
    },
    ExpireMessages {
        keep: u64,
        limit: usize,
    },
    ExpireQueues {
        before: u32,
        limit: usize,
    },
    Service {
        certificate: u8,
        role: ServiceRole,
    },
    Compact,
    Reopen,
}

/// A queue to be made.
#[derive(Debug, Clone)]
struct Wanted {
    recipient: u8,
    sender: u8,
    notifier: Option<(u8, Option<u8>)>,
    link: Option<(u8, u8, usize)>,
    service: Option<u8>,
    used_on: u32,
}

#[derive(Debug, Clone)]
enum Change {
    SenderKey(u8),
    RecipientKeys(usize),
    Status(u8),
    Notifier(Option<(u8, Option<u8>)>),
    Link(Option<(u8, u8, usize)>),
    Service(ServiceKind, Option<u8>),
    UsedOn(u32),
}

fn operation() -> impl Strategy<Value = Operation> {
    let queue = 0..IDS;
    prop_oneof![
        6 => wanted().prop_map(|wanted| Operation::Create(Box::new(wanted))),
        8 => (queue.clone(), change()).prop_map(|(queue, change)| Operation::Change(queue, change)),
        1 => queue.clone().prop_map(Operation::Delete),
        14 => (queue.clone(), 0..600_usize, 1..5_u32)
            .prop_map(|(queue, length, quota)| Operation::Push { queue, length, quota }),
        4 => queue.clone().prop_map(Operation::First),
        10 => (queue, prop_oneof![6 => Just(0_usize), 1 => 1..3_usize])
            .prop_map(|(queue, place)| Operation::Acknowledge { queue, place }),
        1 => (0..20_u64, 1..4_usize)
            .prop_map(|(keep, limit)| Operation::ExpireMessages { keep, limit }),
        1 => (0..4_u32, 1..4_usize)
            .prop_map(|(before, limit)| Operation::ExpireQueues { before, limit }),
        1 => (0..3_u8, role())
            .prop_map(|(certificate, role)| Operation::Service { certificate, role }),
        1 => Just(Operation::Compact),
        2 => Just(Operation::Reopen),
    ]
}

fn role() -> impl Strategy<Value = ServiceRole> {
    prop_oneof![
        Just(ServiceRole::Messaging),
        Just(ServiceRole::Notifier),
        Just(ServiceRole::Proxy)
    ]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (
        0..IDS,
        0..IDS,
        option::of(notifier()),
        option::of(linked()),
        option::of(0..2_u8),
        1..4_u32,
    )
        .prop_map(
            |(recipient, sender, notifier, link, service, used_on)| Wanted {
                recipient,
                sender,
                notifier,
                link,
                service,
                used_on,
            },
        )
}

fn notifier() -> impl Strategy<Value = (u8, Option<u8>)> {
    (0..IDS, option::of(0..2_u8))
}

/// A link's id, the number of its fixed data, and its user data's length.
fn linked() -> impl Strategy<Value = (u8, u8, usize)> {
    (0..IDS, 0..2_u8, 0..2_000_usize)
}

fn change() -> impl Strategy<Value = Change> {
    let kind = prop_oneof![
        Just(ServiceKind::Messages),
        Just(ServiceKind::Notifications)
    ];
    prop_oneof![
        (0..2_u8).prop_map(Change::SenderKey),
        (1..4_usize).prop_map(Change::RecipientKeys),
        (0..4_u8).prop_map(Change::Status),
        option::of(notifier()).prop_map(Change::Notifier),
        option::of(linked()).prop_map(Change::Link),
        (kind, option::of(0..2_u8)).prop_map(|(kind, service)| Change::Service(kind, service)),
        (1..4_u32).prop_map(Change::UsedOn),
    ]
}

fn id(kind: u8, number: u8) -> QueueId {
    QueueId([kind, number].repeat(12).try_into().unwrap())
}

fn recipient(number: u8) -> QueueId {
    id(b'R', number)
}

fn service(number: u8) -> QueueId {
    id(b'V', number)
}

fn notifier_of((number, by): (u8, Option<u8>)) -> NotifierRecord {
    NotifierRecord {
        id: id(b'N', number),
        key: AuthPublicKey::Ed25519([number; 32]),
        secret: [number; 32],
        service: by.map(service),
    }
}

fn link_of((number, fixed, length): (u8, u8, usize)) -> (QueueId, LinkData) {
    (
        id(b'L', number),
        link(&[fixed; 100], &noise(length as u64, length)),
    )
}

impl Wanted {
    fn record(&self) -> (QueueRecord, Option<LinkData>) {
        let link = self.link.map(link_of);
        let record = QueueRecord {
            recipient_id: recipient(self.recipient),
            sender_id: id(b'S', self.sender),
            recipient_keys: vec![AuthPublicKey::X25519([self.recipient; 32])],
            delivery_key: [self.sender; 32],
            sender_key: None,
            mode: Some(QueueMode::Contact),
            status: QueueStatus::Active,
            notifier: self.notifier.map(notifier_of),
            link_id: link.as_ref().map(|(id, _)| *id),
            service: self.service.map(service),
            used_on: self.used_on,
        };
        (record, link.map(|(_, data)| data))
    }
}

impl Change {
    fn change(&self) -> QueueChange {
        match self {
            Self::SenderKey(number) => {
                QueueChange::SenderKey(AuthPublicKey::Ed25519([*number; 32]))
            }
            Self::RecipientKeys(count) => {
                QueueChange::RecipientKeys(vec![AuthPublicKey::Ed25519([7; 32]); *count])
            }
            Self::Status(number) => QueueChange::Status(match number {
                0 => QueueStatus::Active,
                1 => QueueStatus::Suspended,
                number => QueueStatus::Blocked(BlockingInfo {
                    reason: BlockingReason::Spam,
                    notice: (*number == 2).then(|| "{}".into()),
                }),
            }),
            Self::Notifier(notifier) => QueueChange::Notifier(notifier.map(notifier_of)),
            Self::Link(link) => QueueChange::Link(link.map(link_of)),
            Self::Service(kind, by) => QueueChange::Service {
                kind: *kind,
                service: by.map(service),
            },
            Self::UsedOn(day) => QueueChange::UsedOn(*day),
        }
    }
}

/// An engine that may be opened again.
trait Engine {
    fn store(&self) -> &impl Store;
    fn reopened(self) -> Self;
}

impl Engine for Disk {
    fn store(&self) -> &impl Store {
        &self.store
    }

    fn reopened(self) -> Self {
        Self::reopened(self)
    }
}

impl Engine for MemoryStore {
    fn store(&self) -> &impl Store {
        self
    }

    fn reopened(self) -> Self {
        self
    }
}

/// An engine beside the model.
struct Pair<E> {
    engine: Option<E>,
    model: Reference,
    /// Messages that were sent.
    sent: u64,
}

async fn run<E: Engine>(engine: E, operations: &[Operation]) {
    let mut pair = Pair {
        engine: Some(engine),
        model: Reference::default(),
        sent: 0,
    };
    for operation in operations {
        pair.step(operation).await;
    }
    pair.reopen().await;
    pair.drain().await;
}

impl<E: Engine> Pair<E> {
    fn store(&self) -> &impl Store {
        self.engine.as_ref().unwrap().store()
    }

    async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Create(wanted) => self.create(wanted).await,
            Operation::Change(queue, change) => self.change(*queue, &change.change()).await,
            Operation::Delete(queue) => {
                let deleted = self.store().delete(&recipient(*queue)).await.unwrap();
                let expected = self.model.delete(&recipient(*queue));
                assert!(deleted.map(Arc::unwrap_or_clone) == expected);
            }
            Operation::Push {
                queue,
                length,
                quota,
            } => self.push(*queue, *length, *quota).await,
            Operation::First(queue) => {
                let first = self.store().first(&recipient(*queue)).await.unwrap();
                assert!(first.as_ref() == self.model.first(&recipient(*queue)));
            }
            Operation::Acknowledge { queue, place } => self.acknowledge(*queue, *place).await,
            Operation::ExpireMessages { keep, limit } => {
                let before = (1_000 + self.sent).saturating_sub(*keep);
                let store = self.store();
                let steps = walk(async |from| {
                    let step = store.expire_messages(before, from, *limit).await.unwrap();
                    (step.expired, step.next)
                });
                let expired: usize = steps.await.iter().sum();
                assert_eq!(expired, self.model.expire_messages(before));
            }
            Operation::ExpireQueues { before, limit } => self.expire_queues(*before, *limit).await,
            Operation::Service { certificate, role } => self.service(*certificate, *role).await,
            Operation::Compact => self.store().compact().await.unwrap(),
            Operation::Reopen => self.reopen().await,
        }
    }

    async fn create(&mut self, wanted: &Wanted) {
        let (record, link) = wanted.record();
        let created = match self.store().create(record.clone(), link.clone()).await {
            Ok(()) => true,
            Err(CreateError::Taken) => false,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(created, self.model.create(record, link));
    }

    async fn change(&mut self, queue: u8, change: &QueueChange) {
        let id = recipient(queue);
        let Some(expected) = self.model.update(&id, change) else {
            return;
        };
        let updated = self.store().update(&id, change.clone()).await.unwrap();
        match (updated, expected) {
            (Updated::Done(record), Outcome::Done(expected)) => assert!(*record == *expected),
            (Updated::Refused, Outcome::Refused) | (Updated::Gone, Outcome::Gone) => {}
            (updated, _) => panic!("{updated:?}"),
        }
    }

    async fn push(&mut self, queue: u8, length: usize, quota: u32) {
        self.sent += 1;
        let message = message_of(self.sent, &noise(self.sent, length));
        let pushed = self
            .store()
            .push(&recipient(queue), message.clone(), quota)
            .await
            .unwrap();
        assert_eq!(pushed, self.model.push(&recipient(queue), message, quota));
    }

    async fn acknowledge(&mut self, queue: u8, place: usize) {
        let id = recipient(queue);
        let message = self
            .model
            .messages(&id)
            .get(place)
            .map_or(message_id(0), |one| one.id);
        let acknowledged = self.store().acknowledge(&id, &message).await.unwrap();
        match (acknowledged, self.model.acknowledge(&id, &message)) {
            (Acknowledged::Done { next }, true) => {
                assert!(next.as_ref() == self.model.first(&id));
            }
            (Acknowledged::NotFirst, false) => {}
            (_, expected) => panic!("expected {expected}"),
        }
    }

    async fn expire_queues(&mut self, before: u32, limit: usize) {
        let store = self.store();
        let steps = walk(async |from| {
            let step = store.expire_queues(before, from, limit).await.unwrap();
            (step.expired, step.next)
        });
        let mut expired: Vec<QueueId> = steps
            .await
            .concat()
            .iter()
            .map(|record| record.recipient_id)
            .collect();
        expired.sort_unstable();
        assert!(expired == self.model.expire_queues(before));
    }

    async fn service(&mut self, certificate: u8, role: ServiceRole) {
        let id = self
            .store()
            .service(&Fingerprint([certificate; 32]), role)
            .await
            .unwrap();
        assert!(
            self.model.service(certificate, role, id),
            "another id than before"
        );
    }

    async fn reopen(&mut self) {
        self.engine = self.engine.take().map(E::reopened);
        self.compare().await;
    }

    /// Compares all that can be asked without changing anything.
    async fn compare(&self) {
        let store = self.store();
        assert_eq!(store.counts().await.unwrap(), self.model.counts());
        for number in 0..IDS {
            for lookup in [
                Lookup::Recipient(recipient(number)),
                Lookup::Sender(id(b'S', number)),
                Lookup::Notifier(id(b'N', number)),
                Lookup::Link(id(b'L', number)),
            ] {
                let found = store.find(lookup).await.unwrap();
                assert!(
                    found.as_deref() == self.model.find(lookup),
                    "{lookup:?} {number}"
                );
            }
            let id = recipient(number);
            assert!(store.link_data(&id).await.unwrap().as_ref() == self.model.link_data(&id));
            assert!(store.first(&id).await.unwrap().as_ref() == self.model.first(&id));
            let length = store.length(&id).await.unwrap() as usize;
            assert_eq!(length, self.model.messages(&id).len());
        }
        for number in 0..2 {
            for kind in [ServiceKind::Messages, ServiceKind::Notifications] {
                self.compare_service(&service(number), kind).await;
            }
        }
    }

    async fn compare_service(&self, service: &QueueId, kind: ServiceKind) {
        let store = self.store();
        let (ids, totals) = self.model.served(service, kind);
        assert_eq!(store.service_totals(service, kind).await.unwrap(), totals);
        let pages = walk(async |from: Cursor| {
            let page = store.service_queues(service, kind, from, 2).await.unwrap();
            (page.ids, page.next)
        });
        let mut listed = pages.await.concat();
        listed.sort_unstable();
        assert!(listed == ids);
    }

    /// Takes all messages of all queues.
    async fn drain(&mut self) {
        for number in 0..IDS {
            while !self.model.messages(&recipient(number)).is_empty() {
                self.acknowledge(number, 0).await;
            }
        }
        self.compare().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_memory_engine_does_what_the_model_does(operations in vec(operation(), 1..200)) {
        block_on(run(MemoryStore::new(), &operations));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_disk_engine_does_what_the_model_does(operations in vec(operation(), 1..120)) {
        block_on(run(Disk::new(), &operations));
    }
}
