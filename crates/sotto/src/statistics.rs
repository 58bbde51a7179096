//! Figures of a call.

use std::time::{Duration, Instant};

use call_core::{DecryptStats, EncryptStats};
use call_media::AudioReceiverStats;

use crate::session::SessionTimes;
use crate::transport::TransportStatistics;

/// Figures of a call, counted from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// When the call was accepted: by this side, or by the peer as this side learnt of it.
    pub accepted: Instant,
    /// From there to the moment when media could flow.
    pub connect_time: Option<Duration>,
    /// From acceptance to the first decoded audio of the peer.
    pub accept_to_audio: Option<Duration>,
    /// When sample 0 of the audio source was spoken and sample 0 of the sink played.
    pub media_started: Option<Instant>,
    /// ICE, DTLS, SRTP and RTP.
    pub transport: TransportStatistics,
    /// The end-to-end encryption of frames.
    pub frames: FrameStatistics,
    /// The peer's audio on its way to the sink; `None` before the call is connected.
    pub audio: Option<AudioStatistics>,
}

impl Statistics {
    pub(crate) fn new(
        times: SessionTimes,
        transport: TransportStatistics,
        frames: FrameStatistics,
        audio: Option<AudioStatistics>,
    ) -> Self {
        let since = |at: Instant| at.saturating_duration_since(times.accepted);
        Self {
            accepted: times.accepted,
            connect_time: times.connected.map(since),
            accept_to_audio: times.first_audio.map(since),
            media_started: times.media_started,
            transport,
            frames,
            audio,
        }
    }
}

/// Counts of the frame encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStatistics {
    /// Frames encrypted and sent.
    pub encrypted: u64,
    /// Frames decrypted.
    pub decrypted: u64,
    /// Frames that did not decrypt and were dropped.
    pub refused: u64,
}

impl FrameStatistics {
    pub(crate) fn new(encrypt: &EncryptStats, decrypt: &DecryptStats) -> Self {
        Self {
            encrypted: encrypt.encrypted,
            decrypted: decrypt.decrypted,
            refused: decrypt.refused,
        }
    }
}

/// The peer's audio, from the network to the sink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioStatistics {
    /// Frames of 20 ms that had to be made up.
    pub concealed: u64,
    /// Lost packets that in-band FEC gave back.
    pub fec_recovered: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Delay of the jitter buffer now, in milliseconds.
    pub buffer_ms: f32,
    /// Delay that the jitter buffer aims at, in milliseconds.
    pub target_ms: f32,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f32,
    /// Loudness of the last frame played, dBFS (root mean square).
    pub level_dbfs: f32,
    /// Packets that were no Opus.
    pub invalid: u64,
}

impl AudioStatistics {
    pub(crate) fn new(stats: &AudioReceiverStats) -> Self {
        Self {
            concealed: stats.jitter.concealed,
            fec_recovered: stats.jitter.fec_recovered,
            late: stats.jitter.late,
            duplicate: stats.jitter.duplicate,
            buffer_ms: stats.jitter.delay_ms,
            target_ms: stats.jitter.target_delay_ms,
            jitter_ms: stats.jitter.jitter_ms,
            level_dbfs: stats.level.rms_dbfs,
            invalid: stats.invalid,
        }
    }
}
