//! Two call machines over a bad network, ten thousand times: whatever happens, both sides end in
//! the same state, within bounded virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::collections::HashSet;
use std::time::Duration;

use call_core::{CONNECT_TIMEOUT, EndReason, Event, INTERRUPTION_LIMIT, INVITATION_LIFE};
use call_signal::{CallId, CallMedia};
use netem::{LinkConfig, Loss, Probability};
use world::{Intent, Plan, World};

/// Seeded runs; the issue asks for ten thousand.
const RUNS: u64 = 10_000;

/// After the last thing that a user does, both sides are at rest within this: a lost answer costs
/// the invitation's life, then a connection that never comes, then an interruption.
const REST: Duration = Duration::from_secs(
    INVITATION_LIFE.as_secs() + CONNECT_TIMEOUT.as_secs() + INTERRUPTION_LIMIT.as_secs() + 60,
);

#[test]
fn ten_thousand_random_runs_end_in_the_same_state_on_both_sides() {
    let mut connected = 0;
    let mut glares = 0;
    for seed in 0..RUNS {
        let plan = Plan::random(seed);
        let mut world = World::new(seed, &plan);
        world.run(REST);
        check(&world, seed);
        connected += u64::from(world.sides.iter().all(|side| side.has(is_connected)));
        glares += u64::from(world.sides.iter().any(|side| side.has(is_superseded)));
    }
    // The runs are no good if they never get to where it matters.
    assert!(connected > RUNS / 5, "only {connected} runs connected");
    assert!(glares > RUNS / 50, "only {glares} runs had a glare");
}

fn check(world: &World, seed: u64) {
    let [a, b] = &world.sides;
    let (at_a, at_b) = (a.machine.current_call(), b.machine.current_call());
    assert_eq!(at_a, at_b, "seed {seed}: {:?} / {:?}", a.events, b.events);
    if at_a.is_some() {
        assert!(
            a.machine.is_connected() && b.machine.is_connected(),
            "seed {seed}: stuck"
        );
        assert!(
            a.key.is_some() && a.key == b.key,
            "seed {seed}: the keys differ"
        );
    }
    for side in &world.sides {
        check_lives(&side.events, at_a, seed);
    }
}

/// Each call begins once and ends once; none rings again after its end.
fn check_lives(events: &[Event], current: Option<CallId>, seed: u64) {
    let mut rang = HashSet::new();
    let mut over = HashSet::new();
    for event in events {
        match event {
            Event::Incoming { call_id, .. } => {
                assert!(
                    rang.insert(*call_id),
                    "seed {seed}: a call rang twice: {events:?}"
                );
                assert!(
                    !over.contains(call_id),
                    "seed {seed}: a dead call rang: {events:?}"
                );
            }
            Event::Ended { call_id, .. }
            | Event::Missed { call_id, .. }
            | Event::Superseded { call_id, .. } => {
                assert!(
                    over.insert(*call_id),
                    "seed {seed}: a call ended twice: {events:?}"
                );
            }
            Event::Connected { call_id } => {
                assert!(
                    !over.contains(call_id),
                    "seed {seed}: a dead call connected: {events:?}"
                );
            }
            _ => {}
        }
    }
    for call_id in rang {
        let live = current == Some(call_id);
        assert_ne!(live, over.contains(&call_id), "seed {seed}: {events:?}");
    }
}

fn is_connected(event: &Event) -> bool {
    matches!(event, Event::Connected { .. })
}

fn is_superseded(event: &Event) -> bool {
    matches!(event, Event::Superseded { .. })
}

fn perfect(delay_ms: u64) -> LinkConfig {
    LinkConfig::with_delay(Duration::from_millis(delay_ms))
}

#[test]
fn on_a_good_network_a_glare_always_connects_under_the_larger_id() {
    for seed in 0..200 {
        let plan = Plan {
            link: perfect(50),
            intents: [Intent::call_at(0), Intent::call_at(seed % 50)],
            ..Plan::default()
        };
        let mut world = World::new(seed, &plan);
        world.run(Duration::from_secs(60));
        check(&world, seed);
        let winner = world.sides[0].machine.current_call();
        let placed = world.sides.each_ref().map(|side| side.placed.unwrap());
        assert_eq!(winner, placed.iter().max().copied(), "seed {seed}");
    }
}

#[test]
fn a_call_over_a_good_network_connects_and_ends_for_both() {
    let plan = Plan {
        link: perfect(20),
        intents: [
            Intent::call_at(0).hang_up_at(10_000),
            Intent::accept_after(2_000),
        ],
        ..Plan::default()
    };
    let mut world = World::new(1, &plan);
    world.run(Duration::from_secs(60));
    let [caller, callee] = &world.sides;
    assert!(caller.has(|e| matches!(e, Event::Ringing { .. })));
    assert!(caller.has(is_connected) && callee.has(is_connected));
    assert_eq!(caller.end_reason(), Some(EndReason::HungUp));
    assert_eq!(callee.end_reason(), Some(EndReason::PeerHungUp));
}

#[test]
fn without_any_message_both_come_to_rest() {
    let link = LinkConfig {
        loss: Loss::Independent(Probability::percent(100.0)),
        ..perfect(20)
    };
    let plan = Plan {
        link,
        intents: [Intent::call_at(0), Intent::call_at(500)],
        ..Plan::default()
    };
    let mut world = World::new(1, &plan);
    world.run(REST);
    for side in &world.sides {
        assert_eq!(side.end_reason(), Some(EndReason::Unanswered));
    }
}

#[test]
fn the_media_of_the_answer_are_those_of_the_callee() {
    let plan = Plan {
        link: perfect(20),
        intents: [
            Intent {
                media: CallMedia::Video,
                ..Intent::call_at(0)
            },
            Intent {
                media: CallMedia::Audio,
                ..Intent::accept_after(100)
            },
        ],
        ..Plan::default()
    };
    let mut world = World::new(1, &plan);
    world.run(Duration::from_secs(30));
    assert_eq!(world.sides[1].opened, Some(CallMedia::Audio));
    assert_eq!(world.sides[0].opened, Some(CallMedia::Video));
}
