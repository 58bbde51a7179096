//! DTLS records before they are authenticated (RFC 6347).

use std::collections::HashSet;

use call_core::Refusal;

/// Most plaintext handshake fragments in the life of a transport. A handshake has some ten, and as
/// many again for each of the some ten retransmissions that fit into its time.
pub(super) const MAX_PLAIN_FRAGMENTS: usize = 256;

/// Most encrypted handshake records: a Finished, and its retransmissions.
pub(super) const MAX_SEALED_HANDSHAKE: usize = 64;

/// Longest encrypted handshake record: a Finished has 24 bytes, nonce and tag another 24. A longer
/// one could hold thousands of fragments.
const MAX_SEALED_LEN: usize = 64;

/// Longest handshake message: a certificate of a few kilobytes is the largest in practice.
const MAX_MESSAGE: usize = 32 * 1024;

/// Most DTLS bytes before the transport is connected.
pub(super) const MAX_HANDSHAKE_BYTES: usize = 256 * 1024;

const RECORD_HEADER_LEN: usize = 13;
const FRAGMENT_HEADER_LEN: usize = 12;

/// `{254, 255}` and `{254, 253}`.
const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
const DTLS_1_2: [u8; 2] = [0xfe, 0xfd];

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const FATAL: u8 = 2;
const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
const INSUFFICIENT_SECURITY: u8 = 71;

const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Limits what a handshake costs, and remembers how it went.
#[derive(Default)]
pub(super) struct DtlsGuard {
    plain_fragments: usize,
    /// Plaintext fragments that were admitted.
    seen: HashSet<Fragment>,
    sealed: usize,
    /// Bytes that were admitted before the transport was connected.
    bytes: usize,
    /// A record of the peer came.
    answered: bool,
    /// The peer sent what only follows on an agreement about cipher suite and SRTP profile.
    agreed: bool,
    /// The first fatal alert in plaintext, of either side.
    alert: Option<u8>,
}

/// Names a fragment: sequence number of its message, offset and length.
type Fragment = (u16, usize, usize);

/// What is in a datagram.
#[derive(Default)]
struct Content {
    fragments: Vec<Fragment>,
    /// There is more than plaintext handshake messages.
    other: bool,
    sealed: usize,
    beyond_hello: bool,
    alert: Option<u8>,
}

impl DtlsGuard {
    /// Whether a datagram may pass; all its records or none.
    pub(super) fn admit(&mut self, connected: bool, bytes: &[u8]) -> bool {
        let Some(content) = read(bytes) else {
            return false;
        };
        if !connected && self.is_repetition(&content) {
            return false;
        }
        let within = self.plain_fragments + content.fragments.len() <= MAX_PLAIN_FRAGMENTS
            && self.sealed + content.sealed <= MAX_SEALED_HANDSHAKE
            && (connected || self.bytes + bytes.len() <= MAX_HANDSHAKE_BYTES);
        if !within {
            return false;
        }
        self.plain_fragments += content.fragments.len();
        self.seen.extend(content.fragments);
        self.sealed += content.sealed;
        self.answered = true;
        self.agreed |= content.beyond_hello;
        if !connected {
            self.bytes += bytes.len();
            self.alert = self.alert.or(content.alert);
        }
        true
    }

    /// Whether the peer only repeats itself. Each side repeats its flight after a second without
    /// progress, and the library begins that second anew with whatever comes in: where both sides
    /// wait, neither would ever repeat. The first message (number 0) is repeated to a side that
    /// has no timer yet, so it passes.
    fn is_repetition(&self, content: &Content) -> bool {
        let repeated = |fragment: &Fragment| fragment.0 != 0 && self.seen.contains(fragment);
        !content.other && !content.fragments.is_empty() && content.fragments.iter().all(repeated)
    }

    /// Looks for an alert of our own.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let alert = read(bytes).and_then(|content| content.alert);
        self.alert = self.alert.or(alert);
    }

    pub(super) fn alert(&self) -> Option<u8> {
        self.alert
    }

    /// The best explanation of a handshake that failed.
    pub(super) fn refusal(&self) -> Refusal {
        match self.alert {
            Some(HANDSHAKE_FAILURE | ILLEGAL_PARAMETER | INSUFFICIENT_SECURITY) => {
                Refusal::NoAes256Gcm
            }
            // A peer that does talk, and goes no further than its first message, found nothing
            // in ours that it takes.
            None if self.answered && !self.agreed => Refusal::NoAes256Gcm,
            _ => Refusal::DtlsHandshake,
        }
    }

    #[cfg(test)]
    pub(super) fn admitted(&self) -> (usize, usize, usize) {
        (self.plain_fragments, self.sealed, self.bytes)
    }
}

/// Reads all records of a datagram; `None` if one is malformed or has no place in a call.
fn read(datagram: &[u8]) -> Option<Content> {
    let mut content = Content::default();
    let mut rest = datagram;
    while !rest.is_empty() {
        let header = rest.get(..RECORD_HEADER_LEN)?;
        let version = [header[1], header[2]];
        let epoch = u16::from_be_bytes([header[3], header[4]]);
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let body = rest.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + len)?;
        if body.is_empty() || (version != DTLS_1_0 && version != DTLS_1_2) {
            return None;
        }
        content.other |= (header[0], epoch) != (HANDSHAKE, 0);
        match (header[0], epoch) {
            (CHANGE_CIPHER_SPEC, 0) if body == [1] => {}
            (ALERT, 0) => {
                let [level, description] = *body else {
                    return None;
                };
                if level == FATAL {
                    content.alert.get_or_insert(description);
                }
            }
            (HANDSHAKE, 0) => read_fragments(body, &mut content)?,
            (HANDSHAKE, 1) if len <= MAX_SEALED_LEN => content.sealed += 1,
            (ALERT, 1) => {}
            // Application data would be of data channels, which calls do not have.
            _ => return None,
        }
        rest = &rest[RECORD_HEADER_LEN + len..];
    }
    (!datagram.is_empty()).then_some(content)
}

/// Reads the handshake messages of a plaintext record. The library takes all bytes of a record for
/// the body of a message that is not whole, so such a one must be the last.
fn read_fragments(mut body: &[u8], content: &mut Content) -> Option<()> {
    while !body.is_empty() {
        let header = body.get(..FRAGMENT_HEADER_LEN)?;
        let uint24 = |at: usize| {
            usize::from(header[at]) << 16
                | usize::from(header[at + 1]) << 8
                | usize::from(header[at + 2])
        };
        let (length, offset, present) = (uint24(1), uint24(6), uint24(9));
        let rest = body.get(FRAGMENT_HEADER_LEN + present..)?;
        let whole = present == length;
        if length > MAX_MESSAGE
            || offset + present > length
            || (present == 0 && !whole)
            || (!whole && !rest.is_empty())
        {
            return None;
        }
        let message = u16::from_be_bytes([header[4], header[5]]);
        content.fragments.push((message, offset, present));
        content.beyond_hello |= !matches!(header[0], CLIENT_HELLO | HELLO_VERIFY_REQUEST);
        body = rest;
    }
    Some(())
}
