//! Two ends of a channel in memory.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use std::pin::pin;
use std::time::{Duration, SystemTime};

use call_signal::{
    CallEvent, CallId, CallMedia, CallMessage, CallType, CallVersionRange, ChannelError,
    ChatMessage, EncodeError, Envelope, Incoming, Invitation, MAX_JSON, MEMORY_CAPACITY,
    OutgoingMessage, RawJson, ReceivedMessage, RefusedBody, SignalChannel, memory_pair,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_millis(20);

fn end(id: u8) -> ChatMessage {
    let call = CallMessage {
        call_id: CallId([id; 16]),
        event: CallEvent::End,
    };
    Envelope::default().call(&call).unwrap()
}

fn invitation() -> ChatMessage {
    let event = CallEvent::Invitation(Invitation {
        call_type: CallType {
            media: CallMedia::Audio,
            encryption: false,
        },
        dh_public_key: None,
        versions: CallVersionRange::V1,
    });
    Envelope::default()
        .call(&CallMessage {
            call_id: CallId([0; 16]),
            event,
        })
        .unwrap()
}

async fn receive_message(channel: &mut impl SignalChannel) -> ReceivedMessage {
    match channel.receive().await.unwrap() {
        Incoming::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_an_invitation_wants_receipt_and_notification() {
    let outgoing = OutgoingMessage::from(invitation());
    assert!(outgoing.want_receipt && outgoing.notify);
    let outgoing = OutgoingMessage::from(end(1));
    assert!(!outgoing.want_receipt && !outgoing.notify);
}

#[tokio::test]
async fn messages_arrive_in_order_with_their_text() {
    let (mut alice, mut bob) = memory_pair();
    for id in 0..10 {
        alice.send(end(id).into()).await.unwrap();
    }
    for id in 0..10 {
        assert_eq!(receive_message(&mut bob).await.message.raw(), end(id).raw());
    }
}

#[tokio::test]
async fn any_channel_can_live_in_a_task_of_its_own() {
    async fn echo(mut channel: impl SignalChannel) {
        while let Ok(Incoming::Message(received)) = channel.receive().await {
            channel.send(received.message.into()).await.unwrap();
        }
    }
    fn spawn(channel: impl SignalChannel + 'static) -> tokio::task::JoinHandle<()> {
        tokio::spawn(echo(channel))
    }
    let (mut alice, bob) = memory_pair();
    let task = spawn(bob);
    alice.send(end(1).into()).await.unwrap();
    assert_eq!(receive_message(&mut alice).await.message, end(1));
    alice.close().await.unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_receipt_comes_once_the_peer_has_taken_the_message() {
    let (mut alice, mut bob) = memory_pair();
    let id = alice.send(invitation().into()).await.unwrap();
    assert!(timeout(SOON, alice.receive()).await.is_err());
    receive_message(&mut bob).await;
    bob.send(end(1).into()).await.unwrap();
    assert_eq!(alice.receive().await.unwrap(), Incoming::Receipt(id));
    assert_eq!(receive_message(&mut alice).await.message, end(1));
}

#[tokio::test]
async fn a_message_that_wants_no_receipt_gets_none() {
    let (mut alice, mut bob) = memory_pair();
    let first = alice.send(end(1).into()).await.unwrap();
    let second = alice.send(invitation().into()).await.unwrap();
    assert!(first < second);
    receive_message(&mut bob).await;
    receive_message(&mut bob).await;
    assert_eq!(alice.receive().await.unwrap(), Incoming::Receipt(second));
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let (mut alice, mut bob) = memory_pair();
    for id in 0..20 {
        // Polled once, then dropped, with and without something to take.
        let _ = timeout(Duration::ZERO, bob.receive()).await;
        {
            let mut receive = pin!(bob.receive());
            tokio::select! {
                biased;
                _ = &mut receive => panic!("nothing was sent yet"),
                () = std::future::ready(()) => {}
            }
        }
        alice.send(end(id).into()).await.unwrap();
        assert_eq!(receive_message(&mut bob).await.message, end(id));
    }
}

#[tokio::test]
async fn send_waits_while_the_peer_has_not_taken_enough() {
    let (mut alice, mut bob) = memory_pair();
    for _ in 0..MEMORY_CAPACITY {
        alice.send(end(1).into()).await.unwrap();
    }
    assert!(timeout(SOON, alice.send(end(2).into())).await.is_err());
    receive_message(&mut bob).await;
    timeout(SOON, alice.send(end(3).into()))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn receipts_that_nobody_takes_do_not_pile_up() {
    let (mut alice, mut bob) = memory_pair();
    for _ in 0..3 * MEMORY_CAPACITY {
        alice.send(invitation().into()).await.unwrap();
        receive_message(&mut bob).await;
    }
    bob.close().await.unwrap();
    let mut receipts = 0;
    while let Incoming::Receipt(_) = alice.receive().await.unwrap() {
        receipts += 1;
    }
    assert_eq!(receipts, MEMORY_CAPACITY);
}

#[tokio::test]
async fn closing_lets_the_peer_receive_what_was_sent_before() {
    let (mut alice, mut bob) = memory_pair();
    alice.send(end(1).into()).await.unwrap();
    bob.send(end(2).into()).await.unwrap();
    alice.close().await.unwrap();
    alice.close().await.unwrap();
    assert_eq!(receive_message(&mut bob).await.message, end(1));
    for _ in 0..2 {
        assert_eq!(bob.receive().await.unwrap(), Incoming::Closed);
        assert_eq!(alice.receive().await.unwrap(), Incoming::Closed);
    }
    assert!(matches!(
        alice.send(end(3).into()).await,
        Err(ChannelError::Closed)
    ));
    assert!(matches!(
        bob.send(end(3).into()).await,
        Err(ChannelError::Closed)
    ));
}

#[tokio::test]
async fn dropping_an_end_closes_the_channel_for_a_peer_that_waits() {
    let (mut alice, bob) = memory_pair();
    let (incoming, ()) = tokio::join!(alice.receive(), async { drop(bob) });
    assert_eq!(incoming.unwrap(), Incoming::Closed);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_the_channel_goes_on() {
    let (mut alice, mut bob) = memory_pair();
    alice.send_body(b"rubbish".to_vec()).await.unwrap();
    let batch = format!("[7,{}]", end(1).raw());
    alice.send_body(batch.into_bytes()).await.unwrap();
    let refused = bob.receive().await.unwrap();
    assert!(
        matches!(refused, Incoming::Refused(RefusedBody::Body(_))),
        "{refused:?}"
    );
    let refused = bob.receive().await.unwrap();
    assert!(
        matches!(refused, Incoming::Refused(RefusedBody::Message(_))),
        "{refused:?}"
    );
    assert_eq!(receive_message(&mut bob).await.message, end(1));
}

#[tokio::test]
async fn a_message_too_long_for_a_relay_is_too_long_here() {
    let (mut alice, _bob) = memory_pair();
    let long = RawJson::parse(&format!("\"{}\"", "a".repeat(MAX_JSON))).unwrap();
    let message = Envelope::default().event("x.msg.react", &long).unwrap();
    let error = alice.send(message.into()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ChannelError::Message(EncodeError::JsonTooLong { .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn binding_and_time_are_what_was_set() {
    let (mut alice, mut bob) = memory_pair();
    assert_eq!(alice.binding(), None);
    alice.set_binding(Some([7; 32]));
    assert_eq!((alice.binding(), bob.binding()), (Some([7; 32]), None));
    alice.send(end(1).into()).await.unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    alice.set_sent_at(Some(then));
    alice.send(end(2).into()).await.unwrap();
    assert_eq!(receive_message(&mut bob).await.sent_at, None);
    assert_eq!(receive_message(&mut bob).await.sent_at, Some(then));
}
