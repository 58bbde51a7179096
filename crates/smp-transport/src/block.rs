//! Blocks of one size over a stream.

mod stream;
mod web_socket;

pub use stream::BlockStream;
pub use web_socket::{WebSocketBlocks, WebSocketError};

use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll};

use smp_protocol::Block;
use thiserror::Error;

/// Why no block came or went. After it the connection is of no more use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlockIoError {
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the connection inside a block.
    #[error("the connection ended after {received} bytes of a block")]
    CutOff {
        /// Bytes of the block that came.
        received: usize,
    },
    /// A WebSocket message of another size than a block.
    #[error("a WebSocket message is not of the size of a block")]
    WrongSize,
    /// A WebSocket message of text.
    #[error("a WebSocket message is text")]
    Text,
    /// The peer broke the rules of WebSocket.
    #[error("the peer broke the rules of WebSocket")]
    WebSocket,
}

/// Sends and receives blocks over one connection.
///
/// One task does both: it puts blocks with [`queue`](Self::queue) and waits in
/// [`read_block`](Self::read_block), which also sends what is queued. So neither direction ever
/// waits for the other, and whoever limits what it puts ([`queued`](Self::queued)) limits memory.
/// [`write_block`](Self::write_block) waits until the block is sent; two peers that only do that
/// at the same time may wait for each other.
///
/// Every method may be dropped while it waits: what was read or written of a block is kept.
pub trait BlockIo: Send {
    /// Reads on. `None` is the end of the connection between two blocks.
    fn poll_read_block(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Box<Block>>, BlockIoError>>;

    /// Whether a part of a block has come and the rest has not. A peer that leaves it at that for
    /// long holds memory for nothing. WebSocket does not tell.
    fn is_inside_block(&self) -> bool {
        false
    }

    /// Puts a block behind those that are to be sent.
    fn queue(&mut self, block: Box<Block>);

    /// How many blocks are not wholly sent.
    fn queued(&self) -> usize;

    /// Sends on. Ready when everything is sent.
    fn poll_flush_blocks(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>>;

    /// Sends on, and then tells the peer that nothing more comes.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>>;

    /// Gives back a block that was read and is no longer needed, so that the next needs no memory
    /// of its own.
    fn recycle(&mut self, block: Box<Block>) {
        drop(block);
    }

    /// Waits for a block, and sends what is queued meanwhile. `None` is the end of the connection
    /// between two blocks.
    fn read_block(
        &mut self,
    ) -> impl Future<Output = Result<Option<Box<Block>>, BlockIoError>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| {
            let sent = match self.queued() {
                0 => Ok(()),
                _ => match self.poll_flush_blocks(cx) {
                    Poll::Ready(Err(error)) => Err(error),
                    _ => Ok(()),
                },
            };
            // What the peer said before it went away still counts.
            match (self.poll_read_block(cx), sent) {
                (Poll::Ready(Ok(Some(block))), _) => Poll::Ready(Ok(Some(block))),
                (_, Err(error)) => Poll::Ready(Err(error)),
                (read, Ok(())) => read,
            }
        })
    }

    /// Sends a block behind those that are queued, and waits until all of them are sent.
    fn write_block(
        &mut self,
        block: Box<Block>,
    ) -> impl Future<Output = Result<(), BlockIoError>> + Send
    where
        Self: Sized,
    {
        self.queue(block);
        self.flush()
    }

    /// Sends blocks, in one write where that can be.
    fn write_blocks(
        &mut self,
        blocks: impl IntoIterator<Item = Box<Block>>,
    ) -> impl Future<Output = Result<(), BlockIoError>> + Send
    where
        Self: Sized,
    {
        for block in blocks {
            self.queue(block);
        }
        self.flush()
    }

    /// Waits until everything is sent.
    fn flush(&mut self) -> impl Future<Output = Result<(), BlockIoError>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_flush_blocks(cx))
    }

    /// Sends what is queued, and tells the peer that nothing more comes.
    fn close(&mut self) -> impl Future<Output = Result<(), BlockIoError>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_close(cx))
    }
}
