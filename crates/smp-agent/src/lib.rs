//! Duplex connections out of one-way SMP queues.

pub mod core;
mod driver;
mod model;
pub mod protocol;
mod store;

pub use driver::{
    Agent, AgentError, AgentEvent, AgentEvents, AgentOptions, RelayState, Routing, ServerTestError,
    ServerTestStep,
};
pub use model::*;
pub use store::{SEEN_KEPT, Store, StoreError, StoreKey, Transaction};
