//! `sotto-smp init`.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, bail};
use base64::Engine;
use clap::{Args, ValueEnum};
use rand::Rng;
use smp_protocol::{
    BasicAuth, DEFAULT_PORT, Host, RelayAddress, ServerAddress, SignatureAlgorithm,
};
use smp_transport::{IfExists, Purpose, TlsCredentials, Validity, write_certificates, write_key};

use super::{Dir, say};
use crate::config::{CONFIG_FILE, template};
use crate::paths::Paths;
use crate::relay::random;

/// The offline certificate holds as long as the address: for a lifetime.
const OFFLINE_DAYS: u32 = 365 * 100;

/// The online certificate holds for three years, unless it is rotated before.
pub(super) const ONLINE_DAYS: u32 = 365 * 3;

/// Random bytes of a password.
const PASSWORD_BYTES: usize = 24;

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp init --dir relay --host relay.example.org,abc…xyz.onion")]
pub(super) struct Init {
    #[command(flatten)]
    dir: Dir,
    /// Names under which clients reach the relay: domains, IP addresses, onion services
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    host: Vec<Host>,
    /// The TCP port
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Let everyone create queues, without a password
    #[arg(long)]
    open: bool,
    /// Signatures of the certificates
    #[arg(long, value_enum, default_value_t = Algorithm::Ed448)]
    algorithm: Algorithm,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Signature algorithms of certificates.
#[derive(Clone, Copy, ValueEnum)]
enum Algorithm {
    Ed448,
    Ed25519,
}

impl From<Algorithm> for SignatureAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Ed448 => Self::Ed448,
            Algorithm::Ed25519 => Self::Ed25519,
        }
    }
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let paths = self.dir.paths();
        let config = paths.config().join(CONFIG_FILE);
        if config.exists() {
            bail!("{} is already there: nothing was changed", config.display());
        }
        for folder in [paths.config(), &paths.offline(), paths.data()] {
            make_private(folder)?;
        }
        let online = self.certificates(&paths)?;
        let password = (!self.open).then(new_password).transpose()?;
        let text = template(&self.host, self.port, password.as_ref());
        write_private(&config, text.as_bytes())?;
        let port = (self.port != DEFAULT_PORT).then_some(self.port);
        let relay = RelayAddress::new(online.identity(), self.host.clone(), port)?;
        let address = ServerAddress {
            relay,
            basic_auth: password,
        };
        self.report(&paths, &config, &address.to_string_with_password())
    }

    fn certificates(&self, paths: &Paths) -> anyhow::Result<TlsCredentials> {
        let (now, algorithm, rng) = (SystemTime::now(), self.algorithm.into(), &mut random());
        let validity = Validity::from_now(now, OFFLINE_DAYS);
        let offline = TlsCredentials::self_signed(
            Purpose::Authority,
            "SMP server CA",
            validity,
            algorithm,
            rng,
        )?;
        let online = issue_online(&offline, now, algorithm)?;
        let new = IfExists::Refuse;
        write_key(&paths.offline_key(), offline.key(), new)?;
        write_certificates(&paths.offline_certificate(), offline.chain(), new)?;
        write_key(&paths.online_key(), online.key(), new)?;
        write_certificates(&paths.chain(), online.chain(), new)?;
        Ok(online)
    }

    fn report(&self, paths: &Paths, config: &Path, address: &str) -> anyhow::Result<()> {
        if self.json {
            let report = serde_json::json!({
                "address": address,
                "configuration": config,
                "offline_key": paths.offline_key(),
            });
            say(report)?;
            return Ok(());
        }
        say(format_args!(
            "The relay's address, to be given to those who may use it:\n\n{address}\n"
        ))?;
        say(format_args!("Configuration: {}", config.display()))?;
        say(format_args!(
            "Offline key:   {}\n\n\
             Move the offline key away from this machine, to a place that you will find in three\n\
             years: whoever has it can pose as this relay, and without it the online certificate\n\
             can't be renewed (`sotto-smp cert rotate --ca-key FILE`).",
            paths.offline_key().display()
        ))?;
        say("\nNext: `sotto-smp start` with the same --dir.")?;
        Ok(())
    }
}

/// An online certificate below the offline one.
pub(super) fn issue_online(
    offline: &TlsCredentials,
    now: SystemTime,
    algorithm: SignatureAlgorithm,
) -> anyhow::Result<TlsCredentials> {
    let validity = Validity::from_now(now, ONLINE_DAYS);
    Ok(offline.issue(
        Purpose::Relay,
        "SMP server",
        validity,
        algorithm,
        &mut random(),
    )?)
}

fn new_password() -> anyhow::Result<BasicAuth> {
    let mut bytes = zeroize::Zeroizing::new([0; PASSWORD_BYTES]);
    random().fill_bytes(&mut *bytes);
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(*bytes)
        .parse()?)
}

fn make_private(folder: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("can't make the folder {}", folder.display()))
}

fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .with_context(|| format!("can't write {}", path.display()))
}
