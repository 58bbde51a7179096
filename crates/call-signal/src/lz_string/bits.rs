//! Bits in base64 characters: six in each, highest first; a value's lowest bit comes first.

use super::LzError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BITS_PER_CHARACTER: usize = 6;

pub(super) struct BitReader<'a> {
    characters: &'a [u8],
    /// Bits read so far.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Checks the alphabet and takes the padding off.
    pub(super) fn new(encoded: &'a str) -> Result<Self, LzError> {
        let characters = encoded.trim_end_matches('=').as_bytes();
        match characters
            .iter()
            .position(|&character| sextet(character).is_none())
        {
            Some(position) => Err(LzError::NotBase64 { position }),
            None => Ok(Self {
                characters,
                position: 0,
            }),
        }
    }

    /// The next `count` bits, at most 64.
    pub(super) fn read(&mut self, count: u32) -> Result<u64, LzError> {
        let mut value = 0;
        for shift in 0..count {
            value |= self.bit()? << shift;
        }
        Ok(value)
    }

    fn bit(&mut self) -> Result<u64, LzError> {
        let (index, offset) = (
            self.position / BITS_PER_CHARACTER,
            self.position % BITS_PER_CHARACTER,
        );
        let sextet = self
            .characters
            .get(index)
            .copied()
            .and_then(sextet)
            .ok_or(LzError::Truncated)?;
        self.position += 1;
        Ok(u64::from(sextet >> (BITS_PER_CHARACTER - 1 - offset) & 1))
    }
}

fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[derive(Default)]
pub(super) struct BitWriter {
    text: String,
    /// Bits that don't fill a character yet.
    sextet: u8,
    filled: usize,
}

impl BitWriter {
    /// The lowest `count` bits of `value`.
    pub(super) fn write(&mut self, value: u64, count: u32) {
        for shift in 0..count {
            self.bit((value >> shift & 1) as u8);
        }
    }

    /// Fills up with zeros, at least one, then pads to four characters.
    pub(super) fn finish(mut self) -> String {
        self.bit(0);
        while self.filled != 0 {
            self.bit(0);
        }
        while !self.text.len().is_multiple_of(4) {
            self.text.push('=');
        }
        self.text
    }

    fn bit(&mut self, bit: u8) {
        self.sextet = self.sextet << 1 | bit;
        self.filled += 1;
        if self.filled == BITS_PER_CHARACTER {
            self.text
                .push(char::from(ALPHABET[usize::from(self.sextet)]));
            (self.sextet, self.filled) = (0, 0);
        }
    }
}
