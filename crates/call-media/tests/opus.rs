//! The Opus encoder and decoder, among themselves and with other peers.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

mod speech;

use call_media::measure::delay;
use call_media::{AudioFrame, CodecError, OpusConfig, OpusDecoder, OpusEncoder};
use opus::{Application, Bitrate, Channels, Encoder};
use proptest::prelude::*;
use speech::{babble, frames};

fn encode(config: OpusConfig, pcm: &[i16]) -> Vec<bytes::Bytes> {
    let mut encoder = OpusEncoder::new(config).unwrap();
    frames(pcm)
        .map(|frame| encoder.encode(&frame).unwrap())
        .collect()
}

#[test]
fn all_packets_of_a_bitrate_have_one_size() {
    let mut pcm = babble(1, 2.0);
    pcm.extend([0; 48_000]);
    pcm.extend((0..48_000_i32).map(|i| (i * 7_919 % 65_536 - 32_768) as i16));
    for (bitrate, size) in [(16_000, 40), (24_000, 60), (32_000, 80), (64_000, 160)] {
        for expected_loss in [0, 5, 20, 100] {
            let config = OpusConfig {
                bitrate,
                expected_loss,
                ..OpusConfig::default()
            };
            let packets = encode(config, &pcm);
            assert!(
                packets.iter().all(|packet| packet.len() == size),
                "{config:?}"
            );
        }
    }
}

#[test]
fn changing_the_loss_hint_does_not_change_the_size() {
    let mut encoder = OpusEncoder::new(OpusConfig::default()).unwrap();
    for (index, frame) in frames(&babble(1, 4.0)).enumerate() {
        encoder.set_expected_loss((index / 7 % 30) as u8).unwrap();
        assert_eq!(encoder.encode(&frame).unwrap().len(), 80);
    }
}

#[test]
fn speech_comes_through() {
    let pcm = babble(1, 4.0);
    for expected_loss in [0, 10] {
        let config = OpusConfig {
            expected_loss,
            ..OpusConfig::default()
        };
        let mut decoder = OpusDecoder::new().unwrap();
        let decoded: Vec<i16> = encode(config, &pcm)
            .iter()
            .flat_map(|packet| decoder.decode(packet).unwrap().to_vec())
            .collect();
        let found = delay(&pcm, &decoded).unwrap();
        assert!(found.correlation > 0.9, "{found:?}");
        assert!(
            (5.0..9.0).contains(&found.ms),
            "the codec's own delay: {found:?}"
        );
    }
}

/// Decodes with each fifth packet lost, and gives the mean square error in the lost frames, with
/// and without redundancy.
fn errors_in_lost_frames(packets: &[bytes::Bytes]) -> (f64, f64) {
    let mut reference = OpusDecoder::new().unwrap();
    let mut with = OpusDecoder::new().unwrap();
    let mut without = OpusDecoder::new().unwrap();
    let (mut error_with, mut error_without) = (0.0, 0.0);
    for (index, pair) in packets.windows(2).enumerate() {
        let clean = reference.decode(&pair[0]).unwrap();
        if index % 5 == 4 {
            let error = |pcm: &[i16]| -> f64 {
                pcm.iter()
                    .zip(clean)
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                    .sum()
            };
            error_with += error(with.decode_fec(&pair[1], 960).unwrap());
            error_without += error(without.conceal(960).unwrap());
        } else {
            with.decode(&pair[0]).unwrap();
            without.decode(&pair[0]).unwrap();
        }
    }
    (error_with, error_without)
}

#[test]
fn redundancy_recovers_what_concealment_cannot() {
    let packets = encode(
        OpusConfig {
            expected_loss: 10,
            ..OpusConfig::default()
        },
        &babble(1, 6.0),
    );
    let (with, without) = errors_in_lost_frames(&packets);
    assert!(
        with * 2.0 < without,
        "{with:e} with redundancy, {without:e} without"
    );
}

#[test]
fn without_a_loss_hint_there_is_no_redundancy() {
    let packets = encode(
        OpusConfig {
            expected_loss: 0,
            ..OpusConfig::default()
        },
        &babble(1, 6.0),
    );
    let (with, without) = errors_in_lost_frames(&packets);
    assert_eq!(with, without);
}

#[test]
fn packets_of_any_peer_are_decoded_to_mono() {
    for channels in [Channels::Mono, Channels::Stereo] {
        for step in [120, 240, 480, 960, 1_920, 2_880] {
            let mut peer = Encoder::new(48_000, channels, Application::Audio).unwrap();
            peer.set_bitrate(Bitrate::Bits(64_000)).unwrap();
            let mut decoder = OpusDecoder::new().unwrap();
            let pcm = babble(1, 2.0);
            let mut decoded = Vec::new();
            for piece in pcm.chunks_exact(step) {
                let input: Vec<i16> = piece
                    .iter()
                    .flat_map(|&s| vec![s; channels as usize])
                    .collect();
                let packet = peer.encode_vec(&input, 4_000).unwrap();
                let out = decoder.decode(&packet).unwrap();
                assert_eq!(out.len(), step);
                decoded.extend_from_slice(out);
            }
            let found = delay(&pcm, &decoded).unwrap();
            assert!(found.correlation > 0.9, "{channels:?} {step}: {found:?}");
        }
    }
}

#[test]
fn packets_of_discontinuous_transmission_are_decoded() {
    let mut peer = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
    peer.set_dtx(true).unwrap();
    let mut decoder = OpusDecoder::new().unwrap();
    let mut tiny = 0;
    for frame in frames(&babble(1, 1.0)).chain((0..100).map(|_| AudioFrame::SILENCE)) {
        let packet = peer.encode_vec(frame.samples(), 1_000).unwrap();
        tiny += usize::from(packet.len() <= 2);
        assert_eq!(decoder.decode(&packet).unwrap().len(), 960);
    }
    assert!(tiny > 50, "the peer did stop: {tiny}");
}

#[test]
fn garbage_is_an_error_and_the_decoder_goes_on() {
    let packets = encode(OpusConfig::default(), &babble(1, 0.2));
    let mut decoder = OpusDecoder::new().unwrap();
    // Frame counts and lengths that the packet does not hold.
    for garbage in [&b""[..], &[0xff], &[0x03, 0xff, 0xff], &[0x0b, 0x3f, 1, 2]] {
        assert!(
            matches!(decoder.decode(garbage), Err(CodecError::BadPacket(_))),
            "{garbage:?}"
        );
        assert_eq!(decoder.conceal(960).unwrap().len(), 960);
        assert_eq!(decoder.decode(&packets[1]).unwrap().len(), 960);
    }
}

#[test]
fn concealment_takes_any_number_of_samples() {
    let mut decoder = OpusDecoder::new().unwrap();
    for (asked, given) in [
        (0, 120),
        (1, 120),
        (120, 120),
        (500, 480),
        (960, 960),
        (2_880, 2_880),
        (usize::MAX, 5_760),
    ] {
        assert_eq!(decoder.conceal(asked).unwrap().len(), given);
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |config| matches!(OpusEncoder::new(config), Err(CodecError::BadSetting(_)));
    let good = OpusConfig::default();
    assert!(refused(OpusConfig {
        bitrate: 5_999,
        ..good
    }));
    assert!(refused(OpusConfig {
        bitrate: 510_001,
        ..good
    }));
    assert!(refused(OpusConfig {
        complexity: 11,
        ..good
    }));
    assert!(refused(OpusConfig {
        expected_loss: 101,
        ..good
    }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10),
        samples in 0_usize..10_000,
    ) {
        let mut decoder = OpusDecoder::new().unwrap();
        for packet in &packets {
            if let Ok(pcm) = decoder.decode(packet) {
                prop_assert!((120..=5_760).contains(&pcm.len()) && pcm.len() % 120 == 0);
            }
            let _ = decoder.decode_fec(packet, samples);
            prop_assert!(decoder.conceal(samples).is_ok());
        }
    }
}
