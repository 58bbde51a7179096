//! The jitter buffer on emulated networks, in virtual time.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

mod common;

use std::time::Duration;

use common::{Heard, Scenario, Trace, play};
use netem::{Jitter, LinkConfig, Loss, Probability, Reorder};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn percent(percent: f64) -> Probability {
    Probability::percent(percent)
}

/// A path of 50 ms with a flaw.
fn path(flaw: LinkConfig) -> LinkConfig {
    LinkConfig {
        delay: ms(50),
        ..flaw
    }
}

fn assert_in_order_and_once(trace: &Trace) {
    let packets = trace.packets();
    assert!(packets.is_sorted_by(|a, b| a < b), "out of order or twice");
}

#[test]
fn a_clean_network_conceals_nothing_and_keeps_the_delay_low() {
    let trace = play(&Scenario::default());
    let stats = trace.stats();
    assert_eq!((stats.concealed, stats.lost, stats.late), (0, 0, 0));
    assert_eq!((stats.fec_recovered, stats.lengthened), (0, 0));
    assert_in_order_and_once(&trace);
    let heard = trace.packets();
    assert_eq!(heard, (0..heard.len() as u32).collect::<Vec<_>>());
    let (least, _, most) = trace.delays(secs(5));
    assert!(least >= 20.0 && most <= 45.0, "{least} to {most} ms");
    assert_eq!(stats.jitter_ms, 0.0);
}

#[test]
fn sequence_numbers_and_timestamps_wrap_unnoticed() {
    // The default scenario wraps both within the first twelve seconds.
    let trace = play(&Scenario::default());
    assert_eq!(trace.stats().restarts, 0);
    assert!(trace.packets().len() > 2_900);
}

#[test]
fn random_loss_is_recovered_from_the_following_packet() {
    let loss = Loss::Independent(percent(10.0));
    let trace = play(&Scenario {
        link: path(LinkConfig {
            loss,
            ..LinkConfig::PERFECT
        }),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert!(stats.lost.abs_diff(300) < 60, "{stats:?}");
    // Nine in ten lost packets have a successor; what else is lost is concealed.
    assert!(stats.fec_recovered * 100 >= stats.lost * 85, "{stats:?}");
    assert!(
        stats.concealed <= stats.lost - stats.fec_recovered + 2,
        "{stats:?}"
    );
    assert_eq!((stats.late, stats.lengthened), (0, 0));
    assert!(trace.delays(secs(5)).2 <= 45.0);
    assert_in_order_and_once(&trace);
}

#[test]
fn without_redundancy_each_lost_packet_is_concealed_once() {
    let loss = Loss::Independent(percent(10.0));
    let trace = play(&Scenario {
        link: path(LinkConfig {
            loss,
            ..LinkConfig::PERFECT
        }),
        fec: false,
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert_eq!(stats.fec_recovered, 0);
    assert!(stats.concealed.abs_diff(stats.lost) <= 2, "{stats:?}");
}

#[test]
fn bursts_of_loss_do_not_move_the_delay() {
    let loss = Loss::bursts(percent(10.0), 5.0);
    let trace = play(&Scenario {
        link: path(LinkConfig {
            loss,
            ..LinkConfig::PERFECT
        }),
        ..Scenario::default()
    });
    let stats = trace.stats();
    let heard = trace.packets().len() as u64;
    assert!(stats.lost > 150, "{stats:?}");
    assert!(
        stats.fec_recovered + stats.concealed >= stats.lost - 5,
        "{stats:?}"
    );
    assert!(heard + stats.lost + 5 > u64::from(trace.sent), "{stats:?}");
    assert!(
        trace.delays(secs(5)).2 <= 65.0,
        "{:?}",
        trace.delays(secs(5))
    );
    assert_in_order_and_once(&trace);
}

#[test]
fn reordered_packets_are_played_in_their_order_once_the_delay_has_adapted() {
    let reorder = Reorder {
        probability: percent(5.0),
        hold: ms(45),
    };
    let trace = play(&Scenario {
        link: path(LinkConfig {
            reorder,
            ..LinkConfig::PERFECT
        }),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert!(stats.reordered > 100, "{stats:?}");
    assert!(stats.late <= 10, "{stats:?}");
    assert!((55.0..=95.0).contains(&stats.delay_ms), "{stats:?}");
    assert_in_order_and_once(&trace);
}

#[test]
fn jitter_raises_the_delay_until_nearly_nothing_is_late() {
    let jitter = Jitter::Normal { deviation: ms(20) };
    let trace = play(&Scenario {
        link: LinkConfig {
            delay: ms(100),
            jitter,
            ..LinkConfig::PERFECT
        },
        ..Scenario::default()
    });
    let stats = trace.stats();
    let settled = trace.since(secs(5));
    let concealed = stats.concealed - settled[0].stats.concealed;
    assert!(
        concealed * 100 <= settled.len() as u64,
        "{concealed} of {}",
        settled.len()
    );
    assert!(
        trace.delays(secs(10)).1 <= 130.0,
        "{:?}",
        trace.delays(secs(10))
    );
    assert!(stats.jitter_ms > 5.0);
    assert_in_order_and_once(&trace);
}

#[test]
fn duplicates_are_heard_once() {
    let trace = play(&Scenario {
        link: path(LinkConfig {
            duplicate: percent(20.0),
            ..LinkConfig::PERFECT
        }),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert!(stats.duplicate.abs_diff(600) < 100, "{stats:?}");
    assert_eq!((stats.concealed, stats.late, stats.lost), (0, 0, 0));
    assert_in_order_and_once(&trace);
}

/// The hour's drift, heard with and without pauses in the speech.
fn an_hour_of_drift(sender_ppm: f64, quiet: fn(usize) -> bool) -> Trace {
    play(&Scenario {
        length: secs(3600),
        sender_ppm,
        quiet,
        ..Scenario::default()
    })
}

fn assert_drift_is_followed(trace: &Trace, sender_ppm: f64) {
    let stats = trace.stats();
    let (least, _, most) = trace.delays(secs(10));
    assert!(most <= 90.0, "{most} ms, {stats:?}");
    assert!(least >= -5.0, "{least} ms, {stats:?}");
    let frames = (sender_ppm.abs() / 1e6 * 180_000.0) as u64;
    let corrected = if sender_ppm > 0.0 {
        stats.shortened
    } else {
        stats.lengthened + stats.concealed
    };
    assert!(
        corrected.abs_diff(frames) <= 3 + frames / 50,
        "{frames} frames, {stats:?}"
    );
    assert_eq!((stats.lost, stats.late, stats.discarded), (0, 0, 0));
    assert_in_order_and_once(trace);
}

#[test]
fn an_hour_with_a_sender_200_ppm_fast_does_not_grow_the_delay() {
    assert_drift_is_followed(&an_hour_of_drift(200.0, |pull| pull % 100 >= 80), 200.0);
}

#[test]
fn an_hour_with_a_sender_200_ppm_slow_does_not_starve_the_buffer() {
    let trace = an_hour_of_drift(-200.0, |pull| pull % 100 >= 80);
    assert_drift_is_followed(&trace, -200.0);
    assert_eq!(trace.stats().concealed, 0);
}

#[test]
fn an_hour_with_a_sender_one_percent_fast_and_never_a_pause_is_followed() {
    assert_drift_is_followed(&an_hour_of_drift(10_000.0, |_| false), 10_000.0);
}

#[test]
fn an_hour_with_a_sender_one_percent_slow_and_never_a_pause_is_followed() {
    assert_drift_is_followed(&an_hour_of_drift(-10_000.0, |_| false), -10_000.0);
}

#[test]
fn after_a_stall_of_half_a_second_nothing_is_missing_and_the_delay_returns() {
    for quiet in [(|pull| pull % 100 >= 80) as fn(usize) -> bool, |_| false] {
        let trace = play(&Scenario {
            stalls: vec![secs(20)..ms(20_500)],
            quiet,
            ..Scenario::default()
        });
        let stats = trace.stats();
        assert_eq!(
            (stats.lost, stats.late, stats.discarded),
            (0, 0, 0),
            "{stats:?}"
        );
        assert!(stats.concealed.abs_diff(24) <= 2, "{stats:?}");
        let heard = trace.packets();
        assert_eq!(heard, (0..heard.len() as u32).collect::<Vec<_>>());
        assert!(trace.delays(secs(20)).2 > 400.0);
        let after = trace.delays(secs(26)).2;
        assert!(after <= 120.0, "{after} ms after 5.5 s");
        let later = trace.delays(secs(32)).2;
        assert!(later <= 70.0, "{later} ms after 11.5 s");
    }
}

#[test]
fn after_a_stall_of_two_seconds_playing_goes_on_near_the_present() {
    let trace = play(&Scenario {
        stalls: vec![secs(20)..secs(22)],
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert!(stats.discarded > 50, "{stats:?}");
    assert!(trace.delays(ms(22_100)).2 <= 650.0);
    assert!(
        trace.delays(secs(32)).2 <= 100.0,
        "{:?}",
        trace.delays(secs(32))
    );
    assert_in_order_and_once(&trace);
}

#[test]
fn a_route_that_becomes_longer_costs_one_gap_and_no_lasting_delay() {
    let trace = play(&Scenario {
        handover: Some((secs(20), LinkConfig::with_delay(ms(250)))),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert_eq!(stats.lost, 0);
    assert!(stats.concealed <= 11, "{stats:?}");
    assert!(
        trace.delays(secs(26)).2 <= 50.0,
        "{:?}",
        trace.delays(secs(26))
    );
}

#[test]
fn a_route_that_becomes_shorter_is_used() {
    let trace = play(&Scenario {
        link: LinkConfig::with_delay(ms(250)),
        handover: Some((secs(20), LinkConfig::with_delay(ms(50)))),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert!(
        trace.delays(secs(26)).2 <= 60.0,
        "{:?} {stats:?}",
        trace.delays(secs(26))
    );
    assert_in_order_and_once(&trace);
}

#[test]
fn pauses_of_the_sender_are_no_loss() {
    // Discontinuous transmission: one packet each 400 ms in four seconds of ten.
    let trace = play(&Scenario {
        silent: |frame| frame % 500 >= 300 && frame % 20 != 0,
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert_eq!(
        (stats.lost, stats.late, stats.concealed),
        (0, 0, 0),
        "{stats:?}"
    );
    assert!(stats.paused > 1000, "{stats:?}");
    // All that was sent has been heard: the scenario ends in a pause.
    assert_eq!(trace.packets().len() as u32, trace.sent);
    assert_in_order_and_once(&trace);
}

#[test]
fn a_muted_minute_is_a_pause_and_the_first_word_after_it_is_whole() {
    let trace = play(&Scenario {
        silent: |frame| (500..3500).contains(&frame),
        length: secs(90),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert_eq!((stats.lost, stats.concealed), (0, 0), "{stats:?}");
    let heard = trace.packets();
    assert!(heard.windows(2).any(|pair| pair == [499, 3500]));
    assert!(
        trace.delays(secs(75)).2 <= 45.0,
        "{:?}",
        trace.delays(secs(75))
    );
    let waiting = trace.since(secs(60))[0].stats.waiting_ms;
    assert!(waiting > 45_000.0, "{waiting} ms");
}

#[test]
fn everything_at_once_stays_in_order_and_audible() {
    let trace = play(&Scenario {
        link: LinkConfig {
            delay: ms(80),
            loss: Loss::bursts(percent(5.0), 3.0),
            jitter: Jitter::Uniform { max: ms(40) },
            reorder: Reorder {
                probability: percent(2.0),
                hold: ms(30),
            },
            duplicate: percent(1.0),
            ..LinkConfig::PERFECT
        },
        sender_ppm: 150.0,
        stalls: vec![secs(30)..ms(30_300)],
        silent: |frame| (2000..2100).contains(&frame),
        length: secs(120),
        ..Scenario::default()
    });
    let stats = trace.stats();
    assert_in_order_and_once(&trace);
    let audible =
        trace.count(|heard| matches!(heard, Heard::Packet(_) | Heard::Merge(..) | Heard::Fec(_)));
    assert!(
        audible * 100 >= 92 * trace.moments.len(),
        "{audible} {stats:?}"
    );
}
