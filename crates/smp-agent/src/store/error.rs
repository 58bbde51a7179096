//! Why something could not be stored or read.

use std::io;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY;
use thiserror::Error;

/// Why something could not be stored or read. Nothing is changed by what fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no file.
    #[error("there is no store there")]
    NotFound,
    /// There is a file already.
    #[error("there is a file there already")]
    Exists,
    /// The file is empty: its creation was cut short.
    #[error("the store was never finished; create it again")]
    Empty,
    /// What is there is no store: a folder, another program's file, or the rest of a store.
    #[error("this is no store of contacts, or it was cut off")]
    NotAStore,
    /// The key does not open the file. A damaged first page looks the same.
    #[error("wrong passphrase, or the file is damaged")]
    WrongKey,
    /// A newer version of a program wrote it.
    #[error(
        "a newer version of this program wrote the store (layout {found}, known up to {known}); \
         update the program"
    )]
    NewerVersion {
        /// The layout of the store.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// Another program has it open, or this one has twice.
    #[error("another program uses the store; end that first")]
    InUse,
    /// The disk has no room.
    #[error("the disk is full; make room, and it goes on")]
    Full,
    /// Something in it can't be read.
    #[error("the store is damaged: {what} can't be read")]
    Damaged {
        /// The table, or `the file`.
        what: &'static str,
    },
    /// A newer version of a program wrote one part of it.
    #[error("a newer version of this program wrote {what} in the store; update the program")]
    Newer {
        /// The table.
        what: &'static str,
    },
    /// What is to be changed is not there, or what the new one belongs to is not.
    #[error("what is to be changed in {table}, or what it belongs to, is not in the store")]
    Missing {
        /// The table.
        table: &'static str,
    },
    /// The disk refused.
    #[error("the disk refused: {0}")]
    Io(io::Error),
    /// The database refused.
    #[error("the database refused: {0}")]
    Database(rusqlite::Error),
    /// A write of this transaction failed before, so all of it was undone.
    #[error("a write failed, and all that belonged to it was undone")]
    Undone,
    /// Its file can't be used any more; open it again.
    #[error("the store is closed; open it again")]
    Closed,
    /// A test lets all writes fail.
    #[error("a test ended the store here")]
    Crashed,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    /// What SQLite's error means to whoever has a store.
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::Database(error);
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::InUse,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::damaged("the file"),
            ErrorCode::SystemIoFailure => Self::Io(io::Error::other(error)),
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
                Self::Io(io::Error::new(io::ErrorKind::PermissionDenied, error))
            }
            ErrorCode::OutOfMemory => Self::Io(io::ErrorKind::OutOfMemory.into()),
            _ => Self::Database(error),
        }
    }
}

impl StoreError {
    pub(super) fn damaged(what: &'static str) -> Self {
        Self::Damaged { what }
    }

    /// What an error in reading a table means.
    pub(super) fn in_reading(error: rusqlite::Error, table: &'static str) -> Self {
        match Self::from(error) {
            Self::Damaged { .. } => Self::damaged(table),
            // The table has other columns than it should have.
            Self::Database(_) => Self::damaged(table),
            error => error,
        }
    }

    /// What an error in writing a table means.
    pub(super) fn in_writing(error: rusqlite::Error, table: &'static str) -> Self {
        match error.sqlite_error() {
            Some(failure) if failure.extended_code == SQLITE_CONSTRAINT_FOREIGNKEY => {
                Self::Missing { table }
            }
            _ => match Self::from(error) {
                Self::Damaged { .. } => Self::damaged(table),
                error => error,
            },
        }
    }
}
