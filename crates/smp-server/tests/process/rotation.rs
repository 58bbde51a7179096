//! New certificates for a relay that runs.

use std::path::Path;

use smp_protocol::ServerAddress;
use smp_transport::{
    Certificate, ClientTls, ClientTlsOptions, IfExists, TlsCredentials, write_certificates,
    write_key,
};
use tokio::net::TcpStream;

use crate::support::{Bystander, Folder, Signal, until};

/// The certificate that a new connection is shown.
async fn shown(address: &ServerAddress) -> Certificate {
    let port = address.relay.port_or_default();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let tls = ClientTls::new(ClientTlsOptions::default()).unwrap();
    let stream = tls
        .connect(stream, address.relay.fingerprint())
        .await
        .unwrap();
    stream.peer_chain()[0].clone()
}

fn loaded(folder: &Path) -> TlsCredentials {
    let chain = folder.join("certificates.pem");
    TlsCredentials::load(&chain, &folder.join("online.key")).unwrap()
}

fn store(folder: &Path, credentials: &TlsCredentials) {
    let replace = IfExists::Replace;
    write_key(&folder.join("online.key"), credentials.key(), replace).unwrap();
    write_certificates(
        &folder.join("certificates.pem"),
        credentials.chain(),
        replace,
    )
    .unwrap();
}

#[tokio::test]
async fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let mut old = Bystander::of(&relay.address).await;
    let first = shown(&relay.address).await;
    for _ in 0..3 {
        let rotated = folder.run(&["cert", "rotate"]).await.succeeded();
        assert!(
            rotated.stdout.contains("The running relay uses it"),
            "{rotated:?}"
        );
        let second = shown(&relay.address).await;
        assert!(first != second && second == *loaded(folder.path()).leaf());
        assert_eq!(
            loaded(folder.path()).identity(),
            *relay.address.relay.fingerprint()
        );
        old.exchange().await;
        Bystander::of(&relay.address).await;
    }
    relay.stop().await;
    let stopped = folder.run(&["cert", "rotate"]).await.succeeded();
    assert!(stopped.stdout.contains("No relay runs"), "{stopped:?}");
    let relay = folder.start().await;
    assert!(shown(&relay.address).await == *loaded(folder.path()).leaf());
}

#[tokio::test]
async fn the_offline_key_may_be_elsewhere() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let stick = tempfile::tempdir().unwrap();
    let key = stick.path().join("key");
    std::fs::rename(folder.path().join("offline/ca.key"), &key).unwrap();
    folder
        .run(&["cert", "rotate"])
        .await
        .failed("say with --ca-key where it is");
    // The certificate beside it is not needed either.
    std::fs::remove_dir_all(folder.path().join("offline")).unwrap();
    let before = shown(&relay.address).await;
    folder
        .run(&["cert", "rotate", "--ca-key", key.to_str().unwrap()])
        .await
        .succeeded();
    assert!(shown(&relay.address).await != before);
}

#[tokio::test]
async fn another_key_is_refused_and_nothing_changes() {
    let (folder, other) = (Folder::new("").await, Folder::new("").await);
    let relay = folder.start().await;
    let before = shown(&relay.address).await;
    let path = |folder: &Folder, name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (key, words) in [
        (
            path(&other, "offline/ca.key"),
            "is not the key that signed this relay's certificate",
        ),
        (
            path(&folder, "online.key"),
            "is not the key that signed this relay's certificate",
        ),
        (path(&folder, "offline/ca.pem"), "is no key of a relay"),
        (path(&folder, "nothing"), "can't read the offline key"),
    ] {
        folder
            .run(&["cert", "rotate", "--ca-key", &key])
            .await
            .failed(words);
    }
    assert!(before == *loaded(folder.path()).leaf());
    assert!(shown(&relay.address).await == before);
}

#[tokio::test]
async fn a_hang_up_makes_the_relay_read_its_certificates_anew() {
    let folder = Folder::new("").await;
    let mut relay = folder.start().await;
    let mut old = Bystander::of(&relay.address).await;
    let (first, before) = (loaded(folder.path()), shown(&relay.address).await);

    // A key without its chain, as somebody leaves it who does half the work.
    let stick = Folder::new("").await;
    write_key(
        &folder.path().join("online.key"),
        loaded(stick.path()).key(),
        IfExists::Replace,
    )
    .unwrap();
    relay.signal(Signal::HUP);
    relay.prints("the certificates stay as they are").await;
    assert!(shown(&relay.address).await == before);
    old.exchange().await;

    // The certificates of another relay, to which nobody would come any more.
    store(folder.path(), &loaded(stick.path()));
    relay.signal(Signal::HUP);
    relay.prints("another relay").await;
    assert!(shown(&relay.address).await == before);

    store(folder.path(), &first);
    folder.run(&["cert", "rotate"]).await.succeeded();
    let rotated = loaded(folder.path());
    // Back to the first by the signal alone.
    store(folder.path(), &first);
    assert!(shown(&relay.address).await == *rotated.leaf());
    relay.signal(Signal::HUP);
    until("the first certificate is shown again", async || {
        shown(&relay.address).await == before
    })
    .await;
    old.exchange().await;
    Bystander::of(&relay.address).await;
}
