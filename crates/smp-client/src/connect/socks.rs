//! The client's half of SOCKS5 (RFC 1928), with user names (RFC 1929).
//!
//! It never offers to go without a user name where one keeps connections apart: a proxy that
//! takes none would put all of them on one way without a word.

use std::net::SocketAddr;

use smp_protocol::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Isolation;
use crate::error::SocksError;

/// A SOCKS5 proxy: Tor, or another way into a network.
///
/// Names are resolved by the proxy, never here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocksProxy {
    /// Where it listens. Tor's is 127.0.0.1:9050.
    pub address: SocketAddr,
    /// Whether each [`Isolation`] gets a user name of its own, as Tor wants it to make circuits
    /// of their own. Proxies that take no user names refuse that; for them set it to false.
    pub isolate: bool,
}

impl SocksProxy {
    /// Isolating, as Tor wants it.
    #[must_use]
    pub fn tor(address: SocketAddr) -> Self {
        Self {
            address,
            isolate: true,
        }
    }

    /// A stream to the host through the proxy.
    pub(super) async fn connect(
        &self,
        host: &Host,
        port: u16,
        isolation: &Isolation,
    ) -> Result<TcpStream, SocksError> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.isolate {
            greet(&mut stream, METHOD_USER_NAME).await?;
            log_in(&mut stream, isolation).await?;
        } else {
            greet(&mut stream, METHOD_NONE).await?;
        }
        ask(&mut stream, host, port).await?;
        Ok(stream)
    }
}

const VERSION: u8 = 5;
const METHOD_NONE: u8 = 0;
const METHOD_USER_NAME: u8 = 2;
const USER_NAME_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

async fn greet(stream: &mut TcpStream, method: u8) -> Result<(), SocksError> {
    stream.write_all(&[VERSION, 1, method]).await?;
    let [version, chosen] = read(stream).await?;
    if version != VERSION {
        return Err(SocksError::NotSocks5);
    }
    if chosen == method {
        Ok(())
    } else {
        Err(SocksError::NoIsolation)
    }
}

async fn log_in(stream: &mut TcpStream, isolation: &Isolation) -> Result<(), SocksError> {
    let (name, password) = isolation.credentials();
    let mut request = vec![USER_NAME_VERSION];
    for text in [name, password] {
        put_short(&mut request, text.as_bytes());
    }
    stream.write_all(&request).await?;
    match read(stream).await? {
        [USER_NAME_VERSION, 0] => Ok(()),
        _ => Err(SocksError::Unauthorised),
    }
}

async fn ask(stream: &mut TcpStream, host: &Host, port: u16) -> Result<(), SocksError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host {
        Host::Ipv4(address) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Host::Ipv6(address) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Host::Domain(name) | Host::Onion(name) => {
            request.push(DOMAIN);
            put_short(&mut request, name.as_str().as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await?;

    let [version, code, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(SocksError::NotSocks5);
    }
    if code != 0 {
        return Err(SocksError::Refused(code));
    }
    // The address that the proxy connects from says nothing here, but stands before the stream.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        DOMAIN => read::<1>(stream).await?[0].into(),
        _ => return Err(SocksError::NotSocks5),
    };
    let mut rest = vec![0; length + size_of_val(&port)];
    stream.read_exact(&mut rest).await?;
    Ok(())
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], SocksError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A name of a host has at most 253 bytes, a credential 16.
fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}
