//! A video frame, and where frames come from and go to.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::MediaError;

/// Ticks a second of video's RTP timestamps (RFC 7741 §4.1).
pub const VIDEO_CLOCK_RATE: u32 = 90_000;

/// One encoded VP8 frame.
#[derive(Clone, PartialEq, Eq)]
pub struct VideoFrame {
    /// Presentation time since the beginning of its source.
    pub timestamp: Duration,
    /// Whether it can be decoded without any other frame.
    pub key_frame: bool,
    /// The frame as its encoder made it (RFC 6386), not encrypted.
    pub data: Bytes,
}

impl VideoFrame {
    /// The timestamp in ticks of [`VIDEO_CLOCK_RATE`], wrapped to 32 bits; the sender adds its
    /// random offset (RFC 3550 §5.1).
    pub fn rtp_timestamp(&self) -> u32 {
        ticks(self.timestamp) as u32
    }
}

impl fmt::Debug for VideoFrame {
    /// Shows the size alone: what is to be seen has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoFrame")
            .field("timestamp", &self.timestamp)
            .field("key_frame", &self.key_frame)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// Something that encoded video comes from: a file, later an encoder behind a camera.
pub trait VideoSource: Send {
    /// The next frame, or `None` at the end, and from then on. The caller waits until its
    /// presentation time before sending it.
    fn next_frame(&mut self) -> Result<Option<VideoFrame>, MediaError>;

    /// Asks that the next frame be a key frame, because the receiver has lost one.
    fn request_key_frame(&mut self);
}

/// Something that encoded video goes to: a file, later a decoder.
pub trait VideoSink: Send {
    /// Takes a frame. Timestamps do not go back.
    fn write(&mut self, frame: &VideoFrame) -> Result<(), MediaError>;

    /// Completes what was written. Calling it again does nothing; a frame after it is refused.
    fn finish(&mut self) -> Result<(), MediaError>;
}

/// Whether a VP8 frame is a key frame: the lowest bit of its first byte is 0 (RFC 6386 §9.1).
/// An empty frame is none.
pub fn is_vp8_key_frame(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 == 0)
}

/// A duration in ticks of [`VIDEO_CLOCK_RATE`], rounded.
pub(super) fn ticks(time: Duration) -> u64 {
    let nanos = time.as_nanos() * u128::from(VIDEO_CLOCK_RATE) + 500_000_000;
    u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_timestamps_count_90_a_millisecond_and_wrap() {
        let at = |timestamp| {
            let frame = VideoFrame {
                timestamp,
                key_frame: true,
                data: Bytes::new(),
            };
            frame.rtp_timestamp()
        };
        assert_eq!(at(Duration::from_millis(33)), 2970);
        assert_eq!(at(Duration::from_secs(47_722)), 12_704);
    }

    #[test]
    fn an_empty_frame_is_no_key_frame() {
        assert!(!is_vp8_key_frame(&[]));
        assert!(is_vp8_key_frame(&[0x10]));
        assert!(!is_vp8_key_frame(&[0x31]));
    }
}
