//! From packets to sound, in virtual time.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

mod speech;

use std::time::{Duration, Instant};

use bytes::Bytes;
use call_media::jitter::JitterConfig;
use call_media::measure::delay;
use call_media::{AUDIO_FRAME_SAMPLES, AudioFrame, AudioReceiver, Level, OpusConfig, OpusEncoder};
use opus::{Application, Channels, Encoder};
use proptest::prelude::*;
use speech::{babble, frames};

const FRAME: Duration = Duration::from_millis(20);

/// A receiver, its clock, and what it has played.
struct Listener {
    receiver: AudioReceiver,
    now: Instant,
    heard: Vec<i16>,
}

impl Listener {
    fn new() -> Self {
        Self {
            receiver: AudioReceiver::new(JitterConfig::default()).unwrap(),
            now: Instant::now(),
            heard: Vec::new(),
        }
    }

    fn pull(&mut self) -> AudioFrame {
        let frame = self.receiver.pull_frame(self.now);
        self.heard.extend_from_slice(frame.samples());
        self.now += FRAME;
        frame
    }

    /// Inserts a packet and pulls the frame of its time.
    fn hear(&mut self, seq: u16, packet: &Bytes) -> AudioFrame {
        let timestamp = u32::from(seq) * 960;
        self.receiver
            .insert(self.now, seq, timestamp, packet.clone());
        self.pull()
    }
}

fn packets(expected_loss: u8, pcm: &[i16]) -> Vec<Bytes> {
    let config = OpusConfig {
        expected_loss,
        ..OpusConfig::default()
    };
    let mut encoder = OpusEncoder::new(config).unwrap();
    frames(pcm)
        .map(|frame| encoder.encode(&frame).unwrap())
        .collect()
}

#[test]
fn sound_comes_out_as_late_as_the_buffer_says() {
    let pcm = babble(1, 6.0);
    let mut listener = Listener::new();
    for (seq, packet) in packets(5, &pcm).iter().enumerate() {
        listener.hear(seq as u16, packet);
    }
    let stats = listener.receiver.stats();
    assert_eq!(
        (stats.jitter.concealed, stats.jitter.lost, stats.invalid),
        (0, 0, 0)
    );
    let found = delay(&pcm[96_000..], &listener.heard[96_000..]).unwrap();
    let codec_ms = 6.5;
    assert!(
        (found.ms - codec_ms - stats.jitter.delay_ms).abs() < 1.0,
        "{found:?} {stats:?}"
    );
    assert!(found.correlation > 0.9, "{found:?}");
}

#[test]
fn every_packet_duration_of_a_peer_comes_out_as_whole_frames() {
    let pcm = babble(1, 6.0);
    for (channels, step) in [120, 240, 480, 960, 1_920, 2_880]
        .map(|step| (Channels::Mono, step))
        .into_iter()
        .chain([(Channels::Stereo, 960)])
    {
        let mut peer = Encoder::new(48_000, channels, Application::Voip).unwrap();
        let mut listener = Listener::new();
        let start = listener.now;
        let (mut seq, mut sent) = (0_u16, 0);
        while listener.heard.len() < pcm.len() {
            // A packet can be sent when its last sample has been spoken.
            while sent + step <= pcm.len() && start + samples(sent + step) <= listener.now {
                let piece = &pcm[sent..sent + step];
                let input: Vec<i16> = piece
                    .iter()
                    .flat_map(|&s| vec![s; channels as usize])
                    .collect();
                let packet = peer.encode_vec(&input, 4_000).unwrap().into();
                let at = start + samples(sent + step);
                listener.receiver.insert(at, seq, sent as u32, packet);
                (seq, sent) = (seq.wrapping_add(1), sent + step);
            }
            listener.pull();
        }
        let stats = listener.receiver.stats();
        assert_eq!(
            (stats.jitter.concealed, stats.jitter.lost),
            (0, 0),
            "{step}: {stats:?}"
        );
        let found = delay(&pcm[96_000..], &listener.heard[96_000..]).unwrap();
        assert!(found.correlation > 0.85, "{step}: {found:?}");
        assert!(found.ms < 160.0, "{step}: {found:?}");
    }
}

fn samples(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 125 / 6)
}

#[test]
fn redundancy_is_used_when_it_is_there_and_only_then() {
    let pcm = babble(1, 6.0);
    let mut likeness = Vec::new();
    for (expected_loss, recovers) in [(10, true), (0, false)] {
        let mut listener = Listener::new();
        for (seq, packet) in packets(expected_loss, &pcm).iter().enumerate() {
            if seq % 7 == 3 {
                listener.pull();
            } else {
                listener.hear(seq as u16, packet);
            }
        }
        // Packets between two syllables carry none.
        let jitter = listener.receiver.stats().jitter;
        assert!(jitter.lost >= 40, "{jitter:?}");
        assert_eq!(jitter.fec_recovered > 30, recovers, "{jitter:?}");
        assert_eq!(jitter.concealed < 12, recovers, "{jitter:?}");
        likeness.push(delay(&pcm, &listener.heard).unwrap().correlation);
    }
    assert!(likeness[0] > likeness[1], "{likeness:?}");
}

#[test]
fn a_lost_stream_is_continued_and_then_silent() {
    let mut listener = Listener::new();
    for (seq, packet) in packets(5, &babble(1, 1.1)).iter().enumerate() {
        listener.hear(seq as u16, packet);
    }
    let buffered = listener.receiver.stats().jitter.buffered;
    for _ in 0..buffered {
        listener.pull();
    }
    let levels: Vec<f32> = (0..15).map(|_| listener.pull().level().rms_dbfs).collect();
    assert!(levels[0] > -50.0, "continued: {levels:?}");
    assert!(
        levels[10..].iter().all(|&level| level == Level::FLOOR),
        "silent: {levels:?}"
    );
}

#[test]
fn nothing_is_silence() {
    let mut listener = Listener::new();
    assert_eq!(listener.pull(), AudioFrame::SILENCE);
    assert_eq!(listener.receiver.stats().level, Level::SILENCE);
}

#[test]
fn a_packet_that_is_not_opus_is_replaced_from_the_next_one() {
    let mut listener = Listener::new();
    for (seq, packet) in packets(10, &babble(1, 2.0)).iter().enumerate() {
        let garbage = Bytes::from_static(&[0x03, 0xff, 0xff]);
        listener.hear(seq as u16, if seq == 56 { &garbage } else { packet });
    }
    let stats = listener.receiver.stats();
    assert_eq!(
        (stats.invalid, stats.jitter.lost, stats.jitter.fec_recovered),
        (1, 1, 1)
    );
}

#[test]
fn the_level_is_that_of_the_frame_just_played() {
    let mut listener = Listener::new();
    for (seq, packet) in packets(5, &babble(1, 1.0)).iter().enumerate() {
        let level = listener.hear(seq as u16, packet).level();
        assert_eq!(listener.receiver.stats().level, level);
    }
    assert!(listener.receiver.stats().level.peak_dbfs > -60.0);
}

#[test]
fn another_source_takes_over_after_a_reset() {
    let sound = packets(5, &babble(1, 1.0));
    let mut listener = Listener::new();
    for (seq, packet) in sound.iter().enumerate() {
        listener.hear(seq as u16, packet);
    }
    listener.receiver.reset();
    for (seq, packet) in sound.iter().enumerate() {
        listener.hear(40_000 + seq as u16, packet);
    }
    let jitter = listener.receiver.stats().jitter;
    assert_eq!(
        (jitter.restarts, jitter.lost, jitter.refused),
        (1, 0, 0),
        "{jitter:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_packets_make_it_panic(
        steps in prop::collection::vec(
            (any::<u16>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40), 0_u64..50), 1..60,
        ),
    ) {
        let mut listener = Listener::new();
        for (seq, timestamp, payload, wait) in steps {
            listener.receiver.insert(listener.now, seq, timestamp, payload.into());
            let frame = listener.pull();
            prop_assert_eq!(frame.samples().len(), AUDIO_FRAME_SAMPLES);
            listener.now += Duration::from_millis(wait);
        }
    }
}
