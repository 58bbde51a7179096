//! The encodings that everything in SMP is made of, read with bounds and written without copies.
//!
//! Numbers are big-endian. A short string has a length of one byte, a large string one of two. An
//! optional value begins with `0` or `1`, a truth value is `T` or `F`, and a list that may not be
//! empty begins with its count in one byte.

pub mod text;

use thiserror::Error;

/// Longest short string: its length is one byte.
pub const MAX_SHORT: usize = u8::MAX as usize;

/// Longest large string: its length is two bytes.
pub const MAX_LARGE: usize = u16::MAX as usize;

/// Why bytes could not be read. None of it repeats the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Fewer bytes than the value needs.
    #[error("the bytes end inside {0}")]
    Short(&'static str),
    /// Bytes after the last value.
    #[error("bytes follow after the end of {0}")]
    Trailing(&'static str),
    /// A byte or text that stands for no value.
    #[error("{0} has no such value")]
    Value(&'static str),
    /// A list that needs at least one item has none.
    #[error("{0} is an empty list")]
    Empty(&'static str),
    /// A string or number outside its limits.
    #[error("{0} is outside its limits")]
    Limit(&'static str),
}

/// What was to be written does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} does not fit its field")]
pub struct EncodeError(
    /// The field's name.
    pub &'static str,
);

/// Reads values one after the other from borrowed bytes.
///
/// Each method takes its value from the front, or returns an error and leaves the reader in an
/// unspecified place inside the same bytes. `what` names the value for the error.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if there is.
    pub fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(what))
        }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if there are fewer.
    pub fn bytes(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Short(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if there are fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Short(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// Eight bytes with a sign.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end.
    pub fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// `T` or `F`.
    ///
    /// # Errors
    /// [`DecodeError::Value`] for another byte, [`DecodeError::Short`] at the end.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            b'T' => Ok(true),
            b'F' => Ok(false),
            _ => Err(DecodeError::Value(what)),
        }
    }

    /// A string with a length of one byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off.
    pub fn short(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.u8(what)?;
        self.bytes(length.into(), what)
    }

    /// A string with a length of two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off.
    pub fn large(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.u16(what)?;
        self.bytes(length.into(), what)
    }

    /// `0`, or `1` and what `value` reads.
    ///
    /// # Errors
    /// [`DecodeError::Value`] for another byte, [`DecodeError::Short`] at the end, or the value's.
    pub fn maybe<T, E: From<DecodeError>>(
        &mut self,
        what: &'static str,
        value: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        match self.u8(what)? {
            b'0' => Ok(None),
            b'1' => value(self).map(Some),
            _ => Err(DecodeError::Value(what).into()),
        }
    }

    /// A count of one byte, at least 1, and as many of what `item` reads.
    ///
    /// # Errors
    /// [`DecodeError::Empty`] if the count is 0, [`DecodeError::Short`] at the end, or an item's.
    pub fn list<T, E: From<DecodeError>>(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let count = self.u8(what)?;
        if count == 0 {
            return Err(DecodeError::Empty(what).into());
        }
        (0..count).map(|_| item(self)).collect()
    }

    /// Takes `text` if it comes next, and says whether it did.
    pub fn take(&mut self, text: &[u8]) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else {
            return false;
        };
        self.rest = rest;
        true
    }

    /// A space.
    ///
    /// # Errors
    /// [`DecodeError::Value`] for another byte, [`DecodeError::Short`] at the end.
    pub fn space(&mut self, what: &'static str) -> Result<(), DecodeError> {
        if self.u8(what)? == b' ' {
            Ok(())
        } else {
            Err(DecodeError::Value(what))
        }
    }

    /// What comes before the next space or the end. The space stays.
    pub fn word(&mut self) -> &'a [u8] {
        let length = self
            .rest
            .iter()
            .position(|&byte| byte == b' ')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word
    }
}

/// Appends a string with a length of one byte.
///
/// # Errors
/// [`EncodeError`] with `what` if it is longer than [`MAX_SHORT`].
pub fn put_short(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), EncodeError> {
    let length = u8::try_from(bytes.len()).map_err(|_| EncodeError(what))?;
    out.push(length);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends an array as a string with a length of one byte.
pub fn put_short_array<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N]) {
    const { assert!(N <= MAX_SHORT, "longer than a short string") };
    out.push(N as u8);
    out.extend_from_slice(bytes);
}

/// Appends a string with a length of two bytes.
///
/// # Errors
/// [`EncodeError`] with `what` if it is longer than [`MAX_LARGE`].
pub fn put_large(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), EncodeError> {
    let length = u16::try_from(bytes.len()).map_err(|_| EncodeError(what))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a number of two bytes.
pub fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a number of four bytes.
pub fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a number of eight bytes with a sign.
pub fn put_i64(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends `T` or `F`.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { b'T' } else { b'F' });
}

/// Appends `0`, or `1` and what `put` writes.
///
/// # Errors
/// What `put` returns; an infallible `put` may return `Ok::<(), Infallible>`.
pub fn put_maybe<T, E>(
    out: &mut Vec<u8>,
    value: Option<T>,
    put: impl FnOnce(&mut Vec<u8>, T) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        None => {
            out.push(b'0');
            Ok(())
        }
        Some(value) => {
            out.push(b'1');
            put(out, value)
        }
    }
}

/// Appends a count of one byte and the items.
///
/// # Errors
/// [`EncodeError`] with `what` if there is no item or more than 255, or what `put` returns.
pub fn put_list<T>(
    out: &mut Vec<u8>,
    items: &[T],
    what: &'static str,
    mut put: impl FnMut(&mut Vec<u8>, &T) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let count = u8::try_from(items.len()).map_err(|_| EncodeError(what))?;
    if count == 0 {
        return Err(EncodeError(what));
    }
    out.push(count);
    items.iter().try_for_each(|item| put(out, item))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHAT: &str = "value";

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            short in prop::collection::vec(any::<u8>(), 0..=255),
            large in prop::collection::vec(any::<u8>(), 0..400),
            numbers: (u16, u32, i64),
            flag: bool,
            optional: Option<u16>,
            list in prop::collection::vec(any::<u16>(), 1..=255),
        ) {
            let mut out = Vec::new();
            put_short(&mut out, &short, WHAT).unwrap();
            put_large(&mut out, &large, WHAT).unwrap();
            put_u16(&mut out, numbers.0);
            put_u32(&mut out, numbers.1);
            put_i64(&mut out, numbers.2);
            put_bool(&mut out, flag);
            let put = |out: &mut Vec<u8>, number| {
                put_u16(out, number);
                Ok::<(), EncodeError>(())
            };
            put_maybe(&mut out, optional, put).unwrap();
            put_list(&mut out, &list, WHAT, |out, number| put(out, *number)).unwrap();

            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.short(WHAT), Ok(&short[..]));
            prop_assert_eq!(reader.large(WHAT), Ok(&large[..]));
            prop_assert_eq!(reader.u16(WHAT), Ok(numbers.0));
            prop_assert_eq!(reader.u32(WHAT), Ok(numbers.1));
            prop_assert_eq!(reader.i64(WHAT), Ok(numbers.2));
            prop_assert_eq!(reader.bool(WHAT), Ok(flag));
            prop_assert_eq!(reader.maybe(WHAT, |reader| reader.u16(WHAT)), Ok(optional));
            prop_assert_eq!(reader.list(WHAT, |reader| reader.u16(WHAT)), Ok(list));
            prop_assert_eq!(reader.finish(WHAT), Ok(()));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes: Vec<u8>, length: usize) {
            let _ = Reader::new(&bytes).bytes(length, WHAT);
            let _ = Reader::new(&bytes).short(WHAT);
            let _ = Reader::new(&bytes).large(WHAT);
            let _ = Reader::new(&bytes).i64(WHAT);
            let _ = Reader::new(&bytes).bool(WHAT);
            let _ = Reader::new(&bytes).maybe(WHAT, |reader| reader.u16(WHAT));
            let _ = Reader::new(&bytes).list(WHAT, |reader| reader.short(WHAT).map(drop));
            let word = Reader::new(&bytes).word();
            prop_assert!(!word.contains(&b' '));
        }
    }

    #[test]
    fn a_string_longer_than_its_length_can_say_is_refused() {
        let mut out = Vec::new();
        assert_eq!(put_short(&mut out, &[0; 256], WHAT), Err(EncodeError(WHAT)));
        assert_eq!(
            put_large(&mut out, &[0; 65_536], WHAT),
            Err(EncodeError(WHAT))
        );
        assert!(out.is_empty());
    }

    #[test]
    fn an_empty_list_is_neither_written_nor_read() {
        let mut out = Vec::new();
        assert!(put_list(&mut out, &[0; 0], WHAT, |_, _| Ok(())).is_err());
        assert!(put_list(&mut out, &[0; 256], WHAT, |_, _| Ok(())).is_err());
        let read = Reader::new(&[0]).list(WHAT, |reader| reader.u8(WHAT));
        assert_eq!(read, Err(DecodeError::Empty(WHAT)));
    }

    #[test]
    fn other_letters_are_neither_truth_nor_option() {
        assert_eq!(Reader::new(b"1").bool(WHAT), Err(DecodeError::Value(WHAT)));
        let read = Reader::new(b"T").maybe(WHAT, |reader| reader.u8(WHAT));
        assert_eq!(read, Err(DecodeError::Value(WHAT)));
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        let mut reader = Reader::new(b"ab c");
        assert_eq!(reader.word(), b"ab");
        assert_eq!(reader.space(WHAT), Ok(()));
        assert_eq!(reader.finish(WHAT), Err(DecodeError::Trailing(WHAT)));
        assert!(!reader.take(b"d") && reader.take(b"c"));
        assert_eq!(reader.space(WHAT), Err(DecodeError::Short(WHAT)));
    }
}
