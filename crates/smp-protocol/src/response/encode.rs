//! Responses into bytes.

use super::{QueueIds, Response};
use crate::command::QueueMode;
use crate::encoding::{EncodeError, put_bool, put_i64, put_maybe, put_short};
use crate::ids_hash::IdsHash;
use crate::version::SmpVersion;

impl Response {
    /// Appends the response as a session of `version` understands it: what is newer is left out, or
    /// becomes what older relays answered.
    ///
    /// # Errors
    /// [`EncodeError`] if link data or a certificate have more than 65,535 bytes, or a notification
    /// has more than 255. What was appended by then stays.
    pub fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(self.tag_in(version).as_bytes());
        match self {
            Self::Pong | Self::Alls | Self::End | Self::Deld | Self::Ok => {}
            Self::Ids(ids) => ids.encode(version, space(out))?,
            Self::Lnk { sender_id, data } => {
                sender_id.encode(space(out));
                data.encode(out)?;
            }
            Self::Sok(_) if version < SmpVersion::SERVICE_CERTS => {}
            Self::Sok(service_id) => put_maybe(space(out), service_id.as_ref(), |out, id| {
                id.encode(out);
                Ok::<_, EncodeError>(())
            })?,
            Self::Soks { count, ids_hash } | Self::Ends { count, ids_hash } => {
                put_queues(version, space(out), *count, ids_hash);
            }
            Self::Msg { id, body } => {
                id.encode(space(out));
                out.extend_from_slice(body);
            }
            Self::Nid {
                notifier_id,
                dh_key,
            } => {
                notifier_id.encode(space(out));
                dh_key.encode(out);
            }
            Self::Nmsg { nonce, meta } => {
                space(out).extend_from_slice(nonce);
                put_short(out, meta, "notification")?;
            }
            Self::Pkey {
                session_id,
                versions,
                certificates,
            } => {
                session_id.encode(space(out));
                versions.encode(out);
                certificates.encode(out)?;
            }
            Self::Pres(body) | Self::Rres(body) => space(out).extend_from_slice(body),
            Self::Info(json) | Self::Rname(json) => space(out).extend_from_slice(json.as_bytes()),
            Self::Err(error) => error.encode(version, space(out)),
        }
        Ok(())
    }

    fn tag_in(&self, version: SmpVersion) -> &'static str {
        match self {
            Self::Sok(_) if version < SmpVersion::SERVICE_CERTS => Self::Ok.tag(),
            Self::Deld if version < SmpVersion::DELETED_EVENT => Self::End.tag(),
            _ => self.tag(),
        }
    }
}

impl QueueIds {
    fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.recipient_id.encode(out);
        self.sender_id.encode(out);
        self.dh_key.encode(out);
        if version >= SmpVersion::SHORT_LINKS {
            put_maybe(out, self.mode, |out, mode| {
                mode.encode(out);
                Ok::<_, EncodeError>(())
            })?;
            put_maybe(out, self.link_id.as_ref(), |out, id| {
                id.encode(out);
                Ok::<_, EncodeError>(())
            })?;
        } else if version >= SmpVersion::SKEY {
            put_bool(out, self.mode == Some(QueueMode::Messaging));
        }
        if version >= SmpVersion::SERVICE_CERTS {
            put_maybe(out, self.service_id.as_ref(), |out, id| {
                id.encode(out);
                Ok::<_, EncodeError>(())
            })?;
        }
        if version >= SmpVersion::NEW_NOTIFIER {
            put_maybe(out, self.notifier.as_ref(), |out, (id, dh_key)| {
                id.encode(out);
                dh_key.encode(out);
                Ok::<_, EncodeError>(())
            })?;
        }
        Ok(())
    }
}

fn put_queues(version: SmpVersion, out: &mut Vec<u8>, count: i64, ids_hash: &IdsHash) {
    put_i64(out, count);
    if version >= SmpVersion::SERVICE_SUBS {
        ids_hash.encode(out);
    }
}

/// Appends a space, then the vector again.
fn space(out: &mut Vec<u8>) -> &mut Vec<u8> {
    out.push(b' ');
    out
}
