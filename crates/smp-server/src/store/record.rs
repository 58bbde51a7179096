//! Queues' records as bytes: so they stand on the disk, and so they stay in memory, where they take
//! half of what a [`QueueRecord`] takes.
//!
//! ```text
//! form 1, recipient id 24, sender id 24, present 1, day of last use 4, mode 1,
//! [link id 24] [notifier id 24] [service 24] [notifier's service 24]
//! [notifier's key 33, secret 32] [sender's key 33] delivery key 32, status 1 [text 2 + n],
//! count 1, recipients' keys 33 each, CRC-32 of all that 4
//! ```

use smp_protocol::encoding::{MAX_LARGE, put_u16, put_u32};
use smp_protocol::{AuthPublicKey, DecodeError, ErrorType, ID_SIZE, QueueMode, Reader, SmpVersion};
use zeroize::Zeroizing;

use super::{NotifierRecord, QueueId, QueueRecord, QueueStatus, ServiceKind};

/// The form of the bytes, which is their first.
const FORM: u8 = 1;

const RECIPIENT: usize = 1;
const SENDER: usize = RECIPIENT + ID_SIZE;
const PRESENT: usize = SENDER + ID_SIZE;
const USED_ON: usize = PRESENT + 1;
const MODE: usize = USED_ON + 4;
/// Where the ids begin that not every queue has, in the order of their bits.
const IDS: usize = MODE + 1;

const LINK: u8 = 1;
const NOTIFIER: u8 = 2;
const SERVICE: u8 = 4;
const NOTIFIER_SERVICE: u8 = 8;
const SENDER_KEY: u8 = 16;

const CHECKSUM: usize = 4;

/// What an id of a queue names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdKind {
    Recipient,
    Sender,
    Notifier,
    Link,
}

impl IdKind {
    pub(super) const ALL: [Self; 4] = [Self::Recipient, Self::Sender, Self::Notifier, Self::Link];
}

/// A record as bytes that were checked. They hold secrets, so they are wiped.
pub(super) struct Packed(Zeroizing<Box<[u8]>>);

impl Packed {
    pub(super) fn new(record: &QueueRecord) -> Self {
        let mut out = Zeroizing::new(Vec::with_capacity(length(record)));
        encode(record, &mut out);
        let checksum = crc32fast::hash(&out);
        put_u32(&mut out, checksum);
        Self(Zeroizing::new(out.as_slice().into()))
    }

    /// `None` if the bytes are no record, or not as they were written.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
            return None;
        }
        decode(content).ok()?;
        Some(Self(Zeroizing::new(bytes.into())))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn record(&self) -> Option<QueueRecord> {
        decode(&self.0[..self.0.len() - CHECKSUM]).ok()
    }

    pub(super) fn id(&self, kind: IdKind) -> Option<QueueId> {
        match kind {
            IdKind::Recipient => Some(self.recipient_id()),
            IdKind::Sender => Some(self.id_at(SENDER)),
            IdKind::Notifier => self.optional(NOTIFIER),
            IdKind::Link => self.optional(LINK),
        }
    }

    pub(super) fn recipient_id(&self) -> QueueId {
        self.id_at(RECIPIENT)
    }

    /// The service that takes `kind` of the queue, and the id by which it knows the queue.
    pub(super) fn service(&self, kind: ServiceKind) -> Option<(QueueId, QueueId)> {
        match kind {
            ServiceKind::Messages => Some((self.optional(SERVICE)?, self.recipient_id())),
            ServiceKind::Notifications => {
                Some((self.optional(NOTIFIER_SERVICE)?, self.optional(NOTIFIER)?))
            }
        }
    }

    pub(super) fn used_on(&self) -> u32 {
        self.0[USED_ON..]
            .first_chunk()
            .map_or(0, |day| u32::from_be_bytes(*day))
    }

    fn optional(&self, bit: u8) -> Option<QueueId> {
        let present = self.0[PRESENT];
        let before = (present & (bit - 1)).count_ones() as usize;
        (present & bit != 0).then(|| self.id_at(IDS + before * ID_SIZE))
    }

    fn id_at(&self, at: usize) -> QueueId {
        QueueId(self.0[at..].first_chunk().copied().unwrap_or_default())
    }
}

/// Enough for the bytes of a record.
fn length(record: &QueueRecord) -> usize {
    512 + 33 * record.recipient_keys.len()
}

fn encode(record: &QueueRecord, out: &mut Vec<u8>) {
    let notifier = record.notifier.as_ref();
    let notifier_service = notifier.and_then(|notifier| notifier.service);
    let ids = [
        (LINK, record.link_id),
        (NOTIFIER, notifier.map(|notifier| notifier.id)),
        (SERVICE, record.service),
        (NOTIFIER_SERVICE, notifier_service),
    ];
    let present = ids.iter().filter(|(_, id)| id.is_some());
    let mut present = present.fold(0, |bits, (bit, _)| bits | bit);
    if record.sender_key.is_some() {
        present |= SENDER_KEY;
    }
    out.push(FORM);
    out.extend_from_slice(record.recipient_id.as_bytes());
    out.extend_from_slice(record.sender_id.as_bytes());
    out.push(present);
    put_u32(out, record.used_on);
    out.push(match record.mode {
        None => b'0',
        Some(QueueMode::Messaging) => b'M',
        Some(QueueMode::Contact) => b'C',
    });
    for id in ids.iter().filter_map(|(_, id)| *id) {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(notifier) = notifier {
        put_key(out, &notifier.key);
        out.extend_from_slice(&notifier.secret);
    }
    if let Some(key) = &record.sender_key {
        put_key(out, key);
    }
    out.extend_from_slice(&record.delivery_key);
    put_status(out, &record.status);
    // At most 255, which RKEY's own encoding sees to.
    out.push(record.recipient_keys.len() as u8);
    for key in &record.recipient_keys {
        put_key(out, key);
    }
}

fn decode(bytes: &[u8]) -> Result<QueueRecord, DecodeError> {
    let reader = &mut Reader::new(bytes);
    if reader.u8("form")? != FORM {
        return Err(DecodeError::Value("form"));
    }
    let (recipient_id, sender_id) = (id(reader)?, id(reader)?);
    let present = reader.u8("what is there")?;
    let used_on = reader.u32("day")?;
    let mode = match reader.u8("mode")? {
        b'0' => None,
        b'M' => Some(QueueMode::Messaging),
        b'C' => Some(QueueMode::Contact),
        _ => return Err(DecodeError::Value("mode")),
    };
    let mut optional = |bit| {
        if present & bit == 0 {
            Ok(None)
        } else {
            id(reader).map(Some)
        }
    };
    let (link_id, notifier_id) = (optional(LINK)?, optional(NOTIFIER)?);
    let (service, notifier_service) = (optional(SERVICE)?, optional(NOTIFIER_SERVICE)?);
    let notifier = match notifier_id {
        None if notifier_service.is_some() => return Err(DecodeError::Value("notifier")),
        None => None,
        Some(id) => Some(NotifierRecord {
            id,
            key: key(reader)?,
            secret: reader.array("notifier's secret")?,
            service: notifier_service,
        }),
    };
    let sender_key = match present & SENDER_KEY {
        0 => None,
        _ => Some(key(reader)?),
    };
    let delivery_key = reader.array("delivery key")?;
    let status = status(reader)?;
    let count = reader.u8("count of keys")?;
    let recipient_keys = (0..count).map(|_| key(reader)).collect::<Result<_, _>>()?;
    reader.finish("record")?;
    Ok(QueueRecord {
        recipient_id,
        sender_id,
        recipient_keys,
        delivery_key,
        sender_key,
        mode,
        status,
        notifier,
        link_id,
        service,
        used_on,
    })
}

fn put_key(out: &mut Vec<u8>, key: &AuthPublicKey) {
    let (kind, bytes) = match key {
        AuthPublicKey::Ed25519(bytes) => (b'E', bytes),
        AuthPublicKey::X25519(bytes) => (b'X', bytes),
    };
    out.push(kind);
    out.extend_from_slice(bytes);
}

fn key(reader: &mut Reader<'_>) -> Result<AuthPublicKey, DecodeError> {
    let kind = reader.u8("kind of key")?;
    let bytes = reader.array("key")?;
    match kind {
        b'E' => Ok(AuthPublicKey::Ed25519(bytes)),
        b'X' => Ok(AuthPublicKey::X25519(bytes)),
        _ => Err(DecodeError::Value("kind of key")),
    }
}

/// Blocking information is kept as the error that tells it to senders.
fn put_status(out: &mut Vec<u8>, status: &QueueStatus) {
    match status {
        QueueStatus::Active => out.push(b'A'),
        QueueStatus::Suspended => out.push(b'S'),
        QueueStatus::Blocked(info) => {
            out.push(b'B');
            let mut text = Vec::new();
            ErrorType::Blocked(info.clone()).encode(SmpVersion::NAMES, &mut text);
            // A notice comes from this relay's operator and is far from that long.
            text.truncate(MAX_LARGE);
            put_u16(out, text.len() as u16);
            out.extend_from_slice(&text);
        }
    }
}

fn status(reader: &mut Reader<'_>) -> Result<QueueStatus, DecodeError> {
    match reader.u8("status")? {
        b'A' => Ok(QueueStatus::Active),
        b'S' => Ok(QueueStatus::Suspended),
        b'B' => match ErrorType::decode(reader.large("blocking information")?) {
            Ok(ErrorType::Blocked(info)) => Ok(QueueStatus::Blocked(info)),
            _ => Err(DecodeError::Value("blocking information")),
        },
        _ => Err(DecodeError::Value("status")),
    }
}

fn id(reader: &mut Reader<'_>) -> Result<QueueId, DecodeError> {
    reader.array::<ID_SIZE>("id").map(QueueId)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smp_protocol::{BlockingInfo, BlockingReason};

    use super::*;

    fn full() -> QueueRecord {
        QueueRecord {
            recipient_id: QueueId([1; 24]),
            sender_id: QueueId([2; 24]),
            recipient_keys: vec![
                AuthPublicKey::Ed25519([3; 32]),
                AuthPublicKey::X25519([4; 32]),
            ],
            delivery_key: [5; 32],
            sender_key: Some(AuthPublicKey::X25519([6; 32])),
            mode: Some(QueueMode::Contact),
            status: QueueStatus::Blocked(BlockingInfo {
                reason: BlockingReason::Spam,
                notice: None,
            }),
            notifier: Some(NotifierRecord {
                id: QueueId([7; 24]),
                key: AuthPublicKey::Ed25519([8; 32]),
                secret: [9; 32],
                service: Some(QueueId([10; 24])),
            }),
            link_id: Some(QueueId([11; 24])),
            service: Some(QueueId([12; 24])),
            used_on: 20_000,
        }
    }

    /// The record with each choice of what may be missing.
    fn variants() -> Vec<QueueRecord> {
        let variant = |bits: u8| {
            let mut record = full();
            record.sender_key = record.sender_key.filter(|_| bits & 1 != 0);
            record.link_id = record.link_id.filter(|_| bits & 2 != 0);
            record.service = record.service.filter(|_| bits & 4 != 0);
            if let Some(notifier) = &mut record.notifier {
                notifier.service = notifier.service.filter(|_| bits & 8 != 0);
            }
            record.notifier = record.notifier.filter(|_| bits & 16 != 0);
            if bits & 32 != 0 {
                (record.mode, record.status) = (None, QueueStatus::Suspended);
            }
            record
        };
        (0..64).map(variant).collect()
    }

    #[test]
    fn a_record_comes_back() {
        for record in variants() {
            let packed = Packed::new(&record);
            assert_eq!(packed.record(), Some(record.clone()));
            let read = Packed::read(packed.bytes()).and_then(|packed| packed.record());
            assert_eq!(read, Some(record));
        }
    }

    #[test]
    fn its_ids_are_found_without_the_rest() {
        for record in variants() {
            let packed = Packed::new(&record);
            let notifier = record.notifier.as_ref();
            assert_eq!(packed.recipient_id(), record.recipient_id);
            assert_eq!(packed.id(IdKind::Sender), Some(record.sender_id));
            assert_eq!(packed.id(IdKind::Link), record.link_id);
            assert_eq!(packed.id(IdKind::Notifier), notifier.map(|one| one.id));
            assert_eq!(packed.used_on(), record.used_on);
            let service = record.service.map(|service| (service, record.recipient_id));
            assert_eq!(packed.service(ServiceKind::Messages), service);
            let service = notifier.and_then(|one| Some((one.service?, one.id)));
            assert_eq!(packed.service(ServiceKind::Notifications), service);
        }
    }

    #[test]
    fn a_record_that_is_cut_off_or_changed_is_none() {
        let packed = Packed::new(&full());
        let bytes = packed.bytes();
        assert!((0..bytes.len()).all(|length| Packed::read(&bytes[..length]).is_none()));
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            assert!(Packed::read(&changed).is_none(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>) {
            let _ = Packed::read(&bytes);
            let checksum = crc32fast::hash(&bytes);
            put_u32(&mut bytes, checksum);
            let _ = Packed::read(&bytes);
        }
    }
}
