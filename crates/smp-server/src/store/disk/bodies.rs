//! The bodies of messages: slots of one size in one file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};
use smp_protocol::MessageId;

/// Bytes of a slot: the longest body of any version, and its head.
const SLOT: usize = 16_384;

/// A message's id and its body's length stand before the body.
const HEAD: usize = 24 + 2;

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
    /// To be used again.
    free: Vec<Slot>,
    /// To be used again once the deletion of what was in them is on the disk: until then a loss of
    /// power may bring their messages back.
    released: Vec<Slot>,
    /// The first that was never used.
    end: u32,
}

impl Bodies {
    /// Opens the file, in which `used` slots have bodies.
    pub(super) fn open(path: &Path, used: &[Slot]) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let length = file.metadata()?.len().div_ceil(SLOT as u64);
        let last = used.iter().max().map_or(0, |slot| slot.0 + 1);
        let end = u32::try_from(length).map_err(io::Error::other)?.max(last);
        let used: BTreeSet<Slot> = used.iter().copied().collect();
        let free = (0..end)
            .rev()
            .map(Slot)
            .filter(|slot| !used.contains(slot))
            .collect();
        let slots = Mutex::new(Slots {
            free,
            released: Vec::new(),
            end,
        });
        Ok(Self { file, slots })
    }

    /// Writes a body to a free slot, all of it, so that nothing of a former one is left behind.
    pub(super) fn write(&self, id: &MessageId, body: &[u8]) -> io::Result<Slot> {
        let mut bytes = Vec::with_capacity(SLOT);
        bytes.extend_from_slice(id.as_bytes());
        let length = u16::try_from(body.len())
            .ok()
            .filter(|_| body.len() + HEAD <= SLOT);
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes.resize(SLOT, 0);
        let slot = self.slots.lock().take();
        match self.file.write_all_at(&bytes, slot.offset()) {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.give_back(Some(slot));
                Err(error)
            }
        }
    }

    /// The body in a slot, if it is that message's still.
    pub(super) fn read(&self, slot: Slot, id: &MessageId) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; SLOT];
        match self.file.read_exact_at(&mut bytes, slot.offset()) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = usize::from(u16::from_be_bytes([bytes[24], bytes[25]]));
        if bytes[..24] != id.as_bytes()[..] || length > SLOT - HEAD {
            return Ok(None);
        }
        bytes.truncate(HEAD + length);
        bytes.drain(..HEAD);
        Ok(Some(bytes))
    }

    /// Takes back a slot to which no row points.
    pub(super) fn give_back(&self, slot: Option<Slot>) {
        self.slots.lock().free.extend(slot);
    }

    /// Takes back slots whose rows are deleted; they are free after the next synchronisation.
    pub(super) fn release(&self, slots: impl Iterator<Item = Slot>) {
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
        let mut free = std::mem::take(&mut self.slots.lock().free);
        free.sort_unstable();
        let punched = runs(&free).try_for_each(|(first, count)| {
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
        });
        let mut slots = self.slots.lock();
        while slots.end > 0 && free.last() == Some(&Slot(slots.end - 1)) {
            free.pop();
            slots.end -= 1;
        }
        free.reverse();
        slots.free.append(&mut free);
        let length = Slot(slots.end).offset();
        if self.file.metadata()?.len() > length {
            self.file.set_len(length)?;
        }
        punched?;
        self.file.sync_data()
    }

    /// For file systems without holes.
    fn overwrite(&self, offset: u64, count: u64) -> io::Result<()> {
        let zeros = [0; SLOT];
        (0..count).try_for_each(|slot| self.file.write_all_at(&zeros, offset + slot * SLOT as u64))
    }
}

impl Slots {
    fn take(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            self.end += 1;
            Slot(self.end - 1)
        })
    }
}

/// Neighbours among sorted slots: the first, and how many.
fn runs(slots: &[Slot]) -> impl Iterator<Item = (Slot, u64)> + '_ {
    slots
        .chunk_by(|one, next| one.0 + 1 == next.0)
        .map(|run| (run[0], run.len() as u64))
}
