//! "Client services", and the commands and responses of services.

mod messages;
mod notifications;
mod sessions;

use crate::prelude::*;

/// The hash of these queues.
fn hash_of<'a>(ids: impl IntoIterator<Item = &'a EntityId>) -> IdsHash {
    ids.into_iter().collect()
}

/// What the relay calls this service.
fn id_of(service: &Client) -> ServiceId {
    service.service.as_ref().unwrap().id.clone()
}

/// A command about the whole service, signed with the key of its session.
async fn run_for_all(service: &mut Client, command: Command) -> Response {
    let session = service.service.as_ref().unwrap();
    let key = AuthPrivateKey::from_bytes(AuthKeyKind::Ed25519, session.key.as_bytes());
    service.run(session.id.clone(), Some(&key), command).await
}

async fn subs(service: &mut Client) -> Response {
    let command = Command::Subs {
        count: 0,
        ids_hash: IdsHash::default(),
    };
    run_for_all(service, command).await
}

async fn nsubs(service: &mut Client) -> Response {
    let command = Command::Nsubs {
        count: 0,
        ids_hash: IdsHash::default(),
    };
    run_for_all(service, command).await
}

/// SOKS for these queues.
fn soks(ids: &[EntityId]) -> Response {
    Response::Soks {
        count: ids.len() as i64,
        ids_hash: hash_of(ids),
    }
}

/// ENDS for these queues.
fn ends(ids: &[EntityId]) -> Response {
    Response::Ends {
        count: ids.len() as i64,
        ids_hash: hash_of(ids),
    }
}

/// Makes a queue join the service.
async fn join(service: &mut Client, queue: &Queue) {
    let answer = service
        .run_as_service(queue.recipient(), &queue.key, Command::Sub)
        .await;
    assert_eq!(answer, Response::Sok(Some(id_of(service))));
}
