//! The relay's side of the handshake.

use std::fmt;
use std::time::SystemTime;

use rand::CryptoRng;
use smp_protocol::{
    Block, BlockCipher, ClientHello, ClientService, DecodeError, DhPrivateKey, DhPublicKey,
    DhSecret, EncodeError, Fingerprint, HandshakeError, KEY_SIZE, ServerHello, ServiceReply,
    ServiceRole, SessionId, SessionParams, SmpVersion, TransportError, VersionRange,
};
use thiserror::Error;

use super::cipher;
use crate::block::{BlockIo, BlockIoError};
use crate::certificate::{Certificate, TlsCredentials};
use crate::error::OpenSslError;
use crate::signed_key::{SignedKeyError, sign_key, verify_service_key};

/// A session as its relay has it after the handshake.
pub struct ServerSession {
    /// What both sides agreed on.
    pub params: SessionParams,
    /// The relay's private key of this session, from version 7 on: authenticators are checked
    /// with it.
    pub key: Option<DhPrivateKey>,
    /// What it agrees on with the client's key of this session, if the client gave one.
    pub secret: Option<DhSecret>,
    /// Whether the client says that it forwards the commands of others.
    pub proxy: bool,
    /// What encrypts blocks inside TLS.
    pub cipher: Option<BlockCipher>,
    /// The service that the client is. It waits for a [`ServiceReply`] before anything else; if
    /// that is a refusal, the connection is to be closed after it.
    pub service: Option<ServiceClient>,
}

impl fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSession")
            .field("version", &self.params.version)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// A client that showed itself as a service, its certificates and key verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ServiceClient {
    /// What it is for.
    pub role: ServiceRole,
    /// What relays know it by.
    pub fingerprint: Fingerprint,
    /// The Ed25519 key that verifies its commands in this session.
    pub key: [u8; KEY_SIZE],
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceClient")
    }
}

/// Why a relay does not begin a session. The connection is then to be closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerHandshakeError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] BlockIoError),
    /// The client closed the connection.
    #[error("the client closed the connection during the handshake")]
    Closed,
    /// What the client sent is no hello.
    #[error("the client's hello cannot be read: {0}")]
    Parse(#[from] DecodeError),
    /// The client wants another relay.
    #[error("the client expects another relay")]
    Identity,
    /// The client chose a version that was not offered.
    #[error("the client chose a version that was not offered")]
    Version,
    /// The client's key makes every secret known.
    #[error("the client's session key is weak")]
    WeakKey,
    /// The service in the client's hello is not the one of the TLS connection.
    #[error("the service shows other certificates than in TLS")]
    OtherService,
    /// The certificates or the key of the service are refused.
    #[error("the service is refused: {0}")]
    Service(#[from] SignedKeyError),
    /// Our hello does not fit a block: the certificates are too long.
    #[error("the relay's certificates do not fit the handshake: {0}")]
    TooLong(#[from] EncodeError),
    /// OpenSSL did not sign the session's key.
    #[error(transparent)]
    OpenSsl(#[from] OpenSslError),
}

impl ServerHandshakeError {
    /// What the client is told before the connection is closed: only services are told anything.
    #[must_use]
    pub fn reply(&self) -> Option<ServiceReply> {
        let refused = match self {
            Self::OtherService | Self::Service(_) => HandshakeError::BadService,
            _ => return None,
        };
        Some(ServiceReply::Refused(TransportError::Handshake(refused)))
    }
}

/// Begins a session with a client, and refuses a service whose certificates are wrong.
///
/// `session_id` and `peer_chain` are those of the connection
/// ([`TlsStream::session_id`](crate::TlsStream::session_id),
/// [`TlsStream::peer_chain`](crate::TlsStream::peer_chain)). `versions` are
/// [`VersionRange::LEGACY`] for a connection to the relay without ALPN
/// ([`TlsStream::has_alpn`](crate::TlsStream::has_alpn)).
///
/// It waits as long as the client does: put a time limit around it. If it is dropped, the
/// connection is of no more use.
///
/// # Errors
/// See [`ServerHandshakeError`].
pub async fn server_handshake<I: BlockIo>(
    io: &mut I,
    credentials: &TlsCredentials,
    session_id: &SessionId,
    peer_chain: &[Certificate],
    versions: VersionRange,
    now: SystemTime,
    rng: &mut impl CryptoRng,
) -> Result<ServerSession, ServerHandshakeError> {
    let (handshake, hello) = ServerHandshake::begin(credentials, session_id, versions, rng)?;
    io.write_block(hello).await?;
    let block = io.read_block().await?;
    let block = block.ok_or(ServerHandshakeError::Closed)?;
    let session = handshake.finish(&block, peer_chain, now);
    if let Err(error) = &session
        && let Some(reply) = error.reply()
    {
        io.write_block(reply.to_block()?).await?;
    }
    session
}

/// The handshake of one session, without its connection: [`Self::begin`] gives the relay's hello,
/// [`Self::finish`] takes the client's.
pub struct ServerHandshake {
    identity: Fingerprint,
    session_id: SessionId,
    versions: VersionRange,
    key: Option<DhPrivateKey>,
}

impl ServerHandshake {
    /// Makes the relay's hello, with a new session key if a version has a use for it.
    ///
    /// # Errors
    /// [`ServerHandshakeError::OpenSsl`], or [`ServerHandshakeError::TooLong`] with certificates
    /// of more than 16 KB.
    pub fn begin(
        credentials: &TlsCredentials,
        session_id: &SessionId,
        versions: VersionRange,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Box<Block>), ServerHandshakeError> {
        let has_key = versions.max() >= SmpVersion::AUTH_ENCRYPTION;
        let key = has_key.then(|| DhPrivateKey::generate(rng));
        let signed = key
            .as_ref()
            .map(|key| sign_key(credentials, &key.public().to_spki()));
        let hello = ServerHello {
            versions,
            session_id: session_id.clone(),
            key: signed.transpose()?,
        };
        let handshake = Self {
            identity: credentials.identity(),
            session_id: session_id.clone(),
            versions,
            key,
        };
        Ok((handshake, hello.to_block()?))
    }

    /// Takes the client's hello. `peer_chain` are the certificates that the client showed in TLS.
    ///
    /// # Errors
    /// See [`ServerHandshakeError`]; [`ServerHandshakeError::reply`] is to be sent then.
    pub fn finish(
        self,
        hello: &Block,
        peer_chain: &[Certificate],
        now: SystemTime,
    ) -> Result<ServerSession, ServerHandshakeError> {
        let hello = ClientHello::from_block(hello)?;
        if hello.key_hash != self.identity {
            return Err(ServerHandshakeError::Identity);
        }
        if !self.versions.contains(hello.version) {
            return Err(ServerHandshakeError::Version);
        }
        let secret = self.agree(hello.client_key.as_ref())?;
        let service = hello
            .service
            .map(|service| verify_service(&service, peer_chain, now))
            .transpose()?;
        let (version, proxy) = (hello.version, hello.proxy);
        let cipher = cipher(
            version,
            proxy,
            secret.as_ref(),
            BlockCipher::server,
            &self.session_id,
        );
        Ok(ServerSession {
            params: SessionParams {
                version,
                session_id: self.session_id,
                service: service.is_some(),
                block_encryption: cipher.is_some(),
            },
            key: self.key.filter(|_| version >= SmpVersion::AUTH_ENCRYPTION),
            secret,
            proxy,
            cipher,
            service,
        })
    }

    fn agree(
        &self,
        client: Option<&DhPublicKey>,
    ) -> Result<Option<DhSecret>, ServerHandshakeError> {
        let keys = self.key.as_ref().zip(client);
        let secret = keys.map(|(key, client)| DhSecret::agree(key, client));
        secret
            .transpose()
            .map_err(|_| ServerHandshakeError::WeakKey)
    }
}

fn verify_service(
    service: &ClientService,
    peer_chain: &[Certificate],
    now: SystemTime,
) -> Result<ServiceClient, ServerHandshakeError> {
    let shown = peer_chain.iter().map(Certificate::to_der);
    let shown: Vec<_> = shown.collect::<Result<_, _>>()?;
    if shown != service.key.chain.certificates() {
        return Err(ServerHandshakeError::OtherService);
    }
    let (fingerprint, key) = verify_service_key(&service.key, now)?;
    Ok(ServiceClient {
        role: service.role,
        fingerprint,
        key,
    })
}
