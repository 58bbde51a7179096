//! Queues with the keys of their recipients, and what is often done with them.

use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, AuthPublicKey, BoxKey, Command, DhPrivateKey, DhSecret, EntityId,
    ErrorType, LinkData, LinkId, MessageFlags, MessageId, NewQueue, NotifierId, QueueIds,
    QueueMode, QueueRequest, ReceivedMessage, RecipientId, Response, SenderId, SmpVersion,
};

use super::client::Client;

/// A queue with the keys of its recipient.
pub(crate) struct Queue {
    pub(crate) key: AuthPrivateKey,
    pub(crate) dh: DhPrivateKey,
    pub(crate) ids: QueueIds,
}

impl Queue {
    pub(crate) fn recipient(&self) -> RecipientId {
        self.ids.recipient_id.clone()
    }

    pub(crate) fn sender(&self) -> SenderId {
        self.ids.sender_id.clone()
    }

    pub(crate) fn link(&self) -> LinkId {
        self.ids
            .link_id
            .clone()
            .expect("the queue was created without a link")
    }

    pub(crate) fn notifier(&self) -> NotifierId {
        self.ids
            .notifier
            .clone()
            .expect("the queue was created without a notifier")
            .0
    }

    /// Opens a message of this queue.
    pub(crate) fn open(&self, response: &Response) -> Opened {
        let Response::Msg { id, body } = response else {
            panic!("expected MSG, not {response:?}");
        };
        let secret = DhSecret::agree(&self.dh, &self.ids.dh_key).unwrap();
        let mut body = body.clone();
        match ReceivedMessage::open(&BoxKey::from(secret), id, &mut body).unwrap() {
            ReceivedMessage::Message {
                timestamp,
                flags,
                body,
            } => Opened {
                id: *id,
                timestamp,
                flags: Some(flags),
                body: body.to_vec(),
            },
            ReceivedMessage::Quota { timestamp } => Opened {
                id: *id,
                timestamp,
                flags: None,
                body: Vec::new(),
            },
        }
    }
}

/// A message as its recipient reads it; without flags it is the quota marker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Opened {
    pub(crate) id: MessageId,
    pub(crate) timestamp: i64,
    pub(crate) flags: Option<MessageFlags>,
    pub(crate) body: Vec<u8>,
}

/// A key of the kind that this version's clients use.
pub(crate) fn key_of(client: &mut Client) -> AuthPrivateKey {
    let kind = if client.version() < SmpVersion::AUTH_ENCRYPTION {
        AuthKeyKind::Ed25519
    } else {
        AuthKeyKind::X25519
    };
    AuthPrivateKey::generate(&mut client.rng, kind)
}

/// The parameters of NEW for these keys.
pub(crate) fn new_queue(
    key: AuthPublicKey,
    dh: &DhPrivateKey,
    request: Option<QueueRequest>,
) -> NewQueue {
    NewQueue {
        auth_key: key,
        dh_key: dh.public(),
        basic_auth: None,
        subscribe: true,
        request,
        notifier: None,
    }
}

/// Creates a queue of this mode and subscribes to it.
pub(crate) async fn create(client: &mut Client, mode: QueueMode) -> Queue {
    create_with(
        client,
        NewQueueOptions {
            mode,
            ..NewQueueOptions::default()
        },
    )
    .await
}

/// Creates a queue of this mode without subscribing.
pub(crate) async fn create_only(client: &mut Client, mode: QueueMode) -> Queue {
    let options = NewQueueOptions {
        mode,
        subscribe: false,
        ..NewQueueOptions::default()
    };
    create_with(client, options).await
}

/// What a queue shall have.
pub(crate) struct NewQueueOptions {
    pub(crate) mode: QueueMode,
    pub(crate) subscribe: bool,
    pub(crate) link: Option<LinkData>,
    pub(crate) notifier: Option<(AuthPublicKey, DhPrivateKey)>,
}

impl Default for NewQueueOptions {
    fn default() -> Self {
        let mode = QueueMode::Messaging;
        Self {
            mode,
            subscribe: true,
            link: None,
            notifier: None,
        }
    }
}

/// Creates a queue.
pub(crate) async fn create_with(client: &mut Client, options: NewQueueOptions) -> Queue {
    let NewQueueOptions {
        mode,
        subscribe,
        link,
        notifier,
    } = options;
    let key = key_of(client);
    let dh = DhPrivateKey::generate(&mut client.rng);
    let corr_id = client.corr_id();
    let link = link.map(|data| (QueueRequest::link_sender_id(&corr_id), data));
    let request = (client.version() >= SmpVersion::SKEY).then(|| match mode {
        QueueMode::Messaging => QueueRequest::Messaging(link),
        QueueMode::Contact => QueueRequest::Contact(
            link.map(|(id, data)| (LinkId::generate(&mut client.rng), id, data)),
        ),
    });
    let notifier = notifier.map(|(key, dh)| (key, dh.public()));
    let new = NewQueue {
        subscribe,
        notifier,
        ..new_queue(key.public(), &dh, request)
    };
    let new = Command::New(Box::new(new));
    match client
        .run_with(corr_id, &EntityId::EMPTY, Some(&key), new)
        .await
    {
        Response::Ids(ids) => Queue { key, dh, ids: *ids },
        other => panic!("expected IDS, not {other:?}"),
    }
}

/// Data of a link.
pub(crate) fn link_data(fixed: &[u8], user: &[u8]) -> LinkData {
    LinkData {
        fixed: fixed.to_vec(),
        user: user.to_vec(),
    }
}

/// Secures a messaging queue by SKEY, with a key that the sender makes.
pub(crate) async fn secure(sender: &mut Client, queue: &Queue) -> AuthPrivateKey {
    let key = key_of(sender);
    secure_with(sender, queue, &key).await;
    key
}

/// Secures a messaging queue by SKEY.
pub(crate) async fn secure_with(sender: &mut Client, queue: &Queue, key: &AuthPrivateKey) {
    let answer = sender
        .run(queue.sender(), Some(key), Command::Skey(key.public()))
        .await;
    assert_eq!(answer, Response::Ok);
}

/// SEND with these bytes.
pub(crate) fn send(body: &[u8]) -> Command {
    Command::Send {
        flags: MessageFlags {
            notification: false,
        },
        body: body.to_vec(),
    }
}

/// SEND with these bytes, and the wish that the recipient be notified.
pub(crate) fn send_notified(body: &[u8]) -> Command {
    Command::Send {
        flags: MessageFlags { notification: true },
        body: body.to_vec(),
    }
}

/// The answer that is an error.
pub(crate) fn error(error: ErrorType) -> Response {
    Response::Err(error)
}
