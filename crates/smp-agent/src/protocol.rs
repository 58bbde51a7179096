//! What agents say to each other, and links.
//!
//! "Document" in this module's documentation means the description of the protocol,
//! `agent-protocol.md`, version 7. Where other programs do otherwise than it says, the item tells.
//!
//! An agent sends an [`AgentEnvelope`] as the body of a queue's message. Two kinds of it hold an
//! [`AgentMessage`], encrypted by the ratchet; most of those hold an [`AMessage`], numbered, and
//! with the [`message_hash`] of the one before it.
//!
//! Two people begin with a [`ConnectionLink`]: a [`ConnectionRequest`], or a [`ShortLink`] to the
//! place where one is stored, which [`open_link`] decrypts and checks.
//!
//! ```
//! use smp_agent::protocol::{ConnectionLink, ContactKind, LinkSecrets, ShortLinkKind};
//!
//! let pasted = "https://smp.example.com/a#xhHWo3lC8pk1RZUbKO7xJjT9l0CKll4uXe2_xOgVmcQ\n";
//! let ConnectionLink::Short(link) = pasted.parse()? else {
//!     unreachable!("it has no queue");
//! };
//! assert_eq!(link.kind, ShortLinkKind::Contact(ContactKind::Contact));
//! assert_eq!(link.to_string(), pasted.trim());
//! // What to ask the server for; its answer goes into `open_link`.
//! let id = LinkSecrets::of(&link).link_id().clone();
//! # assert_eq!(id.as_bytes().len(), 24);
//! # Ok::<(), smp_agent::protocol::LinkTextError>(())
//! ```
//!
//! What a peer sends never panics here, and no reader allocates more than what it was given. Errors
//! name what was wrong and never repeat it. Neither keys nor ids, addresses, links or messages show
//! in `Debug`.

mod envelope;
mod link;
mod link_data;
mod message;
mod queue;
mod version;

pub use envelope::{AgentDecodeError, AgentEnvelope};
pub use link::{
    ConnectionLink, ConnectionRequest, ContactKind, LINK_KEY_SIZE, LinkKey, LinkServer,
    LinkTextError, MAX_LINK, RequestKind, ShortLink, ShortLinkKind, ShortLinkScheme,
};
pub use link_data::{
    FixedLinkData, LinkError, LinkNonces, LinkSecrets, LinkSigningKey, LinkVerifyingKey,
    MAX_LINK_RELAYS, MAX_OWNERS, OwnerAuth, OwnersError, PADDED_FIXED_LINK_DATA,
    PADDED_USER_LINK_DATA, UserLinkData, open_link, seal_link, seal_user_data,
};
pub use message::{
    AMessage, AddedQueue, AgentMessage, KeyedQueue, MAX_QUEUES, MAX_RECEIPTS, PADDED_INFO,
    PADDED_INFO_PQ, PADDED_MESSAGE, PADDED_MESSAGE_PQ, Receipt, UsedQueue, message_hash,
    padded_info, padded_message,
};
pub use queue::{QueueAddress, QueueInfo};
pub use version::{AgentVersion, AgentVersionRange};
