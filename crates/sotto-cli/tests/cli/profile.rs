//! Profiles, what opens them, and the servers that they use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::person::{Person, run, text};
use crate::relay::{PASSWORD, TestRelay};

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

fn with_passphrase(person: &Person, passphrase: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = person.command(arguments);
    let said = run(command.env("SOTTO_PASSPHRASE", passphrase), "");
    (said.status, said.errors)
}

#[test]
fn a_profile_is_its_owners_alone() {
    let alice = Person::nobody();
    let said = alice
        .types(&["init", "--name", "alice", "--no-passphrase", "--json"])
        .well();
    let profile = said.event("profile");
    assert_eq!(
        (&profile["name"], &profile["key"]),
        (&"alice".into(), &"file".into())
    );
    let folder = alice.folder();
    assert_eq!(mode(&folder), 0o700);
    for file in ["profile.db", "profile.key"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    // Without a passphrase: that is said.
    let bob = Person::nobody().types(&["init", "--name", "bob", "--no-passphrase"]);
    assert!(bob.errors.contains("no passphrase"), "{bob:?}");
}

#[test]
fn a_second_profile_in_the_same_place_is_refused() {
    let alice = Person::new("alice", &[]);
    let before = fs::read(alice.folder().join("profile.key")).expect("it is there");
    let said = alice.types(&["init", "--name", "bob", "--no-passphrase"]);
    assert_eq!(said.status, 8);
    assert!(said.errors.contains("already"), "{said:?}");
    let after = fs::read(alice.folder().join("profile.key")).expect("it is there");
    assert_eq!(before, after);
}

#[test]
fn a_passphrase_opens_a_profile_and_another_one_does_not() {
    let alice = Person::nobody();
    let init = ["init", "--name", "alice"];
    assert_eq!(with_passphrase(&alice, "right words", &init).0, 0);
    assert!(!alice.folder().join("profile.key").exists());
    assert_eq!(with_passphrase(&alice, "right words", &["contacts"]).0, 0);
    let (status, errors) = with_passphrase(&alice, "wrong words", &["contacts"]);
    assert_eq!(status, 8);
    assert!(
        errors.contains("wrong passphrase") && !errors.contains("words"),
        "{errors}"
    );
    // A file has it in its first line, and goes before the environment.
    let file = alice.file("passphrase");
    fs::write(&file, "right words\nnothing\n").expect("room");
    let listing = ["contacts", "--passphrase-file", text(&file)];
    assert_eq!(with_passphrase(&alice, "wrong words", &listing).0, 0);
    // Nobody can be asked.
    let said = alice.types(&["contacts"]);
    assert_eq!(said.status, 8);
    assert!(said.errors.contains("--passphrase-file"), "{said:?}");
}

#[test]
fn a_name_that_cant_be_shown_is_refused_before_anything_is_written() {
    for name in ["", "#team", "a\nb"] {
        let nobody = Person::nobody();
        let said = nobody.types(&["init", "--no-passphrase", "--name", name]);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(!nobody.folder().exists());
    }
    let said = Person::nobody().types(&["init", "--no-passphrase"]);
    assert_eq!(said.status, 2);
    assert!(said.errors.contains("--name"), "{said:?}");
}

#[test]
fn without_a_profile_each_command_says_how_to_make_one() {
    let nobody = Person::nobody();
    for command in [
        &["invite"][..],
        &["connect", "link"],
        &["contacts"],
        &["send", "bob", "hello"],
        &["listen"],
        &["call", "bob"],
        &["servers"],
        &["export", "/nowhere/at/all"],
    ] {
        let said = nobody.types(command);
        assert_eq!(said.status, 8, "{said:?}");
        assert!(said.errors.contains("sotto init"), "{said:?}");
    }
}

#[test]
fn without_a_server_a_command_tells_how_to_add_one() {
    let alice = Person::new("alice", &[]);
    for command in [&["invite"][..], &["invite", "--contact"]] {
        let said = alice.types(command);
        assert_eq!((said.status, said.out.as_str()), (10, ""), "{said:?}");
        for hint in ["sotto servers add smp://", "sotto-smp"] {
            assert!(said.errors.contains(hint), "{said:?}");
        }
    }
}

#[test]
fn servers_are_listed_without_their_passwords() {
    let relay = TestRelay::start();
    let alice = Person::new("alice", &[&relay]);
    let turn = "turn:alice:hunter2hunter2@turn.example.org:3478";
    alice
        .says(
            &["servers", "add", "-"],
            &format!("{turn}\nstun:stun.example.org\n"),
        )
        .well();
    let said = alice.types(&["servers"]).well();
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    assert!(!format!("{said:?}").contains(PASSWORD));
    let said = alice.types(&["servers", "list", "--json"]).well();
    let kinds: Vec<_> = said
        .events()
        .into_iter()
        .filter(|e| e["event"] == "server")
        .collect();
    assert_eq!(kinds.len(), 3);
    assert_eq!(
        (&kinds[0]["kind"], &kinds[0]["password"]),
        (&"smp".into(), &true.into())
    );
    assert_eq!(
        (&kinds[2]["kind"], &kinds[2]["password"]),
        (&"ice".into(), &false.into())
    );
    assert!(!said.out.contains(PASSWORD));

    let without = relay.address.replace(&format!(":{PASSWORD}"), "");
    alice.types(&["servers", "remove", &without]).well();
    assert_eq!(alice.types(&["servers", "remove", &without]).status, 10);
    assert_eq!(alice.types(&["servers"]).out.lines().count(), 2);
}

#[test]
fn what_is_no_server_is_refused_without_being_repeated() {
    let alice = Person::new("alice", &[]);
    for bad in [
        "hunter2",
        "http://user:hunter2@example.org",
        "smp://hunter2@example.org",
    ] {
        let said = alice.types(&["servers", "add", bad]);
        assert_eq!(said.status, 10, "{said:?}");
        assert!(!said.errors.contains("hunter2"), "{said:?}");
    }
}

#[test]
fn a_test_of_a_server_tells_each_step() {
    let relay = TestRelay::start();
    let alice = Person::new("alice", &[&relay]);
    let said = alice.types(&["servers", "test", "--json"]).well();
    let steps: Vec<_> = said
        .events()
        .into_iter()
        .filter(|e| e["event"] == "server_test")
        .collect();
    assert_eq!(steps.len(), 4, "{said:?}");
    assert!(steps.iter().all(|step| step["ok"] == true));

    let wrong = relay.address.replace(PASSWORD, "wrong");
    let said = alice.types(&["servers", "test", &wrong]);
    assert_eq!(said.status, 10);
    assert!(
        said.out.contains("✓ connected") && said.out.contains("✗ made a queue"),
        "{said:?}"
    );

    let address = relay.address.clone();
    drop(relay);
    let said = alice.types(&["servers", "test", &address]);
    assert_eq!(said.status, 10);
    assert!(said.out.contains("✗ connected"), "{said:?}");
}

#[test]
fn two_programs_on_one_profile_are_one_too_many() {
    let relay = TestRelay::start();
    let alice = Person::new("alice", &[&relay]);
    let listening = alice.starts(&["listen"]);
    listening.waits_for("listening");
    let said = alice.types(&["contacts"]);
    assert_eq!(said.status, 8);
    assert!(
        said.errors.contains("in use by another `sotto`"),
        "{said:?}"
    );
    listening.signal("INT");
    listening.ends().well();
    alice.types(&["contacts"]).well();
}

#[test]
fn a_copy_opens_with_its_own_passphrase() {
    let relay = TestRelay::start();
    let alice = Person::new("alice", &[&relay]);
    let words = alice.file("words");
    fs::write(&words, "other words\n").expect("room");
    let copy = alice.file("copy.db");
    let export = ["export", text(&copy), "--new-passphrase-file", text(&words)];
    alice.types(&export).well();
    assert_eq!(mode(&copy), 0o600);
    // It is never written over.
    assert_eq!(alice.types(&export).status, 2);

    let elsewhere = Person::nobody();
    fs::create_dir(elsewhere.folder()).expect("room");
    fs::copy(&copy, elsewhere.folder().join("profile.db")).expect("room");
    assert_eq!(
        with_passphrase(&elsewhere, "other words", &["servers"]).0,
        0
    );
    assert_eq!(with_passphrase(&elsewhere, "no words", &["servers"]).0, 8);
}

#[test]
fn json_ends_with_how_the_command_ended() {
    let alice = Person::new("alice", &[]);
    let said = alice.types(&["contacts", "--json"]).well();
    assert_eq!(said.event("exit")["status"], 0);
    let said = alice.types(&["invite", "--json"]);
    let exit = said.event("exit");
    assert_eq!((said.status, &exit["status"]), (10, &10.into()));
    assert!(
        exit["message"]
            .as_str()
            .is_some_and(|text| said.errors.contains(text))
    );
    for event in said.events() {
        assert!(
            event["t_ms"].as_f64() >= Some(0.0) && event["event"].is_string(),
            "{event}"
        );
    }
}
