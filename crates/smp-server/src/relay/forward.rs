//! Commands through two relays, so that neither knows both who sends and to whom.
//!
//! As a proxy this relay keeps one session with each other relay for all its clients (PRXY, PFWD);
//! as the destination it takes what other relays forward (RFWD).

mod sessions;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use smp_protocol::{
    Authorization, BasicAuth, Command, CommandError, CorrId, DhPublicKey, EntityId, ErrorType,
    ForwardSecret, ForwardedResponse, ForwardedTransmission, OpenError, ProxyError, RelayAddress,
    Response, SessionParams, SmpVersion, Transmission, TransmissionError, encode_unauthorized,
};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub(crate) use self::sessions::{Forwarder, ForwarderLimits};
use super::Relay;
use super::access::{KeyCache, Proof, Target};
use super::inbox::Event;
use super::session::Session;
use crate::store::Store;

/// Commands of one session that are on their way to other relays.
pub(super) struct Forwarding {
    /// Those that wait for a place too. They end with the session.
    tasks: JoinSet<()>,
    places: Arc<Semaphore>,
    /// This session's share of each session with another relay, while it uses that.
    shares: HashMap<EntityId, Weak<Semaphore>>,
}

/// Commands that are on their way in one session with another relay, of all clients.
pub(super) const IN_FLIGHT: usize = 256;

/// How many of these may be of one client: a relay that answers slowly, or a client that asks for
/// much, must not keep the others from it.
const SHARE: usize = IN_FLIGHT / 8;

/// Forwarded commands of one session, those that wait for a place included. With more, the session
/// reads no further.
const MAX_FORWARDED: usize = 512;

impl Forwarding {
    /// With so many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            places: Arc::new(Semaphore::new(places)),
            shares: HashMap::new(),
        }
    }

    /// The share of the session with this id.
    fn share(&mut self, id: &EntityId) -> Arc<Semaphore> {
        if let Some(share) = self.shares.get(id).and_then(Weak::upgrade) {
            return share;
        }
        self.shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(SHARE));
        self.shares.insert(id.clone(), Arc::downgrade(&share));
        share
    }
}

impl<S: Store> Session<S> {
    /// Request proxied session. The answer comes when there is one.
    pub(super) async fn prxy(
        &mut self,
        address: RelayAddress,
        auth: Option<&BasicAuth>,
        corr_id: Option<CorrId>,
    ) -> Result<(), ErrorType> {
        if !self.relay.config.proxy.enabled || !self.relay.knows_password(auth) {
            return Err(ErrorType::Proxy(ProxyError::BasicAuth));
        }
        self.later(corr_id, EntityId::EMPTY, None, move |relay| async move {
            let session = relay.forwarder.session(&address).await?;
            Ok(session.offer().to_response())
        })
        .await;
        Ok(())
    }

    /// Send command via proxy. The answer comes when the destination relay gave one.
    pub(super) async fn pfwd(
        &mut self,
        entity: &EntityId,
        version: SmpVersion,
        key: DhPublicKey,
        body: Vec<u8>,
        corr_id: Option<CorrId>,
    ) -> Result<(), ErrorType> {
        let Some(id) = corr_id else {
            return Err(ErrorType::Cmd(CommandError::Syntax));
        };
        let Some(session) = self.relay.forwarder.find(entity) else {
            return Err(ErrorType::Proxy(ProxyError::NoSession));
        };
        let share = self.forwarding.share(entity);
        self.later(corr_id, entity.clone(), Some(share), move |_| async move {
            let forwarded = ForwardedTransmission {
                corr_id: id,
                version,
                key,
                body: &body,
            };
            match session.forward(forwarded).await {
                Ok(body) => Ok(Response::Pres(body)),
                Err(error) => Err(error.to_proxy_error()),
            }
        })
        .await;
        Ok(())
    }

    /// Answers a command when `work` is done; meanwhile the session goes on.
    async fn later<F>(
        &mut self,
        corr_id: Option<CorrId>,
        entity: EntityId,
        share: Option<Arc<Semaphore>>,
        work: impl FnOnce(Arc<Relay<S>>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<Response, ProxyError>> + Send,
    {
        while self.forwarding.tasks.len() >= MAX_FORWARDED {
            self.forwarding.tasks.join_next().await;
        }
        while self.forwarding.tasks.try_join_next().is_some() {}
        let places = Arc::clone(&self.forwarding.places);
        let (relay, inbox) = (Arc::clone(&self.relay), Arc::clone(&self.inbox));
        self.forwarding.tasks.spawn(async move {
            // In their order; no semaphore is ever closed. What waits for its share takes no place
            // from commands to other relays.
            let _share = match &share {
                Some(share) => share.acquire().await.ok(),
                None => None,
            };
            let _place = places.acquire().await;
            let response = match work(Arc::clone(&relay)).await {
                Ok(response) => {
                    relay.metrics.proxy_forwarded.inc();
                    response
                }
                Err(error) => {
                    relay.metrics.proxy_failed.inc();
                    Response::Err(ErrorType::Proxy(error))
                }
            };
            inbox.push(Event::Answer {
                corr_id,
                entity,
                response: Box::new(response),
            });
        });
    }

    /// Waits for the answers to forwarded commands, which other relays may have executed already.
    pub(crate) async fn finish_forwarding(&mut self) {
        while self.forwarding.tasks.join_next().await.is_some() {}
    }

    /// Forward command to destination router: opens both layers, executes, closes both.
    pub(super) async fn rfwd(
        &mut self,
        corr_id: &CorrId,
        mut body: Vec<u8>,
    ) -> Result<Response, ErrorType> {
        let (Some(key), Some(private)) = (&self.forward_key, self.keys.private()) else {
            return Err(ErrorType::Cmd(CommandError::Prohibited));
        };
        self.relay.metrics.proxy_received.inc();
        let forwarded = ForwardedTransmission::open(key, corr_id, &mut body);
        let forwarded = forwarded.map_err(unreadable)?;
        let secret = ForwardSecret::agree(private, &forwarded.key, &forwarded.corr_id);
        let secret = secret.map_err(|_| ErrorType::Crypto)?;
        let mut command = forwarded.body.to_vec();
        let command = secret.open_command(&mut command).map_err(unreadable)?;
        let params = SessionParams {
            service: false,
            ..SessionParams::new(forwarded.version, self.params.session_id.clone())
        };
        let answer = self.relay.forwarded(&mut self.keys, &params, command).await;
        let answer = secret
            .seal_response(&answer)
            .map_err(|_| ErrorType::Internal)?;
        let response = ForwardedResponse {
            corr_id: forwarded.corr_id,
            body: &answer,
        };
        Ok(Response::Rres(response.seal(key, corr_id)))
    }
}

impl<S: Store> Relay<S> {
    /// Executes a transmission that came through a proxy, and returns the one that answers it.
    async fn forwarded(
        &self,
        keys: &mut KeyCache,
        params: &SessionParams,
        bytes: &[u8],
    ) -> Vec<u8> {
        let (corr_id, entity, answer) = match Transmission::decode(bytes, params) {
            Ok(transmission) => {
                let answer = self.forwarded_command(keys, params, &transmission).await;
                (transmission.corr_id, transmission.entity, answer)
            }
            Err(TransmissionError::Session { corr_id, entity }) => {
                (corr_id, entity, Err(ErrorType::Session))
            }
            Err(_) => (None, EntityId::EMPTY, Err(ErrorType::Block)),
        };
        let response = answer.unwrap_or_else(Response::Err);
        let mut out = Vec::new();
        let encoded = encode_unauthorized(params, corr_id.as_ref(), &entity, &mut out, |out| {
            response.encode(params.version, out)
        });
        if encoded.is_err() {
            tracing::error!("a forwarded answer can't be written");
        }
        out
    }

    async fn forwarded_command(
        &self,
        keys: &mut KeyCache,
        params: &SessionParams,
        transmission: &Transmission<'_>,
    ) -> Result<Response, ErrorType> {
        let command =
            Command::decode(params.version, transmission.command).map_err(ErrorType::Cmd)?;
        if !command.may_be_forwarded() {
            return Err(ErrorType::Cmd(CommandError::Prohibited));
        }
        let authorized = transmission.authorization != Authorization::None;
        let checked = command
            .credentials()
            .check(authorized, !transmission.entity.is_empty());
        checked.map_err(ErrorType::Cmd)?;
        if let Command::Rslv(_) = command {
            return Err(Self::rslv());
        }
        let proof = Proof::new(transmission, transmission.signed_bytes(params))?;
        match self
            .authorize(keys, &transmission.entity, &proof, &command)
            .await?
        {
            Target::Queue(record, _) => self.execute_sender(&record, params.version, command).await,
            Target::New => Err(ErrorType::Internal),
        }
    }
}

/// What does not open was encrypted for another; what opens and is not one transmission is no block.
fn unreadable(error: OpenError) -> ErrorType {
    match error {
        OpenError::Forged => ErrorType::Crypto,
        _ => ErrorType::Block,
    }
}
