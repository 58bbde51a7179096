//! One client's connection: the handshake, then blocks in and out until either side ends it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smp_protocol::{Block, SessionId, VersionRange};
use smp_transport::{BlockIo, BlockStream, Certificate, TlsCredentials, server_handshake};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, sleep_until, timeout};
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
    /// The client began a block and did not send the rest.
    SlowWriter,
    /// Silent for too long, and subscribed to nothing.
    Idle,
    /// Something for the client was lost: it learns by connecting anew.
    Lost,
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
    let end = exchange(relay, &mut session, &mut io, &stop).await;
    if end == End::Stop {
        let finished = timeout(FORWARDED, finish(&mut session, &mut io)).await;
        if !matches!(finished, Ok(Ok(()))) {
            tracing::debug!("a client did not get all answers before the end");
        }
    }
    drop(session);
    if matches!(end, End::SlowReader | End::SlowWriter) {
        relay.metrics.slow_connections.inc();
    }
    // Whether the client hears that it is over makes no difference any more.
    let _ = timeout(CLOSING, io.close()).await;
    end
}

/// For answers of other relays when this one stops.
const FORWARDED: Duration = Duration::from_secs(5);

/// For the goodbye of TLS.
const CLOSING: Duration = Duration::from_secs(1);

/// Hands out the answers of other relays, which may have executed the commands already.
async fn finish<S: Store, Io: BlockIo>(session: &mut Session<S>, io: &mut Io) -> Result<(), End> {
    session.finish_forwarding().await;
    loop {
        let more = session.handle_events().await;
        write(io, session.take_blocks(), CLOSING).await?;
        if !more {
            return Ok(());
        }
    }
}

async fn exchange<S: Store, Io: BlockIo>(
    relay: &Relay<S>,
    session: &mut Session<S>,
    io: &mut Io,
    stop: &CancellationToken,
) -> End {
    let limits = &relay.config.limits;
    let mut heard = Instant::now();
    // A block has between one and two of these periods from its first byte to its last.
    let mut ticks = interval_at(heard + limits.block(), limits.block());
    let mut begun = false;
    loop {
        let inbox = Arc::clone(session.inbox());
        tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stop,
            read = io.read_block() => {
                heard = Instant::now();
                begun = false;
                match read {
                    Ok(Some(mut block)) => {
                        if let Err(end) = execute(session, io, &mut block, limits.write(), stop).await {
                            return end;
                        }
                        io.recycle(block);
                    }
                    Ok(None) | Err(_) => return End::Client,
                }
            }
            () = inbox.arrived() => {}
            _ = ticks.tick() => {
                if begun && io.is_inside_block() {
                    return End::SlowWriter;
                }
                begun = io.is_inside_block();
            }
            () = std::future::ready(()), if session.scanning() => session.scan().await,
            () = sleep_until(heard + limits.idle()), if !session.listens() => return End::Idle,
        }
        session.handle_events().await;
        if inbox.overflowed() || session.is_broken() {
            return End::Lost;
        }
        if let Err(end) = write(io, session.take_blocks(), limits.write()).await {
            return end;
        }
    }
}

/// Executes a block's commands, in order.
async fn execute<S: Store, Io: BlockIo>(
    session: &mut Session<S>,
    io: &mut Io,
    block: &mut Block,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<(), End> {
    let transmissions = session.open_block(block).map_err(|_| End::Protocol)?;
    for (number, transmission) in transmissions.enumerate() {
        session.handle_transmission(transmission, stop).await;
        if session.must_write() {
            write(io, session.take_blocks(), limit).await?;
        }
        if number % COMMANDS_AT_ONCE == COMMANDS_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Commands after which others get their turn.
const COMMANDS_AT_ONCE: usize = 16;

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
