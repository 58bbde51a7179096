//! Synchronisation with the disk, apart from commits, so that many share one.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::watch;

use super::bodies::Bodies;
use crate::store::StoreError;

/// At most so much later is a commit on the disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of the log after which it is brought to the tables.
const LONG_LOG: u64 = 16 * 1024 * 1024;

/// The thread that synchronises.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    done: watch::Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Commits so far.
    committed: u64,
    /// Whether somebody waits.
    wanted: bool,
    stop: bool,
}

/// Up to which commit everything is on the disk, or why not.
#[derive(Clone)]
struct Done {
    synced: u64,
    failed: Option<Arc<std::io::Error>>,
}

impl Syncer {
    /// Starts for a database that is open already.
    pub(super) fn start(database: &Path, bodies: Arc<Bodies>) -> Result<Self, StoreError> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let log = File::open(log)?;
        let checkpointer = Connection::open(database)?;
        checkpointer.execute_batch("PRAGMA secure_delete = ON; PRAGMA busy_timeout = 1000;")?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let (report, done) = watch::channel(Done {
            synced: 0,
            failed: None,
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            log,
            checkpointer,
            bodies,
            report,
        };
        let thread = std::thread::Builder::new().name("store-sync".into());
        let thread = thread.spawn(move || worker.run())?;
        Ok(Self {
            shared,
            done,
            thread: Some(thread),
        })
    }

    /// Notes a commit and returns its number.
    pub(super) fn committed(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.committed += 1;
        state.committed
    }

    /// Waits until a commit and all before it are on the disk.
    pub(super) async fn synced(&self, commit: u64) -> Result<(), StoreError> {
        {
            let mut state = self.shared.state.lock();
            if !state.wanted {
                state.wanted = true;
                self.shared.wake.notify_one();
            }
        }
        let mut done = self.done.clone();
        let done = done
            .wait_for(|done| done.synced >= commit || done.failed.is_some())
            .await;
        match done {
            Ok(done) => match &done.failed {
                Some(error) => Err(StoreError::Sync(Arc::clone(error))),
                None => Ok(()),
            },
            Err(_) => Err(StoreError::Closed),
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has no result, and if it panicked its message is out.
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    log: File,
    /// A second connection: bringing the log to the tables does not hold up commits.
    checkpointer: Connection,
    bodies: Arc<Bodies>,
    report: watch::Sender<Done>,
}

impl Worker {
    fn run(self) {
        let mut synced = 0;
        loop {
            let (target, stop) = self.next();
            if target > synced {
                let failed = self.sync().err();
                if let Some(error) = &failed {
                    tracing::error!("the disk can't be synchronised: {error}");
                } else {
                    synced = target;
                }
                self.report.send_replace(Done {
                    synced,
                    failed: failed.map(Arc::new),
                });
                self.shorten_log();
            }
            if stop {
                return;
            }
        }
    }

    /// Waits for the interval's end or for somebody who can't; returns up to which commit to
    /// synchronise, and whether it is for the last time.
    fn next(&self) -> (u64, bool) {
        let mut state = self.shared.state.lock();
        if !state.wanted && !state.stop {
            self.shared.wake.wait_for(&mut state, INTERVAL);
        }
        state.wanted = false;
        (state.committed, state.stop)
    }

    fn sync(&self) -> std::io::Result<()> {
        let released = self.bodies.take_released();
        let synced = self.bodies.sync().and_then(|()| self.log.sync_data());
        match synced {
            Ok(()) => self.bodies.free(released),
            // Not free yet: the next time will tell.
            Err(_) => self.bodies.release(released.into_iter()),
        }
        synced
    }

    /// Brings a long log to the tables; it is written again from its begin then.
    fn shorten_log(&self) {
        if self.log.metadata().is_ok_and(|log| log.len() < LONG_LOG) {
            return;
        }
        let shortened = self
            .checkpointer
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        if let Err(error) = shortened {
            tracing::warn!("the log was not shortened: {error}");
        }
    }
}
