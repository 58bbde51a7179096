//! What the relay's process has used, from Linux's `/proc` (proc(5)).

use std::time::Duration;

use anyhow::Context;

/// A process at one moment.
pub(crate) struct Process {
    pub(crate) cpu: Duration,
    /// In bytes.
    pub(crate) resident: u64,
}

/// What `/proc` counts CPU time in.
const TICK: Duration = Duration::from_millis(10);

impl Process {
    pub(crate) fn read(pid: u32) -> anyhow::Result<Self> {
        let read = |name| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}"))
                .with_context(|| format!("there is no process {pid} here"))
        };
        let stat = read("stat")?;
        // The name, in parentheses, may have spaces.
        let (_, fields) = stat.rsplit_once(')').context("an unknown form of /proc")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| {
            fields
                .get(place)
                .and_then(|field| field.parse::<u32>().ok())
        };
        let (user, system) = ticks(11)
            .zip(ticks(12))
            .context("an unknown form of /proc")?;
        let status = read("status")?;
        let kilobytes = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        });
        let resident = kilobytes.context("an unknown form of /proc")? * 1024;
        Ok(Self {
            cpu: TICK * (user + system),
            resident,
        })
    }

    /// By how many bytes it is larger than it was.
    pub(crate) fn grown(&self, before: &Self) -> f64 {
        self.resident as f64 - before.resident as f64
    }
}
