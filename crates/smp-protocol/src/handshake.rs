//! The hellos with which a session begins (document, "Transport handshake").
//!
//! Each is a block of its own, never encrypted inside TLS. What stands behind the known part of
//! one is skipped: newer versions add there.

use crate::block::{Block, plain_block, plain_content};
use crate::certificate::{CertChainAndKey, Fingerprint};
use crate::encoding::{DecodeError, EncodeError, Reader, put_bool, put_maybe};
use crate::error::TransportError;
use crate::id::{ServiceId, SessionId};
use crate::key::{DhPublicKey, SPKI_SIZE};
use crate::version::{SmpVersion, VersionRange};

/// The relay's hello, the first block of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// What the relay speaks.
    pub versions: VersionRange,
    /// The id of the session; the client compares it with the one of its TLS connection.
    pub session_id: SessionId,
    /// The relay's session key, from version 7 on.
    pub key: Option<CertChainAndKey>,
}

impl ServerHello {
    /// Takes the hello out of its block.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn from_block(block: &Block) -> Result<Self, DecodeError> {
        Self::decode(content(block)?)
    }

    /// The block with the hello.
    ///
    /// # Errors
    /// [`EncodeError`] if the certificates are too long for a block.
    pub fn to_block(&self) -> Result<Box<Block>, EncodeError> {
        plain_block(&self.encode()?)
    }

    /// Reads the hello.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let versions = VersionRange::decode(&mut reader)?;
        let session_id = SessionId::decode(&mut reader)?;
        let has_key = versions.max() >= SmpVersion::AUTH_ENCRYPTION && !reader.is_empty();
        let key = has_key
            .then(|| CertChainAndKey::decode(&mut reader))
            .transpose()?;
        Ok(Self {
            versions,
            session_id,
            key,
        })
    }

    /// The bytes of the hello.
    ///
    /// # Errors
    /// [`EncodeError`] if a certificate is too long.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(1024);
        self.versions.encode(&mut out);
        self.session_id.encode(&mut out);
        if let Some(key) = &self.key {
            key.encode(&mut out)?;
        }
        Ok(out)
    }
}

/// The client's hello, the second block of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The version that both speak from now on.
    pub version: SmpVersion,
    /// Which relay the client wants to talk to; another one refuses.
    pub key_hash: Fingerprint,
    /// The client's session key, from version 7 on: for the encryption of blocks and between a
    /// proxy and a relay.
    pub client_key: Option<DhPublicKey>,
    /// Whether the client is a proxy, from version 14 on. Then blocks are not encrypted inside
    /// TLS.
    pub proxy: bool,
    /// The service that the client is, from version 16 on.
    pub service: Option<ClientService>,
}

impl ClientHello {
    /// Takes the hello out of its block.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn from_block(block: &Block) -> Result<Self, DecodeError> {
        Self::decode(content(block)?)
    }

    /// The block with the hello.
    ///
    /// # Errors
    /// [`EncodeError`] if the certificates are too long for a block.
    pub fn to_block(&self) -> Result<Box<Block>, EncodeError> {
        plain_block(&self.encode()?)
    }

    /// Reads the hello, as far as its version goes.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = SmpVersion::decode(&mut reader)?;
        let key_hash = Fingerprint::decode(&mut reader)?;
        // A key's absence is not marked; no other field can begin with its length.
        let has_key = version >= SmpVersion::AUTH_ENCRYPTION
            && reader
                .peek()
                .is_some_and(|length| usize::from(length) == SPKI_SIZE);
        let client_key = has_key
            .then(|| DhPublicKey::decode(&mut reader))
            .transpose()?;
        let proxy = version >= SmpVersion::PROXY_HANDSHAKE && reader.bool("proxy")?;
        let service = if version >= SmpVersion::SERVICE_CERTS {
            reader.maybe("service", ClientService::decode)?
        } else {
            None
        };
        Ok(Self {
            version,
            key_hash,
            client_key,
            proxy,
            service,
        })
    }

    /// The bytes of the hello. Fields that its version does not have are left out.
    ///
    /// # Errors
    /// [`EncodeError`] if a certificate is too long.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(96);
        self.version.encode(&mut out);
        self.key_hash.encode(&mut out);
        if let Some(key) = &self.client_key
            && self.version >= SmpVersion::AUTH_ENCRYPTION
        {
            key.encode(&mut out);
        }
        if self.version >= SmpVersion::PROXY_HANDSHAKE {
            put_bool(&mut out, self.proxy);
        }
        if self.version >= SmpVersion::SERVICE_CERTS {
            put_maybe(&mut out, self.service.as_ref(), |out, service| {
                service.encode(out)
            })?;
        }
        Ok(out)
    }
}

/// How a client shows that it is a service (document, "Service certificates").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientService {
    /// What it is for.
    pub role: ServiceRole,
    /// Its certificates, the same as in TLS, and the Ed25519 key that it signs this session's
    /// commands with.
    pub key: CertChainAndKey,
}

impl ClientService {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let role = ServiceRole::decode(reader)?;
        Ok(Self {
            role,
            key: CertChainAndKey::decode(reader)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(self.role.letter());
        self.key.encode(out)
    }
}

/// What a service is for (document, "Service roles").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceRole {
    /// Receives messages.
    Messaging,
    /// Is told of messages.
    Notifier,
    /// Forwards commands.
    Proxy,
}

impl ServiceRole {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8("service role")? {
            b'M' => Ok(Self::Messaging),
            b'N' => Ok(Self::Notifier),
            b'P' => Ok(Self::Proxy),
            _ => Err(DecodeError::Value("service role")),
        }
    }

    fn letter(self) -> u8 {
        match self {
            Self::Messaging => b'M',
            Self::Notifier => b'N',
            Self::Proxy => b'P',
        }
    }
}

/// The relay's answer to the hello of a service, and only to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceReply {
    /// The relay knows the service by this id from now on.
    Accepted(ServiceId),
    /// The relay closes the session for this reason.
    Refused(TransportError),
}

impl ServiceReply {
    /// Takes the answer out of its block.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn from_block(block: &Block) -> Result<Self, DecodeError> {
        Self::decode(content(block)?)
    }

    /// The block with the answer.
    ///
    /// # Errors
    /// None, for it always fits; the type is that of the other hellos.
    pub fn to_block(&self) -> Result<Box<Block>, EncodeError> {
        plain_block(&self.encode())
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("service reply")? {
            b'R' => ServiceId::decode(&mut reader).map(Self::Accepted),
            b'E' => TransportError::decode(reader.take_rest()).map(Self::Refused),
            _ => Err(DecodeError::Value("service reply")),
        }
    }

    /// The bytes of the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        match self {
            Self::Accepted(id) => {
                out.push(b'R');
                id.encode(&mut out);
            }
            Self::Refused(error) => {
                out.push(b'E');
                error.encode(&mut out);
            }
        }
        out
    }
}

fn content(block: &Block) -> Result<&[u8], DecodeError> {
    plain_content(block).map_err(|_| DecodeError::Short("hello"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::certificate::CertificateChain;
    use crate::error::HandshakeError;

    fn chain_and_key(bytes: &[u8]) -> CertChainAndKey {
        let chain = CertificateChain::new(vec![bytes.to_vec(), vec![1]]).unwrap();
        CertChainAndKey {
            chain,
            signed_key: bytes.to_vec(),
        }
    }

    proptest! {
        #[test]
        fn hellos_come_back_from_their_blocks(
            version in 6..=20u16,
            id in prop::collection::vec(any::<u8>(), 0..=48),
            key: Option<[u8; 32]>,
            proxy: bool,
            service: Option<Vec<u8>>,
        ) {
            let version = SmpVersion(version);
            let versions = VersionRange::new(SmpVersion::CREATE_ONLY, version).unwrap();
            let has_key = version >= SmpVersion::AUTH_ENCRYPTION;
            let server = ServerHello {
                versions,
                session_id: SessionId::new(&id).unwrap(),
                key: service.as_deref().filter(|_| has_key).map(chain_and_key),
            };
            let block = server.to_block().unwrap();
            prop_assert_eq!(ServerHello::from_block(&block), Ok(server));

            let role = ServiceRole::Notifier;
            let service = service
                .filter(|_| version >= SmpVersion::SERVICE_CERTS)
                .map(|bytes| ClientService { role, key: chain_and_key(&bytes) });
            let client = ClientHello {
                version,
                key_hash: Fingerprint([7; 32]),
                client_key: key.filter(|_| has_key).map(DhPublicKey),
                proxy: proxy && version >= SmpVersion::PROXY_HANDSHAKE,
                service,
            };
            let block = client.to_block().unwrap();
            prop_assert_eq!(ClientHello::from_block(&block), Ok(client));
        }

        #[test]
        fn no_bytes_make_a_hello_panic(bytes: Vec<u8>, version in 6..=20u8) {
            let _ = ServerHello::decode(&bytes);
            let _ = ServiceReply::decode(&bytes);
            let _ = ClientHello::decode(&bytes);
            let begun = [&[0, version, 32][..], &[0; 32], &bytes].concat();
            let _ = ClientHello::decode(&begun);
        }
    }

    #[test]
    fn what_newer_versions_add_is_skipped() {
        let versions = VersionRange::SUPPORTED;
        let session_id = SessionId::new(&[2; 32]).unwrap();
        let server = ServerHello {
            versions,
            session_id,
            key: Some(chain_and_key(b"key")),
        };
        let bytes = [&server.encode().unwrap()[..], b"more"].concat();
        assert_eq!(ServerHello::decode(&bytes), Ok(server));

        let client = ClientHello {
            version: SmpVersion::NAMES,
            key_hash: Fingerprint([7; 32]),
            client_key: None,
            proxy: true,
            service: None,
        };
        let bytes = [&client.encode().unwrap()[..], b"more"].concat();
        assert_eq!(ClientHello::decode(&bytes), Ok(client));
    }

    #[test]
    fn replies_to_a_service_come_back_from_their_blocks() {
        let accepted = ServiceReply::Accepted(ServiceId::new(&[3; 24]).unwrap());
        let refused = ServiceReply::Refused(HandshakeError::BadService.into());
        assert_eq!(refused.encode(), b"EHANDSHAKE BAD_SERVICE");
        for reply in [accepted, refused] {
            let block = reply.to_block().unwrap();
            assert_eq!(ServiceReply::from_block(&block), Ok(reply));
        }
        assert!(ServiceReply::decode(b"X").is_err());
    }
}
