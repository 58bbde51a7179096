//! A proxy's session with a relay that its clients' commands go to (document, "Forward command to
//! destination router").
//!
//! One session serves all clients of a proxy that want the same relay: so the relay cannot tell
//! them apart. The relay reads what the clients encrypted for it; here it gets one more layer, so
//! that nobody who breaks TLS sees the same bytes on both sides of the proxy.

use std::fmt;
use std::sync::Arc;

use smp_protocol::{
    BoxKey, CertChainAndKey, Command, CorrId, ForwardedResponse, ForwardedTransmission,
    ProxySessionId, RelayAddress, Response, SmpVersion, VersionRange,
};

use crate::connect::{Connector, Isolation, Link};
use crate::error::{ClientError, ConnectError, DisconnectReason, Misbehaviour};
use crate::session::{Request, Session, SessionOptions, unexpected};

/// A proxy's session with a relay.
///
/// A clone is the same session; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct ForwardSession {
    session: Session,
    secret: Arc<Secret>,
}

struct Secret {
    /// Agreed from both hellos.
    key: BoxKey,
    offer: ForwardOffer,
}

/// What a proxy tells its clients of its session with a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardOffer {
    /// The id of the session, which clients put into `PFWD`.
    pub session_id: ProxySessionId,
    /// What the relay speaks, of what proxies let clients see.
    pub versions: VersionRange,
    /// The relay's certificates and session key, as its hello had them.
    pub certificates: CertChainAndKey,
}

impl ForwardOffer {
    /// The answer to `PRXY`.
    #[must_use]
    pub fn to_response(&self) -> Response {
        Response::Pkey {
            session_id: self.session_id.clone(),
            versions: self.versions,
            certificates: self.certificates.clone(),
        }
    }
}

impl ForwardSession {
    /// Connects as a proxy.
    ///
    /// # Errors
    /// See [`ConnectError`]; [`ConnectError::TooOld`] if the relay takes no forwarded commands.
    pub async fn connect(
        connector: &dyn Connector,
        relay: &RelayAddress,
        options: &SessionOptions,
    ) -> Result<Self, ConnectError> {
        let isolation = Isolation::generate(&mut crate::random());
        let link = connector.connect(relay, &isolation).await?;
        Self::over(link, relay, options).await
    }

    /// Begins a session as a proxy over a connection.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn over(
        link: Link,
        relay: &RelayAddress,
        options: &SessionOptions,
    ) -> Result<Self, ConnectError> {
        let session_id = ProxySessionId(link.session_id.0.clone());
        let (io, begun) = options.handshake(link, relay, true).await?;
        let too_old = ConnectError::TooOld(begun.params.version);
        let (Some(versions), Some(key)) = (
            begun.versions.intersect(&VersionRange::PROXIED),
            &begun.relay_key,
        ) else {
            return Err(too_old);
        };
        if begun.params.version < SmpVersion::PROXY {
            return Err(too_old);
        }
        let certificates = key.signed.clone();
        let secret = Arc::new(Secret {
            key: BoxKey::from(&key.secret),
            offer: ForwardOffer {
                session_id,
                versions,
                certificates,
            },
        });
        // Relays tell proxies nothing on their own; what comes nevertheless is thrown away.
        let (session, _) = Session::start(io, begun, &relay.clone().into(), options);
        Ok(Self { session, secret })
    }

    /// What clients are told of the session.
    #[must_use]
    pub fn offer(&self) -> &ForwardOffer {
        &self.secret.offer
    }

    /// Forwards what a client sent in `PFWD`, and gives what it gets in `PRES`.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::to_proxy_error`] is what the client is told.
    pub async fn forward(
        &self,
        forwarded: ForwardedTransmission<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        let corr_id = CorrId::generate(&mut crate::random());
        let command = Command::Rfwd(forwarded.seal(&self.secret.key, &corr_id));
        let request = Request {
            corr_id: Some(corr_id),
            ..Request::new(&command)
        };
        let mut sealed = match self.session.request(request).await? {
            Response::Rres(sealed) => sealed,
            other => return Err(unexpected(&command, &other)),
        };
        match ForwardedResponse::open(&self.secret.key, &corr_id, &mut sealed) {
            Ok(response) if response.corr_id == forwarded.corr_id => Ok(response.body.to_vec()),
            Ok(_) => Err(Misbehaviour::UnknownCommand.into()),
            Err(_) => Err(Misbehaviour::Forged.into()),
        }
    }

    /// The version that both speak.
    #[must_use]
    pub fn version(&self) -> SmpVersion {
        self.session.version()
    }

    /// Whether commands can be forwarded still.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Waits until the session is over.
    pub async fn closed(&self) -> DisconnectReason {
        self.session.closed().await
    }

    /// Closes the session. Commands without an answer fail.
    pub fn close(&self) {
        self.session.close();
    }
}

impl fmt::Debug for ForwardSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardSession")
    }
}
