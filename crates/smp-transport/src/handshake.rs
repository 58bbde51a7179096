//! The handshake of a session (document, "Transport handshake"), over any stream of blocks.
//!
//! The relay says hello with its versions, the id of the session and its session key; the client
//! answers with the version, the identity that it expects, its own session key and what it is. A
//! service gets a third message. All of them go unencrypted inside TLS.

mod client;
mod server;

pub use client::{
    ClientHandshakeError, ClientHandshakeOptions, ClientSession, RelayKey, ServiceOptions,
    ServiceSession, client_handshake,
};
pub use server::{
    ServerHandshake, ServerHandshakeError, ServerSession, ServiceClient, server_handshake,
};

use smp_protocol::{BlockCipher, DhSecret, SessionId, SmpVersion};

/// Whether blocks are encrypted inside TLS once both sides have given a key: from version 11 on,
/// except between relays.
fn encrypts_blocks(version: SmpVersion, proxy: bool) -> bool {
    version >= SmpVersion::BLOCK_ENCRYPTION && !proxy
}

/// The cipher of one side, if blocks are encrypted.
fn cipher(
    version: SmpVersion,
    proxy: bool,
    secret: Option<&DhSecret>,
    side: impl FnOnce(&SessionId, &DhSecret) -> BlockCipher,
    session_id: &SessionId,
) -> Option<BlockCipher> {
    secret
        .filter(|_| encrypts_blocks(version, proxy))
        .map(|secret| side(session_id, secret))
}
