//! Over TCP and TLS, with and without SOCKS, on this computer's own addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smp_client::{
    ConnectError, Connector, HostMode, Isolation, Session, SessionOptions, SocksError, SocksProxy,
    TcpConnector, TcpOptions,
};
use smp_protocol::{Host, RelayAddress, ServerAddress, VersionRange};
use smp_transport::{Accepted, BlockIo, BlockStream, ServerTls, TlsError, server_handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::fake::{credentials, rng};

const ONION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion";

/// A relay that shakes hands and then says nothing. It serves until the runtime ends.
async fn relay() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let credentials = Arc::new(credentials(1));
    let tls = Arc::new(ServerTls::new(credentials.clone(), None).unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, credentials) = (tls.clone(), credentials.clone());
            tokio::spawn(async move {
                let Ok(Accepted::Smp(connection)) = tls.accept(stream).await else {
                    return;
                };
                let session_id = connection.stream.session_id().clone();
                let mut io = BlockStream::new(connection.stream);
                let (versions, now) = (VersionRange::SUPPORTED, SystemTime::now());
                let rng = &mut rng(1);
                server_handshake(&mut io, &credentials, &session_id, &[], versions, now, rng)
                    .await
                    .unwrap();
                while let Ok(Some(_)) = io.read_block().await {}
            });
        }
    });
    address
}

fn address(seed: u64, hosts: &[&str], port: u16) -> ServerAddress {
    let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().unwrap()).collect();
    RelayAddress::new(credentials(seed).identity(), hosts, Some(port))
        .unwrap()
        .into()
}

async fn connect(
    options: TcpOptions,
    address: &ServerAddress,
    isolation: &Isolation,
) -> Result<(), ConnectError> {
    let connector = TcpConnector::new(options, None).unwrap();
    let options = SessionOptions::default();
    Session::connect(&connector, address, isolation, &options)
        .await
        .map(|_| ())
}

fn isolation(seed: u64) -> Isolation {
    Isolation::generate(&mut rng(seed))
}

/// A port where nothing listens.
async fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn a_session_begins_over_tls() {
    let relay = relay().await;
    let address = address(1, &["127.0.0.1"], relay.port());
    connect(TcpOptions::default(), &address, &isolation(1))
        .await
        .unwrap();
    let connector = TcpConnector::new(TcpOptions::default(), None).unwrap();
    assert!(!connector.hides_address());
}

#[tokio::test]
async fn a_relay_with_another_certificate_is_refused() {
    let relay = relay().await;
    let address = address(2, &["127.0.0.1"], relay.port());
    let error = connect(TcpOptions::default(), &address, &isolation(1))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Tls(TlsError::Chain(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_dead_host_is_followed_by_the_next() {
    let relay = relay().await;
    // Nothing listens on the first address of this computer.
    let hosts = address(1, &["127.0.0.2", "127.0.0.1"], relay.port());
    connect(TcpOptions::default(), &hosts, &isolation(1))
        .await
        .unwrap();
    let dead = address(1, &["127.0.0.1"], dead_port().await);
    let error = connect(TcpOptions::default(), &dead, &isolation(1))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Tcp(_)));
}

#[tokio::test]
async fn a_host_that_is_silent_is_followed_by_the_next() {
    let relay = relay().await;
    // Connections to it are taken by the system and never answered.
    let silent = TcpListener::bind(("127.0.0.3", relay.port()))
        .await
        .unwrap();
    let hosts = address(1, &["127.0.0.3", "127.0.0.1"], relay.port());
    let options = TcpOptions {
        timeout: Duration::from_millis(300),
        ..TcpOptions::default()
    };
    connect(options, &hosts, &isolation(1)).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn hosts_that_are_not_public_are_refused_if_asked() {
    let options = TcpOptions {
        public_only: true,
        ..TcpOptions::default()
    };
    for host in ["127.0.0.1", "::1", "localhost", "10.0.0.1"] {
        let address = address(1, &[host], 1);
        let error = connect(options, &address, &isolation(1)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::NotPublic | ConnectError::Resolve(_)),
            "{host}"
        );
    }
}

#[tokio::test]
async fn onion_hosts_need_a_proxy() {
    let address = address(1, &[ONION], 1);
    let error = connect(TcpOptions::default(), &address, &isolation(1))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::NoUsableHost));
}

/// What a SOCKS proxy was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    credentials: Option<(String, String)>,
    host: String,
    port: u16,
}

/// A SOCKS5 proxy (RFC 1928, RFC 1929) that connects all names to `target`.
async fn socks(method: u8, target: SocketAddr) -> (SocketAddr, mpsc::UnboundedReceiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move { serve_socks(stream, method, target, asked).await });
        }
    });
    (address, receiver)
}

async fn serve_socks(
    mut stream: TcpStream,
    method: u8,
    target: SocketAddr,
    asked: mpsc::UnboundedSender<Asked>,
) -> Option<()> {
    let [5, methods] = read::<2>(&mut stream).await? else {
        return None;
    };
    let offered = read_vec(&mut stream, methods.into()).await?;
    if !offered.contains(&method) {
        stream.write_all(&[5, 0xff]).await.ok()?;
        return None;
    }
    stream.write_all(&[5, method]).await.ok()?;
    let mut credentials = None;
    if method == 2 {
        let [1] = read::<1>(&mut stream).await? else {
            return None;
        };
        let name = read_short(&mut stream).await?;
        let password = read_short(&mut stream).await?;
        credentials = Some((name, password));
        stream.write_all(&[1, 0]).await.ok()?;
    }
    let [5, 1, 0, kind] = read::<4>(&mut stream).await? else {
        return None;
    };
    let host = match kind {
        1 => std::net::Ipv4Addr::from(read::<4>(&mut stream).await?).to_string(),
        3 => read_short(&mut stream).await?,
        _ => return None,
    };
    let port = u16::from_be_bytes(read(&mut stream).await?);
    let refused = host == "refused.example";
    asked
        .send(Asked {
            credentials,
            host,
            port,
        })
        .ok()?;
    if refused {
        stream
            .write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .ok()?;
        return None;
    }
    stream.write_all(b"\x05\0\0\x03\x04name\0\0").await.ok()?;
    let mut target = TcpStream::connect(target).await.ok()?;
    copy_bidirectional(&mut stream, &mut target).await.ok()?;
    None
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn read_vec(stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn read_short(stream: &mut TcpStream) -> Option<String> {
    let [length] = read(stream).await?;
    String::from_utf8(read_vec(stream, length.into()).await?).ok()
}

#[tokio::test]
async fn through_socks_names_stay_names_and_onion_hosts_come_first() {
    let (proxy, mut asked) = socks(2, relay().await).await;
    let address = address(1, &["relay.invalid", ONION], 5223);
    let options = TcpOptions::through(SocksProxy::tor(proxy));
    connect(options, &address, &isolation(1)).await.unwrap();
    let first = asked.recv().await.unwrap();
    assert_eq!((first.host.as_str(), first.port), (ONION, 5223));

    let options = TcpOptions {
        hosts: HostMode::NoOnion,
        ..options
    };
    connect(options, &address, &isolation(1)).await.unwrap();
    assert_eq!(asked.recv().await.unwrap().host, "relay.invalid");
    assert!(TcpConnector::new(options, None).unwrap().hides_address());
}

#[tokio::test]
async fn each_isolation_has_a_user_name_of_its_own() {
    let (proxy, mut asked) = socks(2, relay().await).await;
    let address = address(1, &["127.0.0.1"], 5223);
    let options = TcpOptions::through(SocksProxy::tor(proxy));
    let mut credentials = Vec::new();
    for seed in [1, 1, 2] {
        connect(options, &address, &isolation(seed)).await.unwrap();
        let asked = asked.recv().await.unwrap();
        assert_eq!(asked.host, "127.0.0.1");
        credentials.push(asked.credentials.unwrap());
    }
    assert_eq!(credentials[0], credentials[1]);
    assert_ne!(credentials[0].0, credentials[2].0);
    assert_ne!(credentials[0].1, credentials[2].1);
}

#[tokio::test]
async fn a_proxy_that_cannot_isolate_is_used_only_if_asked() {
    let (proxy, mut asked) = socks(0, relay().await).await;
    let address = address(1, &["127.0.0.1"], 5223);
    let options = TcpOptions::through(SocksProxy::tor(proxy));
    let error = connect(options, &address, &isolation(1)).await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::Socks(SocksError::NoIsolation)
    ));
    let socks = SocksProxy {
        address: proxy,
        isolate: false,
    };
    connect(TcpOptions::through(socks), &address, &isolation(1))
        .await
        .unwrap();
    assert_eq!(asked.recv().await.unwrap().credentials, None);
}

#[tokio::test]
async fn what_the_proxy_refuses_is_named() {
    let (proxy, _asked) = socks(2, relay().await).await;
    let options = TcpOptions::through(SocksProxy::tor(proxy));
    let refused = address(1, &["refused.example"], 1);
    let error = connect(options, &refused, &isolation(1)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Socks(SocksError::Refused(4))));

    let dead = SocksProxy::tor(([127, 0, 0, 1], dead_port().await).into());
    let error = connect(TcpOptions::through(dead), &refused, &isolation(1))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Socks(SocksError::Io(_))));
}
