//! The IVF container: a header of 32 bytes, then frames with a header of 12 bytes each.
//!
//! All numbers are little endian.

/// Bytes of the file header.
pub(super) const FILE_HEADER: usize = 32;

/// Bytes of a frame header.
pub(super) const FRAME_HEADER: usize = 12;

/// A larger frame is no frame of a call: 4 MiB are ten times a 4K key frame at high quality.
pub(super) const MAX_FRAME: u32 = 4 * 1024 * 1024;

const SIGNATURE: [u8; 4] = *b"DKIF";
const VP8: [u8; 4] = *b"VP80";

/// What the file header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// Pixels.
    pub(super) width: u16,
    pub(super) height: u16,
    /// Ticks of the timestamps: `rate / scale` a second.
    pub(super) rate: u32,
    pub(super) scale: u32,
    /// Frames in the file; 0 or stale in a file that was cut off.
    pub(super) frames: u32,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        let fields: [&[u8]; 9] = [
            &SIGNATURE,
            &0_u16.to_le_bytes(),
            &(FILE_HEADER as u16).to_le_bytes(),
            &VP8,
            &self.width.to_le_bytes(),
            &self.height.to_le_bytes(),
            &self.rate.to_le_bytes(),
            &self.scale.to_le_bytes(),
            &self.frames.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        bytes
    }

    /// Reads a header; on error, whether it is IVF at all and what is wrong.
    pub(super) fn decode(bytes: &[u8; FILE_HEADER]) -> Result<Self, HeaderFault> {
        let [
            d,
            k,
            i,
            f,
            v0,
            v1,
            l0,
            l1,
            c0,
            c1,
            c2,
            c3,
            w0,
            w1,
            h0,
            h1,
            rest @ ..,
        ] = bytes;
        if [*d, *k, *i, *f] != SIGNATURE {
            return Err(HeaderFault::NotIvf("no DKIF signature".to_owned()));
        }
        let version = u16::from_le_bytes([*v0, *v1]);
        let length = u16::from_le_bytes([*l0, *l1]);
        if version != 0 || usize::from(length) != FILE_HEADER {
            return Err(HeaderFault::NotIvf(format!(
                "version {version} with a header of {length} bytes"
            )));
        }
        let codec = [*c0, *c1, *c2, *c3];
        if codec != VP8 {
            return Err(HeaderFault::Unusable(format!(
                "the codec is {}, only VP80 is read",
                codec.escape_ascii()
            )));
        }
        let [r0, r1, r2, r3, s0, s1, s2, s3, n0, n1, n2, n3, ..] = rest;
        let header = Self {
            width: u16::from_le_bytes([*w0, *w1]),
            height: u16::from_le_bytes([*h0, *h1]),
            rate: u32::from_le_bytes([*r0, *r1, *r2, *r3]),
            scale: u32::from_le_bytes([*s0, *s1, *s2, *s3]),
            frames: u32::from_le_bytes([*n0, *n1, *n2, *n3]),
        };
        if header.rate == 0 || header.scale == 0 {
            return Err(HeaderFault::Unusable(format!(
                "time base of {}/{}",
                header.scale, header.rate
            )));
        }
        Ok(header)
    }
}

/// What is wrong with a file header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    NotIvf(String),
    Unusable(String),
}

/// What a frame header says: bytes of the frame, and its timestamp in ticks.
pub(super) fn decode_frame_header(bytes: [u8; FRAME_HEADER]) -> (u32, u64) {
    let [a, b, c, d, t @ ..] = bytes;
    (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(t))
}

/// The header of a frame of so many bytes.
pub(super) fn encode_frame_header(size: u32, ticks: u64) -> [u8; FRAME_HEADER] {
    let [a, b, c, d] = size.to_le_bytes();
    let [e, f, g, h, i, j, k, l] = ticks.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_comes_back_as_it_was(
            width: u16, height: u16, rate in 1_u32.., scale in 1_u32.., frames: u32,
        ) {
            let header = FileHeader { width, height, rate, scale, frames };
            prop_assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn a_frame_header_comes_back_as_it_was(size: u32, ticks: u64) {
            prop_assert_eq!(decode_frame_header(encode_frame_header(size, ticks)), (size, ticks));
        }

        #[test]
        fn no_bytes_make_the_header_panic(bytes: [u8; FILE_HEADER]) {
            let _ = FileHeader::decode(&bytes);
        }
    }
}
