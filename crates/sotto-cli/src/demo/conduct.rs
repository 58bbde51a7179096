//! The two processes, and what they say.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use netem::ForwarderConfig;
use rustix::process::{Pid, kill_process};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::timeline::Timeline;
use super::{over_smp, over_stdio};
use crate::events::{Event, Figures, Record};
use crate::failure::{Failure, Status};
use crate::live::Live;
use crate::stop::{Stop, until};

/// What both sides send, within the output directory.
pub(super) const REFERENCE: &str = "spoken.wav";

/// For a call within this machine to connect.
pub(super) const CONNECT_SECONDS: u64 = 45;

/// For the other side to end after the first one has.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of standard error kept of each side.
const MESSAGES: usize = 20;

/// How the call is to be.
pub(super) struct Plan {
    pub(super) out: PathBuf,
    pub(super) video: Option<PathBuf>,
    pub(super) length: Duration,
    pub(super) network: Option<ForwarderConfig>,
    pub(super) signal: Signal,
}

/// What carries the signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Message relays, so many.
    Smp { relays: u8 },
    /// This process, between the two.
    Stdio,
}

/// One of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Caller, Self::Callee];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }

    pub(super) fn peer(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// What this side heard, within the output directory.
    pub(super) fn heard(self) -> String {
        format!("{}-heard.wav", self.name())
    }

    /// What is this side's of a pair.
    pub(super) fn of_mut<T>(self, [caller, callee]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Caller => caller,
            Self::Callee => callee,
        }
    }

    pub(super) fn in_network(self) -> netem::Side {
        match self {
            Self::Caller => netem::Side::A,
            Self::Callee => netem::Side::B,
        }
    }
}

/// What the processes told of the call.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) caller: Vec<Figures>,
    pub(super) callee: Vec<Figures>,
    /// How the call came about; over relays alone.
    pub(super) timeline: Option<Timeline>,
}

impl Recording {
    /// Statistics of a side, one a second, the last of them final.
    pub(super) fn of(&self, side: Side) -> &[Figures] {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    /// Final figures of a side.
    pub(super) fn last(&self, side: Side) -> Option<&Figures> {
        self.of(side).last()
    }

    /// How long media flowed; less than was planned if the user ended the call.
    pub(super) fn length(&self) -> Duration {
        let length_ms = |side| {
            let last = self.last(side)?;
            Some(last.unix_ms - last.media_started_unix_ms?)
        };
        let longest = Side::BOTH
            .into_iter()
            .filter_map(length_ms)
            .fold(0.0, f64::max);
        Duration::try_from_secs_f64(longest / 1000.0).unwrap_or_default()
    }

    fn push(&mut self, side: Side, figures: Figures) {
        match side {
            Side::Caller => self.caller.push(figures),
            Side::Callee => self.callee.push(figures),
        }
    }
}

/// Makes the call.
pub(super) async fn run(plan: &Plan, live: &mut Live) -> Result<Recording, Failure> {
    match plan.signal {
        Signal::Stdio => over_stdio::run(plan, live).await,
        Signal::Smp { relays } => over_smp::run(plan, relays, live).await,
    }
}

impl Plan {
    /// Adds what both ways of signalling have in common: media, addresses, patience.
    pub(super) fn add_call_options(&self, command: &mut Command, side: Side) {
        command.args(["--bind", "127.0.0.1"]);
        command.arg("--audio").arg(self.out.join(REFERENCE));
        command.arg("--audio-out").arg(self.out.join(side.heard()));
        if let Some(video) = &self.video {
            command.arg("--loop").arg("--video").arg(video);
            command
                .arg("--video-out")
                .arg(self.out.join(format!("{}-saw.ivf", side.name())));
        }
        if side == Side::Caller {
            command
                .arg("--seconds")
                .arg(self.length.as_secs_f64().to_string());
        }
    }

    /// Where the events of a side are kept.
    pub(super) async fn log(&self, side: Side) -> anyhow::Result<File> {
        let path = self.out.join(format!("{}.jsonl", side.name()));
        File::create(&path)
            .await
            .with_context(|| path.display().to_string())
    }
}

/// This program, once more.
pub(super) fn this_program() -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("this program's own file")?;
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    Ok(command)
}

/// What a process says.
pub(super) enum Tale {
    Record(Side, Record),
    Message(Side, String),
}

/// Tells each line that a process writes; those that are events are kept in `log` as well.
pub(super) async fn listen(
    side: Side,
    from: impl AsyncRead + Unpin,
    mut log: Option<File>,
    told: mpsc::Sender<Tale>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let tale = match serde_json::from_str(&line) {
            Ok(record) => {
                if let Some(log) = &mut log {
                    // The report does without the log if it can't be written.
                    let _ = log.write_all(format!("{line}\n").as_bytes()).await;
                }
                Tale::Record(side, record)
            }
            Err(_) => Tale::Message(side, line),
        };
        if told.send(tale).await.is_err() {
            break;
        }
    }
    if let Some(mut log) = log {
        let _ = log.flush().await;
    }
}

/// Follows the two processes to their end.
pub(super) struct Watcher<'a> {
    live: &'a mut Live,
    stop: watch::Sender<bool>,
    signals: Stop,
    recording: Recording,
    /// How the call came about, if it goes over relays: then nothing but a signal ends it.
    timeline: Option<&'a mut Timeline>,
    ending: bool,
    messages: [VecDeque<String>; 2],
    connected: Option<Instant>,
    ended: [Option<ExitStatus>; 2],
    failure: Option<Failure>,
    kill_at: Option<Instant>,
}

impl<'a> Watcher<'a> {
    /// `stop` is set when the call is to end.
    pub(super) fn new(
        live: &'a mut Live,
        stop: watch::Sender<bool>,
        signals: Stop,
        timeline: Option<&'a mut Timeline>,
    ) -> Self {
        Self {
            live,
            stop,
            signals,
            recording: Recording::default(),
            timeline,
            ending: false,
            messages: Default::default(),
            connected: None,
            ended: [None; 2],
            failure: None,
            kill_at: None,
        }
    }

    pub(super) async fn watch(
        &mut self,
        tales: &mut mpsc::Receiver<Tale>,
        caller: &mut Child,
        callee: &mut Child,
    ) -> Result<(), Failure> {
        let mut talking = true;
        while talking || self.ended.contains(&None) {
            let [caller_ended, callee_ended] = self.ended;
            tokio::select! {
                tale = tales.recv(), if talking => match tale {
                    Some(Tale::Record(side, record)) => self.on_record(side, record),
                    Some(Tale::Message(side, line)) => self.on_message(side, line),
                    None => talking = false,
                },
                status = caller.wait(), if caller_ended.is_none() => {
                    self.on_end(Side::Caller, status);
                }
                status = callee.wait(), if callee_ended.is_none() => {
                    self.on_end(Side::Callee, status);
                }
                () = self.signals.wanted() => self.end_call(),
                () = until(self.kill_at) => {
                    self.kill_at = None;
                    // One that has ended meanwhile can't be killed.
                    let _ = caller.start_kill();
                    let _ = callee.start_kill();
                }
            }
            if std::mem::take(&mut self.ending) && self.timeline.is_some() {
                terminate(caller);
                terminate(callee);
            }
        }
        Ok(())
    }

    /// The recording, or why a process failed.
    pub(super) fn conclude(self) -> Result<Recording, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        for (index, side) in Side::BOTH.into_iter().enumerate() {
            let ended = self.ended.get(index).copied().flatten();
            if let Some(status) = ended.filter(|status| !status.success()) {
                let last = self.messages.get(index).and_then(VecDeque::back);
                let last = last.map_or("without a word", String::as_str);
                let code = status
                    .code()
                    .and_then(Status::from_code)
                    .unwrap_or(Status::Other);
                let text = format_args!("the {} failed ({status}): {last}", side.name());
                return Err(Failure::new(code, text));
            }
        }
        Ok(self.recording)
    }

    /// Both sides are told that the call is over.
    fn end_call(&mut self) {
        self.ending |= !self.stop.send_replace(true);
        self.kill_at.get_or_insert(Instant::now() + GRACE);
    }

    fn on_record(&mut self, side: Side, record: Record) {
        let timeline = self.timeline.as_mut();
        if let Some(line) = timeline.and_then(|timeline| timeline.on_call(side, &record.event)) {
            self.live.progress(line);
        }
        match record.event {
            Event::Statistics(figures) => {
                if let (Side::Callee, Some(connected), false) =
                    (side, self.connected, figures.r#final)
                {
                    self.live.show(connected.elapsed(), (*figures).clone());
                }
                self.recording.push(side, *figures);
            }
            Event::Connected { srtp_profile } if side == Side::Callee => {
                self.connected = Some(Instant::now());
                if self.timeline.is_none() {
                    self.live
                        .progress(format_args!("connected: {srtp_profile}"));
                }
            }
            Event::Interrupted => self.live.progress("connection lost, waiting …"),
            Event::Resumed => self.live.progress("connection is back"),
            Event::Exit { status, message } => self.on_exit(side, status, message),
            _ => {}
        }
    }

    /// A process says how it ends; the first one that fails says why.
    fn on_exit(&mut self, side: Side, status: u8, message: Option<String>) {
        self.kill_at.get_or_insert(Instant::now() + GRACE);
        if let (Some(status), None) = (Status::from_code(status.into()), &self.failure) {
            let message = message.unwrap_or_default();
            let text = format_args!("the {} failed: {message}", side.name());
            self.failure = Some(Failure::new(status, text));
            self.end_call();
        }
    }

    fn on_message(&mut self, side: Side, line: String) {
        let messages = side.of_mut(&mut self.messages);
        messages.push_back(line);
        if messages.len() > MESSAGES {
            messages.pop_front();
        }
    }

    fn on_end(&mut self, side: Side, status: std::io::Result<ExitStatus>) {
        let status = status.unwrap_or_default();
        *side.of_mut(&mut self.ended) = Some(status);
        self.kill_at.get_or_insert(Instant::now() + GRACE);
        if !status.success() {
            self.end_call();
        }
    }
}

/// Asks a process to end, unless it has.
fn terminate(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = id.and_then(Pid::from_raw) {
        // It may end at this moment.
        let _ = kill_process(pid, rustix::process::Signal::TERM);
    }
}
