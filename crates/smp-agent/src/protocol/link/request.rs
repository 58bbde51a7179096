//! Full links.

use std::fmt;
use std::str::FromStr;

use double_ratchet::{E2eParamsRange, KemParams};
use smp_protocol::encoding::text::put_percent_encoded;
use smp_protocol::encoding::{put_large, put_maybe};
use smp_protocol::{AddressError, DecodeError, EncodeError, QueueMode, QueueUri, Reader};

use super::error::cut_if;
use super::parameters::{Kind, Parts, parameters};
use super::{LinkTextError, e2e};
use crate::protocol::message::{put_queues, queues};
use crate::protocol::{AgentVersionRange, MAX_QUEUES};

/// What a request for a connection is good for.
#[derive(Clone, PartialEq, Eq)]
pub enum RequestKind {
    /// One connection: the ratchet's keys of whoever made it.
    Invitation(E2eParamsRange),
    /// Any number of requests to connect, which are sent to the address.
    Contact,
}

impl fmt::Debug for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invitation(_) => "RequestKind::Invitation",
            Self::Contact => "RequestKind::Contact",
        })
    }
}

/// All that is needed to connect: a full link (document, "Full connection link syntax").
///
/// `Display` writes the `simplex:` form, `Debug` the type's name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionRequest {
    /// What it is good for.
    pub kind: RequestKind,
    /// The versions of its maker.
    pub versions: AgentVersionRange,
    /// Where to write, 1 to [`MAX_QUEUES`].
    pub queues: Vec<QueueUri>,
    /// What the application adds.
    pub client_data: Option<String>,
}

impl ConnectionRequest {
    /// Whether it is for one connection.
    #[must_use]
    pub fn is_invitation(&self) -> bool {
        matches!(self.kind, RequestKind::Invitation(_))
    }

    /// Reads the binary form (document, `linkConnReq`). Something else may follow.
    ///
    /// A queue of which it is not said what it is for is [`QueueMode::Contact`]: before client
    /// version 4 the binary form has no word for that.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or has a wrong value, [`DecodeError::Limit`] if it has more
    /// than [`MAX_QUEUES`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "connection request";
        let is_invitation = match reader.u8(WHAT)? {
            b'I' => true,
            b'C' => false,
            _ => return Err(DecodeError::Value(WHAT)),
        };
        let versions = AgentVersionRange::decode(reader)?;
        let queues = queues(reader, "queues", |reader| {
            let mut queue = QueueUri::decode(reader)?;
            queue.mode.get_or_insert(QueueMode::Contact);
            Ok(queue)
        })?;
        let client_data = reader.maybe("client data", |reader| {
            let text = str::from_utf8(reader.large("client data")?);
            text.map(str::to_owned)
                .map_err(|_| DecodeError::Value("client data"))
        })?;
        let kind = if is_invitation {
            RequestKind::Invitation(invitation_params(reader)?)
        } else {
            RequestKind::Contact
        };
        Ok(Self {
            kind,
            versions,
            queues,
            client_data,
        })
    }

    /// Appends the binary form.
    ///
    /// # Errors
    /// [`EncodeError`] if there is no queue or more than [`MAX_QUEUES`], if the client data is
    /// longer than 65,535 bytes, or if the ratchet's keys are an answer.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(if self.is_invitation() { b'I' } else { b'C' });
        self.versions.encode(out);
        put_queues(out, &self.queues, "queues", |out, queue| {
            queue.encode(out);
            Ok(())
        })?;
        put_maybe(out, self.client_data.as_ref(), |out, data| {
            put_large(out, data.as_bytes(), "client data")
        })?;
        if let RequestKind::Invitation(params) = &self.kind {
            if is_accepted(params) {
                return Err(EncodeError(E2E));
            }
            params.encode(out);
        }
        Ok(())
    }

    pub(super) fn of_parts(parts: &Parts<'_>) -> Result<Self, LinkTextError> {
        let Some(text) = parts.parameters.filter(|_| parts.before == "/") else {
            let is_cut = parts.parameters.is_none() && parts.before == "/";
            return Err(if is_cut {
                LinkTextError::CutOff
            } else {
                LinkTextError::NoParameters
            });
        };
        let found = Found::read(text, parts.kind == Kind::FullInvitation)?;
        let versions = found.versions.ok_or(LinkTextError::CutOff)?;
        let queues = found.queues.ok_or(LinkTextError::CutOff)?;
        let (kind, versions) = if parts.kind == Kind::FullInvitation {
            let e2e = found.e2e.ok_or(LinkTextError::CutOff)?;
            (RequestKind::Invitation(e2e), versions)
        } else {
            (RequestKind::Contact, versions.adjust())
        };
        Ok(Self {
            kind,
            versions,
            queues,
            client_data: found.client_data,
        })
    }
}

const E2E: &str = "keys of an invitation";

/// An invitation may propose a post-quantum key; accepting one is for its answer (document,
/// "End-to-end encryption").
fn invitation_params(reader: &mut Reader<'_>) -> Result<E2eParamsRange, DecodeError> {
    let params = E2eParamsRange::decode(reader)?;
    if is_accepted(&params) {
        return Err(DecodeError::Value(E2E));
    }
    Ok(params)
}

fn is_accepted(params: &E2eParamsRange) -> bool {
    matches!(params.kem, Some(KemParams::Accepted { .. }))
}

/// What stands behind `#/?`. Of two with the same name the first counts; other names are ignored.
#[derive(Default)]
struct Found {
    versions: Option<AgentVersionRange>,
    queues: Option<Vec<QueueUri>>,
    e2e: Option<E2eParamsRange>,
    client_data: Option<String>,
}

impl Found {
    fn read(text: &str, is_invitation: bool) -> Result<Self, LinkTextError> {
        let mut found = Self::default();
        for parameter in parameters(text, true) {
            let parameter = parameter?;
            let (value, is_last) = (parameter.value, parameter.is_last);
            match parameter.name {
                "v" if found.versions.is_none() => {
                    let versions = value.parse();
                    // Queues follow at least.
                    found.versions = Some(versions.map_err(|error| cut_if(is_last, error))?);
                }
                "smp" if found.queues.is_none() => {
                    found.queues = Some(queue_list(&value, is_last)?);
                }
                "e2e" if found.e2e.is_none() && is_invitation => {
                    found.e2e = Some(e2e::from_text(&value, is_last)?);
                }
                "data" if found.client_data.is_none() => found.client_data = Some(value),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Queues with `;` between.
fn queue_list(text: &str, may_be_cut: bool) -> Result<Vec<QueueUri>, LinkTextError> {
    if text.split(';').count() > MAX_QUEUES {
        return Err(LinkTextError::TooManyQueues);
    }
    let mut texts = text.split(';').peekable();
    let mut queues = Vec::new();
    while let Some(text) = texts.next() {
        let may_be_cut = may_be_cut && texts.peek().is_none();
        queues.push(
            text.parse()
                .map_err(|error| queue_error(text, error, may_be_cut))?,
        );
    }
    Ok(queues)
}

fn queue_error(text: &str, error: AddressError, may_be_cut: bool) -> LinkTextError {
    /// Characters of an X25519 key in base64url, without `=`.
    const KEY_CHARS: usize = 59;
    let is_cut = match (error, text.split_once("dh=")) {
        (_, None) => true,
        (AddressError::Encoding, _) => ["%", "%2", "%3"].iter().any(|end| text.ends_with(end)),
        (AddressError::Mode, _) => text.ends_with("&q") || text.ends_with("&q="),
        (_, Some((_, key))) => !key.contains('&') && key.len() < KEY_CHARS,
    };
    cut_if(may_be_cut && is_cut, LinkTextError::Queue(error))
}

impl FromStr for ConnectionRequest {
    type Err = LinkTextError;

    /// Takes a full link, without white space.
    fn from_str(text: &str) -> Result<Self, LinkTextError> {
        let parts = Parts::of(text)?;
        if !parts.is_full() {
            return Err(LinkTextError::NotFull);
        }
        Self::of_parts(&parts)
    }
}

impl fmt::Display for ConnectionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_invitation() {
            "invitation"
        } else {
            "contact"
        };
        write!(f, "simplex:/{word}#/?v={}&smp=", self.versions)?;
        for (index, queue) in self.queues.iter().enumerate() {
            if index > 0 {
                put_percent_encoded(f, ";")?;
            }
            put_percent_encoded(f, &queue.to_string())?;
        }
        if let RequestKind::Invitation(params) = &self.kind {
            let mut text = String::new();
            e2e::put_text(&mut text, params)?;
            f.write_str("&e2e=")?;
            put_percent_encoded(f, &text)?;
        }
        if let Some(data) = &self.client_data {
            f.write_str("&data=")?;
            put_percent_encoded(f, data)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConnectionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionRequest")
    }
}
