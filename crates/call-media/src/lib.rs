//! Audio and video sources, sinks, codecs and the jitter buffer.
//!
//! Media between files (later devices) and RTP payloads. Nothing here knows of signalling, keys or
//! sockets, and nothing reads a clock: where time matters, it is passed in.
//!
//! | the way out | the way in |
//! |---|---|
//! | [`WavSource`] → [`OpusEncoder`] → encryption → RTP | RTP → decryption → [`AudioReceiver`] (a [`jitter::JitterBuffer`] and an [`OpusDecoder`]) → [`WavSink`] |
//! | [`video::IvfReader`] → encryption → [`video::Packetizer`] → RTP | RTP → [`video::FrameAssembler`] → decryption → [`video::IvfWriter`] |
//!
//! Audio is 48 kHz, mono, 16 bits, in frames of 20 ms ([`AudioFrame`]) all over the house. Video is
//! VP8 as its encoder made it. [`measure`] tells levels and delays.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use call_media::jitter::JitterConfig;
//! use call_media::{AudioFrame, AudioReceiver, OpusConfig, OpusEncoder};
//!
//! # fn main() -> Result<(), call_media::CodecError> {
//! let mut encoder = OpusEncoder::new(OpusConfig::default())?;
//! let mut receiver = AudioReceiver::new(JitterConfig::default())?;
//! let mut now = Instant::now();
//! for number in 0..50_u16 {
//!     let packet = encoder.encode(&AudioFrame::SILENCE)?;
//!     assert_eq!(packet.len(), 80, "all packets have one size");
//!     receiver.insert(now, number, u32::from(number) * 960, packet);
//!     let _played: AudioFrame = receiver.pull_frame(now);
//!     now += Duration::from_millis(20);
//! }
//! assert_eq!(receiver.stats().jitter.concealed, 0);
//! # Ok(())
//! # }
//! ```

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
