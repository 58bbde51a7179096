//! Frames to packets and back.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

use std::time::{Duration, Instant};

use bytes::Bytes;
use call_media::video::{Assembled, AssembledFrame, AssemblerConfig, FrameAssembler, Packetizer};
use proptest::prelude::*;

/// A packet between the two.
#[derive(Debug, Clone)]
struct Packet {
    seq: u16,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
}

/// The bytes of frame `number`, which has so many packets.
fn bytes(number: u32, packets: usize) -> Vec<u8> {
    (0..packets * 96)
        .map(|index| (index as u32 * 31 + number) as u8)
        .collect()
}

/// Frames with these numbers of packets, 30 a second, from a sequence number on.
fn stream(first_seq: u16, sizes: &[usize]) -> Vec<Vec<Packet>> {
    let mut packetizer = Packetizer::new(100, 0x7ffe);
    let mut seq = first_seq;
    sizes
        .iter()
        .enumerate()
        .map(|(number, &size)| {
            let payloads = packetizer.packetize(&bytes(number as u32, size));
            let last = payloads.len() - 1;
            payloads
                .into_iter()
                .enumerate()
                .map(|(index, payload)| {
                    seq = seq.wrapping_add(1);
                    let timestamp = (u32::MAX - 4_000).wrapping_add(3_000 * number as u32);
                    Packet {
                        seq,
                        timestamp,
                        marker: index == last,
                        payload,
                    }
                })
                .collect()
        })
        .collect()
}

/// An assembler and its time.
struct Receiver {
    assembler: FrameAssembler,
    start: Instant,
    now: Instant,
}

impl Receiver {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            assembler: FrameAssembler::new(AssemblerConfig::default()),
            start: now,
            now,
        }
    }

    fn insert(&mut self, packet: &Packet) {
        self.assembler.insert(
            self.now,
            packet.seq,
            packet.timestamp,
            packet.marker,
            &packet.payload,
        );
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// All outputs; each frame is taken for a key frame if `keys` says so.
    fn poll(&mut self, keys: impl Fn(&AssembledFrame) -> bool) -> (Vec<AssembledFrame>, usize) {
        let (mut frames, mut requests) = (Vec::new(), 0);
        loop {
            while let Some(output) = self.assembler.poll(self.now) {
                match output {
                    Assembled::Frame(frame) => frames.push(frame),
                    Assembled::KeyFrameNeeded => requests += 1,
                    other => panic!("unknown output {other:?}"),
                }
            }
            // The verdict comes when the outputs have been worked off, as in an engine.
            if frames.last().is_some_and(&keys) {
                self.assembler.key_frame_seen();
            }
            if self.assembler.poll_timeout().is_none_or(|at| at > self.now) {
                return (frames, requests);
            }
        }
    }

    /// Plays the first frame of a stream, a key frame.
    fn begin(&mut self, frame: &[Packet]) {
        frame.iter().for_each(|packet| self.insert(packet));
        let (frames, requests) = self.poll(|_| true);
        assert_eq!((frames.len(), requests), (1, 0));
    }
}

fn never(_: &AssembledFrame) -> bool {
    false
}

#[test]
fn frames_come_back_whole_with_their_time() {
    let mut receiver = Receiver::new();
    for (number, frame) in stream(65_530, &[3, 1, 5]).iter().enumerate() {
        frame.iter().for_each(|packet| receiver.insert(packet));
        let (frames, requests) = receiver.poll(|_| true);
        assert_eq!((frames.len(), requests), (1, 0));
        assert_eq!(frames[0].data, bytes(number as u32, frame.len()));
        assert_eq!(frames[0].rtp_timestamp, frame[0].timestamp);
        assert_eq!(
            frames[0].picture_id,
            Some((0x7ffe + number as u16) % 0x8000)
        );
        let expected = Duration::from_secs(number as u64) / 30;
        assert!(frames[0].timestamp.abs_diff(expected) < Duration::from_micros(1));
    }
}

#[test]
fn a_frame_comes_out_with_its_last_packet_and_not_before() {
    let frames = stream(0, &[3]);
    let mut receiver = Receiver::new();
    for packet in &frames[0][..2] {
        receiver.insert(packet);
        assert_eq!(receiver.poll(never).0, []);
        assert_eq!(receiver.assembler.poll_timeout(), None);
    }
    receiver.insert(&frames[0][2]);
    assert_eq!(receiver.poll(never).0.len(), 1);
}

#[test]
fn a_retransmission_in_time_leaves_no_trace() {
    let frames = stream(0, &[1, 3, 2]);
    let mut receiver = Receiver::new();
    receiver.begin(&frames[0]);
    for packet in [&frames[1][0], &frames[1][2], &frames[2][0], &frames[2][1]] {
        receiver.insert(packet);
        assert_eq!(receiver.poll(never), (vec![], 0), "later frames wait");
    }
    assert_eq!(
        receiver.assembler.poll_timeout(),
        Some(receiver.start + Duration::from_millis(200))
    );
    receiver.wait(199);
    receiver.insert(&frames[1][1]);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), requests), (2, 0));
    assert!(whole.iter().all(|frame| frame.continuous));
    assert_eq!(receiver.assembler.stats().lost, 0);
}

#[test]
fn a_frame_lost_for_good_asks_for_a_key_frame_until_it_comes() {
    let frames = stream(0, &[1, 3, 2, 2, 1, 1]);
    let mut receiver = Receiver::new();
    receiver.begin(&frames[0]);
    receiver.insert(&frames[1][0]);
    receiver.insert(&frames[1][2]);
    frames[2].iter().for_each(|packet| receiver.insert(packet));
    receiver.wait(200);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), requests), (1, 1));
    assert!(!whole[0].continuous, "it refers to a frame that nobody has");
    let stats = receiver.assembler.stats();
    assert_eq!((stats.lost, stats.gaps), (1, 1));

    // It is asked again after half a second, and only while the sender sends.
    receiver.wait(499);
    receiver.insert(&frames[3][0]);
    assert_eq!(receiver.poll(never), (vec![], 0));
    receiver.wait(1);
    assert_eq!(receiver.poll(never), (vec![], 1));
    receiver.wait(10_000);
    assert_eq!(receiver.poll(never), (vec![], 0));

    // It is asked once more when packets come again, and the key frame ends it.
    receiver.insert(&frames[3][1]);
    frames[4].iter().for_each(|packet| receiver.insert(packet));
    let (whole, requests) = receiver.poll(|frame| frame.data == bytes(4, 1));
    assert_eq!((whole.len(), requests), (2, 1));
    frames[5].iter().for_each(|packet| receiver.insert(packet));
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole[0].continuous, requests), (true, 0));
}

#[test]
fn a_stream_that_is_joined_in_the_middle_asks_for_a_key_frame() {
    let frames = stream(0, &[3, 2]);
    let mut receiver = Receiver::new();
    receiver.insert(&frames[0][1]);
    receiver.insert(&frames[0][2]);
    frames[1].iter().for_each(|packet| receiver.insert(packet));
    assert_eq!(
        receiver.poll(never),
        (vec![], 0),
        "its beginning may only be late"
    );
    receiver.wait(200);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), whole[0].continuous, requests), (1, false, 1));
}

#[test]
fn a_first_frame_that_is_no_key_frame_asks_for_one() {
    let mut receiver = Receiver::new();
    let frames = stream(0, &[1, 1]);
    receiver.insert(&frames[0][0]);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), requests), (1, 0), "it may be one");
    receiver.insert(&frames[1][0]);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), requests), (1, 1));
}

#[test]
fn frames_behind_a_key_frame_wait_for_the_word_that_it_is_one() {
    let frames = stream(0, &[1, 1, 1]);
    let mut receiver = Receiver::new();
    frames
        .iter()
        .flatten()
        .for_each(|packet| receiver.insert(packet));
    let (whole, requests) = receiver.poll(|frame| frame.data == bytes(0, 1));
    let continuous: Vec<bool> = whole.iter().map(|frame| frame.continuous).collect();
    assert_eq!((continuous, requests), (vec![false, true, true], 0));
}

#[test]
fn a_frame_that_does_not_decrypt_is_as_good_as_lost() {
    let frames = stream(0, &[1, 1, 1]);
    let mut receiver = Receiver::new();
    receiver.begin(&frames[0]);
    receiver.insert(&frames[1][0]);
    assert_eq!(receiver.poll(never).0.len(), 1);
    receiver.assembler.frame_lost();
    receiver.insert(&frames[2][0]);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole[0].continuous, requests), (false, 1));
}

#[test]
fn a_lost_marker_at_a_silent_end_is_noticed_with_the_next_frame() {
    let frames = stream(0, &[1, 2, 1]);
    let mut receiver = Receiver::new();
    receiver.begin(&frames[0]);
    receiver.insert(&frames[1][0]);
    receiver.wait(1_000);
    assert_eq!(
        receiver.poll(never),
        (vec![], 0),
        "perhaps it is still coming"
    );
    receiver.insert(&frames[2][0]);
    receiver.wait(200);
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), requests), (1, 1));
}

#[test]
fn padding_between_frames_is_no_gap() {
    let mut frames = stream(0, &[1, 2, 1]);
    let timestamp = frames[0][0].timestamp;
    for packet in &mut frames[1] {
        packet.payload = Bytes::new();
        packet.marker = false;
        packet.timestamp = timestamp;
    }
    let mut receiver = Receiver::new();
    receiver.begin(&frames[0]);
    frames[1]
        .iter()
        .chain(&frames[2])
        .for_each(|packet| receiver.insert(packet));
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), whole[0].continuous, requests), (1, true, 0));
}

#[test]
fn a_frame_without_marker_ends_where_the_next_begins() {
    let mut frames = stream(0, &[1, 2, 1]);
    frames[1][1].marker = false;
    let mut receiver = Receiver::new();
    receiver.begin(&frames[0]);
    frames[1]
        .iter()
        .chain(&frames[2])
        .for_each(|packet| receiver.insert(packet));
    let (whole, _) = receiver.poll(never);
    assert_eq!(
        whole
            .iter()
            .map(|frame| frame.data.len())
            .collect::<Vec<_>>(),
        [192, 96]
    );
}

#[test]
fn a_jump_of_the_numbers_goes_on_at_once_with_what_is_new() {
    for jump in [2_000_u16, 30_000, 40_000, 65_000] {
        let frames = stream(100, &[1, 1, 1, 1]);
        let mut receiver = Receiver::new();
        receiver.begin(&frames[0]);
        let mut requests = 0;
        let mut whole = 0;
        for frame in &frames[1..] {
            let packet = Packet {
                seq: frame[0].seq.wrapping_add(jump),
                ..frame[0].clone()
            };
            receiver.insert(&packet);
            let (frames, asked) = receiver.poll(never);
            whole += frames.len();
            requests += asked;
        }
        assert!(whole >= 2, "{jump}: {whole}");
        assert_eq!(requests, 1, "{jump}");
    }
}

#[test]
fn a_flood_without_an_end_is_bounded() {
    let mut receiver = Receiver::new();
    receiver.begin(&stream(0, &[1])[0]);
    let body = Bytes::from(vec![0; 60_000]);
    for seq in 3..4_000 {
        receiver
            .assembler
            .insert(receiver.now, seq, 1, false, &body);
    }
    let (whole, requests) = receiver.poll(never);
    assert_eq!((whole.len(), requests), (0, 1));
}

proptest! {
    #[test]
    fn assembling_undoes_packetising_whatever_the_order(
        first_seq: u16,
        sizes in prop::collection::vec(1_usize..6, 1..20),
        // For each packet: how much later it comes, and whether it comes twice.
        fates in prop::collection::vec((0_u64..150, any::<bool>()), 100),
    ) {
        let frames = stream(first_seq, &sizes);
        let mut receiver = Receiver::new();
        receiver.begin(&frames[0]);
        let mut arrivals: Vec<(u64, &Packet)> = frames[1..]
            .iter()
            .enumerate()
            .flat_map(|(number, frame)| frame.iter().map(move |packet| (33 * number as u64, packet)))
            .zip(&fates)
            .flat_map(|((at, packet), &(late, twice))| vec![(at + late, packet); 1 + usize::from(twice)])
            .collect();
        arrivals.sort_by_key(|&(at, _)| at);
        let mut whole = Vec::new();
        for (at, packet) in arrivals {
            receiver.now = receiver.start + Duration::from_millis(at);
            receiver.insert(packet);
            let (frames, requests) = receiver.poll(never);
            prop_assert_eq!(requests, 0);
            whole.extend(frames);
        }
        prop_assert_eq!(whole.len(), sizes.len() - 1);
        for (number, frame) in whole.iter().enumerate() {
            prop_assert_eq!(&frame.data, &bytes(number as u32 + 1, sizes[number + 1]));
            prop_assert!(frame.continuous);
        }
    }

    #[test]
    fn no_packets_make_it_panic_or_stall(
        steps in prop::collection::vec(
            (any::<u16>(), 0_u32..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..12), 0_u64..300),
            0..100,
        ),
    ) {
        let mut receiver = Receiver::new();
        for (seq, timestamp, marker, payload, wait) in steps {
            let payload = Bytes::from(payload);
            // Half of the numbers are near each other.
            let seq = if seq % 2 == 0 { seq % 64 } else { seq };
            receiver.insert(&Packet { seq, timestamp, marker, payload });
            let mut outputs = 0;
            while receiver.assembler.poll(receiver.now).is_some()
                || receiver.assembler.poll_timeout().is_some_and(|at| at <= receiver.now)
            {
                outputs += 1;
                prop_assert!(outputs < 2_000, "it comes to an end");
            }
            receiver.wait(wait);
        }
    }

    #[test]
    fn frames_come_out_in_order_and_at_most_once_under_loss(
        sizes in prop::collection::vec(1_usize..6, 2..30),
        fates in prop::collection::vec((0_u64..400, 0_usize..3), 150),
    ) {
        let frames = stream(65_500, &sizes);
        let mut receiver = Receiver::new();
        receiver.begin(&frames[0]);
        let mut arrivals: Vec<(u64, &Packet)> = frames[1..]
            .iter()
            .enumerate()
            .flat_map(|(number, frame)| frame.iter().map(move |packet| (33 * number as u64, packet)))
            .zip(&fates)
            .flat_map(|((at, packet), &(late, times))| vec![(at + late, packet); times])
            .collect();
        arrivals.sort_by_key(|&(at, _)| at);
        let mut times = Vec::new();
        for (at, packet) in arrivals {
            receiver.now = receiver.start + Duration::from_millis(at);
            receiver.insert(packet);
            times.extend(receiver.poll(never).0.iter().map(|frame| frame.timestamp));
        }
        prop_assert!(times.is_sorted_by(|a, b| a < b), "{:?}", times);
    }
}
