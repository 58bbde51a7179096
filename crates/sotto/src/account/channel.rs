//! The signal channel of a contact: chat messages over its connection.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use call_signal::{
    CallEvent, CallId, CallMessage, ChannelError, Incoming, MAX_JSON, OutgoingMessage, SentId,
    SignalChannel, encode_body,
};
use smp_agent::core::CoreError;
use smp_agent::{Agent, AgentError, ConnectionId, Timestamp};
use tokio::sync::mpsc;

use super::shared::body_limit;
use super::taking::Taking;

/// Messages that may wait for a phone.
const INBOX: usize = 256;

/// One end of a contact's connection, for a phone.
///
/// The agent decides itself whether a relay wakes the peer's device
/// ([`OutgoingMessage::notify`]): it does for every message, so that none is told from another.
pub(super) struct AgentChannel {
    agent: Agent,
    connection: ConnectionId,
    binding: [u8; 32],
    wire: Arc<Wire>,
    inbox: mpsc::Receiver<Incoming>,
}

/// What the channel and those who fill it share.
#[derive(Default)]
pub(super) struct Wire {
    state: Mutex<State>,
    /// Nothing is sent any more.
    cut: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Calls whose messages came or went here.
    calls: HashSet<CallId>,
    /// Messages of which a receipt is awaited.
    receipts: HashSet<i64>,
    /// Invitations that were not told to the application yet.
    invitations: HashMap<CallId, Pending>,
    /// This side's invitation, until one side ends the call.
    calling: Option<CallId>,
}

/// An invitation on its way through the phone.
pub(super) struct Pending {
    pub(super) at: Timestamp,
    pub(super) taking: Option<Taking>,
}

impl AgentChannel {
    /// A channel, what it shares, and the way in.
    pub(super) fn new(
        agent: Agent,
        connection: ConnectionId,
        binding: [u8; 32],
    ) -> (Self, Arc<Wire>, mpsc::Sender<Incoming>) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let wire = Arc::new(Wire::default());
        let channel = Self {
            agent,
            connection,
            binding,
            wire: Arc::clone(&wire),
            inbox,
        };
        (channel, wire, sender)
    }

    async fn post(&self, message: OutgoingMessage) -> Result<SentId, ChannelError> {
        let OutgoingMessage {
            message,
            want_receipt,
            notify: _,
        } = message;
        if self.wire.cut.load(Ordering::Acquire) {
            return Err(ChannelError::Closed);
        }
        if let Some(call) = message.call() {
            self.wire.sends(call);
        }
        let room = self.agent.message_limit(self.connection).await;
        let limit = body_limit(room.map_err(failed)?.min(MAX_JSON));
        let body = encode_body(&[message], limit)?;
        let sent = self.agent.send(self.connection, &body, want_receipt).await;
        let id = sent.map_err(failed)?;
        if want_receipt {
            self.wire.state().receipts.insert(id);
        }
        Ok(SentId(u64::try_from(id).unwrap_or(0)))
    }
}

impl SignalChannel for AgentChannel {
    async fn send(&mut self, message: OutgoingMessage) -> Result<SentId, ChannelError> {
        self.post(message).await
    }

    async fn receive(&mut self) -> Result<Incoming, ChannelError> {
        Ok(self.inbox.recv().await.unwrap_or(Incoming::Closed))
    }

    /// The connection stays; the peer learns nothing of it.
    async fn close(&mut self) -> Result<(), ChannelError> {
        self.wire.cut();
        self.inbox.close();
        Ok(())
    }

    fn binding(&self) -> Option<[u8; 32]> {
        Some(self.binding)
    }
}

impl Wire {
    /// Nothing is sent any more.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Whether messages of this call came or went here.
    pub(super) fn knows(&self, call: CallId) -> bool {
        self.state().calls.contains(&call)
    }

    /// Whether this side calls, or did and nobody ended it yet.
    pub(super) fn is_calling(&self) -> bool {
        self.state().calling.is_some()
    }

    /// Whether a receipt of this message was awaited; it is not any more.
    pub(super) fn receipt(&self, message: i64) -> bool {
        self.state().receipts.remove(&message)
    }

    /// A call's message is going to the phone. An invitation counts as handed over when the phone
    /// told it, or at once where it may come to nothing without a word, because both call.
    pub(super) fn receives(&self, call: &CallMessage, pending: Pending) {
        let mut state = self.state();
        state.calls.insert(call.call_id);
        match call.event {
            CallEvent::Invitation(_) if state.calling.is_none() => {
                state.invitations.insert(call.call_id, pending);
                return;
            }
            CallEvent::End => state.ended(call.call_id),
            _ => {}
        }
        drop(state);
        pending.handed_over();
    }

    fn sends(&self, call: &CallMessage) {
        let mut state = self.state();
        state.calls.insert(call.call_id);
        let mut overtaken = Vec::new();
        match call.event {
            CallEvent::Invitation(_) => {
                state.calling = Some(call.call_id);
                // The phone does not call while it rings: it has not come to them yet.
                overtaken.extend(state.invitations.drain().map(|(_, pending)| pending));
            }
            CallEvent::Offer(_) => overtaken.extend(state.invitations.remove(&call.call_id)),
            CallEvent::End => state.ended(call.call_id),
            _ => {}
        }
        drop(state);
        overtaken.into_iter().for_each(Pending::handed_over);
    }

    /// The phone tells what became of an invitation.
    pub(super) fn take_invitation(&self, call: CallId) -> Option<Pending> {
        self.state().invitations.remove(&call)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ended(&mut self, call: CallId) {
        self.calling.take_if(|calling| *calling == call);
    }
}

impl Pending {
    fn handed_over(self) {
        if let Some(taking) = self.taking {
            taking.done();
        }
    }
}

fn failed(error: AgentError) -> ChannelError {
    match error {
        AgentError::Closed
        | AgentError::Core(CoreError::NoSuchConnection(_) | CoreError::NotConnected) => {
            ChannelError::Closed
        }
        other => ChannelError::Io(io::Error::other(other)),
    }
}
