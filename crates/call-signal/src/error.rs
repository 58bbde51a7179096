//! What can be wrong with a message, by whose fault it is.

use std::fmt;

use thiserror::Error;

use crate::json::NotJson;
use crate::lz_string::LzError;

/// The peer sent a body that cannot be taken apart into messages; all of it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// No byte at all.
    #[error("the body is empty")]
    Empty,
    /// The first byte is none of `{`, `[` and `X`.
    #[error("the body is neither a JSON object, nor a batch, nor compressed")]
    UnknownForm,
    /// Longer than [`MAX_BODY`](crate::MAX_BODY), as it is or decompressed.
    #[error("the body is {actual} bytes long, {limit} at most are taken")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// Bytes of the plain body, or that the compressed items claim up to the one refused.
        actual: usize,
    },
    /// More than [`MAX_MESSAGES`](crate::MAX_MESSAGES).
    #[error("the body holds more than {limit} messages")]
    TooManyMessages {
        /// The limit.
        limit: usize,
    },
    /// Compressed: the list has no item.
    #[error("the compressed body holds no item")]
    NoItems,
    /// Compressed: an item goes beyond the end of the body.
    #[error("the compressed body ends within an item")]
    Truncated,
    /// Compressed: bytes are left after the last item.
    #[error("{count} bytes follow the last item of the compressed body")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// Compressed: an item is neither passed through nor zstd.
    #[error("a compressed item has the unknown tag {tag:#04x}")]
    UnknownItemTag {
        /// The tag.
        tag: u8,
    },
    /// Compressed: a zstd frame does not say how long its content is, or is no frame.
    #[error("a compressed item does not state its size")]
    NoContentSize,
    /// Compressed: a zstd frame is damaged, lies about its size, or has something behind it.
    #[error("a compressed item cannot be decompressed")]
    CorruptFrame,
    /// Compressed: an item is compressed once more.
    #[error("a compressed item is compressed in itself")]
    NestedCompression,
}

/// The peer sent a message that cannot be read; others of the same body are not concerned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// The text is not JSON.
    #[error("the message is not JSON")]
    NotJson(#[from] NotJson),
    /// JSON, but not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// The envelope (`v`, `msgId`, `event`, `params`) is malformed.
    #[error("chat message: {0}")]
    Envelope(FieldError),
    /// The content of a call event is malformed.
    #[error("{event}: {error}")]
    Call {
        /// Wire name of the event.
        event: &'static str,
        /// What is wrong with which field.
        error: FieldError,
    },
    /// The content of an event between contacts (profile, request, text) is malformed.
    #[error("{event}: {error}")]
    Contact {
        /// Wire name of the event.
        event: &'static str,
        /// What is wrong with which field.
        error: FieldError,
    },
}

/// A field and what is wrong with it. Never shows what the field said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    field: String,
    fault: FieldFault,
}

impl FieldError {
    /// Path of the field from the object that was read, e.g.
    /// `offer.rtcSession.rtcIceCandidates[3].sdpMid`; empty if the fault is in that object itself.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    pub fn fault(&self) -> FieldFault {
        self.fault
    }

    /// The same error, told from the object that holds the field.
    pub(crate) fn within(self, parent: &str) -> Self {
        // An index such as `[3]` follows its array without a dot.
        let dot = if self.field.is_empty() || self.field.starts_with('[') {
            ""
        } else {
            "."
        };
        Self {
            field: format!("{parent}{dot}{}", self.field),
            ..self
        }
    }
}

impl From<FieldFault> for FieldError {
    /// The fault is in what was read itself.
    fn from(fault: FieldFault) -> Self {
        Self {
            field: String::new(),
            fault,
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() {
            "it"
        } else {
            &self.field
        };
        write!(f, "{field} {}", self.fault)
    }
}

impl std::error::Error for FieldError {}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FieldFault {
    /// A required field is absent or `null`.
    #[error("is missing")]
    Missing,
    /// Another JSON type than an object.
    #[error("is not an object")]
    NotAnObject,
    /// Another JSON type than an array.
    #[error("is not an array")]
    NotAnArray,
    /// Another JSON type than a string.
    #[error("is not a string")]
    NotAString,
    /// Another JSON type than a boolean.
    #[error("is not true or false")]
    NotABoolean,
    /// Not a whole number from 0 to 65,535.
    #[error("is not a whole number from 0 to 65535")]
    NotANumber,
    /// Not a whole number of at most 64 bits.
    #[error("is not a whole number")]
    NotAnInteger,
    /// A string with half a surrogate pair.
    #[error("is not valid Unicode")]
    NotUnicode,
    /// An object in which a key that matters occurs twice.
    #[error("has a key twice")]
    DuplicateKey,
    /// Not base64 in the alphabet for URLs.
    #[error("is not base64url")]
    NotBase64,
    /// Base64 of too many or too few bytes.
    #[error("is {actual} bytes long instead of {expected}")]
    WrongLength {
        /// Bytes that the field must have.
        expected: usize,
        /// Bytes that it has.
        actual: usize,
    },
    /// Not an X25519 key as SubjectPublicKeyInfo.
    #[error("is not an X25519 public key")]
    NotAnX25519Key,
    /// Neither a version nor `min-max`, or an empty range.
    #[error("is not a version range")]
    NotAVersionRange,
    /// Neither `audio` nor `video`.
    #[error("is neither audio nor video")]
    UnknownMedia,
    /// Neither `offer` nor `answer`.
    #[error("is neither offer nor answer")]
    UnknownSdpType,
    /// An answer in place of an offer, or the reverse.
    #[error("is of the wrong SDP type")]
    WrongSdpType,
    /// Longer than what is taken.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not LZ-string text.
    #[error("is not LZ-string text: {0}")]
    Lz(LzError),
    /// LZ-string text of something that is not JSON.
    #[error("does not decompress to JSON")]
    NotJson,
}

/// We tried to send what may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No message to encode.
    #[error("a body needs at least one message")]
    NoMessage,
    /// The JSON text is longer than [`MAX_JSON`](crate::MAX_JSON), or than
    /// [`MAX_INFO`](crate::MAX_INFO) where that is the limit.
    #[error("the message takes {actual} bytes, {limit} at most fit")]
    JsonTooLong {
        /// The limit in bytes.
        limit: usize,
        /// Bytes of the JSON text.
        actual: usize,
    },
    /// Even compressed the message does not fit beside post-quantum keys.
    #[error("the message takes {json} bytes, {compressed} compressed; {limit} at most fit")]
    CompressedTooLong {
        /// The limit in bytes.
        limit: usize,
        /// Bytes of the JSON text.
        json: usize,
        /// Bytes of the compressed body.
        compressed: usize,
    },
    /// The zstd library refused to work, e.g. for want of memory.
    #[error("the message could not be compressed")]
    Compressor,
    /// The SDP is longer than [`MAX_SDP`](crate::MAX_SDP).
    #[error("the SDP takes {actual} bytes, {limit} at most are allowed")]
    SdpTooLong {
        /// The limit in bytes.
        limit: usize,
        /// Bytes of the SDP.
        actual: usize,
    },
    /// An offer event with an answer's SDP, or the reverse.
    #[error("the session description is of the wrong type for its event")]
    WrongSdpType,
    /// More than [`MAX_CANDIDATES`](crate::MAX_CANDIDATES).
    #[error("{actual} candidates, {limit} at most are allowed")]
    TooManyCandidates {
        /// The limit.
        limit: usize,
        /// How many there are.
        actual: usize,
    },
    /// A message with text has none.
    #[error("a message needs a text")]
    EmptyText,
    /// Content other than text, or with a file: this crate can read it but not write it.
    #[error("only messages with text alone can be sent")]
    NotText,
    /// A name, a description or the peer type is longer than
    /// [`MAX_PROFILE_TEXT`](crate::MAX_PROFILE_TEXT).
    #[error("a text of the profile takes {actual} bytes, {limit} at most are allowed")]
    ProfileTextTooLong {
        /// The limit in bytes.
        limit: usize,
        /// Bytes of the longest text.
        actual: usize,
    },
    /// The text of the message has a line break, and the channel is one of lines.
    #[error("a message with a line break cannot be sent as a line")]
    LineBreak,
    /// A key was to be added to `params` that is there already.
    #[error("params already has a key of that name")]
    DuplicateKey,
}
