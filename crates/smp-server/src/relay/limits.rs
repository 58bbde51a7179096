//! Rates.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of tokens that fills evenly. Who finds too few waits.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    capacity: f64,
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket for `capacity` at once and `per_second` later on.
    pub(crate) fn new(capacity: u32, per_second: f64, now: Instant) -> Self {
        let capacity = f64::from(capacity);
        Self {
            capacity,
            per_second,
            tokens: capacity,
            at: now,
        }
    }

    /// Takes tokens for what turned out to be more work; who comes next waits for them.
    pub(crate) fn charge(&mut self, tokens: usize) {
        self.tokens -= tokens as f64;
    }

    /// Takes one token, on credit if need be; returns how long to wait for it.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.capacity) - 1.0;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.tokens / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_follows_waits_its_turn() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(3, 10.0, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Duration::ZERO);
        }
        assert_eq!(bucket.take(start), Duration::from_millis(100));
        assert_eq!(bucket.take(start), Duration::from_millis(200));
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Duration::ZERO);
    }
}
