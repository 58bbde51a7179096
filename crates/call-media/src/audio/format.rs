//! The one audio format inside the house: 48 kHz, mono, i16, frames of 20 ms.

use std::fmt;
use std::time::Duration;

use crate::MediaError;

/// Samples a second of all audio in this crate.
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples in one frame: 20 ms at [`SAMPLE_RATE`], mono.
pub const AUDIO_FRAME_SAMPLES: usize = 960;

/// The time that one frame lasts.
pub const AUDIO_FRAME_DURATION: Duration = Duration::from_millis(20);

/// 20 ms of sound: [`AUDIO_FRAME_SAMPLES`] signed 16-bit samples at 48 kHz, mono.
#[derive(Clone, PartialEq, Eq)]
pub struct AudioFrame([i16; AUDIO_FRAME_SAMPLES]);

impl AudioFrame {
    /// A frame of digital silence.
    pub const SILENCE: Self = Self([0; AUDIO_FRAME_SAMPLES]);

    /// The samples.
    pub fn samples(&self) -> &[i16; AUDIO_FRAME_SAMPLES] {
        &self.0
    }

    /// The samples, to be written.
    pub fn samples_mut(&mut self) -> &mut [i16; AUDIO_FRAME_SAMPLES] {
        &mut self.0
    }

    /// How loud the frame is.
    pub fn level(&self) -> Level {
        Level::of(&self.0)
    }
}

impl Default for AudioFrame {
    fn default() -> Self {
        Self::SILENCE
    }
}

impl From<[i16; AUDIO_FRAME_SAMPLES]> for AudioFrame {
    fn from(samples: [i16; AUDIO_FRAME_SAMPLES]) -> Self {
        Self(samples)
    }
}

impl fmt::Debug for AudioFrame {
    /// Shows the level alone: what people say has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AudioFrame").field(&self.level()).finish()
    }
}

/// Loudness in dB relative to full scale: 0 is a full-scale square wave, digital silence is
/// [`Level::FLOOR`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Level {
    /// Root mean square, in dBFS.
    pub rms_dbfs: f32,
    /// Largest sample, in dBFS.
    pub peak_dbfs: f32,
}

impl Level {
    /// The level of digital silence, in dBFS; nothing is ever below.
    pub const FLOOR: f32 = -100.0;

    /// Digital silence.
    pub const SILENCE: Self = Self {
        rms_dbfs: Self::FLOOR,
        peak_dbfs: Self::FLOOR,
    };

    /// The level of any number of samples; of none, silence.
    pub fn of(samples: &[i16]) -> Self {
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        Self {
            rms_dbfs: dbfs(crate::measure::rms(samples)),
            peak_dbfs: dbfs(f32::from(peak) / 32_768.0),
        }
    }
}

/// Decibels of an amplitude in `0.0..=1.0`, not below [`Level::FLOOR`].
fn dbfs(amplitude: f32) -> f32 {
    (20.0 * amplitude.log10()).max(Level::FLOOR)
}

/// What [`AudioSource::next_frame`] put into the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// The next 20 ms of the source.
    Frame,
    /// The source has ended: the frame is silence, now and from now on.
    End,
}

/// Something that sound comes from: a file, later a microphone.
pub trait AudioSource: Send {
    /// Writes the next 20 ms into `frame`, with silence behind the last sample of the source.
    ///
    /// After the end, and after an error, `frame` is silence and the answer stays
    /// [`SourceState::End`].
    fn next_frame(&mut self, frame: &mut AudioFrame) -> Result<SourceState, MediaError>;
}

/// Something that sound goes to: a file, later a loudspeaker.
pub trait AudioSink: Send {
    /// Takes the next 20 ms.
    fn write(&mut self, frame: &AudioFrame) -> Result<(), MediaError>;

    /// Completes what was written. Calling it again does nothing; a frame after it is refused.
    fn finish(&mut self) -> Result<(), MediaError>;
}
