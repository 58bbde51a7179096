//! What a client asks a relay (document, "SMP commands").

mod credentials;
mod decode;
mod encode;
mod new_queue;

use std::fmt;

pub use credentials::{Credentials, Need};
pub use new_queue::{LinkData, NewQueue, QueueMode, QueueRequest};

use crate::address::{BasicAuth, RelayAddress};
use crate::flags::MessageFlags;
use crate::id::{LinkId, MessageId};
use crate::ids_hash::IdsHash;
use crate::key::{AuthPublicKey, DhPublicKey};
use crate::version::{SmpVersion, max_message_length};

/// Most keys in one [`Command::Rkey`].
pub const MAX_RECIPIENT_KEYS: usize = u8::MAX as usize;

/// Longest name in a [`Command::Rslv`], in bytes.
pub const MAX_NAME: usize = 253;

/// The count that stands for "unknown" in [`Command::Subs`] and [`Command::Nsubs`]; what they hold
/// when they come without parameters.
pub const UNKNOWN_COUNT: i64 = -1;

/// A command. The variants have the names of the document's tags.
///
/// [`Command::decode`] takes what a session of its version may send, [`Command::encode`] writes it.
/// What an authorization and an entity id have to do with it says [`Command::credentials`].
/// `Debug` shows the tag alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Keeps the connection alive, and makes noise.
    Ping,

    /// Creates a queue.
    New(Box<NewQueue>),
    /// Subscribes to a queue. The answer is [`Sok`](crate::Response::Sok) or a message.
    Sub,
    /// Subscribes to all queues of a service. From version 16 on, with parameters from 19 on.
    Subs {
        /// How many queues the service has, or [`UNKNOWN_COUNT`].
        count: i64,
        /// Which queues the service has.
        ids_hash: IdsHash,
    },
    /// The recipient sets the sender's key.
    Key(AuthPublicKey),
    /// Replaces the keys of the recipients: 1 to [`MAX_RECIPIENT_KEYS`]. From version 15 on.
    Rkey(Vec<AuthPublicKey>),
    /// Sets or changes the data of the queue's short link. From version 15 on.
    Lset {
        /// Names the link; for a new one the client chooses it.
        link_id: LinkId,
        /// What the relay keeps for those who have the link.
        data: LinkData,
    },
    /// Deletes the short link. From version 15 on.
    Ldel,
    /// Enables notifications.
    Nkey {
        /// The notifier's commands are verified with it.
        key: AuthPublicKey,
        /// Agrees the secret that notifications are encrypted with.
        dh_key: DhPublicKey,
    },
    /// Disables notifications.
    Ndel,
    /// Asks for one message without a subscription.
    Get,
    /// Acknowledges a message: it is deleted, and the next one comes.
    Ack(MessageId),
    /// Suspends the queue for good: it takes no more messages.
    Off,
    /// Deletes the queue.
    Del,
    /// Asks about the state of the queue.
    Que,

    /// The sender sets its own key. From version 9 on.
    Skey(AuthPublicKey),
    /// Sends a message.
    Send {
        /// What the sender tells the relay about it.
        flags: MessageFlags,
        /// What the recipient gets; see [`Command::is_too_large`].
        body: Vec<u8>,
    },

    /// Sets the sender's key and asks for the data of a link to one queue. From version 15 on.
    Lkey(AuthPublicKey),
    /// Asks for the data of a link that many may use. From version 15 on.
    Lget,

    /// Subscribes to the notifications of a queue.
    Nsub,
    /// Subscribes to the notifications of all queues of a service. From version 16 on, with
    /// parameters from 19 on.
    Nsubs {
        /// How many queues the service has, or [`UNKNOWN_COUNT`].
        count: i64,
        /// Which queues the service has.
        ids_hash: IdsHash,
    },

    /// Asks a proxy for its session with another relay. From version 8 on.
    Prxy {
        /// The other relay.
        relay: RelayAddress,
        /// The proxy's password.
        basic_auth: Option<BasicAuth>,
    },
    /// Asks a proxy to forward a command. From version 8 on.
    Pfwd {
        /// The version of the forwarded command.
        version: SmpVersion,
        /// Agrees the secret of this one command with the other relay.
        key: DhPublicKey,
        /// The encrypted command.
        body: Vec<u8>,
    },
    /// A proxy forwards a command, encrypted once more. From version 8 on.
    Rfwd(Vec<u8>),

    /// Asks about a public name of 1 to [`MAX_NAME`] bytes without spaces. From version 20 on.
    Rslv(String),
}

impl Command {
    /// The word that it begins with.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::New(_) => "NEW",
            Self::Sub => "SUB",
            Self::Subs { .. } => "SUBS",
            Self::Key(_) => "KEY",
            Self::Rkey(_) => "RKEY",
            Self::Lset { .. } => "LSET",
            Self::Ldel => "LDEL",
            Self::Nkey { .. } => "NKEY",
            Self::Ndel => "NDEL",
            Self::Get => "GET",
            Self::Ack(_) => "ACK",
            Self::Off => "OFF",
            Self::Del => "DEL",
            Self::Que => "QUE",
            Self::Skey(_) => "SKEY",
            Self::Send { .. } => "SEND",
            Self::Lkey(_) => "LKEY",
            Self::Lget => "LGET",
            Self::Nsub => "NSUB",
            Self::Nsubs { .. } => "NSUBS",
            Self::Prxy { .. } => "PRXY",
            Self::Pfwd { .. } => "PFWD",
            Self::Rfwd(_) => "RFWD",
            Self::Rslv(_) => "RSLV",
        }
    }

    /// The first version that has it.
    #[must_use]
    pub fn since(&self) -> SmpVersion {
        decode::since(self.tag().as_bytes()).unwrap_or(SmpVersion::CREATE_ONLY)
    }

    /// Whether a proxy's client may have it forwarded (document, "Send command via proxy" and
    /// "Resolver commands").
    #[must_use]
    pub fn may_be_forwarded(&self) -> bool {
        matches!(
            self,
            Self::Skey(_) | Self::Send { .. } | Self::Lkey(_) | Self::Lget | Self::Rslv(_)
        )
    }

    /// Whether it is a message longer than [`max_message_length`], which a relay refuses with
    /// [`ErrorType::LargeMsg`](crate::ErrorType::LargeMsg).
    #[must_use]
    pub fn is_too_large(&self, version: SmpVersion) -> bool {
        matches!(self, Self::Send { body, .. } if body.len() > max_message_length(version))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.tag())
    }
}
