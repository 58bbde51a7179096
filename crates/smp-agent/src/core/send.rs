//! Sending: messages become encrypted bytes that lie in the store until a relay has them.

use rand::Rng as _;
use smp_protocol::{BoxKey, ClientMessage, MessageFlags, NONCE_SIZE, PrivateHeader, RelayAddress};

use super::error::CoreError;
use super::event::{Event, FailReason, UndeliveredReason};
use super::handshake::is_on;
use super::jobs::{Job, Next, Pending, Refusal};
use super::limits::{FULL_PAUSE, MAX_OUTGOING, MESSAGE_LIFETIME};
use super::output::{Notice, Request, Step as Progress};
use super::step::Step;
use crate::model::{
    Chain, Connection, ConnectionKind, ConnectionState, Outgoing, OutgoingId, OutgoingKind,
    Securing, SendQueue, SendQueueId, SendQueueState,
};
use crate::protocol::{
    AMessage, AgentEnvelope, AgentMessage, message_hash, padded_info, padded_message,
};

impl Step<'_> {
    /// Encrypts a message and lays it before the queues that the connection sends to.
    pub(crate) fn push_message(
        &mut self,
        connection: &mut Connection,
        kind: OutgoingKind,
        message: AMessage,
    ) -> Result<i64, CoreError> {
        let queues = self.tx.send_queues(connection.id)?;
        let active: Vec<_> = queues
            .iter()
            .filter(|queue| queue.state == SendQueueState::Active)
            .map(|queue| queue.id)
            .collect();
        self.push_message_to(connection, &active, kind, message)
    }

    /// Encrypts a message and lays it before these queues: the same bytes for all.
    pub(crate) fn push_message_to(
        &mut self,
        connection: &mut Connection,
        queues: &[SendQueueId],
        kind: OutgoingKind,
        message: AMessage,
    ) -> Result<i64, CoreError> {
        if connection.sync.forbids_sending() && kind != OutgoingKind::Ready {
            return Err(CoreError::OutOfStep);
        }
        if queues.is_empty() {
            return Err(CoreError::NotConnected);
        }
        let mut ratchet = self
            .tx
            .ratchet(connection.id)?
            .ok_or(CoreError::NotConnected)?;
        let id = connection.sent.id + 1;
        let encoded = AgentMessage::Message {
            id,
            previous_hash: connection.sent.hash.to_vec(),
            message,
        }
        .to_bytes()?;
        let post_quantum = is_on(ratchet.support());
        // A test may have to carry the queue's key beside it, as a confirmation does.
        let padded = match kind {
            OutgoingKind::TestQueue => padded_info(post_quantum),
            _ => padded_message(post_quantum),
        };
        let encrypted = ratchet.encrypt(&encoded, padded, Some(connection.post_quantum))?;
        let envelope = AgentEnvelope::Message {
            version: connection.version,
            encrypted: &encrypted,
        }
        .to_bytes()?;
        self.tx.save_ratchet(connection.id, &ratchet)?;
        connection.sent = Chain {
            id,
            hash: message_hash(&encoded),
        };
        self.tx.save_connection(connection)?;
        let notify = matches!(kind, OutgoingKind::Message | OutgoingKind::Hello);
        for queue in queues {
            self.push(*queue, kind, id, notify, envelope.clone())?;
        }
        Ok(id)
    }

    /// Lays an envelope before a queue.
    pub(crate) fn push(
        &mut self,
        queue: SendQueueId,
        kind: OutgoingKind,
        message_id: i64,
        notify: bool,
        body: Vec<u8>,
    ) -> Result<(), CoreError> {
        if self.tx.outgoing_count(queue)? >= MAX_OUTGOING {
            return Err(CoreError::TooManyWaiting);
        }
        self.tx.push_outgoing(&Outgoing {
            id: OutgoingId(0),
            queue,
            kind,
            message_id,
            notify,
            body,
            created: self.now,
        })?;
        self.work(Job::Send(queue));
        Ok(())
    }

    /// What a queue needs next: its relay needs the sender's key, or a message waits.
    pub(crate) fn next_to_send(
        &mut self,
        id: SendQueueId,
    ) -> Result<Option<(RelayAddress, Request, Pending)>, CoreError> {
        let Some(queue) = self.send_queue(id)? else {
            return Ok(None);
        };
        if queue.securing == Securing::Sender && !queue.secured {
            let request = Request::SenderSecure {
                sender: queue.sender_id.clone(),
                key: queue.key.clone(),
            };
            return Ok(Some((queue.relay, request, Pending::SenderSecure)));
        }
        let Some(outgoing) = self.tx.first_outgoing(id)? else {
            return Ok(None);
        };
        if outgoing.kind == OutgoingKind::Confirmation && self.must_secure_first(&queue)? {
            return Ok(None);
        }
        let body = self.seal(&queue, &outgoing)?;
        let request = Request::Send {
            sender: queue.sender_id.clone(),
            key: self
                .authorises(&queue, &outgoing)
                .then(|| queue.key.clone()),
            flags: MessageFlags {
                notification: outgoing.notify,
            },
            body,
        };
        Ok(Some((
            queue.relay,
            request,
            Pending::Sent(outgoing.id, queue.id),
        )))
    }

    /// Whether the peer could send before its queue here is secured: it may as soon as it has this
    /// side's confirmation.
    fn must_secure_first(&self, queue: &SendQueue) -> Result<bool, CoreError> {
        let queues = self.tx.receive_queues(queue.connection)?;
        Ok(queues
            .iter()
            .any(|queue| queue.sender_key.is_some() && !queue.secured))
    }

    /// Whether the relay knows the key already, so that the command has to be authorised.
    fn authorises(&self, queue: &SendQueue, outgoing: &Outgoing) -> bool {
        match queue.securing {
            Securing::Sender => true,
            Securing::Recipient => queue.secured || outgoing.kind != OutgoingKind::Confirmation,
            Securing::Never => false,
        }
    }

    /// The client's envelope. Its key and header go with what comes before the queue is in use.
    fn seal(&mut self, queue: &SendQueue, outgoing: &Outgoing) -> Result<Vec<u8>, CoreError> {
        let first = match outgoing.kind {
            OutgoingKind::Confirmation | OutgoingKind::Invitation => true,
            // A queue that is used before its recipient has the key that QKEY would have brought.
            OutgoingKind::TestQueue => queue.securing == Securing::Sender,
            _ => false,
        };
        let header = match (outgoing.kind, queue.securing) {
            (OutgoingKind::Confirmation, Securing::Recipient) => {
                PrivateHeader::Confirmation(queue.key.public())
            }
            _ => PrivateHeader::Empty,
        };
        let mut nonce = [0; NONCE_SIZE];
        self.rng().fill_bytes(&mut nonce);
        let message = ClientMessage {
            header,
            body: &outgoing.body,
        };
        Ok(message.seal(
            queue.client_version,
            first.then_some(&queue.e2e_key),
            &BoxKey::from(queue.e2e_secret.clone()),
            &nonce,
        )?)
    }

    /// The relay has this sender's key.
    pub(crate) fn sender_secured(&mut self, id: SendQueueId) -> Result<(), CoreError> {
        if let Some(mut queue) = self.send_queue(id)? {
            queue.secured = true;
            self.tx.save_send_queue(&queue)?;
            self.progress(queue.connection, Progress::PeerQueueSecured);
            self.work(Job::Send(id));
        }
        Ok(())
    }

    /// A relay has a message.
    pub(crate) fn delivered(&mut self, id: OutgoingId) -> Result<(), CoreError> {
        let Some(outgoing) = self.tx.outgoing(id)? else {
            return Ok(());
        };
        self.tx.remove_outgoing(id)?;
        let Some(mut queue) = self.send_queue(outgoing.queue)? else {
            return Ok(());
        };
        if queue.full_since.take().is_some() {
            self.tx.save_send_queue(&queue)?;
        }
        self.work(Job::Send(queue.id));
        let mut connection = self.connection(queue.connection)?;
        match outgoing.kind {
            OutgoingKind::Confirmation => self.confirmation_delivered(&mut connection, &mut queue),
            OutgoingKind::Invitation => self.request_delivered(&mut connection, &queue),
            OutgoingKind::Hello => self.hello_delivered(&mut connection, &mut queue),
            OutgoingKind::TestQueue => self.test_delivered(&mut queue),
            OutgoingKind::Message => {
                self.notice(Notice::Sent {
                    connection: connection.id,
                    message_id: outgoing.message_id,
                    created: outgoing.created,
                });
                Ok(())
            }
            _ => Ok(()),
        }?;
        self.finish_deletion(connection.id)
    }

    /// A relay refused this sender's key.
    pub(crate) fn sender_not_secured(
        &mut self,
        id: SendQueueId,
        refusal: &Refusal,
    ) -> Result<Next, CoreError> {
        match refusal {
            Refusal::Later => return Ok(Next::Later),
            Refusal::Full => return Ok(Next::After(FULL_PAUSE)),
            Refusal::Gone | Refusal::Never => {}
        }
        if let Some(queue) = self.send_queue(id)? {
            self.queue_is_gone(&queue, refusal)?;
        }
        Ok(Next::Done)
    }

    /// A relay refused a message.
    pub(crate) fn not_delivered(
        &mut self,
        id: OutgoingId,
        through: SendQueueId,
        refusal: &Refusal,
    ) -> Result<Next, CoreError> {
        let outgoing = self.tx.outgoing(id)?;
        let Some(outgoing) = outgoing.filter(|outgoing| outgoing.queue == through) else {
            return Ok(Next::Done);
        };
        let Some(mut queue) = self.send_queue(outgoing.queue)? else {
            return Ok(Next::Done);
        };
        if self.now.0 - outgoing.created.0 >= MESSAGE_LIFETIME && *refusal != Refusal::Gone {
            self.give_up(&queue, &outgoing, UndeliveredReason::Expired)?;
            return Ok(Next::Done);
        }
        match refusal {
            Refusal::Later => Ok(Next::Later),
            Refusal::Full => {
                if queue.full_since.is_none() {
                    queue.full_since = Some(self.now);
                    self.tx.save_send_queue(&queue)?;
                }
                Ok(Next::After(FULL_PAUSE))
            }
            Refusal::Gone => {
                self.queue_is_gone(&queue, refusal)?;
                Ok(Next::Done)
            }
            Refusal::Never => {
                self.give_up(&queue, &outgoing, UndeliveredReason::Refused)?;
                Ok(Next::Done)
            }
        }
    }

    /// Drops one message and tells, unless it is on its way through another queue.
    fn give_up(
        &mut self,
        queue: &SendQueue,
        outgoing: &Outgoing,
        reason: UndeliveredReason,
    ) -> Result<(), CoreError> {
        self.tx.remove_outgoing(outgoing.id)?;
        self.work(Job::Send(queue.id));
        match outgoing.kind {
            OutgoingKind::Confirmation | OutgoingKind::Invitation => {
                self.fail(queue.connection, FailReason::PeerGone)
            }
            OutgoingKind::Message => {
                let others = self.tx.send_queues(queue.connection)?;
                let elsewhere = others
                    .iter()
                    .any(|other| other.id != queue.id && other.state == SendQueueState::Active);
                if !elsewhere {
                    let event = Event::NotDelivered {
                        id: outgoing.message_id,
                        reason,
                    };
                    self.tell(queue.connection, &event)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }?;
        self.finish_deletion(queue.connection)
    }

    /// A queue takes nothing any more.
    fn queue_is_gone(&mut self, queue: &SendQueue, refusal: &Refusal) -> Result<(), CoreError> {
        let connection = self.connection(queue.connection)?;
        let unfinished = matches!(
            connection.state,
            ConnectionState::Joining | ConnectionState::Requesting | ConnectionState::Confirming
        );
        if unfinished && queue.state == SendQueueState::New {
            let reason = match (connection.kind, refusal) {
                (ConnectionKind::Initiator, _)
                    if connection.state == ConnectionState::Confirming =>
                {
                    FailReason::PeerGone
                }
                _ => FailReason::LinkGone,
            };
            return self.fail(connection.id, reason);
        }
        while let Some(outgoing) = self.tx.first_outgoing(queue.id)? {
            self.give_up(queue, &outgoing, UndeliveredReason::PeerGone)?;
        }
        Ok(())
    }

    /// The connection came to nothing: what was to be sent is dropped, and its queues deleted.
    pub(crate) fn fail(
        &mut self,
        id: crate::model::ConnectionId,
        reason: FailReason,
    ) -> Result<(), CoreError> {
        let mut connection = self.connection(id)?;
        if connection.state == ConnectionState::Deleting {
            return Ok(());
        }
        connection.state = ConnectionState::Failed;
        self.tx.save_connection(&connection)?;
        self.drop_queues(id)?;
        self.tx.delete_initiator_keys(id)?;
        self.tx.delete_joiner_params(id)?;
        self.tx.set_joining(id, None)?;
        self.tell(id, &Event::Failed(reason))?;
        Ok(())
    }

    /// Drops what waits to be sent, and has the receive queues deleted.
    pub(crate) fn drop_queues(&mut self, id: crate::model::ConnectionId) -> Result<(), CoreError> {
        for queue in self.tx.send_queues(id)? {
            self.tx.delete_send_queue(queue.id)?;
        }
        self.delete_receive_queues(id)
    }
}
