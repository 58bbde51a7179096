//! Version ranges as text: `min-max`, or a single number.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::event::{CallVersion, CallVersionRange};

/// Versions of the chat protocol that a sender speaks: `v` of the envelope. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatVersionRange {
    min: u16,
    max: u16,
}

impl ChatVersionRange {
    /// Version 1 alone, meant where the field is missing.
    pub const V1: Self = Self { min: 1, max: 1 };

    /// What we announce. Calls need nothing newer, and a peer may send what it reads there.
    pub const SPOKEN: Self = Self { min: 1, max: 16 };

    /// `None` if `min` is larger than `max`.
    pub fn new(min: u16, max: u16) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }

    /// Lowest version in the range.
    pub fn min(&self) -> u16 {
        self.min
    }

    /// Highest version in the range.
    pub fn max(&self) -> u16 {
        self.max
    }
}

impl fmt::Display for ChatVersionRange {
    /// `1-16`, or `1` where the range holds a single version.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(f, self.min, self.max)
    }
}

impl FromStr for ChatVersionRange {
    type Err = NotAVersionRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (min, max) = parse_range(text)?;
        Ok(Self { min, max })
    }
}

impl fmt::Display for CallVersionRange {
    /// `1-2`, or `1` where the range holds a single version: `callVRange` on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(f, self.min().0, self.max().0)
    }
}

impl FromStr for CallVersionRange {
    type Err = NotAVersionRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (min, max) = parse_range(text)?;
        Self::new(CallVersion(min), CallVersion(max)).ok_or(NotAVersionRange)
    }
}

/// The text is neither `min-max` nor a single version, or the range is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a version range")]
pub struct NotAVersionRange;

fn write_range(f: &mut fmt::Formatter<'_>, min: u16, max: u16) -> fmt::Result {
    if min == max {
        write!(f, "{min}")
    } else {
        write!(f, "{min}-{max}")
    }
}

fn parse_range(text: &str) -> Result<(u16, u16), NotAVersionRange> {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    let (min, max) = (parse_version(min)?, parse_version(max)?);
    if min <= max {
        Ok((min, max))
    } else {
        Err(NotAVersionRange)
    }
}

/// Digits only: `u16::from_str` alone would take a sign.
fn parse_version(text: &str) -> Result<u16, NotAVersionRange> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAVersionRange);
    }
    text.parse().map_err(|_| NotAVersionRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call_range(min: u16, max: u16) -> CallVersionRange {
        CallVersionRange::new(CallVersion(min), CallVersion(max)).unwrap()
    }

    #[test]
    fn a_range_is_two_numbers_or_one() {
        assert_eq!("1-2".parse(), Ok(call_range(1, 2)));
        assert_eq!("2".parse(), Ok(call_range(2, 2)));
        assert_eq!("1-18".parse(), Ok(ChatVersionRange { min: 1, max: 18 }));
        assert_eq!("1".parse(), Ok(ChatVersionRange::V1));
    }

    #[test]
    fn a_single_version_is_written_as_one_number() {
        assert_eq!(call_range(1, 2).to_string(), "1-2");
        assert_eq!(call_range(2, 2).to_string(), "2");
        assert_eq!(ChatVersionRange::SPOKEN.to_string(), "1-16");
        assert_eq!(ChatVersionRange::V1.to_string(), "1");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "", "-", "1-", "-1", "2-1", "+1", "1-+2", "1--2", "1-2-3", "65536", "1 - 2",
        ] {
            assert_eq!(
                text.parse::<CallVersionRange>(),
                Err(NotAVersionRange),
                "{text:?}"
            );
            assert_eq!(
                text.parse::<ChatVersionRange>(),
                Err(NotAVersionRange),
                "{text:?}"
            );
        }
    }
}
