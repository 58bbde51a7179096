//! The five call events of SimpleX Chat and the types inside them.

use std::fmt;

/// Identifies one call. Chosen at random by the caller, the same in all events of the call.
///
/// On the wire: padded base64url of the 16 bytes (24 characters). The order of two ids, which
/// decides a glare, is that of their bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub [u8; Self::LEN]);

impl CallId {
    /// Bytes in a call id.
    pub const LEN: usize = 16;
}

impl fmt::Debug for CallId {
    /// Prints no id: it would tie two people's logs together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallId(..)")
    }
}

/// What a call carries besides its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// `x.call.inv`, caller to callee: asks for a call.
    Invitation(Invitation),
    /// `x.call.offer`, callee to caller: accepts, with the SDP offer.
    Offer(Offer),
    /// `x.call.answer`, caller to callee: the SDP answer.
    Answer(Answer),
    /// `x.call.extra`, either way: candidates found after the offer or the answer was sent.
    Extra(ExtraCandidates),
    /// `x.call.end`, either way.
    End,
}

/// A call event and the call to which it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMessage {
    /// The call.
    pub call_id: CallId,
    /// What happened in it.
    pub event: CallEvent,
}

/// Content of `x.call.inv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Media, and whether the caller can encrypt frames.
    pub call_type: CallType,
    /// The caller's key; absent where it can't encrypt frames.
    pub dh_public_key: Option<CallDhPublicKey>,
    /// Call versions that the caller speaks; [`CallVersionRange::V1`] where the field is missing.
    pub versions: CallVersionRange,
}

/// Content of `x.call.offer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Media, and whether the callee can encrypt frames.
    pub call_type: CallType,
    /// The SDP offer and the first candidates.
    pub session: RtcSession,
    /// The callee's key; absent where it can't encrypt frames.
    pub dh_public_key: Option<CallDhPublicKey>,
    /// The version that the callee chose; [`CallVersion::V1`] where the field is missing.
    pub version: CallVersion,
}

/// Content of `x.call.answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The SDP answer and the first candidates.
    pub session: RtcSession,
}

/// Content of `x.call.extra`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraCandidates {
    /// At most [`MAX_CANDIDATES`](crate::MAX_CANDIDATES).
    pub candidates: Vec<IceCandidate>,
}

/// What a call is for, and whether its side can encrypt frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallType {
    /// Audio alone, or video too.
    pub media: CallMedia,
    /// `capabilities.encryption`: this side encrypts frames end to end.
    pub encryption: bool,
}

/// The media of a call as it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMedia {
    /// Microphone only.
    Audio,
    /// Microphone and camera.
    Video,
}

/// Version of the call protocol: 1 uses the raw X25519 output as the media key, 2 derives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallVersion(pub u16);

impl CallVersion {
    /// The first version, meant where the field is missing.
    pub const V1: Self = Self(1);
    /// Four transceivers and a derived key.
    pub const V2: Self = Self(2);
}

/// Versions from `min` to `max`, both included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallVersionRange {
    min: CallVersion,
    max: CallVersion,
}

impl CallVersionRange {
    /// Version 1 alone.
    pub const V1: Self = Self { min: CallVersion::V1, max: CallVersion::V1 };

    /// `None` if `min` is larger than `max`.
    pub fn new(min: CallVersion, max: CallVersion) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }

    /// Lowest version in the range.
    pub fn min(&self) -> CallVersion {
        self.min
    }

    /// Highest version in the range.
    pub fn max(&self) -> CallVersion {
        self.max
    }

    /// Whether `version` lies in the range.
    pub fn contains(&self, version: CallVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The highest version in both ranges.
    pub fn highest_common(&self, other: &Self) -> Option<CallVersion> {
        let max = self.max.min(other.max);
        (max >= self.min.max(other.min)).then_some(max)
    }
}

/// X25519 public key of one side, raw.
///
/// On the wire: SubjectPublicKeyInfo in DER (44 bytes) as padded base64url.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallDhPublicKey(pub [u8; Self::LEN]);

impl CallDhPublicKey {
    /// Bytes in a raw X25519 public key.
    pub const LEN: usize = 32;
}

impl fmt::Debug for CallDhPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallDhPublicKey(..)")
    }
}

/// A session description and the candidates that were known when it was sent.
///
/// On the wire: two LZ-string texts, `rtcSession` and `rtcIceCandidates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcSession {
    /// Offer or answer.
    pub description: SessionDescription,
    /// At most [`MAX_CANDIDATES`](crate::MAX_CANDIDATES).
    pub candidates: Vec<IceCandidate>,
}

/// SDP with its role, as `RTCSessionDescriptionInit` has it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// Offer or answer.
    pub kind: SdpKind,
    /// The SDP text (RFC 8866), at most [`MAX_SDP`](crate::MAX_SDP) bytes; not parsed here.
    pub sdp: String,
}

impl fmt::Debug for SessionDescription {
    /// Prints no SDP: it holds addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDescription")
            .field("kind", &self.kind)
            .field("bytes", &self.sdp.len())
            .finish()
    }
}

/// Role of a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpKind {
    /// `"offer"`.
    Offer,
    /// `"answer"`.
    Answer,
}

/// An ICE candidate as `RTCIceCandidateInit` has it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceCandidate {
    /// The candidate attribute's value, with or without the `candidate:` in front as the peer
    /// wrote it (RFC 8839 §5.1); empty means the end of candidates.
    pub candidate: String,
    /// Media stream identification, e.g. `0`.
    pub sdp_mid: Option<String>,
    /// Index of the m-line.
    pub sdp_mline_index: Option<u16>,
    /// ICE user name fragment to which the candidate belongs.
    pub username_fragment: Option<String>,
}

impl fmt::Debug for IceCandidate {
    /// Prints no candidate: it holds an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCandidate").field("sdp_mid", &self.sdp_mid).finish_non_exhaustive()
    }
}
