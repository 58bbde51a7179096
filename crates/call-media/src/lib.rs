//! Audio and video sources, sinks, codecs and the jitter buffer
mod audio;
mod error;
pub mod jitter;
pub mod measure;
pub mod video;

pub use audio::format::{
    AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink, AudioSource, Level,
    SAMPLE_RATE, SourceState,
};
pub use audio::opus::{MAX_OPUS_PACKET, OpusConfig, OpusDecoder, OpusEncoder};
pub use audio::receiver::{AudioReceiver, AudioReceiverStats};
pub use audio::wav_in::WavSource;
pub use audio::wav_out::WavSink;
pub use error::{CodecError, FileError, FileFault, MediaError};
