//! The first message of a TLS connection, read before TLS itself takes it.
//!
//! It decides between a relay's own certificate and its web certificate, which differ in all that
//! OpenSSL fixes before it lets anyone see the server's name: cipher suites, signature algorithms,
//! and whether the client is asked for a certificate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smp_protocol::{DecodeError, Reader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::context::{ALPN_SMP, ALPN_WEB};

/// To whom a client wants to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// To the relay, with the relay's certificate.
    Smp,
    /// To the web server, with the web certificate.
    Web,
}

/// Longest first message that is looked at, in bytes of the connection. Browsers send 2 KiB.
const MAX_FIRST_BYTES: usize = 16 * 1024;

/// Reads until the door is clear; what was read stands in the stream again.
pub(super) async fn choose_door<S>(mut stream: S) -> io::Result<(Door, Replay<S>)>
where
    S: AsyncRead + Unpin,
{
    let mut seen = Vec::new();
    loop {
        if let Some(door) = door(&seen) {
            return Ok((door, Replay::new(stream, seen)));
        }
        let room = MAX_FIRST_BYTES - seen.len();
        let read = (&mut stream).take(room as u64).read_buf(&mut seen).await?;
        if read == 0 {
            // Closed, or too long: TLS finds the words for it.
            return Ok((Door::Smp, Replay::new(stream, seen)));
        }
    }
}

/// The door, or `None` while the message is not complete. Whoever does not speak TLS gets to the
/// relay, where TLS refuses it.
///
/// A protocol that the client names decides. Otherwise a server name does: clients of relays know
/// no names, browsers always send one unless the address is a number.
fn door(seen: &[u8]) -> Option<Door> {
    match client_hello(seen) {
        Ok(message) => Some(match read_hello(&message) {
            Ok(hello) if hello.smp => Door::Smp,
            Ok(hello) if hello.web || (hello.server_name && !hello.alpn) => Door::Web,
            _ => Door::Smp,
        }),
        Err(Incomplete::More) => None,
        Err(Incomplete::NotTls) => Some(Door::Smp),
    }
}

enum Incomplete {
    More,
    NotTls,
}

/// Joins the records of a ClientHello (RFC 8446, sections 5.1 and 4), without its header.
fn client_hello(seen: &[u8]) -> Result<Vec<u8>, Incomplete> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    const HEADER: usize = 4;
    let mut reader = Reader::new(seen);
    let mut message: Vec<u8> = Vec::new();
    loop {
        let content_type = reader.u8("").map_err(|_| Incomplete::More)?;
        if content_type != HANDSHAKE {
            return Err(Incomplete::NotTls);
        }
        reader.u16("").map_err(|_| Incomplete::More)?;
        // A record that is cut off may hold enough, yet waiting for its end does no harm.
        let content = reader.large("").map_err(|_| Incomplete::More)?;
        if content.is_empty() {
            return Err(Incomplete::NotTls);
        }
        message.extend_from_slice(content);
        if message[0] != CLIENT_HELLO {
            return Err(Incomplete::NotTls);
        }
        let Some(&[_, high, middle, low]) = message.first_chunk::<HEADER>() else {
            continue;
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if message.len() >= HEADER + length {
            message.truncate(HEADER + length);
            message.drain(..HEADER);
            return Ok(message);
        }
    }
}

/// What matters of a ClientHello.
#[derive(Default)]
struct Hello {
    server_name: bool,
    alpn: bool,
    smp: bool,
    web: bool,
}

/// RFC 8446, section 4.1.2; RFC 6066, section 3; RFC 7301, section 3.1.
fn read_hello(message: &[u8]) -> Result<Hello, DecodeError> {
    const SERVER_NAME: u16 = 0;
    const ALPN: u16 = 16;
    let mut reader = Reader::new(message);
    reader.bytes(2 + 32, "version and random")?;
    reader.short("session id")?;
    reader.large("cipher suites")?;
    reader.short("compression methods")?;
    let mut extensions = Reader::new(reader.large("extensions")?);
    let mut hello = Hello::default();
    while !extensions.is_empty() {
        let kind = extensions.u16("extension")?;
        let content = extensions.large("extension")?;
        match kind {
            SERVER_NAME => hello.server_name = true,
            ALPN => {
                hello.alpn = true;
                let mut names = Reader::new(Reader::new(content).large("protocols")?);
                while !names.is_empty() {
                    let name = names.short("protocol")?;
                    hello.smp |= name == ALPN_SMP;
                    hello.web |= name == ALPN_WEB;
                }
            }
            _ => {}
        }
    }
    Ok(hello)
}

/// A stream that gives bytes again that were taken from it before.
pub(super) struct Replay<S> {
    stream: S,
    seen: Vec<u8>,
    given: usize,
}

impl<S> Replay<S> {
    pub(super) fn new(stream: S, seen: Vec<u8>) -> Self {
        Self {
            stream,
            seen,
            given: 0,
        }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut S>
    where
        S: Unpin,
    {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return self.stream().poll_read(cx, buffer);
        }
        let rest = &self.seen[self.given..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.given += count;
        if self.given == self.seen.len() {
            self.seen = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn large(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &large(content)].concat()
    }

    fn server_name() -> Vec<u8> {
        extension(0, &large(b"\x00\x00\x05relay"))
    }

    fn protocols(names: &[&[u8]]) -> Vec<u8> {
        let names = names.iter().flat_map(|name| {
            let length = name.len() as u8;
            [&[length][..], name].concat()
        });
        extension(16, &large(&names.collect::<Vec<_>>()))
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            b"\x00",
            b"\x00\x02\x13\x03",
            b"\x01\x00",
            &large(&extensions.concat()),
        ];
        let body = body.concat();
        let length = (body.len() as u32).to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    /// The message in records of at most `size` bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |content: &[u8]| [&b"\x16\x03\x01"[..], &large(content)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn the_door_is_clear_with_the_last_byte_of_the_message_and_not_before() {
        let other = extension(43, b"\x02\x03\x04");
        let message = hello(&[other, server_name(), protocols(&[b"h2", b"http/1.1"])]);
        for size in [1, 3, 4, 50, 16_000] {
            let bytes = records(&message, size);
            for end in 0..bytes.len() {
                assert_eq!(door(&bytes[..end]), None, "{end} of records of {size}");
            }
            assert_eq!(door(&bytes), Some(Door::Web));
            assert_eq!(door(&[&bytes[..], b"more"].concat()), Some(Door::Web));
        }
    }

    #[test]
    fn protocols_count_more_than_names() {
        let door = |extensions: &[Vec<u8>]| door(&records(&hello(extensions), 16_000));
        assert_eq!(door(&[]), Some(Door::Smp));
        assert_eq!(door(&[server_name()]), Some(Door::Web));
        let (smp, web, other) = (
            protocols(&[b"smp/1"]),
            protocols(&[b"http/1.1"]),
            protocols(&[b"h2"]),
        );
        for name in [vec![], server_name()] {
            assert_eq!(door(&[name.clone(), smp.clone()]), Some(Door::Smp));
            assert_eq!(door(&[name.clone(), web.clone()]), Some(Door::Web));
            assert_eq!(door(&[name, other.clone()]), Some(Door::Smp));
        }
    }

    #[test]
    fn whoever_speaks_no_tls_goes_to_the_relay() {
        let http = b"GET / HTTP/1.1\r\n";
        let server_hello = b"\x16\x03\x01\x00\x04\x02\x00\x00\x00";
        let empty_record = b"\x16\x03\x01\x00\x00";
        for bytes in [&http[..], server_hello, empty_record] {
            assert_eq!(door(bytes), Some(Door::Smp));
        }
    }

    #[tokio::test]
    async fn a_message_without_end_is_read_only_up_to_the_limit() {
        let endless = records(
            &[&[1, 255, 255, 255][..], &[0; 3 * MAX_FIRST_BYTES]].concat(),
            999,
        );
        let (chosen, replay) = choose_door(&endless[..]).await.unwrap();
        assert_eq!(chosen, Door::Smp);
        assert_eq!(replay.seen.len(), MAX_FIRST_BYTES);
        assert_eq!(replay.stream.len(), endless.len() - MAX_FIRST_BYTES);
    }

    #[tokio::test]
    async fn what_was_read_stands_in_the_stream_again() {
        let bytes = [&records(&hello(&[]), 10)[..], b"and more"].concat();
        let (_, mut replay) = choose_door(&bytes[..]).await.unwrap();
        let mut read = Vec::new();
        replay.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes);
        assert_eq!(replay.seen.capacity(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, extensions: Vec<u8>, size in 1_usize..100) {
            let _ = door(&bytes);
            let _ = door(&records(&[&[1][..], &bytes].concat(), size));
            prop_assert!(door(&records(&hello(&[extensions]), size)).is_some());
        }
    }
}
