//! Which packets are lost on the way.

use crate::random::Dice;
use crate::units::Probability;

/// The longest mean burst in packets; longer ones are shortened to it.
const LONGEST_BURST: f64 = 1e9;

/// Which packets a link loses on the way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet independently, with this probability.
    Independent(Probability),
    /// In bursts.
    Bursts(GilbertElliott),
}

/// The Gilbert–Elliott model: a chain of two states, good and bad, that takes one step a packet.
///
/// The first packet finds the chain in its stationary state, so that the mean loss holds from the
/// first packet on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GilbertElliott {
    /// The probability of a step from good to bad.
    pub enter: Probability,
    /// The probability of a step from bad to good.
    pub leave: Probability,
    /// The loss in the good state.
    pub loss_good: Probability,
    /// The loss in the bad state.
    pub loss_bad: Probability,
}

impl Loss {
    /// Bursts in which every packet is lost, with none lost between them: `mean` is the share of
    /// all packets that are lost, and `burst` the mean number of packets in a burst, held
    /// to between 1 and a thousand million.
    ///
    /// A high loss in short bursts is a contradiction, since at least one packet passes between two
    /// bursts; then the mean holds and the bursts become as long as it needs.
    #[must_use]
    pub fn bursts(mean: Probability, burst: f64) -> Self {
        let (lost, passed) = (mean.value(), 1.0 - mean.value());
        let burst = if burst > 1.0 {
            burst.min(LONGEST_BURST)
        } else {
            1.0
        };
        let leave = 1.0 / burst;
        let enter = leave * lost / passed;
        let (enter, leave) = if enter <= 1.0 {
            (enter, leave)
        } else {
            (1.0, passed / lost)
        };
        Self::Bursts(GilbertElliott {
            enter: Probability::new(enter),
            leave: Probability::new(leave),
            loss_good: Probability::ZERO,
            loss_bad: Probability::ONE,
        })
    }

    /// The share of packets that are lost in the long run.
    #[must_use]
    pub fn mean(&self) -> Probability {
        match self {
            Self::None => Probability::ZERO,
            Self::Independent(probability) => *probability,
            Self::Bursts(model) => {
                let bad = model.share_bad().value();
                let (in_good, in_bad) = (model.loss_good.value(), model.loss_bad.value());
                Probability::new((1.0 - bad) * in_good + bad * in_bad)
            }
        }
    }
}

impl GilbertElliott {
    /// The share of packets that find the bad state; zero where the chain never moves.
    fn share_bad(&self) -> Probability {
        let (enter, leave) = (self.enter.value(), self.leave.value());
        Probability::new(enter / (enter + leave))
    }
}

/// A loss in progress.
#[derive(Debug, Clone)]
pub(crate) struct LossProcess {
    loss: Loss,
    /// Whether the chain is in the bad state, once a packet has met it.
    bad: Option<bool>,
    dice: Dice,
}

impl LossProcess {
    pub(crate) fn new(loss: Loss, dice: Dice) -> Self {
        Self {
            loss,
            bad: None,
            dice,
        }
    }

    /// Goes on with another loss, in its stationary state unless it is the same as before.
    pub(crate) fn replace(&mut self, loss: Loss) {
        if self.loss != loss {
            self.loss = loss;
            self.bad = None;
        }
    }

    /// Whether the next packet is lost. Takes two draws whatever the model is.
    pub(crate) fn strikes(&mut self) -> bool {
        let (step, fate) = (self.dice.unit(), self.dice.unit());
        let probability = match self.loss {
            Loss::None => Probability::ZERO,
            Loss::Independent(probability) => probability,
            Loss::Bursts(model) => {
                let bad = match self.bad {
                    None => step < model.share_bad().value(),
                    Some(true) => step >= model.leave.value(),
                    Some(false) => step < model.enter.value(),
                };
                self.bad = Some(bad);
                if bad { model.loss_bad } else { model.loss_good }
            }
        };
        fate < probability.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: usize = 200_000;

    fn pattern(loss: Loss) -> Vec<bool> {
        let mut process = LossProcess::new(loss, Dice::new(11, 0));
        (0..PACKETS).map(|_| process.strikes()).collect()
    }

    fn rate(pattern: &[bool]) -> f64 {
        pattern.iter().filter(|&&lost| lost).count() as f64 / pattern.len() as f64
    }

    fn mean_burst(pattern: &[bool]) -> f64 {
        let lost = pattern.iter().filter(|&&lost| lost).count();
        let bursts = pattern.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
        lost as f64 / bursts as f64
    }

    #[test]
    fn no_loss_loses_nothing_and_certain_loss_everything() {
        assert_eq!(rate(&pattern(Loss::None)), 0.0);
        assert_eq!(rate(&pattern(Loss::Independent(Probability::ONE))), 1.0);
    }

    #[test]
    fn bursts_have_the_mean_loss_and_length_asked_for() {
        for (mean, burst) in [(0.01, 2.0), (0.05, 5.0), (0.2, 1.0), (0.3, 10.0)] {
            let pattern = pattern(Loss::bursts(Probability::new(mean), burst));
            assert!(
                (rate(&pattern) - mean).abs() < 0.1 * mean,
                "{mean} {}",
                rate(&pattern)
            );
            let length = mean_burst(&pattern);
            assert!((length - burst).abs() < 0.1 * burst, "{burst} {length}");
        }
    }

    #[test]
    fn impossible_bursts_keep_the_mean_and_lengthen() {
        let loss = Loss::bursts(Probability::new(0.8), 1.0);
        assert!((loss.mean().value() - 0.8).abs() < 1e-9);
        let pattern = pattern(loss);
        assert!((rate(&pattern) - 0.8).abs() < 0.01);
        assert!((mean_burst(&pattern) - 4.0).abs() < 0.1);
    }

    #[test]
    fn extreme_bursts_are_all_or_nothing() {
        assert_eq!(rate(&pattern(Loss::bursts(Probability::ZERO, 5.0))), 0.0);
        assert_eq!(rate(&pattern(Loss::bursts(Probability::ONE, 5.0))), 1.0);
        assert_eq!(
            rate(&pattern(Loss::bursts(Probability::ZERO, f64::NAN))),
            0.0
        );
        assert_eq!(
            rate(&pattern(Loss::bursts(Probability::ZERO, f64::INFINITY))),
            0.0
        );
        let endless = Loss::bursts(Probability::percent(10.0), f64::INFINITY);
        assert!((endless.mean().value() - 0.1).abs() < 1e-6);
    }

    #[test]
    fn both_states_lose_at_their_own_rate() {
        let loss = Loss::Bursts(GilbertElliott {
            enter: Probability::new(0.1),
            leave: Probability::new(0.3),
            loss_good: Probability::new(0.02),
            loss_bad: Probability::new(0.6),
        });
        let expected = 0.75 * 0.02 + 0.25 * 0.6;
        assert!((loss.mean().value() - expected).abs() < 1e-9);
        assert!((rate(&pattern(loss)) - expected).abs() < 0.01);
    }

    #[test]
    fn a_chain_that_never_moves_stays_good() {
        let loss = Loss::Bursts(GilbertElliott {
            loss_bad: Probability::ONE,
            ..GilbertElliott::default()
        });
        assert_eq!(rate(&pattern(loss)), 0.0);
    }
}
