//! The store as plain maps.

use std::collections::BTreeMap;

use double_ratchet::{E2eParams, InitiatorKeys, Ratchet};
use smp_agent::protocol::Receipt;
use smp_agent::{
    Connection, ConnectionId, EventId, Held, Joining, Outgoing, OutgoingId, ReceiveQueue,
    ReceiveQueueId, RequestId, SendQueue, SendQueueId, StoreError, StoredEvent, StoredRequest,
    Timestamp,
};
use smp_protocol::{RecipientId, RelayAddress};
use zeroize::Zeroizing;

type Done<T> = Result<T, StoreError>;

/// What [`smp_agent::Transaction`] offers, with the same names.
#[derive(Clone, Default)]
pub(crate) struct Reference {
    last: BTreeMap<&'static str, i64>,
    connections: BTreeMap<i64, Connection>,
    bytes: BTreeMap<(&'static str, i64), Vec<u8>>,
    joiner_params: BTreeMap<i64, E2eParams>,
    joining: BTreeMap<i64, Joining>,
    receive_queues: BTreeMap<i64, ReceiveQueue>,
    send_queues: BTreeMap<i64, SendQueue>,
    outgoing: BTreeMap<i64, Outgoing>,
    events: BTreeMap<i64, StoredEvent>,
    held: BTreeMap<(i64, i64), Held>,
    requests: BTreeMap<i64, StoredRequest>,
    sent: BTreeMap<(i64, i64), ([u8; 32], Timestamp)>,
    owed: BTreeMap<(i64, i64), Receipt>,
    seen: Vec<(i64, [u8; 32])>,
    settings: BTreeMap<String, Vec<u8>>,
}

impl Reference {
    fn next(&mut self, table: &'static str) -> i64 {
        let last = self.last.entry(table).or_default();
        *last += 1;
        *last
    }

    fn needs(&self, table: &'static str, connection: ConnectionId) -> Done<()> {
        match self.connections.contains_key(&connection.0) {
            true => Ok(()),
            false => Err(StoreError::Missing { table }),
        }
    }

    fn put(&mut self, table: &'static str, connection: ConnectionId, bytes: &[u8]) -> Done<()> {
        self.needs(table, connection)?;
        self.bytes.insert((table, connection.0), bytes.to_vec());
        Ok(())
    }

    fn part(&self, table: &'static str, connection: ConnectionId) -> Option<&Vec<u8>> {
        self.bytes.get(&(table, connection.0))
    }

    pub(crate) fn connections(&self) -> Done<Vec<Connection>> {
        Ok(self.connections.values().cloned().collect())
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> Done<Option<Connection>> {
        Ok(self.connections.get(&id.0).cloned())
    }

    pub(crate) fn insert_connection(&mut self, connection: &Connection) -> Done<ConnectionId> {
        let id = ConnectionId(self.next("connection"));
        let connection = Connection {
            id,
            ..connection.clone()
        };
        self.connections.insert(id.0, connection);
        Ok(id)
    }

    pub(crate) fn save_connection(&mut self, connection: &Connection) -> Done<()> {
        self.needs("connection", connection.id)?;
        let former = &self.connections[&connection.id.0];
        let connection = Connection {
            kind: former.kind,
            created: former.created,
            ..connection.clone()
        };
        self.connections.insert(connection.id.0, connection);
        Ok(())
    }

    pub(crate) fn delete_connection(&mut self, id: ConnectionId) -> Done<()> {
        self.connections.remove(&id.0);
        self.bytes.retain(|key, _| key.1 != id.0);
        self.joiner_params.remove(&id.0);
        self.joining.remove(&id.0);
        self.receive_queues
            .retain(|_, queue| queue.connection != id);
        let queues = self.send_queues.values();
        let queues: Vec<_> = queues.filter(|queue| queue.connection == id).collect();
        for queue in queues.iter().map(|queue| queue.id).collect::<Vec<_>>() {
            self.delete_send_queue(queue)?;
        }
        self.events.retain(|_, event| event.connection != id);
        self.held.retain(|key, _| key.0 != id.0);
        self.requests.retain(|_, request| request.address != id);
        self.sent.retain(|key, _| key.0 != id.0);
        self.owed.retain(|key, _| key.0 != id.0);
        self.seen.retain(|seen| seen.0 != id.0);
        Ok(())
    }

    pub(crate) fn ratchet(&self, id: ConnectionId) -> Done<Option<Ratchet>> {
        let state = self.part("ratchet", id);
        Ok(state.map(|state| Ratchet::from_bytes(state).unwrap()))
    }

    pub(crate) fn save_ratchet(&mut self, id: ConnectionId, ratchet: &Ratchet) -> Done<()> {
        self.put("ratchet", id, &ratchet.to_bytes())
    }

    pub(crate) fn initiator_keys(&self, id: ConnectionId) -> Done<Option<InitiatorKeys>> {
        let keys = self.part("initiator_keys", id);
        Ok(keys.map(|keys| InitiatorKeys::from_bytes(keys).unwrap()))
    }

    pub(crate) fn save_initiator_keys(
        &mut self,
        id: ConnectionId,
        keys: &InitiatorKeys,
    ) -> Done<()> {
        self.put("initiator_keys", id, &keys.to_bytes())
    }

    pub(crate) fn delete_initiator_keys(&mut self, id: ConnectionId) -> Done<()> {
        self.bytes.remove(&("initiator_keys", id.0));
        Ok(())
    }

    pub(crate) fn joiner_params(&self, id: ConnectionId) -> Done<Option<E2eParams>> {
        Ok(self.joiner_params.get(&id.0).cloned())
    }

    pub(crate) fn save_joiner_params(&mut self, id: ConnectionId, params: &E2eParams) -> Done<()> {
        self.needs("joiner_params", id)?;
        self.joiner_params.insert(id.0, params.clone());
        Ok(())
    }

    pub(crate) fn delete_joiner_params(&mut self, id: ConnectionId) -> Done<()> {
        self.joiner_params.remove(&id.0);
        Ok(())
    }

    pub(crate) fn own_info(&self, id: ConnectionId) -> Done<Vec<u8>> {
        Ok(self.part("own_info", id).cloned().unwrap_or_default())
    }

    pub(crate) fn set_own_info(&mut self, id: ConnectionId, info: &[u8]) -> Done<()> {
        self.put("own_info", id, info)
    }

    pub(crate) fn link_data(&self, id: ConnectionId) -> Done<Vec<u8>> {
        Ok(self.part("link_data", id).cloned().unwrap_or_default())
    }

    pub(crate) fn set_link_data(&mut self, id: ConnectionId, data: &[u8]) -> Done<()> {
        self.put("link_data", id, data)
    }

    pub(crate) fn joining(&self, id: ConnectionId) -> Done<Option<Joining>> {
        Ok(self.joining.get(&id.0).cloned())
    }

    pub(crate) fn set_joining(&mut self, id: ConnectionId, joining: Option<&Joining>) -> Done<()> {
        match joining {
            Some(joining) => {
                self.needs("joining", id)?;
                self.joining.insert(id.0, joining.clone());
            }
            None => drop(self.joining.remove(&id.0)),
        }
        Ok(())
    }
}

impl Reference {
    pub(crate) fn receive_queues(&self, connection: ConnectionId) -> Done<Vec<ReceiveQueue>> {
        let queues = self.receive_queues.values();
        let queues = queues.filter(|queue| queue.connection == connection);
        Ok(queues.cloned().collect())
    }

    pub(crate) fn all_receive_queues(&self) -> Done<Vec<ReceiveQueue>> {
        Ok(self.receive_queues.values().cloned().collect())
    }

    pub(crate) fn receive_queue(&self, id: ReceiveQueueId) -> Done<Option<ReceiveQueue>> {
        Ok(self.receive_queues.get(&id.0).cloned())
    }

    pub(crate) fn find_receive_queue(
        &self,
        relay: &RelayAddress,
        recipient: &RecipientId,
    ) -> Done<Option<ReceiveQueue>> {
        let mut queues = self.receive_queues.values();
        let found = queues.find(|queue| {
            let ids = queue.ids.as_ref();
            queue.relay == *relay && ids.is_some_and(|ids| ids.recipient == *recipient)
        });
        Ok(found.cloned())
    }

    pub(crate) fn insert_receive_queue(&mut self, queue: &ReceiveQueue) -> Done<ReceiveQueueId> {
        self.needs("receive_queue", queue.connection)?;
        let id = ReceiveQueueId(self.next("receive_queue"));
        let queue = ReceiveQueue {
            id,
            ..queue.clone()
        };
        self.receive_queues.insert(id.0, queue);
        Ok(id)
    }

    pub(crate) fn save_receive_queue(&mut self, queue: &ReceiveQueue) -> Done<()> {
        let table = "receive_queue";
        let Some(former) = self.receive_queues.get_mut(&queue.id.0) else {
            return Err(StoreError::Missing { table });
        };
        *former = ReceiveQueue {
            connection: former.connection,
            ..queue.clone()
        };
        Ok(())
    }

    pub(crate) fn delete_receive_queue(&mut self, id: ReceiveQueueId) -> Done<()> {
        self.receive_queues.remove(&id.0);
        Ok(())
    }

    pub(crate) fn send_queues(&self, connection: ConnectionId) -> Done<Vec<SendQueue>> {
        let queues = self.send_queues.values();
        let queues = queues.filter(|queue| queue.connection == connection);
        Ok(queues.cloned().collect())
    }

    pub(crate) fn all_send_queues(&self) -> Done<Vec<SendQueue>> {
        Ok(self.send_queues.values().cloned().collect())
    }

    pub(crate) fn send_queue(&self, id: SendQueueId) -> Done<Option<SendQueue>> {
        Ok(self.send_queues.get(&id.0).cloned())
    }

    pub(crate) fn insert_send_queue(&mut self, queue: &SendQueue) -> Done<SendQueueId> {
        self.needs("send_queue", queue.connection)?;
        let id = SendQueueId(self.next("send_queue"));
        let queue = SendQueue {
            id,
            ..queue.clone()
        };
        self.send_queues.insert(id.0, queue);
        Ok(id)
    }

    pub(crate) fn save_send_queue(&mut self, queue: &SendQueue) -> Done<()> {
        let table = "send_queue";
        let Some(former) = self.send_queues.get_mut(&queue.id.0) else {
            return Err(StoreError::Missing { table });
        };
        *former = SendQueue {
            connection: former.connection,
            ..queue.clone()
        };
        Ok(())
    }

    pub(crate) fn delete_send_queue(&mut self, id: SendQueueId) -> Done<()> {
        self.send_queues.remove(&id.0);
        self.outgoing.retain(|_, outgoing| outgoing.queue != id);
        Ok(())
    }

    pub(crate) fn push_outgoing(&mut self, outgoing: &Outgoing) -> Done<OutgoingId> {
        if !self.send_queues.contains_key(&outgoing.queue.0) {
            return Err(StoreError::Missing { table: "outgoing" });
        }
        let id = OutgoingId(self.next("outgoing"));
        let outgoing = Outgoing {
            id,
            ..outgoing.clone()
        };
        self.outgoing.insert(id.0, outgoing);
        Ok(id)
    }

    pub(crate) fn first_outgoing(&self, queue: SendQueueId) -> Done<Option<Outgoing>> {
        let mut outgoing = self.outgoing.values();
        Ok(outgoing.find(|outgoing| outgoing.queue == queue).cloned())
    }

    pub(crate) fn outgoing(&self, id: OutgoingId) -> Done<Option<Outgoing>> {
        Ok(self.outgoing.get(&id.0).cloned())
    }

    pub(crate) fn remove_outgoing(&mut self, id: OutgoingId) -> Done<()> {
        self.outgoing.remove(&id.0);
        Ok(())
    }

    pub(crate) fn move_outgoing(&mut self, from: SendQueueId, to: SendQueueId) -> Done<()> {
        if from == to {
            return Ok(());
        }
        let outgoing = self.outgoing.values();
        let moved = outgoing.filter(|outgoing| outgoing.queue == from);
        for outgoing in moved.cloned().collect::<Vec<_>>() {
            self.push_outgoing(&Outgoing {
                queue: to,
                ..outgoing
            })?;
        }
        self.outgoing.retain(|_, outgoing| outgoing.queue != from);
        Ok(())
    }

    pub(crate) fn outgoing_count(&self, queue: SendQueueId) -> Done<u64> {
        let outgoing = self.outgoing.values();
        Ok(outgoing.filter(|outgoing| outgoing.queue == queue).count() as u64)
    }

    pub(crate) fn queues_with_outgoing(&self) -> Done<Vec<SendQueueId>> {
        let mut queues: Vec<_> = self.outgoing.values().map(|one| one.queue).collect();
        queues.sort_unstable();
        queues.dedup();
        Ok(queues)
    }
}

impl Reference {
    pub(crate) fn push_event(
        &mut self,
        connection: ConnectionId,
        at: Timestamp,
        body: &[u8],
    ) -> Done<EventId> {
        let id = EventId(self.next("event"));
        let body = Zeroizing::new(body.to_vec());
        let event = StoredEvent {
            id,
            connection,
            at,
            body,
        };
        self.events.insert(id.0, event);
        Ok(id)
    }

    pub(crate) fn events(&self, after: EventId, limit: usize) -> Done<Vec<StoredEvent>> {
        let events = self.events.values().filter(|event| event.id > after);
        Ok(events.take(limit).cloned().collect())
    }

    pub(crate) fn first_event(&self) -> Done<Option<StoredEvent>> {
        Ok(self.events.values().next().cloned())
    }

    pub(crate) fn remove_event(&mut self, id: EventId) -> Done<bool> {
        Ok(self.events.remove(&id.0).is_some())
    }

    pub(crate) fn event_count(&self) -> Done<u64> {
        Ok(self.events.len() as u64)
    }

    pub(crate) fn hold(&mut self, connection: ConnectionId, held: &Held) -> Done<()> {
        self.needs("held", connection)?;
        let key = (connection.0, held.message_id);
        self.held.entry(key).or_insert_with(|| held.clone());
        Ok(())
    }

    pub(crate) fn first_held(&self, connection: ConnectionId) -> Done<Option<Held>> {
        let mut held = self.held.iter();
        let first = held.find(|(key, _)| key.0 == connection.0);
        Ok(first.map(|(_, held)| held.clone()))
    }

    pub(crate) fn remove_held(&mut self, connection: ConnectionId, message_id: i64) -> Done<()> {
        self.held.remove(&(connection.0, message_id));
        Ok(())
    }

    pub(crate) fn held_count(&self, connection: ConnectionId) -> Done<u64> {
        let keys = self.held.keys();
        Ok(keys.filter(|key| key.0 == connection.0).count() as u64)
    }

    pub(crate) fn oldest_held(&self) -> Done<Option<Timestamp>> {
        Ok(self.held.values().map(|held| held.held_at).min())
    }

    pub(crate) fn connections_with_held(&self) -> Done<Vec<ConnectionId>> {
        let mut connections: Vec<_> = self.held.keys().map(|key| ConnectionId(key.0)).collect();
        connections.dedup();
        Ok(connections)
    }

    pub(crate) fn insert_request(&mut self, request: &StoredRequest) -> Done<RequestId> {
        self.needs("request", request.address)?;
        let id = RequestId(self.next("request"));
        let request = StoredRequest {
            id,
            ..request.clone()
        };
        self.requests.insert(id.0, request);
        Ok(id)
    }

    pub(crate) fn requests(&self) -> Done<Vec<StoredRequest>> {
        Ok(self.requests.values().cloned().collect())
    }

    pub(crate) fn request(&self, id: RequestId) -> Done<Option<StoredRequest>> {
        Ok(self.requests.get(&id.0).cloned())
    }

    pub(crate) fn delete_request(&mut self, id: RequestId) -> Done<()> {
        self.requests.remove(&id.0);
        Ok(())
    }

    pub(crate) fn request_count(&self, address: ConnectionId) -> Done<u64> {
        let requests = self.requests.values();
        Ok(requests
            .filter(|request| request.address == address)
            .count() as u64)
    }

    pub(crate) fn remember_sent(
        &mut self,
        connection: ConnectionId,
        message_id: i64,
        hash: &[u8; 32],
        at: Timestamp,
    ) -> Done<()> {
        self.needs("sent", connection)?;
        self.sent.insert((connection.0, message_id), (*hash, at));
        Ok(())
    }

    pub(crate) fn sent_hash(
        &self,
        connection: ConnectionId,
        message_id: i64,
    ) -> Done<Option<[u8; 32]>> {
        Ok(self
            .sent
            .get(&(connection.0, message_id))
            .map(|sent| sent.0))
    }

    pub(crate) fn forget_sent(&mut self, connection: ConnectionId, message_id: i64) -> Done<()> {
        self.sent.remove(&(connection.0, message_id));
        Ok(())
    }

    pub(crate) fn forget_sent_before(&mut self, time: Timestamp) -> Done<u64> {
        let before = self.sent.len();
        self.sent.retain(|_, sent| sent.1 >= time);
        Ok((before - self.sent.len()) as u64)
    }

    pub(crate) fn owe_receipt(&mut self, connection: ConnectionId, receipt: &Receipt) -> Done<()> {
        self.needs("owed_receipt", connection)?;
        let key = (connection.0, receipt.id);
        self.owed.entry(key).or_insert_with(|| receipt.clone());
        Ok(())
    }

    pub(crate) fn take_owed_receipts(
        &mut self,
        connection: ConnectionId,
        limit: usize,
    ) -> Done<Vec<Receipt>> {
        let keys = self.owed.keys().filter(|key| key.0 == connection.0);
        let keys: Vec<_> = keys.take(limit).copied().collect();
        Ok(keys
            .iter()
            .filter_map(|key| self.owed.remove(key))
            .collect())
    }

    pub(crate) fn remember_seen(
        &mut self,
        connection: ConnectionId,
        hash: &[u8; 32],
        _at: Timestamp,
    ) -> Done<()> {
        self.needs("seen", connection)?;
        if !self.seen(connection, hash)? {
            self.seen.push((connection.0, *hash));
        }
        Ok(())
    }

    pub(crate) fn seen(&self, connection: ConnectionId, hash: &[u8; 32]) -> Done<bool> {
        Ok(self.seen.contains(&(connection.0, *hash)))
    }

    pub(crate) fn setting(&self, name: &str) -> Done<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.settings.get(name).cloned().map(Zeroizing::new))
    }

    pub(crate) fn set_setting(&mut self, name: &str, value: Option<&[u8]>) -> Done<()> {
        match value {
            Some(value) => drop(self.settings.insert(name.to_owned(), value.to_vec())),
            None => drop(self.settings.remove(name)),
        }
        Ok(())
    }
}
