//! What contacts of SimpleX Chat send each other around a call: chat envelope, batches, compression,
//! call events, profiles, texts, and the channel that carries them.
//!
//! From the outside in: a `SignalChannel` carries bodies; [`decode_body`] makes [`ChatMessage`]s
//! out of one (plain, batched or compressed); a message whose event is one of the five call events
//! holds a [`CallMessage`], one that contacts exchange besides calls its own type (see
//! [`ChatEvent`]), any other is kept raw. "Call protocol" and "chat protocol" in this crate's
//! documentation mean those of SimpleX Chat.
//!
//! ```
//! use call_signal::{CallEvent, CallId, CallMessage, ChatEvent, BodyLimit, Envelope};
//!
//! let end = CallMessage { call_id: CallId([7; 16]), event: CallEvent::End };
//! let message = Envelope::default().call(&end)?;
//! let body = call_signal::encode_body(&[message], BodyLimit::PostQuantum)?;
//! assert_eq!(
//!     body,
//!     br#"{"v":"1-16","event":"x.call.end","params":{"callId":"BwcHBwcHBwcHBwcHBwcHBw=="}}"#,
//! );
//! for message in call_signal::decode_body(&body)? {
//!     assert_eq!(message?.event(), &ChatEvent::Call(end.clone()));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! When two people connect, each sends a [`Profile`] as connection info, which has no id; texts have
//! one:
//!
//! ```
//! use call_signal::{BodyLimit, DisplayName, Envelope, Profile};
//! use rand::rand_core::UnwrapErr;
//! use rand::rngs::SysRng;
//!
//! let alice = Profile::new(DisplayName::new("alice")?);
//! let info = Envelope::default().profile(&alice)?;
//! assert_eq!(
//!     call_signal::encode_body(&[info], BodyLimit::Info)?,
//!     br#"{"v":"1-16","event":"x.info","params":{"profile":{"displayName":"alice","fullName":""}}}"#,
//! );
//! let hello = Envelope::random(&mut UnwrapErr(SysRng)).text("hello")?;
//! assert!(hello.id().is_some());
//! assert_eq!(hello.raw_params(), r#"{"content":{"text":"hello","type":"text"}}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a peer sends never panics here, and costs memory in proportion to named limits only. Errors
//! say whose fault it was: [`MessageError`], [`BodyError`] and [`LzError`](lz_string::LzError) are
//! the peer's, [`EncodeError`] ours, `ChannelError` the network's. None repeats what the message
//! said, since that holds keys and addresses.
//!
//! Without the default feature `channel` the crate does not need tokio.

mod body;
mod call_json;
#[cfg(feature = "channel")]
mod channel;
mod chat_event;
mod compression;
mod contact;
mod contact_json;
mod content;
mod content_json;
mod display_name;
mod error;
mod event;
mod json;
pub mod lz_string;
mod message;
mod session;
mod version;

pub use body::{
    BodyLimit, MAX_BODY, MAX_INFO, MAX_INFO_POST_QUANTUM, MAX_JSON, MAX_MESSAGES, MAX_POST_QUANTUM,
    decode_body, encode_body,
};
#[cfg(feature = "channel")]
pub use channel::{
    ChannelError, Incoming, Lines, MAX_LINE, MEMORY_CAPACITY, MemoryChannel, OutgoingMessage,
    ReceivedMessage, RefusedBody, SentId, SignalChannel, memory_pair,
};
pub use chat_event::ChatEvent;
pub use contact::{ContactRequest, ContactRequestId, Profile, ProfileImage, RequestMessage};
pub use content::{
    Container, MessageContent, MessageDeletion, MessageRef, MessageUpdate, NewMessage, Quote,
};
pub use display_name::{DisplayName, NameError, printable_line};
pub use error::{BodyError, EncodeError, FieldError, FieldFault, MessageError};
pub use event::{
    Answer, CallDhPublicKey, CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersion,
    CallVersionRange, ExtraCandidates, IceCandidate, Invitation, Offer, RtcSession, SdpKind,
    SessionDescription,
};
pub use json::{NotJson, RawJson};
pub use message::{ChatMessage, Envelope, MessageId};
pub use session::{MAX_CANDIDATES_TEXT, parse_candidates, write_candidates};
pub use version::{ChatVersionRange, NotAVersionRange};

/// Most candidates taken from one message.
pub const MAX_CANDIDATES: usize = 256;

/// Longest SDP text in bytes.
pub const MAX_SDP: usize = 48 * 1024;

/// Longest name, description or peer type of a profile in bytes; what is shown is far shorter.
pub const MAX_PROFILE_TEXT: usize = 4096;

/// Longest picture of a profile in bytes of its data URI: no longer one fits a message.
pub const MAX_PROFILE_IMAGE: usize = MAX_JSON;
