//! Somebody with a profile, who types commands.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::sotto;
use crate::relay::TestRelay;

/// Nothing here takes so long unless it hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// A profile in a folder of its own.
pub(crate) struct Person {
    folder: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Said {
    /// What `--json` said, line by line.
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    /// The only event of this name.
    pub(crate) fn event(&self, name: &str) -> Value {
        let mut events = self.events();
        events.retain(|event| event["event"] == name);
        assert_eq!(events.len(), 1, "{name} in {self:?}");
        events.remove(0)
    }

    /// It ended well.
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }
}

impl Person {
    /// Without a profile yet.
    pub(crate) fn nobody() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
        }
    }

    /// A profile that uses these relays.
    pub(crate) fn new(name: &str, relays: &[&TestRelay]) -> Self {
        let person = Self::nobody();
        let addresses: Vec<&str> = relays.iter().map(|relay| relay.address.as_str()).collect();
        let init = ["init", "--no-passphrase", "--name", name, "--server", "-"];
        person.says(&init, &addresses.join("\n")).well();
        person
    }

    /// The folder of the profile.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("profile")
    }

    /// A file beside the profile.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sotto();
        command.args(arguments).arg("--data-dir").arg(self.folder());
        command.env_remove("SOTTO_PASSPHRASE");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn types(&self, arguments: &[&str]) -> Said {
        self.says(arguments, "")
    }

    /// The same, with something on its standard input.
    pub(crate) fn says(&self, arguments: &[&str], input: &str) -> Said {
        run(&mut self.command(arguments), input)
    }

    /// Starts a command that takes its time.
    pub(crate) fn starts(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(&[arguments, &["--json"]].concat()))
    }

    /// Connects two by a link; the name of each at the other's is its own.
    pub(crate) fn meets(&self, other: &Self) {
        let inviting = self.starts(&["invite", "--timeout", "30"]);
        let link = inviting.link();
        other
            .says(&["connect", "-", "--timeout", "30"], &link)
            .well();
        inviting.ends().well();
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sotto starts");
    let mut pipe = child.stdin.take().expect("standard input");
    // One that does not want it says why.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("it is ours");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said {
        status: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        errors: text(output.stderr),
    }
}

/// A command with `--json` that goes on.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Option<(JoinHandle<()>, JoinHandle<String>)>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sotto starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, kept) = (child.stdout.take().expect("a pipe"), Arc::clone(&lines));
        let reader = thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                kept.lock().expect("unpoisoned").push(line);
            }
        });
        let mut errors = child.stderr.take().expect("a pipe");
        let complainer = thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        Self {
            child,
            lines,
            readers: Some((reader, complainer)),
        }
    }

    /// What it told so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = self.lines.lock().expect("unpoisoned");
        let events = lines.iter().map(|line| serde_json::from_str(line));
        events.map(|event| event.expect("JSON")).collect()
    }

    /// Waits for the first event of this name.
    pub(crate) fn waits_for(&self, name: &str) -> Value {
        let started = Instant::now();
        loop {
            let found = self
                .events()
                .into_iter()
                .find(|event| event["event"] == name);
            if let Some(found) = found {
                return found;
            }
            let told = self.events();
            assert!(started.elapsed() < HANGS_AFTER, "no {name}: {told:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The short link that it shows.
    pub(crate) fn link(&self) -> String {
        let link = self.waits_for("link");
        link["short"].as_str().expect("a short link").to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(mut self) -> Said {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                break status;
            }
            let told = self.events();
            assert!(started.elapsed() < HANGS_AFTER, "it goes on: {told:?}");
            thread::sleep(Duration::from_millis(10));
        };
        let (reader, complainer) = self.readers.take().expect("it ends once");
        reader.join().expect("read");
        Said {
            status: status.code().unwrap_or(-1),
            out: self.lines.lock().expect("unpoisoned").join("\n"),
            errors: complainer.join().expect("read"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As the shell takes it.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
