//! The five call events of SimpleX Chat and the types inside them.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::CryptoRng;

use crate::error::FieldFault;

/// Identifies one call. Chosen at random by the caller, the same in all events of the call.
///
/// On the wire: padded base64url of the 16 bytes (24 characters). The order of two ids, which
/// decides a glare, is that of their bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub [u8; Self::LEN]);

impl CallId {
    /// Bytes in a call id.
    pub const LEN: usize = 16;

    /// A new id; the caller makes one for each call.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; Self::LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The id as the wire has it: 24 characters.
    pub fn to_base64(&self) -> String {
        BASE64_URL.encode(self.0)
    }

    /// Reads the wire's form, with or without padding.
    ///
    /// # Errors
    /// [`FieldFault::NotBase64`] or [`FieldFault::WrongLength`].
    pub fn from_base64(text: &str) -> Result<Self, FieldFault> {
        decode_base64(text).map(Self)
    }
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

impl CallEvent {
    /// Name of the event on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Invitation(_) => names::INVITATION,
            Self::Offer(_) => names::OFFER,
            Self::Answer(_) => names::ANSWER,
            Self::Extra(_) => names::EXTRA,
            Self::End => names::END,
        }
    }
}

/// Names of the call events on the wire.
pub(crate) mod names {
    pub(crate) const INVITATION: &str = "x.call.inv";
    pub(crate) const OFFER: &str = "x.call.offer";
    pub(crate) const ANSWER: &str = "x.call.answer";
    pub(crate) const EXTRA: &str = "x.call.extra";
    pub(crate) const END: &str = "x.call.end";

    /// All five.
    pub(crate) const ALL: [&str; 5] = [INVITATION, OFFER, ANSWER, EXTRA, END];
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
    pub const V1: Self = Self {
        min: CallVersion::V1,
        max: CallVersion::V1,
    };

    /// What this crate's events can express: versions 1 and 2.
    pub const SUPPORTED: Self = Self {
        min: CallVersion::V1,
        max: CallVersion::V2,
    };

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

    /// Bytes of the key as SubjectPublicKeyInfo.
    pub const SPKI_LEN: usize = X25519_SPKI_PREFIX.len() + Self::LEN;

    /// The key as the wire has it: 60 characters.
    pub fn to_base64(&self) -> String {
        BASE64_URL.encode(self.to_spki())
    }

    /// Reads the wire's form, with or without padding.
    ///
    /// # Errors
    /// [`FieldFault::NotBase64`], [`FieldFault::WrongLength`], or [`FieldFault::NotAnX25519Key`]
    /// if the 44 bytes are the SubjectPublicKeyInfo of something else.
    pub fn from_base64(text: &str) -> Result<Self, FieldFault> {
        let der: [u8; Self::SPKI_LEN] = decode_base64(text)?;
        Self::from_spki(&der).ok_or(FieldFault::NotAnX25519Key)
    }

    /// The key as SubjectPublicKeyInfo in DER (RFC 8410 §4).
    pub fn to_spki(&self) -> [u8; Self::SPKI_LEN] {
        let mut der = [0; Self::SPKI_LEN];
        let (prefix, key) = der.split_at_mut(X25519_SPKI_PREFIX.len());
        prefix.copy_from_slice(&X25519_SPKI_PREFIX);
        key.copy_from_slice(&self.0);
        der
    }

    /// `None` if `der` is not the SubjectPublicKeyInfo of an X25519 key.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        der.strip_prefix(&X25519_SPKI_PREFIX)?
            .try_into()
            .ok()
            .map(Self)
    }
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
        f.debug_struct("IceCandidate")
            .field("sdp_mid", &self.sdp_mid)
            .finish_non_exhaustive()
    }
}

/// What stands before the raw key: SEQUENCE { SEQUENCE { OID 1.3.101.110 }, BIT STRING.
const X25519_SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
];

/// Written with padding, read with or without it: SimpleX's parsers take both.
pub(crate) const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn decode_base64<const N: usize>(text: &str) -> Result<[u8; N], FieldFault> {
    let bytes = BASE64_URL.decode(text).map_err(|_| FieldFault::NotBase64)?;
    <[u8; N]>::try_from(bytes).map_err(|bytes| FieldFault::WrongLength {
        expected: N,
        actual: bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "MCowBQYDK2VuAyEAS2Wibm5cR6JBxZzVYAQ_yt144Tojra5B84NhkO1fQ0c=";

    #[test]
    fn base64_needs_no_padding_but_no_other_alphabet() {
        let id = CallId::from_base64("luuFPHrkierdJ2FPLb8Nyw==").unwrap();
        assert_eq!(CallId::from_base64("luuFPHrkierdJ2FPLb8Nyw"), Ok(id));
        assert_eq!(
            CallId::from_base64("luuFPHrkierdJ2FPLb8Ny+=="),
            Err(FieldFault::NotBase64)
        );
        assert_eq!(
            CallId::from_base64("luuFPHrkierdJ2FPLb8Nyx=="),
            Err(FieldFault::NotBase64)
        );
    }

    #[test]
    fn an_id_of_another_length_is_refused_with_both_lengths() {
        let fault = FieldFault::WrongLength {
            expected: 16,
            actual: 3,
        };
        assert_eq!(CallId::from_base64("AAAA"), Err(fault));
    }

    #[test]
    fn a_key_is_read_from_its_subject_public_key_info_only() {
        let key = CallDhPublicKey::from_base64(KEY).unwrap();
        assert_eq!(key.0[..2], [0x4b, 0x65]);
        assert_eq!(key.to_base64(), KEY);
        let ed25519 = KEY.replace("K2Vu", "K2Vw");
        assert_eq!(
            CallDhPublicKey::from_base64(&ed25519),
            Err(FieldFault::NotAnX25519Key)
        );
    }

    #[test]
    fn debug_output_shows_no_key_id_or_address() {
        let candidate = IceCandidate {
            candidate: "candidate:1 1 udp 1 198.51.100.7 9 typ host".into(),
            username_fragment: Some("secret".into()),
            ..IceCandidate::default()
        };
        let description = SessionDescription {
            kind: SdpKind::Offer,
            sdp: "a=secret".into(),
        };
        let printed = format!(
            "{candidate:?} {description:?} {:?} {:?}",
            CallId([0xab; 16]),
            CallDhPublicKey([0xab; 32]),
        );
        for hidden in ["198.51", "secret", "171", "ab,"] {
            assert!(!printed.contains(hidden), "{printed}");
        }
    }
}
