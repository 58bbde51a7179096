//! Media files of a call.

use std::path::{Path, PathBuf};

use call_media::video::{IvfReader, IvfWriter};
use call_media::{WavSink, WavSource};
use sotto::{CallMedia, MediaStreams};

use crate::failure::{Failure, Status};

/// Which files a call reads and writes.
#[derive(clap::Args)]
pub(crate) struct MediaFiles {
    /// Send this sound: WAV, any rate, mono or stereo
    #[arg(long, value_name = "IN.wav")]
    audio: Option<PathBuf>,
    /// Write the peer's sound there: WAV, 48 kHz, mono
    #[arg(long, visible_alias = "record", value_name = "OUT.wav")]
    audio_out: Option<PathBuf>,
    /// Send this video: VP8 in IVF, best with a key frame every second or two
    #[arg(long, value_name = "IN.ivf")]
    video: Option<PathBuf>,
    /// Write the peer's video there: VP8 in IVF
    #[arg(long, value_name = "OUT.ivf")]
    video_out: Option<PathBuf>,
    /// Begin --audio and --video anew at their end; otherwise silence and stillness follow
    #[arg(long = "loop")]
    looping: bool,
}

impl MediaFiles {
    /// What the call is to have: video if there is a file for it, either way.
    pub(crate) fn media(&self) -> CallMedia {
        if self.video.is_some() || self.video_out.is_some() {
            CallMedia::Video
        } else {
            CallMedia::Audio
        }
    }

    /// Whether everything can be opened, before anybody is called or waited for.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.open().map(drop)
    }

    /// Opens everything. Inputs come first, so that a bad one leaves the outputs alone.
    pub(crate) fn open(&self) -> Result<MediaStreams, Failure> {
        let mut streams = MediaStreams::default();
        if let Some(path) = &self.audio {
            streams.audio_in = Some(Box::new(WavSource::open(path)?.looping(self.looping)));
        }
        if let Some(path) = &self.video {
            streams.video_in = Some(Box::new(IvfReader::open(path)?.looping(self.looping)));
        }
        self.spare_inputs()?;
        if let Some(path) = &self.audio_out {
            streams.audio_out = Some(Box::new(WavSink::create(path)?));
        }
        if let Some(path) = &self.video_out {
            streams.video_out = Some(Box::new(IvfWriter::create(path)?));
        }
        Ok(streams)
    }

    /// Refuses an output that would empty an input or another output.
    fn spare_inputs(&self) -> Result<(), Failure> {
        let files = [&self.audio, &self.video, &self.audio_out, &self.video_out];
        let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
        for (index, path) in files.iter().enumerate() {
            if files
                .iter()
                .take(index)
                .any(|other| is_same_file(other, path))
            {
                let text = format_args!("{}: used for two things at once", path.display());
                return Err(Failure::new(Status::Usage, text));
            }
        }
        Ok(())
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    if a == b {
        // A device such as /dev/null may be named twice.
        return !a.exists() || a.is_file();
    }
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b && a.is_file(),
        _ => false,
    }
}
