//! What the agent keeps, in one encrypted file.
//!
//! The file is an SQLite database under SQLCipher: each page is encrypted with AES-256 and
//! authenticated, and the key is derived from a passphrase or given ([`StoreKey`]). One program at a
//! time has it open. All work is done in a [`Transaction`], which takes place as a whole or not at
//! all, whatever ends it.
//!
//! # What is removed is gone
//!
//! Who gets hold of the file and of its key one day shall not find in it what had been removed
//! before: old states of ratchets, messages, keys.
//!
//! - SQLite zeroes what is deleted (`secure_delete`). Where rows move to another page of their tree,
//!   though, it leaves copies behind. Pages that continue a row too long for its page belong to that
//!   row alone and never move, so secrets stand there: in each table with secrets a column of zeros,
//!   the filler, stands in front of them, and takes all the room that a row has in its tree.
//! - The rollback journal, which holds the former pages, is cut to nothing with each commit. There
//!   is no write-ahead log.
//! - What is not secret can leave copies: numbers, states, times, hashes. [`Store::compact`] removes
//!   those.
//!
//! What the disk itself keeps of blocks that a file system gave up is out of reach here; it is
//! encrypted with the store's key.

mod connections;
mod error;
mod events;
mod file;
mod hashes;
mod held;
mod key;
mod outgoing;
mod parts;
mod receive_queues;
mod requests;
mod row;
mod schema;
mod send_queues;
mod settings;
mod transaction;

#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::Connection;

use self::file::File;
use self::transaction::Writes;

pub use self::error::StoreError;
pub use self::hashes::SEEN_KEPT;
pub use self::key::StoreKey;
pub use self::transaction::Transaction;

/// An agent's store, open in this program alone.
pub struct Store {
    // Declared first, so that it is closed before the file's lock is given up.
    connection: Connection,
    writes: Writes,
    /// `None` if it is in memory.
    file: Option<File>,
}

impl Store {
    /// Makes a store at `path`, readable by its owner alone.
    ///
    /// An empty file there counts as none: a creation that was cut short leaves one.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a file already, [`StoreError::InUse`] if another program
    /// is making one, [`StoreError::Full`] or [`StoreError::Io`] if the disk refuses.
    pub fn create(path: &Path, key: &StoreKey) -> Result<Self, StoreError> {
        let (file, connection) = File::create(path, key)?;
        let mut store = Self::of(connection, Some(file));
        if let Err(error) = store.bring_up_to_date() {
            // Before the lock is given up, and with it the file.
            store.file.iter().for_each(File::remove);
            return Err(error);
        }
        Ok(store)
    }

    /// Opens the store at `path`. Changes that a program left half done when it ended are undone,
    /// and the layout of an older version is brought up to date.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none; [`StoreError::NotAStore`] and
    /// [`StoreError::Empty`] if it is something else; [`StoreError::InUse`] if another program has
    /// it; [`StoreError::WrongKey`]; [`StoreError::NewerVersion`] if a newer program wrote it;
    /// [`StoreError::Damaged`] if its first pages can't be read; [`StoreError::Full`] or
    /// [`StoreError::Io`] if the disk refuses.
    pub fn open(path: &Path, key: &StoreKey) -> Result<Self, StoreError> {
        let (file, connection) = File::open(path, key)?;
        if !schema::is_store(&connection)? {
            return Err(StoreError::NotAStore);
        }
        let mut store = Self::of(connection, Some(file));
        store.bring_up_to_date()?;
        Ok(store)
    }

    /// A store that ends with the program, for tests and simulations. It is not encrypted.
    ///
    /// # Errors
    /// [`StoreError::Io`] if there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let mut store = Self::of(file::in_memory()?, None);
        store.bring_up_to_date()?;
        Ok(store)
    }

    fn of(connection: Connection, file: Option<File>) -> Self {
        Self {
            connection,
            writes: Writes::default(),
            file,
        }
    }

    fn bring_up_to_date(&mut self) -> Result<(), StoreError> {
        self.migrate(schema::AGENT, schema::STEPS)
    }

    /// Encrypts the store with another key, and with a new salt. The file is written anew beside
    /// the old one and takes its place at once, so that at any instant one of both keys opens it.
    ///
    /// A store in memory has no key; nothing happens.
    ///
    /// # Errors
    /// What the disk says; the former key remains. [`StoreError::Closed`], now and from now on, if
    /// the new file took the old one's place and then could not be opened: it has the new key.
    pub fn change_key(&mut self, key: &StoreKey) -> Result<(), StoreError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        self.writes.count()?;
        let renewed = file.renew(&self.connection, key)?;
        // The former connection must not touch the journal, whose name both have.
        self.connection = file::in_memory()?;
        match renewed.open() {
            Ok(connection) => {
                self.connection = connection;
                Ok(())
            }
            Err(_) => {
                self.writes.close();
                Err(StoreError::Closed)
            }
        }
    }

    /// Writes a copy of the whole store to a new file, encrypted with a key of its own.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a file already, [`StoreError::Full`] or
    /// [`StoreError::Io`] if the disk refuses; nothing is left at `to` then.
    pub fn export(&self, to: &Path, key: &StoreKey) -> Result<(), StoreError> {
        self.writes.check_open()?;
        file::copy(&self.connection, to, key).map(drop)
    }

    /// Brings the tables of a user of the agent up to date: runs those of `steps` that this store
    /// has not seen under this name, each once, in order, all or none. What a step once was must
    /// never change; new steps are added behind.
    ///
    /// Rows may leave copies behind in the file when they are removed or moved. What must not stands
    /// in its table behind a column `filler BLOB NOT NULL DEFAULT (zeroblob(4096))`, and in no index:
    /// then it fills pages of its own, which are overwritten.
    ///
    /// # Errors
    /// [`StoreError::NewerVersion`] if the store has seen more steps than there are, and what the
    /// disk says.
    pub fn migrate(
        &mut self,
        namespace: &'static str,
        steps: &'static [&'static str],
    ) -> Result<(), StoreError> {
        self.transaction(|transaction| schema::migrate(transaction, namespace, steps))
    }

    /// Does `work` as a whole or, if it fails or panics, not at all. When this returns `Ok`, the
    /// changes are on the disk.
    ///
    /// If a write failed and `work` returns `Ok` in spite of it, nothing is done either, and the
    /// write's error is returned.
    ///
    /// # Errors
    /// That of `work`, and what the disk says.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = Transaction::begin(&self.connection, &self.writes)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Writes the whole file anew: what was removed leaves no trace, and free room goes back to the
    /// disk. It takes as long as reading and writing all of it, and as much room once more.
    ///
    /// # Errors
    /// What the disk says; nothing is changed then.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.writes.count()?;
        Ok(self.connection.execute_batch("VACUUM")?)
    }

    /// For tests: the `writes`th write from now on and all later ones fail with
    /// [`StoreError::Crashed`], and their transactions are undone, as if the program had ended
    /// there. A commit of changes counts as a write. `None` ends that.
    #[doc(hidden)]
    pub fn crash_after_writes(&mut self, writes: Option<u64>) {
        self.writes.crash_after(writes);
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
