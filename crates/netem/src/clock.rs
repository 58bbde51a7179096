//! The virtual clock.

use std::time::{Duration, Instant};

/// A clock that moves only when it is told to.
///
/// Its base is the `Instant` of its creation, taken once and arbitrary: only differences between
/// instants mean anything. Code that takes `now: Instant` cannot tell it from real time, and an
/// hour of protocol passes as fast as the machine can compute it.
///
/// ```
/// use std::time::Duration;
///
/// let mut clock = netem::Clock::new();
/// let deadline = clock.now() + Duration::from_secs(3600);
/// clock.advance_to(deadline);
/// assert_eq!(clock.elapsed(), Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone)]
pub struct Clock {
    base: Instant,
    now: Instant,
}

impl Clock {
    /// A clock that has not moved yet.
    #[must_use]
    pub fn new() -> Self {
        let base = Instant::now();
        Self { base, now: base }
    }

    /// The present virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The virtual time since the clock's creation.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.base)
    }

    /// Moves to `instant`, or stays where `instant` is in the past: the clock never goes back.
    pub fn advance_to(&mut self, instant: Instant) {
        self.now = self.now.max(instant);
    }

    /// Moves on by `duration`, or stays where the platform's `Instant` cannot go that far.
    pub fn advance_by(&mut self, duration: Duration) {
        self.now = self.now.checked_add(duration).unwrap_or(self.now);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_only_when_told() {
        let mut clock = Clock::new();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance_by(Duration::from_millis(20));
        assert_eq!(clock.now(), start + Duration::from_millis(20));
        assert_eq!(clock.elapsed(), Duration::from_millis(20));
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut clock = Clock::new();
        let start = clock.now();
        clock.advance_by(Duration::from_secs(1));
        clock.advance_to(start);
        assert_eq!(clock.elapsed(), Duration::from_secs(1));
    }

    #[test]
    fn a_step_beyond_the_end_of_time_is_not_taken() {
        let mut clock = Clock::new();
        clock.advance_by(Duration::MAX);
        assert_eq!(clock.elapsed(), Duration::ZERO);
    }
}
