//! What was measured.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crate::process::Process;

/// For each figure a name for programs, words for people, and the figure.
#[derive(Default)]
pub(crate) struct Figures(Vec<(&'static str, &'static str, f64)>);

impl Figures {
    pub(crate) fn of_messages(&mut self, mut latencies: Vec<Duration>, took: Duration) {
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        let at = |share| percentile(&latencies, share).as_secs_f64() * 1e3;
        self.0.extend([
            ("messages", "messages", count),
            (
                "messages_per_second",
                "messages a second",
                count / took.as_secs_f64(),
            ),
            ("latency_p50_ms", "ms latency, p50", at(0.5)),
            ("latency_p99_ms", "ms latency, p99", at(0.99)),
            ("latency_p999_ms", "ms latency, p99.9", at(0.999)),
        ]);
    }

    /// In microseconds a message.
    pub(crate) fn of_time(&mut self, relay: f64, cryptography: f64) {
        self.0.extend([
            (
                "server_cpu_us_per_message",
                "µs of the relay's CPU a message",
                relay,
            ),
            (
                "cryptography_us_per_message",
                "µs of that message's cryptography",
                cryptography,
            ),
            (
                "server_cpu_times_cryptography",
                "times the cryptography",
                relay / cryptography,
            ),
            (
                "server_core_messages_per_second",
                "messages a second of one core",
                1e6 / relay,
            ),
        ]);
    }

    pub(crate) fn of_memory(&mut self, connection: f64, after: &Process) {
        let resident = after.resident as f64;
        self.0.extend([
            (
                "server_bytes_per_connection",
                "bytes of memory a connection",
                connection,
            ),
            (
                "server_resident_bytes",
                "bytes of memory at the end",
                resident,
            ),
        ]);
    }

    pub(crate) fn of_idle(&mut self, queue: f64) {
        self.0.push((
            "server_bytes_per_idle_queue",
            "bytes of memory an idle queue",
            queue,
        ));
    }

    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut text = String::new();
        if json {
            let fields = self
                .0
                .iter()
                .map(|(name, _, figure)| format!("\"{name}\":{figure:.3}"));
            writeln!(text, "{{{}}}", fields.collect::<Vec<_>>().join(","))?;
        } else {
            for (_, words, figure) in &self.0 {
                writeln!(text, "{figure:14.3}  {words}")?;
            }
        }
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
