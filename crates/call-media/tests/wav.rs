//! WAV files in and out.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

use std::f64::consts::TAU;
use std::fs;
use std::path::PathBuf;

use call_media::{
    AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink, AudioSource, FileFault, SourceState, WavSink,
    WavSource,
};
use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;
use tempfile::TempDir;

/// A directory for one test, and a file in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("sound.wav")
    }

    fn holding(bytes: &[u8]) -> Self {
        let place = Self::new();
        fs::write(place.file(), bytes).unwrap();
        place
    }

    /// What is wrong with the file.
    fn fault(&self) -> FileFault {
        WavSource::open(self.file()).unwrap_err().fault
    }
}

fn spec(sample_rate: u32, channels: u16, bits: u16, sample_format: SampleFormat) -> WavSpec {
    WavSpec {
        channels,
        sample_rate,
        bits_per_sample: bits,
        sample_format,
    }
}

/// Half of full scale at 400 Hz.
fn sine(index: usize, rate: u32) -> f64 {
    0.5 * (TAU * 400.0 * index as f64 / f64::from(rate)).sin()
}

/// A second of the sine, the same in each channel.
fn sine_file(spec: WavSpec) -> Place {
    let place = Place::new();
    let mut writer = WavWriter::create(place.file(), spec).unwrap();
    for index in 0..spec.sample_rate as usize {
        let sample = sine(index, spec.sample_rate);
        for _ in 0..spec.channels {
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(sample as f32).unwrap(),
                SampleFormat::Int => {
                    let scale = (1_i64 << (spec.bits_per_sample - 1)) as f64;
                    writer
                        .write_sample((sample * scale).round() as i32)
                        .unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    place
}

/// All samples up to the end; the last frame is filled up with silence.
fn read_all(source: &mut WavSource) -> Vec<i16> {
    let mut samples = Vec::new();
    let mut frame = AudioFrame::SILENCE;
    while source.next_frame(&mut frame).unwrap() == SourceState::Frame {
        samples.extend_from_slice(frame.samples());
    }
    samples
}

/// How well samples at 48 kHz fit the sine, away from the ends: how many samples late it is, and the
/// signal to noise in dB.
fn sine_fit(samples: &[i16]) -> (f64, f64) {
    let omega = TAU * 400.0 / 48_000.0;
    let middle: Vec<(f64, f64)> = (4_800..43_200)
        .map(|index| (omega * index as f64, f64::from(samples[index]) / 32_768.0))
        .collect();
    let count = middle.len() as f64;
    let along = |wave: fn(f64) -> f64| {
        middle
            .iter()
            .map(|(phase, sample)| wave(*phase) * sample)
            .sum::<f64>()
            * 2.0
            / count
    };
    let (in_phase, off_phase) = (along(f64::sin), along(f64::cos));
    let noise: f64 = middle
        .iter()
        .map(|(phase, sample)| (sample - in_phase * phase.sin() - off_phase * phase.cos()).powi(2))
        .sum();
    assert!(
        (in_phase.hypot(off_phase) - 0.5).abs() < 0.005,
        "the level is kept"
    );
    (
        -off_phase.atan2(in_phase) / omega,
        10.0 * (0.125 * count / noise).log10(),
    )
}

#[track_caller]
fn assert_is_sine(samples: &[i16], least_quality: f64, what: &str) {
    let (late, quality) = sine_fit(samples);
    assert!(late.abs() < 0.6, "{what}: {late} samples late");
    assert!(quality > least_quality, "{what}: {quality} dB");
}

#[test]
fn what_a_sink_writes_a_source_reads_bit_by_bit() {
    let place = Place::new();
    let mut sink = WavSink::create(place.file()).unwrap();
    let frames: Vec<AudioFrame> = (0..7_i16)
        .map(|n| AudioFrame::from(std::array::from_fn(|i| n * 4_000 - i as i16 * 7)))
        .collect();
    frames.iter().for_each(|frame| sink.write(frame).unwrap());
    sink.finish().unwrap();
    assert_eq!(sink.duration().as_millis(), 140);

    let mut source = WavSource::open(place.file()).unwrap();
    let mut frame = AudioFrame::SILENCE;
    for expected in &frames {
        assert_eq!(source.next_frame(&mut frame).unwrap(), SourceState::Frame);
        assert_eq!(&frame, expected);
    }
    for _ in 0..3 {
        assert_eq!(source.next_frame(&mut frame).unwrap(), SourceState::End);
        assert_eq!(frame, AudioFrame::SILENCE);
    }
}

#[test]
fn every_rate_is_resampled_cleanly_and_without_delay() {
    for rate in [
        4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_001, 96_000, 192_000,
    ] {
        let place = sine_file(spec(rate, 1, 16, SampleFormat::Int));
        let samples = read_all(&mut WavSource::open(place.file()).unwrap());
        assert_eq!(samples.len(), 48_000, "{rate} Hz: a second stays a second");
        assert_is_sine(&samples, 75.0, &format!("{rate} Hz"));
    }
}

#[test]
fn what_is_above_24_khz_does_not_fold_back() {
    let place = Place::new();
    let header = spec(96_000, 1, 16, SampleFormat::Int);
    let mut writer = WavWriter::create(place.file(), header).unwrap();
    for index in 0..96_000 {
        let sample = (TAU * 30_000.0 * f64::from(index) / 96_000.0).sin();
        writer.write_sample((sample * 30_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let samples = read_all(&mut WavSource::open(place.file()).unwrap());
    let loudest = samples[4_800..43_200]
        .iter()
        .map(|s| s.unsigned_abs())
        .max();
    assert!(loudest <= Some(2), "{loudest:?}");
}

#[test]
fn every_sample_format_has_its_level() {
    let int = |bits| spec(48_000, 1, bits, SampleFormat::Int);
    let float = spec(48_000, 1, 32, SampleFormat::Float);
    for (header, least) in [
        (int(8), 35.0),
        (int(16), 80.0),
        (int(24), 85.0),
        (int(32), 85.0),
        (float, 85.0),
    ] {
        let samples = read_all(&mut WavSource::open(sine_file(header).file()).unwrap());
        assert_is_sine(&samples, least, &format!("{header:?}"));
    }
}

#[test]
fn channels_are_mixed_to_their_mean() {
    for channels in [2, 6] {
        let place = sine_file(spec(44_100, channels, 16, SampleFormat::Int));
        let samples = read_all(&mut WavSource::open(place.file()).unwrap());
        assert_is_sine(&samples, 75.0, &format!("{channels} channels"));
    }
    let place = Place::new();
    let header = spec(48_000, 2, 16, SampleFormat::Int);
    let mut writer = WavWriter::create(place.file(), header).unwrap();
    for sample in [1_000_i16, -400].repeat(960) {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(
        read_all(&mut WavSource::open(place.file()).unwrap()),
        [300; 960]
    );
}

#[test]
fn a_looping_source_has_no_seam() {
    for rate in [48_000, 44_100] {
        let place = sine_file(spec(rate, 1, 16, SampleFormat::Int));
        let mut source = WavSource::open(place.file()).unwrap().looping(true);
        let mut frame = AudioFrame::SILENCE;
        let mut samples = Vec::new();
        for _ in 0..175 {
            assert_eq!(source.next_frame(&mut frame).unwrap(), SourceState::Frame);
            samples.extend_from_slice(frame.samples());
        }
        // Windows that hold the first and the second seam.
        for start in [24_000, 72_000, 120_000] {
            let what = format!("{rate} Hz from {start}");
            assert_is_sine(&samples[start..start + 48_000], 75.0, &what);
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_played_as_far_as_it_goes() {
    let whole = sine_file(spec(48_000, 1, 16, SampleFormat::Int));
    let bytes = fs::read(whole.file()).unwrap();
    let cut = Place::holding(&bytes[..44 + 2 * 960 + 501]);
    let samples = read_all(&mut WavSource::open(cut.file()).unwrap());
    assert_eq!(samples.len(), 2 * AUDIO_FRAME_SAMPLES);
    assert_eq!(samples[960 + 250..], [0; 710]);
}

#[test]
fn floats_that_are_no_numbers_are_silence_and_too_loud_ones_are_clipped() {
    let place = Place::new();
    let header = spec(48_000, 1, 32, SampleFormat::Float);
    let mut writer = WavWriter::create(place.file(), header).unwrap();
    for sample in [f32::NAN, f32::INFINITY, 7.0, -7.0, 0.5] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    let samples = read_all(&mut WavSource::open(place.file()).unwrap());
    assert_eq!(samples[..6], [0, 0, i16::MAX, i16::MIN, 16_384, 0]);
}

#[test]
fn a_killed_process_leaves_a_valid_file() {
    let place = Place::new();
    let mut sink = WavSink::create(place.file()).unwrap();
    assert!(
        matches!(place.fault(), FileFault::Empty),
        "valid from the first moment"
    );
    let frame = AudioFrame::from([123; AUDIO_FRAME_SAMPLES]);
    (0..130).for_each(|_| sink.write(&frame).unwrap());
    std::mem::forget(sink);
    let samples = read_all(&mut WavSource::open(place.file()).unwrap());
    assert!(samples.len() >= 100 * AUDIO_FRAME_SAMPLES);
    assert!(samples.iter().all(|&sample| sample == 123));
}

#[test]
fn finishing_twice_is_fine_and_writing_after_it_is_refused() {
    let place = Place::new();
    let mut sink = WavSink::create(place.file()).unwrap();
    sink.finish().unwrap();
    sink.finish().unwrap();
    assert!(sink.write(&AudioFrame::SILENCE).is_err());
}

#[test]
fn a_missing_file_is_named() {
    let error = WavSource::open("no/such/sound.wav").unwrap_err();
    assert!(matches!(error.fault, FileFault::Io(_)));
    assert!(
        error.to_string().starts_with("no/such/sound.wav: "),
        "{error}"
    );
}

#[test]
fn what_is_no_wav_says_so() {
    for bytes in [
        &b""[..],
        b"RIFF",
        b"Dear diary, today I made a call.",
        b"RIFF\x04\0\0\0AVI ",
    ] {
        let fault = Place::holding(bytes).fault();
        assert!(fault.to_string().starts_with("not a WAV file: "), "{fault}");
    }
}

/// A header of our own making, and so many bytes of silence.
fn raw(tag: u16, channels: u16, rate: u32, bits: u16, data: usize) -> Vec<u8> {
    let align = channels.saturating_mul(bits / 8);
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(u32::from(align)).to_le_bytes());
    bytes.extend(align.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend((data as u32).to_le_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn absurd_headers_are_refused_with_the_value_that_is_wrong() {
    let says = |bytes: &[u8], part: &str| {
        let fault = Place::holding(bytes).fault().to_string();
        assert!(fault.contains(part), "{fault}");
    };
    says(&raw(1, 1, 48_000, 16, 0), "nothing in it");
    says(&raw(1, 1, 1, 16, 100), "sampling rate of 1 Hz");
    says(
        &raw(1, 1, 1_000_000, 16, 100),
        "sampling rate of 1000000 Hz",
    );
    says(&raw(1, 0, 48_000, 16, 100), "zero channels");
    says(&raw(1, 1_000, 48_000, 16, 2_000), "1000 channels");
    says(&raw(2, 1, 48_000, 16, 100), "compressed");
    says(&raw(1, 1, 48_000, 40, 100), "40 bits");
    says(&raw(1, 1, 48_000, 0, 100), "bits per sample is 0");
}

#[test]
fn a_header_that_promises_more_than_there_is_gives_what_there_is() {
    let mut bytes = raw(1, 1, 48_000, 16, 1_920);
    bytes[40..44].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
    let samples = read_all(&mut WavSource::open(Place::holding(&bytes).file()).unwrap());
    assert_eq!(samples.len(), 960);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_change_of_a_file_makes_it_panic(
        changes in prop::collection::vec((0_usize..60, any::<u8>()), 1..6),
        length in 0_usize..400,
    ) {
        let mut bytes = raw(1, 2, 44_100, 16, 356);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        let place = Place::holding(&bytes);
        if let Ok(source) = WavSource::open(place.file()) {
            let mut source = source.looping(true);
            let mut frame = AudioFrame::SILENCE;
            for _ in 0..3 {
                let _ = source.next_frame(&mut frame);
            }
        }
    }
}
