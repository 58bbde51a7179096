//! A transaction, and the one place that all its reads and writes go through.

use std::cell::Cell;

use rusqlite::{Connection, Params};

use super::StoreError;
use super::row::Row;

/// Several reads and writes that take place as a whole or not at all; see
/// [`Store::transaction`](super::Store::transaction).
///
/// All methods fail with [`StoreError::Damaged`] if something can't be read, with
/// [`StoreError::Full`] or [`StoreError::Io`] if the disk refuses, and with [`StoreError::Missing`]
/// if what is to be changed is not there, or if what something belongs to is not. Removing what is
/// not there is no error.
pub struct Transaction<'a> {
    connection: &'a Connection,
    writes: &'a Writes,
    /// Changes on the connection when it began.
    changes_before: u64,
    failed: Cell<Option<Failure>>,
}

/// Why a transaction can only be undone.
#[derive(Clone, Copy)]
enum Failure {
    Full,
    Crashed,
    Other,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(
        connection: &'a Connection,
        writes: &'a Writes,
    ) -> Result<Self, StoreError> {
        writes.check_open()?;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self {
            connection,
            writes,
            changes_before: connection.total_changes(),
            failed: Cell::new(None),
        })
    }

    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.check()?;
        if self.connection.total_changes() != self.changes_before {
            self.writes.count()?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// The database, for reading the tables of whoever uses the agent. What this gives must not
    /// outlive the transaction, nor begin or end one. Write with [`Self::execute`].
    #[must_use]
    pub fn sql(&self) -> &Connection {
        self.connection
    }

    /// Writes to the tables of whoever uses the agent. Gives the number of rows that were changed.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], and [`StoreError::Database`] if the tables don't
    /// allow it.
    pub fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, StoreError> {
        self.attempt(|connection| {
            let done = connection.prepare_cached(sql).and_then(|mut statement| {
                // A constraint of theirs is theirs to understand.
                statement.execute(params)
            });
            done.map_err(StoreError::from)
        })
    }

    /// Runs several statements.
    pub(super) fn execute_batch(&self, sql: &'static str) -> Result<(), StoreError> {
        self.attempt(|connection| Ok(connection.execute_batch(sql)?))
    }

    /// Runs a writing statement. Gives the number of rows that it changed.
    pub(super) fn write(
        &self,
        table: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<usize, StoreError> {
        self.attempt(|connection| {
            let done = connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute(params));
            done.map_err(|error| StoreError::in_writing(error, table))
        })
    }

    /// Runs a statement that inserts a row. Gives its id.
    pub(super) fn insert(
        &self,
        table: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<i64, StoreError> {
        self.write(table, sql, params)?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Runs a statement that changes a row that has to be there.
    pub(super) fn update(
        &self,
        table: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<(), StoreError> {
        match self.write(table, sql, params)? {
            0 => Err(StoreError::Missing { table }),
            _ => Ok(()),
        }
    }

    /// The first row that a statement finds.
    pub(super) fn first<T>(
        &self,
        table: &'static str,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let unreadable = |error| StoreError::in_reading(error, table);
        let mut statement = self.connection.prepare_cached(sql).map_err(unreadable)?;
        let mut rows = statement.query(params).map_err(unreadable)?;
        match rows.next().map_err(unreadable)? {
            Some(row) => read(&Row::new(row, table)).map(Some),
            None => Ok(None),
        }
    }

    /// All rows that a statement finds.
    pub(super) fn all<T>(
        &self,
        table: &'static str,
        sql: &'static str,
        params: impl Params,
        read: impl Fn(&Row<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let unreadable = |error| StoreError::in_reading(error, table);
        let mut statement = self.connection.prepare_cached(sql).map_err(unreadable)?;
        let mut rows = statement.query(params).map_err(unreadable)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(unreadable)? {
            found.push(read(&Row::new(row, table))?);
        }
        Ok(found)
    }

    /// The only number, `number`, that a statement finds.
    pub(super) fn count(
        &self,
        table: &'static str,
        sql: &'static str,
        params: impl Params,
    ) -> Result<u64, StoreError> {
        let count = self.first(table, sql, params, |row| row.integer("number"))?;
        u64::try_from(count.unwrap_or(0)).map_err(|_| StoreError::damaged(table))
    }

    /// The one way to change something.
    fn attempt<T>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        let done = self.writes.count().and_then(|()| write(self.connection));
        if let Err(error) = &done {
            // After some errors SQLite has undone the transaction, after others just the statement.
            match error {
                StoreError::Missing { .. } => {}
                StoreError::Full => self.failed.set(Some(Failure::Full)),
                StoreError::Crashed => self.failed.set(Some(Failure::Crashed)),
                _ => self.failed.set(Some(Failure::Other)),
            }
        }
        done
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None if self.connection.is_autocommit() => Err(StoreError::Undone),
            None => Ok(()),
            Some(Failure::Full) => Err(StoreError::Full),
            Some(Failure::Crashed) => Err(StoreError::Crashed),
            Some(Failure::Other) => Err(StoreError::Undone),
        }
    }
}

impl Drop for Transaction<'_> {
    /// Undoes what was not committed.
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // If that fails, the next to open the file will do it.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

/// Counts writes, and lets them fail if a test wants that.
#[derive(Default)]
pub(super) struct Writes {
    /// How many still succeed.
    left: Cell<Option<u64>>,
    closed: Cell<bool>,
}

impl Writes {
    /// Says whether the next write may take place.
    pub(super) fn count(&self) -> Result<(), StoreError> {
        self.check_open()?;
        match self.left.get() {
            None => Ok(()),
            Some(0) => Err(StoreError::Crashed),
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
        }
    }

    pub(super) fn crash_after(&self, writes: Option<u64>) {
        self.left.set(writes.map(|writes| writes.saturating_sub(1)));
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.get() {
            return Err(StoreError::Closed);
        }
        Ok(())
    }
}
