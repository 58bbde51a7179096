//! `sotto call` against Chromium, whose page does on the wire what SimpleX Chat's calls do
//! (tests/browser). Both roles, both key versions, both media, and peers of the older generation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Seconds of each call, counted from connected.
const SECONDS: u32 = 5;

/// One call with the page.
struct Case {
    /// What the page is; `sotto` is the other.
    page: &'static str,
    version: &'static str,
    media: &'static str,
    generation: &'static str,
    /// How the page hooks frames: `script` (RTCRtpScriptTransform) or `streams`.
    transform: &'static str,
    /// Who ends the call: the page (`self`) or `sotto` (`peer`).
    end: &'static str,
}

const CASE: Case = Case {
    page: "caller",
    version: "2",
    media: "video",
    generation: "new",
    transform: "script",
    end: "self",
};

#[test]
fn chromium_calls_us_version_2_video() {
    check(&CASE);
}

#[test]
fn chromium_calls_us_version_1_video() {
    check(&Case {
        version: "1",
        transform: "streams",
        ..CASE
    });
}

#[test]
fn chromium_calls_us_version_2_audio() {
    check(&Case {
        media: "audio",
        end: "peer",
        ..CASE
    });
}

#[test]
fn chromium_calls_us_version_1_audio() {
    check(&Case {
        version: "1",
        media: "audio",
        ..CASE
    });
}

#[test]
fn we_call_chromium_version_2_video() {
    check(&Case {
        page: "callee",
        ..CASE
    });
}

#[test]
fn we_call_chromium_version_1_video() {
    check(&Case {
        page: "callee",
        version: "1",
        ..CASE
    });
}

#[test]
fn we_call_chromium_version_2_audio() {
    check(&Case {
        page: "callee",
        media: "audio",
        transform: "streams",
        ..CASE
    });
}

#[test]
fn we_call_chromium_version_1_audio() {
    check(&Case {
        page: "callee",
        version: "1",
        media: "audio",
        end: "peer",
        ..CASE
    });
}

#[test]
fn an_older_chromium_peer_offers_two_media_sections() {
    check(&Case {
        page: "callee",
        version: "1",
        generation: "old",
        ..CASE
    });
}

#[test]
fn an_older_chromium_peer_offers_one_media_section() {
    check(&Case {
        page: "callee",
        version: "1",
        media: "audio",
        generation: "old",
        ..CASE
    });
}

fn check(case: &Case) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let outcome = run(case, directory.path());
    let page = &outcome["page"];
    assert_eq!(outcome["verdict"], "ok", "{outcome:#}");
    assert_eq!(outcome["command"]["exitStatus"], 0, "{outcome:#}");
    assert_eq!(
        page["callVersion"],
        case.version.parse::<u64>().unwrap(),
        "{outcome:#}"
    );
    assert_eq!(page["encrypted"], true);
    assert!(
        page["transport"]["srtpCipher"]
            .as_str()
            .unwrap()
            .contains("AEAD_AES_256_GCM")
    );
    let count = |path: &str| page.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    assert!(count("/frames/audio/decrypted") > 100, "{outcome:#}");
    assert_eq!(
        count("/frames/audio/failed") + count("/frames/video/failed"),
        0,
        "{outcome:#}"
    );

    let statistics = final_statistics(&file("events"));
    assert_eq!(statistics["srtp_profile"], "SRTP_AEAD_AES_256_GCM");
    assert_eq!(statistics["frames_refused"], 0, "{statistics:#}");
    assert!(
        statistics["frames_decrypted"].as_u64().unwrap() > 100,
        "{statistics:#}"
    );

    // Each side heard what the other said.
    assert_same_sound(&speech(), &file("heard-by-page.wav"));
    assert_same_sound(&speech(), &file("heard-by-sotto.wav"));

    if case.media == "video" {
        assert!(count("/video/received/framesDecoded") > 60, "{outcome:#}");
        assert!(count("/seen/frames") > 60, "{outcome:#}");
        let ivf = std::fs::read(file("seen-by-sotto.ivf")).unwrap();
        let frames = u32::from_le_bytes(ivf[24..28].try_into().unwrap());
        assert!(frames > 30, "{frames} frames of Chromium's camera");
    }
}

/// Runs the call and returns what the driver printed.
fn run(case: &Case, directory: &Path) -> Value {
    let browser = project().join("tests/browser");
    let ours = if case.page == "caller" {
        "callee"
    } else {
        "caller"
    };
    let mut command = Command::new("node");
    command
        .current_dir(&browser)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .arg("run.mjs")
        .args([
            "--role",
            case.page,
            "--version",
            case.version,
            "--media",
            case.media,
        ])
        .args([
            "--generation",
            case.generation,
            "--transform",
            case.transform,
        ])
        .args(["--end", case.end, "--seconds", &SECONDS.to_string()])
        .arg("--audio-in")
        .arg(speech())
        .arg("--audio-out")
        .arg(directory.join("heard-by-page.wav"))
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_sotto"))
        .args([
            "call",
            "--signal",
            "stdio",
            "--as",
            ours,
            "--bind",
            "127.0.0.1",
            "--loop",
        ])
        .arg("--audio")
        .arg(speech())
        .arg("--audio-out")
        .arg(directory.join("heard-by-sotto.wav"))
        .arg("--events")
        .arg(directory.join("events"));
    if case.end == "peer" {
        command.args(["--seconds", &SECONDS.to_string()]);
    }
    if case.media == "video" {
        command
            .arg("--video")
            .arg(project().join(".cache/video.ivf"))
            .arg("--video-out")
            .arg(directory.join("seen-by-sotto.ivf"));
    }
    let output = command
        .output()
        .expect("node is missing: run scripts/setup test");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

fn final_statistics(events: &Path) -> Value {
    std::fs::read_to_string(events)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|event| event["event"] == "statistics" && event["final"] == true)
        .expect("no final statistics")
}

fn assert_same_sound(sent: &Path, received: &Path) {
    let output = Command::new("node")
        .current_dir(project().join("tests/browser"))
        .arg("compare.mjs")
        .args([sent, received])
        .output()
        .unwrap();
    let verdict = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {verdict}", received.display());
}

fn speech() -> PathBuf {
    let path = project().join(".cache/speech.wav");
    assert!(
        path.exists(),
        "the speech is missing: run scripts/setup test"
    );
    path
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}
