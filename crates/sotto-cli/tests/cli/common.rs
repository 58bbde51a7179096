//! Processes of `sotto call` for tests, and sound for them.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use call_media::{AUDIO_FRAME_SAMPLES, AudioFrame, AudioSink as _, WavSink};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes so long unless it hangs.
const HANGS_AFTER: Duration = Duration::from_secs(120);

pub(crate) fn sotto() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sotto"))
}

/// Runs to the end; exit status, standard output and standard error.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> (i32, String, String) {
    let output = sotto()
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("sotto runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let code = output.status.code().expect("an exit status");
    (code, text(&output.stdout), text(&output.stderr))
}

/// Writes noise that swells and fades like syllables.
pub(crate) fn speech(path: &Path, seconds: usize) {
    let (mut state, mut low) = (1_u32, 0.0_f32);
    let mut sink = WavSink::create(path).expect("a new file");
    for frame in 0..seconds * 50 {
        let mut samples = [0_i16; AUDIO_FRAME_SAMPLES];
        for (index, sample) in samples.iter_mut().enumerate() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 16) as f32 / 32_768.0 - 1.0;
            low += (noise - low) * 0.05;
            let swell = ((frame * AUDIO_FRAME_SAMPLES + index) as f32 / 9_000.0).sin();
            *sample = (low * swell * 60_000.0) as i16;
        }
        sink.write(&AudioFrame::from(samples)).expect("room");
    }
    sink.finish().expect("room");
}

/// A process of `sotto call` with files of its own.
pub(crate) struct Party {
    name: &'static str,
    folder: PathBuf,
    child: Child,
    input: Option<ChildStdin>,
}

impl Party {
    /// Starts `sotto call --as name` with two seconds of sound and `more` arguments.
    pub(crate) fn start(name: &'static str, folder: &TempDir, more: &[&str]) -> Self {
        let folder = folder.path().to_owned();
        let spoken = folder.join("spoken.wav");
        if !spoken.exists() {
            speech(&spoken, 2);
        }
        let file = |kind: &str| folder.join(format!("{name}{kind}"));
        let errors = std::fs::File::create(file(".stderr")).expect("a new file");
        let mut child = sotto()
            .args([
                "call",
                "--signal",
                "stdio",
                "--bind",
                "127.0.0.1",
                "--as",
                name,
            ])
            .arg("--audio")
            .arg(&spoken)
            .arg("--audio-out")
            .arg(file(".wav"))
            .arg("--events")
            .arg(file(".jsonl"))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("sotto starts");
        let input = child.stdin.take();
        Self {
            name,
            folder,
            child,
            input,
        }
    }

    /// Says something on its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not wired yet");
        input.write_all(line.as_bytes()).expect("it reads");
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Carries what this one says to the other one, until either ends or the line is cut.
    fn speak_to(&mut self, other: &mut Self, cut: &Arc<AtomicBool>) {
        let mut from = self.child.stdout.take().expect("standard output");
        let mut to = other.input.take().expect("standard input");
        let (lines, carried) = mpsc::channel::<Vec<u8>>();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let part = buffer.get(..length).unwrap_or_default().to_vec();
                if lines.send(part).is_err() {
                    break;
                }
            }
        });
        let cut = Arc::clone(cut);
        thread::spawn(move || {
            while !cut.load(Ordering::Relaxed) {
                match carried.recv_timeout(Duration::from_millis(20)) {
                    Ok(part) if to.write_all(&part).is_ok() => {}
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        });
    }

    /// Waits until it has told of `event`.
    pub(crate) fn wait_for(&self, event: &str) {
        let started = Instant::now();
        while !self.events().iter().any(|told| told["event"] == event) {
            assert!(
                started.elapsed() < HANGS_AFTER,
                "no {event}: {}",
                self.errors()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Its exit status; -1 if a signal killed it.
    pub(crate) fn exit(&mut self) -> i32 {
        let started = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                break status;
            }
            if started.elapsed() > HANGS_AFTER {
                let _ = self.child.kill();
                panic!("the {} hangs: {}", self.name, self.errors());
            }
            thread::sleep(Duration::from_millis(20));
        };
        status.code().unwrap_or(-1)
    }

    /// What it told with `--events` so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.read(".jsonl").unwrap_or_default();
        // The last line may be half written.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// The last statistics.
    pub(crate) fn final_statistics(&self) -> Value {
        let events = self.events();
        let last = events
            .iter()
            .rfind(|told| told["event"] == "statistics" && told["final"] == true);
        last.cloned()
            .unwrap_or_else(|| panic!("no final statistics: {}", self.errors()))
    }

    pub(crate) fn errors(&self) -> String {
        self.read(".stderr").unwrap_or_default()
    }

    /// The sound that it wrote.
    pub(crate) fn heard(&self) -> PathBuf {
        self.file(".wav")
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}{kind}", self.name))
    }

    fn read(&self, kind: &str) -> io::Result<String> {
        std::fs::read_to_string(self.file(kind))
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Joins the two by their standard input and output.
pub(crate) fn wire(caller: &mut Party, callee: &mut Party) -> Line {
    let cut = Arc::new(AtomicBool::new(false));
    caller.speak_to(callee, &cut);
    callee.speak_to(caller, &cut);
    Line(cut)
}

/// What carries the signalling between two parties.
pub(crate) struct Line(Arc<AtomicBool>);

impl Line {
    /// Nothing is carried any more.
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
