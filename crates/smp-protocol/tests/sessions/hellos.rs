//! Both hellos of each session, and the signatures of the relay's certificate.

use smp_protocol::{
    Block, CertificateChain, ClientHello, DhPrivateKey, DhPublicKey, Fingerprint, ServerHello,
    SessionId, SessionParams, SmpVersion, VersionRange,
};

use crate::golden::{base64, hex};
use crate::session::{Session, array, sessions};

#[test]
fn every_hello_of_a_relay_is_read_and_written_back() {
    let (mut with_key, all) = (0, sessions());
    for session in &all {
        let recorded = &session.value["server_hello"];
        let plain = base64(&recorded["plain_b64"]);
        let hello = ServerHello::from_block(&padded(&plain)).unwrap();
        assert_eq!(ServerHello::decode(&plain).unwrap(), hello);
        assert_eq!(hello.encode().unwrap(), plain);
        assert_eq!(*hello.to_block().unwrap(), padded(&plain));

        let decoded = &recorded["decoded"];
        let [min, max] = ["version_min", "version_max"]
            .map(|key| SmpVersion(u16::try_from(decoded[key].as_u64().unwrap()).unwrap()));
        assert_eq!(hello.versions, VersionRange::new(min, max).unwrap());
        assert!(hello.versions.contains(session.params.version));
        assert_eq!(
            hello.session_id,
            SessionId::new(&hex(&decoded["session_id"])).unwrap()
        );
        assert_eq!(hello.session_id, session.params.session_id);
        with_key += usize::from(hello.key.is_some());
        check_key(session, &hello);
    }
    assert_eq!((all.len(), with_key), (25, 22));
}

/// Chain, fingerprint, session key and its signature.
fn check_key(session: &Session, hello: &ServerHello) {
    let decoded = &session.value["server_hello"]["decoded"];
    let Some(key) = &hello.key else {
        assert_eq!(session.params.version, SmpVersion::CREATE_ONLY);
        return;
    };
    if let Some(certificates) = decoded["certificates_der_b64"].as_array() {
        let certificates = certificates.iter().map(base64).collect();
        assert_eq!(key.chain, CertificateChain::new(certificates).unwrap());
    }
    assert!(key.chain.is_for_relay());
    let client_hello = &session.value["client_hello"]["decoded"];
    assert_eq!(
        key.chain.fingerprint(),
        Fingerprint(array(&client_hello["key_hash"]))
    );

    assert_eq!(key.signed_key, base64(&decoded["signed_key_der_b64"]));
    let signed = key.key().unwrap();
    assert_eq!(signed.to_der(), key.signed_key);
    assert_eq!(signed.dh_key().unwrap(), session.relay_key.unwrap());
    let mut certificate_key = ed25519_key(key.chain.leaf());
    assert!(signed.verify_ed25519(&certificate_key));
    certificate_key[7] ^= 1;
    assert!(!signed.verify_ed25519(&certificate_key));
}

#[test]
fn every_hello_of_a_client_is_read_and_written_back() {
    let (mut all, mut keys) = (0, 0);
    for session in sessions() {
        let recorded = &session.value["client_hello"];
        let plain = hex(&recorded["plain"]);
        let hello = ClientHello::from_block(&padded(&plain)).unwrap();
        assert_eq!(hello.encode().unwrap(), plain);
        assert_eq!(*hello.to_block().unwrap(), padded(&plain));

        let decoded = &recorded["decoded"];
        let key = &decoded["client_dh_public"];
        let expected = ClientHello {
            version: session.params.version,
            key_hash: Fingerprint(array(&decoded["key_hash"])),
            client_key: key.is_string().then(|| DhPublicKey(array(key))),
            proxy: decoded["proxy_server"].as_bool().unwrap_or(false),
            service: None,
        };
        assert_eq!(hello, expected);
        let relay = base64(&session.value["server_hello"]["plain_b64"]);
        let relay = ServerHello::decode(&relay).unwrap();
        let params = SessionParams::of_hellos(&relay, &hello);
        assert_eq!(params.session_id, session.params.session_id);
        assert_eq!(
            params.block_encryption,
            session.value["block_encryption"].is_object()
        );
        let private = &recorded["client_dh_private"];
        if private.is_string() {
            let private = DhPrivateKey::from_bytes(&array(private));
            assert_eq!(Some(private.public()), hello.client_key);
            keys += 1;
        }
        all += 1;
    }
    assert_eq!((all, keys), (25, 22));
}

fn padded(plain: &[u8]) -> Block {
    let mut block = [b'#'; 16384];
    block[..2].copy_from_slice(&u16::try_from(plain.len()).unwrap().to_be_bytes());
    block[2..2 + plain.len()].copy_from_slice(plain);
    block
}

/// The first Ed25519 key in a certificate, which is the certificate's own.
fn ed25519_key(certificate: &[u8]) -> [u8; 32] {
    let prefix = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    let start = certificate
        .windows(prefix.len())
        .position(|bytes| bytes == prefix)
        .unwrap();
    certificate[start + prefix.len()..][..32]
        .try_into()
        .unwrap()
}
