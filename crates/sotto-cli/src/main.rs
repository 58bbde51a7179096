//! The `sotto` command.

mod call;
mod clock;
mod demo;
mod events;
mod failure;
mod live;
mod streams;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::Clock;

/// Private audio and video calls without identifiers.
#[derive(Parser)]
#[command(name = "sotto", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Example, a call between two processes of this machine, with a report at the end:
  sotto demo --audio speech.wav --out demo-out

`sotto call --help` and `sotto demo --help` tell the rest.";

#[derive(Subcommand)]
enum Command {
    /// Make one call, with its signalling on standard input and output
    Call(Box<call::CallArgs>),
    /// Call from one process of this machine to another, measure, and write a report
    Demo(Box<demo::DemoArgs>),
}

fn main() -> ExitCode {
    let clock = Clock::start();
    let cli = Cli::parse();
    start_log();
    let result = match cli.command {
        Command::Call(args) => call::run(&args, clock),
        Command::Demo(args) => demo::run(&args),
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
