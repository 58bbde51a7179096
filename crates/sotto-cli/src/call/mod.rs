//! `sotto call`: one call, with its signalling on standard input and output.

mod channel;
mod desk;
mod outcome;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use sotto::{Config, ConfigError, IceServer};
use tokio::runtime::Builder;

use self::desk::Desk;
use crate::clock::Clock;
use crate::events::{Event, Journal};
use crate::failure::{Failure, Status};
use crate::live::Live;
use crate::streams::MediaFiles;

/// Make one call. Standard input and output carry chat messages and nothing else, one a line, so
/// that any program can carry the signalling.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct CallArgs {
    /// What carries the signalling
    #[arg(long, value_enum, default_value_t = Signal::Stdio)]
    signal: Signal,
    /// Which side of the call this is
    #[arg(long = "as", value_enum)]
    role: Role,
    #[command(flatten)]
    files: MediaFiles,
    /// STUN or TURN server, one each time: stun:host:port, turn:user:password@host:port
    #[arg(long, value_name = "URL")]
    ice: Vec<String>,
    /// Let nothing but relayed addresses leave this machine; needs a TURN server
    #[arg(long)]
    relay_only: bool,
    /// Use this local address, one each time; otherwise every address that is not loopback
    #[arg(long, value_name = "ADDR")]
    bind: Vec<IpAddr>,
    /// Hang up this long after the call is connected
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Give up when the call is not connected after this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Callee: let it ring this long before answering
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "decline")]
    ring: Option<Duration>,
    /// Callee: do not answer the first invitation, and end
    #[arg(long)]
    decline: bool,
    /// Write events and statistics there as JSON lines; - is standard error
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Exit status:
  0  the call was connected and has ended
  1  anything else
  2  the command line can't work
  3  timeout: nobody answered, it did not connect, or the connection was lost
  4  security refused: no frame encryption, no AES-256-GCM, wrong certificate or key
  5  bad signalling: it ended before the call was connected, or made no sense
  6  bad media: a file can't be read or written
  7  declined, missed or cancelled before the call was connected

Example, a call of ten seconds between two processes joined by pipes:
  mkfifo back
  sotto call --as caller --audio hello.wav --seconds 10 < back |
    sotto call --as callee --audio-out heard.wav --events events.jsonl > back";

/// What carries the signalling.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signal {
    /// Standard input and output, one chat message a line.
    Stdio,
}

/// A side of the call.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Invites.
    Caller,
    /// Answers the first invitation.
    Callee,
}

/// Runs the command.
pub(crate) fn run(args: &CallArgs, clock: Clock) -> Result<(), Failure> {
    let config = args.config()?;
    // Before anything is sent, so that the peer's phone does not ring for a file that is not there.
    let streams = args.files.open()?;
    let mut journal = Journal::open(args.events.as_deref(), clock)?;
    journal.write(Event::Started {
        unix_ms: crate::clock::unix_ms(std::time::Instant::now()),
    });
    let live = Live::new(false);
    let events_on_stderr = args.events.as_deref() == Some(Path::new("-"));
    let mut live = if events_on_stderr {
        live.without_figures()
    } else {
        live
    };
    if !config.relay_only && !is_local(&config.bind) {
        live.say(
            "sotto: a direct call: the peer learns this machine's addresses (see --relay-only)",
        );
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Status::Other, error))?;
    let result = runtime.block_on(async {
        let mut desk = Desk::open(args, config, &mut journal, &mut live)?;
        let result = match args.role {
            Role::Caller => desk.place(streams).await,
            Role::Callee => desk.answer(streams).await,
        };
        desk.close().await;
        result
    });
    // A read of standard input may still be waiting for a line that never comes.
    runtime.shutdown_background();
    journal.write(match &result {
        Ok(()) => Event::Exit {
            status: 0,
            message: None,
        },
        Err(failure) => {
            let message = Some(failure.to_string());
            Event::Exit {
                status: failure.status as u8,
                message,
            }
        }
    });
    result
}

impl CallArgs {
    fn config(&self) -> Result<Config, Failure> {
        // There is no other kind yet.
        let Signal::Stdio = self.signal;
        let usage = |text: &str| Failure::new(Status::Usage, text);
        if self.role == Role::Caller && (self.ring.is_some() || self.decline) {
            return Err(usage("--ring and --decline are for the callee"));
        }
        let config = Config {
            // The value is not repeated: it may hold a password.
            ice_servers: sotto::parse_servers(&self.ice.join("\n"))
                .map_err(|error| usage(&format!("--ice: {error}")))?,
            relay_only: self.relay_only,
            bind: self.bind.clone(),
            ..Config::default()
        };
        // The SDK says so as well, but only after files were opened.
        if config.relay_only && !config.ice_servers.iter().any(IceServer::is_relay) {
            return Err(Failure::new(Status::Usage, ConfigError::NoRelay));
        }
        Ok(config)
    }
}

/// Whether nothing but loopback addresses are used.
fn is_local(bind: &[IpAddr]) -> bool {
    !bind.is_empty() && bind.iter().all(IpAddr::is_loopback)
}

/// A number of seconds, with a fraction or without.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    const MOST: f64 = 1e7;
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.0..=MOST).contains(&seconds) {
        return Err(format!("from 0 to {MOST} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_bounds() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for bad in ["-1", "NaN", "inf", "1e9", "soon", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
