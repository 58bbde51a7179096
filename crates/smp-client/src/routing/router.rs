//! Which way a command takes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use smp_protocol::{
    AuthPrivateKey, BrokerError, Command, CommandError, EntityId, ErrorType, LinkData, LinkId,
    MessageFlags, ProxyError, RelayAddress, Response, SenderId, TransportError,
};

use super::proxied::{ProxiedRelay, RoutingError};
use crate::connect::Connector;
use crate::error::ClientError;
use crate::relay::{Patience, Relay, RelayOptions, SessionMode};
use crate::session::{Request, done, linked, named};

/// Ways that are remembered. When there are more, the others are forgotten, which costs a
/// question to the proxy.
const MOST_WAYS: usize = 1024;

/// Sends commands to relays through proxies.
///
/// Each relay has one proxy as long as that works; which one is random, but never the relay
/// itself. If a proxy has no session with the relay, the others are asked. Once a command was
/// handed to a proxy it goes no other way, for the relay may have executed it; only when the proxy
/// says that it lost its session is it sent once more, after asking for a new one.
pub struct Router {
    proxies: Vec<Relay>,
    fallback: Fallback,
    direct: Direct,
    order: RandomState,
    behind: Mutex<HashMap<(RelayAddress, EntityId), Arc<Behind>>>,
}

/// When a command may go directly to the relay.
///
/// Whoever chose the relay (your contact, or whoever runs it) learns this side's network address
/// then, unless a SOCKS proxy hides it; and can bring it about, by refusing proxies. So can a proxy.
/// Therefore
/// [`Fallback::Never`] is the default, and it is decided before anything of the command was sent:
/// never because an answer is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// Never. Without a proxy that works, commands fail.
    #[default]
    Never,
    /// When no proxy works, and only if connections hide the address.
    IfHidden,
    /// When the relay or all proxies are too old for forwarded commands: **shows the address**.
    /// Also as [`Self::IfHidden`].
    IfTooOld,
    /// When no proxy works, for whatever reason: **shows the address**.
    IfUnavailable,
}

/// Which way a command took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Through a proxy.
    Proxied,
    /// Directly, as the [`Fallback`] allows.
    Direct,
}

/// An answer and the way of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed<T> {
    /// What the relay answered.
    pub answer: T,
    /// Which way the command took.
    pub route: Route,
}

impl<T> Routed<T> {
    fn and_then<U>(
        self,
        read: impl FnOnce(T) -> Result<U, ClientError>,
    ) -> Result<Routed<U>, RoutingError> {
        let answer = read(self.answer).map_err(|error| match error {
            ClientError::Misbehaved(what) => RoutingError::Answer(what),
            other => RoutingError::Command(other),
        })?;
        Ok(Routed {
            answer,
            route: self.route,
        })
    }
}

/// A relay behind proxies. Locked while a proxy is asked, so that it is asked once.
#[derive(Default)]
struct Behind {
    way: tokio::sync::Mutex<Option<Way>>,
}

/// A proxy and the relay behind it.
#[derive(Clone)]
struct Way {
    proxy: Relay,
    relay: Arc<ProxiedRelay>,
}

impl Router {
    /// A router through these proxies. `connector` and `options` are for direct connections, if
    /// `fallback` allows any; these are apart from all others.
    #[must_use]
    pub fn new(
        proxies: Vec<Relay>,
        fallback: Fallback,
        connector: Arc<dyn Connector>,
        options: RelayOptions,
    ) -> Self {
        Self {
            proxies,
            fallback,
            direct: Direct {
                connector,
                options,
                relays: Mutex::default(),
            },
            order: RandomState::new(),
            behind: Mutex::default(),
        }
    }

    /// Sends a command to a relay. It has to be one that may be forwarded.
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn request(
        &self,
        relay: &RelayAddress,
        request: Request<'_>,
    ) -> Result<Routed<Response>, RoutingError> {
        if !request.command.may_be_forwarded() {
            return Err(RoutingError::NotForwardable(request.command.tag()));
        }
        let behind = self.behind(relay, request.entity);
        let mut again = true;
        loop {
            let way = match self.way(&behind, relay, request).await {
                Ok(way) => way,
                Err(error) if self.may_go_directly(&error) => {
                    tracing::debug!("a command goes directly to its relay: {error}");
                    let answer = self.direct.request(relay, request).await?;
                    return Ok(Routed {
                        answer,
                        route: Route::Direct,
                    });
                }
                Err(error) => return Err(error),
            };
            let error = match self.send(&way, request).await {
                Ok(answer) => {
                    return Ok(Routed {
                        answer,
                        route: Route::Proxied,
                    });
                }
                Err(error) => error,
            };
            if error.spoils_way() {
                behind.forget(&way).await;
            }
            if !again || !error.was_not_sent() {
                return Err(error.into());
            }
            again = false;
        }
    }

    async fn send(&self, way: &Way, request: Request<'_>) -> Result<Response, SendError> {
        let session = way.proxy.session(request.entity, Patience::default()).await;
        let session = session.map_err(SendError::NoProxy)?;
        session
            .forward(&way.relay, request)
            .await
            .map_err(SendError::Forward)
    }

    /// Lets the holder of this key alone send to a queue (SKEY).
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn sender_secure(
        &self,
        relay: &RelayAddress,
        queue: &SenderId,
        key: &AuthPrivateKey,
    ) -> Result<Routed<()>, RoutingError> {
        let command = Command::Skey(key.public());
        let answer = self
            .request(relay, Request::about(&queue.0, Some(key), &command))
            .await?;
        answer.and_then(|answer| done(&command, answer))
    }

    /// Sends a message, with the sender's key once the queue is secured (SEND).
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn send_message(
        &self,
        relay: &RelayAddress,
        queue: &SenderId,
        key: Option<&AuthPrivateKey>,
        flags: MessageFlags,
        body: Vec<u8>,
    ) -> Result<Routed<()>, RoutingError> {
        let command = Command::Send { flags, body };
        let answer = self
            .request(relay, Request::about(&queue.0, key, &command))
            .await?;
        answer.and_then(|answer| done(&command, answer))
    }

    /// Secures the queue of a link for one and gives what the link shows (LKEY).
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn link_key(
        &self,
        relay: &RelayAddress,
        link: &LinkId,
        key: &AuthPrivateKey,
    ) -> Result<Routed<(SenderId, LinkData)>, RoutingError> {
        let command = Command::Lkey(key.public());
        let answer = self
            .request(relay, Request::about(&link.0, Some(key), &command))
            .await?;
        answer.and_then(|answer| linked(&command, answer))
    }

    /// What a link that many may use shows (LGET).
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn link_data(
        &self,
        relay: &RelayAddress,
        link: &LinkId,
    ) -> Result<Routed<(SenderId, LinkData)>, RoutingError> {
        let command = Command::Lget;
        let answer = self
            .request(relay, Request::about(&link.0, None, &command))
            .await?;
        answer.and_then(|answer| linked(&command, answer))
    }

    /// A relay's JSON about a public name (RSLV).
    ///
    /// # Errors
    /// See [`RoutingError`].
    pub async fn resolve(
        &self,
        relay: &RelayAddress,
        name: String,
    ) -> Result<Routed<String>, RoutingError> {
        let command = Command::Rslv(name);
        let answer = self.request(relay, Request::new(&command)).await?;
        answer.and_then(|answer| named(&command, answer))
    }

    /// What is known of the way to a relay. Where each queue has a session of its own, each asks
    /// its proxy for itself: the proxy chooses the session id that it answers with, and would know
    /// sessions by it that are to have nothing in common.
    fn behind(&self, relay: &RelayAddress, queue: &EntityId) -> Arc<Behind> {
        let apart = self
            .proxies
            .iter()
            .any(|proxy| proxy.mode() == SessionMode::PerQueue);
        let queue = if apart {
            queue.clone()
        } else {
            EntityId::EMPTY
        };
        let key = (relay.clone(), queue);
        let mut behind = self.behind.lock();
        if behind.len() >= MOST_WAYS && !behind.contains_key(&key) {
            behind.clear();
        }
        Arc::clone(behind.entry(key).or_default())
    }

    /// The way to a relay: the one that is known, or the first proxy that finds one.
    async fn way(
        &self,
        behind: &Behind,
        relay: &RelayAddress,
        request: Request<'_>,
    ) -> Result<Way, RoutingError> {
        let mut known = behind.way.lock().await;
        if let Some(way) = &*known {
            return Ok(way.clone());
        }
        let proxies = self.proxies_for(relay);
        let patience = match proxies[..] {
            [_] => Patience::default(),
            _ => Patience::FailFast,
        };
        let mut failed: Option<RoutingError> = None;
        for proxy in proxies {
            match ask(proxy, relay, request, patience).await {
                Ok(proxied) => {
                    let way = Way {
                        proxy: proxy.clone(),
                        relay: Arc::new(proxied),
                    };
                    return Ok(known.insert(way).clone());
                }
                // That some proxy cannot be reached says more than that another is too old.
                Err(error) => {
                    let error = RoutingError::Proxy(error);
                    if failed.as_ref().is_none_or(is_too_old) {
                        failed = Some(error);
                    }
                }
            }
        }
        Err(failed.unwrap_or(RoutingError::NoProxy))
    }

    /// The proxies in the order for this relay, which is random but always the same.
    fn proxies_for(&self, relay: &RelayAddress) -> Vec<&Relay> {
        let fingerprint = relay.fingerprint();
        let proxies = self.proxies.iter();
        let mut proxies: Vec<_> = proxies
            .filter(|proxy| proxy.address().relay.fingerprint() != fingerprint)
            .collect();
        proxies.sort_by_cached_key(|proxy| {
            self.order
                .hash_one((proxy.address().relay.fingerprint(), fingerprint))
        });
        proxies
    }

    /// `error` is why there is no way through a proxy.
    fn may_go_directly(&self, error: &RoutingError) -> bool {
        let hidden = self.direct.connector.hides_address();
        match self.fallback {
            Fallback::Never => false,
            Fallback::IfHidden => hidden,
            Fallback::IfTooOld => hidden || is_too_old(error),
            Fallback::IfUnavailable => true,
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

/// Why a command was not answered through a proxy that had a session with its relay.
enum SendError {
    /// The proxy could not be reached.
    NoProxy(ClientError),
    /// Something went wrong on the way.
    Forward(RoutingError),
}

impl SendError {
    /// Whether the relay certainly did not get the command.
    fn was_not_sent(&self) -> bool {
        match self {
            Self::NoProxy(_) => true,
            Self::Forward(RoutingError::Proxy(ClientError::Refused(error))) => {
                *error == ErrorType::Proxy(ProxyError::NoSession)
            }
            Self::Forward(_) => false,
        }
    }

    /// Whether the proxy has to be asked anew before the next command.
    fn spoils_way(&self) -> bool {
        match self {
            Self::NoProxy(_) => true,
            Self::Forward(RoutingError::Proxy(ClientError::Refused(error))) => {
                matches!(error, ErrorType::Proxy(_))
            }
            Self::Forward(error) => matches!(error, RoutingError::Answer(_)),
        }
    }
}

impl From<SendError> for RoutingError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NoProxy(error) => Self::Proxy(error),
            SendError::Forward(error) => error,
        }
    }
}

impl Behind {
    /// The proxy lost its session. A way that was found meanwhile stays.
    async fn forget(&self, way: &Way) {
        self.way
            .lock()
            .await
            .take_if(|known| Arc::ptr_eq(&known.relay, &way.relay));
    }
}

async fn ask(
    proxy: &Relay,
    relay: &RelayAddress,
    request: Request<'_>,
    patience: Patience,
) -> Result<ProxiedRelay, ClientError> {
    let session = proxy.session(request.entity, patience).await?;
    session.proxy_session(relay).await
}

/// Whether a proxy or the relay behind it knows nothing of forwarding.
fn is_too_old(error: &RoutingError) -> bool {
    let RoutingError::Proxy(error) = error else {
        return false;
    };
    match error {
        ClientError::Version { .. } => true,
        ClientError::Refused(error) => matches!(
            error,
            ErrorType::Cmd(CommandError::Unknown)
                | ErrorType::Proxy(ProxyError::Broker(BrokerError::Transport(
                    TransportError::Version
                )))
        ),
        _ => false,
    }
}

/// Connections without a proxy.
struct Direct {
    connector: Arc<dyn Connector>,
    options: RelayOptions,
    relays: Mutex<HashMap<RelayAddress, Relay>>,
}

impl Direct {
    async fn request(
        &self,
        relay: &RelayAddress,
        request: Request<'_>,
    ) -> Result<Response, RoutingError> {
        let relay = self.relay(relay);
        let session = relay.session(request.entity, Patience::default()).await;
        let session = session.map_err(RoutingError::Command)?;
        session.request(request).await.map_err(|error| match error {
            ClientError::Refused(error) => RoutingError::Relay(error),
            error => RoutingError::Command(error),
        })
    }

    fn relay(&self, address: &RelayAddress) -> Relay {
        let mut relays = self.relays.lock();
        if relays.len() >= MOST_WAYS && !relays.contains_key(address) {
            relays.clear();
        }
        let relay = relays.entry(address.clone()).or_insert_with(|| {
            let connector = Arc::clone(&self.connector);
            Relay::new(connector, address.clone().into(), self.options.clone()).0
        });
        relay.clone()
    }
}
