//! The bodies of messages: slots of one size in one file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};
use smp_protocol::{ID_SIZE, MessageId};

/// Bytes of a slot: the longest body of any version, and its head.
const SLOT: usize = 16_384;

/// Free slots that are erased in one go, 16 MB: who waits for the thread of the store waits for so
/// much at most.
const ERASED_AT_ONCE: usize = 1024;

/// A message's id, its body's length and the CRC-32 of both and the body stand before the body.
const HEAD: usize = ID_SIZE + 2 + 4;

/// Where the checksum stands.
const CHECKSUM: usize = ID_SIZE + 2;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

impl Slot {
    fn offset(self) -> u64 {
        u64::from(self.0) * SLOT as u64
    }
}

/// All slots.
pub(super) struct Bodies {
    file: File,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    /// To be used again. What was in them may stand there still.
    free: Vec<Slot>,
    /// To be used again, with nothing in them.
    empty: Vec<Slot>,
    /// To be used again once the deletion of what was in them is on the disk.
    released: Vec<Slot>,
    /// The first that was never used.
    end: u32,
}

impl Bodies {
    /// Opens the file. [`Self::complete`] tells which slots have bodies.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let length = file.metadata()?.len().div_ceil(SLOT as u64);
        let end = u32::try_from(length).map_err(io::Error::other)?;
        let slots = Slots {
            end,
            ..Slots::default()
        };
        Ok(Self {
            file,
            slots: Mutex::new(slots),
        })
    }

    /// Whether no body was ever written.
    pub(super) fn is_new(&self) -> bool {
        self.slots.lock().end == 0
    }

    /// Whether the file has this slot.
    pub(super) fn has(&self, slot: Slot) -> bool {
        slot.0 < self.slots.lock().end
    }

    /// Finds the free slots, when all that are used are known. Says whether none is used twice.
    pub(super) fn complete(&self, mut used: Vec<Slot>) -> bool {
        used.sort_unstable();
        let mut slots = self.slots.lock();
        let mut next = used.iter().peekable();
        let is_free = |slot: &Slot| next.next_if_eq(&slot).is_none();
        let mut free: Vec<Slot> = (0..slots.end).map(Slot).filter(is_free).collect();
        // The first are taken first.
        free.reverse();
        slots.free = free;
        used.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// Writes a body to a free slot, all of it, so that nothing of a former one is left behind.
    pub(super) fn write(&self, id: &MessageId, body: &[u8]) -> io::Result<Slot> {
        let end = HEAD + body.len();
        if end > SLOT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = [0; SLOT];
        bytes[..ID_SIZE].copy_from_slice(id.as_bytes());
        bytes[ID_SIZE..CHECKSUM].copy_from_slice(&(body.len() as u16).to_be_bytes());
        bytes[HEAD..end].copy_from_slice(body);
        let checksum = checksum(&bytes[..end]);
        bytes[CHECKSUM..HEAD].copy_from_slice(&checksum.to_be_bytes());
        let slot = self.slots.lock().take();
        match self.file.write_all_at(&bytes, slot.offset()) {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.give_back(Some(slot));
                Err(error)
            }
        }
    }

    /// The body in a slot, if it is that message's still and whole.
    pub(super) fn read(&self, slot: Slot, id: &MessageId) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = [0; SLOT];
        match self.file.read_exact_at(&mut bytes, slot.offset()) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u16::from_be_bytes([bytes[ID_SIZE], bytes[ID_SIZE + 1]]);
        let end = HEAD + usize::from(length);
        if bytes[..ID_SIZE] != id.as_bytes()[..] || end > SLOT {
            return Ok(None);
        }
        let whole = bytes[CHECKSUM..HEAD] == checksum(&bytes[..end]).to_be_bytes();
        Ok(whole.then(|| bytes[HEAD..end].to_vec()))
    }

    /// Takes back a slot to which no row points.
    pub(super) fn give_back(&self, slot: Option<Slot>) {
        self.slots.lock().free.extend(slot);
    }

    /// Takes back slots whose rows are deleted.
    ///
    /// After a loss of power such a row may be back, and its slot may have another body. Where that
    /// must not cost the other message its place, the slot is free after the next synchronisation
    /// alone; else at once, so that the same few slots serve the messages that are soon taken.
    pub(super) fn release(&self, slots: impl Iterator<Item = Slot>, at_once: bool) {
        let mut all = self.slots.lock();
        if at_once {
            all.free.extend(slots);
        } else {
            all.released.extend(slots);
        }
    }

    /// Takes back what [`Self::take_released`] returned, after a synchronisation that failed.
    pub(super) fn release_again(&self, slots: Vec<Slot>) {
        self.slots.lock().released.extend(slots);
    }

    /// Begins a synchronisation: these slots' rows are deleted already.
    pub(super) fn take_released(&self) -> Vec<Slot> {
        std::mem::take(&mut self.slots.lock().released)
    }

    /// Writes to the disk what is in its cache.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Frees what [`Self::take_released`] returned, after the synchronisation.
    pub(super) fn free(&self, slots: Vec<Slot>) {
        self.slots.lock().free.extend(slots);
    }

    /// Makes free slots holes in the file, and the file shorter where it ends in them. Slots that
    /// are needed meanwhile are taken at the end.
    pub(super) fn compact(&self) -> io::Result<()> {
        let mut left = self.unerased();
        while left > 0 {
            self.erase_some(&mut left)?;
        }
        let mut slots = self.slots.lock();
        slots.empty.sort_unstable();
        while slots.end > 0 && slots.empty.last() == Some(&Slot(slots.end - 1)) {
            slots.empty.pop();
            slots.end -= 1;
        }
        // The first are taken first.
        slots.empty.reverse();
        let length = Slot(slots.end).offset();
        if self.file.metadata()?.len() > length {
            self.file.set_len(length)?;
        }
        drop(slots);
        self.file.sync_data()
    }

    /// Free slots in which something may stand.
    pub(super) fn unerased(&self) -> usize {
        self.slots.lock().free.len()
    }

    /// Makes some of `left` free slots holes in the file: so many that it is done soon. Those come
    /// first that are free for longest.
    pub(super) fn erase_some(&self, left: &mut usize) -> io::Result<()> {
        let mut slots = {
            let free = &mut self.slots.lock().free;
            let some = free.len().min(*left).min(ERASED_AT_ONCE);
            free.drain(..some).collect::<Vec<_>>()
        };
        // Others may have been used again meanwhile.
        *left = match slots.len() {
            ERASED_AT_ONCE => *left - ERASED_AT_ONCE,
            _ => 0,
        };
        slots.sort_unstable();
        let erased = runs(&slots).try_for_each(|(first, count)| self.erase(first, count));
        slots.reverse();
        let mut all = self.slots.lock();
        match erased {
            Ok(()) => all.empty.append(&mut slots),
            Err(_) => all.free.append(&mut slots),
        }
        erased
    }

    fn erase(&self, first: Slot, count: u64) -> io::Result<()> {
        let (offset, length) = (first.offset(), count * SLOT as u64);
        match fallocate(
            &self.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            length,
        ) {
            Err(rustix::io::Errno::OPNOTSUPP) => self.overwrite(offset, count),
            punched => Ok(punched?),
        }
    }

    /// For file systems without holes.
    fn overwrite(&self, offset: u64, count: u64) -> io::Result<()> {
        let zeros = [0; SLOT];
        (0..count).try_for_each(|slot| self.file.write_all_at(&zeros, offset + slot * SLOT as u64))
    }
}

impl Slots {
    fn take(&mut self) -> Slot {
        let next = || {
            self.end += 1;
            Slot(self.end - 1)
        };
        // The first needs no room that is not had already.
        self.free
            .pop()
            .or_else(|| self.empty.pop())
            .unwrap_or_else(next)
    }
}

/// Of a slot's bytes up to the body's end, without the checksum's own place.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CHECKSUM]);
    hasher.update(&bytes[HEAD..]);
    hasher.finalize()
}

/// Neighbours among sorted slots: the first, and how many.
fn runs(slots: &[Slot]) -> impl Iterator<Item = (Slot, u64)> + '_ {
    slots
        .chunk_by(|one, next| one.0 + 1 == next.0)
        .map(|run| (run[0], run.len() as u64))
}
