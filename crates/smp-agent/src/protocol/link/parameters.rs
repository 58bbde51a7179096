//! What a link's text consists of, before any of it is understood.

use std::borrow::Cow;

use smp_protocol::DecodeError;
use smp_protocol::encoding::text::percent_decoded;

use super::{ContactKind, LinkTextError, MAX_LINK};

const SIMPLEX: &str = "simplex:/";
const HTTPS: &str = "https://";

/// What kind of link it is, as the word in front of `#` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FullInvitation,
    FullContact,
    ShortInvitation,
    ShortContact(ContactKind),
}

/// A link's text, taken apart.
pub(super) struct Parts<'a> {
    /// The site of an `https` link.
    pub(super) site: Option<&'a str>,
    pub(super) kind: Kind,
    /// What stands between `#` and `?`.
    pub(super) before: &'a str,
    /// What stands behind `?`.
    pub(super) parameters: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, LinkTextError> {
        if text.len() > MAX_LINK {
            return Err(LinkTextError::TooLong);
        }
        let (site, rest) = site(text)?;
        let (path, fragment) = match rest.split_once('#') {
            Some((path, fragment)) => (path, Some(fragment)),
            None => (rest, None),
        };
        let kind = kind(path, site.is_some(), fragment.is_none())?;
        let fragment = fragment.ok_or(LinkTextError::CutOff)?;
        if fragment.is_empty() {
            return Err(LinkTextError::CutOff);
        }
        let (before, parameters) = match fragment.split_once('?') {
            Some((before, parameters)) => (before, Some(parameters)),
            None => (fragment, None),
        };
        Ok(Self {
            site,
            kind,
            before,
            parameters,
        })
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self.kind, Kind::FullInvitation | Kind::FullContact)
    }
}

/// The site of an `https` link, and what follows it and `/`.
fn site(text: &str) -> Result<(Option<&str>, &str), LinkTextError> {
    if let Some(rest) = text.strip_prefix(SIMPLEX) {
        return Ok((None, rest));
    }
    if let Some(rest) = text.strip_prefix(HTTPS) {
        let (site, rest) = rest.split_once('/').ok_or(LinkTextError::NotALink)?;
        if site.is_empty() || site.contains(['#', '?']) {
            return Err(LinkTextError::NotALink);
        }
        return Ok((Some(site), rest));
    }
    if !text.is_empty() && (SIMPLEX.starts_with(text) || HTTPS.starts_with(text)) {
        return Err(LinkTextError::CutOff);
    }
    Err(LinkTextError::NotALink)
}

/// `path` may end with a `/`, which some sites add.
fn kind(path: &str, is_https: bool, is_end: bool) -> Result<Kind, LinkTextError> {
    const WORDS: [(&str, Kind); 7] = [
        ("invitation", Kind::FullInvitation),
        ("contact", Kind::FullContact),
        ("i", Kind::ShortInvitation),
        ("a", Kind::ShortContact(ContactKind::Contact)),
        ("c", Kind::ShortContact(ContactKind::Channel)),
        ("g", Kind::ShortContact(ContactKind::Group)),
        ("r", Kind::ShortContact(ContactKind::Relay)),
    ];
    let word = path.strip_suffix('/').unwrap_or(path);
    if let Some((_, kind)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Ok(*kind);
    }
    let is_beginning = WORDS.iter().any(|(known, _)| known.starts_with(path));
    Err(if is_end && is_beginning {
        LinkTextError::CutOff
    } else if is_https && path.len() > 1 {
        // Any address of the web looks like this.
        LinkTextError::NotALink
    } else {
        LinkTextError::UnknownKind
    })
}

/// One parameter behind `?`.
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) value: String,
    /// Whether the text ends with it, so that its end may be missing.
    pub(super) is_last: bool,
}

/// The parameters in their order, values decoded. A `+` stands for a space if `plus_is_space`.
pub(super) fn parameters(
    text: &str,
    plus_is_space: bool,
) -> impl Iterator<Item = Result<Parameter<'_>, LinkTextError>> {
    let mut all = text.split('&').peekable();
    std::iter::from_fn(move || {
        let (name, value) = all
            .next()
            .map(|it| it.split_once('=').unwrap_or((it, "")))?;
        let is_last = all.peek().is_none();
        let value = if plus_is_space && value.contains('+') {
            Cow::Owned(value.replace('+', " "))
        } else {
            Cow::Borrowed(value)
        };
        let value = percent_decoded(&value, "parameter").map_err(|error| match error {
            DecodeError::Short(_) if is_last => LinkTextError::CutOff,
            _ => LinkTextError::Encoding,
        });
        Some(value.map(|value| Parameter {
            name,
            value,
            is_last,
        }))
    })
}
