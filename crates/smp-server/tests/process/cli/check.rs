//! `sotto-smp check`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use serde_json::Value;
use smp_protocol::SignatureAlgorithm;
use smp_transport::{IfExists, Purpose, TlsCredentials, Validity, write_certificates, write_key};

use crate::support::{Folder, Run, free_port};

const DAY: Duration = Duration::from_secs(86_400);

/// The findings, and whether the relay is in order.
async fn findings(folder: &Folder) -> (Vec<(String, String)>, bool) {
    let check = folder.run(&["check", "--json"]).await;
    let findings = check.json()["findings"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = findings
        .iter()
        .map(|finding| (text(&finding["level"]), text(&finding["text"])))
        .collect();
    (findings, check.status.success())
}

fn has(findings: &[(String, String)], level: &str, words: &str) -> bool {
    let mut findings = findings.iter();
    findings.any(|(found, text)| found == level && text.contains(words))
}

async fn fails(folder: &Folder, words: &str) {
    let (findings, in_order) = findings(folder).await;
    assert!(
        !in_order && has(&findings, "failed", words),
        "{findings:#?}"
    );
}

async fn on_a_port() -> Folder {
    Folder::new(&format!("listen.port = {}", free_port())).await
}

/// A certificate of this relay's for some time.
fn issue(folder: &Path, not_before: SystemTime, not_after: SystemTime) -> TlsCredentials {
    let offline = folder.join("offline");
    let authority = TlsCredentials::load(&offline.join("ca.pem"), &offline.join("ca.key"));
    let validity = Validity {
        not_before,
        not_after,
    };
    let algorithm = SignatureAlgorithm::Ed448;
    let rng = &mut UnwrapErr(SysRng);
    let issued = authority
        .unwrap()
        .issue(Purpose::Relay, "SMP server", validity, algorithm, rng);
    issued.unwrap()
}

fn show(folder: &Path, credentials: &TlsCredentials) {
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
async fn a_relay_that_runs_and_one_that_could_are_fine() {
    let folder = on_a_port().await;
    let (stopped, in_order) = findings(&folder).await;
    assert!(
        in_order && has(&stopped, "warning", "its port is free"),
        "{stopped:#?}"
    );
    let relay = folder.start().await;
    let (running, in_order) = findings(&folder).await;
    assert!(
        in_order && has(&running, "fine", "a message got through it"),
        "{running:#?}"
    );
    assert!(has(&running, "warning", "the offline key is still in"));
    std::fs::remove_file(folder.path().join("offline/ca.key")).unwrap();
    let Run { stdout, .. } = folder.run(&["check"]).await.succeeded();
    assert!(!stdout.contains("offline"), "{stdout}");
    let address = format!("address: {}\n", relay.address_text());
    assert!(stdout.ends_with(&address), "{stdout}");
    // It leaves no queue behind.
    let stats = folder.stats().await;
    assert_eq!(
        (&stats["queues"], &stats["queues_created"]),
        (&0.into(), &2.into())
    );
}

#[tokio::test]
async fn a_relay_without_new_queues_is_in_order() {
    let folder = on_a_port().await;
    folder.configure("queues.allow_new = false");
    let _relay = folder.start().await;
    let (findings, in_order) = findings(&folder).await;
    assert!(
        in_order && has(&findings, "fine", "the relay runs"),
        "{findings:#?}"
    );
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let folder = Folder::new(&format!("listen.port = {port}")).await;
    fails(&folder, &format!("127.0.0.1:{port} can't be used")).await;
    let folder = on_a_port().await;
    folder.configure(&format!("metrics.listen = \"127.0.0.1:{port}\""));
    fails(&folder, "`metrics.listen`").await;
}

#[tokio::test]
async fn certificates_that_have_ended_or_will_soon_are_found() {
    let folder = on_a_port().await;
    let now = SystemTime::now();
    show(
        folder.path(),
        &issue(folder.path(), now - 9 * DAY, now - DAY),
    );
    fails(&folder, "certificate 0 has expired").await;
    show(
        folder.path(),
        &issue(folder.path(), now + DAY, now + 9 * DAY),
    );
    fails(&folder, "certificate 0 is not valid yet").await;
    show(
        folder.path(),
        &issue(folder.path(), now - DAY, now + 9 * DAY),
    );
    let (findings, in_order) = findings(&folder).await;
    assert!(
        in_order && has(&findings, "warning", "`sotto-smp cert rotate`"),
        "{findings:#?}"
    );
}

#[tokio::test]
async fn foreign_certificates_are_found() {
    let (folder, other) = (on_a_port().await, on_a_port().await);
    let (path, others) = (folder.path(), other.path());
    let own =
        TlsCredentials::load(&path.join("certificates.pem"), &path.join("online.key")).unwrap();
    let foreign =
        TlsCredentials::load(&others.join("certificates.pem"), &others.join("online.key")).unwrap();

    // A chain whose first certificate another relay's authority signed.
    show(path, &foreign);
    let mixed = [foreign.chain()[0].clone(), own.chain()[1].clone()];
    write_certificates(&path.join("certificates.pem"), &mixed, IfExists::Replace).unwrap();
    fails(&folder, "not signed by the next one").await;
    // The key of one, the chain of the other.
    show(path, &own);
    write_key(&path.join("online.key"), foreign.key(), IfExists::Replace).unwrap();
    fails(&folder, "online.key").await;
    // All of another relay's.
    show(path, &foreign);
    fails(&folder, "another relay's").await;
    std::fs::remove_file(path.join("online.key")).unwrap();
    fails(&folder, "online.key").await;
}

#[tokio::test]
async fn a_broken_web_certificate_is_found() {
    let folder = on_a_port().await;
    let key = folder.path().join("online.key");
    let options = format!("web.certificate = {key:?}\nweb.key = {key:?}");
    folder.configure(&options);
    fails(&folder, "online.key").await;
}

#[tokio::test]
async fn what_is_wrong_in_the_configuration_is_named() {
    let folder = on_a_port().await;
    let path = folder.path().join("sotto-smp.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    for (lines, words) in [
        ("limits.conections = 5", "conections"),
        ("limits.connections = \"many\"", "connections"),
        ("limits.connections = 0", "`limits.connections` is 0"),
        (
            "limits.connections = 9223372036854775807",
            "`limits.connections`",
        ),
        (
            "proxy.concurrent = 9223372036854775807",
            "`proxy.concurrent`",
        ),
        ("limits.write_seconds = -1", "write_seconds"),
        ("limits.idle_minutes = 4294967296", "idle_minutes"),
        ("storage.engine = \"tape\"", "engine"),
        ("storage.survive = \"all\"", "survive"),
        ("queues.password = \"a b\"", "password"),
        ("hosts = []", "`hosts` is empty"),
        ("hosts = [\"no host\"]", "`hosts`"),
        ("listen.addresses = []", "`listen.addresses` is empty"),
        ("listen.addresses = [\"localhost\"]", "addresses"),
        ("listen.port = 65536", "port"),
        ("web.key = \"key.pem\"", "`web.certificate` and `web.key`"),
        ("metrics.listen = \"9523\"", "listen"),
        ("proxy.socks = \"tor\"", "socks"),
        ("surprise = 1", "surprise"),
    ] {
        std::fs::write(&path, &good).unwrap();
        folder.configure(lines);
        fails(&folder, words).await;
        folder.run(&["start"]).await.failed(words);
    }
    std::fs::write(&path, "hosts = [").unwrap();
    fails(&folder, "sotto-smp.toml").await;
    std::fs::remove_file(&path).unwrap();
    fails(&folder, "`sotto-smp init` makes it").await;
}

#[tokio::test]
async fn no_limit_is_too_large_to_start_with() {
    let most = u32::MAX;
    let folder = Folder::new(&format!(
        "messages.quota = {most}
        messages.expire_days = {most}
        queues.expire_days = {most}
        storage.compact_hours = {most}
        limits.connections = {most}
        limits.connections_per_address = {most}
        limits.subscriptions = {most}
        limits.commands_per_second = {most}
        limits.new_queues_per_minute = {most}
        limits.handshake_seconds = {most}
        limits.write_seconds = {most}
        limits.block_seconds = {most}
        limits.idle_minutes = {most}
        proxy.concurrent = {most}
        proxy.relays = {most}
        proxy.timeout_seconds = {most}"
    ))
    .await;
    let relay = folder.start().await;
    crate::support::Bystander::of(&relay.address).await;
    let output = relay.stop().await;
    assert!(!output.contains("panicked"), "{output}");
}
