//! `kill -9` at any instant: what was answered is done for good.

mod journal;
pub(crate) mod load;
mod maker;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::{Folder, report};
use load::Load;

/// How often the relay is killed, unless `SOTTO_CRASHES` says it. For a thousand times nextest's
/// default profile gives an hour; its profile for CI would end them after five minutes.
const CRASHES: u32 = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_undone_whenever_the_relay_is_killed() {
    let crashes = std::env::var("SOTTO_CRASHES");
    let crashes = crashes.map_or(CRASHES, |number| number.parse().unwrap());
    kill_again_and_again(crashes, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_where_every_answer_waits_for_the_disk() {
    kill_again_and_again(CRASHES / 3, "storage.survive = \"power\"").await;
}

async fn kill_again_and_again(crashes: u32, lines: &str) {
    let folder = Folder::new(Load::CONFIGURATION).await;
    folder.configure(lines);
    let mut rng = StdRng::seed_from_u64(crashes.into());
    let load = Load::start();
    let mut ready = Vec::new();
    for crash in 0..crashes {
        if crash % 8 == 7 {
            // While it starts, or just before.
            let instant = Duration::from_micros(rng.random_range(0..60_000));
            folder.start_and_kill_after(instant).await;
        }
        let began = Instant::now();
        let mut relay = folder.start().await;
        ready.push(began.elapsed());
        load.lead_to(&relay.address);
        load.answers(rng.random_range(0..300)).await;
        if crash % 4 == 3 {
            compact(&folder).await;
        }
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..20_000))).await;
        relay.kill().await;
        load.check(crash);
    }
    let relay = folder.start().await;
    load.lead_to(&relay.address);
    let figures = load.finish().await;
    ready.sort();
    let (half, last) = (ready[ready.len() / 2], ready[ready.len() - 1]);
    report(format_args!(
        "{crashes} kills; ready again in {half:?} (median), {last:?} (longest); {figures}"
    ));
    relay.stop().await;
}

/// Asks for a compaction and does not wait for it.
async fn compact(folder: &Folder) {
    let mut control = UnixStream::connect(folder.path().join("control.sock"))
        .await
        .unwrap();
    control
        .write_all(b"{\"command\":\"compact\"}\n")
        .await
        .unwrap();
}
