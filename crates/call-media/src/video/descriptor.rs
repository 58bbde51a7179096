//! The VP8 payload descriptor of RFC 7741 §4.2, which is in clear before each payload.

/// What the descriptor says; absent extensions are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayloadDescriptor {
    /// N: no other frame depends on this one.
    pub non_reference: bool,
    /// S: the payload begins a partition.
    pub start_of_partition: bool,
    /// PID: number of the partition, 0 to 7.
    pub partition: u8,
    /// I: the running number of the frame, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// L: the running number of the frame of the lowest temporal layer.
    pub tl0_pic_idx: Option<u8>,
    /// T: temporal layer, 0 to 3, and whether it refers to the lowest layer alone (Y).
    pub temporal_layer: Option<(u8, bool)>,
    /// K: the running number of the last temporal key frame, 5 bits.
    pub key_idx: Option<u8>,
}

/// The peer's payload descriptor is cut off, or nothing follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the VP8 payload ends within its descriptor, or right behind it")]
pub struct DescriptorError;

const X: u8 = 0x80;
const N: u8 = 0x20;
const S: u8 = 0x10;
const PID: u8 = 0x07;
const I: u8 = 0x80;
const L: u8 = 0x40;
const T: u8 = 0x20;
const K: u8 = 0x10;
const M: u8 = 0x80;

impl PayloadDescriptor {
    /// Splits an RTP payload into its descriptor and what follows it, which is never empty.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), DescriptorError> {
        let mut rest = payload;
        let mut next = || -> Result<u8, DescriptorError> {
            let (&first, others) = rest.split_first().ok_or(DescriptorError)?;
            rest = others;
            Ok(first)
        };
        let head = next()?;
        let extensions = if head & X != 0 { next()? } else { 0 };
        let mut descriptor = Self {
            non_reference: head & N != 0,
            start_of_partition: head & S != 0,
            partition: head & PID,
            ..Self::default()
        };
        if extensions & I != 0 {
            let high = next()?;
            descriptor.picture_id = Some(if high & M != 0 {
                u16::from_be_bytes([high & !M, next()?])
            } else {
                u16::from(high)
            });
        }
        if extensions & L != 0 {
            descriptor.tl0_pic_idx = Some(next()?);
        }
        if extensions & (T | K) != 0 {
            let layers = next()?;
            descriptor.temporal_layer =
                (extensions & T != 0).then_some((layers >> 6, layers & 0x20 != 0));
            descriptor.key_idx = (extensions & K != 0).then_some(layers & 0x1f);
        }
        if rest.is_empty() {
            return Err(DescriptorError);
        }
        Ok((descriptor, rest))
    }

    /// Whether the payload begins a frame: partition 0 begins with it.
    pub fn begins_frame(&self) -> bool {
        self.start_of_partition && self.partition == 0
    }
}

/// Bytes of the descriptor that [`Packetizer`](super::Packetizer) writes.
pub(super) const WRITTEN: usize = 4;

/// A descriptor with a picture id of 15 bits, for a frame as one partition.
pub(super) fn encode(begins_frame: bool, picture_id: u16) -> [u8; WRITTEN] {
    let [high, low] = picture_id.to_be_bytes();
    let head = if begins_frame { X | S } else { X };
    [head, I, M | high, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_shortest_descriptor_is_one_byte() {
        let (descriptor, rest) = PayloadDescriptor::parse(&[0x10, 0xaa]).unwrap();
        assert!(descriptor.begins_frame());
        assert_eq!(descriptor.picture_id, None);
        assert_eq!(rest, [0xaa]);
    }

    #[test]
    fn all_extensions_are_read_in_their_order() {
        let payload = [0xb2, 0xf0, 0x81, 0x02, 0x33, 0xa0 | 0x15, 0xaa];
        let (descriptor, rest) = PayloadDescriptor::parse(&payload).unwrap();
        assert_eq!(
            descriptor,
            PayloadDescriptor {
                non_reference: true,
                start_of_partition: true,
                partition: 2,
                picture_id: Some(0x102),
                tl0_pic_idx: Some(0x33),
                temporal_layer: Some((2, true)),
                key_idx: Some(0x15),
            }
        );
        assert!(!descriptor.begins_frame());
        assert_eq!(rest, [0xaa]);
    }

    #[test]
    fn a_short_picture_id_has_seven_bits() {
        let (descriptor, rest) = PayloadDescriptor::parse(&[0x90, 0x80, 0x7f, 1]).unwrap();
        assert_eq!(descriptor.picture_id, Some(0x7f));
        assert_eq!(rest, [1]);
    }

    #[test]
    fn every_cut_within_the_descriptor_is_an_error() {
        let payload = [0xb2, 0xf0, 0x81, 0x02, 0x33, 0xb5, 0xaa];
        for length in 0..payload.len() {
            assert_eq!(
                PayloadDescriptor::parse(&payload[..length]),
                Err(DescriptorError)
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(begins: bool, id in 0_u16..0x8000, data in prop::collection::vec(any::<u8>(), 1..9)) {
            let payload = [&encode(begins, id)[..], &data].concat();
            let (descriptor, rest) = PayloadDescriptor::parse(&payload).unwrap();
            prop_assert_eq!(descriptor.begins_frame(), begins);
            prop_assert_eq!(descriptor.picture_id, Some(id));
            prop_assert_eq!(rest, data);
        }

        #[test]
        fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..16)) {
            let _ = PayloadDescriptor::parse(&payload);
        }
    }
}
