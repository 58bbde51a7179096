//! Sources and sinks of a call.
//!
//! Sound is 48 kHz, mono, 16 bits, in frames of 20 ms; video is VP8 as its encoder made it. Files
//! can be both source and sink: WAV for sound, IVF for video. An application brings its own devices
//! by implementing [`AudioSource`], [`AudioSink`], [`VideoSource`] and [`VideoSink`].

pub use call_media::video::{IvfReader, IvfWriter, VideoFrame, VideoSink, VideoSource};
pub use call_media::{
    AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink, AudioSource, CodecError,
    FileError, FileFault, Level, MediaError, SAMPLE_RATE, SourceState, WavSink, WavSource,
};

/// What a call takes its media from and where it puts the peer's. What is `None` is not sent or
/// thrown away.
#[derive(Default)]
pub struct MediaStreams {
    /// The microphone, or what stands for it.
    pub audio_in: Option<Box<dyn AudioSource>>,
    /// The loudspeaker, or what stands for it.
    pub audio_out: Option<Box<dyn AudioSink>>,
    /// The camera, or what stands for it: encoded VP8.
    pub video_in: Option<Box<dyn VideoSource>>,
    /// Takes the VP8 of the peer's camera.
    pub video_out: Option<Box<dyn VideoSink>>,
    /// Takes the sound of the peer's screen.
    pub screen_audio_out: Option<Box<dyn AudioSink>>,
    /// Takes the VP8 of the peer's screen.
    pub screen_out: Option<Box<dyn VideoSink>>,
}

/// What is attached to a [`MediaLine`](crate::MediaLine) of a call.
pub enum Source {
    /// For the microphone and the screen's sound.
    Audio(Box<dyn AudioSource>),
    /// For the camera and the screen: encoded VP8.
    Video(Box<dyn VideoSource>),
}

impl Source {
    pub(crate) fn is_video(&self) -> bool {
        matches!(self, Self::Video(_))
    }
}
