//! One live call below the state machine: transport, relays, frame encryption and media.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::{
    Candidate, DecryptStats, EncryptStats, EndReason, FrameDecryptor, FrameEncryptor, FrameKind,
    MediaKey, OpenTransport, Refusal,
};
use call_media::video::is_vp8_key_frame;
use call_signal::{IceCandidate, SessionDescription};
use rand::CryptoRng;

use crate::gather::{GatherEvent, Gatherer, Incoming, ReachableServer};
use crate::media::MediaStreams;
use crate::pipeline::{LineChange, OutgoingFrame, Pipeline};
use crate::statistics::{AudioStatistics, FrameStatistics};
use crate::transport::{
    Datagram, EncodedFrame, MediaLine, ReceivedFrame, RtcConfig, RtcTransport, Transport as _,
    TransportError, TransportEvent, TransportStatistics,
};

/// At most one key frame is asked for, and one served, in this time on each line.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// What the session has to tell the engine.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    LocalCandidates(Vec<IceCandidate>),
    GatheringComplete,
    Connected,
    Interrupted,
    Resumed,
    Failed(EndReason),
}

/// One live call.
pub(crate) struct Session {
    transport: RtcTransport,
    gatherer: Gatherer,
    frames: Option<FrameCrypto>,
    /// Waits for the connection.
    streams: Option<MediaStreams>,
    pipeline: Option<Pipeline>,
    last_request: [Option<Instant>; MediaLine::ALL.len()],
    last_served: [Option<Instant>; MediaLine::ALL.len()],
    events: VecDeque<SessionEvent>,
    accepted: Instant,
    connected: Option<Instant>,
    /// Why media failed.
    failure: Option<String>,
    /// Wait for the pipeline.
    changes: Vec<(MediaLine, LineChange)>,
}

/// Frame encryption of one call: one key, both directions (SimpleX's form).
struct FrameCrypto {
    encryptor: FrameEncryptor,
    decryptor: FrameDecryptor,
}

impl Session {
    /// Opens the transport and describes it.
    pub(crate) fn open(
        now: Instant,
        config: RtcConfig,
        open: &OpenTransport,
        streams: MediaStreams,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Self, SessionDescription), TransportError> {
        let mut transport = RtcTransport::new(now, config)?;
        let description = transport.describe(now, open)?;
        let session = Self {
            transport,
            gatherer: Gatherer::new(config.relay_only),
            frames: open
                .frame_key
                .as_ref()
                .map(|key| FrameCrypto::new(key, rng)),
            streams: Some(streams),
            pipeline: None,
            last_request: [None; MediaLine::ALL.len()],
            last_served: [None; MediaLine::ALL.len()],
            events: VecDeque::new(),
            accepted: now,
            connected: None,
            failure: None,
            changes: Vec::new(),
        };
        Ok((session, description))
    }

    /// The sockets are open and the servers resolved: gathering begins.
    pub(crate) fn handle_network(
        &mut self,
        now: Instant,
        sockets: &[SocketAddr],
        servers: &[ReachableServer],
    ) {
        for socket in sockets {
            self.gatherer.add_socket(*socket);
        }
        for server in servers {
            self.gatherer.add_server(now, server);
        }
        self.gatherer.all_added(now);
        self.after(now);
    }

    pub(crate) fn apply_answer(
        &mut self,
        now: Instant,
        answer: &SessionDescription,
    ) -> Result<(), TransportError> {
        self.transport.apply_answer(now, answer)?;
        self.after(now);
        Ok(())
    }

    pub(crate) fn add_remote_candidates(&mut self, now: Instant, candidates: &[IceCandidate]) {
        for candidate in candidates {
            self.transport.add_remote_candidate(candidate);
            if let Some(address) = socket_address(candidate) {
                self.gatherer.permit(now, address);
            }
        }
        self.after(now);
    }

    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        bytes: &[u8],
    ) {
        match self.gatherer.handle_datagram(now, local, peer, bytes) {
            Incoming::Consumed => {}
            Incoming::Relayed(datagrams) => {
                for relayed in datagrams {
                    let (local, peer) = (relayed.local, relayed.peer);
                    self.transport
                        .handle_datagram(now, local, peer, &relayed.bytes);
                }
            }
            Incoming::Direct => self.transport.handle_datagram(now, local, peer, bytes),
        }
        self.after(now);
    }

    pub(crate) fn poll_datagram(&mut self) -> Option<Datagram> {
        self.gatherer.poll_datagram()
    }

    pub(crate) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let pipeline = self.pipeline.as_ref().and_then(Pipeline::poll_timeout);
        let transport = self.transport.poll_timeout();
        [pipeline, transport, self.gatherer.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.gatherer.handle_timeout(now);
        self.transport.handle_timeout(now);
        self.run_pipeline(now);
        self.after(now);
    }

    pub(crate) fn change(&mut self, now: Instant, line: MediaLine, change: LineChange) {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.change(now, line, change),
            None => self.changes.push((line, change)),
        }
    }

    /// Says good-bye and completes the files; datagrams may still be polled.
    pub(crate) fn close(&mut self, now: Instant) {
        self.transport.close(now);
        self.flush_transport(now);
        self.gatherer.close(now);
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.finish();
            self.failure = pipeline.take_failure().map(|error| error.to_string());
        } else if let Some(mut streams) = self.streams.take() {
            finish_unused(&mut streams);
        }
    }

    /// Why media failed, if they did.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    pub(crate) fn transport_statistics(&mut self, now: Instant) -> TransportStatistics {
        self.transport.statistics(now)
    }

    pub(crate) fn frame_statistics(&self) -> FrameStatistics {
        match &self.frames {
            Some(frames) => {
                FrameStatistics::new(&frames.encryptor.stats(), &frames.decryptor.stats())
            }
            None => FrameStatistics::new(&EncryptStats::default(), &DecryptStats::default()),
        }
    }

    pub(crate) fn audio_statistics(&self) -> Option<AudioStatistics> {
        let stats = self.pipeline.as_ref()?.audio_statistics()?;
        Some(AudioStatistics::new(&stats))
    }

    pub(crate) fn times(&self) -> SessionTimes {
        SessionTimes {
            accepted: self.accepted,
            connected: self.connected,
            media_started: self.pipeline.as_ref().map(Pipeline::started),
            first_audio: self
                .pipeline
                .as_ref()
                .and_then(|pipeline| pipeline.first_audio),
        }
    }

    /// Frames that arrive are decrypted and dropped from now on.
    #[cfg(any(test, feature = "harness"))]
    pub(crate) fn remove_pipeline(&mut self) {
        self.pipeline = None;
    }

    /// Encrypts and sends a frame that did not come from the pipeline.
    #[cfg(any(test, feature = "harness"))]
    pub(crate) fn send_encoded(&mut self, now: Instant, frame: OutgoingFrame) {
        self.send(now, frame);
        self.after(now);
    }

    /// Moves on what the last input set off.
    fn after(&mut self, now: Instant) {
        loop {
            self.flush_transport(now);
            let mut candidates = Vec::new();
            let mut idle = true;
            while let Some(event) = self.gatherer.poll_event() {
                idle = false;
                self.on_gather_event(&event, &mut candidates);
            }
            if !candidates.is_empty() {
                self.events
                    .push_back(SessionEvent::LocalCandidates(candidates));
            }
            while let Some(event) = self.transport.poll_event() {
                idle = false;
                self.on_transport_event(now, event);
            }
            if idle {
                break;
            }
        }
        // Completion is told after the candidates that came with it.
        if let Some(index) = self
            .events
            .iter()
            .position(|e| matches!(e, SessionEvent::GatheringComplete))
            && let Some(event) = self.events.remove(index)
        {
            self.events.push_back(event);
        }
    }

    fn flush_transport(&mut self, now: Instant) {
        while let Some(datagram) = self.transport.poll_datagram(now) {
            self.gatherer.send(now, datagram);
        }
    }

    fn on_gather_event(&mut self, event: &GatherEvent, candidates: &mut Vec<IceCandidate>) {
        match *event {
            GatherEvent::Candidate(candidate) => {
                match self.transport.add_local_candidate(candidate) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(error) => tracing::debug!(%error, "a local candidate was left out"),
                }
            }
            GatherEvent::Complete => self.events.push_back(SessionEvent::GatheringComplete),
        }
    }

    fn on_transport_event(&mut self, now: Instant, event: TransportEvent) {
        match event {
            TransportEvent::Connected => self.on_connected(now),
            TransportEvent::Interrupted => self.events.push_back(SessionEvent::Interrupted),
            TransportEvent::Resumed => self.events.push_back(SessionEvent::Resumed),
            TransportEvent::Closed => {
                self.events
                    .push_back(SessionEvent::Failed(EndReason::PeerHungUp));
            }
            TransportEvent::Refused(refusal) => self.on_refused(refusal),
            TransportEvent::Frame(frame) => self.on_frame(frame),
            TransportEvent::KeyFrameNeeded(line) => self.request_key_frame(now, line),
            TransportEvent::KeyFrameRequested(line) => self.serve_key_frame(now, line),
            TransportEvent::LossReported(line, lost) => {
                if let Some(pipeline) = &mut self.pipeline {
                    pipeline.set_loss(line, lost);
                }
            }
        }
    }

    fn on_connected(&mut self, now: Instant) {
        let Some(streams) = self.streams.take() else {
            return;
        };
        match Pipeline::new(now, streams) {
            Ok(mut pipeline) => {
                for (line, change) in self.changes.drain(..) {
                    pipeline.change(now, line, change);
                }
                self.pipeline = Some(pipeline);
                self.connected = Some(now);
                self.events.push_back(SessionEvent::Connected);
            }
            Err(error) => {
                self.failure = Some(error.to_string());
                self.events
                    .push_back(SessionEvent::Failed(EndReason::MediaFailed));
            }
        }
    }

    fn on_refused(&mut self, refusal: Refusal) {
        self.events
            .push_back(SessionEvent::Failed(EndReason::Refused(refusal)));
    }

    fn on_frame(&mut self, frame: ReceivedFrame) {
        let ReceivedFrame {
            line,
            sequence,
            timestamp,
            payload,
            arrived,
            continuous,
        } = frame;
        let kind = if line.is_video() {
            FrameKind::of_vp8(&payload)
        } else {
            FrameKind::Audio
        };
        let data = match &mut self.frames {
            None => payload,
            Some(frames) => match frames.decryptor.decrypt(kind, &payload) {
                Ok(data) => Bytes::from(data),
                Err(_) => {
                    if line.is_video() {
                        self.transport.frame_lost(line);
                    }
                    return;
                }
            },
        };
        let Some(pipeline) = &mut self.pipeline else {
            return;
        };
        if !line.is_video() {
            return pipeline.receive_audio(line, arrived, sequence, timestamp, data);
        }
        let key = is_vp8_key_frame(&data);
        if key {
            self.transport.key_frame_seen(line);
        }
        if key || continuous {
            pipeline.receive_video(line, timestamp, data);
        }
    }

    fn request_key_frame(&mut self, now: Instant, line: MediaLine) {
        if rate_limit(&mut self.last_request[line as usize], now) {
            self.transport.request_key_frame(now, line);
        }
    }

    /// A key frame for the peer, which may ask more often than is good for it.
    fn serve_key_frame(&mut self, now: Instant, line: MediaLine) {
        if let Some(pipeline) = &mut self.pipeline
            && rate_limit(&mut self.last_served[line as usize], now)
        {
            pipeline.request_key_frame(line);
        }
    }

    fn run_pipeline(&mut self, now: Instant) {
        let Some(pipeline) = &mut self.pipeline else {
            return;
        };
        let mut out = Vec::new();
        pipeline.handle_timeout(now, &mut out);
        if let Some(error) = pipeline.take_failure() {
            self.failure = Some(error.to_string());
            self.events
                .push_back(SessionEvent::Failed(EndReason::MediaFailed));
        }
        for frame in out {
            self.send(now, frame);
        }
    }

    fn send(&mut self, now: Instant, frame: OutgoingFrame) {
        let OutgoingFrame {
            line,
            kind,
            timestamp,
            data,
        } = frame;
        let payload = match &mut self.frames {
            None => data,
            Some(frames) => match frames.encryptor.encrypt(kind, &data) {
                Ok(payload) => Bytes::from(payload),
                Err(error) => return tracing::warn!(%error, "a frame was not sent"),
            },
        };
        self.transport
            .send_frame(now, line, EncodedFrame { timestamp, payload });
    }
}

/// Whether a key frame may be asked for or served again, and notes that it is.
fn rate_limit(last: &mut Option<Instant>, now: Instant) -> bool {
    let due = last.is_none_or(|at| now.saturating_duration_since(at) >= KEY_FRAME_INTERVAL);
    if due {
        *last = Some(now);
    }
    due
}

/// When things happened in a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimes {
    pub(crate) accepted: Instant,
    pub(crate) connected: Option<Instant>,
    pub(crate) media_started: Option<Instant>,
    pub(crate) first_audio: Option<Instant>,
}

impl FrameCrypto {
    fn new(key: &MediaKey, rng: &mut dyn CryptoRng) -> Self {
        Self {
            encryptor: FrameEncryptor::new(key, rng),
            decryptor: FrameDecryptor::new(key),
        }
    }
}

/// The address in a candidate, if it is one and no name.
fn socket_address(candidate: &IceCandidate) -> Option<SocketAddr> {
    let candidate: Candidate = candidate.candidate.parse().ok()?;
    Some(SocketAddr::new(candidate.address().ip()?, candidate.port()))
}

/// A call that never connected leaves empty but valid files.
fn finish_unused(streams: &mut MediaStreams) {
    if let Some(sink) = &mut streams.audio_out
        && let Err(error) = sink.finish()
    {
        tracing::warn!(%error, "the audio output was not completed");
    }
    if let Some(sink) = &mut streams.video_out
        && let Err(error) = sink.finish()
    {
        tracing::warn!(%error, "the video output was not completed");
    }
}
