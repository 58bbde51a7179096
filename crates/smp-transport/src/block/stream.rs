//! Blocks one after the other on a stream of bytes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smp_protocol::{BLOCK_SIZE, Block, empty_block};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BlockIo, BlockIoError};

/// Blocks over TLS, or over any other stream.
///
/// While no byte of a block has come, there is no memory for one.
pub struct BlockStream<S> {
    stream: S,
    reading: Option<Reading>,
    spare: Option<Box<Block>>,
    writing: VecDeque<Box<Block>>,
    /// Bytes of the first block in `writing` that are sent.
    sent: usize,
    flushed: bool,
}

/// A block of which not all has come.
struct Reading {
    block: Box<Block>,
    received: usize,
}

/// Bytes that are read without a block to put them into.
const FIRST_BYTES: usize = 32;

/// Most blocks of one write.
const MAX_SLICES: usize = 16;

impl<S> BlockStream<S> {
    /// Blocks over this stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            reading: None,
            spare: None,
            writing: VecDeque::new(),
            sent: 0,
            flushed: true,
        }
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Takes the first bytes of a block, and only then the memory for it. `None` at the end.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Reading>>>
    where
        S: AsyncRead + Unpin,
    {
        if let Some(mut block) = self.spare.take() {
            // Pending drops the block: the connection is idle.
            let received = ready!(poll_read(&mut self.stream, cx, &mut block[..]))?;
            return Poll::Ready(Ok((received > 0).then_some(Reading { block, received })));
        }
        let mut first = [0; FIRST_BYTES];
        let received = ready!(poll_read(&mut self.stream, cx, &mut first))?;
        if received == 0 {
            return Poll::Ready(Ok(None));
        }
        let mut block = empty_block();
        block[..received].copy_from_slice(&first[..received]);
        Poll::Ready(Ok(Some(Reading { block, received })))
    }

    /// Forgets `count` more bytes that are to be sent.
    fn advance(&mut self, count: usize) {
        self.sent += count;
        while self.sent >= BLOCK_SIZE {
            self.sent -= BLOCK_SIZE;
            self.writing.pop_front();
        }
    }
}

impl<S: AsyncWrite + Unpin> BlockStream<S> {
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if self.writing.len() > 1 && stream.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut start = self.sent;
            let mut count = 0;
            for (slice, block) in slices.iter_mut().zip(&self.writing) {
                *slice = IoSlice::new(&block[start..]);
                start = 0;
                count += 1;
            }
            return stream.poll_write_vectored(cx, &slices[..count]);
        }
        match self.writing.front() {
            Some(block) => stream.poll_write(cx, &block[self.sent..]),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl<S> BlockIo for BlockStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn poll_read_block(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Box<Block>>, BlockIoError>> {
        if self.reading.is_none() {
            self.reading = ready!(self.poll_first(cx))?;
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Ok(None));
        };
        while reading.received < BLOCK_SIZE {
            let rest = &mut reading.block[reading.received..];
            let count = ready!(poll_read(&mut self.stream, cx, rest))?;
            if count == 0 {
                let received = reading.received;
                return Poll::Ready(Err(BlockIoError::CutOff { received }));
            }
            reading.received += count;
        }
        let block = self.reading.take().map(|reading| reading.block);
        Poll::Ready(Ok(block))
    }

    fn is_inside_block(&self) -> bool {
        self.reading.is_some()
    }

    fn queue(&mut self, block: Box<Block>) {
        self.writing.push_back(block);
    }

    fn queued(&self) -> usize {
        self.writing.len()
    }

    fn poll_flush_blocks(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>> {
        while !self.writing.is_empty() {
            let count = ready!(self.poll_write(cx))?;
            if count == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.flushed = false;
            self.advance(count);
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>> {
        ready!(self.poll_flush_blocks(cx))?;
        Pin::new(&mut self.stream)
            .poll_shutdown(cx)
            .map_err(BlockIoError::from)
    }

    fn recycle(&mut self, block: Box<Block>) {
        self.spare = Some(block);
    }
}

fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    bytes: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(bytes);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_holds_no_block() {
        let (mut one, other) = duplex(2 * BLOCK_SIZE);
        let mut other = BlockStream::new(other);
        one.write_all(&[7; BLOCK_SIZE]).await.unwrap();
        let block = other.read_block().await.unwrap().unwrap();
        other.recycle(block);
        assert!(other.spare.is_some());
        tokio::select! {
            biased;
            _ = other.read_block() => panic!("nothing was sent"),
            () = std::future::ready(()) => {}
        }
        assert!(other.spare.is_none() && other.reading.is_none());
    }

    #[tokio::test]
    async fn a_recycled_block_is_read_into_again() {
        let (mut one, other) = duplex(2 * BLOCK_SIZE);
        let mut other = BlockStream::new(other);
        one.write_all(&[7; 2 * BLOCK_SIZE]).await.unwrap();
        let block = other.read_block().await.unwrap().unwrap();
        let place = block.as_ptr();
        other.recycle(block);
        let block = other.read_block().await.unwrap().unwrap();
        assert_eq!((block.as_ptr(), *block), (place, [7; BLOCK_SIZE]));
    }
}
