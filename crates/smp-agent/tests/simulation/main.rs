//! Agents and relays in virtual time, with a network that loses, delays and breaks, and programs
//! that end at any write. One seed decides all.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agent;
mod check;
mod faults;
mod liar;
mod network;
mod relay;
mod scenario;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smp_agent::core::{
    Core, CoreConfig, CoreError, Event, FailReason, Failure, Integrity, Output, Reply, Request,
    Ticket, UndeliveredReason,
};
use smp_agent::{ConnectionId, EventId, RequestId, Store, StoreError, Timestamp};
use smp_protocol::RelayAddress;

use faults::Faults;
use scenario::Scenario;
use world::{Stats, Trace, World};

/// Seeds of all tests together, unless `SOTTO_SEEDS` says how many.
const SEEDS: u64 = 320;
const PARTS: u64 = 8;

/// After so many failures a part ends.
const MOST_FAILURES: usize = 20;

/// How many of the last things are shown of a run that failed; of a single run, all.
const TRACED: usize = 250;

macro_rules! parts {
    ($run:path, $($name:ident: $part:literal,)*) => {
        $(#[test]
        fn $name() {
            all_of_part($part, $run);
        })*
    };
}

parts! {
    honest,
    people_connect_and_talk_1: 0,
    people_connect_and_talk_2: 1,
    people_connect_and_talk_3: 2,
    people_connect_and_talk_4: 3,
    people_connect_and_talk_5: 4,
    people_connect_and_talk_6: 5,
    people_connect_and_talk_7: 6,
    people_connect_and_talk_8: 7,
}

parts! {
    restored,
    an_older_store_is_noticed_1: 0,
    an_older_store_is_noticed_2: 4,
}

parts! {
    lying,
    a_lying_relay_is_noticed_1: 0,
    a_lying_relay_is_noticed_2: 4,
}

/// One run in which relays do as they should.
fn honest(seed: u64, trace: &Trace) -> Stats {
    let mut rng = StdRng::seed_from_u64(seed);
    let scenario = Scenario::of(&mut rng);
    let faults = Faults::of(&mut rng);
    let mut world = begin(rng, &scenario, faults, trace);
    check::settles(&mut world);
    check::talk(&mut world);
    check::connected(&mut world);
    check::strictly(&world);
    check::nothing_is_left(&mut world);
    check::link_shows(&mut world);
    check::parting(&mut world);
    world.stats
}

/// One run in which somebody goes back to an older copy of a store.
fn restored(seed: u64, trace: &Trace) -> Stats {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scenario = Scenario::of(&mut rng);
    scenario.restores = true;
    scenario.rotations = 0;
    scenario.additions = 0;
    scenario.messages = scenario.messages.max(8);
    let faults = Faults::of(&mut rng);
    let mut world = begin(rng, &scenario, faults, trace);
    check::settles(&mut world);
    check::heals(&mut world);
    check::nothing_is_altered(&world);
    check::losses_are_reported(&world);
    world.stats
}

/// One run with a relay that lies.
fn lying(seed: u64, trace: &Trace) -> Stats {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scenario = Scenario::of(&mut rng);
    scenario.lies = true;
    scenario.messages = scenario.messages.max(8);
    let lies = [0.03, 0.1, 0.3][rng.random_range(0..3)];
    let mut faults = Faults::of(&mut rng);
    faults.lies = lies;
    let mut world = begin(rng, &scenario, faults, trace);
    check::settles(&mut world);
    check::nothing_is_altered(&world);
    check::losses_are_reported(&world);
    world.stats
}

fn begin(rng: StdRng, scenario: &Scenario, faults: Faults, trace: &Trace) -> World {
    let addresses: Vec<RelayAddress> = ["a", "b"].map(relay_address).into();
    let length = scenario.length;
    let mut world = World::new(rng, &addresses, scenario.clone(), faults, trace.clone());
    world.note(|| format!("{scenario:?} {faults:?}"));
    faults::plan(&mut world, length);
    scenario.plan(&mut world);
    world
}

fn relay_address(name: &str) -> RelayAddress {
    let fingerprint = name.repeat(43).replacen(name, "A", 0);
    let text = format!("smp://{}A=@{name}.example", &fingerprint[..42]);
    text.parse().expect("an address")
}

/// Runs the seeds of a part, and tells of the first that failed, and how many others did.
fn all_of_part(part: u64, run: fn(u64, &Trace) -> Stats) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let seeds: Vec<u64> = match number("SOTTO_SEED") {
        Some(seed) if seed % PARTS == part => vec![seed],
        Some(_) => return,
        None => (0..number("SOTTO_SEEDS").unwrap_or(SEEDS))
            .filter(|seed| seed % PARTS == part)
            .collect(),
    };
    let traced = if seeds.len() == 1 { usize::MAX } else { TRACED };
    let mut failures = Vec::new();
    let mut first = String::new();
    let mut all = Stats::default();
    let count = seeds.len() as u64;
    for seed in seeds {
        let trace = Trace::new(traced);
        let result = catch_unwind(AssertUnwindSafe(|| run(seed, &trace)));
        if let Err(panic) = &result {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            if failures.is_empty() {
                first = trace.lines();
            }
            failures.push(format!("seed {seed}: {said}"));
            if failures.len() == MOST_FAILURES {
                break;
            }
        }
        all += result.unwrap_or_default();
    }
    assert!(
        failures.is_empty(),
        "{first}\n{} seeds failed, above the first:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // A simulation in which nothing happens finds nothing.
    let much =
        all.connected > count && all.told > count && all.crashes > count && all.unreachable > count;
    assert!(much || count < 30, "{count} runs: {all:?}");
}
