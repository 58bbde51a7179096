//! Messages that came before their turn.

use rusqlite::params;

use super::row::Row;
use super::{StoreError, Transaction};
use crate::model::{ConnectionId, Held, Timestamp};

const TABLE: &str = "held";

/// Messages that came before their turn.
impl Transaction<'_> {
    /// Keeps a message until its turn comes. If one with the same number is kept already, that one
    /// stays.
    pub fn hold(&self, connection: ConnectionId, held: &Held) -> Result<(), StoreError> {
        let insert = "INSERT INTO held
                (connection, message_id, sent_at, held_at, previous_hash, hash, body)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connection, message_id) DO NOTHING";
        let values = params![
            connection.0,
            held.message_id,
            held.sent_at.0,
            held.held_at.0,
            held.previous_hash,
            held.hash,
            &held.body[..],
        ];
        self.write(TABLE, insert, values)?;
        Ok(())
    }

    /// The kept message with the smallest number.
    pub fn first_held(&self, connection: ConnectionId) -> Result<Option<Held>, StoreError> {
        let find = "SELECT message_id, sent_at, held_at, previous_hash, hash, body FROM held
            WHERE connection = ? ORDER BY message_id LIMIT 1";
        self.first(TABLE, find, [connection.0], held)
    }

    /// Removes a message whose turn came.
    pub fn remove_held(&self, connection: ConnectionId, message_id: i64) -> Result<(), StoreError> {
        let delete = "DELETE FROM held WHERE connection = ? AND message_id = ?";
        self.write(TABLE, delete, [connection.0, message_id])?;
        Ok(())
    }

    /// How many messages of a connection are kept.
    pub fn held_count(&self, connection: ConnectionId) -> Result<u64, StoreError> {
        let count = "SELECT count(*) AS number FROM held WHERE connection = ?";
        self.count(TABLE, count, [connection.0])
    }

    /// When the message came that has been kept for the longest time.
    pub fn oldest_held(&self) -> Result<Option<Timestamp>, StoreError> {
        let find = "SELECT held_at FROM held ORDER BY held_at LIMIT 1";
        self.first(TABLE, find, [], |row| row.time("held_at"))
    }

    /// The connections of which messages are kept, in the order of their ids.
    pub fn connections_with_held(&self) -> Result<Vec<ConnectionId>, StoreError> {
        let find = "SELECT DISTINCT connection FROM held ORDER BY connection";
        self.all(TABLE, find, [], |row| {
            row.integer("connection").map(ConnectionId)
        })
    }
}

fn held(row: &Row<'_, '_>) -> Result<Held, StoreError> {
    Ok(Held {
        message_id: row.integer("message_id")?,
        previous_hash: row.bytes("previous_hash")?.to_vec(),
        hash: *row.array("hash")?,
        sent_at: row.time("sent_at")?,
        held_at: row.time("held_at")?,
        body: row.secret_bytes("body")?,
    })
}
