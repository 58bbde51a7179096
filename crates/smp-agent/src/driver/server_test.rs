//! Whether a server can be used: makes a queue there, secures and deletes it.

use std::sync::Arc;

use smp_client::{
    ClientError, Connector, Isolation, QueueKey, QueueParameters, Session, SessionOptions,
};
use smp_protocol::{AuthKeyKind, AuthPrivateKey, DhPrivateKey, QueueRequest, ServerAddress};

use super::error::{ServerTestError, ServerTestStep};
use crate::core::Randomness;

pub(super) async fn run(
    connector: Arc<dyn Connector>,
    server: ServerAddress,
    options: SessionOptions,
    mut random: Randomness,
) -> Result<(), ServerTestError> {
    let isolation = Isolation::generate(&mut random);
    let connected = Session::connect(&*connector, &server, &isolation, &options).await;
    let connected = connected.map_err(|error| ClientError::Connect(Arc::new(error)));
    let (session, _) = at(ServerTestStep::Connect, connected)?;

    let key = AuthPrivateKey::generate(&mut random, AuthKeyKind::Ed25519);
    let parameters = QueueParameters {
        dh_key: DhPrivateKey::generate(&mut random).public(),
        subscribe: false,
        request: Some(QueueRequest::Messaging(None)),
        notifier: None,
        sender_id: None,
    };
    let created = session.create_queue(&key, parameters).await;
    let ids = at(ServerTestStep::CreateQueue, created)?;

    let (id, key) = (&ids.recipient_id, &key);
    let sender = AuthPrivateKey::generate(&mut random, AuthKeyKind::X25519);
    let secured = session.secure(QueueKey { id, key }, sender.public()).await;
    // It is deleted in any case.
    let deleted = session.delete(QueueKey { id, key }).await;
    at(ServerTestStep::SecureQueue, secured)?;
    at(ServerTestStep::DeleteQueue, deleted)
}

fn at<T>(step: ServerTestStep, result: Result<T, ClientError>) -> Result<T, ServerTestError> {
    result.map_err(|error| ServerTestError { step, error })
}
