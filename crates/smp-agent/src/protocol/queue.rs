//! How agents tell each other of queues.

use std::fmt;

use smp_protocol::encoding::{put_bool, put_u16};
use smp_protocol::{
    ClientVersion, DecodeError, DhPublicKey, EncodeError, QueueMode, Reader, RelayAddress, SenderId,
};

/// Names a queue to both agents of a connection (document, `sndQueueAddr`).
///
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct QueueAddress {
    /// The relay.
    pub relay: RelayAddress,
    /// Names the queue to its sender.
    pub sender_id: SenderId,
}

impl QueueAddress {
    /// Reads the relay and the id.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or no such address, or if the id is empty.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let relay = RelayAddress::decode(reader)?;
        let sender_id = SenderId::decode(reader)?;
        if sender_id.as_bytes().is_empty() {
            return Err(DecodeError::Empty("sender id"));
        }
        Ok(Self { relay, sender_id })
    }

    /// Appends the relay and the id.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.relay.encode(out);
        self.sender_id.encode(out);
    }
}

impl fmt::Debug for QueueAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueAddress")
    }
}

/// All that a sender needs to send to a queue, for the one client version that both sides have
/// agreed on (document, `newQueueInfo`). A [`QueueUri`](smp_protocol::QueueUri) says the same for a
/// range of versions.
///
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueInfo {
    /// The version that messages in the queue have. Version 1 has a form of its own, which no
    /// document describes and nobody writes; it is refused.
    pub version: ClientVersion,
    /// The relay.
    pub relay: RelayAddress,
    /// Names the queue to its sender.
    pub sender_id: SenderId,
    /// Agrees the secret between sender and recipient.
    pub dh_key: DhPublicKey,
    /// What the queue is for. Version 2 says nothing of it, version 3 whether the sender can secure
    /// it, which is [`QueueMode::Messaging`].
    ///
    /// From version 3 on it has to be there if something follows that may begin with its letter:
    /// the encoding does not say whether it is.
    pub mode: Option<QueueMode>,
}

impl QueueInfo {
    /// Reads it. Something else may follow.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or has a wrong value, [`DecodeError::Limit`] if its version
    /// is below 2.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "client version";
        let version = ClientVersion(reader.u16(WHAT)?);
        if version < ClientVersion::MULTIPLE_HOSTS {
            return Err(DecodeError::Limit(WHAT));
        }
        let QueueAddress { relay, sender_id } = QueueAddress::decode(reader)?;
        let dh_key = DhPublicKey::decode(reader)?;
        let mode = match (version, reader.peek()) {
            (ClientVersion::MULTIPLE_HOSTS, _) => None,
            (ClientVersion::SENDER_KEY, Some(b'T' | b'F')) => {
                let can = reader.bool("sender can secure")?;
                Some(if can {
                    QueueMode::Messaging
                } else {
                    QueueMode::Contact
                })
            }
            (ClientVersion::SENDER_KEY, _) => None,
            (_, Some(b'M' | b'C')) => Some(QueueMode::decode(reader)?),
            _ => None,
        };
        Ok(Self {
            version,
            relay,
            sender_id,
            dh_key,
            mode,
        })
    }

    /// Appends it.
    ///
    /// # Errors
    /// [`EncodeError`] if its version is below 2.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.version < ClientVersion::MULTIPLE_HOSTS {
            return Err(EncodeError("client version"));
        }
        put_u16(out, self.version.0);
        self.relay.encode(out);
        self.sender_id.encode(out);
        self.dh_key.encode(out);
        match (self.version, self.mode) {
            (_, None) | (ClientVersion::MULTIPLE_HOSTS, _) => {}
            (ClientVersion::SENDER_KEY, Some(mode)) => put_bool(out, mode == QueueMode::Messaging),
            (_, Some(mode)) => mode.encode(out),
        }
        Ok(())
    }

    /// Its relay and id.
    #[must_use]
    pub fn address(&self) -> QueueAddress {
        QueueAddress {
            relay: self.relay.clone(),
            sender_id: self.sender_id.clone(),
        }
    }
}

impl fmt::Debug for QueueInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueInfo")
    }
}
