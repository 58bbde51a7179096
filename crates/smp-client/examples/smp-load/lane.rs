//! One connection: the queues that it receives from, and who sends to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{Event, Events, QueueKey, QueueParameters, SealedMessage, Session};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, BoxKey, DhPrivateKey, DhSecret, MessageFlags, QueueRequest,
    ReceivedMessage, RecipientId, SenderId,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Bytes at the begin of a message that tell when it was sent.
pub(crate) const STAMP: usize = size_of::<u64>();

/// What is sent.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) size: usize,
    pub(crate) window: usize,
    pub(crate) messages: u64,
    /// How many of them are sent or about to be.
    pub(crate) taken: Arc<AtomicU64>,
    pub(crate) start: Instant,
}

/// A queue with both sides' keys.
pub(crate) struct Queue {
    id: RecipientId,
    key: AuthPrivateKey,
    sender_id: SenderId,
    sender_key: AuthPrivateKey,
    secret: BoxKey,
}

impl Queue {
    /// Makes a queue.
    pub(crate) async fn make(recipient: &Session, subscribe: bool) -> anyhow::Result<Self> {
        let rng = &mut UnwrapErr(SysRng);
        let key = AuthPrivateKey::generate(rng, AuthKeyKind::X25519);
        let sender_key = AuthPrivateKey::generate(rng, AuthKeyKind::X25519);
        let dh = DhPrivateKey::generate(rng);
        let parameters = QueueParameters {
            dh_key: dh.public(),
            subscribe,
            request: Some(QueueRequest::Messaging(None)),
            notifier: None,
            sender_id: None,
        };
        let ids = recipient.create_queue(&key, parameters).await?;
        let secret = BoxKey::from(DhSecret::agree(&dh, &ids.dh_key)?);
        Ok(Self {
            id: ids.recipient_id,
            key,
            sender_id: ids.sender_id,
            sender_key,
            secret,
        })
    }

    /// Makes a queue that its sender has secured.
    pub(crate) async fn secured(recipient: &Session, sender: &Session) -> anyhow::Result<Self> {
        let queue = Self::make(recipient, true).await?;
        sender
            .sender_secure(&queue.sender_id, &queue.sender_key)
            .await?;
        Ok(queue)
    }

    /// How long a message took.
    fn latency(&self, message: &mut SealedMessage, start: Instant) -> anyhow::Result<Duration> {
        let now = start.elapsed();
        match message.open(&self.secret)? {
            ReceivedMessage::Message { body, .. } => {
                let sent = body
                    .first_chunk::<STAMP>()
                    .context("a message is too short")?;
                Ok(now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(*sent))))
            }
            ReceivedMessage::Quota { .. } => {
                bail!("the quota was exceeded: use a smaller --window")
            }
        }
    }
}

/// A connection with the queues that it receives from.
pub(crate) struct Lane {
    session: Session,
    events: Events,
    queues: HashMap<RecipientId, Way>,
}

/// A queue, and the connection that sends to it.
struct Way {
    queue: Arc<Queue>,
    sender: Session,
    /// A permit for each message that may be on its way.
    window: Arc<Semaphore>,
}

impl Lane {
    pub(crate) fn new(session: Session, events: Events) -> Self {
        Self {
            session,
            events,
            queues: HashMap::new(),
        }
    }

    pub(crate) fn add(&mut self, queue: Queue, sender: Session) {
        let id = queue.id.clone();
        let window = Arc::new(Semaphore::new(0));
        self.queues.insert(
            id,
            Way {
                queue: Arc::new(queue),
                sender,
                window,
            },
        );
    }

    /// Sends through all queues and receives until there is nothing more; returns each message's
    /// latency.
    pub(crate) async fn run(mut self, settings: Settings) -> anyhow::Result<Vec<Duration>> {
        let mut senders = JoinSet::new();
        for way in self.queues.values() {
            way.window.add_permits(settings.window);
            let (queue, sender) = (Arc::clone(&way.queue), way.sender.clone());
            senders.spawn(send(
                queue,
                sender,
                Arc::clone(&way.window),
                settings.clone(),
            ));
        }
        let mut latencies = Vec::new();
        loop {
            tokio::select! {
                sent = senders.join_next() => match sent {
                    Some(sent) => sent??,
                    None => return Ok(latencies),
                },
                event = self.events.next() => match event {
                    Some(Event::Message { queue, message }) => {
                        self.take(&queue, message, &settings, &mut latencies).await?;
                    }
                    Some(Event::Disconnected(reason)) => bail!("a connection is over: {reason}"),
                    Some(other) => bail!("the relay sent {other:?}"),
                    None => bail!("a connection is over"),
                },
            }
        }
    }

    /// Acknowledges a message, and those that come with the acknowledgements.
    async fn take(
        &self,
        id: &RecipientId,
        message: SealedMessage,
        settings: &Settings,
        latencies: &mut Vec<Duration>,
    ) -> anyhow::Result<()> {
        let way = self
            .queues
            .get(id)
            .context("a message of a queue that was not made here")?;
        let mut next = Some(message);
        while let Some(mut message) = next {
            latencies.push(way.queue.latency(&mut message, settings.start)?);
            let key = QueueKey {
                id,
                key: &way.queue.key,
            };
            next = self.session.acknowledge(key, message.id).await?;
            way.window.add_permits(1);
        }
        Ok(())
    }
}

/// Sends while there is something to send; returns when all of it was acknowledged.
async fn send(
    queue: Arc<Queue>,
    session: Session,
    window: Arc<Semaphore>,
    settings: Settings,
) -> anyhow::Result<()> {
    while settings.taken.fetch_add(1, Ordering::Relaxed) < settings.messages {
        window.acquire().await?.forget();
        let mut body = vec![0; settings.size];
        let now = u64::try_from(settings.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        body[..STAMP].copy_from_slice(&now.to_be_bytes());
        let (id, key) = (&queue.sender_id, Some(&queue.sender_key));
        session
            .send_message(id, key, MessageFlags::default(), body)
            .await?;
    }
    // Every permit is back when everything is acknowledged.
    let all = u32::try_from(settings.window)?;
    window.acquire_many(all).await?.forget();
    Ok(())
}
