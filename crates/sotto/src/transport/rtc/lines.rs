//! The media lines of a peer connection: RTP out of frames, frames out of RTP.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use call_media::video::{Assembled, AssembledFrame, AssemblerConfig, FrameAssembler, Packetizer};
use rand::Rng as _;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCTrackEventInit;
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCIceCandidatePair};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters};
use rtc::rtp_transceiver::{
    RTCRtpReceiverId, RTCRtpSenderId, RTCRtpTransceiverDirection, RTCRtpTransceiverInit,
};
use rtc::sansio::Protocol as _;
use rtc::shared::error::Error;

use super::codecs;
use crate::transport::{EncodedFrame, MediaLine, ReceivedFrame, TransportEvent};

/// Bytes of an RTP payload at most, so that a packet fits a path MTU of 1,280 bytes (IPv6) with
/// IP, UDP, a TURN channel header, RTP with extensions and the SRTP tag around it.
const MAX_RTP_PAYLOAD: usize = 1_120;

/// Lines of one peer connection, in the order of their transceivers.
#[derive(Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// Receiving track to index in `lines`.
    tracks: HashMap<String, usize>,
}

pub(super) struct Line {
    pub(super) line: MediaLine,
    transceiver: usize,
    track_id: String,
    pub(super) ssrc: u32,
    /// `None` until negotiated, or if the peer does not take the codec.
    payload_type: Option<u8>,
    sequence: u16,
    packetizer: Option<Packetizer>,
    assembler: Option<FrameAssembler>,
    pub(super) remote_ssrc: Option<u32>,
    /// Part of our packets that the peer last reported lost.
    pub(super) peer_fraction_lost: Option<f32>,
    last_sequence: u16,
}

impl Lines {
    /// Adds a transceiver that sends and receives `line`.
    pub(super) fn add(&mut self, pc: &mut RTCPeerConnection, line: MediaLine) -> Result<(), Error> {
        let mut rng = rand::rng();
        let ssrc = rng.next_u32();
        let track_id = format!(
            "{:032x}",
            u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
        );
        let coding = RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..Default::default()
        };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: coding,
            codec: codecs::codec(line),
            ..Default::default()
        };
        let track = MediaStreamTrack::new(
            "sotto".to_owned(),
            track_id.clone(),
            track_id.clone(),
            codecs::kind(line),
            vec![encoding.clone()],
        );
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendrecv,
            streams: vec!["sotto".to_owned()],
            send_encodings: vec![encoding],
        };
        let transceiver = pc.add_transceiver_from_track(track, Some(init))?;
        self.lines.push(Line {
            line,
            transceiver,
            track_id,
            ssrc,
            payload_type: None,
            sequence: rng.next_u32() as u16 & 0x7fff,
            packetizer: line
                .is_video()
                .then(|| Packetizer::new(MAX_RTP_PAYLOAD, rng.next_u32() as u16)),
            assembler: line
                .is_video()
                .then(|| FrameAssembler::new(AssemblerConfig::default())),
            remote_ssrc: None,
            peer_fraction_lost: None,
            last_sequence: 0,
        });
        Ok(())
    }

    /// Looks the negotiated payload types up.
    pub(super) fn negotiated(&mut self, pc: &mut RTCPeerConnection) {
        for line in &mut self.lines {
            let wanted = codecs::codec(line.line).mime_type;
            let Some(mut sender) = pc.rtp_sender(RTCRtpSenderId::from(line.transceiver)) else {
                continue;
            };
            line.payload_type = sender
                .get_parameters()
                .rtp_parameters
                .codecs
                .iter()
                .find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(&wanted))
                .map(|codec| codec.payload_type);
        }
    }

    /// The certificates that the peer showed in the handshake, its own first.
    pub(super) fn remote_certificates(&self, pc: &mut RTCPeerConnection) -> Vec<Vec<u8>> {
        self.lines
            .iter()
            .find_map(|line| {
                let sender = pc.rtp_sender(RTCRtpSenderId::from(line.transceiver))?;
                Some(sender.transport()?.get_remote_certificates().to_vec())
            })
            .unwrap_or_default()
    }

    /// Whether either side has closed DTLS.
    pub(super) fn dtls_is_closed(&self, pc: &mut RTCPeerConnection) -> bool {
        self.lines.first().is_some_and(|line| {
            pc.rtp_sender(RTCRtpSenderId::from(line.transceiver))
                .and_then(|sender| Some(sender.transport()?.state()))
                .is_some_and(|state| state == RTCDtlsTransportState::Closed)
        })
    }

    /// The candidates in use.
    pub(super) fn selected_pair(&self, pc: &mut RTCPeerConnection) -> Option<RTCIceCandidatePair> {
        let line = self.lines.first()?;
        let sender = pc.rtp_sender(RTCRtpSenderId::from(line.transceiver))?;
        sender
            .transport()?
            .ice_transport()
            .get_selected_candidate_pair()
    }

    pub(super) fn opened(&mut self, init: &RTCTrackEventInit) {
        let opened = |line: &Line| RTCRtpReceiverId::from(line.transceiver) == init.receiver_id;
        if let Some(index) = self.lines.iter().position(opened) {
            self.tracks.insert(init.track_id.clone(), index);
            self.lines[index].remote_ssrc = Some(init.ssrc);
        }
    }

    /// Which line this side sends with `ssrc`.
    pub(super) fn line_of_ssrc(&self, ssrc: u32) -> Option<MediaLine> {
        self.lines
            .iter()
            .find(|line| line.ssrc == ssrc)
            .map(|line| line.line)
    }

    /// The peer reports that this part (0–1) of `line` was lost lately.
    pub(super) fn peer_lost(&mut self, line: MediaLine, lost: f32) {
        if let Some(line) = self.lines.iter_mut().find(|l| l.line == line) {
            line.peer_fraction_lost = Some(lost);
        }
    }

    /// What the peer last reported of `line`.
    pub(super) fn peer_fraction_lost(&self, line: MediaLine) -> Option<f64> {
        let line = self.lines.iter().find(|l| l.line == line)?;
        line.peer_fraction_lost.map(f64::from)
    }

    /// Which line the peer sends with `ssrc`.
    pub(super) fn line_of_remote_ssrc(&self, ssrc: u32) -> Option<MediaLine> {
        self.lines
            .iter()
            .find(|line| line.remote_ssrc == Some(ssrc))
            .map(|line| line.line)
    }

    pub(super) fn send(
        &mut self,
        pc: &mut RTCPeerConnection,
        now: Instant,
        line: MediaLine,
        frame: &EncodedFrame,
    ) {
        let Some(line) = self.lines.iter_mut().find(|l| l.line == line) else {
            return;
        };
        let Some(payload_type) = line.payload_type else {
            return;
        };
        let payloads = match &mut line.packetizer {
            Some(packetizer) => packetizer.packetize(&frame.payload),
            None => vec![frame.payload.clone()],
        };
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.into_iter().enumerate() {
            let header = rtp::Header {
                version: 2,
                marker: line.line.is_video() && index == last,
                payload_type,
                sequence_number: line.sequence,
                timestamp: frame.timestamp,
                ssrc: line.ssrc,
                ..Default::default()
            };
            line.sequence = line.sequence.wrapping_add(1);
            let message =
                RTCMessage::RtpPacket(line.track_id.clone(), rtp::Packet { header, payload });
            if let Err(error) = pc.handle_write(TaggedRTCMessage { now, message }) {
                tracing::debug!(%error, "a packet was not sent");
            }
        }
    }

    pub(super) fn request_key_frame(
        &mut self,
        pc: &mut RTCPeerConnection,
        now: Instant,
        line: MediaLine,
    ) {
        let Some(line) = self.lines.iter().find(|l| l.line == line) else {
            return;
        };
        let Some(media_ssrc) = line.remote_ssrc else {
            return;
        };
        let Some(mut receiver) = pc.rtp_receiver(RTCRtpReceiverId::from(line.transceiver)) else {
            return;
        };
        let request = PictureLossIndication {
            sender_ssrc: line.ssrc,
            media_ssrc,
        };
        if let Err(error) = receiver.write_rtcp(now, vec![Box::new(request)]) {
            tracing::debug!(%error, "a key frame request was not sent");
        }
    }

    /// Takes a packet: audio is a frame at once, video goes to the assembler, padding too, which
    /// would else look like a loss.
    pub(super) fn receive(
        &mut self,
        arrived: Instant,
        track: &str,
        packet: rtp::Packet,
        events: &mut VecDeque<TransportEvent>,
    ) {
        let Some(line) = self.tracks.get(track).and_then(|i| self.lines.get_mut(*i)) else {
            return;
        };
        let rtp::Packet { header, payload } = packet;
        line.last_sequence = header.sequence_number;
        match &mut line.assembler {
            Some(assembler) => assembler.insert(
                arrived,
                header.sequence_number,
                header.timestamp,
                header.marker,
                &payload,
            ),
            None if !payload.is_empty() => {
                events.push_back(line.frame(header.timestamp, payload, arrived, true));
            }
            None => {}
        }
    }

    /// Gives out the video frames that are complete.
    pub(super) fn assemble(
        &mut self,
        now: Instant,
        connected: bool,
        events: &mut VecDeque<TransportEvent>,
    ) {
        for line in &mut self.lines {
            let Some(mut assembler) = line.assembler.take() else {
                continue;
            };
            while let Some(output) = assembler.poll(now) {
                match output {
                    Assembled::Frame(frame) if connected => {
                        let AssembledFrame {
                            rtp_timestamp,
                            data,
                            continuous,
                            ..
                        } = frame;
                        events.push_back(line.frame(rtp_timestamp, data, now, continuous));
                    }
                    Assembled::KeyFrameNeeded => {
                        events.push_back(TransportEvent::KeyFrameNeeded(line.line));
                    }
                    _ => {}
                }
            }
            line.assembler = Some(assembler);
        }
    }

    /// A key frame of `line` was decrypted.
    pub(super) fn key_frame_seen(&mut self, line: MediaLine) {
        let line = self.lines.iter_mut().find(|l| l.line == line);
        if let Some(assembler) = line.and_then(|line| line.assembler.as_mut()) {
            assembler.key_frame_seen();
        }
    }

    /// A frame of `line` could not be decrypted.
    pub(super) fn frame_lost(&mut self, line: MediaLine) {
        let line = self.lines.iter_mut().find(|l| l.line == line);
        if let Some(assembler) = line.and_then(|line| line.assembler.as_mut()) {
            assembler.frame_lost();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.lines
            .iter()
            .filter_map(|line| line.assembler.as_ref()?.poll_timeout())
            .min()
    }
}

impl Line {
    fn frame(
        &self,
        timestamp: u32,
        payload: Bytes,
        arrived: Instant,
        continuous: bool,
    ) -> TransportEvent {
        TransportEvent::Frame(ReceivedFrame {
            line: self.line,
            sequence: self.last_sequence,
            timestamp,
            payload,
            arrived,
            continuous,
        })
    }
}
