//! What a short link leads to (document, "Short links").
//!
//! The data has two parts. The fixed part never changes: the link's key is its hash, so a server
//! cannot show another one. The user part may change, and is signed by the root key, which is in
//! the fixed part, or for addresses by an owner that the root key made one. Both parts are padded
//! and encrypted with a key that comes out of the link's key, which the server never sees.

mod owner;
mod sealed;
mod secrets;

use std::fmt;

use smp_protocol::encoding::{MAX_SHORT, put_bool, put_large, put_short};
use smp_protocol::{DecodeError, EncodeError, Reader};

pub use owner::{LinkSigningKey, LinkVerifyingKey, MAX_OWNERS, OwnerAuth, OwnersError};
pub use sealed::{
    LinkError, LinkNonces, PADDED_FIXED_LINK_DATA, PADDED_USER_LINK_DATA, open_link, seal_link,
    seal_user_data,
};
pub use secrets::LinkSecrets;

use super::{AgentVersionRange, ConnectionRequest, ShortLink};

/// Most relays in the data of one link: as many as their count can say.
pub const MAX_LINK_RELAYS: usize = u8::MAX as usize;

/// Says that the length of the user's data is in the two bytes behind it.
const LARGE: u8 = 0xff;

/// What never changes about a link (document, `fixedData`). `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct FixedLinkData {
    /// The versions of the agent that made it.
    pub versions: AgentVersionRange,
    /// Verifies both parts.
    pub root_key: LinkVerifyingKey,
    /// What the link stands for.
    pub request: ConnectionRequest,
    /// What the application calls it, at most 255 bytes.
    pub entity_id: Option<Vec<u8>>,
}

impl FixedLinkData {
    /// Reads all of `bytes`. What newer versions add at the end is ignored.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or has a wrong value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            versions: AgentVersionRange::decode(&mut reader)?,
            root_key: LinkVerifyingKey::decode(&mut reader)?,
            request: ConnectionRequest::decode(&mut reader)?,
            // It has no mark of its own: what is no short string is something newer.
            entity_id: reader.short("entity id").ok().map(<[u8]>::to_vec),
        })
    }

    /// Appends all of it.
    ///
    /// # Errors
    /// [`EncodeError`] if a list or a string does not fit its field.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.versions.encode(out);
        self.root_key.encode(out);
        self.request.encode(out)?;
        match &self.entity_id {
            None => Ok(()),
            Some(id) => put_short(out, id, "entity id"),
        }
    }
}

impl fmt::Debug for FixedLinkData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedLinkData")
    }
}

/// What its owner may change about a link (document, `userData`). `Debug` says the kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum UserLinkData {
    /// Of an invitation.
    Invitation {
        /// The versions of the agent that wrote it.
        versions: AgentVersionRange,
        /// What the application says of itself.
        data: Vec<u8>,
    },
    /// Of an address.
    Contact {
        /// The versions of the agent that wrote it.
        versions: AgentVersionRange,
        /// Whether one may connect with the request of the fixed part; otherwise only through
        /// `relays`.
        direct: bool,
        /// Who may write the user part besides the root key, at most [`MAX_OWNERS`].
        owners: Vec<OwnerAuth>,
        /// Other addresses of the same thing, at most [`MAX_LINK_RELAYS`].
        relays: Vec<ShortLink>,
        /// What the application says of itself.
        data: Vec<u8>,
    },
}

impl UserLinkData {
    /// Reads all of `bytes`. What newer versions add at the end is ignored.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or has a wrong value, [`DecodeError::Limit`] if it has more
    /// than [`MAX_OWNERS`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "user link data";
        let mut reader = Reader::new(bytes);
        match reader.u8(WHAT)? {
            b'I' => Ok(Self::Invitation {
                versions: AgentVersionRange::decode(&mut reader)?,
                data: user_data(&mut reader)?,
            }),
            b'C' => Ok(Self::Contact {
                versions: AgentVersionRange::decode(&mut reader)?,
                direct: reader.bool(WHAT)?,
                owners: list(&mut reader, MAX_OWNERS, "owners", OwnerAuth::decode)?,
                relays: list(&mut reader, MAX_LINK_RELAYS, "relays", ShortLink::decode)?,
                data: user_data(&mut reader)?,
            }),
            _ => Err(DecodeError::Value(WHAT)),
        }
    }

    /// Appends all of it.
    ///
    /// # Errors
    /// [`EncodeError`] if a list or a string does not fit its field.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Invitation { versions, data } => {
                out.push(b'I');
                versions.encode(out);
                put_user_data(out, data)
            }
            Self::Contact {
                versions,
                direct,
                owners,
                relays,
                data,
            } => {
                out.push(b'C');
                versions.encode(out);
                put_bool(out, *direct);
                put_count(out, owners.len(), MAX_OWNERS, "owners")?;
                owners.iter().try_for_each(|owner| owner.encode(out))?;
                put_count(out, relays.len(), MAX_LINK_RELAYS, "relays")?;
                relays.iter().for_each(|relay| relay.encode(out));
                put_user_data(out, data)
            }
        }
    }

    /// What the application says of itself.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match self {
            Self::Invitation { data, .. } | Self::Contact { data, .. } => data,
        }
    }

    /// Whether it is of an invitation.
    #[must_use]
    pub fn is_invitation(&self) -> bool {
        matches!(self, Self::Invitation { .. })
    }

    fn owners(&self) -> &[OwnerAuth] {
        match self {
            Self::Invitation { .. } => &[],
            Self::Contact { owners, .. } => owners,
        }
    }
}

impl fmt::Debug for UserLinkData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invitation { .. } => "UserLinkData::Invitation",
            Self::Contact { .. } => "UserLinkData::Contact",
        })
    }
}

/// A count of one byte, which may be 0, and as many of what `item` reads.
fn list<T>(
    reader: &mut Reader<'_>,
    most: usize,
    what: &'static str,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.u8(what)?;
    if usize::from(count) > most {
        return Err(DecodeError::Limit(what));
    }
    (0..count).map(|_| item(reader)).collect()
}

fn put_count(
    out: &mut Vec<u8>,
    count: usize,
    most: usize,
    what: &'static str,
) -> Result<(), EncodeError> {
    let byte = u8::try_from(count).ok().filter(|_| count <= most);
    out.push(byte.ok_or(EncodeError(what))?);
    Ok(())
}

fn user_data(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    const WHAT: &str = "user data";
    let data = if reader.take(&[LARGE]) {
        reader.large(WHAT)
    } else {
        reader.short(WHAT)
    };
    data.map(<[u8]>::to_vec)
}

fn put_user_data(out: &mut Vec<u8>, data: &[u8]) -> Result<(), EncodeError> {
    const WHAT: &str = "user data";
    if data.len() < MAX_SHORT {
        return put_short(out, data, WHAT);
    }
    out.push(LARGE);
    put_large(out, data, WHAT)
}
