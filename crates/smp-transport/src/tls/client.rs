//! The client's side of TLS.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use openssl::ssl::{Ssl, SslContext, SslMethod, SslRef, SslVerifyMode};
use openssl::x509::{X509StoreContext, X509StoreContextRef};
use smp_protocol::Fingerprint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::context::{self, ALPN_SMP_LIST};
use super::error::TlsError;
use super::first_bytes::Replay;
use super::stream::TlsStream;
use crate::certificate::{Certificate, ChainError, TlsCredentials, verify_chain};
use crate::error::OpenSslError;

/// What a client's connections have beside the ordinary.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientTlsOptions<'a> {
    /// The certificates of a service, shown to relays that ask for them.
    pub service: Option<&'a TlsCredentials>,
    /// Offer no protocol by ALPN and so reach relays that only have version 6. A relay that is
    /// newer gives version 6 then, too.
    pub legacy: bool,
}

/// Makes connections to relays. A clone is cheap and the same.
#[derive(Clone)]
pub struct ClientTls {
    context: SslContext,
    legacy: bool,
}

impl ClientTls {
    /// Prepares connections.
    ///
    /// # Errors
    /// If OpenSSL lacks one of the algorithms.
    pub fn new(options: ClientTlsOptions<'_>) -> Result<Self, OpenSslError> {
        let mut context = context::base(SslMethod::tls_client())?;
        context::restrict_to_smp(&mut context)?;
        context.set_groups_list("X25519")?;
        if !options.legacy {
            context.set_alpn_protos(ALPN_SMP_LIST)?;
        }
        if let Some(service) = options.service {
            context::show(&mut context, service)?;
        }
        Ok(Self {
            context: context.build(),
            legacy: options.legacy,
        })
    }

    /// Makes TLS with the relay of this identity over a connection. Its host's name is not sent.
    ///
    /// It waits as long as the stream does. If it is dropped, the connection is lost.
    ///
    /// # Errors
    /// See [`TlsError`]; [`TlsError::Chain`] if it is another relay, to which nothing of the
    /// client is shown.
    pub async fn connect<S>(
        &self,
        stream: S,
        identity: &Fingerprint,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let verdict = Arc::new(OnceLock::new());
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_verify_callback(SslVerifyMode::PEER, verify(*identity, verdict.clone()));
        let mut tls = SslStream::new(ssl, Replay::new(stream, Vec::new()))?;
        let connected = Pin::new(&mut tls).connect().await;
        if let Some(Err(error)) = verdict.get() {
            return Err(error.clone().into());
        }
        connected?;
        let stream = TlsStream::new(tls)?;
        if !self.legacy && !stream.has_alpn() {
            return Err(TlsError::NoAlpn);
        }
        if verdict.get().is_none() {
            // OpenSSL found nothing to ask about, which cannot be: it trusts nobody.
            verify_chain(&stream.peer_chain(), identity, SystemTime::now())?;
        }
        Ok(stream)
    }
}

/// The outcome of the verification, which OpenSSL asks for several times.
type Verdict = OnceLock<Result<(), ChainError>>;

/// OpenSSL knows no authority of relays, so it asks about each chain. The answer is ours alone.
fn verify(
    identity: Fingerprint,
    verdict: Arc<Verdict>,
) -> impl Fn(bool, &mut X509StoreContextRef) -> bool {
    move |_, context| {
        let verified = verdict.get_or_init(|| {
            let chain = shown_chain(context)?;
            verify_chain(&chain, &identity, SystemTime::now())
        });
        verified.is_ok()
    }
}

/// The certificates as the relay sent them, not in the order that OpenSSL makes of them.
fn shown_chain(context: &X509StoreContextRef) -> Result<Vec<Certificate>, OpenSslError> {
    let ssl = context.ex_data(X509StoreContext::ssl_idx()?);
    let chain = ssl.and_then(SslRef::peer_cert_chain).into_iter().flatten();
    let chain = chain.map(|certificate| Certificate(certificate.to_owned()));
    Ok(chain.collect())
}
