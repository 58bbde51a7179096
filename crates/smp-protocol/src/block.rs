//! Transport blocks of 16,384 bytes: what is in them, and their encryption inside TLS.
//!
//! A block is padded content; the content is a count and as many transmissions, each with a length
//! of two bytes (document, "SMP Transmission and transport block structure"). From version 11 on
//! the padded content is 16 bytes shorter and in a box, each with a key of its own from a chain.

mod cipher;

pub use cipher::{BlockCipher, BlockOpener, BlockSealer};
use thiserror::Error;

use crate::encoding::{DecodeError, EncodeError, MAX_LARGE, Reader};
use crate::secret_box::{OpenError, PAD_LENGTH_SIZE, TAG_SIZE, unpad};

/// Length of each block on the wire, in bytes.
pub const BLOCK_SIZE: usize = 16384;

/// A block as it is on the wire. Kept in a `Box`.
pub type Block = [u8; BLOCK_SIZE];

/// Longest content of a block, so that it fits with and without encryption.
pub const MAX_CONTENT: usize = BLOCK_SIZE - TAG_SIZE - PAD_LENGTH_SIZE;

/// Longest transmission that fits into a block, alone.
pub const MAX_TRANSMISSION: usize = MAX_CONTENT - COUNT_SIZE - LENGTH_SIZE;

/// Most transmissions of a block.
pub const MAX_TRANSMISSIONS: usize = u8::MAX as usize;

const COUNT_SIZE: usize = 1;
const LENGTH_SIZE: usize = 2;
const PAD: u8 = b'#';

/// Why a block could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It was not encrypted with the next key of the chain.
    #[error("the block could not be decrypted")]
    Forged,
    /// What is in it is not padded content.
    #[error("the padding of the block is wrong")]
    Padding,
}

impl From<OpenError> for BlockError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Padding => Self::Padding,
            _ => Self::Forged,
        }
    }
}

/// An empty block to read into.
#[must_use]
pub fn empty_block() -> Box<Block> {
    into_block(Vec::new())
}

/// A block with `content` and no encryption, as for both hellos.
///
/// # Errors
/// [`EncodeError`] if it is longer than 16,382 bytes.
pub fn plain_block(content: &[u8]) -> Result<Box<Block>, EncodeError> {
    if content.len() + PAD_LENGTH_SIZE > BLOCK_SIZE {
        return Err(EncodeError("block"));
    }
    let mut bytes = Vec::with_capacity(BLOCK_SIZE);
    bytes.extend_from_slice(&(content.len() as u16).to_be_bytes());
    bytes.extend_from_slice(content);
    Ok(into_block(bytes))
}

/// The content of a block without encryption.
///
/// # Errors
/// [`BlockError::Padding`] if the length in it is longer than the block.
pub fn plain_content(block: &Block) -> Result<&[u8], BlockError> {
    unpad(block).map_err(|_| BlockError::Padding)
}

/// The transmissions in the content of a block. All lengths are checked before the first is given.
///
/// # Errors
/// If there is none, one is cut off, or bytes follow after the last. Then nothing of the content
/// is to be used.
pub fn transmissions(content: &[u8]) -> Result<Transmissions<'_>, DecodeError> {
    const WHAT: &str = "transmissions of a block";
    let mut reader = Reader::new(content);
    let count = reader.u8(WHAT)?;
    if count == 0 {
        return Err(DecodeError::Empty(WHAT));
    }
    let reader_of_all = reader;
    for _ in 0..count {
        reader.large(WHAT)?;
    }
    reader.finish(WHAT)?;
    Ok(Transmissions {
        left: count,
        reader: reader_of_all,
    })
}

/// The transmissions of a block, in their order, borrowed from it. See [`transmissions`].
#[derive(Clone)]
pub struct Transmissions<'a> {
    left: u8,
    reader: Reader<'a>,
}

impl<'a> Iterator for Transmissions<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.reader.large("transmission").ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Transmissions<'_> {}

/// Collects transmissions into one block, without copying them again.
#[derive(Clone)]
pub struct BlockWriter {
    /// Room for the tag, room for the padded length, the count, then the transmissions.
    bytes: Vec<u8>,
    count: u8,
}

const CONTENT_START: usize = TAG_SIZE + PAD_LENGTH_SIZE;
const FIRST: usize = CONTENT_START + COUNT_SIZE;

impl BlockWriter {
    /// A block without transmissions.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(BLOCK_SIZE);
        bytes.resize(FIRST, 0);
        Self { bytes, count: 0 }
    }

    /// Adds a transmission, and says whether it fitted.
    ///
    /// One that is longer than [`MAX_TRANSMISSION`] fits into no block.
    #[must_use]
    pub fn try_push(&mut self, transmission: &[u8]) -> bool {
        if !self.fits(transmission.len()) {
            return false;
        }
        self.bytes
            .extend_from_slice(&(transmission.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(transmission);
        self.count += 1;
        true
    }

    /// Adds the transmission that `write` appends, and says whether it fitted. If not, or if
    /// `write` fails, the block is as before.
    ///
    /// `write` may only append.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn try_push_with<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_SIZE]);
        let written = write(&mut self.bytes);
        let length = self.bytes.len().saturating_sub(start + LENGTH_SIZE);
        let fits = written.is_ok() && self.fits_from(start, length);
        if fits {
            let prefix = (length as u16).to_be_bytes();
            self.bytes[start..start + LENGTH_SIZE].copy_from_slice(&prefix);
            self.count += 1;
        } else {
            self.bytes.truncate(start);
        }
        written.map(|()| fits)
    }

    /// Whether a transmission of this many bytes still fits.
    #[must_use]
    pub fn fits(&self, length: usize) -> bool {
        self.fits_from(self.bytes.len(), length)
    }

    /// How many transmissions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.into()
    }

    /// Whether there is none. Such a block is not sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The block as it goes on the wire: encrypted if there is a `sealer`, else only padded.
    #[must_use]
    pub fn finish(mut self, sealer: Option<&mut BlockSealer>) -> Box<Block> {
        let content = (self.bytes.len() - CONTENT_START) as u16;
        self.bytes[TAG_SIZE..CONTENT_START].copy_from_slice(&content.to_be_bytes());
        self.bytes[CONTENT_START] = self.count;
        match sealer {
            Some(sealer) => {
                let mut block = into_block(self.bytes);
                sealer.seal_padded(&mut block);
                block
            }
            None => {
                self.bytes.drain(..TAG_SIZE);
                into_block(self.bytes)
            }
        }
    }

    fn fits_from(&self, start: usize, length: usize) -> bool {
        length <= MAX_LARGE
            && start + LENGTH_SIZE + length <= BLOCK_SIZE
            && usize::from(self.count) < MAX_TRANSMISSIONS
    }
}

impl Default for BlockWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// `bytes` filled up, in the same allocation if it has the room of a block.
fn into_block(mut bytes: Vec<u8>) -> Box<Block> {
    bytes.resize(BLOCK_SIZE, PAD);
    match bytes.into_boxed_slice().try_into() {
        Ok(block) => block,
        Err(_) => unreachable!("it was resized to the length of a block"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::SessionId;
    use crate::key::DhSecret;

    fn ciphers() -> (BlockCipher, BlockCipher) {
        let (id, secret) = (
            SessionId::new(&[1; 32]).unwrap(),
            DhSecret::from_bytes(&[2; 32]),
        );
        (
            BlockCipher::client(&id, &secret),
            BlockCipher::server(&id, &secret),
        )
    }

    fn writer_of(all: &[Vec<u8>]) -> BlockWriter {
        let mut writer = BlockWriter::new();
        for transmission in all {
            assert!(writer.try_push(transmission));
        }
        writer
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn transmissions_come_back_from_a_block(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..=255),
        ) {
            let block = writer_of(&all).finish(None);
            let read = transmissions(plain_content(&block).unwrap()).unwrap();
            prop_assert_eq!(read.len(), all.len());
            prop_assert!(read.eq(all.iter().map(Vec::as_slice)));

            let (mut client, mut server) = ciphers();
            let mut sealed = writer_of(&all).finish(Some(&mut client.sealer));
            let read = transmissions(server.open(&mut sealed).unwrap()).unwrap();
            prop_assert!(read.eq(all.iter().map(Vec::as_slice)));
        }

        #[test]
        fn no_content_makes_reading_panic(content: Vec<u8>) {
            if let Ok(all) = transmissions(&content) {
                prop_assert_eq!(all.clone().count(), all.len());
            }
        }

        #[test]
        fn both_ways_of_sealing_make_the_same_block(
            transmission in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let content =
                [&[1, 0, transmission.len() as u8][..], &transmission].concat();
            let (mut one, mut other) = (ciphers().0, ciphers().0);
            let written = writer_of(&[transmission]).finish(Some(&mut one.sealer));
            prop_assert_eq!(written, other.seal(&content).unwrap());
        }
    }

    #[test]
    fn what_a_closure_writes_is_what_would_be_pushed() {
        let mut pushed = writer_of(&[vec![1, 2, 3]]);
        assert!(pushed.try_push(&[4]));
        let mut written = writer_of(&[vec![1, 2, 3]]);
        let failed = written.try_push_with(|out| {
            out.extend_from_slice(&[9; 100]);
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        let fits = written.try_push_with(|out| {
            out.push(4);
            Ok::<(), ()>(())
        });
        assert_eq!(fits, Ok(true));
        assert_eq!(written.finish(None), pushed.finish(None));
    }

    #[test]
    fn the_longest_transmission_fits_alone_and_one_byte_more_does_not() {
        let mut writer = BlockWriter::new();
        assert!(!writer.try_push(&[0; MAX_TRANSMISSION + 1]));
        let too_long = |out: &mut Vec<u8>| {
            out.resize(out.len() + MAX_TRANSMISSION + 1, 0);
            Ok::<(), ()>(())
        };
        assert_eq!(writer.try_push_with(too_long), Ok(false));
        assert!(writer.is_empty());
        assert!(writer.try_push(&[0; MAX_TRANSMISSION]));
        assert!(!writer.try_push(&[]));
        let (mut client, mut server) = ciphers();
        let mut block = writer.finish(Some(&mut client.sealer));
        assert_eq!(server.open(&mut block).unwrap().len(), MAX_CONTENT);
    }

    #[test]
    fn a_block_takes_255_transmissions() {
        let mut writer = writer_of(&vec![vec![7]; MAX_TRANSMISSIONS]);
        assert!(!writer.try_push(&[7]));
        assert_eq!(writer.count(), MAX_TRANSMISSIONS);
        let block = writer.finish(None);
        assert_eq!(
            transmissions(plain_content(&block).unwrap()).unwrap().len(),
            255
        );
    }

    #[test]
    fn a_block_with_a_wrong_count_is_refused_as_a_whole() {
        for content in [
            &[][..],
            &[0],
            &[2, 0, 1, 7],
            &[1, 0, 1, 7, 8],
            &[1, 0, 2, 7],
        ] {
            assert!(transmissions(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_block_is_refused() {
        let mut block = empty_block();
        block[..2].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(plain_content(&block), Err(BlockError::Padding));
        assert!(plain_block(&[0; BLOCK_SIZE - 1]).is_err());
        assert!(plain_block(&[0; BLOCK_SIZE - 2]).is_ok());
    }

    #[test]
    fn blocks_open_once_in_their_order_and_on_the_other_side() {
        let (mut client, mut server) = ciphers();
        let first = client.seal(b"first").unwrap();
        let mut second = client.seal(b"second").unwrap();
        assert_eq!(server.open(&mut second), Err(BlockError::Forged));

        let (_, mut server) = ciphers();
        assert_eq!(server.open(&mut first.clone()).unwrap(), b"first");
        assert_eq!(server.open(&mut first.clone()), Err(BlockError::Forged));

        let (mut client, _) = ciphers();
        let mut first = first;
        assert_eq!(client.open(&mut first), Err(BlockError::Forged));
    }

    #[test]
    fn too_much_content_does_not_move_the_chain() {
        let (mut client, mut server) = ciphers();
        assert!(client.seal(&[0; MAX_CONTENT + 1]).is_err());
        let mut block = client.seal(b"content").unwrap();
        assert_eq!(server.open(&mut block).unwrap(), b"content");
    }
}
