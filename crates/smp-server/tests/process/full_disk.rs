//! A disk without room: nothing new is taken, nothing that was taken is lost, and it passes.

use smp_client::{ClientError, Events, Session};
use smp_protocol::{ErrorType, QueueRequest};
use tokio::process::Command;

use crate::support::{
    Bystander, Folder, Queue, Relay, connect, events_message, program, report, silent,
};

/// Sends until the relay has no room; returns how many messages it took.
async fn fill(session: &Session, queues: &[Queue]) -> Vec<usize> {
    let mut taken = vec![0; queues.len()];
    for number in 0..10_000 {
        let queue = number % queues.len();
        let body = vec![u8::try_from(number % 251).unwrap(); 15_000];
        let sent = session.send_message(&queues[queue].ids.sender_id, None, silent(), body);
        match sent.await {
            Ok(()) => taken[queue] += 1,
            Err(ClientError::Refused(ErrorType::Store(words))) => {
                assert_eq!(words, "", "the client need not know more");
                return taken;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("there is always room");
}

/// Takes all messages of a queue; returns how many there were.
async fn take_all(session: &Session, events: &mut Events, queue: &Queue) -> usize {
    for subscribed in session.subscribe(&[queue.key()]).await {
        subscribed.unwrap();
    }
    let mut next = Some(events_message(events).await);
    let mut count = 0;
    while let Some(mut message) = next {
        let id = message.id;
        let body = queue.open(&mut message).expect("the quota is not reached");
        assert!(body.len() == 15_000 && body.iter().all(|byte| *byte == body[0]));
        count += 1;
        next = session.acknowledge(queue.key(), id).await.unwrap();
    }
    count
}

/// Fills a relay, takes everything, and uses the room. What was not taken at once is there after a
/// start with more room, if there is one.
async fn fill_and_empty(folder: &Folder, relay: Relay, restart: bool) {
    let mut bystander = Bystander::of(&relay.address).await;
    let (session, events) = connect(&relay.address).await;
    drop(events);
    let mut queues = Vec::new();
    for _ in 0..8 {
        queues.push(Queue::create(&session, QueueRequest::Contact(None)).await);
    }
    let taken = fill(&session, &queues).await;
    report(format_args!(
        "messages taken before there was no room: {taken:?}"
    ));
    assert!(taken.iter().all(|count| *count > 2), "{taken:?}");
    // It stays so, and the relay stays up.
    for queue in &queues {
        let sent = session.send_message(&queue.ids.sender_id, None, silent(), vec![1; 15_000]);
        let refused = sent.await.unwrap_err();
        assert!(
            matches!(refused, ClientError::Refused(ErrorType::Store(_))),
            "{refused}"
        );
    }
    for _ in 0..500 {
        let body = vec![1; 15_000];
        let sent = session.send_message(&queues[0].ids.sender_id, None, silent(), body);
        sent.await.unwrap_err();
    }
    session.ping().await.unwrap();
    assert!(folder.stats().await["store_errors"].as_i64().unwrap() > 500);
    // Recipients go on taking.
    let (recipient, mut events) = connect(&relay.address).await;
    for (queue, taken) in queues.iter().zip(&taken).take(4) {
        assert_eq!(take_all(&recipient, &mut events, queue).await, *taken);
    }
    // The room that they make can be used, once the deletion is on the disk.
    crate::support::until("there is room again", async || {
        let queue = &queues[0].ids.sender_id;
        session
            .send_message(queue, None, silent(), vec![7; 15_000])
            .await
            .is_ok()
    })
    .await;
    assert_eq!(take_all(&recipient, &mut events, &queues[0]).await, 1);
    bystander.exchange().await;
    let said = relay.output();
    assert!(
        said.contains("make room"),
        "the operator is told nothing: {said}"
    );
    let lines = said.lines().count();
    assert!(lines < 50, "the log grows with the commands: {lines} lines");
    let relay = if restart {
        relay.stop().await;
        folder.start().await
    } else {
        relay
    };
    let (recipient, mut events) = connect(&relay.address).await;
    for (queue, taken) in queues.iter().zip(&taken).skip(4) {
        assert_eq!(take_all(&recipient, &mut events, queue).await, *taken);
    }
    Bystander::of(&relay.address).await;
}

#[tokio::test]
async fn files_that_may_not_grow_refuse_messages_and_lose_none() {
    let folder = Folder::new("").await;
    // Half a kilobyte each; who exceeds it is told by an error instead of a signal.
    let relay = folder.start_in_shell("trap '' XFSZ; ulimit -f 4096").await;
    fill_and_empty(&folder, relay, true).await;
}

/// A small file system needs a name space of its own, which some machines don't give.
#[tokio::test]
async fn a_full_file_system_refuses_messages_and_loses_none() {
    let allowed = program(Command::new("unshare").args(["-rm", "true"])).await;
    if !allowed.is_some_and(|run| run.status.success()) {
        report("SKIPPED: no mounts here");
        return;
    }
    let folder = Folder::new("").await;
    let data = folder.path().join("data");
    let mount = format!("mount -t tmpfs -o size=24m,mode=700 none {data:?} || exit");
    let relay = folder.start_in(&["unshare", "-rm", "sh"], &mount).await;
    fill_and_empty(&folder, relay, false).await;
}
