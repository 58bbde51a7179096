//! What a message costs, beside the primitives that nothing can save.
//!
//! "A turn" is a message that begins a new chain, which costs the reader new keys. The table at the
//! end measures everything once a round, and takes ratios within a round, so that a busy machine
//! touches both sides of them. Times of messages are this thread's CPU time.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group};
use double_ratchet::{
    InitiatorKeys, KemCiphertext, KemKeyPair, PqSupport, RandomKeys, Ratchet, X448PrivateKey,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::time::{ClockId, clock_gettime};

type Keys = RandomKeys<StdRng>;

/// Rounds of the table, and what is measured in each so many times.
const ROUNDS: usize = 21;
const TIMES: u32 = 10;

/// Length of a padded header and of a padded body, with room for a KEM and without.
const LARGE: (usize, usize) = (2310, 13_618);
const SMALL: (usize, usize) = (88, 15_840);

criterion_group!(benches, primitives, messages, stored);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Cargo passes `--bench`; without it this only shows that the benchmark runs.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        1
    };
    table(rounds);
}

fn primitives(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("primitive");
    let mut raw = Raw::new();
    for (name, operation) in Raw::OPERATIONS {
        group.bench_function(name, |bencher| bencher.iter(|| operation(&mut raw)));
    }
    group.bench_function("AES-256-GCM of a small message", |bencher| {
        bencher.iter(|| raw.encrypt(SMALL));
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    for pq in [PqSupport::Off, PqSupport::On] {
        let mut group = criterion.benchmark_group(match pq {
            PqSupport::Off => "message without a KEM",
            PqSupport::On => "message with a KEM",
        });
        measure(&mut group, "encrypt", pq, |pair| pair.in_chain().0);
        measure(&mut group, "decrypt in a chain", pq, |pair| {
            pair.in_chain().1
        });
        measure(&mut group, "decrypt a turn", pq, |pair| pair.turn().1);
        group.finish();
    }
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pq: PqSupport,
    mut message: impl FnMut(&mut Pair) -> Duration,
) {
    let mut pair = Pair::new(pq);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| message(&mut pair)).sum());
    });
}

fn stored(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stored with a KEM");
    let ratchet = Pair::new(PqSupport::On).peers.0;
    let bytes = ratchet.to_bytes();
    group.bench_function("write", |bencher| bencher.iter(|| ratchet.to_bytes()));
    group.bench_function("read", |bencher| {
        bencher.iter(|| Ratchet::from_bytes(black_box(&bytes)).unwrap());
    });
    group.finish();
}

/// Two peers that have exchanged keys.
struct Pair {
    peers: (Ratchet, Ratchet),
    keys: Keys,
    padded: usize,
}

impl Pair {
    fn new(pq: PqSupport) -> Self {
        let mut keys = RandomKeys(StdRng::seed_from_u64(1));
        let own = InitiatorKeys::generate(&mut keys, pq == PqSupport::On);
        let (joiner, params) = Ratchet::joiner(&own.params(), pq, &mut keys).unwrap();
        let initiator = Ratchet::initiator(&own, &params, pq).unwrap();
        let mut pair = Self {
            peers: (joiner, initiator),
            keys,
            padded: if pq == PqSupport::On {
                LARGE.1
            } else {
                SMALL.1
            },
        };
        for _ in 0..4 {
            pair.turn();
        }
        pair
    }

    /// A message that goes the other way than the one before.
    fn turn(&mut self) -> (Duration, Duration) {
        let times = self.message();
        let (a, b) = &mut self.peers;
        std::mem::swap(a, b);
        times
    }

    /// A message that follows another one the same way.
    fn in_chain(&mut self) -> (Duration, Duration) {
        self.message()
    }

    fn message(&mut self) -> (Duration, Duration) {
        let (from, to) = &mut self.peers;
        let mut message = Vec::new();
        let encrypted = cpu_time(|| {
            let sealed = from.encrypt(black_box(b"hello"), self.padded, None);
            message = sealed.unwrap();
        });
        let decrypted = cpu_time(|| {
            let opened = to.decrypt(black_box(&message), &mut self.keys);
            black_box(opened.unwrap());
        });
        (encrypted, decrypted)
    }
}

/// The primitives, each with what it needs.
struct Raw {
    rng: StdRng,
    x448: X448PrivateKey,
    peer: X448PrivateKey,
    pair: KemKeyPair,
    ciphertext: KemCiphertext,
    cipher: AesGcm<Aes256, U16>,
    buffer: Vec<u8>,
}

type Operation = (&'static str, fn(&mut Raw));

impl Raw {
    const OPERATIONS: [Operation; 6] = [
        ("X448 key pair", |raw| {
            black_box(X448PrivateKey::generate(&mut raw.rng));
        }),
        ("X448 agreement", |raw| {
            black_box(raw.x448.agree(&raw.peer.public())).unwrap();
        }),
        ("sntrup761 key pair", |raw| {
            black_box(KemKeyPair::generate(&mut raw.rng));
        }),
        ("sntrup761 encapsulation", |raw| {
            black_box(raw.pair.public().encapsulate(&mut raw.rng));
        }),
        ("sntrup761 decapsulation", |raw| {
            black_box(raw.pair.decapsulate(&raw.ciphertext));
        }),
        ("AES-256-GCM of a large message", |raw| raw.encrypt(LARGE)),
    ];

    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(2);
        let pair = KemKeyPair::generate(&mut rng);
        Self {
            x448: X448PrivateKey::generate(&mut rng),
            peer: X448PrivateKey::generate(&mut rng),
            ciphertext: pair.public().encapsulate(&mut rng).0,
            pair,
            cipher: AesGcm::new(&[7; 32].into()),
            buffer: vec![0; LARGE.1.max(SMALL.1)],
            rng,
        }
    }

    /// A header and a body, which costs the same as decrypting them.
    fn encrypt(&mut self, (header, body): (usize, usize)) {
        for length in [header, body] {
            let buffer = black_box(&mut self.buffer[..length]);
            let nonce = Nonce::<U16>::from([1; 16]);
            let tag = self
                .cipher
                .encrypt_inout_detached(&nonce, &[0; 112], buffer.into());
            black_box(tag.unwrap());
        }
    }

    /// What a turn cannot do without: one key pair and two agreements, and with a KEM its three
    /// operations. Then encryption and decryption of a message.
    fn turn(&mut self, pq: PqSupport) {
        let [key_pair, agreement, kem @ .., _] = Self::OPERATIONS;
        let x448 = [key_pair, agreement, agreement];
        let kem = kem.iter().filter(|_| pq == PqSupport::On);
        x448.iter()
            .chain(kem)
            .for_each(|(_, operation)| operation(self));
        self.in_chain(pq);
    }

    fn in_chain(&mut self, pq: PqSupport) {
        let sizes = if pq == PqSupport::On { LARGE } else { SMALL };
        for _ in 0..2 {
            self.encrypt(sizes);
        }
    }
}

/// A message from text to text, beside the bare primitives that it needs.
fn table(rounds: usize) {
    println!("\nA message encrypted and decrypted, CPU µs (median of {rounds} rounds)");
    println!(
        "{:<34}{:>10}{:>12}{:>8}",
        "", "ratchet", "primitives", "ratio"
    );
    for (name, pq, turn) in [
        ("in a chain, without a KEM", PqSupport::Off, false),
        ("a turn, without a KEM", PqSupport::Off, true),
        ("in a chain, with a KEM", PqSupport::On, false),
        ("a turn, with a KEM", PqSupport::On, true),
    ] {
        let (mut pair, mut raw) = (Pair::new(pq), Raw::new());
        let mut samples: Vec<[f64; 3]> = (0..rounds)
            .map(|_| {
                let ratchet = each(|| {
                    let times = if turn { pair.turn() } else { pair.in_chain() };
                    times.0 + times.1
                });
                let primitives = each(|| {
                    let needed = if turn { Raw::turn } else { Raw::in_chain };
                    cpu_time(|| needed(&mut raw, pq))
                });
                [ratchet, primitives, ratchet / primitives]
            })
            .collect();
        let [ratchet, primitives, ratio] = std::array::from_fn(|column| {
            samples.sort_by(|a, b| a[column].total_cmp(&b[column]));
            samples[samples.len() / 2][column]
        });
        println!("{name:<34}{ratchet:>10.1}{primitives:>12.1}{ratio:>8.2}");
    }
}

/// Microseconds of one of [`TIMES`].
fn each(mut operation: impl FnMut() -> Duration) -> f64 {
    let total: Duration = (0..TIMES).map(|_| operation()).sum();
    total.as_secs_f64() * 1e6 / f64::from(TIMES)
}

fn cpu_time(operation: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let begin = now();
    operation();
    now().saturating_sub(begin)
}
