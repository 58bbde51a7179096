//! The server of a short link.

use std::fmt;

use smp_protocol::encoding::text::from_base64url;
use smp_protocol::encoding::{MAX_SHORT, put_short_array};
use smp_protocol::{
    AddressError, DEFAULT_PORT, DecodeError, Fingerprint, Host, MAX_HOSTS, Reader, RelayAddress,
    WEB_PORT,
};

/// Where the data of a short link is. Unlike a [`RelayAddress`] it may have no fingerprint: then it
/// is one of those that the reader's program knows.
///
/// `Debug` is the type's name alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkServer {
    hosts: Vec<Host>,
    port: Option<u16>,
    fingerprint: Option<Fingerprint>,
}

impl LinkServer {
    /// A server of these parts.
    ///
    /// # Errors
    /// [`AddressError::NoHost`] and [`AddressError::TooManyHosts`] unless there are 1 to
    /// [`MAX_HOSTS`] hosts, [`AddressError::Port`] if the port is 0.
    pub fn new(
        hosts: Vec<Host>,
        port: Option<u16>,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Self, AddressError> {
        if hosts.is_empty() {
            return Err(AddressError::NoHost);
        }
        if hosts.len() > MAX_HOSTS {
            return Err(AddressError::TooManyHosts);
        }
        if port == Some(0) {
            return Err(AddressError::Port);
        }
        Ok(Self {
            hosts,
            port,
            fingerprint,
        })
    }

    /// The ways to the server, at least one.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The port, if the link names one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The fingerprint of its certificate, if the link has it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// The relay to ask: the link's own if it has a fingerprint, else the one of `known` with the
    /// same first host and, if the link names one, the same port.
    #[must_use]
    pub fn relay(&self, known: &[RelayAddress]) -> Option<RelayAddress> {
        if let Some(fingerprint) = self.fingerprint {
            return RelayAddress::new(fingerprint, self.hosts.clone(), self.port).ok();
        }
        let is_it = |relay: &&RelayAddress| {
            let same_port = match (self.port, relay.port()) {
                (None, _) => true,
                (Some(port), None) => [DEFAULT_PORT, WEB_PORT].contains(&port),
                (Some(port), Some(known)) => port == known,
            };
            same_port && relay.hosts().first() == self.hosts.first()
        };
        known.iter().find(is_it).cloned()
    }

    /// Reads the binary form: hosts, port and fingerprint.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off, or if the text would be refused as well.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "server of a link";
        let text = |bytes| str::from_utf8(bytes).map_err(|_| DecodeError::Value(WHAT));
        let hosts = reader.list(WHAT, |reader| {
            Ok::<_, DecodeError>(text(reader.short(WHAT)?)?.parse::<Host>()?)
        })?;
        let port = match reader.short(WHAT)? {
            [] => None,
            port => Some(port_from(text(port)?)?),
        };
        let fingerprint = match reader.short(WHAT)? {
            [] => None,
            bytes => Some(
                bytes
                    .try_into()
                    .map(Fingerprint)
                    .map_err(|_| DecodeError::Limit(WHAT))?,
            ),
        };
        Ok(Self {
            hosts,
            port,
            fingerprint,
        })
    }

    /// Appends the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.hosts.len() as u8);
        for host in &self.hosts {
            put_short_text(out, &host.to_string());
        }
        match self.port {
            None => out.push(0),
            Some(port) => put_short_text(out, &port.to_string()),
        }
        match &self.fingerprint {
            None => out.push(0),
            Some(fingerprint) => put_short_array(out, fingerprint.as_bytes()),
        }
    }
}

impl From<&RelayAddress> for LinkServer {
    fn from(relay: &RelayAddress) -> Self {
        Self {
            hosts: relay.hosts().to_vec(),
            port: relay.port(),
            fingerprint: Some(*relay.fingerprint()),
        }
    }
}

impl fmt::Debug for LinkServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkServer")
    }
}

/// A port of digits.
pub(super) fn port_from(text: &str) -> Result<u16, AddressError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    text.parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or(AddressError::Port)
}

/// Hosts with commas between.
pub(super) fn hosts_from(text: &str) -> Result<Vec<Host>, AddressError> {
    if text.split(',').count() > MAX_HOSTS {
        return Err(AddressError::TooManyHosts);
    }
    text.split(',').map(str::parse).collect()
}

/// 32 bytes in base64url.
pub(super) fn fingerprint_from(text: &str) -> Result<Fingerprint, AddressError> {
    let bytes = from_base64url(text, "fingerprint").map_err(|_| AddressError::Fingerprint)?;
    bytes
        .try_into()
        .map(Fingerprint)
        .map_err(|_| AddressError::Fingerprint)
}

/// Hosts as a link has them, with commas between; IPv6 addresses in brackets.
pub(super) fn put_host(out: &mut impl fmt::Write, host: &Host) -> fmt::Result {
    match host {
        Host::Ipv6(address) => write!(out, "[{address}]"),
        host => write!(out, "{host}"),
    }
}

/// A short string of what is never longer than one: a host or a port.
fn put_short_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= MAX_SHORT);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
