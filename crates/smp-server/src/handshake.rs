//! From a new TCP connection to a session: TLS, for browsers WebSocket, then SMP's handshake.

use std::sync::Arc;
use std::time::SystemTime;

use smp_protocol::{BoxKey, ServiceId, ServiceReply, VersionRange};
use smp_transport::{
    Accepted, BlockIo, BlockIoError, BlockStream, ServerConnection, ServerHandshakeError,
    ServerSession, ServerTls, ServiceClient, TlsError, TlsStream, WebSocketError, server_handshake,
};
use thiserror::Error;
use tokio::net::TcpStream;

use crate::relay::{Relay, ServiceSession, Session, SessionSetup, random};
use crate::store::{Store, StoreError};
use crate::web::WebBlocks;

/// A session and what its blocks go over.
pub(crate) enum Opened<S: Store> {
    /// Plain blocks.
    Smp(Box<Session<S>>, BlockStream<TlsStream<TcpStream>>),
    /// Blocks in WebSocket messages.
    Web(Box<Session<S>>, Box<WebBlocks<TlsStream<TcpStream>>>),
}

/// Why there is no session.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    #[error(transparent)]
    Handshake(#[from] ServerHandshakeError),
    #[error(transparent)]
    Io(#[from] BlockIoError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Waits for the client's part of it all: the caller limits the time.
pub(crate) async fn open<S: Store>(
    relay: &Arc<Relay<S>>,
    tls: &ServerTls,
    stream: TcpStream,
) -> Result<Opened<S>, OpenError> {
    match tls.accept(stream).await? {
        Accepted::Smp(connection) => {
            let ServerConnection {
                stream,
                credentials,
            } = connection;
            let peer = Peer::of(&stream);
            let mut io = BlockStream::new(stream);
            let session = begin(relay, &mut io, &credentials, peer).await?;
            Ok(Opened::Smp(Box::new(session), io))
        }
        Accepted::Web(connection) => {
            let ServerConnection {
                stream,
                credentials,
            } = connection;
            let peer = Peer::of(&stream);
            let mut io = WebBlocks::accept(stream).await?;
            let session = begin(relay, &mut io, &credentials, peer).await?;
            Ok(Opened::Web(Box::new(session), Box::new(io)))
        }
    }
}

/// What TLS knows of the client.
struct Peer {
    session_id: smp_protocol::SessionId,
    chain: Vec<smp_transport::Certificate>,
    versions: VersionRange,
}

impl Peer {
    fn of(stream: &TlsStream<TcpStream>) -> Self {
        Self {
            session_id: stream.session_id().clone(),
            chain: stream.peer_chain(),
            versions: if stream.has_alpn() {
                VersionRange::SUPPORTED
            } else {
                VersionRange::LEGACY
            },
        }
    }
}

async fn begin<S: Store>(
    relay: &Arc<Relay<S>>,
    io: &mut impl BlockIo,
    credentials: &smp_transport::TlsCredentials,
    peer: Peer,
) -> Result<Session<S>, OpenError> {
    let Peer {
        session_id,
        chain,
        versions,
    } = peer;
    let now = SystemTime::now();
    let session = server_handshake(
        io,
        credentials,
        &session_id,
        &chain,
        versions,
        now,
        &mut random(),
    )
    .await?;
    session_of(relay, io, session).await
}

/// The session that a finished handshake leads to; a service learns its id.
pub(crate) async fn session_of<S: Store>(
    relay: &Arc<Relay<S>>,
    io: &mut impl BlockIo,
    session: ServerSession,
) -> Result<Session<S>, OpenError> {
    let service = match session.service {
        Some(client) => Some(welcome(relay, io, &client).await?),
        None => None,
    };
    Ok(relay.session(SessionSetup {
        params: session.params,
        session_key: session.key,
        forward_key: session.secret.map(BoxKey::from),
        cipher: session.cipher,
        service,
    }))
}

async fn welcome<S: Store>(
    relay: &Relay<S>,
    io: &mut impl BlockIo,
    client: &ServiceClient,
) -> Result<ServiceSession, OpenError> {
    let id = relay
        .store
        .service(&client.fingerprint, client.role)
        .await?;
    let reply = ServiceReply::Accepted(ServiceId::from(id)).to_block();
    let reply = reply.map_err(ServerHandshakeError::from)?;
    io.write_block(reply).await?;
    Ok(ServiceSession::new(id, client))
}
