//! The process's clock, and what it shows on the wall.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Counts from the start of the process.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed_ms(self) -> f64 {
        milliseconds(self.started.elapsed())
    }
}

/// To the microsecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Milliseconds since 1970 in UTC at `at`, by the wall clock as it is now.
pub(crate) fn unix_ms(at: Instant) -> f64 {
    let ago = Instant::now().saturating_duration_since(at);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    milliseconds(now.saturating_sub(ago))
}
