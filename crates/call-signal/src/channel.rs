//! The channel that carries chat messages between the two sides of a call.

use std::io;
use std::time::SystemTime;

use thiserror::Error;

use crate::body::decode_body;
use crate::error::{BodyError, EncodeError, MessageError};
use crate::event::names;
use crate::message::ChatMessage;

mod lines;
mod memory;

pub use lines::{Lines, MAX_LINE};
pub use memory::{MEMORY_CAPACITY, MemoryChannel, memory_pair};

/// A two-way channel for chat messages to one contact.
///
/// Messages arrive once, in the order in which they were sent, or not at all. The channel keeps the
/// text of each message byte for byte: keys are hashed over it.
pub trait SignalChannel: Send {
    /// Sends a message. Completes when the channel has taken it over, which need not mean that the
    /// peer has it: for that there is [`OutgoingMessage::want_receipt`].
    ///
    /// Dropping the future before it completes leaves open whether the message is sent; the channel
    /// stays usable.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] if either side has closed the channel; [`ChannelError::Message`] if
    /// the message is too long for it.
    fn send(
        &mut self,
        message: OutgoingMessage,
    ) -> impl Future<Output = Result<SentId, ChannelError>> + Send;

    /// Waits for what comes next.
    ///
    /// Cancel-safe: dropping the future before it completes loses nothing, and the next call goes on
    /// from there. After [`Incoming::Closed`] every further call returns that again.
    ///
    /// # Errors
    /// If the channel broke. What the peer sends is never an error here, but [`Incoming::Refused`].
    fn receive(&mut self) -> impl Future<Output = Result<Incoming, ChannelError>> + Send;

    /// Closes the channel for both sides. The peer still receives what was sent before.
    ///
    /// Closing twice does nothing more. Afterwards [`send`](Self::send) fails and
    /// [`receive`](Self::receive) returns [`Incoming::Closed`].
    ///
    /// # Errors
    /// If what was sent before could not be written out. The channel is closed all the same.
    fn close(&mut self) -> impl Future<Output = Result<(), ChannelError>> + Send;

    /// What the channel is bound to: SHA-256 of the associated data of the ratchet beneath it,
    /// the same for both sides and for nobody else. `None`: the channel does not authenticate the
    /// peer.
    fn binding(&self) -> Option<[u8; 32]>;
}

/// A message to send and how to treat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The message.
    pub message: ChatMessage,
    /// Whether [`Incoming::Receipt`] should tell that the peer's device has it. Channels without
    /// receipts ignore this.
    pub want_receipt: bool,
    /// Whether the relay should wake the peer's device. Channels without relay ignore this.
    pub notify: bool,
}

impl From<ChatMessage> for OutgoingMessage {
    /// A call's invitation wants a receipt and a notification, every other message neither (call
    /// protocol, "Envelope of a chat message").
    fn from(message: ChatMessage) -> Self {
        let invites = message.name() == names::INVITATION;
        Self {
            message,
            want_receipt: invites,
            notify: invites,
        }
    }
}

/// Names a sent message to whoever sent it. Counts up within one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SentId(pub u64);

/// What a channel brings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// A message from the peer.
    Message(ReceivedMessage),
    /// The peer's device has a message that wanted a receipt.
    Receipt(SentId),
    /// The peer sent what cannot be read. The channel goes on.
    Refused(RefusedBody),
    /// The channel was closed, by either side.
    Closed,
}

/// A message from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The message, with its text as received.
    pub message: ChatMessage,
    /// When the relay took the message from the peer, by the relay's clock; `None` without relay.
    pub sent_at: Option<SystemTime>,
}

/// Why something that the peer sent was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefusedBody {
    /// The body as a whole.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// One message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A line longer than [`MAX_LINE`].
    #[error("the line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A compressed body in a channel of lines, which binary data cannot pass unharmed.
    #[error("compressed bodies cannot be sent as lines")]
    CompressedLine,
}

/// A channel cannot send or receive.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Either side has closed the channel.
    #[error("the channel is closed")]
    Closed,
    /// Our message does not fit the channel.
    #[error("the message cannot be sent: {0}")]
    Message(#[from] EncodeError),
    /// The transport beneath the channel failed.
    #[error("the channel failed: {0}")]
    Io(#[from] io::Error),
}

/// What a body holds, each message for itself.
fn decode_incoming(body: &[u8], sent_at: Option<SystemTime>) -> Vec<Incoming> {
    let messages = match decode_body(body) {
        Ok(messages) => messages,
        Err(error) => return vec![Incoming::Refused(error.into())],
    };
    let incoming = messages.into_iter().map(|message| match message {
        Ok(message) => Incoming::Message(ReceivedMessage { message, sent_at }),
        Err(error) => Incoming::Refused(error.into()),
    });
    incoming.collect()
}
