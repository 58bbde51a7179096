//! The time as the core wants it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Timestamp;

/// How far the system's clock may be ahead before it is followed, in milliseconds: the machine
/// slept, or its clock was set.
const SLEPT: i64 = 5_000;

/// The longest wait for one point in time. Later ones are waited for in several parts.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// The system's time at the start, and how long ago that was by tokio's clock: it never goes back,
/// and tests can pause it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started_at: Timestamp,
    started: Instant,
    follows_system: bool,
}

impl Clock {
    /// Goes with tokio's clock, and forward with the system's.
    pub(super) fn system() -> Self {
        Self {
            follows_system: true,
            ..Self::runtime()
        }
    }

    /// Goes with tokio's clock alone.
    pub(super) fn runtime() -> Self {
        Self {
            started_at: system_time(),
            started: Instant::now(),
            follows_system: false,
        }
    }

    pub(super) fn now(&mut self) -> Timestamp {
        let now = self.started_at.plus(milliseconds(self.started.elapsed()));
        if !self.follows_system {
            return now;
        }
        let ahead = system_time().0 - now.0;
        if ahead < SLEPT {
            return now;
        }
        self.started_at = self.started_at.plus(ahead);
        now.plus(ahead)
    }

    /// When to look at the clock again to be there at this time.
    pub(super) fn wake_at(&mut self, at: Timestamp) -> Instant {
        let wait = u64::try_from(at.0.saturating_sub(self.now().0)).unwrap_or(0);
        Instant::now() + Duration::from_millis(wait).min(LONGEST_WAIT)
    }
}

fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.map_or(0, milliseconds))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_with_the_paused_clock_of_the_runtime() {
        let mut clock = Clock::runtime();
        let before = clock.now();
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(clock.now(), before.plus(7_000));
    }

    #[tokio::test(start_paused = true)]
    async fn waking_up_is_never_too_early() {
        let mut clock = Clock::runtime();
        tokio::time::sleep(Duration::from_micros(1_300)).await;
        let at = clock.now().plus(250);
        tokio::time::sleep_until(clock.wake_at(at)).await;
        assert!(clock.now() >= at);
        assert!(clock.wake_at(Timestamp(0)) <= Instant::now());
        assert!(clock.wake_at(Timestamp(i64::MAX)) <= Instant::now() + LONGEST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_has_the_right_time_again() {
        let mut clock = Clock::system();
        clock.started_at = clock.started_at.plus(-3_600_000);
        assert!((clock.now().0 - system_time().0).abs() < SLEPT);
        clock.started_at = clock.started_at.plus(3_600_000);
        assert!(
            clock.now().0 - system_time().0 > SLEPT,
            "it never goes back"
        );
    }
}
