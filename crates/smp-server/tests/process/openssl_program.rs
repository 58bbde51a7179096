//! What the `openssl` program sees of a running relay.

use tokio::process::Command;

use crate::support::{Folder, program, skipped};

/// What `openssl s_client` prints about a relay, or `None` without the program.
async fn s_client(port: u16, options: &[&str]) -> Option<String> {
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address, "-showcerts"]);
    command.args(options);
    let seen = program(&mut command).await;
    if seen.is_none() {
        skipped("the program openssl is not installed");
    }
    Some(seen?.stdout)
}

#[tokio::test]
async fn it_sees_the_chain_the_cipher_the_key_exchange_and_the_protocol() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let Some(output) = s_client(relay.port, &["-alpn", "smp/1"]).await else {
        return;
    };
    let certificates = output.matches("-----BEGIN CERTIFICATE-----").count();
    assert_eq!(certificates, 2, "{output}");
    for expected in [
        "New, TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256",
        "ALPN protocol: smp/1",
        "Server Temp Key: X25519",
        "Peer signature type: Ed448",
    ] {
        let mut lines = output.lines();
        let shown = lines.any(|line| line.to_lowercase().contains(&expected.to_lowercase()));
        assert!(shown, "{expected} is missing in {output}");
    }
    assert!(!output.contains("New Session Ticket"), "{output}");
}

#[tokio::test]
async fn it_is_refused_with_other_versions_ciphers_groups_and_protocols() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    for options in [
        &["-tls1_2"][..],
        &["-tls1_1"],
        &["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        &["-groups", "P-256"],
        &["-alpn", "h2"],
        &["-sigalgs", "ecdsa_secp256r1_sha256"],
    ] {
        let Some(output) = s_client(relay.port, options).await else {
            return;
        };
        let refused = output.contains("no peer certificate available");
        assert!(refused, "{options:?}: {output}");
    }
}
