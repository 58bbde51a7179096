//! `sotto-smp block` and `unblock`, and what the queue's sender sees.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smp_client::{ClientError, Session};
use smp_protocol::{
    BlockingReason, ClientVersionRange, ErrorType, LinkData, LinkId, QueueRequest, QueueUri,
};

use crate::support::{Folder, Queue, Relay, connect, silent};

/// What the sender of a queue is told.
async fn send(session: &Session, queue: &Queue) -> Result<(), ErrorType> {
    let sent = session.send_message(&queue.ids.sender_id, None, silent(), b"hello".to_vec());
    match sent.await {
        Err(ClientError::Refused(error)) => Err(error),
        other => {
            other.unwrap();
            Ok(())
        }
    }
}

fn blocked(result: Result<(), ErrorType>, reason: &BlockingReason) -> bool {
    matches!(result, Err(ErrorType::Blocked(info)) if info.reason == *reason)
}

fn uri(relay: &Relay, queue: &Queue) -> String {
    let uri = QueueUri {
        versions: ClientVersionRange::SUPPORTED,
        relay: relay.address.relay.clone(),
        sender_id: queue.ids.sender_id.clone(),
        dh_key: queue.ids.dh_key,
        mode: queue.ids.mode,
    };
    uri.to_string()
}

#[tokio::test]
async fn the_sender_is_told_the_reason_until_the_block_is_taken_back() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let (recipient, _events) = connect(&relay.address).await;
    let (sender, _) = connect(&relay.address).await;
    let queue = Queue::create(&recipient, QueueRequest::Contact(None)).await;
    let address = uri(&relay, &queue);
    let id = URL_SAFE_NO_PAD.encode(queue.ids.sender_id.as_bytes());
    for (arguments, reason) in [
        (&["--reason", "spam"][..], BlockingReason::Spam),
        (&["--reason", "content"], BlockingReason::Content),
        (&[], BlockingReason::Content),
    ] {
        for name in [&address, &id] {
            assert_eq!(send(&sender, &queue).await, Ok(()));
            let block = [&["block", name], arguments].concat();
            folder.run(&block).await.succeeded();
            assert!(blocked(send(&sender, &queue).await, &reason));
            folder.run(&["unblock", name]).await.succeeded();
        }
    }
    assert_eq!(send(&sender, &queue).await, Ok(()));
    // It outlives the relay.
    folder.run(&["block", &id]).await.succeeded();
    relay.stop().await;
    let relay = folder.start().await;
    let (sender, _) = connect(&relay.address).await;
    assert!(blocked(
        send(&sender, &queue).await,
        &BlockingReason::Content
    ));
}

#[tokio::test]
async fn a_link_names_its_queue_too() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let (recipient, _events) = connect(&relay.address).await;
    let queue = Queue::create(&recipient, QueueRequest::Contact(None)).await;
    let link = LinkId::new(&[0xfb; 24]).unwrap();
    let data = LinkData {
        fixed: b"fixed".to_vec(),
        user: b"user".to_vec(),
    };
    recipient
        .set_link(queue.key(), link.clone(), data)
        .await
        .unwrap();
    let id = URL_SAFE_NO_PAD.encode(link.as_bytes());
    folder
        .run(&["block", &id, "--reason", "spam"])
        .await
        .succeeded();
    let refused = recipient.link_data(&link).await.err().unwrap();
    assert!(
        matches!(refused, ClientError::Refused(ErrorType::Blocked(_))),
        "{refused}"
    );
    assert!(blocked(
        send(&recipient, &queue).await,
        &BlockingReason::Spam
    ));
}

#[tokio::test]
async fn ids_that_begin_with_a_hyphen_are_ids() {
    let folder = Folder::new("").await;
    let relay = folder.start().await;
    let (recipient, _events) = connect(&relay.address).await;
    let queue = Queue::create(&recipient, QueueRequest::Contact(None)).await;
    let link = LinkId::new(&[0xfb; 24]).unwrap();
    let id = URL_SAFE_NO_PAD.encode(link.as_bytes());
    assert!(id.starts_with('-'));
    let data = LinkData {
        fixed: b"fixed".to_vec(),
        user: b"user".to_vec(),
    };
    recipient.set_link(queue.key(), link, data).await.unwrap();
    folder.run(&["block", &id]).await.succeeded();
    folder.run(&["unblock", &id]).await.succeeded();
}

#[tokio::test]
async fn what_is_no_queue_is_refused() {
    let folder = Folder::new("").await;
    let id = URL_SAFE_NO_PAD.encode([7; 24]);
    folder.run(&["block", &id]).await.failed("no relay runs in");
    let _relay = folder.start().await;
    folder
        .run(&["block", &id])
        .await
        .failed("there is no queue with this id");
    folder
        .run(&["unblock", &id])
        .await
        .failed("there is no queue with this id");
    folder
        .run(&["block", "hello"])
        .await
        .failed("no id of this relay");
    folder
        .run(&["block", ""])
        .await
        .failed("no id of this relay");
}
