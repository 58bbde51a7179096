//! A relay as the document describes it, as small as can be: queues in memory, no blocks and no
//! sessions but who listens.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use rand::RngExt;
use rand::rngs::StdRng;
use smp_protocol::{
    AuthPublicKey, BoxKey, ClientEnvelope, CommandError, DhPrivateKey, DhPublicKey, DhSecret,
    ErrorType, LinkData, LinkId, MessageFlags, MessageId, QueueIds, QueueMode, QueueRequest,
    ReceivedMessage, RecipientId, RelayAddress, SenderId,
};

use crate::{Failure, Reply, Request};

/// Who sends a command: which agent, over which of its connections.
pub(crate) type Session = (usize, u64);

pub(crate) struct Relay {
    pub(crate) address: RelayAddress,
    pub(crate) up: bool,
    pub(crate) queues: BTreeMap<Vec<u8>, Queue>,
    quota: usize,
    /// The hash of the body that each nonce of a sender was used for.
    nonces: HashMap<[u8; 24], u64>,
    /// What the relay saw that it should not have seen.
    pub(crate) complaints: Vec<String>,
}

pub(crate) struct Queue {
    pub(crate) sender: SenderId,
    /// Which agent made it.
    pub(crate) owner: usize,
    /// Whether the agent has the answer to NEW.
    pub(crate) known: bool,
    mode: QueueMode,
    key: AuthPublicKey,
    secret: DhSecret,
    pub(crate) link: Option<(LinkId, LinkData)>,
    sender_key: Option<AuthPublicKey>,
    pub(crate) messages: VecDeque<Message>,
    full: bool,
    pub(crate) subscriber: Option<Session>,
    delivered: Option<MessageId>,
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    seconds: i64,
    /// `None` is the marker of a queue that was full.
    pub(crate) content: Option<(MessageFlags, Vec<u8>)>,
}

/// A message on its way to whoever listens.
pub(crate) struct Delivery {
    pub(crate) to: Session,
    pub(crate) recipient: RecipientId,
    pub(crate) id: MessageId,
    pub(crate) body: Vec<u8>,
}

type Answer = Result<Reply, ErrorType>;

impl Relay {
    pub(crate) fn new(address: RelayAddress, quota: usize) -> Self {
        Self {
            address,
            up: true,
            queues: BTreeMap::new(),
            quota,
            nonces: HashMap::new(),
            complaints: Vec::new(),
        }
    }

    /// Does a command. Whether there is something to deliver then, [`Self::deliver`] knows.
    pub(crate) fn run(
        &mut self,
        request: &Request,
        from: Session,
        now: i64,
        rng: &mut StdRng,
    ) -> Result<Reply, Failure> {
        let answer = match request {
            Request::Create {
                key,
                delivery_key,
                request,
                corr_id,
            } => {
                let wanted = match request {
                    QueueRequest::Messaging(None) | QueueRequest::Contact(None) => None,
                    QueueRequest::Messaging(Some((sender, data))) => {
                        let link = LinkId::generate(rng);
                        Some((sender, link, data))
                    }
                    QueueRequest::Contact(Some((link, sender, data))) => {
                        Some((sender, link.clone(), data))
                    }
                };
                let chosen = corr_id.as_ref().map(QueueRequest::link_sender_id);
                match wanted {
                    Some((sender, ..)) if Some(sender) != chosen.as_ref() => {
                        Err(CommandError::Prohibited.into())
                    }
                    wanted => self.create(
                        key.public(),
                        delivery_key,
                        request.mode(),
                        wanted,
                        from,
                        rng,
                    ),
                }
            }
            Request::Secure {
                recipient,
                key,
                sender_key,
            } => self
                .own(recipient, &key.public())
                .and_then(|queue| queue.secure(*sender_key)),
            Request::Acknowledge {
                recipient,
                key,
                message,
            } => self
                .own(recipient, &key.public())
                .and_then(|queue| queue.acknowledge(message)),
            Request::Delete { recipient, key } => {
                self.own(recipient, &key.public()).map(drop).map(|()| {
                    self.queues.remove(recipient.as_bytes());
                    Reply::Done
                })
            }
            Request::SetLink {
                recipient,
                key,
                link,
                data,
            } => self
                .own(recipient, &key.public())
                .and_then(|queue| queue.set_link(link, data)),
            Request::SenderSecure { sender, key } => match self.of_sender(sender) {
                Some(queue) if queue.mode == QueueMode::Messaging => queue.secure(key.public()),
                _ => Err(ErrorType::Auth),
            },
            Request::Send {
                sender,
                key,
                flags,
                body,
            } => self.send(
                sender,
                key.as_ref().map(|key| key.public()),
                *flags,
                body,
                now,
                rng,
            ),
            Request::LinkKey { link, key } => match self.of_link(link) {
                Some(queue) if queue.mode == QueueMode::Messaging => {
                    queue.secure(key.public()).and_then(|_| queue.link_data())
                }
                _ => Err(ErrorType::Auth),
            },
            Request::LinkData { link } => match self.of_link(link) {
                Some(queue) if queue.mode == QueueMode::Contact => queue.link_data(),
                _ => Err(ErrorType::Auth),
            },
            other => unreachable!("a command that this relay does not know: {other:?}"),
        };
        answer.map_err(Failure::Refused)
    }

    fn create(
        &mut self,
        key: AuthPublicKey,
        delivery_key: &DhPublicKey,
        mode: QueueMode,
        wanted: Option<(&SenderId, LinkId, &LinkData)>,
        from: Session,
        rng: &mut StdRng,
    ) -> Answer {
        let own = DhPrivateKey::generate(rng);
        let secret = DhSecret::agree(&own, delivery_key).map_err(|_| ErrorType::Crypto)?;
        let recipient = RecipientId::generate(rng);
        let sender = match &wanted {
            Some((sender, ..)) => (*sender).clone(),
            None => SenderId::generate(rng),
        };
        let link = wanted.map(|(_, link, data)| (link, data.clone()));
        let taken = self.of_sender(&sender).is_some()
            || link
                .as_ref()
                .is_some_and(|(link, _)| self.of_link(link).is_some());
        if taken {
            return Err(ErrorType::Auth);
        }
        let ids = QueueIds {
            recipient_id: recipient.clone(),
            sender_id: sender.clone(),
            dh_key: own.public(),
            mode: Some(mode),
            link_id: link.as_ref().map(|(id, _)| id.clone()),
            service_id: None,
            notifier: None,
        };
        let queue = Queue {
            sender,
            owner: from.0,
            known: false,
            mode,
            key,
            secret,
            link,
            sender_key: None,
            messages: VecDeque::new(),
            full: false,
            subscriber: Some(from),
            delivered: None,
        };
        self.queues.insert(recipient.as_bytes().to_vec(), queue);
        Ok(Reply::Created(Box::new(ids)))
    }

    fn send(
        &mut self,
        sender: &SenderId,
        key: Option<AuthPublicKey>,
        flags: MessageFlags,
        body: &[u8],
        now: i64,
        rng: &mut StdRng,
    ) -> Answer {
        self.look_at(body);
        let quota = self.quota;
        let queue = self.of_sender(sender).ok_or(ErrorType::Auth)?;
        if queue.sender_key != key {
            return Err(ErrorType::Auth);
        }
        if queue.full {
            return Err(ErrorType::Quota);
        }
        let full = queue.messages.len() >= quota;
        queue.full = full;
        queue.messages.push_back(Message {
            id: MessageId(rng.random()),
            seconds: now / 1000,
            content: (!full).then(|| (flags, body.to_vec())),
        });
        if full {
            return Err(ErrorType::Quota);
        }
        Ok(Reply::Done)
    }

    /// All that this relay learns of a message: neither a nonce comes twice, nor a message of
    /// another length.
    fn look_at(&mut self, body: &[u8]) {
        let Ok(envelope) = ClientEnvelope::decode(body) else {
            self.complaints.push("a body that is no envelope".into());
            return;
        };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(body);
        let before = self.nonces.insert(envelope.nonce, hash);
        if before.is_some_and(|before| before != hash) {
            self.complaints.push("a nonce was used twice".into());
        }
        let overhead = if envelope.sender_key.is_some() {
            2 + 1 + 45 + 24 + 16
        } else {
            2 + 1 + 24 + 16
        };
        let padded = if envelope.sender_key.is_some() {
            smp_protocol::PADDED_CONFIRMATION
        } else {
            smp_protocol::PADDED_ENVELOPE
        };
        if body.len() != padded + overhead {
            self.complaints
                .push(format!("a body of {} bytes", body.len()));
        }
    }

    /// Subscribes; what was not acknowledged comes again.
    pub(crate) fn subscribe(
        &mut self,
        recipient: &RecipientId,
        key: &AuthPublicKey,
        from: Session,
    ) -> Result<(), ErrorType> {
        let queue = self.own(recipient, key)?;
        queue.subscriber = Some(from);
        queue.delivered = None;
        Ok(())
    }

    /// The message that is to be delivered now, if there is one.
    pub(crate) fn deliver(&mut self, recipient: &[u8]) -> Option<Delivery> {
        let queue = self.queues.get_mut(recipient)?;
        let to = queue.subscriber?;
        if queue.delivered.is_some() {
            return None;
        }
        let first = queue.messages.front()?;
        queue.delivered = Some(first.id);
        let message = match &first.content {
            Some((flags, body)) => ReceivedMessage::Message {
                timestamp: first.seconds,
                flags: *flags,
                body,
            },
            None => ReceivedMessage::Quota {
                timestamp: first.seconds,
            },
        };
        let key = BoxKey::from(queue.secret.clone());
        Some(Delivery {
            to,
            recipient: RecipientId::new(recipient).unwrap(),
            id: first.id,
            body: message.seal_for_recipient(&key, &first.id).unwrap(),
        })
    }

    /// The queue that a command is about, by the id of its recipient.
    pub(crate) fn concerns(&mut self, request: &Request) -> Option<Vec<u8>> {
        match request {
            Request::Acknowledge { recipient, .. } => Some(recipient.as_bytes().to_vec()),
            Request::Send { sender, .. } => {
                let found = self
                    .queues
                    .iter()
                    .find(|(_, queue)| queue.sender == *sender);
                found.map(|(recipient, _)| recipient.clone())
            }
            _ => None,
        }
    }

    fn own(
        &mut self,
        recipient: &RecipientId,
        key: &AuthPublicKey,
    ) -> Result<&mut Queue, ErrorType> {
        match self.queues.get_mut(recipient.as_bytes()) {
            Some(queue) if queue.key == *key => Ok(queue),
            _ => Err(ErrorType::Auth),
        }
    }

    fn of_sender(&mut self, sender: &SenderId) -> Option<&mut Queue> {
        self.queues
            .values_mut()
            .find(|queue| queue.sender == *sender)
    }

    fn of_link(&mut self, link: &LinkId) -> Option<&mut Queue> {
        self.queues
            .values_mut()
            .find(|queue| queue.link.as_ref().is_some_and(|(id, _)| id == link))
    }
}

impl Queue {
    /// The first key counts; the same again is fine.
    fn secure(&mut self, key: AuthPublicKey) -> Answer {
        if *self.sender_key.get_or_insert(key) == key {
            Ok(Reply::Done)
        } else {
            Err(ErrorType::Auth)
        }
    }

    fn acknowledge(&mut self, message: &MessageId) -> Answer {
        if self.delivered != Some(*message) {
            return Err(ErrorType::NoMsg);
        }
        self.delivered = None;
        if self
            .messages
            .front()
            .is_some_and(|first| first.id == *message)
        {
            let gone = self.messages.pop_front();
            if gone.is_some_and(|gone| gone.content.is_none()) {
                self.full = false;
            }
        }
        Ok(Reply::Done)
    }

    fn set_link(&mut self, id: &LinkId, data: &LinkData) -> Answer {
        match &mut self.link {
            Some((present, kept)) if present == id && kept.fixed == data.fixed => {
                *kept = data.clone();
                Ok(Reply::Done)
            }
            None if self.mode == QueueMode::Contact => {
                self.link = Some((id.clone(), data.clone()));
                Ok(Reply::Done)
            }
            _ => Err(ErrorType::Auth),
        }
    }

    fn link_data(&self) -> Answer {
        let (_, data) = self.link.as_ref().ok_or(ErrorType::Auth)?;
        Ok(Reply::Link {
            sender: self.sender.clone(),
            data: data.clone(),
        })
    }
}
