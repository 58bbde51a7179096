//! The commands of `sotto-smp`.

mod block;
mod cert;
mod check;
mod init;
mod start;
mod stats;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::paths::Paths;

/// An SMP relay: passes sealed messages between people without knowing who they are.
#[derive(Parser)]
#[command(name = "sotto-smp", version, max_term_width = 100, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Example:
  sotto-smp init --dir relay --host relay.example.org
  sotto-smp start --dir relay";

#[derive(Subcommand)]
enum Command {
    /// Make a relay: certificates, a password, the configuration; print its address
    Init(init::Init),
    /// Run the relay until it is told to stop (SIGTERM, Ctrl-C); SIGHUP takes certificates anew
    Start(start::Start),
    /// Look after the certificates
    Cert(cert::Cert),
    /// Say whether configuration, certificates and port are right, and try a message
    Check(check::Check),
    /// Show the figures of the running relay
    Stats(stats::Stats),
    /// Refuse a queue's commands, by its address or the id in it
    Block(block::Block),
    /// Take a block back
    Unblock(block::Unblock),
}

/// Where the relay is.
#[derive(Args)]
struct Dir {
    /// The folder with everything of the relay [default: /etc/sotto-smp, /var/lib/sotto-smp and
    /// /run/sotto-smp]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Dir {
    fn paths(&self) -> Paths {
        match &self.dir {
            Some(dir) => Paths::in_folder(dir),
            None => Paths::of_system(),
        }
    }
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What went wrong, in words for the operator.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(init) => init.run(),
            Command::Start(start) => start.run().await,
            Command::Cert(cert) => cert.run().await,
            Command::Check(check) => check.run().await,
            Command::Stats(stats) => stats.run().await,
            Command::Block(block) => block.run().await,
            Command::Unblock(unblock) => unblock.run().await,
        }
    }
}

/// Prints a line of the command's result.
fn say(text: impl std::fmt::Display) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{text}")
}
