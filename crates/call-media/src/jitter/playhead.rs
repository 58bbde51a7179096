//! Where playing stands in the stream.

use super::packets::Placed;

/// The step of Opus, in samples: a smaller gap between two packets is none.
pub(super) const MIN_GAP: i64 = 120;

/// After this many outputs without a packet, a gap is as good as a pause for setting the delay.
const LONG_WAIT: u32 = 10;

/// Where playing stands.
#[derive(Debug)]
pub(super) struct Playhead {
    /// Number of the next packet to be played.
    pub(super) next_seq: i64,
    /// Bit `i`: whether the packet `next_seq - 1 - i` has arrived.
    history: u128,
    /// Media time behind the last packet that was played or given up.
    pub(super) end: i64,
    /// Media time of the next output: `end`, and what was concealed in waiting since.
    pub(super) position: i64,
    /// Outputs concealed in waiting, not knowing yet for what.
    pub(super) held: u32,
}

/// The heart of a packet that is about to be played.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) seq: i64,
    pub(super) timestamp: i64,
    pub(super) duration: i64,
    pub(super) has_fec: bool,
}

impl Playhead {
    pub(super) fn at(first: First) -> Self {
        Self {
            next_seq: first.seq,
            history: 0,
            end: first.timestamp,
            position: first.timestamp,
            held: 0,
        }
    }

    /// Moves behind packet `seq`, which is there or not; returns how many are lost by that.
    pub(super) fn pass(&mut self, seq: i64, arrived: bool) -> u64 {
        let Ok(step @ 1..) = u32::try_from(seq + 1 - self.next_seq) else {
            return 0;
        };
        self.history = self.history.checked_shl(step).unwrap_or(0) | u128::from(arrived);
        self.next_seq = seq + 1;
        u64::from(step) - u64::from(arrived)
    }

    /// Whether a packet whose turn is over comes for the first time, as far as is remembered.
    pub(super) fn is_first_arrival(&mut self, seq: i64) -> bool {
        let bit = u32::try_from(self.next_seq - 1 - seq)
            .ok()
            .and_then(|age| 1_u128.checked_shl(age));
        let Some(bit) = bit else {
            return true;
        };
        let first = self.history & bit == 0;
        self.history |= bit;
        first
    }

    /// Whether the sender paused before `first`, or the network did for long: then there is no
    /// rhythm to be kept, and the delay can be set anew.
    pub(super) fn has_paused_before(&self, first: First) -> bool {
        let gap = first.timestamp - self.end >= MIN_GAP;
        gap && (first.seq == self.next_seq || self.held >= LONG_WAIT)
    }
}

impl First {
    pub(super) fn of(packet: &Placed) -> Self {
        Self {
            seq: packet.seq,
            timestamp: packet.timestamp,
            duration: packet.duration,
            has_fec: packet.has_fec,
        }
    }
}
