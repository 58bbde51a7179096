//! Sources and sinks of a call, in step with the clock, between codecs and frames.
//!
//! Sound is 48 kHz, mono, 16 bits, in frames of 20 ms; video is VP8 as its encoder made it. Files
//! can be both source and sink: WAV for sound, IVF for video. An application brings its own devices
//! by implementing [`AudioSource`], [`AudioSink`], [`VideoSource`] and [`VideoSink`].

use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::FrameKind;
use call_media::jitter::JitterConfig;
use call_media::video::is_vp8_key_frame;
pub use call_media::video::{IvfReader, IvfWriter, VideoFrame, VideoSink, VideoSource};
pub use call_media::{
    AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink, AudioSource, CodecError,
    FileError, FileFault, Level, MediaError, SAMPLE_RATE, SourceState, WavSink, WavSource,
};
use call_media::{AudioReceiver, AudioReceiverStats, OpusConfig, OpusEncoder};

use crate::transport::MediaLine;

/// After a stall (a suspended machine) the pipeline goes on from now instead of catching up.
const MAX_CATCH_UP: Duration = Duration::from_millis(500);

/// Weight of a new loss report that is lower than what is assumed; a higher one counts at once.
const LOSS_DECAY: f32 = 0.2;

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
}

/// An encoded frame that is to be encrypted and sent.
#[derive(Debug)]
pub(crate) struct OutgoingFrame {
    pub(crate) line: MediaLine,
    pub(crate) kind: FrameKind,
    pub(crate) timestamp: u32,
    pub(crate) data: Bytes,
}

/// The media of one connected call.
pub(crate) struct Pipeline {
    started: Instant,
    audio_in: Option<AudioIn>,
    audio_out: AudioOut,
    video_in: Option<VideoIn>,
    video_out: Option<VideoOut>,
    pub(crate) first_audio: Option<Instant>,
    failure: Option<MediaError>,
}

impl Pipeline {
    /// Starts at `now`: the first audio frame is due 20 ms later, when it has been spoken.
    pub(crate) fn new(now: Instant, streams: MediaStreams) -> Result<Self, CodecError> {
        let MediaStreams {
            audio_in,
            audio_out,
            video_in,
            video_out,
        } = streams;
        Ok(Self {
            started: now,
            audio_in: audio_in
                .map(|source| AudioIn::new(now, source))
                .transpose()?,
            audio_out: AudioOut {
                sink: audio_out,
                receiver: AudioReceiver::new(JitterConfig::default())?,
                next: now,
            },
            video_in: video_in.map(|source| VideoIn {
                source,
                next: None,
                muted: false,
            }),
            video_out: video_out.map(|sink| VideoOut {
                sink,
                timeline: None,
            }),
            first_audio: None,
            failure: None,
        })
    }

    /// When sample 0 of the source was spoken, and when sample 0 of the sink was played.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let capture = self.audio_in.as_ref().map(|audio| audio.next);
        let video = self
            .video_in
            .as_ref()
            .and_then(|video| video.due(self.started));
        [capture, Some(self.audio_out.next), video]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due: encodes into `out`, decodes into the sinks.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<OutgoingFrame>) {
        let result = self.capture(now, out).and_then(|()| self.play(now));
        let result = result.and_then(|()| self.capture_video(now, out));
        self.note_failure(result);
    }

    /// A source, sink or codec that failed; the call can't do its job any more.
    pub(crate) fn take_failure(&mut self) -> Option<MediaError> {
        self.failure.take()
    }

    /// A decrypted audio frame came in.
    pub(crate) fn receive_audio(
        &mut self,
        arrived: Instant,
        sequence: u16,
        timestamp: u32,
        payload: Bytes,
    ) {
        self.audio_out
            .receiver
            .insert(arrived, sequence, timestamp, payload);
    }

    /// A decrypted VP8 frame of the peer's camera came in.
    pub(crate) fn receive_video(&mut self, timestamp: u32, data: Bytes) {
        let Some(video) = &mut self.video_out else {
            return;
        };
        let frame = VideoFrame {
            timestamp: video.time_of(timestamp),
            key_frame: is_vp8_key_frame(&data),
            data,
        };
        let result = video.sink.write(&frame);
        self.note_failure(result);
    }

    /// Stops or resumes a source. A muted source goes on in time but nothing is sent.
    pub(crate) fn set_muted(&mut self, line: MediaLine, muted: bool) {
        match line {
            MediaLine::Microphone => {
                if let Some(audio) = &mut self.audio_in {
                    audio.muted = muted;
                }
            }
            MediaLine::Camera => {
                if let Some(video) = &mut self.video_in {
                    if video.muted && !muted {
                        video.source.request_key_frame();
                    }
                    video.muted = muted;
                }
            }
            MediaLine::ScreenAudio | MediaLine::Screen => {}
        }
    }

    pub(crate) fn request_key_frame(&mut self, line: MediaLine) {
        if let (MediaLine::Camera, Some(video)) = (line, &mut self.video_in) {
            video.source.request_key_frame();
        }
    }

    /// The peer lost this part (0–1) of our audio: protect it accordingly.
    pub(crate) fn set_loss(&mut self, lost: f32) {
        let Some(audio) = &mut self.audio_in else {
            return;
        };
        let result = audio.set_loss(lost).map_err(MediaError::from);
        self.note_failure(result);
    }

    pub(crate) fn audio_statistics(&self) -> AudioReceiverStats {
        self.audio_out.receiver.stats()
    }

    /// Completes the files.
    pub(crate) fn finish(&mut self) {
        let audio = self
            .audio_out
            .sink
            .as_mut()
            .map_or(Ok(()), |sink| sink.finish());
        self.note_failure(audio);
        let video = self
            .video_out
            .as_mut()
            .map_or(Ok(()), |video| video.sink.finish());
        self.note_failure(video);
    }

    fn capture(&mut self, now: Instant, out: &mut Vec<OutgoingFrame>) -> Result<(), MediaError> {
        let Some(audio) = &mut self.audio_in else {
            return Ok(());
        };
        let skipped = skip_stall(&mut audio.next, now);
        audio.timestamp = audio
            .timestamp
            .wrapping_add(skipped.wrapping_mul(AUDIO_FRAME_SAMPLES as u32));
        while audio.next <= now {
            audio.next += AUDIO_FRAME_DURATION;
            out.extend(audio.encode()?);
        }
        Ok(())
    }

    fn play(&mut self, now: Instant) -> Result<(), MediaError> {
        let audio = &mut self.audio_out;
        skip_stall(&mut audio.next, now);
        while audio.next <= now {
            let due = audio.next;
            audio.next += AUDIO_FRAME_DURATION;
            let frame = audio.receiver.pull_frame(due);
            if self.first_audio.is_none() && audio.receiver.stats().jitter.received > 0 {
                self.first_audio = Some(now);
            }
            if let Some(sink) = &mut audio.sink {
                sink.write(&frame)?;
            }
        }
        Ok(())
    }

    fn capture_video(
        &mut self,
        now: Instant,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), MediaError> {
        let Some(video) = &mut self.video_in else {
            return Ok(());
        };
        video.fill()?;
        while let Some(frame) = video
            .next
            .take_if(|frame| self.started + frame.timestamp <= now)
        {
            if !video.muted {
                out.push(OutgoingFrame {
                    line: MediaLine::Camera,
                    kind: FrameKind::of_vp8(&frame.data),
                    timestamp: frame.rtp_timestamp(),
                    data: frame.data,
                });
            }
            video.fill()?;
        }
        Ok(())
    }

    fn note_failure(&mut self, result: Result<(), MediaError>) {
        if let Err(error) = result
            && self.failure.is_none()
        {
            self.failure = Some(error);
        }
    }
}

struct AudioIn {
    source: Box<dyn AudioSource>,
    encoder: OpusEncoder,
    next: Instant,
    timestamp: u32,
    muted: bool,
    /// Assumed loss, in percent.
    loss: f32,
    base_loss: f32,
}

impl AudioIn {
    fn new(now: Instant, source: Box<dyn AudioSource>) -> Result<Self, CodecError> {
        let config = OpusConfig::default();
        let base_loss = f32::from(config.expected_loss);
        Ok(Self {
            source,
            encoder: OpusEncoder::new(config)?,
            next: now + AUDIO_FRAME_DURATION,
            timestamp: 0,
            muted: false,
            loss: base_loss,
            base_loss,
        })
    }

    /// The next 20 ms. Silence after the end of the source is sent too: it is the far end of a
    /// quiet line, not a mute. A muted source sends nothing, which is how SimpleX's peers see it.
    fn encode(&mut self) -> Result<Option<OutgoingFrame>, MediaError> {
        let mut frame = AudioFrame::SILENCE;
        let (SourceState::Frame | SourceState::End) = self.source.next_frame(&mut frame)?;
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(AUDIO_FRAME_SAMPLES as u32);
        if self.muted {
            return Ok(None);
        }
        Ok(Some(OutgoingFrame {
            line: MediaLine::Microphone,
            kind: FrameKind::Audio,
            timestamp,
            data: self.encoder.encode(&frame)?,
        }))
    }

    fn set_loss(&mut self, lost: f32) -> Result<(), CodecError> {
        let percent = (lost * 100.0).clamp(self.base_loss, 100.0);
        let step = if percent > self.loss { 1.0 } else { LOSS_DECAY };
        self.loss += (percent - self.loss) * step;
        self.encoder.set_expected_loss(self.loss.round() as u8)
    }
}

struct AudioOut {
    sink: Option<Box<dyn AudioSink>>,
    receiver: AudioReceiver,
    next: Instant,
}

struct VideoIn {
    source: Box<dyn VideoSource>,
    next: Option<VideoFrame>,
    muted: bool,
}

impl VideoIn {
    fn fill(&mut self) -> Result<(), MediaError> {
        if self.next.is_none() {
            self.next = self.source.next_frame()?;
        }
        Ok(())
    }

    fn due(&self, started: Instant) -> Option<Instant> {
        self.next.as_ref().map(|frame| started + frame.timestamp)
    }
}

struct VideoOut {
    sink: Box<dyn VideoSink>,
    timeline: Option<Timeline>,
}

impl VideoOut {
    fn time_of(&mut self, timestamp: u32) -> Duration {
        let timeline = self.timeline.get_or_insert(Timeline {
            last: timestamp,
            elapsed: 0,
        });
        timeline.advance(timestamp)
    }
}

/// Unwraps the peer's 32-bit RTP timestamps (90 kHz).
struct Timeline {
    last: u32,
    elapsed: u64,
}

impl Timeline {
    fn advance(&mut self, timestamp: u32) -> Duration {
        let step = timestamp.wrapping_sub(self.last);
        // More than half the range is a step back: the frame shows at the time of the one before.
        if step < u32::MAX / 2 {
            self.elapsed += u64::from(step);
            self.last = timestamp;
        }
        Duration::from_nanos(self.elapsed * 1_000_000_000 / 90_000)
    }
}

/// Moves `next` to the frame that is due at `now` after a stall; returns the frames left out.
fn skip_stall(next: &mut Instant, now: Instant) -> u32 {
    let late = now.saturating_duration_since(*next);
    if late <= MAX_CATCH_UP {
        return 0;
    }
    let frames = (late.as_millis() / AUDIO_FRAME_DURATION.as_millis()) as u32;
    *next += AUDIO_FRAME_DURATION * frames;
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_time_goes_on_when_the_rtp_timestamp_wraps() {
        let mut timeline = Timeline {
            last: u32::MAX - 44_999,
            elapsed: 0,
        };
        assert_eq!(timeline.advance(0), Duration::from_millis(500));
        assert_eq!(timeline.advance(90_000), Duration::from_millis(1500));
    }

    #[test]
    fn video_time_never_goes_back() {
        let mut timeline = Timeline {
            last: 90_000,
            elapsed: 90_000,
        };
        assert_eq!(timeline.advance(45_000), Duration::from_secs(1));
    }
}
