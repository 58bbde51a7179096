//! WAV files as an audio source: decoded, mixed down and resampled as they are played.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec};

use super::resample::Resampler;
use crate::{
    AUDIO_FRAME_SAMPLES, AudioFrame, AudioSource, FileError, FileFault, MediaError, SAMPLE_RATE,
    SourceState,
};

/// Sampling rates that are read, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;

/// Channels of a file at most; beyond it is no sound file.
const MAX_CHANNELS: u16 = 64;

/// A WAV file as a source.
///
/// Reads integer samples of 8, 16, 24 and 32 bits and 32-bit floats, 4 to 192 kHz, any number of
/// channels (their mean is taken), and resamples to 48 kHz. It holds a few thousand samples at a
/// time, however long the file is. A 16-bit mono file at 48 kHz comes out bit by bit.
///
/// A file that is cut off behind its header is played as far as it goes.
#[derive(Debug)]
pub struct WavSource {
    mono: MonoReader,
    resampler: Option<Resampler>,
    looping: bool,
    ended: bool,
}

impl WavSource {
    /// Opens a file and reads its header.
    ///
    /// Fails if there is no such file, if it is no WAV, if its format or a value of its header is
    /// none that is read here, or if there is no sound in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let mut mono = MonoReader::open(path.as_ref())?;
        let mut probe = [0.0];
        if mono.read(&mut probe)? == 0 {
            return Err(FileError::new(path.as_ref(), FileFault::Empty));
        }
        mono.rewind()?;
        let resampler = match mono.spec.sample_rate {
            SAMPLE_RATE => None,
            rate => Some(
                Resampler::new(rate)
                    .map_err(|reason| FileError::new(path.as_ref(), FileFault::Unusable(reason)))?,
            ),
        };
        Ok(Self {
            mono,
            resampler,
            looping: false,
            ended: false,
        })
    }

    /// Whether to begin anew at the end of the file, without a gap and for ever.
    #[must_use]
    pub fn looping(mut self, looping: bool) -> Self {
        self.looping = looping;
        self
    }

    /// Reads until `out` is full or the source has ended; returns the number of samples.
    fn fill(mono: &mut MonoReader, looping: bool, out: &mut [f32]) -> Result<usize, FileError> {
        let mut filled = 0;
        let mut rewound_at = None;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = mono.read(rest)?;
            filled += read;
            if read == 0 {
                if !looping || rewound_at == Some(filled) {
                    break;
                }
                rewound_at = Some(filled);
                mono.rewind()?;
            }
        }
        Ok(filled)
    }

    fn next_samples(&mut self, out: &mut [f32; AUDIO_FRAME_SAMPLES]) -> Result<usize, FileError> {
        let (mono, looping) = (&mut self.mono, self.looping);
        match &mut self.resampler {
            None => Self::fill(mono, looping, out),
            Some(resampler) => resampler.next(out, |input| Self::fill(mono, looping, input)),
        }
    }
}

impl AudioSource for WavSource {
    fn next_frame(&mut self, frame: &mut AudioFrame) -> Result<SourceState, MediaError> {
        *frame = AudioFrame::SILENCE;
        if self.ended {
            return Ok(SourceState::End);
        }
        let mut samples = [0.0; AUDIO_FRAME_SAMPLES];
        let count = self
            .next_samples(&mut samples)
            .inspect_err(|_| self.ended = true)?;
        for (to, from) in frame.samples_mut().iter_mut().zip(samples).take(count) {
            *to = quantise(from);
        }
        self.ended = count < AUDIO_FRAME_SAMPLES;
        if count == 0 {
            return Ok(SourceState::End);
        }
        Ok(SourceState::Frame)
    }
}

/// From `-1.0..=1.0` to i16; louder is clipped, no number is silence.
fn quantise(sample: f32) -> i16 {
    // A float is saturated by `as`, and NaN becomes 0.
    (sample * 32_768.0).round() as i16
}

/// The file behind its header, as mono floats in `-1.0..=1.0`.
struct MonoReader {
    path: PathBuf,
    /// `None` for the moment of rewinding, and after that has failed.
    wav: Option<WavReader<BufReader<File>>>,
    spec: WavSpec,
}

impl std::fmt::Debug for MonoReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MonoReader")
            .field("path", &self.path)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl MonoReader {
    fn open(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path).map_err(|error| FileError::new(path, error))?;
        let wav = WavReader::new(BufReader::new(file)).map_err(|error| fault(path, error))?;
        let spec = wav.spec();
        check(spec).map_err(|reason| FileError::new(path, FileFault::Unusable(reason)))?;
        Ok(Self {
            path: path.to_owned(),
            wav: Some(wav),
            spec,
        })
    }

    /// Goes back to the first sample.
    ///
    /// By reading the header once more: `WavReader::seek` miscounts samples that are stored in
    /// wider containers.
    fn rewind(&mut self) -> Result<(), FileError> {
        let io = |error| FileError::new(&self.path, FileFault::Io(error));
        if let Some(wav) = self.wav.take() {
            let mut file = wav.into_inner();
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            let wav = WavReader::new(file).map_err(|error| fault(&self.path, error))?;
            if wav.spec() != self.spec {
                let reason = "the file changed while it was played".to_owned();
                return Err(FileError::new(&self.path, FileFault::Damaged(reason)));
            }
            self.wav = Some(wav);
        }
        Ok(())
    }

    /// Reads up to `out.len()` samples; fewer only at the end of the file.
    fn read(&mut self, out: &mut [f32]) -> Result<usize, FileError> {
        let Some(wav) = &mut self.wav else {
            return Ok(0);
        };
        let channels = self.spec.channels;
        let result = match self.spec.sample_format {
            SampleFormat::Float => mix(wav.samples::<f32>(), channels, out, |sample| {
                if sample.is_finite() { sample } else { 0.0 }
            }),
            SampleFormat::Int => {
                let scale = 1.0 / (1_i64 << (self.spec.bits_per_sample - 1)) as f32;
                mix(wav.samples::<i32>(), channels, out, |sample| {
                    sample as f32 * scale
                })
            }
        };
        result.map_err(|error| fault(&self.path, error))
    }
}

/// Fills `out` with the means over `channels` samples each. A file that ends too early, even in
/// the middle of a sample, ends there.
fn mix<S>(
    mut samples: impl Iterator<Item = hound::Result<S>>,
    channels: u16,
    out: &mut [f32],
    to_float: impl Fn(S) -> f32,
) -> hound::Result<usize> {
    for (index, to) in out.iter_mut().enumerate() {
        let mut sum = 0.0;
        for _ in 0..channels {
            match samples.next() {
                Some(Ok(sample)) => sum += to_float(sample),
                Some(Err(hound::Error::IoError(error))) if is_end(&error) => return Ok(index),
                Some(Err(error)) => return Err(error),
                None => return Ok(index),
            }
        }
        *to = sum / f32::from(channels);
    }
    Ok(out.len())
}

/// hound reports a file that is too short with its own wording under [`ErrorKind::Other`].
fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof)
        || (error.kind() == ErrorKind::Other && error.raw_os_error().is_none())
}

/// Refuses what no sound file has, with the value that is wrong.
fn check(spec: WavSpec) -> Result<(), String> {
    if !RATES.contains(&spec.sample_rate) {
        return Err(format!(
            "sampling rate of {} Hz, 4,000 to 192,000 are read",
            spec.sample_rate
        ));
    }
    if spec.channels == 0 || spec.channels > MAX_CHANNELS {
        return Err(format!(
            "{} channels, 1 to {MAX_CHANNELS} are read",
            spec.channels
        ));
    }
    match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Int, 8 | 16 | 24 | 32) | (SampleFormat::Float, 32) => Ok(()),
        (SampleFormat::Int, bits) => Err(format!(
            "integer samples of {bits} bits, 8, 16, 24 and 32 are read"
        )),
        (SampleFormat::Float, bits) => {
            Err(format!("float samples of {bits} bits, only 32 are read"))
        }
    }
}

/// Says by our own words what hound found wrong.
fn fault(path: &Path, error: hound::Error) -> FileError {
    let not_wav = |reason: &str| FileFault::NotThatFormat {
        expected: "WAV",
        reason: reason.to_owned(),
    };
    let fault = match error {
        hound::Error::IoError(error) if is_end(&error) => not_wav("it ends within its header"),
        hound::Error::IoError(error) => FileFault::Io(error),
        hound::Error::FormatError(reason) => not_wav(reason),
        hound::Error::Unsupported => {
            FileFault::Unusable("compressed, or samples of an unknown kind".to_owned())
        }
        other => FileFault::Unusable(other.to_string()),
    };
    FileError::new(path, fault)
}
