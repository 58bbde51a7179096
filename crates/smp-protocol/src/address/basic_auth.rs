//! Passwords of relays.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::AddressError;
use crate::encoding::{DecodeError, MAX_SHORT, Reader};

/// A relay's password: 1 to 255 visible characters of ASCII without `@`, `:` and `/`.
///
/// Wiped when dropped, compared in a time that depends on the lengths alone, and never in `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BasicAuth(String);

impl BasicAuth {
    /// A password.
    ///
    /// # Errors
    /// [`AddressError::Password`] if it is empty, longer, or has another character.
    pub fn new(password: &str) -> Result<Self, AddressError> {
        let fits = (1..=MAX_SHORT).contains(&password.len());
        let visible = |byte: u8| byte.is_ascii_graphic() && !b"@:/".contains(&byte);
        if fits && password.bytes().all(visible) {
            Ok(Self(password.to_owned()))
        } else {
            Err(AddressError::Password)
        }
    }

    /// The password itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a short string. One that is no password is taken as well and equals no password: whoever
    /// sends it is told that it is wrong, as the document has it, and not that it can't be read.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.short("password")?;
        let password = str::from_utf8(bytes)
            .ok()
            .and_then(|text| Self::new(text).ok());
        Ok(password.unwrap_or_else(|| Self(String::new())))
    }

    /// Appends a short string.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8);
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl PartialEq for BasicAuth {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for BasicAuth {}

impl FromStr for BasicAuth {
    type Err = AddressError;

    fn from_str(password: &str) -> Result<Self, AddressError> {
        Self::new(password)
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicAuth")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_password_in_an_address_is_refused() {
        for password in [
            "",
            "a b",
            "a@b",
            "a:b",
            "a/b",
            "a\tb",
            "a\0b",
            "é",
            &"x".repeat(256),
        ] {
            assert_eq!(BasicAuth::new(password), Err(AddressError::Password));
        }
        assert!(BasicAuth::new("p4ss+w.rd-!").is_ok());
        assert!(BasicAuth::new(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn passwords_are_compared_whole() {
        let [a, b, c] = ["secret", "secret", "secre7"].map(|text| BasicAuth::new(text).unwrap());
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_ne!(a, BasicAuth::new("secre").unwrap());
    }

    #[test]
    fn debug_shows_no_letter_of_a_password() {
        assert_eq!(
            format!("{:?}", BasicAuth::new("secret").unwrap()),
            "BasicAuth"
        );
    }
}
