//! Stores that a former version made.

use std::path::Path;

use rusqlite::{Connection, params};
use smp_protocol::{Fingerprint, ServiceRole};
use smp_server::store::{
    DiskStore, Durability, Lookup, NotifierRecord, QueueId, QueueRecord, ServiceKind, Store,
};

use crate::support::{Disk, drained, message, notifier, numbers, queue};

const CERTIFICATE: Fingerprint = Fingerprint([1; 32]);
const MESSAGING: ServiceRole = ServiceRole::Messaging;
const NOTIFIER: ServiceRole = ServiceRole::Notifier;

fn open(folder: &Path) -> DiskStore {
    DiskStore::open(folder, Durability::Process).unwrap()
}

fn connect(folder: &Path) -> Connection {
    Connection::open(folder.join("queues.db")).unwrap()
}

/// Makes of a closed store what layout 1 was, with these services.
fn to_1(folder: &Path, services: &[(Fingerprint, u8, QueueId)]) {
    let connection = connect(folder);
    connection
        .execute_batch(
            "DROP TABLE salt;
             CREATE TABLE service (fingerprint BLOB, role INTEGER, id BLOB NOT NULL,
                PRIMARY KEY (fingerprint, role)) WITHOUT ROWID;
             PRAGMA user_version = 1;",
        )
        .unwrap();
    for (fingerprint, role, id) in services {
        connection
            .execute(
                "INSERT INTO service VALUES (?, ?, ?)",
                params![fingerprint.as_bytes(), role, id.as_bytes()],
            )
            .unwrap();
    }
}

fn tables(folder: &Path) -> Vec<String> {
    let connection = connect(folder);
    let mut names = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .unwrap();
    let names = names.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

#[tokio::test]
async fn queues_of_services_of_layout_1_stay_with_them() {
    let disk = Disk::new();
    let (messages, notifications) = (QueueId::random(), QueueId::random());
    let served = QueueRecord {
        service: Some(messages),
        notifier: Some(NotifierRecord {
            service: Some(notifications),
            ..notifier()
        }),
        ..queue()
    };
    let alone = queue();
    for record in [&served, &alone] {
        disk.store.create(record.clone(), None).await.unwrap();
        let id = &record.recipient_id;
        disk.store.push(id, message(7), 10).await.unwrap();
    }
    let folder = disk.closed().await;
    let services = [(CERTIFICATE, 0, messages), (CERTIFICATE, 1, notifications)];
    to_1(folder.path(), &services);

    // Opened twice: the ids must be the same the second time.
    for _ in 0..2 {
        let store = open(folder.path());
        let ids = [
            store.service(&CERTIFICATE, MESSAGING).await.unwrap(),
            store.service(&CERTIFICATE, NOTIFIER).await.unwrap(),
        ];
        assert!(!ids.contains(&messages) && !ids.contains(&notifications));
        let mut expected = served.clone();
        expected.service = Some(ids[0]);
        expected.notifier.as_mut().unwrap().service = Some(ids[1]);
        for record in [&expected, &alone] {
            let lookup = Lookup::Recipient(record.recipient_id);
            assert!(store.find(lookup).await.unwrap().as_deref() == Some(record));
        }
        for (id, kind) in [
            (ids[0], ServiceKind::Messages),
            (ids[1], ServiceKind::Notifications),
        ] {
            assert_eq!(store.service_totals(&id, kind).await.unwrap().0, 1);
        }
    }
    assert!(!tables(folder.path()).contains(&"service".to_owned()));
    let store = open(folder.path());
    for record in [&served, &alone] {
        assert_eq!(numbers(&drained(&store, &record.recipient_id).await), [7]);
    }
}

#[tokio::test]
async fn a_service_that_has_no_queues_leaves_nothing() {
    let disk = Disk::new();
    let size = |file: &str| disk.path().join(file).metadata().unwrap().len();
    let sizes = || [size("queues.db"), size("queues.db-wal")];
    let before = sizes();
    let mut ids = Vec::new();
    for number in 0..1_000_u16 {
        let mut fingerprint = [0; 32];
        fingerprint[..2].copy_from_slice(&number.to_be_bytes());
        let fingerprint = Fingerprint(fingerprint);
        let id = disk.store.service(&fingerprint, MESSAGING).await.unwrap();
        ids.push((fingerprint, id));
    }
    assert_eq!(sizes(), before);
    let disk = disk.reopened();
    for (fingerprint, id) in ids {
        assert!(disk.store.service(&fingerprint, MESSAGING).await.unwrap() == id);
    }
}
