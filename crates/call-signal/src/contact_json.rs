//! Profiles and contact requests as `params` of a chat message.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::MAX_PROFILE_TEXT;
use crate::contact::{ContactRequest, ContactRequestId, Profile, ProfileImage, RequestMessage};
use crate::content_json;
use crate::display_name::DisplayName;
use crate::error::{EncodeError, FieldError, FieldFault};
use crate::json::{self, At, ObjectWriter, RawJson, optional, read};
use crate::message::MessageId;

#[derive(Deserialize)]
struct InfoFields<'a> {
    #[serde(borrow)]
    profile: Option<&'a RawValue>,
}

pub(crate) fn read_info(params: &RawValue) -> Result<Profile, FieldError> {
    let fields: InfoFields<'_> = json::object(params).at("params")?;
    read(fields.profile, "profile", read_profile)
}

pub(crate) fn write_info(profile: &Profile) -> Result<RawJson, EncodeError> {
    let profile = write_profile(profile)?;
    Ok(ObjectWriter::default()
        .raw("profile", &profile)
        .finish_json())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestFields<'a> {
    #[serde(borrow)]
    profile: Option<&'a RawValue>,
    #[serde(borrow)]
    contact_req_id: Option<&'a RawValue>,
    #[serde(borrow)]
    welcome_msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

pub(crate) fn read_request(params: &RawValue) -> Result<ContactRequest, FieldError> {
    let fields: RequestFields<'_> = json::object(params).at("params")?;
    let id = optional(fields.msg_id, "msgId", json::text)?;
    let content = optional(fields.content, "content", content_json::read_content)?;
    Ok(ContactRequest {
        profile: read(fields.profile, "profile", read_profile)?,
        request_id: optional(fields.contact_req_id, "contactReqId", json::text)?
            .map(ContactRequestId::received),
        welcome_id: optional(fields.welcome_msg_id, "welcomeMsgId", json::text)?
            .map(MessageId::received),
        // One without the other is no message.
        message: id.zip(content).map(|(id, content)| RequestMessage {
            id: MessageId::received(id),
            content,
        }),
    })
}

pub(crate) fn write_request(request: &ContactRequest) -> Result<RawJson, EncodeError> {
    let mut object = ObjectWriter::default();
    let request_id = request.request_id.as_ref().map(ContactRequestId::as_str);
    object.optional_text("contactReqId", request_id);
    if let Some(message) = &request.message {
        object.raw("content", &content_json::write_text(&message.content)?);
        object.text("msgId", message.id.as_str());
    }
    object.raw("profile", &write_profile(&request.profile)?);
    let welcome_id = request.welcome_id.as_ref().map(MessageId::as_str);
    object.optional_text("welcomeMsgId", welcome_id);
    Ok(object.finish_json())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileFields<'a> {
    #[serde(borrow)]
    display_name: Option<&'a RawValue>,
    #[serde(borrow)]
    full_name: Option<&'a RawValue>,
    #[serde(borrow)]
    short_descr: Option<&'a RawValue>,
    #[serde(borrow)]
    image: Option<&'a RawValue>,
    #[serde(borrow)]
    contact_link: Option<&'a RawValue>,
    #[serde(borrow)]
    peer_type: Option<&'a RawValue>,
    #[serde(borrow)]
    preferences: Option<&'a RawValue>,
}

fn read_profile(json: &RawValue) -> Result<Profile, FieldError> {
    let fields: ProfileFields<'_> = json::object(json)?;
    let image = optional(fields.image, "image", json::text)?;
    Ok(Profile {
        display_name: read(fields.display_name, "displayName", short_text)
            .map(DisplayName::received)?,
        full_name: optional(fields.full_name, "fullName", short_text)?.unwrap_or_default(),
        short_descr: optional(fields.short_descr, "shortDescr", short_text)?,
        // A contact is worth more than a picture: one that is not taken is left out.
        image: image.and_then(ProfileImage::new),
        contact_link: optional(fields.contact_link, "contactLink", json::text)?,
        peer_type: optional(fields.peer_type, "peerType", short_text)?,
        preferences: fields.preferences.map(RawJson::from),
    })
}

fn write_profile(profile: &Profile) -> Result<String, EncodeError> {
    let display_name = profile.display_name.as_str();
    let texts = [
        Some(display_name),
        Some(profile.full_name.as_str()),
        profile.short_descr.as_deref(),
        profile.peer_type.as_deref(),
    ];
    let longest = texts.into_iter().flatten().map(str::len).max();
    if let Some(actual) = longest.filter(|&length| length > MAX_PROFILE_TEXT) {
        let limit = MAX_PROFILE_TEXT;
        return Err(EncodeError::ProfileTextTooLong { limit, actual });
    }
    let image = profile.image.as_ref().map(ProfileImage::as_str);
    let preferences = profile.preferences.as_ref().map(RawJson::as_str);
    Ok(ObjectWriter::default()
        .optional_text("contactLink", profile.contact_link.as_deref())
        .text("displayName", display_name)
        .text("fullName", &profile.full_name)
        .optional_text("image", image)
        .optional_text("peerType", profile.peer_type.as_deref())
        .optional_raw("preferences", preferences)
        .optional_text("shortDescr", profile.short_descr.as_deref())
        .finish())
}

fn short_text(json: &RawValue) -> Result<String, FieldFault> {
    let text = json::text(json)?;
    if text.len() > MAX_PROFILE_TEXT {
        let limit = MAX_PROFILE_TEXT;
        return Err(FieldFault::TooLong { limit });
    }
    Ok(text)
}
