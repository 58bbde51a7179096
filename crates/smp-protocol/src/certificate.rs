//! Certificates as bytes: which of a chain is which, fingerprints, and keys signed by a certificate.
//!
//! X.509 itself is not read here; that is the business of whoever speaks TLS.

use std::fmt;
use std::hash::{Hash, Hasher};

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::encoding::{DecodeError, EncodeError, Reader, put_large, put_list, put_short_array};
use crate::key::{AuthPublicKey, DhPublicKey, KEY_SIZE, SPKI_SIZE};

/// Length of a fingerprint in bytes.
pub const FINGERPRINT_SIZE: usize = 32;

/// Most certificates of a chain (document, "Router certificate").
pub const MAX_CERTIFICATES: usize = 4;

/// The SHA-256 of a certificate's DER: a relay's identity, which is in its address, or a service's.
///
/// `Debug` shows no byte of it.
#[derive(Clone, Copy)]
pub struct Fingerprint(pub [u8; FINGERPRINT_SIZE]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; FINGERPRINT_SIZE] {
        &self.0
    }

    /// Reads a short string of 32 bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if it is cut off, [`DecodeError::Limit`] if it is longer or shorter.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.short("fingerprint")?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| DecodeError::Limit("fingerprint"))
    }

    /// Appends a short string of 32 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_short_array(out, &self.0);
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Fingerprint {}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// A chain of certificates in DER, that of the session first.
///
/// A relay has two, three or four; a service may show one that signed itself.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateChain(Vec<Vec<u8>>);

impl CertificateChain {
    /// A chain of these certificates, that of the session first.
    ///
    /// # Errors
    /// [`EncodeError`] if there is none, or more than [`MAX_CERTIFICATES`].
    pub fn new(certificates: Vec<Vec<u8>>) -> Result<Self, EncodeError> {
        if (1..=MAX_CERTIFICATES).contains(&certificates.len()) {
            Ok(Self(certificates))
        } else {
            Err(EncodeError("certificate chain"))
        }
    }

    /// All certificates, that of the session first.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// The certificate whose key is used in TLS and signs the session's key.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        &self.0[0]
    }

    /// The certificate whose fingerprint is the identity: the second, or the only one.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.0[1.min(self.0.len() - 1)]
    }

    /// The certificate that all others must come from: the last.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.0[self.0.len() - 1]
    }

    /// The fingerprint of [`Self::identity`].
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.identity())
    }

    /// Whether a relay may have it: two to four certificates.
    #[must_use]
    pub fn is_for_relay(&self) -> bool {
        self.0.len() >= 2
    }

    /// Reads a list of large strings.
    ///
    /// # Errors
    /// [`DecodeError::Limit`] if there are more than [`MAX_CERTIFICATES`], [`DecodeError::Empty`]
    /// if there is none, [`DecodeError::Short`] if one is cut off.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "certificate chain";
        if reader
            .peek()
            .is_some_and(|count| usize::from(count) > MAX_CERTIFICATES)
        {
            return Err(DecodeError::Limit(WHAT));
        }
        reader
            .list(WHAT, |reader| reader.large(WHAT).map(<[u8]>::to_vec))
            .map(Self)
    }

    /// Appends a list of large strings.
    ///
    /// # Errors
    /// [`EncodeError`] if a certificate is longer than a large string can be.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        const WHAT: &str = "certificate chain";
        put_list(out, &self.0, WHAT, |out, certificate| {
            put_large(out, certificate, WHAT)
        })
    }
}

impl fmt::Debug for CertificateChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateChain")
    }
}

/// A chain with a session's key that its first certificate signed: a relay's in its hello and in
/// `PKEY`, a service's in its hello.
#[derive(Clone, PartialEq, Eq)]
pub struct CertChainAndKey {
    /// The certificates.
    pub chain: CertificateChain,
    /// The DER of a [`SignedKey`], as it was received.
    pub signed_key: Vec<u8>,
}

impl CertChainAndKey {
    /// Reads a chain and a large string.
    ///
    /// # Errors
    /// As [`CertificateChain::decode`], and [`DecodeError::Short`] if the key is cut off.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let chain = CertificateChain::decode(reader)?;
        let signed_key = reader.large("signed key")?.to_vec();
        Ok(Self { chain, signed_key })
    }

    /// Appends a chain and a large string.
    ///
    /// # Errors
    /// [`EncodeError`] if a certificate or the key is longer than a large string can be.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.chain.encode(out)?;
        put_large(out, &self.signed_key, "signed key")
    }

    /// The signed key.
    ///
    /// # Errors
    /// As [`SignedKey::from_der`].
    pub fn key(&self) -> Result<SignedKey, DecodeError> {
        SignedKey::from_der(&self.signed_key)
    }
}

impl fmt::Debug for CertChainAndKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertChainAndKey")
    }
}

/// How a certificate's key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// Ed25519, signatures of 64 bytes.
    Ed25519,
    /// Ed448, signatures of 114 bytes.
    Ed448,
}

/// A public key with a certificate's signature on it, in DER: a sequence of a sequence that holds
/// the key's SubjectPublicKeyInfo, the algorithm and the signature.
///
/// Reading it does not check the signature: see [`Self::verify_ed25519`], or take
/// [`Self::signed_bytes`] and [`Self::signature`] to what can read the certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedKey {
    spki: [u8; SPKI_SIZE],
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
}

/// Length in bytes of what is signed: the key and a header.
pub const SIGNED_KEY_BYTES: usize = SIGNED_HEADER.len() + SPKI_SIZE;

const SIGNED_HEADER: [u8; 2] = [0x30, SPKI_SIZE as u8];

/// The only forms that there are, for both kinds of keys have the same length.
struct Form {
    algorithm: SignatureAlgorithm,
    header: &'static [u8],
    before_signature: &'static [u8],
    signature_size: usize,
}

const FORMS: [Form; 2] = [
    Form {
        algorithm: SignatureAlgorithm::Ed25519,
        header: b"\x30\x78",
        before_signature: b"\x30\x05\x06\x03\x2b\x65\x70\x03\x41\x00",
        signature_size: 64,
    },
    Form {
        algorithm: SignatureAlgorithm::Ed448,
        header: b"\x30\x81\xaa",
        before_signature: b"\x30\x05\x06\x03\x2b\x65\x71\x03\x73\x00",
        signature_size: 114,
    },
];

impl SignedKey {
    /// What a certificate's key has to sign for the key in `spki`.
    #[must_use]
    pub fn to_be_signed(spki: &[u8; SPKI_SIZE]) -> [u8; SIGNED_KEY_BYTES] {
        let mut bytes = [0; SIGNED_KEY_BYTES];
        bytes[..SIGNED_HEADER.len()].copy_from_slice(&SIGNED_HEADER);
        bytes[SIGNED_HEADER.len()..].copy_from_slice(spki);
        bytes
    }

    /// The key in `spki` with the signature of [`Self::to_be_signed`].
    ///
    /// # Errors
    /// [`EncodeError`] if the signature has not the algorithm's length.
    pub fn new(
        spki: &[u8; SPKI_SIZE],
        algorithm: SignatureAlgorithm,
        signature: &[u8],
    ) -> Result<Self, EncodeError> {
        if signature.len() != form(algorithm).signature_size {
            return Err(EncodeError("signature"));
        }
        Ok(Self {
            spki: *spki,
            algorithm,
            signature: signature.to_vec(),
        })
    }

    /// Takes a signed key out of its DER.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is none, or has a signature of another algorithm.
    pub fn from_der(der: &[u8]) -> Result<Self, DecodeError> {
        FORMS
            .iter()
            .find_map(|form| read_form(form, der))
            .ok_or(DecodeError::Value("signed key"))
    }

    /// The DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let form = form(self.algorithm);
        let key = Self::to_be_signed(&self.spki);
        [form.header, &key, form.before_signature, &self.signature].concat()
    }

    /// The key of a relay's session.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not an X25519 key.
    pub fn dh_key(&self) -> Result<DhPublicKey, DecodeError> {
        DhPublicKey::from_spki(&self.spki)
    }

    /// The key of a service's session.
    ///
    /// # Errors
    /// [`DecodeError::Value`] if it is not an Ed25519 key.
    pub fn service_key(&self) -> Result<[u8; KEY_SIZE], DecodeError> {
        match AuthPublicKey::from_spki(&self.spki)? {
            AuthPublicKey::Ed25519(key) => Ok(key),
            AuthPublicKey::X25519(_) => Err(DecodeError::Value("Ed25519 key")),
        }
    }

    /// What the signature is of.
    #[must_use]
    pub fn signed_bytes(&self) -> [u8; SIGNED_KEY_BYTES] {
        Self::to_be_signed(&self.spki)
    }

    /// How the certificate's key signed.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the signature is Ed25519 and made with the private key of `key`, the certificate's.
    #[must_use]
    pub fn verify_ed25519(&self, key: &[u8; KEY_SIZE]) -> bool {
        let (Ok(key), Ok(signature)) = (
            VerifyingKey::from_bytes(key),
            Signature::from_slice(&self.signature),
        ) else {
            return false;
        };
        key.verify_strict(&self.signed_bytes(), &signature).is_ok()
    }
}

impl fmt::Debug for SignedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedKey")
    }
}

fn form(algorithm: SignatureAlgorithm) -> &'static Form {
    match algorithm {
        SignatureAlgorithm::Ed25519 => &FORMS[0],
        SignatureAlgorithm::Ed448 => &FORMS[1],
    }
}

fn read_form(form: &Form, der: &[u8]) -> Option<SignedKey> {
    let rest = der
        .strip_prefix(form.header)?
        .strip_prefix(&SIGNED_HEADER)?;
    let (spki, rest) = rest.split_first_chunk()?;
    let signature = rest.strip_prefix(form.before_signature)?;
    SignedKey::new(spki, form.algorithm, signature).ok()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    fn chain(length: u8) -> CertificateChain {
        CertificateChain::new((0..length).map(|i| vec![i; 3]).collect()).unwrap()
    }

    #[test]
    fn the_identity_is_the_second_certificate_and_the_root_the_last() {
        for (length, identity, root) in [(1, 0, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3)] {
            let chain = chain(length);
            assert_eq!(chain.leaf(), [0; 3]);
            assert_eq!(chain.identity(), [identity; 3], "{length}");
            assert_eq!(chain.root(), [root; 3], "{length}");
            assert_eq!(chain.is_for_relay(), length > 1);
        }
    }

    #[test]
    fn a_chain_has_one_to_four_certificates() {
        assert!(CertificateChain::new(Vec::new()).is_err());
        assert!(CertificateChain::new(vec![vec![]; 5]).is_err());
        assert!(CertificateChain::decode(&mut Reader::new(&[0])).is_err());
        let five = [&[5][..], &[0; 10]].concat();
        let decoded = CertificateChain::decode(&mut Reader::new(&five));
        assert_eq!(decoded, Err(DecodeError::Limit("certificate chain")));
    }

    #[test]
    fn a_signed_key_is_verified_with_the_right_key_alone() {
        let (signer, other) = (
            SigningKey::from_bytes(&[1; 32]),
            SigningKey::from_bytes(&[2; 32]),
        );
        let spki = DhPublicKey([3; 32]).to_spki();
        let signature = signer.sign(&SignedKey::to_be_signed(&spki)).to_bytes();
        let key = SignedKey::new(&spki, SignatureAlgorithm::Ed25519, &signature).unwrap();
        assert!(key.verify_ed25519(signer.verifying_key().as_bytes()));
        assert!(!key.verify_ed25519(other.verifying_key().as_bytes()));
        assert_eq!(key.dh_key(), Ok(DhPublicKey([3; 32])));
        assert!(key.service_key().is_err());
    }

    proptest! {
        #[test]
        fn a_signed_key_comes_back_from_its_der(key: [u8; 32], ed448: bool, byte: u8) {
            let algorithm =
                if ed448 { SignatureAlgorithm::Ed448 } else { SignatureAlgorithm::Ed25519 };
            let signature = vec![byte; form(algorithm).signature_size];
            let spki = AuthPublicKey::Ed25519(key).to_spki();
            let signed = SignedKey::new(&spki, algorithm, &signature).unwrap();
            let der = signed.to_der();
            // The outer length is right: short form for Ed25519, one more byte for Ed448.
            let header = if ed448 { 3 } else { 2 };
            prop_assert_eq!(usize::from(der[header - 1]), der.len() - header);
            let decoded = SignedKey::from_der(&der);
            prop_assert_eq!(decoded.as_ref(), Ok(&signed));
            prop_assert_eq!(signed.service_key(), Ok(key));
            prop_assert!(SignedKey::from_der(&der[..der.len() - 1]).is_err());
        }

        #[test]
        fn no_bytes_make_a_chain_panic(bytes: Vec<u8>) {
            let _ = CertChainAndKey::decode(&mut Reader::new(&bytes));
            let _ = SignedKey::from_der(&bytes);
        }

        #[test]
        fn a_chain_comes_back_from_its_bytes(
            certificates in prop::collection::vec(any::<Vec<u8>>(), 1..=4),
            signed_key: Vec<u8>,
        ) {
            let chain = CertificateChain::new(certificates).unwrap();
            let both = CertChainAndKey { chain, signed_key };
            let mut bytes = Vec::new();
            both.encode(&mut bytes).unwrap();
            let mut reader = Reader::new(&bytes);
            let decoded = CertChainAndKey::decode(&mut reader);
            prop_assert_eq!(decoded, Ok(both));
            prop_assert!(reader.is_empty());
        }
    }
}
