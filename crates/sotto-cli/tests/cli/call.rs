//! Calls between two processes of `sotto call`, joined by their standard input and output.

use std::fs;

use crate::common::{Party, wire};
use call_media::{AudioFrame, AudioSource as _, SourceState, WavSource};
use serde_json::Value;
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn caller(folder: &TempDir, more: &[&str]) -> Party {
    Party::start("caller", folder, more)
}

fn callee(folder: &TempDir, more: &[&str]) -> Party {
    Party::start("callee", folder, more)
}

/// Seconds of sound in what a party wrote, and how loud its loudest frame is in dBFS.
fn heard(party: &Party) -> (f64, f32) {
    let mut source = WavSource::open(party.heard()).expect("a WAV with sound in it");
    let (mut frames, mut loudest) = (0, -100.0_f32);
    let mut frame = AudioFrame::SILENCE;
    while source.next_frame(&mut frame).expect("it reads") == SourceState::Frame {
        frames += 1;
        loudest = loudest.max(frame.level().rms_dbfs);
    }
    (f64::from(frames) * 0.02, loudest)
}

fn names(events: &[Value]) -> Vec<&str> {
    let name = |event: &Value| event["event"].as_str().map(str::len);
    assert!(events.iter().all(|event| name(event).is_some()));
    events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect()
}

#[test]
fn a_call_has_sound_both_ways_and_ends_with_0() {
    let folder = folder();
    let mut callee = callee(&folder, &[]);
    let mut caller = caller(&folder, &["--seconds", "2.5"]);
    wire(&mut caller, &mut callee);
    assert_eq!(caller.exit(), 0, "{}", caller.errors());
    assert_eq!(callee.exit(), 0, "{}", callee.errors());
    for party in [&caller, &callee] {
        let figures = party.final_statistics();
        assert_eq!(figures["srtp_profile"], "SRTP_AEAD_AES_256_GCM");
        assert_eq!(figures["frames_refused"], 0);
        assert!(figures["frames_decrypted"].as_u64() > Some(50), "{figures}");
        assert!(
            figures["accept_to_audio_ms"].as_f64() > Some(0.0),
            "{figures}"
        );
        let (seconds, loudest) = heard(party);
        assert!(
            seconds > 1.5 && loudest > -40.0,
            "{seconds} s, {loudest} dBFS"
        );
        assert!(party.errors().is_empty(), "{}", party.errors());
    }
}

#[test]
fn events_tell_the_course_of_a_call_and_no_addresses() {
    let folder = folder();
    let mut callee = callee(&folder, &[]);
    let mut caller = caller(&folder, &["--seconds", "1.2"]);
    wire(&mut caller, &mut callee);
    assert_eq!((caller.exit(), callee.exit()), (0, 0));
    let told = caller.events();
    let expected = [
        "started",
        "connecting",
        "connected",
        "statistics",
        "statistics",
        "ended",
    ];
    assert_eq!(names(&told)[..6], expected);
    assert_eq!(
        told.last().map(|exit| &exit["status"]),
        Some(&Value::from(0))
    );
    let told = callee.events();
    assert_eq!(
        names(&told)[..4],
        ["started", "incoming", "connecting", "connected"]
    );
    let text = format!("{:?}{told:?}", caller.events());
    assert!(!text.contains("127.0.0.1"));
}

#[test]
fn what_cant_be_read_does_not_break_the_call() {
    let folder = folder();
    let mut callee = callee(&folder, &[]);
    let mut caller = caller(&folder, &["--seconds", "1"]);
    for party in [&mut caller, &mut callee] {
        party.tell(
            "\n{\"event\":\n\u{fffd}\nXzstd\n[1,2]\n{\"event\":\"x.msg.new\",\"params\":{}}\n",
        );
        party.tell("{\"event\":\"x.call.offer\",\"params\":{\"callId\":7}}\n");
        party.tell(
            "{\"event\":\"x.call.end\",\"params\":{\"callId\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}}\n",
        );
    }
    wire(&mut caller, &mut callee);
    assert_eq!(
        (caller.exit(), callee.exit()),
        (0, 0),
        "{}",
        caller.errors()
    );
    assert!(names(&caller.events()).contains(&"bad_message"));
    assert!(
        caller.errors().contains("can't be read"),
        "{}",
        caller.errors()
    );
}

#[test]
fn signalling_that_ends_early_ends_both_sides_with_5() {
    let folder = folder();
    let mut callee = callee(&folder, &[]);
    let mut caller = caller(&folder, &[]);
    caller.close_input();
    callee.close_input();
    assert_eq!((caller.exit(), callee.exit()), (5, 5));
    assert!(
        caller.errors().contains("signalling"),
        "{}",
        caller.errors()
    );
    assert!(
        callee.errors().contains("signalling"),
        "{}",
        callee.errors()
    );
}

#[test]
fn signalling_that_ends_mid_call_leaves_the_call_alone() {
    let folder = folder();
    let mut callee = callee(&folder, &["--seconds", "2"]);
    let mut caller = caller(&folder, &["--seconds", "2"]);
    let line = wire(&mut caller, &mut callee);
    caller.wait_for("connected");
    callee.wait_for("connected");
    line.cut();
    caller.wait_for("channel_closed");
    assert_eq!(
        (caller.exit(), callee.exit()),
        (0, 0),
        "{}",
        callee.errors()
    );
    assert!(caller.final_statistics()["frames_decrypted"].as_u64() > Some(70));
}

#[test]
fn a_callee_that_declines_ends_with_7() {
    let folder = folder();
    let mut callee = callee(&folder, &["--decline"]);
    let mut caller = caller(&folder, &[]);
    wire(&mut caller, &mut callee);
    assert_eq!(callee.exit(), 7);
    // Nothing tells the caller but the end of the signalling.
    assert_eq!(caller.exit(), 5);
}

#[test]
fn a_caller_that_gives_up_while_it_rings_is_missed() {
    let folder = folder();
    let mut callee = callee(&folder, &["--ring", "600"]);
    let mut caller = caller(&folder, &[]);
    wire(&mut caller, &mut callee);
    callee.wait_for("incoming");
    caller.signal("TERM");
    assert_eq!((caller.exit(), callee.exit()), (7, 7));
    assert!(callee.errors().contains("gave up"), "{}", callee.errors());
}

#[test]
fn ringing_ends_in_an_answer() {
    let folder = folder();
    let mut callee = callee(&folder, &["--ring", "0.5"]);
    let mut caller = caller(&folder, &["--seconds", "0.5"]);
    wire(&mut caller, &mut callee);
    assert_eq!(
        (caller.exit(), callee.exit()),
        (0, 0),
        "{}",
        callee.errors()
    );
}

#[test]
fn a_timeout_ends_with_3() {
    let folder = folder();
    let mut callee = callee(&folder, &["--timeout", "0.3"]);
    let mut caller = caller(&folder, &["--timeout", "0.3"]);
    assert_eq!((caller.exit(), callee.exit()), (3, 3));
    assert!(caller.errors().contains("timeout"), "{}", caller.errors());
}

#[test]
fn a_signal_mid_call_hangs_up_and_completes_the_files() {
    for signal in ["TERM", "INT"] {
        let folder = folder();
        let mut callee = callee(&folder, &[]);
        let mut caller = caller(&folder, &[]);
        wire(&mut caller, &mut callee);
        callee.wait_for("statistics");
        callee.signal(signal);
        assert_eq!(
            (caller.exit(), callee.exit()),
            (0, 0),
            "{signal}: {}",
            callee.errors()
        );
        for party in [&caller, &callee] {
            assert!(heard(party).0 > 0.5, "{signal}");
        }
        let told = caller.events();
        let ended = told.iter().find(|event| event["event"] == "ended");
        assert_eq!(
            ended.map(|event| &event["reason"]),
            Some(&Value::from("peer_hung_up"))
        );
    }
}

#[test]
fn a_weak_peer_is_refused_with_4() {
    let folder = folder();
    let mut callee = callee(&folder, &[]);
    // An invitation without a key: frames could not be encrypted end to end.
    callee.tell(
        "{\"v\":\"1\",\"event\":\"x.call.inv\",\"params\":{\"callId\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\
         \"invitation\":{\"callType\":{\"media\":\"audio\",\"capabilities\":{\"encryption\":false}}}}}\n",
    );
    assert_eq!(callee.exit(), 4, "{}", callee.errors());
    assert!(
        callee.errors().contains("security refused"),
        "{}",
        callee.errors()
    );
}

#[test]
fn outputs_are_valid_even_if_the_call_never_connects() {
    let folder = folder();
    let mut caller = caller(&folder, &["--timeout", "0.1"]);
    assert_eq!(caller.exit(), 3);
    let bytes = fs::read(caller.heard()).expect("it is there");
    assert!(bytes.starts_with(b"RIFF") && bytes.len() >= 44);
}
