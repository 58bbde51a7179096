//! `sotto-smp init`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use smp_client::ClientError;
use smp_protocol::{ErrorType, QueueRequest, ServerAddress, SignatureAlgorithm};
use smp_transport::TlsCredentials;
use tokio::process::Command;

use crate::support::{Folder, Queue, Run, connect, run, sotto_smp};

fn init(folder: &Path) -> Command {
    let mut init = sotto_smp(["init", "--host", "relay.example.org,localhost", "--dir"]);
    init.arg(folder);
    init
}

fn credentials(folder: &Path) -> TlsCredentials {
    TlsCredentials::load(&folder.join("certificates.pem"), &folder.join("online.key")).unwrap()
}

/// Every file and folder with what its mode lets others do.
fn open_to_others(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut open = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        let metadata = path.metadata().unwrap();
        if metadata.permissions().mode() & 0o077 != 0 {
            open.push((path.clone(), metadata.permissions().mode() & 0o777));
        }
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            folders.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    open
}

#[tokio::test]
async fn it_makes_a_relay_and_prints_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("a/b");
    let made = run(&mut init(&folder)).await.succeeded();
    let address = made.stdout.lines().find(|line| line.starts_with("smp://"));
    let address: ServerAddress = address.unwrap().parse().unwrap();
    assert_eq!(
        *address.relay.fingerprint(),
        credentials(&folder).identity()
    );
    let hosts: Vec<_> = address
        .relay
        .hosts()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(hosts, ["relay.example.org", "localhost"]);
    assert_eq!(address.relay.port(), None);
    assert!(address.basic_auth.is_some());
    assert!(made.stdout.contains("ca.key") && made.stdout.contains("Move the offline key"));
    for file in [
        "sotto-smp.toml",
        "certificates.pem",
        "online.key",
        "offline/ca.key",
        "offline/ca.pem",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
}

#[tokio::test]
async fn its_json_has_what_its_text_has() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("relay");
    let made = run(init(&folder).args(["--json", "--port", "443"])).await;
    let made = made.succeeded().json();
    let address: ServerAddress = made["address"].as_str().unwrap().parse().unwrap();
    assert_eq!(address.relay.port(), Some(443));
    let file = |name: &str| Path::new(made[name].as_str().unwrap()).is_file();
    assert!(file("configuration") && file("offline_key"), "{made}");
}

#[tokio::test]
async fn only_the_relays_user_can_read_what_it_makes_and_what_start_adds() {
    let folder = Folder::new("").await;
    // The certificates are public, and stand in a folder that is not.
    let public = ["certificates.pem", "ca.pem"];
    let relay = folder.start_in_shell("umask 000").await;
    let mut bystander = crate::support::Bystander::of(&relay.address).await;
    bystander.exchange().await;
    assert!(folder.path().join("control.sock").exists());
    assert!(folder.path().join("data/bodies").exists());
    let open = open_to_others(folder.path());
    let open: Vec<_> = open
        .iter()
        .filter(|(path, _)| !public.iter().any(|name| path.ends_with(name)))
        .collect();
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test]
async fn a_data_folder_that_is_made_again_is_closed_to_others_too() {
    let folder = Folder::new("").await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let _relay = folder.start_in_shell("umask 022").await;
    let open = open_to_others(&folder.path().join("data"));
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test]
async fn it_refuses_a_second_time_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("relay");
    run(&mut init(&folder)).await.succeeded();
    let all = |folder: &Path| {
        [
            "sotto-smp.toml",
            "certificates.pem",
            "online.key",
            "offline/ca.key",
            "offline/ca.pem",
        ]
        .map(|file| std::fs::read(folder.join(file)).unwrap())
    };
    let before = all(&folder);
    run(&mut init(&folder)).await.failed("nothing was changed");
    // Nor does it make new keys for a folder whose configuration alone is gone.
    std::fs::remove_file(folder.join("sotto-smp.toml")).unwrap();
    run(&mut init(&folder)).await.failed("already there");
    assert!(!folder.join("sotto-smp.toml").exists());
    std::fs::write(folder.join("sotto-smp.toml"), &before[0]).unwrap();
    assert!(all(&folder) == before);
}

#[tokio::test]
async fn what_it_cannot_make_it_does_not_begin() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("relay");
    let usage = |run: Run, words: &str| {
        assert!(
            !run.status.success() && run.stderr.contains(words),
            "{run:?}"
        );
    };
    usage(run(init(&folder).args(["--port", "0"])).await, "--port");
    usage(
        run(init(&folder).args(["--host", "no host"])).await,
        "--host",
    );
    usage(
        run(sotto_smp(["init", "--dir"]).arg(&folder)).await,
        "--host",
    );
    assert!(!folder.exists());
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    run(&mut init(&file.join("relay")))
        .await
        .failed("can't make the folder");
}

#[tokio::test]
async fn certificates_are_signed_as_the_operator_likes() {
    for (name, algorithm) in [
        ("ed448", SignatureAlgorithm::Ed448),
        ("ed25519", SignatureAlgorithm::Ed25519),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("relay");
        run(init(&folder).args(["--algorithm", name]))
            .await
            .succeeded();
        assert_eq!(credentials(&folder).key().algorithm(), algorithm);
    }
}

#[tokio::test]
async fn queues_are_for_those_who_know_the_password_unless_the_relay_is_open() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let create = async |address: &ServerAddress| {
        let (session, _events) = connect(address).await;
        Queue::try_create(&session, QueueRequest::Contact(None)).await
    };
    let mut address = relay.address.clone();
    assert!(create(&address).await.is_ok());
    for password in [None, Some("wrong".parse().unwrap())] {
        address.basic_auth = password;
        let refused = create(&address).await.err().unwrap();
        assert!(
            matches!(refused, ClientError::Refused(ErrorType::Auth)),
            "{refused}"
        );
    }

    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("relay");
    let made = run(init(&open).args(["--open", "--json"]))
        .await
        .succeeded()
        .json();
    let address: ServerAddress = made["address"].as_str().unwrap().parse().unwrap();
    assert!(address.basic_auth.is_none());
    let toml = std::fs::read_to_string(open.join("sotto-smp.toml")).unwrap();
    assert!(toml.contains("\n# password = "), "{toml}");
    std::fs::write(folder.path().join("sotto-smp.toml"), toml).unwrap();
    folder.configure("listen.addresses = [\"127.0.0.1\"]\nlisten.port = 0");
    relay.stop().await;
    let relay = folder.start().await;
    let mut address = relay.address.clone();
    address.basic_auth = None;
    assert!(create(&address).await.is_ok());
}
