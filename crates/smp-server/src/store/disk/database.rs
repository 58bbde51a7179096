//! What is small, in SQLite.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use smp_protocol::{LinkData, MessageId, ServiceRole};

use super::bodies::Slot;
use super::damaged;
use crate::store::index::Key;
use crate::store::{QueueId, StoreError};

/// The layout of the tables.
const VERSION: i32 = 1;

/// Deleted bytes are overwritten; a commit is in the log before it returns, and the log goes to the
/// disk apart from commits.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
";

const TABLES: &str = "
    CREATE TABLE queue (key INTEGER PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE link (key INTEGER PRIMARY KEY, fixed BLOB NOT NULL, user BLOB NOT NULL);
    CREATE TABLE message (
        queue INTEGER NOT NULL,
        number INTEGER NOT NULL,
        id BLOB NOT NULL,
        timestamp INTEGER NOT NULL,
        notification INTEGER NOT NULL,
        slot INTEGER,
        PRIMARY KEY (queue, number)
    ) WITHOUT ROWID;
    CREATE TABLE service (fingerprint BLOB, role INTEGER, id BLOB NOT NULL,
        PRIMARY KEY (fingerprint, role)) WITHOUT ROWID;
";

/// The database's connection that writes.
pub(super) struct Database {
    connection: Connection,
}

/// A message's row.
pub(super) struct MessageRow {
    pub(super) queue: Key,
    pub(super) number: u64,
    pub(super) id: MessageId,
    pub(super) timestamp: u64,
    pub(super) notification: bool,
    /// Where its body is; the quota marker has none.
    pub(super) slot: Option<Slot>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(PRAGMAS)?;
        connection.set_prepared_statement_cache_capacity(32);
        let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            VERSION => {}
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.commit()?;
            }
            _ => return Err(damaged(path, "the layout of a newer sotto-smp")),
        }
        Ok(Self { connection })
    }

    /// Gives every queue's place and record.
    pub(super) fn queues(
        &self,
        mut take: impl FnMut(Key, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("SELECT key, record FROM queue")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            take(row.get(0)?, record)?;
        }
        Ok(())
    }

    /// Gives every message, of each queue in order.
    pub(super) fn messages(
        &self,
        mut take: impl FnMut(MessageRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        const ALL: &str = "SELECT queue, number, id, timestamp, notification, slot
            FROM message ORDER BY queue, number";
        let mut statement = self.connection.prepare(ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(MessageRow {
                queue: row.get(0)?,
                number: row.get::<_, i64>(1)?.cast_unsigned(),
                id: MessageId(row.get(2)?),
                timestamp: row.get::<_, i64>(3)?.cast_unsigned(),
                notification: row.get(4)?,
                slot: row.get::<_, Option<u32>>(5)?.map(Slot),
            })?;
        }
        Ok(())
    }

    pub(super) fn insert_queue(
        &mut self,
        key: Key,
        record: &[u8],
        link: Option<&LinkData>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO queue (key, record) VALUES (?, ?)")?
            .execute(params![key, record])?;
        set_link(&transaction, key, link)?;
        Ok(transaction.commit()?)
    }

    /// Puts a record in the place of the former; `link` is what the link's data becomes, if it
    /// changes.
    pub(super) fn replace_queue(
        &mut self,
        key: Key,
        record: &[u8],
        link: Option<Option<&LinkData>>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("UPDATE queue SET record = ? WHERE key = ?")?
            .execute(params![record, key])?;
        match link {
            None => {}
            Some(None) => delete_link(&transaction, key)?,
            Some(link) => set_link(&transaction, key, link)?,
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn delete_queue(&mut self, key: Key) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("DELETE FROM queue WHERE key = ?")?
            .execute([key])?;
        transaction
            .prepare_cached("DELETE FROM message WHERE queue = ?")?
            .execute([key])?;
        delete_link(&transaction, key)?;
        Ok(transaction.commit()?)
    }

    pub(super) fn link(&self, key: Key) -> Result<Option<LinkData>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT fixed, user FROM link WHERE key = ?")?;
        let link = statement.query_row([key], |row| {
            Ok(LinkData {
                fixed: row.get(0)?,
                user: row.get(1)?,
            })
        });
        Ok(link.optional()?)
    }

    pub(super) fn insert_message(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO message
            (queue, number, id, timestamp, notification, slot) VALUES (?, ?, ?, ?, ?, ?)";
        self.connection.prepare_cached(INSERT)?.execute(params![
            row.queue,
            row.number.cast_signed(),
            row.id.as_bytes(),
            row.timestamp.cast_signed(),
            row.notification,
            row.slot.map(|slot| slot.0),
        ])?;
        Ok(())
    }

    pub(super) fn delete_message(&mut self, queue: Key, number: u64) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM message WHERE queue = ? AND number = ?";
        let number = number.cast_signed();
        self.connection
            .prepare_cached(DELETE)?
            .execute(params![queue, number])?;
        Ok(())
    }

    /// The id of a service, a new one if there is none.
    pub(super) fn service(
        &mut self,
        fingerprint: &[u8; 32],
        role: ServiceRole,
    ) -> Result<QueueId, StoreError> {
        const FIND: &str = "SELECT id FROM service WHERE fingerprint = ? AND role = ?";
        let number = match role {
            ServiceRole::Messaging => 0,
            ServiceRole::Notifier => 1,
            ServiceRole::Proxy => 2,
        };
        let key = params![fingerprint, number];
        let found = self
            .connection
            .query_row(FIND, key, |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            return Ok(QueueId(id));
        }
        let id = QueueId::random();
        self.connection.execute(
            "INSERT INTO service (fingerprint, role, id) VALUES (?, ?, ?)",
            params![fingerprint, number, id.as_bytes()],
        )?;
        Ok(id)
    }

    /// Brings everything from the log to the tables and empties the log, in which deleted bytes
    /// stand still.
    pub(super) fn truncate_log(&mut self) -> Result<(), StoreError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn set_link(connection: &Connection, key: Key, link: Option<&LinkData>) -> Result<(), StoreError> {
    if let Some(LinkData { fixed, user }) = link {
        connection
            .prepare_cached("INSERT OR REPLACE INTO link (key, fixed, user) VALUES (?, ?, ?)")?
            .execute(params![key, fixed, user])?;
    }
    Ok(())
}

fn delete_link(connection: &Connection, key: Key) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM link WHERE key = ?")?
        .execute([key])?;
    Ok(())
}
