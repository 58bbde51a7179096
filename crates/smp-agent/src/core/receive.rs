//! Receiving: from what a relay delivers to events, in order and each once.

use double_ratchet::DecryptError;
use sha2::{Digest, Sha256};
use smp_protocol::{
    BoxKey, ClientEnvelope, DhSecret, MessageId, OpenedMessage, PrivateHeader, ReceivedMessage,
};
use zeroize::Zeroizing;

use super::error::CoreError;
use super::event::{Event, Integrity};
use super::handshake::Confirmation;
use super::limits::{HOLD, HOLD_WITH_SEVERAL, MAX_HELD};
use super::output::Notice;
use super::step::{Effect, Step, StepError, peer};
use crate::model::{
    Chain, Connection, ConnectionId, ConnectionKind, ConnectionState, Held, OutgoingKind,
    RatchetSync, ReceiveQueue, ReceiveSwitch, Timestamp,
};
use crate::protocol::{
    AMessage, AgentEnvelope, AgentMessage, AgentVersion, AgentVersionRange, QueueAddress, Receipt,
    message_hash,
};

/// An agent message with its place, decrypted.
struct Arrived {
    id: i64,
    previous_hash: Vec<u8>,
    hash: [u8; 32],
    sent_at: Timestamp,
    plain: Zeroizing<Vec<u8>>,
    message: AMessage,
}

impl Step<'_> {
    /// A message that a relay delivered. It is acknowledged after this step's commit.
    pub(crate) fn receive(
        &mut self,
        queue: ReceiveQueue,
        id: MessageId,
        mut sealed: Vec<u8>,
    ) -> Result<(), StepError> {
        let Some(secret) = &queue.delivery_secret else {
            return Err(StepError::Peer("a message of a queue without secret"));
        };
        let opened = ReceivedMessage::open(&BoxKey::from(secret.clone()), &id, &mut sealed);
        match peer(opened, "the relay's encryption does not fit its queue")? {
            ReceivedMessage::Quota { .. } => self.queue_drained(&queue),
            ReceivedMessage::Message {
                timestamp, body, ..
            } => {
                let sent_at = Timestamp(timestamp.saturating_mul(1000));
                self.envelope(queue, sent_at, body)
            }
        }
    }

    /// The layer of the queue: secrets that sender and recipient agreed, or agree now.
    fn envelope(
        &mut self,
        mut queue: ReceiveQueue,
        sent_at: Timestamp,
        body: &[u8],
    ) -> Result<(), StepError> {
        let envelope = peer(
            ClientEnvelope::decode(body),
            "a message that cannot be read",
        )?;
        let mut connection = self.connection(queue.connection)?;
        let (secret, new) = match (&queue.e2e_secret, &envelope.sender_key) {
            (Some(secret), _) => (secret.clone(), false),
            (None, Some(key)) => {
                let secret = peer(
                    DhSecret::agree(&queue.e2e_key, key),
                    "a message with a weak key",
                )?;
                (secret, true)
            }
            (None, None) => {
                return Err(StepError::Peer("a message without key before any with one"));
            }
        };
        let opened = envelope.open(&BoxKey::from(secret.clone()));
        let opened: OpenedMessage = peer(opened, "a message that does not open")?;
        let message = opened.message();
        let agent = peer(
            AgentEnvelope::decode(message.body),
            "an agent's envelope that cannot be read",
        )?;
        if connection.kind == ConnectionKind::Address {
            let AgentEnvelope::Invitation { request, info, .. } = agent else {
                return Err(StepError::Peer(
                    "a message to a contact address that is no request",
                ));
            };
            // It comes again if the relay's answer to it was lost, or this side's acknowledgement.
            let hash: [u8; 32] = Sha256::digest(message.body).into();
            if self.tx.seen(connection.id, &hash)? {
                return Ok(());
            }
            self.tx.remember_seen(connection.id, &hash, self.now)?;
            return self.requested(&connection, &request, info);
        }
        match agent {
            AgentEnvelope::Confirmation {
                version,
                e2e,
                encrypted,
            } => {
                if !new {
                    return Err(StepError::Peer("a second confirmation"));
                }
                queue.e2e_secret = Some(secret);
                let confirmation = Confirmation {
                    version,
                    header: message.header,
                    e2e,
                    encrypted,
                };
                self.confirmation(&mut connection, &mut queue, &confirmation)
            }
            AgentEnvelope::Message { version, encrypted }
                if !new || queue.switch == ReceiveSwitch::Offered =>
            {
                refuse_header(message.header)?;
                if new {
                    // Only the peer can encrypt what the ratchet opens below; on error nothing of
                    // this is kept.
                    queue.e2e_secret = Some(secret);
                    queue.secured = true;
                    queue.switch = ReceiveSwitch::Used;
                    self.refuse_copy(&connection, encrypted)?;
                    self.tx.save_receive_queue(&queue)?;
                }
                self.raise_version(&mut connection, version)?;
                self.message(&mut connection, &queue, sent_at, encrypted, !new)
            }
            AgentEnvelope::RatchetKey {
                version,
                params,
                info,
            } if !new => {
                refuse_header(message.header)?;
                self.raise_version(&mut connection, version)?;
                self.ratchet_key(&mut connection, &params, info)
            }
            _ => Err(StepError::Peer(
                "an envelope that does not belong into this queue",
            )),
        }
    }

    /// Refuses a message that was read already.
    fn refuse_copy(&self, connection: &Connection, encrypted: &[u8]) -> Result<(), StepError> {
        if self
            .tx
            .seen(connection.id, &Sha256::digest(encrypted).into())?
        {
            return Err(StepError::Peer(
                "a copy of a message in a queue that is not in use",
            ));
        }
        Ok(())
    }

    fn confirmation(
        &mut self,
        connection: &mut Connection,
        queue: &mut ReceiveQueue,
        confirmation: &Confirmation<'_>,
    ) -> Result<(), StepError> {
        match (connection.kind, connection.state) {
            (ConnectionKind::Initiator, ConnectionState::Waiting | ConnectionState::Requesting) => {
                self.confirmed_by_joiner(connection, queue, confirmation)
            }
            (ConnectionKind::Joiner, ConnectionState::Confirming) => {
                self.confirmed_by_initiator(connection, queue, confirmation)
            }
            _ => Err(StepError::Peer("a confirmation that nobody waits for")),
        }
    }

    /// Versions only rise (document, "Connection link"; a peer that was updated says so in every
    /// envelope).
    fn raise_version(
        &mut self,
        connection: &mut Connection,
        version: AgentVersion,
    ) -> Result<(), CoreError> {
        let version = version.min(AgentVersionRange::SUPPORTED.max());
        if version > connection.version {
            connection.version = version;
            self.tx.save_connection(connection)?;
        }
        Ok(())
    }

    /// The layer of the ratchet. `of_peer`: the layer above has shown already that it is the peer's.
    fn message(
        &mut self,
        connection: &mut Connection,
        queue: &ReceiveQueue,
        sent_at: Timestamp,
        encrypted: &[u8],
        of_peer: bool,
    ) -> Result<(), StepError> {
        let hash: [u8; 32] = Sha256::digest(encrypted).into();
        if self.tx.seen(connection.id, &hash)? {
            self.queue_works(queue)?;
            self.finish_switches(connection)?;
            return Ok(());
        }
        let mut ratchet = self
            .tx
            .ratchet(connection.id)?
            .ok_or(StepError::Peer("a message before the keys for it"))?;
        let could_send = ratchet.can_send();
        let opened = match ratchet.decrypt(encrypted, &mut self.keys()) {
            Ok(opened) => opened,
            Err(error) if of_peer => return self.not_opened(connection, &error),
            Err(_) => return Err(StepError::Peer("a message of someone else")),
        };
        let plain = opened.plain;
        let AgentMessage::Message {
            id,
            previous_hash,
            message,
        } = peer(
            AgentMessage::decode(&plain),
            "an agent message that cannot be read",
        )?
        else {
            return Err(StepError::Peer("an agent message in the wrong envelope"));
        };
        self.tx.save_ratchet(connection.id, &ratchet)?;
        self.tx.remember_seen(connection.id, &hash, self.now)?;
        self.queue_works(queue)?;
        let resynchronised = self.back_in_step(connection, could_send)?;
        self.arrived(
            connection,
            Arrived {
                id,
                previous_hash,
                hash: message_hash(&plain),
                sent_at,
                plain,
                message,
            },
            resynchronised,
        )?;
        self.finish_switches(connection)?;
        Ok(())
    }

    /// A message that the ratchet does not open, and that is no copy of one that it did. The box
    /// around it has shown that the peer made it, so that the ratchets are out of step. A number that
    /// was used before, for another message, means that the peer went back to an older state and uses
    /// keys twice.
    fn not_opened(
        &mut self,
        connection: &mut Connection,
        error: &DecryptError,
    ) -> Result<(), StepError> {
        if connection.sync != RatchetSync::Ok {
            tracing::debug!(%error, "a message of the former keys, or a damaged one");
            return Err(StepError::Peer("a message that the ratchet does not open"));
        }
        connection.sync = RatchetSync::Required;
        self.tx.save_connection(connection)?;
        self.tell(connection.id, &Event::OutOfStep)?;
        Ok(())
    }

    /// Puts a message into its place: tells it, or holds it until those before it are here.
    fn arrived(
        &mut self,
        connection: &mut Connection,
        arrived: Arrived,
        new_keys: bool,
    ) -> Result<(), CoreError> {
        if new_keys {
            return self.take_under_new_keys(connection, arrived);
        }
        let expected = connection.received.id + 1;
        if arrived.id < expected {
            return self.take(connection, arrived, Integrity::Late);
        }
        if arrived.id == expected {
            let integrity = if follows(&connection.received, &arrived.previous_hash) {
                Integrity::Ok
            } else {
                Integrity::Changed
            };
            self.take(connection, arrived, integrity)?;
            return self.release(connection);
        }
        self.hold(connection, &arrived)?;
        if self.tx.held_count(connection.id)? > MAX_HELD {
            self.release_with_gap(connection)?;
        }
        Ok(())
    }

    /// The first message under new keys: what is not here by now cannot be opened any more, and a
    /// peer that went back to an older state counts on from there.
    fn take_under_new_keys(
        &mut self,
        connection: &mut Connection,
        arrived: Arrived,
    ) -> Result<(), CoreError> {
        while self.tx.held_count(connection.id)? > 0 {
            self.release_with_gap(connection)?;
        }
        self.tell_missing(connection, arrived.id)?;
        connection.missing = 0;
        self.take(connection, arrived, Integrity::Ok)
    }

    fn tell_missing(&mut self, connection: &mut Connection, next: i64) -> Result<(), CoreError> {
        let missing = next.saturating_sub(connection.received.id.saturating_add(1));
        if missing > 0 {
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            connection.missing = connection.missing.saturating_add(missing);
            self.tell(connection.id, &Event::Missing(missing))?;
        }
        Ok(())
    }

    fn hold(&mut self, connection: &Connection, arrived: &Arrived) -> Result<(), CoreError> {
        let held = Held {
            message_id: arrived.id,
            previous_hash: arrived.previous_hash.clone(),
            hash: arrived.hash,
            sent_at: arrived.sent_at,
            held_at: self.now,
            body: arrived.plain.clone(),
        };
        self.tx.hold(connection.id, &held)?;
        let until = self.now.plus(self.patience(connection.id)?);
        self.effects.push(Effect::Held(until));
        Ok(())
    }

    /// How long messages of a connection wait for one before them.
    fn patience(&self, id: ConnectionId) -> Result<i64, CoreError> {
        let several = self.tx.receive_queues(id)?.len() > 1;
        Ok(if several { HOLD_WITH_SEVERAL } else { HOLD })
    }

    /// Tells the held messages that are next.
    fn release(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        while let Some(held) = self.tx.first_held(connection.id)? {
            if held.message_id > connection.received.id + 1 {
                break;
            }
            let integrity = if follows(&connection.received, &held.previous_hash) {
                Integrity::Ok
            } else {
                Integrity::Changed
            };
            self.take_held(connection, held, integrity)?;
        }
        Ok(())
    }

    /// Gives up waiting for what is before the first held message.
    fn release_with_gap(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        if let Some(held) = self.tx.first_held(connection.id)? {
            self.tell_missing(connection, held.message_id)?;
            self.take_held(connection, held, Integrity::Ok)?;
        }
        self.release(connection)
    }

    fn take_held(
        &mut self,
        connection: &mut Connection,
        held: Held,
        integrity: Integrity,
    ) -> Result<(), CoreError> {
        self.tx.remove_held(connection.id, held.message_id)?;
        let Ok(AgentMessage::Message { id, message, .. }) = AgentMessage::decode(&held.body) else {
            return Ok(());
        };
        let arrived = Arrived {
            id,
            previous_hash: held.previous_hash,
            hash: held.hash,
            sent_at: held.sent_at,
            plain: held.body,
            message,
        };
        self.take(connection, arrived, integrity)
    }

    /// Messages that waited long enough for those before them.
    pub(crate) fn release_overdue(&mut self) -> Result<(), CoreError> {
        for id in self.tx.connections_with_held()? {
            let mut connection = self.connection(id)?;
            let patience = self.patience(id)?;
            while let Some(held) = self.tx.first_held(id)? {
                let until = held.held_at.plus(patience);
                if until > self.now {
                    self.effects.push(Effect::Held(until));
                    break;
                }
                self.release_with_gap(&mut connection)?;
            }
            self.finish_switches(&connection)?;
        }
        Ok(())
    }

    /// Acts on a message whose turn it is.
    fn take(
        &mut self,
        connection: &mut Connection,
        arrived: Arrived,
        integrity: Integrity,
    ) -> Result<(), CoreError> {
        if integrity == Integrity::Late {
            connection.missing = connection.missing.saturating_sub(1);
        } else {
            connection.received = Chain {
                id: arrived.id,
                hash: arrived.hash,
            };
        }
        self.tx.save_connection(connection)?;
        self.peer_is_confirmed(connection, &arrived.message)?;
        match arrived.message {
            AMessage::Hello => self.hello(connection),
            AMessage::Message(body) => {
                let event = Event::Message {
                    id: arrived.id,
                    sent_at: arrived.sent_at,
                    integrity,
                    hash: arrived.hash,
                    body: Zeroizing::new(body),
                };
                self.tell(connection.id, &event)?;
                Ok(())
            }
            AMessage::Received(receipts) => self.receipts(connection, &receipts),
            AMessage::Ready(_) => Ok(()),
            AMessage::QueueContinue(address) => self.go_on_sending(connection, &address),
            AMessage::AddQueues(queues) => self.queues_offered(connection, &queues),
            AMessage::QueueKeys(queues) => self.keys_for_queues(connection, &queues),
            AMessage::UseQueues(queues) => self.queues_ready(connection, &queues),
            AMessage::TestQueues(_) => Ok(()),
        }
    }

    /// Whoever sends an ordinary message has this side's confirmation, even if the relay's answer
    /// to it was lost.
    fn peer_is_confirmed(
        &mut self,
        connection: &mut Connection,
        message: &AMessage,
    ) -> Result<(), CoreError> {
        if connection.state == ConnectionState::Confirming && !matches!(message, AMessage::Hello) {
            self.connected(connection)?;
        }
        Ok(())
    }

    fn receipts(&mut self, connection: &Connection, receipts: &[Receipt]) -> Result<(), CoreError> {
        for receipt in receipts {
            let Some(hash) = self.tx.sent_hash(connection.id, receipt.id)? else {
                continue;
            };
            self.tx.forget_sent(connection.id, receipt.id)?;
            let event = Event::Received {
                id: receipt.id,
                matches: receipt.hash == hash,
            };
            self.tell(connection.id, &event)?;
        }
        Ok(())
    }

    /// This side's queue was full and is empty again: tells the peer to go on.
    fn queue_drained(&mut self, queue: &ReceiveQueue) -> Result<(), StepError> {
        let mut connection = self.connection(queue.connection)?;
        let Some(ids) = &queue.ids else {
            return Ok(());
        };
        if connection.state != ConnectionState::Connected || connection.sync.forbids_sending() {
            return Ok(());
        }
        let address = QueueAddress {
            relay: queue.relay.clone(),
            sender_id: ids.sender.clone(),
        };
        let message = AMessage::QueueContinue(address);
        self.push_message(&mut connection, OutgoingKind::QueueContinue, message)?;
        Ok(())
    }

    /// What came through a queue was of no use.
    pub(crate) fn dropped(&mut self, connection: ConnectionId, reason: &str) {
        self.notice(Notice::Dropped {
            connection,
            reason: reason.to_owned(),
        });
    }
}

fn follows(before: &Chain, previous_hash: &[u8]) -> bool {
    before.id == 0 || previous_hash == before.hash
}

fn refuse_header(header: PrivateHeader) -> Result<(), StepError> {
    match header {
        PrivateHeader::Empty => Ok(()),
        PrivateHeader::Confirmation(_) => {
            Err(StepError::Peer("a key in a message that confirms nothing"))
        }
    }
}
