//! What one frame of 20 ms costs: codec and jitter buffer beside each other.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_media::jitter::{JitterBuffer, JitterConfig, JitterPacket};
use call_media::measure::delay;
use call_media::{AudioFrame, AudioReceiver, OpusConfig, OpusDecoder, OpusEncoder};
use criterion::{Criterion, criterion_group, criterion_main};

const FRAME: Duration = Duration::from_millis(20);

/// Half a second of a gliding hum with some noise.
fn sound() -> Vec<AudioFrame> {
    let mut noise = 1_u32;
    let mut sample = |index: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let time = index as f32 / 48_000.0;
        let hum: f32 = (1..20)
            .map(|harmonic| {
                ((700.0 + 300.0 * time) * time * harmonic as f32).sin() / harmonic as f32
            })
            .sum();
        (hum * 6_000.0 + (noise >> 22) as f32) as i16
    };
    (0..25)
        .map(|frame| AudioFrame::from(std::array::from_fn(|index| sample(frame * 960 + index))))
        .collect()
}

fn packets() -> Vec<Bytes> {
    let Ok(mut encoder) = OpusEncoder::new(OpusConfig::default()) else {
        return Vec::new();
    };
    sound()
        .iter()
        .flat_map(|frame| encoder.encode(frame))
        .collect()
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("opus 20 ms");
    for (name, expected_loss) in [("encode with FEC", 5), ("encode full band", 0)] {
        let config = OpusConfig {
            expected_loss,
            ..OpusConfig::default()
        };
        let Ok(mut encoder) = OpusEncoder::new(config) else {
            return;
        };
        let frames = sound();
        let mut next = frames.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| next.next().map(|frame| encoder.encode(black_box(frame))));
        });
    }
    let Ok(mut decoder) = OpusDecoder::new() else {
        return;
    };
    let packets = packets();
    let mut next = packets.iter().cycle();
    group.bench_function("decode", |b| {
        b.iter(|| {
            next.next()
                .map(|packet| decoder.decode(black_box(packet)).map(<[i16]>::len))
        });
    });
    group.bench_function("conceal", |b| {
        b.iter(|| decoder.conceal(black_box(960)).map(<[i16]>::len));
    });
    group.finish();
}

fn jitter(c: &mut Criterion) {
    let mut group = c.benchmark_group("jitter buffer");
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let mut now = Instant::now();
    let payload = Bytes::from_static(&[0; 80]);
    let mut number = 0_u32;
    group.bench_function("insert and pull", |b| {
        b.iter(|| {
            let packet = JitterPacket {
                seq: number as u16,
                timestamp: number.wrapping_mul(960),
                duration: 960,
                has_fec: true,
                payload: payload.clone(),
            };
            number = number.wrapping_add(1);
            buffer.insert(now, packet);
            now += FRAME;
            buffer.pull(now)
        });
    });
    let Ok(mut receiver) = AudioReceiver::new(JitterConfig::default()) else {
        return;
    };
    let packets = packets();
    let mut next = packets.iter().cycle();
    group.bench_function("insert and pull with the decoder", |b| {
        b.iter(|| {
            if let Some(packet) = next.next() {
                receiver.insert(now, number as u16, number.wrapping_mul(960), packet.clone());
            }
            number = number.wrapping_add(1);
            now += FRAME;
            receiver.pull_frame(now)
        });
    });
    group.finish();
}

fn measures(c: &mut Criterion) {
    let second: Vec<i16> = sound().iter().flat_map(|frame| *frame.samples()).collect();
    let reference = second.repeat(24);
    let received = [&[0; 7_200], &reference[..]].concat();
    let mut group = c.benchmark_group("measure");
    group.sample_size(10);
    group.bench_function("delay of twelve seconds", |b| {
        b.iter(|| delay(black_box(&reference), black_box(&received)));
    });
    group.finish();
}

criterion_group!(benches, codec, jitter, measures);
criterion_main!(benches);
