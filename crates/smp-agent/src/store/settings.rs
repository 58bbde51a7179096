//! Settings: small values under names.

use rusqlite::params;
use zeroize::Zeroizing;

use super::{StoreError, Transaction};

const TABLE: &str = "setting";

/// Settings.
impl Transaction<'_> {
    /// What is stored under a name.
    pub fn setting(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let find = "SELECT value FROM setting WHERE name = ?";
        self.first(TABLE, find, [name], |row| row.secret_bytes("value"))
    }

    /// Stores a value under a name, or removes it. Names are no secrets.
    pub fn set_setting(&self, name: &str, value: Option<&[u8]>) -> Result<(), StoreError> {
        let set = "INSERT INTO setting (name, value) VALUES (?, ?)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        match value {
            Some(value) => self.write(TABLE, set, params![name, value])?,
            None => self.write(TABLE, "DELETE FROM setting WHERE name = ?", [name])?,
        };
        Ok(())
    }
}
