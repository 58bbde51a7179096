//! A relay's folder, its commands, and the relay as a running process.

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use smp_protocol::{RelayAddress, ServerAddress};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::PATIENCE;

/// The program under test: the one that was built with the tests, or another that `SOTTO_SMP` names.
pub(crate) fn the_program() -> OsString {
    std::env::var_os("SOTTO_SMP").unwrap_or_else(|| env!("CARGO_BIN_EXE_sotto-smp").into())
}

/// A command of the program.
pub(crate) fn sotto_smp<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(the_program());
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A program of others; `None` if it is not installed.
pub(crate) async fn program(command: &mut Command) -> Option<Run> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match timeout(6 * PATIENCE, command.output())
        .await
        .expect("it hangs")
    {
        Ok(output) => Some(Run::of(&output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: &std::process::Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It did what it should.
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }

    /// It refused, with these words.
    pub(crate) fn failed(self, words: &str) -> Self {
        assert_eq!(self.status.code(), Some(1), "{self:#?}");
        assert!(self.stderr.contains(words), "no {words:?} in {self:#?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Run {
    let output = timeout(PATIENCE, command.output()).await.expect("it hangs");
    Run::of(&output.unwrap())
}

/// The folder of a relay on 127.0.0.1, with a port that it chooses at each start.
pub(crate) struct Folder {
    path: PathBuf,
    address: ServerAddress,
    _directory: TempDir,
}

impl Folder {
    /// A folder with the usual configuration and these lines beside it.
    pub(crate) async fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay");
        let mut init = sotto_smp(["init", "--host", "127.0.0.1", "--json", "--dir"]);
        let made = run(init.arg(&path)).await.succeeded().json();
        let folder = Self {
            path,
            address: made["address"].as_str().unwrap().parse().unwrap(),
            _directory: directory,
        };
        folder.configure(
            "listen.addresses = [\"127.0.0.1\"]\nlisten.port = 0\nlimits.connections = 500",
        );
        folder.configure(lines);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets options, each written with its section: `limits.connections = 1`.
    pub(crate) fn configure(&self, lines: &str) {
        let path = self.path.join("sotto-smp.toml");
        let mut config: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        merge(&mut config, lines.parse().unwrap());
        std::fs::write(&path, config.to_string()).unwrap();
    }

    /// A command about this relay.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        run(sotto_smp(arguments).arg("--dir").arg(&self.path)).await
    }

    /// The figures of the running relay.
    pub(crate) async fn stats(&self) -> serde_json::Value {
        self.run(&["stats", "--json"]).await.succeeded().json()
    }

    /// Starts the relay and waits until it listens.
    pub(crate) async fn start(&self) -> Relay {
        let mut command = sotto_smp(["start", "--dir"]);
        command.arg(&self.path);
        self.start_as(command).await
    }

    /// The same, with all that it can say.
    pub(crate) async fn start_verbose(&self) -> Relay {
        let mut command = sotto_smp(["start", "--verbose", "--dir"]);
        command.arg(&self.path);
        self.start_as(command).await
    }

    /// Starts the relay after some lines of shell, say for limits.
    pub(crate) async fn start_in_shell(&self, lines: &str) -> Relay {
        self.start_in(&["sh"], lines).await
    }

    /// The same in a shell that is started by another program.
    pub(crate) async fn start_in(&self, shell: &[&str], lines: &str) -> Relay {
        let script = format!("{lines}\nexec \"$@\"");
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .args(["-c", &script, "sh"])
            .arg(the_program())
            .args(["start", "--dir"])
            .arg(&self.path)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        self.start_as(command).await
    }

    /// Starts the relay and kills it so much later, whether it listens by then or not.
    pub(crate) async fn start_and_kill_after(&self, instant: Duration) {
        let mut command = sotto_smp(["start", "--dir"]);
        let command = command.arg(&self.path).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(instant).await;
        child.kill().await.unwrap();
    }

    async fn start_as(&self, mut command: Command) -> Relay {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, mut output) = watch::channel(String::new());
        tokio::spawn(collect(stdout, sender.clone()));
        tokio::spawn(collect(stderr, sender));
        let port = {
            let listening = output.wait_for(|text| listening_port(text).is_some());
            let text = timeout(PATIENCE, listening).await.expect("it hangs");
            text.ok().and_then(|text| listening_port(&text))
        };
        let port = port.unwrap_or_else(|| panic!("it did not start: {}", &*output.borrow()));
        let relay = &self.address.relay;
        let relay = RelayAddress::new(*relay.fingerprint(), relay.hosts().to_vec(), Some(port));
        Relay {
            address: ServerAddress {
                relay: relay.unwrap(),
                basic_auth: self.address.basic_auth.clone(),
            },
            port,
            child,
            output,
        }
    }
}

fn merge(into: &mut toml::Table, other: toml::Table) {
    for (name, value) in other {
        match (into.get_mut(&name), value) {
            (Some(toml::Value::Table(table)), toml::Value::Table(other)) => merge(table, other),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

fn listening_port(text: &str) -> Option<u16> {
    let mut lines = text.lines();
    let address = lines.find_map(|line| line.strip_prefix("listening on "))?;
    address.rsplit_once(':')?.1.parse().ok()
}

async fn collect(stream: impl AsyncRead + Unpin, output: watch::Sender<String>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        output.send_modify(|text| {
            text.push_str(&line);
            text.push('\n');
        });
    }
}

/// A running relay. It is killed when it is dropped.
pub(crate) struct Relay {
    pub(crate) address: ServerAddress,
    pub(crate) port: u16,
    child: Child,
    output: watch::Receiver<String>,
}

impl Relay {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the relay has ended")
    }

    /// The address with its password, for programs of others.
    pub(crate) fn address_text(&self) -> String {
        self.address.to_string_with_password().to_string()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it at once, without a word to it.
    pub(crate) async fn kill(&mut self) {
        timeout(PATIENCE, self.child.kill())
            .await
            .expect("it cannot be killed")
            .unwrap();
    }

    /// Waits until it ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await;
        status.expect("the relay does not end").unwrap()
    }

    /// Tells it to stop and waits for that; returns all that it printed.
    pub(crate) async fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        let output = self.whole_output().await;
        assert!(status.success(), "{status}: {output}");
        output
    }

    /// What it printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.borrow().clone()
    }

    /// What it printed until its end.
    pub(crate) async fn whole_output(&mut self) -> String {
        while self.output.changed().await.is_ok() {}
        self.output()
    }

    /// Waits until it printed this.
    pub(crate) async fn prints(&mut self, words: &str) {
        let printed = self.output.wait_for(|text| text.contains(words));
        let printed = matches!(timeout(PATIENCE, printed).await, Ok(Ok(_)));
        assert!(printed, "no {words:?} in {}", self.output());
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// How much time of a processor it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = text
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = [11, 12]
            .map(|field| fields[field].parse::<u64>().unwrap())
            .iter()
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Its memory that is not a file's, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let output = self.output();
        let panicked = output.contains("panicked at");
        assert!(
            !panicked || std::thread::panicking(),
            "the relay panicked: {output}"
        );
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
