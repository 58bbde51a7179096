//! Certificates and keys in PEM files. Reads and writes block: a relay does both when it starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use openssl::x509::X509;
use thiserror::Error;

use super::{Certificate, CredentialsError, SigningKey, TlsCredentials, WebCredentials};
use crate::error::OpenSslError;

/// What to do when the file is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// Fail and leave it as it is: a lost key cannot be made again.
    Refuse,
    /// Put the new one in its place at once, so that no reader sees half a file.
    Replace,
}

/// Why a file was not read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file is already there.
    #[error("{} is already there and is not overwritten", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The content is no certificate or no key of a kind that is used here.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: OpenSslError,
    },
    /// There is no certificate in the file.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// Chain and key are no credentials.
    #[error("{} and {}: {error}", chain.display(), key.display())]
    Pair {
        /// The file of the chain.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        error: CredentialsError,
    },
}

impl TlsCredentials {
    /// Reads a chain, first certificate first, and the key of the first.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self, FileError> {
        let certificates = read_certificates(chain)?;
        let pem = read_secret(key)?;
        let signing_key = SigningKey::from_pem(&pem).map_err(|error| content(key, error))?;
        Self::new(certificates, signing_key).map_err(|error| FileError::Pair {
            chain: chain.to_owned(),
            key: key.to_owned(),
            error,
        })
    }
}

impl WebCredentials {
    /// Reads a chain, first certificate first, and the key of the first.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self, FileError> {
        let certificates = fs::read(chain).map_err(|error| io_error(chain, error))?;
        let pem = read_secret(key)?;
        Self::from_pem(&certificates, &pem).map_err(|error| FileError::Pair {
            chain: chain.to_owned(),
            key: key.to_owned(),
            error,
        })
    }
}

/// Reads all certificates of a PEM file; at least one.
///
/// # Errors
/// See [`FileError`].
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, FileError> {
    let pem = fs::read(path).map_err(|error| io_error(path, error))?;
    let certificates = X509::stack_from_pem(&pem).map_err(|error| content(path, error.into()))?;
    if certificates.is_empty() {
        let path = path.to_owned();
        return Err(FileError::NoCertificate { path });
    }
    Ok(certificates.into_iter().map(Certificate).collect())
}

/// Writes certificates one after the other. Everyone may read the file.
///
/// # Errors
/// See [`FileError`].
pub fn write_certificates(
    path: &Path,
    certificates: &[Certificate],
    if_exists: IfExists,
) -> Result<(), FileError> {
    let mut pem = Vec::new();
    for certificate in certificates {
        let one = certificate.0.to_pem();
        pem.extend(one.map_err(|error| content(path, error.into()))?);
    }
    write(path, &pem, 0o644, if_exists)
}

/// Writes a private key. Only its owner may read the file.
///
/// # Errors
/// See [`FileError`].
pub fn write_key(path: &Path, key: &SigningKey, if_exists: IfExists) -> Result<(), FileError> {
    let pem = key.to_pem().map_err(|error| content(path, error))?;
    write(path, &pem, 0o600, if_exists)
}

/// Writes beside the target and then gives it its name, so that a crash leaves the old file or
/// the new one.
fn write(path: &Path, content: &[u8], mode: u32, if_exists: IfExists) -> Result<(), FileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let named = write_new(&beside, content, mode).and_then(|()| match if_exists {
        IfExists::Replace => fs::rename(&beside, path),
        // Unlike a renaming, a link fails if the name is taken.
        IfExists::Refuse => fs::hard_link(&beside, path),
    });
    if if_exists == IfExists::Refuse || named.is_err() {
        // The target counts; what is left beside it is no reason to fail.
        let _ = fs::remove_file(&beside);
    }
    match named.and_then(|()| sync_folder(path)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.to_owned();
            Err(FileError::Exists { path })
        }
        named => named.map_err(|error| io_error(path, error)),
    }
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A rest of a process that died with the same number.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn read_secret(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, FileError> {
    fs::read(path)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: io::Error) -> FileError {
    let path = path.to_owned();
    FileError::Io { path, error }
}

fn content(path: &Path, error: OpenSslError) -> FileError {
    let path = path.to_owned();
    FileError::Content { path, error }
}
