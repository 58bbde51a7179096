//! What a relay answers and tells (document, "Router messages" and the responses that stand beside
//! their commands).

mod decode;
mod encode;

use std::fmt;

use thiserror::Error;

use crate::certificate::CertChainAndKey;
use crate::command::{LinkData, QueueMode};
use crate::encoding::DecodeError;
use crate::error::ErrorType;
use crate::id::{LinkId, MessageId, NotifierId, ProxySessionId, RecipientId, SenderId, ServiceId};
use crate::ids_hash::IdsHash;
use crate::key::DhPublicKey;
use crate::secret_box::Nonce;
use crate::version::VersionRange;

/// A response. The variants have the names of the document's tags.
///
/// [`Response::encode`] writes what a session of its version understands, [`Response::decode`]
/// reads it. `Debug` shows the tag alone, and of an error what it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`Ping`](crate::Command::Ping).
    Pong,
    /// To [`New`](crate::Command::New): the queue exists.
    Ids(Box<QueueIds>),
    /// To [`Lkey`](crate::Command::Lkey) and [`Lget`](crate::Command::Lget).
    Lnk {
        /// Names the link's queue to the sender.
        sender_id: SenderId,
        /// What the relay keeps for those who have the link.
        data: LinkData,
    },
    /// To [`Sub`](crate::Command::Sub) and [`Nsub`](crate::Command::Nsub), with the service that
    /// has the queue. Before version 16 it is [`Self::Ok`].
    Sok(Option<ServiceId>),
    /// To [`Subs`](crate::Command::Subs) and [`Nsubs`](crate::Command::Nsubs).
    Soks {
        /// How many queues the service has.
        count: i64,
        /// Which queues the service has. From version 19 on, before it is empty.
        ids_hash: IdsHash,
    },
    /// All messages that waited for a service were delivered. From version 19 on.
    Alls,
    /// A message, encrypted for the recipient: told to a subscriber, or the answer to
    /// [`Get`](crate::Command::Get), [`Ack`](crate::Command::Ack) and [`Sub`](crate::Command::Sub).
    Msg {
        /// Names the message.
        id: MessageId,
        /// The encrypted message.
        body: Vec<u8>,
    },
    /// To [`Nkey`](crate::Command::Nkey).
    Nid {
        /// Names the queue to the notifier.
        notifier_id: NotifierId,
        /// Agrees the secret that notifications are encrypted with.
        dh_key: DhPublicKey,
    },
    /// Told to a notifier: there is a message.
    Nmsg {
        /// The nonce of the encryption.
        nonce: Nonce,
        /// What the recipient can read: at most 255 bytes.
        meta: Vec<u8>,
    },
    /// To [`Prxy`](crate::Command::Prxy): the proxy's session with the other relay.
    Pkey {
        /// Names the session.
        session_id: ProxySessionId,
        /// The versions that the other relay speaks.
        versions: VersionRange,
        /// The other relay's certificates and signed key, which the client checks.
        certificates: CertChainAndKey,
    },
    /// To [`Pfwd`](crate::Command::Pfwd): the other relay's encrypted answer.
    Pres(Vec<u8>),
    /// To [`Rfwd`](crate::Command::Rfwd): the answer, encrypted twice.
    Rres(Vec<u8>),
    /// Another connection has the subscription now.
    End,
    /// Another connection has the subscriptions of a service now.
    Ends {
        /// How many queues that concerns.
        count: i64,
        /// Which queues that concerns. From version 19 on, before it is empty.
        ids_hash: IdsHash,
    },
    /// Another connection deleted the queue. Before version 10 it is [`Self::End`].
    Deld,
    /// To [`Que`](crate::Command::Que): JSON about the queue.
    Info(String),
    /// It is done.
    Ok,
    /// It is not done.
    Err(ErrorType),
    /// To [`Rslv`](crate::Command::Rslv): JSON about the name.
    Rname(String),
}

/// A queue that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueIds {
    /// Names the queue to its recipient.
    pub recipient_id: RecipientId,
    /// Names the queue to its sender.
    pub sender_id: SenderId,
    /// Agrees the secret that messages are encrypted with on their way to the recipient.
    pub dh_key: DhPublicKey,
    /// What the queue is for. From version 9 on.
    pub mode: Option<QueueMode>,
    /// Names the data of the queue's short link. From version 15 on.
    pub link_id: Option<LinkId>,
    /// The service that has the queue. From version 16 on.
    pub service_id: Option<ServiceId>,
    /// Names the queue to the notifier, and agrees the secret of notifications. From version 17 on.
    pub notifier: Option<(NotifierId, DhPublicKey)>,
}

impl Response {
    /// The word that it begins with, in the newest version.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Pong => "PONG",
            Self::Ids(_) => "IDS",
            Self::Lnk { .. } => "LNK",
            Self::Sok(_) => "SOK",
            Self::Soks { .. } => "SOKS",
            Self::Alls => "ALLS",
            Self::Msg { .. } => "MSG",
            Self::Nid { .. } => "NID",
            Self::Nmsg { .. } => "NMSG",
            Self::Pkey { .. } => "PKEY",
            Self::Pres(_) => "PRES",
            Self::Rres(_) => "RRES",
            Self::End => "END",
            Self::Ends { .. } => "ENDS",
            Self::Deld => "DELD",
            Self::Info(_) => "INFO",
            Self::Ok => "OK",
            Self::Err(_) => "ERR",
            Self::Rname(_) => "RNAME",
        }
    }
}

impl From<ErrorType> for Response {
    fn from(error: ErrorType) -> Self {
        Self::Err(error)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Err(error) => write!(f, "Response(ERR: {error})"),
            _ => write!(f, "Response({})", self.tag()),
        }
    }
}

/// A relay sent what is no response. None of it repeats what the relay sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// There is no response with this tag.
    #[error("the relay sent an unknown response")]
    Unknown,
    /// The response is malformed, or is an error that is none of the document's.
    #[error("the relay sent a response that cannot be read: {0}")]
    Syntax(#[from] DecodeError),
}
