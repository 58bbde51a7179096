//! TLS between our own sides, and with peers that break the rules, over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use openssl::ssl::{SslSession, SslSessionCacheMode, SslVerifyMode, SslVersion};
use smp_protocol::SignatureAlgorithm::{Ed448, Ed25519};
use smp_transport::{
    ChainError, ClientTls, ClientTlsOptions, Purpose, TlsCredentials, TlsError, Validity,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn both_sides_see_the_same_session_id_with_every_chain_and_algorithm() {
    for algorithm in BOTH {
        for length in 2..=4 {
            let credentials = relay(length, algorithm);
            let server = server_tls(credentials.clone());
            let (client, relay) = connected(&client_tls(), &server).await;
            assert_eq!(client.session_id(), relay.session_id());
            assert_eq!(client.session_id().as_bytes().len(), 32);
            assert!(client.has_alpn() && relay.has_alpn());
            assert_eq!(client.peer_chain(), credentials.chain());
            assert!(relay.peer_chain().is_empty());
        }
    }
}

#[tokio::test]
async fn two_connections_have_two_session_ids() {
    let server = server_tls(relay(2, Ed25519));
    let (one, _) = connected(&client_tls(), &server).await;
    let (other, _) = connected(&client_tls(), &server).await;
    assert_ne!(one.session_id(), other.session_id());
}

#[tokio::test]
async fn bytes_go_both_ways_until_one_side_closes() {
    let server = server_tls(relay(2, Ed448));
    let (mut client, mut relay) = connected(&client_tls(), &server).await;
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    relay.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    relay.write_all(b"pong").await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"pong");
    relay.shutdown().await.unwrap();
    assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
    // Without a word in TLS it is an end, too.
    drop(client);
    assert_eq!(relay.read(&mut bytes).await.unwrap(), 0);
}

// --- What a client refuses -----------------------------------------------------------------------

async fn refusal(chain: &[openssl::x509::X509], key: &TlsCredentials) -> TlsError {
    let server = foreign_server(chain, key, |_| {});
    let identity = smp_protocol::Fingerprint::of(&chain[1.min(chain.len() - 1)].to_der().unwrap());
    let client = client_tls();
    let (ours, theirs) = tcp().await;
    let (refused, _) = tokio::join!(
        client.connect(ours, &identity),
        foreign_accept(&server, theirs)
    );
    refused.err().unwrap()
}

fn chain_error(error: TlsError) -> ChainError {
    match error {
        TlsError::Chain(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_relay_with_another_fingerprint_is_refused() {
    let server = server_tls(relay(2, Ed448));
    let other = below(&authority(Ed448, "root", 2), Purpose::Relay, "relay");
    let client = client_tls();
    let (ours, theirs) = tcp().await;
    let identity = other.identity();
    let (refused, _) = tokio::join!(client.connect(ours, &identity), server.accept(theirs));
    let error = chain_error(refused.err().unwrap());
    assert!(matches!(error, ChainError::WrongFingerprint), "{error}");
}

#[tokio::test]
async fn a_chain_of_one_or_five_is_refused() {
    let alone = relay(1, Ed25519);
    let error = chain_error(refusal(&to_x509(alone.chain()), &alone).await);
    assert!(matches!(error, ChainError::Count { count: 1 }), "{error}");

    let four = relay(4, Ed25519);
    let mut five = to_x509(four.chain());
    five.push(five[3].clone());
    let error = chain_error(refusal(&five, &four).await);
    assert!(matches!(error, ChainError::Count { count: 5 }), "{error}");
}

#[tokio::test]
async fn a_certificate_of_the_right_fingerprint_that_signed_nothing_does_not_help() {
    let victim = authority(Ed25519, "victim", 2);
    let attacker = authority(Ed25519, "attacker", 3);
    let leaf = below(&attacker, Purpose::Relay, "relay");
    let [leaf_only, root] = [&leaf.chain()[0], &leaf.chain()[1]];
    let chain = to_x509(&[leaf_only.clone(), victim.leaf().clone(), root.clone()]);
    let error = chain_error(refusal(&chain, &leaf).await);
    assert!(
        matches!(error, ChainError::BrokenLink { position: 0 }),
        "{error}"
    );

    let chain = to_x509(&[leaf_only.clone(), victim.leaf().clone()]);
    let error = chain_error(refusal(&chain, &leaf).await);
    assert!(
        matches!(error, ChainError::BrokenLink { position: 0 }),
        "{error}"
    );
}

#[tokio::test]
async fn another_relay_hears_an_alert_and_sees_no_service() {
    let (credentials, service) = (relay(2, Ed25519), service());
    let server = foreign_server(&to_x509(credentials.chain()), &credentials, |context| {
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| panic!("a certificate came"));
    });
    let options = ClientTlsOptions {
        service: Some(&service),
        ..ClientTlsOptions::default()
    };
    let client = ClientTls::new(options).unwrap();
    let (ours, theirs) = tcp().await;
    let other = service.identity();
    let (refused, accepted) = tokio::join!(
        client.connect(ours, &other),
        foreign_accept(&server, theirs)
    );
    let error = chain_error(refused.err().unwrap());
    assert!(matches!(error, ChainError::WrongFingerprint), "{error}");
    let alert = accepted.err().unwrap().to_string();
    assert!(alert.contains("alert"), "{alert}");
}

#[tokio::test]
async fn an_expired_relay_is_refused() {
    let root = authority(Ed25519, "root", 1);
    let past = Validity::from_now(std::time::UNIX_EPOCH, 1);
    let expired = root
        .issue(Purpose::Relay, "relay", past, Ed25519, &mut rng())
        .unwrap();
    let error = chain_error(refusal(&to_x509(expired.chain()), &expired).await);
    assert!(
        matches!(error, ChainError::Expired { position: 0 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_relay_that_does_not_confirm_smp_is_refused() {
    let credentials = relay(2, Ed25519);
    let server = foreign_server(&to_x509(credentials.chain()), &credentials, |context| {
        context.set_alpn_select_callback(|_, _| Err(openssl::ssl::AlpnError::NOACK));
    });
    let client = client_tls();
    let (ours, theirs) = tcp().await;
    let identity = credentials.identity();
    let (refused, _) = tokio::join!(
        client.connect(ours, &identity),
        foreign_accept(&server, theirs)
    );
    let error = refused.err().unwrap();
    assert!(matches!(error, TlsError::NoAlpn), "{error}");
}

#[tokio::test]
async fn a_relay_of_tls_1_2_or_with_other_ciphers_is_refused() {
    let credentials = relay(2, Ed25519);
    let chain = to_x509(credentials.chain());
    let identity = credentials.identity();
    let old = foreign_server(&chain, &credentials, |context| {
        context
            .set_max_proto_version(Some(SslVersion::TLS1_2))
            .unwrap();
    });
    let client = client_tls();
    let (ours, theirs) = tcp().await;
    let (refused, _) = tokio::join!(
        client.connect(ours, &identity),
        foreign_accept(&old, theirs)
    );
    let error = refused.err().unwrap();
    assert!(matches!(error, TlsError::Version), "{error}");

    let aes = foreign_server(&chain, &credentials, |context| {
        context.set_ciphersuites("TLS_AES_256_GCM_SHA384").unwrap();
    });
    let (ours, theirs) = tcp().await;
    let (refused, _) = tokio::join!(
        client.connect(ours, &identity),
        foreign_accept(&aes, theirs)
    );
    let error = refused.err().unwrap();
    assert!(matches!(error, TlsError::Alert(40)), "{error}");
}

#[tokio::test]
async fn a_peer_that_closes_is_named_so() {
    let credentials = relay(2, Ed25519);
    let (ours, theirs) = tcp().await;
    drop(theirs);
    let refused = client_tls().connect(ours, &credentials.identity()).await;
    let error = refused.err().unwrap();
    assert!(
        matches!(error, TlsError::Closed | TlsError::Io(_)),
        "{error}"
    );
    let (ours, theirs) = tcp().await;
    drop(ours);
    let error = server_tls(credentials).accept(theirs).await.err().unwrap();
    assert!(matches!(error, TlsError::Closed), "{error}");
}

// --- What a relay refuses ------------------------------------------------------------------------

async fn refused_client(
    change: impl FnOnce(&mut openssl::ssl::SslContextBuilder),
) -> Result<smp_transport::TlsStream<tokio::net::TcpStream>, TlsError> {
    let context = foreign_client(change);
    let server = server_tls(relay(2, Ed25519));
    let (ours, theirs) = tcp().await;
    let (_ours, accepted) = tokio::join!(foreign_connect(&context, ours), server.accept(theirs));
    accepted.map(|accepted| smp(accepted).stream)
}

#[tokio::test]
async fn a_client_as_others_write_it_is_let_in() {
    assert!(refused_client(|_| {}).await.unwrap().has_alpn());
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let refused = refused_client(|context| {
        context
            .set_max_proto_version(Some(SslVersion::TLS1_2))
            .unwrap();
    });
    let error = refused.await.err().unwrap();
    assert!(matches!(error, TlsError::Version), "{error}");
}

#[tokio::test]
async fn a_client_with_another_cipher_is_refused() {
    let refused = refused_client(|context| {
        context
            .set_ciphersuites("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")
            .unwrap();
    });
    let error = refused.await.err().unwrap();
    assert!(matches!(error, TlsError::Cipher), "{error}");
}

#[tokio::test]
async fn a_client_with_another_key_exchange_is_refused_but_x448_is_taken() {
    let p256 = refused_client(|context| context.set_groups_list("P-256").unwrap());
    let error = p256.await.err().unwrap();
    assert!(matches!(error, TlsError::KeyExchange), "{error}");
    let x448 = refused_client(|context| context.set_groups_list("X448").unwrap());
    assert!(x448.await.is_ok());
}

#[tokio::test]
async fn a_client_that_cannot_verify_the_relays_signature_is_refused() {
    let refused = refused_client(|context| context.set_sigalgs_list("ECDSA+SHA256").unwrap());
    let error = refused.await.err().unwrap();
    assert!(matches!(error, TlsError::Signature), "{error}");
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    for offered in [&b"\x05smp/2"[..], b"\x02h2\x08http/1.1"] {
        let refused = refused_client(|context| context.set_alpn_protos(offered).unwrap());
        let error = refused.await.err().unwrap();
        assert!(matches!(error, TlsError::OtherProtocol), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_refused() {
    let server = server_tls(relay(2, Ed25519));
    for words in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0; 32],
    ] {
        let (mut ours, theirs) = tcp().await;
        ours.write_all(words).await.unwrap();
        let error = server.accept(theirs).await.err().unwrap();
        assert!(matches!(error, TlsError::Version), "{error}");
    }
}

#[tokio::test]
async fn a_client_without_alpn_is_let_in_for_version_6() {
    let server = server_tls(relay(2, Ed448));
    let legacy = ClientTlsOptions {
        legacy: true,
        ..ClientTlsOptions::default()
    };
    let (client, relay) = connected(&ClientTls::new(legacy).unwrap(), &server).await;
    assert!(!client.has_alpn() && !relay.has_alpn());
    assert_eq!(client.session_id(), relay.session_id());
}

// --- Services ------------------------------------------------------------------------------------

#[tokio::test]
async fn a_service_shows_its_certificates() {
    let server = server_tls(relay(2, Ed448));
    let service = service();
    let root = authority(Ed25519, "service root", 5);
    let signed = below(&root, Purpose::Service, "signed service");
    for credentials in [service, signed] {
        let options = ClientTlsOptions {
            service: Some(&credentials),
            ..ClientTlsOptions::default()
        };
        let (_client, relay) = connected(&ClientTls::new(options).unwrap(), &server).await;
        assert_eq!(relay.peer_chain(), credentials.chain());
    }
}

#[tokio::test]
async fn a_service_with_too_long_a_chain_is_refused() {
    let root = authority(Ed25519, "root", 1);
    let mut four = root;
    for name in ["a", "b", "c"] {
        four = below(&four, Purpose::Authority, name);
    }
    let (certificate, key) = sign_by_hand(&four, "service", None);
    let server = server_tls(relay(2, Ed25519));
    let context = foreign_client(|context| {
        context.set_certificate(&certificate).unwrap();
        for certificate in to_x509(four.chain()) {
            context.add_extra_chain_cert(certificate).unwrap();
        }
        context.set_private_key(&key).unwrap();
    });
    let (ours, theirs) = tcp().await;
    let (_ours, accepted) = tokio::join!(foreign_connect(&context, ours), server.accept(theirs));
    assert!(matches!(
        accepted.err().unwrap(),
        TlsError::ClientCertificate
    ));
}

// --- Over time -----------------------------------------------------------------------------------

#[tokio::test]
async fn no_ticket_to_resume_a_session_is_given() {
    let server = server_tls(relay(2, Ed25519));
    let tickets = Arc::new(Mutex::new(Vec::<SslSession>::new()));
    let taken = tickets.clone();
    let context = foreign_client(move |context| {
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT);
        context.set_new_session_callback(move |_, session| taken.lock().unwrap().push(session));
    });
    let (ours, theirs) = tcp().await;
    let (first, accepted) = tokio::join!(foreign_connect(&context, ours), server.accept(theirs));
    let (mut first, mut relay) = (first.unwrap(), smp(accepted.unwrap()).stream);
    // A ticket would come before this.
    relay.write_all(b"x").await.unwrap();
    first.read_u8().await.unwrap();
    assert!(tickets.lock().unwrap().is_empty());
}

#[tokio::test]
async fn certificates_are_reloaded_while_connections_stay() {
    let (old, new) = (relay(2, Ed25519), relay(3, Ed448));
    let server = server_tls(old.clone());
    let (mut client, mut relay) = connected(&client_tls(), &server).await;
    server.reload(Arc::new(new.clone()), None).unwrap();
    let (second, _) = connected(&client_tls(), &server).await;
    assert_eq!(second.peer_chain(), new.chain());
    client.write_all(b"x").await.unwrap();
    assert_eq!(relay.read_u8().await.unwrap(), b'x');
    assert_eq!(client.peer_chain(), old.chain());
}
