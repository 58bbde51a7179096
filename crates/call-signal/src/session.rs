//! `rtcSession` and `rtcIceCandidates`: the JSON that browsers exchange, as LZ-string text (call
//! protocol, `LZ`).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{EncodeError, FieldError, FieldFault};
use crate::event::{IceCandidate, RtcSession, SdpKind, SessionDescription};
use crate::json::{self, ArrayEnd, At, ObjectWriter, RawJson, required};
use crate::lz_string::{self, LzError};
use crate::{MAX_CANDIDATES, MAX_SDP};

/// Longest candidate list that is decompressed, in UTF-16 code units: 512 for each candidate.
/// A longer one is cut off after the last whole candidate.
pub const MAX_CANDIDATES_TEXT: usize = 512 * MAX_CANDIDATES;

/// Longest session description as JSON, in UTF-16 code units: an escape takes six at most.
const MAX_DESCRIPTION_TEXT: usize = 6 * MAX_SDP + 64;

impl RtcSession {
    /// Reads the object with `rtcSession` and `rtcIceCandidates`, of which the description must be
    /// of the `expected` kind. Candidates beyond [`MAX_CANDIDATES`] are cut off.
    ///
    /// # Errors
    /// If it is not such an object; the error says which field is at fault.
    pub fn from_json(json: &RawJson, expected: SdpKind) -> Result<Self, FieldError> {
        read_session(
            json::parse(json.as_str()).map_err(|_| FieldFault::NotJson)?,
            expected,
        )
    }

    /// Writes the object with `rtcIceCandidates` and `rtcSession`.
    ///
    /// # Errors
    /// If the SDP is too long or there are too many candidates.
    pub fn to_json(&self) -> Result<RawJson, EncodeError> {
        write_session(self, self.description.kind).map(RawJson::trusted)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionFields<'a> {
    #[serde(borrow)]
    rtc_session: Option<&'a RawValue>,
    #[serde(borrow)]
    rtc_ice_candidates: Option<&'a RawValue>,
}

pub(crate) fn read_session(json: &RawValue, expected: SdpKind) -> Result<RtcSession, FieldError> {
    let fields: SessionFields<'_> = json::object(json)?;
    let description = required(fields.rtc_session)
        .and_then(json::text)
        .map_err(FieldError::from)
        .and_then(|text| decompress_description(&text, expected))
        .at("rtcSession")?;
    Ok(RtcSession {
        description,
        candidates: read_candidates(fields.rtc_ice_candidates)?,
    })
}

pub(crate) fn write_session(
    session: &RtcSession,
    expected: SdpKind,
) -> Result<String, EncodeError> {
    let RtcSession {
        description,
        candidates,
    } = session;
    if description.kind != expected {
        return Err(EncodeError::WrongSdpType);
    }
    if description.sdp.len() > MAX_SDP {
        let actual = description.sdp.len();
        return Err(EncodeError::SdpTooLong {
            limit: MAX_SDP,
            actual,
        });
    }
    Ok(ObjectWriter::default()
        .text("rtcIceCandidates", &compress_candidates(candidates)?)
        .text(
            "rtcSession",
            &lz_string::compress_to_base64(&description.to_json()),
        )
        .finish())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtraInfoFields<'a> {
    #[serde(borrow)]
    rtc_ice_candidates: Option<&'a RawValue>,
}

/// `rtcExtraInfo` of `x.call.extra`.
pub(crate) fn read_extra_info(json: &RawValue) -> Result<Vec<IceCandidate>, FieldError> {
    let fields: ExtraInfoFields<'_> = json::object(json)?;
    read_candidates(fields.rtc_ice_candidates)
}

pub(crate) fn write_extra_info(candidates: &[IceCandidate]) -> Result<String, EncodeError> {
    let candidates = compress_candidates(candidates)?;
    Ok(ObjectWriter::default()
        .text("rtcIceCandidates", &candidates)
        .finish())
}

fn read_candidates(field: Option<&RawValue>) -> Result<Vec<IceCandidate>, FieldError> {
    required(field)
        .and_then(json::text)
        .map_err(FieldError::from)
        .and_then(|text| decompress_candidates(&text))
        .at("rtcIceCandidates")
}

fn decompress_description(
    compressed: &str,
    expected: SdpKind,
) -> Result<SessionDescription, FieldError> {
    let text = match lz_string::decompress_from_base64(compressed, MAX_DESCRIPTION_TEXT) {
        Ok(text) => text,
        Err(LzError::TooLong { .. }) => return Err(FieldFault::TooLong { limit: MAX_SDP }.into()),
        Err(error) => return Err(FieldFault::Lz(error).into()),
    };
    let description = SessionDescription::from_json(&text)?;
    if description.kind != expected {
        return Err(FieldError::from(FieldFault::WrongSdpType).within("type"));
    }
    Ok(description)
}

fn decompress_candidates(compressed: &str) -> Result<Vec<IceCandidate>, FieldError> {
    let text = lz_string::decompress(compressed, MAX_CANDIDATES_TEXT).map_err(FieldFault::Lz)?;
    let mut units = text.units.as_slice();
    if !text.complete {
        // The cut may have gone through a surrogate pair.
        while let [rest @ .., 0xd800..=0xdbff] = units {
            units = rest;
        }
    }
    let json = String::from_utf16(units).map_err(|_| FieldFault::Lz(LzError::NotUnicode))?;
    candidates_from(&json, !text.complete)
}

fn compress_candidates(candidates: &[IceCandidate]) -> Result<String, EncodeError> {
    if candidates.len() > MAX_CANDIDATES {
        let actual = candidates.len();
        return Err(EncodeError::TooManyCandidates {
            limit: MAX_CANDIDATES,
            actual,
        });
    }
    Ok(lz_string::compress_to_base64(&write_candidates(candidates)))
}

#[derive(Deserialize)]
struct DescriptionFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp: Option<&'a RawValue>,
}

impl SessionDescription {
    /// Reads the JSON text of an `RTCSessionDescriptionInit`.
    ///
    /// # Errors
    /// If it is not one, its type is neither `offer` nor `answer`, or its SDP is longer than
    /// [`MAX_SDP`] bytes.
    pub fn from_json(json: &str) -> Result<Self, FieldError> {
        let fields: DescriptionFields<'_> =
            json::object(json::parse(json).map_err(|_| FieldFault::NotJson)?)?;
        let kind = required(fields.kind).and_then(read_kind).at("type")?;
        let sdp = required(fields.sdp).and_then(json::text).at("sdp")?;
        if sdp.len() > MAX_SDP {
            return Err(FieldError::from(FieldFault::TooLong { limit: MAX_SDP }).within("sdp"));
        }
        Ok(Self { kind, sdp })
    }

    /// The JSON text as browsers write it: `type`, then `sdp`.
    pub fn to_json(&self) -> String {
        let kind = match self.kind {
            SdpKind::Offer => "offer",
            SdpKind::Answer => "answer",
        };
        ObjectWriter::default()
            .text("type", kind)
            .text("sdp", &self.sdp)
            .finish()
    }
}

fn read_kind(json: &RawValue) -> Result<SdpKind, FieldFault> {
    match json::text(json)?.as_str() {
        "offer" => Ok(SdpKind::Offer),
        "answer" => Ok(SdpKind::Answer),
        _ => Err(FieldFault::UnknownSdpType),
    }
}

/// Reads a JSON array of `RTCIceCandidateInit`, as many as [`MAX_CANDIDATES`]; more are left
/// unread.
///
/// # Errors
/// If it is not such an array; the error says which candidate's which field is at fault.
pub fn parse_candidates(json: &str) -> Result<Vec<IceCandidate>, FieldError> {
    candidates_from(json, false)
}

/// Writes a JSON array of `RTCIceCandidateInit` as browsers do.
pub fn write_candidates(candidates: &[IceCandidate]) -> String {
    let objects: Vec<String> = candidates.iter().map(write_candidate).collect();
    format!("[{}]", objects.join(","))
}

/// `cut`: the end of the text is missing, so that it may break off within a candidate.
fn candidates_from(json: &str, cut: bool) -> Result<Vec<IceCandidate>, FieldError> {
    let elements = json::elements(json, MAX_CANDIDATES)?;
    if !cut && matches!(elements.end, ArrayEnd::Broken(_)) {
        return Err(FieldFault::NotJson.into());
    }
    let candidates = elements.items.iter().enumerate();
    candidates
        .map(|(index, json)| read_candidate(json).at(&format!("[{index}]")))
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CandidateFields<'a> {
    #[serde(borrow)]
    candidate: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp_mid: Option<&'a RawValue>,
    #[serde(borrow, rename = "sdpMLineIndex")]
    sdp_mline_index: Option<&'a RawValue>,
    #[serde(borrow)]
    username_fragment: Option<&'a RawValue>,
}

fn read_candidate(json: &RawValue) -> Result<IceCandidate, FieldError> {
    let fields: CandidateFields<'_> = json::object(json)?;
    let text = |field: Option<&RawValue>| field.map(json::text).transpose();
    Ok(IceCandidate {
        // RTCIceCandidateInit's own default.
        candidate: text(fields.candidate).at("candidate")?.unwrap_or_default(),
        sdp_mid: text(fields.sdp_mid).at("sdpMid")?,
        sdp_mline_index: fields
            .sdp_mline_index
            .map(json::number)
            .transpose()
            .at("sdpMLineIndex")?,
        username_fragment: text(fields.username_fragment).at("usernameFragment")?,
    })
}

fn write_candidate(candidate: &IceCandidate) -> String {
    let mut object = ObjectWriter::default();
    object.text("candidate", &candidate.candidate);
    object.optional_text("sdpMid", candidate.sdp_mid.as_deref());
    if let Some(index) = candidate.sdp_mline_index {
        object.raw("sdpMLineIndex", &index.to_string());
    }
    object.optional_text("usernameFragment", candidate.username_fragment.as_deref());
    object.finish()
}
