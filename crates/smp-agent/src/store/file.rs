//! The file of a store: made, found, locked, opened, copied.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use std::sync::{Mutex, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::key::{FileKey, SALT_SIZE};
use super::{StoreError, StoreKey};

/// The owner alone reads and writes it.
const MODE: u32 = 0o600;

/// What a file begins with that is a database without encryption.
const PLAIN_DATABASE: &[u8; SALT_SIZE] = b"SQLite format 3\0";

/// Length of the shortest file, one page.
const PAGE: u64 = 4096;

/// So many statements stay prepared; there are fewer.
const STATEMENTS: usize = 128;

/// A journal that is truncated leaves nothing of former pages; DELETE would, since in exclusive mode
/// it only overwrites the journal's head.
const PRAGMAS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = TRUNCATE;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
";

/// The file of an open store.
pub(super) struct File {
    path: PathBuf,
    /// Held as long as the store is open. SQLite has its own lock beside it, which this program
    /// would lose by opening the file once more.
    lock: fs::File,
}

/// A file that is not connected yet.
pub(super) struct Closed<'a> {
    path: &'a Path,
    key: FileKey,
}

impl File {
    /// Makes an empty database. The file stays empty until the first commit.
    pub(super) fn create(path: &Path, key: &StoreKey) -> Result<(Self, Connection), StoreError> {
        let file = Self::new(path)?;
        let connected = FileKey::for_new_file(key).and_then(|key| {
            sync_folder(&file.path)?;
            connect(&file.path, Some(&key))
        });
        match connected {
            Ok(connection) => Ok((file, connection)),
            Err(error) => {
                file.remove();
                Err(error)
            }
        }
    }

    /// Removes a file that came to nothing.
    pub(super) fn remove(&self) {
        remove(&self.path);
    }

    /// An empty file, locked.
    fn new(path: &Path) -> Result<Self, StoreError> {
        let path = std::path::absolute(path)?;
        let mut options = fs::File::options();
        options.read(true).write(true).mode(MODE);
        let file = match options.create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == 0) {
                    return Err(StoreError::Exists);
                }
                options.create_new(false).open(&path)?
            }
            file => file?,
        };
        lock(&file, &path)?;
        if file.metadata()?.len() > 0 {
            return Err(StoreError::Exists);
        }
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        // A journal without its database is no one's.
        let _ = fs::remove_file(beside(&path, "-journal"));
        Ok(Self { path, lock: file })
    }

    /// Opens a database whose key this is.
    pub(super) fn open(path: &Path, key: &StoreKey) -> Result<(Self, Connection), StoreError> {
        // The file itself, so that a link to it finds the same journal.
        let path = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound);
            }
            path => path?,
        };
        if !fs::metadata(&path)?.is_file() {
            return Err(StoreError::NotAStore);
        }
        let mut file = fs::File::options().read(true).write(true).open(&path)?;
        lock(&file, &path)?;
        remove(&beside(&path, RENEWED));
        let salt = salt(&mut file, &path)?;
        let key = FileKey::derive(key, salt)?;
        let connection = connect(&path, Some(&key))?;
        match file.metadata()?.len() {
            // Its creation was cut short, and was undone now.
            0 => return Err(StoreError::Empty),
            // SQLite would find that out when it comes to the last page.
            length if length % PAGE != 0 => return Err(StoreError::damaged("the file")),
            _ => {}
        }
        take(&connection)?;
        Ok((Self { path, lock: file }, connection))
    }

    /// Puts a copy with another key in this file's place.
    pub(super) fn renew(
        &mut self,
        connection: &Connection,
        key: &StoreKey,
    ) -> Result<Closed<'_>, StoreError> {
        let path = beside(&self.path, RENEWED);
        remove(&path);
        let (renewed, key) = copy(connection, &path, key)?;
        if let Err(error) = fs::rename(&path, &self.path) {
            remove(&path);
            return Err(error.into());
        }
        self.lock = renewed.lock;
        // From here on the new key is the right one, whatever the folder's state.
        let _ = sync_folder(&self.path);
        Ok(Closed {
            path: &self.path,
            key,
        })
    }
}

impl Closed<'_> {
    pub(super) fn open(self) -> Result<Connection, StoreError> {
        let connection = connect(self.path, Some(&self.key))?;
        take(&connection)?;
        Ok(connection)
    }
}

/// What follows the path of a copy that is to take the file's place.
const RENEWED: &str = "-new";

/// A database in memory, without key.
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    initialise()?;
    prepared(Connection::open_in_memory()?, None)
}

/// Copies all of a database to a new file with another key.
pub(super) fn copy(
    connection: &Connection,
    to: &Path,
    key: &StoreKey,
) -> Result<(File, FileKey), StoreError> {
    let file = File::new(to)?;
    let copied = FileKey::for_new_file(key).and_then(|key| {
        copy_all(connection, &file.path, &key)?;
        // SQLite's file was closed, and this one sees to it that all is on the disk.
        file.lock.sync_all()?;
        sync_folder(&file.path)?;
        Ok(key)
    });
    match copied {
        Ok(key) => Ok((file, key)),
        Err(error) => {
            file.remove();
            Err(error)
        }
    }
}

fn copy_all(connection: &Connection, to: &Path, key: &FileKey) -> Result<(), StoreError> {
    // The key goes a way of its own, where it is not part of a statement.
    let path = ToSqlOutput::Borrowed(ValueRef::Text(to.as_os_str().as_bytes()));
    connection.execute("ATTACH ? AS copy KEY ''", [path])?;
    let copied = (|| {
        connection.key(Some("copy"), &key.spec()[..], false)?;
        connection.execute_batch("BEGIN; SELECT sqlcipher_export('copy'); COMMIT")
    })();
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    let detached = connection.execute_batch("DETACH copy");
    copied.map_err(not_copied)?;
    Ok(detached?)
}

/// What an error in copying means. SQLCipher's function gives the words of the error that it met,
/// and not its code.
fn not_copied(error: rusqlite::Error) -> StoreError {
    match &error {
        rusqlite::Error::SqliteFailure(_, Some(words)) if words == "database or disk is full" => {
            StoreError::Full
        }
        _ => error.into(),
    }
}

/// Opens a database and undoes what was left half done. `None` opens it without encryption.
pub(super) fn connect(path: &Path, key: Option<&FileKey>) -> Result<Connection, StoreError> {
    initialise()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = prepared(Connection::open_with_flags(path, flags)?, key)?;
    // Nothing was read by now; this finds out whether the key is right.
    let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    read.map_err(wrong_key)?;
    Ok(connection)
}

/// Lets the library begin its work before two threads make it begin at once: the one that comes
/// second would find some of its functions missing.
fn initialise() -> Result<(), StoreError> {
    static BEGUN: Mutex<bool> = Mutex::new(false);
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if !*begun {
        Connection::open_in_memory()?.execute_batch("PRAGMA cipher_log_level = NONE")?;
        *begun = true;
    }
    Ok(())
}

/// Takes SQLite's lock, which is kept from now on.
fn take(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?)
}

fn prepared(connection: Connection, key: Option<&FileKey>) -> Result<Connection, StoreError> {
    // SQLCipher would tell the standard error of each wrong key.
    connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
    if let Some(key) = key {
        connection.key(None::<&str>, &key.spec()[..], false)?;
    }
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(PRAGMAS).map_err(wrong_key)?;
    Ok(connection)
}

/// What an error in reading the first page means.
fn wrong_key(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::WrongKey,
        _ => error.into(),
    }
}

/// Takes the file for this program and this store, until `file` is closed.
fn lock(file: &fs::File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse),
        Err(fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    // Another program may have put a renewed file in its place meanwhile.
    let (locked, there) = (file.metadata()?, fs::metadata(path)?);
    if (locked.dev(), locked.ino()) == (there.dev(), there.ino()) {
        Ok(())
    } else {
        Err(StoreError::InUse)
    }
}

fn salt(file: &mut fs::File, path: &Path) -> Result<[u8; SALT_SIZE], StoreError> {
    let length = file.metadata()?.len();
    let has_journal = fs::metadata(beside(path, "-journal")).is_ok_and(|file| file.len() > 0);
    if length == 0 && !has_journal {
        return Err(StoreError::Empty);
    }
    if length < PAGE {
        return Err(StoreError::NotAStore);
    }
    let mut salt = [0; SALT_SIZE];
    file.rewind()?;
    file.read_exact(&mut salt)?;
    if &salt == PLAIN_DATABASE {
        return Err(StoreError::NotAStore);
    }
    Ok(salt)
}

/// Makes sure that a file's name outlives a loss of power.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::File::open(folder)?.sync_all()?)
}

/// Removes a database and its journal, as far as they are there.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(beside(path, "-journal"));
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
