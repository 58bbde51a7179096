//! "Service subscriptions", "Subscribe to multiple queues", "Service subscription response", "All
//! service messages received" and "Service subscription END notification".

use std::collections::HashSet;

use super::{ends, id_of, join, soks, subs};
use crate::prelude::*;

const ALLS: (EntityId, Response) = (EntityId::EMPTY, Response::Alls);

async fn messaging<S: smp_server::store::Store>(relay: &TestRelay<S>) -> Client {
    relay
        .service(ServiceRole::Messaging, &service_credentials("chat"))
        .await
}

/// This many queues of the service. Who created them is gone.
async fn joined(relay: &TestRelay, count: usize) -> (Vec<Queue>, Vec<EntityId>) {
    let mut service = messaging(relay).await;
    let mut queues = Vec::new();
    for _ in 0..count {
        let queue = create_only(&mut service, MESSAGING).await;
        join(&mut service, &queue).await;
        queues.push(queue);
    }
    let ids = queues
        .iter()
        .map(|queue| queue.recipient().into())
        .collect();
    (queues, ids)
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_without_queues_counts_none_and_is_done_at_once() {
    let relay = relay();
    let mut service = messaging(&relay).await;
    assert_eq!(subs(&mut service).await, soks(&[]));
    assert_eq!(service.event().await, ALLS);
    assert!(service.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_answers_with_what_the_relay_has() {
    let relay = relay();
    let (_, ids) = joined(&relay, 5).await;
    let mut service = messaging(&relay).await;
    // `subs` says 0 and no hash: the client learns that it is wrong.
    assert_eq!(subs(&mut service).await, soks(&ids));
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_brings_what_waits_and_then_alls() {
    let relay = relay();
    let (queues, ids) = joined(&relay, 40).await;
    let mut sender = relay.client().await;
    for queue in &queues[..30] {
        post(&mut sender, queue, b"one").await;
        post(&mut sender, queue, b"two").await;
    }
    let mut service = messaging(&relay).await;
    assert_eq!(subs(&mut service).await, soks(&ids));
    let mut seen = HashSet::new();
    for _ in 0..30 {
        let (entity, response) = service.event().await;
        let at = ids.iter().position(|id| *id == entity).unwrap();
        assert_eq!(queues[at].open(&response).body, b"one");
        assert!(seen.insert(entity));
    }
    assert_eq!(service.event().await, ALLS);
    assert!(service.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_messages_are_acknowledged_queue_by_queue() {
    let relay = relay();
    let (queues, _) = joined(&relay, 1).await;
    let queue = &queues[0];
    let mut sender = relay.client().await;
    post(&mut sender, queue, b"one").await;
    post(&mut sender, queue, b"two").await;
    let mut service = messaging(&relay).await;
    subs(&mut service).await;
    let first = service.message(queue).await;
    let second = queue.open(&service.ack(queue, &first).await);
    assert_eq!(second.body, b"two");
    assert_eq!(service.ack(queue, &second).await, OK);
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_brings_later_messages_of_all_queues() {
    let relay = relay();
    let (queues, _) = joined(&relay, 3).await;
    let mut service = messaging(&relay).await;
    subs(&mut service).await;
    assert_eq!(service.event().await, ALLS);
    let mut sender = relay.client().await;
    for queue in &queues {
        post(&mut sender, queue, b"hello").await;
        let message = service.message(queue).await;
        assert_eq!(message.body, b"hello");
        assert_eq!(service.ack(queue, &message).await, OK);
        post(&mut sender, queue, b"again").await;
        assert_eq!(service.message(queue).await.body, b"again");
    }
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_again_in_the_same_session_only_answers() {
    let relay = relay();
    let (queues, ids) = joined(&relay, 1).await;
    post(&mut relay.client().await, &queues[0], b"hello").await;
    let mut service = messaging(&relay).await;
    assert_eq!(subs(&mut service).await, soks(&ids));
    service.message(&queues[0]).await;
    assert_eq!(service.event().await, ALLS);
    assert_eq!(subs(&mut service).await, soks(&ids));
    assert!(service.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_in_another_session_ends_the_first() {
    let relay = relay();
    let (queues, ids) = joined(&relay, 3).await;
    let (mut first, mut second) = (messaging(&relay).await, messaging(&relay).await);
    subs(&mut first).await;
    assert_eq!(first.event().await, ALLS);
    assert_eq!(subs(&mut second).await, soks(&ids));
    assert_eq!(first.event().await, (id_of(&first).into(), ends(&ids)));
    assert_eq!(second.event().await, ALLS);
    post(&mut relay.client().await, &queues[0], b"hello").await;
    assert_eq!(second.message(&queues[0]).await.body, b"hello");
    assert!(first.silent().await, "no further messages after ENDS");
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_in_another_session_brings_what_was_not_acknowledged() {
    let relay = relay();
    let (queues, _) = joined(&relay, 1).await;
    post(&mut relay.client().await, &queues[0], b"hello").await;
    let mut first = messaging(&relay).await;
    subs(&mut first).await;
    let message = first.message(&queues[0]).await;
    let mut second = messaging(&relay).await;
    subs(&mut second).await;
    assert_eq!(second.message(&queues[0]).await, message);
    assert_eq!(first.event().await, ALLS);
    assert!(matches!(first.event().await.1, Response::Ends { .. }));
    assert_eq!(first.ack(&queues[0], &message).await, NO_MSG);
    assert_eq!(second.ack(&queues[0], &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn subscribe_multiple_back_and_forth_misses_nothing() {
    let relay = relay();
    let (queues, _) = joined(&relay, 1).await;
    let (mut one, mut other) = (messaging(&relay).await, messaging(&relay).await);
    subs(&mut one).await;
    assert_eq!(one.event().await, ALLS);
    subs(&mut other).await;
    assert_eq!(other.event().await, ALLS);
    assert!(matches!(one.event().await.1, Response::Ends { .. }));
    post(&mut relay.client().await, &queues[0], b"hello").await;
    other.message(&queues[0]).await;
    subs(&mut one).await;
    assert_eq!(one.message(&queues[0]).await.body, b"hello");
    assert_eq!(one.event().await, ALLS);
}

#[tokio::test(start_paused = true)]
async fn subscribe_as_service_takes_new_messages_without_subs() {
    let relay = relay();
    let mut service = messaging(&relay).await;
    let queue = create_only(&mut service, MESSAGING).await;
    join(&mut service, &queue).await;
    post(&mut relay.client().await, &queue, b"hello").await;
    let message = service.message(&queue).await;
    assert_eq!(message.body, b"hello");
    assert_eq!(service.ack(&queue, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn subscribe_as_service_brings_what_waits() {
    let relay = relay();
    let mut service = messaging(&relay).await;
    let queue = create_only(&mut service, MESSAGING).await;
    post(&mut relay.client().await, &queue, b"hello").await;
    join(&mut service, &queue).await;
    assert_eq!(service.message(&queue).await.body, b"hello");
    join(&mut service, &queue).await;
    assert_eq!(service.message(&queue).await.body, b"hello", "and again");
}

#[tokio::test(start_paused = true)]
async fn subscribe_as_service_after_subs_adds_the_queue() {
    let relay = relay();
    let (_, mut ids) = joined(&relay, 2).await;
    let mut service = messaging(&relay).await;
    subs(&mut service).await;
    assert_eq!(service.event().await, ALLS);
    let queue = create_only(&mut service, MESSAGING).await;
    join(&mut service, &queue).await;
    ids.push(queue.recipient().into());
    assert_eq!(subs(&mut service).await, soks(&ids));
    post(&mut relay.client().await, &queue, b"hello").await;
    assert_eq!(service.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn subscribe_as_service_ends_the_subscription_of_an_ordinary_client() {
    let relay = relay();
    let (mut client, mut service) = (relay.client().await, messaging(&relay).await);
    let queue = create(&mut client, MESSAGING).await;
    join(&mut service, &queue).await;
    assert_eq!(
        client.event().await,
        (queue.recipient().into(), Response::End)
    );
    post(&mut client, &queue, b"hello").await;
    assert_eq!(service.message(&queue).await.body, b"hello");
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_as_service_in_another_session_ends_the_first() {
    let relay = relay();
    let (mut first, mut second) = (messaging(&relay).await, messaging(&relay).await);
    let queue = create_only(&mut first, MESSAGING).await;
    join(&mut first, &queue).await;
    join(&mut second, &queue).await;
    let ids = [queue.recipient().into()];
    assert_eq!(first.event().await, (id_of(&first).into(), ends(&ids)));
    post(&mut relay.client().await, &queue, b"hello").await;
    assert_eq!(second.message(&queue).await.body, b"hello");
    assert!(first.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_without_the_service_takes_the_queue_out_of_it() {
    let relay = relay();
    let (queues, ids) = joined(&relay, 2).await;
    let (mut service, mut client) = (messaging(&relay).await, relay.client().await);
    assert_eq!(subs(&mut service).await, soks(&ids));
    assert_eq!(service.event().await, ALLS);
    assert_eq!(client.manage(&queues[0], Command::Sub).await, SOK);
    assert_eq!(service.event().await, (ids[0].clone(), Response::End));
    assert_eq!(subs(&mut service).await, soks(&ids[1..]));
    let mut sender = relay.client().await;
    post(&mut sender, &queues[0], b"hello").await;
    assert_eq!(client.message(&queues[0]).await.body, b"hello");
    assert!(service.silent().await);
}

#[tokio::test(start_paused = true)]
async fn create_as_service_puts_the_queue_into_it() {
    let relay = relay();
    let mut service = messaging(&relay).await;
    let (key, dh) = (
        key_of(&mut service),
        DhPrivateKey::generate(&mut service.rng),
    );
    let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
    let Response::Ids(ids) = service.run_as_service(EntityId::EMPTY, &key, new).await else {
        panic!("expected IDS");
    };
    assert_eq!(ids.service_id, Some(id_of(&service)));
    let queue = Queue { key, dh, ids: *ids };
    post(&mut relay.client().await, &queue, b"hello").await;
    assert_eq!(service.message(&queue).await.body, b"hello");
    drop(service);
    let mut service = messaging(&relay).await;
    assert_eq!(subs(&mut service).await, soks(&[queue.recipient().into()]));
    assert_eq!(service.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn queue_deleted_is_told_to_the_service() {
    let relay = relay();
    let (queues, ids) = joined(&relay, 2).await;
    let (mut service, mut client) = (messaging(&relay).await, relay.client().await);
    subs(&mut service).await;
    assert_eq!(service.event().await, ALLS);
    assert_eq!(client.manage(&queues[0], Command::Del).await, OK);
    assert_eq!(service.event().await, (ids[0].clone(), Response::Deld));
    assert_eq!(subs(&mut service).await, soks(&ids[1..]));
}

#[tokio::test(start_paused = true)]
async fn get_is_prohibited_in_a_session_whose_service_was_delivered_the_queue() {
    let relay = relay();
    let (queues, _) = joined(&relay, 1).await;
    post(&mut relay.client().await, &queues[0], b"hello").await;
    let mut service = messaging(&relay).await;
    subs(&mut service).await;
    service.message(&queues[0]).await;
    assert_eq!(service.manage(&queues[0], Command::Get).await, PROHIBITED);
}

#[tokio::test(start_paused = true)]
async fn services_of_different_certificates_share_nothing() {
    let relay = relay();
    let (queues, ids) = joined(&relay, 1).await;
    let mut chat = messaging(&relay).await;
    let credentials = service_credentials("other");
    let mut other = relay.service(ServiceRole::Messaging, &credentials).await;
    assert_eq!(subs(&mut chat).await, soks(&ids));
    assert_eq!(chat.event().await, ALLS);
    assert_eq!(subs(&mut other).await, soks(&[]));
    assert_eq!(other.event().await, ALLS);
    join(&mut other, &queues[0]).await;
    assert_eq!(
        chat.event().await,
        (ids[0].clone(), Response::End),
        "it changed hands"
    );
    assert_eq!(subs(&mut chat).await, soks(&[]));
    assert_eq!(subs(&mut other).await, soks(&ids));
}
