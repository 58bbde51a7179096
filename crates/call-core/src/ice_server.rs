//! STUN and TURN servers in SimpleX's format of one a line.
//!
//! ```text
//! stun:host:port                          stuns:host:port
//! turn:username:password@host:port        turns:username:password@host:port?transport=tcp
//! ```
//!
//! The port may be left out (3478, or 5349 with TLS), IPv6 addresses stand in brackets, and
//! `?transport=udp` or `?transport=tcp` may follow a TURN server.
//!
//! # Symbols in user names and passwords
//!
//! They are **literal**: nothing is percent-decoded. SimpleX's lines and the WebRTC API, which
//! takes the two apart from the URI, hold them as they are, so `p%40ss` is a password of six
//! characters. The host begins after the last `@`, the password after the first `:`; so a password
//! may have any symbol, among them `@`, `:`, `?` and `%`, and a user name any but `:`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use zeroize::Zeroizing;

/// Longest line, in bytes.
pub const MAX_ICE_SERVER_LINE: usize = 2048;

/// Most servers in one list.
pub const MAX_ICE_SERVERS: usize = 64;

/// Longest user name in bytes (RFC 8489 §14.3).
const MAX_USERNAME_LEN: usize = 508;

/// Longest password in bytes.
const MAX_PASSWORD_LEN: usize = 512;

/// Longest DNS name in its usual text form (RFC 1035 §2.3.4).
const MAX_NAME_LEN: usize = 253;

/// Longest label of a DNS name (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 63;

const DEFAULT_PORT: u16 = 3478;
const DEFAULT_TLS_PORT: u16 = 5349;

/// One STUN or TURN server.
///
/// `Debug` prints neither host nor credentials, and there is no `Display`, so that no log line
/// gets a password by mistake: [`IceServer::to_line`] says what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    scheme: IceServerScheme,
    host: IceHost,
    port: Option<u16>,
    transport: Option<IceTransport>,
    credentials: Option<TurnCredentials>,
}

impl IceServer {
    /// What is spoken to the server, and whether under TLS.
    pub fn scheme(&self) -> IceServerScheme {
        self.scheme
    }

    /// Where it is.
    pub fn host(&self) -> &IceHost {
        &self.host
    }

    /// The port as written, or the scheme's own (RFC 7064 §3.1, RFC 7065 §3.1).
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.scheme.is_tls() {
            DEFAULT_TLS_PORT
        } else {
            DEFAULT_PORT
        })
    }

    /// Transport between us and the server: as written, or UDP for `stun` and `turn` and TCP for
    /// `stuns` and `turns` (RFC 7065 §3.1). `turns` over UDP means DTLS.
    pub fn transport(&self) -> IceTransport {
        let default = if self.scheme.is_tls() {
            IceTransport::Tcp
        } else {
            IceTransport::Udp
        };
        self.transport.unwrap_or(default)
    }

    /// There for every TURN server, `None` for STUN.
    pub fn credentials(&self) -> Option<&TurnCredentials> {
        self.credentials.as_ref()
    }

    /// Whether the server relays media, that is, speaks TURN.
    pub fn is_relay(&self) -> bool {
        self.scheme.is_relay()
    }

    /// The URI without credentials, as WebRTC stacks take it (RFC 7064, RFC 7065). Port, and
    /// transport for TURN, are always written out.
    pub fn url(&self) -> String {
        let (scheme, port) = (self.scheme.as_str(), self.port());
        let host = self.host.in_uri();
        if self.is_relay() {
            format!(
                "{scheme}:{host}:{port}?transport={}",
                self.transport().as_str()
            )
        } else {
            format!("{scheme}:{host}:{port}")
        }
    }

    /// The line as SimpleX and [`FromStr`] take it, **with the password**: for a settings file or
    /// a field to edit, never for a log.
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(format!("{}:", self.scheme.as_str()));
        if let Some(TurnCredentials { username, password }) = &self.credentials {
            // One allocation of the right size: a reallocation would leave a copy behind.
            line.reserve(username.len() + password.len() + MAX_NAME_LEN + 32);
            for part in [username.as_str(), ":", password, "@"] {
                line.push_str(part);
            }
        }
        line.push_str(&self.host.in_uri());
        if let Some(port) = self.port {
            line.push_str(&format!(":{port}"));
        }
        if let Some(transport) = self.transport {
            line.push_str("?transport=");
            line.push_str(transport.as_str());
        }
        line
    }
}

impl FromStr for IceServer {
    type Err = IceServerError;

    /// Parses one line; blanks around it are cut off.
    fn from_str(line: &str) -> Result<Self, IceServerError> {
        let line = line.trim();
        if line.len() > MAX_ICE_SERVER_LINE {
            return Err(IceServerError::TooLong);
        }
        let (scheme, rest) = line.split_once(':').ok_or(IceServerError::UnknownScheme)?;
        let scheme = IceServerScheme::parse(scheme)?;
        if rest.starts_with("//") {
            return Err(IceServerError::Slashes);
        }
        let (credentials, rest) = match (scheme.is_relay(), rest.rsplit_once('@')) {
            (true, Some((credentials, rest))) => (Some(TurnCredentials::parse(credentials)?), rest),
            (true, None) => return Err(IceServerError::NoCredentials),
            (false, Some(_)) => return Err(IceServerError::CredentialsForStun),
            (false, None) => (None, rest),
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let transport = query.map(|query| parse_query(scheme, query)).transpose()?;
        let (host, port) = parse_authority(authority)?;
        Ok(Self {
            scheme,
            host,
            port,
            transport,
            credentials,
        })
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("scheme", &self.scheme)
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}

/// Parses a list, one server a line; blank lines are skipped.
///
/// # Errors
///
/// The first line that is not a server, or the one after [`MAX_ICE_SERVERS`].
pub fn parse_servers(text: &str) -> Result<Vec<IceServer>, ServerListError> {
    let mut servers = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let server = if servers.len() == MAX_ICE_SERVERS {
            Err(IceServerError::TooMany)
        } else {
            line.parse()
        };
        servers.push(server.map_err(|error| ServerListError {
            line: index + 1,
            error,
        })?);
    }
    Ok(servers)
}

/// The scheme of a server's URI (RFC 7064, RFC 7065).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IceServerScheme {
    /// STUN: tells a client its own address.
    Stun,
    /// STUN under TLS.
    Stuns,
    /// TURN: relays media.
    Turn,
    /// TURN under TLS, or DTLS over UDP.
    Turns,
}

impl IceServerScheme {
    fn parse(text: &str) -> Result<Self, IceServerError> {
        [Self::Stun, Self::Stuns, Self::Turn, Self::Turns]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
            .ok_or(IceServerError::UnknownScheme)
    }

    /// The scheme as a URI has it, without the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Stuns => "stuns",
            Self::Turn => "turn",
            Self::Turns => "turns",
        }
    }

    /// Whether it is TURN.
    pub fn is_relay(self) -> bool {
        matches!(self, Self::Turn | Self::Turns)
    }

    /// Whether the connection to the server is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Stuns | Self::Turns)
    }
}

/// Transport between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IceTransport {
    /// `udp`
    Udp,
    /// `tcp`
    Tcp,
}

impl IceTransport {
    /// The value of `?transport=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A server's host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum IceHost {
    /// An address.
    Ip(IpAddr),
    /// A DNS name of letters, digits, hyphens and underscores, as it was written.
    Name(String),
}

impl IceHost {
    fn parse(text: &str) -> Result<Self, IceServerError> {
        if text.is_empty() {
            return Err(IceServerError::NoHost);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        let is_label = |label: &str| {
            (1..=MAX_LABEL_LEN).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // A last label of digits is an IPv4 address gone wrong, not a name (RFC 3696 §2).
        let last = text
            .strip_suffix('.')
            .unwrap_or(text)
            .rsplit('.')
            .next()
            .unwrap_or(text);
        let valid = text.len() <= MAX_NAME_LEN
            && !last.bytes().all(|b| b.is_ascii_digit())
            && text
                .strip_suffix('.')
                .unwrap_or(text)
                .split('.')
                .all(is_label);
        if valid {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(IceServerError::InvalidHost)
        }
    }

    fn in_uri(&self) -> String {
        match self {
            Self::Ip(IpAddr::V4(address)) => address.to_string(),
            Self::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            Self::Name(name) => name.clone(),
        }
    }
}

impl fmt::Debug for IceHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceHost(..)")
    }
}

/// Long-term credentials of a TURN server (RFC 8489 §9.2). Wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
}

impl TurnCredentials {
    fn parse(text: &str) -> Result<Self, IceServerError> {
        let (username, password) = text.split_once(':').ok_or(IceServerError::NoPassword)?;
        if username.is_empty() || password.is_empty() {
            return Err(IceServerError::NoPassword);
        }
        if username.len() > MAX_USERNAME_LEN || password.len() > MAX_PASSWORD_LEN {
            return Err(IceServerError::CredentialsTooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(IceServerError::ControlCharacter);
        }
        Ok(Self {
            username: Zeroizing::new(username.to_owned()),
            password: Zeroizing::new(password.to_owned()),
        })
    }

    /// 1 to 508 bytes without a colon.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// 1 to 512 bytes.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for TurnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnCredentials(..)")
    }
}

fn parse_query(scheme: IceServerScheme, query: &str) -> Result<IceTransport, IceServerError> {
    let (name, value) = query.split_once('=').ok_or(IceServerError::UnknownQuery)?;
    if !name.eq_ignore_ascii_case("transport") {
        return Err(IceServerError::UnknownQuery);
    }
    if !scheme.is_relay() {
        return Err(IceServerError::TransportForStun);
    }
    [IceTransport::Udp, IceTransport::Tcp]
        .into_iter()
        .find(|transport| transport.as_str().eq_ignore_ascii_case(value))
        .ok_or(IceServerError::UnknownQuery)
}

fn parse_authority(text: &str) -> Result<(IceHost, Option<u16>), IceServerError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(IceServerError::Brackets)?;
        let address: Ipv6Addr = address.parse().map_err(|_| IceServerError::InvalidHost)?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if port.is_empty() => None,
            None => return Err(IceServerError::InvalidPort),
        };
        return Ok((IceHost::Ip(address.into()), port));
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(IceServerError::Brackets),
        Some((host, port)) => Ok((IceHost::parse(host)?, Some(parse_port(port)?))),
        None => Ok((IceHost::parse(text)?, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, IceServerError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if digits => Ok(port),
        _ => Err(IceServerError::InvalidPort),
    }
}

/// A line of a server list that is not a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the server list: {error}")]
pub struct ServerListError {
    /// The line's number, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: IceServerError,
}

/// What is wrong with a server's line, and what to do. All are faults of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// Longer than [`MAX_ICE_SERVER_LINE`].
    #[error("the line is longer than {MAX_ICE_SERVER_LINE} bytes; write one server a line")]
    TooLong,
    /// More than [`MAX_ICE_SERVERS`].
    #[error("there are more than {MAX_ICE_SERVERS} servers; remove some")]
    TooMany,
    /// Not one of [`IceServerScheme`].
    #[error("the server does not begin with stun:, stuns:, turn: or turns:; put one in front")]
    UnknownScheme,
    /// `turn://…`, which is no TURN URI (RFC 7065 §3.1).
    #[error("there is // after the scheme; remove it")]
    Slashes,
    /// A TURN server without user name and password.
    #[error(
        "the TURN server has no credentials; write turn:username:password@host:port \
         (ask whoever runs the server, or use stun: if it has none)"
    )]
    NoCredentials,
    /// User name or password is missing or empty.
    #[error("the password or the user name is missing; write turn:username:password@host:port")]
    NoPassword,
    /// User name over 508 or password over 512 bytes.
    #[error("the user name or the password is too long; at most 508 and 512 bytes")]
    CredentialsTooLong,
    /// A control character in user name or password.
    #[error("the user name or the password has a control character; type it anew")]
    ControlCharacter,
    /// STUN servers take no credentials.
    #[error("a STUN server takes no user name or password; remove them, or write turn:")]
    CredentialsForStun,
    /// No host where one should be.
    #[error("there is no host; write its name or address before the port")]
    NoHost,
    /// Neither an address nor a DNS name.
    #[error("the host is neither a name nor an address; check it")]
    InvalidHost,
    /// An IPv6 address without brackets, or with one.
    #[error("an IPv6 address must stand in brackets, as in [2001:db8::1]:3478")]
    Brackets,
    /// Not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535; correct it, or leave it and the : out")]
    InvalidPort,
    /// Something else than a transport after the question mark.
    #[error("what follows the ? is neither transport=udp nor transport=tcp; remove or correct it")]
    UnknownQuery,
    /// STUN URIs have no transport (RFC 7064 §3.1); browsers refuse them.
    #[error("a STUN server takes no transport; remove the ? and what follows it")]
    TransportForStun,
}
