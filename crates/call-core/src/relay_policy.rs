//! Relay-only calls: no address of the device leaves it.
//!
//! An ICE agent that is told to use relays only may still write its own addresses down: the
//! related address of a relay candidate is the device's address as the TURN server sees it, and
//! `c=`, `o=` and `a=rtcp:` lines may name a default address. Everything that goes out in a
//! relay-only call passes through here, whatever the agent was told.
//!
//! # The related address
//!
//! It becomes `0.0.0.0` or `::` with port 9, as RFC 8839 §5.1 demands of agents that don't want to
//! reveal it. (Browsers write port 0, as early drafts did; nobody connects to either.) It is not
//! left out, because RFC 8839 demands it in relay candidates and Firefox drops those without.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use call_signal::IceCandidate;

use crate::candidate::{
    Candidate, CandidateAddress, CandidateExtension, CandidateKind, CandidateTransport,
    RelatedAddress,
};
use crate::ip_literal::{is_placeholder, placeholder, redact_addresses};
use crate::sdp_lines::lines;

/// Port that stands for no port (RFC 8839 §5.1, RFC 8829 §5.2.1).
const DISCARD_PORT: u16 = 9;

/// Lets a candidate of ours out in a relay-only call, or not.
///
/// UDP candidates of type `relay` with an IP address come back without their related address and
/// with no extensions but `generation` and `ufrag` (others, as `network-cost`, tell which kind of
/// network the device is in). The empty candidate, which marks the end, passes. All else is
/// `None`, also what does not parse.
pub fn filter_candidate(candidate: &IceCandidate) -> Option<IceCandidate> {
    let text = if candidate.candidate.is_empty() {
        String::new()
    } else {
        redacted_relay(&candidate.candidate)?.to_string()
    };
    Some(IceCandidate {
        candidate: text,
        ..candidate.clone()
    })
}

/// Takes the device's addresses out of an SDP of ours before it leaves in a relay-only call.
///
/// - `a=candidate` lines: as [`filter_candidate`]; those that it refuses are dropped, with the end
///   of the line.
/// - `a=remote-candidates`: dropped.
/// - `c=` and `a=rtcp:` get the address `0.0.0.0` or `::`, `o=` gets `127.0.0.1` or `::1`, if theirs
///   is none of these. RFC 8829 §5.2.1 asks for addresses without a meaning; these are the ones
///   that browsers write.
/// - the ports of `m=` and `a=rtcp:` become 9, which goes with an address of no host (RFC 8839
///   §4.2.5, RFC 8829 §5.2.1); port 0, a rejected or bundled section, stays.
/// - in any other line, but `a=fingerprint`, IP addresses become `0.0.0.0` or `::`.
///
/// Lines without an address and all line ends are left byte for byte. A host *name* in a line that
/// is none of the above is not found.
pub fn filter_sdp(sdp: &str) -> String {
    let mut filtered = String::with_capacity(sdp.len());
    for (line, end) in lines(sdp) {
        if let Some(line) = filter_line(line) {
            filtered.push_str(&line);
            filtered.push_str(end);
        }
    }
    filtered
}

fn filter_line(line: &str) -> Option<Cow<'_, str>> {
    if let Some(value) = line.strip_prefix("a=candidate:") {
        return redacted_relay(value).map(|candidate| format!("a={candidate}").into());
    }
    if line.starts_with("a=remote-candidates:") {
        return None;
    }
    if line.starts_with("a=fingerprint:") {
        return Some(line.into());
    }
    let line = if let Some(value) = line.strip_prefix("c=") {
        filter_connection(line, value)
    } else if let Some(value) = line.strip_prefix("o=") {
        filter_origin(line, value)
    } else if let Some(value) = line.strip_prefix("a=rtcp:") {
        filter_rtcp(line, value)
    } else if let Some(value) = line.strip_prefix("m=") {
        filter_media(line, value)
    } else {
        line.into()
    };
    Some(match line {
        Cow::Borrowed(line) => redact_addresses(line),
        Cow::Owned(line) => redact_addresses(&line).into_owned().into(),
    })
}

/// `c=<nettype> <addrtype> <connection-address>` (RFC 8866 §5.7).
fn filter_connection<'a>(line: &'a str, value: &str) -> Cow<'a, str> {
    match *fields(value) {
        ["IN", "IP4" | "IP6", address] if is_placeholder(address) => line.into(),
        ["IN", address_type, _] => format!("c=IN {}", placeholder(address_type, true)).into(),
        _ => format!("c=IN {}", placeholder("IP4", true)).into(),
    }
}

/// `o=<username> <sess-id> <sess-version> <nettype> <addrtype> <address>` (RFC 8866 §5.2).
fn filter_origin<'a>(line: &'a str, value: &str) -> Cow<'a, str> {
    match *fields(value) {
        [_, _, _, "IN", "IP4" | "IP6", address] if is_placeholder(address) => line.into(),
        [user, id, version, _, address_type, _] => format!(
            "o={user} {id} {version} IN {}",
            placeholder(address_type, false)
        )
        .into(),
        _ => format!("o=- 0 0 IN {}", placeholder("IP4", false)).into(),
    }
}

/// `a=rtcp:<port> [<nettype> <addrtype> <address>]` (RFC 3605 §2.1).
fn filter_rtcp<'a>(line: &'a str, value: &str) -> Cow<'a, str> {
    match *fields(value) {
        ["9"] => line.into(),
        ["9", "IN", "IP4" | "IP6", address] if is_placeholder(address) => line.into(),
        [_] => format!("a=rtcp:{DISCARD_PORT}").into(),
        [_, _, address_type, _] => format!(
            "a=rtcp:{DISCARD_PORT} IN {}",
            placeholder(address_type, true)
        )
        .into(),
        _ => format!("a=rtcp:{DISCARD_PORT} IN {}", placeholder("IP4", true)).into(),
    }
}

/// `m=<media> <port> …` (RFC 8866 §5.14).
fn filter_media<'a>(line: &'a str, value: &str) -> Cow<'a, str> {
    let mut parts = value.splitn(3, ' ');
    match (parts.next(), parts.next(), parts.next()) {
        (_, Some("0" | "9"), _) => line.into(),
        (Some(media), Some(_), Some(rest)) => format!("m={media} {DISCARD_PORT} {rest}").into(),
        _ => line.into(),
    }
}

fn fields(value: &str) -> Vec<&str> {
    value.split(' ').collect()
}

fn redacted_relay(text: &str) -> Option<Candidate> {
    let candidate: Candidate = text.parse().ok()?;
    let is_udp_relay = *candidate.kind() == CandidateKind::Relay
        && *candidate.transport() == CandidateTransport::Udp;
    let unspecified: IpAddr = match candidate.address().ip().filter(|_| is_udp_relay)? {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let related = RelatedAddress {
        address: CandidateAddress::Ip(unspecified),
        port: DISCARD_PORT,
    };
    Some(candidate.redacted(related, is_harmless))
}

/// The extensions that ICE restarts need, if their values are what they should be.
fn is_harmless(extension: &CandidateExtension) -> bool {
    let value = extension.value.as_bytes();
    match extension.name.as_str() {
        "generation" => value.iter().all(u8::is_ascii_digit),
        "ufrag" => value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/'),
        _ => false,
    }
}
