//! Errors that more than one part of this crate has.

use openssl::error::ErrorStack;
use thiserror::Error;

/// OpenSSL refused something for which no error of this crate has a name.
#[derive(Clone, Debug, Error)]
#[error("OpenSSL refused it: {0}")]
pub struct OpenSslError(#[from] pub(crate) ErrorStack);

impl OpenSslError {
    /// An error without words of OpenSSL: it took something that is of no use here.
    pub(crate) fn unknown() -> Self {
        Self(ErrorStack::get())
    }

    /// OpenSSL's library and reason numbers, the latest error first.
    pub(crate) fn codes(&self) -> impl Iterator<Item = (i32, i32)> + '_ {
        let errors = self.0.errors().iter().rev();
        errors.map(|error| (error.library_code(), error.reason_code()))
    }
}
