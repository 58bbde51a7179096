//! Stores in a folder, and records made from numbers.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use double_ratchet::{E2eParams, InitiatorKeys, PqSupport, RandomKeys, Ratchet};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use smp_agent::protocol::{AgentVersion, Receipt};
use smp_agent::{
    Chain, Connection, ConnectionId, ConnectionKind, ConnectionState, Held, Joining, Outgoing,
    OutgoingId, OutgoingKind, QueueLink, RatchetSync, ReceiveQueue, ReceiveQueueId,
    ReceiveQueueIds, ReceiveQueueState, ReceiveSwitch, RequestId, Securing, SendQueue, SendQueueId,
    SendQueueState, Store, StoreError, StoreKey, StoredRequest, Timestamp, Transaction,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, AuthPublicKey, DhPrivateKey, DhPublicKey, DhSecret, Fingerprint,
    LinkId, QueueMode, RecipientId, RelayAddress, SenderId,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) fn key(number: u8) -> StoreKey {
    StoreKey::Raw(Zeroizing::new([number; 32]))
}

pub(crate) fn passphrase(words: &str) -> StoreKey {
    StoreKey::Passphrase(Zeroizing::new(words.to_owned()))
}

/// A folder for stores.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("contacts.db")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path().join("contacts.db-journal")
    }

    pub(crate) fn create(&self) -> Store {
        Store::create(&self.file(), &key(1)).unwrap()
    }

    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.file(), &key(1))
    }
}

/// Does something in a transaction that has to succeed.
pub(crate) fn done<T>(
    store: &mut Store,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> T {
    store.transaction(work).unwrap()
}

/// All rows of all tables.
pub(crate) fn dump(store: &mut Store) -> String {
    try_dump(store).unwrap()
}

pub(crate) fn try_dump(store: &mut Store) -> Result<String, StoreError> {
    store.transaction(|transaction| {
        let sql = transaction.sql();
        let find = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut statement = sql.prepare(find)?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut out = String::new();
        for name in names.collect::<Result<Vec<_>, _>>()? {
            writeln!(out, "{name}").unwrap();
            let mut statement = sql.prepare(&format!("SELECT * FROM {name} ORDER BY 1, 2"))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    write!(out, " {:?}", row.get_ref(column)?).unwrap();
                }
                out.push('\n');
            }
        }
        Ok(out)
    })
}

/// Makes records; those of one seed are the same.
pub(crate) struct Samples(StdRng);

impl Samples {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.0.random_range(0..=most);
        self.exactly(length)
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn array(&mut self) -> [u8; 32] {
        self.0.random()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.random::<bool>().then(|| make(self))
    }

    pub(crate) fn time(&mut self) -> Timestamp {
        Timestamp(self.0.random_range(0..4_000_000_000_000))
    }

    pub(crate) fn relay(&mut self) -> RelayAddress {
        let hosts = [
            vec!["relay.example"],
            vec!["relay.example", "192.0.2.7"],
            vec!["other.example"],
        ];
        let index = self.0.random_range(0..hosts.len());
        let hosts = hosts[index].iter().map(|host| host.parse().unwrap());
        let port = self.maybe(|samples| samples.0.random_range(1..=u16::MAX));
        RelayAddress::new(Fingerprint(self.array()), hosts.collect(), port).unwrap()
    }

    pub(crate) fn auth_key(&mut self) -> AuthPrivateKey {
        let kind = self.one(&[AuthKeyKind::Ed25519, AuthKeyKind::X25519]);
        AuthPrivateKey::from_bytes(kind, &self.array())
    }

    fn dh_key(&mut self) -> DhPrivateKey {
        DhPrivateKey::from_bytes(&self.array())
    }

    fn dh_secret(&mut self) -> DhSecret {
        DhSecret::from_bytes(&self.array())
    }

    fn chain(&mut self) -> Chain {
        Chain {
            id: self.0.random_range(0..1_000_000),
            hash: self.array(),
        }
    }

    pub(crate) fn connection(&mut self) -> Connection {
        use ConnectionState as State;
        Connection {
            id: ConnectionId(0),
            kind: self.one(&[
                ConnectionKind::Initiator,
                ConnectionKind::Joiner,
                ConnectionKind::Address,
            ]),
            state: self.one(&[
                State::Preparing,
                State::Resolving,
                State::Requesting,
                State::Waiting,
                State::Joining,
                State::Confirming,
                State::Connected,
                State::Failed,
                State::Deleting,
            ]),
            version: AgentVersion(self.0.random()),
            post_quantum: self.0.random(),
            sent: self.chain(),
            received: self.chain(),
            missing: self.0.random(),
            sync: self.one(&[
                RatchetSync::Ok,
                RatchetSync::Required,
                RatchetSync::Started,
                RatchetSync::Agreed,
            ]),
            created: self.time(),
        }
    }

    pub(crate) fn receive_queue(&mut self, connection: ConnectionId) -> ReceiveQueue {
        ReceiveQueue {
            id: ReceiveQueueId(0),
            connection,
            relay: self.relay(),
            state: self.one(&[
                ReceiveQueueState::New,
                ReceiveQueueState::Active,
                ReceiveQueueState::Deleting,
            ]),
            ids: self.maybe(|samples| ReceiveQueueIds {
                recipient: RecipientId::new(&samples.bytes(255)).unwrap(),
                sender: SenderId::new(&samples.bytes(24)).unwrap(),
            }),
            key: self.auth_key(),
            delivery_key: self.dh_key(),
            delivery_secret: self.maybe(Self::dh_secret),
            e2e_key: self.dh_key(),
            e2e_secret: self.maybe(Self::dh_secret),
            mode: self.one(&[QueueMode::Messaging, QueueMode::Contact]),
            sender_key: self.maybe(|samples| samples.auth_key().public()),
            secured: self.0.random(),
            replaces: self.maybe(|samples| ReceiveQueueId(samples.0.random_range(1..9))),
            switch: self.one(&[
                ReceiveSwitch::None,
                ReceiveSwitch::Wanted,
                ReceiveSwitch::Offered,
                ReceiveSwitch::Used,
                ReceiveSwitch::Proven,
            ]),
            link: self.maybe(|samples| QueueLink {
                id: samples.maybe(|samples| LinkId::new(&samples.bytes(24)).unwrap()),
                key: Zeroizing::new(samples.array()),
                root_key: Zeroizing::new(samples.array()),
                fixed: samples.bytes(500),
            }),
            created: self.time(),
        }
    }

    pub(crate) fn send_queue(&mut self, connection: ConnectionId) -> SendQueue {
        SendQueue {
            id: SendQueueId(0),
            connection,
            relay: self.relay(),
            sender_id: SenderId::new(&self.bytes(24)).unwrap(),
            client_version: self.0.random(),
            key: self.auth_key(),
            securing: self.one(&[Securing::Sender, Securing::Recipient, Securing::Never]),
            secured: self.0.random(),
            e2e_key: DhPublicKey(self.array()),
            e2e_secret: self.dh_secret(),
            state: self.one(&[
                SendQueueState::New,
                SendQueueState::Offered,
                SendQueueState::Active,
                SendQueueState::Retired,
            ]),
            replaces: self.maybe(|samples| SendQueueId(samples.0.random_range(1..9))),
            full_since: self.maybe(Self::time),
        }
    }

    pub(crate) fn outgoing(&mut self, queue: SendQueueId) -> Outgoing {
        use OutgoingKind as Kind;
        Outgoing {
            id: OutgoingId(0),
            queue,
            kind: self.one(&[
                Kind::Confirmation,
                Kind::Invitation,
                Kind::RatchetKey,
                Kind::Hello,
                Kind::Message,
                Kind::Received,
                Kind::Ready,
                Kind::QueueContinue,
                Kind::AddQueue,
                Kind::QueueKey,
                Kind::UseQueue,
                Kind::TestQueue,
            ]),
            message_id: self.0.random_range(0..1_000),
            notify: self.0.random(),
            body: self.bytes(16_000),
            created: self.time(),
        }
    }

    pub(crate) fn held(&mut self, message_id: i64) -> Held {
        Held {
            message_id,
            previous_hash: self.bytes(32),
            hash: self.array(),
            sent_at: self.time(),
            held_at: self.time(),
            body: Zeroizing::new(self.bytes(16_000)),
        }
    }

    pub(crate) fn request(&mut self, address: ConnectionId) -> StoredRequest {
        let number: u64 = self.0.random();
        StoredRequest {
            id: RequestId(0),
            address,
            link: Zeroizing::new(format!("simplex:/invitation#{number}{}", "x".repeat(3_000))),
            info: self.bytes(5_000),
            received: self.time(),
        }
    }

    pub(crate) fn joining(&mut self) -> Joining {
        let number: u64 = self.0.random();
        Joining {
            link: Zeroizing::new(format!("https://relay.example/i#{number}")),
            key: self.auth_key(),
        }
    }

    pub(crate) fn receipt(&mut self, id: i64) -> Receipt {
        Receipt {
            id,
            hash: self.bytes(32),
            info: Vec::new(),
        }
    }

    pub(crate) fn ratchet(&mut self) -> Ratchet {
        let index = self.0.random_range(0..RATCHETS.len());
        Ratchet::from_bytes(&RATCHETS[index].ratchet).unwrap()
    }

    pub(crate) fn initiator_keys(&mut self) -> InitiatorKeys {
        let index = self.0.random_range(0..RATCHETS.len());
        InitiatorKeys::from_bytes(&RATCHETS[index].initiator).unwrap()
    }

    pub(crate) fn joiner_params(&mut self) -> E2eParams {
        let index = self.0.random_range(0..RATCHETS.len());
        RATCHETS[index].joiner.clone()
    }
}

struct Keys {
    ratchet: Zeroizing<Vec<u8>>,
    initiator: Zeroizing<Vec<u8>>,
    joiner: E2eParams,
}

/// Making keys takes longer than storing them.
static RATCHETS: LazyLock<Vec<Keys>> = LazyLock::new(|| {
    let mut keys = RandomKeys(StdRng::seed_from_u64(7));
    let supports = [PqSupport::Off, PqSupport::On, PqSupport::On];
    supports
        .iter()
        .map(|support| {
            let initiator = InitiatorKeys::generate(&mut keys, *support == PqSupport::On);
            let (ratchet, joiner) =
                Ratchet::joiner(&initiator.params(), *support, &mut keys).unwrap();
            Keys {
                ratchet: ratchet.to_bytes(),
                initiator: initiator.to_bytes(),
                joiner,
            }
        })
        .collect()
});

/// All that a receive queue is, to compare it.
pub(crate) fn shown_receive_queue(queue: &ReceiveQueue) -> String {
    let ReceiveQueue {
        id,
        connection,
        relay,
        state,
        ids,
        key,
        delivery_key,
        delivery_secret,
        e2e_key,
        e2e_secret,
        mode,
        sender_key,
        secured,
        replaces,
        switch,
        link,
        created,
    } = queue;
    let ids = ids
        .as_ref()
        .map(|ids| (ids.recipient.as_bytes(), ids.sender.as_bytes()));
    let link = link.as_ref().map(|link| {
        let id = link.id.as_ref().map(LinkId::as_bytes);
        (id, *link.key, *link.root_key, &link.fixed)
    });
    let (delivery_secret, e2e_secret) = (
        delivery_secret.as_ref().map(DhSecret::as_bytes),
        e2e_secret.as_ref().map(DhSecret::as_bytes),
    );
    let (key, sender_key) = (
        shown_key(key),
        sender_key.as_ref().map(AuthPublicKey::to_spki),
    );
    let keys = (delivery_key.as_bytes(), e2e_key.as_bytes());
    format!(
        "{id:?} {connection:?} {relay} {state:?} {ids:?} {key} {keys:?} {delivery_secret:?} \
         {e2e_secret:?} {mode:?} {sender_key:?} {secured} {replaces:?} {switch:?} {link:?} \
         {created:?}"
    )
}

/// All that a send queue is, to compare it.
pub(crate) fn shown_send_queue(queue: &SendQueue) -> String {
    let SendQueue {
        id,
        connection,
        relay,
        sender_id,
        client_version,
        key,
        securing,
        secured,
        e2e_key,
        e2e_secret,
        state,
        replaces,
        full_since,
    } = queue;
    let (key, sender_id) = (shown_key(key), sender_id.as_bytes());
    let (e2e_key, e2e_secret) = (e2e_key.as_bytes(), e2e_secret.as_bytes());
    format!(
        "{id:?} {connection:?} {relay} {sender_id:?} {client_version} {key} {securing:?} \
         {secured} {e2e_key:?} {e2e_secret:?} {state:?} {replaces:?} {full_since:?}"
    )
}

pub(crate) fn shown_key(key: &AuthPrivateKey) -> String {
    format!("{:?} {:?}", key.kind(), key.as_bytes())
}
