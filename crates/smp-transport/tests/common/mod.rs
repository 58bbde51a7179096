//! What several test programs need.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::SystemTime;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509Name};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use smp_protocol::SignatureAlgorithm::{self, Ed448, Ed25519};
use smp_transport::{
    Accepted, Certificate, ClientTls, ClientTlsOptions, Purpose, ServerConnection, ServerTls,
    SigningKey, TlsCredentials, TlsError, TlsStream, Validity,
};
use tokio::net::{TcpListener, TcpStream};

pub(crate) fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(0)
}

pub(crate) fn long() -> Validity {
    Validity::from_now(SystemTime::now(), 36_500)
}

pub(crate) fn authority(algorithm: SignatureAlgorithm, name: &str, seed: u64) -> TlsCredentials {
    let rng = &mut ChaCha20Rng::seed_from_u64(seed);
    TlsCredentials::self_signed(Purpose::Authority, name, long(), algorithm, rng).unwrap()
}

pub(crate) fn below(above: &TlsCredentials, purpose: Purpose, name: &str) -> TlsCredentials {
    let algorithm = above.key().algorithm();
    let seed = name
        .bytes()
        .fold(7_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let rng = &mut ChaCha20Rng::seed_from_u64(seed);
    above.issue(purpose, name, long(), algorithm, rng).unwrap()
}

/// A relay's chain of 2, 3 or 4; of 1 it is its own authority.
pub(crate) fn relay(length: usize, algorithm: SignatureAlgorithm) -> TlsCredentials {
    let mut chain = authority(algorithm, "root", 1);
    for depth in (1..length).rev() {
        let purpose = match depth {
            1 => Purpose::Relay,
            _ => Purpose::Authority,
        };
        chain = below(&chain, purpose, &format!("level {depth}"));
    }
    chain
}

pub(crate) fn service() -> TlsCredentials {
    TlsCredentials::self_signed(Purpose::Service, "service", long(), Ed25519, &mut rng()).unwrap()
}

pub(crate) fn server_tls(credentials: TlsCredentials) -> ServerTls {
    ServerTls::new(Arc::new(credentials), None).unwrap()
}

pub(crate) fn client_tls() -> ClientTls {
    ClientTls::new(ClientTlsOptions::default()).unwrap()
}

/// Two ends of a TCP connection over loopback: the client's, the server's.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap().0);
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

pub(crate) type Connected = (
    Result<TlsStream<TcpStream>, TlsError>,
    Result<Accepted<TcpStream>, TlsError>,
);

/// Our client and our server, the client expecting the server's own identity.
pub(crate) async fn connect(client: &ClientTls, server: &ServerTls) -> Connected {
    let identity = server.credentials().identity();
    let (ours, theirs) = tcp().await;
    tokio::join!(client.connect(ours, &identity), server.accept(theirs))
}

pub(crate) async fn connected(
    client: &ClientTls,
    server: &ServerTls,
) -> (TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let (client, server) = connect(client, server).await;
    (client.unwrap(), smp(server.unwrap()).stream)
}

pub(crate) fn smp<S>(accepted: Accepted<S>) -> ServerConnection<S> {
    match accepted {
        Accepted::Smp(connection) => connection,
        Accepted::Web(_) => panic!("came in as a browser"),
    }
}

pub(crate) fn web<S>(accepted: Accepted<S>) -> ServerConnection<S> {
    match accepted {
        Accepted::Web(connection) => connection,
        Accepted::Smp(_) => panic!("came in as a client of the relay"),
    }
}

/// A client as others might write it; `change` takes it away from what SMP demands.
pub(crate) fn foreign_client(change: impl FnOnce(&mut SslContextBuilder)) -> SslContext {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_verify(SslVerifyMode::NONE);
    context.set_alpn_protos(b"\x05smp/1").unwrap();
    change(&mut context);
    context.build()
}

/// A server as others might write it, with these certificates and the key of the first.
pub(crate) fn foreign_server(
    chain: &[X509],
    key: &TlsCredentials,
    change: impl FnOnce(&mut SslContextBuilder),
) -> SslContext {
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_certificate(&chain[0]).unwrap();
    for certificate in &chain[1..] {
        context.add_extra_chain_cert(certificate.clone()).unwrap();
    }
    let pem = key.key().to_pem().unwrap();
    let key = PKey::private_key_from_pem(&pem).unwrap();
    context.set_private_key(&key).unwrap();
    context
        .set_min_proto_version(Some(SslVersion::TLS1_2))
        .unwrap();
    context.set_alpn_select_callback(|_, offered| {
        let name = openssl::ssl::select_next_proto(b"\x05smp/1", offered);
        name.ok_or(openssl::ssl::AlpnError::NOACK)
    });
    change(&mut context);
    context.build()
}

pub(crate) fn to_x509(chain: &[Certificate]) -> Vec<X509> {
    let der = chain
        .iter()
        .map(|certificate| certificate.to_der().unwrap());
    der.map(|der| X509::from_der(&der).unwrap()).collect()
}

/// Whether TLS of others came about.
pub(crate) async fn foreign_connect(
    context: &SslContext,
    stream: TcpStream,
) -> Result<tokio_openssl::SslStream<TcpStream>, openssl::ssl::Error> {
    let ssl = openssl::ssl::Ssl::new(context).unwrap();
    let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
    std::pin::Pin::new(&mut stream).connect().await?;
    Ok(stream)
}

pub(crate) async fn foreign_accept(
    context: &SslContext,
    stream: TcpStream,
) -> Result<tokio_openssl::SslStream<TcpStream>, openssl::ssl::Error> {
    let ssl = openssl::ssl::Ssl::new(context).unwrap();
    let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
    std::pin::Pin::new(&mut stream).accept().await?;
    Ok(stream)
}

pub(crate) const BOTH: [SignatureAlgorithm; 2] = [Ed448, Ed25519];

/// A certificate that the key of `issuer` signs, whatever `issuer` may sign, and its key. It has
/// no extension but, if it is said, whether it is an authority.
pub(crate) fn sign_by_hand(
    issuer: &TlsCredentials,
    name: &str,
    is_authority: Option<bool>,
) -> (X509, PKey<Private>) {
    let key = PKey::generate_ed25519().unwrap();
    let issuer_name = to_x509(issuer.chain())[0]
        .subject_name()
        .to_owned()
        .unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_issuer_name(&issuer_name).unwrap();
    builder.set_pubkey(&key).unwrap();
    let (begin, end) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(9));
    builder.set_not_before(&begin.unwrap()).unwrap();
    builder.set_not_after(&end.unwrap()).unwrap();
    if let Some(is_authority) = is_authority {
        let mut constraints = BasicConstraints::new();
        if is_authority {
            constraints.ca();
        }
        builder
            .append_extension(constraints.build().unwrap())
            .unwrap();
    }
    let signer = PKey::private_key_from_pem(&issuer.key().to_pem().unwrap()).unwrap();
    builder.sign(&signer, MessageDigest::null()).unwrap();
    (builder.build(), key)
}

pub(crate) fn to_certificate(x509: &X509) -> Certificate {
    Certificate::from_der(&x509.to_der().unwrap()).unwrap()
}

pub(crate) fn to_key(key: &PKey<Private>) -> SigningKey {
    SigningKey::from_pem(&key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}
