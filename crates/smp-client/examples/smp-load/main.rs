//! Puts load on an SMP relay and measures what it does.
//!
//! ```sh
//! cargo run --release -p smp-client --example smp-load -- ADDRESS --connections 100 --pid $(pidof sotto-smp)
//! ```
//!
//! Every queue has its recipient on one connection and its sender on the next. A message is counted
//! when its recipient has it, and its latency is from SEND to MSG.

mod cryptography;
mod figures;
mod lane;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{Events, Isolation, Session, SessionOptions, TcpConnector, TcpOptions};
use smp_protocol::ServerAddress;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use figures::Figures;
use lane::{Lane, Queue, STAMP, Settings};
use process::Process;

/// Load for an SMP relay: messages a second, latency, and the relay's own time and memory.
#[derive(Parser)]
#[command(after_help = "\
Example:
  smp-load 'smp://…:…@localhost' --connections 100 --queues 1000 --messages 20000 --pid 4711")]
struct Arguments {
    /// The relay's address with its password
    address: ServerAddress,
    /// Connections
    #[arg(long, default_value_t = 10)]
    connections: usize,
    /// Queues that messages go through; at least one for each connection
    #[arg(long, default_value_t = 10)]
    queues: usize,
    /// Messages in all
    #[arg(long, default_value_t = 10_000)]
    messages: u64,
    /// Bytes of a message; clients of SimpleX Chat send 16,000
    #[arg(long, default_value_t = 16_000)]
    size: usize,
    /// Messages of a queue that are on their way at a time
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Queues that are made and then left alone, for their memory
    #[arg(long, default_value_t = 0)]
    idle_queues: usize,
    /// The relay's process, if it runs here: its CPU time and memory are measured, and its time is
    /// compared with that of the cryptography alone
    #[arg(long)]
    pid: Option<u32>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Handshakes at a time.
const CONNECTING: usize = 64;

/// Idle queues that are asked for at a time.
const MAKING: usize = 64;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(
        arguments.size >= STAMP && arguments.window > 0 && arguments.connections > 0,
        "--size must be at least {STAMP}, --window and --connections at least 1"
    );
    let figures = Box::pin(run(&arguments)).await?;
    figures.print(arguments.json)
}

async fn run(arguments: &Arguments) -> anyhow::Result<Figures> {
    let process = || arguments.pid.map(Process::read).transpose();
    let before = process()?;
    let connections = connect(arguments).await?;
    let connected = process()?;
    progress(&format!("{} connections", connections.len()));
    make_idle(arguments, &connections).await?;
    let idle = process()?;
    let lanes = prepare(arguments, connections).await?;
    progress("queues are ready");
    let ready = process()?;
    let settings = Settings {
        size: arguments.size,
        window: arguments.window,
        messages: arguments.messages,
        taken: Arc::new(AtomicU64::new(0)),
        start: Instant::now(),
    };
    let latencies = exchange(lanes, &settings).await?;
    let took = settings.start.elapsed();
    let after = process()?;

    let mut figures = Figures::default();
    figures.of_messages(latencies, took);
    if let (Some(before), Some(connected), Some(idle), Some(ready), Some(after)) =
        (before, connected, idle, ready, after)
    {
        let each = (after.cpu - ready.cpu).as_secs_f64() * 1e6 / arguments.messages as f64;
        let cryptography = cryptography::microseconds_per_message(arguments.size)?;
        figures.of_time(each, cryptography);
        let bytes = connected.grown(&before) / arguments.connections as f64;
        figures.of_memory(bytes, &after);
        if arguments.idle_queues > 0 {
            figures.of_idle(idle.grown(&connected) / arguments.idle_queues as f64);
        }
    }
    Ok(figures)
}

async fn connect(arguments: &Arguments) -> anyhow::Result<Vec<(Session, Events)>> {
    let connector = Arc::new(TcpConnector::new(TcpOptions::default(), None)?);
    let address = Arc::new(arguments.address.clone());
    let room = Arc::new(Semaphore::new(CONNECTING));
    let mut tasks = JoinSet::new();
    for _ in 0..arguments.connections {
        let (connector, address) = (Arc::clone(&connector), Arc::clone(&address));
        let room = Arc::clone(&room);
        tasks.spawn(async move {
            let _permit = room.acquire().await;
            let isolation = Isolation::generate(&mut UnwrapErr(SysRng));
            let options = SessionOptions::default();
            Session::connect(&*connector, &address, &isolation, &options).await
        });
    }
    let mut connections = Vec::with_capacity(arguments.connections);
    while let Some(connected) = tasks.join_next().await {
        connections.push(connected??);
    }
    Ok(connections)
}

async fn make_idle(arguments: &Arguments, connections: &[(Session, Events)]) -> anyhow::Result<()> {
    let wanted = arguments.idle_queues as u64;
    let made = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..MAKING.min(arguments.idle_queues) {
        let session = connections[number % connections.len()].0.clone();
        let made = Arc::clone(&made);
        tasks.spawn(async move {
            loop {
                let number = made.fetch_add(1, Ordering::Relaxed);
                if number >= wanted {
                    return anyhow::Ok(());
                }
                Queue::make(&session, false).await?;
                if number % 100_000 == 99_999 {
                    progress(&format!("{} idle queues", number + 1));
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Makes the queues that messages go through, and shares them out.
async fn prepare(
    arguments: &Arguments,
    connections: Vec<(Session, Events)>,
) -> anyhow::Result<Vec<Lane>> {
    let sessions: Vec<Session> = connections
        .iter()
        .map(|(session, _)| session.clone())
        .collect();
    let mut lanes: Vec<Lane> = connections
        .into_iter()
        .map(|(session, events)| Lane::new(session, events))
        .collect();
    for number in 0..arguments.queues.max(lanes.len()) {
        let at = number % sessions.len();
        let sender = &sessions[(at + 1) % sessions.len()];
        lanes[at].add(Queue::secured(&sessions[at], sender).await?, sender.clone());
    }
    Ok(lanes)
}

/// Sends all messages and returns each one's latency.
async fn exchange(lanes: Vec<Lane>, settings: &Settings) -> anyhow::Result<Vec<Duration>> {
    let mut tasks = JoinSet::new();
    for lane in lanes {
        tasks.spawn(lane.run(settings.clone()));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.append(&mut done??);
    }
    Ok(latencies)
}

/// Says how far it is. Where nobody reads that, it may be lost.
fn progress(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "smp-load: {text}");
}
