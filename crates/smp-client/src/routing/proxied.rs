//! A relay behind a proxy, and commands to it.

use std::fmt;
use std::time::SystemTime;

use smp_protocol::{
    Command, CorrId, DhPrivateKey, DhPublicKey, EntityId, ErrorType, ForwardSecret, ProxySessionId,
    RelayAddress, Response, SessionId, SessionParams, SmpVersion, Transmission, Unsigned,
    VersionRange, authorize,
};
use smp_transport::verify_relay_key;
use thiserror::Error;

use crate::error::{ClientError, Misbehaviour};
use crate::session::{Request, Session, unexpected};

/// A relay as a proxy reaches it: the session of the two, with the relay's verified key.
///
/// All clients of a proxy share its session with a relay, so this one outlives the client's own
/// session with the proxy.
#[derive(Clone)]
pub struct ProxiedRelay {
    session_id: ProxySessionId,
    versions: VersionRange,
    key: DhPublicKey,
}

impl ProxiedRelay {
    /// The version for a command: not above what clients of many ages use, so that the relay does
    /// not learn how new this one is, unless the command is newer.
    fn version_for(&self, command: &Command) -> Result<SmpVersion, ClientError> {
        let wanted = VersionRange::FORWARDED.max().max(command.since());
        let version = wanted.clamp(self.versions.min(), self.versions.max());
        let needs = command.since();
        if version < needs {
            return Err(ClientError::Version {
                needs,
                has: version,
            });
        }
        Ok(version)
    }
}

impl fmt::Debug for ProxiedRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxiedRelay")
    }
}

/// Why a command through a proxy has no answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// The proxy, or the way to it. [`ErrorType::Proxy`] inside is what the proxy says of the
    /// relay.
    #[error("the proxy: {0}")]
    Proxy(#[source] ClientError),
    /// The relay refused the command.
    #[error(transparent)]
    Relay(ErrorType),
    /// What came back is not the relay's answer: the proxy changed it, or the relay is faulty.
    #[error(transparent)]
    Answer(Misbehaviour),
    /// Ours: the command cannot be sent like this.
    #[error(transparent)]
    Command(ClientError),
    /// Ours: the command may not go through a proxy.
    #[error("{0} cannot go through a proxy")]
    NotForwardable(
        /// The command's tag.
        &'static str,
    ),
    /// Ours: there is no proxy other than the relay itself.
    #[error("there is no proxy but the relay itself")]
    NoProxy,
}

impl Session {
    /// Asks this relay, as a proxy, for its session with another relay (PRXY), with the password
    /// of this relay's address, and verifies the other relay's certificates and key.
    ///
    /// # Errors
    /// See [`ClientError`]; [`Misbehaviour::ForeignKey`] if the key is not that of the relay.
    pub async fn proxy_session(&self, relay: &RelayAddress) -> Result<ProxiedRelay, ClientError> {
        let basic_auth = self.address().basic_auth.clone();
        let command = Command::Prxy {
            relay: relay.clone(),
            basic_auth,
        };
        match self.request(Request::new(&command)).await? {
            Response::Pkey {
                session_id,
                versions,
                certificates,
            } => {
                let key = verify_relay_key(&certificates, relay.fingerprint(), SystemTime::now());
                let key = key.map_err(|_| Misbehaviour::ForeignKey)?;
                let (needs, has) = (SmpVersion::PROXY, versions.max());
                let versions = versions.intersect(&forwardable());
                let versions = versions.ok_or(ClientError::Version { needs, has })?;
                Ok(ProxiedRelay {
                    session_id,
                    versions,
                    key,
                })
            }
            other => Err(unexpected(&command, &other)),
        }
    }

    /// Sends a command through this relay, as a proxy, to another one (PFWD), and gives that
    /// one's answer. A correlation id in the request is not used: it is also the proxy's.
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn forward(
        &self,
        relay: &ProxiedRelay,
        request: Request<'_>,
    ) -> Result<Response, RoutingError> {
        if !request.command.may_be_forwarded() {
            return Err(RoutingError::NotForwardable(request.command.tag()));
        }
        let envelope = Envelope::seal(relay, request).map_err(RoutingError::Command)?;
        let forward = Request {
            corr_id: Some(envelope.corr_id),
            ..Request::about(&relay.session_id.0, None, &envelope.command)
        };
        match self.request(forward).await.map_err(RoutingError::Proxy)? {
            Response::Pres(body) => envelope.open(request.entity, body),
            other => Err(RoutingError::Proxy(unexpected(&envelope.command, &other))),
        }
    }
}

/// Versions in which commands can be forwarded.
fn forwardable() -> VersionRange {
    let supported = VersionRange::SUPPORTED;
    VersionRange::new(SmpVersion::PROXY, supported.max()).unwrap_or(supported)
}

/// A command encrypted for a relay behind a proxy.
struct Envelope {
    /// Names the command to the proxy and to the relay.
    corr_id: CorrId,
    /// What the proxy gets.
    command: Command,
    params: SessionParams,
    secret: ForwardSecret,
}

impl Envelope {
    fn seal(relay: &ProxiedRelay, request: Request<'_>) -> Result<Self, ClientError> {
        let version = relay.version_for(request.command)?;
        let params = SessionParams::new(version, SessionId(relay.session_id.0.clone()));
        let mut rng = crate::random();
        let corr_id = CorrId::generate(&mut rng);
        let private = DhPrivateKey::generate(&mut rng);
        let secret = ForwardSecret::agree(&private, &relay.key, &corr_id);
        let secret = secret.map_err(|_| Misbehaviour::ForeignKey)?;

        let unsigned = Unsigned::new(&params, Some(&corr_id), request.entity, |out| {
            request.command.encode(version, out)
        })?;
        let signed = unsigned.signed_bytes(&params);
        let authorization = match request.key {
            None => smp_protocol::Authorization::None,
            Some(key) => authorize(key, Some(&relay.key), &corr_id, &signed)?,
        };
        let mut transmission = Vec::with_capacity(256);
        unsigned.encode(&params, &authorization, None, &mut transmission);
        let body = secret.seal_command(&transmission)?;
        let command = Command::Pfwd {
            version,
            key: private.public(),
            body,
        };
        Ok(Self {
            corr_id,
            command,
            params,
            secret,
        })
    }

    fn open(&self, entity: &EntityId, mut body: Vec<u8>) -> Result<Response, RoutingError> {
        let wrong = RoutingError::Answer;
        let bytes = self.secret.open_response(&mut body);
        let bytes = bytes.map_err(|_| wrong(Misbehaviour::Forged))?;
        let unreadable = || wrong(Misbehaviour::Unreadable);
        let transmission = Transmission::decode(bytes, &self.params).map_err(|_| unreadable())?;
        let response = Response::decode(self.params.version, transmission.command);
        let response = response.map_err(|_| unreadable())?;
        if let Response::Err(error) = response {
            return Err(RoutingError::Relay(error));
        }
        if transmission.corr_id != Some(self.corr_id) {
            return Err(wrong(Misbehaviour::UnknownCommand));
        }
        if transmission.entity != *entity {
            return Err(wrong(Misbehaviour::ForeignEntity));
        }
        Ok(response)
    }
}
