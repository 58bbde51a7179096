//! "Notifier commands" and "Deliver message notification".

use crate::prelude::*;

/// A queue with a notifier.
struct Notified {
    queue: Queue,
    key: AuthPrivateKey,
    secret: BoxKey,
}

impl Notified {
    /// Opens NMSG, which is about the notifier and answers nothing.
    fn open(&self, event: (EntityId, Response)) -> NotificationMeta {
        let (entity, Response::Nmsg { nonce, meta }) = event else {
            panic!("expected NMSG");
        };
        assert_eq!(entity, self.queue.notifier().into());
        assert_eq!(meta.len(), 144);
        NotificationMeta::open(&self.secret, &nonce, &meta).unwrap()
    }

    async fn subscribe(&self, client: &mut Client) -> Response {
        client
            .run(self.queue.notifier(), Some(&self.key), Command::Nsub)
            .await
    }
}

async fn notified(client: &mut Client) -> Notified {
    let (key, dh) = (key_of(client), DhPrivateKey::generate(&mut client.rng));
    let private = DhPrivateKey::from_bytes(dh.as_bytes());
    let notifier = Some((key.public(), dh));
    let queue = create_with(
        client,
        NewQueueOptions {
            notifier,
            ..Default::default()
        },
    )
    .await;
    let (_, relay_dh) = queue.ids.notifier.clone().unwrap();
    let secret = BoxKey::from(DhSecret::agree(&private, &relay_dh).unwrap());
    Notified { queue, key, secret }
}

/// Sends a message with the wish to notify.
async fn notify(sender: &mut Client, queue: &Queue) {
    assert_eq!(
        sender
            .run(queue.sender(), None, send_notified(b"hello"))
            .await,
        OK
    );
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_is_answered_by_sok() {
    let relay = relay();
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    assert!(notifier.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_brings_one_for_each_message_that_asks_for_it() {
    let relay = relay();
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    let queue = &notified.queue;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    post(&mut client, queue, b"without").await;
    assert!(notifier.silent().await);
    notify(&mut client, queue).await;
    notify(&mut client, queue).await;
    let metas = [
        notified.open(notifier.event().await),
        notified.open(notifier.event().await),
    ];
    assert!(notifier.silent().await);
    let without = client.message(queue).await;
    let first = queue.open(&client.ack(queue, &without).await);
    let second = queue.open(&client.ack(queue, &first).await);
    for (meta, message) in metas.iter().zip([first, second]) {
        assert_eq!(
            (meta.message_id, meta.timestamp),
            (message.id, message.timestamp)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_brings_those_that_wait_at_once() {
    let relay = relay();
    let mut client = relay.client().await;
    let notified = notified(&mut client).await;
    notify(&mut client, &notified.queue).await;
    let mut notifier = relay.client().await;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    let meta = notified.open(notifier.event().await);
    assert_eq!(meta.message_id, client.message(&notified.queue).await.id);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_in_another_connection_ends_the_first() {
    let relay = relay();
    let mut client = relay.client().await;
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut first).await, SOK);
    assert_eq!(notified.subscribe(&mut second).await, SOK);
    let end = (notified.queue.notifier().into(), Response::End);
    assert_eq!(first.event().await, end);
    notify(&mut client, &notified.queue).await;
    notified.open(second.event().await);
    assert!(first.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_at_the_same_time_leaves_one_subscribed() {
    let relay = relay();
    let mut client = relay.client().await;
    let (mut one, mut other) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut one).await, SOK);
    let ids = [one.corr_id(), other.corr_id()];
    let nsub = |client: &mut Client, id: &CorrId| {
        let entity = notified.queue.notifier().into();
        client.transmission(id, &entity, Some(&notified.key), &Command::Nsub)
    };
    let (first, second) = (nsub(&mut other, &ids[1]), nsub(&mut one, &ids[0]));
    other.send(&[first]).await;
    one.send(&[second]).await;
    assert_eq!(other.answer(&ids[1]).await, SOK);
    assert_eq!(one.answer(&ids[0]).await, SOK);
    notify(&mut client, &notified.queue).await;
    let mut listening = 0;
    for client in [&mut one, &mut other] {
        match client.event().await {
            (_, Response::End) => assert!(client.silent().await, "nothing follows END"),
            event => {
                notified.open(event);
                listening += 1;
            }
        }
    }
    assert_eq!(listening, 1);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_again_in_the_same_connection_ends_nothing() {
    let relay = relay();
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    assert!(notifier.silent().await);
    notify(&mut client, &notified.queue).await;
    notified.open(notifier.event().await);
    assert!(notifier.silent().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_holds_until_the_connection_is_closed() {
    let relay = relay();
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    drop(notifier);
    notify(&mut client, &notified.queue).await;
    let mut notifier = relay.client().await;
    assert!(notifier.silent().await);
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    notified.open(notifier.event().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_leaves_the_recipients_subscription() {
    let relay = relay();
    let mut client = relay.client().await;
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut client).await, SOK);
    notify(&mut client, &notified.queue).await;
    let mut kinds = [0, 0];
    for _ in 0..2 {
        match client.event().await {
            (entity, Response::Msg { .. }) => {
                assert_eq!(entity, notified.queue.recipient().into());
                kinds[0] += 1;
            }
            event => {
                notified.open(event);
                kinds[1] += 1;
            }
        }
    }
    assert_eq!(kinds, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_takes_the_notifiers_id_and_key_alone() {
    let relay = relay();
    let mut client = relay.client().await;
    let notified = notified(&mut client).await;
    let (queue, key) = (&notified.queue, &notified.key);
    let nsub = Command::Nsub;
    assert_eq!(
        client
            .run(queue.recipient(), Some(&queue.key), nsub.clone())
            .await,
        AUTH
    );
    assert_eq!(
        client.run(queue.sender(), Some(key), nsub.clone()).await,
        AUTH
    );
    assert_eq!(
        client
            .run(queue.notifier(), Some(&queue.key), nsub.clone())
            .await,
        AUTH
    );
    assert_eq!(client.run(queue.notifier(), None, nsub).await, NO_AUTH);
    assert_eq!(
        client.run(queue.notifier(), Some(key), Command::Sub).await,
        AUTH
    );
    assert_eq!(client.run(queue.notifier(), None, send(b"no")).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_notifications_of_a_suspended_queue_still_works() {
    let relay = relay();
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    notify(&mut client, &notified.queue).await;
    assert_eq!(client.manage(&notified.queue, Command::Off).await, OK);
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    notified.open(notifier.event().await);
}

#[tokio::test(start_paused = true)]
async fn subscribe_to_more_notifications_than_a_connection_may_is_prohibited() {
    let relay = relay_with("[limits]\nsubscriptions = 1");
    let mut notifier = relay.client().await;
    let (mut one, mut other) = (relay.client().await, relay.client().await);
    let (first, second) = (notified(&mut one).await, notified(&mut other).await);
    assert_eq!(first.subscribe(&mut notifier).await, SOK);
    assert_eq!(second.subscribe(&mut notifier).await, PROHIBITED);
    assert_eq!(first.subscribe(&mut notifier).await, SOK, "that one it has");
}

#[tokio::test(start_paused = true)]
async fn deliver_message_notification_tells_nothing_of_refused_messages() {
    let relay = relay_with("[messages]\nquota = 1");
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    notify(&mut client, &notified.queue).await;
    notified.open(notifier.event().await);
    let answer = client
        .run(notified.queue.sender(), None, send_notified(b"no"))
        .await;
    assert_eq!(answer, QUOTA);
    assert!(notifier.silent().await);
}

#[tokio::test(start_paused = true)]
async fn deliver_message_notification_has_another_nonce_each_time() {
    let relay = relay();
    let (mut client, mut notifier) = (relay.client().await, relay.client().await);
    let notified = notified(&mut client).await;
    assert_eq!(notified.subscribe(&mut notifier).await, SOK);
    let mut nonces = Vec::new();
    for _ in 0..4 {
        notify(&mut client, &notified.queue).await;
        let (_, Response::Nmsg { nonce, .. }) = notifier.event().await else {
            panic!("expected NMSG");
        };
        assert!(!nonces.contains(&nonce));
        nonces.push(nonce);
    }
}
