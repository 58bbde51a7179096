//! Rows: named columns become values of the model. Whatever does not fit is damage.

use rusqlite::types::ValueRef;
use smp_protocol::{AuthKeyKind, AuthPrivateKey, AuthPublicKey, DhPrivateKey, DhSecret, KEY_SIZE};
use zeroize::Zeroizing;

use super::StoreError;
use crate::model::Timestamp;

/// A row that was read.
pub(super) struct Row<'a, 's> {
    row: &'a rusqlite::Row<'s>,
    table: &'static str,
}

impl<'a, 's> Row<'a, 's> {
    pub(super) fn new(row: &'a rusqlite::Row<'s>, table: &'static str) -> Self {
        Self { row, table }
    }

    pub(super) fn integer(&self, column: &str) -> Result<i64, StoreError> {
        self.some(self.optional_integer(column)?)
    }

    pub(super) fn optional_integer(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            _ => Err(self.damaged()),
        }
    }

    pub(super) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.integer(column).map(Timestamp)
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, StoreError> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged()),
        }
    }

    pub(super) fn small(&self, column: &str) -> Result<u16, StoreError> {
        u16::try_from(self.integer(column)?).map_err(|_| self.damaged())
    }

    pub(super) fn count(&self, column: &str) -> Result<u32, StoreError> {
        u32::try_from(self.integer(column)?).map_err(|_| self.damaged())
    }

    /// One of an enum's values.
    pub(super) fn code<T: Code>(&self, column: &str) -> Result<T, StoreError> {
        self.some(T::from_code(self.integer(column)?))
    }

    pub(super) fn bytes(&self, column: &str) -> Result<&'a [u8], StoreError> {
        self.some(self.optional_bytes(column)?)
    }

    pub(super) fn optional_bytes(&self, column: &str) -> Result<Option<&'a [u8]>, StoreError> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            _ => Err(self.damaged()),
        }
    }

    pub(super) fn secret_bytes(&self, column: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        Ok(Zeroizing::new(self.bytes(column)?.to_vec()))
    }

    pub(super) fn secret_text(&self, column: &str) -> Result<Zeroizing<String>, StoreError> {
        let ValueRef::Text(bytes) = self.value(column)? else {
            return Err(self.damaged());
        };
        let text = self.some(std::str::from_utf8(bytes).ok())?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Exactly so many bytes.
    pub(super) fn array<const N: usize>(&self, column: &str) -> Result<&'a [u8; N], StoreError> {
        self.some(self.optional_array(column)?)
    }

    pub(super) fn optional_array<const N: usize>(
        &self,
        column: &str,
    ) -> Result<Option<&'a [u8; N]>, StoreError> {
        let bytes = self.optional_bytes(column)?;
        let array = bytes.map(|bytes| bytes.try_into().map_err(|_| self.damaged()));
        array.transpose()
    }

    /// What bytes stand for, if they can stand for it.
    pub(super) fn parsed<T, E>(
        &self,
        column: &str,
        parse: impl FnOnce(&'a [u8]) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        parse(self.bytes(column)?).map_err(|_| self.damaged())
    }

    pub(super) fn optional_parsed<T, E>(
        &self,
        column: &str,
        parse: impl FnOnce(&'a [u8]) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let bytes = self.optional_bytes(column)?;
        bytes.map(parse).transpose().map_err(|_| self.damaged())
    }

    pub(super) fn auth_private_key(&self, column: &str) -> Result<AuthPrivateKey, StoreError> {
        let (kind, key) = self.some(kind_and_key(self.bytes(column)?))?;
        Ok(AuthPrivateKey::from_bytes(kind, key))
    }

    pub(super) fn optional_auth_public_key(
        &self,
        column: &str,
    ) -> Result<Option<AuthPublicKey>, StoreError> {
        self.optional_parsed(column, AuthPublicKey::from_spki)
    }

    pub(super) fn dh_private_key(&self, column: &str) -> Result<DhPrivateKey, StoreError> {
        self.array(column).map(DhPrivateKey::from_bytes)
    }

    pub(super) fn dh_secret(&self, column: &str) -> Result<DhSecret, StoreError> {
        self.array(column).map(DhSecret::from_bytes)
    }

    pub(super) fn optional_dh_secret(&self, column: &str) -> Result<Option<DhSecret>, StoreError> {
        let secret = self.optional_array(column)?;
        Ok(secret.map(DhSecret::from_bytes))
    }

    /// The error that says that this row can't be read.
    pub(super) fn damaged(&self) -> StoreError {
        StoreError::damaged(self.table)
    }

    /// The error that says that a newer program wrote this row.
    pub(super) fn newer(&self) -> StoreError {
        StoreError::Newer { what: self.table }
    }

    fn some<T>(&self, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.damaged())
    }

    fn value(&self, column: &str) -> Result<ValueRef<'a>, StoreError> {
        self.row.get_ref(column).map_err(|_| self.damaged())
    }
}

/// An enum that is stored as a number. The numbers never change.
pub(super) trait Code: Sized {
    fn code(self) -> i64;
    fn from_code(code: i64) -> Option<Self>;
}

/// Says which numbers an enum's values have.
macro_rules! codes {
    ($type:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl $crate::store::row::Code for $type {
            fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code),+
                }
            }

            fn from_code(code: i64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use codes;

/// A private key as it is stored: its kind, then its bytes.
pub(super) fn auth_private_key(key: &AuthPrivateKey) -> Zeroizing<[u8; 1 + KEY_SIZE]> {
    let mut bytes = Zeroizing::new([0; 1 + KEY_SIZE]);
    bytes[0] = match key.kind() {
        AuthKeyKind::Ed25519 => 0,
        AuthKeyKind::X25519 => 1,
    };
    bytes[1..].copy_from_slice(key.as_bytes());
    bytes
}

fn kind_and_key(bytes: &[u8]) -> Option<(AuthKeyKind, &[u8; KEY_SIZE])> {
    let (kind, key) = bytes.split_first()?;
    let kind = match kind {
        0 => AuthKeyKind::Ed25519,
        1 => AuthKeyKind::X25519,
        _ => return None,
    };
    Some((kind, key.try_into().ok()?))
}
