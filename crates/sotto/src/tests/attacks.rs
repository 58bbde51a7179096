//! What attackers on the network and in the place of the peer try.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::{EndReason, Event, MAX_REMOTE_CANDIDATES, Refusal};
use call_signal::{CallEvent, CallMedia, CallMessage};
use netem::{Access, LinkConfig, Loss, Probability};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::pair::{CALLEE, CALLER, Pair, Side};
use crate::harness::{self, Arrival, DirectWire, Wire};
use crate::transport::RtcConfig;
use crate::transport::forge::{binding_request, fragment, record, role, rtcp, rtp};
use crate::{DroppedDatagrams, MediaStreams};

const HANDSHAKE: u8 = 22;

/// Port of the candidates that are hidden in a description.
const SMUGGLED_PORT: u16 = 7_777;

/// Fragments of a DTLS message that never becomes whole.
const FRAGMENTS: u32 = 40_000;

/// More messages than a handshake has.
const MESSAGES: u32 = 16;

fn wan() -> Access {
    Access::both(LinkConfig::with_delay(Duration::from_millis(10)))
}

fn stranger() -> SocketAddr {
    ([203, 0, 113, 66], 6_666).into()
}

/// A datagram of an attacker reaches `to`, with `from` as its sender.
fn inject(pair: &mut Pair, to: usize, from: SocketAddr, bytes: &[u8]) {
    let (now, local) = (pair.now(), pair.sides[to].address);
    pair.sides[to]
        .engine
        .handle_datagram(now, local, from, bytes);
    pair.settle();
}

fn dropped(pair: &mut Pair, side: usize) -> DroppedDatagrams {
    let now = pair.now();
    let statistics = pair.sides[side].engine.statistics(now).unwrap();
    statistics.transport.dropped
}

fn ring(pair: &mut Pair) {
    pair.place(CALLER, CallMedia::Audio);
    pair.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
}

fn assert_that_speech_arrives(pair: &mut Pair) {
    let heard = pair
        .sides
        .each_ref()
        .map(|side| side.ends.heard.samples().len());
    pair.run_for(Duration::from_secs(2));
    for (side, heard) in pair.sides.iter().zip(heard) {
        let samples = side.ends.heard.samples();
        let loud = samples[heard..]
            .iter()
            .filter(|sample| sample.unsigned_abs() > 1_000)
            .count();
        assert!(loud > 24_000, "{loud} samples are loud");
        assert_eq!(side.ended(), None);
    }
}

/// Long messages, one byte after the other. For each the library would go through all before it,
/// in the message whose turn it is; which that is depends on how far the handshake is.
fn flood(pair: &mut Pair, to: usize, from: SocketAddr) {
    for n in 0..FRAGMENTS {
        let (message, offset) = (n % MESSAGES, n / MESSAGES);
        let body = fragment(1, 32 * 1024, message as u16, offset, 1, b"x");
        inject(pair, to, from, &record(HANDSHAKE, 0, n, &body));
    }
}

#[test]
fn fragments_of_a_stranger_reach_nothing() {
    let mut pair = Pair::on(wan());
    ring(&mut pair);
    pair.accept(CALLEE, CallMedia::Audio);
    pair.run_for(Duration::from_millis(60));
    flood(&mut pair, CALLER, stranger());
    pair.run_until(|pair| pair.sides.iter().all(Side::is_connected));
    flood(&mut pair, CALLEE, stranger());
    assert_eq!(dropped(&mut pair, CALLEE).strangers, u64::from(FRAGMENTS));
    assert_that_speech_arrives(&mut pair);
}

#[test]
fn fragments_from_the_peers_own_address_are_few_and_the_call_goes_on() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    for (victim, peer) in [(CALLER, CALLEE), (CALLEE, CALLER)] {
        let address = pair.sides[peer].address;
        flood(&mut pair, victim, address);
        let dropped = dropped(&mut pair, victim).dtls;
        assert!(dropped > u64::from(FRAGMENTS) - 256, "{dropped} dropped");
    }
    assert_that_speech_arrives(&mut pair);
}

#[test]
fn packets_of_random_streams_reach_nothing() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    let peer = pair.sides[CALLER].address;
    for n in 0..100_000_u32 {
        inject(&mut pair, CALLEE, peer, &rtp(n.wrapping_mul(2_654_435_761)));
    }
    assert_eq!(dropped(&mut pair, CALLEE).media, 100_000);
    for n in 0..1_000 {
        inject(&mut pair, CALLEE, peer, &rtcp(n));
    }
    assert_eq!(dropped(&mut pair, CALLEE).media, 101_000 - 16);
    assert_that_speech_arrives(&mut pair);
}

#[test]
fn role_conflicts_without_the_password_do_not_keep_a_call_from_connecting() {
    let mut pair = Pair::on(wan());
    ring(&mut pair);
    pair.accept(CALLEE, CallMedia::Audio);
    let mut injected = [0_u64; 2];
    while !pair.sides.iter().all(Side::is_connected) {
        pair.run_for(Duration::from_millis(5));
        let addresses = pair.sides.each_ref().map(|side| side.address);
        for victim in [CALLER, CALLEE] {
            for from in [stranger(), addresses[1 - victim]] {
                // A stronger agent that controls: the victim would give control up.
                for password in [None, Some("guessed password 123456")] {
                    let request = binding_request("a:b", password, role(true));
                    inject(&mut pair, victim, from, &request);
                    injected[victim] += 1;
                }
            }
        }
        assert!(injected[0] < 4 * 400, "it takes more than two seconds");
    }
    // Some came before there was a transport.
    assert!(dropped(&mut pair, CALLER).stun > injected[CALLER] / 2);
    assert_that_speech_arrives(&mut pair);
}

thread_local! {
    /// Descriptions that went through the signal channel: of the offer and of the answer.
    static DESCRIPTIONS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn listen(message: &mut CallMessage) {
    let sdp = match &message.event {
        CallEvent::Offer(offer) => &offer.session.description.sdp,
        CallEvent::Answer(answer) => &answer.session.description.sdp,
        _ => return,
    };
    DESCRIPTIONS.with_borrow_mut(|descriptions| descriptions.push(sdp.clone()));
}

/// The attribute of the offer and of the answer.
fn heard(attribute: &str) -> [String; 2] {
    DESCRIPTIONS.with_borrow(|descriptions| {
        [0, 1].map(|n| {
            let value = |line: &str| line.strip_prefix(attribute).map(str::to_owned);
            descriptions[n].lines().find_map(value).unwrap()
        })
    })
}

#[test]
fn a_peer_that_checks_from_thousands_of_addresses_has_few() {
    let mut pair = Pair::on(wan());
    pair.tamper = Some(listen);
    pair.connect(CallMedia::Audio);
    // The side that is called offers.
    let ([ours, theirs], [password, _]) = (heard("a=ice-ufrag:"), heard("a=ice-pwd:"));
    let request = binding_request(&format!("{ours}:{theirs}"), Some(&password), role(true));
    for port in 1_024..6_024 {
        inject(
            &mut pair,
            CALLEE,
            ([203, 0, 113, 66], port).into(),
            &request,
        );
    }
    // One of the places is the peer's own.
    assert_eq!(dropped(&mut pair, CALLEE).stun, 5_000 - 63);
    assert_that_speech_arrives(&mut pair);
}

#[test]
fn an_offer_of_a_data_channel_alone_ends_the_call() {
    for tamper in [
        (|message| only_data(message, "UDP/DTLS/SCTP webrtc-datachannel")) as fn(&mut CallMessage),
        |message| only_data(message, "UDP/TLS/RTP/SAVPF 111"),
    ] {
        let mut pair = Pair::on(wan());
        pair.tamper = Some(tamper);
        ring(&mut pair);
        pair.accept(CALLEE, CallMedia::Audio);
        pair.run_until(|pair| pair.sides.iter().all(|side| side.ended().is_some()));
        let reason = pair.sides[CALLER].ended();
        assert_eq!(reason, Some(EndReason::BadSessionDescription));
    }
}

/// Leaves the head of an offer, and one section in the place of all others.
fn only_data(message: &mut CallMessage, protocol: &str) {
    if let CallEvent::Offer(offer) = &mut message.event {
        let sdp = &mut offer.session.description.sdp;
        let mut sections = sdp.split("m=");
        let (head, first) = (sections.next().unwrap(), sections.next().unwrap());
        let attributes = first.split_once("\r\n").unwrap().1;
        *sdp = format!("{head}m=application 9 {protocol}\r\n{attributes}");
    }
}

#[test]
fn candidates_do_not_hide_behind_white_space() {
    for tamper in [
        (|message| smuggle(message, "a=")) as fn(&mut CallMessage),
        |message| smuggle(message, "a= "),
        |message| smuggle(message, "a=\t"),
        |message| smuggle(message, "a=\u{a0}"),
        |message| smuggle(message, "a=\r"),
        |message| smuggle(message, "a=x\ra="),
    ] {
        let mut pair = watched_call(Watched::default(), Some(tamper));
        pair.run_for(Duration::from_secs(5));
        let smuggled = |to: &&SocketAddr| to.port() == SMUGGLED_PORT;
        let reached = pair.wire.reached.iter().filter(smuggled).count();
        assert!(reached <= MAX_REMOTE_CANDIDATES, "{reached} addresses");
    }
}

#[test]
fn a_handshake_that_never_arrives_is_not_blamed_on_the_srtp_profile() {
    let wire = Watched {
        without_dtls: true,
        ..Watched::default()
    };
    let mut pair = watched_call(wire, None);
    pair.run_until(|pair| {
        let ended = |e: &Event| matches!(e, Event::Ended { .. });
        pair.sides.iter().any(|side| side.has(ended))
    });
    let reason = EndReason::Refused(Refusal::DtlsHandshake);
    let refused = |e: &Event| matches!(e, Event::Ended { reason: r, .. } if *r == reason);
    assert!(pair.sides.iter().any(|side| side.has(refused)));
}

/// A call that has just been accepted.
fn watched_call(wire: Watched, tamper: Option<fn(&mut CallMessage)>) -> harness::Pair<Watched> {
    let sides = [CALLER, CALLEE].map(|index| {
        let address = ([192, 0, 2, 1 + index as u8], 4000).into();
        harness::Side::new(index, RtcConfig::new(false), address, ())
    });
    let mut pair = harness::Pair::new(wire, Duration::ZERO, sides);
    pair.tamper = tamper;
    pair.place_with(CALLER, CallMedia::Audio, silence());
    pair.run_for(Duration::from_millis(1));
    pair.accept_with(CALLEE, CallMedia::Audio, silence());
    pair
}

/// Remembers where datagrams go.
#[derive(Default)]
struct Watched {
    wire: DirectWire,
    reached: HashSet<SocketAddr>,
    /// Loses what DTLS sends.
    without_dtls: bool,
}

impl Wire for Watched {
    fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.reached.insert(to);
        let is_dtls = bytes.first().is_some_and(|first| (20..=63).contains(first));
        if !(self.without_dtls && is_dtls) {
            self.wire.send(now, from, to, bytes);
        }
    }

    fn poll(&mut self, now: Instant) -> Option<Arrival> {
        self.wire.poll(now)
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.wire.next_arrival()
    }
}

fn silence() -> MediaStreams {
    MediaStreams {
        audio_in: None,
        audio_out: None,
        video_in: None,
        video_out: None,
        ..MediaStreams::default()
    }
}

/// Puts 100 addresses into an answer.
fn smuggle(message: &mut CallMessage, start: &str) {
    let CallEvent::Answer(answer) = &mut message.event else {
        return;
    };
    for n in 0..100 {
        let line =
            format!("{start}candidate:1 1 udp 1 198.51.100.{n} {SMUGGLED_PORT} typ host\r\n");
        answer.session.description.sdp.push_str(&line);
    }
}

#[test]
fn a_call_is_set_up_although_a_fifth_of_all_packets_is_lost() {
    let lossy = LinkConfig {
        loss: Loss::Independent(Probability::percent(20.0)),
        ..LinkConfig::with_delay(Duration::from_millis(10))
    };
    let mut pair = Pair::on(Access {
        up: lossy,
        ..Access::default()
    });
    pair.connect(CallMedia::Audio);
    let early = [CALLER, CALLEE].map(|side| dropped(&mut pair, side));
    pair.run_for(Duration::from_secs(10));
    for side in [CALLER, CALLEE] {
        assert_eq!(dropped(&mut pair, side), early[side]);
        assert_eq!(early[side].dtls, 0);
    }
}

#[test]
fn a_peer_without_aes_256_gcm_is_refused_as_soon_as_it_says_so() {
    for (weak, strong) in [(CALLER, CALLEE), (CALLEE, CALLER)] {
        let mut transports = [RtcConfig::new(false); 2];
        transports[weak].srtp_profile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let mut pair = Pair::with(transports, wan());
        ring(&mut pair);
        pair.accept(CALLEE, CallMedia::Audio);
        let accepted = pair.now();
        pair.run_until(|pair| pair.sides[strong].ended().is_some());
        let took = pair.now() - accepted;
        assert!(took < Duration::from_millis(2_500), "{took:?}");
        let reason = pair.sides[strong].ended();
        assert_eq!(reason, Some(EndReason::Refused(Refusal::NoAes256Gcm)));
    }
}
