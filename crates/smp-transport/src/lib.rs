//! SMP's transport for clients and relays: TLS bound to a relay's certificates, blocks of 16,384
//! bytes, WebSocket for browsers, and the handshake with which a session begins.
//!
//! "Document" in this crate's documentation means the description of the protocol,
//! `simplex-messaging.md`, version 20. What it calls a router is a relay here.
//!
//! From the outside in: [`ServerTls::accept`] or [`ClientTls::connect`] make a [`TlsStream`];
//! [`BlockStream`], or [`WebSocketBlocks`] for browsers, makes it a [`BlockIo`];
//! [`server_handshake`] or [`client_handshake`] begin the session on that. Blocks and handshake
//! know no TLS and also run over a stream in memory, with a session id that both sides are told.
//!
//! # What stands for the session
//!
//! The session id is the client's Finished message of the TLS connection, which both sides see
//! and nobody in between can make the same twice. A browser cannot see it: it believes the id in
//! the relay's hello and verifies the relay by the signed key beside it. The relay puts there the
//! Finished message of the browser's TLS connection all the same, so that no two sessions share an
//! id. What a browser's session lacks is the proof that nobody sits between: that rests on the web
//! certificate.
//!
//! # Certificates
//!
//! A relay's identity is the fingerprint of the second certificate of its chain, however long the
//! chain is: there all clients look for it. The document's text calls it the offline certificate,
//! and with three certificates that is the second one only if the third is an operator's. So who
//! makes session certificates below an online one publishes the online one's fingerprint.

mod block;
mod certificate;
mod error;
mod handshake;
mod signed_key;
mod tls;

pub use block::{BlockIo, BlockIoError, BlockStream, WebSocketBlocks, WebSocketError};
pub use certificate::{
    Certificate, ChainError, CredentialsError, FileError, IfExists, Purpose, SigningKey,
    TlsCredentials, Validity, WebCredentials, read_certificates, verify_chain,
    verify_service_chain, write_certificates, write_key,
};
pub use error::OpenSslError;
pub use handshake::{
    ClientHandshakeError, ClientHandshakeOptions, ClientSession, RelayKey, ServerHandshake,
    ServerHandshakeError, ServerSession, ServiceClient, ServiceOptions, ServiceSession,
    client_handshake, server_handshake,
};
pub use signed_key::{SignedKeyError, sign_key, verify_relay_key, verify_service_key};
pub use tls::{
    Accepted, ClientTls, ClientTlsOptions, ServerConnection, ServerTls, TlsError, TlsStream,
};
