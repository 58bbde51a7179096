//! What a call costs: set-up time, and the CPU of an audio call beside the work that nothing can
//! save.
//!
//! Two engines on a perfect network in virtual time, so no socket, timer or sleep is in the
//! figures. CPU time is this thread's. Each round measures everything once, and ratios are taken
//! within a round, so that a busy machine touches both sides of them.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use call_core::{FRAME_OVERHEAD, FrameDecryptor, FrameEncryptor, FrameKind, MediaKey};
use call_media::{
    AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES, AudioFrame, AudioSource, MediaError, OpusConfig,
    OpusDecoder, OpusEncoder, SourceState,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rtc::crypto::{AeadAlgorithm, default_provider};
use rtc::srtp::context::Context;
use rtc::srtp::option::srtp_replay_protection;
use rtc::srtp::protection_profile::ProtectionProfile;
use sotto::MediaStreams;
use sotto::harness::{DirectWire, Pair};

/// Bytes of an Opus packet at the default bitrate.
const OPUS_PACKET: usize = 80;

/// Bytes of an RTP header without extensions.
const RTP_HEADER: usize = 12;

/// Packets each way in a second of audio.
const PACKETS_PER_SECOND: f64 = 50.0;

/// Packets that pass before anything is measured.
const WARM_UP_PACKETS: u32 = 50;

type Pairs = Vec<Pair<DirectWire>>;
type Fallible<T> = Result<T, Box<dyn Error>>;

/// How much is measured.
struct Effort {
    rounds: usize,
    /// Calls at once on this thread, so that they compete for its caches.
    calls: usize,
    /// Packets each way of each call in a round.
    packets: u32,
    set_ups: usize,
}

fn main() -> Fallible<()> {
    // Cargo passes `--bench`; without it this only shows that the benchmark runs.
    let effort = if std::env::args().any(|argument| argument == "--bench") {
        Effort {
            rounds: 9,
            calls: 50,
            packets: 25,
            set_ups: 5,
        }
    } else {
        Effort {
            rounds: 1,
            calls: 2,
            packets: 25,
            set_ups: 1,
        }
    };
    let (mut bare_calls, mut opus_calls) = (calls(&effort), calls(&effort));
    for call in &mut bare_calls {
        call.remove_codecs();
    }
    let mut codecs = (0..effort.calls * 2)
        .map(|_| Codecs::new())
        .collect::<Fallible<Vec<_>>>()?;
    let mut figures = Figures::default();
    for round in 0..effort.rounds as u32 {
        measure_set_up(&effort, &mut figures);
        figures
            .engine
            .push(without_codec(&effort, round, &mut bare_calls));
        figures
            .engine_opus
            .push(with_opus(&effort, &mut opus_calls));
        let packets = effort.packets * effort.calls as u32;
        figures.gcm.push(gcm(packets)?);
        figures.srtp.push(srtp(packets)?);
        figures.frame.push(frame(packets)?);
        figures.opus.push(opus(&effort, &mut codecs)?);
    }
    check_delivery(bare_calls)?;
    check_delivery(opus_calls)?;
    figures.print(&effort);
    Ok(())
}

/// Samples of each figure, one a round: times of set-up in ms, the others in µs for one packet out
/// and one in.
#[derive(Default)]
struct Figures {
    set_up_time: Samples,
    set_up_cpu: Samples,
    engine: Samples,
    engine_opus: Samples,
    gcm: Samples,
    srtp: Samples,
    frame: Samples,
    opus: Samples,
}

impl Figures {
    fn print(&self, effort: &Effort) {
        println!("\nSet-up on a perfect network, from accept to connected, ms");
        println!("{:<44}{:>9}{:>9}{:>9}", "", "median", "lowest", "highest");
        self.set_up_time.row("virtual time", "");
        self.set_up_cpu.row("CPU of both ends", "");

        println!(
            "\nOne end of an audio call, {PACKETS_PER_SECOND} packets/s each way; {} calls at once.",
            effort.calls
        );
        println!("CPU in µs for a packet out and one in, without sockets");
        println!(
            "{:<44}{:>9}{:>9}{:>9}{:>12}{:>14}",
            "", "median", "lowest", "highest", "% of a core", "calls a core"
        );
        for (name, samples) in [
            ("engine without codec", &self.engine),
            ("engine with Opus and jitter buffer", &self.engine_opus),
            ("bare AES-256-GCM of packet and frame", &self.gcm),
            ("bare SRTP of the WebRTC library", &self.srtp),
            ("bare frame encryption", &self.frame),
            ("bare Opus", &self.opus),
        ] {
            let of_core = samples.median() * PACKETS_PER_SECOND / 1e6;
            let columns = format!("{:>12.3}{:>14.0}", of_core * 100.0, 1.0 / of_core);
            samples.row(name, &columns);
        }

        println!("\nRatios");
        let encryption = &self.srtp + &self.frame;
        let all = &encryption + &self.opus;
        (&self.engine / &self.gcm).row("engine without codec : bare AES-256-GCM", "");
        (&self.engine / &encryption).row("engine without codec : SRTP + frame", "");
        (&self.engine_opus / &all).row("engine with Opus : Opus + SRTP + frame", "");
        (&self.engine_opus / &self.opus).row("engine with Opus : Opus", "");
    }
}

fn calls(effort: &Effort) -> Pairs {
    let mut calls: Pairs = (0..effort.calls).map(|_| Pair::direct()).collect();
    for call in &mut calls {
        call.ring(streams());
        call.accept_and_connect(streams());
        // Candidate checks and the jitter buffer come to rest.
        call.run_for(AUDIO_FRAME_DURATION * WARM_UP_PACKETS);
    }
    calls
}

fn measure_set_up(effort: &Effort, figures: &mut Figures) {
    for _ in 0..effort.set_ups {
        let mut call = Pair::direct();
        call.ring(MediaStreams::default());
        let mut virtual_time = Duration::ZERO;
        let cpu = cpu_time(|| virtual_time = call.accept_and_connect(MediaStreams::default()));
        figures.set_up_time.push(virtual_time.as_secs_f64() * 1e3);
        figures.set_up_cpu.push(cpu.as_secs_f64() * 1e3);
    }
}

fn without_codec(effort: &Effort, round: u32, calls: &mut Pairs) -> f64 {
    let payload = Bytes::from_static(&[0x5a; OPUS_PACKET]);
    let cpu = cpu_time(|| {
        for packet in 0..effort.packets {
            let number = 1_000 + round * effort.packets + packet;
            for call in &mut *calls {
                call.exchange(number * AUDIO_FRAME_SAMPLES as u32, &payload);
            }
        }
    });
    for_one_end(effort, cpu)
}

fn with_opus(effort: &Effort, calls: &mut Pairs) -> f64 {
    let cpu = cpu_time(|| {
        for _ in 0..effort.packets {
            for call in &mut *calls {
                call.run_for(AUDIO_FRAME_DURATION);
            }
        }
    });
    for_one_end(effort, cpu)
}

fn for_one_end(effort: &Effort, cpu: Duration) -> f64 {
    each(cpu, effort.packets * effort.calls as u32 * 2)
}

/// Seals and opens what SRTP and the frame encryption have to, and nothing else.
fn gcm(packets: u32) -> Fallible<f64> {
    let provider = default_provider()?;
    let mut cipher = provider
        .crypto()
        .new_aead(AeadAlgorithm::Aes256Gcm, &[1; 32])?;
    let mut payload = [0x5a; OPUS_PACKET + FRAME_OVERHEAD];
    let mut tag = [0; 16];
    repeat(packets, |number| {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        for length in [OPUS_PACKET, payload.len()] {
            let bytes = black_box(&mut payload[..length]);
            cipher.seal_in_place(&nonce, &[0; RTP_HEADER], bytes, &mut tag)?;
            cipher.open_in_place(&nonce, &[0; RTP_HEADER], bytes, &tag)?;
        }
        Ok(())
    })
}

fn srtp(packets: u32) -> Fallible<f64> {
    let provider = default_provider()?;
    let context = |replay| {
        let profile = ProtectionProfile::AeadAes256Gcm;
        Context::new(&[1; 32], &[2; 12], profile, replay, None, provider.crypto())
    };
    let (mut out, mut into) = (context(None)?, context(Some(srtp_replay_protection(64)))?);
    let mut packet = [0x5a; RTP_HEADER + OPUS_PACKET + FRAME_OVERHEAD];
    packet[..2].copy_from_slice(&[0x80, 111]);
    repeat(packets, |number| {
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        let protected = out.encrypt_rtp(black_box(&packet))?;
        black_box(into.decrypt_rtp(black_box(&protected))?);
        Ok(())
    })
}

fn frame(packets: u32) -> Fallible<f64> {
    let key = MediaKey::from_bytes(&[42; 32]);
    let mut encryptor = FrameEncryptor::new(&key, &mut StdRng::seed_from_u64(1));
    let mut decryptor = FrameDecryptor::new(&key);
    let payload = [0x5a; OPUS_PACKET];
    repeat(packets, |_| {
        let frame = encryptor.encrypt(FrameKind::Audio, black_box(&payload))?;
        black_box(decryptor.decrypt(FrameKind::Audio, black_box(&frame))?);
        Ok(())
    })
}

/// An end's codecs without a call around them.
struct Codecs {
    source: Hum,
    encoder: OpusEncoder,
    decoder: OpusDecoder,
}

impl Codecs {
    fn new() -> Fallible<Self> {
        let mut codecs = Self {
            source: Hum::default(),
            encoder: OpusEncoder::new(OpusConfig::default())?,
            decoder: OpusDecoder::new()?,
        };
        for _ in 0..WARM_UP_PACKETS {
            codecs.run()?;
        }
        Ok(codecs)
    }

    fn run(&mut self) -> Fallible<()> {
        let mut frame = AudioFrame::SILENCE;
        self.source.fill(&mut frame);
        let packet = self.encoder.encode(black_box(&frame))?;
        black_box(self.decoder.decode(black_box(&packet))?);
        Ok(())
    }
}

/// As many codecs take turns as in the calls with Opus, and have coded as much before.
fn opus(effort: &Effort, codecs: &mut [Codecs]) -> Fallible<f64> {
    let mut result = Ok(());
    let cpu = cpu_time(|| {
        let mut turn = |_| codecs.iter_mut().try_for_each(Codecs::run);
        result = (0..effort.packets).try_for_each(&mut turn);
    });
    result?;
    Ok(for_one_end(effort, cpu))
}

/// Microseconds of CPU that `work` takes for a packet out and one in.
fn repeat(packets: u32, mut work: impl FnMut(u32) -> Fallible<()>) -> Fallible<f64> {
    let mut result = Ok(());
    let cpu = cpu_time(|| result = (0..packets).try_for_each(&mut work));
    result?;
    Ok(each(cpu, packets))
}

/// A benchmark of calls that lose packets would say nothing.
fn check_delivery(calls: Pairs) -> Fallible<()> {
    for call in calls {
        let [Some(caller), Some(callee)] = call.hang_up() else {
            return Err("a call had no transport".into());
        };
        for (from, to) in [(&caller, &callee), (&callee, &caller)] {
            let (sent, arrived) = (from.frames.encrypted, to.frames.decrypted);
            if sent == 0 || sent.saturating_sub(arrived) > 1 {
                return Err(format!("{arrived} of {sent} frames arrived").into());
            }
        }
    }
    Ok(())
}

fn streams() -> MediaStreams {
    MediaStreams {
        audio_in: Some(Box::new(Hum::default())),
        ..MediaStreams::default()
    }
}

/// Half a second of a gliding hum with some noise, for ever.
struct Hum {
    frames: Arc<[AudioFrame]>,
    next: usize,
}

impl Hum {
    fn fill(&mut self, frame: &mut AudioFrame) {
        frame.clone_from(&self.frames[self.next]);
        self.next = (self.next + 1) % self.frames.len();
    }
}

impl Default for Hum {
    fn default() -> Self {
        let mut noise = 1_u32;
        let mut sample = |index: usize| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let time = index as f32 / 48_000.0;
            let hum: f32 = (1..20)
                .map(|harmonic| {
                    ((700.0 + 300.0 * time) * time * harmonic as f32).sin() / harmonic as f32
                })
                .sum();
            (hum * 6_000.0 + (noise >> 22) as f32) as i16
        };
        let frames = (0..25).map(|frame| {
            AudioFrame::from(std::array::from_fn(|index| {
                sample(frame * AUDIO_FRAME_SAMPLES + index)
            }))
        });
        Self {
            frames: frames.collect(),
            next: 0,
        }
    }
}

impl AudioSource for Hum {
    fn next_frame(&mut self, frame: &mut AudioFrame) -> Result<SourceState, MediaError> {
        self.fill(frame);
        Ok(SourceState::Frame)
    }
}

/// One figure, measured several times.
#[derive(Default)]
struct Samples(Vec<f64>);

impl Samples {
    fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn row(&self, name: &str, columns: &str) {
        if let (Some(lowest), Some(highest)) = (self.sorted().first(), self.sorted().last()) {
            let median = self.median();
            println!("  {name:<42}{median:>9.2}{lowest:>9.2}{highest:>9.2}{columns}");
        }
    }

    fn zip(&self, other: &Self, operation: fn(f64, f64) -> f64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(a, b)| operation(*a, *b)).collect())
    }
}

impl std::ops::Add for &Samples {
    type Output = Samples;

    fn add(self, other: Self) -> Samples {
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Div for &Samples {
    type Output = Samples;

    fn div(self, other: Self) -> Samples {
        self.zip(other, |a, b| a / b)
    }
}

/// Microseconds for each of `count`.
fn each(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(count)
}

/// CPU time that this thread spends in `work`.
#[cfg(unix)]
fn cpu_time(work: impl FnOnce()) -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = read();
    work();
    read() - start
}

/// Time that passes in `work`: this system has no clock of a thread's CPU time at hand.
#[cfg(not(unix))]
fn cpu_time(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}
