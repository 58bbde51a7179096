//! Verification of chains (document, "Router certificate").

use std::time::SystemTime;

use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509StoreContext, X509StoreContextRef};
use smp_protocol::Fingerprint;
use thiserror::Error;

use super::{Certificate, to_unix};
use crate::error::OpenSslError;

/// Why a chain of certificates is refused. `position` counts from 0, the first certificate.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Relays have chains of 2, 3 or 4, services of up to 4 certificates.
    #[error("a chain of {count} certificates is not allowed here")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// The identity is not the one that was asked for.
    #[error("the certificate has another fingerprint than the relay's address")]
    WrongFingerprint,
    /// A certificate is not signed by the one behind it, or the last one not by itself.
    #[error("certificate {position} is not signed by the next one of the chain")]
    BrokenLink {
        /// Which is not signed.
        position: usize,
    },
    /// A certificate may not sign the one before it.
    #[error("certificate {position} is no authority, yet signed another one")]
    NotAnAuthority {
        /// Which signed.
        position: usize,
    },
    /// Too late.
    #[error("certificate {position} has expired")]
    Expired {
        /// Which has expired.
        position: usize,
    },
    /// Too early.
    #[error("certificate {position} is not valid yet")]
    NotYetValid {
        /// Which is not valid yet.
        position: usize,
    },
    /// Refused by OpenSSL for another reason, which its own text tells.
    #[error("certificate {position} is refused: {reason}")]
    Refused {
        /// Which is refused.
        position: usize,
        /// OpenSSL's words.
        reason: &'static str,
    },
    /// A certificate cannot be read, or OpenSSL failed.
    #[error(transparent)]
    OpenSsl(#[from] OpenSslError),
}

/// That this is the chain, first certificate first, of the relay with this identity: of 2, 3 or 4
/// certificates, with the fingerprint at the right place, each signed by the next one, the last
/// by itself, and all of them valid at `now`.
///
/// # Errors
/// See [`ChainError`].
pub fn verify_chain(
    chain: &[Certificate],
    identity: &Fingerprint,
    now: SystemTime,
) -> Result<(), ChainError> {
    let certificate = self::identity(chain)?;
    if certificate.fingerprint()? != *identity {
        return Err(ChainError::WrongFingerprint);
    }
    verify_links(chain, now)
}

/// That this is a chain that a service may show, and the fingerprint by which relays know the
/// service: of 1 to 4 certificates, otherwise as a relay's.
///
/// # Errors
/// See [`ChainError`].
pub fn verify_service_chain(
    chain: &[Certificate],
    now: SystemTime,
) -> Result<Fingerprint, ChainError> {
    let certificate = match chain {
        [certificate] => certificate,
        _ => identity(chain)?,
    };
    let fingerprint = certificate.fingerprint()?;
    verify_links(chain, now)?;
    Ok(fingerprint)
}

/// The certificate by whose fingerprint a relay is known: the second, in chains of every length.
fn identity(chain: &[Certificate]) -> Result<&Certificate, ChainError> {
    match chain {
        [_, identity] | [_, identity, _] | [_, identity, _, _] => Ok(identity),
        _ => Err(ChainError::Count { count: chain.len() }),
    }
}

/// Lets OpenSSL verify the chain with its last certificate as the only trusted one, and refuses
/// it if OpenSSL left out or moved a certificate: one that is not in the line of signatures must
/// not count as identity.
fn verify_links(chain: &[Certificate], now: SystemTime) -> Result<(), ChainError> {
    let (Some(leaf), Some(root)) = (chain.first(), chain.last()) else {
        return Err(ChainError::Count { count: 0 });
    };
    let store = store_of(root, now)?;
    let mut others = Stack::new().map_err(OpenSslError)?;
    for certificate in &chain[1..] {
        others.push(certificate.0.clone()).map_err(OpenSslError)?;
    }
    let mut context = X509StoreContext::new().map_err(OpenSslError)?;
    let verified = context.init(&store, &leaf.0, &others, |context| {
        Ok(if context.verify_cert()? {
            same_order(context, chain)
        } else {
            Err(failure(context))
        })
    });
    verified.map_err(OpenSslError)?
}

fn store_of(root: &Certificate, now: SystemTime) -> Result<X509Store, OpenSslError> {
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_time(to_unix(now));
    parameters.set_flags(X509VerifyFlags::CHECK_SS_SIGNATURE)?;
    let mut store = X509StoreBuilder::new()?;
    store.set_param(&parameters)?;
    store.add_cert(root.0.clone())?;
    Ok(store.build())
}

fn same_order(context: &X509StoreContextRef, chain: &[Certificate]) -> Result<(), ChainError> {
    let verified = || context.chain().into_iter().flatten();
    let same = |(position, certificate): (usize, &Certificate)| {
        let same = verified().nth(position) == Some(&certificate.0);
        (!same).then_some(position)
    };
    match chain.iter().enumerate().find_map(same) {
        // The one in front of it was signed by another.
        Some(position) => Err(ChainError::BrokenLink {
            position: position.saturating_sub(1),
        }),
        None if verified().count() != chain.len() => Err(ChainError::BrokenLink {
            position: chain.len() - 1,
        }),
        None => Ok(()),
    }
}

fn failure(context: &X509StoreContextRef) -> ChainError {
    let error = context.error();
    let position = context.error_depth() as usize;
    match error.as_raw() {
        UNABLE_TO_GET_ISSUER
        | SIGNATURE_FAILURE
        | SELF_SIGNED_FIRST
        | SELF_SIGNED_IN_CHAIN
        | UNABLE_TO_GET_ISSUER_LOCALLY
        | UNABLE_TO_VERIFY_FIRST => ChainError::BrokenLink { position },
        NOT_YET_VALID => ChainError::NotYetValid { position },
        HAS_EXPIRED => ChainError::Expired { position },
        INVALID_CA | PATH_LENGTH_EXCEEDED | NO_CERTIFICATE_SIGNING => {
            ChainError::NotAnAuthority { position }
        }
        _ => ChainError::Refused {
            position,
            reason: error.error_string(),
        },
    }
}

// OpenSSL's X509_V_ERR_…, which the crate `openssl` does not name.
const UNABLE_TO_GET_ISSUER: i32 = 2;
const SIGNATURE_FAILURE: i32 = 7;
const NOT_YET_VALID: i32 = 9;
const HAS_EXPIRED: i32 = 10;
const SELF_SIGNED_FIRST: i32 = 18;
const SELF_SIGNED_IN_CHAIN: i32 = 19;
const UNABLE_TO_GET_ISSUER_LOCALLY: i32 = 20;
const UNABLE_TO_VERIFY_FIRST: i32 = 21;
const PATH_LENGTH_EXCEEDED: i32 = 25;
const NO_CERTIFICATE_SIGNING: i32 = 32;
const INVALID_CA: i32 = 79;
