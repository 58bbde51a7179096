//! LZ-string: the compression in which call events carry SDP and candidates (call protocol, `LZ`).
//!
//! It is LZ78 over UTF-16 code units with codes of growing width, written as base64. This is the
//! format of `compressToBase64` and `decompressFromBase64` of the JavaScript library lz-string 1.5.
//!
//! A text of n characters can stand for about n² code units, so decompression takes a limit and
//! works in time and memory proportional to input and limit.

use std::collections::HashMap;

use thiserror::Error;

use self::bits::{BitReader, BitWriter};

mod bits;

/// Compresses `text`.
pub fn compress_to_base64(text: &str) -> String {
    compress(text.encode_utf16())
}

/// Compresses UTF-16 code units, which need not be valid Unicode.
pub fn compress_utf16_to_base64(units: &[u16]) -> String {
    compress(units.iter().copied())
}

/// Decompresses to a text of at most `limit` UTF-16 code units.
///
/// Padding may be of any length or missing; what follows the end mark is ignored.
///
/// # Errors
/// If `encoded` is malformed, longer than the limit when decompressed, or not Unicode.
pub fn decompress_from_base64(encoded: &str, limit: usize) -> Result<String, LzError> {
    let units = decompress_utf16_from_base64(encoded, limit)?;
    String::from_utf16(&units).map_err(|_| LzError::NotUnicode)
}

/// Decompresses to at most `limit` UTF-16 code units, which need not be valid Unicode.
///
/// # Errors
/// If `encoded` is malformed, or longer than the limit when decompressed.
pub fn decompress_utf16_from_base64(encoded: &str, limit: usize) -> Result<Vec<u16>, LzError> {
    match decompress(encoded, limit)? {
        Decompressed {
            units,
            complete: true,
        } => Ok(units),
        Decompressed {
            complete: false, ..
        } => Err(LzError::TooLong { limit }),
    }
}

/// Why a text cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LzError {
    /// A character outside the base64 alphabet, or padding before the end.
    #[error("not base64 at byte {position}")]
    NotBase64 {
        /// Its place in bytes, from 0.
        position: usize,
    },
    /// The text ends without the end mark.
    #[error("it ends too early")]
    Truncated,
    /// A code that stands for nothing yet.
    #[error("it refers to what is not there")]
    UnknownCode,
    /// Longer than the limit.
    #[error("it is longer than {limit} code units")]
    TooLong {
        /// The limit in UTF-16 code units.
        limit: usize,
    },
    /// Half a surrogate pair.
    #[error("it is not valid Unicode")]
    NotUnicode,
}

/// The code units within the limit, and whether that was all.
pub(crate) struct Decompressed {
    pub(crate) units: Vec<u16>,
    pub(crate) complete: bool,
}

/// Stops at `limit` code units; what comes after is not looked at.
pub(crate) fn decompress(encoded: &str, limit: usize) -> Result<Decompressed, LzError> {
    let mut codes = CodeReader::new(encoded)?;
    let mut output = Output {
        units: Vec::new(),
        limit,
    };
    let mut dictionary = Vec::new();
    // The string of the code before, as a range of the output.
    let mut last: Option<(usize, usize)> = None;
    while let Some(code) = codes.next_code()? {
        let start = output.units.len();
        let fits = match code {
            Code::Unit(unit) => {
                dictionary.push((start, 1));
                output.push(unit)
            }
            Code::Entry(index) => {
                // The newest entry is the string before and its own first unit, which follows it.
                let (from, length) = match (dictionary.get(index), last) {
                    (Some(&entry), _) => entry,
                    (None, Some((from, length))) if index == dictionary.len() => (from, length + 1),
                    _ => return Err(LzError::UnknownCode),
                };
                output.copy(from, length)
            }
        };
        if !fits {
            return Ok(Decompressed {
                units: output.units,
                complete: false,
            });
        }
        if let Some((from, length)) = last {
            // The string before and the first unit of this one lie side by side in the output.
            dictionary.push((from, length + 1));
        }
        last = Some((start, output.units.len() - start));
    }
    Ok(Decompressed {
        units: output.units,
        complete: true,
    })
}

struct Output {
    units: Vec<u16>,
    limit: usize,
}

impl Output {
    /// Whether there was room.
    fn push(&mut self, unit: u16) -> bool {
        let fits = self.units.len() < self.limit;
        if fits {
            self.units.push(unit);
        }
        fits
    }

    /// Repeats `length` units from `from` on, as many as there is room for; whether all had room.
    fn copy(&mut self, from: usize, length: usize) -> bool {
        let room = self.limit - self.units.len();
        for index in from..from + length.min(room) {
            // May read what this loop has written: an entry can reach over its own beginning.
            let Some(&unit) = self.units.get(index) else {
                return false;
            };
            self.units.push(unit);
        }
        length <= room
    }
}

/// What a code stands for.
enum Code {
    /// A code unit that occurs for the first time.
    Unit(u16),
    /// An entry of the dictionary, counted from 0.
    Entry(usize),
}

struct CodeReader<'a> {
    bits: BitReader<'a>,
    width: CodeWidth,
}

impl<'a> CodeReader<'a> {
    fn new(encoded: &'a str) -> Result<Self, LzError> {
        Ok(Self {
            bits: BitReader::new(encoded)?,
            width: CodeWidth::default(),
        })
    }

    /// `None` at the end mark.
    fn next_code(&mut self) -> Result<Option<Code>, LzError> {
        let code = match self.bits.read(self.width.bits)? {
            NEW_8_BIT => self.new_unit(8)?,
            NEW_16_BIT => self.new_unit(16)?,
            END => return Ok(None),
            entry => {
                Code::Entry(usize::try_from(entry - FIRST_ENTRY).map_err(|_| LzError::UnknownCode)?)
            }
        };
        self.width.count_entry();
        Ok(Some(code))
    }

    fn new_unit(&mut self, bits: u32) -> Result<Code, LzError> {
        let unit = self.bits.read(bits)?;
        self.width.count_entry();
        u16::try_from(unit)
            .map(Code::Unit)
            .map_err(|_| LzError::UnknownCode)
    }
}

fn compress(units: impl Iterator<Item = u16>) -> String {
    let mut compressor = Compressor::default();
    for unit in units {
        compressor.push(unit);
    }
    compressor.finish()
}

#[derive(Default)]
struct Compressor {
    codes: CodeWriter,
    /// Code units seen, each with its own entry.
    units: HashMap<u16, UnitEntry>,
    /// Longer strings: entry of all but the last unit, and that unit.
    strings: HashMap<(u64, u16), u64>,
    /// The longest known string at the end of what was read; not written yet.
    pending: Option<Pending>,
}

#[derive(Clone, Copy)]
struct UnitEntry {
    code: u64,
    /// Whether the unit itself was written, so that its code suffices from now on.
    written: bool,
}

#[derive(Clone, Copy)]
struct Pending {
    code: u64,
    /// The unit, where the string is a single one.
    unit: Option<u16>,
}

impl Compressor {
    fn push(&mut self, unit: u16) {
        let next_code = self.next_code();
        let entry = *self.units.entry(unit).or_insert(UnitEntry {
            code: next_code,
            written: false,
        });
        let single = Pending {
            code: entry.code,
            unit: Some(unit),
        };
        let Some(pending) = self.pending else {
            self.pending = Some(single);
            return;
        };
        if let Some(&code) = self.strings.get(&(pending.code, unit)) {
            self.pending = Some(Pending { code, unit: None });
            return;
        }
        self.write(pending);
        let next_code = self.next_code();
        self.strings.insert((pending.code, unit), next_code);
        self.pending = Some(single);
    }

    fn finish(mut self) -> String {
        if let Some(pending) = self.pending.take() {
            self.write(pending);
        }
        self.codes.finish()
    }

    fn next_code(&self) -> u64 {
        FIRST_ENTRY + (self.units.len() + self.strings.len()) as u64
    }

    fn write(&mut self, pending: Pending) {
        let first_time = pending.unit.and_then(|unit| {
            let entry = self.units.get_mut(&unit)?;
            (!std::mem::replace(&mut entry.written, true)).then_some(unit)
        });
        match first_time {
            Some(unit) => self.codes.new_unit(unit),
            None => self.codes.entry(pending.code),
        }
    }
}

#[derive(Default)]
struct CodeWriter {
    bits: BitWriter,
    width: CodeWidth,
}

impl CodeWriter {
    fn new_unit(&mut self, unit: u16) {
        let (code, unit_bits) = if unit < 256 {
            (NEW_8_BIT, 8)
        } else {
            (NEW_16_BIT, 16)
        };
        self.bits.write(code, self.width.bits);
        self.bits.write(u64::from(unit), unit_bits);
        // Once for the unit, once for the string that begins with it.
        self.width.count_entry();
        self.width.count_entry();
    }

    fn entry(&mut self, code: u64) {
        self.bits.write(code, self.width.bits);
        self.width.count_entry();
    }

    fn finish(mut self) -> String {
        self.bits.write(END, self.width.bits);
        self.bits.finish()
    }
}

const NEW_8_BIT: u64 = 0;
const NEW_16_BIT: u64 = 1;
const END: u64 = 2;
/// Code of the first entry in the dictionary.
const FIRST_ENTRY: u64 = 3;

/// Bits of the next code: one more each time the dictionary has doubled.
struct CodeWidth {
    bits: u32,
    entries_left: u64,
}

impl Default for CodeWidth {
    fn default() -> Self {
        Self {
            bits: 2,
            entries_left: 2,
        }
    }
}

impl CodeWidth {
    fn count_entry(&mut self) {
        self.entries_left -= 1;
        if self.entries_left == 0 {
            self.entries_left = 1 << self.bits;
            self.bits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_missing_or_too_long() {
        for encoded in ["IZA=", "IZA", "IZA==="] {
            assert_eq!(decompress_from_base64(encoded, 1), Ok("a".into()));
        }
        assert_eq!(decompress_from_base64("Q", 0), Ok(String::new()));
    }

    #[test]
    fn what_follows_the_end_mark_is_ignored() {
        assert_eq!(decompress_from_base64("IZAAAAAA", 9), Ok("a".into()));
    }

    #[test]
    fn padding_in_the_middle_and_foreign_characters_are_refused_with_their_place() {
        for encoded in ["IZ=A", "IZ-A", "IZ\nA", "IZ漢A"] {
            let error = decompress_from_base64(encoded, 9);
            assert_eq!(error, Err(LzError::NotBase64 { position: 2 }), "{encoded}");
        }
    }

    #[test]
    fn a_text_without_its_end_is_refused() {
        for encoded in ["", "=", "IY18", "A"] {
            assert_eq!(
                decompress_from_base64(encoded, 99),
                Err(LzError::Truncated),
                "{encoded:?}"
            );
        }
    }

    #[test]
    fn a_code_for_nothing_is_refused() {
        // The first code can only be a unit or the end: `w` begins with the bits 11.
        assert_eq!(
            decompress_from_base64("wAAA", 99),
            Err(LzError::UnknownCode)
        );
    }

    #[test]
    fn the_limit_itself_fits_and_one_more_does_not() {
        let encoded = compress_to_base64(&"a".repeat(1000));
        assert_eq!(decompress_from_base64(&encoded, 1000).unwrap().len(), 1000);
        let error = decompress_from_base64(&encoded, 999);
        assert_eq!(error, Err(LzError::TooLong { limit: 999 }));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let encoded = compress_to_base64(&"a".repeat(1_000_000));
        assert!(encoded.len() < 4_000, "{}", encoded.len());
        let prefix = decompress(&encoded, 100_000).unwrap();
        assert_eq!((prefix.units.len(), prefix.complete), (100_000, false));
        assert!(prefix.units.capacity() <= 1 << 18);
    }

    #[test]
    fn half_a_surrogate_pair_is_kept_as_unit_and_refused_as_text() {
        let encoded = compress_utf16_to_base64(&[0xd83d]);
        assert_eq!(encoded, "rwbQ");
        assert_eq!(decompress_utf16_from_base64(&encoded, 1), Ok(vec![0xd83d]));
        assert_eq!(
            decompress_from_base64(&encoded, 1),
            Err(LzError::NotUnicode)
        );
    }
}
