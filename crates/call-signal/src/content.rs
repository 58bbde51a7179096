//! Content messages: what people write to each other (chat protocol, "Sub-protocol for content
//! messages"). Keys that only groups use are ignored.

use std::fmt;

use crate::message::MessageId;

/// Content of `x.msg.new`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// What it says.
    pub content: MessageContent,
    /// What it refers to.
    pub container: Container,
    /// It is still being written: updates follow until one that is not live.
    pub live: bool,
    /// Seconds after which both sides are to forget it.
    pub ttl: Option<i64>,
    /// A file is offered with it.
    pub has_file: bool,
}

impl NewMessage {
    /// A plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: MessageContent::Text(text.into()),
            container: Container::Simple,
            live: false,
            ttl: None,
            has_file: false,
        }
    }
}

/// What a message says, as its author wrote it: may have line breaks, control characters and
/// markup.
#[derive(Clone, PartialEq, Eq)]
pub enum MessageContent {
    /// `text`.
    Text(String),
    /// `link`, `image`, `video`, `voice`, `file`, `report`, or something newer.
    Other {
        /// `type` on the wire.
        kind: String,
        /// What stands for it where only text is shown; may be empty.
        text: String,
    },
}

impl MessageContent {
    /// The text, or the text that stands for other content; may be empty for the latter.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Other { text, .. } => text,
        }
    }
}

impl fmt::Debug for MessageContent {
    /// Prints nothing that somebody wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageContent(..)")
    }
}

/// What a new message refers to. If a peer says several things at once, the first of quote,
/// comment and forward counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Container {
    /// Nothing.
    Simple,
    /// `quote`: it replies to a message.
    Quote(Quote),
    /// `parent`: it comments on a message.
    Comment(MessageRef),
    /// `forward`: it was written in another chat.
    Forward,
}

/// A quoted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What the quoted message said.
    pub content: MessageContent,
    /// Which message it is.
    pub reference: MessageRef,
}

/// Which earlier message is meant (`msgRef`).
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRef {
    /// The message's id; absent where it had none.
    pub id: Option<MessageId>,
    /// Whether the author of the reference had sent it, rather than received.
    pub sent: bool,
    /// When it was sent: UTC time as ISO 8601 text, e.g. `2026-11-23T20:09:26Z`; not checked.
    pub sent_at: String,
}

impl fmt::Debug for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageRef(..)")
    }
}

/// Content of `x.msg.update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageUpdate {
    /// The message that changes; a new one with this id, if there is none.
    pub id: MessageId,
    /// What it says from now on.
    pub content: MessageContent,
    /// It is still being written.
    pub live: bool,
    /// Seconds after which both sides are to forget it.
    pub ttl: Option<i64>,
}

/// Content of `x.msg.del`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDeletion {
    /// The message that its author takes back; ignore it if somebody else wrote that message.
    pub id: MessageId,
}
