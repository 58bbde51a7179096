//! The buffer itself: what to play next.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::delay::DelayEstimator;
use super::pacing::{Correction, Pacer};
use super::packets::{MAX_PACKETS, MAX_PAYLOAD_BYTES, Placed, Placement, Stream, Waiting};
use super::playhead::{First, MIN_GAP, Playhead};
use super::stats::{InterarrivalJitter, JitterStats};
use crate::{AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES};

/// One frame, in samples and in µs.
const FRAME: i64 = AUDIO_FRAME_SAMPLES as i64;
const FRAME_US: i64 = AUDIO_FRAME_DURATION.as_micros() as i64;

/// The longest packet of Opus, in samples: 120 ms.
const MAX_DURATION: u32 = 5_760;

/// Further above the target than this, packets are thrown away instead of being played faster.
const FAR_BEHIND_US: i64 = 600_000;

/// Times in µs beyond this, a hundred years, are all one: sums of them stay within an i64.
const LATEST_US: i64 = 1 << 52;

/// Settings of a [`JitterBuffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitterConfig {
    /// The target delay until the network has been watched for a second.
    pub initial_delay: Duration,
    /// Upper bound of the target delay: what comes later than this is concealed.
    pub max_delay: Duration,
}

impl Default for JitterConfig {
    /// 30 ms to begin with, so that a good network needs no correction in the first words; 500 ms at
    /// most.
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(30),
            max_delay: Duration::from_millis(500),
        }
    }
}

/// A packet as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JitterPacket {
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp: samples at 48 kHz (RFC 7587), whatever the codec's bandwidth.
    pub timestamp: u32,
    /// How long it plays, in samples: 120 to 5,760.
    pub duration: u32,
    /// Whether it carries a redundant copy of the packet before it.
    pub has_fec: bool,
    /// What the decoder takes.
    pub payload: Bytes,
}

/// What to play next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Playout {
    /// Decode this packet.
    Packet(Bytes),
    /// Decode these two packets in a row and play them in the time of the second: the delay is
    /// above its target.
    Merge(Bytes, Bytes),
    /// A packet is lost: recover `samples` samples from the redundancy in the following one, which
    /// is given here and will come again as a packet of its own.
    Fec {
        /// The packet behind the lost one.
        following: Bytes,
        /// Samples that are missing.
        samples: usize,
    },
    /// Continue the sound for so many samples: a packet is lost without redundancy, or late, or
    /// the delay is below its target.
    Conceal {
        /// Samples that are missing.
        samples: usize,
    },
    /// The sender sent nothing for so many samples, on purpose.
    Pause {
        /// Samples until the next output.
        samples: usize,
    },
    /// Nothing has arrived yet, or not for long enough: 20 ms of silence.
    NotStarted,
}

/// An adaptive jitter buffer for one RTP stream of audio; see the [module](super).
///
/// Call [`insert`](Self::insert) for each packet as it arrives. Call [`pull`](Self::pull) each time
/// that the output before it has been played, which is each 20 ms but for packets of other
/// durations, and tell after it by [`set_quiet`](Self::set_quiet) how it sounded. All times
/// come from one monotonic clock.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    /// The first time that was passed in; all others count from here.
    epoch: Option<Instant>,
    stream: Stream,
    waiting: Waiting,
    estimator: DelayEstimator,
    jitter: InterarrivalJitter,
    pacer: Pacer,
    playhead: Option<Playhead>,
    target_us: i64,
    stats: JitterStats,
}

impl JitterBuffer {
    /// An empty buffer.
    pub fn new(config: JitterConfig) -> Self {
        let mut this = Self {
            config,
            epoch: None,
            stream: Stream::default(),
            waiting: Waiting::default(),
            estimator: DelayEstimator::new(),
            jitter: InterarrivalJitter::default(),
            pacer: Pacer::default(),
            playhead: None,
            target_us: 0,
            stats: JitterStats::default(),
        };
        this.set_target(FRAME);
        this
    }

    /// Takes a packet that arrived at `now`. One that is late, double or nonsense is counted and
    /// dropped; more than [`MAX_PACKETS`] push out the oldest.
    pub fn insert(&mut self, now: Instant, packet: JitterPacket) {
        self.stats.received += 1;
        let arrival_us = self.us(now);
        if packet.payload.len() > MAX_PAYLOAD_BYTES
            || !(1..=MAX_DURATION).contains(&packet.duration)
        {
            self.stats.refused += 1;
            return;
        }
        let base_us = self.estimator.base_us();
        match self.stream.place(arrival_us, base_us, packet) {
            Placement::InStream(packet, in_vain) => {
                self.stats.refused += u64::from(in_vain);
                self.store(arrival_us, packet);
            }
            Placement::SetAside(another) => self.stats.refused += u64::from(another),
            Placement::Restart((at, first), second) => {
                self.restart();
                self.store(at, first);
                self.store(arrival_us, second);
            }
        }
    }

    /// Says what to play at `now`.
    pub fn pull(&mut self, now: Instant) -> Playout {
        let now_us = self.us(now);
        self.catch_up(now_us);
        let Some(first) = self.waiting.first().map(First::of) else {
            return self.wait();
        };
        let delay_us = self.delay_us(now_us, first.timestamp);
        let Some(head) = &self.playhead else {
            if delay_us < self.target_us {
                return Playout::NotStarted;
            }
            self.playhead = Some(Playhead::at(first));
            return self.resume(delay_us, first);
        };
        if head.has_paused_before(first) {
            return if delay_us < self.target_us {
                self.wait_for(first)
            } else {
                self.resume(delay_us, first)
            };
        }
        if first.timestamp - head.position < MIN_GAP {
            self.play_due(delay_us, first)
        } else {
            self.bridge(first)
        }
    }

    /// Tells whether the sound played last was quiet enough to shorten or lengthen it unnoticed.
    /// It holds until the next call.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.pacer.quiet = quiet;
    }

    /// Counts since the beginning, and the state of this moment.
    pub fn stats(&self) -> JitterStats {
        let held = self.playhead.as_ref().map_or(0, |head| head.held);
        JitterStats {
            buffered: self.waiting.len(),
            waiting_ms: held as f32 * AUDIO_FRAME_DURATION.as_millis() as f32,
            delay_ms: self.pacer.delay_us() / 1000.0,
            target_delay_ms: self.target_us as f32 / 1000.0,
            jitter_ms: self.jitter.ms(),
            ..self.stats
        }
    }

    /// Begins anew with the next packet, for a stream from another source. Counts and what is known
    /// of the network stay.
    pub fn reset(&mut self) {
        self.stream = Stream::default();
        self.restart();
    }

    /// Drops what belongs to the stream before.
    fn restart(&mut self) {
        self.stats.restarts += 1;
        self.stats.discarded += self.waiting.len() as u64;
        self.settle_held(false);
        self.waiting.clear();
        self.playhead = None;
        self.estimator.restart();
        self.jitter.restart();
    }

    fn store(&mut self, arrival_us: i64, packet: Placed) {
        let late = match &mut self.playhead {
            Some(head) if packet.seq < head.next_seq => Some(head.is_first_arrival(packet.seq)),
            _ => None,
        };
        if late == Some(false) || self.waiting.contains(packet.seq) {
            self.stats.duplicate += 1;
            return;
        }
        let transit_us = arrival_us - media_us(packet.timestamp);
        self.estimator.observe(arrival_us, transit_us);
        self.jitter.observe(transit_us);
        self.set_target(packet.duration);
        if late.is_some() {
            self.stats.late += 1;
            return;
        }
        if self
            .stream
            .highest()
            .is_some_and(|highest| packet.seq < highest)
        {
            self.stats.reordered += 1;
        }
        if self.waiting.len() == MAX_PACKETS {
            self.discard_first();
        }
        self.waiting.insert(packet);
    }

    /// The target: what the network needs, and one packet ahead for its redundancy.
    fn set_target(&mut self, duration: i64) {
        let ahead = media_us(duration.max(FRAME));
        let needed = self.estimator.quantile().as_micros() as i64 + ahead;
        let least = if self.estimator.is_settled() {
            ahead
        } else {
            self.config.initial_delay.as_micros() as i64
        };
        let most = self.config.max_delay.as_micros() as i64;
        self.target_us = needed.max(least).min(most);
    }

    /// Throws packets away if playing is far behind, down to the target.
    fn catch_up(&mut self, now_us: i64) {
        let mut limit_us = self.target_us + FAR_BEHIND_US;
        while self.waiting.len() > 1 {
            let behind_us = self
                .waiting
                .first()
                .map_or(0, |first| self.delay_us(now_us, first.timestamp));
            if behind_us <= limit_us {
                break;
            }
            limit_us = self.target_us + FRAME_US;
            self.discard_first();
            self.pacer.set_delay(self.target_us);
        }
    }

    fn discard_first(&mut self) {
        let Some(packet) = self.waiting.take_first() else {
            return;
        };
        self.stats.discarded += 1;
        if let Some(head) = &mut self.playhead {
            self.stats.lost += head.pass(packet.seq, true);
            head.end = packet.end();
            head.position = packet.end().max(head.position);
        }
    }

    /// Nothing is there: the sound goes on, and the next arrival tells why.
    fn wait(&mut self) -> Playout {
        let Some(head) = &mut self.playhead else {
            return Playout::NotStarted;
        };
        head.position += FRAME;
        head.held = head.held.saturating_add(1);
        Playout::Conceal {
            samples: AUDIO_FRAME_SAMPLES,
        }
    }

    /// `first` is there behind a pause, and its time has not come.
    fn wait_for(&mut self, first: First) -> Playout {
        let paused = self
            .playhead
            .as_ref()
            .is_some_and(|head| head.next_seq == first.seq);
        if !paused {
            return self.wait();
        }
        self.settle_held(true);
        self.stats.paused += 1;
        if let Some(head) = &mut self.playhead {
            head.position += FRAME;
        }
        Playout::Pause {
            samples: AUDIO_FRAME_SAMPLES,
        }
    }

    /// Plays the first packet, or the first after a pause: the delay is what it is now.
    fn resume(&mut self, delay_us: i64, first: First) -> Playout {
        let paused = self
            .playhead
            .as_ref()
            .is_some_and(|head| head.next_seq == first.seq);
        self.settle_held(paused);
        self.pacer.set_delay(delay_us);
        self.play(first)
    }

    /// Plays a packet whose turn has come, or corrects the delay.
    fn play_due(&mut self, delay_us: i64, first: First) -> Playout {
        let Some(head) = &self.playhead else {
            return Playout::NotStarted;
        };
        if head.held > 0 {
            let grown = media_us(head.position - first.timestamp).max(0);
            self.pacer.moved(grown);
            self.settle_held(false);
            return self.play(first);
        }
        self.pacer.observe(delay_us);
        let second = self.waiting.get(first.seq + 1).map(First::of);
        let frame_us = media_us(second.map_or(first.duration, |second| second.duration));
        match self.pacer.correction(self.target_us, frame_us) {
            Correction::Shorten => match second {
                Some(second) if second.timestamp == first.timestamp + first.duration => {
                    self.merge(first, second)
                }
                _ => self.play(first),
            },
            Correction::Lengthen => {
                self.pacer.corrected(FRAME_US);
                self.stats.lengthened += 1;
                Playout::Conceal {
                    samples: AUDIO_FRAME_SAMPLES,
                }
            }
            Correction::Keep => self.play(first),
        }
    }

    fn merge(&mut self, first: First, second: First) -> Playout {
        let (Playout::Packet(one), Playout::Packet(other)) = (self.play(first), self.play(second))
        else {
            return Playout::NotStarted;
        };
        self.pacer.corrected(-media_us(first.duration));
        self.stats.shortened += 1;
        Playout::Merge(one, other)
    }

    /// Takes `first` out of the buffer; what was missing before it is lost.
    fn play(&mut self, first: First) -> Playout {
        let Some(packet) = self.waiting.take(first.seq) else {
            return Playout::NotStarted;
        };
        if let Some(head) = &mut self.playhead {
            self.stats.lost += head.pass(first.seq, true);
            head.end = packet.end();
            head.position = packet.end();
        }
        Playout::Packet(packet.payload)
    }

    /// Fills a gap before `first`, which is there before its time: packets in between are lost.
    fn bridge(&mut self, first: First) -> Playout {
        self.settle_held(false);
        let Some(head) = &mut self.playhead else {
            return Playout::NotStarted;
        };
        let gap = first.timestamp - head.position;
        let missing = first.seq - head.next_seq;
        let surplus = gap - missing.saturating_mul(first.duration.max(MIN_GAP));
        if surplus >= FRAME {
            head.position += FRAME;
            head.end = head.position;
            self.stats.paused += 1;
            return Playout::Pause {
                samples: AUDIO_FRAME_SAMPLES,
            };
        }
        if first.has_fec && gap < first.duration + MIN_GAP {
            return self.recover(first, gap);
        }
        let for_fec = if first.has_fec { first.duration } else { 0 };
        let samples = (gap - for_fec).clamp(MIN_GAP, FRAME);
        head.position += samples;
        head.end = head.position;
        // Those whose time is still to come may still arrive.
        let to_come = (first.timestamp - head.position).max(0) / first.duration.max(1);
        self.stats.lost += head.pass(first.seq - to_come - 1, false);
        self.stats.concealed += 1;
        Playout::Conceal {
            samples: usize::try_from(samples).unwrap_or(AUDIO_FRAME_SAMPLES),
        }
    }

    fn recover(&mut self, first: First, gap: i64) -> Playout {
        let following = self.waiting.get(first.seq).map(|p| p.payload.clone());
        if let Some(head) = &mut self.playhead {
            self.stats.lost += head.pass(first.seq - 1, false);
            head.position = first.timestamp;
            head.end = first.timestamp;
        }
        self.stats.fec_recovered += 1;
        Playout::Fec {
            following: following.unwrap_or_default(),
            samples: usize::try_from(gap).unwrap_or(AUDIO_FRAME_SAMPLES),
        }
    }

    /// Now it is known what was waited for: a pause, or the network.
    fn settle_held(&mut self, paused: bool) {
        if let Some(head) = &mut self.playhead {
            let held = u64::from(std::mem::take(&mut head.held));
            if paused {
                self.stats.paused += held;
            } else {
                self.stats.concealed += held;
            }
        }
    }

    /// The delay of a packet with that timestamp if it is played now.
    fn delay_us(&self, now_us: i64, timestamp: i64) -> i64 {
        now_us - media_us(timestamp) - self.estimator.base_us().unwrap_or(0)
    }

    fn us(&mut self, now: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(now);
        let us = now.saturating_duration_since(epoch).as_micros();
        i64::try_from(us).unwrap_or(LATEST_US).min(LATEST_US)
    }
}

/// Samples at 48 kHz to µs.
pub(super) fn media_us(samples: i64) -> i64 {
    samples.saturating_mul(125) / 6
}
