//! The transport without a call around it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use call_core::{OpenTransport, SdpSide};
use call_signal::{CallId, CallMedia, IceCandidate, SessionDescription};
use rtc::sansio::Protocol as _;

use super::{RtcConfig, RtcTransport};
use crate::transport::{LocalCandidate, Transport as _};

fn transport(now: Instant) -> RtcTransport {
    RtcTransport::new(now, RtcConfig::new(false)).unwrap()
}

fn open(side: SdpSide) -> OpenTransport {
    OpenTransport {
        call_id: CallId([1; 16]),
        media: CallMedia::Audio,
        side,
        frame_key: None,
    }
}

/// A transport that offers and an answer to it, with `locals` addresses on the offering side.
fn pair(now: Instant, locals: u16) -> (RtcTransport, SessionDescription) {
    let (mut offering, mut answering) = (transport(now), transport(now));
    let offer = offering.describe(now, &open(SdpSide::Offer)).unwrap();
    let answer = answering
        .describe(now, &open(SdpSide::Answer(offer)))
        .unwrap();
    for port in 0..locals {
        let address: SocketAddr = ([192, 0, 2, 1], 4_000 + port).into();
        offering
            .add_local_candidate(LocalCandidate::Host(address))
            .unwrap();
    }
    (offering, answer)
}

fn add_remotes(transport: &mut RtcTransport, count: u16) {
    for n in 0..count {
        transport.add_remote_candidate(&IceCandidate {
            candidate: format!("candidate:{n} 1 udp 1 198.51.100.{n} 9 typ host"),
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
            ..IceCandidate::default()
        });
    }
}

/// How often the ICE agent does its work in a second without an answer from anyone.
fn ticks(transport: &mut RtcTransport, start: Instant) -> usize {
    let (end, mut ticks) = (start + Duration::from_secs(1), 0);
    let mut now = start;
    while now < end {
        let due = transport.pc.poll_timeout().is_some_and(|at| at <= now);
        ticks += usize::from(due && transport.next_tick <= now);
        transport.handle_timeout(now);
        while transport.poll_datagram(now).is_some() {}
        let next = transport.poll_timeout().unwrap_or(end);
        now = next.max(now + Duration::from_millis(1));
    }
    ticks
}

#[test]
fn many_pairs_of_candidates_are_checked_at_a_slower_pace() {
    let now = Instant::now();
    let counted = |locals, remotes| {
        let (mut offering, answer) = pair(now, locals);
        offering.apply_answer(now, &answer).unwrap();
        add_remotes(&mut offering, remotes);
        ticks(&mut offering, now)
    };
    let (few, many) = (counted(2, 2), counted(8, 24));
    assert!((40..=60).contains(&few), "{few} ticks with four pairs");
    assert!(many <= 2, "{many} ticks with 192 pairs");
}
