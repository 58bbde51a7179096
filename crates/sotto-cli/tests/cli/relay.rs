//! A message relay within the test's process.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use serde_json::json;
use smp_client::{TcpConnector, TcpOptions};
use smp_protocol::{RelayAddress, ServerAddress, SignatureAlgorithm};
use smp_server::store::MemoryStore;
use smp_server::{Clock, Config, Relay, Server};
use smp_transport::{Purpose, ServerTls, TlsCredentials, Validity};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "hunter2hunter2";

/// A relay on a port of its own, which ends with this.
pub(crate) struct TestRelay {
    /// With the password.
    pub(crate) address: String,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl TestRelay {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let _entered = runtime.enter();
        let config: Config = serde_json::from_value(json!({
            "hosts": ["127.0.0.1"],
            "listen": { "addresses": ["127.0.0.1"], "port": 0 },
            "queues": { "password": PASSWORD },
            "proxy": { "allow_private_networks": true },
        }))
        .expect("a configuration");
        let credentials = Arc::new(credentials());
        let identity = credentials.identity();
        let connector = TcpConnector::new(TcpOptions::default(), None).expect("OpenSSL");
        let store = MemoryStore::new();
        let relay = Relay::new(config, store, Clock::system(), Arc::new(connector));
        let tls = Arc::new(ServerTls::new(credentials, None).expect("TLS"));
        let server = Server::bind(Arc::new(relay), tls).expect("a port");
        let port = server.addresses().expect("an address")[0].port();
        let host = "127.0.0.1".parse().expect("a host");
        let address = ServerAddress {
            relay: RelayAddress::new(identity, vec![host], Some(port)).expect("an address"),
            basic_auth: Some(PASSWORD.parse().expect("a password")),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        drop(_entered);
        let thread = thread::spawn(move || {
            runtime
                .block_on(server.run(stopped))
                .expect("an orderly end");
        });
        Self {
            address: address.to_string_with_password().to_string(),
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for TestRelay {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn credentials() -> TlsCredentials {
    let validity = Validity::from_now(SystemTime::now(), 2);
    let (ed25519, rng) = (SignatureAlgorithm::Ed25519, &mut UnwrapErr(SysRng));
    let authority = TlsCredentials::self_signed(Purpose::Authority, "CA", validity, ed25519, rng);
    let authority = authority.expect("a certificate");
    let relay = authority.issue(Purpose::Relay, "relay", validity, ed25519, rng);
    relay.expect("a certificate")
}
