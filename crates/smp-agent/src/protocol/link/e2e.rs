//! The ratchet's keys as text: the parameter `e2e` of an invitation.

use std::fmt;

use double_ratchet::{E2eParamsRange, E2eVersion, KemParams, KemPublicKey, X448PublicKey};
use smp_protocol::encoding::text::{from_base64url, to_base64url};

use super::LinkTextError;
use super::error::cut_if;
use super::parameters::parameters;
use crate::protocol::version::{put_version_numbers, version_numbers};

/// Characters of an X448 key in base64url, without `=`.
const KEY_CHARS: usize = 91;

/// Characters of a post-quantum key in base64url.
const KEM_KEY_CHARS: usize = 1544;

/// The parameter of the post-quantum key.
const KEM_KEY: &str = "kem_key";

/// Reads `v=…&x3dh=…,…`, perhaps with `&kem_key=…`. Of two parameters with the same name the first
/// counts; those of other names are ignored. `is_last` says that the link ends with this text.
pub(super) fn from_text(text: &str, is_last: bool) -> Result<E2eParamsRange, LinkTextError> {
    let (mut versions, mut keys, mut kem) = (None, None, None);
    for parameter in parameters(text, false) {
        let parameter = parameter?;
        let may_be_cut = is_last && parameter.is_last;
        let value = &parameter.value;
        match parameter.name {
            "v" if versions.is_none() => {
                // Keys follow at least.
                let result = e2e_versions(value);
                versions = Some(result.map_err(|error| cut_if(may_be_cut, error))?);
            }
            "x3dh" if keys.is_none() => keys = Some(two_keys(value, may_be_cut)?),
            KEM_KEY if kem.is_none() => kem = Some(kem_key(value, may_be_cut)?),
            // Without its key the invitation would be taken, and would be worth less.
            name if may_be_cut && KEM_KEY.starts_with(name) => return Err(LinkTextError::CutOff),
            _ => {}
        }
    }
    let (min, max) = versions.ok_or(cut_if(is_last, LinkTextError::E2eVersions))?;
    let (key_1, key_2) = keys.ok_or(cut_if(is_last, LinkTextError::E2eKeys))?;
    Ok(E2eParamsRange {
        min,
        max,
        key_1,
        key_2,
        kem: kem.map(KemParams::Proposed),
    })
}

/// Writes the same. There is no text for an accepted key, which no invitation has.
pub(super) fn put_text(out: &mut impl fmt::Write, params: &E2eParamsRange) -> fmt::Result {
    out.write_str("v=")?;
    put_version_numbers(out, params.min.0, params.max.0)?;
    write!(
        out,
        "&x3dh={},{}",
        to_base64url(&params.key_1.to_spki()),
        to_base64url(&params.key_2.to_spki())
    )?;
    match &params.kem {
        None => Ok(()),
        Some(KemParams::Proposed(key) | KemParams::Accepted { key, .. }) => {
            write!(out, "&{KEM_KEY}={}", to_base64url(key.as_bytes()))
        }
    }
}

fn e2e_versions(text: &str) -> Result<(E2eVersion, E2eVersion), LinkTextError> {
    let (min, max) = version_numbers(text)
        .filter(|(min, max)| min <= max)
        .ok_or(LinkTextError::E2eVersions)?;
    Ok((E2eVersion(min), E2eVersion(max)))
}

fn two_keys(text: &str, may_be_cut: bool) -> Result<(X448PublicKey, X448PublicKey), LinkTextError> {
    let error = |is_short: bool| cut_if(may_be_cut && is_short, LinkTextError::E2eKeys);
    let key = |text: &str| {
        let der = from_base64url(text, "X448 key").ok()?;
        X448PublicKey::from_spki(&der).ok()
    };
    let (first, second) = text.split_once(',').ok_or(error(true))?;
    let first = key(first).ok_or(LinkTextError::E2eKeys)?;
    let second = key(second).ok_or(error(second.len() < KEY_CHARS))?;
    Ok((first, second))
}

fn kem_key(text: &str, may_be_cut: bool) -> Result<KemPublicKey, LinkTextError> {
    let bytes = from_base64url(text, "sntrup761 key").ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(|bytes| KemPublicKey::from_bytes(&bytes))
        .ok_or(cut_if(
            may_be_cut && text.len() < KEM_KEY_CHARS,
            LinkTextError::KemKey,
        ))
}
