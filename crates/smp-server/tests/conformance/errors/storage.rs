//! `STORE`.

use crate::prelude::*;

fn relay_that_can_fail() -> (TestRelay<SharedStore>, SharedStore) {
    let store = SharedStore::default();
    (TestRelay::new("", store.clone()), store)
}

#[tokio::test(start_paused = true)]
async fn store_is_every_command_that_needs_a_broken_storage() {
    let (relay, store) = relay_that_can_fail();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    let key = key_of(&mut client);
    let mut commands = super::recipient_commands(&mut client)
        .into_iter()
        .map(|command| (EntityId::from(queue.recipient()), Some(&queue.key), command))
        .collect::<Vec<_>>();
    commands.push((queue.sender().into(), None, send(b"hello")));
    commands.push((
        queue.sender().into(),
        Some(&key),
        Command::Skey(key.public()),
    ));
    commands.push((queue.sender().into(), None, Command::Lget));
    let dh = DhPrivateKey::generate(&mut client.rng);
    let new = Command::New(Box::new(new_queue(key.public(), &dh, None)));
    commands.push((EntityId::EMPTY, Some(&key), new));
    store.break_down(true);
    for (entity, key, command) in commands {
        client.run(entity, key, command).await;
        // What went wrong is the operator's business.
        assert_eq!(client.transcript.last().unwrap(), "<ERR STORE ");
    }
    assert_eq!(
        client.run(EntityId::EMPTY, None, Command::Ping).await,
        Response::Pong
    );
}

#[tokio::test(start_paused = true)]
async fn store_what_was_refused_is_not_delivered_and_all_goes_on_afterwards() {
    let (relay, store) = relay_that_can_fail();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"one").await;
    let message = client.message(&queue).await;
    store.break_down(true);
    let failed = error(ErrorType::Store(String::new()));
    assert_eq!(
        client.run(queue.sender(), None, send(b"lost")).await,
        failed
    );
    assert_eq!(client.ack(&queue, &message).await, failed);
    store.break_down(false);
    post(&mut client, &queue, b"two").await;
    let next = queue.open(&client.ack(&queue, &message).await);
    assert_eq!(next.body, b"two");
    assert_eq!(client.ack(&queue, &next).await, OK);
}
