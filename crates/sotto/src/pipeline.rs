//! The media of one connected call, in step with the clock, between codecs and frames.

use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::FrameKind;
use call_media::jitter::JitterConfig;
use call_media::video::{VideoFrame, VideoSink, VideoSource, is_vp8_key_frame};
use call_media::{
    AUDIO_FRAME_DURATION, AUDIO_FRAME_SAMPLES, AudioFrame, AudioReceiver, AudioReceiverStats,
    AudioSink, AudioSource, CodecError, MediaError, OpusConfig, OpusEncoder, SAMPLE_RATE,
    SourceState,
};

use crate::media::{MediaStreams, Source};
use crate::transport::MediaLine;

/// After a stall (a suspended machine) the pipeline goes on from now instead of catching up.
const MAX_CATCH_UP: Duration = Duration::from_millis(500);

/// Weight of a new loss report that is lower than what is assumed; a higher one counts at once.
const LOSS_DECAY: f32 = 0.2;

/// Ticks of the RTP clock of video in a second.
const VIDEO_CLOCK: u64 = 90_000;

/// An encoded frame that is to be encrypted and sent.
#[derive(Debug)]
pub(crate) struct OutgoingFrame {
    pub(crate) line: MediaLine,
    pub(crate) kind: FrameKind,
    pub(crate) timestamp: u32,
    pub(crate) data: Bytes,
}

/// What the application does with a media line.
pub(crate) enum LineChange {
    Attach(Source),
    Detach,
    Mute(bool),
}

/// Sources and sinks with their codecs. What belongs to a line stands at its place in
/// [`MediaLine::ALL`].
pub(crate) struct Pipeline {
    started: Instant,
    audio_in: [Option<AudioIn>; LINES],
    audio_out: [Option<AudioOut>; LINES],
    video_in: [Option<VideoIn>; LINES],
    video_out: [Option<VideoOut>; LINES],
    pub(crate) first_audio: Option<Instant>,
    failure: Option<MediaError>,
}

const LINES: usize = MediaLine::ALL.len();
const MICROPHONE: usize = MediaLine::Microphone as usize;

impl Pipeline {
    /// Starts at `now`: the first audio frame is due 20 ms later, when it has been spoken.
    pub(crate) fn new(now: Instant, streams: MediaStreams) -> Result<Self, CodecError> {
        let screen_audio_out = streams
            .screen_audio_out
            .map(|sink| AudioOut::new(now, Some(sink)));
        let mut pipeline = Self {
            started: now,
            audio_in: [const { None }; LINES],
            audio_out: [
                Some(AudioOut::new(now, streams.audio_out)?),
                None,
                screen_audio_out.transpose()?,
                None,
            ],
            video_in: [const { None }; LINES],
            video_out: [
                None,
                streams.video_out.map(VideoOut::new),
                None,
                streams.screen_out.map(VideoOut::new),
            ],
            first_audio: None,
            failure: None,
        };
        if let Some(source) = streams.audio_in {
            pipeline.attach(now, MediaLine::Microphone, Source::Audio(source))?;
        }
        if let Some(source) = streams.video_in {
            pipeline.attach(now, MediaLine::Camera, Source::Video(source))?;
        }
        Ok(pipeline)
    }

    /// When sample 0 of the first source was spoken, and when sample 0 of the sink was played.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let capture = self.audio_in.iter().flatten().map(|audio| audio.next);
        let play = self.audio_out.iter().flatten().map(|audio| audio.next);
        let video = self.video_in.iter().flatten().filter_map(VideoIn::due);
        capture.chain(play).chain(video).min()
    }

    /// Does what is due: encodes into `out`, decodes into the sinks.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<OutgoingFrame>) {
        for line in MediaLine::ALL {
            let result = self.run_line(now, line, out);
            self.note_failure(result);
        }
    }

    /// A source, sink or codec that failed; the call can't do its job any more.
    pub(crate) fn take_failure(&mut self) -> Option<MediaError> {
        self.failure.take()
    }

    /// Attaches, detaches, mutes. A source of the wrong kind is never passed.
    pub(crate) fn change(&mut self, now: Instant, line: MediaLine, change: LineChange) {
        match change {
            LineChange::Attach(source) => {
                let result = self.attach(now, line, source).map_err(MediaError::from);
                self.note_failure(result);
            }
            LineChange::Detach => {
                self.audio_in[line as usize] = None;
                self.video_in[line as usize] = None;
            }
            LineChange::Mute(muted) => self.set_muted(line, muted),
        }
    }

    /// A decrypted audio frame came in.
    pub(crate) fn receive_audio(
        &mut self,
        line: MediaLine,
        arrived: Instant,
        sequence: u16,
        timestamp: u32,
        payload: Bytes,
    ) {
        if let Some(audio) = &mut self.audio_out[line as usize] {
            audio.receiver.insert(arrived, sequence, timestamp, payload);
        }
    }

    /// A decrypted VP8 frame came in.
    pub(crate) fn receive_video(&mut self, line: MediaLine, timestamp: u32, data: Bytes) {
        let Some(video) = &mut self.video_out[line as usize] else {
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

    pub(crate) fn request_key_frame(&mut self, line: MediaLine) {
        if let Some(video) = &mut self.video_in[line as usize] {
            video.source.request_key_frame();
        }
    }

    /// The peer lost this part (0–1) of our audio: protect it accordingly.
    pub(crate) fn set_loss(&mut self, line: MediaLine, lost: f32) {
        if let Some(audio) = &mut self.audio_in[line as usize] {
            let result = audio.set_loss(lost).map_err(MediaError::from);
            self.note_failure(result);
        }
    }

    /// Figures of the peer's microphone.
    pub(crate) fn audio_statistics(&self) -> Option<AudioReceiverStats> {
        let audio = self.audio_out[MICROPHONE].as_ref()?;
        Some(audio.receiver.stats())
    }

    /// Completes the files.
    pub(crate) fn finish(&mut self) {
        let audio = self
            .audio_out
            .iter_mut()
            .flatten()
            .filter_map(|out| out.sink.as_mut());
        let audio = audio.map(|sink| sink.finish());
        let video = self
            .video_out
            .iter_mut()
            .flatten()
            .map(|out| out.sink.finish());
        let result = audio.chain(video).fold(Ok(()), Result::and);
        self.note_failure(result);
    }

    fn attach(&mut self, now: Instant, line: MediaLine, source: Source) -> Result<(), CodecError> {
        let elapsed = now.saturating_duration_since(self.started);
        match source {
            Source::Audio(source) => {
                let timestamp = ticks(elapsed, u64::from(SAMPLE_RATE));
                self.audio_in[line as usize] = Some(AudioIn::new(now, line, timestamp, source)?);
            }
            Source::Video(source) => {
                self.video_in[line as usize] = Some(VideoIn {
                    line,
                    source,
                    began: now,
                    timestamp: ticks(elapsed, VIDEO_CLOCK),
                    next: None,
                    muted: false,
                    ended: false,
                });
            }
        }
        Ok(())
    }

    /// A muted source goes on in time but nothing is sent.
    fn set_muted(&mut self, line: MediaLine, muted: bool) {
        if let Some(audio) = &mut self.audio_in[line as usize] {
            audio.muted = muted;
        }
        if let Some(video) = &mut self.video_in[line as usize] {
            if video.muted && !muted {
                video.source.request_key_frame();
            }
            video.muted = muted;
        }
    }

    fn run_line(
        &mut self,
        now: Instant,
        line: MediaLine,
        out: &mut Vec<OutgoingFrame>,
    ) -> Result<(), MediaError> {
        if let Some(audio) = &mut self.audio_in[line as usize] {
            audio.capture(now, out)?;
        }
        if let Some(video) = &mut self.video_in[line as usize] {
            video.capture(now, out)?;
        }
        if let Some(audio) = &mut self.audio_out[line as usize] {
            let heard = audio.play(now)?;
            if heard && line == MediaLine::Microphone {
                self.first_audio.get_or_insert(now);
            }
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
    line: MediaLine,
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
    fn new(
        now: Instant,
        line: MediaLine,
        timestamp: u32,
        source: Box<dyn AudioSource>,
    ) -> Result<Self, CodecError> {
        let config = OpusConfig::default();
        let base_loss = f32::from(config.expected_loss);
        Ok(Self {
            line,
            source,
            encoder: OpusEncoder::new(config)?,
            next: now + AUDIO_FRAME_DURATION,
            timestamp,
            muted: false,
            loss: base_loss,
            base_loss,
        })
    }

    fn capture(&mut self, now: Instant, out: &mut Vec<OutgoingFrame>) -> Result<(), MediaError> {
        let skipped = skip_stall(&mut self.next, now);
        let samples = skipped.wrapping_mul(AUDIO_FRAME_SAMPLES as u32);
        self.timestamp = self.timestamp.wrapping_add(samples);
        while self.next <= now {
            self.next += AUDIO_FRAME_DURATION;
            out.extend(self.encode()?);
        }
        Ok(())
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
            line: self.line,
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

impl AudioOut {
    fn new(now: Instant, sink: Option<Box<dyn AudioSink>>) -> Result<Self, CodecError> {
        Ok(Self {
            sink,
            receiver: AudioReceiver::new(JitterConfig::default())?,
            next: now,
        })
    }

    /// Plays what is due; returns whether the peer has been heard.
    fn play(&mut self, now: Instant) -> Result<bool, MediaError> {
        let mut heard = false;
        skip_stall(&mut self.next, now);
        while self.next <= now {
            let due = self.next;
            self.next += AUDIO_FRAME_DURATION;
            let frame = self.receiver.pull_frame(due);
            heard |= self.receiver.stats().jitter.received > 0;
            if let Some(sink) = &mut self.sink {
                sink.write(&frame)?;
            }
        }
        Ok(heard)
    }
}

struct VideoIn {
    line: MediaLine,
    source: Box<dyn VideoSource>,
    /// When the source was attached: time zero of its frames.
    began: Instant,
    /// The RTP timestamp of that moment.
    timestamp: u32,
    next: Option<VideoFrame>,
    muted: bool,
    ended: bool,
}

impl VideoIn {
    fn capture(&mut self, now: Instant, out: &mut Vec<OutgoingFrame>) -> Result<(), MediaError> {
        self.fill()?;
        while let Some(frame) = self
            .next
            .take_if(|frame| self.began + frame.timestamp <= now)
        {
            if !self.muted {
                out.push(OutgoingFrame {
                    line: self.line,
                    kind: FrameKind::of_vp8(&frame.data),
                    timestamp: self.timestamp.wrapping_add(frame.rtp_timestamp()),
                    data: frame.data,
                });
            }
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), MediaError> {
        if self.next.is_none() && !self.ended {
            self.next = self.source.next_frame()?;
            self.ended = self.next.is_none();
        }
        Ok(())
    }

    /// When the next frame is to be shown; at once where it was not asked for yet.
    fn due(&self) -> Option<Instant> {
        match &self.next {
            Some(frame) => Some(self.began + frame.timestamp),
            None => (!self.ended).then_some(self.began),
        }
    }
}

struct VideoOut {
    sink: Box<dyn VideoSink>,
    timeline: Option<Timeline>,
}

impl VideoOut {
    fn new(sink: Box<dyn VideoSink>) -> Self {
        Self {
            sink,
            timeline: None,
        }
    }

    fn time_of(&mut self, timestamp: u32) -> Duration {
        let timeline = self.timeline.get_or_insert(Timeline {
            last: timestamp,
            elapsed: 0,
        });
        timeline.advance(timestamp)
    }
}

/// Ticks of a clock of `rate` a second, wrapped as RTP timestamps are.
fn ticks(elapsed: Duration, rate: u64) -> u32 {
    (elapsed.as_micros() as u64 * rate / 1_000_000) as u32
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
        Duration::from_nanos(self.elapsed * 1_000_000_000 / VIDEO_CLOCK)
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
