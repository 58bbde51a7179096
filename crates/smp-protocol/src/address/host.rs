//! Hosts of relays.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::AddressError;

/// Longest domain name, in bytes (RFC 1123).
const MAX_DOMAIN: usize = 253;

/// Longest label of a domain name, in bytes.
const MAX_LABEL: usize = 63;

/// Letters and digits in an onion address of version 3, before `.onion`.
const ONION_LABEL: usize = 56;

/// One way to a relay.
///
/// `Display` writes it without brackets, as the binary form has it; in an address an IPv6 host is
/// written in brackets and read with and without them. `Debug` says the kind alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A domain name, as it was written.
    Domain(HostName),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// An onion address of version 3 with its `.onion`, in lower case.
    Onion(HostName),
}

/// The name of a [`Host`], which was checked. `Debug` shows no letter of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostName")
    }
}

impl Host {
    /// Whether it is reached through Tor alone.
    #[must_use]
    pub fn is_onion(&self) -> bool {
        matches!(self, Self::Onion(_))
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(address) = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
        {
            return address
                .parse()
                .map(Self::Ipv6)
                .map_err(|_| AddressError::Host);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ipv4(address));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ipv6(address));
        }
        if !is_domain(text) {
            return Err(AddressError::Host);
        }
        let lower = text.to_ascii_lowercase();
        match lower.strip_suffix(".onion") {
            None => Ok(Self::Domain(HostName(text.into()))),
            Some(label) if is_onion_label(label) => Ok(Self::Onion(HostName(lower.into()))),
            Some(_) => Err(AddressError::Host),
        }
    }
}

fn is_onion_label(label: &str) -> bool {
    label.len() == ONION_LABEL
        && label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

/// Whether it is labels of letters, digits, `-` and `_`, and no mistyped IPv4 address: no top-level
/// domain is a number.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_DOMAIN
        && text.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(name) | Self::Onion(name) => f.write_str(name.as_str()),
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain(_) => "Host::Domain",
            Self::Ipv4(_) => "Host::Ipv4",
            Self::Ipv6(_) => "Host::Ipv6",
            Self::Onion(_) => "Host::Onion",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion";

    #[test]
    fn each_kind_of_host_is_told_apart() {
        let kind = |text: &str| format!("{:?}", text.parse::<Host>().unwrap());
        assert_eq!(kind("smp.example.com"), "Host::Domain");
        assert_eq!(kind("localhost"), "Host::Domain");
        assert_eq!(kind("my_relay-2.example"), "Host::Domain");
        assert_eq!(kind("192.0.2.7"), "Host::Ipv4");
        assert_eq!(kind("2001:db8::1"), "Host::Ipv6");
        assert_eq!(kind("[2001:db8::1]"), "Host::Ipv6");
        assert_eq!(kind(ONION), "Host::Onion");
        assert_eq!(kind(&ONION.to_uppercase()), "Host::Onion");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a.".repeat(127);
        let label = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "a.",
            ".a",
            "-a",
            "a-",
            "a b",
            "a/b",
            "a@b",
            "é.example",
            "192.0.2.300",
            "192.0.2",
            "1",
            "[192.0.2.7]",
            "[::1",
            "::1]",
            "[]",
            "a.onion",
            &ONION[1..],
            &long,
            &label,
            "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1.onion",
        ] {
            assert_eq!(text.parse::<Host>(), Err(AddressError::Host), "{text}");
        }
    }
}
