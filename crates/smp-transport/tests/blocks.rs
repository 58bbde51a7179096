//! Blocks over streams and WebSockets in memory: slow, cut off, given up and taken up again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{SinkExt, StreamExt};
use smp_protocol::{BLOCK_SIZE, Block, empty_block};
use smp_transport::{BlockIo, BlockIoError, BlockStream, WebSocketBlocks, WebSocketError};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A block that differs from others in every byte.
fn block(number: u8) -> Box<Block> {
    let mut block = empty_block();
    for (position, byte) in block.iter_mut().enumerate() {
        *byte = number.wrapping_add(position as u8);
    }
    block
}

/// Polls once, and then forgets that it wanted anything.
async fn give_up<T>(wanted: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = wanted => panic!("it did not have to wait"),
        () = std::future::ready(()) => {}
    }
}

fn pair(room: usize) -> (BlockStream<DuplexStream>, BlockStream<DuplexStream>) {
    let (one, other) = duplex(room);
    (BlockStream::new(one), BlockStream::new(other))
}

// --- Over a stream -------------------------------------------------------------------------------

#[tokio::test]
async fn blocks_arrive_whole_however_they_are_cut() {
    for room in [1, 31, 33, 1000, BLOCK_SIZE - 1, BLOCK_SIZE, 3 * BLOCK_SIZE] {
        let (mut one, mut other) = pair(room);
        let sent = one.write_blocks([block(1), block(2), block(3)]);
        let received = async {
            for number in 1..=3 {
                let received = other.read_block().await.unwrap().unwrap();
                assert!(received == block(number), "room {room}, block {number}");
                other.recycle(received);
            }
        };
        let (sent, ()) = tokio::join!(sent, received);
        sent.unwrap();
        drop(one);
        assert!(other.read_block().await.unwrap().is_none());
        assert!(other.read_block().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_end_within_a_block_is_an_error() {
    for sent in [1, 32, 33, BLOCK_SIZE - 1] {
        let (mut one, other) = duplex(BLOCK_SIZE);
        one.write_all(&block(1)[..sent]).await.unwrap();
        drop(one);
        let error = BlockStream::new(other).read_block().await.unwrap_err();
        assert!(
            matches!(error, BlockIoError::CutOff { received } if received == sent),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_read_that_is_given_up_loses_nothing() {
    let (mut one, other) = duplex(BLOCK_SIZE);
    let mut other = BlockStream::new(other);
    give_up(other.read_block()).await;
    for piece in block(5).chunks(1500) {
        give_up(other.read_block()).await;
        one.write_all(piece).await.unwrap();
    }
    assert!(other.read_block().await.unwrap().unwrap() == block(5));
}

#[tokio::test]
async fn a_write_that_is_given_up_goes_on_with_the_next() {
    let (mut one, mut other) = pair(1000);
    give_up(one.write_block(block(1))).await;
    assert_eq!(one.queued(), 1);
    let (sent, ()) = tokio::join!(one.write_block(block(2)), async {
        assert!(other.read_block().await.unwrap().unwrap() == block(1));
        assert!(other.read_block().await.unwrap().unwrap() == block(2));
    });
    sent.unwrap();
    assert_eq!(one.queued(), 0);
}

#[tokio::test]
async fn two_sides_that_send_much_at_once_do_not_wait_for_each_other() {
    async fn exchange(mut io: BlockStream<DuplexStream>) {
        for number in 0..100 {
            io.queue(block(number));
        }
        for number in 0..100 {
            assert!(io.read_block().await.unwrap().unwrap() == block(number));
        }
        io.flush().await.unwrap();
    }
    let (one, other) = pair(1000);
    tokio::join!(exchange(one), exchange(other));
}

#[tokio::test]
async fn closing_sends_what_is_queued_first() {
    let (mut one, mut other) = pair(1000);
    one.queue(block(1));
    let (closed, received) = tokio::join!(one.close(), other.read_block());
    closed.unwrap();
    assert!(received.unwrap().unwrap() == block(1));
    assert!(other.read_block().await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_peer_said_before_it_left_is_still_read() {
    let (mut one, mut other) = pair(3 * BLOCK_SIZE);
    one.write_block(block(1)).await.unwrap();
    drop(one);
    other.queue(block(2));
    assert!(other.read_block().await.unwrap().unwrap() == block(1));
    assert!(matches!(other.read_block().await, Err(BlockIoError::Io(_))));
}

/// Takes everything, and counts how often it was asked.
#[derive(Default)]
struct Counting {
    writes: usize,
    bytes: Vec<u8>,
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        let before = self.bytes.len();
        slices
            .iter()
            .for_each(|slice| self.bytes.extend_from_slice(slice));
        Poll::Ready(Ok(self.bytes.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn several_blocks_go_in_one_write() {
    let mut io = BlockStream::new(Counting::default());
    io.write_blocks((0..16).map(block)).await.unwrap();
    assert_eq!(
        (io.get_ref().writes, io.get_ref().bytes.len()),
        (1, 16 * BLOCK_SIZE)
    );
    let sent = io.get_ref().bytes.chunks(BLOCK_SIZE);
    assert!(
        sent.enumerate()
            .all(|(number, sent)| sent == block(number as u8).as_slice())
    );
    io.write_blocks((0..17).map(block)).await.unwrap();
    assert_eq!(io.get_ref().writes, 3);
}

// --- Over WebSocket ------------------------------------------------------------------------------

/// A browser's end, and ours.
async fn web_sockets() -> (WebSocketStream<DuplexStream>, WebSocketBlocks<DuplexStream>) {
    let (browser, relay) = duplex(3 * BLOCK_SIZE);
    let (browser, relay) = tokio::join!(
        tokio_tungstenite::client_async("ws://relay/", browser),
        WebSocketBlocks::accept(relay)
    );
    (browser.unwrap().0, relay.unwrap())
}

fn message(block: &Block) -> Message {
    Message::binary(block.to_vec())
}

#[tokio::test]
async fn blocks_go_both_ways_over_a_web_socket() {
    let (mut browser, mut relay) = web_sockets().await;
    for number in 0..5 {
        browser.send(message(&block(number))).await.unwrap();
        browser
            .send(Message::Ping("are you there?".into()))
            .await
            .unwrap();
        assert!(relay.read_block().await.unwrap().unwrap() == block(number));
        relay.write_block(block(number + 100)).await.unwrap();
        loop {
            match browser.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => break assert!(bytes[..] == block(number + 100)[..]),
                Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    browser.close(None).await.unwrap();
    assert!(relay.read_block().await.unwrap().is_none());
    assert!(relay.read_block().await.unwrap().is_none());
}

#[tokio::test]
async fn two_sides_of_a_web_socket_that_send_much_at_once_do_not_wait_for_each_other() {
    let (browser, mut relay) = web_sockets().await;
    let (mut sink, mut stream) = browser.split();
    let ours = async {
        for number in 0..100 {
            relay.queue(block(number));
        }
        for number in 0..100 {
            assert!(relay.read_block().await.unwrap().unwrap() == block(number));
        }
        relay.flush().await.unwrap();
    };
    let theirs = async {
        for number in 0..100 {
            sink.send(message(&block(number))).await.unwrap();
        }
    };
    let received = async {
        for number in 0..100 {
            let bytes = stream.next().await.unwrap().unwrap().into_data();
            assert!(bytes[..] == block(number)[..]);
        }
    };
    tokio::join!(ours, theirs, received);
}

#[tokio::test]
async fn a_message_in_fragments_is_one_block() {
    let (mut browser, mut relay) = web_sockets().await;
    let bytes = block(1);
    let last = bytes.len() / 1000;
    for (number, piece) in bytes.chunks(1000).enumerate() {
        let code = if number == 0 {
            Data::Binary
        } else {
            Data::Continue
        };
        let frame = Frame::message(piece.to_vec(), OpCode::Data(code), number == last);
        browser.send(Message::Frame(frame)).await.unwrap();
    }
    assert!(relay.read_block().await.unwrap().unwrap() == bytes);
}

#[tokio::test]
async fn messages_of_another_size_or_kind_are_refused() {
    for size in [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE + 1] {
        let (mut browser, mut relay) = web_sockets().await;
        browser.send(Message::binary(vec![0; size])).await.unwrap();
        let error = relay.read_block().await.unwrap_err();
        assert!(matches!(error, BlockIoError::WrongSize), "{size}: {error}");
    }
    let (mut browser, mut relay) = web_sockets().await;
    browser
        .send(Message::text("x".repeat(BLOCK_SIZE)))
        .await
        .unwrap();
    let error = relay.read_block().await.unwrap_err();
    assert!(matches!(error, BlockIoError::Text), "{error}");
}

#[tokio::test]
async fn a_frame_that_claims_too_much_or_is_not_masked_is_refused() {
    for (frame, wrong_size) in [
        (
            &b"\x82\xff\x00\x00\x00\xff\xff\xff\xff\xff\x00\x00\x00\x00"[..],
            true,
        ),
        (b"\x82\x01\x00", false),
        (b"\xf2\x81\x00\x00\x00\x00\x00", false),
    ] {
        let (browser, mut relay) = web_sockets().await;
        let mut browser = browser.into_inner();
        browser.write_all(frame).await.unwrap();
        match relay.read_block().await.unwrap_err() {
            BlockIoError::WrongSize => assert!(wrong_size),
            BlockIoError::WebSocket => assert!(!wrong_size),
            error => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_browser_that_leaves_without_a_word_is_gone() {
    let (browser, mut relay) = web_sockets().await;
    drop(browser);
    assert!(relay.read_block().await.unwrap().is_none());
    assert!(relay.write_block(block(1)).await.is_err());
}

#[tokio::test]
async fn a_request_for_a_page_is_no_web_socket() {
    let (mut browser, relay) = duplex(4096);
    browser
        .write_all(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
        .await
        .unwrap();
    let refused = WebSocketBlocks::accept(relay).await.err().unwrap();
    assert!(matches!(refused, WebSocketError::NotWebSocket), "{refused}");
}

#[tokio::test]
async fn compression_is_not_agreed() {
    let (mut browser, relay) = duplex(4096);
    let request = "GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    browser.write_all(request.as_bytes()).await.unwrap();
    let relay = WebSocketBlocks::accept(relay).await.unwrap();
    drop(relay);
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(!answer.to_lowercase().contains("extensions"), "{answer}");
}
