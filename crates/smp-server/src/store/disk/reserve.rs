//! Room on the disk that is kept for deletions, so that a full disk can be emptied again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};

/// Bytes kept: deletions need as much as the log has not yet brought to the tables. Less is kept
/// where there is not so much, down to the least.
const SIZE: u64 = 16 * 1024 * 1024;

/// The least that is kept.
const LEAST: u64 = 1024 * 1024;

/// The kept room: a file of that length.
pub(super) struct Reserve {
    file: File,
    kept: AtomicU64,
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
            kept: AtomicU64::new(file.metadata()?.len()),
            file,
            given_up: AtomicBool::new(false),
        };
        reserve.regain();
        if !reserve.is_there() {
            tracing::warn!("no room on the disk is kept for deletions");
        }
        Ok(reserve)
    }

    /// Whether there is something to give up.
    pub(super) fn is_there(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > 0
    }

    /// Whether the room is given up, and nothing may be added until some is kept again.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Gives the room to a deletion.
    pub(super) fn give_up(&self) -> io::Result<()> {
        if !self.is_there() {
            // Not every file system keeps room; that must not stop additions for ever.
            return Ok(());
        }
        self.given_up.store(true, Ordering::Relaxed);
        self.kept.store(0, Ordering::Relaxed);
        self.file.set_len(0)
    }

    /// Keeps as much as there is, if it is more than before.
    pub(super) fn regain(&self) {
        let kept = self.kept.load(Ordering::Relaxed);
        let mut size = SIZE;
        while size > kept && size >= LEAST {
            if fallocate(&self.file, FallocateFlags::empty(), 0, size).is_ok() {
                self.kept.store(size, Ordering::Relaxed);
                self.given_up.store(false, Ordering::Relaxed);
                return;
            }
            // A part of it may have been had. Should this fail, more is kept than is known.
            let _ = self.file.set_len(kept);
            size /= 2;
        }
    }
}
