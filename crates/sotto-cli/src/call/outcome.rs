//! What the end of a call means for the user and the exit status.

use sotto::{EndReason, Ended, MissedReason, Refusal};

use crate::failure::{Failure, Status};

/// What comes of a call that has ended.
pub(crate) fn of_ended(ended: &Ended, was_connected: bool) -> Result<(), Failure> {
    let (status, text) = match ended.reason {
        EndReason::HungUp | EndReason::PeerHungUp if was_connected => return Ok(()),
        EndReason::HungUp => (
            Status::NotConnected,
            "cancelled before the call was connected",
        ),
        EndReason::Declined => (Status::NotConnected, "declined"),
        EndReason::PeerHungUp => (
            Status::NotConnected,
            "the peer hung up before the call was connected",
        ),
        EndReason::Unanswered => (Status::Timeout, "timeout: nobody answered"),
        EndReason::ConnectTimeout => (
            Status::Timeout,
            "timeout: the call was accepted but did not connect",
        ),
        EndReason::Disconnected => (
            Status::Timeout,
            "timeout: the connection was lost and did not come back",
        ),
        EndReason::PeerCalledAgain => (
            Status::Timeout,
            "the connection was lost, and the peer called anew",
        ),
        EndReason::NoCandidates => (Status::Timeout, "timeout: no network, or no relay answered"),
        EndReason::ChannelClosed => (
            Status::Signalling,
            "bad signalling: it ended before the call was connected",
        ),
        EndReason::BadSessionDescription => (
            Status::Signalling,
            "bad signalling: the peer's session description can't be used",
        ),
        EndReason::BadVersion => (
            Status::Signalling,
            "bad signalling: the peer chose a version that was not offered",
        ),
        EndReason::Refused(refusal) => (Status::Security, refused(refusal)),
        EndReason::MediaFailed => (Status::Media, "bad media: a source, sink or codec failed"),
        _ => (
            Status::Other,
            "the call ended for a reason unknown to this program",
        ),
    };
    Err(match &ended.detail {
        Some(detail) => Failure::new(status, format_args!("{text}: {detail}")),
        None => Failure::new(status, text),
    })
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoFrameEncryption => "security refused: the peer can't encrypt frames end to end",
        Refusal::BadKey => "security refused: the peer's key is not usable",
        Refusal::NoAes256Gcm => "security refused: the peer offers no SRTP_AEAD_AES_256_GCM",
        Refusal::Fingerprint => {
            "security refused: the peer's certificate is not the one that it announced"
        }
        Refusal::DtlsHandshake => "security refused: the DTLS handshake failed",
        _ => "security refused",
    }
}

/// What comes of a call that stopped ringing.
pub(crate) fn of_missed(reason: MissedReason) -> Failure {
    let (status, text) = match reason {
        MissedReason::Expired => (
            Status::Timeout,
            "timeout: the call was not answered in time",
        ),
        MissedReason::Cancelled => (Status::NotConnected, "missed: the caller gave up"),
        MissedReason::Replaced => (Status::NotConnected, "missed: the caller called again"),
        MissedReason::Busy => (Status::NotConnected, "missed: another call was going on"),
        MissedReason::IncompatibleVersion => (
            Status::Signalling,
            "bad signalling: the caller speaks none of our call versions",
        ),
        MissedReason::NoFrameEncryption => (Status::Security, refused(Refusal::NoFrameEncryption)),
        MissedReason::ChannelClosed => return channel_closed(),
        _ => (Status::Other, "missed for a reason unknown to this program"),
    };
    Failure::new(status, text)
}

/// The signalling ended while no call was going on.
pub(crate) fn channel_closed() -> Failure {
    Failure::new(
        Status::Signalling,
        "bad signalling: it ended before the call was connected",
    )
}

/// As `--events` names it.
pub(crate) fn end_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::HungUp => "hung_up",
        EndReason::Declined => "declined",
        EndReason::PeerHungUp => "peer_hung_up",
        EndReason::Unanswered => "unanswered",
        EndReason::ConnectTimeout => "connect_timeout",
        EndReason::Disconnected => "disconnected",
        EndReason::PeerCalledAgain => "peer_called_again",
        EndReason::NoCandidates => "no_candidates",
        EndReason::ChannelClosed => "channel_closed",
        EndReason::BadSessionDescription => "bad_session_description",
        EndReason::BadVersion => "bad_version",
        EndReason::Refused(Refusal::NoFrameEncryption) => "refused_no_frame_encryption",
        EndReason::Refused(Refusal::BadKey) => "refused_bad_key",
        EndReason::Refused(Refusal::NoAes256Gcm) => "refused_no_aes_256_gcm",
        EndReason::Refused(Refusal::Fingerprint) => "refused_fingerprint",
        EndReason::Refused(Refusal::DtlsHandshake) => "refused_dtls_handshake",
        EndReason::MediaFailed => "media_failed",
        _ => "other",
    }
}

/// As `--events` names it.
pub(crate) fn missed_name(reason: MissedReason) -> &'static str {
    match reason {
        MissedReason::Expired => "expired",
        MissedReason::Cancelled => "cancelled",
        MissedReason::Replaced => "replaced",
        MissedReason::Busy => "busy",
        MissedReason::IncompatibleVersion => "incompatible_version",
        MissedReason::NoFrameEncryption => "no_frame_encryption",
        MissedReason::ChannelClosed => "channel_closed",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(reason: EndReason, was_connected: bool) -> Option<Status> {
        let ended = Ended {
            reason,
            statistics: None,
            detail: None,
        };
        of_ended(&ended, was_connected)
            .err()
            .map(|failure| failure.status)
    }

    #[test]
    fn hanging_up_is_success_only_after_the_call_was_connected() {
        assert_eq!(status(EndReason::HungUp, true), None);
        assert_eq!(status(EndReason::PeerHungUp, true), None);
        assert_eq!(status(EndReason::HungUp, false), Some(Status::NotConnected));
        assert_eq!(
            status(EndReason::PeerHungUp, false),
            Some(Status::NotConnected)
        );
    }

    #[test]
    fn each_kind_of_failure_has_its_own_status() {
        assert_eq!(status(EndReason::Unanswered, false), Some(Status::Timeout));
        assert_eq!(status(EndReason::Disconnected, true), Some(Status::Timeout));
        let refused = EndReason::Refused(Refusal::NoAes256Gcm);
        assert_eq!(status(refused, false), Some(Status::Security));
        assert_eq!(
            status(EndReason::ChannelClosed, false),
            Some(Status::Signalling)
        );
        assert_eq!(status(EndReason::MediaFailed, true), Some(Status::Media));
    }
}
