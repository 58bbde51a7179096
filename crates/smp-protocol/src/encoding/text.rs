//! How bytes and texts stand in URIs: base64url and percent-encoding.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::DecodeError;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const BASE64URL_BARE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false),
);

/// Bytes in base64url, with `=` at the end.
#[must_use]
pub fn to_base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// Bytes in base64url, without `=` at the end.
#[must_use]
pub fn to_base64url_bare(bytes: &[u8]) -> String {
    BASE64URL_BARE.encode(bytes)
}

/// The bytes of a text in base64url, with or without `=` at the end.
///
/// # Errors
/// [`DecodeError::Value`] with `what` if it is none.
pub fn from_base64url(text: &str, what: &'static str) -> Result<Vec<u8>, DecodeError> {
    BASE64URL.decode(text).map_err(|_| DecodeError::Value(what))
}

/// A text with each `%` and two digits as the byte that they stand for.
///
/// # Errors
/// [`DecodeError::Short`] with `what` if it ends inside such a triple, [`DecodeError::Value`] if
/// the digits are none or the bytes are not UTF-8.
pub fn percent_decoded(text: &str, what: &'static str) -> Result<String, DecodeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest
            .split_first_chunk::<2>()
            .ok_or(DecodeError::Short(what))?;
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .ok_or(DecodeError::Value(what))
        };
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| DecodeError::Value(what))
}

/// Writes everything but letters, digits, `-`, `_`, `.` and `~` as `%` and two digits.
///
/// # Errors
/// Those of `out`.
pub fn put_percent_encoded(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.write_char(byte.into())?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHAT: &str = "text";

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: Vec<u8>, text: String) {
            prop_assert_eq!(from_base64url(&to_base64url(&bytes), WHAT), Ok(bytes.clone()));
            prop_assert_eq!(from_base64url(&to_base64url_bare(&bytes), WHAT), Ok(bytes));
            let mut encoded = String::new();
            put_percent_encoded(&mut encoded, &text).unwrap();
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(percent_decoded(&encoded, WHAT), Ok(text));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text: String, escapes in "[%a-f0-9=]{0,20}") {
            for text in [text, escapes] {
                let _ = from_base64url(&text, WHAT);
                let _ = percent_decoded(&text, WHAT);
            }
        }
    }

    #[test]
    fn each_fault_of_an_escape_has_its_error() {
        let short = Err(DecodeError::Short(WHAT));
        assert_eq!(percent_decoded("a%", WHAT), short);
        assert_eq!(percent_decoded("a%2", WHAT), short);
        let wrong = Err(DecodeError::Value(WHAT));
        assert_eq!(percent_decoded("%2g", WHAT), wrong);
        assert_eq!(percent_decoded("%ff", WHAT), wrong);
    }

    #[test]
    fn bits_that_belong_to_no_byte_must_be_zero() {
        assert_eq!(from_base64url("AA", WHAT), Ok(vec![0]));
        assert_eq!(from_base64url("AB", WHAT), Err(DecodeError::Value(WHAT)));
    }
}
