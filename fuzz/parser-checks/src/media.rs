//! Sequences of packets, as a peer or its network may send them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use call_media::jitter::{JitterBuffer, JitterConfig, JitterPacket, MAX_PACKETS, Playout};
use call_media::video::{Assembled, AssemblerConfig, FrameAssembler};

/// Packets of VP8. Each is, in bytes: milliseconds since the one before, step of the sequence
/// number, step of the timestamp in ticks of 1/120 s, flags, length of the payload, payload.
///
/// Polling for as long as the assembler asks for it comes to an end, and no more comes out than
/// went in.
pub fn vp8_packets(data: &[u8]) {
    let (mut now, mut seq, mut timestamp) = (Instant::now(), 0_u16, 0_u32);
    let mut assembler = FrameAssembler::new(AssemblerConfig::default());
    let (mut bytes_in, mut bytes_out, mut received) = (0, 0, 0);
    let mut input = Input(data);
    while let Some([wait, seq_step, time_step, flags, len]) = input.take() {
        let far = flags & FAR != 0;
        now += Duration::from_millis(u64::from(wait) * if far { 100 } else { 1 });
        seq = seq.wrapping_add_signed(step(seq_step) * if far { 150 } else { 1 });
        timestamp = timestamp.wrapping_add_signed(i32::from(step(time_step)) * 750);
        let payload = Bytes::copy_from_slice(input.up_to(len));
        bytes_in += payload.len();
        received += 1;
        assembler.insert(now, seq, timestamp, flags & MARKER != 0, &payload);
        assert_eq!(assembler.stats().received, received);
        for round in 0.. {
            assert!(round <= 4 * received + 4, "polling does not end");
            match assembler.poll(now) {
                Some(Assembled::Frame(frame)) => {
                    bytes_out += frame.data.len();
                    if flags & KEY_FRAME != 0 {
                        assembler.key_frame_seen();
                    } else if flags & LOST != 0 {
                        assembler.frame_lost();
                    }
                }
                Some(_) => {}
                None if assembler.poll_timeout().is_some_and(|next| next <= now) => {}
                None => break,
            }
        }
        assert!(bytes_out <= bytes_in, "more came out than went in");
        assert!(
            assembler.poll_timeout().is_none_or(|next| next > now),
            "polling was in vain"
        );
    }
}

const MARKER: u8 = 1;
const KEY_FRAME: u8 = 2;
const FAR: u8 = 4;
const LOST: u8 = 8;

/// Packets of audio and pulls. Each is, in bytes: flags, milliseconds since the one before; for a
/// packet that is not the next in order also: step of the sequence number, step of the timestamp
/// in ms, duration in steps of 2.5 ms.
///
/// What is played is a packet that went in or so many samples as fit an output, and each packet has
/// one fate, but for one that may still be set aside.
pub fn jitter_buffer(data: &[u8]) {
    let (mut now, mut seq, mut timestamp) = (Instant::now(), 0_u16, 0_u32);
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let (mut received, mut played) = (0_u64, 0_u64);
    let mut input = Input(data);
    while let Some([flags, wait]) = input.take() {
        let far = flags & FAR != 0;
        now += Duration::from_millis(u64::from(wait) * if far { 50 } else { 1 });
        buffer.set_quiet(flags & QUIET != 0);
        if flags & PULL != 0 {
            played += packets_in(&buffer.pull(now));
        } else {
            let mut duration = 960;
            if flags & STRANGE == 0 {
                seq = seq.wrapping_add(1);
                timestamp = timestamp.wrapping_add(960);
            } else if let Some([seq_step, time_step, units]) = input.take() {
                let scale = if far { 150 } else { 1 };
                seq = seq.wrapping_add_signed(step(seq_step) * scale);
                timestamp = timestamp
                    .wrapping_add_signed(i32::from(step(time_step)) * 48 * i32::from(scale));
                duration = u32::from(units) * 120;
            }
            received += 1;
            buffer.insert(
                now,
                JitterPacket {
                    seq,
                    timestamp,
                    duration,
                    has_fec: flags & FEC != 0,
                    payload: Bytes::from_static(b"opus"),
                },
            );
        }
        let stats = buffer.stats();
        assert!(stats.buffered <= MAX_PACKETS);
        assert_eq!(stats.received, received);
        let fates = played
            + stats.buffered as u64
            + stats.discarded
            + stats.duplicate
            + stats.late
            + stats.refused;
        assert!(
            fates == received || fates + 1 == received,
            "{received} packets with {fates} fates"
        );
        assert!(stats.delay_ms.is_finite() && stats.jitter_ms.is_finite());
        assert!(stats.target_delay_ms <= 500.0);
    }
}

const PULL: u8 = 1;
const STRANGE: u8 = 2;
const FEC: u8 = 8;
const QUIET: u8 = 16;

/// How many packets are played for good.
fn packets_in(playout: &Playout) -> u64 {
    match playout {
        Playout::Packet(_) => 1,
        Playout::Merge(..) => 2,
        Playout::Fec { samples, .. } => {
            assert!((1..=5760 + 120).contains(samples));
            0
        }
        Playout::Conceal { samples } | Playout::Pause { samples } => {
            assert!((1..=960).contains(samples));
            0
        }
        _ => 0,
    }
}

/// A byte as a step: mostly forward, some back; 150 times as much still fits.
fn step(byte: u8) -> i16 {
    i16::from(byte) - 64
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn up_to(&mut self, len: u8) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(usize::from(len).min(self.0.len()));
        self.0 = rest;
        taken
    }
}
