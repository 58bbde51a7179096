//! What Prometheus gets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Bystander, Folder, PATIENCE, free_port};

/// The head and the body of the answer to a request.
async fn http(port: u16, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("{request}\r\nhost: relay\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("no answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn prometheus_gets_every_figure_without_a_label() {
    let port = free_port();
    let folder = Folder::new(&format!("metrics.listen = \"127.0.0.1:{port}\"")).await;
    let relay = folder.start().await;
    let mut bystander = Bystander::of(&relay.address).await;
    bystander.exchange().await;
    let (head, text) = http(port, "GET /metrics HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let format = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(format), "{head}");
    let stats = folder.stats().await;
    for (name, value) in stats.as_object().unwrap() {
        let gauge = format!("\nsotto_smp_{name} {value}\n");
        let counter = format!("\nsotto_smp_{name}_total {value}\n");
        let shown = text.contains(&gauge) ^ text.contains(&counter);
        assert!(shown, "{name} {value} is missing in {text}");
        let kind = if text.contains(&gauge) {
            "gauge"
        } else {
            "counter"
        };
        assert!(
            text.contains(&format!("# TYPE sotto_smp_{name} {kind}\n")),
            "{name}"
        );
        assert!(
            text.contains(&format!("# HELP sotto_smp_{name} ")),
            "{name}"
        );
    }
    let figures = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(figures, stats.as_object().unwrap().len(), "{text}");
    assert!(text.ends_with("# EOF\n") && !text.contains('{'), "{text}");
    assert!(!text.contains("_total_total"), "{text}");
}

/// The figures that docs/OPERATORS.md names.
#[tokio::test]
async fn the_figures_that_operators_are_told_of_are_there() {
    let port = free_port();
    let folder = Folder::new(&format!("metrics.listen = \"127.0.0.1:{port}\"")).await;
    let _relay = folder.start().await;
    let (_, text) = http(port, "GET /metrics HTTP/1.1").await;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATORS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let named: Vec<_> = page
        .split('`')
        .filter(|word| word.starts_with("sotto_smp_"))
        .collect();
    assert!(named.len() > 3, "{named:?}");
    for name in named {
        assert!(
            text.contains(&format!("\n{name} ")),
            "{name} is missing in {text}"
        );
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let port = free_port();
    let folder = Folder::new(&format!("metrics.listen = \"127.0.0.1:{port}\"")).await;
    let _relay = folder.start().await;
    for (request, status) in [
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/ HTTP/1.1", "404"),
        ("POST / HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1\r\ncontent-length: 0", "405"),
        ("DELETE /metrics HTTP/1.1", "405"),
        ("GET /metrics?name=value HTTP/1.1", "200"),
        ("nonsense", "400"),
    ] {
        let (head, _) = http(port, request).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")),
            "{request}: {head}"
        );
        assert_eq!(head.contains("\r\nallow: get"), status == "405", "{head}");
    }
}

/// How many sockets of this process wait for connections.
fn listening(pid: u32) -> usize {
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/net/{table}")));
    let tables = tables.map(Result::unwrap_or_default).concat();
    let inodes: Vec<_> = tables
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A")
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    files
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .filter(|target| inodes.contains(&target.to_string_lossy().into_owned()))
        .count()
}

#[tokio::test]
async fn without_the_option_nothing_listens_but_the_relay() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    assert_eq!(listening(relay.pid()), 1);
    relay.stop().await;
    let port = free_port();
    folder.configure(&format!("metrics.listen = \"127.0.0.1:{port}\""));
    let relay = folder.start().await;
    assert_eq!(listening(relay.pid()), 2);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let other = Folder::new(&format!("metrics.listen = \"127.0.0.1:{}\"", relay.port)).await;
    other.run(&["start"]).await.failed("`metrics.listen`");
}
