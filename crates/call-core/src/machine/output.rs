//! What the call machine tells its owner.

use call_signal::{CallId, CallMedia, CallMessage, IceCandidate, SessionDescription};

use crate::MediaKey;

/// Something that the owner of a [`CallMachine`](crate::CallMachine) does next, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send a message over the signal channel.
    Send {
        /// What to send.
        message: CallMessage,
        /// Ask for a delivery receipt and a notification: true for invitations alone.
        receipt: bool,
    },
    /// Open the media transport and describe it
    /// ([`handle_local_description`](crate::CallMachine::handle_local_description)).
    Open(OpenTransport),
    /// Give the peer's answer to the transport that made the offer.
    ApplyAnswer(SessionDescription),
    /// Give candidates of the peer to the transport; they come after the description that they
    /// belong to.
    AddCandidates(Vec<IceCandidate>),
    /// Close the transport and wipe the frame keys.
    CloseTransport {
        /// The call that is over.
        call_id: CallId,
    },
    /// Tell the user.
    Event(Event),
}

/// How to open the media transport of a call.
#[derive(Debug)]
pub struct OpenTransport {
    /// The call.
    pub call_id: CallId,
    /// Media with which the call begins, as this side wants them.
    pub media: CallMedia,
    /// Whether to offer or to answer.
    pub side: SdpSide,
    /// Key of the frame encryption; `None` only where the policy allows a call without it.
    pub frame_key: Option<MediaKey>,
}

/// Part of this side in the offer/answer exchange. The *callee* offers.
#[derive(Debug)]
pub enum SdpSide {
    /// Offer four transceivers.
    Offer,
    /// Answer this offer.
    Answer(SessionDescription),
}

/// Something that happened in a call, for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer asks for a call; [`accept`](crate::CallMachine::accept) or
    /// [`decline`](crate::CallMachine::decline) it.
    Incoming {
        /// The call.
        call_id: CallId,
        /// Media that the peer asks for.
        media: CallMedia,
    },
    /// The invitation reached the peer's device.
    Ringing {
        /// The call.
        call_id: CallId,
    },
    /// Both sides called each other and the peer's call won: this side's call goes on under the
    /// id of the peer's.
    Superseded {
        /// The call that this side placed, now gone.
        call_id: CallId,
        /// The peer's call, accepted at once since both wanted it.
        by: CallId,
    },
    /// The call was accepted, by the peer or by this side; the transport connects.
    Connecting {
        /// The call.
        call_id: CallId,
    },
    /// Media flows.
    Connected {
        /// The call.
        call_id: CallId,
    },
    /// The network path is down; the call ends if it stays so.
    Interrupted {
        /// The call.
        call_id: CallId,
    },
    /// The network path is up again.
    Resumed {
        /// The call.
        call_id: CallId,
    },
    /// An invitation came to nothing before it was accepted here.
    Missed {
        /// The call.
        call_id: CallId,
        /// Media that the peer asked for.
        media: CallMedia,
        /// Why.
        reason: MissedReason,
    },
    /// The call is over.
    Ended {
        /// The call.
        call_id: CallId,
        /// Why.
        reason: EndReason,
    },
}

/// Why an invitation came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissedReason {
    /// It was not answered within [`INVITATION_LIFE`](crate::INVITATION_LIFE), or came too late.
    Expired,
    /// The peer gave up.
    Cancelled,
    /// The peer called again: the newer call rings.
    Replaced,
    /// This side was in another call.
    Busy,
    /// The peer speaks none of our call versions.
    IncompatibleVersion,
    /// The peer can't encrypt frames, and the policy demands it.
    NoFrameEncryption,
    /// The signal channel closed.
    ChannelClosed,
}

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// This side hung up.
    HungUp,
    /// This side declined it; the peer is not told.
    Declined,
    /// The peer hung up, or declined where it says so.
    PeerHungUp,
    /// The peer did not answer within [`INVITATION_LIFE`](crate::INVITATION_LIFE).
    Unanswered,
    /// It was accepted but did not connect within [`CONNECT_TIMEOUT`](crate::CONNECT_TIMEOUT).
    ConnectTimeout,
    /// The network path was lost and did not come back within
    /// [`INTERRUPTION_LIMIT`](crate::INTERRUPTION_LIMIT).
    Disconnected,
    /// The peer called anew while the path of this call was down.
    PeerCalledAgain,
    /// No candidate could be gathered: no network, or no relay answered in relay-only mode.
    NoCandidates,
    /// The signal channel closed before the call was connected.
    ChannelClosed,
    /// The peer's offer or answer can't be used.
    BadSessionDescription,
    /// The peer chose a call version that was not offered to it.
    BadVersion,
    /// Security was refused, not negotiated.
    Refused(Refusal),
    /// Sources, sinks or codecs of this side failed.
    MediaFailed,
}

/// What a peer offered that is too weak or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer can't encrypt frames end to end.
    NoFrameEncryption,
    /// The peer's key gives no secret (a low-order point), or is our own.
    BadKey,
    /// The peer offers no SRTP_AEAD_AES_256_GCM.
    NoAes256Gcm,
    /// The certificate in the DTLS handshake is not the one in the peer's description.
    Fingerprint,
    /// The DTLS handshake failed or did not end in time.
    DtlsHandshake,
}
