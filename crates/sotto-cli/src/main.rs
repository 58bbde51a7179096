//! The `sotto` command.

mod call;
mod clock;
mod connect;
mod contacts;
mod context;
mod demo;
mod events;
mod export;
mod failure;
mod files;
mod init;
mod invite;
mod listen;
mod live;
mod network;
mod out;
mod qr;
mod send;
mod servers;
mod session;
mod stop;
mod streams;
mod terminal;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::Clock;
use crate::context::{Context, ContextArgs};

/// Private audio and video calls without identifiers.
#[derive(Parser)]
#[command(name = "sotto", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    context: ContextArgs,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = concat!(
    "\
Example, two people:
  sotto init --name alice                 sotto init --name bob
  sotto servers add smp://…               sotto servers add smp://…
  sotto invite                            sotto connect LINK
  sotto call bob --audio hello.wav        sotto listen

Example, all of it on this machine, measured:
  sotto demo --audio speech.wav --out demo-out

",
    crate::failure::statuses!()
);

#[derive(Subcommand)]
enum Command {
    /// Make a profile: an encrypted file for contacts and keys
    Init(init::InitArgs),
    /// Make a link for somebody to connect with, and wait for them
    Invite(invite::InviteArgs),
    /// Connect with somebody whose link you have
    Connect(connect::ConnectArgs),
    /// List contacts; rename, verify, block or delete one
    Contacts(contacts::ContactsArgs),
    /// Send a text
    Send(send::SendArgs),
    /// Show messages as they come, and take calls
    Listen(Box<listen::ListenArgs>),
    /// Call a contact, or make one call with its signalling on standard input and output
    Call(Box<call::CallArgs>),
    /// List, add, test and remove the servers that messages and calls go through
    Servers(servers::ServersArgs),
    /// Write an encrypted copy of the profile
    Export(export::ExportArgs),
    /// Connect two profiles of this machine over a relay, call, measure, and write a report
    Demo(Box<demo::DemoArgs>),
}

fn main() -> ExitCode {
    let clock = Clock::start();
    let cli = Cli::parse();
    start_log();
    let context = Context::new(cli.context, clock);
    let result = match cli.command {
        Command::Init(args) => init::run(&args, &context),
        Command::Invite(args) => invite::run(&args, &context),
        Command::Connect(args) => connect::run(&args, &context),
        Command::Contacts(args) => contacts::run(&args, &context),
        Command::Send(args) => send::run(&args, &context),
        Command::Listen(args) => listen::run(&args, &context),
        Command::Call(args) => call::run(&args, &context),
        Command::Servers(args) => servers::run(&args, &context),
        Command::Export(args) => export::run(&args, &context),
        Command::Demo(args) => demo::run(&args, &context),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to hear of it if standard error is gone.
            let _ = writeln!(io::stderr().lock(), "sotto: {failure}");
            failure.status.into()
        }
    }
}

/// Logs to standard error what the environment variable `RUST_LOG` asks for, e.g. `sotto=debug`.
fn start_log() {
    let Some(filter) = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty())
    else {
        return;
    };
    match filter.parse::<Targets>() {
        Ok(targets) => {
            let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
            tracing_subscriber::registry()
                .with(targets)
                .with(lines)
                .init();
        }
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "sotto: RUST_LOG is ignored: {error}");
        }
    }
}
