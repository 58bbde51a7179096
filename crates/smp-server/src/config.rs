//! What an operator can set: `sotto-smp.toml`.
//!
//! Every option has a default that suits a public relay of one machine. [`template`] makes the file
//! that `sotto-smp init` writes: each option with its default, commented.

mod template;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use smp_protocol::{BasicAuth, Host};

pub(crate) use template::template;

/// The configuration's file in a relay's folder.
pub const CONFIG_FILE: &str = "sotto-smp.toml";

/// Everything in `sotto-smp.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names under which clients reach this relay, in the order of preference.
    pub hosts: Vec<String>,
    /// Where the relay listens.
    #[serde(default)]
    pub listen: Listen,
    /// Who may create queues.
    #[serde(default)]
    pub queues: Queues,
    /// How long and how many messages are kept.
    #[serde(default)]
    pub messages: Messages,
    /// Where and how queues and messages are stored.
    #[serde(default)]
    pub storage: Storage,
    /// What one connection and all of them together may use.
    #[serde(default)]
    pub limits: Limits,
    /// Forwarding senders' commands to other relays.
    #[serde(default)]
    pub proxy: Proxy,
    /// Browser clients.
    #[serde(default)]
    pub web: Web,
    /// Figures for monitoring.
    #[serde(default)]
    pub metrics: MetricsListener,
}

/// Section `[listen]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Local addresses; both families by default.
    pub addresses: Vec<IpAddr>,
    /// The TCP port, by default SMP's 5223.
    pub port: u16,
}

impl Listen {
    /// Each address with the port.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses
            .iter()
            .map(|address| SocketAddr::new(*address, self.port))
    }
}

/// Section `[queues]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queues {
    /// Whether new queues are made at all.
    pub allow_new: bool,
    /// What a client must say to create a queue; without it anyone may.
    pub password: Option<Password>,
    /// Days after which an unused queue is deleted; 0 keeps them for ever.
    pub expire_days: u32,
}

/// Section `[messages]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    /// Messages that wait in one queue at most.
    pub quota: u32,
    /// Days after which a message that nobody took is deleted.
    pub expire_days: u32,
}

/// Section `[storage]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// On disk, or in memory alone.
    pub engine: Engine,
    /// What an answer `OK` survives.
    pub survive: Survive,
    /// Hours between two compactions, after which deleted data is gone from the disk.
    pub compact_hours: u32,
}

/// Where queues and messages live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// An embedded database in the relay's folder.
    Disk,
    /// Nothing is written; a restart forgets all.
    Memory,
}

/// What an answered command survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Survive {
    /// The death of the process; the disk is synchronised each second.
    Process,
    /// A loss of power: the disk is synchronised before the answer.
    Power,
}

/// Section `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address of IPv4, or one /64 of IPv6. Loopback has no such
    /// limit.
    pub connections_per_address: usize,
    /// Queues that one connection may be subscribed to.
    pub subscriptions: usize,
    /// Commands a second for one connection; faster ones wait.
    pub commands_per_second: u32,
    /// New queues a minute for one connection; faster ones wait.
    pub new_queues_per_minute: u32,
    /// Seconds for TLS and SMP's handshake together.
    pub handshake_seconds: u32,
    /// Seconds in which a client must take what is sent to it.
    pub write_seconds: u32,
    /// Seconds in which a client that began to send a block must send the rest of it, up to twice
    /// as many if they begin to be counted late.
    pub block_seconds: u32,
    /// Minutes after which a silent connection without subscriptions is closed.
    pub idle_minutes: u32,
}

/// Section `[proxy]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Whether commands are forwarded to other relays.
    pub enabled: bool,
    /// Whether relays in private networks and on this machine may be reached.
    pub allow_private_networks: bool,
    /// Commands of one connection that may be on their way at a time.
    pub concurrent: usize,
    /// Relays with which sessions are kept at a time.
    pub relays: usize,
    /// A SOCKS5 proxy, usually Tor's, for the way to other relays.
    pub socks: Option<SocketAddr>,
    /// Seconds after which an unreachable relay is given up.
    pub timeout_seconds: u32,
}

/// Section `[web]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// PEM file with the web certificate and its chain. Without it there is no WebSocket.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
}

/// Section `[metrics]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsListener {
    /// Where Prometheus asks, for example `127.0.0.1:9523`. Without it nothing listens.
    pub listen: Option<SocketAddr>,
}

/// A password that no log can print.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Password(pub BasicAuth);

impl TryFrom<String> for Password {
    type Error = smp_protocol::AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            addresses: vec![std::net::Ipv6Addr::UNSPECIFIED.into()],
            port: 5223,
        }
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            allow_new: true,
            password: None,
            expire_days: 365,
        }
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            quota: 128,
            expire_days: 21,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            engine: Engine::Disk,
            survive: Survive::Process,
            compact_hours: 24,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 1_000,
            subscriptions: 200_000,
            commands_per_second: 2_000,
            new_queues_per_minute: 600,
            handshake_seconds: 30,
            write_seconds: 60,
            block_seconds: 60,
            idle_minutes: 360,
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_private_networks: false,
            concurrent: 32,
            relays: 1_000,
            socks: None,
            timeout_seconds: 30,
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("can't read {path}: {source}; `sotto-smp init` makes it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown option or a value of the wrong kind.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot work.
    #[error("{path}: {what}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The option and what is wrong with it.
        what: String,
    },
}

impl Config {
    /// Reads and checks `sotto-smp.toml` in `folder`.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the file, the option and what to change.
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(CONFIG_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let config: Self = match toml::from_str(&text) {
            Ok(config) => config,
            Err(source) => {
                return Err(ConfigError::Syntax {
                    path,
                    source: Box::new(source),
                });
            }
        };
        match config.problem() {
            None => Ok(config),
            Some(what) => Err(ConfigError::Value { path, what }),
        }
    }

    /// The hosts, parsed.
    pub fn parsed_hosts(&self) -> Vec<Host> {
        self.hosts
            .iter()
            .filter_map(|host| host.parse().ok())
            .collect()
    }

    fn problem(&self) -> Option<String> {
        if self.hosts.is_empty() {
            return Some("`hosts` is empty: name at least one host".into());
        }
        for host in &self.hosts {
            if let Err(error) = host.parse::<Host>() {
                return Some(format!("`hosts`: {host:?}: {error}"));
            }
        }
        if self.listen.addresses.is_empty() {
            return Some("`listen.addresses` is empty: [\"::\"] listens everywhere".into());
        }
        if self.web.certificate.is_some() != self.web.key.is_some() {
            return Some(
                "`web.certificate` and `web.key` belong together: set both or none".into(),
            );
        }
        let at_least_one = [
            ("messages.quota", u64::from(self.messages.quota)),
            ("messages.expire_days", u64::from(self.messages.expire_days)),
            (
                "storage.compact_hours",
                u64::from(self.storage.compact_hours),
            ),
            ("limits.connections", self.limits.connections as u64),
            (
                "limits.connections_per_address",
                self.limits.connections_per_address as u64,
            ),
            ("limits.subscriptions", self.limits.subscriptions as u64),
            (
                "limits.commands_per_second",
                u64::from(self.limits.commands_per_second),
            ),
            (
                "limits.new_queues_per_minute",
                u64::from(self.limits.new_queues_per_minute),
            ),
            (
                "limits.handshake_seconds",
                u64::from(self.limits.handshake_seconds),
            ),
            ("limits.write_seconds", u64::from(self.limits.write_seconds)),
            ("limits.block_seconds", u64::from(self.limits.block_seconds)),
            ("limits.idle_minutes", u64::from(self.limits.idle_minutes)),
            ("proxy.concurrent", self.proxy.concurrent as u64),
            ("proxy.relays", self.proxy.relays as u64),
            (
                "proxy.timeout_seconds",
                u64::from(self.proxy.timeout_seconds),
            ),
        ];
        let zero = at_least_one.iter().find(|(_, value)| *value == 0);
        if let Some((name, _)) = zero {
            return Some(format!("`{name}` is 0: it must be at least 1"));
        }
        let counted = [
            ("limits.connections", self.limits.connections),
            ("proxy.concurrent", self.proxy.concurrent),
        ];
        let most = tokio::sync::Semaphore::MAX_PERMITS;
        let large = counted.iter().find(|(_, value)| *value > most);
        large.map(|(name, _)| format!("`{name}` is too large: it must be at most {most}"))
    }
}

impl Limits {
    /// For TLS and SMP's handshake together.
    pub fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds.into())
    }

    /// In which a client must take what is sent to it.
    pub fn write(&self) -> Duration {
        Duration::from_secs(self.write_seconds.into())
    }

    /// In which a block that began to come must have come.
    pub fn block(&self) -> Duration {
        Duration::from_secs(self.block_seconds.into())
    }

    /// After which a silent connection without subscriptions is closed.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.idle_minutes) * 60)
    }
}
