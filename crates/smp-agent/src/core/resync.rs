//! New keys for ratchets that are out of step (document, "Ratchet synchronization").

use double_ratchet::{E2eParams, E2eVersion, InitiatorKeys, Ratchet, params_hash};

use super::error::CoreError;
use super::event::Event;
use super::handshake::pq_support;
use super::step::{Step, StepError, peer};
use crate::model::{Chain, Connection, ConnectionState, OutgoingKind, RatchetSync, SendQueueState};
use crate::protocol::{AMessage, AgentEnvelope, AgentMessage, MAX_RECEIPTS, message_hash};

impl Step<'_> {
    /// Offers the peer new keys.
    pub(crate) fn resynchronise(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        if connection.state != ConnectionState::Connected {
            return Err(CoreError::NotConnected);
        }
        if connection.sync == RatchetSync::Started {
            return Err(CoreError::Busy("an agreement on new keys"));
        }
        let keys = self.new_ratchet_keys(connection)?;
        connection.sync = RatchetSync::Started;
        self.push_ratchet_key(connection, &keys)
    }

    fn new_ratchet_keys(&mut self, connection: &Connection) -> Result<InitiatorKeys, CoreError> {
        let post_quantum = connection.post_quantum;
        let keys = InitiatorKeys::generate(&mut self.keys(), post_quantum);
        self.tx.save_initiator_keys(connection.id, &keys)?;
        Ok(keys)
    }

    /// Lays this side's keys before the peer's queues. They count as a message.
    fn push_ratchet_key(
        &mut self,
        connection: &mut Connection,
        keys: &InitiatorKeys,
    ) -> Result<(), CoreError> {
        let info = AgentMessage::RatchetInfo(Vec::new()).to_bytes()?;
        let id = connection.sent.id + 1;
        connection.sent = Chain {
            id,
            hash: message_hash(&info),
        };
        self.tx.save_connection(connection)?;
        let params = keys
            .params()
            .for_version(E2eVersion::CURRENT)
            .ok_or(CoreError::Version)?;
        let envelope = AgentEnvelope::RatchetKey {
            version: connection.version,
            params,
            info: &info,
        }
        .to_bytes()?;
        for queue in self.tx.send_queues(connection.id)? {
            if queue.state == SendQueueState::Active {
                self.push(
                    queue.id,
                    OutgoingKind::RatchetKey,
                    id,
                    true,
                    envelope.clone(),
                )?;
            }
        }
        Ok(())
    }

    /// The peer's new keys.
    pub(crate) fn ratchet_key(
        &mut self,
        connection: &mut Connection,
        params: &E2eParams,
        info: &[u8],
    ) -> Result<(), StepError> {
        let peer_hash = params_hash(&params.key_1, &params.key_2);
        if self.tx.seen(connection.id, &peer_hash)? {
            return Ok(());
        }
        if connection.state == ConnectionState::Confirming
            && self.tx.ratchet(connection.id)?.is_some()
        {
            // Whoever sends new keys has this side's confirmation.
            self.connected(connection)?;
        }
        if connection.state != ConnectionState::Connected {
            return Err(StepError::Peer("new keys before the connection is made"));
        }
        self.tx.remember_seen(connection.id, &peer_hash, self.now)?;
        connection.received = Chain {
            id: connection.received.id + 1,
            hash: message_hash(info),
        };
        let own = match connection.sync {
            RatchetSync::Started => self.tx.initiator_keys(connection.id)?,
            _ => None,
        };
        let own = match own {
            Some(own) => own,
            None => {
                let own = self.new_ratchet_keys(connection)?;
                self.push_ratchet_key(connection, &own)?;
                own
            }
        };
        let receives_first = own.hash() <= peer_hash;
        let support = pq_support(connection.post_quantum);
        let ratchet = if receives_first {
            Ratchet::initiator(&own, params, support)
        } else {
            Ratchet::joiner_with(&own, params, support, &mut self.keys())
        };
        let ratchet = peer(ratchet, "new keys that are unusable")?;
        self.tx.save_ratchet(connection.id, &ratchet)?;
        self.tx.delete_initiator_keys(connection.id)?;
        connection.sync = RatchetSync::Agreed;
        self.tx.save_connection(connection)?;
        if !receives_first {
            self.push_ready(connection)?;
        }
        Ok(())
    }

    fn push_ready(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        let message = AMessage::Ready(connection.received.id);
        self.push_message(connection, OutgoingKind::Ready, message)?;
        Ok(())
    }

    /// A message was opened: the ratchets fit. Returns whether they are new, so that messages
    /// before this one are lost for good.
    pub(crate) fn back_in_step(
        &mut self,
        connection: &mut Connection,
        could_send: bool,
    ) -> Result<bool, CoreError> {
        let agreed = connection.sync == RatchetSync::Agreed;
        match connection.sync {
            RatchetSync::Ok | RatchetSync::Started => return Ok(false),
            RatchetSync::Required | RatchetSync::Agreed => {}
        }
        connection.sync = RatchetSync::Ok;
        self.tx.save_connection(connection)?;
        self.tell(connection.id, &Event::InStep)?;
        if agreed && !could_send {
            self.push_ready(connection)?;
        }
        self.send_owed_receipts(connection)?;
        self.repeat_changes(connection)?;
        Ok(agreed)
    }

    fn send_owed_receipts(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        loop {
            let owed = self.tx.take_owed_receipts(connection.id, MAX_RECEIPTS)?;
            if owed.is_empty() {
                return Ok(());
            }
            let message = AMessage::Received(owed);
            self.push_message(connection, OutgoingKind::Received, message)?;
        }
    }
}
