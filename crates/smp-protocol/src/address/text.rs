//! Reading and writing the text of an address.

use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;

use super::{AddressError, BasicAuth, Host, MAX_ADDRESS, RelayAddress, ServerAddress};
use crate::certificate::Fingerprint;
use crate::encoding::MAX_SHORT;
use crate::encoding::text::{from_base64url, to_base64url};

const SCHEME: &str = "smp://";

/// A whole address, with or without a password.
pub(super) fn server(address: &str) -> Result<ServerAddress, AddressError> {
    let address = without_scheme(address)?;
    match address.split_once('@') {
        Some((_, hosts)) if hosts.contains(['/', '?', '#']) => Err(AddressError::Trailing),
        _ => authority(address),
    }
}

/// What follows `smp://`.
pub(super) fn without_scheme(address: &str) -> Result<&str, AddressError> {
    if address.len() > MAX_ADDRESS {
        return Err(AddressError::TooLong);
    }
    address.strip_prefix(SCHEME).ok_or(AddressError::Scheme)
}

/// `fingerprint[:password]@host,…[:port]`.
pub(super) fn authority(text: &str) -> Result<ServerAddress, AddressError> {
    let (identity, hosts) = text.split_once('@').ok_or(AddressError::NoFingerprint)?;
    let (fingerprint, password) = match identity.split_once(':') {
        None => (identity, None),
        Some((fingerprint, password)) => (fingerprint, Some(password)),
    };
    let fingerprint = fingerprint_from(fingerprint)?;
    let basic_auth = password.map(BasicAuth::new).transpose()?;
    let (hosts, port) = hosts_and_port(hosts)?;
    Ok(ServerAddress {
        relay: RelayAddress::new(fingerprint, hosts, port)?,
        basic_auth,
    })
}

fn fingerprint_from(text: &str) -> Result<Fingerprint, AddressError> {
    let bytes = from_base64url(text, "fingerprint").map_err(|_| AddressError::Fingerprint)?;
    bytes
        .try_into()
        .map(Fingerprint)
        .map_err(|_| AddressError::Fingerprint)
}

fn hosts_and_port(text: &str) -> Result<(Vec<Host>, Option<u16>), AddressError> {
    let (hosts, last) = match text.rsplit_once(',') {
        None => (None, text),
        Some((hosts, last)) => (Some(hosts), last),
    };
    if last.is_empty() {
        return Err(AddressError::NoHost);
    }
    let (last, port) = host_and_port(last);
    let mut hosts = hosts.map_or(Ok(Vec::new()), self::hosts)?;
    hosts.push(last.parse()?);
    Ok((hosts, port.map(self::port).transpose()?))
}

/// Hosts with commas between.
pub(super) fn hosts(text: &str) -> Result<Vec<Host>, AddressError> {
    if text.split(',').count() > super::MAX_HOSTS {
        return Err(AddressError::TooManyHosts);
    }
    text.split(',').map(str::parse).collect()
}

/// The last host and the port behind it. What is an IPv6 address as a whole has no port.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let bracket = text.starts_with('[').then(|| text.find(']')).flatten();
    if let Some((host, port)) = bracket.and_then(|at| text.split_at_checked(at + 1)) {
        return match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            // Without a colon it is no host, with its brackets inside.
            None if port.is_empty() => (host, None),
            None => (text, None),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// A port of digits.
pub(super) fn port(text: &str) -> Result<u16, AddressError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    text.parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or(AddressError::Port)
}

/// `smp://fingerprint[:password]@hosts[:port]`.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    relay: &RelayAddress,
    password: Option<&BasicAuth>,
) -> fmt::Result {
    write_parts(f, relay, password, &relay.hosts)
}

/// The same with these hosts.
pub(super) fn write_parts(
    f: &mut fmt::Formatter<'_>,
    relay: &RelayAddress,
    password: Option<&BasicAuth>,
    hosts: &[Host],
) -> fmt::Result {
    write!(f, "{SCHEME}{}", to_base64url(&relay.fingerprint.0))?;
    if let Some(password) = password {
        write!(f, ":{}", password.as_str())?;
    }
    f.write_char('@')?;
    write_hosts(f, hosts)?;
    match relay.port {
        None => Ok(()),
        Some(port) => write!(f, ":{port}"),
    }
}

/// Hosts with commas between, those of IPv6 in brackets.
pub(super) fn write_hosts(f: &mut impl fmt::Write, hosts: &[Host]) -> fmt::Result {
    for (index, host) in hosts.iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        match host {
            Host::Ipv6(address) => write!(f, "[{address}]")?,
            host => write!(f, "{host}")?,
        }
    }
    Ok(())
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, AddressError> {
    str::from_utf8(bytes).map_err(|_| AddressError::Encoding)
}

/// Appends a short string of what is never longer than one: a host or a port.
pub(super) fn put_short_display(out: &mut Vec<u8>, value: &impl fmt::Display) {
    let text = value.to_string();
    debug_assert!(text.len() <= MAX_SHORT);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
