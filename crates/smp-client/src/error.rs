//! What can go wrong, and whose fault it is.

use std::io;
use std::sync::Arc;

use smp_protocol::{
    AuthorizeError, BrokerError, EncodeError, ErrorType, NetworkError, ProxyError, SmpVersion,
    TransportError,
};
use smp_transport::{BlockIoError, ChainError, ClientHandshakeError, TlsError};
use thiserror::Error;

/// Who has to change something for it to go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller asked for what cannot be.
    Ours,
    /// The relay refused, or does not keep to the protocol.
    Relay,
    /// The network, or a relay that is not there; later it may go well.
    Network,
}

/// Why a command has no answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Ours: the command does not fit into a block, or one of its fields has a wrong length.
    #[error("the command cannot be sent: {0}")]
    Encode(#[from] EncodeError),
    /// Ours: the session's version does not have this command.
    #[error("the command needs version {} of the protocol, the session has {}", .needs.0, .has.0)]
    Version {
        /// The first version that has it.
        needs: SmpVersion,
        /// The session's version.
        has: SmpVersion,
    },
    /// Ours: the queue's key cannot authorise commands in this session. Above all an X25519 key in
    /// a session of version 6, whose relay has no session key.
    #[error("the command cannot be authorised: {0}")]
    Authorize(#[from] AuthorizeError),
    /// Ours: the session is not one of a service, which the command needs.
    #[error("the session is not one of a service")]
    NoService,
    /// Relay: it answered with an error.
    #[error(transparent)]
    Refused(#[from] ErrorType),
    /// Relay: it does not keep to the protocol.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
    /// Network: no answer in time. The relay may have executed the command nevertheless.
    #[error("the relay did not answer in time")]
    Timeout,
    /// The session is over, see the reason. The relay may have executed the command nevertheless.
    #[error("the connection is over: {0}")]
    Disconnected(#[from] DisconnectReason),
    /// There is no connection.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
}

impl ClientError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Encode(_) | Self::Version { .. } | Self::Authorize(_) | Self::NoService => {
                Fault::Ours
            }
            Self::Refused(_) | Self::Misbehaved(_) => Fault::Relay,
            Self::Timeout => Fault::Network,
            Self::Disconnected(reason) => reason.fault(),
            Self::Connect(error) => error.fault(),
        }
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Timeout | Self::Disconnected(_) => true,
            Self::Connect(error) => error.is_temporary(),
            Self::Refused(error) => matches!(error, ErrorType::Internal | ErrorType::Store(_)),
            _ => false,
        }
    }

    /// What a proxy answers its client when forwarding ended like this.
    #[must_use]
    pub fn to_proxy_error(&self) -> ProxyError {
        ProxyError::Broker(match self {
            Self::Refused(error) => return ProxyError::Protocol(Box::new(error.clone())),
            Self::Connect(error) => return error.to_proxy_error(),
            Self::Timeout => BrokerError::Timeout,
            Self::Encode(_) => BrokerError::Transport(TransportError::LargeMsg),
            Self::Version { .. } => BrokerError::Transport(TransportError::Version),
            Self::Authorize(_) => BrokerError::Transport(TransportError::NoAuth),
            Self::NoService => BrokerError::NoService,
            Self::Misbehaved(Misbehaviour::Unexpected { .. }) => {
                BrokerError::Unexpected(String::new())
            }
            Self::Misbehaved(_) => BrokerError::Response(String::new()),
            Self::Disconnected(_) => BrokerError::Network(NetworkError::Failed),
        })
    }
}

/// How a relay broke the protocol. None of it repeats what the relay sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A block, a transmission or an answer that cannot be read.
    #[error("the relay sent what cannot be read")]
    Unreadable,
    /// An answer to a command that was never sent.
    #[error("the relay answered a command that was not sent")]
    UnknownCommand,
    /// An answer about another queue than the command's.
    #[error("the relay answered about another queue")]
    ForeignEntity,
    /// An answer that does not fit the command.
    #[error("the relay answered {command} with {response}")]
    Unexpected {
        /// The command's tag.
        command: &'static str,
        /// The answer's tag.
        response: &'static str,
    },
    /// An answer that belongs to no command and is no event.
    #[error("the relay sent {0} without being asked")]
    Unasked(
        /// The answer's tag.
        &'static str,
    ),
    /// More events than the session's subscriptions explain.
    #[error("the relay sent more events than there are subscriptions for")]
    Flood,
    /// The answer through a proxy was not encrypted by the relay that the command was for.
    #[error("the answer through the proxy is not the relay's")]
    Forged,
    /// The proxy's relay shows certificates of another one, or a key that it did not sign.
    #[error("the proxy answered with the key of another relay")]
    ForeignKey,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This side closed it.
    #[error("it was closed")]
    Closed,
    /// This side closed it because nothing used it.
    #[error("it was closed because nothing used it")]
    Idle,
    /// The relay closed it.
    #[error("the relay closed it")]
    ClosedByRelay,
    /// The network failed.
    #[error("the network failed ({0})")]
    Network(io::ErrorKind),
    /// The relay answers no more.
    #[error("the relay does not answer any more")]
    Unresponsive,
    /// The relay could not read what this side sent.
    #[error("the relay could not read a block: {0}")]
    Refused(ErrorType),
    /// The relay does not keep to the protocol.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
}

impl DisconnectReason {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Closed | Self::Idle => Fault::Ours,
            Self::Misbehaved(_) | Self::Refused(_) => Fault::Relay,
            Self::ClosedByRelay | Self::Network(_) | Self::Unresponsive => Fault::Network,
        }
    }
}

impl From<BlockIoError> for DisconnectReason {
    fn from(error: BlockIoError) -> Self {
        match error {
            BlockIoError::Io(error) => Self::Network(error.kind()),
            BlockIoError::CutOff { .. } => Self::Network(io::ErrorKind::UnexpectedEof),
            _ => Self::Misbehaved(Misbehaviour::Unreadable),
        }
    }
}

/// Why there is no session with a relay. If several hosts were tried, that of the last one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Ours: no host of the address may be used: onion hosts need a SOCKS proxy, and the options
    /// may forbid the others.
    #[error("no host of the relay's address can be used with these options")]
    NoUsableHost,
    /// Ours: the host is in a network that the options forbid.
    #[error("the relay's host is not a public address")]
    NotPublic,
    /// Ours: TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Setup(String),
    /// Network: the name of the host was not resolved.
    #[error("the name of the relay's host was not resolved")]
    Resolve(#[source] io::Error),
    /// Network: no connection.
    #[error("the relay cannot be reached: {0}")]
    Tcp(#[source] io::Error),
    /// Network: the SOCKS proxy did not connect.
    #[error("the SOCKS proxy did not connect: {0}")]
    Socks(#[from] SocksError),
    /// Network: not in time.
    #[error("the relay did not take the connection in time")]
    Timeout,
    /// Relay: TLS failed, above all [`TlsError::Chain`], with which it is another relay.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Relay: it is too old to take forwarded commands.
    #[error("the relay has version {} of the protocol, too old for forwarded commands", .0.0)]
    TooOld(SmpVersion),
    /// Relay: the handshake inside TLS failed.
    #[error(transparent)]
    Handshake(#[from] ClientHandshakeError),
}

impl ConnectError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoUsableHost | Self::NotPublic | Self::Setup(_) => Fault::Ours,
            Self::Resolve(_)
            | Self::Tcp(_)
            | Self::Socks(_)
            | Self::Timeout
            | Self::Tls(TlsError::Io(_) | TlsError::Closed)
            | Self::Handshake(ClientHandshakeError::Io(_) | ClientHandshakeError::Closed) => {
                Fault::Network
            }
            Self::Handshake(ClientHandshakeError::TooLong(_)) => Fault::Ours,
            Self::Tls(_) | Self::TooOld(_) | Self::Handshake(_) => Fault::Relay,
        }
    }

    /// Whether it may go well later. Relays are repaired, so only what this side's options forbid
    /// stays as it is.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.fault() != Fault::Ours
    }

    /// What a proxy answers its client when this is why it has no session.
    #[must_use]
    pub fn to_proxy_error(&self) -> ProxyError {
        let transport = |error| ProxyError::Broker(BrokerError::Transport(error));
        let network = match self {
            Self::NoUsableHost | Self::NotPublic => return ProxyError::Broker(BrokerError::Host),
            Self::TooOld(_) => return transport(TransportError::Version),
            Self::Handshake(error) => match error.transport_error() {
                Some(error) => return transport(error),
                None => NetworkError::Failed,
            },
            Self::Timeout => NetworkError::Timeout,
            Self::Tls(TlsError::Chain(ChainError::WrongFingerprint)) => NetworkError::UnknownCa,
            Self::Tls(TlsError::Io(_) | TlsError::Closed) | Self::Setup(_) => NetworkError::Failed,
            Self::Tls(_) => NetworkError::Tls(String::new()),
            Self::Resolve(_) | Self::Tcp(_) | Self::Socks(_) => {
                NetworkError::Connect(String::new())
            }
        };
        ProxyError::Broker(BrokerError::Network(network))
    }
}

/// Why a SOCKS proxy did not connect (RFC 1928, sections 3 and 6; RFC 1929).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocksError {
    /// The proxy itself cannot be reached, or the connection to it ended.
    #[error("the proxy cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// What answered does not speak SOCKS5.
    #[error("the proxy does not speak SOCKS5")]
    NotSocks5,
    /// The proxy takes no user names, so that it keeps no connections apart.
    #[error("the proxy takes no user names and so cannot keep connections apart")]
    NoIsolation,
    /// The proxy does not take this user name.
    #[error("the proxy refused the user name")]
    Unauthorised,
    /// The proxy refused, with its code.
    #[error("the proxy refused with code {0}")]
    Refused(u8),
}
