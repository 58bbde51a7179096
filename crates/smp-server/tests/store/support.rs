//! Queues and messages for tests, stores in folders that go away, and children that are killed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use smp_protocol::{AuthPublicKey, LinkData, MessageFlags, MessageId, QueueMode};
use smp_server::store::{
    Acknowledged, Cursor, DiskStore, Durability, NotifierRecord, QueueId, QueueRecord, QueueStatus,
    Store, StoredBody, StoredMessage,
};
use tempfile::TempDir;

/// More messages than most tests send.
pub(crate) const QUOTA: u32 = 128;

/// The longest body of any version of the protocol.
pub(crate) const LONGEST: usize = 16_088;

/// A store on disk, and the folder that goes away with it.
pub(crate) struct Disk {
    // Closed before its folder goes.
    pub(crate) store: DiskStore,
    folder: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self::with(Durability::Process)
    }

    pub(crate) fn with(durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path(), durability).unwrap();
        Self { store, folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the store as a process ends, without [`Store::close`], and opens it again.
    pub(crate) fn reopened(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        let store = DiskStore::open(folder.path(), Durability::Process).unwrap();
        Self { store, folder }
    }

    /// Closes the store; its folder stays for as long as the result.
    pub(crate) async fn closed(self) -> TempDir {
        self.store.close().await.unwrap();
        self.folder
    }

    /// Bytes that the file of bodies has.
    pub(crate) fn bodies(&self) -> u64 {
        self.path().join("bodies").metadata().unwrap().len()
    }
}

/// A queue with the least, and nothing in it that another has.
pub(crate) fn queue() -> QueueRecord {
    let QueueId(sender_key) = QueueId::random();
    let mut key = [7; 32];
    key[..24].copy_from_slice(&sender_key);
    QueueRecord {
        recipient_id: QueueId::random(),
        sender_id: QueueId::random(),
        recipient_keys: vec![AuthPublicKey::Ed25519(key)],
        delivery_key: [8; 32],
        sender_key: None,
        mode: Some(QueueMode::Messaging),
        status: QueueStatus::Active,
        notifier: None,
        link_id: None,
        service: None,
        used_on: 20_000,
    }
}

/// A queue that is in `store` already.
pub(crate) async fn created(store: &impl Store) -> QueueRecord {
    let record = queue();
    store.create(record.clone(), None).await.unwrap();
    record
}

pub(crate) fn notifier() -> NotifierRecord {
    NotifierRecord {
        id: QueueId::random(),
        key: AuthPublicKey::X25519([9; 32]),
        secret: [10; 32],
        service: None,
    }
}

pub(crate) fn link(fixed: &[u8], user: &[u8]) -> LinkData {
    LinkData {
        fixed: fixed.to_vec(),
        user: user.to_vec(),
    }
}

/// A message whose id and body follow from a number.
pub(crate) fn message(number: u64) -> StoredMessage {
    message_of(number, &number.to_be_bytes())
}

pub(crate) fn message_of(number: u64, body: &[u8]) -> StoredMessage {
    StoredMessage {
        id: message_id(number),
        timestamp: 1_000 + number,
        body: StoredBody::Message {
            flags: MessageFlags {
                notification: number.is_multiple_of(2),
            },
            body: body.to_vec(),
        },
    }
}

pub(crate) fn message_id(number: u64) -> MessageId {
    let mut id = [11; 24];
    id[..8].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

/// Bytes that follow from a seed and differ everywhere.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// The messages of a queue, taken and acknowledged one by one.
pub(crate) async fn drained(store: &impl Store, id: &QueueId) -> Vec<StoredMessage> {
    let mut messages = Vec::new();
    let mut first = store.first(id).await.unwrap();
    while let Some(message) = first {
        let Acknowledged::Done { next } = store.acknowledge(id, &message.id).await.unwrap() else {
            panic!("the first message can't be acknowledged");
        };
        messages.push(message);
        first = next;
    }
    messages
}

/// Numbers of messages that [`message`] or [`message_of`] made; of the quota marker too.
pub(crate) fn numbers(messages: &[StoredMessage]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| message.timestamp - 1_000)
        .collect()
}

/// All that a walk in steps gives: `step` takes the cursor and gives a part and the next cursor.
pub(crate) async fn walk<T>(mut step: impl AsyncFnMut(Cursor) -> (T, Option<Cursor>)) -> Vec<T> {
    let mut parts = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        let (part, next) = step(from).await;
        parts.push(part);
        cursor = next;
    }
    parts
}

/// Waits for an operation on this thread. It needs no runtime, and stands in none's way.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// The variable by which a child knows its folder.
const FOLDER: &str = "SOTTO_STORE_CHILD";

/// What a child says when all went well.
const DONE: &str = "the child is done";

/// The folder that this process is to work in, if it is a child.
pub(crate) fn child_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// This test binary, to run the one test `name`, which sees `folder`.
pub(crate) fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The same, begun by a shell that runs `first` in its place before it.
pub(crate) fn child_after(first: &str, name: &str, folder: &Path) -> Command {
    let child = child(name, folder);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{first} && exec \"$@\""), "sh"]);
    command.arg(child.get_program()).args(child.get_args());
    command
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// A child says that all went well.
pub(crate) fn child_done() {
    say(&mut std::io::stdout(), DONE);
}

/// Waits for a child that ends by itself.
pub(crate) fn succeeds(command: &mut Command) {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && out.contains(DONE),
        "{}: {out}",
        output.status
    );
}

/// Says what a person should know who runs the tests.
pub(crate) fn loudly(text: &str) {
    say(&mut std::io::stderr(), text);
}

fn say(to: &mut impl Write, text: &str) {
    to.write_all(format!("\n{text}\n").as_bytes()).unwrap();
}
