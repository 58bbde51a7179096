//! Queues to which this side sends.

use rusqlite::{ToSql, named_params};
use smp_protocol::{DhPublicKey, SenderId};

use super::receive_queues::{decoded, encoded};
use super::row::{Code, Row, auth_private_key, codes};
use super::{StoreError, Transaction};
use crate::model::{ConnectionId, Securing, SendQueue, SendQueueId, SendQueueState, Timestamp};

const TABLE: &str = "send_queue";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, connection, state, client_version, securing, secured, replaces, full_since,
                relay, sender_id, key, e2e_key, e2e_secret FROM send_queue ",
            $rest
        )
    };
}

/// Send queues.
impl Transaction<'_> {
    /// A connection's send queues in the order of their ids.
    pub fn send_queues(&self, connection: ConnectionId) -> Result<Vec<SendQueue>, StoreError> {
        let find = select!("WHERE connection = ? ORDER BY id");
        self.all(TABLE, find, [connection.0], send_queue)
    }

    /// All send queues in the order of their ids.
    pub fn all_send_queues(&self) -> Result<Vec<SendQueue>, StoreError> {
        self.all(TABLE, select!("ORDER BY id"), [], send_queue)
    }

    /// A send queue.
    pub fn send_queue(&self, id: SendQueueId) -> Result<Option<SendQueue>, StoreError> {
        self.first(TABLE, select!("WHERE id = ?"), [id.0], send_queue)
    }

    /// Stores a new queue, whatever its id says, and gives its id.
    pub fn insert_send_queue(&self, queue: &SendQueue) -> Result<SendQueueId, StoreError> {
        let insert = "INSERT INTO send_queue (connection, state, client_version, securing, secured,
                replaces, full_since, relay, sender_id, key, e2e_key, e2e_secret)
            VALUES (:connection, :state, :client_version, :securing, :secured, :replaces,
                :full_since, :relay, :sender_id, :key, :e2e_key, :e2e_secret)";
        let id = values(queue, |values| {
            let mut values = values.to_vec();
            values.push((":connection", &queue.connection.0));
            self.insert(TABLE, insert, &values[..])
        })?;
        Ok(SendQueueId(id))
    }

    /// Stores a queue's present state. It stays with its connection.
    pub fn save_send_queue(&self, queue: &SendQueue) -> Result<(), StoreError> {
        let update = "UPDATE send_queue SET state = :state, client_version = :client_version,
                securing = :securing, secured = :secured, replaces = :replaces,
                full_since = :full_since, relay = :relay, sender_id = :sender_id, key = :key,
                e2e_key = :e2e_key, e2e_secret = :e2e_secret
            WHERE id = :id";
        values(queue, |values| {
            let mut values = values.to_vec();
            values.push((":id", &queue.id.0));
            self.update(TABLE, update, &values[..])
        })
    }

    /// Deletes a queue and what waits to be sent to it.
    pub fn delete_send_queue(&self, id: SendQueueId) -> Result<(), StoreError> {
        self.write(TABLE, "DELETE FROM send_queue WHERE id = ?", [id.0])?;
        Ok(())
    }
}

/// All of a queue but its own id and its connection's.
fn values<T>(
    queue: &SendQueue,
    run: impl FnOnce(&[(&str, &dyn ToSql)]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    run(named_params! {
        ":state": queue.state.code(),
        ":client_version": queue.client_version,
        ":securing": queue.securing.code(),
        ":secured": queue.secured,
        ":replaces": queue.replaces.map(|id| id.0),
        ":full_since": queue.full_since.map(|time| time.0),
        ":relay": encoded(&queue.relay),
        ":sender_id": queue.sender_id.as_bytes(),
        ":key": &auth_private_key(&queue.key)[..],
        ":e2e_key": queue.e2e_key.as_bytes(),
        ":e2e_secret": queue.e2e_secret.as_bytes(),
    })
}

fn send_queue(row: &Row<'_, '_>) -> Result<SendQueue, StoreError> {
    Ok(SendQueue {
        id: SendQueueId(row.integer("id")?),
        connection: ConnectionId(row.integer("connection")?),
        relay: row.parsed("relay", decoded)?,
        sender_id: row.parsed("sender_id", SenderId::new)?,
        client_version: row.small("client_version")?,
        key: row.auth_private_key("key")?,
        securing: row.code("securing")?,
        secured: row.flag("secured")?,
        e2e_key: DhPublicKey(*row.array("e2e_key")?),
        e2e_secret: row.dh_secret("e2e_secret")?,
        state: row.code("state")?,
        replaces: row.optional_integer("replaces")?.map(SendQueueId),
        full_since: row.optional_integer("full_since")?.map(Timestamp),
    })
}

codes!(Securing {
    Sender = 0,
    Recipient = 1,
    Never = 2,
});

codes!(SendQueueState {
    New = 0,
    Offered = 1,
    Active = 2,
    Retired = 3,
});
