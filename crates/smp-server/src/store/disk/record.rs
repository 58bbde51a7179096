//! Queues' records as bytes.

use smp_protocol::encoding::{MAX_LARGE, put_maybe, put_u16, put_u32};
use smp_protocol::{AuthPublicKey, DecodeError, ErrorType, ID_SIZE, QueueMode, Reader, SmpVersion};

use crate::store::{NotifierRecord, QueueId, QueueRecord, QueueStatus};

/// The form of the bytes, which is their first.
const FORM: u8 = 1;

pub(super) fn encode(record: &QueueRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.push(FORM);
    out.extend_from_slice(record.recipient_id.as_bytes());
    out.extend_from_slice(record.sender_id.as_bytes());
    // At most 255, which RKEY's own encoding sees to.
    out.push(record.recipient_keys.len() as u8);
    for key in &record.recipient_keys {
        key.encode(&mut out);
    }
    out.extend_from_slice(&record.delivery_key);
    maybe(&mut out, record.sender_key.as_ref(), |out, key| {
        key.encode(out)
    });
    out.push(match record.mode {
        None => b'0',
        Some(QueueMode::Messaging) => b'M',
        Some(QueueMode::Contact) => b'C',
    });
    put_status(&mut out, &record.status);
    maybe(&mut out, record.notifier.as_ref(), |out, notifier| {
        out.extend_from_slice(notifier.id.as_bytes());
        notifier.key.encode(out);
        out.extend_from_slice(&notifier.secret);
        maybe(out, notifier.service.as_ref(), put_id);
    });
    maybe(&mut out, record.link_id.as_ref(), put_id);
    maybe(&mut out, record.service.as_ref(), put_id);
    put_u32(&mut out, record.used_on);
    out
}

/// `None` if the bytes are no record.
pub(super) fn decode(bytes: &[u8]) -> Option<QueueRecord> {
    read(&mut Reader::new(bytes)).ok()
}

fn read(reader: &mut Reader<'_>) -> Result<QueueRecord, DecodeError> {
    if reader.u8("form")? != FORM {
        return Err(DecodeError::Value("form"));
    }
    let record = QueueRecord {
        recipient_id: id(reader)?,
        sender_id: id(reader)?,
        recipient_keys: reader.list("keys", AuthPublicKey::decode)?,
        delivery_key: reader.array("delivery key")?,
        sender_key: reader.maybe("sender key", AuthPublicKey::decode)?,
        mode: match reader.u8("mode")? {
            b'0' => None,
            b'M' => Some(QueueMode::Messaging),
            b'C' => Some(QueueMode::Contact),
            _ => return Err(DecodeError::Value("mode")),
        },
        status: status(reader)?,
        notifier: reader.maybe("notifier", notifier)?,
        link_id: reader.maybe("link", id)?,
        service: reader.maybe("service", id)?,
        used_on: reader.u32("day")?,
    };
    reader.finish("record")?;
    Ok(record)
}

fn notifier(reader: &mut Reader<'_>) -> Result<NotifierRecord, DecodeError> {
    Ok(NotifierRecord {
        id: id(reader)?,
        key: AuthPublicKey::decode(reader)?,
        secret: reader.array("notifier secret")?,
        service: reader.maybe("service", id)?,
    })
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

fn put_id(out: &mut Vec<u8>, id: &QueueId) {
    out.extend_from_slice(id.as_bytes());
}

fn maybe<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl Fn(&mut Vec<u8>, &T)) {
    let Ok(()) = put_maybe(out, value, |out, value| {
        put(out, value);
        Ok::<_, std::convert::Infallible>(())
    });
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

    #[test]
    fn a_record_comes_back() {
        let record = full();
        assert_eq!(decode(&encode(&record)), Some(record.clone()));
        let bare = QueueRecord {
            sender_key: None,
            mode: None,
            status: QueueStatus::Suspended,
            notifier: None,
            link_id: None,
            service: None,
            ..record
        };
        assert_eq!(decode(&encode(&bare)), Some(bare));
    }

    #[test]
    fn a_record_that_is_cut_off_is_none() {
        let bytes = encode(&full());
        assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
