//! The sockets of one call.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use call_core::{IceHost, IceServer};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::gather::ReachableServer;
use crate::transport::Datagram;

/// Datagrams that may wait for the engine; more are dropped, as a full socket buffer would.
const RECEIVE_QUEUE: usize = 1024;

/// Largest datagram taken from the network.
const MAX_DATAGRAM: usize = 2048;

/// Longest wait for the name of an ICE server.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A datagram from a socket.
pub(crate) struct Received {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// Open sockets and the tasks that read them.
pub(crate) struct Network {
    sockets: HashMap<SocketAddr, Arc<UdpSocket>>,
    pub(crate) hosts: Vec<SocketAddr>,
    pub(crate) servers: Vec<ReachableServer>,
    received: mpsc::Receiver<Received>,
    sender: mpsc::Sender<Received>,
    readers: JoinSet<()>,
}

impl Network {
    /// Opens sockets on the host addresses (none in relay-only mode) and towards each server.
    pub(crate) async fn open(bind: Vec<IpAddr>, relay_only: bool, servers: Vec<IceServer>) -> Self {
        let (sender, received) = mpsc::channel(RECEIVE_QUEUE);
        let mut network = Self {
            sockets: HashMap::new(),
            hosts: Vec::new(),
            servers: Vec::new(),
            received,
            sender,
            readers: JoinSet::new(),
        };
        if !relay_only {
            for ip in host_addresses(&bind) {
                match network.bind(ip).await {
                    Ok(address) => network.hosts.push(address),
                    Err(error) => tracing::debug!(%error, "no socket on an address of this host"),
                }
            }
        }
        for (server, addresses) in resolve(servers).await {
            network.reach(&bind, server, addresses).await;
        }
        network
    }

    /// The next datagram; cancel-safe.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        self.received.recv().await
    }

    /// What else is there already.
    pub(crate) fn try_receive(&mut self) -> Option<Received> {
        self.received.try_recv().ok()
    }

    /// Sends at once or drops: media that waits is media that is late.
    pub(crate) fn send(&self, datagram: &Datagram) {
        let Some(socket) = self.sockets.get(&datagram.local) else {
            return;
        };
        if let Err(error) = socket.try_send_to(&datagram.bytes, datagram.peer) {
            tracing::trace!(%error, "a datagram was not sent");
        }
    }

    async fn bind(&mut self, ip: IpAddr) -> io::Result<SocketAddr> {
        let socket = Arc::new(UdpSocket::bind((ip, 0)).await?);
        let local = socket.local_addr()?;
        self.sockets.insert(local, Arc::clone(&socket));
        self.readers.spawn(read(socket, local, self.sender.clone()));
        Ok(local)
    }

    async fn reach(&mut self, bind: &[IpAddr], server: IceServer, addresses: Vec<SocketAddr>) {
        for address in addresses {
            match self.base_for(bind, address).await {
                Ok(base) => {
                    return self.servers.push(ReachableServer {
                        server,
                        address,
                        base,
                    });
                }
                Err(error) => tracing::debug!(%error, "no way to an address of an ICE server"),
            }
        }
        tracing::warn!("an ICE server can't be reached from this machine");
    }

    /// The local socket from which `address` is reached.
    async fn base_for(&mut self, bind: &[IpAddr], address: SocketAddr) -> io::Result<SocketAddr> {
        let ip = match bind.iter().find(|ip| ip.is_ipv4() == address.is_ipv4()) {
            Some(ip) => *ip,
            None => source_address(address).await?,
        };
        match self.sockets.keys().find(|local| local.ip() == ip) {
            Some(local) => Ok(*local),
            None => self.bind(ip).await,
        }
    }
}

/// Looks all names up at once; a name that does not resolve in time is left out.
async fn resolve(servers: Vec<IceServer>) -> Vec<(IceServer, Vec<SocketAddr>)> {
    let mut lookups = JoinSet::new();
    for server in servers {
        lookups.spawn(async move {
            let host = match server.host() {
                IceHost::Ip(ip) => ip.to_string(),
                IceHost::Name(name) => name.clone(),
            };
            let lookup = tokio::net::lookup_host((host, server.port()));
            match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
                Ok(Ok(addresses)) => (server, addresses.collect()),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the name of an ICE server does not resolve");
                    (server, Vec::new())
                }
                Err(_) => {
                    tracing::warn!("the name of an ICE server did not resolve in time");
                    (server, Vec::new())
                }
            }
        });
    }
    lookups.join_all().await
}

async fn read(socket: Arc<UdpSocket>, local: SocketAddr, sender: mpsc::Sender<Received>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, peer)) => {
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                match sender.try_send(Received { local, peer, bytes }) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            // An ICMP error of an earlier datagram; the socket stays usable.
            Err(error) => tracing::trace!(%error, "receive"),
        }
    }
}

/// Addresses on which this side may be reached directly.
fn host_addresses(bind: &[IpAddr]) -> Vec<IpAddr> {
    if !bind.is_empty() {
        return bind.to_vec();
    }
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces
            .into_iter()
            .map(|interface| interface.ip())
            .filter(|ip| !ip.is_loopback() && !is_link_local(*ip))
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "the addresses of this machine can't be listed");
            Vec::new()
        }
    }
}

/// Link-local IPv6 addresses need a zone, which candidates can't carry.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The address from which this machine reaches `peer`. Sends nothing.
async fn source_address(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(peer).await?;
    Ok(socket.local_addr()?.ip())
}
