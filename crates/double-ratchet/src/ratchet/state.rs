//! The ratchet as bytes, to be stored where secrets may be.
//!
//! The first byte is the format. Then come, without names or padding, numbers big-endian, truth
//! values as `T` or `F`, and optional values behind `0` or `1`:
//!
//! - `u16` version, `u16` newest version, both peers' first keys (112)
//! - root key (32), own key: private (56) and public (56)
//! - optional sending chain: header key (32), chain key (32), with a KEM or not, `u16` version that
//!   it offers
//! - optional receiving chain: header key (32), chain key (32), `u32` next number, `u64` turn, with
//!   a KEM or not
//! - next header keys for sending (32) and receiving (32)
//! - `u32` messages sent, `u32` messages in the chain before, `u64` turns
//! - KEM supported or not, enabled or not, optional pair (1763) and optional ciphertext (1039)
//! - `u16` chains with skipped messages: header key (32), `u64` turn, with a KEM or not, and `u16`
//!   keys: `u32` number, key (32), IV (16)

use std::convert::Infallible;

use smp_protocol::encoding::{DecodeError, Reader, put_bool, put_i64, put_maybe, put_u16, put_u32};
use zeroize::Zeroizing;

use super::{OwnKem, Pq, Ratchet, Receiving, Sending, Versions};
use crate::error::StateError;
use crate::initiator::{chunk, put_key, read_format, read_key, read_pair};
use crate::kdf::MessageKey;
use crate::kem::{KEM_CIPHERTEXT_SIZE, KEM_SECRET_KEY_SIZE, KemCiphertext};
use crate::secret::{ChainKey, HeaderKey, RootKey, Secret};
use crate::skipped::{SkippedChain, SkippedKey, SkippedKeys};
use crate::version::{E2eVersion, PqSupport};

const FORMAT: u8 = 1;

/// More than everything but the KEM and the skipped keys takes, in bytes.
const FIXED_SIZE: usize = 1024;

/// What a chain takes beside its keys, and what a key takes, in bytes.
const SKIPPED_CHAIN_SIZE: usize = 43;
const SKIPPED_KEY_SIZE: usize = 52;

impl Ratchet {
    /// The whole ratchet, to be stored where secrets may be. Two ratchets that do the same have the
    /// same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let capacity = FIXED_SIZE
            + KEM_SECRET_KEY_SIZE
            + KEM_CIPHERTEXT_SIZE
            + SKIPPED_CHAIN_SIZE * self.skipped.chains().len()
            + SKIPPED_KEY_SIZE * self.skipped.len();
        // Never grows, so that no copy is left behind.
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        self.put(&mut out);
        debug_assert!(out.len() <= capacity, "the state has grown");
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        put_u16(out, self.versions.current.0);
        put_u16(out, self.versions.max.0);
        out.extend_from_slice(&self.associated_data);
        out.extend_from_slice(self.root_key.as_bytes());
        put_key(out, &self.own_key);
        put_optional(out, self.sending.as_ref(), Sending::put);
        put_optional(out, self.receiving.as_ref(), Receiving::put);
        out.extend_from_slice(self.next_sending_header_key.as_bytes());
        out.extend_from_slice(self.next_receiving_header_key.as_bytes());
        put_u32(out, self.sent);
        put_u32(out, self.previous_count);
        put_u64(out, self.turns);
        self.pq.put(out);
        self.skipped.put(out);
    }

    /// The ratchet that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`StateError::Newer`] if a newer program wrote it, [`StateError::Malformed`] if it is
    /// damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader::new(bytes);
        read_format(&mut reader, FORMAT)?;
        let ratchet = Self::read(&mut reader)?;
        reader.finish("ratchet")?;
        Ok(ratchet)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ratchet = Self {
            versions: Versions::read(reader)?,
            associated_data: *chunk(reader, "first keys")?,
            root_key: RootKey::from_bytes(chunk(reader, "root key")?),
            own_key: read_key(reader)?,
            sending: reader.maybe("sending chain", Sending::read)?,
            receiving: reader.maybe("receiving chain", Receiving::read)?,
            next_sending_header_key: read_header_key(reader)?,
            next_receiving_header_key: read_header_key(reader)?,
            sent: reader.u32("messages sent")?,
            previous_count: reader.u32("messages in the chain before")?,
            turns: read_turn(reader)?,
            pq: Pq::read(reader)?,
            skipped: SkippedKeys::read(reader)?,
        };
        let turn = ratchet.receiving.as_ref().map_or(0, |chain| chain.turn);
        let last = ratchet.skipped.chains().last();
        let consistent = ratchet.turns == turn
            && last.is_none_or(|chain| chain.turn <= turn)
            && (ratchet.pq.own.is_none() || ratchet.pq.support == PqSupport::On);
        if consistent {
            Ok(ratchet)
        } else {
            Err(DecodeError::Value("ratchet"))
        }
    }
}

impl Versions {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let current = E2eVersion(reader.u16("version")?);
        let max = E2eVersion(reader.u16("newest version")?);
        if E2eVersion::OLDEST <= current && current <= max && max <= E2eVersion::CURRENT {
            Ok(Self { current, max })
        } else {
            Err(DecodeError::Limit("version"))
        }
    }
}

impl Sending {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header_key.as_bytes());
        out.extend_from_slice(self.chain_key.as_bytes());
        put_bool(out, self.pq);
        put_u16(out, self.offered.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header_key: read_header_key(reader)?,
            chain_key: ChainKey::from_bytes(chunk(reader, "chain key")?),
            pq: reader.bool("KEM in the sending chain")?,
            offered: E2eVersion(reader.u16("version offered")?),
        })
    }
}

impl Receiving {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header_key.as_bytes());
        out.extend_from_slice(self.chain_key.as_bytes());
        put_u32(out, self.next);
        put_u64(out, self.turn);
        put_bool(out, self.pq);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header_key: read_header_key(reader)?,
            chain_key: ChainKey::from_bytes(chunk(reader, "chain key")?),
            next: reader.u32("next number")?,
            turn: read_turn(reader)?,
            pq: reader.bool("KEM in the receiving chain")?,
        })
    }
}

impl Pq {
    fn put(&self, out: &mut Vec<u8>) {
        put_bool(out, self.support == PqSupport::On);
        put_bool(out, self.enabled);
        put_optional(out, self.own.as_ref(), |own, out| {
            out.extend_from_slice(own.pair.as_bytes());
            put_optional(out, own.accepted.as_ref(), |ciphertext, out| {
                out.extend_from_slice(ciphertext.as_bytes());
            });
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let support = if reader.bool("KEM supported")? {
            PqSupport::On
        } else {
            PqSupport::Off
        };
        Ok(Self {
            support,
            enabled: reader.bool("KEM enabled")?,
            own: reader.maybe("KEM pair", |reader| {
                Ok::<_, DecodeError>(OwnKem {
                    pair: read_pair(reader)?,
                    accepted: reader.maybe("KEM ciphertext", |reader| {
                        chunk(reader, "KEM ciphertext").map(KemCiphertext::from_bytes)
                    })?,
                })
            })?,
        })
    }
}

impl SkippedKeys {
    fn put(&self, out: &mut Vec<u8>) {
        put_u16(out, self.chains().len() as u16);
        for chain in self.chains() {
            out.extend_from_slice(chain.header_key.as_bytes());
            put_u64(out, chain.turn);
            put_bool(out, chain.pq);
            put_u16(out, chain.keys.len() as u16);
            for SkippedKey { number, key } in &chain.keys {
                put_u32(out, *number);
                out.extend_from_slice(key.key.as_bytes());
                out.extend_from_slice(&key.iv);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u16("skipped chains")?;
        let chains: Result<_, _> = (0..count).map(|_| SkippedChain::read(reader)).collect();
        Self::restore(chains?).ok_or(DecodeError::Limit("skipped chains"))
    }
}

impl SkippedChain {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header_key: read_header_key(reader)?,
            turn: read_turn(reader)?,
            pq: reader.bool("KEM in the skipped chain")?,
            keys: {
                let count = reader.u16("skipped keys")?;
                let keys: Result<_, _> = (0..count).map(|_| SkippedKey::read(reader)).collect();
                keys?
            },
        })
    }
}

impl SkippedKey {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            number: reader.u32("number")?,
            key: MessageKey {
                key: Secret::from_bytes(chunk(reader, "message key")?),
                iv: reader.array("message IV")?,
            },
        })
    }
}

fn read_header_key(reader: &mut Reader<'_>) -> Result<HeaderKey, DecodeError> {
    chunk(reader, "header key").map(HeaderKey::from_bytes)
}

fn put_optional<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&T, &mut Vec<u8>)) {
    let Ok(()) = put_maybe(out, value, |out, value| {
        put(value, out);
        Ok::<(), Infallible>(())
    });
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    put_i64(out, number.cast_signed());
}

/// No ratchet turns so often that the number does not fit one with a sign.
fn read_turn(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let turn = reader.i64("turn")?;
    u64::try_from(turn).map_err(|_| DecodeError::Limit("turn"))
}
