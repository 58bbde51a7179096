//! What was removed is gone from the file: seen in a file without encryption, which has the same
//! pages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use smp_protocol::{AuthPrivateKey, DhPrivateKey, DhSecret, QueueMode, RecipientId, SenderId};
use zeroize::Zeroizing;

use super::file;
use super::{Store, StoreError, Transaction};
use crate::model::{
    Chain, Connection, ConnectionId, ConnectionKind, ConnectionState, EventId, Held, QueueLink,
    RatchetSync, ReceiveQueue, ReceiveQueueId, ReceiveQueueIds, ReceiveQueueState, ReceiveSwitch,
    StoredRequest, Timestamp,
};
use crate::protocol::AgentVersion;

/// Stands in all that is secret, before its number.
const MARK: &[u8; 8] = b"\xa9SECRET\x9a";

impl Store {
    /// A store on disk without encryption.
    fn plain(path: &Path) -> Self {
        drop(std::fs::File::create_new(path).unwrap());
        let mut store = Self::of(file::connect(path, None).unwrap(), None);
        store.bring_up_to_date().unwrap();
        store
    }
}

/// Secrets with numbers, and which of them are still in the store.
#[derive(Clone, Default)]
struct Secrets {
    last: u64,
    alive: BTreeSet<u64>,
}

impl Secrets {
    fn new_number(&mut self) -> u64 {
        self.last += 1;
        self.alive.insert(self.last);
        self.last
    }

    fn bytes(&mut self, length: usize) -> (u64, Vec<u8>) {
        let number = self.new_number();
        let mut bytes = [&MARK[..], &number.to_be_bytes()]
            .concat()
            .repeat(length / 16 + 1);
        bytes.truncate(length);
        (number, bytes)
    }

    fn array(&mut self) -> (u64, [u8; 32]) {
        let (number, bytes) = self.bytes(32);
        (number, bytes.try_into().unwrap())
    }

    /// Looks through the file and its journal for secrets that are gone.
    fn dead(&self, path: &Path) -> Vec<u64> {
        let mut journal = path.as_os_str().to_owned();
        journal.push("-journal");
        let mut dead = Vec::new();
        for file in [path.to_owned(), PathBuf::from(journal)] {
            let bytes = std::fs::read(file).unwrap();
            let begins = bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == MARK[0]);
            for window in begins.filter_map(|(at, _)| bytes.get(at..at + 32)) {
                // Twice, since the end of a page or of a secret may cut one number short.
                if window.starts_with(MARK) && window[..16] == window[16..] {
                    dead.push(u64::from_be_bytes(window[8..16].try_into().unwrap()));
                }
            }
        }
        dead.sort_unstable();
        dead.dedup();
        dead.retain(|number| !self.alive.contains(number));
        dead
    }
}

fn connection() -> Connection {
    Connection {
        id: ConnectionId(0),
        kind: ConnectionKind::Joiner,
        state: ConnectionState::Connected,
        version: AgentVersion(7),
        post_quantum: true,
        sent: Chain::default(),
        received: Chain::default(),
        missing: 0,
        sync: RatchetSync::Ok,
        created: Timestamp(0),
    }
}

/// What can be in a store, with the number of its secret.
#[derive(Clone, Debug)]
enum Kept {
    Ratchet(u64),
    Info(u64),
    Event(EventId, u64),
    Held(i64, u64),
    Queue(ReceiveQueueId, Vec<u64>),
    Request(crate::model::RequestId, u64),
    Setting(u64),
}

impl Kept {
    fn numbers(&self) -> Vec<u64> {
        match self {
            Self::Queue(_, numbers) => numbers.clone(),
            Self::Ratchet(number)
            | Self::Info(number)
            | Self::Event(_, number)
            | Self::Held(_, number)
            | Self::Request(_, number)
            | Self::Setting(number) => vec![*number],
        }
    }
}

/// Puts something into a connection; what was in its place is gone.
fn put(
    transaction: &Transaction<'_>,
    id: ConnectionId,
    secrets: &mut Secrets,
    kept: &mut Vec<Kept>,
    (kind, length): (u8, usize),
) -> Result<(), StoreError> {
    let new = match kind % 8 {
        0 | 1 => {
            let (number, state) = secrets.bytes(length);
            transaction.save_ratchet_state(id, &state)?;
            Kept::Ratchet(number)
        }
        2 => {
            let (number, info) = secrets.bytes(length);
            transaction.set_own_info(id, &info)?;
            Kept::Info(number)
        }
        3 => {
            let (number, body) = secrets.bytes(length);
            Kept::Event(transaction.push_event(id, Timestamp(0), &body)?, number)
        }
        4 => {
            let (number, body) = secrets.bytes(length);
            let message_id = number as i64;
            transaction.hold(id, &held(message_id, body))?;
            Kept::Held(message_id, number)
        }
        5 => {
            let (numbers, queue) = queue(id, secrets);
            Kept::Queue(transaction.insert_receive_queue(&queue)?, numbers)
        }
        6 => {
            let (number, info) = secrets.bytes(length);
            let request = StoredRequest {
                id: crate::model::RequestId(0),
                address: id,
                link: Zeroizing::new("simplex:".to_owned()),
                info,
                received: Timestamp(0),
            };
            Kept::Request(transaction.insert_request(&request)?, number)
        }
        _ => {
            let (number, value) = secrets.bytes(length);
            transaction.set_setting(&format!("of {}", id.0), Some(&value))?;
            Kept::Setting(number)
        }
    };
    let replaces = matches!(new, Kept::Ratchet(_) | Kept::Info(_) | Kept::Setting(_));
    kept.retain(|old| {
        let stays = !replaces || std::mem::discriminant(old) != std::mem::discriminant(&new);
        if !stays {
            forget(secrets, old);
        }
        stays
    });
    kept.push(new);
    Ok(())
}

fn held(message_id: i64, body: Vec<u8>) -> Held {
    Held {
        message_id,
        previous_hash: vec![0; 32],
        hash: [0; 32],
        sent_at: Timestamp(0),
        held_at: Timestamp(0),
        body: Zeroizing::new(body),
    }
}

fn queue(connection: ConnectionId, secrets: &mut Secrets) -> (Vec<u64>, ReceiveQueue) {
    let keys = [(); 7].map(|()| secrets.array());
    let [key, delivery, shared, e2e, e2e_shared, link, root] = keys.map(|key| key.1);
    let queue = ReceiveQueue {
        id: ReceiveQueueId(0),
        connection,
        relay: smp_protocol::RelayAddress::new(
            smp_protocol::Fingerprint([0; 32]),
            vec!["relay.example".parse().unwrap()],
            None,
        )
        .unwrap(),
        state: ReceiveQueueState::Active,
        ids: Some(ReceiveQueueIds {
            recipient: RecipientId::new(&[1; 24]).unwrap(),
            sender: SenderId::new(&[2; 24]).unwrap(),
        }),
        key: AuthPrivateKey::from_bytes(smp_protocol::AuthKeyKind::Ed25519, &key),
        delivery_key: DhPrivateKey::from_bytes(&delivery),
        delivery_secret: Some(DhSecret::from_bytes(&shared)),
        e2e_key: DhPrivateKey::from_bytes(&e2e),
        e2e_secret: Some(DhSecret::from_bytes(&e2e_shared)),
        mode: QueueMode::Messaging,
        sender_key: None,
        secured: false,
        replaces: None,
        switch: ReceiveSwitch::None,
        link: Some(QueueLink {
            id: None,
            key: Zeroizing::new(link),
            root_key: Zeroizing::new(root),
            fixed: Vec::new(),
        }),
        created: Timestamp(0),
    };
    (keys.map(|key| key.0).to_vec(), queue)
}

fn remove(
    transaction: &Transaction<'_>,
    id: ConnectionId,
    secrets: &mut Secrets,
    gone: &Kept,
) -> Result<(), StoreError> {
    match gone {
        Kept::Event(event, _) => drop(transaction.remove_event(*event)?),
        Kept::Held(message_id, _) => transaction.remove_held(id, *message_id)?,
        Kept::Queue(queue, _) => transaction.delete_receive_queue(*queue)?,
        Kept::Request(request, _) => transaction.delete_request(*request)?,
        Kept::Setting(_) => transaction.set_setting(&format!("of {}", id.0), None)?,
        Kept::Info(_) => transaction.set_own_info(id, b"")?,
        Kept::Ratchet(_) => transaction.save_ratchet_state(id, b"")?,
    }
    forget(secrets, gone);
    Ok(())
}

fn forget(secrets: &mut Secrets, gone: &Kept) {
    for number in gone.numbers() {
        secrets.alive.remove(&number);
    }
}

/// At which connection, what, how long, and what else.
type Op = (usize, u8, usize, u8);

fn ops() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let length = prop_oneof![0..200_usize, 0..9_000_usize, Just(6_000), Just(16_000)];
    let op = (0..60_usize, any::<u8>(), length, any::<u8>());
    prop::collection::vec(prop::collection::vec(op, 1..8), 100..160)
}

/// Runs all of it, and gives what is found that should be gone after each transaction.
fn run(transactions: &[Vec<Op>]) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.db");
    let mut store = Store::plain(&path);
    let mut secrets = Secrets::default();
    let mut connections: Vec<(ConnectionId, Vec<Kept>)> = Vec::new();
    for (number, ops) in transactions.iter().enumerate() {
        let result = store.transaction(|transaction| {
            for (at, kind, length, how) in ops {
                if connections.len() < 4 || *how > 235 {
                    let id = transaction.insert_connection(&connection())?;
                    connections.push((id, Vec::new()));
                }
                let at = at % connections.len();
                if *how < 12 && connections.len() > 4 {
                    let (id, kept) = connections.remove(at);
                    transaction.delete_connection(id)?;
                    for gone in &kept {
                        forget(&mut secrets, gone);
                    }
                    // Settings are not the connection's.
                    transaction.set_setting(&format!("of {}", id.0), None)?;
                    continue;
                }
                let (id, kept) = &mut connections[at];
                if *how % 3 == 0 && !kept.is_empty() {
                    let gone = kept.remove(usize::from(*kind) % kept.len());
                    remove(transaction, *id, &mut secrets, &gone)?;
                } else {
                    put(transaction, *id, &mut secrets, kept, (*kind, *length))?;
                }
            }
            Ok::<_, StoreError>(())
        });
        result.unwrap();
        // What stays behind in a page stays there for long.
        if number % 8 != 0 {
            continue;
        }
        let dead = secrets.dead(&path);
        if !dead.is_empty() {
            return dead;
        }
    }
    assert!(secrets.last > 200, "{}", secrets.last);
    secrets.dead(&path)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_removed_or_replaced_is_gone_from_the_file(transactions in ops()) {
        prop_assert_eq!(run(&transactions), Vec::<u64>::new());
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.db");
    let mut store = Store::plain(&path);
    let mut secrets = Secrets::default();
    let (number, state) = secrets.bytes(6_000);
    let saved = store.transaction(|transaction| {
        let id = transaction.insert_connection(&connection())?;
        transaction.save_ratchet_state(id, &state)
    });
    saved.unwrap();
    assert!(secrets.dead(&path).is_empty());
    secrets.alive.clear();
    assert_eq!(secrets.dead(&path), [number]);
}
