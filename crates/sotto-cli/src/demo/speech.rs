//! The speech that the demo sends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use call_media::{
    AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink as _, AudioSource as _,
    SAMPLE_RATE, SourceState, WavSink, WavSource,
};

use crate::failure::{Failure, Status};

/// Where the set-up puts recorded speech, within the project.
const DEFAULT: &str = ".cache/speech.wav";

/// Speech longer than this is cut: it is held in memory.
const LONGEST: Duration = Duration::from_secs(600);

/// 48 kHz, mono.
pub(super) struct Speech(Vec<i16>);

impl Speech {
    /// Reads `path`, or the speech that the project's set-up brings.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => in_project(DEFAULT).ok_or_else(|| {
                let text = format_args!(
                    "no recorded speech: there is no {DEFAULT} here or above (the project's set-up \
                     brings it); give a WAV file with --audio"
                );
                Failure::new(Status::Media, text)
            })?,
        };
        read(&path).map(Self)
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.0.len() as f64 / f64::from(SAMPLE_RATE))
    }

    /// The speech over and over until `length` is full, or cut there.
    pub(super) fn filling(&self, length: Duration) -> Vec<i16> {
        let samples = samples_in(length.min(LONGEST));
        self.0
            .iter()
            .copied()
            .cycle()
            .take(samples.max(AUDIO_FRAME_SAMPLES))
            .collect()
    }
}

/// Samples that last so long.
pub(super) fn samples_in(length: Duration) -> usize {
    (length.as_secs_f64() * f64::from(SAMPLE_RATE)) as usize
}

/// Reads a sound file as 48 kHz, mono.
pub(super) fn read(path: &Path) -> Result<Vec<i16>, Failure> {
    let mut source = WavSource::open(path)?;
    let most = LONGEST.as_secs() as usize * SAMPLE_RATE as usize;
    let mut samples = Vec::new();
    let mut frame = AudioFrame::SILENCE;
    while samples.len() < most && source.next_frame(&mut frame)? == SourceState::Frame {
        samples.extend_from_slice(frame.samples());
    }
    Ok(samples)
}

/// Writes a sound file with `silence` behind the sound.
pub(super) fn write(path: &Path, samples: &[i16], silence: Duration) -> Result<(), Failure> {
    let mut sink = WavSink::create(path)?;
    for chunk in samples.chunks(AUDIO_FRAME_SAMPLES) {
        let mut frame = AudioFrame::SILENCE;
        for (to, from) in frame.samples_mut().iter_mut().zip(chunk) {
            *to = *from;
        }
        sink.write(&frame)?;
    }
    for _ in 0..silence.as_millis() / AUDIO_FRAME_DURATION.as_millis() {
        sink.write(&AudioFrame::SILENCE)?;
    }
    Ok(sink.finish()?)
}

/// A file of the project: below the current directory or one above it, or below one above this
/// program.
pub(super) fn in_project(file: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let starts = here.iter().chain(&program);
    starts
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(file))
        .find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_speech_is_repeated_and_long_speech_cut() {
        let speech = Speech((0..48_000).map(|i| i as i16).collect());
        assert_eq!(speech.duration(), Duration::from_secs(1));
        let filled = speech.filling(Duration::from_millis(1500));
        assert_eq!(filled.len(), 72_000);
        assert_eq!(filled[48_000], 0);
        assert_eq!(speech.filling(Duration::from_millis(500)).len(), 24_000);
    }
}
