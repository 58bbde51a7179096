//! Connections over TCP and TLS, directly or through a SOCKS proxy.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use smp_protocol::{DEFAULT_PORT, Fingerprint, Host, RelayAddress, WEB_PORT};
use smp_transport::{ClientTls, ClientTlsOptions, TlsCredentials};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::public::is_public;
use super::socks::SocksProxy;
use super::{Connecting, Connector, Isolation, Link};
use crate::error::ConnectError;

/// How long a host may take for TCP and TLS together.
pub(crate) const DIRECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The same through SOCKS: Tor may have to build a circuit first.
pub(crate) const SOCKS_TIMEOUT: Duration = Duration::from_secs(60);

/// Most ways to one relay that are tried: each is a host and a port.
const MAX_WAYS: usize = 8;

/// Most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// How long an address has before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Which hosts of an address are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostMode {
    /// With a SOCKS proxy the onion hosts first and then the others; without one the others alone.
    #[default]
    Any,
    /// Onion hosts alone, which need a SOCKS proxy.
    OnionOnly,
    /// No onion hosts.
    NoOnion,
}

/// How [`TcpConnector`] connects.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    /// Go through this proxy, and resolve no name here.
    pub socks: Option<SocksProxy>,
    /// Which hosts are used.
    pub hosts: HostMode,
    /// Refuse hosts that are not public: loopback, private networks and the like. For whoever lets
    /// strangers choose the relay. Names that a SOCKS proxy resolves cannot be checked.
    pub public_only: bool,
    /// How long each host may take.
    pub timeout: Duration,
}

impl TcpOptions {
    /// Through a SOCKS proxy, with the time that it takes.
    #[must_use]
    pub fn through(socks: SocksProxy) -> Self {
        Self {
            socks: Some(socks),
            timeout: SOCKS_TIMEOUT,
            ..Self::default()
        }
    }
}

impl Default for TcpOptions {
    /// Directly, to any host.
    fn default() -> Self {
        Self {
            socks: None,
            hosts: HostMode::Any,
            public_only: false,
            timeout: DIRECT_TIMEOUT,
        }
    }
}

/// Connects over TCP and TLS.
///
/// The hosts of an address are tried in order; an address without a port means
/// [`DEFAULT_PORT`] and then [`WEB_PORT`], where relays often listen too. When a name has several
/// addresses, they race.
#[derive(Clone)]
pub struct TcpConnector {
    options: TcpOptions,
    tls: ClientTls,
}

impl TcpConnector {
    /// A connector, which shows relays the certificates of `service` if there is one.
    ///
    /// # Errors
    /// [`ConnectError::Setup`] if OpenSSL lacks an algorithm.
    pub fn new(
        options: TcpOptions,
        service: Option<&TlsCredentials>,
    ) -> Result<Self, ConnectError> {
        let tls = ClientTls::new(ClientTlsOptions {
            service,
            legacy: false,
        })
        .map_err(|error| ConnectError::Setup(error.to_string()))?;
        Ok(Self { options, tls })
    }

    /// The hosts and ports to try, in order.
    fn ways<'a>(&self, relay: &'a RelayAddress) -> Vec<(&'a Host, u16)> {
        let has_socks = self.options.socks.is_some();
        let mut hosts: Vec<&Host> = relay
            .hosts()
            .iter()
            .filter(|host| match self.options.hosts {
                HostMode::Any => has_socks || !host.is_onion(),
                HostMode::OnionOnly => has_socks && host.is_onion(),
                HostMode::NoOnion => !host.is_onion(),
            })
            .collect();
        hosts.sort_by_key(|host| !host.is_onion());
        let ports = match relay.port() {
            Some(port) => vec![port],
            None => vec![DEFAULT_PORT, WEB_PORT],
        };
        let ways = hosts
            .into_iter()
            .flat_map(|host| ports.iter().map(move |&port| (host, port)));
        ways.take(MAX_WAYS).collect()
    }

    async fn connect_way(
        &self,
        host: &Host,
        port: u16,
        identity: &Fingerprint,
        isolation: &Isolation,
    ) -> Result<Link, ConnectError> {
        let stream = match &self.options.socks {
            Some(socks) => {
                self.check_public(host)?;
                socks.connect(host, port, isolation).await?
            }
            None => race(self.resolve(host, port).await?)
                .await
                .map_err(ConnectError::Tcp)?,
        };
        let stream = self.tls.connect(stream, identity).await?;
        let session_id = stream.session_id().clone();
        Ok(Link {
            stream: Box::new(stream),
            session_id,
        })
    }

    async fn resolve(&self, host: &Host, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut addresses: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![(*address, port).into()],
            Host::Ipv6(address) => vec![(*address, port).into()],
            Host::Domain(name) => {
                let found = lookup_host((name.as_str(), port)).await;
                found.map_err(ConnectError::Resolve)?.collect()
            }
            Host::Onion(_) => return Err(ConnectError::NoUsableHost),
        };
        if self.options.public_only {
            addresses.retain(|address| is_public(address.ip()));
            if addresses.is_empty() {
                return Err(ConnectError::NotPublic);
            }
        }
        Ok(addresses)
    }

    fn check_public(&self, host: &Host) -> Result<(), ConnectError> {
        let address = match host {
            Host::Ipv4(address) => (*address).into(),
            Host::Ipv6(address) => (*address).into(),
            Host::Domain(_) | Host::Onion(_) => return Ok(()),
        };
        if self.options.public_only && !is_public(address) {
            return Err(ConnectError::NotPublic);
        }
        Ok(())
    }
}

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, relay: &'a RelayAddress, isolation: &'a Isolation) -> Connecting<'a> {
        Box::pin(async move {
            let mut last = ConnectError::NoUsableHost;
            for (host, port) in self.ways(relay) {
                let way = self.connect_way(host, port, relay.fingerprint(), isolation);
                match timeout(self.options.timeout, way).await {
                    Ok(Ok(link)) => return Ok(link),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = ConnectError::Timeout,
                }
                tracing::debug!("a way to a relay failed: {last}");
            }
            Err(last)
        })
    }

    fn hides_address(&self) -> bool {
        self.options.socks.is_some()
    }
}

/// Connects to the addresses, each a little after the one before, and takes the first that answers.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = take_turns(addresses).into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            done = attempts.join_next() => match done {
                Some(Ok(Ok(stream))) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Some(Ok(Err(error))) => last = error,
                Some(Err(_)) => {}
                None => return Err(last),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// One of each family after the other, the resolver's first choice first.
fn take_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut others = others.into_iter();
    let mut turns = Vec::new();
    for address in preferred {
        turns.push(address);
        turns.extend(others.next());
    }
    turns.extend(others);
    turns.truncate(MAX_ADDRESSES);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion";

    fn relay(hosts: &[&str], port: Option<u16>) -> RelayAddress {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        RelayAddress::new(Fingerprint([1; 32]), hosts, port).unwrap()
    }

    fn ways(socks: bool, hosts: HostMode, relay: &RelayAddress) -> Vec<String> {
        let socks = socks.then(|| SocksProxy::tor(([127, 0, 0, 1], 9050).into()));
        let options = TcpOptions {
            socks,
            hosts,
            ..TcpOptions::default()
        };
        let connector = TcpConnector::new(options, None).unwrap();
        let ways = connector.ways(relay);
        ways.iter()
            .map(|(host, port)| format!("{}:{port}", &host.to_string()[..1]))
            .collect()
    }

    #[test]
    fn hosts_are_tried_in_order_and_onion_hosts_only_through_socks() {
        let relay = relay(&["x.example", ONION, "y.example"], Some(1));
        assert_eq!(ways(false, HostMode::Any, &relay), ["x:1", "y:1"]);
        assert_eq!(ways(true, HostMode::Any, &relay), ["a:1", "x:1", "y:1"]);
        assert_eq!(ways(true, HostMode::OnionOnly, &relay), ["a:1"]);
        assert_eq!(ways(true, HostMode::NoOnion, &relay), ["x:1", "y:1"]);
        assert!(ways(false, HostMode::OnionOnly, &relay).is_empty());
    }

    #[test]
    fn an_address_without_a_port_means_two() {
        let relay = relay(&["x.example"], None);
        assert_eq!(ways(false, HostMode::Any, &relay), ["x:5223", "x:443"]);
    }

    #[test]
    fn no_address_makes_endless_attempts() {
        let relay = relay(&["x.example"; 200], None);
        assert_eq!(ways(false, HostMode::Any, &relay).len(), MAX_WAYS);
    }

    #[test]
    fn the_families_of_addresses_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"];
        let turns = take_turns(addresses.iter().map(|text| text.parse().unwrap()).collect());
        let turns: Vec<_> = turns.iter().map(ToString::to_string).collect();
        assert_eq!(turns, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
    }
}
