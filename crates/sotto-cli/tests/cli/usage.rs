//! What `sotto` says about itself and about what it can't use.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{run, speech};
use tempfile::TempDir;

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["call", "--as", "caller", "--bind", "127.0.0.1"], more].concat()
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn junk(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(
        &path,
        b"this is neither sound nor picture, but long enough for both",
    )
    .expect("room");
    path
}

#[test]
fn every_help_has_an_example() {
    for command in [
        &["--help"][..],
        &["call", "--help"],
        &["demo", "--help"],
        &["call", "-h"],
        &["init", "--help"],
        &["invite", "--help"],
        &["connect", "--help"],
        &["contacts", "--help"],
        &["contacts", "verify", "--help"],
        &["send", "--help"],
        &["listen", "--help"],
        &["servers", "--help"],
        &["servers", "add", "--help"],
        &["export", "--help"],
    ] {
        let (status, out, _) = run(command);
        assert_eq!(status, 0);
        assert!(
            out.contains("Example") && out.contains("\n  sotto "),
            "{command:?}: {out}"
        );
    }
}

#[test]
fn help_for_calls_lists_the_exit_statuses() {
    let (_, out, _) = run(&["call", "--help"]);
    for status in 0..=10 {
        assert!(
            out.contains(&format!("\n  {status}  ")),
            "{status} in {out}"
        );
    }
}

#[test]
fn a_wav_that_is_none_ends_with_6_before_anything_is_sent() {
    let folder = folder();
    let file = junk(&folder, "junk.wav");
    let (status, out, errors) = run(&arguments(&["--audio", text(&file)]));
    assert_eq!((status, out.as_str()), (6, ""));
    assert!(
        errors.contains("junk.wav") && errors.contains("WAV"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn an_ivf_that_is_none_ends_with_6_before_anything_is_sent() {
    let folder = folder();
    let file = junk(&folder, "junk.ivf");
    let (status, out, errors) = run(&arguments(&["--video", text(&file)]));
    assert_eq!((status, out.as_str()), (6, ""));
    assert!(
        errors.contains("junk.ivf") && errors.contains("IVF"),
        "{errors}"
    );
}

#[test]
fn an_output_that_cant_be_written_ends_with_6() {
    let (status, _, errors) = run(&arguments(&["--audio-out", "/nowhere/at/all.wav"]));
    assert_eq!(status, 6);
    assert!(errors.contains("/nowhere/at/all.wav"), "{errors}");
}

#[test]
fn an_output_that_would_empty_the_input_is_refused() {
    let folder = folder();
    let file = folder.path().join("a.wav");
    speech(&file, 1);
    let before = fs::metadata(&file).expect("it is there").len();
    let same = folder.path().join(".").join("a.wav");
    let (status, ..) = run(&arguments(&[
        "--audio",
        text(&file),
        "--audio-out",
        text(&same),
    ]));
    assert_eq!(status, 2);
    assert_eq!(fs::metadata(&file).expect("it is there").len(), before);
}

#[test]
fn an_unknown_ice_url_is_refused_without_repeating_it() {
    let (status, _, errors) = run(&arguments(&["--ice", "http://user:hunter2@example.org"]));
    assert_eq!(status, 2);
    assert!(
        errors.contains("--ice") && !errors.contains("hunter2"),
        "{errors}"
    );
}

#[test]
fn relay_only_without_a_relay_is_refused() {
    let (status, _, errors) = run(&arguments(&["--relay-only", "--ice", "stun:example.org"]));
    assert_eq!(status, 2);
    assert!(errors.contains("TURN"), "{errors}");
}

#[test]
fn a_caller_can_neither_ring_nor_decline() {
    for option in [&["--decline"][..], &["--ring", "1"]] {
        assert_eq!(run(&arguments(option)).0, 2, "{option:?}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for bad in ["-1", "NaN", "soon"] {
        assert_eq!(
            run(&arguments(&[&format!("--seconds={bad}")])).0,
            2,
            "{bad}"
        );
        assert_eq!(run(&["demo", &format!("--loss={bad}")]).0, 2, "{bad}");
    }
    assert_eq!(run(&["demo", "--loss", "101"]).0, 2);
}

#[test]
fn a_demo_without_sound_says_so() {
    let (status, out, errors) = run(&["demo", "--audio", "/nowhere/at/all.wav"]);
    assert_eq!((status, out.as_str()), (6, ""));
    assert!(errors.contains("/nowhere/at/all.wav"), "{errors}");
}
