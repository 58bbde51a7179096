//! The codecs of a call: Opus and VP8.
//!
//! There is no RTX (RFC 4588): the library's NACK generator does not see what comes back under
//! another SSRC and would ask for it again and again. Lost packets come back as they were sent.

use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind,
};
use rtc::shared::error::Error;

use crate::transport::MediaLine;

/// Payload type that this side offers for Opus; an answer uses the peer's.
const OPUS: u8 = 111;

/// Payload type that this side offers for VP8.
const VP8: u8 = 96;

pub(super) fn media_engine() -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    engine.register_codec(parameters(opus(), OPUS), RtpCodecKind::Audio)?;
    engine.register_codec(parameters(vp8(), VP8), RtpCodecKind::Video)?;
    Ok(engine)
}

pub(super) fn kind(line: MediaLine) -> RtpCodecKind {
    if line.is_video() {
        RtpCodecKind::Video
    } else {
        RtpCodecKind::Audio
    }
}

/// The codec that a line carries.
pub(super) fn codec(line: MediaLine) -> RTCRtpCodec {
    if line.is_video() { vp8() } else { opus() }
}

fn parameters(rtp_codec: RTCRtpCodec, payload_type: u8) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec,
        payload_type,
    }
}

/// RFC 7587. Stereo is in the name alone; we send mono.
fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// RFC 7741.
fn vp8() -> RTCRtpCodec {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("ccm", "fir"),
        ],
    }
}
