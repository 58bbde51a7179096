//! What the `openssl` program sees of our relay.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::ErrorKind;
use std::process::Stdio;

use common::*;
use smp_protocol::SignatureAlgorithm;
use smp_protocol::SignatureAlgorithm::{Ed448, Ed25519};
use smp_transport::{Accepted, ServerTls};
use tokio::net::TcpListener;
use tokio::process::Command;

/// What `openssl s_client` prints about a relay with this chain, or `None` without the program.
async fn s_client(
    length: usize,
    algorithm: SignatureAlgorithm,
    options: &[&str],
) -> Option<String> {
    let server = server_tls(relay(length, algorithm));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address, "-showcerts", "-ign_eof"]);
    command.args(options);
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::select! {
        output = command.output() => match output {
            Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skipped();
                None
            }
            Err(error) => panic!("{error}"),
        },
        () = serve(&server, &listener) => None,
    }
}

/// Lets everyone in and says goodbye at once.
async fn serve(server: &ServerTls, listener: &TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(Accepted::Smp(mut connection)) = server.accept(stream).await {
            tokio::io::AsyncWriteExt::shutdown(&mut connection.stream)
                .await
                .unwrap();
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a test that does not run must not go unnoticed"
)]
fn skipped() {
    eprintln!("SKIPPED: the program openssl is not installed");
}

#[tokio::test]
async fn it_sees_the_chain_the_cipher_and_the_protocol() {
    for (algorithm, name) in [(Ed448, "Ed448"), (Ed25519, "Ed25519")] {
        for length in 2..=4 {
            let Some(output) = s_client(length, algorithm, &["-alpn", "smp/1"]).await else {
                return;
            };
            let certificates = output.matches("-----BEGIN CERTIFICATE-----").count();
            assert_eq!(certificates, length, "{output}");
            for expected in [
                "New, TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256",
                "ALPN protocol: smp/1",
                "Server Temp Key: X25519",
                &format!("Peer signature type: {name}"),
                "Requested Signature Algorithms",
            ] {
                let shown = output
                    .lines()
                    .any(|line| line.to_lowercase().contains(&expected.to_lowercase()));
                assert!(shown, "{expected} is missing in {output}");
            }
        }
    }
}

#[tokio::test]
async fn it_resumes_no_session() {
    let Some(output) = s_client(2, Ed25519, &["-alpn", "smp/1", "-reconnect"]).await else {
        return;
    };
    assert_eq!(output.matches("Reused, ").count(), 0, "{output}");
    assert_eq!(output.matches("New, TLSv1.3").count(), 6, "{output}");
}

#[tokio::test]
async fn it_is_refused_with_other_versions_ciphers_and_protocols() {
    for options in [
        &["-tls1_2"][..],
        &["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        &["-alpn", "h2"],
        &["-groups", "P-256"],
    ] {
        let Some(output) = s_client(2, Ed25519, options).await else {
            return;
        };
        assert!(
            output.contains("no peer certificate available"),
            "{options:?}: {output}"
        );
    }
}

#[tokio::test]
async fn it_is_let_in_without_alpn() {
    let Some(output) = s_client(2, Ed25519, &[]).await else {
        return;
    };
    assert!(output.contains("No ALPN negotiated"), "{output}");
    assert!(output.contains("New, TLSv1.3"), "{output}");
}
