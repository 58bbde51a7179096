//! The call whose signalling this process carries between the two, by their standard input and
//! output. That way it can move media onto a disturbed network.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use netem::Forwarder;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};

use super::candidates;
use super::conduct::{CONNECT_SECONDS, Plan, Recording, Side, Watcher, listen, this_program};
use crate::failure::Failure;
use crate::live::Live;
use crate::stop::Stop;

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
    let mut callee = start(plan, Side::Callee)?;
    let mut caller = start(plan, Side::Caller)?;
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
        let log = plan.log(side).await?;
        tokio::spawn(listen(side, errors, Some(log), told.clone()));
    }
    drop(told);
    let mut watcher = Watcher::new(live, stop, Stop::new()?, None);
    watcher.watch(&mut tales, &mut caller, &mut callee).await?;
    watcher.conclude()
}

fn start(plan: &Plan, side: Side) -> anyhow::Result<Child> {
    let mut command = this_program()?;
    command.args(["call", "--signal", "stdio", "--as", side.name()]);
    command.args(["--events", "-"]);
    command.args(["--timeout", &CONNECT_SECONDS.to_string()]);
    plan.add_call_options(&mut command, side);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().context("a second process")
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
