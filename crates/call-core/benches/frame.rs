//! Throughput of frame encryption, beside the raw AES-256-GCM of the same library.

use std::hint::black_box;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use call_core::{FrameDecryptor, FrameEncryptor, FrameKind, MediaKey};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

const SIZES: [usize; 4] = [100, 1_000, 10_000, 30_000];
const KIND: FrameKind = FrameKind::VideoDelta;

fn encrypt(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encrypt");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (mut encryptor, _) = ends();
        let frame = vec![1; size];
        group.bench_function(BenchmarkId::new("frame", size), |bencher| {
            bencher.iter(|| encryptor.encrypt(KIND, black_box(&frame)));
        });
        group.bench_function(BenchmarkId::new("frame in place", size), |bencher| {
            let mut buffer = Vec::with_capacity(size + 28);
            bencher.iter(|| {
                buffer.truncate(size);
                buffer.resize(size, 1);
                encryptor.encrypt_in_place(KIND, black_box(&mut buffer))
            });
        });
        let (cipher, mut buffer) = (raw(), vec![1; size]);
        group.bench_function(BenchmarkId::new("raw AES-256-GCM", size), |bencher| {
            bencher.iter(|| {
                let buffer = black_box(&mut buffer[..]);
                cipher.encrypt_inout_detached(&Nonce::from([7; 12]), &[], buffer.into())
            });
        });
    }
}

fn decrypt(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decrypt");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (mut encryptor, mut decryptor) = ends();
        let Ok(sealed) = encryptor.encrypt(KIND, &vec![1; size]) else {
            return;
        };
        group.bench_function(BenchmarkId::new("frame", size), |bencher| {
            bencher.iter(|| decryptor.decrypt(KIND, black_box(&sealed)));
        });
        group.bench_function(BenchmarkId::new("frame in place", size), |bencher| {
            bencher.iter_batched_ref(
                || sealed.clone(),
                |frame| decryptor.decrypt_in_place(KIND, frame),
                BatchSize::SmallInput,
            );
        });
        let (cipher, nonce) = (raw(), Nonce::from([7; 12]));
        let mut sealed = vec![1; size];
        let Ok(tag) = cipher.encrypt_inout_detached(&nonce, &[], sealed.as_mut_slice().into())
        else {
            return;
        };
        group.bench_function(BenchmarkId::new("raw AES-256-GCM", size), |bencher| {
            bencher.iter_batched_ref(
                || sealed.clone(),
                |buffer| {
                    cipher.decrypt_inout_detached(&nonce, &[], buffer.as_mut_slice().into(), &tag)
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn ends() -> (FrameEncryptor, FrameDecryptor) {
    let key = MediaKey::from_bytes(&[42; 32]);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    (
        FrameEncryptor::new(&key, &mut rng),
        FrameDecryptor::new(&key),
    )
}

fn raw() -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from([42; 32]))
}

criterion_group!(benches, encrypt, decrypt);
criterion_main!(benches);
