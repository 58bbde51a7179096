//! ICE candidate attribute, RFC 8839 §5.1.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Longest candidate text taken, in bytes. Those of browsers are below 200.
pub const MAX_CANDIDATE_LEN: usize = 512;

/// Most extension pairs taken in one candidate.
pub const MAX_CANDIDATE_EXTENSIONS: usize = 16;

/// Longest foundation, in characters (RFC 8839 §5.1).
const MAX_FOUNDATION_LEN: usize = 32;

/// Highest component id (RFC 8839 §5.1).
const MAX_COMPONENT: u16 = 256;

/// Longest transport, type or extension name, in bytes.
const MAX_TOKEN_LEN: usize = 32;

/// Longest mDNS name, in bytes: one DNS label of 63 and `.local`.
const MAX_MDNS_LEN: usize = 63 + MDNS_SUFFIX.len();

/// What mDNS names end in (RFC 6762 §3).
const MDNS_SUFFIX: &str = ".local";

/// A candidate attribute in its parts.
///
/// Parsing takes the text with or without `candidate:` or `a=candidate:` in front. Formatting writes it with that
/// prefix and in canonical form: known tokens in lower case, one space between parts, related
/// address before the extensions.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    foundation: String,
    component: u16,
    transport: CandidateTransport,
    priority: u32,
    address: CandidateAddress,
    port: u16,
    kind: CandidateKind,
    related: Option<RelatedAddress>,
    extensions: Vec<CandidateExtension>,
}

impl Candidate {
    /// 1 to 32 characters that are equal for candidates of the same origin (RFC 8445 §5.1.1.3).
    pub fn foundation(&self) -> &str {
        &self.foundation
    }

    /// 1 for RTP (and all else, multiplexed), 2 for RTCP; at most 256.
    pub fn component(&self) -> u16 {
        self.component
    }

    /// The transport protocol.
    pub fn transport(&self) -> &CandidateTransport {
        &self.transport
    }

    /// Higher is better (RFC 8445 §5.1.2).
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Where the candidate is reached.
    pub fn address(&self) -> &CandidateAddress {
        &self.address
    }

    /// Port of the transport protocol; 0 and 9 mean none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `typ`: how the candidate was found.
    pub fn kind(&self) -> &CandidateKind {
        &self.kind
    }

    /// `raddr` and `rport`, where both are there.
    pub fn related(&self) -> Option<&RelatedAddress> {
        self.related.as_ref()
    }

    /// Name and value pairs at the end, in their order.
    pub fn extensions(&self) -> &[CandidateExtension] {
        &self.extensions
    }

    /// The same candidate with another related address and only those extensions for which `keep`
    /// holds.
    pub(crate) fn redacted(
        mut self,
        related: RelatedAddress,
        keep: impl Fn(&CandidateExtension) -> bool,
    ) -> Self {
        self.related = Some(related);
        self.extensions.retain(keep);
        self
    }
}

impl FromStr for Candidate {
    type Err = CandidateError;

    /// Parses the attribute's value (RFC 8839 §5.1), at most [`MAX_CANDIDATE_LEN`] bytes.
    fn from_str(text: &str) -> Result<Self, CandidateError> {
        if text.len() > MAX_CANDIDATE_LEN {
            return Err(CandidateError::TooLong(text.len()));
        }
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        let mut parts = text.split_ascii_whitespace();
        let mut next = |part| parts.next().ok_or(CandidateError::Missing(part));
        let foundation = parse_foundation(next("foundation")?)?;
        let component = parse_component(next("component")?)?;
        let transport = CandidateTransport::parse(next("transport")?)?;
        let priority = parse_number(next("priority")?, "priority")?;
        let address = CandidateAddress::parse(next("address")?)?;
        let port = parse_number(next("port")?, "port")?;
        if next("typ")? != "typ" {
            return Err(CandidateError::Missing("typ"));
        }
        let kind = CandidateKind::parse(next("type")?)?;
        let (related, extensions) = parse_tail(parts)?;
        Ok(Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related,
            extensions,
        })
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "candidate:{} {} {} {} {} {} typ {}",
            self.foundation,
            self.component,
            self.transport.as_str(),
            self.priority,
            self.address,
            self.port,
            self.kind.as_str()
        )?;
        if let Some(related) = &self.related {
            write!(f, " raddr {} rport {}", related.address, related.port)?;
        }
        self.extensions
            .iter()
            .try_for_each(|e| write!(f, " {} {}", e.name, e.value))
    }
}

impl fmt::Debug for Candidate {
    /// Prints no address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("transport", &self.transport)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Transport protocol of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CandidateTransport {
    /// `udp`, the only one that is used.
    Udp,
    /// `tcp` (RFC 6544).
    Tcp,
    /// Another token, in lower case.
    Other(String),
}

impl CandidateTransport {
    fn parse(text: &str) -> Result<Self, CandidateError> {
        let token = parse_token(text, "transport")?;
        Ok(match token.as_str() {
            "udp" => Self::Udp,
            "tcp" => Self::Tcp,
            _ => Self::Other(token),
        })
    }

    /// The token in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Other(token) => token,
        }
    }
}

/// How a candidate was found (RFC 8445 §5.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An address of the device itself.
    Host,
    /// The device's address as a STUN server sees it.
    ServerReflexive,
    /// The device's address as the other peer saw it.
    PeerReflexive,
    /// An address of a TURN server.
    Relay,
    /// Another token, in lower case.
    Other(String),
}

impl CandidateKind {
    fn parse(text: &str) -> Result<Self, CandidateError> {
        let token = parse_token(text, "type")?;
        Ok(match token.as_str() {
            "host" => Self::Host,
            "srflx" => Self::ServerReflexive,
            "prflx" => Self::PeerReflexive,
            "relay" => Self::Relay,
            _ => Self::Other(token),
        })
    }

    /// The token in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
            Self::Other(token) => token,
        }
    }
}

/// Where a candidate is reached: never a name of the public DNS.
///
/// RFC 8839 §5.1 also allows such names. They are refused, because looking one up would let the
/// peer choose which DNS servers hear of the call.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum CandidateAddress {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A name of one label under `.local`, in lower case, which only the own network resolves.
    Mdns(String),
}

impl CandidateAddress {
    fn parse(text: &str) -> Result<Self, CandidateError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.to_ascii_lowercase();
        let label = name
            .strip_suffix(MDNS_SUFFIX)
            .ok_or(CandidateError::Invalid("address"))?;
        let valid = !label.is_empty()
            && name.len() <= MAX_MDNS_LEN
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if valid {
            Ok(Self::Mdns(name))
        } else {
            Err(CandidateError::Invalid("address"))
        }
    }

    /// The address, where it is not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Mdns(_) => None,
        }
    }
}

impl fmt::Display for CandidateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Mdns(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for CandidateAddress {
    /// Prints the kind of address, not the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip(IpAddr::V4(_)) => "Ip(v4)",
            Self::Ip(IpAddr::V6(_)) => "Ip(v6)",
            Self::Mdns(_) => "Mdns(..)",
        })
    }
}

/// `raddr` and `rport`: for a relay candidate, the device's own address as the TURN server sees
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct RelatedAddress {
    /// The address.
    pub address: CandidateAddress,
    /// The port.
    pub port: u16,
}

impl fmt::Debug for RelatedAddress {
    /// Prints no address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelatedAddress(..)")
    }
}

/// One extension pair, e.g. `generation 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateExtension {
    /// Name, at most 32 bytes.
    pub name: String,
    /// Value, never empty.
    pub value: String,
}

fn parse_foundation(text: &str) -> Result<String, CandidateError> {
    let valid = text.len() <= MAX_FOUNDATION_LEN
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    if valid {
        Ok(text.to_owned())
    } else {
        Err(CandidateError::Invalid("foundation"))
    }
}

fn parse_component(text: &str) -> Result<u16, CandidateError> {
    let component = parse_number(text, "component")?;
    if (1..=MAX_COMPONENT).contains(&component) {
        Ok(component)
    } else {
        Err(CandidateError::Invalid("component"))
    }
}

/// Digits alone: `FromStr` of integers also takes a plus sign.
fn parse_number<T: FromStr>(text: &str, part: &'static str) -> Result<T, CandidateError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CandidateError::Invalid(part));
    }
    text.parse().map_err(|_| CandidateError::Invalid(part))
}

fn parse_token(text: &str, part: &'static str) -> Result<String, CandidateError> {
    let valid = text.len() <= MAX_TOKEN_LEN
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.!+".contains(&b));
    if valid {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(CandidateError::Invalid(part))
    }
}

type Tail = (Option<RelatedAddress>, Vec<CandidateExtension>);

/// Reads what follows the type: name and value pairs, among them `raddr` and `rport`.
fn parse_tail<'a>(mut parts: impl Iterator<Item = &'a str>) -> Result<Tail, CandidateError> {
    let (mut address, mut port, mut extensions) = (None, None, Vec::new());
    while let Some(name) = parts.next() {
        let value = parts
            .next()
            .ok_or(CandidateError::Missing("extension value"))?;
        match name {
            "raddr" => address = Some(parse_related_address(value)),
            "rport" => port = Some(parse_number(value, "rport")?),
            _ if extensions.len() == MAX_CANDIDATE_EXTENSIONS => {
                return Err(CandidateError::TooManyExtensions);
            }
            _ => extensions.push(parse_extension(name, value)?),
        }
    }
    let related = address
        .zip(port)
        .map(|(address, port)| RelatedAddress { address, port });
    Ok((related, extensions))
}

/// Some peers leave the brackets of a URI around IPv6 addresses, or write a host name here; the
/// value is never used to connect, so a name becomes the placeholder.
fn parse_related_address(text: &str) -> CandidateAddress {
    CandidateAddress::parse(text).unwrap_or(CandidateAddress::Ip(Ipv6Addr::UNSPECIFIED.into()))
}

fn parse_extension(name: &str, value: &str) -> Result<CandidateExtension, CandidateError> {
    let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if name.len() > MAX_TOKEN_LEN || !printable(name) || !printable(value) {
        return Err(CandidateError::Invalid("extension"));
    }
    Ok(CandidateExtension {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Why a text is no candidate. The fault of whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// Longer than [`MAX_CANDIDATE_LEN`]; holds the length in bytes.
    #[error("the candidate is too long: {0} bytes")]
    TooLong(usize),
    /// It ends before this part.
    #[error("the candidate has no {0}")]
    Missing(&'static str),
    /// This part is out of range or has characters that it must not have.
    #[error("the candidate's {0} is not valid")]
    Invalid(&'static str),
    /// More than [`MAX_CANDIDATE_EXTENSIONS`].
    #[error("the candidate has too many extensions")]
    TooManyExtensions,
}
