//! The parameters of `NEW` (document, "Create queue command").

use std::fmt;

use sha3::{Digest, Sha3_384};

use crate::address::BasicAuth;
use crate::encoding::{DecodeError, EncodeError, Reader, put_bool, put_large, put_maybe};
use crate::id::{CorrId, ID_SIZE, LinkId, SenderId};
use crate::key::{AuthPublicKey, DhPublicKey};
use crate::version::SmpVersion;

/// A queue to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewQueue {
    /// The recipient's commands for the queue are verified with it, this one too.
    pub auth_key: AuthPublicKey,
    /// Agrees the secret that messages are encrypted with on their way to the recipient.
    pub dh_key: DhPublicKey,
    /// The relay's password for creating queues.
    pub basic_auth: Option<BasicAuth>,
    /// Whether this connection subscribes to the queue.
    pub subscribe: bool,
    /// What the queue is for. Before version 9 there is none, before 15 only its mode is written.
    pub request: Option<QueueRequest>,
    /// Enables notifications at once: the notifier's key, and the one that agrees the secret
    /// of notifications. From version 17 on, before it is not written.
    pub notifier: Option<(AuthPublicKey, DhPublicKey)>,
}

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueMode {
    /// For one sender, who can secure it.
    Messaging,
    /// For requests of many, which nobody but the recipient can secure.
    Contact,
}

/// What a queue is for, and what its short link shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueRequest {
    /// For one sender. With a link the client chooses the sender id, which must be
    /// [`Self::link_sender_id`]; the relay chooses the link id.
    Messaging(Option<(SenderId, LinkData)>),
    /// For requests of many. With a link the client chooses both ids, the sender id as above.
    Contact(Option<(LinkId, SenderId, LinkData)>),
}

/// What a relay keeps for those who have a short link: two encrypted texts of at most 65,535 bytes.
///
/// `Debug` shows no byte of it.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct LinkData {
    /// What never changes.
    pub fixed: Vec<u8>,
    /// What the owner may change.
    pub user: Vec<u8>,
}

impl NewQueue {
    pub(super) fn decode(
        version: SmpVersion,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            auth_key: AuthPublicKey::decode(reader)?,
            dh_key: DhPublicKey::decode(reader)?,
            basic_auth: if version >= SmpVersion::SKEY {
                reader.maybe("password", BasicAuth::decode)?
            } else if reader.take(b"A") {
                Some(BasicAuth::decode(reader)?)
            } else {
                None
            },
            subscribe: match reader.u8("subscribe mode")? {
                b'S' => true,
                b'C' => false,
                _ => return Err(DecodeError::Value("subscribe mode")),
            },
            request: QueueRequest::decode(version, reader)?,
            notifier: if version >= SmpVersion::NEW_NOTIFIER {
                reader.maybe("notifier keys", |reader| {
                    Ok::<_, DecodeError>((
                        AuthPublicKey::decode(reader)?,
                        DhPublicKey::decode(reader)?,
                    ))
                })?
            } else {
                None
            },
        })
    }

    pub(super) fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.auth_key.encode(out);
        self.dh_key.encode(out);
        match &self.basic_auth {
            None if version < SmpVersion::SKEY => {}
            None => out.push(b'0'),
            Some(basic_auth) => {
                out.push(if version >= SmpVersion::SKEY {
                    b'1'
                } else {
                    b'A'
                });
                basic_auth.encode(out);
            }
        }
        out.push(if self.subscribe { b'S' } else { b'C' });
        if version >= SmpVersion::SHORT_LINKS {
            put_maybe(out, self.request.as_ref(), |out, request| {
                request.encode(out)
            })?;
        } else if version >= SmpVersion::SKEY {
            put_bool(out, self.mode() == Some(QueueMode::Messaging));
        }
        if version >= SmpVersion::NEW_NOTIFIER {
            put_maybe(out, self.notifier, |out, (key, dh_key)| {
                key.encode(out);
                dh_key.encode(out);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What the queue is for, if the command says it.
    #[must_use]
    pub fn mode(&self) -> Option<QueueMode> {
        self.request.as_ref().map(QueueRequest::mode)
    }
}

impl QueueMode {
    /// Reads `M` or `C`.
    ///
    /// # Errors
    /// [`DecodeError`] for another byte or at the end.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8("queue mode")? {
            b'M' => Ok(Self::Messaging),
            b'C' => Ok(Self::Contact),
            _ => Err(DecodeError::Value("queue mode")),
        }
    }

    /// Appends `M` or `C`.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Messaging => b'M',
            Self::Contact => b'C',
        });
    }

    /// What "the sender can secure the queue" means as a mode, before version 15.
    pub(crate) fn of_sender_can_secure(can: bool) -> Self {
        if can { Self::Messaging } else { Self::Contact }
    }
}

impl QueueRequest {
    /// The sender id that a client has to choose for a queue with a link: the first 24 bytes of
    /// SHA3-384 over the command's correlation id. So nobody can try whether an id is taken.
    #[must_use]
    pub fn link_sender_id(corr_id: &CorrId) -> SenderId {
        let digest: [u8; 48] = Sha3_384::digest(corr_id.as_bytes()).into();
        let mut id = [0; ID_SIZE];
        id.copy_from_slice(&digest[..ID_SIZE]);
        id.into()
    }

    /// What the queue is for.
    #[must_use]
    pub fn mode(&self) -> QueueMode {
        match self {
            Self::Messaging(_) => QueueMode::Messaging,
            Self::Contact(_) => QueueMode::Contact,
        }
    }

    /// What the short link shows, if there is to be one.
    #[must_use]
    pub fn link_data(&self) -> Option<&LinkData> {
        match self {
            Self::Messaging(link) => link.as_ref().map(|(_, data)| data),
            Self::Contact(link) => link.as_ref().map(|(_, _, data)| data),
        }
    }

    fn decode(version: SmpVersion, reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if version >= SmpVersion::SHORT_LINKS {
            return reader.maybe("queue request", Self::decode_with_link);
        }
        if version < SmpVersion::SKEY {
            return Ok(None);
        }
        Ok(Some(
            match QueueMode::of_sender_can_secure(reader.bool("sender can secure")?) {
                QueueMode::Messaging => Self::Messaging(None),
                QueueMode::Contact => Self::Contact(None),
            },
        ))
    }

    fn decode_with_link(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "link data";
        Ok(match QueueMode::decode(reader)? {
            QueueMode::Messaging => Self::Messaging(reader.maybe(WHAT, |reader| {
                Ok::<_, DecodeError>((SenderId::decode(reader)?, LinkData::decode(reader)?))
            })?),
            QueueMode::Contact => Self::Contact(reader.maybe(WHAT, |reader| {
                Ok::<_, DecodeError>((
                    LinkId::decode(reader)?,
                    SenderId::decode(reader)?,
                    LinkData::decode(reader)?,
                ))
            })?),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.mode().encode(out);
        match self {
            Self::Messaging(link) => put_maybe(out, link.as_ref(), |out, (sender_id, data)| {
                sender_id.encode(out);
                data.encode(out)
            }),
            Self::Contact(link) => {
                put_maybe(out, link.as_ref(), |out, (link_id, sender_id, data)| {
                    link_id.encode(out);
                    sender_id.encode(out);
                    data.encode(out)
                })
            }
        }
    }
}

impl LinkData {
    /// Reads two large strings.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if they are cut off.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            fixed: reader.large("fixed link data")?.to_vec(),
            user: reader.large("user link data")?.to_vec(),
        })
    }

    /// Appends two large strings.
    ///
    /// # Errors
    /// [`EncodeError`] if one has more than 65,535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_large(out, &self.fixed, "fixed link data")?;
        put_large(out, &self.user, "user link data")
    }
}

impl fmt::Debug for LinkData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkData")
    }
}
