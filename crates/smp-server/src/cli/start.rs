//! `sotto-smp start`.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use clap::Args;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use smp_client::{SocksProxy, TcpConnector, TcpOptions};
use smp_protocol::Fingerprint;
use smp_transport::{ServerTls, TlsCredentials, WebCredentials, verify_chain};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Dir, say};
use crate::clock::Clock;
use crate::config::{Config, Engine, Survive};
use crate::control::{self, Answer, Operator, Request};
use crate::metrics_listener;
use crate::paths::Paths;
use crate::relay::Relay;
use crate::server::Server;
use crate::store::{DiskStore, Durability, MemoryStore, Store};
use crate::upkeep::count_stored;

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp start --dir relay")]
pub(super) struct Start {
    #[command(flatten)]
    dir: Dir,
    /// Log more, for finding faults; still nothing about clients
    #[arg(long)]
    verbose: bool,
}

impl Start {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.log();
        // What is stored is nobody else's business.
        umask(Mode::RWXG | Mode::RWXO);
        let paths = self.dir.paths();
        let config = Config::read(paths.config())?;
        allow_files(config.limits.connections);
        match config.storage.engine {
            Engine::Memory => serve(&paths, config, MemoryStore::new()).await,
            Engine::Disk => {
                let durability = match config.storage.survive {
                    Survive::Process => Durability::Process,
                    Survive::Power => Durability::Power,
                };
                let store = DiskStore::open(paths.data(), durability)?;
                serve(&paths, config, store).await
            }
        }
    }

    fn log(&self) {
        let level = if self.verbose {
            tracing::Level::DEBUG
        } else {
            tracing::Level::WARN
        };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .init();
    }
}

/// Open files beside those of connections.
const OTHER_FILES: u64 = 64;

/// Each connection is an open file: takes as many as the system lets anyone take, and says if that
/// is too few.
fn allow_files(connections: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    // Without it the limit stays as it is, which is what counts below.
    let _ = setrlimit(Resource::Nofile, all);
    let limit = getrlimit(Resource::Nofile).current;
    let needed = connections as u64 + OTHER_FILES;
    if let Some(limit) = limit.filter(|limit| *limit < needed) {
        tracing::warn!(
            "the system allows {limit} open files, too few for `limits.connections = \
             {connections}`: see LimitNOFILE in the unit, or `ulimit -n`"
        );
    }
}

async fn serve<S: Store>(paths: &Paths, config: Config, store: S) -> anyhow::Result<()> {
    let certificates = Certificates {
        paths: paths.clone(),
        web: config.web.clone(),
    };
    let (smp, web) = certificates.load()?;
    let identity = smp.identity();
    if let Err(error) = verify_chain(smp.chain(), &identity, SystemTime::now()) {
        tracing::error!("clients will refuse this relay: {error}; see `sotto-smp check`");
    }
    let tls = Arc::new(ServerTls::new(smp, web.as_ref())?);
    let metrics = config.metrics.listen;
    let socks = config.proxy.socks;
    let options = socks
        .map(SocksProxy::tor)
        .map_or_else(TcpOptions::default, TcpOptions::through);
    let public_only = !config.proxy.allow_private_networks;
    let connector = TcpConnector::new(
        TcpOptions {
            public_only,
            ..options
        },
        None,
    )?;
    let relay = Arc::new(Relay::new(
        config,
        store,
        Clock::system(),
        Arc::new(connector),
    ));
    let server = Server::bind(Arc::clone(&relay), Arc::clone(&tls))
        .context("can't listen; is another relay running, or is the port below 1024?")?;
    let stop = CancellationToken::new();
    let control = control::listen(paths.run())?;
    let operator = Running {
        relay: Arc::clone(&relay),
        tls,
        certificates,
        identity,
    };
    let operator = Arc::new(operator);
    tokio::spawn(control::serve(control, Arc::clone(&operator)));
    tokio::spawn(signals(stop.clone(), Arc::clone(&operator))?);
    if let Some(address) = metrics {
        let listener = metrics_listener::bind(address).await?;
        tokio::spawn(metrics_listener::serve(listener, Arc::clone(&relay)));
    }
    for address in server.addresses()? {
        say(format_args!("listening on {address}"))?;
    }
    server.run(stop).await?;
    // Whether anybody reads it makes no difference any more.
    let _ = say("stopped: every accepted command is done");
    Ok(())
}

/// Ends the relay on SIGTERM and SIGINT, takes certificates anew on SIGHUP.
fn signals<S: Store>(
    stop: CancellationToken,
    operator: Arc<Running<S>>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    if let Err(error) = operator.reload() {
                        tracing::error!("the certificates stay as they are: {error:#}");
                    }
                }
            }
        }
        stop.cancel();
    })
}

/// Where the certificates are.
struct Certificates {
    paths: Paths,
    web: crate::config::Web,
}

impl Certificates {
    fn load(&self) -> anyhow::Result<(Arc<TlsCredentials>, Option<WebCredentials>)> {
        let (chain, key) = (self.paths.chain(), self.paths.online_key());
        let smp = TlsCredentials::load(&chain, &key)?;
        let web = match (&self.web.certificate, &self.web.key) {
            (Some(certificate), Some(key)) => Some(WebCredentials::load(certificate, key)?),
            _ => None,
        };
        Ok((Arc::new(smp), web))
    }
}

/// A running relay, as its operator sees it.
struct Running<S: Store> {
    relay: Arc<Relay<S>>,
    tls: Arc<ServerTls>,
    certificates: Certificates,
    /// By which clients know it, and will as long as it runs.
    identity: Fingerprint,
}

impl<S: Store> Running<S> {
    fn reload(&self) -> anyhow::Result<()> {
        let (smp, web) = self.certificates.load()?;
        ensure!(
            smp.identity() == self.identity,
            "the new ones are another relay's, with another address"
        );
        verify_chain(smp.chain(), &self.identity, SystemTime::now())?;
        Ok(self.tls.reload(smp, web.as_ref())?)
    }
}

impl<S: Store> Operator for Running<S> {
    async fn answer(&self, request: Request) -> Answer {
        let done = match request {
            Request::Stats => {
                if let Err(error) = count_stored(&self.relay).await {
                    self.relay.store_error(&error);
                }
                return Answer::Stats(Box::new(self.relay.metrics.snapshot()));
            }
            Request::Reload => self.reload(),
            Request::Compact => self.relay.store.compact().await.map_err(Into::into),
            Request::Block { id, reason } => {
                self.relay.block_by_text(&id, Some(reason.into())).await
            }
            Request::Unblock { id } => self.relay.block_by_text(&id, None).await,
        };
        match done {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Failed {
                error: format!("{error:#}"),
            },
        }
    }
}
