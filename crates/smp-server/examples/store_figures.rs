//! Memory of idle queues in the store, the time until it is ready again, and what a message costs.
//!
//! `cargo run --release -p smp-server --example store_figures -- 1000000 FOLDER`: the first time
//! it fills the store in the folder, later it opens it and sends messages through it. Without a
//! folder it fills the store in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rustix::time::{ClockId, clock_gettime};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, AuthPublicKey, MessageFlags, MessageId, QueueMode,
};
use smp_server::store::{
    DiskStore, Durability, Lookup, MemoryStore, QueueId, QueueRecord, QueueStatus, Store,
    StoredBody, StoredMessage,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let queues: usize = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    match arguments.next() {
        None => fill(&MemoryStore::new(), queues).await,
        Some(folder) => disk(Path::new(&folder), queues).await,
    }
}

async fn disk(folder: &Path, queues: usize) -> anyhow::Result<()> {
    let before = resident()?;
    let start = Instant::now();
    let store = DiskStore::open(folder, Durability::Process)?;
    let stored = store.counts().await?.queues;
    let resident = resident()? - before;
    if let Some(each) = resident.checked_div(stored) {
        say(&format!(
            "{stored} queues ready after {:.2} s, {:.2} s of CPU, {} bytes resident a queue, {} MB on disk",
            start.elapsed().as_secs_f64(),
            cpu().as_secs_f64(),
            each,
            size(folder)? >> 20,
        ));
        messages(&store, 0).await?;
        messages(&store, 20_000).await?;
        let (start, cpu) = (Instant::now(), cpu());
        store.compact().await?;
        say(&format!(
            "compacted in {:.1} s, {:.1} s of CPU, {} MB on disk",
            start.elapsed().as_secs_f64(),
            (self::cpu() - cpu).as_secs_f64(),
            size(folder)? >> 20,
        ));
        return Ok(store.close().await?);
    }
    fill(&store, queues).await?;
    store.close().await?;
    say(&format!("{} MB on disk", size(folder)? >> 20));
    Ok(())
}

/// Messages that come, are read and acknowledged at once, while others wait.
async fn messages(store: &DiskStore, waiting: u64) -> anyhow::Result<()> {
    const MESSAGES: u64 = 50_000;
    const QUEUES: usize = 1000;
    let mut ids = Vec::new();
    for _ in 0..QUEUES {
        let record = QueueRecord {
            recipient_id: QueueId::random(),
            sender_id: QueueId::random(),
            recipient_keys: Vec::new(),
            delivery_key: [7; 32],
            sender_key: None,
            mode: None,
            status: QueueStatus::Active,
            notifier: None,
            link_id: None,
            service: None,
            used_on: 20_000,
        };
        ids.push(record.recipient_id);
        store.create(record, None).await?;
    }
    let busy = ids.split_off(QUEUES / 2);
    for number in 0..waiting {
        let id = &ids[number as usize % ids.len()];
        store.push(id, message(number), u32::MAX).await?;
    }
    let (start, before) = (Instant::now(), cpu());
    for number in 0..MESSAGES {
        let id = &busy[number as usize * 7 % busy.len()];
        store.push(id, message(number), 128).await?;
        store.first(id).await?;
        store.acknowledge(id, &message(number).id).await?;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / MESSAGES as f64;
    let (cpu, passed) = (each(cpu() - before), each(start.elapsed()));
    let start = self::cpu();
    (0..MESSAGES).for_each(|number| {
        std::hint::black_box((message(number), message(number)));
    });
    let made = each(self::cpu() - start);
    say(&format!(
        "push, first, acknowledge with {waiting} waiting: {:.1} µs of CPU, {passed:.1} µs passed",
        cpu - made,
    ));
    for id in ids.iter().chain(&busy) {
        store.delete(id).await?;
    }
    Ok(())
}

fn message(number: u64) -> StoredMessage {
    let mut id = [5; 24];
    id[..8].copy_from_slice(&number.to_be_bytes());
    StoredMessage {
        id: MessageId(id),
        timestamp: 1,
        body: StoredBody::Message {
            flags: MessageFlags::default(),
            body: vec![number as u8; 16_048],
        },
    }
}

/// Time that this process used of all cores.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Makes queues as today's clients do: secured by the sender, with a link.
async fn fill<S: Store>(store: &S, queues: usize) -> anyhow::Result<()> {
    let mut rng = StdRng::try_from_rng(&mut SysRng)?;
    let key: AuthPublicKey = AuthPrivateKey::generate(&mut rng, AuthKeyKind::Ed25519).public();
    let before = resident()?;
    let start = Instant::now();
    let mut last = None;
    for _ in 0..queues {
        let record = QueueRecord {
            recipient_id: QueueId::random(),
            sender_id: QueueId::random(),
            recipient_keys: vec![key],
            delivery_key: [7; 32],
            sender_key: Some(key),
            mode: Some(QueueMode::Messaging),
            status: QueueStatus::Active,
            notifier: None,
            link_id: Some(QueueId::random()),
            service: None,
            used_on: 20_000,
        };
        last = Some(record.sender_id);
        store.create(record, None).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if let Some(id) = last {
        anyhow::ensure!(store.find(Lookup::Sender(id)).await?.is_some());
    }
    say(&format!(
        "{queues} queues made in {seconds:.1} s, {} bytes resident a queue",
        (resident()? - before) / queues as u64,
    ));
    Ok(())
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = kilobytes
        .ok_or_else(|| anyhow::anyhow!("no VmRSS"))?
        .parse()?;
    Ok(kilobytes * 1024)
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}

#[expect(
    clippy::print_stdout,
    reason = "its figures are what this program is for"
)]
fn say(text: &str) {
    println!("{text}");
}
