//! Commands out of their bytes.

use super::{Command, MAX_NAME, NewQueue, UNKNOWN_COUNT};
use crate::address::{BasicAuth, RelayAddress};
use crate::command::LinkData;
use crate::encoding::{DecodeError, Reader};
use crate::error::CommandError;
use crate::flags::MessageFlags;
use crate::id::{LinkId, MessageId};
use crate::ids_hash::IdsHash;
use crate::key::{AuthPublicKey, DhPublicKey};
use crate::version::SmpVersion;

impl Command {
    /// Reads a command, all of it, in a session of `version`.
    ///
    /// # Errors
    /// [`CommandError::Unknown`] if the version has no such command; [`CommandError::Syntax`] if
    /// its parameters cannot be read or something follows them.
    pub fn decode(version: SmpVersion, bytes: &[u8]) -> Result<Self, CommandError> {
        let mut reader = Reader::new(bytes);
        let tag = reader.word();
        if since(tag).is_none_or(|since| since > version) {
            return Err(CommandError::Unknown);
        }
        read(version, tag, &mut reader)
            .and_then(|command| reader.finish("command").map(|()| command))
            .map_err(|_| CommandError::Syntax)
    }
}

/// The first version with a command of this tag, if there is any.
pub(super) fn since(tag: &[u8]) -> Option<SmpVersion> {
    Some(match tag {
        b"PING" | b"NEW" | b"SUB" | b"KEY" | b"NKEY" | b"NDEL" | b"GET" | b"ACK" | b"OFF"
        | b"DEL" | b"QUE" | b"SEND" | b"NSUB" => SmpVersion::CREATE_ONLY,
        b"PRXY" | b"PFWD" | b"RFWD" => SmpVersion::PROXY,
        b"SKEY" => SmpVersion::SKEY,
        b"RKEY" | b"LSET" | b"LDEL" | b"LKEY" | b"LGET" => SmpVersion::SHORT_LINKS,
        b"SUBS" | b"NSUBS" => SmpVersion::SERVICE_CERTS,
        b"RSLV" => SmpVersion::NAMES,
        _ => return None,
    })
}

fn read(version: SmpVersion, tag: &[u8], reader: &mut Reader<'_>) -> Result<Command, DecodeError> {
    Ok(match tag {
        b"PING" => Command::Ping,
        b"SUB" => Command::Sub,
        b"LDEL" => Command::Ldel,
        b"NDEL" => Command::Ndel,
        b"GET" => Command::Get,
        b"OFF" => Command::Off,
        b"DEL" => Command::Del,
        b"QUE" => Command::Que,
        b"LGET" => Command::Lget,
        b"NSUB" => Command::Nsub,
        b"SUBS" => {
            let (count, ids_hash) = read_queues(version, reader)?;
            Command::Subs { count, ids_hash }
        }
        b"NSUBS" => {
            let (count, ids_hash) = read_queues(version, reader)?;
            Command::Nsubs { count, ids_hash }
        }
        _ => {
            reader.space("command")?;
            return read_parameters(version, tag, reader);
        }
    })
}

/// The commands that always have parameters.
fn read_parameters(
    version: SmpVersion,
    tag: &[u8],
    reader: &mut Reader<'_>,
) -> Result<Command, DecodeError> {
    Ok(match tag {
        b"NEW" => Command::New(Box::new(NewQueue::decode(version, reader)?)),
        b"KEY" => Command::Key(AuthPublicKey::decode(reader)?),
        b"RKEY" => Command::Rkey(reader.list("recipient keys", AuthPublicKey::decode)?),
        b"LSET" => Command::Lset {
            link_id: LinkId::decode(reader)?,
            data: LinkData::decode(reader)?,
        },
        b"NKEY" => Command::Nkey {
            key: AuthPublicKey::decode(reader)?,
            dh_key: DhPublicKey::decode(reader)?,
        },
        b"ACK" => Command::Ack(MessageId::decode(reader)?),
        b"SKEY" => Command::Skey(AuthPublicKey::decode(reader)?),
        b"SEND" => {
            let flags = MessageFlags::decode(reader)?;
            reader.space("message flags")?;
            Command::Send {
                flags,
                body: reader.take_rest().to_vec(),
            }
        }
        b"LKEY" => Command::Lkey(AuthPublicKey::decode(reader)?),
        b"PRXY" => Command::Prxy {
            relay: RelayAddress::decode(reader)?,
            basic_auth: reader.maybe("password", BasicAuth::decode)?,
        },
        b"PFWD" => Command::Pfwd {
            version: SmpVersion::decode(reader)?,
            key: DhPublicKey::decode(reader)?,
            body: reader.take_rest().to_vec(),
        },
        b"RFWD" => Command::Rfwd(reader.take_rest().to_vec()),
        b"RSLV" => Command::Rslv(read_name(reader)?),
        _ => return Err(DecodeError::Value("command")),
    })
}

fn read_queues(
    version: SmpVersion,
    reader: &mut Reader<'_>,
) -> Result<(i64, IdsHash), DecodeError> {
    if version < SmpVersion::SERVICE_SUBS {
        return Ok((UNKNOWN_COUNT, IdsHash::default()));
    }
    reader.space("command")?;
    Ok((reader.i64("count of queues")?, IdsHash::decode(reader)?))
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    const WHAT: &str = "name";
    let name = str::from_utf8(reader.take_rest()).map_err(|_| DecodeError::Value(WHAT))?;
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(DecodeError::Limit(WHAT))
    }
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains(' ')
}
