//! What a service and a relay compare to see whether they mean the same queues.

use std::fmt;

use md5::{Digest, Md5};

use crate::encoding::{DecodeError, Reader, put_short_array};
use crate::id::EntityId;

/// The MD5 digests of queue ids, combined by XOR (document, "Subscribe to multiple queues").
///
/// No queue is the same as 16 zero bytes. The order of the queues does not matter, and adding one
/// twice takes it out again. It finds differences by accident, it is no protection. `Debug` shows
/// no byte of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct IdsHash(pub [u8; Self::SIZE]);

impl IdsHash {
    /// Its length in bytes.
    pub const SIZE: usize = 16;

    /// The hash of one queue.
    #[must_use]
    pub fn of(id: &EntityId) -> Self {
        Self(Md5::digest(id.as_bytes()).into())
    }

    /// Adds the queues of `other`, or takes them out.
    pub fn combine(&mut self, other: Self) {
        for (byte, other) in self.0.iter_mut().zip(other.0) {
            *byte ^= other;
        }
    }

    /// Reads a short string of 16 bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or has another length.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "hash of ids";
        reader
            .short(WHAT)?
            .try_into()
            .map(Self)
            .map_err(|_| DecodeError::Limit(WHAT))
    }

    /// Appends a short string of 16 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_short_array(out, &self.0);
    }
}

impl<'a> FromIterator<&'a EntityId> for IdsHash {
    fn from_iter<T: IntoIterator<Item = &'a EntityId>>(ids: T) -> Self {
        let mut hash = Self::default();
        ids.into_iter().for_each(|id| hash.combine(Self::of(id)));
        hash
    }
}

impl fmt::Debug for IdsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdsHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EntityId {
        EntityId::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_hash_of_one_queue_is_the_md5_of_its_id() {
        // RFC 1321, A.5.
        let expected = 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72_u128.to_be_bytes();
        assert_eq!(IdsHash::of(&id("abc")).0, expected);
        assert_eq!(IdsHash::from_iter([&id("abc")]).0, expected);
    }

    #[test]
    fn order_does_not_matter_and_twice_is_never() {
        let (a, b, c) = (id("a"), id("b"), id("c"));
        assert_eq!(
            IdsHash::from_iter([&a, &b, &c]),
            IdsHash::from_iter([&c, &a, &b])
        );
        assert_eq!(IdsHash::from_iter([&a, &b, &a]), IdsHash::of(&b));
        assert_eq!(IdsHash::from_iter([&a, &a]), IdsHash::default());
    }
}
