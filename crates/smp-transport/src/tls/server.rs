//! The relay's side of TLS.

use std::pin::Pin;
use std::sync::Arc;

use openssl::ssl::{AlpnError, Ssl, SslContext, SslMethod, SslVerifyMode, select_next_proto};
use openssl::x509::X509StoreContextRef;
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::context::{self, ALPN_SMP_LIST, ALPN_WEB_LIST};
use super::error::TlsError;
use super::first_bytes::{Door, Replay, choose_door};
use super::stream::TlsStream;
use crate::certificate::{TlsCredentials, WebCredentials};
use crate::error::OpenSslError;

/// Accepts connections to a relay.
pub struct ServerTls {
    current: RwLock<Arc<Contexts>>,
}

/// What is replaced as a whole when certificates are reloaded.
struct Contexts {
    smp: SslContext,
    credentials: Arc<TlsCredentials>,
    web: Option<SslContext>,
}

/// A client that came in, by what it asked for.
pub enum Accepted<S> {
    /// A client of the relay: blocks follow.
    Smp(ServerConnection<S>),
    /// A browser: an HTTP request follows, which may ask for WebSocket.
    Web(ServerConnection<S>),
}

/// An accepted TLS connection.
pub struct ServerConnection<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// The relay's certificates of the time when the connection was accepted. They sign its
    /// session's key.
    pub credentials: Arc<TlsCredentials>,
}

impl ServerTls {
    /// Prepares to show these certificates, and others to browsers.
    ///
    /// # Errors
    /// If OpenSSL lacks one of the algorithms or refuses a certificate.
    pub fn new(
        credentials: Arc<TlsCredentials>,
        web: Option<&WebCredentials>,
    ) -> Result<Self, OpenSslError> {
        let contexts = Contexts::new(credentials, web)?;
        Ok(Self {
            current: RwLock::new(Arc::new(contexts)),
        })
    }

    /// Takes other certificates for all connections to come; those that are there stay.
    ///
    /// # Errors
    /// As [`Self::new`]; then everything stays as it was.
    pub fn reload(
        &self,
        credentials: Arc<TlsCredentials>,
        web: Option<&WebCredentials>,
    ) -> Result<(), OpenSslError> {
        let contexts = Arc::new(Contexts::new(credentials, web)?);
        *self.current.write() = contexts;
        Ok(())
    }

    /// The relay's certificates, as new connections get them.
    #[must_use]
    pub fn credentials(&self) -> Arc<TlsCredentials> {
        self.current.read().credentials.clone()
    }

    /// Makes TLS over a connection.
    ///
    /// It waits as long as the client does: put a time limit around it. If it is dropped, the
    /// connection is lost.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn accept<S>(&self, stream: S) -> Result<Accepted<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let contexts = self.current.read().clone();
        let (context, door, stream) = match &contexts.web {
            None => (&contexts.smp, Door::Smp, Replay::new(stream, Vec::new())),
            Some(web) => match choose_door(stream).await? {
                (Door::Smp, stream) => (&contexts.smp, Door::Smp, stream),
                (Door::Web, stream) => (web, Door::Web, stream),
            },
        };
        let mut tls = SslStream::new(Ssl::new(context)?, stream)?;
        Pin::new(&mut tls).accept().await?;
        let connection = ServerConnection {
            stream: TlsStream::new(tls)?,
            credentials: contexts.credentials.clone(),
        };
        Ok(match door {
            Door::Smp => Accepted::Smp(connection),
            Door::Web => Accepted::Web(connection),
        })
    }
}

impl Contexts {
    fn new(
        credentials: Arc<TlsCredentials>,
        web: Option<&WebCredentials>,
    ) -> Result<Self, OpenSslError> {
        Ok(Self {
            smp: smp_context(&credentials)?,
            credentials,
            web: web.map(web_context).transpose()?,
        })
    }
}

fn smp_context(credentials: &TlsCredentials) -> Result<SslContext, OpenSslError> {
    let mut context = context::base(SslMethod::tls_server())?;
    context::restrict_to_smp(&mut context)?;
    context.set_groups_list("X25519:X448")?;
    context::show(&mut context, credentials)?;
    // A client that offers other protocols only is refused, one that offers none is let in.
    context.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN_SMP_LIST, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    context.set_verify_depth(MAX_SERVICE_DEPTH);
    context.set_verify_callback(SslVerifyMode::PEER, accept_service_chain);
    Ok(context.build())
}

/// Certificates that may follow a service's first one.
const MAX_SERVICE_DEPTH: u32 = 3;

/// Services sign their certificates themselves; the SMP handshake verifies them. Only the length
/// is limited here, and with it the work.
fn accept_service_chain(_valid: bool, chain: &mut X509StoreContextRef) -> bool {
    const CHAIN_TOO_LONG: i32 = 22;
    chain.error().as_raw() != CHAIN_TOO_LONG
}

/// What browsers and public authorities agree on; still TLS 1.3 alone.
fn web_context(credentials: &WebCredentials) -> Result<SslContext, OpenSslError> {
    let mut context = context::base(SslMethod::tls_server())?;
    context.set_ciphersuites(WEB_CIPHERS)?;
    context::set_chain(&mut context, &credentials.chain)?;
    context.set_private_key(&credentials.key)?;
    context.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN_WEB_LIST, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(context.build())
}

const WEB_CIPHERS: &str =
    "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
