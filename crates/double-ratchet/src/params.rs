//! What two peers send each other before they have a ratchet, and the KEM's part of it, which
//! headers carry too.

use smp_protocol::encoding::{DecodeError, Reader, put_u16};

use crate::kem::{KemCiphertext, KemPublicKey};
use crate::version::E2eVersion;
use crate::x448::X448PublicKey;

/// Where the KEM stands (document, "KEM state machine"). Without it there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KemParams {
    /// A key for the other side to encapsulate to.
    Proposed(KemPublicKey),
    /// An answer to a proposal, and a key for the answer to that.
    Accepted {
        /// The secret for the other side.
        ciphertext: KemCiphertext,
        /// The key that the other side encapsulates to.
        key: KemPublicKey,
    },
}

impl KemParams {
    const WHAT: &'static str = "KEM parameters";

    /// The key to encapsulate to.
    #[must_use]
    pub fn key(&self) -> &KemPublicKey {
        match self {
            Self::Proposed(key) | Self::Accepted { key, .. } => key,
        }
    }

    /// The secret that came with it.
    #[must_use]
    pub fn ciphertext(&self) -> Option<&KemCiphertext> {
        match self {
            Self::Proposed(_) => None,
            Self::Accepted { ciphertext, .. } => Some(ciphertext),
        }
    }

    /// Reads an optional field (document, `kemParams`).
    ///
    /// # Errors
    /// [`DecodeError`] if it is cut off or has another letter or length.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        reader.maybe(Self::WHAT, |reader| match reader.u8(Self::WHAT)? {
            b'P' => KemPublicKey::decode(reader).map(Self::Proposed),
            b'A' => Ok(Self::Accepted {
                ciphertext: KemCiphertext::decode(reader)?,
                key: KemPublicKey::decode(reader)?,
            }),
            _ => Err(DecodeError::Value(Self::WHAT)),
        })
    }

    /// Appends an optional field.
    pub fn encode(params: Option<&Self>, out: &mut Vec<u8>) {
        match params {
            None => out.push(b'0'),
            Some(Self::Proposed(key)) => {
                out.extend_from_slice(b"1P");
                key.encode(out);
            }
            Some(Self::Accepted { ciphertext, key }) => {
                out.extend_from_slice(b"1A");
                ciphertext.encode(out);
                key.encode(out);
            }
        }
    }
}

/// A peer's public keys in one version: what a joiner answers with, and what both sides send to
/// make a new ratchet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct E2eParams {
    /// The version that the ratchet begins with.
    pub version: E2eVersion,
    /// The first public key.
    pub key_1: X448PublicKey,
    /// The second one.
    pub key_2: X448PublicKey,
    /// The KEM, from [`E2eVersion::V3`] on.
    pub kem: Option<KemParams>,
}

impl E2eParams {
    /// Reads the parameters.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] if the version is older than any that is known, or another
    /// [`DecodeError`] if the bytes are cut off or no such keys.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = E2eVersion(reader.u16("e2e version")?);
        if version < E2eVersion::OLDEST {
            return Err(DecodeError::Limit("e2e version"));
        }
        Ok(Self {
            version,
            key_1: X448PublicKey::decode(reader)?,
            key_2: X448PublicKey::decode(reader)?,
            kem: if version.has_kem() {
                KemParams::decode(reader)?
            } else {
                None
            },
        })
    }

    /// Appends the parameters. A KEM in a version that has none is left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u16(out, self.version.0);
        self.key_1.encode(out);
        self.key_2.encode(out);
        if self.version.has_kem() {
            KemParams::encode(self.kem.as_ref(), out);
        }
    }
}

/// An initiator's public keys for a range of versions: what a link holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct E2eParamsRange {
    /// The oldest version that the initiator speaks.
    pub min: E2eVersion,
    /// The newest one.
    pub max: E2eVersion,
    /// The first public key.
    pub key_1: X448PublicKey,
    /// The second one.
    pub key_2: X448PublicKey,
    /// The KEM, if one is proposed. It holds from [`E2eVersion::V3`] on.
    pub kem: Option<KemParams>,
}

impl E2eParamsRange {
    /// Reads the parameters in binary. The KEM's field is there in every version.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] if the range is turned round, or another [`DecodeError`] if the bytes
    /// are cut off or no such keys.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let min = E2eVersion(reader.u16("e2e version")?);
        let max = E2eVersion(reader.u16("e2e version")?);
        if min > max {
            return Err(DecodeError::Limit("e2e version range"));
        }
        Ok(Self {
            min,
            max,
            key_1: X448PublicKey::decode(reader)?,
            key_2: X448PublicKey::decode(reader)?,
            kem: KemParams::decode(reader)?,
        })
    }

    /// Appends the parameters in binary.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u16(out, self.min.0);
        put_u16(out, self.max.0);
        self.key_1.encode(out);
        self.key_2.encode(out);
        KemParams::encode(self.kem.as_ref(), out);
    }

    /// The newest version that is both in the range and spoken here.
    #[must_use]
    pub fn version(&self) -> Option<E2eVersion> {
        let version = self.max.min(E2eVersion::CURRENT);
        (version >= self.min.max(E2eVersion::OLDEST)).then_some(version)
    }

    /// The parameters in the newest version that is both in the range and spoken here.
    #[must_use]
    pub fn newest(&self) -> Option<E2eParams> {
        self.version().and_then(|version| self.for_version(version))
    }

    /// The parameters in this version, if it is in the range.
    #[must_use]
    pub fn for_version(&self, version: E2eVersion) -> Option<E2eParams> {
        (self.min..=self.max).contains(&version).then(|| E2eParams {
            version,
            key_1: self.key_1,
            key_2: self.key_2,
            kem: self.kem.clone().filter(|_| version.has_kem()),
        })
    }
}

impl From<E2eParams> for E2eParamsRange {
    /// The range of one version.
    fn from(params: E2eParams) -> Self {
        let E2eParams {
            version,
            key_1,
            key_2,
            kem,
        } = params;
        Self {
            min: version,
            max: version,
            key_1,
            key_2,
            kem,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kem::{KEM_CIPHERTEXT_SIZE, KEM_PUBLIC_KEY_SIZE};
    use crate::x448::X448_KEY_SIZE;

    fn ranges() -> impl Strategy<Value = E2eParamsRange> {
        let kem = prop_oneof![
            Just(None),
            any::<u8>().prop_map(|byte| Some(KemParams::Proposed(kem_key(byte)))),
            any::<(u8, u8)>().prop_map(|(ciphertext, key)| Some(KemParams::Accepted {
                ciphertext: KemCiphertext::from_bytes(&[ciphertext; KEM_CIPHERTEXT_SIZE]),
                key: kem_key(key),
            })),
        ];
        (2_u16..6, 0_u16..6, any::<[u8; 2]>(), kem).prop_map(|(min, more, [key_1, key_2], kem)| {
            E2eParamsRange {
                min: E2eVersion(min),
                max: E2eVersion(min + more),
                key_1: X448PublicKey([key_1; X448_KEY_SIZE]),
                key_2: X448PublicKey([key_2; X448_KEY_SIZE]),
                kem,
            }
        })
    }

    fn kem_key(byte: u8) -> KemPublicKey {
        KemPublicKey::from_bytes(&[byte; KEM_PUBLIC_KEY_SIZE])
    }

    proptest! {
        #[test]
        fn parameters_come_back_from_their_bytes(range in ranges()) {
            let mut bytes = Vec::new();
            range.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            let decoded = E2eParamsRange::decode(&mut reader);
            prop_assert_eq!(decoded.as_ref(), Ok(&range));
            prop_assert!(reader.is_empty());

            for version in range.min.0..=range.max.0 {
                let params = range.for_version(E2eVersion(version)).unwrap();
                let mut bytes = Vec::new();
                params.encode(&mut bytes);
                let mut reader = Reader::new(&bytes);
                prop_assert_eq!(E2eParams::decode(&mut reader), Ok(params));
                prop_assert!(reader.is_empty());
            }
        }

        #[test]
        fn the_newest_version_in_common_is_chosen(range in ranges()) {
            let expected = match (range.min.0, range.max.0) {
                (2, 2) => Some(E2eVersion::V2),
                (..=3, 3..) => Some(E2eVersion::V3),
                _ => None,
            };
            prop_assert_eq!(range.version(), expected);
            prop_assert_eq!(range.newest().map(|params| params.version), expected);
        }

        #[test]
        fn no_bytes_make_parameters_panic(bytes: Vec<u8>) {
            let _ = E2eParams::decode(&mut Reader::new(&bytes));
            let _ = E2eParamsRange::decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn a_version_that_never_was_and_a_range_turned_round_are_refused() {
        let read = E2eParams::decode(&mut Reader::new(&[0, 1]));
        assert_eq!(read, Err(DecodeError::Limit("e2e version")));
        let read = E2eParamsRange::decode(&mut Reader::new(&[0, 3, 0, 2]));
        assert_eq!(read, Err(DecodeError::Limit("e2e version range")));
    }

    #[test]
    fn version_2_has_no_room_for_a_kem() {
        let params = E2eParams {
            version: E2eVersion::V2,
            key_1: X448PublicKey([1; X448_KEY_SIZE]),
            key_2: X448PublicKey([2; X448_KEY_SIZE]),
            kem: Some(KemParams::Proposed(kem_key(3))),
        };
        let mut bytes = Vec::new();
        params.encode(&mut bytes);
        assert_eq!(bytes.len(), 2 + 2 * 69);
    }
}
