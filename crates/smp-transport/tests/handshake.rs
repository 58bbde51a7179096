//! The handshake of a session, over streams in memory without TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use common::*;
use rand::{TryCryptoRng, TryRng};
use smp_protocol::SignatureAlgorithm::{Ed448, Ed25519};
use smp_protocol::{
    AuthPrivateKey, Block, BlockCipher, ClientHello, DhPrivateKey, DhPublicKey, Fingerprint,
    HandshakeError, ServerHello, ServiceId, ServiceReply, ServiceRole, SessionId, SmpVersion,
    TransportError, VersionRange, plain_block, plain_content,
};
use smp_transport::{
    BlockIo, BlockStream, Certificate, ChainError, ClientHandshakeError, ClientHandshakeOptions,
    ClientSession, Purpose, ServerHandshake, ServerHandshakeError, ServerSession, ServiceOptions,
    SignedKeyError, TlsCredentials, client_handshake, server_handshake,
};
use tokio::io::DuplexStream;

type Io = BlockStream<DuplexStream>;

fn pair() -> (Io, Io) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    (BlockStream::new(client), BlockStream::new(server))
}

fn session_id() -> SessionId {
    SessionId::new(&[7; 32]).unwrap()
}

fn versions(min: u16, max: u16) -> VersionRange {
    VersionRange::new(SmpVersion(min), SmpVersion(max)).unwrap()
}

fn options<'a>() -> ClientHandshakeOptions<'a> {
    ClientHandshakeOptions {
        versions: VersionRange::SUPPORTED,
        proxy: false,
        service: None,
        now: SystemTime::now(),
    }
}

type Outcome = (
    Result<ClientSession, ClientHandshakeError>,
    Result<ServerSession, ServerHandshakeError>,
);

/// Both sides, each with its own idea of the session; a service is accepted.
async fn handshake(
    relay: &TlsCredentials,
    relay_versions: VersionRange,
    options: ClientHandshakeOptions<'_>,
) -> Outcome {
    let (mut ours, mut theirs) = pair();
    let peer_chain = options.service.map(|service| service.credentials.chain());
    let (id, identity) = (session_id(), relay.identity());
    let client = async {
        let session = client_handshake(&mut ours, &id, &identity, &options, &mut rng()).await;
        drop(ours);
        session
    };
    let server = async {
        let session = server_handshake(
            &mut theirs,
            relay,
            &id,
            peer_chain.unwrap_or_default(),
            relay_versions,
            SystemTime::now(),
            &mut rng(),
        )
        .await?;
        if session.service.is_some() {
            let reply = ServiceReply::Accepted(ServiceId::new(b"service").unwrap());
            theirs.write_block(reply.to_block().unwrap()).await.unwrap();
        }
        Ok(session)
    };
    tokio::join!(client, server)
}

/// That what one side encrypts the other reads, both ways.
fn assert_same_ciphers(client: &mut BlockCipher, server: &mut BlockCipher) {
    for text in [&b"first"[..], b"second"] {
        let mut block = client.seal(text).unwrap();
        assert_eq!(server.open(&mut block).unwrap(), text);
        let mut block = server.seal(text).unwrap();
        assert_eq!(client.open(&mut block).unwrap(), text);
    }
}

// --- Sessions ------------------------------------------------------------------------------------

#[tokio::test]
async fn both_sides_agree_on_the_greatest_common_version_and_what_goes_with_it() {
    let relay = relay(2, Ed25519);
    for version in 6..=20 {
        let client = ClientHandshakeOptions {
            versions: versions(6, version),
            ..options()
        };
        let (client, server) = handshake(&relay, VersionRange::SUPPORTED, client).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(client.params.version, SmpVersion(version));
        assert_eq!(server.params.version, SmpVersion(version));
        assert_eq!(client.params.session_id, session_id());
        assert!(!server.proxy && server.service.is_none() && client.service.is_none());
        assert_eq!(client.relay_key.is_some(), version >= 7);
        assert_eq!(server.key.is_some(), version >= 7);
        if let (Some(relay_key), Some(key)) = (&client.relay_key, &server.key) {
            assert_eq!(relay_key.key, key.public());
            let secret = server.secret.as_ref().unwrap();
            assert_eq!(relay_key.secret.as_bytes(), secret.as_bytes());
        }
        assert_eq!(client.params.block_encryption, version >= 11);
        assert_eq!(server.params.block_encryption, version >= 11);
        match (&mut client.cipher, &mut server.cipher) {
            (Some(client), Some(server)) => assert_same_ciphers(client, server),
            (client, server) => assert!(client.is_none() && server.is_none() && version < 11),
        }
    }
}

#[tokio::test]
async fn relays_of_every_chain_and_algorithm_are_verified() {
    for algorithm in BOTH {
        for length in 2..=4 {
            let relay = relay(length, algorithm);
            let (client, server) = handshake(&relay, VersionRange::SUPPORTED, options()).await;
            assert!(client.is_ok() && server.is_ok(), "{client:?} {server:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_without_alpn_gets_version_6_and_a_hello_without_certificates() {
    let relay = relay(2, Ed25519);
    let (_, hello) =
        ServerHandshake::begin(&relay, &session_id(), VersionRange::LEGACY, &mut rng()).unwrap();
    let hello = ServerHello::from_block(&hello).unwrap();
    assert_eq!((hello.versions, hello.key), (VersionRange::LEGACY, None));
    let (client, server) = handshake(&relay, VersionRange::LEGACY, options()).await;
    assert_eq!(client.unwrap().params.version, SmpVersion(6));
    assert!(server.unwrap().key.is_none());
}

#[tokio::test]
async fn a_proxy_agrees_a_secret_but_does_not_encrypt_blocks() {
    let relay = relay(2, Ed25519);
    let proxy = ClientHandshakeOptions {
        proxy: true,
        ..options()
    };
    let (client, server) = handshake(&relay, VersionRange::SUPPORTED, proxy).await;
    let (client, server) = (client.unwrap(), server.unwrap());
    assert!(server.proxy);
    assert!(client.cipher.is_none() && server.cipher.is_none());
    assert!(!client.params.block_encryption && !server.params.block_encryption);
    let secret = client.relay_key.unwrap().secret;
    assert_eq!(secret.as_bytes(), server.secret.unwrap().as_bytes());
}

#[tokio::test]
async fn a_proxy_stays_below_encryption_with_relays_that_do_not_know_proxies() {
    let relay = relay(2, Ed25519);
    for (relay_max, agreed) in [(8, 8), (10, 10), (11, 10), (12, 10), (14, 14)] {
        let proxy = ClientHandshakeOptions {
            proxy: true,
            ..options()
        };
        let (client, server) = handshake(&relay, versions(6, relay_max), proxy).await;
        assert_eq!(client.unwrap().params.version, SmpVersion(agreed));
        assert!(server.unwrap().cipher.is_none());
    }
    let proxy = ClientHandshakeOptions {
        proxy: true,
        versions: versions(11, 20),
        ..options()
    };
    let (client, _) = handshake(&relay, versions(6, 12), proxy).await;
    assert!(matches!(client, Err(ClientHandshakeError::NoCommonVersion)));
}

#[tokio::test]
async fn a_service_gets_its_id() {
    let (relay, service) = (relay(2, Ed448), service());
    for role in [
        ServiceRole::Messaging,
        ServiceRole::Notifier,
        ServiceRole::Proxy,
    ] {
        let options = ClientHandshakeOptions {
            service: Some(ServiceOptions {
                role,
                credentials: &service,
            }),
            ..options()
        };
        let (client, server) = handshake(&relay, VersionRange::SUPPORTED, options).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        assert!(client.params.service && server.params.service);
        let (ours, theirs) = (client.service.unwrap(), server.service.unwrap());
        assert_eq!(ours.id, ServiceId::new(b"service").unwrap());
        assert_eq!(
            (theirs.role, theirs.fingerprint),
            (role, service.identity())
        );
        assert!(matches!(ours.key, AuthPrivateKey::Ed25519(_)));
        assert_eq!(ours.key.public().to_spki()[12..], theirs.key);
    }
}

#[tokio::test]
async fn a_service_is_an_ordinary_client_of_an_older_relay() {
    let (relay, service) = (relay(2, Ed25519), service());
    for (role, relay_max) in [(ServiceRole::Messaging, 18), (ServiceRole::Notifier, 15)] {
        let options = ClientHandshakeOptions {
            service: Some(ServiceOptions {
                role,
                credentials: &service,
            }),
            ..options()
        };
        let (client, server) = handshake(&relay, versions(6, relay_max), options).await;
        assert!(client.unwrap().service.is_none());
        assert!(server.unwrap().service.is_none());
    }
}

// --- What a client refuses -----------------------------------------------------------------------

/// What our client says to this hello.
async fn answer(hello: &ServerHello, identity: &Fingerprint) -> ClientHandshakeError {
    let (mut ours, mut theirs) = pair();
    theirs.write_block(hello.to_block().unwrap()).await.unwrap();
    let id = session_id();
    let answer = client_handshake(&mut ours, &id, identity, &options(), &mut rng()).await;
    answer.unwrap_err()
}

fn hello_of(relay: &TlsCredentials) -> ServerHello {
    let (_, hello) =
        ServerHandshake::begin(relay, &session_id(), VersionRange::SUPPORTED, &mut rng()).unwrap();
    ServerHello::from_block(&hello).unwrap()
}

#[tokio::test]
async fn a_hello_of_another_session_is_refused() {
    let relay = relay(2, Ed25519);
    let mut hello = hello_of(&relay);
    hello.session_id = SessionId::new(&[8; 32]).unwrap();
    let error = answer(&hello, &relay.identity()).await;
    assert!(
        matches!(error, ClientHandshakeError::OtherSession),
        "{error}"
    );
    assert_eq!(error.transport_error(), Some(TransportError::Session));
}

#[tokio::test]
async fn a_hello_of_another_relay_is_refused() {
    let (relay, other) = (relay(2, Ed25519), authority(Ed25519, "other", 4));
    let error = answer(&hello_of(&relay), &other.identity()).await;
    assert!(
        matches!(error, ClientHandshakeError::OtherIdentity),
        "{error}"
    );
    let identity = TransportError::Handshake(HandshakeError::Identity);
    assert_eq!(error.transport_error(), Some(identity));
}

#[tokio::test]
async fn a_hello_without_a_common_version_is_refused() {
    let relay = relay(2, Ed25519);
    let mut hello = hello_of(&relay);
    hello.versions = versions(21, 30);
    let error = answer(&hello, &relay.identity()).await;
    assert!(
        matches!(error, ClientHandshakeError::NoCommonVersion),
        "{error}"
    );
}

#[tokio::test]
async fn a_hello_without_a_key_is_refused() {
    let relay = relay(2, Ed25519);
    let mut hello = hello_of(&relay);
    hello.key = None;
    let error = answer(&hello, &relay.identity()).await;
    assert!(matches!(error, ClientHandshakeError::NoKey), "{error}");
}

#[tokio::test]
async fn a_badly_signed_key_is_refused() {
    for algorithm in BOTH {
        let relay = relay(2, algorithm);
        let mut hello = hello_of(&relay);
        *hello.key.as_mut().unwrap().signed_key.last_mut().unwrap() ^= 1;
        let error = answer(&hello, &relay.identity()).await;
        let bad = ClientHandshakeError::Key(SignedKeyError::BadSignature);
        assert_eq!(error.to_string(), bad.to_string());
        // Another key under the same signature.
        let mut hello = hello_of(&relay);
        hello.key.as_mut().unwrap().signed_key[30] ^= 1;
        let error = answer(&hello, &relay.identity()).await;
        assert_eq!(error.to_string(), bad.to_string());
    }
}

#[tokio::test]
async fn a_key_signed_with_another_key_or_algorithm_is_refused() {
    let root = authority(Ed25519, "root", 1);
    let relay = below(&root, Purpose::Relay, "relay");
    let mut hello = hello_of(&relay);
    hello.key.as_mut().unwrap().signed_key =
        hello_of(&self::relay(2, Ed448)).key.unwrap().signed_key;
    let error = answer(&hello, &relay.identity()).await;
    let Some(SignedKeyError::OtherAlgorithm) = key_error(error) else {
        panic!()
    };

    let of_root = TlsCredentials::new(root.chain().to_vec(), root.key().clone()).unwrap();
    hello.key.as_mut().unwrap().signed_key = hello_of(&of_root).key.unwrap().signed_key;
    let error = answer(&hello, &relay.identity()).await;
    let Some(SignedKeyError::BadSignature) = key_error(error) else {
        panic!()
    };

    hello.key.as_mut().unwrap().signed_key.truncate(60);
    let error = answer(&hello, &relay.identity()).await;
    let Some(SignedKeyError::Malformed) = key_error(error) else {
        panic!()
    };
}

fn key_error(error: ClientHandshakeError) -> Option<SignedKeyError> {
    match error {
        ClientHandshakeError::Key(error) => Some(error),
        _ => None,
    }
}

#[tokio::test]
async fn a_hello_with_a_chain_of_one_or_a_wrong_link_is_refused() {
    let alone = relay(1, Ed25519);
    let error = answer(&hello_of(&alone), &alone.identity()).await;
    let chain = key_error(error);
    assert!(matches!(
        chain,
        Some(SignedKeyError::Chain(ChainError::Count { count: 1 }))
    ));

    let victim = authority(Ed25519, "victim", 9);
    let mut hello = hello_of(&relay(2, Ed25519));
    let key = hello.key.as_mut().unwrap();
    let leaf = key.chain.leaf().to_vec();
    let chain = vec![leaf, victim.leaf().to_der().unwrap()];
    key.chain = smp_protocol::CertificateChain::new(chain).unwrap();
    let chain = key_error(answer(&hello, &victim.identity()).await);
    assert!(matches!(
        chain,
        Some(SignedKeyError::Chain(ChainError::BrokenLink {
            position: 0
        }))
    ));
}

#[tokio::test]
async fn an_expired_relay_is_refused_by_the_time_that_is_passed_in() {
    let relay = relay(2, Ed25519);
    let late = ClientHandshakeOptions {
        now: SystemTime::now() + Duration::from_secs(200 * 365 * 24 * 60 * 60),
        ..options()
    };
    let (client, _) = handshake(&relay, VersionRange::SUPPORTED, late).await;
    let chain = key_error(client.unwrap_err());
    assert!(matches!(
        chain,
        Some(SignedKeyError::Chain(ChainError::Expired { .. }))
    ));
}

#[tokio::test]
async fn a_block_that_is_no_hello_and_an_early_end_are_refused() {
    let identity = relay(2, Ed25519).identity();
    for (content, closed) in [(&b"\x00"[..], false), (b"", true)] {
        let (mut ours, mut theirs) = pair();
        if !closed {
            theirs
                .write_block(plain_block(content).unwrap())
                .await
                .unwrap();
        }
        drop(theirs);
        let id = session_id();
        let answer = client_handshake(&mut ours, &id, &identity, &options(), &mut rng()).await;
        match answer.unwrap_err() {
            ClientHandshakeError::Closed => assert!(closed),
            ClientHandshakeError::Parse(_) => assert!(!closed),
            error => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_refused_service_learns_why() {
    let (relay, service, stranger) = (relay(2, Ed25519), service(), authority(Ed25519, "x", 8));
    let (mut ours, mut theirs) = pair();
    let options = ClientHandshakeOptions {
        service: Some(ServiceOptions {
            role: ServiceRole::Notifier,
            credentials: &service,
        }),
        ..options()
    };
    let (id, identity) = (session_id(), relay.identity());
    let (mut our_rng, mut their_rng) = (rng(), rng());
    let (client, server) = tokio::join!(
        client_handshake(&mut ours, &id, &identity, &options, &mut our_rng),
        server_handshake(
            &mut theirs,
            &relay,
            &id,
            stranger.chain(),
            VersionRange::SUPPORTED,
            SystemTime::now(),
            &mut their_rng,
        )
    );
    assert!(matches!(server, Err(ServerHandshakeError::OtherService)));
    let refused = TransportError::Handshake(HandshakeError::BadService);
    match client {
        Err(ClientHandshakeError::ServiceRefused(error)) => assert_eq!(error, refused),
        other => panic!("{other:?}"),
    }
}

// --- What a relay refuses ------------------------------------------------------------------------

/// What our relay says to what `change` makes of an ordinary hello.
fn relays_answer(
    peer_chain: &[Certificate],
    change: impl FnOnce(&mut ClientHello),
) -> Result<ServerSession, ServerHandshakeError> {
    let relay = relay(2, Ed25519);
    let offered = versions(6, 19);
    let (handshake, _) =
        ServerHandshake::begin(&relay, &session_id(), offered, &mut rng()).unwrap();
    let mut hello = ClientHello {
        version: SmpVersion(19),
        key_hash: relay.identity(),
        client_key: Some(DhPrivateKey::generate(&mut rng()).public()),
        proxy: false,
        service: None,
    };
    change(&mut hello);
    handshake.finish(&hello.to_block().unwrap(), peer_chain, SystemTime::now())
}

#[test]
fn a_client_of_another_relay_is_refused() {
    let error = relays_answer(&[], |hello| hello.key_hash = Fingerprint([0; 32])).unwrap_err();
    assert!(matches!(error, ServerHandshakeError::Identity), "{error}");
    assert_eq!(error.reply(), None);
}

#[test]
fn a_client_of_a_version_that_was_not_offered_is_refused() {
    for version in [5, 20, 21] {
        let answer = relays_answer(&[], |hello| hello.version = SmpVersion(version));
        let error = answer.unwrap_err();
        assert!(matches!(error, ServerHandshakeError::Version), "{error}");
    }
}

#[test]
fn a_weak_client_key_is_refused() {
    let answer = relays_answer(&[], |hello| hello.client_key = Some(DhPublicKey([0; 32])));
    let error = answer.unwrap_err();
    assert!(matches!(error, ServerHandshakeError::WeakKey), "{error}");
}

#[test]
fn a_client_without_a_key_gets_a_session_without_encryption() {
    let session = relays_answer(&[], |hello| hello.client_key = None).unwrap();
    assert!(session.cipher.is_none() && session.secret.is_none());
    assert!(!session.params.block_encryption && session.key.is_some());
}

#[test]
fn a_service_with_a_bad_signature_is_refused_and_told_so() {
    let service = service();
    let key = AuthPrivateKey::generate(&mut rng(), smp_protocol::AuthKeyKind::Ed25519);
    let signed = smp_transport::sign_key(&service, &key.public().to_spki()).unwrap();
    let mut bad = signed.clone();
    *bad.signed_key.last_mut().unwrap() ^= 1;
    let x25519 = DhPrivateKey::generate(&mut rng()).public().to_spki();
    let of_x25519 = smp_transport::sign_key(&service, &x25519).unwrap();
    for (key, accepted) in [(signed, true), (bad, false), (of_x25519, false)] {
        let answer = relays_answer(service.chain(), |hello| {
            let role = ServiceRole::Messaging;
            hello.service = Some(smp_protocol::ClientService { role, key });
        });
        assert_eq!(answer.is_ok(), accepted);
        if let Err(error) = answer {
            assert!(matches!(error, ServerHandshakeError::Service(_)), "{error}");
            let refused = TransportError::Handshake(HandshakeError::BadService);
            assert_eq!(error.reply(), Some(ServiceReply::Refused(refused)));
        }
    }
}

#[test]
fn a_block_that_is_no_hello_is_refused() {
    let relay = relay(2, Ed25519);
    let (handshake, _) =
        ServerHandshake::begin(&relay, &session_id(), VersionRange::SUPPORTED, &mut rng()).unwrap();
    let block = plain_block(b"\x00\x13").unwrap();
    let error = handshake
        .finish(&block, &[], SystemTime::now())
        .unwrap_err();
    assert!(matches!(error, ServerHandshakeError::Parse(_)), "{error}");
}

// --- Recorded sessions ---------------------------------------------------------------------------

/// Gives the bytes that it was made of and then fails.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let given: Vec<u8> = self.0.drain(..bytes.len()).collect();
        bytes.copy_from_slice(&given);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// With what SimpleX's servers said and the same private key, our client says what theirs said.
#[tokio::test]
async fn recorded_handshakes_are_repeated_byte_for_byte() {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("vectors/hellos.json")).unwrap();
    let recorded = recorded["hellos"].as_array().unwrap();
    assert_eq!(recorded.len(), 25);
    for hello in recorded {
        let bytes = |field: &str| hello[field].as_str().map(from_hex);
        let (mut ours, mut theirs) = pair();
        let block = plain_block(&bytes("server_hello").unwrap()).unwrap();
        theirs.write_block(block).await.unwrap();
        let options = ClientHandshakeOptions {
            versions: versions(6, hello["version"].as_u64().unwrap() as u16),
            // Within the dates of the recorded certificates.
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            ..options()
        };
        let id = SessionId::new(&bytes("session_id").unwrap()).unwrap();
        let identity = Fingerprint(bytes("key_hash").unwrap().try_into().unwrap());
        let mut rng = Given(bytes("client_dh_private").unwrap_or_default());
        let session = client_handshake(&mut ours, &id, &identity, &options, &mut rng).await;
        let session = session.unwrap_or_else(|error| panic!("{}: {error}", hello["name"]));

        let block: Box<Block> = theirs.read_block().await.unwrap().unwrap();
        assert_eq!(
            plain_content(&block).unwrap(),
            bytes("client_hello").unwrap()
        );
        let relay_key = session.relay_key.as_ref();
        let key = relay_key.map(|relay_key| relay_key.key.as_bytes().to_vec());
        assert_eq!(key, bytes("server_dh_public"));
        assert_eq!(session.cipher.is_some(), bytes("dh_secret").is_some());
        if let Some(secret) = bytes("dh_secret") {
            assert_eq!(relay_key.unwrap().secret.as_bytes()[..], secret);
        }
    }
}
