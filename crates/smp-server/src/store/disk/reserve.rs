//! Room on the disk that is kept for deletions, so that a full disk can be emptied again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::Rng;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

/// Bytes kept: deletions need as much as the log has not yet brought to the tables. Less is kept
/// where there is not so much, down to the least.
const SIZE: u64 = 16 * 1024 * 1024;

/// The least that is kept.
const LEAST: u64 = 1024 * 1024;

/// Bytes of one write to a file system that can't keep room otherwise.
const PIECE: usize = 64 * 1024;

/// Between two attempts to write the room, where a file system says that it has more than it gives.
const PAUSE: Duration = Duration::from_secs(60);

/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK: u64 = 512;

/// The kept room: a file of that length.
pub(super) struct Reserve<F = Linux> {
    file: File,
    system: F,
    kept: AtomicU64,
    given_up: AtomicBool,
    /// When the room may be written again.
    next: Mutex<Option<Instant>>,
}

/// What a file system does to keep room for a file.
pub(super) trait FileSystem {
    /// Gives the file room up to this length. `None` if the file system has no means to do so.
    fn allocate(&self, file: &File, length: u64) -> Option<io::Result<()>>;

    /// Bytes that a file may have yet.
    fn free(&self, file: &File) -> io::Result<u64>;

    /// Writes something that can't be made smaller to the file.
    fn write(&self, file: &File, from: u64, to: u64) -> io::Result<()>;
}

/// The real one.
pub(super) struct Linux;

impl Reserve {
    /// Keeps room in this file. A disk that has none to keep is used without.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::on(Linux, path)
    }
}

impl<F: FileSystem> Reserve<F> {
    fn on(system: F, path: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        let found = file.metadata()?;
        // A file that was copied here may be nothing but a hole.
        let there = found.len().min(found.blocks() * BLOCK);
        let reserve = Self {
            kept: AtomicU64::new(there),
            file,
            system,
            given_up: AtomicBool::new(false),
            next: Mutex::new(None),
        };
        reserve.regain();
        if !reserve.is_there() {
            tracing::warn!(
                "no room on the disk is kept for deletions: if it gets full, recipients may be \
                 unable to take messages until you make room"
            );
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
        // Not in the midst of what makes it.
        let _alone = self.next.lock();
        self.given_up.store(true, Ordering::Relaxed);
        self.kept.store(0, Ordering::Relaxed);
        self.file.set_len(0)
    }

    /// Keeps as much as there is, if it is more than before.
    pub(super) fn regain(&self) {
        // Whoever has the lock is at it.
        let Some(mut next) = self.next.try_lock() else {
            return;
        };
        if next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        *next = None;
        let kept = self.kept.load(Ordering::Relaxed);
        let mut size = SIZE;
        while size > kept && size >= LEAST {
            match self.keep(kept, size, &mut next) {
                Ok(()) => {
                    *next = None;
                    self.kept.store(size, Ordering::Relaxed);
                    self.given_up.store(false, Ordering::Relaxed);
                    return;
                }
                Err(error) if is_full(&error) => {}
                Err(error) => return self.do_without(&error),
            }
            // A part of it may have been had. Should this fail, more is kept than is known.
            let _ = self.file.set_len(kept);
            size /= 2;
        }
    }

    /// Has the room allocated, or writes it where that can't be done. Writing takes time and room
    /// that others want, so it is not tried in vain again and again: `next` is when it may be.
    fn keep(&self, kept: u64, size: u64, next: &mut Option<Instant>) -> io::Result<()> {
        if let Some(allocated) = self.system.allocate(&self.file, size) {
            return allocated;
        }
        if self.system.free(&self.file)? < size - kept {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.system.write(&self.file, kept, size);
        if written.is_err() {
            *next = Some(Instant::now() + PAUSE);
        }
        written
    }

    /// The file system keeps no room in any way. Additions must not wait for it.
    fn do_without(&self, error: &io::Error) {
        let _ = self.file.set_len(0);
        self.kept.store(0, Ordering::Relaxed);
        if self.given_up.swap(false, Ordering::Relaxed) {
            tracing::warn!("room for deletions can't be kept on this disk any more: {error}");
        }
    }
}

impl FileSystem for Linux {
    fn allocate(&self, file: &File, length: u64) -> Option<io::Result<()>> {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => None,
            allocated => Some(allocated.map_err(io::Error::from)),
        }
    }

    fn free(&self, file: &File) -> io::Result<u64> {
        let system = fstatvfs(file)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn write(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let mut noise = vec![0; PIECE];
        let mut at = from;
        while at < to {
            // File systems that compress keep no room for what is all alike.
            crate::relay::random().fill_bytes(&mut noise);
            let length = noise.len().min((to - at) as usize);
            file.write_all_at(&noise[..length], at)?;
            at += length as u64;
        }
        file.sync_data()
    }
}

/// Whether it is only that there is no room now.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system on which nothing can be allocated ahead.
    #[derive(Default)]
    struct Old {
        free: AtomicU64,
        /// The error of writing at all.
        broken: Option<Errno>,
        writes: AtomicU64,
    }

    impl FileSystem for Old {
        fn allocate(&self, _: &File, _: u64) -> Option<io::Result<()>> {
            None
        }

        fn free(&self, _: &File) -> io::Result<u64> {
            Ok(self.free.load(Ordering::Relaxed))
        }

        fn write(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            if let Some(error) = self.broken {
                return Err(error.into());
            }
            Linux.write(file, from, to)
        }
    }

    fn on(system: Old, path: &Path) -> Reserve<Old> {
        Reserve::on(system, path).unwrap()
    }

    fn with(free: u64) -> Old {
        Old {
            free: free.into(),
            ..Old::default()
        }
    }

    fn length(path: &Path) -> u64 {
        path.metadata().unwrap().len()
    }

    #[test]
    fn where_nothing_can_be_allocated_the_room_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reserve = on(with(100 * SIZE), file.path());
        assert!(reserve.is_there());
        assert_eq!(length(file.path()), SIZE);
        let there = file.path().metadata().unwrap().blocks() * BLOCK;
        assert!(there >= SIZE, "it is a hole: {there}");
        // Once.
        reserve.regain();
        assert_eq!(reserve.system.writes.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn additions_go_on_when_space_comes_back_where_nothing_can_be_allocated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reserve = on(with(100 * SIZE), file.path());
        reserve.system.free.store(0, Ordering::Relaxed);
        reserve.give_up().unwrap();
        assert_eq!(length(file.path()), 0);
        reserve.regain();
        assert!(reserve.is_given_up());
        reserve.system.free.store(LEAST, Ordering::Relaxed);
        reserve.regain();
        assert!(!reserve.is_given_up());
        assert_eq!(length(file.path()), LEAST);
        reserve.system.free.store(SIZE, Ordering::Relaxed);
        reserve.regain();
        assert_eq!(length(file.path()), SIZE);
    }

    #[test]
    fn a_file_of_holes_keeps_nothing_and_is_filled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE).unwrap();
        let reserve = on(with(0), file.path());
        assert!(!reserve.is_there());
        reserve.give_up().unwrap();
        assert!(!reserve.is_given_up());
        reserve.system.free.store(SIZE, Ordering::Relaxed);
        reserve.regain();
        assert!(reserve.is_there());
    }

    #[test]
    fn a_file_system_that_keeps_no_room_at_all_is_used_without() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // As another file system left it.
        std::fs::write(file.path(), vec![7; SIZE as usize]).unwrap();
        let system = Old {
            broken: Some(Errno::IO),
            ..with(100 * SIZE)
        };
        let reserve = on(system, file.path());
        assert!(reserve.is_there());
        reserve.give_up().unwrap();
        assert!(reserve.is_given_up());
        reserve.regain();
        assert!(!reserve.is_given_up(), "additions are refused for ever");
        assert!(!reserve.is_there());
    }

    #[test]
    fn writing_in_vain_is_not_tried_at_once_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // It says that there is room, and a quota says that there is none.
        let system = Old {
            broken: Some(Errno::DQUOT),
            ..with(100 * SIZE)
        };
        let reserve = on(system, file.path());
        // 16, 8, 4, 2 and 1 MB.
        assert_eq!(reserve.system.writes.load(Ordering::Relaxed), 5);
        for _ in 0..100 {
            reserve.regain();
        }
        assert_eq!(reserve.system.writes.load(Ordering::Relaxed), 5);
    }
}
