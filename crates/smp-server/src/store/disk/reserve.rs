//! Room on the disk that is kept for deletions, so that a full disk can be emptied again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

/// Bytes kept. Deletions need what the log has not yet brought to the tables.
const SIZE: u64 = 16 * 1024 * 1024;

/// The kept room: a file of that length.
pub(super) struct Reserve {
    file: File,
    given_up: AtomicBool,
}

impl Reserve {
    /// Keeps room in this file. A disk that has none to keep is used without.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        let reserve = Self {
            file,
            given_up: AtomicBool::new(false),
        };
        if let Err(error) = reserve.keep() {
            reserve.file.set_len(0)?;
            tracing::warn!("no room on the disk is kept for deletions: {error}");
        }
        Ok(reserve)
    }

    /// Whether the room is given up, and nothing may be added until it is kept again.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Gives the room to a deletion.
    pub(super) fn give_up(&self) -> io::Result<()> {
        self.given_up.store(true, Ordering::Relaxed);
        self.file.set_len(0)
    }

    /// Keeps the room again, if there is any.
    pub(super) fn regain(&self) {
        if self.keep().is_ok() {
            self.given_up.store(false, Ordering::Relaxed);
        } else {
            // What could be had of it is not to be missed elsewhere; the next try will tell.
            let _ = self.file.set_len(0);
        }
    }

    fn keep(&self) -> io::Result<()> {
        Ok(fallocate(&self.file, FallocateFlags::empty(), 0, SIZE)?)
    }
}
