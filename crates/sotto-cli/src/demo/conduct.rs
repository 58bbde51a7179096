//! The two processes, and what they say.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use netem::{Forwarder, ForwarderConfig};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::candidates;
use crate::events::{Event, Figures, Record};
use crate::failure::{Failure, Status};
use crate::live::Live;

/// What both sides send, within the output directory.
pub(super) const REFERENCE: &str = "spoken.wav";

/// For a call within this machine to connect.
const CONNECT_SECONDS: u64 = 45;

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

    fn in_network(self) -> netem::Side {
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
    let forwarder = match plan.network {
        None => None,
        Some(config) => {
            let forwarder = Forwarder::start(config).context("the disturbed network")?;
            Some(Arc::new(forwarder))
        }
    };
    let (stop, stopped) = watch::channel(false);
    let (told, mut tales) = mpsc::channel(64);
    let mut callee = plan.start(Side::Callee)?;
    let mut caller = plan.start(Side::Caller)?;
    for (side, from, to) in [
        (Side::Caller, caller.stdout.take(), callee.stdin.take()),
        (Side::Callee, callee.stdout.take(), caller.stdin.take()),
    ] {
        let pipes = from.zip(to).context("a process without pipes");
        let (from, to) = pipes?;
        tokio::spawn(carry(side, from, to, forwarder.clone(), stopped.clone()));
    }
    for (side, child) in [(Side::Caller, &mut caller), (Side::Callee, &mut callee)] {
        let errors = child
            .stderr
            .take()
            .context("a process without standard error")?;
        let log = plan.out.join(format!("{}.jsonl", side.name()));
        let log = File::create(&log)
            .await
            .with_context(|| log.display().to_string())?;
        tokio::spawn(listen(side, errors, log, told.clone()));
    }
    drop(told);
    let mut watcher = Watcher::new(live, stop);
    watcher.watch(&mut tales, &mut caller, &mut callee).await?;
    watcher.conclude()
}

impl Plan {
    fn start(&self, side: Side) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("this program's own file")?;
        let mut command = Command::new(program);
        command.args([
            "call",
            "--signal",
            "stdio",
            "--as",
            side.name(),
            "--events",
            "-",
        ]);
        command.args([
            "--bind",
            "127.0.0.1",
            "--timeout",
            &CONNECT_SECONDS.to_string(),
        ]);
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
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .kill_on_drop(true)
            .spawn()
            .context("a second process")
    }
}

/// Carries chat messages from one process to the other.
async fn carry(
    side: Side,
    from: ChildStdout,
    mut to: ChildStdin,
    forwarder: Option<Arc<Forwarder>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut lines = BufReader::new(from).lines();
    let mut end = None;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => line,
                _ => break,
            },
            Ok(()) = stopped.changed() => match end.take() {
                Some(end) => end,
                // No call yet: the end of the signalling ends the process.
                None => break,
            },
        };
        if end.is_none() {
            end = candidates::end_of_same_call(&line);
        }
        let mut line = match &forwarder {
            Some(forwarder) => {
                candidates::redirect(&line, |real| forwarder.expose(side.in_network(), real).ok())
            }
            None => line,
        };
        line.push('\n');
        if to.write_all(line.as_bytes()).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
}

/// What a process says on standard error.
enum Tale {
    Record(Side, Record),
    Message(Side, String),
}

async fn listen(side: Side, errors: ChildStderr, mut log: File, told: mpsc::Sender<Tale>) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let tale = match serde_json::from_str(&line) {
            Ok(record) => {
                // The report does without the log if it can't be written.
                let _ = log.write_all(format!("{line}\n").as_bytes()).await;
                Tale::Record(side, record)
            }
            Err(_) => Tale::Message(side, line),
        };
        if told.send(tale).await.is_err() {
            break;
        }
    }
    let _ = log.flush().await;
}

/// Follows the two processes to their end.
struct Watcher<'a> {
    live: &'a mut Live,
    stop: watch::Sender<bool>,
    recording: Recording,
    messages: [VecDeque<String>; 2],
    connected: Option<Instant>,
    ended: [Option<ExitStatus>; 2],
    failure: Option<Failure>,
    kill_at: Option<Instant>,
}

impl<'a> Watcher<'a> {
    fn new(live: &'a mut Live, stop: watch::Sender<bool>) -> Self {
        Self {
            live,
            stop,
            recording: Recording::default(),
            messages: Default::default(),
            connected: None,
            ended: [None; 2],
            failure: None,
            kill_at: None,
        }
    }

    async fn watch(
        &mut self,
        tales: &mut mpsc::Receiver<Tale>,
        caller: &mut Child,
        callee: &mut Child,
    ) -> Result<(), Failure> {
        let mut interrupt = signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate = signal(tokio::signal::unix::SignalKind::terminate())?;
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
                _ = interrupt.recv() => self.end_call(),
                _ = terminate.recv() => self.end_call(),
                () = until(self.kill_at) => {
                    self.kill_at = None;
                    // One that has ended meanwhile can't be killed.
                    let _ = caller.start_kill();
                    let _ = callee.start_kill();
                }
            }
        }
        Ok(())
    }

    /// The recording, or why a process failed.
    fn conclude(self) -> Result<Recording, Failure> {
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
        self.stop.send_replace(true);
        self.kill_at.get_or_insert(Instant::now() + GRACE);
    }

    fn on_record(&mut self, side: Side, record: Record) {
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
                self.live
                    .progress(format_args!("connected: {srtp_profile}"));
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
        let [caller, callee] = &mut self.messages;
        let messages = if side == Side::Caller { caller } else { callee };
        messages.push_back(line);
        if messages.len() > MESSAGES {
            messages.pop_front();
        }
    }

    fn on_end(&mut self, side: Side, status: std::io::Result<ExitStatus>) {
        let status = status.unwrap_or_default();
        let [caller, callee] = &mut self.ended;
        *(if side == Side::Caller { caller } else { callee }) = Some(status);
        self.kill_at.get_or_insert(Instant::now() + GRACE);
        if !status.success() {
            self.end_call();
        }
    }
}

fn signal(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    tokio::signal::unix::signal(kind).map_err(|error| Failure::new(Status::Other, error))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
