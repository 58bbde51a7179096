//! Where a relay keeps its things.

use std::path::{Path, PathBuf};

/// The files and folders of one relay.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    config: PathBuf,
    data: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// Everything in one folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            config: folder.into(),
            data: folder.join("data"),
            run: folder.into(),
        }
    }

    /// The usual places of a system: `/etc/sotto-smp`, `/var/lib/sotto-smp`, `/run/sotto-smp`.
    pub(crate) fn of_system() -> Self {
        Self {
            config: "/etc/sotto-smp".into(),
            data: "/var/lib/sotto-smp".into(),
            run: "/run/sotto-smp".into(),
        }
    }

    /// The folder with the configuration and the certificates.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The folder with queues and messages.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The folder with the control socket.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// The chain that clients get: the online certificate, then the offline one.
    pub(crate) fn chain(&self) -> PathBuf {
        self.config.join("certificates.pem")
    }

    /// The online certificate's key.
    pub(crate) fn online_key(&self) -> PathBuf {
        self.config.join("online.key")
    }

    /// Where `init` leaves the offline key, until the operator takes it away.
    pub(crate) fn offline(&self) -> PathBuf {
        self.config.join("offline")
    }

    /// The offline certificate's key.
    pub(crate) fn offline_key(&self) -> PathBuf {
        self.offline().join("ca.key")
    }

    /// The offline certificate.
    pub(crate) fn offline_certificate(&self) -> PathBuf {
        self.offline().join("ca.pem")
    }
}
