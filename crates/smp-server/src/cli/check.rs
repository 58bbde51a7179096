//! `sotto-smp check`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Serialize;
use smp_client::{
    Event, Events, Isolation, QueueKey, QueueParameters, Session, SessionOptions, TcpConnector,
    TcpOptions,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, BoxKey, DEFAULT_PORT, DhPrivateKey, DhSecret, Host, MessageFlags,
    QueueRequest, ReceivedMessage, RelayAddress, ServerAddress,
};
use smp_transport::{TlsCredentials, WebCredentials, read_certificates, verify_chain};
use tokio::time::timeout;

use super::{Dir, say};
use crate::config::Config;
use crate::control::{self, ControlError, Request};
use crate::paths::Paths;
use crate::relay::random;

/// Before a certificate's end, when it is time to rotate it.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// For each step of the round trip.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp check --dir relay")]
pub(super) struct Check {
    #[command(flatten)]
    dir: Dir,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default, Serialize)]
struct Findings {
    address: Option<String>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Fine,
    Warning,
    Failed,
}

impl Findings {
    fn add(&mut self, level: Level, text: impl Into<String>) {
        self.findings.push(Finding {
            level,
            text: text.into(),
        });
    }

    fn fine(&mut self, text: impl Into<String>) {
        self.add(Level::Fine, text);
    }

    fn failed(&mut self, error: &anyhow::Error) {
        self.add(Level::Failed, format!("{error:#}"));
    }
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut findings = Findings::default();
        if let Err(error) = look(&self.dir.paths(), &mut findings).await {
            findings.failed(&error);
        }
        if self.json {
            say(serde_json::to_string(&findings)?)?;
        } else {
            for Finding { level, text } in &findings.findings {
                let word = match level {
                    Level::Fine => "fine",
                    Level::Warning => "warning",
                    Level::Failed => "failed",
                };
                say(format_args!("{word:>7}: {text}"))?;
            }
            if let Some(address) = &findings.address {
                say(format_args!("address: {address}"))?;
            }
        }
        if findings
            .findings
            .iter()
            .any(|finding| finding.level == Level::Failed)
        {
            bail!("the relay is not in order");
        }
        Ok(())
    }
}

async fn look(paths: &Paths, findings: &mut Findings) -> anyhow::Result<()> {
    let config = Config::read(paths.config())?;
    findings.fine("the configuration can be read");
    let credentials = certificates(paths, findings)?;
    let basic_auth = config
        .queues
        .password
        .as_ref()
        .map(|password| password.0.clone());
    let port = (config.listen.port != DEFAULT_PORT).then_some(config.listen.port);
    let relay = RelayAddress::new(credentials.identity(), config.parsed_hosts(), port)?;
    let address = ServerAddress { relay, basic_auth };
    findings.address = Some(address.to_string_with_password().to_string());
    web(&config, findings)?;
    match control::ask(paths.run(), &Request::Stats).await {
        Ok(_) => {
            let local = local(&config, &address)?;
            let session = connect(&local).await.context("nobody gets to the relay")?;
            if config.queues.allow_new {
                round_trip(session)
                    .await
                    .context("a message did not get through the relay")?;
                findings.fine("the relay runs, and a message got through it");
            } else {
                session.0.ping().await?;
                findings.fine("the relay runs; it makes no new queues");
            }
        }
        Err(ControlError::NotRunning(_)) => {
            for socket in config.listen.sockets() {
                std::net::TcpListener::bind(socket).with_context(|| {
                    format!("no relay runs from this folder, yet {socket} can't be used")
                })?;
            }
            if let Some(socket) = config.metrics.listen {
                std::net::TcpListener::bind(socket)
                    .with_context(|| format!("`metrics.listen`: {socket} can't be used"))?;
            }
            findings.add(
                Level::Warning,
                "no relay runs from this folder; its port is free",
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn certificates(paths: &Paths, findings: &mut Findings) -> anyhow::Result<TlsCredentials> {
    let credentials = TlsCredentials::load(&paths.chain(), &paths.online_key())?;
    let now = SystemTime::now();
    verify_chain(credentials.chain(), &credentials.identity(), now)
        .context("the relay's certificates")?;
    if let Ok(offline) = read_certificates(&paths.offline_certificate()) {
        ensure!(
            offline[0].fingerprint()? == credentials.identity(),
            "the certificates are another relay's than the one in {}",
            paths.offline().display()
        );
    }
    let ends = credentials.leaf().validity()?.not_after;
    let day = humantime::format_rfc3339_seconds(ends).to_string();
    let day = day.split('T').next().unwrap_or_default();
    if ends < now + NOTICE {
        let text = format!("the online certificate ends on {day}: `sotto-smp cert rotate`");
        findings.add(Level::Warning, text);
    } else {
        findings.fine(format!("the certificates are in order until {day}"));
    }
    if paths.offline_key().exists() {
        let text = format!(
            "the offline key is still in {}: move it away",
            paths.offline().display()
        );
        findings.add(Level::Warning, text);
    }
    Ok(credentials)
}

fn web(config: &Config, findings: &mut Findings) -> anyhow::Result<()> {
    if let (Some(certificate), Some(key)) = (&config.web.certificate, &config.web.key) {
        let web = WebCredentials::load(certificate, key)?;
        let ends = web
            .chain()
            .first()
            .context("no web certificate")?
            .validity()?
            .not_after;
        ensure!(ends > SystemTime::now(), "the web certificate has ended");
        findings.fine("the web certificate is in order");
    }
    Ok(())
}

/// The relay's address on this machine.
fn local(config: &Config, address: &ServerAddress) -> anyhow::Result<ServerAddress> {
    let socket = config
        .listen
        .sockets()
        .next()
        .context("`listen.addresses` is empty")?;
    let ip = match socket.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let host = match ip {
        IpAddr::V4(ip) => Host::Ipv4(ip),
        IpAddr::V6(ip) => Host::Ipv6(ip),
    };
    let port = Some(SocketAddr::new(ip, config.listen.port).port());
    let relay = RelayAddress::new(*address.relay.fingerprint(), vec![host], port)?;
    Ok(ServerAddress {
        relay,
        basic_auth: address.basic_auth.clone(),
    })
}

async fn connect(address: &ServerAddress) -> anyhow::Result<(Session, Events)> {
    let connector = TcpConnector::new(TcpOptions::default(), None)?;
    let isolation = Isolation::generate(&mut random());
    let options = SessionOptions::default();
    let connected = Session::connect(&connector, address, &isolation, &options);
    Ok(timeout(PATIENCE, connected)
        .await
        .context("no connection")??)
}

/// Creates a queue, sends a message, takes it, deletes the queue.
async fn round_trip((session, mut events): (Session, Events)) -> anyhow::Result<()> {
    let key = AuthPrivateKey::generate(&mut random(), AuthKeyKind::Ed25519);
    let dh = DhPrivateKey::generate(&mut random());
    let parameters = QueueParameters {
        dh_key: dh.public(),
        subscribe: true,
        request: Some(QueueRequest::Messaging(None)),
        notifier: None,
        sender_id: None,
    };
    let ids = session.create_queue(&key, parameters).await?;
    let queue = QueueKey {
        id: &ids.recipient_id,
        key: &key,
    };
    let body = b"sotto-smp check".to_vec();
    let taken = async {
        session
            .send_message(&ids.sender_id, None, MessageFlags::default(), body.clone())
            .await?;
        let event = timeout(PATIENCE, events.next())
            .await
            .context("no message came")?;
        let Some(Event::Message { mut message, .. }) = event else {
            bail!("something else than the message came");
        };
        let secret = BoxKey::from(DhSecret::agree(&dh, &ids.dh_key)?);
        let id = message.id;
        match message.open(&secret)? {
            ReceivedMessage::Message { body: received, .. } if received == body => {}
            _ => bail!("another message came"),
        }
        session.acknowledge(queue, id).await?;
        Ok(())
    };
    let taken = taken.await;
    session.delete(queue).await?;
    taken
}
