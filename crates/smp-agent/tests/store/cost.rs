//! What a message costs the store. `cargo test --release -p smp-agent --test store -- --ignored
//! --nocapture cost`.

use std::time::{Duration, Instant};

use smp_agent::{Connection, ConnectionId, EventId, Store, StoreError, Timestamp};

use crate::support::{Folder, Samples, done, passphrase};

const ROUNDS: usize = 2_000;

/// What is done when a message comes.
fn receive(store: &mut Store, id: ConnectionId, body: &[u8], hash: &[u8; 32]) {
    done(store, |transaction| {
        let mut connection: Connection = transaction.connection(id)?.unwrap();
        let ratchet = transaction.ratchet(id)?.unwrap();
        connection.received.id += 1;
        connection.received.hash = *hash;
        transaction.save_ratchet(id, &ratchet)?;
        transaction.save_connection(&connection)?;
        transaction.push_event(id, Timestamp(0), body)?;
        transaction.remember_seen(id, hash, Timestamp(0))
    });
}

fn measure(store: &mut Store, length: usize) -> (Duration, Duration) {
    let mut samples = Samples::new(1);
    let mut ids = Vec::new();
    done(store, |transaction| {
        for _ in 0..50 {
            let id = transaction.insert_connection(&samples.connection())?;
            transaction.save_ratchet(id, &samples.ratchet())?;
            ids.push(id);
        }
        Ok::<_, StoreError>(())
    });
    let body = samples.exactly(length);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let (id, hash) = (ids[round % ids.len()], samples.array());
        let begin = Instant::now();
        receive(store, id, &body, &hash);
        times.push(begin.elapsed());
        // The application takes what came.
        if round % 10 == 9 {
            done(store, |transaction| {
                for event in transaction.events(EventId(0), 10)? {
                    transaction.remove_event(event.id)?;
                }
                Ok(())
            });
        }
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[test]
#[ignore = "measures, and prints what it finds"]
#[allow(clippy::print_stdout)]
fn cost_of_receiving_a_message() {
    for length in [200, 13_000] {
        let mut store = Store::in_memory().unwrap();
        let (median, late) = measure(&mut store, length);
        println!("{length} bytes, in memory: median {median:?}, 99th percentile {late:?}");
        let folder = Folder::new();
        let mut store = folder.create();
        let (median, late) = measure(&mut store, length);
        println!("{length} bytes, on disk: median {median:?}, 99th percentile {late:?}");
    }
    let folder = Folder::new();
    let begin = Instant::now();
    drop(Store::create(&folder.file(), &passphrase("some words")).unwrap());
    println!("creating with a passphrase: {:?}", begin.elapsed());
    let begin = Instant::now();
    drop(Store::open(&folder.file(), &passphrase("some words")).unwrap());
    println!("opening with a passphrase: {:?}", begin.elapsed());
}
