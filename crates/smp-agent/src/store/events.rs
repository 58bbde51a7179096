//! Events that the application has not taken yet.

use rusqlite::params;

use super::row::Row;
use super::{StoreError, Transaction};
use crate::model::{ConnectionId, EventId, StoredEvent, Timestamp};

const TABLE: &str = "event";

/// Events.
impl Transaction<'_> {
    /// Stores an event behind all others and gives its id. The connection that it is about may be
    /// gone.
    pub fn push_event(
        &self,
        connection: ConnectionId,
        at: Timestamp,
        body: &[u8],
    ) -> Result<EventId, StoreError> {
        let insert = "INSERT INTO event (connection, at, body) VALUES (?, ?, ?)";
        let id = self.insert(TABLE, insert, params![connection.0, at.0, body])?;
        Ok(EventId(id))
    }

    /// The next events behind this id, at most so many, in order.
    pub fn events(&self, after: EventId, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let find = "SELECT id, connection, at, body FROM event WHERE id > ? ORDER BY id LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.all(TABLE, find, [after.0, limit], event)
    }

    /// The oldest event.
    pub fn first_event(&self) -> Result<Option<StoredEvent>, StoreError> {
        let find = "SELECT id, connection, at, body FROM event ORDER BY id LIMIT 1";
        self.first(TABLE, find, [], event)
    }

    /// Removes an event. Says whether it was there.
    pub fn remove_event(&self, id: EventId) -> Result<bool, StoreError> {
        let removed = self.write(TABLE, "DELETE FROM event WHERE id = ?", [id.0])?;
        Ok(removed > 0)
    }

    /// How many events there are.
    pub fn event_count(&self) -> Result<u64, StoreError> {
        self.count(TABLE, "SELECT count(*) AS number FROM event", [])
    }
}

fn event(row: &Row<'_, '_>) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        id: EventId(row.integer("id")?),
        connection: ConnectionId(row.integer("connection")?),
        at: row.time("at")?,
        body: row.secret_bytes("body")?,
    })
}
