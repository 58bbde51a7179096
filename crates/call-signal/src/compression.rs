//! Compressed bodies: `X`, then a list of items, each passed through or one zstd frame (call
//! protocol, "Envelope of a chat message").

use zstd::bulk::Decompressor;
use zstd::zstd_safe;

use crate::error::{BodyError, EncodeError};

const PASSED_THROUGH: u8 = b'0';
const ZSTD: u8 = b'1';

/// SimpleX's level; with another one bodies would differ from its own.
const LEVEL: i32 = 3;

/// Takes apart the list behind the `X`; all items together hold at most `limit` bytes.
///
/// The list has at most 255 items, since one byte counts them.
pub(crate) fn decompress(list: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, BodyError> {
    let (&count, mut rest) = list.split_first().ok_or(BodyError::Truncated)?;
    if count == 0 {
        return Err(BodyError::NoItems);
    }
    let mut decompressor = Decompressor::new().map_err(|_| BodyError::CorruptFrame)?;
    let mut items = Vec::new();
    let mut total: usize = 0;
    for _ in 0..count {
        let item = Item::take(&mut rest)?;
        let size = item.stated_size()?;
        total = total.saturating_add(size);
        if total > limit {
            return Err(BodyError::TooLong {
                limit,
                actual: total,
            });
        }
        items.push(item.open(&mut decompressor, size)?);
    }
    if !rest.is_empty() {
        return Err(BodyError::TrailingBytes { count: rest.len() });
    }
    Ok(items)
}

/// A body with `content` as its one item.
pub(crate) fn compress(content: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let frame = zstd::bulk::compress(content, LEVEL).map_err(|_| EncodeError::Compressor)?;
    let length = u16::try_from(frame.len()).map_err(|_| EncodeError::Compressor)?;
    let mut body = vec![b'X', 1, ZSTD];
    body.extend(length.to_be_bytes());
    body.extend(frame);
    Ok(body)
}

enum Item<'a> {
    PassedThrough(&'a [u8]),
    Zstd(&'a [u8]),
}

impl<'a> Item<'a> {
    fn take(rest: &mut &'a [u8]) -> Result<Self, BodyError> {
        match take(rest, 1)? {
            [PASSED_THROUGH] => Ok(Self::PassedThrough(take_prefixed(rest, 1)?)),
            [ZSTD] => Ok(Self::Zstd(take_prefixed(rest, 2)?)),
            &[tag, ..] => Err(BodyError::UnknownItemTag { tag }),
            [] => Err(BodyError::Truncated),
        }
    }

    /// Bytes that the item claims to hold.
    fn stated_size(&self) -> Result<usize, BodyError> {
        match self {
            Self::PassedThrough(bytes) => Ok(bytes.len()),
            Self::Zstd(frame) => match zstd_safe::get_frame_content_size(frame) {
                Ok(Some(size)) => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
                Ok(None) | Err(_) => Err(BodyError::NoContentSize),
            },
        }
    }

    /// `size` as stated; a frame that holds more or less is corrupt.
    fn open(&self, decompressor: &mut Decompressor<'_>, size: usize) -> Result<Vec<u8>, BodyError> {
        let frame = match self {
            Self::PassedThrough(bytes) => return Ok(bytes.to_vec()),
            Self::Zstd(frame) => frame,
        };
        // A second frame would be read as well, beyond the stated size.
        if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
            return Err(BodyError::CorruptFrame);
        }
        let mut content = Vec::with_capacity(size);
        match decompressor.decompress_to_buffer(frame, &mut content) {
            Ok(length) if length == size => Ok(content),
            _ => Err(BodyError::CorruptFrame),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], BodyError> {
    let (taken, left) = rest.split_at_checked(count).ok_or(BodyError::Truncated)?;
    *rest = left;
    Ok(taken)
}

/// Bytes behind their big-endian length of `width` bytes.
fn take_prefixed<'a>(rest: &mut &'a [u8], width: usize) -> Result<&'a [u8], BodyError> {
    let length = take(rest, width)?
        .iter()
        .fold(0, |length, &byte| length << 8 | usize::from(byte));
    take(rest, length)
}
