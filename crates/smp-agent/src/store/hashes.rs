//! Hashes of what was sent, for receipts, and of what was seen, so that nothing is taken twice.

use rusqlite::params;

use super::{StoreError, Transaction};
use crate::model::{ConnectionId, Timestamp};
use crate::protocol::Receipt;

/// So many hashes of what was seen are kept of each connection, the newest ones.
pub const SEEN_KEPT: u32 = 2_000;

/// Hashes of what was sent.
impl Transaction<'_> {
    /// Keeps the hash of a message that was sent, in the place of a former one with this number.
    pub fn remember_sent(
        &self,
        connection: ConnectionId,
        message_id: i64,
        hash: &[u8; 32],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO sent (connection, message_id, hash, at) VALUES (?, ?, ?, ?)
            ON CONFLICT (connection, message_id)
            DO UPDATE SET hash = excluded.hash, at = excluded.at";
        let values = params![connection.0, message_id, hash, at.0];
        self.write("sent", insert, values)?;
        Ok(())
    }

    /// The hash of a message that was sent.
    pub fn sent_hash(
        &self,
        connection: ConnectionId,
        message_id: i64,
    ) -> Result<Option<[u8; 32]>, StoreError> {
        let find = "SELECT hash FROM sent WHERE connection = ? AND message_id = ?";
        let key = [connection.0, message_id];
        self.first("sent", find, key, |row| row.array("hash").copied())
    }

    /// Forgets a message that was sent.
    pub fn forget_sent(&self, connection: ConnectionId, message_id: i64) -> Result<(), StoreError> {
        let delete = "DELETE FROM sent WHERE connection = ? AND message_id = ?";
        self.write("sent", delete, [connection.0, message_id])?;
        Ok(())
    }

    /// Forgets the messages of all connections that were sent before a time. Says how many those
    /// were.
    pub fn forget_sent_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        let forgotten = self.write("sent", "DELETE FROM sent WHERE at < ?", [time.0])?;
        Ok(forgotten as u64)
    }
}

/// Receipts that wait for new keys.
impl Transaction<'_> {
    /// Keeps a receipt to be sent later.
    pub fn owe_receipt(
        &self,
        connection: ConnectionId,
        receipt: &Receipt,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO owed_receipt (connection, message_id, hash) VALUES (?, ?, ?)
            ON CONFLICT (connection, message_id) DO NOTHING";
        let values = params![connection.0, receipt.id, receipt.hash];
        self.write("owed_receipt", insert, values)?;
        Ok(())
    }

    /// Takes the oldest receipts out, at most so many.
    pub fn take_owed_receipts(
        &self,
        connection: ConnectionId,
        limit: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        let find = "SELECT message_id, hash FROM owed_receipt WHERE connection = ?
            ORDER BY message_id LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let owed = self.all("owed_receipt", find, [connection.0, limit], |row| {
            Ok(Receipt {
                id: row.integer("message_id")?,
                hash: row.bytes("hash")?.to_vec(),
                info: Vec::new(),
            })
        })?;
        for receipt in &owed {
            let delete = "DELETE FROM owed_receipt WHERE connection = ? AND message_id = ?";
            self.write("owed_receipt", delete, [connection.0, receipt.id])?;
        }
        Ok(owed)
    }
}

/// Hashes of what was seen.
impl Transaction<'_> {
    /// Keeps a hash; the oldest one beyond [`SEEN_KEPT`] is forgotten.
    pub fn remember_seen(
        &self,
        connection: ConnectionId,
        hash: &[u8; 32],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO seen (connection, number, hash, at)
            SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3 FROM seen WHERE connection = ?1
            ON CONFLICT (connection, hash) DO NOTHING";
        let values = params![connection.0, hash, at.0];
        if self.write("seen", insert, values)? > 0 {
            let delete = "DELETE FROM seen WHERE connection = ?1
                AND number <= (SELECT max(number) FROM seen WHERE connection = ?1) - ?2";
            self.write("seen", delete, params![connection.0, SEEN_KEPT])?;
        }
        Ok(())
    }

    /// Whether a hash is kept.
    pub fn seen(&self, connection: ConnectionId, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let find = "SELECT 1 FROM seen WHERE connection = ? AND hash = ?";
        let found = self.first("seen", find, params![connection.0, hash], |_| Ok(()))?;
        Ok(found.is_some())
    }
}
