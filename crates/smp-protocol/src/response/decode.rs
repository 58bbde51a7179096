//! Responses out of their bytes.

use super::{QueueIds, Response, ResponseError};
use crate::certificate::CertChainAndKey;
use crate::command::{LinkData, QueueMode};
use crate::encoding::{DecodeError, Reader};
use crate::error::ErrorType;
use crate::id::{LinkId, MessageId, NotifierId, ProxySessionId, RecipientId, SenderId, ServiceId};
use crate::ids_hash::IdsHash;
use crate::key::DhPublicKey;
use crate::version::{SmpVersion, VersionRange};

impl Response {
    /// Reads a response, all of it, in a session of `version`.
    ///
    /// Responses that are newer than the session are read as well.
    ///
    /// # Errors
    /// [`ResponseError`] if it is none.
    pub fn decode(version: SmpVersion, bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut reader = Reader::new(bytes);
        let response = match reader.word() {
            b"PONG" => Self::Pong,
            b"ALLS" => Self::Alls,
            b"END" => Self::End,
            b"DELD" => Self::Deld,
            b"OK" => Self::Ok,
            tag => read(version, tag, &mut reader)?,
        };
        reader.finish("response")?;
        Ok(response)
    }
}

/// The responses with parameters.
fn read(
    version: SmpVersion,
    tag: &[u8],
    reader: &mut Reader<'_>,
) -> Result<Response, ResponseError> {
    let read: fn(SmpVersion, &mut Reader<'_>) -> Result<Response, DecodeError> = match tag {
        b"IDS" => |version, reader| Ok(Response::Ids(Box::new(QueueIds::decode(version, reader)?))),
        b"LNK" => |_, reader| {
            Ok(Response::Lnk {
                sender_id: SenderId::decode(reader)?,
                data: LinkData::decode(reader)?,
            })
        },
        b"SOK" => |_, reader| {
            reader
                .maybe("service id", ServiceId::decode)
                .map(Response::Sok)
        },
        b"SOKS" => |version, reader| {
            let (count, ids_hash) = read_queues(version, reader)?;
            Ok(Response::Soks { count, ids_hash })
        },
        b"MSG" => |_, reader| {
            Ok(Response::Msg {
                id: MessageId::decode(reader)?,
                body: reader.take_rest().to_vec(),
            })
        },
        b"NID" => |_, reader| {
            Ok(Response::Nid {
                notifier_id: NotifierId::decode(reader)?,
                dh_key: DhPublicKey::decode(reader)?,
            })
        },
        b"NMSG" => |_, reader| {
            Ok(Response::Nmsg {
                nonce: reader.array("nonce")?,
                meta: reader.short("notification")?.to_vec(),
            })
        },
        b"PKEY" => |_, reader| {
            Ok(Response::Pkey {
                session_id: ProxySessionId::decode(reader)?,
                versions: VersionRange::decode(reader)?,
                certificates: CertChainAndKey::decode(reader)?,
            })
        },
        b"PRES" => |_, reader| Ok(Response::Pres(reader.take_rest().to_vec())),
        b"RRES" => |_, reader| Ok(Response::Rres(reader.take_rest().to_vec())),
        b"ENDS" => |version, reader| {
            let (count, ids_hash) = read_queues(version, reader)?;
            Ok(Response::Ends { count, ids_hash })
        },
        b"INFO" => |_, reader| read_text(reader).map(Response::Info),
        b"ERR" => |_, reader| ErrorType::decode(reader.take_rest()).map(Response::Err),
        b"RNAME" => |_, reader| read_text(reader).map(Response::Rname),
        _ => return Err(ResponseError::Unknown),
    };
    reader.space("response")?;
    Ok(read(version, reader)?)
}

impl QueueIds {
    fn decode(version: SmpVersion, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut ids = Self {
            recipient_id: RecipientId::decode(reader)?,
            sender_id: SenderId::decode(reader)?,
            dh_key: DhPublicKey::decode(reader)?,
            mode: None,
            link_id: None,
            service_id: None,
            notifier: None,
        };
        if version >= SmpVersion::SHORT_LINKS {
            ids.mode = reader.maybe("queue mode", QueueMode::decode)?;
            ids.link_id = reader.maybe("link id", LinkId::decode)?;
        } else if version >= SmpVersion::SKEY {
            let can = reader.bool("sender can secure")?;
            ids.mode = Some(QueueMode::of_sender_can_secure(can));
        }
        if version >= SmpVersion::SERVICE_CERTS {
            ids.service_id = reader.maybe("service id", ServiceId::decode)?;
        }
        if version >= SmpVersion::NEW_NOTIFIER {
            ids.notifier = reader.maybe("notifier", |reader| {
                Ok::<_, DecodeError>((NotifierId::decode(reader)?, DhPublicKey::decode(reader)?))
            })?;
        }
        Ok(ids)
    }
}

fn read_queues(
    version: SmpVersion,
    reader: &mut Reader<'_>,
) -> Result<(i64, IdsHash), DecodeError> {
    let count = reader.i64("count of queues")?;
    if version >= SmpVersion::SERVICE_SUBS {
        Ok((count, IdsHash::decode(reader)?))
    } else {
        Ok((count, IdsHash::default()))
    }
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let text = str::from_utf8(reader.take_rest()).map_err(|_| DecodeError::Value("JSON"))?;
    Ok(text.to_owned())
}
