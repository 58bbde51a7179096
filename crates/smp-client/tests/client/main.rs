//! The client against a scripted relay, in virtual time wherever there is no socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fake;
mod forward;
mod hostile;
mod keep_alive;
mod relay;
mod routing;
mod service;
mod session;
mod sockets;
