//! Values that carry their unit and cannot be out of range.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The longest time that a packet spends in any one stage of a link.
///
/// Longer delays are shortened to it, so that adding to an `Instant` never overflows.
const LONGEST_STAGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The bytes of an IPv4 and a UDP header.
const IPV4_UDP_HEADERS: usize = 20 + 8;

/// The bytes of an IPv6 and a UDP header.
const IPV6_UDP_HEADERS: usize = 40 + 8;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A probability, always within `0.0..=1.0`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Probability(f64);

impl Probability {
    /// Never.
    pub const ZERO: Self = Self(0.0);
    /// Always.
    pub const ONE: Self = Self(1.0);

    /// The probability `value`; values outside `0.0..=1.0` are clamped, and NaN is zero.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        if value.is_nan() {
            Self::ZERO
        } else {
            Self(value.clamp(0.0, 1.0))
        }
    }

    /// The probability of `value` per cent, clamped to `0.0..=100.0`.
    #[must_use]
    pub const fn percent(value: f64) -> Self {
        Self::new(value / 100.0)
    }

    /// The value, within `0.0..=1.0`.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

/// A line's rate in bits per second, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(u64);

impl BitRate {
    /// A rate in bits per second; 0 becomes 1, since a line at rest is a cut, not a rate.
    #[must_use]
    pub const fn from_bps(bits_per_second: u64) -> Self {
        Self(if bits_per_second == 0 {
            1
        } else {
            bits_per_second
        })
    }

    /// A rate in kilobits (1,000 bits) per second.
    #[must_use]
    pub const fn from_kbps(kilobits_per_second: u64) -> Self {
        Self::from_bps(kilobits_per_second.saturating_mul(1_000))
    }

    /// A rate in megabits (1,000,000 bits) per second.
    #[must_use]
    pub const fn from_mbps(megabits_per_second: u64) -> Self {
        Self::from_bps(megabits_per_second.saturating_mul(1_000_000))
    }

    /// The rate in bits per second.
    #[must_use]
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// The time that `bytes` bytes occupy the line, rounded up to a nanosecond.
    #[must_use]
    pub fn time_for(self, bytes: usize) -> Duration {
        let bits = (bytes as u128).saturating_mul(8);
        let nanos = bits
            .saturating_mul(NANOS_PER_SECOND)
            .div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The instant `delay` after `now`, with the delay held to a day.
pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay.min(LONGEST_STAGE)).unwrap_or(now)
}

/// The bytes of an IP packet that carries a UDP payload of `payload` bytes to `to`.
pub(crate) const fn wire_bytes(to: SocketAddr, payload: usize) -> usize {
    payload.saturating_add(if to.is_ipv4() {
        IPV4_UDP_HEADERS
    } else {
        IPV6_UDP_HEADERS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_clamped_and_nan_is_never() {
        assert_eq!(Probability::new(-1.0), Probability::ZERO);
        assert_eq!(Probability::new(7.0), Probability::ONE);
        assert_eq!(Probability::new(f64::NAN), Probability::ZERO);
        assert_eq!(Probability::percent(25.0).value(), 0.25);
    }

    #[test]
    fn a_rate_of_zero_still_moves() {
        assert_eq!(BitRate::from_bps(0).bps(), 1);
        assert_eq!(BitRate::from_mbps(u64::MAX).bps(), u64::MAX);
    }

    #[test]
    fn serialisation_takes_bits_over_rate_rounded_up() {
        assert_eq!(
            BitRate::from_mbps(1).time_for(1_250),
            Duration::from_millis(10)
        );
        assert_eq!(
            BitRate::from_bps(3).time_for(1),
            Duration::from_nanos(2_666_666_667)
        );
        assert_eq!(BitRate::from_mbps(1).time_for(0), Duration::ZERO);
    }

    #[test]
    fn no_delay_is_long_enough_to_overflow() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::MAX), now + LONGEST_STAGE);
        assert!(BitRate::from_bps(1).time_for(usize::MAX) > LONGEST_STAGE);
    }
}
