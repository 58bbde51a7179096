//! What a link does to packets.

use std::time::Duration;

use crate::link::loss::Loss;
use crate::random::Dice;
use crate::units::{BitRate, Probability};

/// The queue of a link whose rate is limited and whose queue is not set: 64 KiB.
const DEFAULT_QUEUE_BYTES: usize = 64 * 1024;

/// What one direction of a path does to packets. The default is a perfect link: nothing is lost,
/// everything arrives at once.
///
/// A packet passes the stages in this order: outages, [`mtu`](Self::mtu), the queue and the line
/// ([`queue_bytes`](Self::queue_bytes), [`rate`](Self::rate)), [`loss`](Self::loss),
/// [`duplicate`](Self::duplicate), then [`delay`](Self::delay) with [`jitter`](Self::jitter) and
/// [`reorder`](Self::reorder). So a packet that is lost on the way has still taken its time on the
/// line. Any one stage takes at most a day.
///
/// ```
/// use std::time::Duration;
/// use netem::{BitRate, Jitter, LinkConfig, Loss, Probability};
///
/// let poor_mobile = LinkConfig {
///     loss: Loss::bursts(Probability::percent(5.0), 3.0),
///     delay: Duration::from_millis(80),
///     jitter: Jitter::Normal { deviation: Duration::from_millis(15) },
///     rate: Some(BitRate::from_kbps(300)),
///     ..LinkConfig::default()
/// };
/// assert!((poor_mobile.loss.mean().value() - 0.05).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkConfig {
    /// Which packets are lost on the way.
    pub loss: Loss,
    /// The time from the end of the line to delivery.
    pub delay: Duration,
    /// How the delay varies. It alone never changes the order of packets.
    pub jitter: Jitter,
    /// Which packets are overtaken by later ones.
    pub reorder: Reorder,
    /// The probability that a packet is delivered twice. The copy is made beyond the line and has
    /// its own jitter and reordering.
    pub duplicate: Probability,
    /// The line's rate; `None` is infinitely fast and needs no queue.
    pub rate: Option<BitRate>,
    /// The bytes that may wait for the line, not counting the packet on it. A packet that must wait
    /// and does not fit is dropped (drop-tail). A packet counts as at least one byte.
    pub queue_bytes: usize,
    /// The largest packet in bytes; larger ones are dropped. `None` is no limit.
    pub mtu: Option<usize>,
}

impl LinkConfig {
    /// A link that loses nothing and takes no time.
    pub const PERFECT: Self = Self {
        loss: Loss::None,
        delay: Duration::ZERO,
        jitter: Jitter::None,
        reorder: Reorder::NEVER,
        duplicate: Probability::ZERO,
        rate: None,
        queue_bytes: DEFAULT_QUEUE_BYTES,
        mtu: None,
    };

    /// A link that is perfect but for a constant delay.
    #[must_use]
    pub const fn with_delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::PERFECT
        }
    }
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self::PERFECT
    }
}

/// How a link's delay varies from packet to packet.
///
/// A packet whose drawn delay would let it arrive before an earlier one arrives together with that
/// one instead, and after it: the order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jitter {
    /// The delay is constant.
    #[default]
    None,
    /// The delay grows by a time drawn uniformly from zero to `max`.
    Uniform {
        /// The most that is added.
        max: Duration,
    },
    /// The delay changes by a draw from a normal distribution with mean zero, cut off where the
    /// delay would be negative. The draw is the sum of twelve uniform ones, so it never exceeds six
    /// deviations.
    Normal {
        /// The standard deviation.
        deviation: Duration,
    },
}

impl Jitter {
    /// Draws one packet's delay around `delay`.
    pub(crate) fn apply(self, delay: Duration, dice: &mut Dice) -> Duration {
        match self {
            Self::None => delay,
            Self::Uniform { max } => delay.saturating_add(scale(max, dice.unit())),
            Self::Normal { deviation } => {
                let draw = dice.normal();
                let change = scale(deviation, draw.abs());
                if draw < 0.0 {
                    delay.saturating_sub(change)
                } else {
                    delay.saturating_add(change)
                }
            }
        }
    }
}

/// Which packets of a link are overtaken: each is held back with a probability for a further time,
/// while the packets behind it go on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reorder {
    /// The probability that a packet is held back.
    pub probability: Probability,
    /// For how long, on top of the delay that it would have had.
    pub hold: Duration,
}

impl Reorder {
    /// No packet is held back.
    pub const NEVER: Self = Self {
        probability: Probability::ZERO,
        hold: Duration::ZERO,
    };
}

/// `duration * factor`, or the longest duration where that overflows.
fn scale(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(50);
    const SPREAD: Duration = Duration::from_millis(20);
    const DRAWS: u32 = 10_000;

    fn mean_millis(jitter: Jitter) -> f64 {
        let mut dice = Dice::new(1, 0);
        let total: Duration = (0..DRAWS).map(|_| jitter.apply(DELAY, &mut dice)).sum();
        total.as_secs_f64() * 1_000.0 / f64::from(DRAWS)
    }

    #[test]
    fn the_default_is_the_perfect_link() {
        assert_eq!(LinkConfig::default(), LinkConfig::PERFECT);
    }

    #[test]
    fn uniform_jitter_adds_half_its_bound_on_average() {
        let mean = mean_millis(Jitter::Uniform { max: SPREAD });
        assert!((mean - 60.0).abs() < 0.5, "{mean}");
    }

    #[test]
    fn uniform_jitter_stays_within_its_bound() {
        let mut dice = Dice::new(2, 0);
        let jitter = Jitter::Uniform { max: SPREAD };
        let mut draws = (0..DRAWS).map(|_| jitter.apply(DELAY, &mut dice));
        assert!(draws.all(|delay| (DELAY..=DELAY + SPREAD).contains(&delay)));
    }

    #[test]
    fn normal_jitter_keeps_the_mean_delay() {
        let mean = mean_millis(Jitter::Normal {
            deviation: Duration::from_millis(5),
        });
        assert!((mean - 50.0).abs() < 0.5, "{mean}");
    }

    #[test]
    fn normal_jitter_is_cut_off_at_zero() {
        let mut dice = Dice::new(3, 0);
        let jitter = Jitter::Normal { deviation: SPREAD };
        let zeros = (0..DRAWS).filter(|_| jitter.apply(Duration::ZERO, &mut dice).is_zero());
        let share = zeros.count() as f64 / f64::from(DRAWS);
        assert!((share - 0.5).abs() < 0.03, "{share}");
    }

    #[test]
    fn an_endless_jitter_does_not_overflow() {
        let mut dice = Dice::new(4, 0);
        for _ in 0..100 {
            Jitter::Uniform { max: Duration::MAX }.apply(Duration::MAX, &mut dice);
            Jitter::Normal {
                deviation: Duration::MAX,
            }
            .apply(Duration::MAX, &mut dice);
        }
    }
}
