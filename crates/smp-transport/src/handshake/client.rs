//! The client's side of the handshake.

use std::fmt;
use std::time::SystemTime;

use rand::CryptoRng;
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, BlockCipher, CertChainAndKey, ClientHello, ClientService,
    DecodeError, DhPrivateKey, DhPublicKey, DhSecret, EncodeError, Fingerprint, HandshakeError,
    ServerHello, ServiceId, ServiceReply, ServiceRole, SessionId, SessionParams, SmpVersion,
    TransportError, VersionRange,
};
use thiserror::Error;

use super::{cipher, encrypts_blocks};
use crate::block::{BlockIo, BlockIoError};
use crate::certificate::{ChainError, TlsCredentials};
use crate::error::OpenSslError;
use crate::signed_key::{SignedKeyError, sign_key, verify_relay_key};

/// What a client wants of a session.
#[derive(Clone, Copy, Debug)]
pub struct ClientHandshakeOptions<'a> {
    /// The versions that it speaks.
    pub versions: VersionRange,
    /// Whether it forwards the commands of others. Then blocks are not encrypted inside TLS.
    pub proxy: bool,
    /// The service that it is. Left out with relays that are too old for it.
    pub service: Option<ServiceOptions<'a>>,
    /// The time by which certificates are judged.
    pub now: SystemTime,
}

/// How a client shows that it is a service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceOptions<'a> {
    /// What it is for.
    pub role: ServiceRole,
    /// The certificates that it also shows in TLS.
    pub credentials: &'a TlsCredentials,
}

/// A session as its client has it after the handshake.
pub struct ClientSession {
    /// What both sides agreed on.
    pub params: SessionParams,
    /// What the relay speaks.
    pub versions: VersionRange,
    /// The relay's session key, from version 7 on.
    pub relay_key: Option<RelayKey>,
    /// What encrypts blocks inside TLS, from version 11 on.
    pub cipher: Option<BlockCipher>,
    /// What the relay knows this service by, if it is one.
    pub service: Option<ServiceSession>,
}

/// A relay's session key, verified.
pub struct RelayKey {
    /// The key.
    pub key: DhPublicKey,
    /// What it agrees on with the client's key of this session.
    pub secret: DhSecret,
    /// As the relay sent it, for those for whom a proxy asks.
    pub signed: CertChainAndKey,
}

/// A service in its session.
pub struct ServiceSession {
    /// What the relay knows it by.
    pub id: ServiceId,
    /// What signs its commands in this session.
    pub key: AuthPrivateKey,
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("version", &self.params.version)
            .finish_non_exhaustive()
    }
}

/// Why a client does not begin a session. The connection is then to be closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientHandshakeError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] BlockIoError),
    /// The relay closed the connection.
    #[error("the relay closed the connection during the handshake")]
    Closed,
    /// What the relay sent is no hello.
    #[error("the relay's hello cannot be read: {0}")]
    Parse(#[from] DecodeError),
    /// The hello has another session id than the connection: somebody is in between.
    #[error("the relay's hello belongs to another connection")]
    OtherSession,
    /// The relay speaks none of our versions.
    #[error("the relay speaks no version of SMP that we speak")]
    NoCommonVersion,
    /// A hello of version 7 or later without a key.
    #[error("the relay gave no session key")]
    NoKey,
    /// The hello has the certificates of another relay.
    #[error("the relay is not the one that its address names")]
    OtherIdentity,
    /// The certificates or the key in the hello are refused.
    #[error("the relay's session key is refused: {0}")]
    Key(SignedKeyError),
    /// The relay's key makes every secret known.
    #[error("the relay's session key is weak")]
    WeakKey,
    /// The relay refuses the service.
    #[error("the relay refused the service: {0}")]
    ServiceRefused(TransportError),
    /// Our hello does not fit a block: the service's certificates are too long.
    #[error("the service's certificates do not fit the handshake: {0}")]
    TooLong(#[from] EncodeError),
    /// OpenSSL did not sign for the service.
    #[error(transparent)]
    OpenSsl(#[from] OpenSslError),
}

impl ClientHandshakeError {
    /// What a proxy tells its client, if SMP has a word for it.
    #[must_use]
    pub fn transport_error(&self) -> Option<TransportError> {
        Some(match self {
            Self::Parse(_) => TransportError::Handshake(HandshakeError::Parse),
            Self::OtherSession => TransportError::Session,
            Self::NoCommonVersion => TransportError::Version,
            Self::NoKey => TransportError::NoAuth,
            Self::OtherIdentity => TransportError::Handshake(HandshakeError::Identity),
            Self::Key(_) | Self::WeakKey => TransportError::Handshake(HandshakeError::BadAuth),
            Self::ServiceRefused(error) => *error,
            _ => return None,
        })
    }
}

impl From<SignedKeyError> for ClientHandshakeError {
    fn from(error: SignedKeyError) -> Self {
        match error {
            SignedKeyError::Chain(ChainError::WrongFingerprint) => Self::OtherIdentity,
            error => Self::Key(error),
        }
    }
}

/// Begins a session with the relay of this identity. `session_id` is that of the connection:
/// [`TlsStream::session_id`](crate::TlsStream::session_id), or whatever both sides of a stream
/// without TLS were told.
///
/// It waits as long as the relay does. If it is dropped, the connection is of no more use.
///
/// # Errors
/// See [`ClientHandshakeError`].
pub async fn client_handshake<I: BlockIo>(
    io: &mut I,
    session_id: &SessionId,
    identity: &Fingerprint,
    options: &ClientHandshakeOptions<'_>,
    rng: &mut impl CryptoRng,
) -> Result<ClientSession, ClientHandshakeError> {
    let block = io.read_block().await?;
    let block = block.ok_or(ClientHandshakeError::Closed)?;
    let relay = ServerHello::from_block(&block)?;
    if relay.session_id != *session_id {
        return Err(ClientHandshakeError::OtherSession);
    }
    let version = choose_version(options, &relay.versions)?;

    let (client_key, relay_key) = agree(version, relay.key, identity, options.now, rng)?;
    let service = options
        .service
        .filter(|service| knows_service(version, service.role));
    let service_key = service.map(|_| AuthPrivateKey::generate(rng, AuthKeyKind::Ed25519));
    let hello = ClientHello {
        version,
        key_hash: *identity,
        client_key,
        proxy: options.proxy,
        service: match (service, &service_key) {
            (Some(service), Some(key)) => Some(introduce(service, key)?),
            _ => None,
        },
    };
    io.write_block(hello.to_block()?).await?;
    let service = match service_key {
        Some(key) => Some(ServiceSession {
            id: read_service_id(io).await?,
            key,
        }),
        None => None,
    };

    let secret = relay_key.as_ref().map(|key| &key.secret);
    let cipher = cipher(
        version,
        options.proxy,
        secret,
        BlockCipher::client,
        session_id,
    );
    Ok(ClientSession {
        params: SessionParams {
            version,
            session_id: session_id.clone(),
            service: service.is_some(),
            block_encryption: cipher.is_some(),
        },
        versions: relay.versions,
        relay_key,
        cipher,
        service,
    })
}

/// The greatest version that both speak.
///
/// A proxy cannot tell relays before version 14 that it is one, and blocks encrypted inside TLS
/// have no room for what clients of version 10 send through it: so it stays below encryption.
fn choose_version(
    options: &ClientHandshakeOptions<'_>,
    relay: &VersionRange,
) -> Result<SmpVersion, ClientHandshakeError> {
    let common = options.versions.intersect(relay);
    let version = common.ok_or(ClientHandshakeError::NoCommonVersion)?.max();
    if options.proxy && relay.max() < SmpVersion::PROXY_HANDSHAKE && encrypts_blocks(version, false)
    {
        let capped = SmpVersion::DELETED_EVENT;
        let both = options.versions.contains(capped) && relay.contains(capped);
        return both
            .then_some(capped)
            .ok_or(ClientHandshakeError::NoCommonVersion);
    }
    Ok(version)
}

/// Verifies the relay's key, and agrees a secret with a new one of the client.
fn agree(
    version: SmpVersion,
    signed: Option<CertChainAndKey>,
    identity: &Fingerprint,
    now: SystemTime,
    rng: &mut impl CryptoRng,
) -> Result<(Option<DhPublicKey>, Option<RelayKey>), ClientHandshakeError> {
    if version < SmpVersion::AUTH_ENCRYPTION {
        return Ok((None, None));
    }
    let signed = signed.ok_or(ClientHandshakeError::NoKey)?;
    let key = verify_relay_key(&signed, identity, now)?;
    let private = DhPrivateKey::generate(rng);
    let secret = DhSecret::agree(&private, &key).map_err(|_| ClientHandshakeError::WeakKey)?;
    let relay_key = RelayKey {
        key,
        secret,
        signed,
    };
    Ok((Some(private.public()), Some(relay_key)))
}

/// Services that receive messages came later than the others.
fn knows_service(version: SmpVersion, role: ServiceRole) -> bool {
    version
        >= match role {
            ServiceRole::Messaging => SmpVersion::SERVICE_SUBS,
            ServiceRole::Notifier | ServiceRole::Proxy => SmpVersion::SERVICE_CERTS,
        }
}

fn introduce(
    service: ServiceOptions<'_>,
    key: &AuthPrivateKey,
) -> Result<ClientService, OpenSslError> {
    Ok(ClientService {
        role: service.role,
        key: sign_key(service.credentials, &key.public().to_spki())?,
    })
}

async fn read_service_id<I: BlockIo>(io: &mut I) -> Result<ServiceId, ClientHandshakeError> {
    let block = io.read_block().await?;
    let block = block.ok_or(ClientHandshakeError::Closed)?;
    match ServiceReply::from_block(&block)? {
        ServiceReply::Accepted(id) => Ok(id),
        ServiceReply::Refused(error) => Err(ClientHandshakeError::ServiceRefused(error)),
    }
}
