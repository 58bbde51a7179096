//! Connections inside one process, for tests and simulations.

use smp_protocol::{RelayAddress, SessionId};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::{Connecting, Connector, Isolation, Link};
use crate::error::ConnectError;

/// A connector without network and without TLS: what it connects arrives at the receiver of
/// [`MemoryConnector::new`], which plays the relay.
///
/// All of SMP's handshake still takes place, so that the relay needs certificates and a signed
/// session key. Once the receiver is dropped, connections are refused.
#[derive(Debug, Clone)]
pub struct MemoryConnector {
    accept: mpsc::Sender<MemoryLink>,
}

/// A connection as the relay's side gets it.
#[derive(Debug)]
pub struct MemoryLink {
    /// The stream.
    pub stream: DuplexStream,
    /// The id that both sides have for the connection, as TLS would give it.
    pub session_id: SessionId,
    /// Whom the client asked for.
    pub relay: RelayAddress,
    /// What the client keeps apart.
    pub isolation: Isolation,
}

/// Connections that wait to be accepted.
const BACKLOG: usize = 16;

/// Bytes that a stream holds in each direction: a few blocks.
const BUFFER: usize = 4 * smp_protocol::BLOCK_SIZE;

impl MemoryConnector {
    /// A connector and where its connections arrive.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<MemoryLink>) {
        let (accept, accepted) = mpsc::channel(BACKLOG);
        (Self { accept }, accepted)
    }
}

impl Connector for MemoryConnector {
    fn connect<'a>(&'a self, relay: &'a RelayAddress, isolation: &'a Isolation) -> Connecting<'a> {
        Box::pin(async move {
            let session_id = SessionId::generate(&mut crate::random());
            let (stream, other) = tokio::io::duplex(BUFFER);
            let link = MemoryLink {
                stream: other,
                session_id: session_id.clone(),
                relay: relay.clone(),
                isolation: isolation.clone(),
            };
            let refused = |_| ConnectError::Tcp(std::io::ErrorKind::ConnectionRefused.into());
            self.accept.send(link).await.map_err(refused)?;
            Ok(Link {
                stream: Box::new(stream),
                session_id,
            })
        })
    }
}
