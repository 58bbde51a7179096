//! A client that sends to one queue.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smp_protocol::{EntityId, ErrorType, Response};
use tokio::time::{Instant, sleep};

use crate::support::{Client, send};
use crate::{MINUTE, Shared, World, cut_off, minutes};

/// How long the relay keeps the connection of a silent sender.
const IDLE: Duration = Duration::from_secs(60 * MINUTE);

const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Sender {
    world: Arc<World>,
    shared: Arc<Shared>,
    rng: StdRng,
}

impl Sender {
    pub(crate) fn new(world: Arc<World>, shared: Arc<Shared>, seed: u64) -> Self {
        Self {
            world,
            shared,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(crate) async fn live(mut self) {
        let mut connection: Option<(Client, Instant)> = None;
        loop {
            let pause = if self.rng.random_bool(0.15) {
                40..180
            } else {
                0..40
            };
            sleep(minutes(&mut self.rng, pause)).await;
            if !self.world.is_open() {
                return;
            }
            if let Some((client, heard)) = &mut connection
                && heard.elapsed() >= IDLE
            {
                let silent = heard.elapsed();
                // At that very second it may happen or not have happened.
                assert!(
                    silent < IDLE + SECOND || client.closed().await,
                    "silent for {silent:?}"
                );
                connection = None;
            }
            let mut client = match connection.take() {
                Some((client, _)) => client,
                None => {
                    let buffer = [100, 5_000, 20_000, 70_000][self.rng.random_range(0..4)];
                    self.world.client(&mut self.rng, buffer).await
                }
            };
            // Most of the time it waits for its answers.
            let hasty = self.rng.random_bool(0.3);
            let (after, instants) = if hasty {
                (0, self.rng.random_range(0..60))
            } else {
                (90, 0)
            };
            let after = Duration::from_secs(after);
            let burst = self.burst(&mut client);
            let done = cut_off(after, instants, burst).await.is_some();
            if done && self.rng.random_bool(0.7) {
                connection = Some((client, Instant::now()));
            }
        }
    }

    /// Sends some messages, one after the other or in one block.
    async fn burst(&mut self, client: &mut Client) {
        for _ in 0..self.rng.random_range(1..=3) {
            let together = if self.rng.random_bool(0.3) { 3 } else { 1 };
            let entity = EntityId::from(self.shared.queue.sender());
            let key = self.shared.sender_key.as_ref();
            let (mut block, mut sent) = (Vec::new(), Vec::new());
            for _ in 0..together {
                let number = self.shared.ledger().send_begins(self.world.now());
                let mut body = (number as u64).to_be_bytes().to_vec();
                body.resize(self.rng.random_range(8..200), b'x');
                let corr_id = client.corr_id();
                block.push(client.transmission(&corr_id, &entity, key, &send(&body)));
                sent.push((corr_id, number));
            }
            client.send(&block).await;
            for (corr_id, number) in sent {
                let answer = client.answer(&corr_id).await;
                let (mut ledger, now) = (self.shared.ledger(), self.world.now());
                match answer {
                    Response::Ok => ledger.accepted(number, now),
                    Response::Err(ErrorType::Quota) => ledger.over_quota(number, now),
                    other => panic!("SEND was answered by {other:?}"),
                }
            }
        }
    }
}
