//! From RTP packets back to frames.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{PayloadDescriptor, VIDEO_CLOCK_RATE};

/// Packets and bytes that are held at most: ten large key frames of 720p. A frame that does not
/// fit is given up.
const MAX_PACKETS: usize = 1024;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A step back of the sequence number beyond this is another stream (RFC 3550 §A.1).
const MAX_STEP_BACK: i64 = 3_000;

/// Settings of a [`FrameAssembler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssemblerConfig {
    /// How long to wait for a missing packet: a retransmission takes a round trip. Frames behind
    /// it wait too.
    pub max_wait: Duration,
    /// How long to leave between two [`Assembled::KeyFrameNeeded`].
    pub key_frame_interval: Duration,
}

impl Default for AssemblerConfig {
    /// 200 ms for a retransmission, a key frame asked for twice a second at most.
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(200),
            key_frame_interval: Duration::from_millis(500),
        }
    }
}

/// What comes out of a [`FrameAssembler`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Assembled {
    /// A whole frame, in the order of the sender.
    Frame(AssembledFrame),
    /// Frames cannot be decoded until the next key frame: ask the sender for one (RFC 4585 PLI).
    /// Comes again, as long as packets do, until [`FrameAssembler::key_frame_seen`].
    KeyFrameNeeded,
}

/// A frame as its sender cut it into packets, its bytes untouched: encrypted if they were.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssembledFrame {
    /// RTP timestamp, in ticks of [`VIDEO_CLOCK_RATE`].
    pub rtp_timestamp: u32,
    /// Presentation time since the first frame of the stream.
    pub timestamp: Duration,
    /// The sender's running number of the frame, if it has one.
    pub picture_id: Option<u16>,
    /// Whether no frame is missing since the last key frame. If not, only a key frame can be
    /// decoded, and the caller, who can tell, says so by [`FrameAssembler::key_frame_seen`].
    pub continuous: bool,
    /// The payloads without their descriptors.
    pub data: Bytes,
}

/// Counts since the beginning; all only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssemblerStats {
    /// Packets that arrived, of whatever fate.
    pub received: u64,
    /// Packets that arrived a second time.
    pub duplicate: u64,
    /// Packets that arrived after their frame had been given up.
    pub late: u64,
    /// Packets with a payload descriptor that is cut off.
    pub malformed: u64,
    /// Packets that never came in time.
    pub lost: u64,
    /// Whole frames given out.
    pub frames: u64,
    /// Times that playing had to go on behind a gap.
    pub gaps: u64,
}

/// Puts the packets of one RTP stream of VP8 (RFC 7741) back together to frames.
///
/// It reads the payload descriptor, sequence number, timestamp and marker, and never the frame
/// itself, which may be encrypted. [`insert`](Self::insert) each packet, padding too, then
/// [`poll`](Self::poll) until it answers `None`, and again as soon as the time of
/// [`poll_timeout`](Self::poll_timeout) is there.
///
/// Only the caller can tell what a frame is, once it is decrypted: it says so by
/// [`key_frame_seen`](Self::key_frame_seen) or [`frame_lost`](Self::frame_lost). To leave time for
/// that, `poll` answers `None` behind each frame that is not
/// [`continuous`](AssembledFrame::continuous), even if more are there; then the timeout is due at
/// once.
#[derive(Debug)]
pub struct FrameAssembler {
    config: AssemblerConfig,
    packets: BTreeMap<i64, Packet>,
    bytes: usize,
    /// Number of the packet behind the last frame; `None` before the first packet.
    next_seq: Option<i64>,
    /// Highest number so far, and its timestamp.
    highest: (i64, u32),
    /// A number that does not fit: if the one behind it comes next, the sender has restarted.
    suspect: Option<u16>,
    clock: Clock,
    /// Nothing has come out yet: earlier packets may still come.
    begun: bool,
    continuous: bool,
    /// Frames since the beginning or a gap, none of them known to be a key frame.
    undecodable: bool,
    /// A frame came out of which only the caller knows whether it is a key frame.
    verdict_due: bool,
    asked_at: Option<Instant>,
    arrived_since_asking: bool,
    stats: AssemblerStats,
}

#[derive(Debug)]
struct Packet {
    arrived: Instant,
    rtp_timestamp: u32,
    marker: bool,
    begins_frame: bool,
    picture_id: Option<u16>,
    /// Without descriptor; empty if the packet is padding only.
    data: Bytes,
}

impl FrameAssembler {
    /// An assembler at the beginning of a stream.
    pub fn new(config: AssemblerConfig) -> Self {
        Self {
            config,
            packets: BTreeMap::new(),
            bytes: 0,
            next_seq: None,
            highest: (0, 0),
            suspect: None,
            clock: Clock::default(),
            begun: false,
            continuous: false,
            undecodable: false,
            verdict_due: false,
            asked_at: None,
            arrived_since_asking: true,
            stats: AssemblerStats::default(),
        }
    }

    /// Takes an RTP packet that arrived at `now`. An empty payload is padding (as senders use to
    /// probe for bandwidth). A packet that is late, double or malformed is counted and dropped.
    pub fn insert(
        &mut self,
        now: Instant,
        seq: u16,
        rtp_timestamp: u32,
        marker: bool,
        payload: &Bytes,
    ) {
        self.stats.received += 1;
        let mut packet = Packet {
            arrived: now,
            rtp_timestamp,
            marker,
            begins_frame: false,
            picture_id: None,
            data: Bytes::new(),
        };
        if !payload.is_empty() {
            let Ok((descriptor, data)) = PayloadDescriptor::parse(payload) else {
                self.stats.malformed += 1;
                return;
            };
            packet.begins_frame = descriptor.begins_frame();
            packet.picture_id = descriptor.picture_id;
            packet.data = payload.slice(payload.len() - data.len()..);
        }
        self.arrived_since_asking = true;
        if let Some(seq) = self.unwrap(seq, rtp_timestamp) {
            self.store(seq, packet);
        }
    }

    /// The next output, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Assembled> {
        if std::mem::take(&mut self.verdict_due) {
            return None;
        }
        while let Head::Blocked { since, missing } = self.head()
            && now.saturating_duration_since(since) >= self.config.max_wait
        {
            self.skip_gap(missing);
        }
        if self.asks_for_key_frame(now) {
            return Some(Assembled::KeyFrameNeeded);
        }
        match self.head() {
            Head::Frame { first, last } => self.take_frame(first, last).map(Assembled::Frame),
            _ => None,
        }
    }

    /// When to poll again although nothing has arrived; `None` if only an arrival can help.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.head() {
            Head::Blocked { since, .. } => since.checked_add(self.config.max_wait),
            Head::Frame { last, .. } => self.packets.get(&last).map(|packet| packet.arrived),
            Head::Empty => None,
        }
    }

    /// The frame that came out last is a key frame: decoding starts anew with it.
    pub fn key_frame_seen(&mut self) {
        self.continuous = true;
        self.undecodable = false;
        self.verdict_due = false;
        self.asked_at = None;
    }

    /// A frame that came out is of no use, because it did not decrypt or decode: it counts as lost,
    /// and a key frame is needed.
    pub fn frame_lost(&mut self) {
        self.continuous = false;
        self.undecodable = true;
    }

    /// Counts since the beginning.
    pub fn stats(&self) -> AssemblerStats {
        self.stats
    }

    /// Begins anew with the next packet, for a stream from another source. Counts stay.
    pub fn reset(&mut self) {
        *self = Self {
            stats: self.stats,
            ..Self::new(self.config)
        };
    }

    /// The number of a packet, unwrapped; `None` if it is out of the stream, and set aside.
    fn unwrap(&mut self, seq: u16, rtp_timestamp: u32) -> Option<i64> {
        if self.next_seq.is_none() {
            self.next_seq = Some(i64::from(seq));
            self.highest = (i64::from(seq), rtp_timestamp);
        }
        let (highest, highest_time) = self.highest;
        let step = i64::from(seq.wrapping_sub(highest as u16) as i16);
        let is_older = rtp_timestamp.wrapping_sub(highest_time) as i32 <= 0;
        if step >= 0 || (step >= -MAX_STEP_BACK && is_older) {
            self.suspect = None;
            if step > 0 {
                self.highest = (highest + step, rtp_timestamp);
            }
            return Some(highest + step);
        }
        if self.suspect.replace(seq) == Some(seq.wrapping_sub(1)) {
            self.reset();
            self.undecodable = true;
            return self.unwrap(seq, rtp_timestamp);
        }
        self.stats.late += 1;
        None
    }

    fn store(&mut self, seq: i64, packet: Packet) {
        let next = *self.next_seq.get_or_insert(seq);
        if seq < next {
            if self.begun {
                self.stats.late += 1;
                return;
            }
            self.next_seq = Some(seq);
        }
        if self.packets.contains_key(&seq) {
            self.stats.duplicate += 1;
            return;
        }
        self.bytes += packet.data.len();
        self.packets.insert(seq, packet);
        self.bound();
    }

    /// Keeps within the limits: what is furthest behind goes first.
    fn bound(&mut self) {
        while self.is_over_limits() {
            let Some((&first, _)) = self.packets.first_key_value() else {
                return;
            };
            if self.next_seq < Some(first) {
                self.stats.lost += self.next_seq.map_or(0, |next| first.abs_diff(next));
                self.go_on_behind_gap(first);
            } else if let Some(packet) = self.packets.remove(&first) {
                self.bytes -= packet.data.len();
                self.go_on_behind_gap(first + 1);
            }
        }
    }

    fn is_over_limits(&self) -> bool {
        let span = self.next_seq.map_or(0, |next| self.highest.0 - next);
        self.packets.len() > MAX_PACKETS
            || self.bytes > MAX_BYTES
            || (span >= MAX_PACKETS as i64 && !self.packets.is_empty())
    }

    /// What stands at the head of the queue.
    fn head(&self) -> Head {
        let Some(next) = self.next_seq else {
            return Head::Empty;
        };
        let mut first: Option<(i64, &Packet)> = None;
        for (expected, (&seq, packet)) in (next..).zip(&self.packets) {
            if seq != expected {
                return self.blocked_at(expected);
            }
            match first {
                None if packet.begins_frame => first = Some((seq, packet)),
                // Padding between two frames.
                None if packet.data.is_empty() => continue,
                // The middle of a frame whose beginning never came.
                None => return self.blocked_at(seq),
                Some((first, begin)) if begin.rtp_timestamp != packet.rtp_timestamp => {
                    // Its end has no marker, yet here begins the next one.
                    let last = seq - 1;
                    return Head::Frame { first, last };
                }
                Some(_) => {}
            }
            if let (Some((first, _)), true) = (first, packet.marker) {
                return Head::Frame { first, last: seq };
            }
        }
        Head::Empty
    }

    /// The packet `missing` keeps the others waiting, since the first of them came.
    fn blocked_at(&self, missing: i64) -> Head {
        let behind = self.packets.range(missing..).map(|(_, p)| p.arrived).min();
        match behind {
            Some(since) => Head::Blocked { since, missing },
            None => Head::Empty,
        }
    }

    fn take_frame(&mut self, first: i64, last: i64) -> Option<AssembledFrame> {
        let begin = self.packets.get(&first)?;
        let (rtp_timestamp, picture_id) = (begin.rtp_timestamp, begin.picture_id);
        let rest = self.packets.split_off(&(last + 1));
        let taken = std::mem::replace(&mut self.packets, rest);
        let pieces: Vec<Bytes> = taken.into_values().map(|packet| packet.data).collect();
        let size = pieces.iter().map(Bytes::len).sum();
        self.bytes -= size;
        self.next_seq = Some(last + 1);
        self.begun = true;
        self.stats.frames += 1;
        // Undecodable unless the caller says that it is a key frame.
        self.undecodable |= !self.continuous;
        self.verdict_due = !self.continuous;
        Some(AssembledFrame {
            rtp_timestamp,
            timestamp: self.clock.time(rtp_timestamp),
            picture_id,
            continuous: self.continuous,
            data: join(pieces, size),
        })
    }

    /// Gives up what is missing, and goes on with the next frame that begins behind it.
    fn skip_gap(&mut self, missing: i64) {
        let next = self
            .packets
            .range(missing + 1..)
            .find(|(_, packet)| packet.begins_frame)
            .map_or(self.highest.0 + 1, |(&seq, _)| seq);
        let rest = self.packets.split_off(&next);
        let dropped = std::mem::replace(&mut self.packets, rest);
        self.bytes -= dropped
            .values()
            .map(|packet| packet.data.len())
            .sum::<usize>();
        let begin = self.next_seq.unwrap_or(next);
        let absent = u64::try_from(next - begin).unwrap_or(0);
        self.stats.lost += absent.saturating_sub(dropped.len() as u64);
        self.go_on_behind_gap(next);
    }

    fn go_on_behind_gap(&mut self, next: i64) {
        self.stats.gaps += 1;
        self.next_seq = Some(next);
        self.begun = true;
        self.continuous = false;
        self.undecodable = true;
    }

    /// Whether to ask for a key frame now; if so, that is noted.
    fn asks_for_key_frame(&mut self, now: Instant) -> bool {
        let asked_lately = self
            .asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < self.config.key_frame_interval);
        let asks = self.undecodable && !asked_lately && self.arrived_since_asking;
        if asks {
            self.asked_at = Some(now);
            self.arrived_since_asking = false;
        }
        asks
    }
}

/// What stands at the head of the queue.
enum Head {
    /// Nothing, or the beginning of a frame that is still coming.
    Empty,
    /// A whole frame.
    Frame { first: i64, last: i64 },
    /// Others wait for a packet that is missing, or whose frame cannot be completed.
    Blocked { since: Instant, missing: i64 },
}

/// Joins the pieces of a frame; a single one is not copied.
fn join(mut pieces: Vec<Bytes>, size: usize) -> Bytes {
    pieces.retain(|piece| !piece.is_empty());
    if let [_] = pieces.as_slice() {
        return pieces.pop().unwrap_or_default();
    }
    let mut data = BytesMut::with_capacity(size);
    for piece in pieces {
        data.extend_from_slice(&piece);
    }
    data.freeze()
}

/// Unwraps RTP timestamps to time since the first of them.
#[derive(Debug, Default)]
struct Clock {
    /// The last timestamp, and ticks since the first.
    last: Option<(u32, u64)>,
}

impl Clock {
    fn time(&mut self, rtp_timestamp: u32) -> Duration {
        let ticks = match self.last {
            None => 0,
            Some((last, ticks)) => {
                let step = rtp_timestamp.wrapping_sub(last) as i32;
                ticks.saturating_add_signed(i64::from(step))
            }
        };
        self.last = Some((rtp_timestamp, ticks));
        let rate = u64::from(VIDEO_CLOCK_RATE);
        let nanos = (ticks % rate) * 1_000_000_000 / rate;
        Duration::new(ticks / rate, u32::try_from(nanos).unwrap_or(0))
    }
}

impl std::fmt::Debug for AssembledFrame {
    /// Shows the size alone: what is to be seen has no place in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AssembledFrame")
            .field("rtp_timestamp", &self.rtp_timestamp)
            .field("picture_id", &self.picture_id)
            .field("continuous", &self.continuous)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}
