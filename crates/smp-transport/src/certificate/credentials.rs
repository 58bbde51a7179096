//! Chains with the key of their first certificate, and how they grow.

use std::cmp::Ordering;
use std::fmt;
use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509KeyUsage, X509Name, X509Ref};
use rand::CryptoRng;
use smp_protocol::{CertificateChain, Fingerprint, SignatureAlgorithm};
use thiserror::Error;

use super::key::{SigningKey, private_key_from_pem};
use super::{Certificate, to_unix};
use crate::error::OpenSslError;

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It signs other certificates: an operator's, the offline one of a relay, or an online one
    /// below which session certificates are made.
    Authority,
    /// A relay shows it first: the online certificate, or a session certificate.
    Relay,
    /// A service shows it to relays.
    Service,
}

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second in which it holds.
    pub not_before: SystemTime,
    /// The first second in which it no longer does, as OpenSSL sees it.
    pub not_after: SystemTime,
}

impl Validity {
    /// `days` days, of which an hour is already over: clocks differ.
    #[must_use]
    pub fn from_now(now: SystemTime, days: u32) -> Self {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let not_before = now - HOUR;
        Self {
            not_before,
            not_after: not_before + 24 * HOUR * days,
        }
    }
}

/// Why there are no credentials.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The issuer's own certificate is not one that may sign others.
    #[error("this certificate may not sign others")]
    NotAnAuthority,
    /// The name is one that the chain already has, which would make the chain ambiguous.
    #[error("the new certificate needs a name of its own")]
    SameName,
    /// There is no certificate, or there would be more than four.
    #[error("a chain has one to four certificates")]
    TooLong,
    /// The key is another certificate's.
    #[error("the key does not belong to the first certificate")]
    WrongKey,
    /// OpenSSL failed, say because the name is longer than 64 bytes.
    #[error(transparent)]
    OpenSsl(#[from] OpenSslError),
}

/// A chain of certificates and the private key of its first one.
#[derive(Clone)]
pub struct TlsCredentials {
    chain: Vec<Certificate>,
    der: CertificateChain,
    key: SigningKey,
}

impl TlsCredentials {
    /// A chain of one new certificate, signed by its own key.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn self_signed(
        purpose: Purpose,
        common_name: &str,
        validity: Validity,
        algorithm: SignatureAlgorithm,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, CredentialsError> {
        let key = SigningKey::generate(algorithm, rng)?;
        let certificate = build(purpose, common_name, validity, &key, None, rng)?;
        Self::of(vec![certificate], key)
    }

    /// A new certificate signed by this chain's first, and put in front of the chain.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn issue(
        &self,
        purpose: Purpose,
        common_name: &str,
        validity: Validity,
        algorithm: SignatureAlgorithm,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, CredentialsError> {
        if !may_sign_others(&self.leaf().0) {
            return Err(CredentialsError::NotAnAuthority);
        }
        let key = SigningKey::generate(algorithm, rng)?;
        let certificate = build(purpose, common_name, validity, &key, Some(self), rng)?;
        let taken = |old: &Certificate| same_name(&old.0, &certificate.0);
        if self.chain.iter().any(taken) {
            return Err(CredentialsError::SameName);
        }
        let mut chain = self.chain.clone();
        chain.insert(0, certificate);
        Self::of(chain, key)
    }

    /// A chain and the key of its first certificate.
    ///
    /// # Errors
    /// [`CredentialsError::TooLong`] if it is longer than chains may be or empty,
    /// [`CredentialsError::WrongKey`] if the two do not belong together.
    pub fn new(chain: Vec<Certificate>, key: SigningKey) -> Result<Self, CredentialsError> {
        let leaf = chain.first().ok_or(CredentialsError::TooLong)?;
        let public = leaf.0.public_key().map_err(OpenSslError)?;
        if !key.as_openssl().public_eq(&public) {
            return Err(CredentialsError::WrongKey);
        }
        Self::of(chain, key)
    }

    fn of(chain: Vec<Certificate>, key: SigningKey) -> Result<Self, CredentialsError> {
        let der = chain.iter().map(Certificate::to_der);
        let der = der.collect::<Result<_, _>>()?;
        let der = CertificateChain::new(der).map_err(|_| CredentialsError::TooLong)?;
        Ok(Self { chain, der, key })
    }

    /// The certificates, the first being the one whose key is here.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The same certificates as handshakes carry them.
    #[must_use]
    pub fn der(&self) -> &CertificateChain {
        &self.der
    }

    /// The first certificate.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// The key of the first certificate.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The fingerprint of the second certificate, or of the only one: clients know a relay by it,
    /// and relays a service.
    #[must_use]
    pub fn identity(&self) -> Fingerprint {
        self.der.fingerprint()
    }
}

impl fmt::Debug for TlsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsCredentials")
    }
}

/// A chain of a public authority and its key, of any type, for browsers that come to a relay.
#[derive(Clone)]
pub struct WebCredentials {
    pub(crate) chain: Vec<Certificate>,
    pub(crate) key: PKey<Private>,
}

impl WebCredentials {
    /// Reads both from PEM.
    ///
    /// # Errors
    /// See [`CredentialsError`]; OpenSSL's if either cannot be read, or the key is encrypted.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        let chain = X509::stack_from_pem(chain).map_err(OpenSslError)?;
        let chain: Vec<_> = chain.into_iter().map(Certificate).collect();
        let key = private_key_from_pem(key)?;
        let leaf = chain.first().ok_or(CredentialsError::TooLong)?;
        let public = leaf.0.public_key().map_err(OpenSslError)?;
        if key.public_eq(&public) {
            Ok(Self { chain, key })
        } else {
            Err(CredentialsError::WrongKey)
        }
    }

    /// The certificates, the one of the key first.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }
}

impl fmt::Debug for WebCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebCredentials")
    }
}

/// Makes one certificate; without an issuer it signs itself.
fn build(
    purpose: Purpose,
    common_name: &str,
    validity: Validity,
    key: &SigningKey,
    issuer: Option<&TlsCredentials>,
    rng: &mut impl CryptoRng,
) -> Result<Certificate, OpenSslError> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_text("CN", common_name)?;
    let name = name.build();
    let issuer_name = issuer.map(|issuer| issuer.leaf().0.subject_name());

    let mut builder = X509::builder()?;
    builder.set_version(X509_V3)?;
    builder.set_serial_number(&*serial_number(rng)?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(issuer_name.unwrap_or(&name))?;
    builder.set_not_before(&*Asn1Time::from_unix(to_unix(validity.not_before))?)?;
    builder.set_not_after(&*Asn1Time::from_unix(to_unix(validity.not_after))?)?;
    builder.set_pubkey(key.as_openssl())?;
    for extension in extensions(purpose)? {
        builder.append_extension(extension)?;
    }
    append_key_ids(&mut builder, issuer)?;
    let signer = issuer.map_or(key, |issuer| &issuer.key);
    builder.sign(signer.as_openssl(), MessageDigest::null())?;
    Ok(Certificate(builder.build()))
}

/// The number that stands for version 3 in X.509.
const X509_V3: i32 = 2;

fn serial_number(rng: &mut impl CryptoRng) -> Result<Asn1Integer, OpenSslError> {
    let mut serial = [0; 16];
    rng.fill_bytes(&mut serial);
    // Positive, and never shorter.
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(BigNum::from_slice(&serial)?.to_asn1_integer()?)
}

fn extensions(purpose: Purpose) -> Result<Vec<X509Extension>, OpenSslError> {
    let (mut constraints, mut usage) = (BasicConstraints::new(), KeyUsage::new());
    constraints.critical();
    usage.critical();
    let mut extended = ExtendedKeyUsage::new();
    match purpose {
        Purpose::Authority => {
            constraints.ca();
            usage.key_cert_sign().crl_sign();
        }
        Purpose::Relay => {
            usage.digital_signature();
            extended.server_auth();
        }
        Purpose::Service => {
            usage.digital_signature();
            extended.client_auth();
        }
    }
    let mut extensions = vec![constraints.build()?, usage.build()?];
    if purpose != Purpose::Authority {
        extensions.push(extended.build()?);
    }
    Ok(extensions)
}

fn append_key_ids(
    builder: &mut X509Builder,
    issuer: Option<&TlsCredentials>,
) -> Result<(), OpenSslError> {
    let issuer: Option<&X509Ref> = issuer.map(|issuer| &*issuer.leaf().0);
    let subject_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(issuer, None))?;
    builder.append_extension(subject_id)?;
    // Without an issuer it is the id that was just appended.
    let mut authority_id = AuthorityKeyIdentifier::new();
    authority_id.keyid(true);
    let authority_id = authority_id.build(&builder.x509v3_context(issuer, None))?;
    builder.append_extension(authority_id)?;
    Ok(())
}

/// Whether its key usage lets it sign certificates. Without one it is for everything.
fn may_sign_others(certificate: &X509Ref) -> bool {
    let usage = certificate.key_usage();
    usage.is_none_or(|usage| usage.contains(X509KeyUsage::KEY_CERT_SIGN))
}

fn same_name(a: &X509Ref, b: &X509Ref) -> bool {
    let order = a.subject_name().try_cmp(b.subject_name());
    order.is_ok_and(Ordering::is_eq)
}
