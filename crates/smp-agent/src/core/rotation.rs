//! Queues that are added to a connection, or take the place of others (document, "Rotating
//! messaging queue").

use rand::seq::IndexedRandom as _;
use smp_protocol::{ClientVersion, DhSecret, QueueMode, RelayAddress};

use super::error::CoreError;
use super::event::Event;
use super::handshake::{PeerQueue, queue_uri};
use super::jobs::Job;
use super::limits::{DEAD_RELAY, MAX_QUEUES, STUCK};
use super::step::{Effect, Step, StepError};
use crate::model::{
    Connection, ConnectionId, ConnectionState, OutgoingKind, ReceiveQueue, ReceiveQueueId,
    ReceiveQueueState, ReceiveSwitch, Securing, SendQueue, SendQueueState,
};
use crate::protocol::{AMessage, AddedQueue, KeyedQueue, QueueAddress, QueueInfo, UsedQueue};

impl Step<'_> {
    /// One of the configured relays, at random, and another than these if there is one.
    pub(crate) fn choose_relay(
        &mut self,
        avoid: &[RelayAddress],
    ) -> Result<RelayAddress, CoreError> {
        let relays = &self.config.relays;
        let others: Vec<_> = relays
            .iter()
            .filter(|relay| !avoid.contains(relay))
            .collect();
        let chosen = if others.is_empty() {
            relays.choose(self.random)
        } else {
            others.choose(self.random).copied()
        };
        chosen.cloned().ok_or(CoreError::NoRelay)
    }

    /// Makes a queue that takes the place of the connection's present one.
    pub(crate) fn rotate(&mut self, connection: &Connection) -> Result<(), CoreError> {
        let queues = self.tx.receive_queues(connection.id)?;
        let active = queues
            .iter()
            .find(|queue| queue.state == ReceiveQueueState::Active);
        let old = active.ok_or(CoreError::NotConnected)?;
        self.replace_queue(connection, old.id)
    }

    /// Makes a queue that takes the place of this one.
    pub(crate) fn replace_queue(
        &mut self,
        connection: &Connection,
        old: ReceiveQueueId,
    ) -> Result<(), CoreError> {
        self.may_change_queues(connection)?;
        let queues = self.tx.receive_queues(connection.id)?;
        if queues.iter().any(is_being_added) {
            return Err(CoreError::Busy("a change of queues"));
        }
        self.add_receive_queue(connection.id, &queues, Some(old))
    }

    /// Adds a queue at another relay, so that messages come as long as one of them works. Peers
    /// that only know one queue a connection ignore it.
    pub(crate) fn add_queue(&mut self, connection: &Connection) -> Result<(), CoreError> {
        self.may_change_queues(connection)?;
        let queues = self.tx.receive_queues(connection.id)?;
        if queues.len() >= MAX_QUEUES {
            return Err(CoreError::Busy("the largest number of queues"));
        }
        self.add_receive_queue(connection.id, &queues, None)
    }

    fn may_change_queues(&self, connection: &Connection) -> Result<(), CoreError> {
        if connection.state != ConnectionState::Connected {
            return Err(CoreError::NotConnected);
        }
        if connection.sync.forbids_sending() {
            return Err(CoreError::OutOfStep);
        }
        Ok(())
    }

    fn add_receive_queue(
        &mut self,
        connection: ConnectionId,
        present: &[ReceiveQueue],
        replaces: Option<ReceiveQueueId>,
    ) -> Result<(), CoreError> {
        let mut avoid: Vec<_> = present.iter().map(|queue| queue.relay.clone()).collect();
        avoid.extend(
            self.tx
                .send_queues(connection)?
                .into_iter()
                .map(|queue| queue.relay),
        );
        let mut queue = self.new_receive_queue(connection, QueueMode::Messaging, &avoid)?;
        queue.replaces = replaces;
        queue.switch = ReceiveSwitch::Wanted;
        self.tx.save_receive_queue(&queue)?;
        Ok(())
    }

    /// New keys are agreed: says again what may have been lost, or could not be said, about queues
    /// that are being changed.
    pub(crate) fn repeat_changes(&mut self, connection: &mut Connection) -> Result<(), CoreError> {
        for mut queue in self.tx.receive_queues(connection.id)? {
            match queue.switch {
                ReceiveSwitch::Wanted => self.offer_queue(connection, &mut queue)?,
                ReceiveSwitch::Offered if queue.sender_key.is_none() => {
                    self.offer_queue(connection, &mut queue)?;
                }
                ReceiveSwitch::Offered if !queue.secured => {}
                ReceiveSwitch::Offered | ReceiveSwitch::Used => {
                    self.tell_to_use(connection, &mut queue)?;
                }
                ReceiveSwitch::None | ReceiveSwitch::Proven => {}
            }
        }
        let mut keyed = Vec::new();
        for queue in self.tx.send_queues(connection.id)? {
            if queue.state == SendQueueState::Offered {
                keyed.push(keys_for(&queue));
            } else if queue.state == SendQueueState::Active && queue.replaces.is_some() {
                self.push_test(connection, &queue)?;
            }
        }
        self.push_queue_keys(connection, keyed)
    }

    /// A queue for an established connection exists: offers it to the peer (QADD).
    pub(crate) fn offer_queue(
        &mut self,
        connection: &mut Connection,
        queue: &mut ReceiveQueue,
    ) -> Result<(), CoreError> {
        if connection.sync.forbids_sending() {
            return Ok(());
        }
        let Some(uri) = queue_uri(queue) else {
            return Ok(());
        };
        let replaces = match queue.replaces {
            Some(old) => self.receive_queue(old)?.as_ref().and_then(address_of),
            None => None,
        };
        queue.switch = ReceiveSwitch::Offered;
        self.tx.save_receive_queue(queue)?;
        let added = AddedQueue {
            queue: uri,
            replaces,
        };
        let message = AMessage::AddQueues(vec![added]);
        self.push_message(connection, OutgoingKind::AddQueue, message)?;
        Ok(())
    }

    /// QADD: the peer offers queues. Answers with this side's keys for them.
    pub(crate) fn queues_offered(
        &mut self,
        connection: &mut Connection,
        offered: &[AddedQueue],
    ) -> Result<(), CoreError> {
        let mut keyed = Vec::new();
        for added in offered {
            match self.queue_offered(connection, added) {
                Ok(Some(queue)) => keyed.push(queue),
                Ok(None) => {}
                Err(StepError::Peer(reason)) => self.dropped(connection.id, reason),
                Err(StepError::Core(error)) => return Err(error),
            }
        }
        self.push_queue_keys(connection, keyed)
    }

    fn push_queue_keys(
        &mut self,
        connection: &mut Connection,
        keyed: Vec<KeyedQueue>,
    ) -> Result<(), CoreError> {
        if !keyed.is_empty() && !connection.sync.forbids_sending() {
            let message = AMessage::QueueKeys(keyed);
            self.push_message(connection, OutgoingKind::QueueKey, message)?;
        }
        Ok(())
    }

    fn queue_offered(
        &mut self,
        connection: &Connection,
        added: &AddedQueue,
    ) -> Result<Option<KeyedQueue>, StepError> {
        let Some(peer_queue) = PeerQueue::from_uri(&added.queue) else {
            return Err(StepError::Peer("a queue of an unknown version was offered"));
        };
        let queues = self.tx.send_queues(connection.id)?;
        let replaced = match &added.replaces {
            Some(address) => match queues.iter().find(|queue| is_at(queue, address)) {
                Some(queue) => Some(queue.id),
                None => return Err(StepError::Peer("a queue was to replace an unknown one")),
            },
            None => None,
        };
        let address = QueueAddress {
            relay: added.queue.relay.clone(),
            sender_id: added.queue.sender_id.clone(),
        };
        if let Some(known) = queues.iter().find(|queue| is_at(queue, &address)) {
            // The offer came before; the relay may have the key that was sent then.
            let offered = known.state == SendQueueState::Offered;
            return Ok(offered.then(|| keys_for(known)));
        }
        // Only the latest offer for a queue's place counts.
        for queue in &queues {
            let same_place = replaced.is_some() && queue.replaces == replaced;
            if queue.state == SendQueueState::Offered && same_place {
                self.tx.delete_send_queue(queue.id)?;
            }
        }
        if self.tx.send_queues(connection.id)?.len() >= MAX_QUEUES {
            return Err(StepError::Peer("too many queues were offered"));
        }
        let mut queue = self.new_send_queue(connection.id, &peer_queue, None)?;
        queue.securing = Securing::Recipient;
        queue.state = SendQueueState::Offered;
        queue.replaces = replaced;
        self.tx.save_send_queue(&queue)?;
        Ok(Some(keys_for(&queue)))
    }

    /// QKEY: the peer's keys for offered queues. Gives them to the relay.
    pub(crate) fn keys_for_queues(
        &mut self,
        connection: &Connection,
        keyed: &[KeyedQueue],
    ) -> Result<(), CoreError> {
        for keys in keyed {
            let address = QueueAddress {
                relay: keys.queue.relay.clone(),
                sender_id: keys.queue.sender_id.clone(),
            };
            let queues = self.tx.receive_queues(connection.id)?;
            let offered = queues.into_iter().find(|queue| {
                queue.switch == ReceiveSwitch::Offered
                    && queue.sender_key.is_none()
                    && address_of(queue).as_ref() == Some(&address)
            });
            let Some(mut queue) = offered else {
                self.dropped(connection.id, "keys for a queue that was not offered");
                continue;
            };
            let Ok(secret) = DhSecret::agree(&queue.e2e_key, &keys.queue.dh_key) else {
                self.dropped(connection.id, "a weak key for an offered queue");
                continue;
            };
            queue.e2e_secret = Some(secret);
            queue.sender_key = Some(keys.key);
            self.tx.save_receive_queue(&queue)?;
            self.work(Job::SecureReceive(queue.id));
        }
        Ok(())
    }

    /// The offered queue is secured: tells the peer to use it (QUSE).
    pub(crate) fn tell_to_use(
        &mut self,
        connection: &mut Connection,
        queue: &mut ReceiveQueue,
    ) -> Result<(), CoreError> {
        let Some(address) = address_of(queue) else {
            return Ok(());
        };
        if connection.sync.forbids_sending() {
            return Ok(());
        }
        queue.switch = ReceiveSwitch::Used;
        self.tx.save_receive_queue(queue)?;
        let used = UsedQueue {
            address,
            primary: queue.replaces.is_some(),
        };
        let message = AMessage::UseQueues(vec![used]);
        self.push_message(connection, OutgoingKind::UseQueue, message)?;
        Ok(())
    }

    /// QUSE: sends through the offered queues from now on, beginning with QTEST.
    pub(crate) fn queues_ready(
        &mut self,
        connection: &mut Connection,
        used: &[UsedQueue],
    ) -> Result<(), CoreError> {
        for ready in used {
            let queues = self.tx.send_queues(connection.id)?;
            let Some(mut queue) = queues
                .iter()
                .find(|queue| is_at(queue, &ready.address))
                .cloned()
            else {
                self.dropped(connection.id, "an unknown queue was to be used");
                continue;
            };
            if queue.state == SendQueueState::Offered {
                queue.state = SendQueueState::Active;
                queue.secured = true;
                self.tx.save_send_queue(&queue)?;
                if let Some(old) = queues.iter().find(|old| Some(old.id) == queue.replaces) {
                    let mut old = old.clone();
                    old.state = SendQueueState::Retired;
                    self.tx.save_send_queue(&old)?;
                    self.tx.move_outgoing(old.id, queue.id)?;
                }
            }
            self.push_test(connection, &queue)?;
        }
        Ok(())
    }

    /// QTEST, through the new queue alone.
    fn push_test(
        &mut self,
        connection: &mut Connection,
        queue: &SendQueue,
    ) -> Result<(), CoreError> {
        if connection.sync.forbids_sending() {
            return Ok(());
        }
        let test = AMessage::TestQueues(vec![QueueAddress {
            relay: queue.relay.clone(),
            sender_id: queue.sender_id.clone(),
        }]);
        self.push_message_to(connection, &[queue.id], OutgoingKind::TestQueue, test)?;
        Ok(())
    }

    /// Where the peer offered a queue in the place of one whose relay takes nothing any more, the
    /// keys for it do not get through the old one: sends through the new one at once (document,
    /// "Fast queue rotation procedure"). Its first message brings the key.
    pub(crate) fn leave_stuck_queues(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), CoreError> {
        if connection.sync.forbids_sending() {
            return Ok(());
        }
        let queues = self.tx.send_queues(connection.id)?;
        for mut queue in queues.iter().cloned() {
            let old = queues.iter().find(|old| Some(old.id) == queue.replaces);
            let (SendQueueState::Offered, Some(old)) = (queue.state, old) else {
                continue;
            };
            let waits = self.tx.first_outgoing(old.id)?;
            if waits.is_none_or(|first| first.created.plus(STUCK) > self.now) {
                continue;
            }
            let mut old = old.clone();
            old.state = SendQueueState::Retired;
            self.tx.save_send_queue(&old)?;
            queue.state = SendQueueState::Active;
            queue.securing = Securing::Sender;
            self.tx.save_send_queue(&queue)?;
            self.push_test(connection, &queue)?;
            self.tx.move_outgoing(old.id, queue.id)?;
        }
        Ok(())
    }

    /// The new queue took a message: the old one is forgotten.
    pub(crate) fn test_delivered(&mut self, queue: &mut SendQueue) -> Result<(), CoreError> {
        if let Some(old) = queue.replaces.take() {
            self.tx.save_send_queue(queue)?;
            self.tx.delete_send_queue(old)?;
        }
        Ok(())
    }

    /// A message came through a queue: the peer uses it.
    pub(crate) fn queue_works(&mut self, queue: &ReceiveQueue) -> Result<(), CoreError> {
        if queue.switch == ReceiveSwitch::Used {
            let mut queue = queue.clone();
            queue.switch = ReceiveSwitch::Proven;
            self.tx.save_receive_queue(&queue)?;
        }
        Ok(())
    }

    /// Deletes the queues whose place others have taken, unless a message is missing: it may
    /// still be there.
    pub(crate) fn finish_switches(&mut self, connection: &Connection) -> Result<(), CoreError> {
        let complete = connection.missing == 0 && self.tx.held_count(connection.id)? == 0;
        for mut queue in self.tx.receive_queues(connection.id)? {
            let late = queue.created.plus(DEAD_RELAY) <= self.now;
            if queue.switch != ReceiveSwitch::Proven || !(complete || late) {
                continue;
            }
            queue.switch = ReceiveSwitch::None;
            let old = queue.replaces.take();
            self.tx.save_receive_queue(&queue)?;
            if let Some(old) = old {
                self.delete_receive_queue(old)?;
            }
            self.tell(connection.id, &Event::QueueChanged)?;
        }
        Ok(())
    }

    /// Has a queue deleted at its relay.
    pub(crate) fn delete_receive_queue(&mut self, id: ReceiveQueueId) -> Result<(), CoreError> {
        if let Some(mut queue) = self.receive_queue(id)? {
            if let Some(ids) = &queue.ids {
                let relay = queue.relay.clone();
                self.effects
                    .push(Effect::Unsubscribe(relay, ids.recipient.clone()));
            }
            queue.state = ReceiveQueueState::Deleting;
            self.tx.save_receive_queue(&queue)?;
            self.work(Job::Delete(id));
        }
        Ok(())
    }

    /// Has all queues of a connection deleted.
    pub(crate) fn delete_receive_queues(&mut self, id: ConnectionId) -> Result<(), CoreError> {
        for queue in self.tx.receive_queues(id)? {
            self.delete_receive_queue(queue.id)?;
        }
        Ok(())
    }

    /// A queue is gone at its relay. As long as this side can send, another takes its place.
    pub(crate) fn receive_queue_lost(&mut self, queue: &ReceiveQueue) -> Result<(), CoreError> {
        if queue.state != ReceiveQueueState::Active {
            return Ok(());
        }
        let connection = self.connection(queue.connection)?;
        self.tell(connection.id, &Event::QueueLost)?;
        let queues = self.tx.receive_queues(connection.id)?;
        let replaced = queues.iter().any(is_being_added);
        if connection.state == ConnectionState::Connected
            && !connection.sync.forbids_sending()
            && !replaced
        {
            self.add_receive_queue(connection.id, &queues, Some(queue.id))?;
        }
        Ok(())
    }

    /// A_QCONT: the peer emptied its queue.
    pub(crate) fn go_on_sending(
        &mut self,
        connection: &Connection,
        address: &QueueAddress,
    ) -> Result<(), CoreError> {
        let queues = self.tx.send_queues(connection.id)?;
        if let Some(queue) = queues.iter().find(|queue| is_at(queue, address)) {
            self.effects.push(Effect::Hurry(Job::Send(queue.id)));
        }
        Ok(())
    }
}

fn is_being_added(queue: &ReceiveQueue) -> bool {
    queue.state == ReceiveQueueState::New || queue.switch != ReceiveSwitch::None
}

/// What QKEY says of an offered queue. The mode is that of a queue whose sender can secure it: no
/// other is offered.
fn keys_for(queue: &SendQueue) -> KeyedQueue {
    KeyedQueue {
        queue: QueueInfo {
            version: ClientVersion(queue.client_version),
            relay: queue.relay.clone(),
            sender_id: queue.sender_id.clone(),
            dh_key: queue.e2e_key,
            mode: Some(QueueMode::Messaging),
        },
        key: queue.key.public(),
    }
}

/// The address by which the peer names a receive queue.
pub(crate) fn address_of(queue: &ReceiveQueue) -> Option<QueueAddress> {
    let ids = queue.ids.as_ref()?;
    Some(QueueAddress {
        relay: queue.relay.clone(),
        sender_id: ids.sender.clone(),
    })
}

fn is_at(queue: &SendQueue, address: &QueueAddress) -> bool {
    queue.relay == address.relay && queue.sender_id == address.sender_id
}
