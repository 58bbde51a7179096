//! Ids: of queues, links, services, sessions, messages and of a command's answer.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use rand::CryptoRng;

use crate::encoding::{DecodeError, EncodeError, MAX_SHORT, Reader, put_short_array};

/// Length in bytes of the ids that this crate makes.
pub const ID_SIZE: usize = 24;

/// Ids up to this length need no allocation; that of a session has 32 or 48 bytes.
const INLINE: usize = 48;

/// The third part of a transmission: 0 to 255 bytes that name a queue, a link, a service or a
/// session at a relay (document, "SMP Transmission and transport block structure").
///
/// Most commands that are not about one thing carry the empty id. `Debug` shows no byte of it.
#[derive(Clone)]
pub struct EntityId(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

impl EntityId {
    /// The empty id.
    pub const EMPTY: Self = Self(Repr::Inline(0, [0; INLINE]));

    /// An id of these bytes.
    ///
    /// # Errors
    /// [`EncodeError`] if there are more than 255.
    pub fn new(bytes: &[u8]) -> Result<Self, EncodeError> {
        if bytes.len() > MAX_SHORT {
            return Err(EncodeError("entity id"));
        }
        Ok(Self::of_short(bytes))
    }

    /// A new id of 24 random bytes.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        random::<ID_SIZE>(rng).into()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Whether it is the empty id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Reads a short string.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.short("entity id").map(Self::of_short)
    }

    /// Appends a short string.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.as_bytes();
        out.push(bytes.len() as u8);
        out.extend_from_slice(bytes);
    }

    fn of_short(bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= MAX_SHORT);
        if bytes.len() > INLINE {
            return Self(Repr::Heap(bytes.into()));
        }
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self(Repr::Inline(bytes.len() as u8, inline))
    }
}

impl Default for EntityId {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<[u8; ID_SIZE]> for EntityId {
    fn from(bytes: [u8; ID_SIZE]) -> Self {
        Self::of_short(&bytes)
    }
}

impl TryFrom<&[u8]> for EntityId {
    type Error = EncodeError;

    fn try_from(bytes: &[u8]) -> Result<Self, EncodeError> {
        Self::new(bytes)
    }
}

impl PartialEq for EntityId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for EntityId {}

impl PartialOrd for EntityId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EntityId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for EntityId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for EntityId {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for EntityId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntityId")
    }
}

macro_rules! entity_ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        ///
        /// `Debug` shows no byte of it.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub EntityId);

        impl $name {
            /// An id of these bytes.
            ///
            /// # Errors
            /// [`EncodeError`] if there are more than 255.
            pub fn new(bytes: &[u8]) -> Result<Self, EncodeError> {
                EntityId::new(bytes).map(Self)
            }

            /// A new id of 24 random bytes.
            #[must_use]
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                Self(EntityId::generate(rng))
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// Reads a short string.
            ///
            /// # Errors
            /// [`DecodeError::Short`] if it is cut off.
            pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                EntityId::decode(reader).map(Self)
            }

            /// Appends a short string.
            pub fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }

        impl From<EntityId> for $name {
            fn from(id: EntityId) -> Self {
                Self(id)
            }
        }

        impl From<$name> for EntityId {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<[u8; ID_SIZE]> for $name {
            fn from(bytes: [u8; ID_SIZE]) -> Self {
                Self(bytes.into())
            }
        }

        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                self.as_bytes()
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.as_bytes()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

entity_ids! {
    /// Names a queue to its recipient.
    RecipientId,
    /// Names a queue to its sender.
    SenderId,
    /// Names a queue to the one that is told of messages without seeing them.
    NotifierId,
    /// Names the data of a short link.
    LinkId,
    /// Names a service at a relay.
    ServiceId,
    /// Names a TLS session: the client's Finished message, 32 or 48 bytes. It is in all that is
    /// authorised.
    SessionId,
    /// Names a proxy's session with a relay; the proxy's client puts it into `PFWD`.
    ProxySessionId,
}

macro_rules! arrays {
    ($($(#[$doc:meta])* $name:ident $what:literal,)*) => {$(
        $(#[$doc])*
        ///
        /// `Debug` shows no byte of it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; ID_SIZE]);

        impl $name {
            /// 24 new random bytes.
            #[must_use]
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                Self(random(rng))
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; ID_SIZE] {
                &self.0
            }

            /// Reads a short string of 24 bytes.
            ///
            /// # Errors
            /// [`DecodeError::Short`] if it is cut off, [`DecodeError::Limit`] if it is longer or
            /// shorter.
            pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let bytes = reader.short($what)?;
                bytes.try_into().map(Self).map_err(|_| DecodeError::Limit($what))
            }

            /// Appends a short string of 24 bytes.
            pub fn encode(&self, out: &mut Vec<u8>) {
                put_short_array(out, &self.0);
            }
        }

        impl From<[u8; ID_SIZE]> for $name {
            fn from(bytes: [u8; ID_SIZE]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

arrays! {
    /// Names a message in its queue, and is the nonce of its encryption for the recipient.
    MessageId "message id",
    /// Ties an answer to its command, and is the nonce of the command's authenticator. Never used
    /// twice.
    CorrId "correlation id",
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_comes_back_from_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..=255)) {
            let id = RecipientId::new(&bytes).unwrap();
            prop_assert_eq!(id.as_bytes(), &bytes[..]);
            let mut out = Vec::new();
            id.encode(&mut out);
            prop_assert_eq!(out[0] as usize, bytes.len());
            prop_assert_eq!(RecipientId::decode(&mut Reader::new(&out)).unwrap(), id);
        }

        #[test]
        fn ids_compare_as_their_bytes(a: Vec<u8>, b: Vec<u8>) {
            let (x, y) = (EntityId::new(&a).unwrap(), EntityId::new(&b).unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
        }
    }

    #[test]
    fn an_id_of_256_bytes_is_refused() {
        assert!(EntityId::new(&[0; 256]).is_err());
    }

    #[test]
    fn a_message_id_has_24_bytes() {
        let mut bytes = vec![24];
        bytes.extend([7; 24]);
        assert_eq!(
            MessageId::decode(&mut Reader::new(&bytes)),
            Ok(MessageId([7; 24]))
        );
        bytes[0] = 23;
        assert!(MessageId::decode(&mut Reader::new(&bytes)).is_err());
    }

    #[test]
    fn debug_shows_no_byte_of_an_id() {
        assert_eq!(format!("{:?}", SenderId::new(b"abc").unwrap()), "SenderId");
        assert_eq!(format!("{:?}", EntityId::new(b"abc").unwrap()), "EntityId");
        assert_eq!(format!("{:?}", CorrId([3; 24])), "CorrId");
    }
}
