//! The errors' texts on the wire.

use super::{
    BlockingInfo, BlockingReason, BrokerError, CommandError, ErrorType, HandshakeError,
    MAX_BLOCKING_REASON, MAX_ERROR_DEPTH, NameError, NetworkError, ProxyError, TransportError,
};
use crate::encoding::{DecodeError, MAX_SHORT, Reader};
use crate::version::SmpVersion;

impl ErrorType {
    /// Reads the text of an error, all of it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none of the document's errors, is cut off, has something behind it,
    /// or holds more than [`MAX_ERROR_DEPTH`] errors of proxies in each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let error = Self::read(&mut reader, MAX_ERROR_DEPTH)?;
        reader.finish("error")?;
        Ok(error)
    }

    /// Appends the text as a session of `version` knows it: what blocks a queue is `AUTH` before
    /// version 12 and has no notice before version 18, and a network error has no details before
    /// version 20.
    pub fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) {
        match self {
            Self::Block => put(out, "BLOCK"),
            Self::Session => put(out, "SESSION"),
            Self::Cmd(error) => put_words(out, "CMD ", error.text()),
            Self::Proxy(error) => {
                put(out, "PROXY ");
                error.encode(version, out);
            }
            Self::Auth => put(out, "AUTH"),
            Self::Blocked(_) if version < SmpVersion::BLOCKED => put(out, "AUTH"),
            Self::Blocked(info) => {
                put(out, "BLOCKED ");
                info.encode(version, out);
            }
            Self::Service => put(out, "SERVICE"),
            Self::Crypto => put(out, "CRYPTO"),
            Self::Quota => put(out, "QUOTA"),
            Self::Store(text) => put_words(out, "STORE ", text),
            Self::Expired => put(out, "EXPIRED"),
            Self::NoMsg => put(out, "NO_MSG"),
            Self::LargeMsg => put(out, "LARGE_MSG"),
            Self::Internal => put(out, "INTERNAL"),
            Self::Duplicate => put(out, "DUPLICATE_"),
            Self::Name(error) => {
                put(out, "NAME ");
                error.encode(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"BLOCK" => Self::Block,
            b"SESSION" => Self::Session,
            b"CMD" => Self::Cmd(CommandError::read(parameter(reader)?)?),
            b"PROXY" => Self::Proxy(ProxyError::read(parameter(reader)?, depth)?),
            b"AUTH" => Self::Auth,
            b"BLOCKED" => Self::Blocked(BlockingInfo::decode(parameter(reader)?.take_rest())?),
            b"SERVICE" => Self::Service,
            b"CRYPTO" => Self::Crypto,
            b"QUOTA" => Self::Quota,
            b"STORE" => Self::Store(text(parameter(reader)?.take_rest())),
            b"EXPIRED" => Self::Expired,
            b"NO_MSG" => Self::NoMsg,
            b"LARGE_MSG" => Self::LargeMsg,
            b"INTERNAL" => Self::Internal,
            b"DUPLICATE_" => Self::Duplicate,
            b"NAME" => Self::Name(NameError::read(parameter(reader)?)?),
            _ => return Err(DecodeError::Value("error")),
        })
    }
}

impl CommandError {
    fn text(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Syntax => "SYNTAX",
            Self::Prohibited => "PROHIBITED",
            Self::NoAuth => "NO_AUTH",
            Self::HasAuth => "HAS_AUTH",
            Self::NoEntity => "NO_ENTITY",
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"UNKNOWN" => Self::Unknown,
            b"SYNTAX" => Self::Syntax,
            b"PROHIBITED" => Self::Prohibited,
            b"NO_AUTH" => Self::NoAuth,
            b"HAS_AUTH" => Self::HasAuth,
            b"NO_ENTITY" => Self::NoEntity,
            _ => return Err(DecodeError::Value("command error")),
        })
    }
}

impl ProxyError {
    fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) {
        match self {
            Self::Protocol(error) => {
                put(out, "PROTOCOL ");
                error.encode(version, out);
            }
            Self::Broker(error) => {
                put(out, "BROKER ");
                error.encode(version, out);
            }
            Self::BasicAuth => put(out, "BASIC_AUTH"),
            Self::NoSession => put(out, "NO_SESSION"),
        }
    }

    fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"PROTOCOL" => {
                let depth = depth
                    .checked_sub(1)
                    .ok_or(DecodeError::Limit("proxy error"))?;
                Self::Protocol(Box::new(ErrorType::read(parameter(reader)?, depth)?))
            }
            b"BROKER" => Self::Broker(BrokerError::read(parameter(reader)?)?),
            b"BASIC_AUTH" => Self::BasicAuth,
            b"NO_SESSION" => Self::NoSession,
            _ => return Err(DecodeError::Value("proxy error")),
        })
    }
}

impl BrokerError {
    fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) {
        match self {
            Self::Response(text) => put_short_text(out, "RESPONSE ", text),
            Self::Unexpected(text) => put_short_text(out, "UNEXPECTED ", text),
            Self::Network(error) => {
                put(out, "NETWORK");
                error.encode(version, out);
            }
            Self::Timeout => put(out, "TIMEOUT"),
            Self::Host => put(out, "HOST"),
            Self::NoService => put(out, "NO_SERVICE"),
            Self::Transport(error) => {
                put(out, "TRANSPORT ");
                error.encode(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"RESPONSE" => Self::Response(text(parameter(reader)?.short("broker error")?)),
            b"UNEXPECTED" => Self::Unexpected(text(parameter(reader)?.short("broker error")?)),
            b"NETWORK" => Self::Network(NetworkError::read_to_end(reader)),
            b"TIMEOUT" => Self::Timeout,
            b"HOST" => Self::Host,
            b"NO_SERVICE" => Self::NoService,
            b"TRANSPORT" => Self::Transport(TransportError::read(parameter(reader)?)?),
            _ => return Err(DecodeError::Value("broker error")),
        })
    }
}

impl NetworkError {
    /// Appends a space and the details, if the version has them and there are any.
    fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) {
        if version < SmpVersion::NAMES {
            return;
        }
        match self {
            Self::Connect(text) => put_short_text(out, " CONNECT ", text),
            Self::Tls(text) => put_short_text(out, " TLS ", text),
            Self::UnknownCa => put(out, " UNKNOWNCA"),
            Self::Failed => {}
            Self::Timeout => put(out, " TIMEOUT"),
            Self::Subscribe(text) => put_short_text(out, " SUBSCRIBE ", text),
        }
    }

    /// Reads what follows `NETWORK`, whatever it is.
    fn read_to_end(reader: &mut Reader<'_>) -> Self {
        let mut details = Reader::new(reader.take_rest());
        Self::read(&mut details)
            .and_then(|error| details.finish("network error").map(|()| error))
            .unwrap_or(Self::Failed)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "network error";
        Ok(match parameter(reader)?.word() {
            b"CONNECT" => Self::Connect(text(parameter(reader)?.short(WHAT)?)),
            b"TLS" => Self::Tls(text(parameter(reader)?.short(WHAT)?)),
            b"UNKNOWNCA" => Self::UnknownCa,
            b"FAILED" => Self::Failed,
            b"TIMEOUT" => Self::Timeout,
            b"SUBSCRIBE" => Self::Subscribe(text(parameter(reader)?.short(WHAT)?)),
            _ => return Err(DecodeError::Value(WHAT)),
        })
    }
}

impl TransportError {
    /// Reads the text of an error, all of it.
    ///
    /// # Errors
    /// [`DecodeError`] if it is none of the document's errors or has something behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let error = Self::read(&mut reader)?;
        reader.finish("transport error")?;
        Ok(error)
    }

    /// Appends the text.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Block => put(out, "BLOCK"),
            Self::Version => put(out, "VERSION"),
            Self::LargeMsg => put(out, "LARGE_MSG"),
            Self::Session => put(out, "SESSION"),
            Self::NoAuth => put(out, "NO_AUTH"),
            Self::Handshake(error) => put_words(out, "HANDSHAKE ", error.text()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"BLOCK" => Self::Block,
            b"VERSION" => Self::Version,
            b"LARGE_MSG" => Self::LargeMsg,
            b"SESSION" => Self::Session,
            b"NO_AUTH" => Self::NoAuth,
            b"HANDSHAKE" => Self::Handshake(HandshakeError::read(parameter(reader)?)?),
            _ => return Err(DecodeError::Value("transport error")),
        })
    }
}

impl HandshakeError {
    fn text(self) -> &'static str {
        match self {
            Self::Parse => "PARSE",
            Self::Identity => "IDENTITY",
            Self::BadAuth => "BAD_AUTH",
            Self::BadService => "BAD_SERVICE",
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"PARSE" => Self::Parse,
            b"IDENTITY" => Self::Identity,
            b"BAD_AUTH" => Self::BadAuth,
            b"BAD_SERVICE" => Self::BadService,
            _ => return Err(DecodeError::Value("handshake error")),
        })
    }
}

impl NameError {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::NotFound => put(out, "NOT_FOUND"),
            Self::NoResolver => put(out, "NO_RESOLVER"),
            Self::Resolver(text) => put_words(out, "RESOLVER ", text),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.word() {
            b"NOT_FOUND" => Self::NotFound,
            b"NO_RESOLVER" => Self::NoResolver,
            b"RESOLVER" => Self::Resolver(text(parameter(reader)?.take_rest())),
            _ => return Err(DecodeError::Value("name error")),
        })
    }
}

impl BlockingInfo {
    /// Reads `reason=…` and, if it is there, `,notice=…`.
    ///
    /// # Errors
    /// [`DecodeError`] if there is no reason, or something else than a notice behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "blocking info";
        let info = bytes
            .strip_prefix(b"reason=")
            .ok_or(DecodeError::Value(WHAT))?;
        let comma = info.iter().position(|&byte| byte == b',');
        let (reason, notice) = match comma.and_then(|comma| info.split_at_checked(comma)) {
            None => (info, None),
            Some((reason, notice)) => {
                let notice = notice
                    .strip_prefix(b",notice=")
                    .ok_or(DecodeError::Value(WHAT))?;
                let notice = str::from_utf8(notice).map_err(|_| DecodeError::Value(WHAT))?;
                (reason, Some(notice.to_owned()))
            }
        };
        Ok(Self {
            reason: BlockingReason::decode(reason)?,
            notice,
        })
    }

    /// Appends the text as a session of `version` knows it: without the notice before version 18.
    pub fn encode(&self, version: SmpVersion, out: &mut Vec<u8>) {
        let reason = match &self.reason {
            BlockingReason::Spam => "spam",
            BlockingReason::Content => "content",
            BlockingReason::Unknown(reason) => reason,
        };
        put_words(out, "reason=", reason);
        if let Some(notice) = &self.notice
            && version >= SmpVersion::CLIENT_NOTICES
        {
            put_words(out, ",notice=", notice);
        }
    }
}

impl BlockingReason {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes {
            b"spam" => Ok(Self::Spam),
            b"content" => Ok(Self::Content),
            _ if (1..=MAX_BLOCKING_REASON).contains(&bytes.len())
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte)) =>
            {
                Ok(Self::Unknown(text(bytes)))
            }
            _ => Err(DecodeError::Value("blocking reason")),
        }
    }
}

/// The space before a parameter, then the reader again.
fn parameter<'r, 'a>(reader: &'r mut Reader<'a>) -> Result<&'r mut Reader<'a>, DecodeError> {
    reader.space("error")?;
    Ok(reader)
}

/// Words for people, of which none is worth refusing the error for.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_words(out: &mut Vec<u8>, words: &str, text: &str) {
    put(out, words);
    put(out, text);
}

/// Appends `words` and as much of `text` as a short string holds.
fn put_short_text(out: &mut Vec<u8>, words: &str, text: &str) {
    put(out, words);
    let text = &text[..text.floor_char_boundary(MAX_SHORT)];
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    put(out, text);
}
