//! What holds for the jitter buffer whatever happens to it.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_media::jitter::{
    JitterBuffer, JitterConfig, JitterPacket, MAX_PACKETS, MAX_PAYLOAD_BYTES, Playout,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Insert {
        seq: u16,
        timestamp: u32,
        duration: u32,
        fec: bool,
    },
    Pull,
    Wait(u64),
    Quiet(bool),
    Reset,
}

fn packet(seq: u16, timestamp: u32, duration: u32, has_fec: bool, number: usize) -> JitterPacket {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    JitterPacket {
        seq,
        timestamp,
        duration,
        has_fec,
        payload,
    }
}

/// Numbers near each other, near the wrap, and anywhere.
fn seq() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0_u16..40, 2 => 65_500_u16.., 1 => any::<u16>()]
}

fn timestamp() -> impl Strategy<Value = u32> {
    prop_oneof![6 => (0_u32..40).prop_map(|n| n * 960), 2 => 0_u32..40_000, 1 => any::<u32>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (seq(), timestamp(), prop_oneof![4 => Just(960), 1 => any::<u32>(), 1 => 0..6_000_u32], any::<bool>())
            .prop_map(|(seq, timestamp, duration, fec)| Step::Insert { seq, timestamp, duration, fec }),
        8 => Just(Step::Pull),
        4 => prop_oneof![4 => 0_u64..40, 1 => 0_u64..10_000, 1 => any::<u64>()].prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Quiet),
        1 => Just(Step::Reset),
    ]
}

/// The packets of an output.
fn packets(playout: &Playout) -> Vec<Bytes> {
    match playout {
        Playout::Packet(one) => vec![one.clone()],
        Playout::Merge(one, other) => vec![one.clone(), other.clone()],
        _ => vec![],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_makes_it_panic_or_grow_or_repeat(steps in prop::collection::vec(step(), 0..300)) {
        let mut buffer = JitterBuffer::new(JitterConfig::default());
        let mut now = Instant::now();
        let mut heard = HashSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { seq, timestamp, duration, fec } => {
                    buffer.insert(now, packet(seq, timestamp, duration, fec, number));
                }
                Step::Pull => {
                    for packet in packets(&buffer.pull(now)) {
                        prop_assert!(heard.insert(packet), "heard twice");
                    }
                }
                Step::Wait(ms) => {
                    now = now.checked_add(Duration::from_millis(ms)).unwrap_or(now);
                }
                Step::Quiet(quiet) => buffer.set_quiet(quiet),
                Step::Reset => buffer.reset(),
            }
            let stats = buffer.stats();
            prop_assert!(stats.buffered <= MAX_PACKETS);
            prop_assert!(stats.target_delay_ms <= 500.0);
        }
    }

    #[test]
    fn a_stream_shaken_by_the_network_comes_out_in_order_and_at_most_once(
        first_seq: u16,
        first_timestamp: u32,
        // For each packet: its delay in ms, and how often it arrives.
        fates in prop::collection::vec((0_u64..200, 0_usize..3), 1..200),
    ) {
        let start = Instant::now();
        let mut arrivals: Vec<(u64, usize)> = fates
            .iter()
            .enumerate()
            .flat_map(|(n, &(delay, times))| vec![(20 * n as u64 + delay, n); times])
            .collect();
        arrivals.sort();
        let mut arrivals = arrivals.into_iter().peekable();
        let mut buffer = JitterBuffer::new(JitterConfig::default());
        let mut heard: Vec<usize> = Vec::new();
        for at in (0..20 * fates.len() as u64 + 2_000).step_by(20) {
            while let Some((time, n)) = arrivals.next_if(|&(time, _)| time <= at) {
                let (seq, timestamp) =
                    (first_seq.wrapping_add(n as u16), first_timestamp.wrapping_add(960 * n as u32));
                let now = start + Duration::from_millis(time);
                buffer.insert(now, packet(seq, timestamp, 960, n % 2 == 0, n));
            }
            let playout = buffer.pull(start + Duration::from_millis(at));
            heard.extend(packets(&playout).iter().map(|p| {
                usize::from_be_bytes(p.as_ref().try_into().unwrap())
            }));
        }
        prop_assert!(heard.is_sorted_by(|a, b| a < b), "{:?}", heard);
        let stats = buffer.stats();
        let arrived = fates.iter().filter(|(_, times)| *times > 0).count() as u64;
        prop_assert_eq!(stats.restarts, 0);
        prop_assert_eq!(heard.len() as u64 + stats.late + stats.discarded, arrived);
        prop_assert_eq!(stats.received - stats.duplicate, arrived);
    }
}

#[test]
fn a_flood_is_held_within_the_capacity_and_playing_goes_on_with_the_newest() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let now = Instant::now();
    for n in 0..2_000_u32 {
        buffer.insert(now, packet(n as u16, n * 960, 960, false, n as usize));
    }
    assert_eq!(buffer.stats().buffered, MAX_PACKETS);
    let later = now + Duration::from_millis(100);
    assert!(matches!(buffer.pull(later), Playout::Packet(_)));
    assert!(buffer.stats().buffered <= 10, "{:?}", buffer.stats());
}

#[test]
fn a_clock_that_jumps_by_ages_does_no_harm() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let now = Instant::now();
    buffer.insert(now, packet(0, 0, 960, false, 0));
    let Some(later) = now.checked_add(Duration::from_millis(9_223_372_034_177_426)) else {
        return;
    };
    buffer.insert(later, packet(1, 960, 960, false, 1));
    buffer.insert(later, packet(2, 1 << 31, 1, false, 2));
    buffer.pull(later);
    buffer.insert(now, packet(3, 2_880, 960, false, 3));
    buffer.pull(now);
}

#[test]
fn packets_that_are_too_large_or_have_no_duration_are_refused() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let large = JitterPacket {
        payload: Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]),
        ..packet(0, 0, 960, false, 0)
    };
    buffer.insert(Instant::now(), large);
    buffer.insert(Instant::now(), packet(0, 0, 0, false, 0));
    buffer.insert(Instant::now(), packet(0, 0, 5_761, false, 0));
    assert_eq!((buffer.stats().refused, buffer.stats().buffered), (3, 0));
}

/// Plays `count` packets from a number and a timestamp on, each 20 ms, and gives what was heard.
fn play(
    buffer: &mut JitterBuffer,
    now: &mut Instant,
    seq: u16,
    timestamp: u32,
    count: u32,
) -> usize {
    let mut heard = 0;
    for n in 0..count {
        let (seq, timestamp) = (seq.wrapping_add(n as u16), timestamp.wrapping_add(960 * n));
        buffer.insert(*now, packet(seq, timestamp, 960, true, 0));
        heard += packets(&buffer.pull(*now)).len();
        *now += Duration::from_millis(20);
    }
    heard
}

#[test]
fn a_sender_that_restarts_is_followed_at_its_second_packet() {
    for (seq, timestamp) in [
        (40_000, 500_000_000),
        (40_000, 96_000),
        (101, 3_000_000_000),
    ] {
        let mut buffer = JitterBuffer::new(JitterConfig::default());
        let mut now = Instant::now();
        play(&mut buffer, &mut now, 0, 0, 100);
        let heard = play(&mut buffer, &mut now, seq, timestamp, 100);
        let stats = buffer.stats();
        assert_eq!(stats.restarts, 1, "{seq} {timestamp}: {stats:?}");
        assert!(heard >= 95, "{seq} {timestamp}: {heard} {stats:?}");
    }
}

#[test]
fn old_numbers_with_old_times_are_stragglers_and_no_restart() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let mut now = Instant::now();
    play(&mut buffer, &mut now, 0, 0, 100);
    play(&mut buffer, &mut now, 50, 50 * 960, 40);
    let stats = buffer.stats();
    assert_eq!(
        (stats.restarts, stats.duplicate, stats.refused),
        (0, 40, 0),
        "{stats:?}"
    );
}

#[test]
fn a_single_packet_of_nonsense_is_set_aside() {
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let mut now = Instant::now();
    play(&mut buffer, &mut now, 0, 0, 100);
    buffer.insert(now, packet(30_000, 77, 960, true, 0));
    let heard = play(&mut buffer, &mut now, 100, 96_000, 100);
    assert_eq!(heard, 100);
    assert_eq!((buffer.stats().restarts, buffer.stats().lost), (0, 0));
}
