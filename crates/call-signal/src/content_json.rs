//! Content messages as `params` of a chat message.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::content::{
    Container, MessageContent, MessageDeletion, MessageRef, MessageUpdate, NewMessage, Quote,
};
use crate::error::{EncodeError, FieldError, FieldFault};
use crate::json::{self, At, ObjectWriter, RawJson, optional, read};
use crate::message::MessageId;

#[derive(Deserialize)]
struct NewFields<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    quote: Option<&'a RawValue>,
    #[serde(borrow)]
    parent: Option<&'a RawValue>,
    #[serde(borrow)]
    forward: Option<&'a RawValue>,
    #[serde(borrow)]
    live: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
    #[serde(borrow)]
    file: Option<&'a RawValue>,
}

pub(crate) fn read_new(params: &RawValue) -> Result<NewMessage, FieldError> {
    let fields: NewFields<'_> = json::object(params).at("params")?;
    Ok(NewMessage {
        content: read(fields.content, "content", read_content)?,
        container: read_container(&fields)?,
        live: optional(fields.live, "live", json::boolean)?.unwrap_or_default(),
        ttl: optional(fields.ttl, "ttl", json::integer)?,
        has_file: fields.file.is_some(),
    })
}

pub(crate) fn write_new(message: &NewMessage) -> Result<RawJson, EncodeError> {
    if message.has_file {
        return Err(EncodeError::NotText);
    }
    let mut object = ObjectWriter::default();
    object
        .raw("content", &write_text(&message.content)?)
        .flag("forward", message.container == Container::Forward)
        .flag("live", message.live);
    match &message.container {
        Container::Simple | Container::Forward => {}
        Container::Quote(quote) => {
            object.raw("quote", &write_quote(quote)?);
        }
        Container::Comment(parent) => {
            object.raw("parent", &write_reference(parent));
        }
    }
    write_ttl(&mut object, message.ttl);
    Ok(object.finish_json())
}

fn read_container(fields: &NewFields<'_>) -> Result<Container, FieldError> {
    if let Some(quote) = optional(fields.quote, "quote", read_quote)? {
        return Ok(Container::Quote(quote));
    }
    if let Some(parent) = optional(fields.parent, "parent", read_reference)? {
        return Ok(Container::Comment(parent));
    }
    match optional(fields.forward, "forward", read_forward)? {
        Some(true) => Ok(Container::Forward),
        Some(false) | None => Ok(Container::Simple),
    }
}

/// `true`, or an object that tells more.
fn read_forward(json: &RawValue) -> Result<bool, FieldFault> {
    if json.get().starts_with('{') {
        return Ok(true);
    }
    json::boolean(json)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuoteFields<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    msg_ref: Option<&'a RawValue>,
}

fn read_quote(json: &RawValue) -> Result<Quote, FieldError> {
    let fields: QuoteFields<'_> = json::object(json)?;
    Ok(Quote {
        content: read(fields.content, "content", read_content)?,
        reference: read(fields.msg_ref, "msgRef", read_reference)?,
    })
}

fn write_quote(quote: &Quote) -> Result<String, EncodeError> {
    Ok(ObjectWriter::default()
        .raw("content", &write_content(&quote.content)?)
        .raw("msgRef", &write_reference(&quote.reference))
        .finish())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceFields<'a> {
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    sent: Option<&'a RawValue>,
    #[serde(borrow)]
    sent_at: Option<&'a RawValue>,
}

fn read_reference(json: &RawValue) -> Result<MessageRef, FieldError> {
    let fields: ReferenceFields<'_> = json::object(json)?;
    Ok(MessageRef {
        id: optional(fields.msg_id, "msgId", json::text)?.map(MessageId::received),
        sent: read(fields.sent, "sent", json::boolean)?,
        sent_at: read(fields.sent_at, "sentAt", json::text)?,
    })
}

fn write_reference(reference: &MessageRef) -> String {
    ObjectWriter::default()
        .optional_text("msgId", reference.id.as_ref().map(MessageId::as_str))
        .raw("sent", if reference.sent { "true" } else { "false" })
        .text("sentAt", &reference.sent_at)
        .finish()
}

#[derive(Deserialize)]
struct ContentFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// `type` of plain text.
const TEXT: &str = "text";

pub(crate) fn read_content(json: &RawValue) -> Result<MessageContent, FieldError> {
    let fields: ContentFields<'_> = json::object(json)?;
    let kind = read(fields.kind, "type", json::text)?;
    if kind == TEXT {
        return read(fields.text, "text", json::text).map(MessageContent::Text);
    }
    let text = optional(fields.text, "text", json::text)?.unwrap_or_default();
    Ok(MessageContent::Other { kind, text })
}

/// Text that says something; what is not text cannot be written.
pub(crate) fn write_text(content: &MessageContent) -> Result<String, EncodeError> {
    if content.text().is_empty() && matches!(content, MessageContent::Text(_)) {
        return Err(EncodeError::EmptyText);
    }
    write_content(content)
}

fn write_content(content: &MessageContent) -> Result<String, EncodeError> {
    match content {
        MessageContent::Text(text) => Ok(ObjectWriter::default()
            .text("text", text)
            .text("type", TEXT)
            .finish()),
        MessageContent::Other { .. } => Err(EncodeError::NotText),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateFields<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    live: Option<&'a RawValue>,
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
}

pub(crate) fn read_update(params: &RawValue) -> Result<MessageUpdate, FieldError> {
    let fields: UpdateFields<'_> = json::object(params).at("params")?;
    Ok(MessageUpdate {
        id: read(fields.msg_id, "msgId", json::text).map(MessageId::received)?,
        content: read(fields.content, "content", read_content)?,
        live: optional(fields.live, "live", json::boolean)?.unwrap_or_default(),
        ttl: optional(fields.ttl, "ttl", json::integer)?,
    })
}

pub(crate) fn write_update(update: &MessageUpdate) -> Result<RawJson, EncodeError> {
    let mut object = ObjectWriter::default();
    object
        .raw("content", &write_text(&update.content)?)
        .flag("live", update.live)
        .text("msgId", update.id.as_str());
    write_ttl(&mut object, update.ttl);
    Ok(object.finish_json())
}

fn write_ttl(object: &mut ObjectWriter, ttl: Option<i64>) {
    object.optional_raw("ttl", ttl.map(|ttl| ttl.to_string()).as_deref());
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletionFields<'a> {
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
}

pub(crate) fn read_deletion(params: &RawValue) -> Result<MessageDeletion, FieldError> {
    let fields: DeletionFields<'_> = json::object(params).at("params")?;
    let id = read(fields.msg_id, "msgId", json::text).map(MessageId::received)?;
    Ok(MessageDeletion { id })
}

pub(crate) fn write_deletion(deletion: &MessageDeletion) -> RawJson {
    ObjectWriter::default()
        .text("msgId", deletion.id.as_str())
        .finish_json()
}
