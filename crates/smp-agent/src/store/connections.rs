//! Connections.

use rusqlite::{ToSql, named_params};

use super::row::{Code, Row, codes};
use super::{StoreError, Transaction};
use crate::model::{Chain, Connection, ConnectionId, ConnectionKind, ConnectionState, RatchetSync};
use crate::protocol::AgentVersion;

const TABLE: &str = "connection";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, state, version, post_quantum, sent_id, sent_hash, received_id,
                received_hash, missing, sync, created FROM connection ",
            $rest
        )
    };
}

/// Connections.
impl Transaction<'_> {
    /// All connections in the order of their ids.
    pub fn connections(&self) -> Result<Vec<Connection>, StoreError> {
        self.all(TABLE, select!("ORDER BY id"), [], connection)
    }

    /// A connection.
    pub fn connection(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        self.first(TABLE, select!("WHERE id = ?"), [id.0], connection)
    }

    /// Stores a new connection, whatever its id says, and gives its id.
    pub fn insert_connection(&self, connection: &Connection) -> Result<ConnectionId, StoreError> {
        let insert =
            "INSERT INTO connection (kind, state, version, post_quantum, sent_id, sent_hash,
                received_id, received_hash, missing, sync, created)
            VALUES (:kind, :state, :version, :post_quantum, :sent_id, :sent_hash, :received_id,
                :received_hash, :missing, :sync, :created)";
        let Connection { kind, created, .. } = connection;
        let id = changing(connection, |changing| {
            let mut values = changing.to_vec();
            let (kind, created) = (kind.code(), created.0);
            values.extend([(":kind", &kind as &dyn ToSql), (":created", &created)]);
            self.insert(TABLE, insert, &values[..])
        })?;
        Ok(ConnectionId(id))
    }

    /// Stores a connection's present state. What it is, and when it was made, does not change.
    pub fn save_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        let update = "UPDATE connection SET state = :state, version = :version,
                post_quantum = :post_quantum, sent_id = :sent_id, sent_hash = :sent_hash,
                received_id = :received_id, received_hash = :received_hash,
                missing = :missing, sync = :sync
            WHERE id = :id";
        changing(connection, |changing| {
            let mut values = changing.to_vec();
            values.push((":id", &connection.id.0));
            self.update(TABLE, update, &values[..])
        })
    }

    /// Deletes a connection and all that belongs to it, its events among that. One that tells of the
    /// deletion is pushed afterwards.
    pub fn delete_connection(&self, id: ConnectionId) -> Result<(), StoreError> {
        self.write("event", "DELETE FROM event WHERE connection = ?", [id.0])?;
        self.write(TABLE, "DELETE FROM connection WHERE id = ?", [id.0])?;
        Ok(())
    }
}

/// What changes in a connection.
fn changing<T>(
    connection: &Connection,
    run: impl FnOnce(&[(&str, &dyn ToSql)]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    run(named_params! {
        ":state": connection.state.code(),
        ":version": connection.version.0,
        ":post_quantum": connection.post_quantum,
        ":sent_id": connection.sent.id,
        ":sent_hash": connection.sent.hash,
        ":received_id": connection.received.id,
        ":received_hash": connection.received.hash,
        ":missing": connection.missing,
        ":sync": connection.sync.code(),
    })
}

fn connection(row: &Row<'_, '_>) -> Result<Connection, StoreError> {
    Ok(Connection {
        id: ConnectionId(row.integer("id")?),
        kind: row.code("kind")?,
        state: row.code("state")?,
        version: AgentVersion(row.small("version")?),
        post_quantum: row.flag("post_quantum")?,
        sent: Chain {
            id: row.integer("sent_id")?,
            hash: *row.array("sent_hash")?,
        },
        received: Chain {
            id: row.integer("received_id")?,
            hash: *row.array("received_hash")?,
        },
        missing: row.count("missing")?,
        sync: row.code("sync")?,
        created: row.time("created")?,
    })
}

codes!(ConnectionKind {
    Initiator = 0,
    Joiner = 1,
    Address = 2,
});

codes!(ConnectionState {
    Preparing = 0,
    Resolving = 1,
    Requesting = 2,
    Waiting = 3,
    Joining = 4,
    Confirming = 5,
    Connected = 6,
    Failed = 7,
    Deleting = 8,
});

codes!(RatchetSync {
    Ok = 0,
    Required = 1,
    Started = 2,
    Agreed = 3,
});
