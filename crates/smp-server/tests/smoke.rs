#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use smp_protocol::*;
use support::*;

#[tokio::test(start_paused = true)]
async fn a_message_goes_from_its_sender_to_its_recipient() {
    for version in (6..=20).map(SmpVersion) {
        let relay = relay();
        let mut recipient = relay.client_of(version).await;
        let mut sender = relay.client_of(version).await;
        let queue = create(&mut recipient, QueueMode::Messaging).await;
        assert_eq!(
            sender.run(queue.sender(), None, send(b"hello")).await,
            Response::Ok
        );
        let (entity, message) = recipient.event().await;
        assert_eq!(entity, queue.recipient().into());
        let opened = queue.open(&message);
        assert_eq!(opened.body, b"hello");
        let ack = recipient
            .run(queue.recipient(), Some(&queue.key), Command::Ack(opened.id))
            .await;
        assert_eq!(ack, Response::Ok);
    }
}
