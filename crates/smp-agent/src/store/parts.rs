//! What a connection has once: its ratchet, its keys before there is one, what it tells the peer, and
//! the link that it is made from.

use double_ratchet::{E2eParams, InitiatorKeys, Ratchet, StateError};
use rusqlite::params;
use smp_protocol::Reader;

use super::row::{Row, auth_private_key};
use super::{StoreError, Transaction};
use crate::model::{ConnectionId, Joining};

/// The ratchet, and keys for one.
impl Transaction<'_> {
    /// The state of a connection's ratchet.
    pub fn ratchet(&self, id: ConnectionId) -> Result<Option<Ratchet>, StoreError> {
        let find = "SELECT state FROM ratchet WHERE connection = ?";
        self.first("ratchet", find, [id.0], |row| {
            state(row, Ratchet::from_bytes(row.bytes("state")?))
        })
    }

    /// Puts a ratchet's state in the place of the former, which is gone then.
    pub fn save_ratchet(&self, id: ConnectionId, ratchet: &Ratchet) -> Result<(), StoreError> {
        self.save_ratchet_state(id, &ratchet.to_bytes())
    }

    pub(super) fn save_ratchet_state(
        &self,
        id: ConnectionId,
        state: &[u8],
    ) -> Result<(), StoreError> {
        let save = "INSERT INTO ratchet (connection, state) VALUES (?, ?)
            ON CONFLICT (connection) DO UPDATE SET state = excluded.state";
        self.write("ratchet", save, params![id.0, state]).map(drop)
    }

    /// The keys of the side that made the invitation, until its peer answers, or of a side that
    /// offers a new ratchet.
    pub fn initiator_keys(&self, id: ConnectionId) -> Result<Option<InitiatorKeys>, StoreError> {
        let find = "SELECT keys FROM initiator_keys WHERE connection = ?";
        self.first("initiator_keys", find, [id.0], |row| {
            state(row, InitiatorKeys::from_bytes(row.bytes("keys")?))
        })
    }

    /// Puts such keys in the place of the former.
    pub fn save_initiator_keys(
        &self,
        id: ConnectionId,
        keys: &InitiatorKeys,
    ) -> Result<(), StoreError> {
        let save = "INSERT INTO initiator_keys (connection, keys) VALUES (?, ?)
            ON CONFLICT (connection) DO UPDATE SET keys = excluded.keys";
        let keys = keys.to_bytes();
        self.write("initiator_keys", save, params![id.0, &keys[..]])
            .map(drop)
    }

    /// Deletes such keys.
    pub fn delete_initiator_keys(&self, id: ConnectionId) -> Result<(), StoreError> {
        let delete = "DELETE FROM initiator_keys WHERE connection = ?";
        self.write("initiator_keys", delete, [id.0]).map(drop)
    }

    /// The public keys of the side that answers an invitation, until they are in its confirmation.
    pub fn joiner_params(&self, id: ConnectionId) -> Result<Option<E2eParams>, StoreError> {
        let find = "SELECT params FROM joiner_params WHERE connection = ?";
        self.first("joiner_params", find, [id.0], |row| {
            row.parsed("params", |bytes| E2eParams::decode(&mut Reader::new(bytes)))
        })
    }

    /// Puts such keys in the place of the former.
    pub fn save_joiner_params(
        &self,
        id: ConnectionId,
        params: &E2eParams,
    ) -> Result<(), StoreError> {
        let save = "INSERT INTO joiner_params (connection, params) VALUES (?, ?)
            ON CONFLICT (connection) DO UPDATE SET params = excluded.params";
        let mut bytes = Vec::new();
        params.encode(&mut bytes);
        self.write("joiner_params", save, params![id.0, bytes])
            .map(drop)
    }

    /// Deletes such keys.
    pub fn delete_joiner_params(&self, id: ConnectionId) -> Result<(), StoreError> {
        let delete = "DELETE FROM joiner_params WHERE connection = ?";
        self.write("joiner_params", delete, [id.0]).map(drop)
    }
}

fn state<T>(row: &Row<'_, '_>, read: Result<T, StateError>) -> Result<T, StoreError> {
    read.map_err(|error| match error {
        StateError::Newer(_) => row.newer(),
        _ => row.damaged(),
    })
}

/// What is told, and what is asked.
impl Transaction<'_> {
    /// What the confirmation tells the peer of this side; nothing if it was not set.
    pub fn own_info(&self, id: ConnectionId) -> Result<Vec<u8>, StoreError> {
        let find = "SELECT info FROM own_info WHERE connection = ?";
        let info = self.first("own_info", find, [id.0], |row| {
            Ok(row.bytes("info")?.to_vec())
        })?;
        Ok(info.unwrap_or_default())
    }

    /// Sets what the confirmation tells the peer.
    pub fn set_own_info(&self, id: ConnectionId, info: &[u8]) -> Result<(), StoreError> {
        let set = "INSERT INTO own_info (connection, info) VALUES (?, ?)
            ON CONFLICT (connection) DO UPDATE SET info = excluded.info";
        self.write("own_info", set, params![id.0, info]).map(drop)
    }

    /// What stands behind the connection's short link; nothing if it was not set.
    pub fn link_data(&self, id: ConnectionId) -> Result<Vec<u8>, StoreError> {
        let find = "SELECT data FROM link_data WHERE connection = ?";
        let data = self.first("link_data", find, [id.0], |row| {
            Ok(row.bytes("data")?.to_vec())
        })?;
        Ok(data.unwrap_or_default())
    }

    /// Sets what stands behind the connection's short link.
    pub fn set_link_data(&self, id: ConnectionId, data: &[u8]) -> Result<(), StoreError> {
        let set = "INSERT INTO link_data (connection, data) VALUES (?, ?)
            ON CONFLICT (connection) DO UPDATE SET data = excluded.data";
        self.write("link_data", set, params![id.0, data]).map(drop)
    }

    /// The short link that a connection is being made from.
    pub fn joining(&self, id: ConnectionId) -> Result<Option<Joining>, StoreError> {
        let find = "SELECT link, key FROM joining WHERE connection = ?";
        self.first("joining", find, [id.0], |row| {
            Ok(Joining {
                link: row.secret_text("link")?,
                key: row.auth_private_key("key")?,
            })
        })
    }

    /// Sets or deletes the short link that a connection is being made from.
    pub fn set_joining(
        &self,
        id: ConnectionId,
        joining: Option<&Joining>,
    ) -> Result<(), StoreError> {
        let set = "INSERT INTO joining (connection, link, key) VALUES (?, ?, ?)
            ON CONFLICT (connection) DO UPDATE SET link = excluded.link, key = excluded.key";
        let delete = "DELETE FROM joining WHERE connection = ?";
        match joining {
            Some(Joining { link, key }) => {
                let key = auth_private_key(key);
                self.write("joining", set, params![id.0, link.as_str(), &key[..]])?
            }
            None => self.write("joining", delete, [id.0])?,
        };
        Ok(())
    }
}
