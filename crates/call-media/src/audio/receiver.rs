//! From packets off the network to frames for the loudspeaker.

use std::time::Instant;

use bytes::Bytes;

use super::opus::PacketInfo;
use crate::jitter::{JitterBuffer, JitterConfig, JitterPacket, JitterStats, Playout};
use crate::{AUDIO_FRAME_SAMPLES, AudioFrame, CodecError, Level, OpusDecoder};

/// Samples of concealed sound after which it begins to fade, and after which it is silence.
const FADE_FROM: usize = 3 * AUDIO_FRAME_SAMPLES;
const FADE_TO: usize = 10 * AUDIO_FRAME_SAMPLES;

/// Samples over which the sound comes back after a fade: 5 ms, enough for no click.
const FADE_IN: usize = 240;

/// Below this level a frame is quiet whatever came before, in dBFS.
const QUIET_DBFS: f32 = -55.0;

/// So is one this far below the speech of the last seconds, in dB.
const QUIET_BELOW_SPEECH: f32 = 30.0;

/// How fast the memory of the speech level fades, in dB a frame: 5 dB a second.
const SPEECH_DECAY: f32 = 0.1;

/// Jitter buffer and Opus decoder for one RTP stream of audio.
///
/// [`insert`](Self::insert) each packet as it arrives, decrypted;
/// [`pull_frame`](Self::pull_frame) once each 20 ms. The times passed in come from one monotonic
/// clock.
#[derive(Debug)]
pub struct AudioReceiver {
    jitter: JitterBuffer,
    decoder: OpusDecoder,
    /// Decoded and not yet played: packets may be longer or shorter than a frame.
    pcm: Vec<i16>,
    fade: Fade,
    speech_dbfs: f32,
    level: Level,
    invalid: u64,
}

/// What an [`AudioReceiver`] has seen so far.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AudioReceiverStats {
    /// What its jitter buffer counts.
    pub jitter: JitterStats,
    /// Packets that were no valid Opus; they were concealed.
    pub invalid: u64,
    /// Loudness of the frame that was pulled last.
    pub level: Level,
}

impl AudioReceiver {
    /// A receiver at the beginning of a stream; an error only if the codec cannot be set up.
    pub fn new(config: JitterConfig) -> Result<Self, CodecError> {
        Ok(Self {
            jitter: JitterBuffer::new(config),
            decoder: OpusDecoder::new()?,
            pcm: Vec::with_capacity(2 * AUDIO_FRAME_SAMPLES),
            fade: Fade::default(),
            speech_dbfs: Level::FLOOR,
            level: Level::SILENCE,
            invalid: 0,
        })
    }

    /// Takes the decrypted payload of an RTP packet at its arrival. What is not Opus is counted,
    /// and treated as if it were lost.
    pub fn insert(&mut self, now: Instant, seq: u16, rtp_timestamp: u32, payload: Bytes) {
        match PacketInfo::parse(&payload) {
            Ok(info) => self.jitter.insert(
                now,
                JitterPacket {
                    seq,
                    timestamp: rtp_timestamp,
                    duration: info.samples,
                    has_fec: info.has_fec,
                    payload,
                },
            ),
            Err(_) => self.invalid += 1,
        }
    }

    /// The next 20 ms. It never fails: what is missing is concealed, and after 200 ms silent.
    pub fn pull_frame(&mut self, now: Instant) -> AudioFrame {
        // Each output has at least one step of 2.5 ms, so this ends.
        while self.pcm.len() < AUDIO_FRAME_SAMPLES {
            let playout = self.jitter.pull(now);
            self.render(&playout);
        }
        let mut frame = AudioFrame::SILENCE;
        for (to, from) in frame
            .samples_mut()
            .iter_mut()
            .zip(self.pcm.drain(..AUDIO_FRAME_SAMPLES))
        {
            *to = from;
        }
        self.level = frame.level();
        let quiet = self.is_quiet();
        self.jitter.set_quiet(quiet);
        frame
    }

    /// Counts, delay and loudness.
    pub fn stats(&self) -> AudioReceiverStats {
        AudioReceiverStats {
            jitter: self.jitter.stats(),
            invalid: self.invalid,
            level: self.level,
        }
    }

    /// Begins anew with the next packet: the stream comes from another source (SSRC).
    pub fn reset(&mut self) {
        self.jitter.reset();
        // A decoder that keeps its memory sounds wrong for a moment, no more.
        let _ = self.decoder.reset();
    }

    /// Appends what is to be played to `pcm`, at least one step of 2.5 ms.
    fn render(&mut self, playout: &Playout) {
        match playout {
            Playout::Packet(packet) => self.play(packet),
            Playout::Merge(first, second) => {
                let start = self.pcm.len();
                self.play(first);
                let middle = self.pcm.len();
                self.play(second);
                merge(&mut self.pcm, start, middle);
            }
            Playout::Fec { following, samples } => {
                match self.decoder.decode_fec(following, *samples) {
                    Ok(pcm) => append(&mut self.pcm, pcm, |pcm| self.fade.play(pcm)),
                    Err(_) => self.conceal(*samples),
                }
            }
            Playout::Conceal { samples } | Playout::Pause { samples } => self.conceal(*samples),
            Playout::NotStarted => self.pcm.resize(self.pcm.len() + AUDIO_FRAME_SAMPLES, 0),
        }
    }

    fn play(&mut self, packet: &[u8]) {
        match self.decoder.decode(packet) {
            Ok(pcm) => append(&mut self.pcm, pcm, |pcm| self.fade.play(pcm)),
            Err(_) => {
                self.invalid += 1;
                self.conceal(AUDIO_FRAME_SAMPLES);
            }
        }
    }

    fn conceal(&mut self, samples: usize) {
        match self.decoder.conceal(samples) {
            Ok(pcm) => append(&mut self.pcm, pcm, |pcm| self.fade.conceal(pcm)),
            Err(_) => self.pcm.resize(self.pcm.len() + AUDIO_FRAME_SAMPLES, 0),
        }
    }

    /// Whether the last frame is a pause in the speech, where a change of pace is not heard.
    fn is_quiet(&mut self) -> bool {
        let level = self.level.rms_dbfs;
        self.speech_dbfs = level.max(self.speech_dbfs - SPEECH_DECAY);
        level < QUIET_DBFS || level < self.speech_dbfs - QUIET_BELOW_SPEECH
    }
}

/// Appends samples and passes them through `shape`.
fn append(pcm: &mut Vec<i16>, samples: &[i16], shape: impl FnOnce(&mut [i16])) {
    let start = pcm.len();
    pcm.extend_from_slice(samples);
    if let Some(new) = pcm.get_mut(start..) {
        shape(new);
    }
}

/// Plays `pcm[start..middle]` and `pcm[middle..]` in the time of the second, by a crossfade.
fn merge(pcm: &mut Vec<i16>, start: usize, middle: usize) {
    let Some((head, second)) = pcm.split_at_mut_checked(middle) else {
        return;
    };
    let first = head.get(start..).unwrap_or_default();
    let overlap = first.len().min(second.len());
    for (i, (to, from)) in second.iter_mut().zip(first).enumerate() {
        let share = i as f32 / overlap as f32;
        *to = (f32::from(*to) * share + f32::from(*from) * (1.0 - share)) as i16;
    }
    pcm.drain(start..middle);
}

/// Fades concealed sound out, and the sound that follows in.
#[derive(Debug, Default)]
struct Fade {
    /// Samples concealed in a row.
    concealed: usize,
    /// The gain at the last sample.
    gain: Option<f32>,
}

impl Fade {
    fn conceal(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            self.concealed = self.concealed.saturating_add(1);
            let over = self.concealed.saturating_sub(FADE_FROM) as f32;
            let gain = (1.0 - over / (FADE_TO - FADE_FROM) as f32).max(0.0);
            self.gain = Some(gain);
            *sample = (f32::from(*sample) * gain) as i16;
        }
    }

    fn play(&mut self, pcm: &mut [i16]) {
        self.concealed = 0;
        let Some(from) = self.gain.take().filter(|&gain| gain < 1.0) else {
            return;
        };
        for (i, sample) in pcm.iter_mut().take(FADE_IN).enumerate() {
            let gain = from + (1.0 - from) * i as f32 / FADE_IN as f32;
            *sample = (f32::from(*sample) * gain) as i16;
        }
    }
}
