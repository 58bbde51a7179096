//! A message relay within this process, on a port of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use rand::TryRng as _;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use serde_json::json;
use smp_client::{TcpConnector, TcpOptions};
use smp_protocol::{BasicAuth, Host, RelayAddress, ServerAddress, SignatureAlgorithm};
use smp_server::store::{DiskStore, Durability};
use smp_server::{Clock, Config, Relay, Server};
use smp_transport::{Purpose, ServerTls, TlsCredentials, Validity};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Days for which its certificates hold.
const VALID_DAYS: u32 = 2;

const LOOPBACK: &str = "127.0.0.1";

/// `sotto-smp` as an operator would run it, but for its place and its certificates.
pub(super) struct DemoRelay {
    address: ServerAddress,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl DemoRelay {
    /// Starts one that keeps its queues in `folder`.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let credentials = Arc::new(credentials()?);
        let password = random_password()?;
        let config: Config = serde_json::from_value(json!({
            "hosts": [LOOPBACK],
            "listen": { "addresses": [LOOPBACK], "port": 0 },
            "queues": { "password": *password },
            // The other relay of the demo is on this machine, too.
            "proxy": { "allow_private_networks": true },
        }))?;
        let store = DiskStore::open(folder, Durability::Process)?;
        let connector = Arc::new(TcpConnector::new(TcpOptions::default(), None)?);
        let relay = Arc::new(Relay::new(config, store, Clock::system(), connector));
        let identity = credentials.identity();
        let tls = Arc::new(ServerTls::new(credentials, None)?);
        let server = Server::bind(relay, tls)?;
        let bound = server.addresses()?;
        let port = bound.first().context("a relay without a port")?.port();
        let host: Host = LOOPBACK.parse().map_err(|_| anyhow!("no loopback"))?;
        let password: BasicAuth = password.parse()?;
        let address = ServerAddress {
            relay: RelayAddress::new(identity, vec![host], Some(port))?,
            basic_auth: Some(password),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(server, stop.clone()));
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Its address with its password.
    pub(super) fn address(&self) -> Zeroizing<String> {
        self.address.to_string_with_password()
    }

    /// Ends it in order.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // Its folder is deleted anyway.
        let _ = self.task.await;
    }
}

async fn serve(server: Server<DiskStore>, stop: CancellationToken) {
    if let Err(error) = server.run(stop).await {
        // The demo is over by then.
        let _ = error;
    }
}

/// A relay's password: nobody but the demo is to use it.
fn random_password() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 16]);
    SysRng.try_fill_bytes(&mut *bytes)?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(Zeroizing::new(digits.collect()))
}

fn credentials() -> anyhow::Result<TlsCredentials> {
    let validity = Validity::from_now(SystemTime::now(), VALID_DAYS);
    let (algorithm, rng) = (SignatureAlgorithm::Ed448, &mut UnwrapErr(SysRng));
    let authority = TlsCredentials::self_signed(
        Purpose::Authority,
        "SMP server CA",
        validity,
        algorithm,
        rng,
    )?;
    Ok(authority.issue(Purpose::Relay, "SMP server", validity, algorithm, rng)?)
}
