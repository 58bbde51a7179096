//! `sotto-smp start` and `stats`.

use smp_protocol::{Host, RelayAddress, ServerAddress};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::support::{Bystander, Folder, PATIENCE, Signal, free_port, run, sotto_smp, the_program};

#[tokio::test]
async fn it_listens_for_both_families_by_default() {
    let folder = Folder::new("listen.addresses = [\"::\"]").await;
    let relay = folder.start().await;
    for host in ["127.0.0.1", "::1"] {
        let host: std::net::IpAddr = host.parse().unwrap();
        if std::net::TcpListener::bind((host, 0)).is_err() {
            crate::support::skipped("this machine has no IPv6");
            continue;
        }
        let host = match host {
            std::net::IpAddr::V4(host) => Host::Ipv4(host),
            std::net::IpAddr::V6(host) => Host::Ipv6(host),
        };
        let identity = *relay.address.relay.fingerprint();
        let address = ServerAddress {
            relay: RelayAddress::new(identity, vec![host], Some(relay.port)).unwrap(),
            basic_auth: relay.address.basic_auth.clone(),
        };
        Bystander::of(&address).await;
    }
}

#[tokio::test]
async fn it_listens_on_every_address_that_is_configured() {
    let folder = Folder::new("listen.addresses = [\"127.0.0.1\", \"127.0.0.2\"]").await;
    let mut relay = folder.start().await;
    relay.prints("listening on 127.0.0.2:").await;
    assert_eq!(relay.output().matches("listening on ").count(), 2);
}

#[tokio::test]
async fn it_says_why_it_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = run(sotto_smp(["start", "--dir"]).arg(directory.path())).await;
    nothing.failed("`sotto-smp init` makes it");

    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let again = folder.run(&["start"]).await;
    again.failed("another relay uses");
    // The first one was not disturbed, and can still be asked.
    Bystander::of(&relay.address).await;
    folder.stats().await;

    let other = Folder::new(&format!("listen.port = {}", relay.port)).await;
    let taken = other.run(&["start"]).await;
    let taken = taken.failed("is another relay running");
    assert!(taken.stderr.contains(&relay.port.to_string()), "{taken:?}");
}

#[tokio::test]
async fn two_relays_do_not_share_a_folder_even_if_they_store_nothing() {
    let folder = Folder::new("storage.engine = \"memory\"").await;
    let relay = folder.start().await;
    Bystander::of(&relay.address).await;
    folder.run(&["start"]).await.failed("another relay runs in");
    assert_eq!(folder.stats().await["queues"], 1);
}

#[tokio::test]
async fn it_starts_again_on_its_port_at_once_with_what_it_had() {
    let folder = Folder::new(&format!("listen.port = {}", free_port())).await;
    let relay = folder.start().await;
    let port = relay.port;
    let mut bystander = Bystander::of(&relay.address).await;
    bystander.exchange().await;
    relay.stop().await;
    let relay = folder.start().await;
    assert_eq!(relay.port, port);
    let stats = folder.stats().await;
    assert_eq!(
        (&stats["queues"], &stats["messages"]),
        (&1.into(), &0.into())
    );
}

#[tokio::test]
async fn a_reader_of_its_output_that_goes_away_does_not_matter() {
    let folder = Folder::new("").await;
    let path = folder.path().display();
    // `head` ends after the first line, and nobody reads any more.
    let program = the_program();
    let program = program.to_str().unwrap();
    let script = format!(
        "{{ '{program}' start --dir '{path}' & echo \"pid $!\" >&2; wait $!; echo \"status $?\" >&2; }} | head -n 1"
    );
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &script]).kill_on_drop(true);
    shell.stdout(std::process::Stdio::piped());
    shell.stderr(std::process::Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let (stdout, stderr) = (shell.stdout.take().unwrap(), shell.stderr.take().unwrap());
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(PATIENCE, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    drop(lines);
    let mut said = BufReader::new(stderr).lines();
    let mut said = async || {
        timeout(PATIENCE, said.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    };
    let pid = said().await;
    let pid: i32 = pid.strip_prefix("pid ").unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(said().await, "status 0");
}

#[tokio::test]
async fn stats_are_those_of_the_running_relay() {
    let folder = Folder::new("").await;
    folder.run(&["stats"]).await.failed("no relay runs in");
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    bystander.exchange().await;
    let stats = folder.stats().await;
    for (name, value) in [
        ("connections", 2),
        ("connections_accepted", 2),
        ("queues", 1),
        ("subscriptions", 1),
        ("queues_created", 1),
        ("messages", 0),
        ("messages_received", 2),
        ("messages_delivered", 2),
        ("messages_acknowledged", 2),
        ("store_errors", 0),
    ] {
        assert_eq!(stats[name], value, "{name} in {stats:#}");
    }
    let text = folder.run(&["stats"]).await.succeeded().stdout;
    assert!(
        text.contains("           2  Messages accepted from senders"),
        "{text}"
    );
    assert_eq!(text.lines().count(), stats.as_object().unwrap().len());
    relay.stop().await;
    folder.run(&["stats"]).await.failed("no relay runs in");
}
