//! The thread of the store: it synchronises with the disk apart from commits, so that many share
//! one synchronisation, and it compacts, step by step between them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::Shared;
use super::compaction::Compaction;
use crate::store::StoreError;

/// At most so much later is a commit on the disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Commits after which the log is brought to the tables. Its file keeps its length and is written
/// again from its begin.
const LONG_LOG: u64 = 2048;

/// Bytes of the log's file after which it is shortened as well.
const LARGE_LOG: u64 = 32 * 1024 * 1024;

/// What commits have for themselves between two steps of a compaction.
const PAUSE: Duration = Duration::from_millis(1);

/// Bodies of taken messages are erased for so long at the end; the next begin goes on with it.
const ERASING: Duration = Duration::from_secs(3);

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// The thread.
pub(super) struct Syncer {
    orders: Arc<Orders>,
    done: watch::Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

struct Orders {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Commits so far.
    committed: u64,
    /// Whether somebody waits for one.
    wanted: bool,
    compactions: Vec<Answer>,
    /// Who wants the log brought to the tables.
    closing: Vec<Answer>,
    stop: bool,
}

/// Up to which commit everything is on the disk, or why nothing more is sure to be.
#[derive(Clone, Default)]
struct Done {
    synced: u64,
    failed: Option<Arc<std::io::Error>>,
}

impl Syncer {
    /// Starts for a database that is open already.
    pub(super) fn start(database: &Path, shared: Arc<Shared>) -> Result<Self, StoreError> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let log = File::open(log)?;
        let checkpointer = Connection::open(database)?;
        checkpointer.execute_batch("PRAGMA secure_delete = ON; PRAGMA cache_size = -256;")?;
        let orders = Arc::new(Orders {
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let (report, done) = watch::channel(Done::default());
        let worker = Worker {
            orders: Arc::clone(&orders),
            log,
            checkpointer,
            shared,
            report,
            running: None,
            unerased: 0,
        };
        let thread = std::thread::Builder::new().name("store".into());
        let thread = thread.spawn(move || worker.run())?;
        Ok(Self {
            orders,
            done,
            thread: Some(thread),
        })
    }

    /// Notes a commit and returns its number.
    pub(super) fn committed(&self) -> u64 {
        let mut state = self.orders.state.lock();
        state.committed += 1;
        if state.committed.is_multiple_of(LONG_LOG) {
            self.orders.wake.notify_one();
        }
        state.committed
    }

    /// Waits until a commit and all before it are on the disk.
    pub(super) async fn synced(&self, commit: u64) -> Result<(), StoreError> {
        self.order(|state| state.wanted = true);
        let mut done = self.done.clone();
        let done = done
            .wait_for(|done| done.synced >= commit || done.failed.is_some())
            .await;
        match done {
            Ok(done) if done.synced >= commit => Ok(()),
            Ok(done) => Err(done.failed.as_ref().map_or(StoreError::Closed, |error| {
                StoreError::Sync(Arc::clone(error))
            })),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Waits until a compaction that begins now or later is done.
    pub(super) async fn compacted(&self) -> Result<(), StoreError> {
        let (answer, done) = oneshot::channel();
        self.order(|state| state.compactions.push(answer));
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until everything is on the disk and the log is empty.
    pub(super) async fn closed(&self) -> Result<(), StoreError> {
        let (answer, done) = oneshot::channel();
        self.order(|state| state.closing.push(answer));
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    fn order(&self, order: impl FnOnce(&mut State)) {
        order(&mut self.orders.state.lock());
        self.orders.wake.notify_one();
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.order(|state| state.stop = true);
        if let Some(thread) = self.thread.take() {
            // It has no result, and if it panicked its message is out.
            let _ = thread.join();
        }
    }
}

struct Worker {
    orders: Arc<Orders>,
    log: File,
    /// A second connection: bringing the log to the tables does not hold up commits.
    checkpointer: Connection,
    shared: Arc<Shared>,
    report: watch::Sender<Done>,
    running: Option<(Compaction, Vec<Answer>)>,
    /// Free slots in which bodies may stand that a former process left behind.
    unerased: usize,
}

/// What the thread has to do now.
struct Orderly {
    target: u64,
    wanted: bool,
    closing: Vec<Answer>,
    stop: bool,
}

impl Worker {
    fn run(mut self) {
        let (mut synced, mut shortened) = (0, 0);
        let mut next = Instant::now() + INTERVAL;
        // Else a loss of power might bring back a row whose body is erased by then.
        if self.sync(0) {
            self.unerased = self.shared.bodies.unerased();
        }
        loop {
            let now = self.orders(next);
            let bodies = matches!(self.running, Some((Compaction::Bodies, _)));
            if now.wanted || now.stop || bodies || Instant::now() >= next {
                if now.target > synced && self.sync(now.target) {
                    synced = now.target;
                }
                next = Instant::now() + INTERVAL;
            }
            let large = self.log.metadata().is_ok_and(|log| log.len() >= LARGE_LOG);
            if large || now.target - shortened >= LONG_LOG {
                self.shorten_log(large);
                shortened = now.target;
            }
            self.erase();
            self.compact();
            self.make_room();
            for answer in now.closing {
                // Who no longer waits needs no answer.
                let _ = answer.send(self.close(now.target));
            }
            if now.stop {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn orders(&mut self, next: Instant) -> Orderly {
        let mut state = self.orders.state.lock();
        let busy = self.running.is_some() || self.unerased > 0;
        let idle = !busy
            && state.compactions.is_empty()
            && state.closing.is_empty()
            && !state.wanted
            && !state.stop;
        if idle {
            self.orders.wake.wait_until(&mut state, next);
        } else if busy && !state.wanted {
            self.orders.wake.wait_for(&mut state, PAUSE);
        }
        if self.running.is_none() && !state.compactions.is_empty() {
            let answers = std::mem::take(&mut state.compactions);
            self.running = Some((Compaction::Begin, answers));
        }
        Orderly {
            target: state.committed,
            wanted: std::mem::take(&mut state.wanted),
            closing: std::mem::take(&mut state.closing),
            stop: state.stop,
        }
    }

    /// Brings to the disk what is in its cache; says whether it could.
    fn sync(&self, target: u64) -> bool {
        let bodies = &self.shared.bodies;
        let released = bodies.take_released();
        let synced = bodies.sync().and_then(|()| self.log.sync_data());
        if let Err(error) = &synced {
            tracing::error!("the disk can't be synchronised: {error}");
        }
        let mut sure = false;
        self.report.send_modify(|done| {
            if let Err(error) = synced {
                // For good: the system may have thrown away what it could not write, and says so
                // only once.
                done.failed.get_or_insert_with(|| Arc::new(error));
            }
            sure = done.failed.is_none();
            if sure {
                done.synced = target;
            }
        });
        if sure {
            bodies.free(released);
        } else {
            bodies.release_again(released);
        }
        sure
    }

    /// Brings a long log to the tables. Nearly all of it is done beside the commits.
    fn shorten_log(&self, large: bool) {
        let rest = || {
            let mut writer = self.shared.writer.lock();
            match large {
                true => writer.truncate_log(),
                false => writer.restart_log(),
            }
        };
        if let Err(error) = self.beside().and_then(|()| rest()) {
            tracing::warn!("the log was not shortened: {error}");
        }
    }

    /// Brings what is in the log to the tables beside the commits.
    fn beside(&self) -> Result<(), StoreError> {
        self.checkpointer
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// On a disk that was full: gives free slots back to it, and keeps room for deletions again.
    fn make_room(&self) {
        if self.shared.reserve.is_given_up()
            && let Err(error) = self.shared.bodies.compact()
        {
            tracing::warn!("no room was made on the disk: {error}");
        }
        self.shared.reserve.regain();
    }

    /// Erases some of what a former process left in free slots.
    fn erase(&mut self) {
        if self.unerased > 0
            && let Err(error) = self.shared.bodies.erase_some(&mut self.unerased)
        {
            tracing::warn!("bodies of taken messages were not erased: {error}");
            self.unerased = 0;
        }
    }

    /// A step of the compaction that runs.
    fn compact(&mut self) {
        let Some((compaction, _)) = &mut self.running else {
            return;
        };
        let step = match compaction.step(&self.shared) {
            Ok(false) => return,
            Ok(true) => self.finish(),
            Err(error) => Err(error),
        };
        let Some((_, mut answers)) = self.running.take() else {
            return;
        };
        if let Err(error) = &step {
            tracing::warn!("the store was not compacted: {error}");
        }
        if let Some(first) = answers.pop() {
            let others = step.is_ok();
            // Who no longer waits needs no answer.
            let _ = first.send(step);
            for answer in answers.into_iter().filter(|_| others) {
                let _ = answer.send(Ok(()));
            }
        }
    }

    /// Erases the bodies of taken messages, as many as there is time for, and finishes.
    fn close(&mut self, target: u64) -> Result<(), StoreError> {
        let end = Instant::now() + ERASING;
        let mut left = match self.sync(target) {
            true => self.shared.bodies.unerased(),
            false => 0,
        };
        while left > 0 && Instant::now() < end {
            if let Err(error) = self.shared.bodies.erase_some(&mut left) {
                tracing::warn!("bodies of taken messages were not erased: {error}");
                break;
            }
        }
        if left > 0 {
            tracing::warn!("{left} bodies of taken messages are erased at the next start");
        }
        self.finish()
    }

    /// Brings everything to the tables and empties the log.
    fn finish(&self) -> Result<(), StoreError> {
        self.shared.bodies.sync()?;
        self.log.sync_data()?;
        self.beside()?;
        self.shared.writer.lock().truncate_log()
    }
}
