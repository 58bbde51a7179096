//! Why there is no TLS connection.

use std::io;

use openssl::error::ErrorStack;
use openssl::ssl;
use thiserror::Error;

use crate::certificate::ChainError;
use crate::error::OpenSslError;

/// Why there is no TLS connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection before it was made.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The peer does not speak TLS 1.3, or no TLS at all.
    #[error("the peer does not speak TLS 1.3")]
    Version,
    /// The peer has no cipher suite that is allowed.
    #[error("the peer does not offer a cipher suite that SMP allows")]
    Cipher,
    /// The peer has no group for the key exchange that is allowed.
    #[error("the peer does not offer a key exchange that SMP allows")]
    KeyExchange,
    /// The peer cannot verify a signature of the kind of our certificate, or signs with another.
    #[error("the peer does not offer a signature algorithm that SMP allows")]
    Signature,
    /// The peer wants another protocol inside TLS.
    #[error("the peer asks for another protocol than SMP")]
    OtherProtocol,
    /// The relay did not confirm the protocol's name.
    #[error("the relay did not confirm that it speaks SMP")]
    NoAlpn,
    /// The relay's certificates are refused.
    #[error("the relay's certificates are refused: {0}")]
    Chain(#[from] ChainError),
    /// The client's certificates are refused, say for the length of the chain.
    #[error("the client's certificates are refused")]
    ClientCertificate,
    /// The peer refused with a TLS alert (RFC 8446, section 6).
    #[error("the peer refused the TLS handshake with alert {0}")]
    Alert(u8),
    /// Anything else.
    #[error(transparent)]
    OpenSsl(#[from] OpenSslError),
}

impl From<ErrorStack> for TlsError {
    fn from(error: ErrorStack) -> Self {
        Self::OpenSsl(error.into())
    }
}

impl From<ssl::Error> for TlsError {
    fn from(error: ssl::Error) -> Self {
        match error.into_io_error() {
            Ok(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            Ok(error) => Self::Io(error),
            Err(error) => match error.ssl_error() {
                Some(stack) => Self::of_stack(stack),
                None => Self::Closed,
            },
        }
    }
}

impl TlsError {
    fn of_stack(stack: &ErrorStack) -> Self {
        let error = OpenSslError(stack.clone());
        let named = error
            .codes()
            .filter(|(library, _)| *library == LIBRARY_SSL)
            .find_map(|(_, reason)| Self::of_reason(reason));
        named.unwrap_or(Self::OpenSsl(error))
    }

    fn of_reason(reason: i32) -> Option<Self> {
        Some(match reason {
            UNSUPPORTED_PROTOCOL | WRONG_SSL_VERSION | WRONG_VERSION_NUMBER | VERSION_TOO_LOW
            | HTTP_REQUEST => Self::Version,
            NO_SHARED_CIPHER | UNKNOWN_CIPHER | WRONG_CIPHER => Self::Cipher,
            NO_SUITABLE_KEY_SHARE | NO_SUITABLE_GROUPS | NO_SHARED_GROUPS => Self::KeyExchange,
            NO_SUITABLE_SIGNATURE | NO_SHARED_SIGNATURES | WRONG_SIGNATURE_TYPE => Self::Signature,
            NO_APPLICATION_PROTOCOL => Self::OtherProtocol,
            CERTIFICATE_VERIFY_FAILED => Self::ClientCertificate,
            UNEXPECTED_EOF => Self::Closed,
            alert => match u8::try_from(alert - ALERTS).ok()? {
                ALERT_PROTOCOL_VERSION => Self::Version,
                ALERT_NO_APPLICATION_PROTOCOL => Self::OtherProtocol,
                alert => Self::Alert(alert),
            },
        })
    }
}

const LIBRARY_SSL: i32 = 20;

// OpenSSL's SSL_R_…, which the crate `openssl` does not name.
const NO_SUITABLE_KEY_SHARE: i32 = 101;
const NO_SUITABLE_SIGNATURE: i32 = 118;
const CERTIFICATE_VERIFY_FAILED: i32 = 134;
const HTTP_REQUEST: i32 = 156;
const NO_SHARED_CIPHER: i32 = 193;
const NO_APPLICATION_PROTOCOL: i32 = 235;
const UNKNOWN_CIPHER: i32 = 248;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const WRONG_CIPHER: i32 = 261;
const WRONG_SSL_VERSION: i32 = 266;
const WRONG_VERSION_NUMBER: i32 = 267;
const UNEXPECTED_EOF: i32 = 294;
const NO_SUITABLE_GROUPS: i32 = 295;
const WRONG_SIGNATURE_TYPE: i32 = 370;
const NO_SHARED_SIGNATURES: i32 = 376;
const VERSION_TOO_LOW: i32 = 396;
const NO_SHARED_GROUPS: i32 = 410;

/// What OpenSSL adds to the number of an alert that the peer sent.
const ALERTS: i32 = 1000;
const ALERT_PROTOCOL_VERSION: u8 = 70;
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;
