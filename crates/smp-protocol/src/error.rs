//! What a relay answers when a command fails (document, "Error responses" and "Resolver commands").
//!
//! Each error has two texts: the exact bytes of the wire (`encode`, `decode`) and a sentence for
//! people (`Display`), which repeats nothing that the peer said.

mod text;

use thiserror::Error;

/// How many times an error of a proxy may hold another error of a proxy.
pub const MAX_ERROR_DEPTH: usize = 4;

/// Longest text of a [`BlockingReason`] that this crate does not know, in bytes.
pub const MAX_BLOCKING_REASON: usize = 64;

/// Why a relay refused a command, behind `ERR`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ErrorType {
    /// `BLOCK`: the block, its encoding or the size of an authorization is wrong.
    #[error("the relay could not read the block")]
    Block,
    /// `SESSION`: the session id is missing or another session's.
    #[error("the command belongs to another session")]
    Session,
    /// `CMD`: the command itself is wrong.
    #[error("the relay refused the command: {0}")]
    Cmd(CommandError),
    /// `PROXY`: the relay could not forward the command.
    #[error("the proxy could not forward the command: {0}")]
    Proxy(ProxyError),
    /// `AUTH`: wrong authorization, a queue that does not exist or is suspended, and more; a relay
    /// does not tell which.
    #[error("the relay does not accept the authorization, or there is no such queue")]
    Auth,
    /// `BLOCKED`: the operator blocked the queue. From version 12 on, before it is [`Self::Auth`].
    #[error("the operator of the relay blocked this queue because of {}", .0.reason)]
    Blocked(BlockingInfo),
    /// `SERVICE`: something is wrong with the service of this session.
    #[error("the relay does not accept this service here")]
    Service,
    /// `CRYPTO`: a cryptographic operation failed.
    #[error("a cryptographic operation failed at the relay")]
    Crypto,
    /// `QUOTA`: the queue is full until its recipient has taken every message.
    #[error("the queue is full until its recipient has received every message")]
    Quota,
    /// `STORE`: the relay's storage failed, with its own words.
    #[error("the storage of the relay failed")]
    Store(String),
    /// `EXPIRED`: the key of the relay has expired.
    #[error("the key of the relay has expired")]
    Expired,
    /// `NO_MSG`: there is no message, or its id is another one.
    #[error("there is no such message to acknowledge")]
    NoMsg,
    /// `LARGE_MSG`: longer than [`max_message_length`](crate::max_message_length).
    #[error("the message is too large")]
    LargeMsg,
    /// `INTERNAL`: an error inside the relay.
    #[error("the relay has an internal error")]
    Internal,
    /// `DUPLICATE_`: used inside relays, which do not send it.
    #[error("the relay found the same id twice")]
    Duplicate,
    /// `NAME`: a name could not be resolved. From version 20 on.
    #[error("the name was not resolved: {0}")]
    Name(NameError),
}

/// What is wrong with a command (`ERR CMD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// `UNKNOWN`: no such command in this version.
    #[error("it does not know this command")]
    Unknown,
    /// `SYNTAX`: the parameters cannot be read, or something follows them.
    #[error("its parameters cannot be read")]
    Syntax,
    /// `PROHIBITED`: not now, or not here.
    #[error("it is not allowed here")]
    Prohibited,
    /// `NO_AUTH`: the command needs an authorization and a queue id.
    #[error("it needs an authorization and a queue")]
    NoAuth,
    /// `HAS_AUTH`: the command may not have an authorization or a queue id.
    #[error("it may have neither authorization nor queue")]
    HasAuth,
    /// `NO_ENTITY`: the command needs a queue id.
    #[error("it needs a queue")]
    NoEntity,
}

/// Why a proxy did not forward a command (`ERR PROXY`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// `PROTOCOL`: what the destination relay answered to the proxy.
    #[error("the destination relay refused: {0}")]
    Protocol(Box<ErrorType>),
    /// `BROKER`: the proxy did not get through to the destination relay.
    #[error("{0}")]
    Broker(BrokerError),
    /// `BASIC_AUTH`: the proxy wants another password.
    #[error("the password is wrong")]
    BasicAuth,
    /// `NO_SESSION`: the proxy has no session with this id.
    #[error("it has no session with the destination relay")]
    NoSession,
}

/// What happened between a proxy and the destination relay (`ERR PROXY BROKER`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// `RESPONSE`: the answer could not be read. At most 255 bytes are written.
    #[error("the answer of the destination relay cannot be read")]
    Response(String),
    /// `UNEXPECTED`: the answer does not fit the command. At most 255 bytes are written.
    #[error("the answer of the destination relay does not fit")]
    Unexpected(String),
    /// `NETWORK`: no connection.
    #[error("{0}")]
    Network(NetworkError),
    /// `TIMEOUT`: no answer in time.
    #[error("the destination relay did not answer in time")]
    Timeout,
    /// `HOST`: none of the relay's hosts may be used, say an onion host without Tor.
    #[error("no host of the destination relay can be used")]
    Host,
    /// `NO_SERVICE`: the proxy's client has no service.
    #[error("the service is not available")]
    NoService,
    /// `TRANSPORT`: the handshake or the transport failed.
    #[error("{0}")]
    Transport(TransportError),
}

/// Why there is no connection (`ERR PROXY BROKER NETWORK`).
///
/// `NETWORK` alone, and with words that are none of these, is [`Self::Failed`]. Details are written
/// from version 20 on: older programs send none and need not know them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// `CONNECT`: the connection was not made. At most 255 bytes are written.
    #[error("the destination relay cannot be reached")]
    Connect(String),
    /// `TLS`: TLS failed. At most 255 bytes are written.
    #[error("the secure connection to the destination relay failed")]
    Tls(String),
    /// `UNKNOWNCA`: the certificate is not the one in the relay's address.
    #[error("the destination relay has another certificate than its address says")]
    UnknownCa,
    /// `FAILED`, or nothing: it failed.
    #[error("the network failed on the way to the destination relay")]
    Failed,
    /// `TIMEOUT`: not in time.
    #[error("the destination relay could not be reached in time")]
    Timeout,
    /// `SUBSCRIBE`: a subscription failed. At most 255 bytes are written.
    #[error("the subscription at the destination relay failed")]
    Subscribe(String),
}

/// What failed below the commands (`TRANSPORT`, and the answer to a service's handshake).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// `BLOCK`: a block cannot be read.
    #[error("a transport block cannot be read")]
    Block,
    /// `VERSION`: no version in common.
    #[error("the versions do not fit together")]
    Version,
    /// `LARGE_MSG`: more than a block holds.
    #[error("the message is too large for a transport block")]
    LargeMsg,
    /// `SESSION`: the session id is wrong.
    #[error("the session id is wrong")]
    Session,
    /// `NO_AUTH`: the relay gave no key, which the authorization needs.
    #[error("the relay gave no session key")]
    NoAuth,
    /// `HANDSHAKE`: the handshake failed.
    #[error("{0}")]
    Handshake(HandshakeError),
}

/// What failed in a handshake (`TRANSPORT HANDSHAKE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `PARSE`: a hello cannot be read.
    #[error("the handshake cannot be read")]
    Parse,
    /// `IDENTITY`: the certificate is not the one in the relay's address.
    #[error("the relay is not the one that its address names")]
    Identity,
    /// `BAD_AUTH`: the credentials are missing or wrong.
    #[error("the credentials in the handshake are missing or wrong")]
    BadAuth,
    /// `BAD_SERVICE`: the credentials of the service are wrong.
    #[error("the credentials of the service are wrong")]
    BadService,
}

/// Why a name was not resolved (`ERR NAME`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// `NOT_FOUND`: there is no such name, and no use in asking another relay.
    #[error("there is no such name")]
    NotFound,
    /// `NO_RESOLVER`: this relay resolves no names; another may.
    #[error("this relay resolves no names")]
    NoResolver,
    /// `RESOLVER`: the resolver failed for now, with its own words.
    #[error("the resolver failed")]
    Resolver(String),
}

/// Why and with what words an operator blocked a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockingInfo {
    /// The reason.
    pub reason: BlockingReason,
    /// JSON for the client, not looked into. From version 18 on, before it is left out.
    pub notice: Option<String>,
}

/// The reason for which an operator blocked a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingReason {
    /// `spam`.
    Spam,
    /// `content`.
    Content,
    /// A reason of newer relays: letters, digits, `_` and `-`, at most [`MAX_BLOCKING_REASON`].
    Unknown(String),
}

impl std::fmt::Display for BlockingReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Spam => "spam",
            Self::Content => "its content",
            Self::Unknown(_) => "its rules",
        })
    }
}

impl From<CommandError> for ErrorType {
    fn from(error: CommandError) -> Self {
        Self::Cmd(error)
    }
}

impl From<ProxyError> for ErrorType {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl From<NameError> for ErrorType {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<HandshakeError> for TransportError {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}
