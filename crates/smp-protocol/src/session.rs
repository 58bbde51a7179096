//! What both sides know of a session after its handshake.

use crate::handshake::{ClientHello, ServerHello};
use crate::id::SessionId;
use crate::version::SmpVersion;

/// What reading and writing transmissions of a session needs to know.
#[derive(Clone, Debug)]
pub struct SessionParams {
    /// The version that was agreed.
    pub version: SmpVersion,
    /// The id of the session, from the relay's hello.
    pub session_id: SessionId,
    /// Whether the client showed itself as a service in the handshake.
    pub service: bool,
    /// Whether blocks are encrypted inside TLS.
    pub block_encryption: bool,
}

impl SessionParams {
    /// What both hellos say together. Blocks are encrypted from version 11 on if both sides gave a
    /// key and the client is no proxy (document, "Transport handshake").
    #[must_use]
    pub fn of_hellos(server: &ServerHello, client: &ClientHello) -> Self {
        let both_keys = server.key.is_some() && client.client_key.is_some();
        let mut params = Self::new(client.version, server.session_id.clone());
        params.service = client.service.is_some();
        params.block_encryption &= both_keys && !client.proxy;
        params
    }

    /// The parameters of an ordinary client's session, which gives a key.
    #[must_use]
    pub fn new(version: SmpVersion, session_id: SessionId) -> Self {
        Self {
            version,
            session_id,
            service: false,
            block_encryption: version >= SmpVersion::BLOCK_ENCRYPTION,
        }
    }

    /// Whether transmissions leave the session id out (document, version history, v7). It is
    /// authorised nonetheless.
    #[must_use]
    pub fn implicit_session_id(&self) -> bool {
        self.version >= SmpVersion::AUTH_ENCRYPTION
    }

    /// Whether an authorization is followed by an optional signature of a service.
    #[must_use]
    pub fn service_signatures(&self) -> bool {
        self.version >= SmpVersion::SERVICE_CERTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertChainAndKey, CertificateChain, Fingerprint};
    use crate::key::DhPublicKey;
    use crate::version::VersionRange;

    fn encrypted(version: u16, server_key: bool, client_key: bool, proxy: bool) -> bool {
        let chain = CertificateChain::new(vec![vec![1], vec![2]]).unwrap();
        let server = ServerHello {
            versions: VersionRange::SUPPORTED,
            session_id: SessionId::new(&[1; 32]).unwrap(),
            key: server_key.then_some(CertChainAndKey {
                chain,
                signed_key: Vec::new(),
            }),
        };
        let client = ClientHello {
            version: SmpVersion(version),
            key_hash: Fingerprint([2; 32]),
            client_key: client_key.then_some(DhPublicKey([3; 32])),
            proxy,
            service: None,
        };
        SessionParams::of_hellos(&server, &client).block_encryption
    }

    #[test]
    fn blocks_are_encrypted_with_both_keys_from_version_11_on_unless_for_a_proxy() {
        assert!(encrypted(11, true, true, false));
        assert!(!encrypted(10, true, true, false));
        assert!(!encrypted(19, false, true, false));
        assert!(!encrypted(19, true, false, false));
        assert!(!encrypted(19, true, true, true));
    }
}
