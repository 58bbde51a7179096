//! The tables, and how those of an older store become those of today.

use rusqlite::{Connection, params};

use super::StoreError;
use super::transaction::Transaction;

/// The name of the agent's own tables among those that have versions.
pub(super) const AGENT: &str = "agent";

/// Step by step from nothing to today. What a step once was never changes.
pub(super) const STEPS: &[&str] = &[include_str!("schema/1.sql")];

const TABLE: &str = "version";

/// Whether a database has what each store has.
pub(super) fn is_store(connection: &Connection) -> Result<bool, StoreError> {
    const FIND: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'version')";
    Ok(connection.query_row(FIND, [], |row| row.get(0))?)
}

/// Does the steps that this store has not seen under this name.
pub(super) fn migrate(
    transaction: &Transaction<'_>,
    namespace: &'static str,
    steps: &'static [&'static str],
) -> Result<(), StoreError> {
    const CREATE: &str = "CREATE TABLE version (
        namespace TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID";
    if !is_store(transaction.sql())? {
        transaction.execute_batch(CREATE)?;
    }
    let found = version(transaction, namespace)?;
    let known = steps.len() as u32;
    if found > known {
        return Err(StoreError::NewerVersion { found, known });
    }
    if found == known {
        return Ok(());
    }
    for step in &steps[found as usize..] {
        transaction.execute_batch(step)?;
    }
    let set = "INSERT INTO version (namespace, version) VALUES (?, ?)
        ON CONFLICT (namespace) DO UPDATE SET version = excluded.version";
    transaction.write(TABLE, set, params![namespace, known])?;
    Ok(())
}

/// How many steps were done.
fn version(transaction: &Transaction<'_>, namespace: &str) -> Result<u32, StoreError> {
    let find = "SELECT version FROM version WHERE namespace = ?";
    let found = transaction.first(TABLE, find, [namespace], |row| row.integer("version"))?;
    u32::try_from(found.unwrap_or(0)).map_err(|_| StoreError::damaged(TABLE))
}
