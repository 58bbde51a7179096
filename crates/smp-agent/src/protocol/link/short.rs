//! Short links.

use std::fmt;
use std::str::FromStr;

use smp_protocol::encoding::put_short_array;
use smp_protocol::encoding::text::{from_base64url, put_percent_encoded, to_base64url_bare};
use smp_protocol::{DecodeError, Host, LinkId, Reader};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::error::cut_if;
use super::parameters::{Kind, Parts, parameters};
use super::server::{fingerprint_from, hosts_from, port_from, put_host};
use super::{LinkServer, LinkTextError};

/// Where the data of a link is stored, and the key to it (document, "Short connection link
/// syntax").
///
/// `Display` writes the link, `Debug` the type's name alone: who has the link can connect.
#[derive(Clone, PartialEq, Eq)]
pub struct ShortLink {
    /// How its text begins. The binary form does not say.
    pub scheme: ShortLinkScheme,
    /// What it leads to.
    pub kind: ShortLinkKind,
    /// Where its data is.
    pub server: LinkServer,
    /// The key to its data.
    pub key: LinkKey,
}

/// How the text of a short link begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShortLinkScheme {
    /// `https://` and the server's first host.
    #[default]
    Https,
    /// `simplex:`.
    Simplex,
}

/// What a short link leads to.
///
/// `Debug` says the kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum ShortLinkKind {
    /// An invitation: one connection.
    Invitation {
        /// Names the link to the server; that of an address comes out of its key.
        link_id: LinkId,
    },
    /// An address: any number of connections.
    Contact(ContactKind),
}

impl fmt::Debug for ShortLinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invitation { .. } => f.write_str("ShortLinkKind::Invitation"),
            Self::Contact(kind) => write!(f, "ShortLinkKind::Contact({kind:?})"),
        }
    }
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContactKind {
    /// A person's, `/a`.
    Contact,
    /// A channel's, `/c`.
    Channel,
    /// A group's, `/g`.
    Group,
    /// Of a relay of channels, `/r`.
    Relay,
}

impl ContactKind {
    fn letter(self) -> u8 {
        match self {
            Self::Contact => b'A',
            Self::Channel => b'C',
            Self::Group => b'G',
            Self::Relay => b'R',
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "kind of a contact link";
        match reader.u8(WHAT)? {
            b'A' => Ok(Self::Contact),
            b'C' => Ok(Self::Channel),
            b'G' => Ok(Self::Group),
            b'R' => Ok(Self::Relay),
            _ => Err(DecodeError::Value(WHAT)),
        }
    }
}

/// Length of a link's key in bytes.
pub const LINK_KEY_SIZE: usize = 32;

/// The key to a link's data: the SHA3-256 of its fixed part. Wiped when dropped.
///
/// Equality takes the same time for all keys.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LinkKey([u8; LINK_KEY_SIZE]);

impl LinkKey {
    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LINK_KEY_SIZE]) -> Self {
        Self(*bytes)
    }

    /// The bytes, to be stored where secrets may be.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LINK_KEY_SIZE] {
        &self.0
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "link key";
        let bytes = reader.short(WHAT)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| DecodeError::Limit(WHAT))
    }
}

impl PartialEq for LinkKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for LinkKey {}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey")
    }
}

impl ShortLink {
    /// Whether it is for one connection.
    #[must_use]
    pub fn is_invitation(&self) -> bool {
        matches!(self.kind, ShortLinkKind::Invitation { .. })
    }

    /// Reads the binary form (document, `connShortLink`). Something else may follow.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off, or if the text would be refused as well.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "short link";
        let (kind, server) = match reader.u8(WHAT)? {
            b'I' => {
                let server = LinkServer::decode(reader)?;
                let link_id = LinkId::decode(reader)?;
                if link_id.as_bytes().is_empty() {
                    return Err(DecodeError::Empty("link id"));
                }
                (ShortLinkKind::Invitation { link_id }, server)
            }
            b'C' => {
                let kind = ContactKind::decode(reader)?;
                (ShortLinkKind::Contact(kind), LinkServer::decode(reader)?)
            }
            _ => return Err(DecodeError::Value(WHAT)),
        };
        Ok(Self {
            scheme: ShortLinkScheme::default(),
            kind,
            server,
            key: LinkKey::decode(reader)?,
        })
    }

    /// Appends the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.kind {
            ShortLinkKind::Invitation { link_id } => {
                out.push(b'I');
                self.server.encode(out);
                link_id.encode(out);
            }
            ShortLinkKind::Contact(kind) => {
                out.extend_from_slice(&[b'C', kind.letter()]);
                self.server.encode(out);
            }
        }
        put_short_array(out, &self.key.0);
    }

    pub(super) fn of_parts(parts: &Parts<'_>) -> Result<Self, LinkTextError> {
        let is_end = parts.parameters.is_none();
        let (kind, key) = match parts.kind {
            Kind::ShortContact(kind) => (ShortLinkKind::Contact(kind), parts.before),
            Kind::ShortInvitation => {
                let missing = cut_if(is_end, LinkTextError::LinkId);
                let (id, key) = parts.before.split_once('/').ok_or(missing)?;
                let link_id = link_id_from(id)?;
                (ShortLinkKind::Invitation { link_id }, key)
            }
            Kind::FullInvitation | Kind::FullContact => return Err(LinkTextError::NotShort),
        };
        let key = link_key_from(key, is_end)?;
        let (scheme, server) = match parts.site {
            None => (ShortLinkScheme::Simplex, server_from(None, parts)?),
            Some(site) => {
                let host = site.parse().map_err(LinkTextError::Server)?;
                (ShortLinkScheme::Https, server_from(Some(host), parts)?)
            }
        };
        Ok(Self {
            scheme,
            kind,
            server,
            key,
        })
    }
}

fn link_id_from(text: &str) -> Result<LinkId, LinkTextError> {
    let id = from_base64url(text, "link id").map_err(|_| LinkTextError::LinkId)?;
    if id.is_empty() {
        return Err(LinkTextError::LinkId);
    }
    LinkId::new(&id).map_err(|_| LinkTextError::LinkId)
}

/// Characters of 32 bytes in base64url, without `=`.
const KEY_CHARS: usize = 43;

fn link_key_from(text: &str, is_end: bool) -> Result<LinkKey, LinkTextError> {
    let bytes = from_base64url(text, "link key").ok();
    let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(LinkKey);
    key.ok_or(cut_if(
        is_end && text.len() < KEY_CHARS,
        LinkTextError::LinkKey,
    ))
}

/// `host` is the site of an `https` link, the first way to the server. Of two parameters with the
/// same name the first counts; other names are ignored.
fn server_from(host: Option<Host>, parts: &Parts<'_>) -> Result<LinkServer, LinkTextError> {
    let (mut more, mut port, mut fingerprint) = (None, None, None);
    for parameter in parameters(parts.parameters.unwrap_or_default(), true) {
        let parameter = parameter?;
        let value = parameter.value.as_str();
        let result = match parameter.name {
            "h" if more.is_none() => hosts_from(value).map(|hosts| more = Some(hosts)),
            "p" if port.is_none() => port_from(value).map(|number| port = Some(number)),
            "c" if fingerprint.is_none() => {
                fingerprint_from(value).map(|bytes| fingerprint = Some(bytes))
            }
            _ => Ok(()),
        };
        let is_cut = parameter.is_last
            && (value.is_empty() || parameter.name == "c" && value.len() < KEY_CHARS);
        result.map_err(|error| cut_if(is_cut, LinkTextError::Server(error)))?;
    }
    let mut hosts: Vec<Host> = host.into_iter().collect();
    hosts.extend(more.unwrap_or_default());
    if hosts.is_empty() && parts.parameters.is_none() {
        return Err(LinkTextError::CutOff);
    }
    LinkServer::new(hosts, port, fingerprint).map_err(LinkTextError::Server)
}

impl FromStr for ShortLink {
    type Err = LinkTextError;

    /// Takes a short link, without white space.
    fn from_str(text: &str) -> Result<Self, LinkTextError> {
        Self::of_parts(&Parts::of(text)?)
    }
}

impl fmt::Display for ShortLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, others) = match (self.scheme, self.server.hosts()) {
            (ShortLinkScheme::Https, [first, others @ ..]) => (Some(first), others),
            (_, hosts) => (None, hosts),
        };
        match first {
            None => f.write_str("simplex:/")?,
            Some(host) => {
                f.write_str("https://")?;
                put_host(f, host)?;
                f.write_str("/")?;
            }
        }
        match &self.kind {
            ShortLinkKind::Invitation { link_id } => {
                write!(f, "i#{}/", to_base64url_bare(link_id.as_bytes()))?;
            }
            ShortLinkKind::Contact(kind) => {
                write!(f, "{}#", char::from(kind.letter().to_ascii_lowercase()))?;
            }
        }
        f.write_str(&to_base64url_bare(&self.key.0))?;
        put_parameters(f, others, &self.server)
    }
}

fn put_parameters(f: &mut fmt::Formatter<'_>, hosts: &[Host], server: &LinkServer) -> fmt::Result {
    let mut before = "?";
    if !hosts.is_empty() {
        let mut text = String::new();
        for (index, host) in hosts.iter().enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            put_host(&mut text, host)?;
        }
        write!(f, "{before}h=")?;
        put_percent_encoded(f, &text)?;
        before = "&";
    }
    if let Some(port) = server.port() {
        write!(f, "{before}p={port}")?;
        before = "&";
    }
    if let Some(fingerprint) = server.fingerprint() {
        write!(f, "{before}c={}", to_base64url_bare(fingerprint.as_bytes()))?;
    }
    Ok(())
}

impl fmt::Debug for ShortLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShortLink")
    }
}
