//! Everything that a client does with relays, step by step: a queue from its creation to its end,
//! a link, and a message that goes through a second relay.
//!
//! ```sh
//! cargo run -p smp-client --example smp-walk -- ADDRESS [ADDRESS-OF-ANOTHER-RELAY]
//! ```
//!
//! `examples/smp-walk` makes two relays and runs it.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{
    ChosenSenderId, Event, Events, Isolation, QueueKey, QueueParameters, Request, SealedMessage,
    Session, SessionOptions, TcpConnector, TcpOptions,
};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, BoxKey, Command, DhPrivateKey, DhSecret, EntityId, LinkData,
    MessageFlags, QueueIds, QueueRequest, ReceivedMessage, Response, ServerAddress,
};

/// For whatever shall come.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let addresses = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<Vec<_>, _>>();
    let addresses: Vec<ServerAddress> = addresses.context("an address can't be read")?;
    let Some(relay) = addresses.first() else {
        bail!("usage: smp-walk ADDRESS [ADDRESS-OF-ANOTHER-RELAY]");
    };
    queue_that_its_recipient_secures(relay).await?;
    queue_that_its_sender_secures(relay).await?;
    links(relay).await?;
    if let Some(proxy) = addresses.get(1) {
        through_another_relay(relay, proxy).await?;
    }
    println!("all steps done");
    Ok(())
}

/// The slow way, as the document's "SMP procedure" has it.
async fn queue_that_its_recipient_secures(relay: &ServerAddress) -> anyhow::Result<()> {
    let (recipient, mut events) = connect(relay).await?;
    let (sender, _) = connect(relay).await?;
    let queue = Queue::create(&recipient, QueueRequest::Contact(None)).await?;
    step("NEW: a queue, subscribed to");
    sender
        .send_message(&queue.ids.sender_id, None, silent(), b"my key".to_vec())
        .await?;
    step("SEND: without a key, since nobody secured the queue");
    let message = next_message(&mut events).await?;
    ensure!(
        queue
            .acknowledge(&recipient, message, b"my key")
            .await?
            .is_none()
    );
    step("MSG and ACK");
    let key = new_key();
    recipient.secure(queue.key(), key.public()).await?;
    step("KEY: from now on only its holder sends");
    sender
        .send_message(&queue.ids.sender_id, Some(&key), silent(), b"one".to_vec())
        .await?;
    sender
        .send_message(&queue.ids.sender_id, Some(&key), silent(), b"two".to_vec())
        .await?;
    let first = next_message(&mut events).await?;
    let second = queue.acknowledge(&recipient, first, b"one").await?;
    let second = second.context("the second message comes with the first one's ACK")?;
    ensure!(
        queue
            .acknowledge(&recipient, second, b"two")
            .await?
            .is_none()
    );
    step("two messages, one after the other's ACK");
    subscription_moves(relay, &queue, &mut events).await?;
    Ok(())
}

/// SUB on another connection ends the first one's subscription.
async fn subscription_moves(
    relay: &ServerAddress,
    queue: &Queue,
    events: &mut Events,
) -> anyhow::Result<()> {
    let (other, _other_events) = connect(relay).await?;
    for subscribed in other.subscribe(&[queue.key()]).await {
        subscribed?;
    }
    match next_event(events).await? {
        Event::End { .. } => step("SUB: on another connection; END on the first"),
        other => bail!("expected END, not {other:?}"),
    }
    other.delete(queue.key()).await?;
    step("DEL");
    Ok(())
}

/// The fast way: the sender secures the queue itself.
async fn queue_that_its_sender_secures(relay: &ServerAddress) -> anyhow::Result<()> {
    let (recipient, mut events) = connect(relay).await?;
    let (sender, _) = connect(relay).await?;
    let queue = Queue::create(&recipient, QueueRequest::Messaging(None)).await?;
    let key = new_key();
    sender.sender_secure(&queue.ids.sender_id, &key).await?;
    step("SKEY: the sender secures the queue");
    sender
        .send_message(
            &queue.ids.sender_id,
            Some(&key),
            silent(),
            b"hello".to_vec(),
        )
        .await?;
    let message = next_message(&mut events).await?;
    queue.acknowledge(&recipient, message, b"hello").await?;
    step("SEND, MSG, ACK");
    recipient.delete(queue.key()).await?;
    Ok(())
}

/// Data beside a queue: for one with LKEY, for many with LGET.
async fn links(relay: &ServerAddress) -> anyhow::Result<()> {
    let (owner, _events) = connect(relay).await?;
    let (visitor, _) = connect(relay).await?;
    let data = LinkData {
        fixed: b"sealed and fixed".to_vec(),
        user: b"sealed".to_vec(),
    };

    let chosen = ChosenSenderId::generate();
    let request = QueueRequest::Messaging(Some((chosen.id().clone(), data.clone())));
    let one = Queue::create_with(&owner, request, Some(chosen)).await?;
    let link = one
        .ids
        .link_id
        .clone()
        .context("the relay gave no link id")?;
    let (sender_id, seen) = visitor.link_key(&link, &new_key()).await?;
    ensure!(
        sender_id == one.ids.sender_id && seen == data,
        "the link shows something else"
    );
    step("NEW with a link for one, LKEY");

    let many = Queue::create(&owner, QueueRequest::Contact(None)).await?;
    let link = smp_protocol::LinkId::generate(&mut UnwrapErr(SysRng));
    owner
        .set_link(many.key(), link.clone(), data.clone())
        .await?;
    let (_, seen) = visitor.link_data(&link).await?;
    ensure!(seen == data, "the link shows something else");
    step("LSET for many, LGET");
    let changed = LinkData {
        user: b"sealed anew".to_vec(),
        ..data
    };
    owner
        .set_link(many.key(), link.clone(), changed.clone())
        .await?;
    ensure!(
        visitor.link_data(&link).await?.1 == changed,
        "the link shows something else"
    );
    owner.delete_link(many.key()).await?;
    ensure!(
        visitor.link_data(&link).await.is_err(),
        "the link is deleted"
    );
    step("LSET again, LDEL");
    owner.delete(one.key()).await?;
    owner.delete(many.key()).await?;
    Ok(())
}

/// Two relays: the one with the queue does not see who sends.
async fn through_another_relay(relay: &ServerAddress, proxy: &ServerAddress) -> anyhow::Result<()> {
    let (recipient, mut events) = connect(relay).await?;
    let (sender, _) = connect(proxy).await?;
    let queue = Queue::create(&recipient, QueueRequest::Messaging(None)).await?;
    let route = sender.proxy_session(&relay.relay).await?;
    step("PRXY: the other relay's key, which its certificate signs");
    let key = new_key();
    let entity = EntityId::from(queue.ids.sender_id.clone());
    let secure = Command::Skey(key.public());
    let send = Command::Send {
        flags: silent(),
        body: b"two hops".to_vec(),
    };
    for command in [secure, send] {
        let tag = command.tag();
        let answer = sender
            .forward(&route, Request::about(&entity, Some(&key), &command))
            .await?;
        ensure!(answer == Response::Ok, "{tag} was answered {answer:?}");
    }
    let message = next_message(&mut events).await?;
    queue.acknowledge(&recipient, message, b"two hops").await?;
    step("PFWD: SKEY and SEND through the proxy, MSG at the recipient");
    recipient.delete(queue.key()).await?;
    Ok(())
}

/// A queue with its recipient's keys.
struct Queue {
    ids: QueueIds,
    key: AuthPrivateKey,
    secret: BoxKey,
}

impl Queue {
    async fn create(recipient: &Session, request: QueueRequest) -> anyhow::Result<Self> {
        Self::create_with(recipient, request, None).await
    }

    async fn create_with(
        recipient: &Session,
        request: QueueRequest,
        sender_id: Option<ChosenSenderId>,
    ) -> anyhow::Result<Self> {
        let key = new_key();
        let dh = DhPrivateKey::generate(&mut UnwrapErr(SysRng));
        let parameters = QueueParameters {
            dh_key: dh.public(),
            subscribe: true,
            request: Some(request),
            notifier: None,
            sender_id,
        };
        let ids = recipient.create_queue(&key, parameters).await?;
        let secret = BoxKey::from(DhSecret::agree(&dh, &ids.dh_key)?);
        Ok(Self { ids, key, secret })
    }

    fn key(&self) -> QueueKey<'_> {
        QueueKey {
            id: &self.ids.recipient_id,
            key: &self.key,
        }
    }

    /// Checks a message and acknowledges it; returns the next.
    async fn acknowledge(
        &self,
        recipient: &Session,
        mut message: SealedMessage,
        expected: &[u8],
    ) -> anyhow::Result<Option<SealedMessage>> {
        let id = message.id;
        match message.open(&self.secret)? {
            ReceivedMessage::Message { body, .. } => ensure!(body == expected, "another message"),
            ReceivedMessage::Quota { .. } => bail!("the queue was full"),
        }
        Ok(recipient.acknowledge(self.key(), id).await?)
    }
}

async fn connect(relay: &ServerAddress) -> anyhow::Result<(Session, Events)> {
    let connector = TcpConnector::new(TcpOptions::default(), None)?;
    let isolation = Isolation::generate(&mut UnwrapErr(SysRng));
    Ok(Session::connect(&connector, relay, &isolation, &SessionOptions::default()).await?)
}

async fn next_message(events: &mut Events) -> anyhow::Result<SealedMessage> {
    match next_event(events).await? {
        Event::Message { message, .. } => Ok(message),
        other => bail!("expected a message, not {other:?}"),
    }
}

async fn next_event(events: &mut Events) -> anyhow::Result<Event> {
    let event = tokio::time::timeout(PATIENCE, events.next())
        .await
        .context("nothing came")?;
    event.context("the session is over")
}

fn new_key() -> AuthPrivateKey {
    AuthPrivateKey::generate(&mut UnwrapErr(SysRng), AuthKeyKind::X25519)
}

fn silent() -> MessageFlags {
    MessageFlags {
        notification: false,
    }
}

fn step(text: &str) {
    println!("done: {text}");
}
