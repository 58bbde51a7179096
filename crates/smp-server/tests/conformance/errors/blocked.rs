//! `BLOCKED`.

use smp_server::store::QueueId;

use super::full;
use crate::prelude::*;

fn info(reason: BlockingReason, notice: Option<&str>) -> BlockingInfo {
    BlockingInfo {
        reason,
        notice: notice.map(str::to_owned),
    }
}

fn blocked(reason: BlockingReason) -> Response {
    error(ErrorType::Blocked(info(reason, None)))
}

fn id_of(id: impl AsRef<[u8]>) -> QueueId {
    QueueId::try_from(id.as_ref()).unwrap()
}

async fn block(relay: &TestRelay, queue: &Queue, info: Option<BlockingInfo>) {
    assert!(
        relay
            .relay
            .block(id_of(queue.sender()), info)
            .await
            .unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn blocked_is_what_a_sender_is_told() {
    let relay = relay();
    for reason in [BlockingReason::Spam, BlockingReason::Content] {
        let mut client = relay.client().await;
        let full = full(&mut client, MESSAGING, AuthKeyKind::X25519).await;
        block(&relay, &full.queue, Some(info(reason.clone(), None))).await;
        let (to, key) = (full.queue.sender(), &full.sender);
        let commands = [
            (EntityId::from(to.clone()), send(b"no")),
            (to.into(), Command::Skey(key.public())),
            (full.queue.link().into(), Command::Lkey(key.public())),
        ];
        for (entity, command) in commands {
            let answer = client.run(entity, Some(key), command).await;
            assert_eq!(answer, blocked(reason.clone()));
        }
        assert!(client.silent().await);
    }
}

#[tokio::test(start_paused = true)]
async fn blocked_is_what_a_link_says() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, AuthKeyKind::X25519).await;
    let spam = Some(info(BlockingReason::Spam, None));
    assert!(
        relay
            .relay
            .block(id_of(full.queue.link()), spam)
            .await
            .unwrap()
    );
    let answer = client.run(full.queue.link(), None, Command::Lget).await;
    assert_eq!(answer, blocked(BlockingReason::Spam));
    let answer = client
        .run(full.queue.sender(), Some(&full.sender), send(b"no"))
        .await;
    assert_eq!(
        answer,
        blocked(BlockingReason::Spam),
        "with the link goes its queue"
    );
}

#[tokio::test(start_paused = true)]
async fn blocked_is_what_recipient_and_notifier_are_told() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, AuthKeyKind::X25519).await;
    block(
        &relay,
        &full.queue,
        Some(info(BlockingReason::Content, None)),
    )
    .await;
    let key = stranger(&mut client);
    let link_id = full.queue.link();
    let commands = [
        Command::Sub,
        Command::Key(key),
        Command::Rkey(vec![key]),
        Command::Lset {
            link_id,
            data: link_data(b"fixed", b"changed"),
        },
        Command::Nkey {
            key,
            dh_key: dh_key(&mut client),
        },
        Command::Get,
    ];
    for command in commands {
        let answer = client.manage(&full.queue, command.clone()).await;
        assert_eq!(
            answer,
            blocked(BlockingReason::Content),
            "{}",
            command.tag()
        );
    }
    let nsub = client
        .run(full.queue.notifier(), Some(&full.notifier), Command::Nsub)
        .await;
    assert_eq!(nsub, blocked(BlockingReason::Content));
}

#[tokio::test(start_paused = true)]
async fn blocked_queues_can_be_looked_at_and_taken_down() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, AuthKeyKind::X25519).await;
    block(&relay, &full.queue, Some(info(BlockingReason::Spam, None))).await;
    assert_eq!(client.manage(&full.queue, Command::Que).await.tag(), "INFO");
    for command in [Command::Ldel, Command::Ndel, Command::Off, Command::Del] {
        assert_eq!(client.manage(&full.queue, command).await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn blocked_a_message_that_was_delivered_can_be_acknowledged() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    post(&mut client, &queue, b"hello").await;
    let message = client.message(&queue).await;
    block(&relay, &queue, Some(info(BlockingReason::Spam, None))).await;
    assert_eq!(client.ack(&queue, &message).await, OK);
}

#[tokio::test(start_paused = true)]
async fn blocked_is_told_to_nobody_who_lacks_the_key() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, MESSAGING, AuthKeyKind::X25519).await;
    block(&relay, &full.queue, Some(info(BlockingReason::Spam, None))).await;
    let wrong = key_of(&mut client);
    assert_eq!(
        client
            .run(full.queue.sender(), Some(&wrong), send(b"no"))
            .await,
        AUTH
    );
    assert_eq!(
        client.run(full.queue.sender(), None, send(b"no")).await,
        AUTH
    );
    assert_eq!(
        client
            .run(full.queue.recipient(), Some(&wrong), Command::Sub)
            .await,
        AUTH
    );
}

#[tokio::test(start_paused = true)]
async fn blocked_has_the_words_of_each_version() {
    let relay = relay();
    let mut owner = relay.client().await;
    let queue = create(&mut owner, MESSAGING).await;
    let notice = r#"{"ttl":86400}"#;
    block(
        &relay,
        &queue,
        Some(info(BlockingReason::Spam, Some(notice))),
    )
    .await;
    for (version, expected) in [
        (6, "<ERR AUTH"),
        (11, "<ERR AUTH"),
        (12, "<ERR BLOCKED reason=spam"),
        (17, "<ERR BLOCKED reason=spam"),
        (18, r#"<ERR BLOCKED reason=spam,notice={"ttl":86400}"#),
        (20, r#"<ERR BLOCKED reason=spam,notice={"ttl":86400}"#),
    ] {
        let mut client = relay.client_of(SmpVersion(version)).await;
        client.run(queue.sender(), None, send(b"no")).await;
        assert_eq!(client.transcript.last().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn blocked_ends_when_the_operator_takes_it_back() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    block(&relay, &queue, Some(info(BlockingReason::Spam, None))).await;
    block(&relay, &queue, None).await;
    post(&mut client, &queue, b"hello").await;
    assert_eq!(client.message(&queue).await.body, b"hello");
}

#[tokio::test(start_paused = true)]
async fn blocked_taken_back_resumes_no_queue_that_its_recipient_suspended() {
    let relay = relay();
    let mut client = relay.client().await;
    let queue = create(&mut client, MESSAGING).await;
    assert_eq!(client.manage(&queue, Command::Off).await, OK);
    block(&relay, &queue, None).await;
    assert_eq!(client.run(queue.sender(), None, send(b"no")).await, AUTH);
}

#[tokio::test(start_paused = true)]
async fn blocked_takes_a_senders_or_links_id_alone() {
    let relay = relay();
    let mut client = relay.client().await;
    let full = full(&mut client, CONTACT, AuthKeyKind::X25519).await;
    for id in [
        id_of(full.queue.recipient()),
        id_of(full.queue.notifier()),
        QueueId([1; 24]),
    ] {
        let spam = Some(info(BlockingReason::Spam, None));
        assert!(!relay.relay.block(id, spam).await.unwrap());
    }
    assert_eq!(client.manage(&full.queue, Command::Sub).await, SOK);
}
