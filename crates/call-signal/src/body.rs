//! Bodies: what one channel message carries, i.e. one chat message, a batch, or either compressed
//! (call protocol, "Envelope of a chat message").

use crate::compression;
use crate::error::{BodyError, EncodeError, MessageError};
use crate::json::{self, ArrayEnd};
use crate::message::ChatMessage;

/// Longest body that is read, in bytes, plain or after decompression.
pub const MAX_BODY: usize = 65_536;

/// Most messages that are read from one body.
pub const MAX_MESSAGES: usize = 1024;

/// Longest JSON text that is sent, in bytes.
pub const MAX_JSON: usize = 15_602;

/// Longest JSON text that fits connection info, in bytes.
pub const MAX_INFO: usize = 14_694;

/// Longest body that fits a message under post-quantum keys, in bytes.
pub const MAX_POST_QUANTUM: usize = 13_380;

/// Longest body that fits connection info under post-quantum keys, in bytes.
pub const MAX_INFO_POST_QUANTUM: usize = 10_968;

/// Reads a body: a JSON object, a batch (a JSON array of objects), or a compressed list of these.
///
/// Each message is read on its own: a malformed one does not lose the others.
///
/// # Errors
/// If it cannot be told which messages the body holds, or it breaks a limit ([`MAX_BODY`],
/// [`MAX_MESSAGES`]).
pub fn decode_body(body: &[u8]) -> Result<Vec<Result<ChatMessage, MessageError>>, BodyError> {
    let mut messages = Vec::new();
    if let [b'X', list @ ..] = body {
        for item in compression::decompress(list, MAX_BODY)? {
            read_item(&item, &mut messages)?;
        }
        return Ok(messages);
    }
    if body.len() > MAX_BODY {
        return Err(BodyError::TooLong {
            limit: MAX_BODY,
            actual: body.len(),
        });
    }
    match body.trim_ascii_start() {
        [] => return Err(BodyError::Empty),
        [b'{' | b'[', ..] => read_json(body, &mut messages)?,
        _ => return Err(BodyError::UnknownForm),
    }
    Ok(messages)
}

/// How long a body may be; see [`encode_body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyLimit {
    /// A message without post-quantum keys: [`MAX_JSON`], never compressed.
    Plain,
    /// Connection info or a contact request without post-quantum keys: [`MAX_INFO`], never
    /// compressed.
    Info,
    /// A message under post-quantum keys: [`MAX_POST_QUANTUM`], compressed if need be.
    PostQuantum,
    /// Connection info under post-quantum keys: [`MAX_INFO_POST_QUANTUM`], compressed if need be.
    PostQuantumInfo,
}

/// Writes one message as it is, several as a batch; compressed only where the limit demands it.
///
/// # Errors
/// If there is no message, the JSON text is longer than [`MAX_JSON`] (or [`MAX_INFO`]), or the body
/// does not even fit compressed.
pub fn encode_body(messages: &[ChatMessage], limit: BodyLimit) -> Result<Vec<u8>, EncodeError> {
    let json = join(messages)?.into_bytes();
    // The JSON text may never be longer than the first, the body never longer than the second.
    let (longest_json, limit) = match limit {
        BodyLimit::Plain => (MAX_JSON, MAX_JSON),
        BodyLimit::Info => (MAX_INFO, MAX_INFO),
        BodyLimit::PostQuantum => (MAX_JSON, MAX_POST_QUANTUM),
        BodyLimit::PostQuantumInfo => (MAX_JSON, MAX_INFO_POST_QUANTUM),
    };
    if json.len() > longest_json {
        return Err(EncodeError::JsonTooLong {
            limit: longest_json,
            actual: json.len(),
        });
    }
    if json.len() <= limit {
        return Ok(json);
    }
    let body = compression::compress(&json)?;
    if body.len() > limit {
        let (json, compressed) = (json.len(), body.len());
        return Err(EncodeError::CompressedTooLong {
            limit,
            json,
            compressed,
        });
    }
    Ok(body)
}

fn join(messages: &[ChatMessage]) -> Result<String, EncodeError> {
    match messages {
        [] => Err(EncodeError::NoMessage),
        [message] => Ok(message.raw().to_owned()),
        messages => {
            let raw: Vec<&str> = messages.iter().map(ChatMessage::raw).collect();
            Ok(format!("[{}]", raw.join(",")))
        }
    }
}

/// An item of a compressed body.
fn read_item(
    item: &[u8],
    messages: &mut Vec<Result<ChatMessage, MessageError>>,
) -> Result<(), BodyError> {
    if item.starts_with(b"X") {
        return Err(BodyError::NestedCompression);
    }
    read_json(item, messages)
}

fn read_json(
    json: &[u8],
    messages: &mut Vec<Result<ChatMessage, MessageError>>,
) -> Result<(), BodyError> {
    let Ok(json) = str::from_utf8(json) else {
        return push(messages, Err(MessageError::NotUtf8));
    };
    if !json.trim_ascii_start().starts_with('[') {
        return push(messages, ChatMessage::decode(json));
    }
    match json::elements(json, MAX_MESSAGES - messages.len()) {
        Ok(batch) => match batch.end {
            ArrayEnd::Complete => {
                messages.extend(batch.items.into_iter().map(ChatMessage::from_raw));
                Ok(())
            }
            ArrayEnd::More => Err(BodyError::TooManyMessages {
                limit: MAX_MESSAGES,
            }),
            ArrayEnd::Broken(error) => push(messages, Err(error.into())),
        },
        Err(_) => push(messages, Err(MessageError::NotAnObject)),
    }
}

fn push(
    messages: &mut Vec<Result<ChatMessage, MessageError>>,
    message: Result<ChatMessage, MessageError>,
) -> Result<(), BodyError> {
    if messages.len() == MAX_MESSAGES {
        return Err(BodyError::TooManyMessages {
            limit: MAX_MESSAGES,
        });
    }
    messages.push(message);
    Ok(())
}
