//! Call events of SimpleX Chat: chat envelope, batches, compression, and the channel that carries them.

mod event;

pub use event::{
    Answer, CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersion,
    CallVersionRange, ExtraCandidates, IceCandidate, Invitation, Offer, RtcSession, SdpKind,
    SessionDescription,
};

/// Most candidates taken from one message.
pub const MAX_CANDIDATES: usize = 256;

/// Longest SDP text in bytes.
pub const MAX_SDP: usize = 48 * 1024;
