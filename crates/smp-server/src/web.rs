//! Browsers' connections: blocks over a WebSocket, of which it is known whether one has begun.
//!
//! The WebSocket library keeps to itself what it has of a message. So the bytes that it reads are
//! looked at on their way: enough to tell where frames and messages end (RFC 6455, section 5.2).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use smp_protocol::Block;
use smp_transport::{BlockIo, BlockIoError, WebSocketBlocks, WebSocketError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Blocks from and to a browser.
pub(crate) struct WebBlocks<S> {
    blocks: WebSocketBlocks<Observed<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebBlocks<S> {
    /// Answers a browser's request for a WebSocket: see [`WebSocketBlocks::accept`].
    pub(crate) async fn accept(stream: S) -> Result<Self, WebSocketError> {
        let observed = Observed {
            stream,
            frames: Frames::default(),
            begun: AtomicBool::new(false),
        };
        let blocks = WebSocketBlocks::accept(observed).await?;
        // Nothing comes behind the request before it is answered, or the library refuses it.
        blocks.get_ref().begun.store(true, Ordering::Relaxed);
        Ok(Self { blocks })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> BlockIo for WebBlocks<S> {
    fn poll_read_block(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Box<Block>>, BlockIoError>> {
        self.blocks.poll_read_block(cx)
    }

    fn is_inside_block(&self) -> bool {
        self.blocks.get_ref().frames.is_inside()
    }

    fn queue(&mut self, block: Box<Block>) {
        self.blocks.queue(block);
    }

    fn queued(&self) -> usize {
        self.blocks.queued()
    }

    fn poll_flush_blocks(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>> {
        self.blocks.poll_flush_blocks(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>> {
        self.blocks.poll_close(cx)
    }

    fn recycle(&mut self, block: Box<Block>) {
        self.blocks.recycle(block);
    }
}

/// A stream whose frames are followed as they are read.
struct Observed<S> {
    stream: S,
    frames: Frames,
    /// Whether frames are read: before, it is HTTP.
    begun: AtomicBool,
}

/// Where in the frames a stream is.
#[derive(Default)]
struct Frames {
    /// Of the head of a frame.
    head: Vec<u8>,
    /// Bytes of its content that are to come.
    content: u64,
    /// Whether the message goes on in another frame.
    unfinished: bool,
}

/// The first two bytes say how long the head is: with a length and a key at most so many.
const SHORTEST_HEAD: usize = 2;

const KEY: usize = 4;

/// Whether a frame is the last of its message.
const FINAL: u8 = 0x80;

/// Whether a frame is no part of a message: a ping, its answer, or the end.
const CONTROL: u8 = 0x08;

/// Whether a frame has a key.
const MASKED: u8 = 0x80;

impl Frames {
    /// Whether a frame or a message has begun and not ended.
    fn is_inside(&self) -> bool {
        self.unfinished || self.content > 0 || !self.head.is_empty()
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let content = self.content.min(bytes.len() as u64);
            self.content -= content;
            bytes = &bytes[content as usize..];
            let (Some((first, rest)), 0) = (bytes.split_first(), self.content) else {
                continue;
            };
            self.head.push(*first);
            bytes = rest;
            if self.head.len() == self.head_length() {
                self.begin_content();
            }
        }
    }

    /// How long the head is, as far as its bytes tell.
    fn head_length(&self) -> usize {
        let Some(second) = self.head.get(1) else {
            return SHORTEST_HEAD;
        };
        let length = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let key = if second & MASKED == 0 { 0 } else { KEY };
        SHORTEST_HEAD + length + key
    }

    /// The head is whole.
    fn begin_content(&mut self) {
        let (first, second) = (self.head[0], self.head[1]);
        let number = |bytes: &[u8]| {
            let sum = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            bytes.iter().fold(0, sum)
        };
        self.content = match second & !MASKED {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            length => length.into(),
        };
        if first & CONTROL == 0 {
            self.unfinished = first & FINAL == 0;
        }
        self.head.clear();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if *self.begun.get_mut() {
            self.frames.follow(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of a client with this first byte.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(MASKED | length as u8),
            126..65_536 => {
                frame.push(MASKED | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(MASKED | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        // The key and the content could be taken for heads.
        frame.extend([0x82; KEY]);
        frame.extend(vec![0x82; length]);
        frame
    }

    #[test]
    fn inside_a_frame_it_is_known_at_each_byte() {
        for length in [0, 1, 125, 126, 16_384, 65_535, 65_536] {
            let frame = frame(0x82, length);
            let mut frames = Frames::default();
            for round in 0..2 {
                for (at, byte) in frame.iter().enumerate() {
                    assert_eq!(frames.is_inside(), at > 0, "{length}, {round}, {at}");
                    frames.follow(&[*byte]);
                }
                assert!(!frames.is_inside(), "{length}, {round}");
            }
        }
    }

    #[test]
    fn between_the_frames_of_a_message_it_is_inside() {
        let mut frames = Frames::default();
        for (first, inside) in [
            (0x89, false),
            (0x02, true),
            (0x00, true),
            // A ping between them.
            (0x89, true),
            (0x80, false),
            (0x88, false),
        ] {
            frames.follow(&frame(first, 5));
            assert_eq!(frames.is_inside(), inside, "{first:x}");
        }
    }

    #[test]
    fn a_frame_without_a_key_is_followed_too() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 2, 0, 0, 0x82, 1]);
        assert!(frames.is_inside());
        frames.follow(&[0]);
        assert!(!frames.is_inside());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_parts_the_bytes_come(
            lengths in prop::collection::vec(0..300_usize, 0..20),
            mut part in 1..50_usize,
            mut bytes: Vec<u8>,
        ) {
            let whole: Vec<u8> = lengths.iter().flat_map(|length| frame(0x82, *length)).collect();
            let mut frames = Frames::default();
            for bytes in whole.chunks(part) {
                frames.follow(bytes);
            }
            prop_assert!(!frames.is_inside());
            // No bytes make it panic, nor keep more than a head.
            bytes.extend(whole);
            part += 1;
            for bytes in bytes.chunks(part) {
                frames.follow(bytes);
                prop_assert!(frames.head.len() < SHORTEST_HEAD + 8 + KEY);
            }
        }
    }
}
