//! One rule of the link a test.

use std::time::Duration;

use super::*;
use crate::units::{BitRate, Probability};

const SEED: u64 = 42;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn link(config: LinkConfig) -> (Link<u32>, Instant) {
    (Link::new(config, SEED), Instant::now())
}

/// Everything still under way, with the time of each delivery since `start`.
fn drain(link: &mut Link<u32>, start: Instant) -> Vec<(Duration, u32)> {
    let mut delivered = Vec::new();
    while let Some(due) = link.next_delivery() {
        while let Some(item) = link.poll(due) {
            delivered.push((due - start, item));
        }
    }
    delivered
}

#[test]
fn a_perfect_link_delivers_at_once_and_in_order() {
    let (mut link, now) = link(LinkConfig::PERFECT);
    (0..3).for_each(|item| link.send(now, 100, item));
    assert_eq!(
        (0..4).map(|_| link.poll(now)).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2), None]
    );
}

#[test]
fn nothing_arrives_before_the_delay_is_over() {
    let (mut link, now) = link(LinkConfig::with_delay(ms(40)));
    link.send(now, 100, 1);
    assert_eq!(link.poll(now + ms(39)), None);
    assert_eq!(link.poll(now + ms(40)), Some(1));
    assert_eq!(link.next_delivery(), None);
}

#[test]
fn serialisation_comes_before_the_delay() {
    let (mut link, now) = link(LinkConfig {
        rate: Some(BitRate::from_mbps(1)),
        delay: ms(5),
        ..LinkConfig::PERFECT
    });
    link.send(now, 1_250, 1);
    link.send(now, 1_250, 2);
    assert_eq!(drain(&mut link, now), [(ms(15), 1), (ms(25), 2)]);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (mut link, now) = link(LinkConfig {
        rate: Some(BitRate::from_mbps(1)),
        queue_bytes: 2_500,
        ..LinkConfig::PERFECT
    });
    (0..5).for_each(|item| link.send(now, 1_250, item));
    assert_eq!(drain(&mut link, now).len(), 3);
    assert_eq!(link.stats().dropped_by_queue, 2);
}

#[test]
fn a_lost_packet_has_still_used_the_line() {
    let lossy = LinkConfig {
        rate: Some(BitRate::from_mbps(1)),
        loss: Loss::Independent(Probability::ONE),
        ..LinkConfig::PERFECT
    };
    let (mut link, now) = link(lossy);
    link.send(now, 1_250, 1);
    link.reconfigure(LinkConfig {
        loss: Loss::None,
        ..lossy
    });
    link.send(now, 1_250, 2);
    assert_eq!(drain(&mut link, now), [(ms(20), 2)]);
}

#[test]
fn packets_larger_than_the_mtu_are_dropped() {
    let (mut link, now) = link(LinkConfig {
        mtu: Some(1_200),
        ..LinkConfig::PERFECT
    });
    link.send(now, 1_201, 1);
    link.send(now, 1_200, 2);
    assert_eq!(drain(&mut link, now), [(ms(0), 2)]);
    assert_eq!(link.stats().dropped_by_mtu, 1);
}

#[test]
fn a_held_packet_is_overtaken_and_counted() {
    let config = LinkConfig {
        delay: ms(10),
        reorder: Reorder {
            probability: Probability::ONE,
            hold: ms(7),
        },
        ..LinkConfig::PERFECT
    };
    let (mut link, now) = link(config);
    link.send(now, 100, 1);
    link.reconfigure(LinkConfig {
        reorder: Reorder::NEVER,
        ..config
    });
    link.send(now + ms(1), 100, 2);
    assert_eq!(drain(&mut link, now), [(ms(11), 2), (ms(17), 1)]);
    assert_eq!(link.stats().reordered, 1);
}

#[test]
fn a_packet_held_for_no_longer_than_the_gap_keeps_its_place() {
    let (mut link, now) = link(LinkConfig {
        reorder: Reorder {
            probability: Probability::ONE,
            hold: ms(5),
        },
        ..LinkConfig::PERFECT
    });
    link.send(now, 100, 1);
    link.send(now + ms(20), 100, 2);
    assert_eq!(drain(&mut link, now), [(ms(5), 1), (ms(25), 2)]);
    assert_eq!(link.stats().reordered, 0);
}

#[test]
fn a_copy_follows_its_original() {
    let (mut link, now) = link(LinkConfig {
        duplicate: Probability::ONE,
        delay: ms(3),
        ..LinkConfig::PERFECT
    });
    link.send(now, 100, 1);
    link.send(now, 100, 2);
    let items: Vec<u32> = drain(&mut link, now)
        .into_iter()
        .map(|(_, item)| item)
        .collect();
    assert_eq!(items, [1, 1, 2, 2]);
    assert_eq!((link.stats().duplicated, link.stats().reordered), (2, 0));
}

#[test]
fn packets_sent_while_the_link_is_cut_are_lost_and_those_under_way_arrive() {
    let (mut link, now) = link(LinkConfig::with_delay(ms(10)));
    link.send(now, 100, 1);
    link.cut();
    link.send(now + ms(1), 100, 2);
    link.restore();
    link.send(now + ms(2), 100, 3);
    assert_eq!(drain(&mut link, now), [(ms(10), 1), (ms(12), 3)]);
    assert_eq!(link.stats().dropped_by_cut, 1);
}

#[test]
fn a_scheduled_cut_begins_and_ends_by_itself() {
    let (mut link, now) = link(LinkConfig::PERFECT);
    link.schedule_cut(now + ms(10), now + ms(20));
    link.schedule_cut(now + ms(15), now + ms(30));
    link.schedule_cut(now + ms(50), now + ms(40));
    for (item, at) in [0, 9, 10, 19, 20, 29, 30, 45].into_iter().enumerate() {
        link.send(now + ms(at), 100, item as u32);
    }
    let items: Vec<u32> = drain(&mut link, now)
        .into_iter()
        .map(|(_, item)| item)
        .collect();
    assert_eq!(items, [0, 1, 6, 7]);
}

#[test]
fn restoring_leaves_a_scheduled_cut_alone() {
    let (mut link, now) = link(LinkConfig::PERFECT);
    link.schedule_cut(now, now + ms(10));
    link.restore();
    assert!(link.is_cut(now));
    assert!(!link.is_cut(now + ms(10)));
}

#[test]
fn a_shorter_delay_does_not_let_later_packets_overtake() {
    let (mut link, now) = link(LinkConfig::with_delay(ms(100)));
    link.send(now, 100, 1);
    link.reconfigure(LinkConfig::with_delay(ms(1)));
    link.send(now, 100, 2);
    assert_eq!(drain(&mut link, now), [(ms(100), 1), (ms(100), 2)]);
}

#[test]
fn time_does_not_go_back() {
    let (mut link, now) = link(LinkConfig::with_delay(ms(10)));
    assert_eq!(link.poll(now + ms(50)), None);
    link.send(now, 100, 1);
    assert_eq!(link.next_delivery(), Some(now + ms(60)));
}

#[test]
fn bytes_under_way_are_counted_until_they_arrive() {
    let (mut link, now) = link(LinkConfig {
        duplicate: Probability::ONE,
        ..LinkConfig::with_delay(ms(10))
    });
    link.send(now, 300, 1);
    assert_eq!((link.in_flight(), link.in_flight_bytes()), (2, 600));
    drain(&mut link, now);
    assert_eq!((link.in_flight(), link.in_flight_bytes()), (0, 0));
}

#[test]
fn turning_one_knob_leaves_the_loss_pattern_alone() {
    let survivors = |config: LinkConfig| {
        let (mut link, now) = link(config);
        (0..500).for_each(|item| link.send(now + ms(u64::from(item)), 100, item));
        let mut items: Vec<u32> = drain(&mut link, now)
            .into_iter()
            .map(|(_, item)| item)
            .collect();
        items.sort_unstable();
        items.dedup();
        items
    };
    let lossy = LinkConfig {
        loss: Loss::bursts(Probability::percent(20.0), 2.0),
        ..LinkConfig::PERFECT
    };
    let also_unsteady = LinkConfig {
        jitter: Jitter::Uniform { max: ms(30) },
        reorder: Reorder {
            probability: Probability::percent(10.0),
            hold: ms(5),
        },
        duplicate: Probability::percent(10.0),
        ..lossy
    };
    assert_eq!(survivors(lossy), survivors(also_unsteady));
}

#[test]
fn extreme_settings_and_sizes_do_not_panic() {
    let (mut link, now) = link(LinkConfig {
        delay: Duration::MAX,
        jitter: Jitter::Normal {
            deviation: Duration::MAX,
        },
        reorder: Reorder {
            probability: Probability::percent(50.0),
            hold: Duration::MAX,
        },
        duplicate: Probability::percent(50.0),
        rate: Some(BitRate::from_bps(1)),
        queue_bytes: usize::MAX,
        ..LinkConfig::PERFECT
    });
    for (item, bytes) in [0, 1, usize::MAX, usize::MAX, 7].into_iter().enumerate() {
        link.send(now, bytes, item as u32);
    }
    drain(&mut link, now);
    assert_eq!(
        link.stats().delivered,
        link.stats().sent + link.stats().duplicated
    );
}
