//! What a relay does on its own: it forgets what is old, and makes the disk forget as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::clock::DAY;
use crate::relay::Relay;
use crate::store::{Cursor, Store, StoreError};

/// How often expired messages and queues are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);

/// How often what is stored is counted, and what is in memory alone looked through.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// Queues that are looked at before others get their turn.
const STEP: usize = 1000;

impl<S: Store> Relay<S> {
    /// Forgets what is old, until `stop` says so. A [`Server`](crate::Server) does it by itself;
    /// whoever only serves streams runs this beside them.
    pub async fn upkeep(self: Arc<Self>, stop: CancellationToken) {
        run(self, stop).await;
    }
}

/// Runs until `stop` says so.
pub(crate) async fn run<S: Store>(relay: Arc<Relay<S>>, stop: CancellationToken) {
    let compact_hours = relay.config.storage.compact_hours;
    let compaction = Duration::from_secs(3600 * u64::from(compact_hours));
    let mut expiry = ticks(EXPIRY_INTERVAL);
    let mut compaction = ticks(compaction);
    let mut count = ticks(COUNT_INTERVAL);
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = expiry.tick() => expire(&relay).await,
            _ = compaction.tick() => relay.store.compact().await,
            _ = count.tick() => count_stored(&relay).await,
        };
        if let Err(error) = done {
            relay.store_error(&error);
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Deletes messages that nobody took and queues that nobody uses.
async fn expire<S: Store>(relay: &Relay<S>) -> Result<(), StoreError> {
    let config = &relay.config;
    let oldest = relay
        .clock
        .now()
        .saturating_sub(u64::from(config.messages.expire_days) * DAY);
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        let step = relay.store.expire_messages(oldest, at, STEP).await?;
        relay.metrics.messages_expired.inc_by(step.expired as u64);
        cursor = step.next;
        tokio::task::yield_now().await;
    }
    if config.queues.expire_days == 0 {
        return Ok(());
    }
    let oldest = relay
        .clock
        .today()
        .saturating_sub(config.queues.expire_days);
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        let step = relay.store.expire_queues(oldest, at, STEP).await?;
        for record in &step.expired {
            relay.queue_gone(record, None);
        }
        relay
            .metrics
            .queues_expired
            .inc_by(step.expired.len() as u64);
        cursor = step.next;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Brings the figures up to date that are not counted as things happen.
pub(crate) async fn count_stored<S: Store>(relay: &Relay<S>) -> Result<(), StoreError> {
    relay.forget();
    let counts = relay.store.counts().await?;
    relay
        .metrics
        .queues
        .set(i64::try_from(counts.queues).unwrap_or(i64::MAX));
    relay
        .metrics
        .messages
        .set(i64::try_from(counts.messages).unwrap_or(i64::MAX));
    relay
        .metrics
        .proxy_sessions
        .set(i64::try_from(relay.proxy_sessions()).unwrap_or(i64::MAX));
    relay
        .metrics
        .subscriptions
        .set(i64::try_from(relay.subscribed()).unwrap_or(i64::MAX));
    Ok(())
}
