//! The call over message relays: two profiles, a link, a connection, a call, each by the commands
//! that a person would type.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::conduct::{CONNECT_SECONDS, Plan, Recording, Side, Tale, Watcher, listen, this_program};
use super::relay::DemoRelay;
use super::timeline::Timeline;
use crate::events::Event;
use crate::failure::{Failure, Status};
use crate::live::Live;
use crate::session::stage_text;
use crate::stop::Stop;

/// Lines of the processes that may wait.
const TALES: usize = 64;

/// Makes the call.
pub(super) async fn run(plan: &Plan, relays: u8, live: &mut Live) -> Result<Recording, Failure> {
    let mut stop = Stop::new()?;
    let folder = TempDir::with_prefix("sotto-demo-").context("a temporary folder")?;
    let mut timeline = Timeline::start(relays);
    let running = (0..relays.max(1))
        .map(|number| DemoRelay::start(&folder.path().join(format!("relay-{number}"))))
        .collect::<anyhow::Result<Vec<_>>>()
        .context("the message relay")?;
    let started = match relays {
        2 => "two relays started",
        _ => "relay started",
    };
    live.progress(timeline.done(None, started));

    let caller = Person::new(Side::Caller, folder.path());
    let callee = Person::new(Side::Callee, folder.path());
    let (first, last) = (running.first(), running.last());
    let (first, last) = first.zip(last).context("no relay")?;
    let (first, last) = (first.address(), last.address());
    let prepare = async {
        tokio::try_join!(caller.make(&first), callee.make(&last))?;
        live.progress(timeline.done(None, "two profiles made"));
        connect(&caller, &callee, &mut timeline, live).await
    };
    tokio::select! {
        prepared = prepare => prepared?,
        () = stop.wanted() => {
            let text = "cancelled before there was a call";
            return Err(Failure::new(Status::NotConnected, text));
        }
    }
    let mut recording = call(plan, &caller, &callee, stop, &mut timeline, live).await?;
    recording.timeline = Some(timeline);
    for relay in running {
        relay.stop().await;
    }
    Ok(recording)
}

/// One of the two, with a profile.
struct Person {
    side: Side,
    folder: PathBuf,
}

impl Person {
    fn new(side: Side, folder: &Path) -> Self {
        let folder = folder.join(side.name());
        Self { side, folder }
    }

    /// Makes the profile, which uses one relay.
    async fn make(&self, relay: &str) -> Result<(), Failure> {
        let (told, mut tales) = mpsc::channel(TALES);
        let arguments = ["init", "--no-passphrase", "--server", "-", "--name"];
        let arguments = [&arguments[..], &[self.side.name()]].concat();
        let child = self.start(&arguments, Some(relay), told).await?;
        let mut heard = Heard::default();
        while let Some(tale) = tales.recv().await {
            heard.note(tale);
        }
        heard.conclude(self.side, child).await
    }

    /// Starts `sotto` for this profile, with `input` on its standard input. What it says goes to
    /// `told`.
    async fn start(
        &self,
        arguments: &[&str],
        input: Option<&str>,
        told: mpsc::Sender<Tale>,
    ) -> anyhow::Result<Child> {
        let mut command = this_program()?;
        command.args(arguments);
        self.spawn(command, input, None, told).await
    }

    async fn spawn(
        &self,
        mut command: tokio::process::Command,
        input: Option<&str>,
        log: Option<tokio::fs::File>,
        told: mpsc::Sender<Tale>,
    ) -> anyhow::Result<Child> {
        command.arg("--json").arg("--data-dir").arg(&self.folder);
        let stdin = if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("a second process")?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            // One that does not want it says why.
            let _ = pipe.write_all(input.as_bytes()).await;
        }
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (output, errors) = output.zip(errors).context("a process without pipes")?;
        tokio::spawn(listen(self.side, output, log, told.clone()));
        tokio::spawn(listen(self.side, errors, None, told));
        Ok(child)
    }
}

/// What a short command said, in case it fails.
#[derive(Default)]
struct Heard {
    failure: Option<(u8, String)>,
    last: Option<String>,
}

impl Heard {
    fn note(&mut self, tale: Tale) {
        match tale {
            Tale::Record(_, record) => {
                if let Event::Exit {
                    status: status @ 1..,
                    message,
                } = record.event
                {
                    self.failure = Some((status, message.unwrap_or_default()));
                }
            }
            Tale::Message(_, line) => self.last = Some(line),
        }
    }

    async fn conclude(self, side: Side, mut child: Child) -> Result<(), Failure> {
        let status = child.wait().await.map_err(Failure::other)?;
        if status.success() {
            return Ok(());
        }
        let (code, text) = self.failure.unwrap_or_else(|| {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            let last = self.last.unwrap_or_else(|| "without a word".to_owned());
            (code.unwrap_or(1), last)
        });
        let code = Status::from_code(code.into()).unwrap_or(Status::Other);
        let text = format_args!("the {} failed: {text}", side.name());
        Err(Failure::new(code, text))
    }
}

/// Gives the caller's link to the callee, who connects.
async fn connect(
    caller: &Person,
    callee: &Person,
    timeline: &mut Timeline,
    live: &mut Live,
) -> Result<(), Failure> {
    let patience = Duration::from_secs(CONNECT_SECONDS);
    timeout(patience, connect_patiently(caller, callee, timeline, live))
        .await
        .unwrap_or_else(|_| {
            let text = "timeout: the two profiles did not connect";
            Err(Failure::new(Status::Timeout, text))
        })
}

async fn connect_patiently(
    caller: &Person,
    callee: &Person,
    timeline: &mut Timeline,
    live: &mut Live,
) -> Result<(), Failure> {
    let (told, mut tales) = mpsc::channel(TALES);
    let invite = ["invite", "--name", callee.side.name()];
    let inviting = caller.start(&invite, None, told.clone()).await?;
    let mut meeting = Meeting {
        told: Some(told),
        post_quantum: true,
        ..Meeting::default()
    };
    while let Some(tale) = tales.recv().await {
        if let Tale::Record(side, record) = &tale {
            let link = meeting.on_event(*side, &record.event, timeline, live);
            if let Some((link, told)) = link.zip(meeting.told.take()) {
                let connect = ["connect", "-", "--name", caller.side.name()];
                meeting.connecting = Some(callee.start(&connect, Some(&link), told).await?);
            }
        }
        meeting.note(tale);
    }
    let [of_caller, of_callee] = meeting.heard;
    if let Some(connecting) = meeting.connecting {
        of_callee.conclude(Side::Callee, connecting).await?;
    }
    of_caller.conclude(Side::Caller, inviting).await?;
    let [Some(one), Some(other)] = &meeting.codes else {
        return Err(Failure::other("the two profiles did not connect"));
    };
    if one != other {
        let text = "the two sides have different security codes";
        return Err(Failure::new(Status::Security, text));
    }
    timeline.post_quantum = meeting.post_quantum;
    Ok(())
}

/// Two processes that connect.
#[derive(Default)]
struct Meeting {
    /// For the process that answers the link, until it is started.
    told: Option<mpsc::Sender<Tale>>,
    connecting: Option<Child>,
    heard: [Heard; 2],
    codes: [Option<String>; 2],
    post_quantum: bool,
}

impl Meeting {
    /// Gives the link once it is there.
    fn on_event(
        &mut self,
        side: Side,
        event: &Event,
        timeline: &mut Timeline,
        live: &mut Live,
    ) -> Option<String> {
        let step = match event {
            Event::Link { .. } => "link made".to_owned(),
            // The link itself told that it is ready.
            Event::Progress { step, .. } if step != "link_ready" => stage_text(step).to_owned(),
            Event::Secured { post_quantum, .. } => {
                let keys = if *post_quantum {
                    "post-quantum keys"
                } else {
                    "keys"
                };
                format!("connected, with {keys}")
            }
            Event::Exit { .. } => {
                // Without a link nothing more comes.
                self.told = self.told.take().filter(|_| side != Side::Caller);
                return None;
            }
            _ => return None,
        };
        live.progress(timeline.done(Some(side), step));
        match event {
            Event::Link { short, full, .. } => Some(short.as_ref().unwrap_or(full).clone()),
            Event::Secured {
                code, post_quantum, ..
            } => {
                self.post_quantum &= post_quantum;
                *side.of_mut(&mut self.codes) = Some(code.clone());
                None
            }
            _ => None,
        }
    }

    fn note(&mut self, tale: Tale) {
        let side = match &tale {
            Tale::Record(side, _) | Tale::Message(side, _) => *side,
        };
        side.of_mut(&mut self.heard).note(tale);
    }
}

async fn call(
    plan: &Plan,
    caller: &Person,
    callee: &Person,
    signals: Stop,
    timeline: &mut Timeline,
    live: &mut Live,
) -> Result<Recording, Failure> {
    let (told, mut tales) = mpsc::channel(TALES);
    let mut command = this_program()?;
    command.args(["listen", "--once", "--answer", "auto"]);
    plan.add_call_options(&mut command, Side::Callee);
    let log = plan.log(Side::Callee).await?;
    let mut listening = callee.spawn(command, None, Some(log), told.clone()).await?;
    let mut heard = Heard::default();
    loop {
        match tales.recv().await {
            Some(Tale::Record(_, record)) if matches!(record.event, Event::Listening) => break,
            Some(tale) => heard.note(tale),
            None => {
                heard.conclude(Side::Callee, listening).await?;
                return Err(Failure::other("the callee ended too early"));
            }
        }
        if heard.failure.is_some() {
            return heard
                .conclude(Side::Callee, listening)
                .await
                .and(Err(Failure::other("the callee ended too early")));
        }
    }
    live.progress(timeline.done(Some(Side::Callee), "listens"));

    let mut command = this_program()?;
    command.args(["call", callee.side.name()]);
    command.args(["--timeout", &CONNECT_SECONDS.to_string()]);
    plan.add_call_options(&mut command, Side::Caller);
    let log = plan.log(Side::Caller).await?;
    let mut calling = caller.spawn(command, None, Some(log), told).await?;
    let (stop, _stopped) = watch::channel(false);
    let mut watcher = Watcher::new(live, stop, signals, Some(timeline));
    watcher
        .watch(&mut tales, &mut calling, &mut listening)
        .await?;
    watcher.conclude()
}
