//! TLS as SMP demands it (document, "TLS transport encryption"), on OpenSSL.
//!
//! TLS 1.3 with TLS_CHACHA20_POLY1305_SHA256, X25519, Ed448 and Ed25519, ALPN `smp/1`, and never
//! a resumed session. A relay also accepts X448, which clients of the SimpleX project prefer: to
//! refuse it would cost them a round trip.

mod client;
mod context;
mod error;
mod first_bytes;
mod server;
mod stream;

pub use client::{ClientTls, ClientTlsOptions};
pub use error::TlsError;
pub use server::{Accepted, ServerConnection, ServerTls};
pub use stream::TlsStream;
