//! Whole sessions: TLS over loopback, blocks on it, the handshake, and a block each way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::SystemTime;

use common::*;
use smp_protocol::SignatureAlgorithm::{Ed448, Ed25519};
use smp_protocol::{
    ServiceId, ServiceReply, ServiceRole, SessionId, SmpVersion, VersionRange, plain_block,
    plain_content,
};
use smp_transport::{
    BlockIo, BlockStream, ClientHandshakeError, ClientHandshakeOptions, ClientSession, ClientTls,
    ClientTlsOptions, ServerHandshakeError, ServerSession, ServerTls, ServiceOptions, TlsStream,
    client_handshake, server_handshake,
};
use tokio::net::TcpStream;

type Io = BlockStream<TlsStream<TcpStream>>;

fn options<'a>() -> ClientHandshakeOptions<'a> {
    ClientHandshakeOptions {
        versions: VersionRange::SUPPORTED,
        proxy: false,
        service: None,
        now: SystemTime::now(),
    }
}

/// The relay's side of a session; `session_id` replaces that of TLS.
async fn relays_side(
    server: &ServerTls,
    stream: TcpStream,
    session_id: Option<SessionId>,
) -> (Io, Result<ServerSession, ServerHandshakeError>) {
    let connection = smp(server.accept(stream).await.unwrap());
    let tls = connection.stream;
    let session_id = session_id.unwrap_or_else(|| tls.session_id().clone());
    let peer_chain = tls.peer_chain();
    let versions = if tls.has_alpn() {
        VersionRange::SUPPORTED
    } else {
        VersionRange::LEGACY
    };
    let mut io = BlockStream::new(tls);
    let session = server_handshake(
        &mut io,
        &connection.credentials,
        &session_id,
        &peer_chain,
        versions,
        SystemTime::now(),
        &mut rng(),
    )
    .await;
    if let Ok(session) = &session
        && session.service.is_some()
    {
        let reply = ServiceReply::Accepted(ServiceId::new(b"id").unwrap());
        io.write_block(reply.to_block().unwrap()).await.unwrap();
    }
    (io, session)
}

async fn clients_side(
    client: &ClientTls,
    server: &ServerTls,
    stream: TcpStream,
    options: &ClientHandshakeOptions<'_>,
) -> (Io, Result<ClientSession, ClientHandshakeError>) {
    let identity = server.credentials().identity();
    let tls = client.connect(stream, &identity).await.unwrap();
    let session_id = tls.session_id().clone();
    let mut io = BlockStream::new(tls);
    let session = client_handshake(&mut io, &session_id, &identity, options, &mut rng()).await;
    (io, session)
}

#[tokio::test]
async fn encrypted_blocks_go_both_ways_in_a_session() {
    for (length, algorithm) in [(2, Ed448), (3, Ed25519), (4, Ed448)] {
        let server = server_tls(relay(length, algorithm));
        let (ours, theirs) = tcp().await;
        let (client, options) = (client_tls(), options());
        let ((mut ours, client), (mut theirs, relay)) = tokio::join!(
            clients_side(&client, &server, ours, &options),
            relays_side(&server, theirs, None)
        );
        let (mut client, mut relay) = (client.unwrap(), relay.unwrap());
        assert_eq!(client.params.version, SmpVersion::NAMES);
        let (here, there) = (
            client.cipher.as_mut().unwrap(),
            relay.cipher.as_mut().unwrap(),
        );
        ours.write_block(here.seal(b"ping").unwrap()).await.unwrap();
        let mut block = theirs.read_block().await.unwrap().unwrap();
        assert_eq!(there.open(&mut block).unwrap(), b"ping");
        theirs
            .write_block(there.seal(b"pong").unwrap())
            .await
            .unwrap();
        theirs.close().await.unwrap();
        let mut block = ours.read_block().await.unwrap().unwrap();
        assert_eq!(here.open(&mut block).unwrap(), b"pong");
        assert!(ours.read_block().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn many_blocks_at_once_go_both_ways() {
    async fn exchange(io: &mut Io) {
        for number in 0..200 {
            io.queue(plain_block(&[number]).unwrap());
        }
        for number in 0..200 {
            let block = io.read_block().await.unwrap().unwrap();
            assert_eq!(plain_content(&block).unwrap(), [number]);
            io.recycle(block);
        }
        io.flush().await.unwrap();
    }
    let server = server_tls(relay(2, Ed25519));
    let (client, relay) = connected(&client_tls(), &server).await;
    let (mut client, mut relay) = (BlockStream::new(client), BlockStream::new(relay));
    tokio::join!(exchange(&mut client), exchange(&mut relay));
}

#[tokio::test]
async fn a_hello_with_the_session_id_of_another_connection_is_refused() {
    let server = server_tls(relay(2, Ed25519));
    let (ours, theirs) = tcp().await;
    let (client, options) = (client_tls(), options());
    let other = SessionId::new(&[1; 32]).unwrap();
    let client = async {
        let (io, session) = clients_side(&client, &server, ours, &options).await;
        drop(io);
        session
    };
    let (client, (_, relay)) = tokio::join!(client, relays_side(&server, theirs, Some(other)));
    assert!(matches!(client, Err(ClientHandshakeError::OtherSession)));
    assert!(matches!(
        relay,
        Err(ServerHandshakeError::Closed | ServerHandshakeError::Io(_))
    ));
}

#[tokio::test]
async fn a_client_without_alpn_gets_a_session_of_version_6() {
    let server = server_tls(relay(2, Ed25519));
    let legacy = ClientTlsOptions {
        legacy: true,
        ..ClientTlsOptions::default()
    };
    let (ours, theirs) = tcp().await;
    let (client, options) = (ClientTls::new(legacy).unwrap(), options());
    let ((_, client), (_, relay)) = tokio::join!(
        clients_side(&client, &server, ours, &options),
        relays_side(&server, theirs, None)
    );
    let (client, relay) = (client.unwrap(), relay.unwrap());
    assert_eq!(client.params.version, SmpVersion::CREATE_ONLY);
    assert!(client.cipher.is_none() && relay.cipher.is_none());
}

#[tokio::test]
async fn a_service_is_known_by_the_certificates_of_tls() {
    let server = server_tls(relay(2, Ed448));
    let (shown, other) = (service(), relay(1, Ed25519));
    let client = ClientTlsOptions {
        service: Some(&shown),
        ..ClientTlsOptions::default()
    };
    let client = ClientTls::new(client).unwrap();
    for (credentials, accepted) in [(&shown, true), (&other, false)] {
        let options = ClientHandshakeOptions {
            service: Some(ServiceOptions {
                role: ServiceRole::Messaging,
                credentials,
            }),
            ..options()
        };
        let (ours, theirs) = tcp().await;
        let ((_, client), (_, relay)) = tokio::join!(
            clients_side(&client, &server, ours, &options),
            relays_side(&server, theirs, None)
        );
        assert_eq!((client.is_ok(), relay.is_ok()), (accepted, accepted));
        if let Ok(relay) = relay {
            assert_eq!(relay.service.unwrap().fingerprint, shown.identity());
        }
    }
}
