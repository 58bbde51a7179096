//! Private audio and video calls without identifiers: the SDK.

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
mod session;
mod statistics;
mod transport;

pub use call_core::{
    EndReason, IceServer, IceServerError, MissedReason, PlaceError, Refusal, ServerListError,
    parse_servers,
};
pub use call_signal::{CallId, CallMedia, SignalChannel};
pub use config::{Config, ConfigError};
pub use media::MediaStreams;
pub use phone::{Call, CallError, CallEvent, Ended, IncomingCall, Phone, PhoneEvent};
pub use statistics::{AudioStatistics, FrameStatistics, Statistics};
pub use transport::{
    DroppedDatagrams, LineStatistics, MediaLine, SrtpProfile, TransportStatistics,
};

#[cfg(test)]
mod tests;
