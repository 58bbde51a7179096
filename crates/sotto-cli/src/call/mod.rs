//! `sotto call`: one call, with a contact or with its signalling on standard input and output.

mod channel;
pub(crate) mod contact;
mod desk;
pub(crate) mod outcome;
pub(crate) mod talk;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sotto::CallMedia;
use tokio::runtime::Builder;

use self::desk::Desk;
use crate::context::Context;
use crate::failure::Failure;
use crate::network::{DIRECT, NetworkArgs, shows_address};
use crate::out::Out;
use crate::streams::MediaFiles;

/// Call a contact; or make one call whose messages another program carries: then standard input and
/// output carry chat messages and nothing else, one a line.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct CallArgs {
    /// The contact to call, as `sotto contacts` shows it
    #[arg(value_name = "NAME")]
    contact: Option<String>,
    /// What carries the signalling [default: smp with NAME, stdio without]
    #[arg(long, value_enum)]
    signal: Option<Signal>,
    /// Without NAME: which side of the call this is
    #[arg(long = "as", value_enum)]
    role: Option<Role>,
    #[command(flatten)]
    files: MediaFiles,
    #[command(flatten)]
    network: NetworkArgs,
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

const EXAMPLES: &str = concat!(
    "\
Examples, a call of ten seconds to a contact who runs `sotto listen`:
  sotto call bob --audio hello.wav --record heard.wav --seconds 10
The same between two processes joined by pipes, without contacts:
  mkfifo back
  sotto call --as caller --audio hello.wav --seconds 10 < back |
    sotto call --as callee --audio-out heard.wav --events events.jsonl > back

",
    crate::failure::statuses!()
);

/// What carries the signalling.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signal {
    /// Message relays, to a contact.
    Smp,
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

/// Which call it is to be.
enum Way<'a> {
    Contact(&'a str),
    Stdio(Role),
}

/// Runs the command.
pub(crate) fn run(args: &CallArgs, context: &Context) -> Result<(), Failure> {
    match args.way()? {
        Way::Contact(name) => contact::run(args, name, context),
        Way::Stdio(_) if context.json() => Err(Failure::usage(
            "--json needs the NAME of a contact: standard output carries the signalling; see --events",
        )),
        Way::Stdio(role) => over_stdio(args, role, context),
    }
}

fn over_stdio(args: &CallArgs, role: Role, context: &Context) -> Result<(), Failure> {
    let config = args.network.whole_config()?;
    // Before anything is sent, so that the peer's phone does not ring for a file that is not there.
    let streams = args.files.open()?;
    let mut out = Out::with_events(args.events.as_deref(), context)?;
    if shows_address(&config) {
        out.say(DIRECT);
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::other)?;
    let result = runtime.block_on(async {
        let mut desk = Desk::open(args, config, &mut out)?;
        let result = match role {
            Role::Caller => desk.place(streams).await,
            Role::Callee => desk.answer(streams).await,
        };
        desk.close().await;
        result
    });
    // A read of standard input may still be waiting for a line that never comes.
    runtime.shutdown_background();
    out.record_exit(&result);
    result
}

impl CallArgs {
    fn way(&self) -> Result<Way<'_>, Failure> {
        let usage = |text: &str| Err(Failure::usage(text));
        match (&self.contact, self.signal, self.role) {
            (Some(_), Some(Signal::Stdio), _) => usage(
                "--signal stdio takes no NAME: whoever carries the messages knows where they go",
            ),
            (Some(_), _, Some(_)) => {
                usage("--as is for --signal stdio: who names a contact is the caller")
            }
            (Some(_), ..) if self.ring.is_some() || self.decline => {
                usage("--ring and --decline are for the callee; see `sotto listen`")
            }
            (Some(name), ..) => Ok(Way::Contact(name)),
            (None, Some(Signal::Smp), _) => usage("--signal smp needs the NAME of a contact"),
            (None, Some(Signal::Stdio), None) => {
                usage("--signal stdio needs --as caller or --as callee")
            }
            (None, None, None) => usage(
                "name the contact to call, or choose --as caller or --as callee for \
                       signalling on standard input and output",
            ),
            (None, _, Some(Role::Caller)) if self.ring.is_some() || self.decline => {
                usage("--ring and --decline are for the callee")
            }
            (None, _, Some(role)) => Ok(Way::Stdio(role)),
        }
    }

    fn media(&self) -> CallMedia {
        self.files.media()
    }
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
