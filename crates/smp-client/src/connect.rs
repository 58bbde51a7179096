//! Ways to a relay.

mod isolation;
mod memory;
mod public;
mod socks;
mod tcp;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use smp_protocol::{RelayAddress, SessionId};
use tokio::io::{AsyncRead, AsyncWrite};

pub use isolation::Isolation;
pub use memory::{MemoryConnector, MemoryLink};
pub use socks::SocksProxy;
pub use tcp::{HostMode, TcpConnector, TcpOptions};

use crate::error::ConnectError;

/// Makes connections to relays, up to the end of TLS.
pub trait Connector: Send + Sync {
    /// A connection with the relay, which has shown the certificate that its address names.
    ///
    /// Connections of different isolation must not be seen to belong together where the way there
    /// can see to that. Dropping the future gives up.
    ///
    /// # Errors
    /// See [`ConnectError`].
    fn connect<'a>(&'a self, relay: &'a RelayAddress, isolation: &'a Isolation) -> Connecting<'a>;

    /// Whether relays do not learn this side's network address.
    fn hides_address(&self) -> bool {
        false
    }
}

/// What [`Connector::connect`] returns.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send + 'a>>;

/// A connection with a relay before the first block.
pub struct Link {
    /// The stream, inside TLS.
    pub stream: Box<dyn Stream>,
    /// What both sides know the connection by: TLS's channel binding.
    pub session_id: SessionId,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
