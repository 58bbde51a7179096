//! "Enable notifications command" and "Disable notifications command".

use crate::prelude::*;

/// A notifier's keys and what the relay calls it.
struct Notifier {
    key: AuthPrivateKey,
    secret: BoxKey,
    id: NotifierId,
}

async fn enable(client: &mut Client, queue: &Queue) -> Notifier {
    let (key, dh) = (key_of(client), DhPrivateKey::generate(&mut client.rng));
    let nkey = Command::Nkey {
        key: key.public(),
        dh_key: dh.public(),
    };
    let Response::Nid {
        notifier_id,
        dh_key,
    } = client.manage(queue, nkey).await
    else {
        panic!("expected NID");
    };
    let secret = BoxKey::from(DhSecret::agree(&dh, &dh_key).unwrap());
    Notifier {
        key,
        secret,
        id: notifier_id,
    }
}

async fn nsub(client: &mut Client, notifier: &Notifier) -> Response {
    client
        .run(notifier.id.clone(), Some(&notifier.key), Command::Nsub)
        .await
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
async fn enable_notifications_gives_the_notifier_an_id_of_its_own() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    // `manage` compares the answer's queue id with the recipient's.
    let notifier = enable(&mut client, &queue).await;
    assert_eq!(notifier.id.as_bytes().len(), 24);
    assert_ne!(notifier.id.as_bytes(), queue.recipient().as_bytes());
    assert_ne!(notifier.id.as_bytes(), queue.sender().as_bytes());
}

#[tokio::test(start_paused = true)]
async fn enable_notifications_encrypts_them_with_the_keys_of_nkey_and_nid() {
    let relay = relay();
    let (mut recipient, mut notifier_client) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    let notifier = enable(&mut recipient, &queue).await;
    assert_eq!(nsub(&mut notifier_client, &notifier).await, SOK);
    notify(&mut recipient, &queue).await;
    let (entity, Response::Nmsg { nonce, meta }) = notifier_client.event().await else {
        panic!("expected NMSG");
    };
    assert_eq!(entity, notifier.id.clone().into());
    let meta = NotificationMeta::open(&notifier.secret, &nonce, &meta).unwrap();
    let message = recipient.message(&queue).await;
    assert_eq!(
        (meta.message_id, meta.timestamp),
        (message.id, message.timestamp)
    );
}

#[tokio::test(start_paused = true)]
async fn enable_notifications_again_replaces_the_notifier() {
    let relay = relay();
    let mut recipient = relay.client().await;
    let (mut first, mut second) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    let former = enable(&mut recipient, &queue).await;
    assert_eq!(nsub(&mut first, &former).await, SOK);
    let current = enable(&mut recipient, &queue).await;
    assert_ne!(former.id.as_bytes(), current.id.as_bytes());
    assert_eq!(
        first.event().await,
        (former.id.clone().into(), Response::Deld)
    );
    assert_eq!(nsub(&mut first, &former).await, AUTH);
    assert_eq!(nsub(&mut second, &current).await, SOK);
    notify(&mut recipient, &queue).await;
    let (entity, response) = second.event().await;
    assert_eq!(entity, current.id.into());
    assert!(matches!(response, Response::Nmsg { .. }));
    assert!(first.silent().await);
}

#[tokio::test(start_paused = true)]
async fn enable_notifications_with_a_weak_key_is_crypto() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let nkey = Command::Nkey {
        key: stranger(&mut client),
        dh_key: DhPublicKey([0; 32]),
    };
    assert_eq!(client.manage(&queue, nkey).await, CRYPTO);
}

#[tokio::test(start_paused = true)]
async fn disable_notifications_ends_them() {
    let relay = relay();
    let (mut recipient, mut notifier_client) = (relay.client().await, relay.client().await);
    let queue = create(&mut recipient, MESSAGING).await;
    let notifier = enable(&mut recipient, &queue).await;
    assert_eq!(nsub(&mut notifier_client, &notifier).await, SOK);
    assert_eq!(recipient.manage(&queue, Command::Ndel).await, OK);
    let deleted = (notifier.id.clone().into(), Response::Deld);
    assert_eq!(notifier_client.event().await, deleted);
    notify(&mut recipient, &queue).await;
    assert!(notifier_client.silent().await);
    assert_eq!(nsub(&mut notifier_client, &notifier).await, AUTH);
    assert_eq!(
        recipient.message(&queue).await.body,
        b"hello",
        "messages still come"
    );
}

#[tokio::test(start_paused = true)]
async fn disable_notifications_forgets_those_that_wait() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    enable(&mut client, &queue).await;
    notify(&mut client, &queue).await;
    assert_eq!(client.manage(&queue, Command::Ndel).await, OK);
    let notifier = enable(&mut client, &queue).await;
    let mut notifier_client = relay.client().await;
    assert_eq!(nsub(&mut notifier_client, &notifier).await, SOK);
    assert!(notifier_client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn disable_notifications_is_ok_where_there_are_none() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Ndel).await, OK);
    enable(&mut client, &queue).await;
    assert_eq!(client.manage(&queue, Command::Ndel).await, OK);
    assert_eq!(client.manage(&queue, Command::Ndel).await, OK);
}
