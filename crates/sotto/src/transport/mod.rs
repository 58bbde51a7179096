//! The media transport behind a narrow trait: ICE, DTLS, SRTP and RTP, without sockets or clock.

#[cfg(test)]
pub(crate) mod forge;
mod guard;
mod interceptor;
mod nack_limit;
mod pacer;
mod rtc;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use call_core::{OpenTransport, Refusal};
use call_signal::{IceCandidate, SessionDescription};

pub(crate) use self::rtc::{RtcConfig, RtcTransport};

/// What carries the media of one call.
///
/// The owner describes the transport once ([`describe`](Self::describe), and
/// [`apply_answer`](Self::apply_answer) on the side that offered), adds candidates of both sides,
/// and drives it: `handle_datagram` for what the sockets received, `handle_timeout` no later than
/// `poll_timeout` says, and after each call `poll_datagram` and `poll_event` until they are empty.
///
/// No frame leaves and none is delivered before [`TransportEvent::Connected`], which is raised only
/// after the peer's certificate was compared with its description and the SRTP profile was seen to
/// be the one of [`SrtpProfile::AeadAes256Gcm`].
pub(crate) trait Transport {
    /// Offers, or answers the peer's offer, as `open` asks; returns the local description.
    fn describe(
        &mut self,
        now: Instant,
        open: &OpenTransport,
    ) -> Result<SessionDescription, TransportError>;

    /// Takes the peer's answer to the offer.
    fn apply_answer(
        &mut self,
        now: Instant,
        answer: &SessionDescription,
    ) -> Result<(), TransportError>;

    /// Adds a candidate of this side and returns it as it is sent to the peer.
    fn add_local_candidate(
        &mut self,
        candidate: LocalCandidate,
    ) -> Result<IceCandidate, TransportError>;

    /// Adds a candidate of the peer. One that can't be used is left out.
    fn add_remote_candidate(&mut self, candidate: &IceCandidate);

    /// Sends an encoded (and encrypted) frame; dropped before the transport is connected.
    fn send_frame(&mut self, now: Instant, line: MediaLine, frame: EncodedFrame);

    /// A key frame of `line` was decrypted: frames after it can be decoded again.
    fn key_frame_seen(&mut self, line: MediaLine);

    /// A frame of `line` did not decrypt: it counts as lost, and a key frame is needed.
    fn frame_lost(&mut self, line: MediaLine);

    /// Asks the peer for a key frame (RFC 4585 §6.3.1).
    fn request_key_frame(&mut self, now: Instant, line: MediaLine);

    /// A datagram from `peer` reached the local address `local` (a relayed address where it came
    /// through TURN).
    fn handle_datagram(&mut self, now: Instant, local: SocketAddr, peer: SocketAddr, bytes: &[u8]);

    /// The next datagram to send.
    fn poll_datagram(&mut self, now: Instant) -> Option<Datagram>;

    /// The next thing that happened.
    fn poll_event(&mut self) -> Option<TransportEvent>;

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn poll_timeout(&mut self) -> Option<Instant>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// Figures of the transport.
    fn statistics(&mut self, now: Instant) -> TransportStatistics;

    /// Says good-bye to the peer; `poll_datagram` still gives what is to be sent.
    fn close(&mut self, now: Instant);
}

/// The four media sections of a call, in the order of their m-lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaLine {
    /// mid 0.
    Microphone,
    /// mid 1.
    Camera,
    /// mid 2.
    ScreenAudio,
    /// mid 3.
    Screen,
}

impl MediaLine {
    /// In the order of the m-lines that a callee offers.
    pub const ALL: [Self; 4] = [
        Self::Microphone,
        Self::Camera,
        Self::ScreenAudio,
        Self::Screen,
    ];

    /// Whether it carries video.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Camera | Self::Screen)
    }
}

/// An encoded frame on its way out.
#[derive(Clone, Debug)]
pub(crate) struct EncodedFrame {
    /// In units of the RTP clock: 48 kHz for audio, 90 kHz for video.
    pub(crate) timestamp: u32,
    /// Encrypted payload.
    pub(crate) payload: Bytes,
}

/// An encoded frame that came in, still encrypted.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedFrame {
    pub(crate) line: MediaLine,
    /// RTP sequence number of the (last) packet.
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload: Bytes,
    pub(crate) arrived: Instant,
    /// False after a loss: only a key frame can be decoded.
    pub(crate) continuous: bool,
}

/// A UDP datagram to send.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    /// The local address (socket or relayed address) from which it goes.
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// A candidate of this side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LocalCandidate {
    /// A socket's address.
    Host(SocketAddr),
    /// What a STUN server saw of the socket at `base`.
    ServerReflexive {
        address: SocketAddr,
        base: SocketAddr,
    },
    /// An address of a TURN server, allocated for this side.
    Relay { address: SocketAddr },
}

/// Something that happened in the transport.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// Media may flow: path, certificate and SRTP profile are checked.
    Connected,
    /// No word from the peer.
    Interrupted,
    /// The path is back.
    Resumed,
    /// The peer closed the transport.
    Closed,
    /// A frame came in.
    Frame(ReceivedFrame),
    /// A frame was lost for good: decoding goes on at the next key frame.
    KeyFrameNeeded(MediaLine),
    /// The peer asks for a key frame.
    KeyFrameRequested(MediaLine),
    /// The peer reports that this part of our packets was lost lately (0–1).
    LossReported(MediaLine, f32),
    /// The transport can't go on.
    Refused(Refusal),
}

/// What goes wrong with descriptions and candidates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TransportError {
    /// The peer's description can't be used.
    #[error("the peer's session description can't be used: {0}")]
    BadDescription(String),
    /// This side could not describe itself.
    #[error("can't set up the media transport: {0}")]
    Local(String),
}

/// SRTP protection profile (RFC 5764, RFC 7714) of a connected call. There is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_256_GCM`, 0x0008.
    AeadAes256Gcm,
}

impl SrtpProfile {
    /// The IANA name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }
}

/// Figures of the transport.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransportStatistics {
    /// The negotiated SRTP profile; `None` before the call is connected.
    pub srtp_profile: Option<SrtpProfile>,
    /// Version of DTLS, e.g. `DTLS 1.2`; empty before the handshake.
    pub dtls_version: String,
    /// DTLS cipher suite; empty before the handshake.
    pub dtls_cipher: String,
    /// Type of the local candidate in use: `host`, `srflx`, `prflx` or `relay`.
    pub local_candidate_type: Option<String>,
    /// Type of the peer's candidate in use.
    pub remote_candidate_type: Option<String>,
    /// Round-trip time of the path in seconds, by ICE or RTCP.
    pub round_trip_time: Option<f64>,
    /// Bytes in and out on the selected pair.
    pub bytes_sent: u64,
    /// Bytes in on the selected pair.
    pub bytes_received: u64,
    /// Figures of each media line that carried something.
    pub lines: Vec<LineStatistics>,
    /// Datagrams that were not let in.
    pub dropped: DroppedDatagrams,
}

/// Datagrams that were dropped before anything was done for them, by what they claimed to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedDatagrams {
    /// From an address that has not shown itself to be the peer's.
    pub strangers: u64,
    /// STUN: malformed, not for this call, without the password, or of too many addresses.
    pub stun: u64,
    /// DTLS: malformed, or more than a handshake needs.
    pub dtls: u64,
    /// SRTP and SRTCP: too early, cut off, or of streams that the peer did not declare.
    pub media: u64,
    /// None of these.
    pub other: u64,
}

/// RTP figures of one media line.
#[derive(Clone, Debug, PartialEq)]
pub struct LineStatistics {
    /// Which.
    pub line: MediaLine,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP payload bytes received.
    pub bytes_received: u64,
    /// Packets that never arrived, by sequence number (RFC 3550 §6.4.1; less those repaired).
    pub packets_lost: i64,
    /// Interarrival jitter in seconds (RFC 3550 §6.4.1).
    pub jitter: f64,
    /// Part of our packets that the peer last reported lost, 0–1.
    pub peer_fraction_lost: Option<f64>,
}

impl LineStatistics {
    pub(crate) fn new(line: MediaLine) -> Self {
        Self {
            line,
            packets_sent: 0,
            bytes_sent: 0,
            packets_received: 0,
            bytes_received: 0,
            packets_lost: 0,
            jitter: 0.0,
            peer_fraction_lost: None,
        }
    }
}
