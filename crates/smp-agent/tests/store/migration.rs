//! Tables of users of the agent, and stores of other versions.

use std::fs;

use smp_agent::protocol::AgentVersion;
use smp_agent::{
    Chain, Connection, ConnectionId, ConnectionKind, ConnectionState, OutgoingKind, RatchetSync,
    ReceiveQueueState, ReceiveSwitch, Securing, SendQueueState, Store, StoreError, Timestamp,
};
use smp_protocol::{AuthKeyKind, AuthPublicKey, Fingerprint, QueueMode, RelayAddress};

use crate::support::{Folder, done, dump};

const FIRST: &str = "CREATE TABLE contact (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
    INSERT INTO contact (name) VALUES ('Alice')";
const SECOND: &str = "ALTER TABLE contact ADD COLUMN verified INTEGER NOT NULL DEFAULT 0";
const BROKEN: &str = "CREATE TABLE more (id INTEGER PRIMARY KEY); INSERT INTO nowhere VALUES (1)";

fn names(store: &mut Store) -> Vec<String> {
    done(store, |transaction| {
        let mut statement = transaction.sql().prepare("SELECT name FROM contact")?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    })
}

#[test]
fn each_step_is_done_once() {
    let folder = Folder::new();
    let mut store = folder.create();
    store.migrate("contacts", &[FIRST]).unwrap();
    store.migrate("contacts", &[FIRST]).unwrap();
    assert_eq!(names(&mut store), ["Alice"]);
    drop(store);
    let mut store = folder.open().unwrap();
    store.migrate("contacts", &[FIRST, SECOND]).unwrap();
    store.migrate("contacts", &[FIRST, SECOND]).unwrap();
    assert_eq!(names(&mut store), ["Alice"]);
    done(&mut store, |transaction| {
        let verified = "UPDATE contact SET verified = 1 WHERE name = ?";
        assert_eq!(transaction.execute(verified, ["Alice"])?, 1);
        Ok(())
    });
    let newer = store.migrate("contacts", &[FIRST]).unwrap_err();
    assert!(matches!(
        newer,
        StoreError::NewerVersion { found: 2, known: 1 }
    ));
}

#[test]
fn namespaces_have_versions_of_their_own() {
    let folder = Folder::new();
    let mut store = folder.create();
    store.migrate("contacts", &[FIRST, SECOND]).unwrap();
    store
        .migrate("other", &["CREATE TABLE other (id INTEGER PRIMARY KEY)"])
        .unwrap();
    store.migrate("contacts", &[FIRST, SECOND]).unwrap();
}

#[test]
fn a_step_that_fails_undoes_those_before_it() {
    let folder = Folder::new();
    let mut store = folder.create();
    let before = dump(&mut store);
    let failed = store.migrate("contacts", &[FIRST, BROKEN]);
    assert!(matches!(failed, Err(StoreError::Database(_))));
    assert_eq!(dump(&mut store), before);
    store.migrate("contacts", &[FIRST, SECOND]).unwrap();
}

#[test]
fn a_crash_at_any_write_of_a_migration_leaves_the_version_before_it() {
    for write in 1.. {
        let folder = Folder::new();
        let mut store = folder.create();
        store.migrate("contacts", &[FIRST]).unwrap();
        let before = dump(&mut store);
        store.crash_after_writes(Some(write));
        let migrated = store.migrate("contacts", &[FIRST, SECOND]);
        drop(store);
        let mut store = folder.open().unwrap();
        match migrated {
            Ok(()) => {
                assert_eq!(write, 4, "the step, its version, the commit");
                return;
            }
            Err(error) => assert!(matches!(error, StoreError::Crashed)),
        }
        assert_eq!(dump(&mut store), before);
        store.migrate("contacts", &[FIRST, SECOND]).unwrap();
    }
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let folder = Folder::new();
    let mut store = folder.create();
    done(&mut store, |transaction| {
        let newer = "UPDATE version SET version = 7 WHERE namespace = 'agent'";
        transaction.execute(newer, [])
    });
    drop(store);
    let before = fs::read(folder.file()).unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(
        error,
        StoreError::NewerVersion { found: 7, known: 1 }
    ));
    assert!(error.to_string().contains("layout 7, known up to 1"));
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

/// A store as the first version made it.
fn of_version_1(folder: &Folder) {
    const VERSIONS: &str = "CREATE TABLE version (
            namespace TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO version VALUES ('agent', 1);";
    let database = rusqlite::Connection::open(folder.file()).unwrap();
    let spec = format!("x'{}{}'", "01".repeat(32), "5a".repeat(16));
    database.key(None::<&str>, spec, false).unwrap();
    let tables = include_str!("../../src/store/schema/1.sql");
    let rows = include_str!("version_1_rows.sql");
    for sql in [VERSIONS, tables, rows] {
        database.execute_batch(sql).unwrap();
    }
}

#[test]
fn a_store_of_the_first_version_is_read() {
    let folder = Folder::new();
    of_version_1(&folder);
    let mut store = folder.open().unwrap();
    done(&mut store, |transaction| {
        let connection = transaction.connections()?.remove(0);
        let (id, hash) = (connection.id, [0x11; 32]);
        let expected = Connection {
            id: ConnectionId(1),
            kind: ConnectionKind::Joiner,
            state: ConnectionState::Connected,
            version: AgentVersion(7),
            post_quantum: true,
            sent: Chain { id: 12, hash },
            received: Chain { id: 34, hash },
            missing: 2,
            sync: RatchetSync::Agreed,
            created: Timestamp(1_700_000_000_000),
        };
        assert_eq!(connection, expected);
        assert_eq!(transaction.own_info(id)?, [1, 2, 3]);
        assert_eq!(transaction.link_data(id)?, [4, 5, 6]);
        let joining = transaction.joining(id)?.unwrap();
        assert_eq!(&*joining.link, "https://relay.example/i#abc");
        assert_eq!(joining.key.as_bytes(), &[0x22; 32]);

        let queue = transaction.receive_queues(id)?.remove(0);
        let fingerprint = Fingerprint([0x77; 32]);
        let hosts = vec!["a.example".parse().unwrap()];
        assert!(queue.relay == RelayAddress::new(fingerprint, hosts, Some(5223)).unwrap());
        assert_eq!(queue.state, ReceiveQueueState::Active);
        assert_eq!(queue.mode, QueueMode::Messaging);
        assert_eq!(queue.switch, ReceiveSwitch::Proven);
        assert_eq!(queue.key.kind(), AuthKeyKind::Ed25519);
        assert_eq!(queue.delivery_secret.unwrap().as_bytes(), &[0x44; 32]);
        assert_eq!(queue.sender_key, Some(AuthPublicKey::X25519([0x66; 32])));
        assert_eq!(queue.link.unwrap().fixed, [7]);
        let recipient = &queue.ids.unwrap().recipient;
        let found = transaction.find_receive_queue(&queue.relay, recipient)?;
        assert_eq!(found.unwrap().id, queue.id);

        let queue = transaction.send_queues(id)?.remove(0);
        assert_eq!(queue.state, SendQueueState::Retired);
        assert_eq!(queue.securing, Securing::Never);
        assert_eq!(queue.full_since, Some(Timestamp(5)));
        let outgoing = transaction.first_outgoing(queue.id)?.unwrap();
        assert_eq!(
            (outgoing.kind, &outgoing.body[..]),
            (OutgoingKind::TestQueue, &[8][..])
        );

        assert_eq!(transaction.first_event()?.unwrap().body[..], [9]);
        assert_eq!(transaction.first_held(id)?.unwrap().message_id, 36);
        assert_eq!(*transaction.requests()?[0].link, *"simplex:/invitation#def");
        assert_eq!(transaction.sent_hash(id, 12)?, Some(hash));
        assert!(transaction.seen(id, &hash)?);
        let owed = transaction.take_owed_receipts(id, 9)?;
        assert_eq!((owed[0].id, &owed[0].hash[..]), (30, &[13][..]));
        assert_eq!(transaction.setting("servers")?.unwrap()[..], [10]);
        transaction.save_connection(&connection)
    });
}
