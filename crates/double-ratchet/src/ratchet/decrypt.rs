//! Decryption (document, "Decrypting messages").
//!
//! Everything that can fail comes before the first change of the ratchet. New keys are made last,
//! when the message has proved to be the peer's.

use std::fmt;
use std::mem;

use smp_protocol::encoding::DecodeError;
use zeroize::Zeroizing;

use super::{OwnKem, Pq, Ratchet, Receiving, Sending, Versions};
use crate::aead::Forged;
use crate::error::DecryptError;
use crate::kdf::{MessageKey, RootStep};
use crate::kem::KemSecret;
use crate::keys::KeySource;
use crate::message::{MessageHeader, SealedMessage, unpad};
use crate::params::KemParams;
use crate::secret::HeaderKey;
use crate::skipped::{Ahead, MAX_SKIPPED, SkippedChain, SkippedKey};
use crate::version::{E2eVersion, PqSupport};
use crate::x448::X448PrivateKey;

/// A message that was read.
pub struct Decrypted {
    /// The text without its padding.
    pub plain: Zeroizing<Vec<u8>>,
    /// Whether the message began a new chain, so that the next message sent has new keys.
    pub turned: bool,
    /// Whether the message's chain began with a KEM's secret.
    pub pq: bool,
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decrypted")
    }
}

/// Which chain a message is of.
enum Chain {
    Current,
    Next,
    /// One with skipped messages, by its place among them.
    Former(usize),
}

impl Ratchet {
    /// Decrypts a message of the peer.
    ///
    /// # Errors
    /// [`DecryptError`], which says for each case what to do. The ratchet is then as it was, byte
    /// for byte, and the same message can still come undamaged.
    pub fn decrypt(
        &mut self,
        message: &[u8],
        keys: &mut impl KeySource,
    ) -> Result<Decrypted, DecryptError> {
        let message = SealedMessage::decode(message)?;
        let (chain, padded) = self.open_header(&message).ok_or(DecryptError::Header)?;
        let header = message.read_header(&padded)?;
        match chain {
            Chain::Current => self.decrypt_current(&message, &header),
            Chain::Next => self.decrypt_next(&message, &header, keys),
            Chain::Former(chain) => {
                self.decrypt_skipped(&message, &header, chain, DecryptError::Header)
            }
        }
    }

    /// Finds the key that opens the header.
    fn open_header(&self, message: &SealedMessage<'_>) -> Option<(Chain, Vec<u8>)> {
        let open = |key| message.open_header(key, &self.associated_data).ok();
        if let Some(current) = &self.receiving
            && let Some(padded) = open(&current.header_key)
        {
            return Some((Chain::Current, padded));
        }
        if let Some(padded) = open(&self.next_receiving_header_key) {
            return Some((Chain::Next, padded));
        }
        let mut former = self.skipped.chains().iter().enumerate();
        former.find_map(|(at, chain)| Some((Chain::Former(at), open(&chain.header_key)?)))
    }

    fn decrypt_current(
        &mut self,
        message: &SealedMessage<'_>,
        header: &MessageHeader,
    ) -> Result<Decrypted, DecryptError> {
        let current = self.receiving.as_ref().ok_or(DecryptError::Header)?;
        let Some(skips) = header.number.checked_sub(current.next) else {
            let newest = current.next.saturating_sub(1);
            let error = match newest.saturating_sub(header.number) {
                0 => DecryptError::Duplicate,
                before => DecryptError::Earlier(before),
            };
            let chain = self.skipped.chain(&current.header_key).ok_or(error)?;
            return self.decrypt_skipped(message, header, chain, error);
        };
        limit(skips)?;
        let next = header.number.checked_add(1);
        let next = next.ok_or(DecodeError::Limit("message number"))?;

        let ahead = current.chain_key.ahead(current.next, header.number);
        let plain = self.open_body(message, &ahead.key)?;
        if let Some(current) = &mut self.receiving {
            current.chain_key = ahead.chain_key;
            current.next = next;
            self.skipped.add(current.skipped(ahead.skipped));
        }
        self.versions = self.versions.after(header.max_version);
        Ok(Decrypted {
            plain,
            turned: false,
            pq: self.pq_receiving(),
        })
    }

    /// Decrypts a message whose key was kept, or fails with `missing` if it was not.
    fn decrypt_skipped(
        &mut self,
        message: &SealedMessage<'_>,
        header: &MessageHeader,
        chain: usize,
        missing: DecryptError,
    ) -> Result<Decrypted, DecryptError> {
        let (at, kept) = self.skipped.find(chain, header.number).ok_or(missing)?;
        let plain = self.open_body(message, &kept.key)?;
        let pq = self.skipped.chains()[chain].pq;
        self.skipped.remove(at);
        self.versions = self.versions.after(header.max_version);
        Ok(Decrypted {
            plain,
            turned: false,
            pq,
        })
    }

    /// Decrypts the first message that comes of a new chain, and turns the ratchet (document,
    /// `DHRatchetPQ2HE`).
    fn decrypt_next(
        &mut self,
        message: &SealedMessage<'_>,
        header: &MessageHeader,
        keys: &mut impl KeySource,
    ) -> Result<Decrypted, DecryptError> {
        if message.version < self.agreed_version() {
            return Err(DecryptError::Downgrade(message.version));
        }
        let received = self.receiving.as_ref().map_or(0, |current| current.next);
        let skips = header.previous_count.checked_sub(received);
        let skips = skips.ok_or(DecodeError::Limit("count of the previous chain"))?;
        limit(skips)?;
        limit(header.number)?;

        let secret = self.pq.received(header.kem.as_ref())?;
        let agreed = self.own_key.agree(&header.key)?;
        let receiving = self.root_key.step(&agreed, secret.as_ref());
        let ahead = receiving.chain_key.ahead(0, header.number);
        let plain = self.open_body(message, &ahead.key)?;

        let versions = self.versions.after(header.max_version);
        let reply = self.pq.reply(versions, header.kem.as_ref(), keys);
        let own_key = keys.x448();
        let agreed = own_key.agree(&header.key)?;
        let sending = receiving.root_key.step(&agreed, reply.secret.as_ref());

        self.versions = versions;
        self.begin_receiving(header, receiving.next_header_key, ahead, secret.is_some());
        self.begin_sending(own_key, sending, reply.secret.is_some());
        self.pq.turn(versions, secret.is_some(), reply);
        Ok(Decrypted {
            plain,
            turned: true,
            pq: secret.is_some(),
        })
    }

    /// The version that a peer's new chain has at least. The peer has read a header of our chain,
    /// which offers this much, and what it offered itself it did before that.
    fn agreed_version(&self) -> E2eVersion {
        let offered = self.sending.as_ref().map(|chain| chain.offered);
        offered.map_or(E2eVersion::OLDEST, |offered| {
            offered.min(self.versions.current)
        })
    }

    /// Begins the new receiving chain, and keeps the keys that are missing of the old one.
    fn begin_receiving(
        &mut self,
        header: &MessageHeader,
        next_header_key: HeaderKey,
        ahead: Ahead,
        pq: bool,
    ) {
        if let Some(old) = self.receiving.take() {
            let keys = old.chain_key.remaining(old.next, header.previous_count);
            self.skipped.add(old.skipped(keys));
        }
        self.turns = self.turns.saturating_add(1);
        self.skipped.expire(self.turns);
        let new = Receiving {
            header_key: mem::replace(&mut self.next_receiving_header_key, next_header_key),
            chain_key: ahead.chain_key,
            next: header.number.saturating_add(1),
            turn: self.turns,
            pq,
        };
        self.skipped.add(new.skipped(ahead.skipped));
        self.receiving = Some(new);
    }

    fn begin_sending(&mut self, own_key: X448PrivateKey, step: RootStep, pq: bool) {
        let header_key = mem::replace(&mut self.next_sending_header_key, step.next_header_key);
        self.sending = Some(Sending {
            header_key,
            chain_key: step.chain_key,
            pq,
            offered: self.versions.max,
        });
        self.own_key = own_key;
        self.root_key = step.root_key;
        self.previous_count = mem::take(&mut self.sent);
    }

    fn open_body(
        &self,
        message: &SealedMessage<'_>,
        key: &MessageKey,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let mut plain = message
            .open_body(key, &self.associated_data)
            .map_err(|Forged| DecryptError::Body)?;
        unpad(&mut plain)?;
        Ok(plain)
    }
}

impl Receiving {
    /// Keys of this chain's messages, to be kept.
    fn skipped(&self, keys: Vec<SkippedKey>) -> SkippedChain {
        SkippedChain {
            header_key: self.header_key.clone(),
            turn: self.turn,
            pq: self.pq,
            keys,
        }
    }
}

/// What a turn answers to the peer's KEM, or proposes.
struct Reply {
    own: Option<OwnKem>,
    secret: Option<KemSecret>,
}

impl Pq {
    /// The secret that the peer's header brought.
    fn received(&self, peer: Option<&KemParams>) -> Result<Option<KemSecret>, DecryptError> {
        match (peer.and_then(KemParams::ciphertext), &self.own) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(DecryptError::KemState),
            (Some(ciphertext), Some(own)) => Ok(Some(own.pair.decapsulate(ciphertext))),
        }
    }

    fn reply(
        &self,
        versions: Versions,
        peer: Option<&KemParams>,
        keys: &mut impl KeySource,
    ) -> Reply {
        let (mut own, mut secret) = (None, None);
        if self.enabled && versions.current.has_kem() {
            // A proposal that the peer did not take up is withdrawn, and made again one turn later.
            if let Some(peer) = peer {
                let (ciphertext, encapsulated) = keys.encapsulate(peer.key());
                secret = Some(encapsulated);
                own = Some(OwnKem {
                    pair: keys.kem_pair(),
                    accepted: Some(ciphertext),
                });
            } else if self.own.is_none() {
                own = Some(OwnKem {
                    pair: keys.kem_pair(),
                    accepted: None,
                });
            }
        }
        Reply { own, secret }
    }

    fn turn(&mut self, versions: Versions, received: bool, reply: Reply) {
        if versions.current.has_kem() {
            self.enabled = received || reply.own.is_some();
        }
        if reply.own.is_some() {
            self.support = PqSupport::On;
        }
        self.own = reply.own;
    }
}

fn limit(skips: u32) -> Result<(), DecryptError> {
    if skips <= MAX_SKIPPED {
        Ok(())
    } else {
        Err(DecryptError::TooManySkipped(skips))
    }
}
