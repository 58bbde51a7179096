//! Frame encryption of SimpleX calls: each encoded frame before it is cut into RTP packets.
//!
//! On the wire a frame is
//!
//! ```text
//! clear header (n bytes) ‖ AES-256-GCM ciphertext ‖ tag (16) ‖ IV (12)
//! ```
//!
//! with a random IV, no additional data and one [`MediaKey`](crate::MediaKey) for both directions
//! and all media. n depends on the [`FrameKind`]: 10 for a video key frame, 3 for a delta frame,
//! 1 for audio. SRTP protects the packets once more.
//!
//! # What this format does not protect
//!
//! The format is SimpleX's, and these are its properties, not ours to change. Whoever controls
//! the DTLS endpoint below, but lacks the media key, can
//! - change the clear header: it is **not authenticated**;
//! - replay a frame, or send one back to its sender: the key knows no direction and there is no
//!   counter;
//! - make up a frame that is nothing but its clear header (next section).
//!
//! SRTP stops all three for anyone outside of DTLS.
//!
//! # Frames that are not longer than their clear header
//!
//! A frame of exactly n bytes leaves nothing to encrypt, e.g. the one-byte Opus frames of
//! discontinuous transmission. Browsers then write `clear ‖ IV`, native peers the full form with
//! the tag of an empty ciphertext.
//! - **Written** is the full form. Both accept it: a browser decrypts the lone tag to nothing, and
//!   native peers refuse whatever has no room for a tag.
//! - **Taken** are both. `clear ‖ IV` proves nothing; it is counted in
//!   [`DecryptStats::header_only`].
//!
//! A frame of fewer than n bytes can't be recovered from any form: the receiving function of
//! browsers takes bytes of the IV for the rest of the header. No valid Opus or VP8 frame is that
//! short, so it is refused in both directions instead of handing made-up bytes to a decoder.

use std::fmt;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use rand::{CryptoRng, Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::MediaKey;

/// Longest encoded frame that is encrypted or decrypted, in bytes. A key frame of 1080p video at a
/// very high rate stays far below it.
pub const MAX_FRAME_LEN: usize = 1 << 20;

/// Bytes by which encryption makes a frame longer: tag and IV.
pub const FRAME_OVERHEAD: usize = TAG_LEN + IV_LEN;

/// Most frames that one encryptor takes: random 96-bit IVs allow 2^32 frames a key (NIST
/// SP 800-38D §8.3), shared by two directions of four media. At 100 frames/s it lasts 62 days.
pub const MAX_FRAMES_PER_KEY: u64 = 1 << 29;

const TAG_LEN: usize = 16;
const IV_LEN: usize = 12;

/// Encrypts the frames of one sender.
///
/// Several may share a key (one for each medium): each draws its own seed, so that their IVs are
/// independent. The key schedule is wiped on drop.
pub struct FrameEncryptor {
    cipher: Aes256Gcm,
    ivs: ChaCha20Rng,
    stats: EncryptStats,
}

impl FrameEncryptor {
    /// Takes 32 bytes of `rng` as the seed of the IV generator (ChaCha20).
    ///
    /// `rng` must be the operating system's generator or seeded by it: an IV that repeats under
    /// one key gives away both frames and lets frames be forged. Two encryptors of one key must
    /// never be made from generators in the same state.
    pub fn new<R: CryptoRng + ?Sized>(key: &MediaKey, rng: &mut R) -> Self {
        Self {
            cipher: cipher(key),
            ivs: ChaCha20Rng::from_rng(rng),
            stats: EncryptStats::default(),
        }
    }

    /// Encrypts `frame` into a new buffer, [`FRAME_OVERHEAD`] bytes longer.
    ///
    /// # Errors
    ///
    /// See [`FrameEncryptor::encrypt_in_place`].
    pub fn encrypt(&mut self, kind: FrameKind, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
        if frame.len() > MAX_FRAME_LEN {
            self.stats.refused += 1;
            return Err(FrameError::TooLarge(frame.len()));
        }
        let mut sealed = Vec::with_capacity(frame.len() + FRAME_OVERHEAD);
        sealed.extend_from_slice(frame);
        self.encrypt_in_place(kind, &mut sealed)?;
        Ok(sealed)
    }

    /// Encrypts `frame` where it stands and appends tag and IV.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`], [`FrameError::Truncated`] or [`FrameError::KeyExhausted`]; `frame`
    /// is then unchanged and must not be sent.
    pub fn encrypt_in_place(
        &mut self,
        kind: FrameKind,
        frame: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let result = self.seal(kind, frame);
        match result {
            Ok(()) => self.stats.encrypted += 1,
            Err(_) => self.stats.refused += 1,
        }
        result
    }

    fn seal(&mut self, kind: FrameKind, frame: &mut Vec<u8>) -> Result<(), FrameError> {
        let too_large = FrameError::TooLarge(frame.len());
        if frame.len() > MAX_FRAME_LEN {
            return Err(too_large);
        }
        if self.stats.encrypted >= MAX_FRAMES_PER_KEY {
            return Err(FrameError::KeyExhausted);
        }
        let plaintext = frame
            .get_mut(kind.clear_len()..)
            .ok_or(FrameError::Truncated)?;
        let mut iv = [0; IV_LEN];
        self.ivs.fill_bytes(&mut iv);
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(iv), &[], plaintext.into())
            .map_err(|_| too_large)?;
        frame.extend_from_slice(&tag);
        frame.extend_from_slice(&iv);
        Ok(())
    }

    /// What was done so far.
    pub fn stats(&self) -> EncryptStats {
        self.stats
    }
}

impl fmt::Debug for FrameEncryptor {
    /// Prints neither key nor generator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameEncryptor")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Decrypts the frames of one peer. The key schedule is wiped on drop.
pub struct FrameDecryptor {
    cipher: Aes256Gcm,
    stats: DecryptStats,
}

impl FrameDecryptor {
    /// A decryptor for the frames that the peer encrypts under `key`.
    pub fn new(key: &MediaKey) -> Self {
        Self {
            cipher: cipher(key),
            stats: DecryptStats::default(),
        }
    }

    /// Decrypts `frame` into a new buffer.
    ///
    /// `kind` is [`FrameKind::Audio`] on an audio transceiver and [`FrameKind::of_vp8`] of the
    /// frame as received on a video transceiver: the byte that tells is in clear.
    ///
    /// # Errors
    ///
    /// See [`FrameDecryptor::decrypt_in_place`].
    pub fn decrypt(&mut self, kind: FrameKind, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
        let result = self.open(kind, frame);
        self.count(&result);
        result
    }

    /// Decrypts `frame` where it stands and cuts tag and IV off.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`], [`FrameError::Truncated`] or [`FrameError::NotAuthentic`], all the
    /// sender's doing; `frame` is then unchanged. Drop it and go on: a frame that does not decrypt
    /// ends no call.
    pub fn decrypt_in_place(
        &mut self,
        kind: FrameKind,
        frame: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let result = self.open_in_place(kind, frame);
        self.count(&result);
        result
    }

    fn open(&mut self, kind: FrameKind, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
        let Parts { clear, sealed } = Parts::of(kind, frame)?;
        let Some(Sealed {
            ciphertext,
            tag,
            iv,
        }) = sealed
        else {
            self.stats.header_only += 1;
            return Ok(clear.to_vec());
        };
        let mut opened = Vec::with_capacity(clear.len() + ciphertext.len());
        opened.extend_from_slice(clear);
        opened.extend_from_slice(ciphertext);
        self.cipher
            .decrypt_inout_detached(&iv, &[], (&mut opened[kind.clear_len()..]).into(), &tag)
            .map_err(|_| FrameError::NotAuthentic)?;
        Ok(opened)
    }

    fn open_in_place(&mut self, kind: FrameKind, frame: &mut Vec<u8>) -> Result<(), FrameError> {
        let Parts { clear, sealed } = Parts::of(kind, frame)?;
        let clear_len = clear.len();
        let Some(Sealed {
            ciphertext,
            tag,
            iv,
        }) = sealed
        else {
            self.stats.header_only += 1;
            frame.truncate(clear_len);
            return Ok(());
        };
        let end = clear_len + ciphertext.len();
        self.cipher
            .decrypt_inout_detached(&iv, &[], (&mut frame[clear_len..end]).into(), &tag)
            .map_err(|_| FrameError::NotAuthentic)?;
        frame.truncate(end);
        Ok(())
    }

    fn count<T>(&mut self, result: &Result<T, FrameError>) {
        match result {
            Ok(_) => self.stats.decrypted += 1,
            Err(_) => self.stats.refused += 1,
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> DecryptStats {
        self.stats
    }
}

impl fmt::Debug for FrameDecryptor {
    /// Prints no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameDecryptor")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// What a frame is, which decides how many of its bytes stay in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// An Opus frame: its table-of-contents byte stays in clear (RFC 6716 §3.1).
    Audio,
    /// A VP8 key frame: frame tag, start code and dimensions stay in clear (RFC 6386 §9.1).
    VideoKey,
    /// A VP8 frame that needs earlier ones: its frame tag stays in clear.
    VideoDelta,
    /// What browsers call `empty`, with one byte in clear. The name is the sender's secret: no
    /// byte of the frame tells a receiver, and no peer is known to send such frames.
    VideoEmpty,
}

impl FrameKind {
    /// Reads the kind of a VP8 frame off its first byte, whose lowest bit is 0 in key frames
    /// (RFC 6386 §9.1). That byte stays in clear, so it works before and after encryption.
    pub fn of_vp8(frame: &[u8]) -> Self {
        match frame.first() {
            Some(tag) if tag & 1 == 0 => Self::VideoKey,
            _ => Self::VideoDelta,
        }
    }

    /// Bytes at the start of the frame that are sent in clear and not authenticated.
    pub const fn clear_len(self) -> usize {
        match self {
            Self::VideoKey => 10,
            Self::VideoDelta => 3,
            Self::Audio | Self::VideoEmpty => 1,
        }
    }
}

/// Counters of a [`FrameEncryptor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncryptStats {
    /// Frames encrypted.
    pub encrypted: u64,
    /// Frames refused; none of them may be sent.
    pub refused: u64,
}

/// Counters of a [`FrameDecryptor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecryptStats {
    /// Frames returned, those of `header_only` included.
    pub decrypted: u64,
    /// Frames refused.
    pub refused: u64,
    /// Frames returned that were nothing but clear header and IV, and so prove nothing.
    pub header_only: u64,
}

/// A received frame, cut up.
struct Parts<'a> {
    clear: &'a [u8],
    /// `None` for `clear ‖ IV`.
    sealed: Option<Sealed<'a>>,
}

struct Sealed<'a> {
    ciphertext: &'a [u8],
    tag: Tag,
    iv: Nonce<aes_gcm::aead::consts::U12>,
}

impl<'a> Parts<'a> {
    fn of(kind: FrameKind, frame: &'a [u8]) -> Result<Self, FrameError> {
        if frame.len() > MAX_FRAME_LEN + FRAME_OVERHEAD {
            return Err(FrameError::TooLarge(frame.len()));
        }
        let (clear, rest) = frame
            .split_at_checked(kind.clear_len())
            .ok_or(FrameError::Truncated)?;
        if rest.len() == IV_LEN {
            return Ok(Self {
                clear,
                sealed: None,
            });
        }
        let (rest, iv) = rest
            .split_last_chunk::<IV_LEN>()
            .ok_or(FrameError::Truncated)?;
        let (ciphertext, tag) = rest
            .split_last_chunk::<TAG_LEN>()
            .ok_or(FrameError::Truncated)?;
        let sealed = Sealed {
            ciphertext,
            tag: Tag::from(*tag),
            iv: Nonce::from(*iv),
        };
        Ok(Self {
            clear,
            sealed: Some(sealed),
        })
    }
}

fn cipher(key: &MediaKey) -> Aes256Gcm {
    Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key.as_bytes()))
}

/// Why a frame was not encrypted (our encoder's doing) or not decrypted (the peer's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than [`MAX_FRAME_LEN`], encrypted [`FRAME_OVERHEAD`] more; holds the length in bytes.
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// Shorter than its clear header, or encrypted without room for tag and IV.
    #[error("the frame is shorter than its header, tag and IV")]
    Truncated,
    /// The tag is wrong: changed on the way, or encrypted under another key.
    #[error("the frame does not decrypt under this call's key")]
    NotAuthentic,
    /// [`MAX_FRAMES_PER_KEY`] frames went out under this key. End the call and start another.
    #[error("the call's key has encrypted as many frames as it may; start a new call")]
    KeyExhausted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_has_encrypted_enough_frames_encrypts_no_more() {
        let key = MediaKey::from_bytes(&[42; 32]);
        let mut encryptor = FrameEncryptor::new(&key, &mut ChaCha20Rng::seed_from_u64(1));
        encryptor.stats.encrypted = MAX_FRAMES_PER_KEY - 1;
        assert!(encryptor.encrypt(FrameKind::Audio, b"frame").is_ok());
        let refused = encryptor.encrypt(FrameKind::Audio, b"frame");
        assert_eq!(refused, Err(FrameError::KeyExhausted));
    }
}
