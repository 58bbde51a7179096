//! Which event a chat message holds, by its name.

use serde_json::value::RawValue;

use crate::contact::{ContactRequest, Profile};
use crate::content::{MessageDeletion, MessageUpdate, NewMessage};
use crate::error::MessageError;
use crate::event::CallMessage;
use crate::json::RawJson;
use crate::{call_json, contact_json, content_json};

/// What a chat message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatEvent {
    /// One of the five call events.
    Call(CallMessage),
    /// `x.info`: who the contact is, at connection and whenever that changes.
    Profile(Box<Profile>),
    /// `x.contact`: somebody asks to become a contact.
    ContactRequest(Box<ContactRequest>),
    /// `x.msg.new`: somebody wrote something.
    Message(NewMessage),
    /// `x.msg.update`: what an earlier message says now.
    MessageUpdate(MessageUpdate),
    /// `x.msg.del`: an earlier message is taken back.
    MessageDeletion(MessageDeletion),
    /// `x.direct.del`: the peer deleted us from their contacts.
    ContactDeleted,
    /// Any other event, known to somebody else or to nobody.
    Other {
        /// Name on the wire, e.g. `x.msg.react`.
        event: String,
        /// The value of `params` as received.
        params: RawJson,
    },
}

impl ChatEvent {
    /// Name of the event on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Call(call) => call.event.name(),
            Self::Profile(_) => names::INFO,
            Self::ContactRequest(_) => names::CONTACT,
            Self::Message(_) => names::NEW,
            Self::MessageUpdate(_) => names::UPDATE,
            Self::MessageDeletion(_) => names::DELETION,
            Self::ContactDeleted => names::CONTACT_DELETED,
            Self::Other { event, .. } => event,
        }
    }

    pub(crate) fn decode(name: &str, params: &RawValue) -> Result<Self, MessageError> {
        if let Some(call) = call_json::decode(name, params)? {
            return Ok(Self::Call(call));
        }
        let Some(event) = names::ALL.into_iter().find(|known| *known == name) else {
            return Ok(Self::Other {
                event: name.to_owned(),
                params: params.into(),
            });
        };
        match event {
            names::INFO => contact_json::read_info(params).map(|info| Self::Profile(info.into())),
            names::CONTACT => contact_json::read_request(params)
                .map(|request| Self::ContactRequest(request.into())),
            names::NEW => content_json::read_new(params).map(Self::Message),
            names::UPDATE => content_json::read_update(params).map(Self::MessageUpdate),
            names::DELETION => content_json::read_deletion(params).map(Self::MessageDeletion),
            _ => Ok(Self::ContactDeleted),
        }
        .map_err(|error| MessageError::Contact { event, error })
    }
}

/// Names of the events between contacts on the wire.
mod names {
    pub(super) const INFO: &str = "x.info";
    pub(super) const CONTACT: &str = "x.contact";
    pub(super) const NEW: &str = "x.msg.new";
    pub(super) const UPDATE: &str = "x.msg.update";
    pub(super) const DELETION: &str = "x.msg.del";
    pub(super) const CONTACT_DELETED: &str = "x.direct.del";

    pub(super) const ALL: [&str; 6] = [INFO, CONTACT, NEW, UPDATE, DELETION, CONTACT_DELETED];
}
