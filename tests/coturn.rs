//! Relay-only calls through coturn: nothing but relayed addresses leaves either side.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// Against hanging only.
const PATIENCE: Duration = Duration::from_secs(60);

/// A password with every symbol that SimpleX's format has to survive.
const PASSWORD: &str = "p@ss:w/rd?%#&=+";

#[test]
fn a_relay_only_call_goes_through_the_relay_and_shows_no_other_address() {
    let coturn = Coturn::start();
    let directory = tempfile::tempdir().unwrap();
    let ice = format!("turn:alice:{PASSWORD}@127.0.0.1:{}", coturn.port);
    let relayed = |side: &str| {
        let mut command = sotto(side, directory.path());
        command.args(["--relay-only", "--ice", &ice, "--seconds", "4"]);
        command
    };
    let messages = talk(relayed("caller"), relayed("callee"));
    let offer = messages
        .iter()
        .find(|m| m["event"] == "x.call.offer")
        .expect("no offer");
    let session = &offer["params"]["offer"]["rtcSession"];
    let candidates = decompress(&session["rtcIceCandidates"]);
    assert!(candidates.contains("typ relay"), "{candidates}");
    for message in &messages {
        for field in ["rtcSession", "rtcIceCandidates"] {
            for text in fields(message, field) {
                let text = decompress(&text);
                assert!(
                    !text.contains("typ host") && !text.contains("typ srflx"),
                    "{text}"
                );
            }
        }
    }
    for side in ["caller", "callee"] {
        let statistics = final_statistics(&directory.path().join(format!("{side}.jsonl")));
        assert_eq!(
            statistics["local_candidate_type"], "relay",
            "{statistics:#}"
        );
        assert_eq!(
            statistics["remote_candidate_type"], "relay",
            "{statistics:#}"
        );
        assert_eq!(statistics["srtp_profile"], "SRTP_AEAD_AES_256_GCM");
        assert!(
            statistics["frames_decrypted"].as_u64().unwrap() > 100,
            "{statistics:#}"
        );
    }
}

#[test]
fn a_relay_that_refuses_the_password_ends_a_relay_only_call_with_a_plain_error() {
    let coturn = Coturn::start();
    let directory = tempfile::tempdir().unwrap();
    let with = |side: &str, password: &str| {
        let mut command = sotto(side, directory.path());
        let ice = format!("turn:alice:{password}@127.0.0.1:{}", coturn.port);
        command.args(["--relay-only", "--ice", &ice, "--seconds", "4"]);
        command
    };
    let caller = with("caller", PASSWORD).spawn().unwrap();
    let callee = with("callee", "wrong").spawn().unwrap();
    let (_, [caller, callee]) = carry([caller, callee]);
    assert!(!caller.status.success() && !callee.status.success());
    let words = String::from_utf8_lossy(&callee.stderr);
    assert!(words.contains("relay") || words.contains("TURN"), "{words}");
}

fn sotto(side: &str, directory: &Path) -> Command {
    let speech = project().join(".cache/speech.wav");
    assert!(
        speech.exists(),
        "the speech is missing: run scripts/setup test"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_sotto"));
    command
        .args(["call", "--signal", "stdio", "--as", side, "--audio"])
        .arg(speech)
        .arg("--events")
        .arg(directory.join(format!("{side}.jsonl")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a call to its end; returns all chat messages.
fn talk(mut caller: Command, mut callee: Command) -> Vec<Value> {
    let sides = [caller.spawn().unwrap(), callee.spawn().unwrap()];
    let (messages, outputs) = carry(sides);
    for output in outputs {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    messages
}

/// Carries lines between two processes until both have ended.
fn carry(mut sides: [Child; 2]) -> (Vec<Value>, [std::process::Output; 2]) {
    let (sender, lines) = mpsc::channel();
    let stdout = sides.each_mut().map(|side| side.stdout.take().unwrap());
    let mut stdin = sides.each_mut().map(|side| side.stdin.take());
    let readers: Vec<_> = stdout
        .into_iter()
        .enumerate()
        .map(|(index, stdout)| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    sender.send((index, line.unwrap())).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let mut messages = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok((index, line)) => {
                if let Some(stdin) = &mut stdin[1 - index] {
                    // The other side may have ended.
                    let _ = writeln!(stdin, "{line}");
                }
                messages.push(serde_json::from_str(&line).unwrap());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                sides.iter_mut().for_each(|side| side.kill().unwrap());
                panic!("the call hangs; messages: {messages:#?}");
            }
        }
    }
    drop(stdin);
    for reader in readers {
        reader.join().unwrap();
    }
    (messages, sides.map(|side| side.wait_with_output().unwrap()))
}

/// All values of a field, at any depth.
fn fields(value: &Value, name: &str) -> Vec<Value> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(_) if key == name => vec![value.clone()],
                _ => fields(value, name),
            })
            .collect(),
        Value::Array(array) => array.iter().flat_map(|value| fields(value, name)).collect(),
        _ => Vec::new(),
    }
}

fn decompress(value: &Value) -> String {
    call_signal::lz_string::decompress_from_base64(value.as_str().unwrap(), 1 << 20).unwrap()
}

fn final_statistics(events: &Path) -> Value {
    std::fs::read_to_string(events)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|event| event["event"] == "statistics" && event["final"] == true)
        .expect("no final statistics")
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A coturn of this test's own on loopback.
struct Coturn {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Coturn {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = Command::new("turnserver")
            .args([
                "-n",
                "--no-tls",
                "--no-dtls",
                "--no-cli",
                "--lt-cred-mech",
                "--realm",
                "test",
            ])
            .args([
                "--user",
                &format!("alice:{PASSWORD}"),
                "--allow-loopback-peers",
            ])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args([
                "--listening-port",
                &port.to_string(),
                "--log-file",
                "stdout",
                "--simple-log",
            ])
            .arg("--pidfile")
            .arg(directory.path().join("pid"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver is missing: run scripts/setup test");
        let coturn = Self {
            child,
            port,
            _directory: directory,
        };
        coturn.wait_until_it_answers();
        coturn
    }

    /// Sends Binding requests (RFC 8489) until one is answered.
    fn wait_until_it_answers(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let mut request = [0; 20];
        request[1] = 1;
        request[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
        let mut answer = [0; 512];
        let answered = (0..300).any(|_| {
            socket.send_to(&request, ("127.0.0.1", self.port)).unwrap();
            socket.recv_from(&mut answer).is_ok()
        });
        assert!(answered, "coturn does not answer");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free for both UDP and TCP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
