//! The SimpleX Messaging Protocol, without input and output.
//!
//! "Document" in this crate's documentation means the description of the protocol,
//! `simplex-messaging.md`, version 20. Where relays do otherwise than it says, the item tells.
//!
//! From the outside in: a session begins with a [`ServerHello`] and a [`ClientHello`], which give
//! the [`SessionParams`]. All later [`Block`]s are encrypted by a [`BlockCipher`] (from version 11
//! on) and hold [`transmissions`]. A [`Transmission`] says by its [`Authorization`] who sent it, by
//! its [`EntityId`] what it is about, and holds a [`Command`] or a [`Response`]. What those carry
//! encrypted has types of its own: [`ReceivedMessage`] and [`NotificationMeta`] between relay and
//! recipient, [`ForwardSecret`] and [`ForwardedTransmission`] for commands through a proxy, and
//! [`ClientEnvelope`] between sender and recipient.
//!
//! ```
//! use rand::SeedableRng;
//! use rand::rngs::{StdRng, SysRng};
//! use smp_protocol::{
//!     AuthKeyKind, AuthPrivateKey, BlockCipher, BlockWriter, Command, CorrId, DhPrivateKey,
//!     DhSecret, EncodeError, EntityId, SessionId, SessionKey, SessionParams, SmpVersion,
//!     Transmission, Unsigned, authorize, transmissions, verify,
//! };
//!
//! let mut rng = StdRng::try_from_rng(&mut SysRng)?;
//! // Both sides know this from the hellos.
//! let (client, relay) = (DhPrivateKey::generate(&mut rng), DhPrivateKey::generate(&mut rng));
//! let params = SessionParams::new(SmpVersion::NAMES, SessionId::generate(&mut rng));
//! let secret = DhSecret::agree(&client, &relay.public())?;
//!
//! // The client subscribes to its queue.
//! let queue_key = AuthPrivateKey::generate(&mut rng, AuthKeyKind::X25519);
//! let (corr_id, queue) = (CorrId::generate(&mut rng), EntityId::generate(&mut rng));
//! let command = Unsigned::new(&params, Some(&corr_id), &queue, |out| {
//!     Command::Sub.encode(params.version, out)
//! })?;
//! let signed = command.signed_bytes(&params);
//! let authorization = authorize(&queue_key, Some(&relay.public()), &corr_id, &signed)?;
//! let mut writer = BlockWriter::new();
//! let fits = writer.try_push_with(|out| {
//!     command.encode(&params, &authorization, None, out);
//!     Ok::<(), EncodeError>(())
//! })?;
//! assert!(fits);
//! let mut cipher = BlockCipher::client(&params.session_id, &secret);
//! let mut block = writer.finish(Some(&mut cipher.sealer));
//!
//! // The relay decrypts the block where it stands and reads what is in it.
//! let mut cipher = BlockCipher::server(&params.session_id, &secret);
//! for bytes in transmissions(cipher.open(&mut block)?)? {
//!     let received = Transmission::decode(bytes, &params)?;
//!     assert_eq!(Command::decode(params.version, received.command)?, Command::Sub);
//!     let signed = received.signed_bytes(&params);
//!     let key = SessionKey::Private(&relay);
//!     assert!(verify(&queue_key.public(), key, &received.authorization, &corr_id, &signed));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a peer sends never panics here, and no reader allocates more than what it was given. Errors
//! name the value that was wrong and never repeat it. Keys wipe themselves, and neither they nor
//! ids, addresses or messages show in `Debug`.

mod auth;
mod block;
mod certificate;
pub mod encoding;
mod envelope;
mod handshake;
mod id;
mod key;
mod message;
mod proxy;
mod secret_box;
mod session;
mod transmission;
mod version;

pub use auth::{
    AUTHENTICATOR_SIZE, Authorization, AuthorizeError, SessionKey, authorize, verify, verify_dummy,
    verify_signature,
};
pub use block::{
    BLOCK_SIZE, Block, BlockCipher, BlockError, BlockOpener, BlockSealer, BlockWriter, MAX_CONTENT,
    MAX_TRANSMISSION, MAX_TRANSMISSIONS, Transmissions, empty_block, plain_block, plain_content,
    transmissions,
};
pub use certificate::{
    CertChainAndKey, CertificateChain, FINGERPRINT_SIZE, Fingerprint, MAX_CERTIFICATES,
    SIGNED_KEY_BYTES, SignatureAlgorithm, SignedKey,
};
pub use encoding::{DecodeError, EncodeError, Reader};
pub use envelope::{
    ClientEnvelope, ClientMessage, OpenedMessage, PADDED_CONFIRMATION, PADDED_ENVELOPE,
    PrivateHeader,
};
pub use handshake::{ClientHello, ClientService, ServerHello, ServiceReply, ServiceRole};
pub use id::{
    CorrId, EntityId, ID_SIZE, LinkId, MessageId, NotifierId, ProxySessionId, RecipientId,
    SenderId, ServiceId, SessionId,
};
pub use key::{
    AuthKeyKind, AuthPrivateKey, AuthPublicKey, DhPrivateKey, DhPublicKey, DhSecret, KEY_SIZE,
    SPKI_SIZE, WeakPublicKey,
};
pub use message::{
    NotificationMeta, ReceivedMessage, SEALED_MESSAGE_SIZE, SEALED_NOTIFICATION_SIZE,
};
pub use proxy::{
    FORWARDED_SIZE, ForwardSecret, ForwardedResponse, ForwardedTransmission,
    MAX_FORWARDED_TRANSMISSION,
};
pub use secret_box::{BoxKey, NONCE_SIZE, Nonce, OpenError, PAD_LENGTH_SIZE, TAG_SIZE, pad, unpad};
pub use session::SessionParams;
pub use transmission::{
    SIGNATURE_SIZE, SignedBytes, Transmission, TransmissionError, Unsigned, encode_unauthorized,
};
pub use version::{InvalidVersionRange, SmpVersion, VersionRange, max_message_length};

// Commands and answers.
mod address;
mod command;
mod error;
mod flags;
mod ids_hash;
mod response;

pub use address::{
    AddressError, BasicAuth, ClientVersion, ClientVersionRange, DEFAULT_PORT, Host, HostName,
    MAX_ADDRESS, MAX_HOSTS, QueueUri, RelayAddress, ServerAddress, WEB_PORT,
};
pub use command::{
    Command, Credentials, LinkData, MAX_NAME, MAX_RECIPIENT_KEYS, Need, NewQueue, QueueMode,
    QueueRequest, UNKNOWN_COUNT,
};
pub use error::{
    BlockingInfo, BlockingReason, BrokerError, CommandError, ErrorType, HandshakeError,
    MAX_BLOCKING_REASON, MAX_ERROR_DEPTH, NameError, NetworkError, ProxyError, TransportError,
};
pub use flags::MessageFlags;
pub use ids_hash::IdsHash;
pub use response::{QueueIds, Response, ResponseError};
