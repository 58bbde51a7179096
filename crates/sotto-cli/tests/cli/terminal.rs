//! What is asked on a terminal, which util-linux's `script` stands for.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::person::Person;
use crate::relay::TestRelay;

/// Nothing here takes so long unless it hangs.
const HANGS_AFTER: Duration = Duration::from_secs(30);

struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(person: &Person, arguments: &[&str]) -> Self {
        let command = person.command(arguments);
        let words = [command.get_program()]
            .into_iter()
            .chain(command.get_args());
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_str().expect("UTF-8")))
            .collect();
        // Without a shell in between, which a key like Ctrl-C would end as well.
        let line = format!("exec {}", words.join(" "));
        let mut child = Command::new("script")
            .args(["-qefc", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env_remove("SOTTO_PASSPHRASE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script of util-linux");
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut output, shown) = (child.stdout.take().expect("a pipe"), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                shown.lock().expect("unpoisoned").push_str(&text);
            }
        });
        Self {
            keyboard: child.stdin.take(),
            child,
            screen,
        }
    }

    fn screen(&self) -> String {
        self.screen.lock().expect("unpoisoned").clone()
    }

    fn shows(&self, text: &str) {
        let started = Instant::now();
        while !self.screen().contains(text) {
            assert!(
                started.elapsed() < HANGS_AFTER,
                "no {text}: {}",
                self.screen()
            );
            thread::sleep(Duration::from_millis(10));
        }
        // A question is shown before what is typed goes unseen.
        thread::sleep(Duration::from_millis(200));
    }

    fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("open");
        keyboard.write_all(keys.as_bytes()).expect("it reads");
        keyboard.flush().expect("it reads");
    }

    fn ends(mut self) -> (i32, String) {
        let status = self.child.wait().expect("it is ours");
        thread::sleep(Duration::from_millis(50));
        (status.code().unwrap_or(-1), self.screen())
    }
}

#[test]
fn a_new_profile_asks_for_a_name_and_twice_for_a_hidden_passphrase() {
    let alice = Person::nobody();
    let mut terminal = Terminal::open(&alice, &["init"]);
    terminal.shows("Your name");
    terminal.press("alice\n");
    terminal.shows("Passphrase of the new profile");
    terminal.press("secret words\n");
    terminal.shows("The same again");
    terminal.press("secret words\n");
    let (status, screen) = terminal.ends();
    assert_eq!(status, 0, "{screen}");
    assert!(!screen.contains("secret"), "{screen}");

    let mut terminal = Terminal::open(&alice, &["contacts"]);
    terminal.shows("Passphrase");
    terminal.press("other words\n");
    assert_eq!(terminal.ends().0, 8);
}

#[test]
fn passphrases_that_differ_make_no_profile() {
    let alice = Person::nobody();
    let mut terminal = Terminal::open(&alice, &["init", "--name", "alice"]);
    terminal.shows("Passphrase of the new profile");
    terminal.press("secret words\n");
    terminal.shows("The same again");
    terminal.press("secret wrods\n");
    let (status, screen) = terminal.ends();
    assert_eq!(status, 8, "{screen}");
    assert!(!alice.folder().exists());
}

#[test]
fn a_call_is_answered_with_a_key() {
    let relay = TestRelay::start();
    let alice = Person::new("alice", &[&relay]);
    let bob = Person::new("bob", &[&relay]);
    alice.meets(&bob);
    let mut terminal = Terminal::open(&bob, &["listen", "--once", "--bind", "127.0.0.1"]);
    terminal.shows("listening");
    let calling = alice.starts(&["call", "bob", "--bind", "127.0.0.1", "--seconds", "1"]);
    terminal.shows("y answers, n lets it ring");
    terminal.press("y");
    calling.ends().well();
    let (status, screen) = terminal.ends();
    assert_eq!(status, 0, "{screen}");
    assert!(screen.contains("alice calls: audio") && screen.contains("the call has ended"));
}

#[test]
fn a_link_is_shown_as_a_qr_code_and_a_request_is_answered_with_a_key() {
    let relay = TestRelay::start();
    let alice = Person::new("alice", &[&relay]);
    let bob = Person::new("bob", &[&relay]);
    let mut terminal = Terminal::open(&alice, &["invite", "--contact", "--timeout", "30"]);
    terminal.shows("waiting for people who ask");
    let screen = terminal.screen();
    assert!(
        screen.contains("█▀▀") || screen.contains("▄▄▄▄▄"),
        "{screen}"
    );
    let address = screen
        .lines()
        .find(|line| line.contains("/a#"))
        .expect("an address")
        .trim();
    let asking = bob.starts(&["connect", address]);
    terminal.shows("bob wants to connect");
    terminal.press("y");
    terminal.shows("connected with bob");
    asking.ends().well();
    // Ctrl-C.
    terminal.press("\u{3}");
    assert_eq!(terminal.ends().0, 0);
}
