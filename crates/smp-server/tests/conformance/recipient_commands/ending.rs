//! "Suspend queue", "Delete queue" and "Queue deleted notification".

use crate::prelude::*;

#[tokio::test(start_paused = true)]
async fn suspend_makes_send_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let (open, secured) = (
        create(&mut client, MESSAGING).await,
        create(&mut client, MESSAGING).await,
    );
    let key = secure(&mut client, &secured).await;
    for queue in [&open, &secured] {
        assert_eq!(client.manage(queue, Command::Off).await, OK);
    }
    assert_eq!(client.run(open.sender(), None, send(b"no")).await, AUTH);
    assert_eq!(
        client.run(secured.sender(), Some(&key), send(b"no")).await,
        AUTH
    );
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn suspend_again_is_still_ok() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Off).await, OK);
    assert_eq!(client.manage(&queue, Command::Off).await, OK);
}

#[tokio::test(start_paused = true)]
async fn suspend_loses_no_message_that_was_there() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = client.message(&queue).await;
    assert_eq!(client.manage(&queue, Command::Off).await, OK);
    drop(client);
    let mut client = relay.client().await;
    assert_eq!(client.manage(&queue, Command::Sub).await, SOK);
    assert_eq!(client.message(&queue).await, first);
    let second = queue.open(&client.ack(&queue, &first).await);
    assert_eq!(second.body, b"two");
    assert_eq!(client.ack(&queue, &second).await, OK);
}

#[tokio::test(start_paused = true)]
async fn suspend_closes_the_queue_to_its_sender_and_its_link() {
    let relay = relay();
    let mut client = relay.client().await;
    let link = || Some(link_data(b"fixed", b"user"));
    let messaging = NewQueueOptions {
        link: link(),
        ..Default::default()
    };
    let contact = NewQueueOptions {
        mode: CONTACT,
        link: link(),
        ..Default::default()
    };
    let messaging = create_with(&mut client, messaging).await;
    let contact = create_with(&mut client, contact).await;
    for queue in [&messaging, &contact] {
        assert_eq!(client.manage(queue, Command::Off).await, OK);
    }
    let key = key_of(&mut client);
    let skey = client
        .run(messaging.sender(), Some(&key), Command::Skey(key.public()))
        .await;
    assert_eq!(skey, AUTH);
    let lkey = client
        .run(messaging.link(), Some(&key), Command::Lkey(key.public()))
        .await;
    assert_eq!(lkey, AUTH);
    assert_eq!(client.run(contact.link(), None, Command::Lget).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn suspend_by_the_sender_is_auth() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = secure(&mut client, &queue).await;
    assert_eq!(
        client.run(queue.sender(), Some(&key), Command::Off).await,
        AUTH
    );
    assert_eq!(
        client.run(queue.sender(), Some(&key), send(b"hello")).await,
        OK
    );
}

/// A contact queue with link and notifier, secured.
async fn full_queue(client: &mut Client) -> (Queue, AuthPrivateKey, AuthPrivateKey) {
    let (sender, notifier) = (key_of(client), key_of(client));
    let ntf_dh = DhPrivateKey::generate(&mut client.rng);
    let options = NewQueueOptions {
        mode: CONTACT,
        link: Some(link_data(b"fixed", b"user")),
        notifier: Some((notifier.public(), ntf_dh)),
        ..Default::default()
    };
    let queue = create_with(client, options).await;
    assert_eq!(
        client.manage(&queue, Command::Key(sender.public())).await,
        OK
    );
    (queue, sender, notifier)
}

#[tokio::test(start_paused = true)]
async fn delete_leaves_nothing_that_a_command_finds() {
    let relay = relay();
    let mut client = relay.client().await;
    let (queue, sender, notifier) = full_queue(&mut client).await;
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    for command in [
        Command::Sub,
        Command::Get,
        Command::Off,
        Command::Que,
        Command::Del,
    ] {
        assert_eq!(client.manage(&queue, command).await, AUTH);
    }
    assert_eq!(
        client.run(queue.sender(), Some(&sender), send(b"no")).await,
        AUTH
    );
    assert_eq!(client.run(queue.sender(), None, send(b"no")).await, AUTH);
    assert_eq!(client.run(queue.link(), None, Command::Lget).await, AUTH);
    assert_eq!(
        client
            .run(queue.notifier(), Some(&notifier), Command::Nsub)
            .await,
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn delete_deletes_undelivered_messages() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    post(&mut client, &queue, b"two").await;
    let first = client.message(&queue).await;
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    assert_eq!(client.ack(&queue, &first).await, AUTH);
    assert!(client.silent().await);
}

#[tokio::test(start_paused = true)]
async fn delete_works_for_a_suspended_queue() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Off).await, OK);
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    assert_eq!(client.manage(&queue, Command::Off).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn queue_deleted_is_told_to_the_subscriber_in_another_connection() {
    let relay = relay();
    let (mut subscriber, mut other) = (relay.client().await, relay.client().await);
    let queue = create(&mut subscriber, MESSAGING).await;
    assert_eq!(other.manage(&queue, Command::Del).await, OK);
    assert_eq!(
        subscriber.event().await,
        (queue.recipient().into(), Response::Deld)
    );
    assert!(subscriber.silent().await);
}

#[tokio::test(start_paused = true)]
async fn queue_deleted_is_not_told_to_who_deletes_or_does_not_subscribe() {
    let relay = relay();
    let mut bystander = relay.client().await;
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(bystander.manage(&queue, Command::Get).await, OK);
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    assert!(client.silent().await);
    assert!(bystander.silent().await);
}

#[tokio::test(start_paused = true)]
async fn queue_deleted_is_told_to_its_notifier() {
    let relay = relay();
    let (mut client, mut notifier_client) = (relay.client().await, relay.client().await);
    let (queue, _, notifier) = full_queue(&mut client).await;
    let nsub = notifier_client
        .run(queue.notifier(), Some(&notifier), Command::Nsub)
        .await;
    assert_eq!(nsub, SOK);
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    let event = notifier_client.event().await;
    assert_eq!(event, (queue.notifier().into(), Response::Deld));
}

#[tokio::test(start_paused = true)]
async fn delete_frees_the_link_id() {
    let relay = relay();
    let mut client = relay.client().await;
    let (queue, ..) = full_queue(&mut client).await;
    let link_id = queue.link();
    assert_eq!(client.manage(&queue, Command::Del).await, OK);
    let queue = create(&mut client, CONTACT).await;
    let data = link_data(b"other", b"data");
    let lset = Command::Lset { link_id, data };
    assert_eq!(client.manage(&queue, lset).await, OK);
}

#[tokio::test(start_paused = true)]
async fn delete_leaves_other_queues_alone() {
    let relay = relay();
    let mut client = relay.client().await;
    let (gone, kept) = (
        create(&mut client, MESSAGING).await,
        create(&mut client, MESSAGING).await,
    );
    post(&mut client, &kept, b"hello").await;
    assert_eq!(client.manage(&gone, Command::Del).await, OK);
    let message = client.message(&kept).await;
    assert_eq!(client.ack(&kept, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn suspended_and_unused_queues_are_deleted_after_some_time() {
    let relay = relay_with("[queues]\nexpire_days = 2");
    let upkeep = std::sync::Arc::clone(&relay.relay).upkeep(relay.stop.clone());
    tokio::spawn(upkeep);
    let mut client = relay.client().await;
    let (suspended, used) = (
        create_only(&mut client, MESSAGING).await,
        create_only(&mut client, MESSAGING).await,
    );
    assert_eq!(client.manage(&suspended, Command::Off).await, OK);
    for _ in 0..5 {
        let mut client = relay.client().await;
        assert_eq!(client.manage(&used, Command::Sub).await, SOK);
        tokio::time::sleep(std::time::Duration::from_secs(24 * 3600)).await;
    }
    let mut client = relay.client().await;
    assert_eq!(client.manage(&suspended, Command::Off).await, AUTH);
    assert_eq!(client.manage(&used, Command::Sub).await, SOK);
}
