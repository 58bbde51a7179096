//! Versions of what two agents say to each other.

use std::fmt;
use std::str::FromStr;

use smp_protocol::encoding::put_u16;
use smp_protocol::{DecodeError, Reader};

use super::LinkTextError;

/// A version of what agents say to each other (document, "Abstract").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentVersion(pub u16);

impl AgentVersion {
    /// The first confirmation names the queues for the reply.
    pub const DUPLEX: Self = Self(2);
    /// New ratchets can be agreed.
    pub const RATCHET_SYNC: Self = Self(3);
    /// Receipts.
    pub const RECEIPTS: Self = Self(4);
    /// Post-quantum keys in the ratchet.
    pub const PQ: Self = Self(5);
    /// The sender's key goes with the confirmation.
    pub const SENDER_KEY: Self = Self(6);
    /// The ratchet begins with the confirmation.
    pub const RATCHET_ON_CONFIRMATION: Self = Self(7);
}

/// The versions that an agent speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentVersionRange {
    min: AgentVersion,
    max: AgentVersion,
}

impl AgentVersionRange {
    /// What this crate speaks.
    pub const SUPPORTED: Self = Self {
        min: AgentVersion::DUPLEX,
        max: AgentVersion::RATCHET_ON_CONFIRMATION,
    };

    /// The versions from `min` to `max`; `None` if `min` is above `max`.
    #[must_use]
    pub fn new(min: AgentVersion, max: AgentVersion) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }

    /// The least version.
    #[must_use]
    pub fn min(self) -> AgentVersion {
        self.min
    }

    /// The greatest version.
    #[must_use]
    pub fn max(self) -> AgentVersion {
        self.max
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub fn contains(self, version: AgentVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// What both ranges have, or nothing. Two agents speak the greatest version of it.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.min.max(other.min), self.max.min(other.max))
    }

    /// The range without the versions that nobody speaks any more.
    ///
    /// Contact links stand for years where they were published, and their owners have newer
    /// programs since: so the range of a contact link is at least [`AgentVersion::DUPLEX`].
    #[must_use]
    pub fn adjust(self) -> Self {
        let min = self.min.max(Self::SUPPORTED.min);
        Self {
            min,
            max: self.max.max(min),
        }
    }

    /// Reads both ends.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if they are cut off, [`DecodeError::Limit`] if they are no range.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "agent version";
        let (min, max) = (reader.u16(WHAT)?, reader.u16(WHAT)?);
        Self::new(AgentVersion(min), AgentVersion(max)).ok_or(DecodeError::Limit(WHAT))
    }

    /// Appends both ends.
    pub fn encode(self, out: &mut Vec<u8>) {
        put_u16(out, self.min.0);
        put_u16(out, self.max.0);
    }
}

impl FromStr for AgentVersionRange {
    type Err = LinkTextError;

    /// Takes `7` or `2-7`.
    fn from_str(text: &str) -> Result<Self, LinkTextError> {
        let (min, max) = version_numbers(text).ok_or(LinkTextError::Versions)?;
        Self::new(AgentVersion(min), AgentVersion(max)).ok_or(LinkTextError::Versions)
    }
}

impl fmt::Display for AgentVersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        put_version_numbers(f, self.min.0, self.max.0)
    }
}

/// The ends of `7` or `2-7`, whose order is not looked at.
pub(super) fn version_numbers(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Some((number(min)?, number(max)?))
}

/// `7` or `2-7`.
pub(super) fn put_version_numbers(out: &mut impl fmt::Write, min: u16, max: u16) -> fmt::Result {
    write!(out, "{min}")?;
    if max == min {
        return Ok(());
    }
    write!(out, "-{max}")
}
