//! Which of the peer's candidates reach the ICE agent.

use std::collections::HashSet;
use std::net::IpAddr;

use call_signal::IceCandidate;

use crate::candidate::{
    Candidate, CandidateAddress, CandidateError, CandidateKind, CandidateTransport,
};
use crate::sdp::MAX_MID_LEN;
use crate::sdp_lines::lines;

/// Most candidates taken from a peer between two ICE restarts. Devices have some ten; each one
/// taken makes the agent send packets to an address of the peer's choosing.
pub const MAX_REMOTE_CANDIDATES: usize = 24;

/// Longest ICE user name fragment (RFC 8839 §5.4).
const MAX_UFRAG_LEN: usize = 256;

/// The only component: RTCP goes with RTP (RFC 8834 §4.5).
const RTP_COMPONENT: u16 = 1;

/// A filter for one peer's candidates, with the memory that it needs and no more: at most
/// [`MAX_REMOTE_CANDIDATES`] addresses.
///
/// A transport address counts once, whatever m-line it is for, because all media share one
/// transport (BUNDLE, RFC 9143). Addresses of private networks and of the device itself pass: the
/// peer may be on the same network. In a relay-only call the agent must have no local candidate
/// other than relays; then it reaches none of these addresses, and resolves no mDNS name.
#[derive(Debug, Default)]
pub struct RemoteCandidates {
    seen: HashSet<(CandidateAddress, u16)>,
    ended: bool,
    refused: u64,
}

impl RemoteCandidates {
    /// A filter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one candidate and returns it in canonical form (see [`Candidate`]), for the ICE agent.
    /// The empty candidate, which marks the end, is taken once.
    ///
    /// # Errors
    ///
    /// [`CandidateRefusal`]. A refused candidate is dropped, and the call goes on.
    pub fn take(&mut self, candidate: &IceCandidate) -> Result<IceCandidate, CandidateRefusal> {
        let taken = self.check(candidate);
        self.refused += u64::from(taken.is_err());
        taken
    }

    /// Drops the `a=candidate` lines of the peer's SDP that [`RemoteCandidates::take`] refuses and
    /// writes the others in canonical form; for agents that read candidates out of it. All else is
    /// left byte for byte. White space around the value, which agents trim, does not hide one.
    pub fn filter_sdp(&mut self, sdp: &str) -> String {
        let mut filtered = String::with_capacity(sdp.len());
        for (line, end) in lines(sdp) {
            match candidate_value(line) {
                CandidateLine::No => filtered.push_str(line),
                CandidateLine::Yes(value) => {
                    let Some(candidate) = self.take_value(value) else {
                        continue;
                    };
                    filtered.push_str("a=");
                    filtered.push_str(&candidate);
                }
                CandidateLine::Bare => {
                    self.refused += 1;
                    continue;
                }
            }
            filtered.push_str(end);
        }
        filtered
    }

    fn take_value(&mut self, value: &str) -> Option<String> {
        // With the prefix, an empty value is malformed and not the end of candidates.
        let candidate = format!("candidate:{value}");
        let taken = self.take(&IceCandidate {
            candidate,
            ..IceCandidate::default()
        });
        taken.ok().map(|taken| taken.candidate)
    }

    /// Forgets what was seen, for the candidates of an ICE restart.
    pub fn restart(&mut self) {
        self.seen.clear();
        self.ended = false;
    }

    /// Candidates taken since the last restart.
    pub fn taken(&self) -> usize {
        self.seen.len()
    }

    /// Candidates refused in the whole call.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn check(&mut self, candidate: &IceCandidate) -> Result<IceCandidate, CandidateRefusal> {
        if longer(&candidate.sdp_mid, MAX_MID_LEN)
            || longer(&candidate.username_fragment, MAX_UFRAG_LEN)
        {
            return Err(CandidateRefusal::TooLong);
        }
        if candidate.candidate.is_empty() {
            let repeated = std::mem::replace(&mut self.ended, true);
            return if repeated {
                Err(CandidateRefusal::Duplicate)
            } else {
                Ok(candidate.clone())
            };
        }
        if self.seen.len() >= MAX_REMOTE_CANDIDATES {
            return Err(CandidateRefusal::TooMany);
        }
        let parsed: Candidate = candidate.candidate.parse()?;
        check_usable(&parsed)?;
        if !self.seen.insert((parsed.address().clone(), parsed.port())) {
            return Err(CandidateRefusal::Duplicate);
        }
        Ok(IceCandidate {
            candidate: parsed.to_string(),
            ..candidate.clone()
        })
    }
}

/// What a line of an SDP has to do with candidates.
enum CandidateLine<'a> {
    No,
    /// The value of `a=candidate:`.
    Yes(&'a str),
    /// A candidate without `a=`. Behind a lone carriage return some agents take it for the value
    /// of the line before.
    Bare,
}

fn candidate_value(line: &str) -> CandidateLine<'_> {
    const NAME: &str = "candidate:";
    if line.trim_start().starts_with(NAME) {
        return CandidateLine::Bare;
    }
    let value = line.strip_prefix("a=").map(str::trim);
    match value.and_then(|value| value.strip_prefix(NAME)) {
        Some(value) => CandidateLine::Yes(value),
        None => CandidateLine::No,
    }
}

fn longer(text: &Option<String>, limit: usize) -> bool {
    text.as_ref().is_some_and(|text| text.len() > limit)
}

fn check_usable(candidate: &Candidate) -> Result<(), CandidateRefusal> {
    if *candidate.transport() != CandidateTransport::Udp {
        return Err(CandidateRefusal::Transport);
    }
    if candidate.component() != RTP_COMPONENT {
        return Err(CandidateRefusal::Component);
    }
    if matches!(candidate.kind(), CandidateKind::Other(_)) {
        return Err(CandidateRefusal::Kind);
    }
    if candidate.port() == 0 || candidate.address().ip().is_some_and(is_no_host) {
        return Err(CandidateRefusal::Address);
    }
    Ok(())
}

/// Addresses that are not of one host. Looks through IPv4-mapped ones.
fn is_no_host(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    broadcast || address.is_unspecified() || address.is_multicast()
}

/// Why a candidate of the peer is not used. All are the peer's doing; most are what honest peers
/// send too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateRefusal {
    /// [`MAX_REMOTE_CANDIDATES`] were taken already.
    #[error("the peer has sent more than {MAX_REMOTE_CANDIDATES} candidates")]
    TooMany,
    /// The media identification or the user name fragment is too long.
    #[error("the candidate's mid or user name fragment is too long")]
    TooLong,
    /// Not a candidate.
    #[error(transparent)]
    Malformed(#[from] CandidateError),
    /// Not UDP. TCP candidates (RFC 6544) are not supported.
    #[error("the candidate is not for UDP")]
    Transport,
    /// Not component 1: RTCP is multiplexed with RTP.
    #[error("the candidate is not for component 1")]
    Component,
    /// A candidate type that ICE does not know, to be ignored (RFC 8839 §5.1).
    #[error("the candidate is of an unknown type")]
    Kind,
    /// Port 0, or an unspecified, multicast or broadcast address.
    #[error("the candidate's address is not that of a host")]
    Address,
    /// The same transport address, or a second end of candidates.
    #[error("the candidate was sent before")]
    Duplicate,
}
