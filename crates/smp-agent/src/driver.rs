//! The agent with network and clock: [`Core`](crate::core::Core) in a task of its own.
//!
//! ```text
//!  Agent ──asks──▶ ┌───────┐ ──Request────▶ a task each ──▶ relays
//!                  │ actor │ ◀──outcome────
//!  AgentEvents ◀── │ (Core)│ ──Subscribe──▶ a Relay for each address where messages wait
//!                  └───────┘ ◀──messages───
//! ```
//!
//! The actor alone touches the core and its store, and never waits for the network, so that what is
//! asked of it takes as long as its transaction. Whoever drops everything at any moment, and starts
//! again with the same store, loses and doubles nothing.
//!
//! Commands of senders go through a [`Router`](smp_client::Router), whose sessions are never those
//! that receive: a relay cannot tell from them which of its queues belong to one person.

mod actor;
mod clock;
mod error;
mod events;
mod failure;
mod handle;
mod options;
mod receivers;
mod requests;
mod senders;
mod server_test;

pub use error::{AgentError, ServerTestError, ServerTestStep};
pub use events::{AgentEvent, AgentEvents, RelayState};
pub use handle::Agent;
pub use options::{AgentOptions, Routing};
