//! A client that receives from some queues.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use smp_protocol::{Command, EntityId, ErrorType, Response};
use tokio::time::{Instant, sleep};

use crate::ledger::Taking;
use crate::support::{Client, Opened};
use crate::{HOUR, MINUTE, Shared, World, cut_off, minutes};

pub(crate) struct Recipient {
    world: Arc<World>,
    queues: Vec<Arc<Shared>>,
    rng: StdRng,
    /// Connections that were left open, each with the queues that it was subscribed to.
    left: Vec<(Client, HashSet<EntityId>)>,
}

impl Recipient {
    pub(crate) fn new(world: Arc<World>, queues: Vec<Arc<Shared>>, rng: StdRng) -> Self {
        Self {
            world,
            queues,
            rng,
            left: Vec::new(),
        }
    }

    pub(crate) async fn live(mut self) {
        while self.world.is_open() {
            self.visit().await;
            let away = match self.rng.random_range(0..20) {
                // As long as messages are kept, more or less.
                0 => 22 * 60..28 * 60,
                1..5 => 60..5 * 60,
                _ => 0..30,
            };
            sleep(minutes(&mut self.rng, away)).await;
        }
        self.drain().await;
    }

    /// One connection, which ends in one way or another.
    async fn visit(&mut self) {
        let roomy = self.rng.random_bool(0.5);
        let buffer = if roomy {
            200_000
        } else {
            self.rng.random_range(100..40_000)
        };
        let mut client = self.world.client(&mut self.rng, buffer).await;
        let mut subscribed = HashSet::new();
        let stay = match self.rng.random_range(0..4) {
            0 => Duration::ZERO,
            1 => minutes(&mut self.rng, 0..5),
            _ => minutes(&mut self.rng, 5..200),
        };
        let instants = self.rng.random_range(0..200);
        if self.left.is_empty() && self.rng.random_bool(0.2) {
            cut_off(stay, instants, self.fetch(&mut client)).await;
            return;
        }
        cut_off(stay, instants, self.listen(&mut client, &mut subscribed)).await;
        if roomy && self.rng.random_bool(0.4) {
            self.left.push((client, subscribed));
        }
    }

    /// Subscribes to all queues and takes their messages, for ever.
    async fn listen(&mut self, client: &mut Client, subscribed: &mut HashSet<EntityId>) {
        self.subscribe(client, subscribed).await;
        loop {
            let event = client.event_within(Duration::from_secs(10 * MINUTE)).await;
            match event {
                Some(received) => {
                    let shared = self.shared(&received.entity);
                    let message = self.delivered(&shared, &received.response, received.at);
                    self.take(client, &shared, message, true).await;
                    if self.rng.random_bool(0.1) {
                        self.subscribe_again(client).await;
                    }
                }
                None => {
                    let now = self.world.now();
                    for shared in &self.queues {
                        shared.ledger().was_quiet(now - 5 * MINUTE, now);
                    }
                }
            }
        }
    }

    async fn subscribe(&mut self, client: &mut Client, subscribed: &mut HashSet<EntityId>) {
        for shared in &self.queues {
            let answer = client.manage(&shared.queue, Command::Sub).await;
            assert!(
                matches!(answer, Response::Ok | Response::Sok(None)),
                "{answer:?}"
            );
            subscribed.insert(shared.queue.recipient().into());
        }
        self.finish_left().await;
    }

    /// Each connection that was left open hears END of each of its queues, and nothing after it.
    async fn finish_left(&mut self) {
        while let Some((client, subscribed)) = self.left.last_mut() {
            let mut messages = Vec::new();
            while !subscribed.is_empty() {
                let (entity, response) = client.event().await;
                if response == Response::End {
                    assert!(subscribed.remove(&entity), "END of a queue that it had not");
                } else {
                    messages.push((entity, response));
                }
            }
            for (entity, response) in messages {
                let shared = self.queues.iter().find(|one| is_of(one, &entity)).unwrap();
                // It may have been on its way for hours.
                delivered(&self.world, shared, &response, None);
            }
            self.left.pop();
        }
    }

    /// What was not acknowledged comes again.
    async fn subscribe_again(&mut self, client: &mut Client) {
        let at = self.rng.random_range(0..self.queues.len());
        let shared = Arc::clone(&self.queues[at]);
        let answer = client.manage(&shared.queue, Command::Sub).await;
        assert!(
            matches!(answer, Response::Ok | Response::Sok(None)),
            "{answer:?}"
        );
    }

    /// Asks for messages one by one until there is none.
    async fn fetch(&mut self, client: &mut Client) {
        for shared in self.queues.clone() {
            loop {
                let taking = shared.ledger().get_begins(self.world.now());
                let answer = client.manage(&shared.queue, Command::Get).await;
                if answer == Response::Ok {
                    shared.ledger().was_empty(&taking, self.world.now());
                    break;
                }
                let message = self.delivered(&shared, &answer, Instant::now());
                self.take(client, &shared, message, false).await;
            }
        }
    }

    /// Acknowledges a message, sooner or later, and all that follow it.
    async fn take(
        &mut self,
        client: &mut Client,
        shared: &Shared,
        mut message: Opened,
        subscribed: bool,
    ) {
        loop {
            if self.rng.random_bool(0.3) {
                let time = minutes(&mut self.rng, 0..20);
                client.rest(time).await;
            }
            let number = number_of(&message);
            let taking = shared.ledger().ack_begins(number, self.world.now());
            let answer = self.acknowledge(client, shared, &message).await;
            shared.ledger().acknowledged(&taking);
            if self.rng.random_bool(0.1) {
                let again = client.ack(&shared.queue, &message).await;
                assert_eq!(
                    again,
                    Response::Err(ErrorType::NoMsg),
                    "ACK of the same twice"
                );
            }
            match answer {
                Response::Ok => return self.nothing_follows(shared, &taking, subscribed),
                next => message = self.delivered(shared, &next, Instant::now()),
            }
        }
    }

    /// ACK. Whatever came before its answer was the same message once more.
    async fn acknowledge(
        &self,
        client: &mut Client,
        shared: &Shared,
        message: &Opened,
    ) -> Response {
        let (corr_id, entity) = (client.corr_id(), EntityId::from(shared.queue.recipient()));
        let ack = Command::Ack(message.id);
        let bytes = client.transmission(&corr_id, &entity, Some(&shared.queue.key), &ack);
        client.send(&[bytes]).await;
        let answer = client.received_for(&corr_id).await;
        client.forget_events(&entity, answer.place);
        answer.response
    }

    fn nothing_follows(&self, shared: &Shared, taking: &Taking, subscribed: bool) {
        // After GET, OK says nothing about the queue.
        if subscribed {
            shared.ledger().was_empty(taking, self.world.now());
        }
    }

    /// After all others have left: takes everything, within a few hours.
    async fn drain(mut self) {
        sleep(Duration::from_secs(HOUR)).await;
        let mut client = self.world.client(&mut self.rng, 200_000).await;
        self.subscribe(&mut client, &mut HashSet::new()).await;
        while let Some(received) = client.event_within(Duration::from_secs(1)).await {
            let shared = self.shared(&received.entity);
            let message = self.delivered(&shared, &received.response, received.at);
            self.take(&mut client, &shared, message, true).await;
        }
        let now = self.world.now();
        for shared in &self.queues {
            shared.ledger().was_quiet(now, now);
        }
    }

    fn shared(&self, entity: &EntityId) -> Arc<Shared> {
        let shared = self.queues.iter().find(|shared| is_of(shared, entity));
        Arc::clone(shared.expect("an event about a queue of others"))
    }

    fn delivered(&self, shared: &Shared, response: &Response, at: Instant) -> Opened {
        delivered(&self.world, shared, response, Some(at))
    }
}

fn is_of(shared: &Shared, entity: &EntityId) -> bool {
    EntityId::from(shared.queue.recipient()) == *entity
}

/// Opens a message and writes it down. `at` is when it came, if it came in the order of things.
fn delivered(world: &World, shared: &Shared, response: &Response, at: Option<Instant>) -> Opened {
    let message = shared.queue.open(response);
    let (mut ledger, now) = (shared.ledger(), world.now());
    let at = at.map(|at| world.time_of(at));
    match number_of(&message) {
        Some(number) => ledger.delivered(number, &message, at, now),
        // A marker that was read hours later says nothing about the queue any more.
        None if at == Some(now) => ledger.marker_delivered(now),
        None => {}
    }
    message
}

/// Which message of its sender it is; the quota marker is none.
fn number_of(message: &Opened) -> Option<usize> {
    message.flags?;
    let number = u64::from_be_bytes(message.body[..8].try_into().unwrap());
    Some(usize::try_from(number).unwrap())
}
