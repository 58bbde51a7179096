//! The SMP relay `sotto-smp`.

pub mod cli;
mod clock;
mod config;
mod connection;
mod control;
mod handshake;
mod metrics;
mod metrics_listener;
mod neighbours;
mod paths;
mod relay;
mod server;
pub mod store;
mod upkeep;
mod web;

pub use clock::Clock;
pub use config::{CONFIG_FILE, Config, ConfigError};
pub use relay::Relay;
pub use server::Server;
