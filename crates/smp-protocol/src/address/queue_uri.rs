//! Queue URIs: what the sender of a queue gets.

use std::fmt;
use std::str::FromStr;

use super::text;
use super::{AddressError, RelayAddress, ServerAddress};
use crate::command::QueueMode;
use crate::encoding::text::{from_base64url, percent_decoded, put_percent_encoded, to_base64url};
use crate::encoding::{DecodeError, Reader, put_u16};
use crate::id::SenderId;
use crate::key::DhPublicKey;

/// A version of what two clients say to each other through a queue, which relays do not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientVersion(pub u16);

impl ClientVersion {
    /// Binary encoding: the oldest.
    pub const BINARY: Self = Self(1);
    /// The address of a relay can have several hosts.
    pub const MULTIPLE_HOSTS: Self = Self(2);
    /// The sender can secure the queue.
    pub const SENDER_KEY: Self = Self(3);
    /// Queues have modes, for short links.
    pub const SHORT_LINKS: Self = Self(4);
}

/// The client versions that the recipient of a queue speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientVersionRange {
    min: ClientVersion,
    max: ClientVersion,
}

impl ClientVersionRange {
    /// What this crate's programs speak.
    pub const SUPPORTED: Self = Self {
        min: ClientVersion::BINARY,
        max: ClientVersion::SHORT_LINKS,
    };

    /// The versions from `min` to `max`.
    ///
    /// # Errors
    /// [`AddressError::Versions`] if `min` is above `max`.
    pub fn new(min: ClientVersion, max: ClientVersion) -> Result<Self, AddressError> {
        if min > max {
            Err(AddressError::Versions)
        } else {
            Ok(Self { min, max })
        }
    }

    /// The least version.
    #[must_use]
    pub fn min(self) -> ClientVersion {
        self.min
    }

    /// The greatest version.
    #[must_use]
    pub fn max(self) -> ClientVersion {
        self.max
    }

    /// What both ranges have, or nothing. Two clients speak the greatest version of it.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.min.max(other.min), self.max.min(other.max)).ok()
    }
}

impl FromStr for ClientVersionRange {
    type Err = AddressError;

    /// Takes `4` or `1-4`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let version = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.map(ClientVersion).ok_or(AddressError::Versions)
        };
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        Self::new(version(min)?, version(max)?)
    }
}

impl fmt::Display for ClientVersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.min.0)?;
        if self.max > self.min {
            write!(f, "-{}", self.max.0)
        } else {
            Ok(())
        }
    }
}

/// All that a sender needs to send to a queue (document, "SMP queue URI").
///
/// `Display` writes the text, `Debug` the type's name alone: who has the text can send.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueUri {
    /// The client versions of the recipient. The least one says how the URI is written: before
    /// version 2 all hosts but the first stand in a parameter of their own, and before version 4
    /// "the sender can secure the queue" stands for [`QueueMode::Messaging`].
    pub versions: ClientVersionRange,
    /// The relay.
    pub relay: RelayAddress,
    /// Names the queue to the sender.
    pub sender_id: SenderId,
    /// Agrees the secret between sender and recipient.
    pub dh_key: DhPublicKey,
    /// What the queue is for, if the URI says it. The binary form before version 4 says it of
    /// [`QueueMode::Messaging`] alone.
    pub mode: Option<QueueMode>,
}

impl QueueUri {
    /// Reads the binary form. Something else may follow it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off, or if the text would be refused as well.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "client version";
        let (min, max) = (reader.u16(WHAT)?, reader.u16(WHAT)?);
        let versions = ClientVersionRange::new(ClientVersion(min), ClientVersion(max))
            .map_err(|_| DecodeError::Limit(WHAT))?;
        let relay = RelayAddress::decode(reader)?;
        let sender_id = SenderId::decode(reader)?;
        if sender_id.as_bytes().is_empty() {
            return Err(DecodeError::Empty("sender id"));
        }
        let dh_key = DhPublicKey::decode(reader)?;
        let mode = if versions.min >= ClientVersion::SHORT_LINKS {
            match reader.peek() {
                Some(b'M' | b'C') => Some(QueueMode::decode(reader)?),
                _ => None,
            }
        } else if reader.take(b"T") {
            Some(QueueMode::Messaging)
        } else {
            reader.take(b"F");
            None
        };
        Ok(Self {
            versions,
            relay,
            sender_id,
            dh_key,
            mode,
        })
    }

    /// Appends the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u16(out, self.versions.min.0);
        put_u16(out, self.versions.max.0);
        self.relay.encode(out);
        self.sender_id.encode(out);
        self.dh_key.encode(out);
        match self.mode {
            Some(mode) if self.versions.min >= ClientVersion::SHORT_LINKS => mode.encode(out),
            Some(QueueMode::Messaging) => out.push(b'T'),
            _ => {}
        }
    }

    /// What stands in front of `#`.
    fn queue(text: &str) -> Result<(RelayAddress, SenderId), AddressError> {
        let (server, id) = text.split_once('/').ok_or(AddressError::QueueId)?;
        let ServerAddress {
            relay,
            basic_auth: None,
        } = text::authority(server)?
        else {
            return Err(AddressError::UnexpectedPassword);
        };
        let id = from_base64url(id, "queue id").map_err(|_| AddressError::QueueId)?;
        if id.is_empty() {
            return Err(AddressError::QueueId);
        }
        let id = SenderId::new(&id).map_err(|_| AddressError::QueueId)?;
        Ok((relay, id))
    }
}

impl FromStr for QueueUri {
    type Err = AddressError;

    /// Takes the text, also the oldest one that has nothing but a key behind `#`. Parameters of
    /// other names are ignored.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text::without_scheme(text)?;
        let (queue, parameters) = text.split_once('#').ok_or(AddressError::NoParameters)?;
        let (relay, sender_id) = Self::queue(queue)?;
        let Some(parameters) = parameters.strip_prefix("/?") else {
            return Ok(Self {
                versions: ClientVersionRange::new(ClientVersion::BINARY, ClientVersion::BINARY)?,
                relay,
                sender_id,
                dh_key: dh_key(parameters)?,
                mode: None,
            });
        };
        let parameters = Parameters::read(parameters)?;
        Ok(Self {
            versions: parameters.versions.ok_or(AddressError::Versions)?,
            relay: parameters.with_hosts(relay)?,
            sender_id,
            dh_key: parameters.dh_key.ok_or(AddressError::Key)?,
            mode: parameters
                .mode
                .or(parameters.sender_can_secure.then_some(QueueMode::Messaging)),
        })
    }
}

/// What stands behind `#/?`. Of two with the same name the first counts.
#[derive(Default)]
struct Parameters {
    versions: Option<ClientVersionRange>,
    dh_key: Option<DhPublicKey>,
    mode: Option<QueueMode>,
    sender_can_secure: bool,
    hosts: Option<String>,
}

impl Parameters {
    fn read(text: &str) -> Result<Self, AddressError> {
        let mut parameters = Self::default();
        for parameter in text.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decoded(value, "parameter").map_err(|_| AddressError::Encoding)?;
            parameters.take(name, &value)?;
        }
        Ok(parameters)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), AddressError> {
        match name {
            "v" if self.versions.is_none() => self.versions = Some(value.parse()?),
            "dh" if self.dh_key.is_none() => self.dh_key = Some(dh_key(value)?),
            "q" if self.mode.is_none() => self.mode = Some(mode(value)?),
            "k" => self.sender_can_secure |= value == "s",
            "srv" if self.hosts.is_none() => self.hosts = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn with_hosts(&self, relay: RelayAddress) -> Result<RelayAddress, AddressError> {
        let Some(more) = &self.hosts else {
            return Ok(relay);
        };
        let mut hosts = relay.hosts;
        hosts.extend(text::hosts(more)?);
        RelayAddress::new(relay.fingerprint, hosts, relay.port)
    }
}

fn dh_key(text: &str) -> Result<DhPublicKey, AddressError> {
    let der = from_base64url(text, "X25519 key").map_err(|_| AddressError::Key)?;
    DhPublicKey::from_spki(&der).map_err(|_| AddressError::Key)
}

fn mode(text: &str) -> Result<QueueMode, AddressError> {
    match text {
        "m" => Ok(QueueMode::Messaging),
        "c" => Ok(QueueMode::Contact),
        _ => Err(AddressError::Mode),
    }
}

impl fmt::Display for QueueUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.relay.hosts();
        let (hosts, more) = if self.versions.min < ClientVersion::MULTIPLE_HOSTS {
            hosts.split_at(1)
        } else {
            (hosts, [].as_slice())
        };
        text::write_parts(f, &self.relay, None, hosts)?;
        write!(
            f,
            "/{}#/?v={}&dh=",
            to_base64url(self.sender_id.as_bytes()),
            self.versions
        )?;
        put_percent_encoded(f, &to_base64url(&self.dh_key.to_spki()))?;
        match self.mode {
            None => {}
            Some(QueueMode::Contact) => f.write_str("&q=c")?,
            Some(QueueMode::Messaging) => f.write_str("&q=m")?,
        }
        if self.mode == Some(QueueMode::Messaging) && self.versions.min < ClientVersion::SHORT_LINKS
        {
            f.write_str("&k=s")?;
        }
        if !more.is_empty() {
            let mut text = String::new();
            text::write_hosts(&mut text, more)?;
            f.write_str("&srv=")?;
            put_percent_encoded(f, &text)?;
        }
        Ok(())
    }
}

impl fmt::Debug for QueueUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueUri")
    }
}
