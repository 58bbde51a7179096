//! What holds for every link, whatever it is configured to do.

use std::time::{Duration, Instant};

use netem::{
    BitRate, GilbertElliott, Jitter, Link, LinkConfig, LinkStats, Loss, Probability, Reorder,
};
use proptest::prelude::*;

/// So far from the mean that a sound generator never gets there.
const SIGMAS: f64 = 6.0;

fn probabilities() -> impl Strategy<Value = Probability> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0].prop_map(Probability::new)
}

fn millis(most: u64) -> impl Strategy<Value = Duration> {
    (0..=most * 1_000).prop_map(Duration::from_micros)
}

fn losses() -> impl Strategy<Value = Loss> {
    let model = (
        probabilities(),
        probabilities(),
        probabilities(),
        probabilities(),
    );
    prop_oneof![
        Just(Loss::None),
        probabilities().prop_map(Loss::Independent),
        (probabilities(), 0.0..20.0).prop_map(|(mean, burst)| Loss::bursts(mean, burst)),
        model.prop_map(|(enter, leave, loss_good, loss_bad)| {
            Loss::Bursts(GilbertElliott {
                enter,
                leave,
                loss_good,
                loss_bad,
            })
        }),
    ]
}

fn jitters() -> impl Strategy<Value = Jitter> {
    prop_oneof![
        Just(Jitter::None),
        millis(100).prop_map(|max| Jitter::Uniform { max }),
        millis(50).prop_map(|deviation| Jitter::Normal { deviation }),
    ]
}

prop_compose! {
    fn configs()(
        loss in losses(),
        delay in millis(200),
        jitter in jitters(),
        reorder in (probabilities(), millis(100)),
        duplicate in probabilities(),
        rate in proptest::option::of((1_u64..10_000).prop_map(BitRate::from_kbps)),
        queue_bytes in 0_usize..20_000,
        mtu in proptest::option::of(0_usize..2_000),
    ) -> LinkConfig {
        let reorder = Reorder { probability: reorder.0, hold: reorder.1 };
        LinkConfig { loss, delay, jitter, reorder, duplicate, rate, queue_bytes, mtu }
    }
}

/// What a test does to a link: wait, then send a packet of some size, perhaps with the cut changed.
#[derive(Debug, Clone, Copy)]
struct Step {
    wait: Duration,
    bytes: usize,
    cut: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (millis(30), 0_usize..2_000, proptest::bool::weighted(0.1))
        .prop_map(|(wait, bytes, cut)| Step { wait, bytes, cut });
    proptest::collection::vec(step, 1..150)
}

/// A delivery: its time since the beginning, and the number of the packet.
type Arrival = (Duration, usize);

/// Runs the steps, polling at each event or only once at the end.
fn run(config: LinkConfig, seed: u64, steps: &[Step], eager: bool) -> (Vec<Arrival>, LinkStats) {
    let start = Instant::now();
    let (mut now, mut arrivals) = (start, Vec::new());
    let mut link = Link::new(config, seed);
    for (number, step) in steps.iter().enumerate() {
        now += step.wait;
        if eager {
            collect(&mut link, start, now, &mut arrivals);
        }
        if step.cut {
            link.cut();
        } else {
            link.restore();
        }
        link.send(now, step.bytes, number);
    }
    collect(
        &mut link,
        start,
        now + Duration::from_secs(60 * 60),
        &mut arrivals,
    );
    (arrivals, link.stats())
}

fn collect(link: &mut Link<usize>, start: Instant, until: Instant, arrivals: &mut Vec<Arrival>) {
    while let Some(due) = link.next_delivery().filter(|&due| due <= until) {
        arrivals.extend(link.poll(due).map(|number| (due - start, number)));
    }
}

/// When each packet was sent, since the beginning.
fn sent_at(steps: &[Step]) -> Vec<Duration> {
    let waits = steps.iter().map(|step| step.wait);
    waits
        .scan(Duration::ZERO, |now, wait| {
            Some({
                *now += wait;
                *now
            })
        })
        .collect()
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_is_lost_or_is_doubled(
        config in configs(), seed: u64, steps in steps(),
    ) {
        let (arrivals, stats) = run(config, seed, &steps, true);
        prop_assert_eq!(stats.sent, steps.len() as u64);
        prop_assert_eq!(stats.delivered, arrivals.len() as u64);
        prop_assert_eq!(stats.delivered, stats.sent - stats.lost() + stats.duplicated);
    }

    #[test]
    fn no_packet_is_invented_or_comes_more_than_twice(
        config in configs(), seed: u64, steps in steps(),
    ) {
        let (arrivals, stats) = run(config, seed, &steps, true);
        let mut copies = vec![0_u64; steps.len()];
        for (_, number) in arrivals {
            copies[number] += 1;
        }
        prop_assert!(copies.iter().all(|&count| count <= 2));
        prop_assert_eq!(copies.iter().filter(|&&count| count == 2).count() as u64, stats.duplicated);
        prop_assert_eq!(copies.iter().filter(|&&count| count == 0).count() as u64, stats.lost());
    }

    #[test]
    fn the_order_is_kept_unless_reordering_is_asked_for(
        config in configs(), seed: u64, steps in steps(),
    ) {
        let config = LinkConfig { reorder: Reorder::NEVER, ..config };
        let (arrivals, stats) = run(config, seed, &steps, true);
        prop_assert!(arrivals.is_sorted());
        prop_assert!(arrivals.is_sorted_by_key(|&(_, number)| number));
        prop_assert_eq!(stats.reordered, 0);
    }

    #[test]
    fn reordered_counts_the_packets_behind_a_later_one(
        config in configs(), seed: u64, steps in steps(),
    ) {
        let (arrivals, stats) = run(config, seed, &steps, true);
        let late = (0..arrivals.len())
            .filter(|&i| arrivals[..i].iter().any(|&(_, earlier)| earlier > arrivals[i].1))
            .count();
        prop_assert_eq!(stats.reordered, late as u64);
    }

    #[test]
    fn no_packet_arrives_before_its_time(config in configs(), seed: u64, steps in steps()) {
        let config = match config.jitter {
            Jitter::Normal { .. } => LinkConfig { jitter: Jitter::None, ..config },
            _ => config,
        };
        let sent = sent_at(&steps);
        for (at, number) in run(config, seed, &steps, true).0 {
            let line = config.rate.map_or(Duration::ZERO, |rate| rate.time_for(steps[number].bytes));
            prop_assert!(at >= sent[number] + line + config.delay);
        }
    }

    #[test]
    fn packets_sent_while_the_link_is_cut_never_arrive(
        config in configs(), seed: u64, steps in steps(),
    ) {
        let (arrivals, stats) = run(config, seed, &steps, true);
        prop_assert!(arrivals.iter().all(|&(_, number)| !steps[number].cut));
        let cut = steps.iter().filter(|step| step.cut).count();
        prop_assert_eq!(stats.dropped_by_cut, cut as u64);
    }

    #[test]
    fn a_line_never_carries_more_than_its_rate(seed: u64, steps in steps(), kbps in 1_u64..5_000) {
        let rate = BitRate::from_kbps(kbps);
        let config = LinkConfig { rate: Some(rate), ..LinkConfig::PERFECT };
        let (arrivals, _) = run(config, seed, &steps, true);
        for pair in arrivals.windows(2) {
            let line = rate.time_for(steps[pair[1].1].bytes);
            prop_assert!(pair[1].0 >= pair[0].0 + line);
        }
    }

    #[test]
    fn a_queue_delays_by_no_more_than_it_holds(
        seed: u64, steps in steps(), queue_bytes in 0_usize..20_000,
    ) {
        let rate = BitRate::from_kbps(500);
        let config = LinkConfig { rate: Some(rate), queue_bytes, ..LinkConfig::PERFECT };
        let largest = steps.iter().map(|step| step.bytes).max().unwrap_or(0);
        // What waits, the packet on the line, and a nanosecond a packet for rounding up.
        let rounding = Duration::from_nanos(steps.len() as u64 + 1);
        let most = rate.time_for(queue_bytes + largest) + rounding;
        let sent = sent_at(&steps);
        for (at, number) in run(config, seed, &steps, true).0 {
            prop_assert!(at <= sent[number] + most + rate.time_for(steps[number].bytes));
        }
    }

    #[test]
    fn the_same_seed_and_calls_give_the_same_deliveries(
        config in configs(), seed: u64, steps in steps(),
    ) {
        prop_assert_eq!(run(config, seed, &steps, true), run(config, seed, &steps, true));
    }

    #[test]
    fn polling_late_changes_nothing(config in configs(), seed: u64, steps in steps()) {
        prop_assert_eq!(run(config, seed, &steps, true), run(config, seed, &steps, false));
    }
}

/// The losses among `packets` packets on a link with this loss.
fn lost(loss: Loss, seed: u64, packets: u32) -> f64 {
    let mut link = Link::new(
        LinkConfig {
            loss,
            ..LinkConfig::PERFECT
        },
        seed,
    );
    let now = Instant::now();
    for _ in 0..packets {
        link.send(now, 100, ());
        while link.poll(now).is_some() {}
    }
    link.stats().lost() as f64
}

#[test]
fn independent_loss_is_binomial_for_many_seeds() {
    let packets = 2_000;
    for p in [0.001, 0.01, 0.1, 0.5, 0.9] {
        let mean = f64::from(packets) * p;
        let sigma = (mean * (1.0 - p)).sqrt();
        for seed in 0..100 {
            let lost = lost(Loss::Independent(Probability::new(p)), seed, packets);
            assert!(
                (lost - mean).abs() <= SIGMAS * sigma + 1.0,
                "{p} {seed}: {lost}"
            );
        }
    }
}

#[test]
fn losses_of_different_seeds_spread_as_binomial_ones_do() {
    let (packets, seeds, p) = (1_000, 400, 0.1);
    let loss = Loss::Independent(Probability::new(p));
    let losses: Vec<f64> = (0..seeds).map(|seed| lost(loss, seed, packets)).collect();
    let mean = losses.iter().sum::<f64>() / seeds as f64;
    let variance = losses.iter().map(|lost| (lost - mean).powi(2)).sum::<f64>() / seeds as f64;
    let expected = f64::from(packets) * p * (1.0 - p);
    assert!((mean - f64::from(packets) * p).abs() < SIGMAS * (expected / seeds as f64).sqrt());
    assert!(
        (variance / expected - 1.0).abs() < SIGMAS * (2.0 / seeds as f64).sqrt(),
        "{variance}"
    );
}

#[test]
fn burst_loss_keeps_its_mean_for_many_seeds() {
    let packets = 5_000;
    for (mean, burst) in [(0.02, 3.0), (0.1, 5.0), (0.3, 2.0)] {
        let expected = f64::from(packets) * mean;
        let leave = 1.0 / burst;
        let memory = 1.0 - leave - leave * mean / (1.0 - mean);
        let stretched = (1.0 + memory) / (1.0 - memory);
        let sigma = (expected * (1.0 - mean) * stretched).sqrt();
        for seed in 0..50 {
            let lost = lost(Loss::bursts(Probability::new(mean), burst), seed, packets);
            assert!(
                (lost - expected).abs() <= SIGMAS * sigma,
                "{mean} {burst} {seed}: {lost}"
            );
        }
    }
}

#[test]
fn different_seeds_lose_different_packets() {
    let pattern = |seed| {
        let steps = vec![
            Step {
                wait: Duration::ZERO,
                bytes: 100,
                cut: false
            };
            200
        ];
        let loss = Loss::Independent(Probability::percent(50.0));
        run(
            LinkConfig {
                loss,
                ..LinkConfig::PERFECT
            },
            seed,
            &steps,
            true,
        )
        .0
    };
    assert_ne!(pattern(1), pattern(2));
}
