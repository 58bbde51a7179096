//! The layers of a message (document, "Ratchet message wire format").

use smp_protocol::encoding::{DecodeError, Reader, put_u16, put_u32};
use zeroize::Zeroizing;

use crate::aead::{self, Forged, IV_SIZE, Iv, TAG_SIZE};
use crate::kdf::MessageKey;
use crate::params::KemParams;
use crate::secret::HeaderKey;
use crate::version::{E2eVersion, PqSupport};
use crate::x448::X448PublicKey;

/// Length of the two peers' keys that every message is bound to, in bytes.
pub(crate) const ASSOCIATED_DATA_SIZE: usize = 112;

/// Padded length of a header without room for a KEM, in bytes.
const SMALL_HEADER: usize = 88;

/// Padded length of a header with room for a KEM, in bytes.
const LARGE_HEADER: usize = 2310;

const PAD: u8 = b'#';
const PAD_LENGTH_SIZE: usize = 2;

/// What is in an encrypted header (document, "Plaintext message header").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// The newest version that the sender speaks.
    pub max_version: E2eVersion,
    /// The sender's current key.
    pub key: X448PublicKey,
    /// The KEM, from [`E2eVersion::V3`] on.
    pub kem: Option<KemParams>,
    /// How many messages the sender's previous chain had.
    pub previous_count: u32,
    /// The message's number in its chain, from 0.
    pub number: u32,
}

impl MessageHeader {
    /// Reads a header without its padding.
    ///
    /// The version that it was written in is not authenticated with it. The header's exact length
    /// is: a header that is taken for one of another version does not end where it should, so that
    /// nothing of it is believed.
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or too long, or something in it is no such value.
    pub fn decode(version: E2eVersion, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Self {
            max_version: E2eVersion(reader.u16("maximum version")?),
            key: X448PublicKey::decode(&mut reader)?,
            kem: if version.has_kem() {
                KemParams::decode(&mut reader)?
            } else {
                None
            },
            previous_count: reader.u32("count of the previous chain")?,
            number: reader.u32("message number")?,
        };
        reader.finish("header")?;
        Ok(header)
    }

    /// Appends the header without padding. A KEM in a version that has none is left out.
    pub fn encode(&self, version: E2eVersion, out: &mut Vec<u8>) {
        put_u16(out, self.max_version.0);
        self.key.encode(out);
        if version.has_kem() {
            KemParams::encode(self.kem.as_ref(), out);
        }
        put_u32(out, self.previous_count);
        put_u32(out, self.number);
    }
}

/// How long a header is when padded.
pub(crate) fn padded_header(version: E2eVersion, support: PqSupport) -> usize {
    if version.has_kem() && support == PqSupport::On {
        LARGE_HEADER
    } else {
        SMALL_HEADER
    }
}

/// Encrypts a message. The text must fit its padding.
pub(crate) fn seal(
    associated: &[u8; ASSOCIATED_DATA_SIZE],
    header: &SealedHeader,
    key: &MessageKey,
    plain: &[u8],
    padded: usize,
) -> Vec<u8> {
    let associated = [&associated[..], &header.bytes].concat();
    let header = &associated[ASSOCIATED_DATA_SIZE..];
    // Never grows: what is written before it is encrypted leaves no copy.
    let mut out = Vec::with_capacity(2 + header.len() + TAG_SIZE + padded);
    let version = E2eVersion(u16::from_be_bytes([header[0], header[1]]));
    put_length(&mut out, version, header.len());
    out.extend_from_slice(header);
    let tag_at = out.len();
    out.extend_from_slice(&[0; TAG_SIZE]);
    let body_at = out.len();
    put_padded(&mut out, plain, padded);
    let tag = aead::seal(
        key.key.as_bytes(),
        &key.iv,
        &associated,
        &mut out[body_at..],
    );
    out[tag_at..body_at].copy_from_slice(&tag);
    out
}

/// An encrypted header with what goes with it, but for its length.
pub(crate) struct SealedHeader {
    bytes: Vec<u8>,
}

impl SealedHeader {
    pub(crate) fn seal(
        header: &MessageHeader,
        version: E2eVersion,
        padded: usize,
        key: &HeaderKey,
        iv: &Iv,
        associated: &[u8; ASSOCIATED_DATA_SIZE],
    ) -> Self {
        let mut plain = Vec::with_capacity(padded);
        header.encode(version, &mut plain);
        let mut sealed = Vec::with_capacity(padded);
        put_padded(&mut sealed, &plain, padded);
        let tag = aead::seal(key.as_bytes(), iv, associated, &mut sealed);

        let mut bytes = Vec::with_capacity(4 + IV_SIZE + TAG_SIZE + padded);
        put_u16(&mut bytes, version.0);
        bytes.extend_from_slice(iv);
        bytes.extend_from_slice(&tag);
        put_length(&mut bytes, version, sealed.len());
        bytes.extend_from_slice(&sealed);
        Self { bytes }
    }
}

/// A message taken apart, nothing of it decrypted.
pub(crate) struct SealedMessage<'a> {
    /// The version that the sender wrote it in. Authenticated with the body, not with the header.
    pub(crate) version: E2eVersion,
    header: &'a [u8],
    header_iv: Iv,
    header_tag: [u8; TAG_SIZE],
    header_body: &'a [u8],
    tag: [u8; TAG_SIZE],
    body: &'a [u8],
}

impl<'a> SealedMessage<'a> {
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        let header = read_sized(&mut reader, "encrypted header")?;
        let tag = reader.array("body tag")?;
        let body = reader.take_rest();

        let mut reader = Reader::new(header);
        let version = E2eVersion(reader.u16("version")?);
        let header_iv = reader.array("header IV")?;
        let header_tag = reader.array("header tag")?;
        let header_body = read_sized(&mut reader, "header")?;
        reader.finish("encrypted header")?;
        Ok(Self {
            version,
            header,
            header_iv,
            header_tag,
            header_body,
            tag,
            body,
        })
    }

    /// The padded header, if it was encrypted with this key.
    pub(crate) fn open_header(
        &self,
        key: &HeaderKey,
        associated: &[u8; ASSOCIATED_DATA_SIZE],
    ) -> Result<Vec<u8>, Forged> {
        let mut plain = self.header_body.to_vec();
        let (iv, tag) = (&self.header_iv, &self.header_tag);
        aead::open(key.as_bytes(), iv, associated, &mut plain, tag)?;
        Ok(plain)
    }

    /// What is in a padded header.
    pub(crate) fn read_header(&self, padded: &[u8]) -> Result<MessageHeader, DecodeError> {
        let header = Reader::new(padded).large("header")?;
        MessageHeader::decode(self.version, header)
    }

    /// The padded body, if it was encrypted with this key and this header.
    pub(crate) fn open_body(
        &self,
        key: &MessageKey,
        associated: &[u8; ASSOCIATED_DATA_SIZE],
    ) -> Result<Zeroizing<Vec<u8>>, Forged> {
        let associated = [&associated[..], self.header].concat();
        let mut plain = Zeroizing::new(self.body.to_vec());
        aead::open(
            key.key.as_bytes(),
            &key.iv,
            &associated,
            &mut plain,
            &self.tag,
        )?;
        Ok(plain)
    }
}

/// Takes the padding off where the bytes are.
pub(crate) fn unpad(plain: &mut Zeroizing<Vec<u8>>) -> Result<(), DecodeError> {
    let length = Reader::new(plain).large("padded body")?.len();
    plain.drain(..PAD_LENGTH_SIZE);
    plain.truncate(length);
    Ok(())
}

/// Whether a text fits a padded length.
pub(crate) fn fits(length: usize, padded: usize) -> bool {
    length <= usize::from(u16::MAX)
        && length
            .checked_add(PAD_LENGTH_SIZE)
            .is_some_and(|length| length <= padded)
}

fn put_padded(out: &mut Vec<u8>, plain: &[u8], padded: usize) {
    let end = out.len() + padded;
    debug_assert!(fits(plain.len(), padded), "the text fits");
    put_u16(out, plain.len() as u16);
    out.extend_from_slice(plain);
    out.resize(end, PAD);
}

/// A length in front of a header: two bytes in versions with a KEM, one byte in older ones.
fn put_length(out: &mut Vec<u8>, version: E2eVersion, length: usize) {
    if version.has_kem() {
        put_u16(out, length as u16);
    } else {
        out.push(length as u8);
    }
}

/// The two kinds of length are told apart by the first byte: no header is shorter than 69 bytes,
/// and none as long as 8192 (document, "Encrypted message header").
fn read_sized<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    match reader.peek() {
        Some(0..32) => reader.large(what),
        _ => reader.short(what),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kem::{KEM_CIPHERTEXT_SIZE, KEM_PUBLIC_KEY_SIZE, KemCiphertext, KemPublicKey};
    use crate::secret::Secret;
    use crate::x448::X448_KEY_SIZE;

    fn header(numbers: (u16, u32, u32), kem: bool) -> MessageHeader {
        MessageHeader {
            max_version: E2eVersion(numbers.0),
            key: X448PublicKey([7; X448_KEY_SIZE]),
            kem: kem.then(|| KemParams::Accepted {
                ciphertext: KemCiphertext::from_bytes(&[8; KEM_CIPHERTEXT_SIZE]),
                key: KemPublicKey::from_bytes(&[9; KEM_PUBLIC_KEY_SIZE]),
            }),
            previous_count: numbers.1,
            number: numbers.2,
        }
    }

    proptest! {
        #[test]
        fn a_header_comes_back_from_its_bytes(numbers: (u16, u32, u32), kem: bool) {
            for version in [E2eVersion::V2, E2eVersion::V3] {
                let header = header(numbers, kem && version.has_kem());
                let mut bytes = Vec::new();
                header.encode(version, &mut bytes);
                prop_assert_eq!(MessageHeader::decode(version, &bytes), Ok(header));
            }
        }

        #[test]
        fn a_header_is_not_taken_for_one_of_another_version(
            numbers: (u16, u32, u32),
            kem: bool,
        ) {
            for version in [E2eVersion::V2, E2eVersion::V3] {
                let mut bytes = Vec::new();
                header(numbers, kem).encode(version, &mut bytes);
                let other = E2eVersion(5 - version.0);
                prop_assert!(MessageHeader::decode(other, &bytes).is_err());
            }
        }

        #[test]
        fn a_message_comes_back_from_its_bytes(
            plain in prop::collection::vec(any::<u8>(), 0..200),
            more in 0_usize..100,
            kem: bool,
        ) {
            for version in [E2eVersion::V2, E2eVersion::V3] {
                let associated = [1; ASSOCIATED_DATA_SIZE];
                let header_key = HeaderKey::from_bytes(&[2; 32]);
                let key = MessageKey { key: Secret::from_bytes(&[3; 32]), iv: [4; 16] };
                let kem = kem && version.has_kem();
                let support = if kem { PqSupport::On } else { PqSupport::Off };
                let header = header((3, 5, 6), kem);
                let padded = padded_header(version, support);
                let sealed =
                    SealedHeader::seal(&header, version, padded, &header_key, &[5; 16], &associated);
                let padded = plain.len() + 2 + more;
                let message = seal(&associated, &sealed, &key, &plain, padded);

                let opened = SealedMessage::decode(&message).unwrap();
                prop_assert_eq!(opened.version, version);
                let padded = opened.open_header(&header_key, &associated).unwrap();
                prop_assert_eq!(opened.read_header(&padded), Ok(header));
                let mut body = opened.open_body(&key, &associated).unwrap();
                unpad(&mut body).unwrap();
                prop_assert_eq!(&*body, &plain);
            }
        }

        #[test]
        fn no_bytes_make_a_message_panic(bytes: Vec<u8>, version: u16) {
            let _ = SealedMessage::decode(&bytes);
            let _ = MessageHeader::decode(E2eVersion(version), &bytes);
            let _ = unpad(&mut Zeroizing::new(bytes));
        }
    }

    #[test]
    fn the_largest_header_fits_its_padding() {
        let mut bytes = Vec::new();
        let largest = header((u16::MAX, u32::MAX, u32::MAX), true);
        largest.encode(E2eVersion::V3, &mut bytes);
        assert!(fits(bytes.len(), LARGE_HEADER));
        for version in [E2eVersion::V2, E2eVersion::V3] {
            bytes.clear();
            header((u16::MAX, u32::MAX, u32::MAX), false).encode(version, &mut bytes);
            assert!(fits(bytes.len(), SMALL_HEADER));
        }
    }

    #[test]
    fn a_text_fits_if_there_is_room_for_its_length() {
        assert!(fits(0, 2) && fits(14, 16) && fits(65_535, 65_537));
        assert!(!fits(0, 1) && !fits(15, 16) && !fits(65_536, 70_000) && !fits(usize::MAX, 5));
    }
}
