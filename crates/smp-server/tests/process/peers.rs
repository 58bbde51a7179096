//! A client by another author, in another language, over another TLS library.

use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Bystander, Folder, Run, program, skipped};

fn peer() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/smp-peer")
}

/// Runs Node; `None` if it or its packages are missing.
async fn node(arguments: &[&str]) -> Option<Run> {
    let packages = peer().join("node_modules").is_dir();
    let mut command = Command::new("node");
    command.args(arguments).current_dir(peer());
    let run = match packages {
        true => program(&mut command).await,
        false => None,
    };
    if run.is_none() {
        skipped("Node or the packages of tests/smp-peer are not installed");
    }
    run
}

fn held(run: &Run) {
    let failed = |line: &&str| !line.ends_with(": OK");
    let failures: Vec<_> = run.stdout.lines().filter(failed).collect();
    assert!(run.status.success(), "{failures:#?}\n{}", run.stderr);
}

/// Its test of itself, without the part in which it judges relays that are wrong.
#[tokio::test]
async fn it_makes_recorded_sessions_of_other_programs_again() {
    let parts = "sessions|changed byte|encodings|boxes|addresses|chains";
    let pattern = format!("--test-name-pattern=/^[^:]*({parts})[^:]*$/");
    let arguments = ["--test", "--test-reporter=tap", &pattern, "self-test.mjs"];
    let Some(run) = node(&arguments).await else {
        return;
    };
    let run = run.succeeded();
    let mut lines = run.stdout.lines();
    let passed = lines.find_map(|line| line.strip_prefix("# pass "));
    assert!(passed.unwrap().parse::<u32>().unwrap() >= 7, "{run:#?}");
}

#[tokio::test]
#[ignore = "takes a minute, and judges nothing but the client itself"]
async fn it_passes_its_own_test() {
    if let Some(run) = node(&["--test", "self-test.mjs"]).await {
        run.succeeded();
    }
}

#[tokio::test]
async fn it_walks_through_every_version_and_through_a_second_relay() {
    let private = "proxy.allow_private_networks = true";
    let (first, second) = (Folder::new(private).await, Folder::new(private).await);
    let (relay, proxy) = (first.start().await, second.start().await);
    let (address, through) = (relay.address_text(), proxy.address_text());
    let arguments = [
        "walk.mjs",
        &address,
        "--version",
        "all",
        "--proxy",
        &through,
    ];
    let Some(run) = node(&arguments).await else {
        return;
    };
    held(&run);
    let stats = second.stats().await;
    assert!(stats["proxy_forwarded"].as_i64().unwrap() > 10, "{stats}");
    let stats = first.stats().await;
    assert!(stats["proxy_received"].as_i64().unwrap() > 10, "{stats}");
    relay.stop().await;
    proxy.stop().await;
}

#[tokio::test]
async fn it_walks_through_a_relay_that_keeps_all_in_memory_with_a_small_quota() {
    let folder = Folder::new("storage.engine = \"memory\"\nmessages.quota = 5").await;
    let relay = folder.start().await;
    let address = relay.address_text();
    let arguments = ["walk.mjs", &address, "--version", "6,11,20", "--quota", "5"];
    if let Some(run) = node(&arguments).await {
        held(&run);
    }
}

/// What the relay did, how often it answered with what, and whether it closed the connection.
async fn abuse(address: &str, case: &str, version: &str) -> Option<Value> {
    let arguments = [
        "abuse.mjs",
        address,
        case,
        "--version",
        version,
        "--seconds",
        "2",
    ];
    let report = node(&arguments).await?.succeeded().json();
    assert_eq!(report["serves"], true, "{report:#}");
    Some(report)
}

#[tokio::test]
async fn its_abuse_gets_the_error_of_the_document_or_a_closed_connection() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let address = relay.address_text();
    let mut bystander = Bystander::of(&relay.address).await;
    let answered = |error: &'static str| (false, Some(error));
    let closed = (true, None);
    let cases = [
        ("short-block", "6", closed),
        ("short-block", "20", closed),
        ("wrong-length", "6", closed),
        ("wrong-length", "20", closed),
        ("garbage-block", "20", closed),
        ("wrong-session", "6", answered("ERR SESSION")),
        ("wrong-session", "20", answered("ERR AUTH")),
        ("zero-count", "20", answered("ERR BLOCK")),
        ("lying-count", "20", answered("ERR BLOCK")),
        ("trailing-bytes", "20", answered("ERR BLOCK")),
        ("lying-item", "20", answered("ERR BLOCK")),
        ("empty-item", "20", answered("ERR BLOCK")),
        ("odd-corr-id", "20", answered("ERR BLOCK")),
        ("long-authorization", "20", answered("ERR BLOCK")),
        ("other-identity", "20", closed),
        ("wrong-version", "21", closed),
        ("wrong-version", "5", closed),
        ("garbage-hello", "20", closed),
    ];
    // Each watches for two seconds what the relay does.
    for some in cases.chunks(6) {
        let reports = some
            .iter()
            .map(|(case, version, _)| abuse(&address, case, version));
        let (reports, _) = bystander.exchange_during(join_all(reports)).await;
        for (report, (_, _, (is_closed, answer))) in reports.into_iter().zip(some) {
            let Some(report) = report else {
                return;
            };
            assert_eq!(report["closed"], *is_closed, "{report:#}");
            if let Some(answer) = answer {
                assert_eq!(report["answers"][0]["text"], *answer, "{report:#}");
            }
        }
        bystander.exchange().await;
    }
}
