//! Private audio and video calls without identifiers: the SDK.
//!
//! A [`Phone`] makes calls with one contact. What it asks of the application is a
//! [`SignalChannel`], over which the two sides exchange a few messages, and [`MediaStreams`]: where
//! sound and video come from and go to. Everything between is done here: the call's states and
//! keys, addresses and relays, Opus, the jitter buffer, end-to-end encryption of frames, and SRTP
//! with AES-256-GCM.
//!
//! ```no_run
//! use sotto::media::{WavSink, WavSource};
//! use sotto::signal::Lines;
//! use sotto::{CallEvent, CallMedia, Config, MediaStreams, Phone, parse_servers};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Any program can carry the messages: here they go over standard input and output.
//! let channel = Lines::new(tokio::io::stdin(), tokio::io::stdout());
//! let config = Config {
//!     ice_servers: parse_servers("turn:user:password@turn.example.org")?,
//!     ..Config::default()
//! };
//! let phone = Phone::new(channel, config)?;
//!
//! let streams = MediaStreams {
//!     audio_in: Some(Box::new(WavSource::open("hello.wav")?)),
//!     audio_out: Some(Box::new(WavSink::create("heard.wav")?)),
//!     ..MediaStreams::default()
//! };
//! let mut call = phone.place(CallMedia::Audio, streams).await?;
//! while let Some(event) = call.next_event().await {
//!     match event {
//!         CallEvent::Connected { srtp_profile } => eprintln!("under {}", srtp_profile.name()),
//!         CallEvent::Ended(ended) => eprintln!("over: {:?}", ended.reason),
//!         _ => {}
//!     }
//! }
//! phone.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! | | |
//! |---|---|
//! | [`Phone`], [`PhoneEvent`] | calls with one contact, and what happens outside a call |
//! | [`IncomingCall`], [`Call`], [`CallEvent`], [`Ended`] | one call from its first ring to its end |
//! | [`Config`] | servers and what may be shown to the peer; by default nothing but a relay's address |
//! | [`MediaStreams`], [`media`] | sources and sinks: files, and the traits for devices of your own |
//! | [`signal`] | the channel between the two sides, and what it takes to bring your own |
//! | [`Statistics`] | times, network, frame encryption, audio |
//!
//! The page `docs/SDK.md` of the repository goes through all of it with complete examples.
//!
//! # Runtime
//!
//! A phone runs as tasks of the tokio runtime in which it is made, which must have I/O and time
//! enabled. Sources and sinks are called from there every 20 ms, so they must not wait.
//!
//! # Feature flags
//!
//! `harness` is for this crate's benchmarks. It has no stable interface.

mod account;
mod config;
mod driver;
mod engine;
mod gather;
#[cfg(any(test, feature = "harness"))]
#[doc(hidden)]
pub mod harness;
pub mod media;
mod network;
mod phone;
mod pipeline;
mod session;
mod statistics;
mod transport;

pub use account::{
    Account, AccountError, AccountEvent, AccountEvents, AccountOptions, CallPermission,
    ConnectStage, Contact, ContactId, ContactProblem, ContactRequest, ContactState,
    INVITATION_LIFE, Invitation, LINK_PATIENCE, LinkProblem, MissedCall, NotACode, SecurityCode,
    ServerProblem, Servers, TextId,
};
pub use call_core::{
    EndReason, IceServer, IceServerError, MissedReason, PlaceError, Refusal, ServerListError,
    parse_servers,
};
pub use call_signal::{
    CallId, CallMedia, DisplayName, MessageId, NameError, Profile, SignalChannel,
};
pub use config::{Config, ConfigError};
pub use media::{MediaStreams, Source};
pub use phone::{Call, CallError, CallEvent, Ended, IncomingCall, Phone, PhoneEvent};
pub use smp_agent::core::{FailReason, Links, Step as ConnectStep, UndeliveredReason};
pub use smp_agent::{RequestId, Routing, StoreError, StoreKey};
pub use statistics::{AudioStatistics, FrameStatistics, Statistics};
pub use transport::{
    DroppedDatagrams, LineStatistics, MediaLine, SrtpProfile, TransportStatistics,
};

/// The channel between the two sides of a call.
///
/// [`Lines`](signal::Lines) and [`memory_pair`](signal::memory_pair) are ready to use. A channel of
/// your own implements [`SignalChannel`], with [`encode_body`](signal::encode_body) and
/// [`decode_body`](signal::decode_body) for what goes over the wire.
pub mod signal {
    pub use call_signal::{
        BodyError, BodyLimit, ChannelError, ChatMessage, EncodeError, Incoming, Lines,
        MemoryChannel, MessageError, OutgoingMessage, ReceivedMessage, RefusedBody, SentId,
        SignalChannel, decode_body, encode_body, memory_pair,
    };
}

/// Compiles the examples of the SDK's page, and runs those that need no network.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/SDK.md")]
struct SdkPage;

#[cfg(test)]
mod tests;
