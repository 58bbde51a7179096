//! Where relays and queues are (document, "SMP queue URI" and "Request proxied session").
//!
//! A relay is `smp://fingerprint@host1,host2:port`: the fingerprint of its certificate, one host or
//! more ways to the same relay, and perhaps a port. Its operator and users know it with a password,
//! `smp://fingerprint:password@host`. A queue URI is what a sender gets: the relay, the sender's id
//! and the recipient's key.
//!
//! Some texts that other programs take are refused here, since nobody can connect with them: ports
//! that are 0 or above 65,535, and fingerprints that have not 32 bytes.

mod basic_auth;
mod host;
mod queue_uri;
mod text;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

pub use basic_auth::BasicAuth;
pub use host::{Host, HostName};
pub use queue_uri::{ClientVersion, ClientVersionRange, QueueUri};

use crate::certificate::Fingerprint;
use crate::encoding::{DecodeError, MAX_SHORT, Reader};

/// The port of a relay whose address names none.
///
/// Other programs take an address without a port to mean [`WEB_PORT`] as well, where relays often
/// listen too, because networks let it pass more often.
pub const DEFAULT_PORT: u16 = 5223;

/// The port at which relays often listen besides [`DEFAULT_PORT`].
pub const WEB_PORT: u16 = 443;

/// Most hosts in one address.
pub const MAX_HOSTS: usize = u8::MAX as usize;

/// Longest text that is read as an address or a queue URI, in bytes.
pub const MAX_ADDRESS: usize = 8 * 1024;

/// A relay: which certificate it has, and where it is.
///
/// Two addresses of one relay may differ in hosts and port. `Display` writes `smp://…`, `Debug` the
/// type's name alone, since addresses are personal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    fingerprint: Fingerprint,
    hosts: Vec<Host>,
    port: Option<u16>,
}

impl RelayAddress {
    /// An address of these parts.
    ///
    /// # Errors
    /// [`AddressError::NoHost`] and [`AddressError::TooManyHosts`] unless there are 1 to
    /// [`MAX_HOSTS`] hosts, [`AddressError::Port`] if the port is 0.
    pub fn new(
        fingerprint: Fingerprint,
        hosts: Vec<Host>,
        port: Option<u16>,
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
            fingerprint,
            hosts,
            port,
        })
    }

    /// The fingerprint of the certificate that the relay is known by.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The ways to the relay, at least one, in the order of the address.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The port, if the address names one; see [`DEFAULT_PORT`].
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port of the address, or [`DEFAULT_PORT`].
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// Reads the binary form: hosts, port and fingerprint.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off, or if the text would be refused as well.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "relay address";
        let hosts = reader.list(WHAT, |reader| {
            let host: Host = text::utf8(reader.short(WHAT)?)?.parse()?;
            Ok::<_, DecodeError>(host)
        })?;
        let port = match reader.short(WHAT)? {
            [] => None,
            port => Some(text::port(text::utf8(port)?)?),
        };
        Ok(Self {
            fingerprint: Fingerprint::decode(reader)?,
            hosts,
            port,
        })
    }

    /// Appends the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.hosts.len() as u8);
        for host in &self.hosts {
            text::put_short_display(out, host);
        }
        match self.port {
            None => out.push(0),
            Some(port) => text::put_short_display(out, &port),
        }
        self.fingerprint.encode(out);
    }
}

impl FromStr for RelayAddress {
    type Err = AddressError;

    /// Takes an address without a password.
    fn from_str(address: &str) -> Result<Self, AddressError> {
        match text::server(address)? {
            ServerAddress {
                relay,
                basic_auth: None,
            } => Ok(relay),
            _ => Err(AddressError::UnexpectedPassword),
        }
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, self, None)
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayAddress")
    }
}

/// A relay, and the password for creating queues there and for using it as a proxy.
///
/// `Display` leaves the password out, so that no log has it by accident; ask for it with
/// [`ServerAddress::to_string_with_password`]. `Debug` is the type's name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// The relay.
    pub relay: RelayAddress,
    /// Its password, if it has one.
    pub basic_auth: Option<BasicAuth>,
}

impl ServerAddress {
    /// The whole address with its password. The text is wiped when dropped.
    #[must_use]
    pub fn to_string_with_password(&self) -> Zeroizing<String> {
        struct WithPassword<'a>(&'a ServerAddress);
        impl fmt::Display for WithPassword<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                text::write(f, &self.0.relay, self.0.basic_auth.as_ref())
            }
        }
        // Room for all of it, so that growing leaves no copy behind.
        let hosts: usize = self.relay.hosts.len() * (MAX_SHORT + 3);
        let mut out = Zeroizing::new(String::with_capacity(hosts + 2 * MAX_SHORT));
        let _ = fmt::Write::write_fmt(&mut *out, format_args!("{}", WithPassword(self)));
        out
    }
}

impl From<RelayAddress> for ServerAddress {
    fn from(relay: RelayAddress) -> Self {
        Self {
            relay,
            basic_auth: None,
        }
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    /// Takes an address with or without a password.
    fn from_str(address: &str) -> Result<Self, AddressError> {
        text::server(address)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.relay.fmt(f)
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerAddress")
    }
}

/// What is wrong with an address or a queue URI. None of it repeats the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Longer than [`MAX_ADDRESS`].
    #[error("the address is longer than {MAX_ADDRESS} bytes")]
    TooLong,
    /// It does not begin with `smp://`.
    #[error("the address does not begin with smp://")]
    Scheme,
    /// There is no `@` behind the fingerprint.
    #[error("the address has no fingerprint in front of an @")]
    NoFingerprint,
    /// The fingerprint is not 32 bytes in base64url.
    #[error("the fingerprint is not 32 bytes in base64url")]
    Fingerprint,
    /// The password is empty, longer than 255 bytes, or has other characters than visible ones of
    /// ASCII without `@`, `:` and `/`.
    #[error("the password is empty, too long, or has spaces, @, : or / in it")]
    Password,
    /// There is a password where none may be.
    #[error("there may be no password in this address")]
    UnexpectedPassword,
    /// There is no host.
    #[error("the address has no host")]
    NoHost,
    /// More than [`MAX_HOSTS`].
    #[error("the address has more than {MAX_HOSTS} hosts")]
    TooManyHosts,
    /// A host is no domain name, IP address or onion address of version 3.
    #[error("a host is neither a domain name nor an IP address nor an onion address")]
    Host,
    /// The port is no number from 1 to 65,535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Something follows the relay's address.
    #[error("something follows the address")]
    Trailing,
    /// The queue's id is missing, or not base64url of at most 255 bytes.
    #[error("the address has no id of a queue in base64url")]
    QueueId,
    /// There are no parameters behind `#`.
    #[error("the address has no parameters behind a #")]
    NoParameters,
    /// A parameter is not percent-encoded UTF-8.
    #[error("a parameter is not percent-encoded text")]
    Encoding,
    /// The versions are missing or no range.
    #[error("the versions are missing or are no range")]
    Versions,
    /// The key is missing or no X25519 key.
    #[error("the key is missing or is not an X25519 key")]
    Key,
    /// The mode is neither `m` nor `c`.
    #[error("the mode of the queue is neither m nor c")]
    Mode,
}

impl From<AddressError> for DecodeError {
    fn from(_: AddressError) -> Self {
        Self::Value("relay address")
    }
}
