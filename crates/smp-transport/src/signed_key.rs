//! Session keys signed with the key of a certificate (document, "Transport handshake").

use std::time::SystemTime;

use openssl::sign::Verifier;
use smp_protocol::{CertChainAndKey, DhPublicKey, Fingerprint, KEY_SIZE, SPKI_SIZE, SignedKey};
use thiserror::Error;

use crate::certificate::{
    Certificate, ChainError, TlsCredentials, algorithm, verify_chain, verify_service_chain,
};
use crate::error::OpenSslError;

/// Why a signed session key, or the chain that it comes with, is refused.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SignedKeyError {
    /// The certificates.
    #[error("the certificates are refused: {0}")]
    Chain(#[from] ChainError),
    /// The structure is not that of a signed key, or the key is of the wrong kind.
    #[error("the signed session key cannot be read")]
    Malformed,
    /// The signature is not of the kind of the certificate's key.
    #[error("the session key is signed with another algorithm than the certificate's")]
    OtherAlgorithm,
    /// The signature is wrong.
    #[error("the signature on the session key is wrong")]
    BadSignature,
}

/// The session key of the relay with this identity, which its hello or the answer `PKEY` of a
/// proxy carries.
///
/// # Errors
/// See [`SignedKeyError`].
pub fn verify_relay_key(
    key: &CertChainAndKey,
    identity: &Fingerprint,
    now: SystemTime,
) -> Result<DhPublicKey, SignedKeyError> {
    let chain = parse_chain(key)?;
    verify_chain(&chain, identity, now)?;
    let key = verify_signature(key, &chain)?;
    key.dh_key().map_err(|_| SignedKeyError::Malformed)
}

/// The Ed25519 session key of a service, and the fingerprint by which relays know the service.
///
/// # Errors
/// See [`SignedKeyError`].
pub fn verify_service_key(
    key: &CertChainAndKey,
    now: SystemTime,
) -> Result<(Fingerprint, [u8; KEY_SIZE]), SignedKeyError> {
    let chain = parse_chain(key)?;
    let fingerprint = verify_service_chain(&chain, now)?;
    let key = verify_signature(key, &chain)?;
    let key = key.service_key().map_err(|_| SignedKeyError::Malformed)?;
    Ok((fingerprint, key))
}

/// The chain of these credentials, and a session's public key signed by them.
///
/// # Errors
/// If OpenSSL has no memory.
pub fn sign_key(
    credentials: &TlsCredentials,
    spki: &[u8; SPKI_SIZE],
) -> Result<CertChainAndKey, OpenSslError> {
    let signer = credentials.key();
    let signature = signer.sign(&SignedKey::to_be_signed(spki))?;
    let signed_key = SignedKey::new(spki, signer.algorithm(), &signature)
        .map_err(|_| OpenSslError::unknown())?;
    Ok(CertChainAndKey {
        chain: credentials.der().clone(),
        signed_key: signed_key.to_der(),
    })
}

fn parse_chain(key: &CertChainAndKey) -> Result<Vec<Certificate>, ChainError> {
    let chain = key.chain.certificates().iter();
    let certificate = |der: &Vec<u8>| Certificate::from_der(der).map_err(ChainError::from);
    chain.map(certificate).collect()
}

fn verify_signature(
    key: &CertChainAndKey,
    chain: &[Certificate],
) -> Result<SignedKey, SignedKeyError> {
    let key = key.key().map_err(|_| SignedKeyError::Malformed)?;
    let leaf = chain.first().ok_or(ChainError::Count { count: 0 })?;
    let public = leaf
        .0
        .public_key()
        .map_err(OpenSslError)
        .map_err(ChainError::from)?;
    if algorithm(public.id()) != Some(key.algorithm()) {
        return Err(SignedKeyError::OtherAlgorithm);
    }
    let verified = Verifier::new_without_digest(&public)
        .and_then(|mut verifier| verifier.verify_oneshot(key.signature(), &key.signed_bytes()));
    match verified {
        Ok(true) => Ok(key),
        _ => Err(SignedKeyError::BadSignature),
    }
}
