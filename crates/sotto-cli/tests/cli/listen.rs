//! Calls between contacts, over a relay.

use std::fs;
use std::path::PathBuf;

use call_media::{AudioFrame, AudioSource as _, SourceState, WavSource};
use serde_json::Value;

use crate::common::speech;
use crate::person::{Person, text};
use crate::relay::TestRelay;

fn friends(relay: &TestRelay) -> (Person, Person) {
    let alice = Person::new("alice", &[relay]);
    let bob = Person::new("bob", &[relay]);
    alice.meets(&bob);
    (alice, bob)
}

/// Seconds of sound in a file, and how loud its loudest frame is in dBFS.
fn heard(path: &PathBuf) -> (f64, f32) {
    let mut source = WavSource::open(path).expect("a WAV with sound in it");
    let (mut frames, mut loudest) = (0, -100.0_f32);
    let mut frame = AudioFrame::SILENCE;
    while source.next_frame(&mut frame).expect("it reads") == SourceState::Frame {
        frames += 1;
        loudest = loudest.max(frame.level().rms_dbfs);
    }
    (f64::from(frames) * 0.02, loudest)
}

fn named<'a>(events: &'a [Value], name: &str) -> Option<&'a Value> {
    events.iter().rfind(|event| event["event"] == name)
}

#[test]
fn a_call_over_a_relay_has_sound_both_ways() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let spoken = alice.file("spoken.wav");
    speech(&spoken, 2);
    let (of_alice, of_bob) = (alice.file("heard.wav"), bob.file("heard.wav"));
    let local = ["--bind", "127.0.0.1", "--audio", text(&spoken), "--record"];
    let listen = ["listen", "--once", "--answer", "auto"];
    let listening = bob.starts(&[&listen[..], &local, &[text(&of_bob)]].concat());
    listening.waits_for("listening");
    let call = ["call", "bob", "--seconds", "2.5"];
    let calling = alice.starts(&[&call[..], &local, &[text(&of_alice)]].concat());
    for (running, heard_there) in [(calling, &of_alice), (listening, &of_bob)] {
        let said = running.ends().well();
        let events = said.events();
        let figures = named(&events, "statistics").expect("figures");
        assert_eq!(figures["final"], true);
        assert_eq!(figures["srtp_profile"], "SRTP_AEAD_AES_256_GCM");
        assert_eq!(figures["frames_refused"], 0);
        assert!(figures["frames_decrypted"].as_u64() > Some(50), "{figures}");
        let (seconds, loudest) = heard(heard_there);
        assert!(
            seconds > 1.5 && loudest > -40.0,
            "{seconds} s, {loudest} dBFS"
        );
        assert_eq!(said.errors, "");
        if let Some(incoming) = named(&events, "incoming") {
            assert_eq!(
                (&incoming["contact"], &incoming["media"]),
                (&"alice".into(), &"audio".into())
            );
        } else {
            named(&events, "ringing").expect("the invitation has a receipt");
        }
    }
}

#[test]
fn calls_go_through_a_relay_unless_direct_ones_are_asked_for() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let said = alice.types(&["call", "bob"]);
    assert_eq!(said.status, 10, "{said:?}");
    for hint in ["sotto servers add turn:", "--direct"] {
        assert!(said.errors.contains(hint), "{said:?}");
    }
    let said = bob.types(&["listen", "--seconds", "0.2"]).well();
    assert!(said.errors.contains("no calls will come in"), "{said:?}");
    let said = bob
        .types(&["listen", "--seconds", "0.2", "--direct"])
        .well();
    assert!(
        said.errors
            .contains("contacts learn this machine's addresses"),
        "{said:?}"
    );
}

#[test]
fn a_call_that_nobody_answers_is_missed() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let listening = bob.starts(&["listen", "--once", "--bind", "127.0.0.1"]);
    listening.waits_for("listening");
    let calling = alice.starts(&["call", "bob", "--bind", "127.0.0.1"]);
    calling.waits_for("ringing");
    calling.signal("INT");
    assert_eq!(calling.ends().status, 7);
    let said = listening.ends();
    assert_eq!(said.status, 7, "{said:?}");
    let missed = said.event("missed");
    assert_eq!(
        (&missed["contact"], &missed["reason"]),
        (&"alice".into(), &"cancelled".into())
    );
}

#[test]
fn calls_of_a_silenced_contact_are_missed_without_ringing() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let said = bob
        .types(&["contacts", "calls", "alice", "silent", "--json"])
        .well();
    assert_eq!(said.event("contact")["calls"], "silent");
    let answering = [
        "listen",
        "--once",
        "--answer",
        "auto",
        "--bind",
        "127.0.0.1",
    ];
    let listening = bob.starts(&answering);
    listening.waits_for("listening");
    let calling = alice.starts(&["call", "bob", "--bind", "127.0.0.1", "--timeout", "2"]);
    calling.waits_for("ringing");
    let said = listening.ends().well();
    assert_eq!(said.event("missed")["reason"], "silent");
    assert_eq!(calling.ends().status, 3);
}

#[test]
fn the_end_of_listening_ends_a_call() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let answering = ["listen", "--answer", "auto", "--bind", "127.0.0.1"];
    let listening = bob.starts(&answering);
    listening.waits_for("listening");
    let calling = alice.starts(&["call", "bob", "--bind", "127.0.0.1"]);
    calling.waits_for("connected");
    listening.waits_for("connected");
    listening.signal("TERM");
    listening.ends().well();
    let said = calling.ends().well();
    assert_eq!(said.event("ended")["reason"], "peer_hung_up");
}

#[test]
fn texts_are_shown_during_a_call() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let carol = Person::new("carol", &[&relay]);
    bob.meets(&carol);
    let answering = ["listen", "--answer", "auto", "--bind", "127.0.0.1"];
    let listening = bob.starts(&answering);
    listening.waits_for("listening");
    let calling = alice.starts(&["call", "bob", "--bind", "127.0.0.1"]);
    listening.waits_for("connected");
    carol
        .types(&["send", "bob", "busy?", "--receipt", "--timeout", "30"])
        .well();
    assert_eq!(listening.waits_for("text")["contact"], "carol");
    calling.signal("INT");
    calling.ends().well();
}

#[test]
fn a_file_of_events_names_nobody() {
    let relay = TestRelay::start();
    let (alice, bob) = friends(&relay);
    let events = bob.file("events.jsonl");
    let listen = [
        "listen",
        "--once",
        "--bind",
        "127.0.0.1",
        "--events",
        text(&events),
    ];
    let mut listening = bob.command(&listen).spawn().expect("sotto starts");
    let calling = alice.starts(&["call", "bob", "--bind", "127.0.0.1"]);
    calling.waits_for("ringing");
    calling.signal("INT");
    calling.ends();
    listening.wait().expect("it is ours");
    let told = fs::read_to_string(&events).expect("events");
    assert!(
        told.contains("incoming") && told.contains("missed"),
        "{told}"
    );
    assert!(!told.contains("alice"), "{told}");
}

#[test]
fn arguments_that_dont_fit_together_are_refused() {
    let nobody = Person::nobody();
    for bad in [
        &["call"][..],
        &["call", "bob", "--signal", "stdio"],
        &["call", "bob", "--as", "caller"],
        &["call", "bob", "--ring", "1"],
        &["call", "--signal", "smp"],
        &["call", "--signal", "stdio"],
        &["call", "--as", "caller", "--json"],
        &["call", "bob", "--json", "--events", "-"],
        &["call", "bob", "--direct", "--relay-only"],
        &["listen", "--answer", "ask"],
        &["listen", "--json", "--events", "-"],
        &["invite", "--accept"],
        &["demo", "--relays", "3"],
        &["demo", "--signal", "smp", "--loss", "1"],
        &["demo", "--signal", "stdio", "--relays", "2"],
        &["demo", "--loss", "1", "--relays", "2"],
    ] {
        let said = nobody.types(bad);
        assert_eq!(said.status, 2, "{bad:?}: {said:?}");
    }
}
