//! A channel over any byte stream: one body a line.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use super::{
    ChannelError, Incoming, OutgoingMessage, RefusedBody, SentId, SignalChannel, decode_incoming,
};
use crate::body::{BodyLimit, MAX_BODY, encode_body};
use crate::error::EncodeError;

/// Longest line that is read, in bytes without its end.
pub const MAX_LINE: usize = MAX_BODY;

/// A channel of lines, each a chat message or a batch as JSON text in UTF-8, ended by `\n`.
///
/// Reads `\r\n` as well and skips blank lines; the last line needs no end. The end of the input
/// closes the channel. There are no receipts, no notifications, no relay's timestamps and no
/// binding. Each message is flushed as soon as it is written, and may be as long as
/// [`MAX_JSON`](crate::MAX_JSON). A compressed body is binary, so it is refused.
#[derive(Debug)]
pub struct Lines<R, W> {
    input: Input<R>,
    output: Output<W>,
    /// Messages of a batch that were not handed out yet.
    decoded: VecDeque<Incoming>,
    sent: u64,
    closed: bool,
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// A channel that reads lines from `input` and writes lines to `output`.
    pub fn new(input: R, output: W) -> Self {
        Self {
            input: Input {
                reader: BufReader::new(input),
                line: Vec::new(),
                skipping: false,
                ended: false,
            },
            output: Output {
                writer: output,
                pending: Vec::new(),
                written: 0,
                failed: false,
            },
            decoded: VecDeque::new(),
            sent: 0,
            closed: false,
        }
    }

    fn open(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        if line.starts_with(b"X") {
            self.decoded
                .push_back(Incoming::Refused(RefusedBody::CompressedLine));
            return;
        }
        self.decoded.extend(decode_incoming(line, None));
    }
}

impl<R, W> SignalChannel for Lines<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    async fn send(&mut self, message: OutgoingMessage) -> Result<SentId, ChannelError> {
        if self.closed || self.input.ended {
            return Err(ChannelError::Closed);
        }
        let mut line = encode_body(&[message.message], BodyLimit::Plain)?;
        // Its text cannot be changed, and only a message that others wrote has breaks in it.
        if line.contains(&b'\n') {
            return Err(EncodeError::LineBreak.into());
        }
        line.push(b'\n');
        self.output.write_line(line).await?;
        self.sent += 1;
        Ok(SentId(self.sent))
    }

    async fn receive(&mut self) -> Result<Incoming, ChannelError> {
        loop {
            if self.closed {
                return Ok(Incoming::Closed);
            }
            if let Some(incoming) = self.decoded.pop_front() {
                return Ok(incoming);
            }
            match self.input.next_line().await? {
                Line::Whole(line) => self.open(&line),
                Line::TooLong => {
                    return Ok(Incoming::Refused(RefusedBody::LineTooLong {
                        limit: MAX_LINE,
                    }));
                }
                Line::End => return Ok(Incoming::Closed),
            }
        }
    }

    async fn close(&mut self) -> Result<(), ChannelError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.output.finish().await
    }

    fn binding(&self) -> Option<[u8; 32]> {
        None
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Everything read so far is in here, so that dropping a future loses nothing.
#[derive(Debug)]
struct Input<R> {
    reader: BufReader<R>,
    /// The line as far as it was read; at most [`MAX_LINE`] and a `\r`.
    line: Vec<u8>,
    /// The line is too long; the rest of it is thrown away.
    skipping: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Input<R> {
    async fn next_line(&mut self) -> io::Result<Line> {
        while !self.ended {
            let chunk = match self.reader.fill_buf().await {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            };
            let (part, consumed) = match chunk.iter().position(|&byte| byte == b'\n') {
                Some(end) => (chunk.get(..end).unwrap_or(chunk), end + 1),
                None => (chunk, chunk.len()),
            };
            let whole = consumed > part.len();
            self.ended = chunk.is_empty();
            if self.line.len() + part.len() > MAX_LINE + 1 {
                self.skipping = true;
                self.line = Vec::new();
            }
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            self.reader.consume(consumed);
            if whole || self.ended {
                return Ok(self.take_line());
            }
        }
        Ok(Line::End)
    }

    fn take_line(&mut self) -> Line {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.skipping) || line.len() > MAX_LINE {
            return Line::TooLong;
        }
        Line::Whole(line)
    }
}

#[derive(Debug)]
struct Output<W> {
    writer: W,
    /// A line of which part may be written already: a dropped `send` must not tear it in two.
    pending: Vec<u8>,
    written: usize,
    failed: bool,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    async fn write_line(&mut self, line: Vec<u8>) -> Result<(), ChannelError> {
        self.drain().await?;
        self.pending = line;
        self.drain().await
    }

    async fn finish(&mut self) -> Result<(), ChannelError> {
        self.drain().await?;
        self.writer.shutdown().await.map_err(ChannelError::from)
    }

    /// Writes what is pending. After a failure the peer may have half a line, so nothing follows.
    async fn drain(&mut self) -> Result<(), ChannelError> {
        if self.failed {
            return Err(ChannelError::Closed);
        }
        self.try_drain().await.map_err(|error| {
            self.failed = true;
            match error.kind() {
                io::ErrorKind::BrokenPipe => ChannelError::Closed,
                _ => error.into(),
            }
        })
    }

    async fn try_drain(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.pending.get(self.written..) {
            match self.writer.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        self.writer.flush().await?;
        self.pending.clear();
        self.written = 0;
        Ok(())
    }
}
