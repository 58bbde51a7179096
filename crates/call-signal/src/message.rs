//! The chat envelope: one JSON object with `v`, `msgId`, `event`, `params` (call protocol,
//! "Envelope of a chat message").

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::CryptoRng;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat_event::ChatEvent;
use crate::contact::{ContactRequest, Profile};
use crate::content::{MessageDeletion, MessageUpdate, NewMessage};
use crate::error::{EncodeError, FieldError, FieldFault, MessageError};
use crate::event::{BASE64_URL, CallMessage};
use crate::json::{self, At, ObjectWriter, RawJson};
use crate::version::ChatVersionRange;
use crate::{call_json, contact_json, content_json};

/// A chat message, and the exact text in which it was received or is sent.
///
/// Keys may be hashed over that text, so nothing here re-encodes it.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    raw: RawJson,
    /// Where `params` stands in `raw`.
    params: Range<usize>,
    envelope: Envelope,
    event: ChatEvent,
}

impl ChatMessage {
    /// Reads one message, a JSON object. Unknown keys are ignored; `null` counts as absent.
    ///
    /// # Errors
    /// If it is not a JSON object, has no `event` or `params`, or is an event of this crate and
    /// malformed.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        Self::from_raw(json::parse(text)?)
    }

    pub(crate) fn from_raw(raw: &RawValue) -> Result<Self, MessageError> {
        let fields: EnvelopeFields<'_> = json::object(raw).map_err(|fault| match fault {
            FieldFault::NotAnObject => MessageError::NotAnObject,
            fault => MessageError::Envelope(fault.into()),
        })?;
        let (envelope, name, params) = fields.read().map_err(MessageError::Envelope)?;
        let event = ChatEvent::decode(&name, params)?;
        // `params` was borrowed from `raw`, so the addresses tell its place.
        let start = params.get().as_ptr().addr() - raw.get().as_ptr().addr();
        let params = start..start + params.get().len();
        Ok(Self {
            raw: raw.into(),
            params,
            envelope,
            event,
        })
    }

    /// What the message says.
    pub fn event(&self) -> &ChatEvent {
        &self.event
    }

    /// What the message says, without the text in which it came.
    pub fn into_event(self) -> ChatEvent {
        self.event
    }

    /// The call event, if it is one.
    pub fn call(&self) -> Option<&CallMessage> {
        match &self.event {
            ChatEvent::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Name of the event on the wire.
    pub fn name(&self) -> &str {
        self.event.name()
    }

    /// Chat versions that the sender speaks; [`ChatVersionRange::V1`] where the field was missing.
    pub fn versions(&self) -> ChatVersionRange {
        self.envelope.versions
    }

    /// The message's id, if it has one.
    pub fn id(&self) -> Option<&MessageId> {
        self.envelope.id.as_ref()
    }

    /// The JSON text of the message exactly as it was received or is sent, without white space
    /// before or after it.
    pub fn raw(&self) -> &str {
        self.raw.as_str()
    }

    /// The JSON text of `params` exactly as it was received or is sent.
    pub fn raw_params(&self) -> &str {
        self.raw
            .as_str()
            .get(self.params.clone())
            .unwrap_or_default()
    }
}

impl fmt::Debug for ChatMessage {
    /// Prints the event's name and size only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatMessage")
            .field("event", &self.name())
            .field("bytes", &self.raw().len())
            .finish_non_exhaustive()
    }
}

/// What a message says besides its event, and the way to make a message for sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Chat versions that the sender speaks: `v`.
    pub versions: ChatVersionRange,
    /// `msgId`.
    pub id: Option<MessageId>,
}

impl Default for Envelope {
    /// Our versions, without id.
    fn default() -> Self {
        Self {
            versions: ChatVersionRange::SPOKEN,
            id: None,
        }
    }
}

impl Envelope {
    /// Our versions and a new id.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self {
            id: Some(MessageId::random(rng)),
            ..Self::default()
        }
    }

    /// A message with a call event.
    ///
    /// # Errors
    /// If the event breaks a limit of this crate or has SDP of the wrong type.
    pub fn call(self, call: &CallMessage) -> Result<ChatMessage, EncodeError> {
        self.call_with(call, &[])
    }

    /// A message with a call event whose `params` has keys beside SimpleX's, which ignores them.
    ///
    /// # Errors
    /// As [`Envelope::call`], and if a key is there already.
    pub fn call_with(
        self,
        call: &CallMessage,
        extra: &[(&str, &RawJson)],
    ) -> Result<ChatMessage, EncodeError> {
        let params = call_json::encode(call, extra)?;
        Ok(self.seal(ChatEvent::Call(call.clone()), &params))
    }

    /// A message with our profile (`x.info`). It is the connection info of both sides and has no
    /// id then; one that is sent later, because the profile has changed, has an id.
    ///
    /// # Errors
    /// If a text of the profile is too long.
    pub fn profile(self, profile: &Profile) -> Result<ChatMessage, EncodeError> {
        let params = contact_json::write_info(profile)?;
        Ok(self.seal(ChatEvent::Profile(profile.clone().into()), &params))
    }

    /// A message that asks for contact (`x.contact`); it has no id.
    ///
    /// # Errors
    /// If a text of the profile is too long, or the message of the request is no text or empty.
    pub fn contact_request(self, request: &ContactRequest) -> Result<ChatMessage, EncodeError> {
        let params = contact_json::write_request(request)?;
        let event = ChatEvent::ContactRequest(request.clone().into());
        Ok(self.seal(event, &params))
    }

    /// A message with text (`x.msg.new`); later ones refer to it by its id.
    ///
    /// # Errors
    /// If there is no text.
    pub fn text(self, text: impl Into<String>) -> Result<ChatMessage, EncodeError> {
        self.message(&NewMessage::text(text))
    }

    /// A message with text that refers to another one, is live or disappears (`x.msg.new`).
    ///
    /// # Errors
    /// If the text is empty, or it or what it quotes is no text, or a file belongs to it.
    pub fn message(self, message: &NewMessage) -> Result<ChatMessage, EncodeError> {
        let params = content_json::write_new(message)?;
        Ok(self.seal(ChatEvent::Message(message.clone()), &params))
    }

    /// A message that changes the text of an earlier one (`x.msg.update`).
    ///
    /// # Errors
    /// If the new text is empty or no text.
    pub fn update(self, update: &MessageUpdate) -> Result<ChatMessage, EncodeError> {
        let params = content_json::write_update(update)?;
        Ok(self.seal(ChatEvent::MessageUpdate(update.clone()), &params))
    }

    /// A message that takes back an earlier one (`x.msg.del`).
    pub fn deletion(self, deletion: &MessageDeletion) -> ChatMessage {
        let params = content_json::write_deletion(deletion);
        self.seal(ChatEvent::MessageDeletion(deletion.clone()), &params)
    }

    /// A message that tells the peer that they are no contact any more (`x.direct.del`).
    pub fn contact_deleted(self) -> ChatMessage {
        let params = ObjectWriter::default().finish_json();
        self.seal(ChatEvent::ContactDeleted, &params)
    }

    /// A message with any event.
    ///
    /// # Errors
    /// If `event` is one that this crate knows and `params` is not as it has to be.
    pub fn event(self, event: &str, params: &RawJson) -> Result<ChatMessage, MessageError> {
        let event = ChatEvent::decode(event, json::parse(params.as_str())?)?;
        Ok(self.seal(event, params))
    }

    /// `params` must be that of `event`.
    fn seal(self, event: ChatEvent, params: &RawJson) -> ChatMessage {
        let raw = ObjectWriter::default()
            .text("v", &self.versions.to_string())
            .optional_text("msgId", self.id.as_ref().map(MessageId::as_str))
            .text("event", event.name())
            .raw("params", params.as_str())
            .finish();
        // `params` is the last member: only the closing brace follows it.
        let end = raw.len() - 1;
        let params = end - params.as_str().len()..end;
        ChatMessage {
            raw: RawJson::trusted(raw),
            params,
            envelope: self,
            event,
        }
    }
}

/// `msgId` of a chat message, as text. Not secret, but it ties two people's logs together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// A new id as SimpleX makes it: base64url of the base64 text of 12 random bytes.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 12];
        rng.fill_bytes(&mut bytes);
        Self(BASE64_URL.encode(STANDARD.encode(bytes)))
    }

    /// An id that was received or kept from before.
    pub fn received(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as the wire has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageId(..)")
    }
}

#[derive(Deserialize)]
struct EnvelopeFields<'a> {
    #[serde(borrow)]
    v: Option<&'a RawValue>,
    #[serde(borrow, rename = "msgId")]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl<'a> EnvelopeFields<'a> {
    fn read(&self) -> Result<(Envelope, String, &'a RawValue), FieldError> {
        let versions = match self.v {
            Some(versions) => read_versions(versions).at("v")?,
            None => ChatVersionRange::V1,
        };
        let id = self
            .msg_id
            .map(json::text)
            .transpose()
            .at("msgId")?
            .map(MessageId);
        let event = json::required(self.event)
            .and_then(json::text)
            .at("event")?;
        let params = json::required(self.params).at("params")?;
        Ok((Envelope { versions, id }, event, params))
    }
}

fn read_versions(json: &RawValue) -> Result<ChatVersionRange, FieldFault> {
    json::text(json)?
        .parse()
        .map_err(|_| FieldFault::NotAVersionRange)
}
