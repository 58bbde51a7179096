//! Links to connect with (document, "Connection link: 1-time invitation and contact address").
//!
//! A full link holds all that is needed to connect. A short link names a relay, where that is
//! stored encrypted, and the key to it. Both come as `simplex:/…` and as `https://…`, and programs
//! write both, so both are read; of a full link's `https` form the site is of no meaning.
//!
//! Some texts that other programs take are refused here, since nobody can connect with them: ports
//! that are 0 or above 65,535, fingerprints and keys that have not 32 bytes, and what is no host.

mod e2e;
mod error;
mod parameters;
mod pasted;
mod request;
mod server;
mod short;

use std::fmt;
use std::str::FromStr;

pub use error::LinkTextError;
pub use request::{ConnectionRequest, RequestKind};
pub use server::LinkServer;
pub use short::{ContactKind, LINK_KEY_SIZE, LinkKey, ShortLink, ShortLinkKind, ShortLinkScheme};

use parameters::Parts;

/// Longest text that is read as a link, in bytes.
pub const MAX_LINK: usize = 16 * 1024;

/// A link of any kind.
///
/// `Debug` says which of the two it is and nothing more: who has the link can connect.
#[derive(Clone, PartialEq, Eq)]
pub enum ConnectionLink {
    /// All that is needed to connect.
    Full(ConnectionRequest),
    /// Where that is stored, and the key to it.
    Short(ShortLink),
}

impl ConnectionLink {
    /// Whether it is for one connection; a contact address is for many.
    #[must_use]
    pub fn is_invitation(&self) -> bool {
        match self {
            Self::Full(request) => request.is_invitation(),
            Self::Short(link) => link.is_invitation(),
        }
    }

    /// A link without white space.
    fn exact(text: &str) -> Result<Self, LinkTextError> {
        let parts = Parts::of(text)?;
        if parts.is_full() {
            ConnectionRequest::of_parts(&parts).map(Self::Full)
        } else {
            ShortLink::of_parts(&parts).map(Self::Short)
        }
    }
}

impl FromStr for ConnectionLink {
    type Err = LinkTextError;

    /// Takes what a person pastes: a link of any kind, with white space around it, and with line
    /// breaks inside that a mail program made.
    fn from_str(text: &str) -> Result<Self, LinkTextError> {
        pasted::link(text, Self::exact)
    }
}

impl fmt::Display for ConnectionLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(request) => request.fmt(f),
            Self::Short(link) => link.fmt(f),
        }
    }
}

impl fmt::Debug for ConnectionLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "ConnectionLink::Full",
            Self::Short(_) => "ConnectionLink::Short",
        })
    }
}

impl From<ConnectionRequest> for ConnectionLink {
    fn from(request: ConnectionRequest) -> Self {
        Self::Full(request)
    }
}

impl From<ShortLink> for ConnectionLink {
    fn from(link: ShortLink) -> Self {
        Self::Short(link)
    }
}
