//! Wall-clock time that a simulation can move.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Seconds of a day.
pub(crate) const DAY: u64 = 86_400;

/// Where Unix time comes from.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Source);

#[derive(Debug, Clone, Copy)]
enum Source {
    System,
    Simulated { base: u64, started: Instant },
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Shows `base` seconds since the Unix epoch now, and goes on with tokio's clock, which tests
    /// pause and move.
    pub fn simulated(base: u64) -> Self {
        Self(Source::Simulated {
            base,
            started: Instant::now(),
        })
    }

    /// Seconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        match self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            Source::Simulated { base, started } => base + started.elapsed().as_secs(),
        }
    }

    /// Days since the Unix epoch.
    pub fn today(&self) -> u32 {
        u32::try_from(self.now() / DAY).unwrap_or(u32::MAX)
    }
}

/// A moment in the form of RFC 3339, in UTC.
pub(crate) fn rfc3339(seconds: u64) -> String {
    // Later than the year 9999 there is no such form.
    let moment = UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_says() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_795_464_201), "2026-11-23T20:03:21Z");
    }
}
