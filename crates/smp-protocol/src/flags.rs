//! The flags of a message (document, "Send message").

use crate::encoding::{DecodeError, Reader, put_bool};

/// What a sender tells the relay about a message; the recipient gets it inside the encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MessageFlags {
    /// Whether to notify the recipient of the message.
    pub notification: bool,
}

impl MessageFlags {
    /// Reads `T` or `F` and skips flags of newer versions, up to the next space or the end.
    ///
    /// # Errors
    /// [`DecodeError`] if there is neither `T` nor `F`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let notification = reader.bool("message flags")?;
        reader.word();
        Ok(Self { notification })
    }

    /// Appends `T` or `F`.
    pub fn encode(self, out: &mut Vec<u8>) {
        put_bool(out, self.notification);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_newer_versions_are_skipped() {
        let mut reader = Reader::new(b"TFFx body");
        assert_eq!(
            MessageFlags::decode(&mut reader),
            Ok(MessageFlags { notification: true })
        );
        assert_eq!(reader.rest(), b" body");
        assert!(MessageFlags::decode(&mut Reader::new(b" body")).is_err());
    }
}
