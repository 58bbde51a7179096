//! The program in a folder of its own, and clients of it.

mod client;
mod process;
mod raw;

use std::time::{Duration, Instant};

pub(crate) use client::{Bystander, Queue, connect, events_message, link, new_key, silent};
pub(crate) use process::{Folder, Relay, Run, free_port, program, run, sotto_smp, the_program};
pub(crate) use raw::{Hello, Raw};
pub(crate) use rustix::process::Signal;

/// Against hanging only.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that nobody announces.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A test that does not run must not go unnoticed, and must run where it counts.
#[expect(clippy::print_stderr, reason = "see above")]
pub(crate) fn skipped(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what}: run scripts/setup test"
    );
    eprintln!("SKIPPED: {what}");
}

/// Figures for whoever runs a test by hand.
#[expect(clippy::print_stderr, reason = "the measurement is the result")]
pub(crate) fn report(figures: impl std::fmt::Display) {
    eprintln!("{figures}");
}
