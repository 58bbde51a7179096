//! [`Transport`] on webrtc-rs's sans-IO core.

mod codecs;
mod lines;
mod stats;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use call_core::{
    Fingerprint, HashAlgorithm, OpenTransport, Refusal, SdpSide, SdpSummary, SectionKind,
};
use call_signal::{IceCandidate, SdpKind, SessionDescription};
use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc::ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc::interceptor::Slot;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::{
    Registry, register_default_interceptors,
};
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::interceptor::DeliverFeedback;
use super::pacer::CheckPacer;
use super::{
    Datagram, EncodedFrame, LocalCandidate, MediaLine, SrtpProfile, Transport, TransportError,
    TransportEvent, TransportStatistics,
};
use lines::Lines;

/// How long the DTLS handshake may take once ICE has a path.
pub(crate) const DTLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Tick of the ICE agent. The library's default of 200 ms costs up to a second of set-up.
const ICE_TICK: Duration = Duration::from_millis(20);

/// Checks of a pair before it is given up: more than
/// [`CONNECT_TIMEOUT`](call_core::CONNECT_TIMEOUT) worth of ticks, since that timer decides.
const MAX_CHECKS: u16 = 2_000;

/// Without a word from the peer for this long the path counts as down.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);

/// The library gives the path up only after our own limit has ended the call.
const ICE_FAILED: Duration = Duration::from_secs(120);

/// Consent checks while connected (RFC 7675 wants them within 5 s).
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);

/// A relay is used at once in relay-only mode; otherwise better paths get this head start.
const RELAY_WAIT: Duration = Duration::from_millis(500);

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
    checks: CheckPacer,
    events: VecDeque<TransportEvent>,
    /// SHA-256 or longer digests from the peer's description.
    fingerprints: Vec<Fingerprint>,
    phase: Phase,
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
        let mut media_engine = codecs::media_engine().map_err(local)?;
        let registry =
            register_default_interceptors(Registry::new(), &mut media_engine).map_err(local)?;
        let registry = registry.with(Slot::from(14_000), DeliverFeedback::default());
        let pc = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_setting_engine(settings(config))
            .with_media_engine(media_engine)
            .with_interceptor_registry(registry)
            .build(now)
            .map_err(local)?;
        Ok(Self {
            pc,
            lines: Lines::default(),
            checks: CheckPacer::default(),
            events: VecDeque::new(),
            fingerprints: Vec::new(),
            phase: Phase::New,
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

    fn local_description(&self, kind: SdpKind) -> Result<SessionDescription, TransportError> {
        let description = self
            .pc
            .local_description()
            .ok_or_else(|| TransportError::Local("no local description".into()))?;
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
        let ended = matches!(
            state,
            RTCPeerConnectionState::Closed | RTCPeerConnectionState::Failed
        );
        match self.phase {
            Phase::Connected | Phase::Interrupted if ended && !self.peer_closed => {
                self.peer_closed = true;
                self.events.push_back(TransportEvent::Closed);
            }
            Phase::Handshake { .. } if ended => self.refuse(Refusal::DtlsHandshake),
            _ => {}
        }
    }

    /// Moves on once DTLS is done: nothing flows before certificate and profile are checked.
    fn check_handshake(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::New | Phase::Handshake { .. }) {
            return;
        }
        let certificates = self.lines.remote_certificates(&mut self.pc);
        let Some(certificate) = certificates.first() else {
            return;
        };
        if !self.certificate_matches(certificate) {
            return self.refuse(Refusal::Fingerprint);
        }
        if stats::srtp_cipher(&mut self.pc, now) != AES_256_GCM {
            return self.refuse(Refusal::NoAes256Gcm);
        }
        self.phase = Phase::Connected;
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
                    self.events
                        .push_back(TransportEvent::LossReported(line, lost));
                }
            }
        }
    }

    /// A wrong datagram is the network's fault; what the library says of it goes to the log only.
    fn on_library_error(&mut self, now: Instant, error: &rtc::shared::error::Error) {
        use rtc::shared::error::Error;
        tracing::debug!(%error, "transport");
        if !matches!(self.phase, Phase::New | Phase::Handshake { .. }) {
            return;
        }
        match error {
            Error::ErrServerNoMatchingSrtpProfile | Error::ErrClientNoMatchingSrtpProfile => {
                self.refuse(Refusal::NoAes256Gcm);
            }
            _ => self.check_handshake(now),
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
        let init = local_candidate(candidate).map_err(local)?;
        self.pc.add_local_candidate(init.clone()).map_err(local)?;
        Ok(IceCandidate {
            candidate: init.candidate,
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
            username_fragment: None,
        })
    }

    fn add_remote_candidate(&mut self, candidate: &IceCandidate) {
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

    fn request_key_frame(&mut self, now: Instant, line: MediaLine) {
        self.lines.request_key_frame(&mut self.pc, now, line);
    }

    fn handle_datagram(&mut self, now: Instant, local: SocketAddr, peer: SocketAddr, bytes: &[u8]) {
        if self.phase == Phase::Closed {
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
            self.on_library_error(now, &error);
        }
        self.drain_events(now);
    }

    fn poll_datagram(&mut self, now: Instant) -> Option<Datagram> {
        while let Some(message) = self.pc.poll_write() {
            let datagram = Datagram {
                local: message.transport.local_addr,
                peer: message.transport.peer_addr,
                bytes: Bytes::from(message.message),
            };
            let connecting = matches!(self.phase, Phase::New | Phase::Handshake { .. });
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
        [self.pc.poll_timeout(), handshake, lines, checks]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            return;
        }
        if let Err(error) = self.pc.handle_timeout(now) {
            self.on_library_error(now, &error);
        }
        self.drain_events(now);
        if let Phase::Handshake { until } = self.phase
            && until <= now
        {
            // A peer without a common profile never finishes, and the library says nothing.
            self.refuse(Refusal::NoAes256Gcm);
        }
    }

    fn statistics(&mut self, now: Instant) -> TransportStatistics {
        let connected = matches!(self.phase, Phase::Connected | Phase::Interrupted);
        let profile = connected.then_some(SrtpProfile::AeadAes256Gcm);
        stats::collect(&mut self.pc, now, profile, &self.lines)
    }

    fn close(&mut self, now: Instant) {
        self.phase = Phase::Closed;
        if let Err(error) = self.pc.handle_timeout(now).and_then(|()| self.pc.close()) {
            tracing::debug!(%error, "close");
        }
    }
}

fn settings(config: RtcConfig) -> SettingEngine {
    let wait = if config.relay_only {
        Duration::ZERO
    } else {
        RELAY_WAIT
    };
    SettingEngineBuilder::new()
        .with_srtp_protection_profiles(vec![config.srtp_profile])
        .with_dtls_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
        ])
        // `check_handshake` compares the certificate itself, against every fingerprint and before
        // anything flows: the library's own check stalls the handshake without a word.
        .with_disable_certificate_fingerprint_verification(true)
        .with_answering_dtls_role(RTCDtlsRole::Client)
        .with_ice_connection_attempts(Some(ICE_TICK), Some(MAX_CHECKS))
        .with_ice_timeouts(
            Some(ICE_DISCONNECTED),
            Some(ICE_FAILED),
            Some(ICE_KEEPALIVE),
        )
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(wait))
        .build()
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

fn is_digest_of(fingerprint: &Fingerprint, der: &[u8]) -> bool {
    let digest = match fingerprint.algorithm {
        HashAlgorithm::Sha256 => Sha256::digest(der).to_vec(),
        HashAlgorithm::Sha384 => Sha384::digest(der).to_vec(),
        HashAlgorithm::Sha512 => Sha512::digest(der).to_vec(),
        _ => return false,
    };
    digest == fingerprint.digest
}

fn local_candidate(
    candidate: LocalCandidate,
) -> Result<RTCIceCandidateInit, rtc::shared::error::Error> {
    let base_config = |address: SocketAddr| CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..Default::default()
    };
    let candidate = match candidate {
        LocalCandidate::Host(address) => CandidateHostConfig {
            base_config: base_config(address),
            ..Default::default()
        }
        .new_candidate_host()?,
        LocalCandidate::ServerReflexive { address, base } => CandidateServerReflexiveConfig {
            base_config: base_config(address),
            rel_addr: base.ip().to_string(),
            rel_port: base.port(),
            ..Default::default()
        }
        .new_candidate_server_reflexive()?,
        LocalCandidate::Relay { address } => CandidateRelayConfig {
            base_config: base_config(address),
            rel_addr: unspecified(address.ip()).to_string(),
            rel_port: 0,
            ..Default::default()
        }
        .new_candidate_relay()?,
    };
    RTCIceCandidate::from(&candidate).to_json()
}

/// Stands for a related address that the peer need not know (RFC 8839 §5.1).
fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn local(error: impl std::fmt::Display) -> TransportError {
    TransportError::Local(error.to_string())
}

fn bad(error: impl std::fmt::Display) -> TransportError {
    TransportError::BadDescription(error.to_string())
}
