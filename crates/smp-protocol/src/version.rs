//! Versions of SMP, and what each brought.

use thiserror::Error;

use crate::encoding::{DecodeError, Reader, put_u16};

/// A version of the protocol between a client and a relay (document, "Abstract").
///
/// The constants are named by what begins with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SmpVersion(pub u16);

impl SmpVersion {
    /// A queue can be created without subscribing. The oldest version still in use.
    pub const CREATE_ONLY: Self = Self(6);
    /// Commands can be authorised with X25519 keys; the session id is implied.
    pub const AUTH_ENCRYPTION: Self = Self(7);
    /// Commands of senders through a proxy.
    pub const PROXY: Self = Self(8);
    /// The sender can secure the queue.
    pub const SKEY: Self = Self(9);
    /// The subscriber learns that a queue was deleted.
    pub const DELETED_EVENT: Self = Self(10);
    /// Blocks are encrypted once more inside TLS.
    pub const BLOCK_ENCRYPTION: Self = Self(11);
    /// A queue can be blocked by the operator.
    pub const BLOCKED: Self = Self(12);
    /// A proxy names itself in the handshake.
    pub const PROXY_HANDSHAKE: Self = Self(14);
    /// Short links with data at the relay.
    pub const SHORT_LINKS: Self = Self(15);
    /// Services with certificates.
    pub const SERVICE_CERTS: Self = Self(16);
    /// Notifications can be enabled while a queue is created.
    pub const NEW_NOTIFIER: Self = Self(17);
    /// A blocked queue can come with a notice to the client.
    pub const CLIENT_NOTICES: Self = Self(18);
    /// A service subscribes to all its queues at once.
    pub const SERVICE_SUBS: Self = Self(19);
    /// Public names are resolved.
    pub const NAMES: Self = Self(20);

    /// Reads a version.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.u16("version").map(Self)
    }

    /// Appends the version.
    pub fn encode(self, out: &mut Vec<u8>) {
        put_u16(out, self.0);
    }
}

/// Longest body of a `SEND` in a session of this version, in bytes (document, "Send message").
#[must_use]
pub fn max_message_length(version: SmpVersion) -> usize {
    if version >= SmpVersion::BLOCK_ENCRYPTION {
        MAX_MESSAGE_BLOCK_ENCRYPTION
    } else if version >= SmpVersion::PROXY {
        MAX_MESSAGE_PROXY
    } else {
        MAX_MESSAGE
    }
}

/// Longest body from version 11 on.
const MAX_MESSAGE_BLOCK_ENCRYPTION: usize = 16048;

/// Longest body in versions 8 to 10.
const MAX_MESSAGE_PROXY: usize = 16064;

/// Longest body in versions 6 and 7. What relays keep and deliver has room for this one.
pub(crate) const MAX_MESSAGE: usize = 16088;

/// Versions from a least to a greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange {
    min: SmpVersion,
    max: SmpVersion,
}

/// The least version of a range is above the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the least version is above the greatest")]
pub struct InvalidVersionRange;

impl VersionRange {
    /// What this crate speaks.
    pub const SUPPORTED: Self = Self {
        min: SmpVersion::CREATE_ONLY,
        max: SmpVersion::NAMES,
    };

    /// What is offered to a peer without ALPN (document, "ALPN to agree handshake version").
    pub const LEGACY: Self = Self {
        min: SmpVersion::CREATE_ONLY,
        max: SmpVersion::CREATE_ONLY,
    };

    /// What a proxy lets its clients see of a relay: from the first version that forwards to the
    /// first that forwards every command of senders. A proxy that shows less would keep `RSLV` from
    /// its clients (document, "Resolver commands": "direct or forwarded").
    pub const PROXIED: Self = Self {
        min: SmpVersion::PROXY,
        max: SmpVersion::NAMES,
    };

    /// The versions in which a client forwards commands that need no newer one, so that the relay
    /// does not learn from the version how new the client is.
    pub const FORWARDED: Self = Self {
        min: SmpVersion::PROXY,
        max: SmpVersion::CLIENT_NOTICES,
    };

    /// The versions from `min` to `max`, both included.
    ///
    /// # Errors
    /// [`InvalidVersionRange`] if `min` is above `max`.
    pub fn new(min: SmpVersion, max: SmpVersion) -> Result<Self, InvalidVersionRange> {
        if min > max {
            Err(InvalidVersionRange)
        } else {
            Ok(Self { min, max })
        }
    }

    /// The least version.
    #[must_use]
    pub fn min(&self) -> SmpVersion {
        self.min
    }

    /// The greatest version.
    #[must_use]
    pub fn max(&self) -> SmpVersion {
        self.max
    }

    /// Whether `version` is in the range.
    #[must_use]
    pub fn contains(&self, version: SmpVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// What both ranges have, or nothing. Two peers speak the greatest version of it.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Self::new(self.min.max(other.min), self.max.min(other.max)).ok()
    }

    /// Reads the least and the greatest version.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end, [`DecodeError::Limit`] if they are the wrong way round.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (min, max) = (SmpVersion::decode(reader)?, SmpVersion::decode(reader)?);
        Self::new(min, max).map_err(|_| DecodeError::Limit("version range"))
    }

    /// Appends the least and the greatest version.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.min.encode(out);
        self.max.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u16, max: u16) -> VersionRange {
        VersionRange::new(SmpVersion(min), SmpVersion(max)).unwrap()
    }

    #[test]
    fn ranges_meet_in_what_both_have() {
        assert_eq!(range(6, 19).intersect(&range(8, 25)), Some(range(8, 19)));
        assert_eq!(range(6, 9).intersect(&range(9, 12)), Some(range(9, 9)));
        assert_eq!(range(6, 9).intersect(&range(10, 12)), None);
    }

    #[test]
    fn a_range_the_wrong_way_round_is_refused() {
        assert_eq!(
            VersionRange::new(SmpVersion(7), SmpVersion(6)),
            Err(InvalidVersionRange)
        );
        assert!(VersionRange::decode(&mut Reader::new(&[0, 7, 0, 6])).is_err());
    }

    #[test]
    fn a_range_comes_back_from_its_bytes() {
        let mut bytes = Vec::new();
        VersionRange::SUPPORTED.encode(&mut bytes);
        assert_eq!(bytes, [0, 6, 0, 20]);
        assert_eq!(
            VersionRange::decode(&mut Reader::new(&bytes)),
            Ok(VersionRange::SUPPORTED)
        );
    }

    #[test]
    fn the_longest_message_shrinks_with_the_layers_around_it() {
        let lengths = [6, 7, 8, 10, 11, 20].map(|version| max_message_length(SmpVersion(version)));
        assert_eq!(lengths, [16088, 16088, 16064, 16064, 16048, 16048]);
    }
}
