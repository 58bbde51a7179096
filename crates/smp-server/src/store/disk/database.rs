//! What is small, in SQLite.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use smp_protocol::{LinkData, MessageId};

use super::bodies::Slot;
use super::reserve::Reserve;
use super::sides::{Sides, both};
use super::{damaged, migration};
use crate::store::index::{Key, MAX_QUEUES};
use crate::store::record::Packed;
use crate::store::{ServiceIds, StoreError};

/// The layout of the tables.
const VERSION: i32 = 2;

/// Deleted bytes are overwritten; a commit is in the log before it returns, and the log goes to the
/// disk apart from commits. Pages that are free can be given back.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
    PRAGMA busy_timeout = 10000;
";

/// Bytes that a queue takes at least.
const SHORTEST_ROW: u64 = 100;

/// So many places are believed of any file: compaction may have made it short since. More would cost
/// memory that few machines have.
const BELIEVED: u64 = 1 << 26;

/// Whether a change adds something or makes room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Adds,
    Deletes,
}

/// The database's connection that writes.
pub(super) struct Database {
    connection: Connection,
    reserve: Arc<Reserve>,
    path: PathBuf,
    pub(super) sides: Sides,
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
    pub(super) fn open(path: &Path, reserve: &Arc<Reserve>) -> Result<Self, StoreError> {
        if is_cut_off(path)? {
            return Err(damaged(path, "the database"));
        }
        let mut connection = Connection::open(path)?;
        if super::is_empty(path) {
            // Once it has content, each opening would write this again.
            connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        }
        let opened = connection.execute_batch(PRAGMAS);
        opened.map_err(|error| unreadable(path, error))?;
        let sides = Self::tables(&mut connection, path)?;
        Ok(Self {
            connection,
            reserve: Arc::clone(reserve),
            path: path.to_owned(),
            sides,
        })
    }

    /// Makes the tables, or finds how far a compaction came that was cut short.
    fn tables(connection: &mut Connection, path: &Path) -> Result<Sides, StoreError> {
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0));
        match version.map_err(|error| unreadable(path, error))? {
            VERSION => Sides::read(connection).map_err(|error| unreadable(path, error)),
            1 => {
                let transaction = connection.transaction()?;
                let migrated = migration::to_2(&transaction);
                migrated.map_err(|error| unreadable(path, error))?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.commit()?;
                Sides::read(connection).map_err(|error| unreadable(path, error))
            }
            0 => {
                let tables = "SELECT count(*) FROM sqlite_schema";
                let tables = connection.query_row(tables, [], |row| row.get::<_, u32>(0));
                if tables.map_err(|error| unreadable(path, error))? > 0 {
                    return Err(damaged(path, "the database of another program"));
                }
                let transaction = connection.transaction()?;
                let sides = Sides::create(&transaction)?;
                migration::create_salt(&transaction)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.commit()?;
                Ok(sides)
            }
            _ => Err(damaged(path, "the layout of a newer sotto-smp")),
        }
    }

    /// How many places queues have at most.
    pub(super) fn places(&self) -> Result<usize, StoreError> {
        // Places are given out one after the other, so there was a row for each once.
        let length = std::fs::metadata(&self.path)?.len();
        let limit = (length / SHORTEST_ROW).clamp(BELIEVED, u64::from(MAX_QUEUES));
        let mut places = 0;
        for sql in both!("SELECT max(key) FROM queue", "") {
            let last = self.connection.query_row(sql, [], |row| row.get(0));
            let last: Option<u32> = last.map_err(|error| unreadable(&self.path, error))?;
            if last.is_some_and(|last| u64::from(last) >= limit) {
                return Err(damaged(&self.path, "a queue"));
            }
            places = places.max(last.map_or(0, |last| last as usize + 1));
        }
        Ok(places)
    }

    /// What makes services' ids.
    pub(super) fn service_ids(&self) -> Result<ServiceIds, StoreError> {
        let salt = migration::read_salt(&self.connection);
        salt.map_err(|error| unreadable(&self.path, error))
    }

    /// Gives every queue's place and record.
    pub(super) fn queues(
        &self,
        mut take: impl FnMut(Key, Packed) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let unreadable = |error| unreadable(&self.path, error);
        for sql in both!("SELECT key, record FROM queue", "") {
            let mut statement = self.connection.prepare(sql).map_err(unreadable)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next().map_err(unreadable)? {
                let key = row.get(0).map_err(unreadable)?;
                let record = row.get_ref(1)?.as_blob().ok().and_then(Packed::read);
                take(key, record.ok_or_else(|| damaged(&self.path, "a queue"))?)?;
            }
        }
        Ok(())
    }

    /// Gives every message, of each queue in order.
    pub(super) fn messages(
        &self,
        mut take: impl FnMut(MessageRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let unreadable = |error| unreadable(&self.path, error);
        for sql in both!(
            "SELECT queue, number, id, timestamp, notification, slot FROM message",
            " ORDER BY queue, number"
        ) {
            let mut statement = self.connection.prepare(sql).map_err(unreadable)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next().map_err(unreadable)? {
                take(message(row).map_err(unreadable)?)?;
            }
        }
        Ok(())
    }

    pub(super) fn insert_queue(
        &mut self,
        key: Key,
        record: &Packed,
        link: Option<&LinkData>,
    ) -> Result<(), StoreError> {
        let side = self.sides.of(key);
        self.change(Kind::Adds, |connection| {
            connection
                .prepare(both!("INSERT INTO queue", " (key, record) VALUES (?, ?)")[side])?
                .execute(params![key, record.bytes()])?;
            set_link(connection, side, key, link)
        })
    }

    /// Puts a record in the place of the former; `link` is what the link's data becomes, if it
    /// changes.
    pub(super) fn replace_queue(
        &mut self,
        key: Key,
        record: &Packed,
        link: Option<Option<&LinkData>>,
    ) -> Result<(), StoreError> {
        let side = self.sides.of(key);
        self.change(Kind::Adds, |connection| {
            connection
                .prepare(both!("UPDATE queue", " SET record = ? WHERE key = ?")[side])?
                .execute(params![record.bytes(), key])?;
            match link {
                None => Ok(()),
                Some(None) => delete_link(connection, side, key),
                Some(link) => set_link(connection, side, key, link),
            }
        })
    }

    pub(super) fn delete_queue(&mut self, key: Key) -> Result<(), StoreError> {
        let side = self.sides.of(key);
        self.change(Kind::Deletes, |connection| {
            connection
                .prepare(both!("DELETE FROM queue", " WHERE key = ?")[side])?
                .execute([key])?;
            connection
                .prepare(both!("DELETE FROM message", " WHERE queue = ?")[side])?
                .execute([key])?;
            delete_link(connection, side, key)
        })
    }

    pub(super) fn link(&self, key: Key) -> Result<Option<LinkData>, StoreError> {
        let side = self.sides.of(key);
        let mut statement = self
            .connection
            .prepare(both!("SELECT fixed, user FROM link", " WHERE key = ?")[side])?;
        let link = statement.query_row([key], |row| {
            Ok(LinkData {
                fixed: row.get(0)?,
                user: row.get(1)?,
            })
        });
        Ok(link.optional()?)
    }

    pub(super) fn insert_message(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let insert = both!(
            "INSERT INTO message",
            " (queue, number, id, timestamp, notification, slot) VALUES (?, ?, ?, ?, ?, ?)"
        )[self.sides.of(row.queue)];
        self.run(Kind::Adds, |connection| {
            connection.prepare(insert)?.execute(params![
                row.queue,
                row.number.cast_signed(),
                row.id.as_bytes(),
                row.timestamp.cast_signed(),
                row.notification,
                row.slot.map(|slot| slot.0),
            ])
        })?;
        Ok(())
    }

    /// Deletes a queue's messages up to this one.
    pub(super) fn delete_messages(&mut self, queue: Key, number: u64) -> Result<(), StoreError> {
        let delete =
            both!("DELETE FROM message", " WHERE queue = ? AND number <= ?")[self.sides.of(queue)];
        let number = number.cast_signed();
        self.run(Kind::Deletes, |connection| {
            connection.prepare(delete)?.execute(params![queue, number])
        })?;
        Ok(())
    }

    /// Deletes messages wherever they are in their queues.
    pub(super) fn delete_lost(&mut self, messages: &[(Key, u64)]) -> Result<(), StoreError> {
        let sides = self.sides;
        self.change(Kind::Deletes, |connection| {
            for (queue, number) in messages {
                let delete = both!("DELETE FROM message", " WHERE queue = ? AND number = ?");
                connection
                    .prepare(delete[sides.of(*queue)])?
                    .execute(params![queue, number.cast_signed()])?;
            }
            Ok(())
        })
    }

    /// A step of moving all rows to the other side: those of `count` queues, of `all` that there
    /// may be. Says whether that was the last.
    pub(super) fn move_rows(&mut self, count: Key, all: Key) -> Result<bool, StoreError> {
        let sides = self.sides;
        let moved = self.change(Kind::Adds, |connection| sides.step(connection, count, all))?;
        self.sides = moved;
        Ok(moved.is_even())
    }

    /// Gives up to `count` free pages back to the disk. Says whether there are no more.
    pub(super) fn give_back_pages(&mut self, count: u32) -> Result<bool, StoreError> {
        let sql = format!("PRAGMA incremental_vacuum({count})");
        self.run(Kind::Adds, |connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        })?;
        let free: u32 = self
            .connection
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        Ok(free == 0)
    }

    /// Brings what is left in the log to the tables, so that the log is written again from its
    /// begin.
    pub(super) fn restart_log(&mut self) -> Result<(), StoreError> {
        self.checkpoint("PRAGMA wal_checkpoint(RESTART)")
    }

    /// The same, and makes the log's file empty: deleted bytes stand still in it.
    pub(super) fn truncate_log(&mut self) -> Result<(), StoreError> {
        self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn checkpoint(&mut self, how: &str) -> Result<(), StoreError> {
        let busy: bool = self.connection.query_row(how, [], |row| row.get(0))?;
        if busy {
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None).into());
        }
        Ok(())
    }

    /// Makes a change of several statements, all or nothing.
    fn change<T>(
        &mut self,
        kind: Kind,
        change: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.run(kind, |connection| {
            let transaction = connection.unchecked_transaction()?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Runs what fails as a whole if it fails. On a full disk the log can't grow, but what is in it
    /// may fit into the tables and leave its room; deletions are given the reserve for that.
    fn run<T>(
        &mut self,
        kind: Kind,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match work(&self.connection) {
            Err(error) if is_full(&error) => {
                if self.restart_log().is_err() {
                    if kind == Kind::Adds {
                        return Err(error.into());
                    }
                    self.reserve.give_up()?;
                    // If that fails again, the log has room to grow now.
                    let _ = self.restart_log();
                    let done = work(&self.connection);
                    self.reserve.regain();
                    return Ok(done?);
                }
                Ok(work(&self.connection)?)
            }
            done => Ok(done?),
        }
    }
}

/// Whether a database is shorter than its head says, with no log that could have the rest. SQLite
/// finds that out only when it comes to what is missing.
fn is_cut_off(path: &Path) -> Result<bool, StoreError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let length = file.metadata()?.len();
    if has_log || length == 0 {
        return Ok(false);
    }
    let mut head = [0; 100];
    if length < head.len() as u64 {
        return Ok(true);
    }
    file.read_exact_at(&mut head, 0)?;
    // The database file format, sections 1.3.2 and 1.3.7.
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u32::from_be_bytes([head[28], head[29], head[30], head[31]]);
    Ok(length < page * u64::from(pages))
}

fn message(row: &rusqlite::Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        queue: row.get(0)?,
        number: row.get::<_, i64>(1)?.cast_unsigned(),
        id: MessageId(row.get(2)?),
        timestamp: row.get::<_, i64>(3)?.cast_unsigned(),
        notification: row.get(4)?,
        slot: row.get::<_, Option<u32>>(5)?.map(Slot),
    })
}

fn set_link(
    connection: &Connection,
    side: usize,
    key: Key,
    link: Option<&LinkData>,
) -> rusqlite::Result<()> {
    if let Some(LinkData { fixed, user }) = link {
        let set = both!(
            "INSERT OR REPLACE INTO link",
            " (key, fixed, user) VALUES (?, ?, ?)"
        )[side];
        connection
            .prepare(set)?
            .execute(params![key, fixed, user])?;
    }
    Ok(())
}

fn delete_link(connection: &Connection, side: usize, key: Key) -> rusqlite::Result<()> {
    connection
        .prepare(both!("DELETE FROM link", " WHERE key = ?")[side])?
        .execute([key])?;
    Ok(())
}

/// Whether the disk had no room, or the file reached a limit.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
    )
}

/// What an error in reading says: that the file is damaged, or what the disk says.
fn unreadable(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown) | None => {
            damaged(path, "the database")
        }
        Some(_) => error.into(),
    }
}
