//! Browsers: WebSocket on the relay's port, under a web certificate.

use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509Name};
use smp_client::{Events, Link, Session, SessionOptions};
use smp_protocol::{
    BLOCK_SIZE, ClientHello, DhPrivateKey, ServerAddress, ServerHello, SessionId, SmpVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Bystander, Folder, PATIENCE, Relay, Signal, connect, until};

type Socket = WebSocketStream<SslStream<TcpStream>>;

/// Writes a web certificate and its key; returns the certificate.
fn write_web_certificate(folder: &Path) -> X509 {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "relay.example").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(9).unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    std::fs::write(folder.join("web.pem"), certificate.to_pem().unwrap()).unwrap();
    std::fs::write(
        folder.join("web.key"),
        key.private_key_to_pem_pkcs8().unwrap(),
    )
    .unwrap();
    certificate
}

/// A relay for browsers too.
async fn relay_with(lines: &str) -> (Folder, Relay) {
    let folder = Folder::new(lines).await;
    enable(&folder);
    let relay = folder.start().await;
    (folder, relay)
}

/// Lets browsers in from the next start on.
pub(crate) fn enable(folder: &Folder) {
    write_web_certificate(folder.path());
    let (certificate, key) = (folder.path().join("web.pem"), folder.path().join("web.key"));
    folder.configure(&format!(
        "web.certificate = {certificate:?}\nweb.key = {key:?}"
    ));
}

/// TLS as a browser makes it.
async fn https(port: u16) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    context.set_alpn_protos(b"\x02h2\x08http/1.1").unwrap();
    let mut ssl = Ssl::new(&context.build()).unwrap();
    ssl.set_hostname("relay.example").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut stream = SslStream::new(ssl, stream).unwrap();
    Pin::new(&mut stream).connect().await?;
    Ok(stream)
}

async fn web_socket(port: u16) -> Socket {
    let stream = https(port).await.unwrap();
    let opened = tokio_tungstenite::client_async("wss://relay.example/", stream);
    timeout(PATIENCE, opened)
        .await
        .expect("no WebSocket")
        .unwrap()
        .0
}

/// A browser's session.
pub(crate) async fn browse(address: &ServerAddress) -> (Session, Events) {
    let socket = web_socket(address.relay.port_or_default()).await;
    let mut finished = [0; 64];
    let length = socket.get_ref().ssl().finished(&mut finished);
    let (ours, theirs) = tokio::io::duplex(4 * BLOCK_SIZE);
    tokio::spawn(carry(socket, theirs));
    let link = Link {
        stream: Box::new(ours),
        session_id: SessionId::new(&finished[..length]).unwrap(),
    };
    let options = SessionOptions::default();
    let session = Session::over(link, address, &options);
    timeout(PATIENCE, session)
        .await
        .expect("no session")
        .unwrap()
}

/// Carries blocks between a client and its WebSocket, each in a message of its own.
async fn carry(mut socket: Socket, mut client: DuplexStream) {
    let mut block = vec![0; BLOCK_SIZE];
    let mut filled = 0;
    loop {
        tokio::select! {
            read = client.read(&mut block[filled..]) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    filled += count;
                    if filled == BLOCK_SIZE {
                        filled = 0;
                        let message = Message::binary(block.clone());
                        if socket.send(message).await.is_err() {
                            break;
                        }
                    }
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    assert_eq!(bytes.len(), BLOCK_SIZE);
                    if client.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => break,
            },
        }
    }
}

#[tokio::test]
async fn a_browser_and_another_client_talk() {
    let (_folder, relay) = relay_with("").await;
    let address = &relay.address;
    let mut browsers = Bystander::between(browse(address).await, browse(address).await).await;
    browsers.exchange().await;
    let mut to_browser = Bystander::between(browse(address).await, connect(address).await).await;
    to_browser.exchange().await;
    let mut from_browser = Bystander::between(connect(address).await, browse(address).await).await;
    from_browser.exchange().await;
    Bystander::of(address).await;
}

#[tokio::test]
async fn without_a_web_certificate_there_is_no_web() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    assert!(https(relay.port).await.is_err());
    Bystander::of(&relay.address).await;
}

#[tokio::test]
async fn a_hang_up_makes_the_relay_take_the_renewed_web_certificate() {
    let (folder, relay) = relay_with("").await;
    let (session, _events) = browse(&relay.address).await;
    let renewed = write_web_certificate(folder.path());
    relay.signal(Signal::HUP);
    until("the renewed certificate is shown", async || {
        let stream = https(relay.port).await.unwrap();
        stream.ssl().peer_certificate().unwrap() == renewed
    })
    .await;
    session.ping().await.unwrap();
    browse(&relay.address).await;
}

/// Whether the relay closes it, with or without the words of WebSocket.
async fn is_closed(mut socket: Socket) -> bool {
    let ends = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    timeout(PATIENCE, ends).await.is_ok()
}

#[tokio::test]
async fn what_is_no_block_closes_the_connection() {
    let (_folder, relay) = relay_with("").await;
    let mut bystander = Bystander::of(&relay.address).await;
    for message in [
        Message::text("hello"),
        Message::binary(vec![0; BLOCK_SIZE - 1]),
        Message::binary(vec![0; BLOCK_SIZE + 1]),
        Message::binary(vec![0; BLOCK_SIZE]),
        Message::binary(vec![]),
        Message::Close(None),
    ] {
        let mut socket = web_socket(relay.port).await;
        let hello = timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(hello.is_binary() && hello.len() == BLOCK_SIZE);
        socket.send(message).await.unwrap();
        assert!(is_closed(socket).await);
        bystander.exchange().await;
    }
}

/// What a relay says to bytes of HTTP, until it closes the connection.
async fn http(relay: &Relay, bytes: &[u8]) -> String {
    let mut stream = https(relay.port).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // The end may be an error: what was not read is lost with the connection.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("it stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_is_no_web_socket_closes_the_connection() {
    let (_folder, relay) = relay_with("limits.handshake_seconds = 1").await;
    let mut bystander = Bystander::of(&relay.address).await;
    let before = relay.memory();
    let endless = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 4 << 20]].concat();
    for request in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"\r\n\r\n",
        b"\0\0\0\0",
        &endless,
    ] {
        let mut stream = https(relay.port).await.unwrap();
        // The relay may have enough before the end of it.
        let _ = timeout(PATIENCE, stream.write_all(request))
            .await
            .expect("it stays open");
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("it stays open");
        assert!(!answer.starts_with(b"HTTP/1.1 1") && !answer.starts_with(b"HTTP/1.1 2"));
        bystander.exchange().await;
    }
    let growth = relay.memory().saturating_sub(before);
    assert!(growth < 4 << 20, "{growth}");
}

#[tokio::test]
async fn a_slow_request_ends_with_the_time_for_the_handshake() {
    let (_folder, relay) = relay_with("limits.handshake_seconds = 1").await;
    let began = Instant::now();
    let answer = http(&relay, b"GET / HTTP/1.1\r\nupgrade: web").await;
    assert_eq!(answer, "");
    let elapsed = began.elapsed();
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

/// A frame whose head says that it has 2^63 bytes.
#[tokio::test]
async fn a_frame_that_claims_to_be_endless_closes_the_connection() {
    let (_folder, relay) = relay_with("").await;
    let socket = web_socket(relay.port).await;
    let before = relay.memory();
    let mut stream = socket.into_inner();
    let head = [
        &[0x82, 0xff][..],
        &(1_u64 << 63).to_be_bytes(),
        &[0; 4],
        &[0; 1000],
    ]
    .concat();
    stream.write_all(&head).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("it stays open");
    let growth = relay.memory().saturating_sub(before);
    assert!(growth < 1 << 20, "{growth}");
}

/// Bytes of a frame that says that a block follows (RFC 6455, section 5.2).
const HEAD: [u8; 8] = [0x82, 0x80 | 126, 0x40, 0, 1, 2, 3, 4];

#[tokio::test]
async fn a_browser_that_began_a_block_must_finish_it() {
    let (folder, relay) = relay_with("limits.block_seconds = 1").await;
    let mut bystander = Bystander::of(&relay.address).await;
    let slow = async {
        let begun = [&HEAD[..], &[7; 200]].concat();
        let head = cut_off(relay.port, &HEAD[..1]);
        let content = cut_off(relay.port, &begun);
        // The first frame of a message, whole.
        let fragment = cut_off(relay.port, &[0x02, 0x80 | 1, 1, 2, 3, 4, 7]);
        let ping = cut_off(relay.port, &[0x89, 0x80 | 9, 1, 2, 3, 4, 7]);
        let (a, b, c, d) = tokio::join!(head, content, fragment, ping);
        [a, b, c, d]
    };
    let (times, _) = bystander.exchange_during(Box::pin(slow)).await;
    let (least, most) = (Duration::from_millis(800), Duration::from_secs(10));
    assert!(
        times.iter().all(|time| *time > least && *time < most),
        "{times:?}"
    );
    assert_eq!(folder.stats().await["slow_connections"], 4);
}

#[tokio::test]
async fn a_browser_that_says_nothing_or_pings_stays() {
    let (folder, relay) = relay_with("limits.block_seconds = 1").await;
    let (session, _events) = browse(&relay.address).await;
    let mut bystander = Bystander::of(&relay.address).await;
    let mut socket = shaken(relay.port).await;
    let idle = async {
        for _ in 0..30 {
            let ping = Message::Ping(vec![7; 100].into());
            socket.send(ping).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    bystander.exchange_during(idle).await;
    session.ping().await.unwrap();
    assert_eq!(folder.stats().await["slow_connections"], 0);
}

/// A browser whose session has begun.
async fn shaken(port: u16) -> Socket {
    let mut socket = web_socket(port).await;
    let Some(Ok(Message::Binary(hello))) = socket.next().await else {
        panic!("the relay says nothing");
    };
    let hello = ServerHello::from_block(&hello[..].try_into().unwrap()).unwrap();
    let answer = ClientHello {
        version: SmpVersion(20),
        key_hash: hello.key.unwrap().chain.fingerprint(),
        client_key: Some(DhPrivateKey::from_bytes(&[5; 32]).public()),
        proxy: false,
        service: None,
    };
    let block = answer.to_block().unwrap();
    let answer = Message::binary(block.to_vec());
    socket.send(answer).await.unwrap();
    socket
}

/// Sends these bytes in a session and nothing more, and says how long the relay waited for more.
async fn cut_off(port: u16, bytes: &[u8]) -> Duration {
    let mut socket = shaken(port).await;
    let stream = socket.get_mut();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let (began, mut sink) = (Instant::now(), Vec::new());
    let _ = timeout(PATIENCE, stream.read_to_end(&mut sink)).await;
    began.elapsed()
}
