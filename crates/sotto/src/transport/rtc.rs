//! [`Transport`] on webrtc-rs's sans-IO core.

mod codecs;
mod lines;
mod setup;
mod stats;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use call_core::{
    Fingerprint, HashAlgorithm, OpenTransport, Refusal, SdpSide, SdpSummary, SectionKind,
};
use call_signal::{IceCandidate, SdpKind, SessionDescription};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::guard::Guard;
use super::pacer::{CHECK_INTERVAL, CheckPacer};
use super::{
    Datagram, EncodedFrame, LocalCandidate, MediaLine, SrtpProfile, Transport, TransportError,
    TransportEvent, TransportStatistics,
};
use lines::Lines;

/// How long the DTLS handshake may take once ICE has a path.
pub(crate) const DTLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Name that webrtc-rs gives to the one SRTP profile that is accepted.
const AES_256_GCM: &str = "SRTP_AEAD_AES_256_GCM";

/// How a transport is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtcConfig {
    /// Only relayed candidates will be added.
    pub(crate) relay_only: bool,
    /// What a test peer offers instead, to prove that weaker profiles are refused.
    pub(crate) srtp_profile: SrtpProtectionProfile,
}

impl RtcConfig {
    pub(crate) fn new(relay_only: bool) -> Self {
        Self {
            relay_only,
            srtp_profile: SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
        }
    }
}

/// A peer connection of webrtc-rs with its four media lines.
pub(crate) struct RtcTransport {
    pc: RTCPeerConnection,
    lines: Lines,
    guard: Guard,
    checks: CheckPacer,
    /// Candidates of this side, for the pace of the ICE agent.
    local_candidates: u32,
    /// The library does what is due no sooner than this.
    next_tick: Instant,
    events: VecDeque<TransportEvent>,
    /// SHA-256 or longer digests from the peer's description.
    fingerprints: Vec<Fingerprint>,
    phase: Phase,
    /// The library says that ICE and DTLS are done.
    library_connected: bool,
    peer_closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    /// ICE has a path; DTLS must end before this.
    Handshake {
        until: Instant,
    },
    Connected,
    Interrupted,
    Closed,
}

impl RtcTransport {
    pub(crate) fn new(now: Instant, config: RtcConfig) -> Result<Self, TransportError> {
        let pc = setup::peer_connection(now, config).map_err(local)?;
        let guard = Guard::new().map_err(local)?;
        Ok(Self {
            pc,
            lines: Lines::default(),
            guard,
            checks: CheckPacer::default(),
            local_candidates: 0,
            next_tick: now,
            events: VecDeque::new(),
            fingerprints: Vec::new(),
            phase: Phase::New,
            library_connected: false,
            peer_closed: false,
        })
    }

    fn offer(&mut self, now: Instant) -> Result<SessionDescription, TransportError> {
        for line in MediaLine::ALL {
            self.lines.add(&mut self.pc, line).map_err(local)?;
        }
        let offer = self.pc.create_offer(None).map_err(local)?;
        self.pc.set_local_description(now, offer).map_err(local)?;
        self.local_description(SdpKind::Offer)
    }

    fn answer(
        &mut self,
        now: Instant,
        offer: &SessionDescription,
    ) -> Result<SessionDescription, TransportError> {
        let summary = self.inspect(offer)?;
        for line in lines_of_offer(&summary) {
            self.lines.add(&mut self.pc, line).map_err(local)?;
        }
        let offer = RTCSessionDescription::offer(offer.sdp.clone()).map_err(bad)?;
        self.pc.set_remote_description(now, offer).map_err(bad)?;
        let answer = self.pc.create_answer(None).map_err(bad)?;
        self.pc.set_local_description(now, answer).map_err(bad)?;
        self.lines.negotiated(&mut self.pc);
        self.local_description(SdpKind::Answer)
    }

    fn local_description(&mut self, kind: SdpKind) -> Result<SessionDescription, TransportError> {
        let description = self
            .pc
            .local_description()
            .ok_or_else(|| TransportError::Local("no local description".into()))?;
        self.guard.described(&description.sdp);
        Ok(SessionDescription {
            kind,
            sdp: description.sdp,
        })
    }

    /// Reads what must be known of the peer's description before the library sees it.
    fn inspect(&mut self, description: &SessionDescription) -> Result<SdpSummary, TransportError> {
        let summary = SdpSummary::parse(&description.sdp)
            .map_err(|error| TransportError::BadDescription(error.to_string()))?;
        self.fingerprints = summary.fingerprints().to_vec();
        self.guard.peer_described(&summary, &description.sdp);
        Ok(summary)
    }

    fn drain_events(&mut self, now: Instant) {
        while let Some(event) = self.pc.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(state) => {
                    self.on_ice_state(now, state);
                }
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                    self.on_connection_state(state);
                }
                RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(init)) => {
                    self.lines.opened(&init);
                }
                _ => {}
            }
        }
        self.check_handshake(now);
        while let Some(TaggedRTCMessage {
            now: arrived,
            message,
        }) = self.pc.poll_read()
        {
            self.on_message(arrived, message);
        }
        let connected = matches!(self.phase, Phase::Connected | Phase::Interrupted);
        self.lines.assemble(now, connected, &mut self.events);
    }

    fn on_ice_state(&mut self, now: Instant, state: RTCIceConnectionState) {
        match (state, self.phase) {
            (RTCIceConnectionState::Connected | RTCIceConnectionState::Completed, Phase::New) => {
                self.phase = Phase::Handshake {
                    until: now + DTLS_TIMEOUT,
                };
            }
            (
                RTCIceConnectionState::Connected | RTCIceConnectionState::Completed,
                Phase::Interrupted,
            ) => {
                self.phase = Phase::Connected;
                self.events.push_back(TransportEvent::Resumed);
            }
            (
                RTCIceConnectionState::Disconnected | RTCIceConnectionState::Failed,
                Phase::Connected,
            ) => {
                self.phase = Phase::Interrupted;
                self.events.push_back(TransportEvent::Interrupted);
            }
            _ => {}
        }
    }

    fn on_connection_state(&mut self, state: RTCPeerConnectionState) {
        self.library_connected |= state == RTCPeerConnectionState::Connected;
        let ended = matches!(
            state,
            RTCPeerConnectionState::Closed | RTCPeerConnectionState::Failed
        );
        match self.phase {
            Phase::Connected | Phase::Interrupted if ended => self.on_peer_closed(),
            Phase::Handshake { .. } if ended => self.refuse(Refusal::DtlsHandshake),
            _ => {}
        }
    }

    /// The peer said good-bye. The library tells the application nothing of a `close_notify` while
    /// ICE is up, so the state of DTLS is looked at after each of its records.
    fn on_peer_closed(&mut self) {
        let connected = matches!(self.phase, Phase::Connected | Phase::Interrupted);
        if connected && !std::mem::replace(&mut self.peer_closed, true) {
            self.events.push_back(TransportEvent::Closed);
        }
    }

    /// Moves on once DTLS is done: nothing flows before certificate and profile are checked.
    fn check_handshake(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::New | Phase::Handshake { .. }) {
            return;
        }
        let certificates = self.lines.remote_certificates(&mut self.pc);
        let Some(certificate) = certificates.first() else {
            if self.library_connected {
                self.refuse(self.guard.handshake_refusal());
            }
            return;
        };
        if !self.certificate_matches(certificate) {
            return self.refuse(Refusal::Fingerprint);
        }
        if stats::srtp_cipher(&mut self.pc, now) != AES_256_GCM {
            return self.refuse(Refusal::NoAes256Gcm);
        }
        self.phase = Phase::Connected;
        self.guard.connected();
        self.events.push_back(TransportEvent::Connected);
    }

    /// Every fingerprint of the description must be the certificate's.
    fn certificate_matches(&self, der: &[u8]) -> bool {
        !self.fingerprints.is_empty()
            && self
                .fingerprints
                .iter()
                .all(|fingerprint| is_digest_of(fingerprint, der))
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.phase = Phase::Closed;
        self.events.push_back(TransportEvent::Refused(refusal));
    }

    fn on_message(&mut self, arrived: Instant, message: RTCMessage) {
        match message {
            RTCMessage::RtpPacket(track, packet) if self.phase == Phase::Connected => {
                self.lines
                    .receive(arrived, &track, packet, &mut self.events);
            }
            RTCMessage::RtcpPacket(_, packets) => {
                for packet in packets {
                    self.on_feedback(packet.as_any());
                }
            }
            _ => {}
        }
    }

    fn on_feedback(&mut self, packet: &dyn std::any::Any) {
        let requested = if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
            self.lines.line_of_ssrc(pli.media_ssrc)
        } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
            fir.fir
                .iter()
                .find_map(|entry| self.lines.line_of_ssrc(entry.ssrc))
        } else {
            None
        };
        self.events
            .extend(requested.map(TransportEvent::KeyFrameRequested));
        if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            for block in &report.reports {
                if let Some(line) = self.lines.line_of_ssrc(block.ssrc) {
                    let lost = f32::from(block.fraction_lost) / 256.0;
                    self.lines.peer_lost(line, lost);
                    self.events
                        .push_back(TransportEvent::LossReported(line, lost));
                }
            }
        }
    }

    /// Ends the handshake once it is sure to fail: the library gives it up without a word.
    fn check_alerts(&mut self) {
        let connecting = matches!(self.phase, Phase::New | Phase::Handshake { .. });
        if connecting && self.guard.handshake_failed() {
            self.refuse(self.guard.handshake_refusal());
        }
    }

    /// Lets the library do what is due.
    ///
    /// While there is no path, it checks all pairs at each tick; the more there are, the longer it
    /// has to wait for the next, or a peer that names many addresses keeps it busy.
    fn tick(&mut self, now: Instant) {
        if self.phase == Phase::New && now < self.next_tick {
            return;
        }
        let pairs = self.local_candidates * self.guard.known_remotes() as u32;
        let spacing = CHECK_INTERVAL * pairs;
        self.next_tick = if spacing > setup::ICE_TICK {
            now + spacing
        } else {
            now
        };
        if let Err(error) = self.pc.handle_timeout(now) {
            tracing::debug!(%error, "transport");
        }
    }
}

impl Transport for RtcTransport {
    fn describe(
        &mut self,
        now: Instant,
        open: &OpenTransport,
    ) -> Result<SessionDescription, TransportError> {
        match &open.side {
            SdpSide::Offer => self.offer(now),
            SdpSide::Answer(offer) => self.answer(now, offer),
        }
    }

    fn apply_answer(
        &mut self,
        now: Instant,
        answer: &SessionDescription,
    ) -> Result<(), TransportError> {
        self.inspect(answer)?;
        let answer = RTCSessionDescription::answer(answer.sdp.clone()).map_err(bad)?;
        self.pc.set_remote_description(now, answer).map_err(bad)?;
        self.lines.negotiated(&mut self.pc);
        Ok(())
    }

    fn add_local_candidate(
        &mut self,
        candidate: LocalCandidate,
    ) -> Result<IceCandidate, TransportError> {
        let init = setup::local_candidate(candidate).map_err(local)?;
        self.pc.add_local_candidate(init.clone()).map_err(local)?;
        self.local_candidates += 1;
        Ok(IceCandidate {
            candidate: init.candidate,
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            username_fragment: None,
        })
    }

    fn add_remote_candidate(&mut self, candidate: &IceCandidate) {
        let is_end = candidate.candidate.is_empty();
        if !is_end && !self.guard.add_candidate(&candidate.candidate) {
            return;
        }
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate.clone(),
            sdp_mid: candidate.sdp_mid.clone(),
            sdp_mline_index: candidate.sdp_mline_index,
            username_fragment: candidate.username_fragment.clone(),
            ..Default::default()
        };
        if let Err(error) = self.pc.add_remote_candidate(init) {
            tracing::debug!(%error, "a candidate of the peer was left out");
        }
    }

    fn send_frame(&mut self, now: Instant, line: MediaLine, frame: EncodedFrame) {
        if self.phase == Phase::Connected {
            self.lines.send(&mut self.pc, now, line, &frame);
        }
    }

    fn key_frame_seen(&mut self, line: MediaLine) {
        self.lines.key_frame_seen(line);
    }

    fn frame_lost(&mut self, line: MediaLine) {
        self.lines.frame_lost(line);
    }

    fn request_key_frame(&mut self, now: Instant, line: MediaLine) {
        self.lines.request_key_frame(&mut self.pc, now, line);
    }

    fn handle_datagram(&mut self, now: Instant, local: SocketAddr, peer: SocketAddr, bytes: &[u8]) {
        if self.phase == Phase::Closed || !self.guard.admit(peer, bytes) {
            return;
        }
        let result = self.pc.handle_read(TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: local,
                peer_addr: peer,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            },
            message: BytesMut::from(bytes),
        });
        if let Err(error) = result {
            tracing::debug!(%error, "transport");
        }
        self.drain_events(now);
        self.check_alerts();
        if is_dtls(bytes) && self.lines.dtls_is_closed(&mut self.pc) {
            self.on_peer_closed();
        }
    }

    fn poll_datagram(&mut self, now: Instant) -> Option<Datagram> {
        while let Some(message) = self.pc.poll_write() {
            let datagram = Datagram {
                local: message.transport.local_addr,
                peer: message.transport.peer_addr,
                bytes: Bytes::from(message.message),
            };
            let connecting = matches!(self.phase, Phase::New | Phase::Handshake { .. });
            if connecting {
                self.guard.sent(&datagram.bytes);
                if self.guard.handshake_failed() {
                    // The next timeout, due at once, ends the call; the alert goes out before.
                    self.phase = Phase::Handshake { until: now };
                }
            }
            if connecting && CheckPacer::is_check(&datagram.bytes) {
                self.checks.push(datagram);
            } else {
                return Some(datagram);
            }
        }
        self.checks.pop(now)
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        let handshake = match self.phase {
            Phase::Handshake { until } => Some(until),
            _ => None,
        };
        let lines = self.lines.poll_timeout();
        let checks = self.checks.poll_timeout();
        let due = self.pc.poll_timeout();
        let tick = match self.phase {
            Phase::New => due.map(|at| at.max(self.next_tick)),
            _ => due,
        };
        [tick, handshake, lines, checks].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        self.tick(now);
        self.drain_events(now);
        if let Phase::Handshake { until } = self.phase
            && until <= now
        {
            self.refuse(self.guard.handshake_refusal());
        }
    }

    fn statistics(&mut self, now: Instant) -> TransportStatistics {
        let connected = matches!(self.phase, Phase::Connected | Phase::Interrupted);
        let profile = connected.then_some(SrtpProfile::AeadAes256Gcm);
        let mut statistics = stats::collect(&mut self.pc, now, profile, &self.lines);
        statistics.dropped = self.guard.dropped();
        statistics
    }

    fn close(&mut self, now: Instant) {
        self.phase = Phase::Closed;
        for result in [self.pc.handle_timeout(now), self.pc.close()] {
            if let Err(error) = result {
                tracing::debug!(%error, "close");
            }
        }
    }
}

/// The n-th audio section is the microphone or the screen's audio, likewise for video.
fn lines_of_offer(summary: &SdpSummary) -> Vec<MediaLine> {
    let mut audio = [MediaLine::Microphone, MediaLine::ScreenAudio].into_iter();
    let mut video = [MediaLine::Camera, MediaLine::Screen].into_iter();
    summary
        .media()
        .iter()
        .filter_map(|section| match section.kind {
            SectionKind::Audio => audio.next(),
            SectionKind::Video => video.next(),
            _ => None,
        })
        .collect()
}

/// First bytes of DTLS records (RFC 7983 §7).
fn is_dtls(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(20..=63))
}

fn is_digest_of(fingerprint: &Fingerprint, der: &[u8]) -> bool {
    let digest = match fingerprint.algorithm {
        HashAlgorithm::Sha256 => Sha256::digest(der).to_vec(),
        HashAlgorithm::Sha384 => Sha384::digest(der).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(der).to_vec(),
        _ => return false,
    };
    digest == fingerprint.digest
}

fn local(error: impl std::fmt::Display) -> TransportError {
    TransportError::Local(error.to_string())
}

fn bad(error: impl std::fmt::Display) -> TransportError {
    TransportError::BadDescription(error.to_string())
}

#[cfg(test)]
mod tests;
