//! What waits to be sent.

use rusqlite::params;

use super::row::{Code, Row, codes};
use super::{StoreError, Transaction};
use crate::model::{Outgoing, OutgoingId, OutgoingKind, SendQueueId};

const TABLE: &str = "outgoing";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, queue, kind, message_id, notify, created, body FROM outgoing ",
            $rest
        )
    };
}

/// What waits to be sent.
impl Transaction<'_> {
    /// Stores what is to be sent behind all that waits for the same queue, whatever its id says, and
    /// gives its id.
    pub fn push_outgoing(&self, outgoing: &Outgoing) -> Result<OutgoingId, StoreError> {
        let insert = "INSERT INTO outgoing (queue, kind, message_id, notify, created, body)
            VALUES (?, ?, ?, ?, ?, ?)";
        let values = params![
            outgoing.queue.0,
            outgoing.kind.code(),
            outgoing.message_id,
            outgoing.notify,
            outgoing.created.0,
            outgoing.body,
        ];
        self.insert(TABLE, insert, values).map(OutgoingId)
    }

    /// What is to be sent next to a queue.
    pub fn first_outgoing(&self, queue: SendQueueId) -> Result<Option<Outgoing>, StoreError> {
        let find = select!("WHERE queue = ? ORDER BY id LIMIT 1");
        self.first(TABLE, find, [queue.0], outgoing)
    }

    /// Something that waits to be sent.
    pub fn outgoing(&self, id: OutgoingId) -> Result<Option<Outgoing>, StoreError> {
        self.first(TABLE, select!("WHERE id = ?"), [id.0], outgoing)
    }

    /// Removes what was sent.
    pub fn remove_outgoing(&self, id: OutgoingId) -> Result<(), StoreError> {
        self.write(TABLE, "DELETE FROM outgoing WHERE id = ?", [id.0])?;
        Ok(())
    }

    /// Moves all that waits for one queue to another, behind what waits there, in the same order.
    /// It gets new ids.
    pub fn move_outgoing(&self, from: SendQueueId, to: SendQueueId) -> Result<(), StoreError> {
        if from == to {
            return Ok(());
        }
        let copy = "INSERT INTO outgoing (queue, kind, message_id, notify, created, body)
            SELECT ?2, kind, message_id, notify, created, body FROM outgoing
            WHERE queue = ?1 ORDER BY id";
        self.write(TABLE, copy, [from.0, to.0])?;
        self.write(TABLE, "DELETE FROM outgoing WHERE queue = ?", [from.0])?;
        Ok(())
    }

    /// How much waits for a queue.
    pub fn outgoing_count(&self, queue: SendQueueId) -> Result<u64, StoreError> {
        let count = "SELECT count(*) AS number FROM outgoing WHERE queue = ?";
        self.count(TABLE, count, [queue.0])
    }

    /// The queues for which something waits, in the order of their ids.
    pub fn queues_with_outgoing(&self) -> Result<Vec<SendQueueId>, StoreError> {
        let find = "SELECT DISTINCT queue FROM outgoing ORDER BY queue";
        self.all(TABLE, find, [], |row| row.integer("queue").map(SendQueueId))
    }
}

fn outgoing(row: &Row<'_, '_>) -> Result<Outgoing, StoreError> {
    Ok(Outgoing {
        id: OutgoingId(row.integer("id")?),
        queue: SendQueueId(row.integer("queue")?),
        kind: row.code("kind")?,
        message_id: row.integer("message_id")?,
        notify: row.flag("notify")?,
        body: row.bytes("body")?.to_vec(),
        created: row.time("created")?,
    })
}

codes!(OutgoingKind {
    Confirmation = 0,
    Invitation = 1,
    RatchetKey = 2,
    Hello = 3,
    Message = 4,
    Received = 5,
    Ready = 6,
    QueueContinue = 7,
    AddQueue = 8,
    QueueKey = 9,
    UseQueue = 10,
    TestQueue = 11,
});
