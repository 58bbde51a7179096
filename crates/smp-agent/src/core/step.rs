//! One step: everything that one input changes, in one transaction of the store.

use double_ratchet::RandomKeys;
use rand::CryptoRng;
use smp_protocol::{MessageId, RecipientId, RelayAddress};

use super::error::CoreError;
use super::event::Event;
use super::jobs::Job;
use super::output::{Notice, Step as Progress};
use super::{CoreConfig, Randomness};
use crate::model::{
    Connection, ConnectionId, ReceiveQueue, ReceiveQueueId, SendQueue, SendQueueId, Timestamp,
};
use crate::store::{StoreError, Transaction};

/// A step under way. What it decides to do outside the store takes place after the commit.
pub(crate) struct Step<'a> {
    pub(crate) tx: &'a Transaction<'a>,
    pub(crate) now: Timestamp,
    pub(crate) config: &'a CoreConfig,
    pub(crate) random: &'a mut Randomness,
    pub(crate) effects: &'a mut Vec<Effect>,
}

/// What a step does outside the store.
#[derive(Debug)]
pub(crate) enum Effect {
    /// There is work, or may be.
    Work(Job),
    /// A queue's messages are wanted.
    Subscribe(ReceiveQueueId),
    /// They are not wanted any more.
    Unsubscribe(RelayAddress, RecipientId),
    /// Do this now, whatever it waits for.
    Hurry(Job),
    /// A message waits for one before it until then.
    Held(Timestamp),
    /// There are new events.
    Events,
    /// Something to show.
    Notice(Notice),
}

/// Why a step changed nothing.
#[derive(Debug)]
pub(crate) enum StepError {
    /// This side's fault.
    Core(CoreError),
    /// What the peer or the relay sent is wrong; the text says how.
    Peer(&'static str),
}

impl<E: Into<CoreError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Core(error.into())
    }
}

impl<'a> Step<'a> {
    /// A generator of keys.
    pub(crate) fn keys(&mut self) -> RandomKeys<&mut Randomness> {
        RandomKeys(self.random)
    }

    /// Randomness.
    pub(crate) fn rng(&mut self) -> &mut impl CryptoRng {
        self.random
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> Result<Connection, CoreError> {
        self.tx
            .connection(id)?
            .ok_or(CoreError::NoSuchConnection(id))
    }

    pub(crate) fn receive_queue(
        &self,
        id: ReceiveQueueId,
    ) -> Result<Option<ReceiveQueue>, StoreError> {
        self.tx.receive_queue(id)
    }

    pub(crate) fn send_queue(&self, id: SendQueueId) -> Result<Option<SendQueue>, StoreError> {
        self.tx.send_queue(id)
    }

    /// Tells the application, in the same transaction.
    pub(crate) fn tell(
        &mut self,
        connection: ConnectionId,
        event: &Event,
    ) -> Result<(), StoreError> {
        self.tx.push_event(connection, self.now, &event.encode())?;
        self.effects.push(Effect::Events);
        Ok(())
    }

    pub(crate) fn work(&mut self, job: Job) {
        self.effects.push(Effect::Work(job));
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.effects.push(Effect::Notice(notice));
    }

    pub(crate) fn progress(&mut self, connection: ConnectionId, step: Progress) {
        self.notice(Notice::Progress { connection, step });
    }

    pub(crate) fn acknowledge(&mut self, queue: ReceiveQueueId, message: MessageId) {
        self.work(Job::Acknowledge(queue, message));
    }
}

/// Makes an error the peer's fault, with these words.
pub(crate) fn peer<T, E>(result: Result<T, E>, what: &'static str) -> Result<T, StepError> {
    result.map_err(|_| StepError::Peer(what))
}
