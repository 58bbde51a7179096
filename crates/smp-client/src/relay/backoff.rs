//! Pauses between attempts.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The pause after the first failure, at most.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Pauses that double up to a longest one. Each is random between its half and its whole, so that
/// the clients of a relay that was away do not all come back in one moment.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        rng.random_range(whole / 2..=whole)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_random() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new();
        let mut whole = FIRST;
        for _ in 0..20 {
            let pause = backoff.next(&mut rng);
            assert!((whole / 2..=whole).contains(&pause), "{pause:?}");
            whole = (whole * 2).min(LONGEST);
        }
        backoff.reset();
        let pauses: Vec<_> = (0..10)
            .map(|_| {
                backoff.reset();
                backoff.next(&mut rng)
            })
            .collect();
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
