//! `sotto demo`, short.

use std::fs;

use crate::common::{sotto, speech};
use serde_json::Value;
use tempfile::TempDir;

/// Runs a demo of three seconds; its JSON, and the folder that it filled.
fn demo(more: &[&str]) -> (Value, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let spoken = folder.path().join("input.wav");
    speech(&spoken, 2);
    let output = sotto()
        .args(["demo", "--seconds", "3", "--json", "--audio"])
        .arg(&spoken)
        .arg("--out")
        .arg(folder.path().join("out"))
        .args(more)
        .env("SOTTO_PYTHON", "/nowhere/at/all")
        .output()
        .expect("sotto runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    (
        serde_json::from_slice(&output.stdout).expect("one JSON object"),
        folder,
    )
}

#[test]
fn a_demo_prints_its_figures_and_writes_a_report() {
    let (figures, folder) = demo(&[]);
    assert_eq!(figures["profile"], "SRTP_AEAD_AES_256_GCM");
    assert_eq!(figures["frames_refused"], 0);
    assert_eq!(figures["pesq_wb"], Value::Null);
    for side in [&figures, &figures["caller"], &figures["callee"]] {
        for key in ["accept_to_audio_ms", "connect_ms", "mouth_to_ear_ms"] {
            assert!(side[key].as_f64() > Some(0.0), "{key}: {side}");
        }
        for key in ["packets_sent", "frames_encrypted", "frames_decrypted"] {
            assert!(side[key].as_u64() > Some(100), "{key}: {side}");
        }
        assert!(
            side["packets_lost"].is_u64() && side["candidate_types"].is_array(),
            "{side}"
        );
    }
    let out = folder.path().join("out");
    for file in [
        "spoken.wav",
        "caller-heard.wav",
        "callee-heard.wav",
        "caller.jsonl",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let signalling = &figures["signalling"];
    assert_eq!(
        (&signalling["relays"], &signalling["post_quantum"]),
        (&1.into(), &true.into())
    );
    assert!(
        signalling["call_to_ring_ms"].as_f64() > Some(0.0),
        "{signalling}"
    );
    let steps = signalling["steps"].as_array().expect("steps");
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    for step in [
        "relay started",
        "two profiles made",
        "link made",
        "the link is read",
        "rings",
    ] {
        assert!(names.contains(&step), "{step} in {names:?}");
    }
    assert!(
        steps
            .iter()
            .all(|step| step["took_ms"].as_f64() >= Some(0.0))
    );
    let report = fs::read_to_string(out.join("report.html")).expect("a report");
    assert_eq!(report.matches("<svg").count(), 6);
    // Nothing is loaded from elsewhere.
    assert!(!report.contains("<script") && !report.contains("src="));
}

#[test]
fn a_demo_over_two_relays_connects_and_calls() {
    let (figures, _folder) = demo(&["--relays", "2"]);
    let signalling = &figures["signalling"];
    assert_eq!(
        (&signalling["relays"], &signalling["post_quantum"]),
        (&2.into(), &true.into())
    );
    assert!(
        figures["frames_decrypted"].as_u64() > Some(200),
        "{figures}"
    );
}

#[test]
fn a_demo_without_relays_is_the_old_one() {
    let (figures, folder) = demo(&["--signal", "stdio"]);
    assert_eq!(figures["signalling"], Value::Null);
    let report = folder.path().join("out").join("report.html");
    let report = fs::read_to_string(report).expect("a report");
    assert_eq!(report.matches("<svg").count(), 5);
}

#[test]
fn a_disturbed_network_is_seen_in_the_figures() {
    let (figures, _folder) = demo(&["--loss", "8", "--delay", "100", "--jitter", "10"]);
    assert_eq!(figures["signalling"], Value::Null);
    assert_eq!(figures["loss_percent"], 8.0);
    assert!(figures["packets_lost"].as_u64() > Some(5), "{figures}");
    assert!(
        figures["mouth_to_ear_ms"].as_f64() > Some(100.0),
        "{figures}"
    );
}
