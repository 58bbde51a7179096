//! From frames to RTP payloads.

use bytes::{BufMut, Bytes, BytesMut};

use super::descriptor::{WRITTEN, encode};

/// Picture ids have 15 bits.
const PICTURE_IDS: u16 = 0x8000;

/// Cuts VP8 frames into RTP payloads (RFC 7741).
///
/// Each payload begins with a descriptor of four bytes: X, I and a picture id of 15 bits, as
/// browsers write it, S on the first payload of a frame, and partition 0 throughout, since
/// the partitions of an encrypted frame are not to be seen. The frame is cut into pieces of equal
/// size, give or take a byte, so that there is no tiny last packet.
#[derive(Debug)]
pub struct Packetizer {
    max_payload: usize,
    picture_id: u16,
}

impl Packetizer {
    /// Payloads have at most `max_payload` bytes, descriptor included, and in any case one byte
    /// of the frame. The first frame has `first_picture_id`, which is to be random.
    pub fn new(max_payload: usize, first_picture_id: u16) -> Self {
        Self {
            max_payload,
            picture_id: first_picture_id % PICTURE_IDS,
        }
    }

    /// The payloads of the next frame in their order; the RTP marker goes on the last of them. An
    /// empty frame has none.
    pub fn packetize(&mut self, frame: &[u8]) -> Vec<Bytes> {
        let room = self.max_payload.saturating_sub(WRITTEN).max(1);
        let count = frame.len().div_ceil(room);
        let mut rest = frame;
        let mut payloads = Vec::with_capacity(count);
        for index in 0..count {
            let Some((piece, others)) = rest.split_at_checked(rest.len().div_ceil(count - index))
            else {
                break;
            };
            rest = others;
            let mut payload = BytesMut::with_capacity(WRITTEN + piece.len());
            payload.put_slice(&encode(index == 0, self.picture_id));
            payload.put_slice(piece);
            payloads.push(payload.freeze());
        }
        if count > 0 {
            self.picture_id = (self.picture_id + 1) % PICTURE_IDS;
        }
        payloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::PayloadDescriptor;

    #[test]
    fn pieces_are_within_the_limit_and_of_equal_size() {
        let payloads = Packetizer::new(1200, 0).packetize(&[7; 2400]);
        let sizes: Vec<usize> = payloads.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [804, 804, 804]);
    }

    #[test]
    fn a_frame_that_fits_is_one_payload() {
        assert_eq!(Packetizer::new(1200, 0).packetize(&[7; 1196]).len(), 1);
        assert_eq!(Packetizer::new(1200, 0).packetize(&[7; 1197]).len(), 2);
    }

    #[test]
    fn only_the_first_payload_begins_the_frame() {
        let begins: Vec<bool> = Packetizer::new(100, 0)
            .packetize(&[7; 250])
            .iter()
            .map(|payload| PayloadDescriptor::parse(payload).unwrap().0.begins_frame())
            .collect();
        assert_eq!(begins, [true, false, false]);
    }

    #[test]
    fn picture_ids_wrap_after_fifteen_bits() {
        let mut packetizer = Packetizer::new(100, 0x7fff);
        let ids: Vec<Option<u16>> = (0..2)
            .flat_map(|_| packetizer.packetize(&[7; 10]))
            .map(|payload| PayloadDescriptor::parse(&payload).unwrap().0.picture_id)
            .collect();
        assert_eq!(ids, [Some(0x7fff), Some(0)]);
    }

    #[test]
    fn an_empty_frame_has_no_payload_and_takes_no_picture_id() {
        let mut packetizer = Packetizer::new(100, 5);
        assert!(packetizer.packetize(&[]).is_empty());
        let payload = packetizer.packetize(&[1]).remove(0);
        assert_eq!(
            PayloadDescriptor::parse(&payload).unwrap().0.picture_id,
            Some(5)
        );
    }

    #[test]
    fn a_limit_below_the_descriptor_still_gets_the_frame_through() {
        assert_eq!(Packetizer::new(0, 0).packetize(&[1, 2, 3]).len(), 3);
    }
}
