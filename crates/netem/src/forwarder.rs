//! The network in real time, between processes.

mod exchange;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::link::{LinkConfig, LinkStats};
use exchange::{Exchange, Outgoing, StandId, Verdict};

const DEFAULT_SOCKET_LIMIT: usize = 256;

/// 16 MiB each way.
const DEFAULT_IN_FLIGHT_LIMIT: usize = 16 * 1024 * 1024;

/// The largest UDP datagram, and so the size of each socket's receive buffer.
const LARGEST_DATAGRAM: usize = 65_535;

/// How long a socket rests after it has failed to receive.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// One of the two parties that a forwarder stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// The opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The two families of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    const fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

/// What a [`Forwarder`] does. The default is perfect links between sockets on the loopback
/// interface.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForwarderConfig {
    /// The link from side A to side B. Packets count with their IP and UDP headers.
    pub a_to_b: LinkConfig,
    /// The link from side B to side A.
    pub b_to_a: LinkConfig,
    /// The seed of the link from A to B; that from B to A has the next number. So a
    /// [`Link`](crate::Link) with the same configuration and seed foretells which packets are lost.
    pub seed: u64,
    /// The local address of sockets that stand for IPv4 addresses.
    pub bind_ipv4: Ipv4Addr,
    /// The local address of sockets that stand for IPv6 addresses.
    pub bind_ipv6: Ipv6Addr,
    /// The sockets that may be open at once, learned ones included.
    pub socket_limit: usize,
    /// The bytes that may be under way in each direction; datagrams beyond them are dropped.
    pub in_flight_limit: usize,
}

impl Default for ForwarderConfig {
    fn default() -> Self {
        Self {
            a_to_b: LinkConfig::PERFECT,
            b_to_a: LinkConfig::PERFECT,
            seed: 0,
            bind_ipv4: Ipv4Addr::LOCALHOST,
            bind_ipv6: Ipv6Addr::LOCALHOST,
            socket_limit: DEFAULT_SOCKET_LIMIT,
            in_flight_limit: DEFAULT_IN_FLIGHT_LIMIT,
        }
    }
}

/// What a [`Forwarder`] has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ForwarderStats {
    /// The link from side A to side B.
    pub a_to_b: LinkStats,
    /// The link from side B to side A.
    pub b_to_a: LinkStats,
    /// Datagrams to a socket that stands for no address yet, from a sender for whom no further
    /// socket may be opened, or from the forwarder itself.
    pub unroutable: u64,
    /// Datagrams dropped since too many bytes were under way.
    pub overflowed: u64,
    /// Datagrams that a socket failed to send, and failures to receive.
    pub socket_errors: u64,
    /// The sockets that are open.
    pub sockets: usize,
    /// The longest time by which a datagram left later than its link had it arrive. Where it is
    /// large, the machine was busy and the run says little about timing.
    pub worst_lateness: Duration,
}

/// Carries UDP datagrams between two sides in real time, through a [`Link`](crate::Link) each way.
///
/// For each real address of a side the forwarder has a socket that *stands for* it towards the
/// other side; [`expose`](Self::expose) gives that socket's address. Who rewrites the addresses in
/// signalling, say ICE candidates, replaces each real address of a side by the exposed one. A
/// datagram from address Y of one side to the socket that stands for address X of the other side
/// crosses the link, and then goes to X from the socket that stands for Y, so that X's replies find
/// their way back. If none stands for Y yet, as for a peer-reflexive candidate, one is opened.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::net::UdpSocket;
/// use std::time::Duration;
/// use netem::{Forwarder, ForwarderConfig, LinkConfig};
///
/// let alice = UdpSocket::bind("127.0.0.1:0")?;
/// let bob = UdpSocket::bind("127.0.0.1:0")?;
/// let forwarder = Forwarder::start(ForwarderConfig {
///     a_to_b: LinkConfig::with_delay(Duration::from_millis(5)),
///     ..ForwarderConfig::default()
/// })?;
/// let (bob_for_alice, alice_for_bob) =
///     forwarder.pair(alice.local_addr()?, bob.local_addr()?)?;
///
/// alice.send_to(b"hello", bob_for_alice)?;
/// let mut buffer = [0; 16];
/// let (length, from) = bob.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..length], from), (&b"hello"[..], alice_for_bob));
/// assert_eq!(forwarder.stop().a_to_b.delivered, 1);
/// # Ok(())
/// # }
/// ```
///
/// It runs on two threads of its own, one that receives and one that sends when a datagram is due,
/// usually within a fraction of a millisecond ([`ForwarderStats::worst_lateness`] tells). Memory is
/// bounded by [`ForwarderConfig::socket_limit`] and [`ForwarderConfig::in_flight_limit`]. Its
/// methods may be called on any thread, inside an async runtime or not; they wait for nothing but a
/// lock that is held briefly.
///
/// Dropping it is the same as [`stop`](Self::stop).
#[derive(Debug)]
pub struct Forwarder {
    shared: Arc<Shared>,
    /// Dropped to end the receiving thread.
    receiving: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts a forwarder that has no sockets yet.
    ///
    /// # Errors
    /// Where the system gives no threads or no event queue.
    pub fn start(config: ForwarderConfig) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let shared = Arc::new(Shared::new(config, runtime.handle().clone()));
        let (receiving, stopped) = oneshot::channel();
        let mut forwarder = Self {
            shared: Arc::clone(&shared),
            receiving: Some(receiving),
            threads: Vec::new(),
        };
        let receiver = thread::Builder::new().name("netem-receive".into());
        forwarder.threads.push(receiver.spawn(move || {
            // Either way there is nothing left to wait for.
            let _ = runtime.block_on(stopped);
        })?);
        let sender = thread::Builder::new().name("netem-send".into());
        forwarder
            .threads
            .push(sender.spawn(move || shared.send_when_due())?);
        Ok(forwarder)
    }

    /// The address at which the side opposite to `side` reaches `real`, which is a real address of
    /// `side`. The same address gives the same answer.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for an unspecified address, port 0, or one of
    /// the forwarder's own sockets; [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) beyond
    /// [`ForwarderConfig::socket_limit`]; and what the system says when it gives no socket.
    pub fn expose(&self, side: Side, real: SocketAddr) -> io::Result<SocketAddr> {
        let mut state = self.shared.lock();
        if let Some(local) = state.exchange.local_of(side, real) {
            return Ok(local);
        }
        state.check_real(real)?;
        self.shared
            .open(&mut state, side, IpVersion::of(real), Some(real))
            .map(|(_, local)| local)
    }

    /// Exposes an address of each side: where A sends to reach `b`, and where B sends to reach `a`.
    ///
    /// # Errors
    /// Those of [`expose`](Self::expose).
    pub fn pair(&self, a: SocketAddr, b: SocketAddr) -> io::Result<(SocketAddr, SocketAddr)> {
        let as_seen_by_a = self.expose(Side::B, b)?;
        let as_seen_by_b = self.expose(Side::A, a)?;
        Ok((as_seen_by_a, as_seen_by_b))
    }

    /// An address at which the side opposite to `side` will reach an address of `side` that is not
    /// known yet. What is sent to it before [`assign`](Self::assign) is lost.
    ///
    /// # Errors
    /// Those of [`expose`](Self::expose).
    pub fn reserve(&self, side: Side, version: IpVersion) -> io::Result<SocketAddr> {
        let mut state = self.shared.lock();
        self.shared
            .open(&mut state, side, version, None)
            .map(|(_, local)| local)
    }

    /// Says which real address a [reserved](Self::reserve) address stands for.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where `reserved` is not a reserved address,
    /// where it stands for another address already, or where `real` is of the other family or is
    /// none that [`expose`](Self::expose) takes.
    pub fn assign(&self, reserved: SocketAddr, real: SocketAddr) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.check_real(real)?;
        if IpVersion::of(reserved) == IpVersion::of(real) && state.exchange.assign(reserved, real) {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }

    /// Replaces what the link from `sender` to the other side does to packets from now on.
    pub fn reconfigure(&self, sender: Side, config: LinkConfig) {
        self.shared.lock().exchange.reconfigure(sender, config);
    }

    /// Takes the link from `sender` down until [`restore`](Self::restore).
    pub fn cut(&self, sender: Side) {
        self.shared.lock().exchange.link(sender).cut();
    }

    /// Ends a [`cut`](Self::cut); scheduled ones stay.
    pub fn restore(&self, sender: Side) {
        self.shared.lock().exchange.link(sender).restore();
    }

    /// Schedules an outage of the link from `sender`, from `from` up to, but not including,
    /// `until`.
    pub fn schedule_cut(&self, sender: Side, from: Instant, until: Instant) {
        self.shared
            .lock()
            .exchange
            .link(sender)
            .schedule_cut(from, until);
    }

    /// What the forwarder has done so far.
    #[must_use]
    pub fn stats(&self) -> ForwarderStats {
        self.shared.lock().exchange.stats()
    }

    /// Stops the forwarder and closes its sockets; what is under way is gone. Returns what it has
    /// done in all.
    pub fn stop(mut self) -> ForwarderStats {
        self.halt();
        self.stats()
    }

    fn halt(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        self.receiving = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a forwarder's thread has panicked");
            }
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.halt();
    }
}

/// What the threads and the owner share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A datagram is due earlier than was known, or the end has come.
    changed: Condvar,
    runtime: Handle,
    bind_ipv4: IpAddr,
    bind_ipv6: IpAddr,
}

#[derive(Debug)]
struct State {
    exchange: Exchange<Arc<UdpSocket>>,
    stopping: bool,
}

impl State {
    /// Refuses what cannot be the real address of a side.
    fn check_real(&self, real: SocketAddr) -> io::Result<()> {
        let unusable = real.ip().is_unspecified() || real.port() == 0;
        if unusable || self.exchange.is_own(real) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }
}

impl Shared {
    fn new(config: ForwarderConfig, runtime: Handle) -> Self {
        let state = State {
            exchange: Exchange::new(&config),
            stopping: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            runtime,
            bind_ipv4: config.bind_ipv4.into(),
            bind_ipv6: config.bind_ipv6.into(),
        }
    }

    /// Every change to the state is complete before anything that could panic, so a poisoned lock
    /// guards a sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a socket that stands for an address of `side`, and receives on it.
    fn open(
        self: &Arc<Self>,
        state: &mut State,
        side: Side,
        version: IpVersion,
        real: Option<SocketAddr>,
    ) -> io::Result<(StandId, SocketAddr)> {
        if state.exchange.is_full() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let address = match version {
            IpVersion::V4 => self.bind_ipv4,
            IpVersion::V6 => self.bind_ipv6,
        };
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let receiver = {
            let _inside = self.runtime.enter();
            tokio::net::UdpSocket::from_std(socket.try_clone()?)?
        };
        let stand = state.exchange.add(side, real, local, Arc::new(socket));
        self.runtime
            .spawn(Arc::clone(self).receive(stand, receiver));
        Ok((stand, local))
    }

    /// Takes in what comes to one socket.
    async fn receive(self: Arc<Self>, stand: StandId, socket: tokio::net::UdpSocket) {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => self.take_in(stand, from, &buffer[..length]),
                Err(error) => {
                    tracing::debug!(kind = ?error.kind(), "a socket failed to receive");
                    self.lock().exchange.count_socket_error();
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    fn take_in(self: &Arc<Self>, stand: StandId, from: SocketAddr, payload: &[u8]) {
        let now = Instant::now();
        let mut state = self.lock();
        let mut verdict = state.exchange.judge(stand, from);
        if let Verdict::Learn { side, real } = verdict {
            match self.open(&mut state, side, IpVersion::of(real), Some(real)) {
                Ok(_) => verdict = state.exchange.judge(stand, from),
                Err(error) => tracing::debug!(kind = ?error.kind(), "no socket for a new sender"),
            }
        }
        let due_before = state.exchange.next_due();
        match verdict {
            Verdict::Forward(hop) => state.exchange.forward(now, hop, Arc::from(payload)),
            Verdict::Learn { .. } | Verdict::Drop => state.exchange.count_unroutable(),
        }
        let due = state.exchange.next_due();
        drop(state);
        if due != due_before {
            self.changed.notify_one();
        }
    }

    /// Sends each datagram when it is due, until the forwarder stops.
    fn send_when_due(&self) {
        let mut state = self.lock();
        while !state.stopping {
            let now = Instant::now();
            if let Some((due, outgoing)) = state.exchange.take_due(now) {
                drop(state);
                let accepted = send(&outgoing);
                let sent = Instant::now();
                state = self.lock();
                state.exchange.count_sent(due, sent, accepted);
                continue;
            }
            let wait = state
                .exchange
                .next_due()
                .map(|due| due.saturating_duration_since(now));
            state = match wait {
                Some(wait) => {
                    let woken = self.changed.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Whether the socket took the datagram.
fn send(outgoing: &Outgoing<Arc<UdpSocket>>) -> bool {
    match outgoing.socket.send_to(&outgoing.payload, outgoing.to) {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(kind = ?error.kind(), "a socket failed to send");
            false
        }
    }
}
