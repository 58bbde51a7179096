//! The number by which two people see that nobody is between them.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use thiserror::Error;

/// Digits in a group.
const GROUP: usize = 5;

/// Fewest digits that are taken for a code. One in 10^12 codes has fewer.
const FEWEST_DIGITS: usize = 65;

/// What two people compare, by reading it to each other or by any other way than their messages.
/// It is the same on both sides if nobody is between them, and new when new keys were agreed.
///
/// It is SHA-256 of what the encryption of both sides is bound to. `Display` writes that number in
/// decimal digits, in groups of five, as SimpleX Chat shows it. Two codes are compared in constant
/// time; `Debug` shows no digit.
#[derive(Clone, Copy)]
pub struct SecurityCode([u8; 32]);

impl SecurityCode {
    pub(super) fn new(code: [u8; 32]) -> Self {
        Self(code)
    }

    /// The number, most significant byte first.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn digits(&self) -> String {
        let mut number = self.0;
        let mut digits = Vec::new();
        while number.iter().any(|byte| *byte != 0) {
            let mut rest = 0;
            for byte in &mut number {
                let value = rest * 256 + u16::from(*byte);
                // Less than 10 * 256 / 10, hence a byte.
                *byte = (value / 10) as u8;
                rest = value % 10;
            }
            digits.push(b'0' + rest as u8);
        }
        digits
            .iter()
            .rev()
            .map(|digit| char::from(*digit))
            .collect()
    }
}

impl PartialEq for SecurityCode {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecurityCode {}

impl fmt::Display for SecurityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, digit) in self.digits().char_indices() {
            if index > 0 && index % GROUP == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SecurityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecurityCode(..)")
    }
}

impl FromStr for SecurityCode {
    type Err = NotACode;

    /// Takes digits in groups of any size, with white space, `-`, `.` or nothing between them.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let mut number = [0_u8; 32];
        let mut count = 0;
        for character in text.chars() {
            if character.is_whitespace() || matches!(character, '-' | '.' | '\u{2013}') {
                continue;
            }
            let digit = character.to_digit(10).ok_or(NotACode::NotADigit)?;
            count += 1;
            let mut carry = digit;
            for byte in number.iter_mut().rev() {
                let value = u32::from(*byte) * 10 + carry;
                *byte = (value & 0xff) as u8;
                carry = value >> 8;
            }
            if carry != 0 {
                return Err(NotACode::TooLong);
            }
        }
        if count < FEWEST_DIGITS {
            return Err(NotACode::TooShort);
        }
        Ok(Self(number))
    }
}

/// Why a text is no security code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotACode {
    /// It has something else than digits.
    #[error("a security code has digits alone, in groups of five")]
    NotADigit,
    /// Some of it is missing.
    #[error("some of the security code is missing; copy all of it")]
    TooShort,
    /// It is larger than any code.
    #[error("the security code has too many digits")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_the_decimal_number_in_groups_of_five() {
        let mut bytes = [0; 32];
        bytes[29..].copy_from_slice(&[0x01, 0xe2, 0x40]);
        assert_eq!(SecurityCode(bytes).to_string(), "12345 6");
        let largest = "11579 20892 37316 19542 35709 85008 68790 78532 69984 66564 05640 39457 \
                       58400 79131 29639 935";
        assert_eq!(SecurityCode([0xff; 32]).to_string(), largest);
        assert_eq!(largest.parse(), Ok(SecurityCode([0xff; 32])));
    }

    #[test]
    fn what_is_no_code_is_refused_with_the_reason() {
        let code = SecurityCode([0xa5; 32]).to_string();
        for (text, error) in [
            (code.replace(' ', "x"), NotACode::NotADigit),
            (code[..60].to_owned(), NotACode::TooShort),
            (String::new(), NotACode::TooShort),
            (format!("{code}0"), NotACode::TooLong),
        ] {
            assert_eq!(text.parse::<SecurityCode>(), Err(error), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_digit() {
        assert_eq!(format!("{:?}", SecurityCode([7; 32])), "SecurityCode(..)");
    }

    proptest! {
        #[test]
        fn a_code_comes_back_however_it_is_written(bytes in any::<[u8; 32]>(), gap in "[ \n\t.-]{0,2}") {
            let bytes = { let mut bytes = bytes; bytes[0] |= 0x10; bytes };
            let code = SecurityCode(bytes);
            let written = code.to_string().replace(' ', &gap);
            prop_assert_eq!(written.parse(), Ok(code));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,120}") {
            let _ = text.parse::<SecurityCode>();
        }
    }
}
