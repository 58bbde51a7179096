//! `sotto-smp cert`.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use smp_transport::{
    IfExists, SigningKey, TlsCredentials, read_certificates, write_certificates, write_key,
};

use super::init::issue_online;
use super::{Dir, say};
use crate::control::{self, Answer, ControlError, Request};
use crate::paths::Paths;

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp cert rotate --dir relay --ca-key /media/stick/ca.key")]
pub(super) struct Cert {
    #[command(subcommand)]
    command: CertCommand,
}

#[derive(Subcommand)]
enum CertCommand {
    /// Make a new online certificate; the relay's address stays the same
    Rotate(Rotate),
}

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp cert rotate --dir relay --ca-key /media/stick/ca.key")]
struct Rotate {
    #[command(flatten)]
    dir: Dir,
    /// The offline key, where it was moved to [default: where `init` left it]
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
}

impl Cert {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            CertCommand::Rotate(rotate) => rotate.run().await,
        }
    }
}

impl Rotate {
    async fn run(self) -> anyhow::Result<()> {
        let paths = self.dir.paths();
        let offline = self.offline(&paths)?;
        let algorithm = offline.key().algorithm();
        let online = issue_online(&offline, SystemTime::now(), algorithm)?;
        // Between the two writes key and chain don't fit, so a relay that is told to reload then
        // keeps what it has.
        write_key(&paths.online_key(), online.key(), IfExists::Replace)?;
        write_certificates(&paths.chain(), online.chain(), IfExists::Replace)?;
        say("There is a new online certificate. The relay's address stays the same.")?;
        match control::ask(paths.run(), &Request::Reload).await {
            Ok(Answer::Failed { error }) => bail!("the running relay did not take it: {error}"),
            Ok(_) => say("The running relay uses it for all connections from now on.")?,
            Err(ControlError::NotRunning(_)) => say("No relay runs; the next start uses it.")?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The offline credentials: the key from its file, the certificates that it signed with from
    /// the relay's chain.
    fn offline(&self, paths: &Paths) -> anyhow::Result<TlsCredentials> {
        let path = self.ca_key.clone().unwrap_or_else(|| paths.offline_key());
        let pem = std::fs::read(&path)
            .map(zeroize::Zeroizing::new)
            .with_context(|| {
                format!(
                    "can't read the offline key {}: say with --ca-key where it is",
                    path.display()
                )
            })?;
        let key = SigningKey::from_pem(&pem)
            .with_context(|| format!("{} is no key of a relay", path.display()))?;
        let mut chain = read_certificates(&paths.chain())?;
        chain.remove(0);
        TlsCredentials::new(chain, key).with_context(|| {
            format!(
                "{} is not the key that signed this relay's certificate",
                path.display()
            )
        })
    }
}
