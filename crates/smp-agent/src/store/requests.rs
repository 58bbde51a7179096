//! Requests to connect that came to contact addresses.

use rusqlite::params;

use super::row::Row;
use super::{StoreError, Transaction};
use crate::model::{ConnectionId, RequestId, StoredRequest};

const TABLE: &str = "request";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, address, received, link, info FROM request ",
            $rest
        )
    };
}

/// Requests to connect.
impl Transaction<'_> {
    /// Stores a new request, whatever its id says, and gives its id.
    pub fn insert_request(&self, request: &StoredRequest) -> Result<RequestId, StoreError> {
        let insert = "INSERT INTO request (address, received, link, info) VALUES (?, ?, ?, ?)";
        let values = params![
            request.address.0,
            request.received.0,
            request.link.as_str(),
            request.info,
        ];
        self.insert(TABLE, insert, values).map(RequestId)
    }

    /// All requests, the oldest first.
    pub fn requests(&self) -> Result<Vec<StoredRequest>, StoreError> {
        self.all(TABLE, select!("ORDER BY id"), [], request)
    }

    /// A request.
    pub fn request(&self, id: RequestId) -> Result<Option<StoredRequest>, StoreError> {
        self.first(TABLE, select!("WHERE id = ?"), [id.0], request)
    }

    /// Deletes a request.
    pub fn delete_request(&self, id: RequestId) -> Result<(), StoreError> {
        self.write(TABLE, "DELETE FROM request WHERE id = ?", [id.0])?;
        Ok(())
    }

    /// How many requests wait that came to an address.
    pub fn request_count(&self, address: ConnectionId) -> Result<u64, StoreError> {
        let count = "SELECT count(*) AS number FROM request WHERE address = ?";
        self.count(TABLE, count, [address.0])
    }
}

fn request(row: &Row<'_, '_>) -> Result<StoredRequest, StoreError> {
    Ok(StoredRequest {
        id: RequestId(row.integer("id")?),
        address: ConnectionId(row.integer("address")?),
        link: row.secret_text("link")?,
        info: row.bytes("info")?.to_vec(),
        received: row.time("received")?,
    })
}
