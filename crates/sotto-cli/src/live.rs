//! The line that shows how a call is doing while it lasts.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::events::Figures;

/// Levels in the little picture of the sound.
const LEVELS: usize = 12;

/// Between plain lines, where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// What the lowest and the highest bar mean, in dBFS.
const QUIET_DBFS: f32 = -60.0;
const LOUD_DBFS: f32 = -12.0;

/// Standard error, on which one line may be drawn over again and again.
pub(crate) struct Live {
    terminal: bool,
    /// Whether to write figures where there is no terminal.
    plain: bool,
    drawn: bool,
    last_plain: Option<Instant>,
    last: Option<Figures>,
    levels: VecDeque<f32>,
}

impl Live {
    pub(crate) fn new(plain: bool) -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            plain,
            drawn: false,
            last_plain: None,
            last: None,
            levels: VecDeque::new(),
        }
    }

    /// No figures are drawn, say since standard error carries events.
    pub(crate) fn without_figures(mut self) -> Self {
        self.terminal = false;
        self
    }

    /// A line that stays.
    pub(crate) fn say(&mut self, text: impl std::fmt::Display) {
        self.clear();
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// A line of progress: it stays on a terminal, and is left out elsewhere unless wanted.
    pub(crate) fn progress(&mut self, text: impl std::fmt::Display) {
        if self.terminal || self.plain {
            self.say(text);
        }
    }

    /// Shows the figures at this time of the call.
    pub(crate) fn show(&mut self, elapsed: Duration, figures: Figures) {
        self.last = self.last.take().or_else(|| figures.at_start());
        self.levels.push_back(
            figures
                .audio
                .as_ref()
                .map_or(QUIET_DBFS, |audio| audio.level_dbfs),
        );
        if self.levels.len() > LEVELS {
            self.levels.pop_front();
        }
        let due = self
            .last_plain
            .is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
        if self.terminal {
            let line = self.line(elapsed, &figures);
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{line}");
            self.drawn = true;
        } else if self.plain && due {
            self.last_plain = Some(Instant::now());
            let line = self.line(elapsed, &figures);
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
        self.last = Some(figures);
    }

    /// Takes the live line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }

    fn line(&self, elapsed: Duration, figures: &Figures) -> String {
        let rate = |of: fn(&Figures, &Figures) -> Option<f64>| {
            self.last.as_ref().and_then(|last| of(figures, last))
        };
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.1}"));
        let profile = figures
            .srtp_profile
            .as_deref()
            .map_or("–".to_owned(), short_profile);
        let buffer = figures
            .audio
            .as_ref()
            .map(|audio| f64::from(audio.buffer_ms));
        let seconds = elapsed.as_secs();
        format!(
            "{:02}:{:02}  {profile}  rtt {} ms  buffer {} ms  loss {} %  {} kbit/s  {}",
            seconds / 60,
            seconds % 60,
            number(figures.rtt_ms),
            buffer.map_or("–".to_owned(), |v| format!("{v:.0}")),
            number(rate(Figures::lost_percent)),
            number(rate(Figures::received_kbit_s)),
            bars(&self.levels),
        )
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `SRTP_AEAD_AES_256_GCM` as `AES-256-GCM`.
fn short_profile(name: &str) -> String {
    name.trim_start_matches("SRTP_")
        .trim_start_matches("AEAD_")
        .replace('_', "-")
}

fn bars(levels: &VecDeque<f32>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |level: &f32| {
        let share = ((level - QUIET_DBFS) / (LOUD_DBFS - QUIET_DBFS)).clamp(0.0, 1.0);
        let index = (share * (BARS.len() - 1) as f32).round() as usize;
        BARS.get(index).copied().unwrap_or('█')
    };
    levels.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_rise_with_the_level() {
        let levels = [-100.0, -60.0, -36.0, -12.0, 0.0].into_iter().collect();
        assert_eq!(bars(&levels), "▁▁▅██");
    }

    #[test]
    fn the_profile_is_named_without_its_prefixes() {
        assert_eq!(short_profile("SRTP_AEAD_AES_256_GCM"), "AES-256-GCM");
    }
}
