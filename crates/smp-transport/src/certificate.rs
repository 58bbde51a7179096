//! Certificates of relays and services: made, kept in files, verified.
//!
//! A relay is known by the fingerprint of a certificate whose key stays off the relay (document,
//! "Router certificate"). [`TlsCredentials`] are a chain of certificates with the key of its first
//! one; [`TlsCredentials::issue`] makes the next link:
//!
//! ```
//! # use std::time::SystemTime;
//! use smp_protocol::SignatureAlgorithm::Ed448;
//! use smp_transport::{TlsCredentials, Purpose, Validity};
//!
//! let rng = &mut rand::rng();
//! let now = SystemTime::now();
//! let long = Validity::from_now(now, 365 * 100);
//! let offline = TlsCredentials::self_signed(Purpose::Authority, "SMP CA", long, Ed448, rng)?;
//! let online = offline.issue(Purpose::Relay, "relay.example", long, Ed448, rng)?;
//! assert_eq!(online.chain().len(), 2);
//! let identity = online.identity(); // what stands in the relay's address
//! smp_transport::verify_chain(online.chain(), &identity, now)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod credentials;
mod file;
mod key;

pub use chain::{ChainError, verify_chain, verify_service_chain};
pub use credentials::{CredentialsError, Purpose, TlsCredentials, Validity, WebCredentials};
pub use file::{FileError, IfExists, read_certificates, write_certificates, write_key};
pub use key::SigningKey;
pub(crate) use key::algorithm;

use std::fmt;
use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::X509;
use smp_protocol::Fingerprint;

use crate::error::OpenSslError;

/// An X.509 certificate.
///
/// A clone shares the bytes. `Debug` shows nothing of it, since names and keys tell who it is of.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(pub(crate) X509);

impl Certificate {
    /// Takes a certificate out of its DER.
    ///
    /// # Errors
    /// If it is not a certificate, or something follows it.
    pub fn from_der(der: &[u8]) -> Result<Self, OpenSslError> {
        let certificate = Self(X509::from_der(der)?);
        // OpenSSL ignores what follows, which would be a certificate of two fingerprints.
        if certificate.to_der()? == der {
            Ok(certificate)
        } else {
            Err(OpenSslError::unknown())
        }
    }

    /// The DER.
    ///
    /// # Errors
    /// If OpenSSL has no memory.
    pub fn to_der(&self) -> Result<Vec<u8>, OpenSslError> {
        Ok(self.0.to_der()?)
    }

    /// SHA-256 of the DER.
    ///
    /// # Errors
    /// If OpenSSL has no memory.
    pub fn fingerprint(&self) -> Result<Fingerprint, OpenSslError> {
        Ok(Fingerprint::of(&self.to_der()?))
    }

    /// From when to when it holds.
    ///
    /// # Errors
    /// If a date cannot be represented.
    pub fn validity(&self) -> Result<Validity, OpenSslError> {
        Ok(Validity {
            not_before: to_system_time(self.0.not_before())?,
            not_after: to_system_time(self.0.not_after())?,
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

fn to_system_time(time: &Asn1TimeRef) -> Result<SystemTime, OpenSslError> {
    const DAY: i64 = 24 * 60 * 60;
    let since_epoch = Asn1Time::from_unix(0)?.diff(time)?;
    let seconds = i64::from(since_epoch.days) * DAY + i64::from(since_epoch.secs);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.ok_or_else(OpenSslError::unknown)
}

/// Seconds since 1970, negative before.
fn to_unix(time: SystemTime) -> i64 {
    let seconds = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => seconds(since),
        Err(before) => -seconds(before.duration()),
    }
}
