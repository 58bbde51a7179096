//! Events of the agent are taken when the application has what came of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smp_agent::{Agent, AgentError, EventId};
use tokio::sync::{mpsc, oneshot};

use super::contact::ContactId;
use super::error::AccountError;
use super::table;

/// The pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// An event of the agent to be taken once all that came of it was handed over. Dropping it leaves
/// the event in the store, so that it is told again after a restart.
#[derive(Clone)]
pub(super) struct Taking(Arc<Inner>);

struct Inner {
    take: Take,
    /// Parts that were not handed over yet.
    left: AtomicUsize,
    takes: mpsc::UnboundedSender<Request>,
}

/// What to do when it was handed over.
#[derive(Clone)]
pub(super) struct Take {
    pub(super) event: EventId,
    /// Whether the sender of a message is told.
    pub(super) receipt: bool,
    /// The application knows now that this is the contact's security code.
    pub(super) code: Option<(ContactId, [u8; 32])>,
}

impl Taking {
    /// One part of it was handed over; called once for each.
    pub(super) fn done(&self) {
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // If the account is closed, it is told again after the next start.
            let _ = self.0.takes.send(Request::Take(self.0.take.clone()));
        }
    }
}

enum Request {
    Take(Take),
    /// All before this was taken.
    Flush(oneshot::Sender<()>),
}

/// Takes events in the order in which they were handed over.
#[derive(Clone)]
pub(super) struct Taker(mpsc::UnboundedSender<Request>);

impl Taker {
    /// Starts the task that does it. It ends when the agent is closed or nobody can ask any more.
    pub(super) fn start(agent: Agent) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        tokio::spawn(run(agent, queue));
        Self(requests)
    }

    /// An event of which so many parts are to be handed over; with none, it is taken at once and
    /// nothing is returned.
    pub(super) fn taking(&self, take: Take, parts: usize) -> Option<Taking> {
        if parts == 0 {
            let _ = self.0.send(Request::Take(take));
            return None;
        }
        Some(Taking(Arc::new(Inner {
            take,
            left: AtomicUsize::new(parts),
            takes: self.0.clone(),
        })))
    }

    /// Waits until all that was handed over is taken.
    pub(super) async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        if self.0.send(Request::Flush(reply)).is_ok() {
            let _ = done.await;
        }
    }
}

async fn run(agent: Agent, mut queue: mpsc::UnboundedReceiver<Request>) {
    while let Some(request) = queue.recv().await {
        match request {
            Request::Flush(reply) => {
                let _ = reply.send(());
            }
            Request::Take(take) => loop {
                match carry_out(&agent, &take).await {
                    Ok(()) => break,
                    Err(AccountError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "what was told could not be taken off the store");
                        tokio::time::sleep(STORE_PAUSE).await;
                    }
                }
            },
        }
    }
}

async fn carry_out(agent: &Agent, take: &Take) -> Result<(), AccountError> {
    if let Some((contact, code)) = take.code {
        let known = agent
            .with_store(move |store| store.transaction(|tx| table::set_code(tx, contact, &code)));
        known.await??;
    }
    match agent.take_event(take.event, take.receipt).await {
        Ok(_) => Ok(()),
        Err(AgentError::Closed) => Err(AccountError::Closed),
        // Without the receipt it is taken in any case.
        Err(error) if take.receipt => {
            tracing::debug!(%error, "a receipt could not be sent");
            agent.take_event(take.event, false).await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
