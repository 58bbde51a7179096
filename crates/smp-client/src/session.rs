//! One live connection with a relay.

mod activity;
mod commands;
mod driver;
mod inbox;
mod keep_alive;
mod options;
mod pending;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smp_protocol::{
    AuthPrivateKey, Authorization, Command, CorrId, DhPublicKey, EncodeError, EntityId,
    MAX_TRANSMISSION, Response, SIGNATURE_SIZE, ServerAddress, SessionParams, SignedBytes,
    SmpVersion, Unsigned, VersionRange, authorize,
};
use smp_transport::{BlockStream, ClientSession, ServiceSession};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use activity::Activity;
pub use commands::{ChosenSenderId, QueueKey, QueueParameters};
pub(crate) use commands::{done, linked, named, unexpected};
pub use inbox::Events;
pub(crate) use inbox::Inbox;
pub use options::{KeepAlive, ServiceIdentity, SessionOptions, Timeouts};
use pending::{AnswerKind, InFlight, Outgoing, Pending};

use crate::connect::{Connector, Isolation, Link, Stream};
use crate::error::{ClientError, ConnectError, DisconnectReason};

/// A session with a relay, which many tasks may use at the same time.
///
/// Commands are sent as they come, several in a block when several wait, and answers find their
/// commands in whatever order they come back. A future of this type may be dropped at any time:
/// the command may then have been executed or not, and a message that answers it is delivered as
/// an event.
///
/// A clone is the same session; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Session {
    handle: Arc<Handle>,
}

/// A command as it is to be sent.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The queue, link or service that it is about, or the empty id.
    pub entity: &'a EntityId,
    /// What authorises it, if it is to be authorised.
    pub key: Option<&'a AuthPrivateKey>,
    /// The command.
    pub command: &'a Command,
    /// Its correlation id, if something depends on it; usually a new random one is taken. Must
    /// never have been used before.
    pub corr_id: Option<CorrId>,
}

impl<'a> Request<'a> {
    /// A command about nothing in particular, without authorization.
    #[must_use]
    pub fn new(command: &'a Command) -> Self {
        Self {
            entity: &EntityId::EMPTY,
            key: None,
            command,
            corr_id: None,
        }
    }

    /// A command about a queue or link.
    #[must_use]
    pub fn about(
        entity: &'a EntityId,
        key: Option<&'a AuthPrivateKey>,
        command: &'a Command,
    ) -> Self {
        Self {
            entity,
            key,
            command,
            corr_id: None,
        }
    }
}

impl Session {
    /// Connects, and begins a session.
    ///
    /// The events are those of this session. If they are dropped, events are thrown away.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        connector: &dyn Connector,
        relay: &ServerAddress,
        isolation: &Isolation,
        options: &SessionOptions,
    ) -> Result<(Self, Events), ConnectError> {
        let link = connector.connect(&relay.relay, isolation).await?;
        Self::over(link, relay, options).await
    }

    /// Begins a session over a connection.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn over(
        link: Link,
        relay: &ServerAddress,
        options: &SessionOptions,
    ) -> Result<(Self, Events), ConnectError> {
        let (io, begun) = options.handshake(link, &relay.relay, false).await?;
        Ok(Self::start(io, begun, relay, options))
    }

    /// Lets the session run, after its handshake.
    pub(crate) fn start(
        io: BlockStream<Box<dyn Stream>>,
        begun: ClientSession,
        relay: &ServerAddress,
        options: &SessionOptions,
    ) -> (Self, Events) {
        let (outgoing, waiting) = mpsc::unbounded_channel();
        let inbox = Arc::new(Inbox::new());
        let shared = Arc::new(Shared {
            address: relay.clone(),
            params: begun.params,
            versions: begun.versions,
            relay_key: begun.relay_key.map(|key| key.key),
            service: begun.service.zip(options.service.clone()),
            options: options.clone(),
            pending: Pending::default(),
            slots: Arc::new(Semaphore::new(options.in_flight)),
            outgoing,
            inbox: Arc::clone(&inbox),
            activity: Activity::new(),
            closed: watch::Sender::new(None),
        });
        tokio::spawn(driver::run(Arc::clone(&shared), io, begun.cipher, waiting));
        let handle = Arc::new(Handle { shared });
        (Self { handle }, Events::new(inbox))
    }

    /// Sends a command and waits for its answer, up to the command's timeout.
    ///
    /// # Errors
    /// See [`ClientError`]; `ERR` is [`ClientError::Refused`].
    pub async fn request(&self, request: Request<'_>) -> Result<Response, ClientError> {
        let limit = self.shared().options.timeouts.of(request.command);
        self.request_within(request, limit).await
    }

    /// The same with another time limit.
    ///
    /// # Errors
    /// See [`ClientError`]; `ERR` is [`ClientError::Refused`].
    pub async fn request_within(
        &self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Response, ClientError> {
        let deadline = Instant::now() + limit;
        let in_flight = self.send(request, deadline).await?;
        self.answer(in_flight, deadline).await
    }

    /// Sends commands, as many of them in a block as fit, and waits for all answers. Each is given
    /// its timeout from when it was sent.
    pub async fn request_all(
        &self,
        requests: Vec<Request<'_>>,
    ) -> Vec<Result<Response, ClientError>> {
        let mut sent = Vec::new();
        for request in requests {
            let limit = self.shared().options.timeouts.of(request.command);
            let in_flight = self.send(request, Instant::now() + limit).await;
            sent.push((in_flight, Instant::now() + limit));
        }
        let mut answers = Vec::with_capacity(sent.len());
        for (in_flight, deadline) in sent {
            answers.push(match in_flight {
                Ok(in_flight) => self.answer(in_flight, deadline).await,
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// The relay that it is with.
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.shared().address
    }

    /// The version that both speak.
    #[must_use]
    pub fn version(&self) -> SmpVersion {
        self.shared().params.version
    }

    /// The versions that the relay speaks.
    #[must_use]
    pub fn versions(&self) -> VersionRange {
        self.shared().versions
    }

    /// Whether commands can be sent still.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared().closed.borrow().is_some()
    }

    /// Waits until the session is over.
    pub async fn closed(&self) -> DisconnectReason {
        self.shared().closed().await
    }

    /// Closes the session. Commands without an answer fail.
    pub fn close(&self) {
        self.shared().close(DisconnectReason::Closed);
    }

    pub(crate) fn close_because(&self, reason: DisconnectReason) {
        self.shared().close(reason);
    }

    /// When a command was last sent.
    pub(crate) fn last_used(&self) -> Instant {
        self.shared().activity.last_used()
    }

    /// Somebody is about to send a command.
    pub(crate) fn touch(&self) {
        self.shared().activity.used();
    }

    /// Whether answers are awaited.
    pub(crate) fn is_busy(&self) -> bool {
        !self.shared().pending.is_empty()
    }

    /// Waits until the events that came were taken, or nearly.
    pub(crate) async fn events_taken(&self) {
        self.shared().inbox.has_room().await;
    }

    /// Waits for a free place, and puts the command on its way.
    async fn send(&self, request: Request<'_>, deadline: Instant) -> Result<InFlight, ClientError> {
        let shared = self.shared();
        let heard = shared.activity.blocks();
        match timeout_at(deadline, Arc::clone(&shared.slots).acquire_owned()).await {
            Ok(Ok(slot)) => {
                shared.activity.used();
                shared.send(request, Some(slot))
            }
            Ok(Err(_)) => Err(shared.why_closed()),
            Err(_) => {
                if shared.pending.are_given_up() {
                    shared.close(DisconnectReason::Unresponsive);
                }
                Err(shared.late(heard))
            }
        }
    }

    async fn answer(
        &self,
        in_flight: InFlight,
        deadline: Instant,
    ) -> Result<Response, ClientError> {
        let heard = in_flight.heard();
        match timeout_at(deadline, in_flight.answer()).await {
            Ok(Some(Ok(Response::Err(error)))) => Err(ClientError::Refused(error)),
            Ok(Some(answer)) => Ok(answer?),
            Ok(None) => Err(self.shared().why_closed()),
            Err(_) => Err(self.shared().late(heard)),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Closes the session when the last [`Session`] is dropped.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(DisconnectReason::Closed);
    }
}

/// What sessions and the task that drives them share.
struct Shared {
    address: ServerAddress,
    params: SessionParams,
    versions: VersionRange,
    relay_key: Option<DhPublicKey>,
    service: Option<(ServiceSession, ServiceIdentity)>,
    options: SessionOptions,
    pending: Pending,
    /// One for each command that waits for its answer.
    slots: Arc<Semaphore>,
    /// Bounded by the slots.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    inbox: Arc<Inbox>,
    activity: Activity,
    closed: watch::Sender<Option<DisconnectReason>>,
}

impl Shared {
    /// Puts a command on its way.
    fn send(
        self: &Arc<Self>,
        request: Request<'_>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<InFlight, ClientError> {
        let corr_id = request
            .corr_id
            .unwrap_or_else(|| CorrId::generate(&mut crate::random()));
        let bytes = self.encode(&request, &corr_id)?;
        let kind = AnswerKind::of(request.command);
        if kind == AnswerKind::Subscription {
            self.activity.subscribed();
        }
        let in_flight = self
            .pending
            .insert(self, corr_id, request.entity, kind, slot);
        let outgoing = Outgoing { corr_id, bytes };
        if self.closed.borrow().is_some() || self.outgoing.send(outgoing).is_err() {
            self.pending.take(&corr_id);
            return Err(self.why_closed());
        }
        Ok(in_flight)
    }

    fn encode(&self, request: &Request<'_>, corr_id: &CorrId) -> Result<Vec<u8>, ClientError> {
        let (params, command) = (&self.params, request.command);
        let (needs, has) = (command.since(), params.version);
        if needs > has {
            return Err(ClientError::Version { needs, has });
        }
        let unsigned = Unsigned::new(params, Some(corr_id), request.entity, |out| {
            command.encode(params.version, out)
        })?;
        let signed = unsigned.signed_bytes(params);
        let (authorization, service) = match request.key {
            None => (Authorization::None, None),
            Some(key) => self.authorize(key, command, corr_id, signed)?,
        };
        let mut bytes = Vec::with_capacity(256);
        unsigned.encode(params, &authorization, service.as_ref(), &mut bytes);
        if bytes.len() > MAX_TRANSMISSION {
            return Err(EncodeError("transmission").into());
        }
        Ok(bytes)
    }

    /// The queue's authorization, and in a service's session its signature, where it counts.
    fn authorize(
        &self,
        key: &AuthPrivateKey,
        command: &Command,
        corr_id: &CorrId,
        signed: SignedBytes<'_>,
    ) -> Result<(Authorization, Option<[u8; SIGNATURE_SIZE]>), ClientError> {
        let session_key = self.relay_key.as_ref();
        let for_service = matches!(command, Command::New(_) | Command::Sub | Command::Nsub);
        let Some((service, identity)) = self.service.as_ref().filter(|_| for_service) else {
            return Ok((authorize(key, session_key, corr_id, &signed)?, None));
        };
        let signature = match authorize(&service.key, session_key, corr_id, &signed)? {
            Authorization::Signature(signature) => Some(signature),
            _ => None,
        };
        let fingerprint = identity.credentials.identity();
        let signed = signed.with_service(fingerprint.as_bytes());
        Ok((authorize(key, session_key, corr_id, &signed)?, signature))
    }

    /// A command waited in vain since the relay had sent so many blocks. If that were all, it has
    /// to show that it is still there.
    fn late(&self, blocks: u64) -> ClientError {
        if self.activity.blocks() == blocks {
            self.activity.probe();
        }
        ClientError::Timeout
    }

    async fn closed(&self) -> DisconnectReason {
        let mut closed = self.closed.subscribe();
        match closed.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            _ => DisconnectReason::Closed,
        }
    }

    /// Ends the session; the first reason counts.
    fn close(&self, reason: DisconnectReason) {
        let first = self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason);
            first
        });
        if first {
            self.slots.close();
            self.pending.clear();
            self.inbox.end(self.reason());
        }
    }

    fn reason(&self) -> DisconnectReason {
        self.closed
            .borrow()
            .clone()
            .unwrap_or(DisconnectReason::Closed)
    }

    fn why_closed(&self) -> ClientError {
        ClientError::Disconnected(self.reason())
    }
}
