//! A store whose process is killed at random instants, again and again.
//!
//! A child works on the store with several threads and reports on a pipe what it begins and what
//! is done, each in one write. The parent kills it, takes what is left in the pipe, and looks: what
//! was done is there, what was begun last may be there, and nothing else is. Some children are
//! killed while they open what the one before left, and some while the disk is full.
//!
//! Nextest ends this test after three minutes, for which a thousand kills are too many on a busy
//! machine. So those run without it:
//! `SOTTO_CRASHES=1000 cargo test -p smp-server --test store crash`.

mod load;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smp_server::store::{Counts, DiskStore, Durability, Lookup, Store};

use self::load::{Actor, Event, FULL, Round, WORKING};
use crate::support::{block_on, child_after, child_folder, drained, loudly};

/// How many children are killed; `SOTTO_CRASHES` says another number.
const CRASHES: u64 = 50;

/// Linux's number of SIGKILL.
const SIGKILL: i32 = 9;

/// What is known of one row of steps.
#[derive(Default, Clone, Copy)]
struct Progress {
    begun: u32,
    done: u32,
}

/// What a round's child reported.
#[derive(Default)]
struct Report {
    /// How far each actor came with each queue.
    steps: BTreeMap<(Actor, u32), Progress>,
    /// Operations that failed for lack of room.
    full: u64,
}

#[test]
fn a_killed_store_loses_nothing_and_brings_nothing_back() {
    let crashes = std::env::var("SOTTO_CRASHES").map_or(CRASHES, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(crashes);
    let mut unseen = Vec::new();
    let mut figures = Figures::default();
    for number in 0..crashes {
        let round = Round { number };
        let report = killed(round, folder.path(), &mut rng);
        figures.add(&report);
        unseen.push((round, report));
        // What the next ones find is what this one left, not what an orderly end made of it.
        if rng.random_bool(0.4) || number + 1 == crashes {
            block_on(inspect(
                folder.path(),
                std::mem::take(&mut unseen),
                &mut figures,
            ));
        }
    }
    figures.check(crashes);
}

/// The child's part.
#[test]
fn child_that_is_killed() {
    if let Some(folder) = child_folder() {
        load::run(&folder);
    }
}

/// Runs a child and kills it after some of its reports, or before it has any.
fn killed(round: Round, folder: &Path, rng: &mut StdRng) -> Report {
    // Some children meet a limit on the length of files.
    let mut command = child_after("trap '' XFSZ", "crash::child_that_is_killed", folder);
    command.env(load::ROUND, round.number.to_string());
    let mut child = command.spawn().unwrap();
    let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();
    let after = match rng.random_range(0..8) {
        _ if round.is_full() => rng.random_range(500..2_000),
        0 => 0,
        1 => 1,
        7 => rng.random_range(2_000..6_000),
        _ => rng.random_range(2..1_000),
    };
    let mut lines = Vec::new();
    while lines.len() < after
        && let Some(line) = reports.next()
    {
        lines.push(line.unwrap());
    }
    kill(
        &mut child,
        Duration::from_micros(rng.random_range(0..1_500)),
    );
    lines.extend(rest(reports));
    let status = child.wait().unwrap();
    assert_eq!(
        status.signal(),
        Some(SIGKILL),
        "the child ended by itself: {status}"
    );
    let mut report = Report {
        full: lines.iter().filter(|line| *line == FULL).count() as u64,
        ..Report::default()
    };
    for event in lines.iter().filter_map(|line| Event::parse(line)) {
        let progress = report.steps.entry((event.actor, event.queue)).or_default();
        if event.done {
            progress.done = event.step;
        } else {
            progress.begun = event.step;
        }
    }
    report
}

/// Kills a child some instants from now.
fn kill(child: &mut Child, from_now: Duration) {
    let at = Instant::now() + from_now;
    while Instant::now() < at {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
}

/// What was in the pipe when the child died.
fn rest(reports: std::io::Lines<BufReader<ChildStdout>>) -> Vec<String> {
    reports.map(Result::unwrap).collect()
}

/// Opens the store, compares it with what was reported, and empties it.
async fn inspect(folder: &Path, rounds: Vec<(Round, Report)>, figures: &mut Figures) {
    let store = DiskStore::open(folder, Durability::Process).unwrap();
    let stored = store.counts().await.unwrap();
    let mut counts = Counts::default();
    for (round, report) in rounds {
        for ((actor, queue), progress) in &report.steps {
            match actor {
                Actor::Sender(pair) => {
                    let taken = report.steps.get(&(Actor::Recipient(*pair), *queue));
                    let taken = taken.copied().unwrap_or_default();
                    let messages = pair_is(&store, round, *pair, *progress, taken).await;
                    counts.messages += messages.unwrap_or(0);
                    counts.queues += u64::from(messages.is_some());
                    figures.waiting += messages.unwrap_or(0);
                }
                Actor::Changer(changer) => {
                    let there = changed_is(&store, round, *changer, *queue, *progress).await;
                    counts.queues += u64::from(there);
                }
                Actor::Recipient(_) => {}
            }
        }
    }
    assert_eq!(
        stored, counts,
        "something that nobody made, or that is counted wrong"
    );
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    figures.inspected += 1;
}

/// Compares a pair's queue and deletes it. How many messages were in it, if it was there.
async fn pair_is(
    store: &DiskStore,
    round: Round,
    pair: u32,
    sent: Progress,
    taken: Progress,
) -> Option<u64> {
    let record = round.pair(pair);
    let found = store.find(Lookup::Sender(record.sender_id)).await.unwrap();
    let Some(found) = found else {
        assert_eq!(sent.done, 0, "an accepted queue is lost");
        return None;
    };
    assert!(*found == record);
    let id = &record.recipient_id;
    let length = u64::from(store.length(id).await.unwrap());
    let messages = drained(store, id).await;
    assert_eq!(messages.len() as u64, length);
    // The first step makes the queue, so that the message 1 is the step 2.
    let (accepted, begun) = (sent.done.saturating_sub(1), sent.begun.saturating_sub(1));
    let first = messages
        .first()
        .map_or(begun + 1, |first| round.number_of(first));
    let last = messages
        .last()
        .map_or(accepted, |last| round.number_of(last));
    assert!(
        first > taken.done,
        "message {first} is back, {} was acknowledged",
        taken.done
    );
    if messages.is_empty() {
        assert!(
            taken.begun >= accepted,
            "messages up to {accepted} are lost"
        );
    } else {
        assert!(first <= taken.begun + 1, "messages up to {first} are lost");
        assert!(
            last >= accepted,
            "the messages from {last} to {accepted} are lost"
        );
        assert!(last <= begun, "nobody sent the message {last}");
    }
    for (message, number) in messages.iter().zip(first..) {
        assert!(
            *message == round.message(pair, number),
            "message {number} is another"
        );
    }
    store.delete(id).await.unwrap();
    Some(length)
}

/// Compares a queue that was changed step by step and deletes it. Whether it was there.
async fn changed_is(
    store: &DiskStore,
    round: Round,
    changer: u32,
    queue: u32,
    progress: Progress,
) -> bool {
    let id = round.changed(changer, queue).recipient_id;
    let found = store.find(Lookup::Recipient(id)).await.unwrap();
    let link = store.link_data(&id).await.unwrap();
    let found = found.map(|record| (record, link));
    let is_after = |step| {
        let state = round.after(changer, queue, step);
        match (&found, state) {
            (None, None) => true,
            (Some((found, link)), Some((record, data))) => **found == record && *link == data,
            _ => false,
        }
    };
    let (done, begun) = (progress.done, progress.begun);
    assert!(
        is_after(done) || is_after(begun),
        "the queue is not as it was after step {done}"
    );
    if let Some((record, _)) = &found {
        let notifier = record.notifier.as_ref().map(|one| Lookup::Notifier(one.id));
        let others = [Some(Lookup::Sender(record.sender_id)), notifier];
        for lookup in others
            .into_iter()
            .flatten()
            .chain(record.link_id.map(Lookup::Link))
        {
            assert!(store.find(lookup).await.unwrap().as_ref() == Some(record));
        }
    }
    store.delete(&id).await.unwrap();
    found.is_some()
}

/// That the crashes happened where they matter.
#[derive(Default)]
struct Figures {
    inspected: u64,
    /// Messages that waited when their relay was killed.
    waiting: u64,
    operations: u64,
    /// Operations during which a child was killed.
    cut: u64,
    /// Operations that failed for lack of room.
    full: u64,
    /// Children that were killed before they began to work.
    early: u64,
}

impl Figures {
    fn add(&mut self, report: &Report) {
        self.early += u64::from(report.steps.is_empty());
        self.full += report.full;
        for progress in report.steps.values() {
            self.operations += u64::from(progress.done);
            self.cut += u64::from(progress.begun > progress.done);
        }
    }

    fn check(&self, crashes: u64) {
        let Self {
            inspected,
            waiting,
            operations,
            cut,
            full,
            early,
        } = self;
        let summary = format!(
            "{crashes} crashes, {inspected} inspections: {operations} operations done, {cut} cut \
             off, {full} without room, {waiting} messages waited, {early} children died before they worked"
        );
        loudly(&summary);
        assert!(*cut >= crashes && *waiting >= crashes, "{summary}");
        assert!(*full > 0 && *early > 0, "{summary}");
        assert!(*operations > 50 * crashes, "{summary}");
    }
}

#[test]
fn a_report_is_read_as_it_was_written() {
    for actor in [Actor::Sender(1), Actor::Recipient(2), Actor::Changer(3)] {
        for done in [true, false] {
            let event = Event {
                actor,
                queue: 4,
                step: 5,
                done,
            };
            assert_eq!(Event::parse(event.line().trim_end()), Some(event));
        }
    }
    assert_eq!(Event::parse(WORKING), None);
}
