//! Private routing: commands to a relay through another one, so that the relay learns nothing of
//! where they come from (document, "Proxying sender commands").
//!
//! # Who learns what
//!
//! The proxy sees this side's address and which relay it sends to, how often and when; the relay
//! sees the queue and the command. Neither sees both unless they work together, so take proxies of
//! other operators than those of the relays that your contacts chose. Each command is encrypted
//! for the relay with a key of its own, in a packet of one size: the proxy cannot tell whether two
//! commands are about one queue, and cannot read or change them. The relay is known by the
//! certificate in its address, so that the proxy cannot take its place.

mod proxied;
mod router;

pub use proxied::{ProxiedRelay, RoutingError};
pub use router::{Fallback, Route, Routed, Router};
