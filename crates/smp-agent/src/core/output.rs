//! What the core asks for, what it is told, and what it tells.

use std::fmt;

use smp_protocol::{
    AuthPrivateKey, AuthPublicKey, CorrId, DhPublicKey, ErrorType, LinkData, LinkId, MessageFlags,
    MessageId, QueueIds, QueueRequest, RecipientId, RelayAddress, SenderId,
};

use crate::model::{ConnectionId, Timestamp};

/// Names a request until its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// What the core wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// A command for a relay; its outcome goes to
    /// [`Core::handle_outcome`](super::Core::handle_outcome).
    Request {
        /// Names it.
        ticket: Ticket,
        /// Where it goes.
        relay: RelayAddress,
        /// What it is.
        request: Request,
    },
    /// Messages of this queue are wanted from now on, until it is deleted; they go to
    /// [`Core::handle_message`](super::Core::handle_message).
    Subscribe {
        /// Where it is.
        relay: RelayAddress,
        /// The queue.
        recipient: RecipientId,
        /// Authorises the recipient's commands.
        key: AuthPrivateKey,
    },
    /// Messages of this queue are not wanted any more.
    Unsubscribe {
        /// Where it is.
        relay: RelayAddress,
        /// The queue.
        recipient: RecipientId,
    },
    /// There is something in [`Core::first_event`](super::Core::first_event).
    Events,
    /// Something that is worth showing and not worth keeping.
    Notice(Notice),
}

/// A command for a relay. `Debug` prints which one, and nothing else.
#[derive(Clone)]
#[non_exhaustive]
pub enum Request {
    /// Create a queue, subscribed to (NEW). The answer is [`Reply::Created`].
    Create {
        /// Authorises the recipient's commands.
        key: AuthPrivateKey,
        /// Agrees the secret of delivery.
        delivery_key: DhPublicKey,
        /// What the queue is for, and its link.
        request: QueueRequest,
        /// The correlation id that the sender id in `request` was derived from.
        corr_id: Option<CorrId>,
    },
    /// Tell the relay the sender's key (KEY).
    Secure {
        /// The queue.
        recipient: RecipientId,
        /// Authorises it.
        key: AuthPrivateKey,
        /// The sender's key.
        sender_key: AuthPublicKey,
    },
    /// Acknowledge a message (ACK).
    Acknowledge {
        /// The queue.
        recipient: RecipientId,
        /// Authorises it.
        key: AuthPrivateKey,
        /// The message.
        message: MessageId,
    },
    /// Delete a queue (DEL).
    Delete {
        /// The queue.
        recipient: RecipientId,
        /// Authorises it.
        key: AuthPrivateKey,
    },
    /// Change the data of a link (LSET).
    SetLink {
        /// The queue.
        recipient: RecipientId,
        /// Authorises it.
        key: AuthPrivateKey,
        /// The link.
        link: LinkId,
        /// Its data.
        data: LinkData,
    },
    /// Tell the relay this sender's key (SKEY).
    SenderSecure {
        /// The queue.
        sender: SenderId,
        /// The sender's key.
        key: AuthPrivateKey,
    },
    /// Send a message (SEND).
    Send {
        /// The queue.
        sender: SenderId,
        /// Authorises it, unless anybody may send.
        key: Option<AuthPrivateKey>,
        /// Whether the relay is to wake the recipient's device.
        flags: MessageFlags,
        /// The client's envelope.
        body: Vec<u8>,
    },
    /// Read the data of an invitation's link, and secure its queue (LKEY). The answer is
    /// [`Reply::Link`].
    LinkKey {
        /// The link.
        link: LinkId,
        /// The sender's key.
        key: AuthPrivateKey,
    },
    /// Read the data of an address's link (LGET). The answer is [`Reply::Link`].
    LinkData {
        /// The link.
        link: LinkId,
    },
}

impl Request {
    /// The command's name in SMP.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "NEW",
            Self::Secure { .. } => "KEY",
            Self::Acknowledge { .. } => "ACK",
            Self::Delete { .. } => "DEL",
            Self::SetLink { .. } => "LSET",
            Self::SenderSecure { .. } => "SKEY",
            Self::Send { .. } => "SEND",
            Self::LinkKey { .. } => "LKEY",
            Self::LinkData { .. } => "LGET",
        }
    }

    /// Whether it is a sender's command, which may go through a proxy.
    #[must_use]
    pub fn is_senders(&self) -> bool {
        matches!(
            self,
            Self::SenderSecure { .. }
                | Self::Send { .. }
                | Self::LinkKey { .. }
                | Self::LinkData { .. }
        )
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a relay answered.
#[derive(Debug)]
pub enum Reply {
    /// The queue was created.
    Created(Box<QueueIds>),
    /// The data of a link.
    Link {
        /// The queue that the link leads to.
        sender: SenderId,
        /// The data.
        data: LinkData,
    },
    /// It was done.
    Done,
}

/// Why a request has no [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The relay refused. Asking again changes nothing, unless the error says so.
    Refused(ErrorType),
    /// The relay cannot do this: its version of the protocol is too old.
    TooOld,
    /// It is not known whether the relay did it, or it was not reached; the text says why.
    Unreachable(String),
}

/// Something that is worth showing while one waits, and not worth keeping: after a crash it is not
/// told again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A connection came further.
    Progress {
        /// Which one.
        connection: ConnectionId,
        /// How far.
        step: Step,
    },
    /// A message was taken by a relay of the peer's choice.
    Sent {
        /// The connection.
        connection: ConnectionId,
        /// The message's number.
        message_id: i64,
        /// When it was given to the agent.
        created: Timestamp,
    },
    /// Something could not be done yet and will be tried again.
    Waiting {
        /// The connection.
        connection: ConnectionId,
        /// The name of the command.
        command: &'static str,
        /// Why.
        reason: String,
    },
    /// A connection that was to be deleted is, with its queues.
    Deleted {
        /// Which one it was.
        connection: ConnectionId,
    },
    /// What came through a queue could not be used, and was dropped.
    Dropped {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        reason: String,
    },
}

/// A step of making a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The queue is there: the link can be shared.
    LinkReady,
    /// The data of the peer's short link is read.
    LinkRead,
    /// No one but this side can send to the peer's queue.
    PeerQueueSecured,
    /// The queue for the peer's messages is there.
    ReplyQueueCreated,
    /// The peer's relay has this side's confirmation, or request.
    ConfirmationSent,
    /// The peer's confirmation came.
    ConfirmationReceived,
}
