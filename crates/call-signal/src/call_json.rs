//! The five call events as `params` of a chat message (call protocol, "The five events").

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{EncodeError, FieldError, FieldFault, MessageError};
use crate::event::{
    Answer, CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersion,
    CallVersionRange, ExtraCandidates, Invitation, Offer, SdpKind, names,
};
use crate::json::{self, At, ObjectWriter, RawJson, read, required};
use crate::session;

/// `None` if `event` is not a call event.
pub(crate) fn decode(event: &str, params: &RawValue) -> Result<Option<CallMessage>, MessageError> {
    let Some(event) = names::ALL.into_iter().find(|name| *name == event) else {
        return Ok(None);
    };
    read_params(event, params)
        .map(Some)
        .map_err(|error| MessageError::Call { event, error })
}

/// `params` without white space, keys in alphabetical order, `extra` keys among them.
pub(crate) fn encode(
    call: &CallMessage,
    extra: &[(&str, &RawJson)],
) -> Result<RawJson, EncodeError> {
    let id = json::quoted(&call.call_id.to_base64());
    let content = write_content(&call.event)?;
    let mut members = vec![("callId", id.as_str())];
    members.extend(content.as_ref().map(|(key, json)| (*key, json.as_str())));
    members.extend(extra.iter().map(|(key, json)| (*key, json.as_str())));
    members.sort_unstable_by_key(|(key, _)| *key);
    if members
        .windows(2)
        .any(|pair| matches!(pair, [(a, _), (b, _)] if a == b))
    {
        return Err(EncodeError::DuplicateKey);
    }
    let mut object = ObjectWriter::default();
    for (key, json) in members {
        object.raw(key, json);
    }
    Ok(RawJson::trusted(object.finish()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParamsFields<'a> {
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    invitation: Option<&'a RawValue>,
    #[serde(borrow)]
    offer: Option<&'a RawValue>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
}

fn read_params(event: &str, params: &RawValue) -> Result<CallMessage, FieldError> {
    let fields: ParamsFields<'_> = json::object(params).at("params")?;
    let call_id = required(fields.call_id)
        .and_then(read_call_id)
        .at("callId")?;
    let event = match event {
        names::INVITATION => {
            CallEvent::Invitation(read(fields.invitation, "invitation", read_invitation)?)
        }
        names::OFFER => CallEvent::Offer(read(fields.offer, "offer", read_offer)?),
        names::ANSWER => CallEvent::Answer(read(fields.answer, "answer", read_answer)?),
        names::EXTRA => CallEvent::Extra(read(fields.extra, "extra", read_extra)?),
        _ => CallEvent::End,
    };
    Ok(CallMessage { call_id, event })
}

/// The key under which the content stands in `params`, and the content; `x.call.end` has none.
fn write_content(event: &CallEvent) -> Result<Option<(&'static str, String)>, EncodeError> {
    Ok(match event {
        CallEvent::Invitation(invitation) => Some(("invitation", write_invitation(invitation))),
        CallEvent::Offer(offer) => Some(("offer", write_offer(offer)?)),
        CallEvent::Answer(answer) => Some(("answer", write_answer(answer)?)),
        CallEvent::Extra(extra) => Some(("extra", write_extra(extra)?)),
        CallEvent::End => None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvitationFields<'a> {
    #[serde(borrow)]
    call_type: Option<&'a RawValue>,
    #[serde(borrow)]
    call_dh_pub_key: Option<&'a RawValue>,
    #[serde(borrow, rename = "callVRange")]
    call_v_range: Option<&'a RawValue>,
}

fn read_invitation(json: &RawValue) -> Result<Invitation, FieldError> {
    let fields: InvitationFields<'_> = json::object(json)?;
    Ok(Invitation {
        call_type: read(fields.call_type, "callType", read_call_type)?,
        dh_public_key: read_key(fields.call_dh_pub_key)?,
        versions: match fields.call_v_range {
            Some(range) => read_version_range(range).at("callVRange")?,
            None => CallVersionRange::V1,
        },
    })
}

fn write_invitation(invitation: &Invitation) -> String {
    let mut object = ObjectWriter::default();
    write_key(&mut object, invitation.dh_public_key.as_ref());
    object.raw("callType", &write_call_type(invitation.call_type));
    // Peers that know version 1 alone leave the field out; so do we where it says no more.
    if invitation.versions != CallVersionRange::V1 {
        object.text("callVRange", &invitation.versions.to_string());
    }
    object.finish()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfferFields<'a> {
    #[serde(borrow)]
    call_type: Option<&'a RawValue>,
    #[serde(borrow)]
    rtc_session: Option<&'a RawValue>,
    #[serde(borrow)]
    call_dh_pub_key: Option<&'a RawValue>,
    #[serde(borrow)]
    call_version: Option<&'a RawValue>,
}

fn read_offer(json: &RawValue) -> Result<Offer, FieldError> {
    let fields: OfferFields<'_> = json::object(json)?;
    Ok(Offer {
        call_type: read(fields.call_type, "callType", read_call_type)?,
        session: read(fields.rtc_session, "rtcSession", |json| {
            session::read_session(json, SdpKind::Offer)
        })?,
        dh_public_key: read_key(fields.call_dh_pub_key)?,
        version: match fields.call_version {
            Some(version) => CallVersion(json::number(version).at("callVersion")?),
            None => CallVersion::V1,
        },
    })
}

fn write_offer(offer: &Offer) -> Result<String, EncodeError> {
    let mut object = ObjectWriter::default();
    write_key(&mut object, offer.dh_public_key.as_ref());
    object.raw("callType", &write_call_type(offer.call_type));
    if offer.version != CallVersion::V1 {
        object.raw("callVersion", &offer.version.0.to_string());
    }
    object.raw(
        "rtcSession",
        &session::write_session(&offer.session, SdpKind::Offer)?,
    );
    Ok(object.finish())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerFields<'a> {
    #[serde(borrow)]
    rtc_session: Option<&'a RawValue>,
}

fn read_answer(json: &RawValue) -> Result<Answer, FieldError> {
    let fields: AnswerFields<'_> = json::object(json)?;
    let session = read(fields.rtc_session, "rtcSession", |json| {
        session::read_session(json, SdpKind::Answer)
    })?;
    Ok(Answer { session })
}

fn write_answer(answer: &Answer) -> Result<String, EncodeError> {
    let session = session::write_session(&answer.session, SdpKind::Answer)?;
    Ok(ObjectWriter::default().raw("rtcSession", &session).finish())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtraFields<'a> {
    #[serde(borrow)]
    rtc_extra_info: Option<&'a RawValue>,
}

fn read_extra(json: &RawValue) -> Result<ExtraCandidates, FieldError> {
    let fields: ExtraFields<'_> = json::object(json)?;
    let candidates = read(
        fields.rtc_extra_info,
        "rtcExtraInfo",
        session::read_extra_info,
    )?;
    Ok(ExtraCandidates { candidates })
}

fn write_extra(extra: &ExtraCandidates) -> Result<String, EncodeError> {
    let info = session::write_extra_info(&extra.candidates)?;
    Ok(ObjectWriter::default().raw("rtcExtraInfo", &info).finish())
}

#[derive(Deserialize)]
struct CallTypeFields<'a> {
    #[serde(borrow)]
    media: Option<&'a RawValue>,
    #[serde(borrow)]
    capabilities: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CapabilitiesFields<'a> {
    #[serde(borrow)]
    encryption: Option<&'a RawValue>,
}

fn read_call_type(json: &RawValue) -> Result<CallType, FieldError> {
    let fields: CallTypeFields<'_> = json::object(json)?;
    let media = read(fields.media, "media", read_media)?;
    let encryption = read(fields.capabilities, "capabilities", |json| {
        let fields: CapabilitiesFields<'_> = json::object(json)?;
        read(fields.encryption, "encryption", json::boolean)
    })?;
    Ok(CallType { media, encryption })
}

fn write_call_type(call_type: CallType) -> String {
    let encryption = if call_type.encryption {
        "true"
    } else {
        "false"
    };
    let capabilities = ObjectWriter::default()
        .raw("encryption", encryption)
        .finish();
    let media = match call_type.media {
        CallMedia::Audio => "audio",
        CallMedia::Video => "video",
    };
    ObjectWriter::default()
        .raw("capabilities", &capabilities)
        .text("media", media)
        .finish()
}

fn read_media(json: &RawValue) -> Result<CallMedia, FieldFault> {
    match json::text(json)?.as_str() {
        "audio" => Ok(CallMedia::Audio),
        "video" => Ok(CallMedia::Video),
        _ => Err(FieldFault::UnknownMedia),
    }
}

fn read_key(field: Option<&RawValue>) -> Result<Option<CallDhPublicKey>, FieldError> {
    let read = |json| CallDhPublicKey::from_base64(&json::text(json)?);
    field.map(read).transpose().at("callDhPubKey")
}

fn write_key(object: &mut ObjectWriter, key: Option<&CallDhPublicKey>) {
    object.optional_text(
        "callDhPubKey",
        key.map(CallDhPublicKey::to_base64).as_deref(),
    );
}

fn read_version_range(json: &RawValue) -> Result<CallVersionRange, FieldFault> {
    json::text(json)?
        .parse()
        .map_err(|_| FieldFault::NotAVersionRange)
}

fn read_call_id(json: &RawValue) -> Result<CallId, FieldFault> {
    CallId::from_base64(&json::text(json)?)
}
