//! Browsers on the relay's port: which certificate they get, and WebSocket through TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use common::*;
use futures_util::{SinkExt, StreamExt};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslContextBuilder};
use openssl::x509::{X509, X509Name};
use smp_protocol::SignatureAlgorithm::Ed448;
use smp_protocol::{
    Block, BlockCipher, ClientHello, DhPrivateKey, DhSecret, ServerHello, SessionId, VersionRange,
};
use smp_transport::{
    Accepted, BlockIo, ServerTls, TlsCredentials, TlsError, WebCredentials, WebSocketBlocks,
    server_handshake, verify_relay_key,
};
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio_openssl::SslStream;
use tokio_tungstenite::tungstenite::Message;

fn web_credentials(key: &PKey<Private>) -> (WebCredentials, X509) {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "relay.example").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let (begin, end) = (
        openssl::asn1::Asn1Time::days_from_now(0).unwrap(),
        openssl::asn1::Asn1Time::days_from_now(9).unwrap(),
    );
    builder.set_not_before(&begin).unwrap();
    builder.set_not_after(&end).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    let (chain, key) = (
        certificate.to_pem().unwrap(),
        key.private_key_to_pem_pkcs8().unwrap(),
    );
    (WebCredentials::from_pem(&chain, &key).unwrap(), certificate)
}

fn ecdsa() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A relay with a web certificate.
struct Relay {
    tls: ServerTls,
    credentials: TlsCredentials,
    web_certificate: X509,
}

fn relay_with_web(key: &PKey<Private>) -> Relay {
    let (web, web_certificate) = web_credentials(key);
    let credentials = relay(2, Ed448);
    Relay {
        tls: ServerTls::new(Arc::new(credentials.clone()), Some(&web)).unwrap(),
        credentials,
        web_certificate,
    }
}

/// A client with this server name and these protocols.
async fn come<S: AsyncRead + AsyncWrite + Unpin>(
    name: Option<&str>,
    protocols: &[u8],
    change: impl FnOnce(&mut SslContextBuilder),
    stream: S,
) -> Result<SslStream<S>, openssl::ssl::Error> {
    let context = foreign_client(|context| {
        context.set_alpn_protos(protocols).unwrap();
        change(context);
    });
    let mut ssl = Ssl::new(&context).unwrap();
    if let Some(name) = name {
        ssl.set_hostname(name).unwrap();
    }
    let mut stream = SslStream::new(ssl, stream).unwrap();
    Pin::new(&mut stream).connect().await?;
    Ok(stream)
}

const BROWSER: &[u8] = b"\x02h2\x08http/1.1";

#[tokio::test]
async fn the_name_and_the_protocol_of_a_client_choose_the_certificate() {
    let relay = relay_with_web(&ecdsa());
    let smp_certificate = to_x509(relay.credentials.chain())[0].clone();
    let name = Some("relay.example");
    for (name, protocols, is_web) in [
        (None, &b"\x05smp/1"[..], false),
        (None, b"", false),
        (name, BROWSER, true),
        (name, b"", true),
        // A browser that was given an address sends no name.
        (None, BROWSER, true),
        // A client of the relay that is used to send names.
        (name, b"\x05smp/1", false),
        (name, b"\x08http/1.1\x05smp/1", false),
    ] {
        let (ours, theirs) = tcp().await;
        let (client, accepted) = tokio::join!(
            come(name, protocols, |_| {}, ours),
            relay.tls.accept(theirs)
        );
        let (client, accepted) = (client.unwrap(), accepted.unwrap());
        let certificate = client.ssl().peer_certificate().unwrap();
        assert!(
            matches!(accepted, Accepted::Web(_)) == is_web,
            "{name:?} {protocols:?}"
        );
        assert!(
            certificate
                == if is_web {
                    relay.web_certificate.clone()
                } else {
                    smp_certificate.clone()
                }
        );
        let alpn = client.ssl().selected_alpn_protocol();
        let expected: Option<&[u8]> = match (protocols.is_empty(), is_web) {
            (true, _) => None,
            (false, true) => Some(b"http/1.1"),
            (false, false) => Some(b"smp/1"),
        };
        assert_eq!(alpn, expected);
    }
}

#[tokio::test]
async fn web_certificates_may_have_keys_of_any_kind() {
    for key in [
        ecdsa(),
        PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    ] {
        let relay = relay_with_web(&key);
        let (ours, theirs) = tcp().await;
        let client = come(Some("relay.example"), BROWSER, |_| {}, ours);
        let (client, accepted) = tokio::join!(client, relay.tls.accept(theirs));
        web(accepted.unwrap());
        assert!(client.unwrap().ssl().peer_certificate().unwrap() == relay.web_certificate);
    }
}

#[tokio::test]
async fn a_session_id_of_48_bytes_is_seen_by_both_sides() {
    let relay = relay_with_web(&ecdsa());
    let (ours, theirs) = tcp().await;
    let aes = |context: &mut SslContextBuilder| {
        context.set_ciphersuites("TLS_AES_256_GCM_SHA384").unwrap();
    };
    let client = come(Some("relay.example"), BROWSER, aes, ours);
    let (client, accepted) = tokio::join!(client, relay.tls.accept(theirs));
    let (client, accepted) = (client.unwrap(), web(accepted.unwrap()));
    let mut finished = [0; 64];
    let length = client.ssl().finished(&mut finished);
    assert_eq!(length, 48);
    assert_eq!(accepted.stream.session_id().as_bytes(), &finished[..length]);
}

#[tokio::test]
async fn a_browser_is_not_asked_for_a_certificate() {
    let relay = relay_with_web(&ecdsa());
    let service = service();
    let show = |context: &mut SslContextBuilder| {
        context
            .set_certificate(&to_x509(service.chain())[0])
            .unwrap();
        let key = service.key().to_pem().unwrap();
        let key = PKey::private_key_from_pem(&key).unwrap();
        context.set_private_key(&key).unwrap();
    };
    for (protocols, certificates) in [(BROWSER, 0), (b"\x05smp/1", 1)] {
        let (ours, theirs) = tcp().await;
        let client = come(None, protocols, show, ours);
        let (_client, accepted) = tokio::join!(client, relay.tls.accept(theirs));
        let (Accepted::Web(connection) | Accepted::Smp(connection)) = accepted.unwrap();
        assert_eq!(connection.stream.peer_chain().len(), certificates);
    }
}

#[tokio::test]
async fn clients_of_the_relay_are_held_to_its_rules_beside_a_web_certificate() {
    let relay = relay_with_web(&ecdsa());
    let aes = |context: &mut SslContextBuilder| {
        context.set_ciphersuites("TLS_AES_128_GCM_SHA256").unwrap();
    };
    let (ours, theirs) = tcp().await;
    let client = come(None, b"\x05smp/1", aes, ours);
    let (_client, accepted) = tokio::join!(client, relay.tls.accept(theirs));
    let error = accepted.err().unwrap();
    assert!(matches!(error, TlsError::Cipher), "{error}");
    let (client, accepted) = connect(&client_tls(), &relay.tls).await;
    assert_eq!(
        client.unwrap().session_id(),
        smp(accepted.unwrap()).stream.session_id()
    );
}

#[tokio::test]
async fn the_first_message_may_come_in_pieces() {
    let relay = relay_with_web(&ecdsa());
    for (protocols, is_web) in [(BROWSER, true), (&b"\x05smp/1"[..], false)] {
        for room in [1, 5, 100] {
            let (ours, theirs) = duplex(room);
            let client = come(Some("relay.example"), protocols, |_| {}, ours);
            let (_client, accepted) = tokio::join!(client, relay.tls.accept(theirs));
            assert!(matches!(accepted.unwrap(), Accepted::Web(_)) == is_web);
        }
    }
}

#[tokio::test]
async fn the_web_certificate_is_reloaded_too() {
    let relay = relay_with_web(&ecdsa());
    let (web, new) = web_credentials(&ecdsa());
    let credentials = Arc::new(relay.credentials.clone());
    relay.tls.reload(credentials.clone(), Some(&web)).unwrap();
    let (ours, theirs) = tcp().await;
    let (client, _accepted) =
        tokio::join!(come(None, BROWSER, |_| {}, ours), relay.tls.accept(theirs));
    assert!(client.unwrap().ssl().peer_certificate().unwrap() == new);

    relay.tls.reload(credentials, None).unwrap();
    let (ours, theirs) = tcp().await;
    let (_client, accepted) =
        tokio::join!(come(None, BROWSER, |_| {}, ours), relay.tls.accept(theirs));
    assert!(matches!(accepted, Err(TlsError::OtherProtocol)));
}

/// A browser cannot see the session id of TLS, so it takes the relay's word for it, and the
/// relay's key for the relay.
#[tokio::test]
async fn a_browser_begins_a_session_over_a_web_socket() {
    let relay = relay_with_web(&ecdsa());
    let identity = relay.credentials.identity();
    let (ours, theirs) = tcp().await;
    let browser = async {
        let stream = come(Some("localhost"), BROWSER, |_| {}, ours)
            .await
            .unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/", stream)
            .await
            .unwrap();
        let hello = socket.next().await.unwrap().unwrap().into_data();
        let hello: Box<Block> = hello.to_vec().into_boxed_slice().try_into().unwrap();
        let hello = ServerHello::from_block(&hello).unwrap();
        let key = verify_relay_key(&hello.key.unwrap(), &identity, SystemTime::now()).unwrap();
        let private = DhPrivateKey::generate(&mut rng());
        let answer = ClientHello {
            version: hello.versions.max(),
            key_hash: identity,
            client_key: Some(private.public()),
            proxy: false,
            service: None,
        };
        let answer = Message::binary(answer.to_block().unwrap().to_vec());
        socket.send(answer).await.unwrap();
        let secret = DhSecret::agree(&private, &key).unwrap();
        let mut cipher = BlockCipher::client(&hello.session_id, &secret);
        let block = cipher.seal(b"ping").unwrap();
        socket.send(Message::binary(block.to_vec())).await.unwrap();
        hello.session_id
    };
    let relay = async {
        let connection = web(relay.tls.accept(theirs).await.unwrap());
        let session_id: SessionId = connection.stream.session_id().clone();
        let mut io = WebSocketBlocks::accept(connection.stream).await.unwrap();
        let mut rng = rng();
        let session = server_handshake(
            &mut io,
            &connection.credentials,
            &session_id,
            &[],
            VersionRange::SUPPORTED,
            SystemTime::now(),
            &mut rng,
        );
        let mut session = session.await.unwrap();
        let mut block = io.read_block().await.unwrap().unwrap();
        let cipher = session.cipher.as_mut().unwrap();
        assert_eq!(cipher.open(&mut block).unwrap(), b"ping");
        session_id
    };
    let (theirs, ours) = tokio::join!(browser, relay);
    assert_eq!(theirs, ours);
}
