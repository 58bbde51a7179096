//! What all parts of an account share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use call_signal::{BodyLimit, ChatMessage, EncodeError, MAX_JSON, encode_body};
use smp_agent::{Agent, ConnectionId, Timestamp, Transaction};
use tokio::sync::{mpsc, watch};

use super::error::AccountError;
use super::event::{AccountEvent, Handed, Told};
use super::line::Lines;
use super::table;
use super::taking::{Taker, Taking};
use crate::config::Config;

pub(super) struct Shared {
    pub(super) agent: Agent,
    pub(super) taker: Taker,
    pub(super) lines: Lines,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) handed: Arc<Handed>,
    /// Counts what happened, for those who wait for something.
    pub(super) changes: watch::Sender<u64>,
    /// Why connections do not get further.
    pub(super) obstacles: Mutex<HashMap<ConnectionId, String>>,
    /// How calls are made, without the account's servers.
    pub(super) config: Config,
    pub(super) post_quantum: bool,
    /// One link is looked up and used at a time, so that none is used twice.
    pub(super) connecting: tokio::sync::Mutex<()>,
    pub(super) stop: watch::Sender<bool>,
}

/// Ends all tasks when the last handle is dropped.
pub(super) struct Guard(pub(super) Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Shared {
    pub(super) async fn close(&self) {
        self.handed.handled();
        self.end();
        self.lines.close_all().await;
        self.taker.flush().await;
        self.agent.clone().close().await;
    }

    fn end(&self) {
        self.stop.send_replace(true);
        self.changed();
    }

    /// Tells the application; waits if it does not listen, until the account is closed.
    pub(super) async fn tell(&self, event: AccountEvent, taking: Option<Taking>) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {}
            // The application may have dropped its end: what has to be taken stays in the store.
            _ = self.told.send(Told { event, taking }) => {}
        }
    }

    /// Something happened that somebody may wait for.
    pub(super) fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn set_obstacle(&self, connection: ConnectionId, reason: String) {
        let mut obstacles = self
            .obstacles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        obstacles.insert(connection, reason);
    }

    pub(super) fn take_obstacle(&self, connection: ConnectionId) -> Option<String> {
        let mut obstacles = self
            .obstacles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        obstacles.remove(&connection)
    }

    /// One transaction of the store.
    pub(super) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        self.agent
            .with_store(move |store| store.transaction(work))
            .await?
    }

    /// Sends a chat message. Returns its number.
    pub(super) async fn send(
        &self,
        connection: ConnectionId,
        message: ChatMessage,
        want_receipt: bool,
    ) -> Result<i64, AccountError> {
        let room = self.agent.message_limit(connection).await?;
        let body = encode_body(&[message], body_limit(room))?;
        Ok(self.agent.send(connection, &body, want_receipt).await?)
    }

    /// A message as information that comes with a connection.
    pub(super) fn info(&self, message: ChatMessage) -> Result<Vec<u8>, EncodeError> {
        let limit = if self.post_quantum {
            BodyLimit::PostQuantumInfo
        } else {
            BodyLimit::Info
        };
        encode_body(&[message], limit)
    }

    /// How calls are made now.
    pub(super) async fn call_config(&self) -> Result<Config, AccountError> {
        let lines = self.transact(table::server_lines).await?;
        let mut config = self.config.clone();
        let ours = lines.iter().filter_map(|(_, line)| line.parse().ok());
        config.ice_servers.extend(ours);
        Ok(config)
    }
}

/// The limit of chat messages where an agent's message has so much room: without post-quantum keys
/// there is more.
pub(super) fn body_limit(room: usize) -> BodyLimit {
    if room >= MAX_JSON {
        BodyLimit::Plain
    } else {
        BodyLimit::PostQuantum
    }
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

pub(super) fn system_time(at: Timestamp) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Waits until the account is closed.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without its sender there is no account.
    let _ = stop.wait_for(|stop| *stop).await;
}
