//! An established TLS connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use openssl::error::ErrorStack;
use smp_protocol::SessionId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use super::error::TlsError;
use super::first_bytes::Replay;
use crate::certificate::Certificate;

/// A TLS connection whose handshake is done.
pub struct TlsStream<S> {
    tls: SslStream<Replay<S>>,
    session_id: SessionId,
    alpn: bool,
}

impl<S> TlsStream<S> {
    pub(super) fn new(tls: SslStream<Replay<S>>) -> Result<Self, TlsError> {
        Ok(Self {
            session_id: finished_of_client(&tls)?,
            alpn: tls.ssl().selected_alpn_protocol().is_some(),
            tls,
        })
    }

    /// The channel binding that both sides see: the client's Finished message, 32 bytes, or 48
    /// with a cipher suite of SHA-384 (document, "Transport handshake"; RFC 5929, section 3).
    #[must_use]
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// Whether client and relay agreed on a protocol by ALPN. If not, the session is one of
    /// version 6.
    #[must_use]
    pub fn has_alpn(&self) -> bool {
        self.alpn
    }

    /// The peer's certificates, the one of its key first; empty if it showed none.
    #[must_use]
    pub fn peer_chain(&self) -> Vec<Certificate> {
        let ssl = self.tls.ssl();
        let chain = ssl.peer_cert_chain().into_iter().flatten();
        let chain = chain.map(|certificate| Certificate(certificate.to_owned()));
        // On the relay's side OpenSSL leaves the first certificate out of the chain.
        let first = ssl.peer_certificate().filter(|_| ssl.is_server());
        first.map(Certificate).into_iter().chain(chain).collect()
    }

    /// The stream below TLS.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.tls.get_ref().get_ref()
    }
}

fn finished_of_client<S>(tls: &SslStream<S>) -> Result<SessionId, TlsError> {
    let mut finished = [0; 64];
    let ssl = tls.ssl();
    let length = if ssl.is_server() {
        ssl.peer_finished(&mut finished)
    } else {
        ssl.finished(&mut finished)
    };
    finished
        .get(..length)
        .filter(|finished| !finished.is_empty())
        .and_then(|finished| SessionId::new(finished).ok())
        .ok_or_else(|| ErrorStack::get().into())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
