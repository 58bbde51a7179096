//! Blocks as the messages of a WebSocket (RFC 6455), for clients in browsers.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use smp_protocol::{BLOCK_SIZE, Block, empty_block};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{BlockIo, BlockIoError};

/// Blocks over a WebSocket: each is one binary message of 16,384 bytes, never compressed.
pub struct WebSocketBlocks<S> {
    socket: WebSocketStream<S>,
    writing: VecDeque<Box<Block>>,
    flushed: bool,
}

/// Why an HTTP request did not become a WebSocket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer does not ask for a WebSocket, or does it wrongly.
    #[error("the peer does not ask for a WebSocket")]
    NotWebSocket,
}

/// Room for what is read at once. More is made for each block and given up again.
const READ_BUFFER: usize = 4096;

impl<S> WebSocketBlocks<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Answers a browser's request for a WebSocket, whatever path it names.
    ///
    /// It waits as long as the browser does: put a time limit around it. If it is dropped, the
    /// connection is lost.
    ///
    /// # Errors
    /// See [`WebSocketError`].
    pub async fn accept(stream: S) -> Result<Self, WebSocketError> {
        let accepted = tokio_tungstenite::accept_async_with_config(stream, Some(config())).await;
        let socket = accepted.map_err(|error| match error {
            Error::Io(error) => WebSocketError::Io(error),
            _ => WebSocketError::NotWebSocket,
        })?;
        Ok(Self {
            socket,
            writing: VecDeque::new(),
            flushed: true,
        })
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.socket.get_ref()
    }

    fn socket(&mut self) -> Pin<&mut WebSocketStream<S>> {
        Pin::new(&mut self.socket)
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * BLOCK_SIZE)
        .max_message_size(Some(BLOCK_SIZE))
        .max_frame_size(Some(BLOCK_SIZE))
}

impl<S> BlockIo for WebSocketBlocks<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn poll_read_block(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Box<Block>>, BlockIoError>> {
        loop {
            let message = match ready!(self.socket().poll_next(cx)).transpose() {
                Ok(message) => message,
                Err(error) => return Poll::Ready(end_or_error(error).map(|()| None)),
            };
            return Poll::Ready(match message {
                Some(Message::Binary(bytes)) if bytes.len() == BLOCK_SIZE => {
                    let mut block = empty_block();
                    block.copy_from_slice(&bytes);
                    Ok(Some(block))
                }
                Some(Message::Binary(_)) => Err(BlockIoError::WrongSize),
                Some(Message::Text(_)) => Err(BlockIoError::Text),
                // The library answers a ping and a close.
                Some(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => continue,
                Some(Message::Frame(_)) | None => Ok(None),
            });
        }
    }

    fn queue(&mut self, block: Box<Block>) {
        self.writing.push_back(block);
    }

    fn queued(&self) -> usize {
        self.writing.len()
    }

    fn poll_flush_blocks(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>> {
        while !self.writing.is_empty() {
            ready!(self.socket().poll_ready(cx)).map_err(write_error)?;
            if let Some(block) = self.writing.pop_front() {
                self.flushed = false;
                let bytes: Box<[u8]> = block;
                let message = Message::Binary(bytes.into());
                self.socket().start_send(message).map_err(write_error)?;
            }
        }
        if !self.flushed {
            ready!(self.socket().poll_flush(cx)).map_err(write_error)?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BlockIoError>> {
        ready!(self.poll_flush_blocks(cx))?;
        let closed = ready!(self.socket().poll_close(cx));
        Poll::Ready(closed.or_else(end_or_error))
    }
}

/// The end of a WebSocket, with or without the words for it, is no error between two messages.
fn end_or_error(error: Error) -> Result<(), BlockIoError> {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ok(()),
        Error::Io(error) => Err(BlockIoError::Io(error)),
        Error::Capacity(_) => Err(BlockIoError::WrongSize),
        Error::Utf8(_) => Err(BlockIoError::Text),
        _ => Err(BlockIoError::WebSocket),
    }
}

/// Nothing can be sent after the end.
fn write_error(error: Error) -> BlockIoError {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe).into();
    end_or_error(error).err().unwrap_or_else(closed)
}
