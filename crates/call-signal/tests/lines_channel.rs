//! A channel of lines over byte streams.

#![expect(
    clippy::unwrap_used,
    reason = "test helpers are no test functions themselves"
)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use call_signal::{
    BodyError, CallEvent, CallId, CallMessage, ChannelError, ChatMessage, EncodeError, Envelope,
    Incoming, Lines, MAX_LINE, RefusedBody, SignalChannel,
};
use tokio::io::{
    AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, empty,
    sink, split,
};
use tokio::time::timeout;

type Stream = Lines<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

fn end(id: u8) -> ChatMessage {
    let call = CallMessage {
        call_id: CallId([id; 16]),
        event: CallEvent::End,
    };
    Envelope::default().call(&call).unwrap()
}

fn lines(stream: DuplexStream) -> Stream {
    let (reader, writer) = split(stream);
    Lines::new(reader, writer)
}

/// Everything that comes out of `input`, up to the end.
async fn read_all(input: impl AsRef<[u8]>) -> Vec<Incoming> {
    let mut channel = Lines::new(input.as_ref(), sink());
    let mut all = Vec::new();
    loop {
        match channel.receive().await.unwrap() {
            Incoming::Closed => return all,
            incoming => all.push(incoming),
        }
    }
}

fn message(incoming: &Incoming) -> &ChatMessage {
    match incoming {
        Incoming::Message(received) => &received.message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_ends_talk_over_a_stream() {
    let (left, right) = duplex(64);
    let (mut alice, mut bob) = (lines(left), lines(right));
    for id in 0..5 {
        let (sent, received) = tokio::join!(alice.send(end(id).into()), bob.receive());
        assert_eq!(sent.unwrap().0, u64::from(id) + 1);
        assert_eq!(message(&received.unwrap()).raw(), end(id).raw());
    }
    assert_eq!(alice.binding(), None);
}

#[tokio::test]
async fn each_message_is_one_flushed_line() {
    let (near, mut far) = duplex(4096);
    let mut channel = lines(near);
    channel.send(end(1).into()).await.unwrap();
    let mut read = vec![0; 4096];
    let length = far.read(&mut read).await.unwrap();
    assert_eq!(read[..length], *format!("{}\n", end(1).raw()).as_bytes());
}

#[tokio::test]
async fn line_ends_of_both_kinds_blank_lines_and_a_missing_last_end_are_tolerated() {
    let [one, two, three] = [1, 2, 3].map(end);
    let input = format!(
        "\n\r\n  \n{}\r\n\n {} \n{}",
        one.raw(),
        two.raw(),
        three.raw()
    );
    let all = read_all(input).await;
    assert_eq!(
        all.iter().map(message).collect::<Vec<_>>(),
        [&one, &two, &three]
    );
}

#[tokio::test]
async fn a_batch_line_brings_its_messages_one_by_one() {
    let all = read_all(format!("[{},7,{}]\n", end(1).raw(), end(2).raw())).await;
    assert_eq!(
        (message(&all[0]), message(&all[2]), all.len()),
        (&end(1), &end(2), 3)
    );
    assert!(matches!(all[1], Incoming::Refused(RefusedBody::Message(_))));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_the_next_line_is_read() {
    let input = [
        b"rubbish\n{\nX\x01\n\xff\n".as_slice(),
        end(1).raw().as_bytes(),
    ]
    .concat();
    let all = read_all(input).await;
    assert_eq!(
        all[0],
        Incoming::Refused(RefusedBody::Body(BodyError::UnknownForm))
    );
    assert!(matches!(all[1], Incoming::Refused(RefusedBody::Message(_))));
    assert_eq!(all[2], Incoming::Refused(RefusedBody::CompressedLine));
    assert_eq!(
        all[3],
        Incoming::Refused(RefusedBody::Body(BodyError::UnknownForm))
    );
    assert_eq!(message(&all[4]), &end(1));
}

#[tokio::test]
async fn a_line_too_long_is_skipped_up_to_its_end() {
    let padded = |length: usize| {
        let raw = end(1).raw().to_owned();
        format!("{}{raw}", " ".repeat(length - raw.len()))
    };
    let refused = Incoming::Refused(RefusedBody::LineTooLong { limit: MAX_LINE });
    for (input, fits) in [
        (format!("{}\n", padded(MAX_LINE)), true),
        (format!("{}\r\n", padded(MAX_LINE)), true),
        (format!("{}\n", padded(MAX_LINE + 1)), false),
        (format!("{}\r\n", padded(MAX_LINE + 1)), false),
        (format!("{}\n", padded(5 * MAX_LINE)), false),
    ] {
        let all = read_all(input + end(2).raw()).await;
        assert_eq!(all[0] == refused, !fits);
        assert_eq!(message(&all[1]), &end(2));
    }
    assert_eq!(read_all("a".repeat(3 * MAX_LINE)).await, [refused]);
}

#[tokio::test]
async fn a_dropped_receive_loses_no_byte() {
    let (near, mut far) = duplex(4096);
    let mut channel = lines(near);
    let input = format!("{}\n{}\n", end(1).raw(), end(2).raw());
    let mut received = Vec::new();
    for byte in input.bytes() {
        far.write_all(&[byte]).await.unwrap();
        // Dropped after each byte, in the middle of a line.
        while let Ok(incoming) = timeout(Duration::ZERO, channel.receive()).await {
            received.push(incoming.unwrap());
        }
    }
    assert_eq!(
        received.iter().map(message).collect::<Vec<_>>(),
        [&end(1), &end(2)]
    );
}

#[tokio::test]
async fn a_dropped_send_tears_no_line() {
    let (near, far) = duplex(16);
    let (mut channel, mut peer) = (lines(near), lines(far));
    let dropped = timeout(Duration::from_millis(5), channel.send(end(1).into())).await;
    assert!(dropped.is_err(), "the stream takes 16 bytes only");
    let (sent, received) = tokio::join!(channel.send(end(2).into()), async {
        [peer.receive().await.unwrap(), peer.receive().await.unwrap()]
    });
    sent.unwrap();
    assert_eq!(
        received.iter().map(message).collect::<Vec<_>>(),
        [&end(1), &end(2)]
    );
}

#[tokio::test]
async fn the_end_of_the_input_closes_the_channel() {
    let mut channel = Lines::new(empty(), sink());
    for _ in 0..2 {
        assert_eq!(channel.receive().await.unwrap(), Incoming::Closed);
    }
    assert!(matches!(
        channel.send(end(1).into()).await,
        Err(ChannelError::Closed)
    ));
}

#[tokio::test]
async fn closing_ends_the_peers_input_after_what_was_sent() {
    let (near, far) = duplex(4096);
    let (mut channel, mut peer) = (lines(near), lines(far));
    channel.send(end(1).into()).await.unwrap();
    channel.close().await.unwrap();
    channel.close().await.unwrap();
    assert_eq!(channel.receive().await.unwrap(), Incoming::Closed);
    assert!(matches!(
        channel.send(end(2).into()).await,
        Err(ChannelError::Closed)
    ));
    assert_eq!(message(&peer.receive().await.unwrap()), &end(1));
    assert_eq!(peer.receive().await.unwrap(), Incoming::Closed);
}

#[tokio::test]
async fn a_failed_write_is_told_once_and_nothing_follows() {
    let mut channel = Lines::new(tokio::io::repeat(b'\n'), Failing);
    let error = channel.send(end(1).into()).await.unwrap_err();
    assert!(matches!(error, ChannelError::Io(_)), "{error:?}");
    assert!(matches!(
        channel.send(end(2).into()).await,
        Err(ChannelError::Closed)
    ));
}

#[tokio::test]
async fn a_message_with_line_breaks_is_not_sent() {
    let message = ChatMessage::decode("{\"event\":\"x.ok\",\n\"params\":{}}").unwrap();
    let mut channel = Lines::new(empty(), sink());
    let error = channel.send(message.into()).await.unwrap_err();
    assert!(
        matches!(error, ChannelError::Message(EncodeError::LineBreak)),
        "{error:?}"
    );
}

/// A writer on a full disk, say.
struct Failing;

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
