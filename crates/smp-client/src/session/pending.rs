//! Commands that wait for their answers.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use smp_protocol::{Command, CorrId, EntityId, MessageId, RecipientId, Response};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use crate::error::Misbehaviour;
use crate::event::{Event, SealedMessage};

/// A command on its way to the driver.
pub(super) struct Outgoing {
    pub(super) corr_id: CorrId,
    /// The transmission.
    pub(super) bytes: Vec<u8>,
}

/// What a command's answer means to others than the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// Nothing.
    Plain,
    /// It may be a message, which is not to be lost.
    Message,
    /// It may be a message that belongs among the events.
    Subscription,
}

impl AnswerKind {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Ack(_) | Command::Get => Self::Message,
            Command::Sub | Command::Nsub | Command::Subs { .. } | Command::Nsubs { .. } => {
                Self::Subscription
            }
            Command::New(new) if new.subscribe => Self::Subscription,
            _ => Self::Plain,
        }
    }
}

/// An answer, or why there is none.
pub(super) type Answer = Result<Response, Misbehaviour>;

/// A command that was sent or is about to be.
pub(super) struct Waiting {
    pub(super) entity: EntityId,
    pub(super) kind: AnswerKind,
    /// Nobody waits any more if there is none; the relay may answer nevertheless.
    answer: Option<oneshot::Sender<Answer>>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    /// Gives the answer to the caller; it comes back if there is none any more.
    pub(super) fn answer(self, answer: Answer) -> Result<(), Answer> {
        match self.answer {
            Some(caller) => caller.send(answer),
            None => Err(answer),
        }
    }
}

/// All commands of a session that wait for their answers.
#[derive(Default)]
pub(super) struct Pending {
    commands: Mutex<HashMap<CorrId, Waiting>>,
}

impl Pending {
    pub(super) fn insert(
        &self,
        shared: &Arc<Shared>,
        corr_id: CorrId,
        entity: &EntityId,
        kind: AnswerKind,
        slot: Option<OwnedSemaphorePermit>,
    ) -> InFlight {
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting {
            entity: entity.clone(),
            kind,
            answer: Some(answer),
            slot,
        };
        let heard = shared.activity.blocks();
        self.commands.lock().insert(corr_id, waiting);
        InFlight {
            shared: Arc::clone(shared),
            corr_id,
            entity: entity.clone(),
            kind,
            receiver,
            heard,
        }
    }

    /// Whether a command is still to be sent. If not, it is forgotten.
    pub(super) fn is_wanted(&self, corr_id: &CorrId) -> bool {
        let mut commands = self.commands.lock();
        let wanted = commands
            .get(corr_id)
            .is_some_and(|waiting| waiting.answer.is_some());
        if !wanted {
            commands.remove(corr_id);
        }
        wanted
    }

    /// The command that an answer is for.
    pub(super) fn take(&self, corr_id: &CorrId) -> Option<Waiting> {
        self.commands.lock().remove(corr_id)
    }

    /// Lets all callers know that there will be no answer.
    pub(super) fn clear(&self) {
        self.commands.lock().clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.lock().is_empty()
    }

    /// Whether every command that holds a slot was given up: the relay answers none of them.
    pub(super) fn are_given_up(&self) -> bool {
        let commands = self.commands.lock();
        let mut holding = commands.values().filter(|waiting| waiting.slot.is_some());
        holding.all(|waiting| waiting.answer.is_none())
    }

    /// Nobody waits for the answer any more.
    fn abandon(&self, corr_id: &CorrId) {
        if let Some(waiting) = self.commands.lock().get_mut(corr_id) {
            waiting.answer = None;
        }
    }
}

/// The caller's side of a command that waits. Dropping it gives up.
pub(super) struct InFlight {
    shared: Arc<Shared>,
    corr_id: CorrId,
    entity: EntityId,
    kind: AnswerKind,
    receiver: oneshot::Receiver<Answer>,
    heard: u64,
}

impl InFlight {
    /// How many blocks the relay had sent before.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// Waits for the answer. None comes when the session is over.
    pub(super) async fn answer(mut self) -> Option<Answer> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.pending.abandon(&self.corr_id);
        // The answer may have come in just now: a message must not get lost with it.
        self.receiver.close();
        if let Ok(Ok(Response::Msg { id, body })) = self.receiver.try_recv()
            && self.kind == AnswerKind::Message
        {
            self.shared.inbox.push(message(&self.entity, id, body));
        }
    }
}

/// A message as an event.
pub(super) fn message(queue: &EntityId, id: MessageId, body: Vec<u8>) -> Event {
    let queue = RecipientId(queue.clone());
    Event::Message {
        queue,
        message: SealedMessage { id, body },
    }
}
