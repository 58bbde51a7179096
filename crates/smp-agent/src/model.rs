//! What an agent keeps: connections, their queues, what waits to be sent, and what the application
//! has not taken yet.
//!
//! All work follows from these records. A receive queue without ids has to be created, one whose
//! sender has a key that the relay does not know has to be secured, a message that lies in
//! [`Outgoing`] has to be sent: after a crash the agent reads them and goes on.

use smp_protocol::{
    AuthPrivateKey, AuthPublicKey, DhPrivateKey, DhPublicKey, DhSecret, LinkId, QueueMode,
    RecipientId, RelayAddress, SenderId,
};
use zeroize::Zeroizing;

use crate::protocol::AgentVersion;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);
    };
}

row_id! {
    /// Names a connection within one store; never used again after the connection is deleted.
    ConnectionId
}
row_id! {
    /// Names a receive queue within one store.
    ReceiveQueueId
}
row_id! {
    /// Names a send queue within one store.
    SendQueueId
}
row_id! {
    /// Names a message that waits to be sent; messages of a queue are sent in this order.
    OutgoingId
}
row_id! {
    /// Names a request to connect that came to a contact address.
    RequestId
}
row_id! {
    /// Names an event for the application; events are taken in this order.
    EventId
}

/// Milliseconds since 1970 (UTC). Passed in: nothing in the core of this crate reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time so many milliseconds later.
    #[must_use]
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// One connection to one peer, or one address that peers write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its id; 0 before it is stored.
    pub id: ConnectionId,
    /// What it is.
    pub kind: ConnectionKind,
    /// How far it is.
    pub state: ConnectionState,
    /// The version that both sides speak; the highest of this side until the peer's is known.
    pub version: AgentVersion,
    /// Whether the ratchet is to be post-quantum.
    pub post_quantum: bool,
    /// The last message sent.
    pub sent: Chain,
    /// The last message received in order.
    pub received: Chain,
    /// How many messages before [`Self::received`] are missing that may still come.
    pub missing: u32,
    /// Whether the ratchets of both sides fit together.
    pub sync: RatchetSync,
    /// When it was made.
    pub created: Timestamp,
}

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// This side made the invitation that the peer answers, or wrote to the peer's contact address
    /// with one.
    Initiator,
    /// This side answers the peer's invitation.
    Joiner,
    /// A contact address: peers write requests to it.
    Address,
}

/// How far a connection is.
///
/// ```text
/// initiator:  Preparing ─ queue created ─▶ Waiting ─ confirmation received ─▶ Confirming ─▶ Connected
/// requester:  Preparing ─▶ Requesting ─ request sent ─▶ Waiting ─▶ …
/// joiner:     [Resolving ─ link data read ─▶] Joining ─ confirmation sent ─▶ Confirming ─▶ Connected
/// address:    Preparing ─▶ Waiting
/// any:        ─▶ Failed, ─▶ Deleting ─ queues deleted ─▶ (gone)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// The queue of the link is not created yet.
    Preparing,
    /// The data of a short link is being read.
    Resolving,
    /// A request is on its way to a contact address.
    Requesting,
    /// The link is out; nobody has answered it yet.
    Waiting,
    /// The reply queue is being created, the peer's queue secured, the confirmation sent.
    Joining,
    /// This side's confirmation is under way, or the peer's is awaited.
    Confirming,
    /// Both sides can send.
    Connected,
    /// It came to nothing, as an event told.
    Failed,
    /// Its queues are being deleted.
    Deleting,
}

/// A message's place in one direction of a connection: each message holds the hash of the one
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The message's number; the first is 1, 0 stands for none.
    pub id: i64,
    /// SHA-256 of it; zeros for none.
    pub hash: [u8; 32],
}

/// Whether the ratchets of both sides fit together (document, "Ratchet synchronization").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RatchetSync {
    /// They do.
    #[default]
    Ok,
    /// Nothing can be received without new keys.
    Required,
    /// This side's keys were sent.
    Started,
    /// Both sides' keys are known; the first message under them is awaited.
    Agreed,
}

impl RatchetSync {
    /// Whether nothing may be sent until new keys are agreed.
    #[must_use]
    pub fn forbids_sending(self) -> bool {
        matches!(self, Self::Required | Self::Started | Self::Agreed)
    }
}

/// A queue in which this side receives.
///
/// `Debug` prints nothing of it.
#[derive(Clone)]
pub struct ReceiveQueue {
    /// Its id; 0 before it is stored.
    pub id: ReceiveQueueId,
    /// Whose it is.
    pub connection: ConnectionId,
    /// Where it is.
    pub relay: RelayAddress,
    /// How far it is.
    pub state: ReceiveQueueState,
    /// The ids that the relay gave it; `None` before it is created.
    pub ids: Option<ReceiveQueueIds>,
    /// Authorises the recipient's commands.
    pub key: AuthPrivateKey,
    /// Agrees with the relay the secret that messages are encrypted with on their way here.
    pub delivery_key: DhPrivateKey,
    /// That secret; `None` before the queue is created.
    pub delivery_secret: Option<DhSecret>,
    /// Stands in the queue's address: agrees with the sender the secret beneath the ratchet.
    pub e2e_key: DhPrivateKey,
    /// That secret; `None` before the sender's first message.
    pub e2e_secret: Option<DhSecret>,
    /// Whether the sender can secure it, or anybody may send.
    pub mode: QueueMode,
    /// The sender's key, if this side has to give it to the relay (KEY).
    pub sender_key: Option<AuthPublicKey>,
    /// Whether no other sender can send: the relay has the sender's key.
    pub secured: bool,
    /// The queue that it takes the place of, once a message came through it.
    pub replaces: Option<ReceiveQueueId>,
    /// How far that is.
    pub switch: ReceiveSwitch,
    /// The short link that leads to it.
    pub link: Option<QueueLink>,
    /// When it was made.
    pub created: Timestamp,
}

/// How far a receive queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReceiveQueueState {
    /// To be created.
    New,
    /// In use.
    Active,
    /// To be deleted at the relay.
    Deleting,
}

/// The ids of a receive queue.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiveQueueIds {
    /// Names it to its recipient.
    pub recipient: RecipientId,
    /// Names it to its sender.
    pub sender: SenderId,
}

/// How far the peer is with a queue that was added to the connection (document, "Rotating
/// messaging queue").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReceiveSwitch {
    /// The queue belongs to the connection.
    #[default]
    None,
    /// It is to be offered.
    Wanted,
    /// It was offered (QADD); the peer's key is awaited.
    Offered,
    /// The peer was told to use it (QUSE); its first message is awaited.
    Used,
    /// A message came through it. What it takes the place of is deleted as soon as no message is
    /// missing that may still be there.
    Proven,
}

/// A short link and what it takes to change its data.
#[derive(Clone)]
pub struct QueueLink {
    /// Names it to the relay; `None` before the queue is created.
    pub id: Option<LinkId>,
    /// The link's key: stands in the link.
    pub key: Zeroizing<[u8; 32]>,
    /// Ed25519 key that signs the link's data.
    pub root_key: Zeroizing<[u8; 32]>,
    /// The part of its data that never changes, encrypted as the relay has it: it takes no other.
    pub fixed: Vec<u8>,
}

/// The short link of a peer while its data is being read.
#[derive(Clone)]
pub struct Joining {
    /// The link.
    pub link: Zeroizing<String>,
    /// This side's key for the peer's queue: the relay gets it with the question for the data.
    pub key: AuthPrivateKey,
}

/// A queue to which this side sends.
///
/// `Debug` prints nothing of it.
#[derive(Clone)]
pub struct SendQueue {
    /// Its id; 0 before it is stored.
    pub id: SendQueueId,
    /// Whose it is.
    pub connection: ConnectionId,
    /// Where it is.
    pub relay: RelayAddress,
    /// Names it to its sender.
    pub sender_id: SenderId,
    /// The version of the protocol between clients.
    pub client_version: u16,
    /// Authorises the sender's commands.
    pub key: AuthPrivateKey,
    /// How the relay gets that key.
    pub securing: Securing,
    /// Whether the relay has it.
    pub secured: bool,
    /// This side's part of the secret beneath the ratchet: goes with the first message.
    pub e2e_key: DhPublicKey,
    /// That secret.
    pub e2e_secret: DhSecret,
    /// How far it is.
    pub state: SendQueueState,
    /// The queue that it takes the place of, once a message was sent through it.
    pub replaces: Option<SendQueueId>,
    /// Since when it was full; messages are tried again seldom, or when the peer says.
    pub full_since: Option<Timestamp>,
}

/// How a relay gets the key of a queue's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Securing {
    /// The sender tells it (SKEY).
    Sender,
    /// The recipient tells it (KEY), after the sender told the recipient.
    Recipient,
    /// Never: anybody may send to a contact address.
    Never,
}

/// How far a send queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendQueueState {
    /// Nothing was sent to it but what confirms the connection.
    New,
    /// It was offered by the peer (QADD), and waits for the peer's word to use it (QUSE).
    Offered,
    /// Messages go there.
    Active,
    /// Another took its place: nothing goes there any more.
    Retired,
}

/// What goes to a queue, encrypted for the peer. The same bytes are sent however often it takes.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its id; 0 before it is stored.
    pub id: OutgoingId,
    /// Where it goes.
    pub queue: SendQueueId,
    /// What it is.
    pub kind: OutgoingKind,
    /// Its number in the connection; 0 for what has none.
    pub message_id: i64,
    /// Whether the relay is to wake the peer's device.
    pub notify: bool,
    /// The agent's envelope.
    pub body: Vec<u8>,
    /// When it was given to the agent.
    pub created: Timestamp,
}

/// What goes to a queue: what its delivery means depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutgoingKind {
    /// This side's information, with keys.
    Confirmation,
    /// A request to a contact address.
    Invitation,
    /// New keys for the ratchet.
    RatchetKey,
    /// HELLO.
    Hello,
    /// A message of the application.
    Message,
    /// Receipts.
    Received,
    /// EREADY.
    Ready,
    /// The peer may go on sending.
    QueueContinue,
    /// QADD.
    AddQueue,
    /// QKEY.
    QueueKey,
    /// QUSE.
    UseQueue,
    /// QTEST.
    TestQueue,
}

/// A message that came before one with a smaller number, and waits for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub message_id: i64,
    /// The hash that it says the message before it has.
    pub previous_hash: Vec<u8>,
    /// Its own hash.
    pub hash: [u8; 32],
    /// The relay's time, when the relay took it.
    pub sent_at: Timestamp,
    /// When it came here.
    pub held_at: Timestamp,
    /// The encoded message, decrypted.
    pub body: Zeroizing<Vec<u8>>,
}

/// A request to connect that came to a contact address.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// Its id; 0 before it is stored.
    pub id: RequestId,
    /// The address that it came to.
    pub address: ConnectionId,
    /// The full link that the peer sent, as text.
    pub link: Zeroizing<String>,
    /// What the peer says of itself.
    pub info: Vec<u8>,
    /// When it came.
    pub received: Timestamp,
}

/// An event that the application has not taken yet, as the store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id; 0 before it is stored.
    pub id: EventId,
    /// Which connection it is about.
    pub connection: ConnectionId,
    /// When it happened.
    pub at: Timestamp,
    /// The event, encoded.
    pub body: Zeroizing<Vec<u8>>,
}

macro_rules! secret_debug {
    ($($name:ident),*) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        })*
    };
}

secret_debug!(
    ReceiveQueue,
    ReceiveQueueIds,
    QueueLink,
    Joining,
    SendQueue,
    Outgoing,
    Held,
    StoredRequest,
    StoredEvent
);
