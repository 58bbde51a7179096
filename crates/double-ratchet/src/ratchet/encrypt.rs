//! Encryption (document, "Encrypting messages").

use super::{OwnKem, Ratchet};
use crate::error::EncryptError;
use crate::message::{self, MessageHeader, SealedHeader, fits, padded_header};

impl Ratchet {
    /// Encrypts `plain`, padded to `padded` bytes, so that messages of all lengths look alike.
    ///
    /// `pq` is what is asked for: `Some(true)` as [`Self::enable_pq`], `Some(false)` that the next
    /// turn does without a KEM, `None` that all stays as it is. A turn with the peer's KEM switches
    /// it on again, so one who wants none asks for none with each message.
    ///
    /// # Errors
    /// [`EncryptError`] if there is no chain to send with, `plain` does not fit, or the chain is
    /// full; the ratchet is then as it was.
    pub fn encrypt(
        &mut self,
        plain: &[u8],
        padded: usize,
        pq: Option<bool>,
    ) -> Result<Vec<u8>, EncryptError> {
        let next = self.sent.checked_add(1).ok_or(EncryptError::ChainFull)?;
        if !fits(plain.len(), padded) {
            return Err(EncryptError::TooLong {
                length: plain.len(),
                padded,
            });
        }
        let chain = self.sending.as_ref().ok_or(EncryptError::NoSendingChain)?;
        let step = chain.chain_key.step();
        if pq == Some(true) {
            self.enable_pq();
        }
        let header = self.header();
        // All headers of a chain say the same about the KEM, whatever is asked for: each may be the
        // first that comes, and has to take the peer to the same keys.
        if pq == Some(false) {
            self.pq.enabled = false;
        }
        let version = self.versions.current;
        let chain = self.sending.as_mut().ok_or(EncryptError::NoSendingChain)?;
        let header = SealedHeader::seal(
            &header,
            version,
            padded_header(version, self.pq.support),
            &chain.header_key,
            &step.header_iv,
            &self.associated_data,
        );
        chain.chain_key = step.chain_key;
        self.sent = next;
        let (associated, key) = (&self.associated_data, &step.message_key);
        Ok(message::seal(associated, &header, key, plain, padded))
    }

    pub(super) fn header(&self) -> MessageHeader {
        MessageHeader {
            max_version: self.versions.max,
            key: self.own_key.public(),
            kem: self.pq.own.as_ref().map(OwnKem::params),
            previous_count: self.previous_count,
            number: self.sent,
        }
    }
}
