//! The commands of SMP, each with its answer (document, "SMP commands").

use smp_protocol::{
    AuthPrivateKey, AuthPublicKey, Command, CorrId, DhPublicKey, IdsHash, LinkData, LinkId,
    MessageFlags, MessageId, NewQueue, NotifierId, QueueIds, QueueRequest, RecipientId, Response,
    SenderId, ServiceId, ServiceRole,
};

use super::{Request, Session};
use crate::error::{ClientError, Misbehaviour};
use crate::event::SealedMessage;

/// A queue's id and the key that authorises its recipient's commands.
#[derive(Clone, Copy)]
pub struct QueueKey<'a> {
    /// Names the queue to its recipient.
    pub id: &'a RecipientId,
    /// The recipient's key.
    pub key: &'a AuthPrivateKey,
}

impl<'a> QueueKey<'a> {
    fn request(self, command: &'a Command) -> Request<'a> {
        Request::about(&self.id.0, Some(self.key), command)
    }
}

/// A queue to be created.
#[derive(Clone, Debug)]
pub struct QueueParameters {
    /// Agrees the secret that messages are encrypted with on their way to the recipient.
    pub dh_key: DhPublicKey,
    /// Whether this session subscribes to it.
    pub subscribe: bool,
    /// What the queue is for. With a link its sender id is that of `sender_id`.
    pub request: Option<QueueRequest>,
    /// Enables notifications at once: the notifier's key, and the one that agrees the secret of
    /// notifications.
    pub notifier: Option<(AuthPublicKey, DhPublicKey)>,
    /// The sender id that was chosen for a queue with a link.
    pub sender_id: Option<ChosenSenderId>,
}

/// A sender id that is known before the queue is created, as the data of its link needs it
/// (document, "Create queue command"). It serves for one attempt.
#[derive(Clone, Debug)]
pub struct ChosenSenderId {
    corr_id: CorrId,
    id: SenderId,
}

impl ChosenSenderId {
    /// A new one, from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_corr_id(CorrId::generate(&mut crate::random()))
    }

    /// The one that belongs to a correlation id, for a caller that brings its own randomness. The
    /// correlation id must be new and random: the sender id follows from it (the first 24 bytes of
    /// its SHA3-384), and the NEW command is sent under it.
    #[must_use]
    pub fn from_corr_id(corr_id: CorrId) -> Self {
        Self {
            corr_id,
            id: QueueRequest::link_sender_id(&corr_id),
        }
    }

    /// The sender id.
    #[must_use]
    pub fn id(&self) -> &SenderId {
        &self.id
    }
}

/// Each method is one command; its errors are those of [`Session::request`], and
/// [`Misbehaviour::Unexpected`] for an answer to another command.
impl Session {
    /// Creates a queue, with the password of the relay's address (NEW). `key` will authorise the
    /// recipient's commands.
    ///
    /// # Errors
    /// See above.
    pub async fn create_queue(
        &self,
        key: &AuthPrivateKey,
        parameters: QueueParameters,
    ) -> Result<QueueIds, ClientError> {
        let command = Command::New(Box::new(NewQueue {
            auth_key: key.public(),
            dh_key: parameters.dh_key,
            basic_auth: self.address().basic_auth.clone(),
            subscribe: parameters.subscribe,
            request: parameters.request,
            notifier: parameters.notifier,
        }));
        let request = Request {
            key: Some(key),
            corr_id: parameters.sender_id.map(|chosen| chosen.corr_id),
            ..Request::new(&command)
        };
        match self.request(request).await? {
            Response::Ids(ids) => Ok(*ids),
            other => Err(unexpected(&command, &other)),
        }
    }

    /// Subscribes to many queues at once, and says for each how it went (SUB). What waits in them
    /// comes as events. If a queue belongs to a service, its id is given.
    pub async fn subscribe(
        &self,
        queues: &[QueueKey<'_>],
    ) -> Vec<Result<Option<ServiceId>, ClientError>> {
        let requests = queues.iter().map(|queue| queue.request(&Command::Sub));
        self.subscribe_all(requests.collect()).await
    }

    /// Subscribes to the notifications of many queues at once, and says for each how it went
    /// (NSUB).
    pub async fn subscribe_notifications(
        &self,
        queues: &[(&NotifierId, &AuthPrivateKey)],
    ) -> Vec<Result<Option<ServiceId>, ClientError>> {
        let requests = queues
            .iter()
            .map(|(id, key)| Request::about(&id.0, Some(key), &Command::Nsub));
        self.subscribe_all(requests.collect()).await
    }

    /// Sends `SUB` and `NSUB`.
    pub(crate) async fn subscribe_all(
        &self,
        requests: Vec<Request<'_>>,
    ) -> Vec<Result<Option<ServiceId>, ClientError>> {
        let subscribed = |answer| match answer? {
            Response::Sok(service) => Ok(service),
            Response::Ok => Ok(None),
            other => Err(unexpected(&Command::Sub, &other)),
        };
        self.request_all(requests)
            .await
            .into_iter()
            .map(subscribed)
            .collect()
    }

    /// Lets the holder of this key alone send to the queue (KEY).
    ///
    /// # Errors
    /// See above.
    pub async fn secure(
        &self,
        queue: QueueKey<'_>,
        sender: AuthPublicKey,
    ) -> Result<(), ClientError> {
        self.change(queue, Command::Key(sender)).await
    }

    /// Replaces the recipient's keys by several: that many may manage the queue (RKEY).
    ///
    /// # Errors
    /// See above.
    pub async fn set_recipient_keys(
        &self,
        queue: QueueKey<'_>,
        keys: Vec<AuthPublicKey>,
    ) -> Result<(), ClientError> {
        self.change(queue, Command::Rkey(keys)).await
    }

    /// Sets or changes the data of the queue's short link (LSET).
    ///
    /// # Errors
    /// See above.
    pub async fn set_link(
        &self,
        queue: QueueKey<'_>,
        link_id: LinkId,
        data: LinkData,
    ) -> Result<(), ClientError> {
        self.change(queue, Command::Lset { link_id, data }).await
    }

    /// Deletes the queue's short link (LDEL).
    ///
    /// # Errors
    /// See above.
    pub async fn delete_link(&self, queue: QueueKey<'_>) -> Result<(), ClientError> {
        self.change(queue, Command::Ldel).await
    }

    /// Lets the holder of `key` be told of messages, encrypted with a secret that `dh_key` agrees;
    /// gives the notifier's id and the relay's half (NKEY).
    ///
    /// # Errors
    /// See above.
    pub async fn enable_notifications(
        &self,
        queue: QueueKey<'_>,
        key: AuthPublicKey,
        dh_key: DhPublicKey,
    ) -> Result<(NotifierId, DhPublicKey), ClientError> {
        let command = Command::Nkey { key, dh_key };
        match self.ask(queue, &command).await? {
            Response::Nid {
                notifier_id,
                dh_key,
            } => Ok((notifier_id, dh_key)),
            other => Err(unexpected(&command, &other)),
        }
    }

    /// Nobody is told of messages any more (NDEL).
    ///
    /// # Errors
    /// See above.
    pub async fn disable_notifications(&self, queue: QueueKey<'_>) -> Result<(), ClientError> {
        self.change(queue, Command::Ndel).await
    }

    /// Asks for a message without subscribing, if there is one (GET). A session does not use both
    /// for one queue.
    ///
    /// # Errors
    /// See above.
    pub async fn get_message(
        &self,
        queue: QueueKey<'_>,
    ) -> Result<Option<SealedMessage>, ClientError> {
        self.take_message(queue, &Command::Get).await
    }

    /// Acknowledges a message, which the relay deletes, and gives the next if there is one (ACK).
    /// The caller gets it; it is no event.
    ///
    /// # Errors
    /// See above. After [`ClientError::Timeout`] the next message, if it comes, is an event.
    pub async fn acknowledge(
        &self,
        queue: QueueKey<'_>,
        message: MessageId,
    ) -> Result<Option<SealedMessage>, ClientError> {
        self.take_message(queue, &Command::Ack(message)).await
    }

    async fn take_message(
        &self,
        queue: QueueKey<'_>,
        command: &Command,
    ) -> Result<Option<SealedMessage>, ClientError> {
        match self.ask(queue, command).await? {
            Response::Ok => Ok(None),
            Response::Msg { id, body } => Ok(Some(SealedMessage { id, body })),
            other => Err(unexpected(command, &other)),
        }
    }

    /// Lets nobody send to the queue any more (OFF).
    ///
    /// # Errors
    /// See above.
    pub async fn suspend(&self, queue: QueueKey<'_>) -> Result<(), ClientError> {
        self.change(queue, Command::Off).await
    }

    /// Deletes the queue and what is in it (DEL).
    ///
    /// # Errors
    /// See above.
    pub async fn delete(&self, queue: QueueKey<'_>) -> Result<(), ClientError> {
        self.change(queue, Command::Del).await
    }

    /// The relay's JSON about the queue, for finding mistakes (QUE).
    ///
    /// # Errors
    /// See above.
    pub async fn queue_info(&self, queue: QueueKey<'_>) -> Result<String, ClientError> {
        match self.ask(queue, &Command::Que).await? {
            Response::Info(info) => Ok(info),
            other => Err(unexpected(&Command::Que, &other)),
        }
    }

    /// Lets the holder of this key alone send to the queue (SKEY).
    ///
    /// # Errors
    /// See above.
    pub async fn sender_secure(
        &self,
        queue: &SenderId,
        key: &AuthPrivateKey,
    ) -> Result<(), ClientError> {
        let command = Command::Skey(key.public());
        done(
            &command,
            self.request(Request::about(&queue.0, Some(key), &command))
                .await?,
        )
    }

    /// Sends a message, with the sender's key once the queue is secured (SEND).
    ///
    /// # Errors
    /// See above.
    pub async fn send_message(
        &self,
        queue: &SenderId,
        key: Option<&AuthPrivateKey>,
        flags: MessageFlags,
        body: Vec<u8>,
    ) -> Result<(), ClientError> {
        let command = Command::Send { flags, body };
        done(
            &command,
            self.request(Request::about(&queue.0, key, &command))
                .await?,
        )
    }

    /// Secures the queue of a link for one and gives what the link shows (LKEY).
    ///
    /// # Errors
    /// See above.
    pub async fn link_key(
        &self,
        link: &LinkId,
        key: &AuthPrivateKey,
    ) -> Result<(SenderId, LinkData), ClientError> {
        let command = Command::Lkey(key.public());
        linked(
            &command,
            self.request(Request::about(&link.0, Some(key), &command))
                .await?,
        )
    }

    /// What a link that many may use shows (LGET).
    ///
    /// # Errors
    /// See above.
    pub async fn link_data(&self, link: &LinkId) -> Result<(SenderId, LinkData), ClientError> {
        let command = Command::Lget;
        linked(
            &command,
            self.request(Request::about(&link.0, None, &command))
                .await?,
        )
    }

    /// Asks whether the relay is there (PING).
    ///
    /// # Errors
    /// See above.
    pub async fn ping(&self) -> Result<(), ClientError> {
        match self.request(Request::new(&Command::Ping)).await? {
            Response::Pong => Ok(()),
            other => Err(unexpected(&Command::Ping, &other)),
        }
    }

    /// The relay's JSON about a public name (RSLV). The relay learns who asks; see
    /// [`Router`](crate::Router) for another way.
    ///
    /// # Errors
    /// See above.
    pub async fn resolve(&self, name: String) -> Result<String, ClientError> {
        let command = Command::Rslv(name);
        named(&command, self.request(Request::new(&command)).await?)
    }

    /// Subscribes to all queues of the service that this client is, of which it knows so many
    /// (SUBS, or NSUBS for a notifier); gives how many the relay knows.
    ///
    /// # Errors
    /// See above; [`ClientError::NoService`] if the relay knows this session as no service.
    pub async fn subscribe_service(
        &self,
        count: i64,
        ids_hash: IdsHash,
    ) -> Result<(i64, IdsHash), ClientError> {
        let (service, identity) = self
            .shared()
            .service
            .as_ref()
            .ok_or(ClientError::NoService)?;
        let command = match identity.role {
            ServiceRole::Messaging => Command::Subs { count, ids_hash },
            ServiceRole::Notifier => Command::Nsubs { count, ids_hash },
            ServiceRole::Proxy => return Err(ClientError::NoService),
        };
        let request = Request::about(&service.id.0, Some(&service.key), &command);
        match self.request(request).await? {
            Response::Soks { count, ids_hash } => Ok((count, ids_hash)),
            other => Err(unexpected(&command, &other)),
        }
    }

    async fn ask(&self, queue: QueueKey<'_>, command: &Command) -> Result<Response, ClientError> {
        self.request(queue.request(command)).await
    }

    async fn change(&self, queue: QueueKey<'_>, command: Command) -> Result<(), ClientError> {
        done(&command, self.ask(queue, &command).await?)
    }
}

/// That a command was executed which has no other answer.
pub(crate) fn done(command: &Command, answer: Response) -> Result<(), ClientError> {
    match answer {
        Response::Ok => Ok(()),
        other => Err(unexpected(command, &other)),
    }
}

/// What a link shows.
pub(crate) fn linked(
    command: &Command,
    answer: Response,
) -> Result<(SenderId, LinkData), ClientError> {
    match answer {
        Response::Lnk { sender_id, data } => Ok((sender_id, data)),
        other => Err(unexpected(command, &other)),
    }
}

/// What there is about a name.
pub(crate) fn named(command: &Command, answer: Response) -> Result<String, ClientError> {
    match answer {
        Response::Rname(json) => Ok(json),
        other => Err(unexpected(command, &other)),
    }
}

pub(crate) fn unexpected(command: &Command, response: &Response) -> ClientError {
    let (command, response) = (command.tag(), response.tag());
    Misbehaviour::Unexpected { command, response }.into()
}
