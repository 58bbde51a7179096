//! A running relay: listeners, one task for each connection, upkeep, and an orderly end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smp_transport::ServerTls;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection;
use crate::handshake::{Opened, open};
use crate::neighbours::{Neighbour, Neighbours};
use crate::relay::Relay;
use crate::store::Store;
use crate::upkeep;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Silence after which TCP asks whether the peer is there, and between such questions.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Questions without answer after which the peer is gone.
const KEEPALIVE_PROBES: u32 = 4;

/// A pause after the system has no room for another connection.
pub(crate) const BREATH: Duration = Duration::from_millis(50);

/// How long connections may take to finish when the relay stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// A relay with its sockets.
pub struct Server<S: Store> {
    relay: Arc<Relay<S>>,
    tls: Arc<ServerTls>,
    listeners: Vec<TcpListener>,
}

impl<S: Store> Server<S> {
    /// Listens on the configured addresses.
    ///
    /// # Errors
    /// What the system says, with the address that can't be used.
    pub fn bind(relay: Arc<Relay<S>>, tls: Arc<ServerTls>) -> io::Result<Self> {
        let sockets = relay.config.listen.sockets();
        let listeners = sockets.map(|address| {
            listen(address)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
        });
        let listeners = listeners.collect::<io::Result<_>>()?;
        Ok(Self {
            relay,
            tls,
            listeners,
        })
    }

    /// Where the relay listens; the port is known here if the configuration left it open.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `stop` says so; then every command that was read is answered, and the store is
    /// closed.
    ///
    /// # Errors
    /// If the store can't be closed in order.
    pub async fn run(self, stop: CancellationToken) -> Result<(), crate::store::StoreError> {
        let Self {
            relay,
            tls,
            listeners,
        } = self;
        let room = Arc::new(Semaphore::new(relay.config.limits.connections));
        let neighbours = Neighbours::new(relay.config.limits.connections_per_address);
        let connections = TaskTracker::new();
        let mut services = JoinSet::new();
        services.spawn(upkeep::run(Arc::clone(&relay), stop.clone()));
        for listener in listeners {
            let door = Door {
                relay: Arc::clone(&relay),
                tls: Arc::clone(&tls),
                room: Arc::clone(&room),
                neighbours: Arc::clone(&neighbours),
                connections: connections.clone(),
                stop: stop.clone(),
            };
            services.spawn(door.accept(listener));
        }
        while services.join_next().await.is_some() {}
        connections.close();
        if timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time and were dropped");
        }
        relay.store.close().await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() && address.ip().is_unspecified() {
        // The system's default may be another one; the configuration says that "::" takes both.
        SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What a listener needs to let clients in.
struct Door<S: Store> {
    relay: Arc<Relay<S>>,
    tls: Arc<ServerTls>,
    room: Arc<Semaphore>,
    neighbours: Arc<Neighbours>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl<S: Store> Door<S> {
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.let_in(stream, address.ip()),
                // A client that gave up is its own matter.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // A lack of files or memory passes.
                    tracing::debug!("accept: {error}");
                    sleep(BREATH).await;
                }
            }
        }
    }

    fn let_in(&self, stream: TcpStream, address: IpAddr) {
        let metrics = &self.relay.metrics;
        metrics.connections_accepted.inc();
        let Some(neighbour) = self.neighbours.enter(address) else {
            metrics.connections_refused_by_address.inc();
            return;
        };
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics.connections_refused.inc();
            return;
        };
        let place = (room, neighbour);
        let (relay, tls) = (Arc::clone(&self.relay), Arc::clone(&self.tls));
        self.connections
            .spawn(client(relay, tls, stream, place, self.stop.clone()));
    }
}

/// Small writes go at once, and a peer that is gone is noticed: a subscriber may be silent for
/// hours, so only the network can tell.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(KEEPALIVE * KEEPALIVE_PROBES))
}

/// One client, from TCP to the end.
async fn client<S: Store>(
    relay: Arc<Relay<S>>,
    tls: Arc<ServerTls>,
    stream: TcpStream,
    _place: (OwnedSemaphorePermit, Neighbour),
    stop: CancellationToken,
) {
    if prepare(&stream).is_err() {
        return;
    }
    let limit = relay.config.limits.handshake();
    let opened = tokio::select! {
        () = stop.cancelled() => return,
        opened = timeout(limit, open(&relay, &tls, stream)) => opened,
    };
    match opened {
        Ok(Ok(Opened::Smp(session, io))) => {
            connection::serve(&relay, *session, io, stop).await;
        }
        Ok(Ok(Opened::Web(session, io))) => {
            connection::serve(&relay, *session, *io, stop).await;
        }
        Ok(Err(error)) => {
            relay.metrics.handshakes_failed.inc();
            tracing::debug!("handshake: {error}");
        }
        Err(_) => {
            relay.metrics.handshakes_failed.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use smp_client::MemoryConnector;
    use smp_protocol::SignatureAlgorithm;
    use smp_transport::{Purpose, TlsCredentials, Validity};

    use super::*;
    use crate::clock::Clock;
    use crate::store::MemoryStore;

    fn door(lines: &str) -> Door<MemoryStore> {
        let config: crate::Config =
            toml::from_str(&format!("hosts = [\"localhost\"]\n{lines}")).unwrap();
        let validity = Validity::from_now(SystemTime::now(), 365);
        let (ed25519, mut rng) = (SignatureAlgorithm::Ed25519, crate::relay::random());
        let ca = TlsCredentials::self_signed(Purpose::Authority, "CA", validity, ed25519, &mut rng);
        let relay = ca
            .unwrap()
            .issue(Purpose::Relay, "relay", validity, ed25519, &mut rng);
        let tls = ServerTls::new(Arc::new(relay.unwrap()), None).unwrap();
        let room = Arc::new(Semaphore::new(config.limits.connections));
        let neighbours = Neighbours::new(config.limits.connections_per_address);
        let connector = Arc::new(MemoryConnector::new().0);
        let relay = Relay::new(config, MemoryStore::new(), Clock::system(), connector);
        Door {
            relay: Arc::new(relay),
            tls: Arc::new(tls),
            room,
            neighbours,
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn who_has_too_many_connections_is_refused_and_others_are_not() {
        let door = door("limits.connections_per_address = 2\nlimits.connections = 4");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut clients = Vec::new();
        for address in [
            "203.0.113.1",
            "203.0.113.1",
            "203.0.113.1",
            "203.0.113.2",
            "127.0.0.1",
            "127.0.0.1",
        ] {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await;
            clients.push(client.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            door.let_in(stream, address.parse().unwrap());
        }
        let figures = door.relay.metrics.snapshot();
        assert_eq!(figures.connections_accepted, 6);
        assert_eq!(figures.connections_refused_by_address, 1);
        // There is room for four; the refused one took none.
        assert_eq!(figures.connections_refused, 1);
        assert_eq!(door.connections.len(), 4);

        // Those who leave make room.
        drop(clients);
        while !door.connections.is_empty() {
            tokio::task::yield_now().await;
        }
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (stream, _) = listener.accept().await.unwrap();
        door.let_in(stream, "203.0.113.1".parse().unwrap());
        assert_eq!(door.connections.len(), 1);
    }
}
