//! Days of a relay's life in seconds: dozens of clients come and go in virtual time, drop their
//! connections at any instant, acknowledge late or never, fill queues and leave for good. A
//! [`ledger`] of each queue checks what the relay answers and delivers:
//!
//! - what was answered OK is delivered, in order and exactly, until it is acknowledged;
//! - it never comes again after its ACK was answered;
//! - a queue takes as many messages as its quota, and then none until all were received;
//! - messages and queues that are too old are gone, and none before.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ledger;
mod recipient;
mod sender;
#[path = "../support/mod.rs"]
mod support;
mod visitor;

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smp_protocol::{AuthPrivateKey, Command, QueueMode, Response, SmpVersion};
use smp_server::store::Store;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use ledger::Ledger;
use recipient::Recipient;
use sender::Sender;
use support::*;

const CONFIG: &str = "
[queues]
expire_days = 2
[messages]
quota = 6
expire_days = 1
[limits]
idle_minutes = 60
";

const QUOTA: usize = 6;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// For how long clients come and go.
const TRAFFIC: u64 = 36 * HOUR;

const RECIPIENTS: usize = 12;
const VISITORS: usize = 4;

macro_rules! seeds {
    ($($name:ident: $seed:literal,)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            live($seed).await;
        })*
    };
}

seeds! {
    days_of_coming_and_going_1: 1,
    days_of_coming_and_going_2: 2,
    days_of_coming_and_going_3: 3,
    days_of_coming_and_going_4: 4,
    days_of_coming_and_going_5: 5,
    days_of_coming_and_going_6: 6,
}

/// What all clients share.
struct World {
    relay: TestRelay<SharedStore>,
    began: Instant,
}

/// A queue, its sender's key if it is secured, and what is known of it.
struct Shared {
    queue: Queue,
    sender_key: Option<AuthPrivateKey>,
    ledger: Mutex<Ledger>,
}

impl World {
    /// Unix time.
    fn now(&self) -> u64 {
        self.time_of(Instant::now())
    }

    fn time_of(&self, instant: Instant) -> u64 {
        START + (instant - self.began).as_secs()
    }

    fn is_open(&self) -> bool {
        self.began.elapsed().as_secs() < TRAFFIC
    }

    /// A client of some version, over a stream that holds so many bytes.
    async fn client(&self, rng: &mut StdRng, buffer: usize) -> Client {
        let version = [7, 8, 10, 11, 14, 16, 19, 20][rng.random_range(0..8)];
        self.relay.buffer.store(buffer, Ordering::Relaxed);
        self.relay.client_of(SmpVersion(version)).await
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }
}

async fn live(seed: u64) {
    let store = SharedStore::default();
    let relay = TestRelay::new(CONFIG, store.clone());
    let world = Arc::new(World {
        relay,
        began: Instant::now(),
    });
    tokio::spawn(Arc::clone(&world.relay.relay).upkeep(world.relay.stop.clone()));
    let mut people = JoinSet::new();
    let mut queues = Vec::new();
    for number in 0..RECIPIENTS {
        let mut rng = StdRng::seed_from_u64(seed * 1000 + number as u64);
        let own = new_queues(&world, &mut rng).await;
        for (place, shared) in own.iter().enumerate() {
            let seed = seed * 1000 + 100 + 10 * number as u64 + place as u64;
            let sender = Sender::new(Arc::clone(&world), Arc::clone(shared), seed);
            people.spawn(sender.live());
        }
        queues.extend(own.iter().cloned());
        people.spawn(Recipient::new(Arc::clone(&world), own, rng).live());
    }
    for number in 0..VISITORS {
        let rng = StdRng::seed_from_u64(seed * 1000 + 900 + number as u64);
        people.spawn(visitor::live(Arc::clone(&world), rng));
    }
    while let Some(ended) = people.join_next().await {
        ended.unwrap();
    }
    assert_much_happened(&queues);
    assert_all_is_forgotten(&world, &store, &queues).await;
}

/// One to three queues of one recipient.
async fn new_queues(world: &World, rng: &mut StdRng) -> Vec<Arc<Shared>> {
    let mut client = world.client(rng, 65_536).await;
    let mut queues = Vec::new();
    for _ in 0..rng.random_range(1..=3) {
        let queue = create_only(&mut client, QueueMode::Contact).await;
        let sender_key = rng.random_bool(0.5).then(|| key_of(&mut client));
        if let Some(key) = &sender_key {
            let answer = client.manage(&queue, Command::Key(key.public())).await;
            assert_eq!(answer, Response::Ok);
        }
        let ledger = Mutex::new(Ledger::new(QUOTA));
        queues.push(Arc::new(Shared {
            queue,
            sender_key,
            ledger,
        }));
    }
    queues
}

/// A simulation in which nothing happens finds nothing.
fn assert_much_happened(queues: &[Arc<Shared>]) {
    let mut all = [0; 3];
    for shared in queues {
        for (sum, count) in all.iter_mut().zip(shared.ledger().counts()) {
            *sum += count;
        }
    }
    let [accepted, acknowledged, refused] = all;
    assert!(
        accepted > 500 && acknowledged > 500 && refused > 100,
        "{all:?}"
    );
    assert!(acknowledged < accepted, "some expired");
}

/// Nobody uses the relay any more: after some days it has no queue and no message.
async fn assert_all_is_forgotten(world: &World, store: &SharedStore, queues: &[Arc<Shared>]) {
    let left = store.counts().await.unwrap();
    assert_eq!(
        left.queues,
        queues.len() as u64,
        "visitors' queues are gone"
    );
    sleep(Duration::from_secs(4 * DAY + HOUR)).await;
    let left = store.counts().await.unwrap();
    assert_eq!((left.queues, left.messages), (0, 0));
    let mut client = world.relay.client().await;
    for shared in queues {
        let auth = Response::Err(smp_protocol::ErrorType::Auth);
        assert_eq!(client.manage(&shared.queue, Command::Sub).await, auth);
        assert_eq!(
            client
                .run(shared.queue.sender(), None, send(b"hello"))
                .await,
            auth
        );
    }
}

/// Does `step` unless it is cut off: after some time, and then at one of the next few instants.
/// Whoever does it drops its connection then.
async fn cut_off<T>(after: Duration, instants: u32, step: impl Future<Output = T>) -> Option<T> {
    let end = async {
        sleep(after).await;
        for _ in 0..instants {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = step => Some(done),
        () = end => None,
    }
}

fn minutes(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_secs(rng.random_range(range.start * MINUTE..range.end * MINUTE))
}
