//! Clients that keep to the protocol.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{
    Event, Events, Link, QueueKey, QueueParameters, SealedMessage, Session, SessionOptions,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, BoxKey, DhPrivateKey, DhSecret, MessageFlags, QueueIds,
    QueueRequest, ReceivedMessage, ServerAddress,
};
use smp_transport::{ClientTls, ClientTlsOptions};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A connection with the relay after TLS, and this end's address.
pub(crate) async fn link(address: &ServerAddress) -> std::io::Result<(Link, SocketAddr)> {
    let host = address.relay.hosts()[0].to_string();
    let port = address.relay.port_or_default();
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let own = stream.local_addr()?;
    let tls = ClientTls::new(ClientTlsOptions::default()).unwrap();
    let stream = tls.connect(stream, address.relay.fingerprint()).await;
    let stream = stream.map_err(std::io::Error::other)?;
    let session_id = stream.session_id().clone();
    let link = Link {
        stream: Box::new(stream),
        session_id,
    };
    Ok((link, own))
}

/// A session that must come about.
pub(crate) async fn connect(address: &ServerAddress) -> (Session, Events) {
    let session = async {
        let (link, _) = link(address).await.unwrap();
        Session::over(link, address, &SessionOptions::default())
            .await
            .unwrap()
    };
    timeout(PATIENCE, session).await.expect("no session")
}

/// The message that comes next.
pub(crate) async fn events_message(events: &mut Events) -> SealedMessage {
    match timeout(PATIENCE, events.next()).await {
        Ok(Some(Event::Message { message, .. })) => message,
        other => panic!("expected a message, not {other:?}"),
    }
}

pub(crate) fn new_key() -> AuthPrivateKey {
    AuthPrivateKey::generate(&mut UnwrapErr(SysRng), AuthKeyKind::X25519)
}

pub(crate) fn silent() -> MessageFlags {
    MessageFlags {
        notification: false,
    }
}

/// A queue with its recipient's keys.
pub(crate) struct Queue {
    pub(crate) ids: QueueIds,
    pub(crate) key: AuthPrivateKey,
    pub(crate) secret: BoxKey,
}

impl Queue {
    /// A queue to which its recipient is subscribed.
    pub(crate) async fn create(recipient: &Session, request: QueueRequest) -> Self {
        Self::try_create(recipient, request).await.unwrap()
    }

    pub(crate) async fn try_create(
        recipient: &Session,
        request: QueueRequest,
    ) -> Result<Self, smp_client::ClientError> {
        let key = new_key();
        let dh = DhPrivateKey::generate(&mut UnwrapErr(SysRng));
        let parameters = QueueParameters {
            dh_key: dh.public(),
            subscribe: true,
            request: Some(request),
            notifier: None,
            sender_id: None,
        };
        let ids = recipient.create_queue(&key, parameters).await?;
        let secret = BoxKey::from(DhSecret::agree(&dh, &ids.dh_key).unwrap());
        Ok(Self { ids, key, secret })
    }

    pub(crate) fn key(&self) -> QueueKey<'_> {
        QueueKey {
            id: &self.ids.recipient_id,
            key: &self.key,
        }
    }

    /// What the sender sent; `None` is the quota marker.
    pub(crate) fn open(&self, message: &mut SealedMessage) -> Option<Vec<u8>> {
        match message.open(&self.secret).unwrap() {
            ReceivedMessage::Message { body, .. } => Some(body.to_vec()),
            ReceivedMessage::Quota { .. } => None,
        }
    }
}

/// Two clients who were there before the attack and notice nothing of it.
pub(crate) struct Bystander {
    recipient: Session,
    events: Events,
    sender: Session,
    queue: Queue,
    key: AuthPrivateKey,
    sent: u64,
}

impl Bystander {
    pub(crate) async fn of(address: &ServerAddress) -> Self {
        Self::between(connect(address).await, connect(address).await).await
    }

    pub(crate) async fn between(
        (recipient, events): (Session, Events),
        (sender, _): (Session, Events),
    ) -> Self {
        let queue = Queue::create(&recipient, QueueRequest::Messaging(None)).await;
        let key = new_key();
        sender
            .sender_secure(&queue.ids.sender_id, &key)
            .await
            .unwrap();
        let mut bystander = Self {
            recipient,
            events,
            sender,
            queue,
            key,
            sent: 0,
        };
        bystander.exchange().await;
        bystander
    }

    /// A message goes from one to the other, over the connections that were there before.
    pub(crate) async fn exchange(&mut self) {
        self.sent += 1;
        let body = format!("message {}", self.sent).into_bytes();
        let (sender_id, key) = (&self.queue.ids.sender_id, Some(&self.key));
        let sent = self
            .sender
            .send_message(sender_id, key, silent(), body.clone());
        sent.await.unwrap();
        let mut message = events_message(&mut self.events).await;
        let id = message.id;
        assert_eq!(self.queue.open(&mut message).unwrap(), body);
        let next = self.recipient.acknowledge(self.queue.key(), id).await;
        assert!(next.unwrap().is_none());
    }

    /// The same again and again while something else lasts; returns how many messages went through.
    pub(crate) async fn exchange_during<T>(&mut self, other: impl Future<Output = T>) -> (T, u64) {
        let before = self.sent;
        let done = AtomicBool::new(false);
        let other = async {
            let result = other.await;
            done.store(true, Ordering::Relaxed);
            result
        };
        let exchanges = async {
            while !done.load(Ordering::Relaxed) {
                self.exchange().await;
            }
        };
        let (result, ()) = tokio::join!(other, exchanges);
        (result, self.sent - before)
    }
}
