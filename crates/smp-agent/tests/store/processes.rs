//! Other programs at the same store, and programs that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smp_agent::{ConnectionId, Store, StoreError, Timestamp};

use crate::support::{Folder, Samples, done, dump, key};

/// Tells a child which store.
const STORE: &str = "TEST_STORE";

/// How long a child may take until it says something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another program, killed when dropped.
struct Program {
    child: Child,
    says: PathBuf,
}

impl Program {
    /// Runs a test of this file, ignored otherwise, as a program of its own.
    fn start(test: &str, folder: &Folder) -> Self {
        let says = folder.path().join("says");
        let _ = fs::remove_file(&says);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", &format!("processes::{test}")])
            .env(STORE, folder.file())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, says }
    }

    /// Waits for its first word.
    fn first_word(&mut self) -> String {
        let begin = Instant::now();
        loop {
            match fs::read_to_string(&self.says) {
                Ok(words) if !words.is_empty() => return words,
                _ => assert!(begin.elapsed() < PATIENCE, "the program says nothing"),
            }
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn say(store: &Path, words: &str) {
    let says = store.parent().unwrap().join("says");
    let next = says.with_extension("next");
    fs::write(&next, words).unwrap();
    fs::rename(next, says).unwrap();
}

fn store_of_this_child() -> PathBuf {
    std::env::var_os(STORE).unwrap().into()
}

#[test]
#[ignore = "a program that other tests run"]
fn opens_the_store_and_waits() {
    let path = store_of_this_child();
    let opened = Store::open(&path, &key(1));
    say(
        &path,
        match &opened {
            Ok(_) => "open",
            Err(StoreError::InUse) => "in use",
            Err(_) => "another error",
        },
    );
    sleep(PATIENCE);
}

#[test]
fn one_program_at_a_time_has_a_store() {
    let folder = Folder::new();
    drop(folder.create());
    let mut other = Program::start("opens_the_store_and_waits", &folder);
    assert_eq!(other.first_word(), "open");
    let begin = Instant::now();
    assert!(matches!(folder.open(), Err(StoreError::InUse)));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert!(matches!(
        Store::create(&folder.file(), &key(1)),
        Err(StoreError::Exists)
    ));
    // Its end, however it comes, frees the store.
    drop(other);
    let store = folder.open().unwrap();
    // And the other way round, also after this program tried once more.
    assert!(matches!(folder.open(), Err(StoreError::InUse)));
    let mut other = Program::start("opens_the_store_and_waits", &folder);
    assert_eq!(other.first_word(), "in use");
    drop(store);
    let mut other = Program::start("opens_the_store_and_waits", &folder);
    assert_eq!(other.first_word(), "open");
}

#[test]
fn a_store_stays_in_use_while_its_key_changes() {
    let folder = Folder::new();
    let mut store = folder.create();
    store.change_key(&key(1)).unwrap();
    assert!(matches!(folder.open(), Err(StoreError::InUse)));
    let mut other = Program::start("opens_the_store_and_waits", &folder);
    assert_eq!(other.first_word(), "in use");
}

/// Counts in several tables at once, for ever; says what was committed.
#[test]
#[ignore = "a program that other tests run"]
fn counts_for_ever() {
    let path = store_of_this_child();
    let mut store = Store::open(&path, &key(1)).unwrap();
    let mut samples = Samples::new(0);
    loop {
        let number = done(&mut store, |transaction| {
            let mut connection = transaction.connections()?.remove(0);
            connection.sent.id += 1;
            let (id, number) = (connection.id, connection.sent.id);
            transaction.save_connection(&connection)?;
            transaction.save_ratchet(id, &samples.ratchet())?;
            transaction.set_own_info(id, &number.to_be_bytes().repeat(1_500))?;
            transaction.set_setting("number", Some(&number.to_be_bytes()))?;
            let event = transaction.push_event(id, Timestamp(number), &[1; 9_000])?;
            if number % 3 == 0 {
                transaction.remove_event(smp_agent::EventId(event.0 - 2))?;
            }
            Ok(number)
        });
        say(&path, &number.to_string());
    }
}

fn check(store: &mut Store, least: i64) -> i64 {
    done(store, |transaction| {
        let id = ConnectionId(1);
        let number = transaction.connection(id)?.unwrap().sent.id;
        assert!(number >= least, "{number} of {least}");
        let bytes = number.to_be_bytes();
        assert_eq!(transaction.own_info(id)?, bytes.repeat(1_500));
        assert_eq!(*transaction.setting("number")?.unwrap(), bytes);
        assert!(transaction.ratchet(id)?.is_some());
        let events = transaction.events(smp_agent::EventId(0), usize::MAX)?;
        let present: Vec<_> = events.iter().map(|event| event.at.0).collect();
        // Of each three the first goes with the third.
        let expected = (1..=number).filter(|one| one % 3 != 1 || one + 2 > number);
        assert_eq!(present, expected.collect::<Vec<_>>());
        let sql = transaction.sql();
        let whole: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(whole, "ok");
        Ok(number)
    })
}

#[test]
fn what_was_committed_outlives_a_kill_and_nothing_is_half_done() {
    let folder = Folder::new();
    let mut store = folder.create();
    done(&mut store, |transaction| {
        let mut connection = Samples::new(1).connection();
        connection.sent.id = 0;
        transaction.insert_connection(&connection)
    });
    drop(store);
    let mut random = StdRng::seed_from_u64(3);
    let (mut last, mut undone) = (0, 0);
    for _ in 0..12 {
        let mut program = Program::start("counts_for_ever", &folder);
        program.first_word();
        sleep(Duration::from_micros(random.random_range(0..150_000)));
        drop(program);
        let said = fs::read_to_string(folder.path().join("says")).unwrap();
        undone += u32::from(fs::metadata(folder.journal()).is_ok_and(|file| file.len() > 0));
        last = check(&mut folder.open().unwrap(), said.parse().unwrap());
    }
    assert!(last > 12);
    // Most kills come in the middle of a transaction.
    assert!(undone > 2, "{undone}");
}

/// Changes the key between two, for ever.
#[test]
#[ignore = "a program that other tests run"]
fn changes_keys_for_ever() {
    let path = store_of_this_child();
    let mut store = open_with_either_key(&path);
    say(&path, "open");
    for number in (1..=2).cycle() {
        store.change_key(&key(number)).unwrap();
    }
}

fn open_with_either_key(path: &Path) -> Store {
    match Store::open(path, &key(1)) {
        Err(StoreError::WrongKey) => Store::open(path, &key(2)).unwrap(),
        opened => opened.unwrap(),
    }
}

#[test]
fn a_kill_while_the_key_changes_leaves_one_of_both() {
    let folder = Folder::new();
    let mut store = folder.create();
    let mut samples = Samples::new(1);
    done(&mut store, |transaction| {
        let id = transaction.insert_connection(&samples.connection())?;
        transaction.save_ratchet(id, &samples.ratchet())?;
        transaction.set_own_info(id, &samples.exactly(14_000))
    });
    let before = dump(&mut store);
    drop(store);
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..8 {
        let mut program = Program::start("changes_keys_for_ever", &folder);
        program.first_word();
        sleep(Duration::from_micros(random.random_range(0..100_000)));
        drop(program);
        assert_eq!(dump(&mut open_with_either_key(&folder.file())), before);
        assert!(!folder.path().join("contacts.db-new").exists());
    }
}
