//! `sotto demo`: caller and callee as two processes of this machine, measured.

mod candidates;
mod conduct;
mod measure;
mod over_smp;
mod over_stdio;
mod pesq;
mod relay;
mod report;
mod speech;
mod summary;
mod svg;
mod timeline;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use netem::{ForwarderConfig, Jitter, LinkConfig, Loss, Probability};
use tokio::runtime::Builder;

use self::conduct::{Recording, Side, Signal};
use self::measure::Heard;
use self::speech::Speech;
use self::summary::Summary;
use crate::call::seconds;
use crate::context::Context;
use crate::failure::{Failure, Status};
use crate::live::Live;

/// Make two profiles on this machine and a message relay between them, connect them by a link, call
/// with recorded speech, show how it goes, and write a report with the figures. Needs no sound card
/// and no network.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Length of the call [default: that of the speech and a second, at least 10]
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Speech that both sides send: WAV [default: the one that the project's set-up brings]
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// Video that both sides send: VP8 in IVF
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,
    /// Write sound, events and report.html there
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// Lose this share of the packets in each direction
    #[arg(long, value_name = "PCT", default_value_t = 0.0, value_parser = percent)]
    loss: f64,
    /// Delay each packet by this much
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = delay_ms)]
    delay: f64,
    /// Delay each packet further by a random time up to this
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = delay_ms)]
    jitter: f64,
    /// What carries the signalling [default: smp; stdio with --loss, --delay and --jitter, which
    /// can be had with it alone]
    #[arg(long, value_enum)]
    signal: Option<Way>,
    /// With --signal smp: two relays, one for each side, so that neither sees both
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    relays: u8,
}

/// What carries the signalling.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// A message relay within this process, between two profiles.
    Smp,
    /// This process, between two processes without profiles.
    Stdio,
}

const EXAMPLES: &str = "\
Examples, over two relays; ten seconds over a network that loses every tenth packet:
  sotto demo --relays 2
  sotto demo --seconds 10 --loss 10 --delay 40 --jitter 20 --out demo-out

With --json one JSON object is printed instead of the table. Speech quality is PESQ wideband and needs the Python package pesq: in the interpreter .venv/bin/python
of the project, or in the one that the environment variable SOTTO_PYTHON names.";

/// Shortest call where the user does not say.
const SHORTEST: Duration = Duration::from_secs(10);

/// After the last word, for it to arrive.
const TAIL: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<(), Failure> {
    let signal = args.signal()?;
    let mut live = Live::new(true);
    let speech = Speech::open(args.audio.as_deref())?;
    let length = args
        .seconds
        .unwrap_or_else(|| (speech.duration() + TAIL).max(SHORTEST));
    fs::create_dir_all(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let mut spoken = speech.filling(length.saturating_sub(TAIL));
    // The files are played in a loop for the sake of short videos; the speech is not to begin anew.
    speech::write(&args.out.join(conduct::REFERENCE), &spoken, TAIL * 3)?;
    let recording = record(args, length, signal, &mut live)?;
    live.progress("measuring …");
    let length = recording.length();
    spoken.truncate(speech::samples_in(length));
    let heard = measure::both(&args.out, &spoken, &recording)?;
    let network = network_in_words(args);
    let summary = Summary::new(&recording, &heard, length, args.loss, network);
    let report = args.out.join("report.html");
    fs::write(&report, report::html(&summary, &recording, &spoken, &heard))
        .with_context(|| report.display().to_string())?;
    live.clear();
    live.say(format_args!("report: {}", report.display()));
    let text = if context.json() {
        summary.json()
    } else {
        summary.table()
    };
    // Whoever does not read it does not want it.
    let _ = writeln!(io::stdout().lock(), "{text}");
    Ok(())
}

fn record(
    args: &DemoArgs,
    length: Duration,
    signal: Signal,
    live: &mut Live,
) -> Result<Recording, Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Status::Other, error))?;
    let plan = conduct::Plan {
        out: args.out.clone(),
        video: args.video.clone(),
        length,
        network: args.forwarder(),
        signal,
    };
    runtime.block_on(conduct::run(&plan, live))
}

impl DemoArgs {
    /// A disturbed network needs its addresses in the signalling, which over relays nobody else can
    /// read.
    fn signal(&self) -> Result<Signal, Failure> {
        let disturbed = self.forwarder().is_some();
        match self.signal {
            Some(Way::Smp) if disturbed => Err(Failure::usage(
                "--loss, --delay and --jitter need --signal stdio: over relays nobody between the \
                 two can read where media are to go",
            )),
            Some(Way::Stdio) if self.relays > 1 => {
                Err(Failure::usage("--relays is for --signal smp"))
            }
            None if disturbed && self.relays > 1 => Err(Failure::usage(
                "--loss, --delay and --jitter need --signal stdio, which has no relays",
            )),
            Some(Way::Stdio) => Ok(Signal::Stdio),
            None if disturbed => Ok(Signal::Stdio),
            Some(Way::Smp) | None => Ok(Signal::Smp {
                relays: self.relays,
            }),
        }
    }

    /// `None`: the two sides send to each other directly.
    fn forwarder(&self) -> Option<ForwarderConfig> {
        if self.loss == 0.0 && self.delay == 0.0 && self.jitter == 0.0 {
            return None;
        }
        let link = LinkConfig {
            loss: Loss::Independent(Probability::percent(self.loss)),
            delay: Duration::from_secs_f64(self.delay / 1000.0),
            jitter: Jitter::Uniform {
                max: Duration::from_secs_f64(self.jitter / 1000.0),
            },
            ..LinkConfig::PERFECT
        };
        Some(ForwarderConfig {
            a_to_b: link,
            b_to_a: link,
            seed: 1,
            ..ForwarderConfig::default()
        })
    }
}

fn network_in_words(args: &DemoArgs) -> String {
    if args.forwarder().is_none() {
        return "this machine, undisturbed".to_owned();
    }
    let parts = [
        (args.loss, format!("{} % loss", args.loss)),
        (args.delay, format!("{} ms delay", args.delay)),
        (args.jitter, format!("up to {} ms jitter", args.jitter)),
    ];
    let parts = parts
        .into_iter()
        .filter(|(amount, _)| *amount > 0.0)
        .map(|(_, text)| text);
    let parts: Vec<String> = parts.collect();
    format!("{} each way", parts.join(", "))
}

/// What each side heard.
type BothHeard = [Heard; 2];

/// The heard of one side.
fn heard_by(heard: &BothHeard, side: Side) -> &Heard {
    let [caller, callee] = heard;
    match side {
        Side::Caller => caller,
        Side::Callee => callee,
    }
}

fn percent(text: &str) -> Result<f64, String> {
    number_to(text, 100.0)
}

fn delay_ms(text: &str) -> Result<f64, String> {
    number_to(text, 60_000.0)
}

fn number_to(text: &str, most: f64) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(number) if (0.0..=most).contains(&number) => Ok(number),
        Ok(_) => Err(format!("from 0 to {most}")),
        Err(_) => Err("not a number".to_owned()),
    }
}
