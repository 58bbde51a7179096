//! Commands into bytes.

use super::{Command, decode};
use crate::encoding::{EncodeError, put_i64, put_list, put_maybe};
use crate::version::SmpVersion;

impl Command {
    /// Appends the command as a session of `version` writes it, without what is newer.
    ///
    /// A command that the version does not have is written as its first version does; the relay
    /// does not know it. See [`Command::since`].
    ///
    /// # Errors
    /// [`EncodeError`] if a list of keys is empty or has more than
    /// [`MAX_RECIPIENT_KEYS`](super::MAX_RECIPIENT_KEYS), link data have more than 65,535 bytes, or
    /// a name is empty, has spaces or more than [`MAX_NAME`](super::MAX_NAME) bytes. What was
    /// appended by then stays.
    pub fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(self.tag().as_bytes());
        match self {
            Self::Ping
            | Self::Sub
            | Self::Ldel
            | Self::Ndel
            | Self::Get
            | Self::Off
            | Self::Del
            | Self::Que
            | Self::Lget
            | Self::Nsub => {}
            Self::New(new) => new.encode(version, space(out))?,
            Self::Subs { count, ids_hash } | Self::Nsubs { count, ids_hash } => {
                if version >= SmpVersion::SERVICE_SUBS {
                    put_i64(space(out), *count);
                    ids_hash.encode(out);
                }
            }
            Self::Key(key) | Self::Skey(key) | Self::Lkey(key) => key.encode(space(out)),
            Self::Rkey(keys) => put_list(space(out), keys, "recipient keys", |out, key| {
                key.encode(out);
                Ok(())
            })?,
            Self::Lset { link_id, data } => {
                link_id.encode(space(out));
                data.encode(out)?;
            }
            Self::Nkey { key, dh_key } => {
                key.encode(space(out));
                dh_key.encode(out);
            }
            Self::Ack(id) => id.encode(space(out)),
            Self::Send { flags, body } => {
                flags.encode(space(out));
                space(out).extend_from_slice(body);
            }
            Self::Prxy { relay, basic_auth } => {
                relay.encode(space(out));
                put_maybe(out, basic_auth.as_ref(), |out, basic_auth| {
                    basic_auth.encode(out);
                    Ok::<_, EncodeError>(())
                })?;
            }
            Self::Pfwd { version, key, body } => {
                version.encode(space(out));
                key.encode(out);
                out.extend_from_slice(body);
            }
            Self::Rfwd(body) => space(out).extend_from_slice(body),
            Self::Rslv(name) if decode::is_name(name) => {
                space(out).extend_from_slice(name.as_bytes());
            }
            Self::Rslv(_) => return Err(EncodeError("name")),
        }
        Ok(())
    }
}

/// Appends a space, then the vector again.
fn space(out: &mut Vec<u8>) -> &mut Vec<u8> {
    out.push(b' ');
    out
}
