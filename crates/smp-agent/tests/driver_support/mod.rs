//! Agents and relays in one process, over streams in memory and in virtual time.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;
use smp_agent::core::{Event, Notice};
use smp_agent::protocol::ConnectionLink;
use smp_agent::{
    Agent, AgentEvent, AgentEvents, AgentOptions, ConnectionId, EventId, Routing, Store, StoreError,
};
use smp_client::{ConnectError, Connecting, Connector, Isolation, Link};
use smp_protocol::{
    BasicAuth, Fingerprint, Host, RelayAddress, ServerAddress, SessionId, SignatureAlgorithm,
    VersionRange,
};
use smp_server::store::MemoryStore;
use smp_server::{Clock, Config, Relay};
use smp_transport::{Purpose, TlsCredentials, Validity};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// In virtual time: what has not happened by then does not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Bytes that a stream holds: a few blocks.
const BUFFER: usize = 4 * 16_384;

/// All relays, and who connected with which.
pub(crate) struct Net {
    relays: Mutex<HashMap<Fingerprint, Arc<TestRelay>>>,
    dialled: Mutex<Vec<(String, String)>>,
    runtime: Handle,
}

/// A relay that can be cut off.
pub(crate) struct TestRelay {
    pub(crate) name: String,
    pub(crate) address: RelayAddress,
    pub(crate) password: Option<BasicAuth>,
    relay: Arc<Relay<MemoryStore>>,
    credentials: TlsCredentials,
    up: AtomicBool,
    /// Whose commands do not arrive.
    deaf: Mutex<HashSet<String>>,
    /// Whose answers do not arrive.
    mute: Mutex<HashSet<String>>,
    connections: Mutex<Vec<AbortHandle>>,
}

impl Net {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            relays: Mutex::default(),
            dialled: Mutex::default(),
            runtime: Handle::current(),
        })
    }

    pub(crate) fn relay(self: &Arc<Self>, name: &str) -> Arc<TestRelay> {
        self.relay_with(name, "", None)
    }

    /// A relay with more lines of configuration.
    pub(crate) fn relay_with(
        self: &Arc<Self>,
        name: &str,
        lines: &str,
        password: Option<&str>,
    ) -> Arc<TestRelay> {
        let config: Config = toml::from_str(&format!("hosts = [\"{name}\"]\n{lines}")).unwrap();
        let seed = name.bytes().fold(1_u64, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let rng = &mut StdRng::seed_from_u64(seed);
        let validity = Validity::from_now(SystemTime::now(), 3_650);
        let ed25519 = SignatureAlgorithm::Ed25519;
        let credentials =
            TlsCredentials::self_signed(Purpose::Authority, "CA", validity, ed25519, rng)
                .unwrap()
                .issue(Purpose::Relay, "relay", validity, ed25519, rng)
                .unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let clock = Clock::simulated(now.as_secs());
        let dialer = Arc::new(self.dialer(name));
        let host: Host = name.parse().unwrap();
        let relay = Arc::new(TestRelay {
            name: name.to_owned(),
            address: RelayAddress::new(credentials.identity(), vec![host], Some(5223)).unwrap(),
            password: password.map(|password| password.parse().unwrap()),
            relay: Arc::new(Relay::new(config, MemoryStore::new(), clock, dialer)),
            credentials,
            up: AtomicBool::new(true),
            deaf: Mutex::default(),
            mute: Mutex::default(),
            connections: Mutex::default(),
        });
        let fingerprint = relay.credentials.identity();
        self.relays
            .lock()
            .unwrap()
            .insert(fingerprint, Arc::clone(&relay));
        relay
    }

    pub(crate) fn dialer(self: &Arc<Self>, who: &str) -> Dialer {
        Dialer {
            who: who.to_owned(),
            net: Arc::clone(self),
        }
    }

    /// With whom somebody connected, each name once.
    pub(crate) fn dialled_by(&self, who: &str) -> Vec<String> {
        let dialled = self.dialled.lock().unwrap();
        let mut names: Vec<_> = dialled
            .iter()
            .filter(|(from, _)| from == who)
            .map(|(_, to)| to.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// How often somebody connected with a relay.
    pub(crate) fn dials(&self, who: &str, to: &str) -> usize {
        let dialled = self.dialled.lock().unwrap();
        dialled
            .iter()
            .filter(|(from, relay)| from == who && relay == to)
            .count()
    }
}

impl TestRelay {
    pub(crate) fn server(&self) -> ServerAddress {
        ServerAddress {
            relay: self.address.clone(),
            basic_auth: self.password.clone(),
        }
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        self.deaf.lock().unwrap().clear();
        self.mute.lock().unwrap().clear();
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Breaks all connections, and takes none.
    pub(crate) fn go_down(&self) {
        self.up.store(false, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn come_up(&self) {
        self.up.store(true, Ordering::SeqCst);
    }

    /// Does not hear what somebody sends from now on. That is for the time until [`Self::cut`],
    /// since what is lost is lost.
    pub(crate) fn deafen(&self, who: &str) {
        self.deaf.lock().unwrap().insert(who.to_owned());
    }

    /// Executes what somebody sends from now on, and the answers are lost. As [`Self::deafen`].
    pub(crate) fn mute(&self, who: &str) {
        self.mute.lock().unwrap().insert(who.to_owned());
    }

    fn accept(self: &Arc<Self>, who: &str, runtime: &Handle) -> Link {
        let (stream, other) = tokio::io::duplex(BUFFER);
        let other = Lossy {
            stream: other,
            who: who.to_owned(),
            relay: Arc::clone(self),
        };
        let session_id = SessionId::generate(&mut rand::rng());
        let (this, id) = (Arc::clone(self), session_id.clone());
        let serving = runtime.spawn(async move {
            let versions = VersionRange::SUPPORTED;
            let stop = CancellationToken::new();
            this.relay
                .serve_stream(other, &id, &this.credentials, versions, stop)
                .await;
        });
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|connection| !connection.is_finished());
        connections.push(serving.abort_handle());
        Link {
            stream: Box::new(stream),
            session_id,
        }
    }
}

/// A relay's end of a connection.
struct Lossy {
    stream: DuplexStream,
    who: String,
    relay: Arc<TestRelay>,
}

impl AsyncRead for Lossy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.relay.deaf.lock().unwrap().contains(&self.who) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lossy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.relay.mute.lock().unwrap().contains(&self.who) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Somebody's way to relays.
pub(crate) struct Dialer {
    who: String,
    net: Arc<Net>,
}

impl Connector for Dialer {
    fn connect<'a>(&'a self, relay: &'a RelayAddress, _: &'a Isolation) -> Connecting<'a> {
        Box::pin(async move {
            let refused = || ConnectError::Tcp(io::ErrorKind::ConnectionRefused.into());
            let relays = self.net.relays.lock().unwrap();
            let relay = relays.get(relay.fingerprint()).ok_or_else(refused)?;
            let dialled = (self.who.clone(), relay.name.clone());
            self.net.dialled.lock().unwrap().push(dialled);
            if !relay.up.load(Ordering::SeqCst) {
                return Err(refused());
            }
            Ok(relay.accept(&self.who, &self.net.runtime))
        })
    }
}

/// An agent and what it told.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) agent: Agent,
    pub(crate) events: AgentEvents,
    pub(crate) options: AgentOptions,
    /// What was told, for tests that fail.
    log: Vec<String>,
}

/// The options of somebody who sends directly.
pub(crate) fn options(net: &Arc<Net>, name: &str, relays: &[&Arc<TestRelay>]) -> AgentOptions {
    let servers = relays.iter().map(|relay| relay.server()).collect();
    AgentOptions {
        routing: Routing::Direct,
        ..AgentOptions::new(servers, Arc::new(net.dialer(name)))
    }
}

impl Peer {
    pub(crate) fn new(net: &Arc<Net>, name: &str, relays: &[&Arc<TestRelay>]) -> Self {
        Self::with(name, options(net, name, relays))
    }

    pub(crate) fn with(name: &str, options: AgentOptions) -> Self {
        Self::over(name, Store::in_memory().unwrap(), options)
    }

    pub(crate) fn over(name: &str, store: Store, options: AgentOptions) -> Self {
        let (agent, events) = Agent::start_here(store, options.clone()).unwrap();
        Self::of(name, agent, events, options)
    }

    pub(crate) fn of(name: &str, agent: Agent, events: AgentEvents, options: AgentOptions) -> Self {
        Self {
            name: name.to_owned(),
            agent,
            events,
            options,
            log: Vec::new(),
        }
    }

    /// Ends the agent and starts another one with its store.
    pub(crate) async fn restart(self) -> Self {
        let (name, options) = (self.name.clone(), self.options.clone());
        let store = self.stop().await;
        Self::over(&name, store, options)
    }

    pub(crate) async fn stop(self) -> Store {
        self.agent.close().await.unwrap()
    }

    /// The next thing told.
    pub(crate) async fn next(&mut self) -> AgentEvent {
        let event = self.events.next().await.expect("the agent ended");
        self.log.push(format!("{event:?}"));
        event
    }

    /// Waits for something to be told. Stored events on the way there are taken, with receipts.
    pub(crate) async fn wait<T>(
        &mut self,
        what: &str,
        mut find: impl FnMut(&AgentEvent) -> Option<T>,
    ) -> T {
        let found = async {
            loop {
                let event = self.next().await;
                if let AgentEvent::Event(event) = &event {
                    self.take(event.id).await;
                }
                if let Some(found) = find(&event) {
                    return found;
                }
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("{}: {what} did not come after {:#?}", self.name, self.log),
        }
    }

    /// Waits for an event of a connection.
    pub(crate) async fn event<T>(
        &mut self,
        connection: ConnectionId,
        what: &str,
        mut find: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        self.wait(what, |event| match event {
            AgentEvent::Event(event) if event.connection == connection => find(&event.event),
            _ => None,
        })
        .await
    }

    pub(crate) async fn notice<T>(
        &mut self,
        what: &str,
        mut find: impl FnMut(&Notice) -> Option<T>,
    ) -> T {
        self.wait(what, |event| match event {
            AgentEvent::Notice(notice) => find(notice),
            _ => None,
        })
        .await
    }

    pub(crate) async fn take(&self, event: EventId) {
        assert!(self.agent.take_event(event, true).await.unwrap());
    }

    pub(crate) async fn connected(&mut self, connection: ConnectionId) {
        self.event(connection, "Connected", |event| match event {
            Event::Connected => Some(()),
            Event::Failed(reason) => panic!("it came to nothing: {reason}"),
            _ => None,
        })
        .await;
    }

    /// The next message of a connection.
    pub(crate) async fn message(&mut self, connection: ConnectionId) -> String {
        self.event(connection, "a message", |event| match event {
            Event::Message { body, .. } => Some(String::from_utf8(body.to_vec()).unwrap()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn messages(&mut self, connection: ConnectionId, count: usize) -> Vec<String> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.message(connection).await);
        }
        messages
    }

    /// Waits for the receipt of a message.
    pub(crate) async fn receipt(&mut self, connection: ConnectionId, message: i64) {
        self.event(connection, "a receipt", |event| match event {
            Event::Received { id, matches } if *id == message => {
                assert!(matches);
                Some(())
            }
            _ => None,
        })
        .await;
    }

    pub(crate) async fn send(&self, connection: ConnectionId, text: &str) -> i64 {
        let body = text.as_bytes();
        self.agent.send(connection, body, true).await.unwrap()
    }

    /// Makes an invitation and gives its links, the short one first.
    pub(crate) async fn invite(&mut self) -> (ConnectionId, ConnectionLink, ConnectionLink) {
        let info = self.name.clone();
        let id = self.agent.invite(info.as_bytes(), b"shown").await.unwrap();
        let (short, full) = self.links(id).await;
        (id, short, full)
    }

    /// The links of a connection, once they are there.
    pub(crate) async fn links(&mut self, id: ConnectionId) -> (ConnectionLink, ConnectionLink) {
        for _ in 0..100 {
            if let Some(links) = self.agent.links(id).await.unwrap() {
                let short = links.short.expect("no short link").parse().unwrap();
                return (short, links.full.parse().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("{}: no link", self.name)
    }

    pub(crate) async fn connect(&self, link: &ConnectionLink) -> ConnectionId {
        self.agent
            .connect(link, self.name.as_bytes())
            .await
            .unwrap()
    }
}

/// Connects two agents by a short invitation.
pub(crate) async fn pair(alice: &mut Peer, bob: &mut Peer) -> (ConnectionId, ConnectionId) {
    let (at_alice, short, _) = alice.invite().await;
    let at_bob = bob.connect(&short).await;
    alice.connected(at_alice).await;
    bob.connected(at_bob).await;
    (at_alice, at_bob)
}

/// A message each way, with receipts.
pub(crate) async fn exchange(
    alice: &mut Peer,
    at_alice: ConnectionId,
    bob: &mut Peer,
    at_bob: ConnectionId,
) {
    let there = alice.send(at_alice, "there").await;
    assert_eq!(bob.message(at_bob).await, "there");
    alice.receipt(at_alice, there).await;
    let back = bob.send(at_bob, "back").await;
    assert_eq!(alice.message(at_alice).await, "back");
    bob.receipt(at_bob, back).await;
}

/// Texts that tell their order.
pub(crate) fn numbered(who: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{who} {number}")).collect()
}

impl Peer {
    /// Lets the nth write from now on and all later ones fail, until [`Self::recover`].
    pub(crate) async fn crash_after(&self, writes: u64) {
        let crash = move |store: &mut Store| store.crash_after_writes(Some(writes));
        self.agent.with_store(crash).await.unwrap();
    }

    /// Starts again with a store that works. Says whether it had crashed.
    pub(crate) async fn recover(self) -> (Self, bool) {
        let (name, options) = (self.name.clone(), self.options.clone());
        let mut store = self.stop().await;
        let write = store.transaction::<_, StoreError>(|tx| tx.set_setting("a test", Some(b"")));
        store.crash_after_writes(None);
        (Self::over(&name, store, options), write.is_err())
    }
}
