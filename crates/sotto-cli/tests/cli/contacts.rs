//! Two people in two terminals, and a relay.

use std::fs;

use crate::person::{Person, run, text};
use crate::relay::TestRelay;

fn both(relay: &TestRelay) -> (Person, Person) {
    (Person::new("alice", &[relay]), Person::new("bob", &[relay]))
}

#[test]
fn two_people_connect_by_a_link_with_post_quantum_keys() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let inviting = alice.starts(&["invite", "--name", "bobby", "--timeout", "30"]);
    let link = inviting.link();
    assert!(
        link.starts_with("simplex:/i#") || link.starts_with("https://"),
        "{link}"
    );
    let of_bob = bob
        .says(&["connect", "-", "--json"], &link)
        .well()
        .event("secured");
    let of_alice = inviting.ends().well().event("secured");
    assert_eq!(
        (&of_alice["contact"], &of_bob["contact"]),
        (&"bobby".into(), &"alice".into())
    );
    assert_eq!(of_alice["code"], of_bob["code"]);
    for side in [&of_alice, &of_bob] {
        assert_eq!(side["post_quantum"], true);
    }
    let contact = alice.types(&["contacts", "--json"]).well().event("contact");
    assert_eq!(contact["name"], "bobby");
    assert_eq!(contact["profile_name"], "bob");
    assert_eq!(contact["state"], "connected");
    assert_eq!(contact["verified"], false);
    let table = alice.types(&["contacts"]).well().out;
    assert!(
        table.contains("bobby") && table.contains("post-quantum"),
        "{table}"
    );
}

#[test]
fn a_person_sees_how_far_the_connection_is() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let inviting = alice.starts(&["invite", "--timeout", "30"]);
    let link = inviting.link();
    let said = bob.types(&["connect", &link]).well();
    let mut rest = said.errors.as_str();
    for step in [
        "reading the link",
        "the link is read",
        "the confirmation is sent; waiting for the peer",
        "the peer's confirmation is here",
        "connected with alice",
        "security code: ",
        "post-quantum keys: on",
    ] {
        let at = rest
            .find(step)
            .unwrap_or_else(|| panic!("no {step}: {said:?}"));
        rest = &rest[at..];
    }
    inviting.ends().well();
}

#[test]
fn standard_output_of_an_invitation_is_the_link_alone() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let picture = alice.file("link.svg");
    let invite = ["invite", "--no-wait", "--qr", text(&picture)];
    let said = alice.types(&invite).well();
    assert_eq!(said.out.lines().count(), 1, "{said:?}");
    assert!(
        fs::read_to_string(&picture)
            .expect("a picture")
            .contains("<svg")
    );
    let full = alice.types(&["invite", "--no-wait", "--full"]).well().out;
    assert!(
        full.len() > said.out.len() && full.contains("/invitation#"),
        "{full}"
    );

    // Whoever listens lets in those who answer.
    let listening = alice.starts(&["listen"]);
    let connected = bob.says(&["connect", "-", "--name", "a1", "--json"], &said.out);
    let code = connected.well().event("secured")["code"].clone();
    assert_eq!(listening.waits_for("secured")["code"], code);
    bob.says(&["connect", "-", "--name", "a2"], &full).well();
    listening.signal("TERM");
    listening.ends().well();
    assert_eq!(
        alice
            .types(&["contacts"])
            .out
            .matches(" connected ")
            .count(),
        2
    );
}

#[test]
fn a_link_is_good_once() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let carol = Person::new("carol", &[&relay]);
    let inviting = alice.starts(&["invite", "--timeout", "30"]);
    let link = inviting.link();
    bob.types(&["connect", &link]).well();
    inviting.ends().well();
    for (person, reason) in [
        (&carol, "the link was used already"),
        (&bob, "used here already"),
        (&alice, "made here"),
    ] {
        let said = person.types(&["connect", &link, "--timeout", "30"]);
        assert_eq!(said.status, 9, "{said:?}");
        assert!(said.errors.contains(reason), "{said:?}");
    }
}

#[test]
fn a_link_that_was_changed_is_refused() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let link = alice.types(&["invite", "--no-wait"]).well().out;
    let link = link.trim();
    let key = link.find("/i#").expect("a short link") + 40;
    let other = if link.as_bytes()[key] == b'A' {
        "B"
    } else {
        "A"
    };
    let changed = format!("{}{other}{}", &link[..key], &link[key + 1..]);
    for bad in [changed.as_str(), &link[..30], "hello", ""] {
        let said = bob.says(&["connect", "-", "--timeout", "30"], bad);
        assert_eq!(said.status, 9, "{bad}: {said:?}");
        assert_eq!(said.errors.matches("sotto:").count(), 1, "{said:?}");
    }
}

#[test]
fn ctrl_c_ends_the_waiting_and_the_link_stays_good() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let inviting = alice.starts(&["invite"]);
    let link = inviting.link();
    inviting.signal("INT");
    let said = inviting.ends();
    assert_eq!(said.status, 7, "{said:?}");
    assert_eq!(
        alice.types(&["contacts", "--json"]).event("contact")["state"],
        "inviting"
    );
    let connecting = bob.starts(&["connect", &link]);
    let listening = alice.starts(&["listen"]);
    listening.waits_for("secured");
    connecting.ends().well();
}

#[test]
fn texts_wait_for_those_who_are_away_and_come_once() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    alice.meets(&bob);
    for words in ["one", "two"] {
        let said = alice.types(&["send", "bob", words, "--json"]).well();
        assert_eq!(said.event("sent")["contact"], "bob");
    }
    alice
        .says(&["send", "bob", "-"], "three\nlines\nhere\n")
        .well();
    let listening = bob.starts(&["listen"]);
    listening.waits_for("text");
    // Receipts come to whoever waits for them.
    let said = alice
        .types(&["send", "bob", "four", "--receipt", "--json"])
        .well();
    said.events()
        .iter()
        .find(|event| event["event"] == "delivered")
        .expect("a receipt");
    listening.signal("INT");
    let said = listening.ends().well();
    let events = said.events();
    let texts: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "text")
        .collect();
    let words: Vec<_> = texts.iter().map(|event| &event["text"]).collect();
    assert_eq!(words, ["one", "two", "three\nlines\nhere", "four"]);
    assert!(texts.iter().all(|event| event["contact"] == "alice"));
    let said = bob.types(&["listen", "--seconds", "0.5"]).well();
    assert_eq!(said.out, "");
}

#[test]
fn what_somebody_writes_does_not_steer_the_terminal() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    alice.meets(&bob);
    alice.types(&["send", "bob", "a\u{1b}[2Jb"]).well();
    let said = bob.types(&["listen", "--once", "--seconds", "30"]).well();
    assert_eq!(said.out, "alice: a[2Jb\n");
}

#[test]
fn a_text_to_nobody_is_refused() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let said = alice.types(&["send", "bob", "hello"]);
    assert_eq!(said.status, 9);
    assert!(said.errors.contains("sotto contacts"), "{said:?}");
    assert_eq!(alice.types(&["send", "bob", ""]).status, 2);
    alice
        .types(&["invite", "--no-wait", "--name", "bob"])
        .well();
    let said = alice.types(&["send", "bob", "hello"]);
    assert_eq!(said.status, 9);
    assert!(said.errors.contains("not connected yet"), "{said:?}");
    drop(bob);
}

#[test]
fn a_contact_is_renamed_verified_blocked_and_deleted() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    alice.meets(&bob);
    alice.types(&["contacts", "rename", "bob", "Robert"]).well();
    assert_eq!(alice.types(&["contacts", "rename", "bob", "x"]).status, 9);

    let show = bob.types(&["contacts", "show", "alice", "--json"]).well();
    let code = show.event("contact")["code"]
        .as_str()
        .expect("a code")
        .to_owned();
    let digit = if code.ends_with('1') { "2" } else { "1" };
    let wrong = format!("{}{digit}", &code[..code.len() - 1]);
    let said = alice.types(&["contacts", "verify", "robert", &wrong]);
    assert_eq!(said.status, 4, "{said:?}");
    let said = alice
        .types(&["contacts", "verify", "robert", &code, "--json"])
        .well();
    assert_eq!(said.event("contact")["verified"], true);
    let said = alice
        .types(&["contacts", "verify", "robert", "--clear", "--json"])
        .well();
    assert_eq!(said.event("contact")["verified"], false);

    let said = alice
        .types(&["contacts", "block", "robert", "--json"])
        .well();
    assert_eq!(said.event("contact")["blocked"], true);
    bob.types(&["send", "alice", "do you hear me?"]).well();
    assert_eq!(alice.types(&["listen", "--seconds", "1"]).well().out, "");
    assert_eq!(alice.types(&["send", "robert", "hello"]).status, 9);
    alice.types(&["contacts", "unblock", "robert"]).well();

    alice.types(&["contacts", "delete", "robert"]).well();
    assert_eq!(alice.types(&["contacts", "show", "robert"]).status, 9);
    let listening = bob.starts(&["listen"]);
    let notice = listening.waits_for("notice");
    assert_eq!(notice["text"], "deleted the connection");
}

#[test]
fn people_who_find_the_address_are_let_in() {
    let relay = TestRelay::start();
    let (alice, bob) = both(&relay);
    let carol = Person::new("carol", &[&relay]);
    let address = alice
        .types(&["invite", "--contact", "--no-wait"])
        .well()
        .out;
    // It asks while alice is away, and is told when she looks.
    let asking = bob.starts(&["connect", address.trim()]);
    asking.waits_for("progress");
    let open = alice.starts(&["invite", "--contact", "--accept"]);
    assert_eq!(open.link(), address.trim());
    asking.ends().well();
    carol.types(&["connect", address.trim()]).well();
    open.signal("INT");
    open.ends().well();
    let names = alice.types(&["contacts"]).well().out;
    assert!(names.contains("bob") && names.contains("carol"), "{names}");

    alice.types(&["invite", "--contact", "--delete"]).well();
    let dave = Person::new("dave", &[&relay]);
    let said = dave.types(&["connect", address.trim(), "--timeout", "20"]);
    assert_eq!(said.status, 9, "{said:?}");
}

#[test]
fn messages_move_to_another_relay() {
    let (one, two) = (TestRelay::start(), TestRelay::start());
    let alice = Person::new("alice", &[&one, &two]);
    let bob = Person::new("bob", &[&one]);
    alice.meets(&bob);
    let listening = bob.starts(&["listen"]);
    let said = alice.types(&["contacts", "rotate", "bob", "--json"]).well();
    assert_eq!(
        said.event("notice")["text"],
        "messages come through a new queue"
    );
    let _ = listening.events();
}

#[test]
fn logs_tell_nothing_of_contacts() {
    let relay = TestRelay::start();
    let (alice, bob) = (
        Person::new("zaphod", &[&relay]),
        Person::new("trillian", &[&relay]),
    );
    let inviting = alice.starts(&["invite", "--timeout", "30"]);
    let link = inviting.link();
    let mut logs = String::new();
    let mut command = bob.command(&["connect", "-", "--json"]);
    logs += &run(command.env("RUST_LOG", "debug"), &link).well().errors;
    inviting.ends().well();
    let mut command = alice.command(&["send", "trillian", "-", "--json"]);
    logs += &run(command.env("RUST_LOG", "debug"), "do not panic")
        .well()
        .errors;
    let mut command = bob.command(&["listen", "--once", "--json", "--seconds", "30"]);
    logs += &run(command.env("RUST_LOG", "debug"), "").well().errors;
    assert!(logs.contains("DEBUG"), "{logs}");
    let key = link.split(['#', '?']).nth(1).expect("a key");
    for personal in [key, "zaphod", "trillian", "panic", "127.0.0.1"] {
        assert!(!logs.contains(personal), "{personal} in {logs}");
    }
}
