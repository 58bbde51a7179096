//! One client's connection: the handshake, then blocks in and out until either side ends it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smp_protocol::{Block, SessionId, VersionRange};
use smp_transport::{BlockIo, BlockStream, Certificate, TlsCredentials, server_handshake};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::handshake::session_of;
use crate::relay::{Relay, Session, random};
use crate::store::Store;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closed it, or it broke.
    Client,
    /// What came in is not the protocol.
    Protocol,
    /// The client did not take what was sent to it.
    SlowReader,
    /// Silent for too long, and subscribed to nothing.
    Idle,
    /// The relay stops.
    Stop,
}

/// Serves a session until it ends.
///
/// A block that was read is executed and answered to the end, also if the relay stops meanwhile:
/// no command is left half done.
pub(crate) async fn serve<S: Store, Io: BlockIo>(
    relay: &Arc<Relay<S>>,
    mut session: Session<S>,
    mut io: Io,
    stop: CancellationToken,
) -> End {
    relay.metrics.connections.inc();
    let end = exchange(relay, &mut session, &mut io, &stop).await;
    session.close();
    relay.metrics.connections.dec();
    if end == End::SlowReader {
        relay.metrics.slow_readers.inc();
    }
    // Whether the client hears that it is over makes no difference any more.
    let _ = timeout(CLOSING, io.close()).await;
    end
}

/// For the goodbye of TLS.
const CLOSING: Duration = Duration::from_secs(1);

async fn exchange<S: Store, Io: BlockIo>(
    relay: &Relay<S>,
    session: &mut Session<S>,
    io: &mut Io,
    stop: &CancellationToken,
) -> End {
    let limits = &relay.config.limits;
    let mut heard = Instant::now();
    loop {
        let inbox = Arc::clone(session.inbox());
        tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stop,
            read = io.read_block() => {
                heard = Instant::now();
                match read {
                    Ok(Some(mut block)) => {
                        if session.handle_block(&mut block).await.is_err() {
                            return End::Protocol;
                        }
                        io.recycle(block);
                    }
                    Ok(None) | Err(_) => return End::Client,
                }
            }
            () = inbox.arrived() => {}
            () = std::future::ready(()), if session.scanning() => session.scan().await,
            () = sleep_until(heard + limits.idle()), if !session.listens() => return End::Idle,
        }
        if inbox.overflowed() {
            return End::SlowReader;
        }
        session.handle_events().await;
        if let Err(end) = write(io, session.take_blocks(), limits.write()).await {
            return end;
        }
    }
}

async fn write<Io: BlockIo>(
    io: &mut Io,
    blocks: Vec<Box<Block>>,
    limit: Duration,
) -> Result<(), End> {
    if blocks.is_empty() {
        return Ok(());
    }
    match timeout(limit, io.write_blocks(blocks)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Client),
        Err(_) => Err(End::SlowReader),
    }
}

impl<S: Store> Relay<S> {
    /// Serves one client over any stream, without TLS: for simulations and for programs that have
    /// a relay inside. `session_id` is what both sides know the stream by, `credentials` are those
    /// that the client expects.
    ///
    /// Returns when the connection ended, whoever ended it.
    pub async fn serve_stream(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        session_id: &SessionId,
        credentials: &TlsCredentials,
        versions: VersionRange,
        stop: CancellationToken,
    ) {
        self.serve_service_stream(stream, session_id, credentials, &[], versions, stop)
            .await;
    }

    /// As [`Self::serve_stream`], for a client that may be a service: `peer_chain` are the
    /// certificates that it would have shown in TLS.
    pub async fn serve_service_stream(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        session_id: &SessionId,
        credentials: &TlsCredentials,
        peer_chain: &[Certificate],
        versions: VersionRange,
        stop: CancellationToken,
    ) {
        let mut io = BlockStream::new(stream);
        let opened = async {
            let (now, rng) = (SystemTime::now(), &mut random());
            let io = &mut io;
            let session =
                server_handshake(io, credentials, session_id, peer_chain, versions, now, rng)
                    .await?;
            session_of(self, io, session).await
        };
        match timeout(self.config.limits.handshake(), opened).await {
            Ok(Ok(session)) => {
                serve(self, session, io, stop).await;
            }
            Ok(Err(_)) | Err(_) => {
                self.metrics.handshakes_failed.inc();
            }
        }
    }
}
