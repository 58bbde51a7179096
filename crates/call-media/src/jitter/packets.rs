//! Packets by their unwrapped numbers: what belongs to the stream, and what waits in the buffer.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::JitterPacket;

/// Packets that the buffer holds at most: 8 s of 20 ms each, 1 s of 2.5 ms each.
pub const MAX_PACKETS: usize = 400;

/// A larger payload is refused: no audio packet of a call is half as large.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024;

/// A jump of the sequence number beyond this is another stream (RFC 3550 §A.1, `MAX_DROPOUT`).
const MAX_JUMP: i64 = 3_000;

/// So is a timestamp that is this far from the time of its arrival, in µs.
const MAX_OFF_US: i64 = 3_000_000;

/// How far the second packet of a new stream may be from the first: numbers, samples, µs.
const RESTART_NUMBERS: u16 = 25;
const RESTART_SAMPLES: u32 = 48_000;
const RESTART_US: i64 = 2_000_000;

/// A packet with its place in the stream.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Unwrapped sequence number.
    pub(super) seq: i64,
    /// Unwrapped timestamp, in samples.
    pub(super) timestamp: i64,
    pub(super) duration: i64,
    pub(super) has_fec: bool,
    pub(super) payload: Bytes,
}

impl Placed {
    /// The media time behind its last sample.
    pub(super) fn end(&self) -> i64 {
        self.timestamp + self.duration
    }
}

/// What [`Stream::place`] makes of a packet.
#[derive(Debug)]
pub(super) enum Placement {
    /// It belongs to the stream. `true`: one that was set aside before it waited in vain.
    InStream(Placed, bool),
    /// It does not fit, and waits for one that goes with it. `true`: an older one waited in vain.
    SetAside(bool),
    /// It and the one set aside, with its arrival in µs, begin a new stream.
    Restart((i64, Placed), Placed),
}

/// Gives each packet its unwrapped numbers, and notices when the sender has restarted.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Highest sequence number so far, and its timestamp.
    highest: Option<(i64, i64)>,
    suspect: Option<(i64, JitterPacket)>,
}

impl Stream {
    /// Places a packet that arrived at `arrival_us`; `base_us` is the least transit of late.
    pub(super) fn place(
        &mut self,
        arrival_us: i64,
        base_us: Option<i64>,
        packet: JitterPacket,
    ) -> Placement {
        let Some((seq, timestamp)) = self.unwrap(&packet, arrival_us, base_us) else {
            return self.suspect(arrival_us, packet);
        };
        let in_vain = self.suspect.take().is_some();
        if self.highest.is_none_or(|(highest, _)| seq > highest) {
            self.highest = Some((seq, timestamp));
        }
        Placement::InStream(placed(packet, seq, timestamp), in_vain)
    }

    /// The highest sequence number so far.
    pub(super) fn highest(&self) -> Option<i64> {
        self.highest.map(|(seq, _)| seq)
    }

    /// Unwrapped number and timestamp, if they fit the stream.
    fn unwrap(
        &self,
        packet: &JitterPacket,
        arrival_us: i64,
        base_us: Option<i64>,
    ) -> Option<(i64, i64)> {
        let Some((seq, timestamp)) = self.highest else {
            return Some((i64::from(packet.seq), i64::from(packet.timestamp)));
        };
        let seq_step = i64::from(packet.seq.wrapping_sub(seq as u16) as i16);
        let time_step = i64::from(packet.timestamp.wrapping_sub(timestamp as u32) as i32);
        let placed = (seq + seq_step, timestamp + time_step);
        let in_time = base_us.is_none_or(|base| {
            (arrival_us - super::buffer::media_us(placed.1) - base).abs() <= MAX_OFF_US
        });
        let fits = match seq_step {
            0 => time_step == 0,
            ..0 => seq_step >= -MAX_JUMP && time_step <= 0,
            1.. => seq_step <= MAX_JUMP && time_step >= 0 && in_time,
        };
        fits.then_some(placed)
    }

    fn suspect(&mut self, arrival_us: i64, packet: JitterPacket) -> Placement {
        let earlier = self.suspect.take();
        if let Some((at, first)) = &earlier {
            let seq_step = packet.seq.wrapping_sub(first.seq);
            let time_step = packet.timestamp.wrapping_sub(first.timestamp);
            if (1..=RESTART_NUMBERS).contains(&seq_step)
                && time_step <= RESTART_SAMPLES
                && arrival_us - at <= RESTART_US
            {
                let (seq, timestamp) = (i64::from(first.seq), i64::from(first.timestamp));
                let second = (seq + i64::from(seq_step), timestamp + i64::from(time_step));
                self.highest = Some(second);
                let first = (*at, placed(first.clone(), seq, timestamp));
                return Placement::Restart(first, placed(packet, second.0, second.1));
            }
        }
        self.suspect = Some((arrival_us, packet));
        Placement::SetAside(earlier.is_some())
    }
}

fn placed(packet: JitterPacket, seq: i64, timestamp: i64) -> Placed {
    Placed {
        seq,
        timestamp,
        duration: i64::from(packet.duration),
        has_fec: packet.has_fec,
        payload: packet.payload,
    }
}

/// The packets that wait, in order, at most [`MAX_PACKETS`].
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<i64, Placed>);

impl Waiting {
    pub(super) fn first(&self) -> Option<&Placed> {
        self.0.values().next()
    }

    pub(super) fn get(&self, seq: i64) -> Option<&Placed> {
        self.0.get(&seq)
    }

    pub(super) fn contains(&self, seq: i64) -> bool {
        self.0.contains_key(&seq)
    }

    pub(super) fn insert(&mut self, packet: Placed) {
        self.0.insert(packet.seq, packet);
    }

    pub(super) fn take(&mut self, seq: i64) -> Option<Placed> {
        self.0.remove(&seq)
    }

    pub(super) fn take_first(&mut self) -> Option<Placed> {
        self.0.pop_first().map(|(_, packet)| packet)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
