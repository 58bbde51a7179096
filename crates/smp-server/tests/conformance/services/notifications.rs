//! "Subscribe to multiple queue notifications".

use super::{ends, id_of, nsubs, soks};
use crate::prelude::*;

async fn push<S: smp_server::store::Store>(relay: &TestRelay<S>, version: u16) -> Client {
    let credentials = service_credentials("push");
    relay
        .service_of(SmpVersion(version), ServiceRole::Notifier, &credentials)
        .await
}

/// A queue and its notifier's key.
async fn notified(client: &mut Client) -> (Queue, AuthPrivateKey) {
    let key = key_of(client);
    let notifier = Some((key.public(), DhPrivateKey::generate(&mut client.rng)));
    let queue = create_with(
        client,
        NewQueueOptions {
            notifier,
            ..Default::default()
        },
    )
    .await;
    (queue, key)
}

async fn join(service: &mut Client, (queue, key): &(Queue, AuthPrivateKey)) {
    let answer = service
        .run_as_service(queue.notifier(), key, Command::Nsub)
        .await;
    assert_eq!(answer, Response::Sok(Some(id_of(service))));
}

async fn notify(sender: &mut Client, queue: &Queue) {
    assert_eq!(
        sender
            .run(queue.sender(), None, send_notified(b"hello"))
            .await,
        OK
    );
}

/// The next event is a notification for this queue.
async fn assert_notified(service: &mut Client, queue: &Queue) {
    let (entity, response) = service.event().await;
    assert_eq!(entity, queue.notifier().into());
    assert!(matches!(response, Response::Nmsg { .. }));
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_notifications_answers_with_what_the_relay_has() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let one = notified(&mut client).await;
        join(&mut service, &one).await;
        ids.push(one.0.notifier().into());
    }
    assert_eq!(nsubs(&mut service).await, soks(&ids));
    let mut service = push(&relay, 20).await;
    assert_eq!(nsubs(&mut service).await, soks(&ids));
    assert!(service.silent().await, "ALLS is for messages");
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_notifications_brings_those_that_wait_and_later_ones() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let one = notified(&mut client).await;
    join(&mut service, &one).await;
    drop(service);
    notify(&mut client, &one.0).await;
    let mut service = push(&relay, 20).await;
    assert!(service.silent().await);
    nsubs(&mut service).await;
    assert_notified(&mut service, &one.0).await;
    notify(&mut client, &one.0).await;
    assert_notified(&mut service, &one.0).await;
}

#[tokio::test(start_paused = true)]
async fn subscribe_notifications_as_service_takes_them_without_nsubs() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let one = notified(&mut client).await;
    join(&mut service, &one).await;
    notify(&mut client, &one.0).await;
    assert_notified(&mut service, &one.0).await;
}

#[tokio::test(start_paused = true)]
async fn subscribe_notifications_as_service_ends_an_ordinary_notifier() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let one = notified(&mut client).await;
    let mut notifier = relay.client().await;
    assert_eq!(
        notifier
            .run(one.0.notifier(), Some(&one.1), Command::Nsub)
            .await,
        SOK
    );
    join(&mut service, &one).await;
    assert_eq!(
        notifier.event().await,
        (one.0.notifier().into(), Response::End)
    );
    notify(&mut client, &one.0).await;
    assert_notified(&mut service, &one.0).await;
    assert!(notifier.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_notifications_without_the_service_takes_the_queue_out_of_it() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let one = notified(&mut client).await;
    join(&mut service, &one).await;
    let mut notifier = relay.client().await;
    assert_eq!(
        notifier
            .run(one.0.notifier(), Some(&one.1), Command::Nsub)
            .await,
        SOK
    );
    assert_eq!(
        service.event().await,
        (one.0.notifier().into(), Response::End)
    );
    assert_eq!(nsubs(&mut service).await, soks(&[]));
    notify(&mut client, &one.0).await;
    assert_notified(&mut notifier, &one.0).await;
    assert!(service.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_notifications_in_another_session_ends_the_first() {
    let relay = relay();
    let mut client = relay.client().await;
    let (mut first, mut second) = (push(&relay, 20).await, push(&relay, 20).await);
    let one = notified(&mut client).await;
    join(&mut first, &one).await;
    let ids = [one.0.notifier().into()];
    assert_eq!(nsubs(&mut second).await, soks(&ids));
    assert_eq!(first.event().await, (id_of(&first).into(), ends(&ids)));
    notify(&mut client, &one.0).await;
    assert_notified(&mut second, &one.0).await;
    assert!(first.silent().await);
}

#[tokio::test(start_paused = true)]
async fn disabled_notifications_and_deleted_queues_are_told_to_the_service() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let (disabled, deleted) = (notified(&mut client).await, notified(&mut client).await);
    join(&mut service, &disabled).await;
    join(&mut service, &deleted).await;
    assert_eq!(client.manage(&disabled.0, Command::Ndel).await, OK);
    assert_eq!(
        service.event().await,
        (disabled.0.notifier().into(), Response::Deld)
    );
    assert_eq!(client.manage(&deleted.0, Command::Del).await, OK);
    assert_eq!(
        service.event().await,
        (deleted.0.notifier().into(), Response::Deld)
    );
    assert_eq!(nsubs(&mut service).await, soks(&[]));
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_notifications_has_no_parameters_before_version_19() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, push(&relay, 20).await);
    let one = notified(&mut client).await;
    join(&mut service, &one).await;
    drop(service);
    for version in [16, 17, 18] {
        let mut service = push(&relay, version).await;
        // Encoded for its version: the command has no parameters, the answer no hash.
        let expected = Response::Soks {
            count: 1,
            ids_hash: IdsHash::default(),
        };
        assert_eq!(nsubs(&mut service).await, expected);
        notify(&mut client, &one.0).await;
        assert_notified(&mut service, &one.0).await;
        assert!(service.silent().await);
    }
}
