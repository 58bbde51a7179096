//! WAV files as an audio sink.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::{
    AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink, FileError, FileFault, MediaError, SAMPLE_RATE,
};

/// The header is brought up to date each second, so that a killed process leaves a valid file.
const FRAMES_A_FLUSH: u32 = 50;

/// Frames that fit into the 4 GiB of a WAV file: a little over twelve hours.
const MAX_FRAMES: u32 = (u32::MAX - 1024) / (AUDIO_FRAME_SAMPLES as u32 * 2);

/// A WAV file, 48 kHz mono 16-bit, as a sink.
///
/// The file is valid at any time: if the process dies, at most the last second is missing.
#[derive(Debug)]
pub struct WavSink {
    path: PathBuf,
    /// `None` once finished.
    writer: Option<Writer>,
    frames: u32,
}

impl WavSink {
    /// Creates the file, or empties the one that is there, and writes a header without sound.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let spec = WavSpec {
            channels: 1,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut writer = WavWriter::create(path, spec).map_err(|error| fault(path, error))?;
        writer.flush().map_err(|error| fault(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            writer: Some(Writer(writer)),
            frames: 0,
        })
    }

    /// The time written so far.
    pub fn duration(&self) -> std::time::Duration {
        crate::AUDIO_FRAME_DURATION * self.frames
    }
}

impl AudioSink for WavSink {
    fn write(&mut self, frame: &AudioFrame) -> Result<(), MediaError> {
        let Some(Writer(writer)) = &mut self.writer else {
            return Err(finished(&self.path).into());
        };
        if self.frames == MAX_FRAMES {
            return Err(FileError::new(&self.path, FileFault::Full).into());
        }
        let mut samples = writer.get_i16_writer(AUDIO_FRAME_SAMPLES as u32);
        for &sample in frame.samples() {
            samples.write_sample(sample);
        }
        samples.flush().map_err(|error| fault(&self.path, error))?;
        self.frames += 1;
        if self.frames.is_multiple_of(FRAMES_A_FLUSH) {
            writer.flush().map_err(|error| fault(&self.path, error))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        match self.writer.take() {
            None => Ok(()),
            Some(Writer(writer)) => writer
                .finalize()
                .map_err(|error| fault(&self.path, error).into()),
        }
    }
}

/// Dropping it completes the file too, though nobody hears of an error.
struct Writer(WavWriter<BufWriter<File>>);

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WavWriter")
    }
}

fn finished(path: &Path) -> FileError {
    FileError::new(path, io::Error::other("the file is finished already"))
}

fn fault(path: &Path, error: hound::Error) -> FileError {
    let error = match error {
        hound::Error::IoError(error) => error,
        other => io::Error::other(other),
    };
    FileError::new(path, error)
}
