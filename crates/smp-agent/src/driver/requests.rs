//! One command to a relay, from request to outcome.

use std::time::Duration;

use smp_client::{
    ChosenSenderId, ClientError, Patience, QueueKey, QueueParameters, Relay, Router, RoutingError,
    SealedMessage,
};
use smp_protocol::{ErrorType, LinkData, MessageId, QueueIds, RecipientId, RelayAddress, SenderId};

use super::failure::{of_client, of_routing};
use super::senders::Way;
use crate::core::{Failure, Reply, Request};

/// How long a command waits for a connection; after that the core says so, and tries again.
const PATIENCE: Patience = Patience::Wait(Duration::from_secs(10));

/// How often an acknowledgement is sent over connections that do not answer it. As long as it is
/// missing, nothing more comes from its queue.
const ACKNOWLEDGEMENTS: u32 = 3;

/// What became of a request.
pub(super) struct Outcome {
    pub(super) result: Result<Reply, Failure>,
    /// The next message, which came with the answer to an acknowledgement.
    pub(super) next: Option<(RecipientId, SealedMessage)>,
}

/// Sends a recipient's command.
pub(super) async fn as_recipient(relay: Relay, request: Request) -> Outcome {
    let mut next = None;
    let result = match request {
        Request::Create { .. } => create(&relay, request)
            .await
            .map(|ids| Reply::Created(Box::new(ids))),
        Request::Acknowledge {
            recipient,
            key,
            message,
        } => {
            let queue = QueueKey {
                id: &recipient,
                key: &key,
            };
            acknowledge(&relay, queue, message).await.map(|message| {
                next = message.map(|message| (recipient.clone(), message));
                Reply::Done
            })
        }
        other => change(&relay, other).await.map(|()| Reply::Done),
    };
    Outcome {
        result: result.map_err(of_client),
        next,
    }
}

/// Creates a queue, subscribed to. If the relay cannot be reached, another one may do: this does
/// not wait.
async fn create(relay: &Relay, request: Request) -> Result<QueueIds, ClientError> {
    let Request::Create {
        key,
        delivery_key,
        request,
        corr_id,
    } = request
    else {
        return Err(ClientError::Refused(ErrorType::Internal));
    };
    let parameters = QueueParameters {
        dh_key: delivery_key,
        subscribe: true,
        request: Some(request),
        notifier: None,
        sender_id: corr_id.map(ChosenSenderId::from_corr_id),
    };
    relay
        .create_queue(&key, parameters, Patience::FailFast)
        .await
}

/// Acknowledges a message. Without connection there is no need to: the message comes again with the
/// next subscription.
async fn acknowledge(
    relay: &Relay,
    queue: QueueKey<'_>,
    message: MessageId,
) -> Result<Option<SealedMessage>, ClientError> {
    let mut left = ACKNOWLEDGEMENTS;
    loop {
        left -= 1;
        let session = relay.session(&queue.id.0, Patience::FailFast).await?;
        match session.acknowledge(queue, message).await {
            Err(ClientError::Timeout) if left > 0 => {}
            Err(ClientError::Refused(ErrorType::NoMsg)) => return Ok(None),
            other => return other,
        }
    }
}

/// Changes or deletes a queue.
async fn change(relay: &Relay, request: Request) -> Result<(), ClientError> {
    match request {
        Request::Secure {
            recipient,
            key,
            sender_key,
        } => {
            let session = relay.session(&recipient.0, PATIENCE).await?;
            let (id, key) = (&recipient, &key);
            session.secure(QueueKey { id, key }, sender_key).await
        }
        Request::SetLink {
            recipient,
            key,
            link,
            data,
        } => {
            let session = relay.session(&recipient.0, PATIENCE).await?;
            let (id, key) = (&recipient, &key);
            session.set_link(QueueKey { id, key }, link, data).await
        }
        Request::Delete { recipient, key } => {
            // A queue that was deleted while it was created is subscribed to nevertheless.
            relay.unsubscribe(&recipient.0);
            let session = relay.session(&recipient.0, PATIENCE).await?;
            let (id, key) = (&recipient, &key);
            session.delete(QueueKey { id, key }).await
        }
        _ => Err(ClientError::Refused(ErrorType::Internal)),
    }
}

/// Sends a sender's command.
pub(super) async fn as_sender(way: Way, request: Request) -> Outcome {
    let result = match way {
        Way::Routed(router, relay) => route(&router, &relay, request).await.map_err(of_routing),
        Way::Direct(relay) => send_directly(&relay, request).await.map_err(of_client),
    };
    Outcome { result, next: None }
}

async fn route(
    router: &Router,
    relay: &RelayAddress,
    request: Request,
) -> Result<Reply, RoutingError> {
    match request {
        Request::SenderSecure { sender, key } => {
            router.sender_secure(relay, &sender, &key).await?;
            Ok(Reply::Done)
        }
        Request::Send {
            sender,
            key,
            flags,
            body,
        } => {
            router
                .send_message(relay, &sender, key.as_ref(), flags, body)
                .await?;
            Ok(Reply::Done)
        }
        Request::LinkKey { link: id, key } => {
            Ok(link(router.link_key(relay, &id, &key).await?.answer))
        }
        Request::LinkData { link: id } => Ok(link(router.link_data(relay, &id).await?.answer)),
        other => Err(RoutingError::NotForwardable(other.name())),
    }
}

async fn send_directly(relay: &Relay, request: Request) -> Result<Reply, ClientError> {
    match request {
        Request::SenderSecure { sender, key } => {
            let session = relay.session(&sender.0, PATIENCE).await?;
            session.sender_secure(&sender, &key).await?;
            Ok(Reply::Done)
        }
        Request::Send {
            sender,
            key,
            flags,
            body,
        } => {
            let session = relay.session(&sender.0, PATIENCE).await?;
            let sent = session.send_message(&sender, key.as_ref(), flags, body);
            sent.await?;
            Ok(Reply::Done)
        }
        Request::LinkKey { link: id, key } => {
            let session = relay.session(&id.0, PATIENCE).await?;
            Ok(link(session.link_key(&id, &key).await?))
        }
        Request::LinkData { link: id } => {
            let session = relay.session(&id.0, PATIENCE).await?;
            Ok(link(session.link_data(&id).await?))
        }
        _ => Err(ClientError::Refused(ErrorType::Internal)),
    }
}

fn link((sender, data): (SenderId, LinkData)) -> Reply {
    Reply::Link { sender, data }
}
