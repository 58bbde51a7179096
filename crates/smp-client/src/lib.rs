//! A client of SMP relays: the queues where messages wait, over connections that show as little as
//! possible of who uses them.
//!
//! "Document" in this crate's documentation means the description of the protocol,
//! `simplex-messaging.md`, version 20. What it calls a router is a relay here; [`Router`] is what
//! chooses a command's way.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use smp_client::{
//!     Event, Patience, QueueKey, QueueParameters, Relay, RelayEvent, RelayOptions, TcpConnector,
//!     TcpOptions,
//! };
//! use smp_protocol::{AuthPrivateKey, BoxKey, DhPrivateKey, DhSecret, QueueRequest};
//!
//! # async fn example(
//! #     address: &str,
//! #     key: AuthPrivateKey,
//! #     dh_key: DhPrivateKey,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let connector = TcpConnector::new(TcpOptions::default(), None)?;
//! let address = address.parse()?;
//! let (relay, mut events) = Relay::new(Arc::new(connector), address, RelayOptions::default());
//!
//! let parameters = QueueParameters {
//!     dh_key: dh_key.public(),
//!     subscribe: true,
//!     request: Some(QueueRequest::Messaging(None)),
//!     notifier: None,
//!     sender_id: None,
//! };
//! let ids = relay.create_queue(&key, parameters, Patience::default()).await?;
//! let secret = BoxKey::from(DhSecret::agree(&dh_key, &ids.dh_key)?);
//! let queue = QueueKey { id: &ids.recipient_id, key: &key };
//!
//! while let Some(event) = events.next().await {
//!     if let RelayEvent::Told(Event::Message { mut message, .. }) = event {
//!         let id = message.id;
//!         let _what_the_sender_sent = message.open(&secret)?;
//!         let session = relay.session(&queue.id.0, Patience::default()).await?;
//!         let _next = session.acknowledge(queue, id).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! | | |
//! |---|---|
//! | [`Relay`], [`RelayEvent`], [`Subscription`] | a relay for as long as it is needed: connected again, subscribed again |
//! | [`Session`], [`Event`], [`QueueKey`] | one live connection: commands and their answers, and what the relay tells |
//! | [`Router`], [`Fallback`], [`ProxiedRelay`] | commands through a proxy, so that the relay does not learn where they come from |
//! | [`ForwardSession`] | the other side of that: what a proxy does |
//! | [`TcpConnector`], [`SocksProxy`], [`Isolation`] | the way to a relay: TCP or SOCKS, TLS, onion hosts |
//! | [`MemoryConnector`] | no way at all, for tests |
//!
//! # What is kept apart
//!
//! All that goes through one session the relay sees as one client. With
//! [`SessionMode::PerQueue`] each queue has a session, and through Tor a circuit of its own. What a
//! [`Router`] sends goes through sessions with proxies; these are apart from those that receive
//! only if they are other [`Relay`] values.
//!
//! # Limits
//!
//! Nothing here grows with what a relay sends: commands without an answer have places
//! ([`SessionOptions::in_flight`]), events are read as fast as they are taken, and a relay that
//! sends more than its subscriptions explain, answers what was not asked, or answers no more is
//! left and named ([`DisconnectReason`]).
//!
//! # Runtime
//!
//! Sessions run as tasks of the tokio runtime in which they are made, which must have I/O and time
//! enabled.

mod connect;
mod error;
mod event;
mod forward;
mod relay;
mod routing;
mod session;

pub use connect::{
    Connecting, Connector, HostMode, Isolation, Link, MemoryConnector, MemoryLink, SocksProxy,
    Stream, TcpConnector, TcpOptions,
};
pub use error::{ClientError, ConnectError, DisconnectReason, Fault, Misbehaviour, SocksError};
pub use event::{Event, SealedMessage};
pub use forward::{ForwardOffer, ForwardSession};
pub use relay::{
    Patience, Relay, RelayEvent, RelayEvents, RelayOptions, SessionMode, Subscription,
};
pub use routing::{Fallback, ProxiedRelay, Route, Routed, Router, RoutingError};
pub use session::{
    ChosenSenderId, Events, KeepAlive, QueueKey, QueueParameters, Request, ServiceIdentity,
    Session, SessionOptions, Timeouts,
};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

/// The system's generator, as the cryptographic crates take it. It fails only where nothing works.
fn random() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
