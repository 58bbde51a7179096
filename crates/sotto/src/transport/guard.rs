//! What of the network reaches the WebRTC library.
//!
//! The library keeps state, and does work, for datagrams whose sender it has not yet
//! authenticated: it reassembles handshake fragments by recursion and without a limit to their
//! number, keeps a context for every SSRC it sees, and settles ICE role conflicts before it checks
//! a message's integrity. [`Guard`] stands in front of it. All that it keeps is bounded by the
//! constants of this module, and what it does for a datagram is linear in its length.

mod dtls;
mod streams;
mod stun;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use call_core::{Candidate, Refusal, SdpSummary};
use rtc::crypto::{CryptoError, RTCCryptoProvider};

use self::dtls::DtlsGuard;
use self::streams::StreamGuard;
use self::stun::{Credentials, StunClass};
use super::DroppedDatagrams;

/// Most addresses of the peer from which anything is taken. The first ones stay.
pub(super) const MAX_KNOWN_REMOTES: usize = 64;

/// First bytes of the protocols on one socket (RFC 7983 §7).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const SRTP: std::ops::RangeInclusive<u8> = 128..=191;

/// Decides which datagrams the library may see.
pub(super) struct Guard {
    crypto: Arc<dyn RTCCryptoProvider>,
    /// `None` until this side has described itself; then nobody can know them either.
    own: Option<Credentials>,
    /// Addresses named by the peer, and those that proved to know our ICE password.
    known: Vec<(IpAddr, u16)>,
    dtls: DtlsGuard,
    streams: StreamGuard,
    connected: bool,
    dropped: DroppedDatagrams,
}

impl Guard {
    pub(super) fn new() -> Result<Self, CryptoError> {
        Ok(Self {
            crypto: rtc::crypto::default_provider()?,
            own: None,
            known: Vec::new(),
            dtls: DtlsGuard::default(),
            streams: StreamGuard::default(),
            connected: false,
            dropped: DroppedDatagrams::default(),
        })
    }

    /// Takes our ICE credentials out of our own description.
    pub(super) fn described(&mut self, sdp: &str) {
        self.own = Credentials::of_sdp(sdp);
    }

    /// Takes from the peer's description what it says of its streams and candidates.
    pub(super) fn peer_described(&mut self, summary: &SdpSummary, sdp: &str) {
        self.streams.declare(summary);
        for line in sdp.lines() {
            if line.starts_with("a=candidate:") {
                self.add_candidate(line);
            }
        }
    }

    /// Takes the address of a candidate that the peer signalled. False if there is no room for it,
    /// or it is none.
    pub(super) fn add_candidate(&mut self, candidate: &str) -> bool {
        let Ok(candidate) = candidate.trim_end().parse::<Candidate>() else {
            return false;
        };
        let address = candidate.address().ip();
        address.is_some_and(|ip| self.learn(SocketAddr::new(ip, candidate.port())))
    }

    /// DTLS is done and the certificate is the peer's: media may come.
    pub(super) fn connected(&mut self) {
        self.connected = true;
    }

    /// Whether the library may see the datagram.
    pub(super) fn admit(&mut self, peer: SocketAddr, bytes: &[u8]) -> bool {
        let known = self.known.contains(&key(peer));
        let (admitted, dropped) = match bytes.first() {
            Some(first) if STUN.contains(first) => {
                (self.admit_stun(known, peer, bytes), &mut self.dropped.stun)
            }
            Some(first) if known && DTLS.contains(first) => {
                let admitted = self.dtls.admit(self.connected, bytes);
                (admitted, &mut self.dropped.dtls)
            }
            Some(first) if known && SRTP.contains(first) => {
                let admitted = self.connected && self.streams.admit(bytes);
                (admitted, &mut self.dropped.media)
            }
            _ if known => (false, &mut self.dropped.other),
            _ => (false, &mut self.dropped.strangers),
        };
        if !admitted {
            *dropped += 1;
            // The first of a power of two, lest a flood become a flood of lines.
            if dropped.is_power_of_two() {
                tracing::debug!(dropped = ?self.dropped, "the guard drops datagrams");
            }
        }
        admitted
    }

    /// Looks at a datagram of this side on its way out, for the alerts in it.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        if bytes.first().is_some_and(|first| DTLS.contains(first)) {
            self.dtls.sent(bytes);
        }
    }

    /// Whether one of the sides has given the handshake up.
    pub(super) fn handshake_failed(&self) -> bool {
        self.dtls.alert().is_some()
    }

    /// Why the handshake did not end well, as far as one can tell.
    pub(super) fn handshake_refusal(&self) -> Refusal {
        self.dtls.refusal()
    }

    /// What was dropped so far.
    pub(super) fn dropped(&self) -> DroppedDatagrams {
        self.dropped
    }

    /// Addresses of the peer that are known.
    pub(super) fn known_remotes(&self) -> usize {
        self.known.len()
    }

    fn admit_stun(&mut self, known: bool, peer: SocketAddr, bytes: &[u8]) -> bool {
        match stun::class(bytes) {
            Some(StunClass::Request) => {
                (known || self.known.len() < MAX_KNOWN_REMOTES)
                    && self
                        .own
                        .as_ref()
                        .is_some_and(|own| own.is_meant(bytes, self.crypto.crypto()))
                    && self.learn(peer)
            }
            // The library takes a response only for a check of its own, and with the right
            // integrity.
            Some(StunClass::Success | StunClass::Indication) => known,
            None => false,
        }
    }

    fn learn(&mut self, peer: SocketAddr) -> bool {
        let key = key(peer);
        if self.known.contains(&key) {
            return true;
        }
        let room = self.known.len() < MAX_KNOWN_REMOTES;
        if room {
            self.known.push(key);
        }
        room
    }
}

/// What makes two addresses the same: not the scope or flow of IPv6, nor IPv4 in its clothes.
fn key(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
