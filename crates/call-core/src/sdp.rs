//! What must be known of a peer's SDP before it is trusted to the WebRTC stack.
//!
//! A small reader, not a parser: it looks at the lines that matter here (RFC 8866, RFC 8122,
//! RFC 8839, RFC 9143) and passes over all others, so that it takes the SDP of any browser, of
//! either generation of SimpleX: one, two or four media sections.
//!
//! What it reads must be what the WebRTC stack reads, or something could hide from it. Stacks trim
//! white space around values and differ in where a lone carriage return ends a line; so an SDP in
//! which that matters is refused.

use std::fmt;

use crate::sdp_lines::lines;

/// Longest SDP that is read, in bytes.
pub const MAX_SDP_LEN: usize = 64 * 1024;

/// Most media sections. SimpleX has four.
pub const MAX_MEDIA_SECTIONS: usize = 8;

/// Longest media identification, in bytes. Browsers write one digit.
pub const MAX_MID_LEN: usize = 64;

/// Most different DTLS fingerprints.
pub const MAX_FINGERPRINTS: usize = 8;

/// Most RTP streams that one media section declares. Browsers have one or two.
pub const MAX_SSRCS: usize = 16;

/// Protocols of media that DTLS-SRTP protects, with feedback (RFC 5764 §8, RFC 7850 §3.1).
const PROTOCOLS: [&str; 2] = ["UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF"];

/// What the engine must know of an SDP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdpSummary {
    media: Vec<MediaSection>,
    fingerprints: Vec<Fingerprint>,
    setup: Option<SetupRole>,
    has_ice_ufrag: bool,
}

impl SdpSummary {
    /// Reads an SDP of at most [`MAX_SDP_LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`SdpError`], always the peer's doing. Such a description must not reach the WebRTC stack.
    pub fn parse(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_SDP_LEN {
            return Err(SdpError::TooLong(sdp.len()));
        }
        let mut lines = lines(sdp);
        if lines.next().map(|(line, _)| line) != Some("v=0") {
            return Err(SdpError::NotSdp);
        }
        let mut summary = Self::default();
        for (line, end) in lines {
            if end == "\r" || is_ambiguous(line) {
                return Err(SdpError::AmbiguousLine);
            }
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("m=") {
                summary.add_media(value)?;
            } else if let Some(attribute) = line.strip_prefix("a=") {
                summary.add_attribute(attribute)?;
            }
        }
        if summary.media.is_empty() {
            return Err(SdpError::NoMedia);
        }
        let talks =
            |section: &MediaSection| section.kind == SectionKind::Audio && !section.rejected;
        if !summary.media.iter().any(talks) {
            return Err(SdpError::NoAudio);
        }
        if summary.fingerprints.is_empty() {
            return Err(SdpError::NoFingerprint);
        }
        Ok(summary)
    }

    /// The media sections in their order: 1 to [`MAX_MEDIA_SECTIONS`].
    pub fn media(&self) -> &[MediaSection] {
        &self.media
    }

    /// Fingerprints of the peer's DTLS certificates, each once, in the order of the text; at
    /// least one. Browsers have one.
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.fingerprints
    }

    /// The first `a=setup`: which side opens the DTLS connection.
    pub fn setup(&self) -> Option<SetupRole> {
        self.setup
    }

    /// Whether there is an `a=ice-ufrag`; without one there is no ICE.
    pub fn has_ice_ufrag(&self) -> bool {
        self.has_ice_ufrag
    }

    fn add_media(&mut self, value: &str) -> Result<(), SdpError> {
        if self.media.len() == MAX_MEDIA_SECTIONS {
            return Err(SdpError::TooManySections);
        }
        let mut fields = value.split(' ');
        let (Some(kind), Some(port), Some(protocol), Some(_)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(SdpError::InvalidMediaLine);
        };
        if !PROTOCOLS.contains(&protocol) {
            return Err(SdpError::InsecureProtocol);
        }
        let port: u16 = port.parse().map_err(|_| SdpError::InvalidMediaLine)?;
        let kind = SectionKind::of(kind).ok_or(SdpError::UnknownMedia)?;
        self.media.push(MediaSection {
            kind,
            mid: None,
            rejected: port == 0,
            ssrcs: Vec::new(),
        });
        Ok(())
    }

    fn add_attribute(&mut self, attribute: &str) -> Result<(), SdpError> {
        match attribute.split_once(':') {
            Some(("fingerprint", value)) => self.add_fingerprint(value)?,
            Some(("mid", mid)) => self.add_mid(mid)?,
            Some(("setup", value)) => {
                let role = SetupRole::parse(value).ok_or(SdpError::InvalidSetup)?;
                self.setup.get_or_insert(role);
            }
            Some(("ssrc", value)) => self.add_ssrc(value.split(' ').next())?,
            Some(("ssrc-group", value)) => {
                for ssrc in value.split(' ').skip(1) {
                    self.add_ssrc(Some(ssrc))?;
                }
            }
            Some(("rid" | "simulcast", _)) => return Err(SdpError::Simulcast),
            Some(("ice-ufrag", value)) => self.has_ice_ufrag |= !value.is_empty(),
            None if attribute == "bundle-only" => {
                // Port 0 then means that the section rides on another one (RFC 9143 §6).
                if let Some(section) = self.media.last_mut() {
                    section.rejected = false;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_fingerprint(&mut self, value: &str) -> Result<(), SdpError> {
        let fingerprint = Fingerprint::parse(value)?;
        if self.fingerprints.contains(&fingerprint) {
            return Ok(());
        }
        if self.fingerprints.len() == MAX_FINGERPRINTS {
            return Err(SdpError::TooManyFingerprints);
        }
        self.fingerprints.push(fingerprint);
        Ok(())
    }

    fn add_ssrc(&mut self, text: Option<&str>) -> Result<(), SdpError> {
        let ssrc = text
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(SdpError::InvalidSsrc)?;
        let section = self.media.last_mut().ok_or(SdpError::InvalidSsrc)?;
        if section.ssrcs.contains(&ssrc) {
            return Ok(());
        }
        if section.ssrcs.len() == MAX_SSRCS {
            return Err(SdpError::TooManySsrcs);
        }
        section.ssrcs.push(ssrc);
        Ok(())
    }

    fn add_mid(&mut self, mid: &str) -> Result<(), SdpError> {
        let valid = !mid.is_empty()
            && mid.len() <= MAX_MID_LEN
            && mid.bytes().all(|b| b.is_ascii_graphic())
            && self
                .media
                .iter()
                .all(|section| section.mid.as_deref() != Some(mid));
        match self.media.last_mut() {
            Some(section) if valid && section.mid.is_none() => section.mid = Some(mid.to_owned()),
            _ => return Err(SdpError::InvalidMid),
        }
        Ok(())
    }
}

/// White space where the reader and a WebRTC stack might see two different lines.
fn is_ambiguous(line: &str) -> bool {
    let Some((kind, value)) = line.split_once('=') else {
        return false;
    };
    match kind {
        "m" => {
            value.starts_with(char::is_whitespace)
                || value.contains(|c: char| c != ' ' && c.is_whitespace())
        }
        "a" => value.starts_with(char::is_whitespace),
        _ => false,
    }
}

/// One m-line and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaSection {
    /// Audio, video or another kind.
    pub kind: SectionKind,
    /// Media identification (RFC 5888); the same text in no other section.
    pub mid: Option<String>,
    /// Port 0, and not bundled with another section: refused or stopped by the peer.
    pub rejected: bool,
    /// RTP streams that the peer sends in this section (RFC 5576), retransmissions too, each once;
    /// at most [`MAX_SSRCS`]. Empty where it does not say.
    pub ssrcs: Vec<u32>,
}

/// Kind of a media section. There are no others in calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
}

impl SectionKind {
    fn of(text: &str) -> Option<Self> {
        match text {
            "audio" => Some(Self::Audio),
            "video" => Some(Self::Video),
            _ => None,
        }
    }
}

/// Hash of a DTLS certificate (RFC 8122 §5).
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fingerprint {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// Its output, as long as the function's.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    fn parse(value: &str) -> Result<Self, SdpError> {
        let (name, digest) = value.split_once(' ').ok_or(SdpError::InvalidFingerprint)?;
        let algorithm = HashAlgorithm::parse(name).ok_or(SdpError::WeakFingerprint)?;
        let digest = (digest.len() == algorithm.digest_len() * 3 - 1)
            .then(|| {
                digest
                    .split(':')
                    .map(parse_byte)
                    .collect::<Option<Vec<_>>>()
            })
            .flatten()
            .filter(|digest| digest.len() == algorithm.digest_len())
            .ok_or(SdpError::InvalidFingerprint)?;
        Ok(Self { algorithm, digest })
    }
}

impl fmt::Debug for Fingerprint {
    /// Prints no digest: it ties two people's logs together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprint")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn parse_byte(hex: &str) -> Option<u8> {
    let digits = hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(hex, 16).ok().filter(|_| digits)
}

/// Hash functions that are strong enough for a certificate's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-256, the one that browsers use.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    fn parse(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// The name in an SDP, in lower case (RFC 8122 §5).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes in a digest.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Who opens the DTLS connection (RFC 4145 §4, RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetupRole {
    /// `active`: this side opens it, as the DTLS client.
    Active,
    /// `passive`: this side waits for it, as the DTLS server.
    Passive,
    /// `actpass`: the answerer chooses; what offers must have.
    ActPass,
    /// `holdconn`: nobody for now.
    HoldConn,
}

impl SetupRole {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "active" => Self::Active,
            "passive" => Self::Passive,
            "actpass" => Self::ActPass,
            "holdconn" => Self::HoldConn,
            _ => return None,
        })
    }
}

/// Why a peer's SDP is refused. All are the peer's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Longer than [`MAX_SDP_LEN`]; holds the length in bytes.
    #[error("the peer's session description is too long: {0} bytes")]
    TooLong(usize),
    /// It does not begin with `v=0`.
    #[error("the peer's session description is not SDP")]
    NotSdp,
    /// A line that readers could understand in two ways: white space before its value, or a
    /// carriage return alone as its end.
    #[error("the peer's session description has a line with misplaced white space")]
    AmbiguousLine,
    /// No m-line.
    #[error("the peer's session description has no media")]
    NoMedia,
    /// No m-line for audio, or none that is in use: not a call.
    #[error("the peer's session description has no audio")]
    NoAudio,
    /// An m-line that is neither audio nor video, such as a data channel.
    #[error("the peer's session description has media other than audio and video")]
    UnknownMedia,
    /// Simulcast (RFC 8853), which no call uses.
    #[error("the peer's session description has simulcast")]
    Simulcast,
    /// An `a=ssrc` or `a=ssrc-group` that has no number, or is outside of a section.
    #[error("the peer's session description has an invalid SSRC")]
    InvalidSsrc,
    /// More than [`MAX_SSRCS`] RTP streams in one section.
    #[error("the peer's session description has more than {MAX_SSRCS} SSRCs in a section")]
    TooManySsrcs,
    /// More than [`MAX_MEDIA_SECTIONS`] m-lines.
    #[error("the peer's session description has more than {MAX_MEDIA_SECTIONS} media")]
    TooManySections,
    /// An m-line without its four parts, or with a port that is none.
    #[error("the peer's session description has an invalid m-line")]
    InvalidMediaLine,
    /// An m-line for media without DTLS-SRTP, or for no media at all.
    #[error("the peer offers media that DTLS-SRTP does not protect")]
    InsecureProtocol,
    /// A media identification that is empty, too long, repeated or outside of a section.
    #[error("the peer's session description has an invalid mid")]
    InvalidMid,
    /// An `a=setup` that is no [`SetupRole`].
    #[error("the peer's session description has an invalid DTLS role")]
    InvalidSetup,
    /// No `a=fingerprint`: the DTLS connection could be anyone's.
    #[error("the peer's session description has no certificate fingerprint")]
    NoFingerprint,
    /// A fingerprint by a hash other than [`HashAlgorithm`]. One is enough, also beside strong
    /// ones: WebRTC stacks differ in which of several they check.
    #[error("the peer's certificate fingerprint is not by SHA-256, SHA-384 or SHA-512")]
    WeakFingerprint,
    /// A fingerprint that is not the hash's length in pairs of hexadecimal digits.
    #[error("the peer's certificate fingerprint is malformed")]
    InvalidFingerprint,
    /// More than [`MAX_FINGERPRINTS`] different ones.
    #[error("the peer's session description has more than {MAX_FINGERPRINTS} fingerprints")]
    TooManyFingerprints,
}
