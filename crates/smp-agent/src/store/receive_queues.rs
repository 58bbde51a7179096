//! Queues in which this side receives.

use rusqlite::{ToSql, named_params, params};
use sha2::{Digest, Sha256};
use smp_protocol::{
    AuthPublicKey, DhSecret, LinkId, QueueMode, Reader, RecipientId, RelayAddress, SenderId,
};
use zeroize::Zeroizing;

use super::row::{Code, Row, auth_private_key, codes};
use super::{StoreError, Transaction};
use crate::model::{
    ConnectionId, QueueLink, ReceiveQueue, ReceiveQueueId, ReceiveQueueIds, ReceiveQueueState,
    ReceiveSwitch,
};

const TABLE: &str = "receive_queue";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, connection, state, mode, secured, replaces, switch, created, relay,
                recipient_id, sender_id, key, delivery_key, delivery_secret, e2e_key, e2e_secret,
                sender_key, link_id, link_key, link_root_key, link_fixed FROM receive_queue ",
            $rest
        )
    };
}

/// Receive queues.
impl Transaction<'_> {
    /// A connection's receive queues in the order of their ids.
    pub fn receive_queues(
        &self,
        connection: ConnectionId,
    ) -> Result<Vec<ReceiveQueue>, StoreError> {
        let find = select!("WHERE connection = ? ORDER BY id");
        self.all(TABLE, find, [connection.0], receive_queue)
    }

    /// All receive queues in the order of their ids.
    pub fn all_receive_queues(&self) -> Result<Vec<ReceiveQueue>, StoreError> {
        self.all(TABLE, select!("ORDER BY id"), [], receive_queue)
    }

    /// A receive queue.
    pub fn receive_queue(&self, id: ReceiveQueueId) -> Result<Option<ReceiveQueue>, StoreError> {
        self.first(TABLE, select!("WHERE id = ?"), [id.0], receive_queue)
    }

    /// The queue that has this recipient's id at this address of a relay; the oldest, should a relay
    /// have given an id twice.
    pub fn find_receive_queue(
        &self,
        relay: &RelayAddress,
        recipient: &RecipientId,
    ) -> Result<Option<ReceiveQueue>, StoreError> {
        let find =
            select!("WHERE digest = ? AND relay = ? AND recipient_id = ? ORDER BY id LIMIT 1");
        let relay = encoded(relay);
        let key = params![digest(&relay, recipient), relay, recipient.as_bytes()];
        self.first(TABLE, find, key, receive_queue)
    }

    /// Stores a new queue, whatever its id says, and gives its id.
    pub fn insert_receive_queue(&self, queue: &ReceiveQueue) -> Result<ReceiveQueueId, StoreError> {
        let insert =
            "INSERT INTO receive_queue (connection, state, mode, secured, replaces, switch,
                created, digest, relay, recipient_id, sender_id, key, delivery_key, delivery_secret,
                e2e_key, e2e_secret, sender_key, link_id, link_key, link_root_key, link_fixed)
            VALUES (:connection, :state, :mode, :secured, :replaces, :switch, :created, :digest,
                :relay, :recipient_id, :sender_id, :key, :delivery_key, :delivery_secret, :e2e_key,
                :e2e_secret, :sender_key, :link_id, :link_key, :link_root_key, :link_fixed)";
        let id = values(queue, |values| {
            let mut values = values.to_vec();
            values.push((":connection", &queue.connection.0));
            self.insert(TABLE, insert, &values[..])
        })?;
        Ok(ReceiveQueueId(id))
    }

    /// Stores a queue's present state. It stays with its connection.
    pub fn save_receive_queue(&self, queue: &ReceiveQueue) -> Result<(), StoreError> {
        let update = "UPDATE receive_queue SET state = :state, mode = :mode, secured = :secured,
                replaces = :replaces, switch = :switch, created = :created, digest = :digest,
                relay = :relay, recipient_id = :recipient_id, sender_id = :sender_id, key = :key,
                delivery_key = :delivery_key, delivery_secret = :delivery_secret,
                e2e_key = :e2e_key, e2e_secret = :e2e_secret, sender_key = :sender_key,
                link_id = :link_id, link_key = :link_key, link_root_key = :link_root_key,
                link_fixed = :link_fixed
            WHERE id = :id";
        values(queue, |values| {
            let mut values = values.to_vec();
            values.push((":id", &queue.id.0));
            self.update(TABLE, update, &values[..])
        })
    }

    /// Deletes a queue.
    pub fn delete_receive_queue(&self, id: ReceiveQueueId) -> Result<(), StoreError> {
        self.write(TABLE, "DELETE FROM receive_queue WHERE id = ?", [id.0])?;
        Ok(())
    }
}

/// All of a queue but its own id and its connection's.
fn values<T>(
    queue: &ReceiveQueue,
    run: impl FnOnce(&[(&str, &dyn ToSql)]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let relay = encoded(&queue.relay);
    let (ids, link) = (queue.ids.as_ref(), queue.link.as_ref());
    run(named_params! {
        ":state": queue.state.code(),
        ":mode": queue.mode.code(),
        ":secured": queue.secured,
        ":replaces": queue.replaces.map(|id| id.0),
        ":switch": queue.switch.code(),
        ":created": queue.created.0,
        ":digest": ids.map(|ids| digest(&relay, &ids.recipient)),
        ":relay": relay,
        ":recipient_id": ids.map(|ids| ids.recipient.as_bytes()),
        ":sender_id": ids.map(|ids| ids.sender.as_bytes()),
        ":key": &auth_private_key(&queue.key)[..],
        ":delivery_key": queue.delivery_key.as_bytes(),
        ":delivery_secret": queue.delivery_secret.as_ref().map(DhSecret::as_bytes),
        ":e2e_key": queue.e2e_key.as_bytes(),
        ":e2e_secret": queue.e2e_secret.as_ref().map(DhSecret::as_bytes),
        ":sender_key": queue.sender_key.as_ref().map(AuthPublicKey::to_spki),
        ":link_id": link.and_then(|link| link.id.as_ref()).map(LinkId::as_bytes),
        ":link_key": link.map(|link| &link.key[..]),
        ":link_root_key": link.map(|link| &link.root_key[..]),
        ":link_fixed": link.map(|link| &link.fixed[..]),
    })
}

fn receive_queue(row: &Row<'_, '_>) -> Result<ReceiveQueue, StoreError> {
    Ok(ReceiveQueue {
        id: ReceiveQueueId(row.integer("id")?),
        connection: ConnectionId(row.integer("connection")?),
        relay: row.parsed("relay", decoded)?,
        state: row.code("state")?,
        ids: ids(row)?,
        key: row.auth_private_key("key")?,
        delivery_key: row.dh_private_key("delivery_key")?,
        delivery_secret: row.optional_dh_secret("delivery_secret")?,
        e2e_key: row.dh_private_key("e2e_key")?,
        e2e_secret: row.optional_dh_secret("e2e_secret")?,
        mode: row.code("mode")?,
        sender_key: row.optional_auth_public_key("sender_key")?,
        secured: row.flag("secured")?,
        replaces: row.optional_integer("replaces")?.map(ReceiveQueueId),
        switch: row.code("switch")?,
        link: link(row)?,
        created: row.time("created")?,
    })
}

fn ids(row: &Row<'_, '_>) -> Result<Option<ReceiveQueueIds>, StoreError> {
    let recipient = row.optional_parsed("recipient_id", RecipientId::new)?;
    let sender = row.optional_parsed("sender_id", SenderId::new)?;
    match (recipient, sender) {
        (Some(recipient), Some(sender)) => Ok(Some(ReceiveQueueIds { recipient, sender })),
        (None, None) => Ok(None),
        _ => Err(row.damaged()),
    }
}

fn link(row: &Row<'_, '_>) -> Result<Option<QueueLink>, StoreError> {
    let id = row.optional_parsed("link_id", LinkId::new)?;
    let key = row.optional_array("link_key")?;
    let root_key = row.optional_array("link_root_key")?;
    let fixed = row.optional_bytes("link_fixed")?;
    match (key, root_key, fixed) {
        (Some(key), Some(root_key), Some(fixed)) => Ok(Some(QueueLink {
            id,
            key: Zeroizing::new(*key),
            root_key: Zeroizing::new(*root_key),
            fixed: fixed.to_vec(),
        })),
        (None, None, None) if id.is_none() => Ok(None),
        _ => Err(row.damaged()),
    }
}

/// What finds a queue by its relay and its recipient's id.
fn digest(relay: &[u8], recipient: &RecipientId) -> i64 {
    let digest = Sha256::new()
        .chain_update(relay)
        .chain_update(recipient.as_bytes())
        .finalize();
    let mut begin = [0; 8];
    begin.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(begin)
}

/// A relay's address as it is stored.
pub(super) fn encoded(relay: &RelayAddress) -> Vec<u8> {
    let mut bytes = Vec::new();
    relay.encode(&mut bytes);
    bytes
}

pub(super) fn decoded(bytes: &[u8]) -> Result<RelayAddress, smp_protocol::DecodeError> {
    RelayAddress::decode(&mut Reader::new(bytes))
}

codes!(ReceiveQueueState {
    New = 0,
    Active = 1,
    Deleting = 2,
});

codes!(ReceiveSwitch {
    None = 0,
    Wanted = 1,
    Offered = 2,
    Used = 3,
    Proven = 4,
});

codes!(QueueMode {
    Messaging = 0,
    Contact = 1,
});
