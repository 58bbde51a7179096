//! Private keys of certificates.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use rand::CryptoRng;
use smp_protocol::SignatureAlgorithm;
use zeroize::Zeroizing;

use crate::error::OpenSslError;

/// The private key of a certificate. OpenSSL wipes it when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    key: PKey<Private>,
    algorithm: SignatureAlgorithm,
}

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// If OpenSSL has no memory, or was built without this algorithm.
    pub fn generate(
        algorithm: SignatureAlgorithm,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, OpenSslError> {
        let (id, size) = match algorithm {
            SignatureAlgorithm::Ed25519 => (Id::ED25519, 32),
            SignatureAlgorithm::Ed448 => (Id::ED448, 57),
        };
        let mut raw = Zeroizing::new(vec![0; size]);
        rng.fill_bytes(&mut raw);
        let key = PKey::private_key_from_raw_bytes(&raw, id)?;
        Ok(Self { key, algorithm })
    }

    /// Reads an unencrypted PKCS #8 key from its PEM.
    ///
    /// # Errors
    /// If there is none, it is encrypted, or it is neither Ed448 nor Ed25519.
    pub fn from_pem(pem: &[u8]) -> Result<Self, OpenSslError> {
        let key = private_key_from_pem(pem)?;
        let algorithm = algorithm(key.id()).ok_or_else(OpenSslError::unknown)?;
        Ok(Self { key, algorithm })
    }

    /// The key as PEM, to be stored where secrets may be.
    ///
    /// # Errors
    /// If OpenSSL has no memory.
    pub fn to_pem(&self) -> Result<Zeroizing<Vec<u8>>, OpenSslError> {
        Ok(Zeroizing::new(self.key.private_key_to_pem_pkcs8()?))
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, OpenSslError> {
        Ok(Signer::new_without_digest(&self.key)?.sign_oneshot_to_vec(message)?)
    }

    pub(crate) fn as_openssl(&self) -> &PKey<Private> {
        &self.key
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// How a key of OpenSSL signs, if it is one of the two kinds that relays and services have.
pub(crate) fn algorithm(id: Id) -> Option<SignatureAlgorithm> {
    match id {
        Id::ED448 => Some(SignatureAlgorithm::Ed448),
        Id::ED25519 => Some(SignatureAlgorithm::Ed25519),
        _ => None,
    }
}

/// Any private key. Without the callback OpenSSL would ask for a password at the terminal.
pub(super) fn private_key_from_pem(pem: &[u8]) -> Result<PKey<Private>, OpenSslError> {
    let no_password = |_: &mut [u8]| Err(ErrorStack::get());
    Ok(PKey::private_key_from_pem_callback(pem, no_password)?)
}
