//! Seeded draws. Only additions and multiplications of floats, so that every platform draws alike.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::units::Probability;

/// The bits of a draw that an `f64` holds exactly.
const MANTISSA_BITS: u32 = 53;

/// The uniform draws in one [`Dice::normal`]; with twelve, their sum has a variance of 1.
const UNIFORMS_PER_NORMAL: u32 = 12;

/// One stream of random draws.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream numbered `stream` of `seed`; streams of one seed are independent.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A seed for something else.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        let bits = self.0.next_u64() >> (u64::BITS - MANTISSA_BITS);
        bits as f64 / (1_u64 << MANTISSA_BITS) as f64
    }

    /// True with probability `p`. Takes one draw whatever `p` is.
    pub(crate) fn chance(&mut self, p: Probability) -> bool {
        self.unit() < p.value()
    }

    /// Uniform in `0..bound`, or 0 where `bound` is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let wide = u64::from(self.0.next_u32()) * u64::from(bound);
        (wide >> u32::BITS) as u32
    }

    /// Close to the standard normal distribution (mean 0, variance 1), and within `-6.0..=6.0`.
    pub(crate) fn normal(&mut self) -> f64 {
        let sum: f64 = (0..UNIFORMS_PER_NORMAL).map(|_| self.unit()).sum();
        sum - f64::from(UNIFORMS_PER_NORMAL) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 20_000;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let first: Vec<u64> = (0..4).map(|stream| Dice::new(1, stream).seed()).collect();
        let again: Vec<u64> = (0..4).map(|stream| Dice::new(1, stream).seed()).collect();
        assert_eq!(first, again);
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn certain_outcomes_are_certain() {
        let mut dice = Dice::new(2, 0);
        assert!((0..DRAWS).all(|_| dice.chance(Probability::ONE)));
        assert!((0..DRAWS).all(|_| !dice.chance(Probability::ZERO)));
    }

    #[test]
    fn bounded_draws_reach_every_value_and_no_other() {
        let mut dice = Dice::new(3, 0);
        let mut seen = [false; 6];
        for _ in 0..DRAWS {
            seen[dice.below(6) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let mut dice = Dice::new(4, 0);
        let draws: Vec<f64> = (0..DRAWS).map(|_| dice.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(DRAWS);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(DRAWS);
        assert!(mean.abs() < 0.05, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
        assert!(draws.iter().all(|x| x.abs() <= 6.0));
    }
}
