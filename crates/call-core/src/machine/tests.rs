use std::time::{Duration, Instant};

use call_signal::{
    Answer, CallDhPublicKey, CallVersion, ExtraCandidates, Offer, RtcSession, SdpKind,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

const FRESH: Duration = Duration::ZERO;

fn machine(seed: u64) -> CallMachine {
    let config = CallConfig {
        relay_only: false,
        ..CallConfig::default()
    };
    CallMachine::new(config, StdRng::seed_from_u64(seed))
}

fn outputs(machine: &mut CallMachine) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

fn events(outputs: &[Output]) -> Vec<Event> {
    let event = |output: &Output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    };
    outputs.iter().filter_map(event).collect()
}

fn sent(outputs: &[Output]) -> Vec<CallMessage> {
    let message = |output: &Output| match output {
        Output::Send { message, .. } => Some(message.clone()),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}

fn id(byte: u8) -> CallId {
    CallId([byte; CallId::LEN])
}

fn invitation() -> Invitation {
    let mut rng = StdRng::seed_from_u64(99);
    Invitation {
        call_type: CallType {
            media: CallMedia::Audio,
            encryption: true,
        },
        dh_public_key: Some(CallKeyPair::generate(&mut rng).public_key()),
        versions: CallVersionRange::SUPPORTED,
    }
}

fn invite(call_id: CallId) -> CallMessage {
    CallMessage {
        call_id,
        event: CallEvent::Invitation(invitation()),
    }
}

fn session(kind: SdpKind) -> RtcSession {
    let description = SessionDescription {
        kind,
        sdp: "v=0\r\n".into(),
    };
    RtcSession {
        description,
        candidates: vec![candidate(4000)],
    }
}

fn candidate(port: u16) -> IceCandidate {
    IceCandidate {
        candidate: format!("candidate:1 1 udp 2113937151 192.0.2.9 {port} typ host"),
        ..IceCandidate::default()
    }
}

fn offer(call_id: CallId) -> CallMessage {
    let event = CallEvent::Offer(Offer {
        call_type: CallType {
            media: CallMedia::Audio,
            encryption: true,
        },
        session: session(SdpKind::Offer),
        dh_public_key: invitation().dh_public_key,
        version: CallVersion::V2,
    });
    CallMessage { call_id, event }
}

fn answer(call_id: CallId) -> CallMessage {
    let event = CallEvent::Answer(Answer {
        session: session(SdpKind::Answer),
    });
    CallMessage { call_id, event }
}

fn extra(call_id: CallId, ports: std::ops::Range<u16>) -> CallMessage {
    let candidates = ports.map(candidate).collect();
    CallMessage {
        call_id,
        event: CallEvent::Extra(ExtraCandidates { candidates }),
    }
}

fn end(call_id: CallId) -> CallMessage {
    CallMessage {
        call_id,
        event: CallEvent::End,
    }
}

/// A machine whose call was accepted by this side, with its offer sent.
fn callee(now: Instant) -> CallMachine {
    let mut machine = machine(1);
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.accept(now, id(1), CallMedia::Audio).unwrap();
    describe(&mut machine, now, SdpKind::Offer);
    outputs(&mut machine);
    machine
}

fn describe(machine: &mut CallMachine, now: Instant, kind: SdpKind) {
    machine.handle_local_description(
        now,
        SessionDescription {
            kind,
            sdp: "v=0\r\n".into(),
        },
    );
    machine.handle_local_candidates(now, vec![candidate(5000)]);
    machine.handle_gathering_complete(now);
}

#[test]
fn an_invitation_rings_once_and_a_duplicate_is_dropped() {
    let now = Instant::now();
    let mut machine = machine(1);
    for _ in 0..3 {
        machine.handle_message(now, invite(id(1)), FRESH);
    }
    let media = CallMedia::Audio;
    assert_eq!(
        events(&outputs(&mut machine)),
        [Event::Incoming {
            call_id: id(1),
            media
        }]
    );
}

#[test]
fn an_invitation_is_missed_180_s_after_the_relay_took_it() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.handle_message(now, invite(id(1)), Duration::from_secs(100));
    assert_eq!(machine.poll_timeout(), Some(now + Duration::from_secs(80)));
    machine.handle_timeout(now + Duration::from_secs(80));
    let reason = MissedReason::Expired;
    let missed = Event::Missed {
        call_id: id(1),
        media: CallMedia::Audio,
        reason,
    };
    assert!(events(&outputs(&mut machine)).contains(&missed));
    machine.handle_message(now, invite(id(2)), INVITATION_LIFE);
    let missed = Event::Missed {
        call_id: id(2),
        media: CallMedia::Audio,
        reason,
    };
    assert_eq!(events(&outputs(&mut machine)), [missed]);
}

#[test]
fn a_call_that_is_over_never_rings_again() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.decline(id(1)).unwrap();
    machine.handle_message(now, end(id(2)), FRESH);
    outputs(&mut machine);
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.handle_message(now, invite(id(2)), FRESH);
    assert!(outputs(&mut machine).is_empty());
}

#[test]
fn declining_tells_the_peer_nothing() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.decline(id(1)).unwrap();
    assert!(sent(&outputs(&mut machine)).is_empty());
    assert_eq!(machine.current_call(), None);
}

#[test]
fn a_peer_that_gives_up_cancels_the_ringing() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.handle_message(now, end(id(1)), FRESH);
    let reason = MissedReason::Cancelled;
    let missed = Event::Missed {
        call_id: id(1),
        media: CallMedia::Audio,
        reason,
    };
    assert!(events(&outputs(&mut machine)).contains(&missed));
    assert_eq!(
        machine.accept(now, id(1), CallMedia::Audio),
        Err(NotRinging)
    );
}

#[test]
fn only_the_invitation_asks_for_a_receipt() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.place(now, CallMedia::Audio).unwrap();
    machine.handle_delivered();
    machine.handle_delivered();
    machine.hang_up();
    let outputs = outputs(&mut machine);
    let receipts: Vec<bool> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { receipt, .. } => Some(*receipt),
            _ => None,
        })
        .collect();
    assert_eq!(receipts, [true, false]);
    let ringing = |event: &&Event| matches!(event, Event::Ringing { .. });
    assert_eq!(events(&outputs).iter().filter(ringing).count(), 1);
}

#[test]
fn an_unanswered_call_ends_after_180_s_and_says_so_to_the_peer() {
    let now = Instant::now();
    let mut machine = machine(1);
    let call_id = machine.place(now, CallMedia::Audio).unwrap();
    outputs(&mut machine);
    machine.handle_timeout(now + INVITATION_LIFE);
    let outputs = outputs(&mut machine);
    assert_eq!(sent(&outputs), [end(call_id)]);
    let reason = EndReason::Unanswered;
    assert_eq!(events(&outputs), [Event::Ended { call_id, reason }]);
}

#[test]
fn a_call_that_does_not_connect_ends_30_s_after_acceptance() {
    let now = Instant::now();
    let mut machine = callee(now);
    machine.handle_message(now, answer(id(1)), FRESH);
    outputs(&mut machine);
    assert_eq!(machine.poll_timeout(), Some(now + CONNECT_TIMEOUT));
    machine.handle_timeout(now + CONNECT_TIMEOUT);
    let reason = EndReason::ConnectTimeout;
    assert!(events(&outputs(&mut machine)).contains(&Event::Ended {
        call_id: id(1),
        reason
    }));
}

#[test]
fn the_second_answer_is_dropped() {
    let now = Instant::now();
    let mut machine = callee(now);
    machine.handle_message(now, answer(id(1)), FRESH);
    machine.handle_message(now, answer(id(1)), FRESH);
    let applied = |output: &&Output| matches!(output, Output::ApplyAnswer(_));
    assert_eq!(outputs(&mut machine).iter().filter(applied).count(), 1);
}

#[test]
fn candidates_that_overtake_the_answer_wait_for_it() {
    let now = Instant::now();
    let mut machine = callee(now);
    machine.handle_message(now, extra(id(1), 6000..6003), FRESH);
    assert!(outputs(&mut machine).is_empty());
    machine.handle_message(now, answer(id(1)), FRESH);
    let outputs = outputs(&mut machine);
    assert!(matches!(outputs[0], Output::ApplyAnswer(_)));
    let added: usize = outputs
        .iter()
        .map(|output| match output {
            Output::AddCandidates(candidates) => candidates.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(added, 4);
}

#[test]
fn candidates_that_overtake_the_offer_are_kept_within_bounds() {
    let now = Instant::now();
    let mut machine = machine(1);
    let call_id = machine.place(now, CallMedia::Audio).unwrap();
    for first in 0..50 {
        machine.handle_message(
            now,
            extra(call_id, 1000 * first + 1..1000 * first + 900),
            FRESH,
        );
    }
    machine.handle_message(now, offer(call_id), FRESH);
    let outputs = outputs(&mut machine);
    let added: usize = outputs
        .iter()
        .map(|output| match output {
            Output::AddCandidates(candidates) => candidates.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(added, crate::MAX_REMOTE_CANDIDATES);
}

#[test]
fn events_of_another_call_are_dropped_in_every_state() {
    let now = Instant::now();
    let other = id(200);
    let strangers = || [offer(other), answer(other), extra(other, 1..3), end(other)];
    let mut calling = machine(1);
    calling.place(now, CallMedia::Audio).unwrap();
    let mut ringing = machine(2);
    ringing.handle_message(now, invite(id(1)), FRESH);
    for mut machine in [machine(3), calling, ringing, callee(now)] {
        outputs(&mut machine);
        let before = machine.current_call();
        for stranger in strangers() {
            machine.handle_message(now, stranger, FRESH);
        }
        assert!(outputs(&mut machine).is_empty());
        assert_eq!(machine.current_call(), before);
    }
}

#[test]
fn our_own_invitation_sent_back_to_us_is_dropped() {
    let now = Instant::now();
    let mut machine = machine(1);
    let call_id = machine.place(now, CallMedia::Audio).unwrap();
    outputs(&mut machine);
    machine.handle_message(now, invite(call_id), FRESH);
    assert!(outputs(&mut machine).is_empty());
}

#[test]
fn in_a_glare_the_smaller_id_gives_way_and_the_larger_goes_on() {
    let now = Instant::now();
    let mut machine = machine(1);
    let own = machine.place(now, CallMedia::Video).unwrap();
    outputs(&mut machine);
    machine.handle_message(now, invite(id(0)), FRESH);
    assert!(outputs(&mut machine).is_empty());
    assert_eq!(machine.current_call(), Some(own));
    machine.handle_message(now, invite(id(255)), FRESH);
    let outputs = outputs(&mut machine);
    assert_eq!(sent(&outputs), [end(own)]);
    let superseded = Event::Superseded {
        call_id: own,
        by: id(255),
    };
    assert_eq!(
        events(&outputs),
        [superseded, Event::Connecting { call_id: id(255) }]
    );
    let opened = |output: &Output| {
        matches!(
            output,
            Output::Open(OpenTransport {
                media: CallMedia::Video,
                ..
            })
        )
    };
    assert!(outputs.iter().any(opened));
}

#[test]
fn a_call_while_in_a_call_is_missed_and_the_first_goes_on() {
    let now = Instant::now();
    let mut machine = callee(now);
    machine.handle_message(now, invite(id(2)), FRESH);
    let reason = MissedReason::Busy;
    let missed = Event::Missed {
        call_id: id(2),
        media: CallMedia::Audio,
        reason,
    };
    let outputs = outputs(&mut machine);
    assert_eq!(events(&outputs), [missed]);
    assert!(sent(&outputs).is_empty());
    assert_eq!(machine.current_call(), Some(id(1)));
}

#[test]
fn an_unavailable_user_misses_calls() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.set_available(false);
    machine.handle_message(now, invite(id(1)), FRESH);
    let reason = MissedReason::Busy;
    let missed = Event::Missed {
        call_id: id(1),
        media: CallMedia::Audio,
        reason,
    };
    assert_eq!(events(&outputs(&mut machine)), [missed]);
}

#[test]
fn a_peer_that_calls_again_while_the_path_is_down_rings() {
    let now = Instant::now();
    let mut machine = callee(now);
    machine.handle_message(now, answer(id(1)), FRESH);
    machine.handle_connected();
    machine.handle_interrupted(now);
    outputs(&mut machine);
    machine.handle_message(now, invite(id(2)), FRESH);
    let events = events(&outputs(&mut machine));
    let reason = EndReason::PeerCalledAgain;
    assert_eq!(
        events[0],
        Event::Ended {
            call_id: id(1),
            reason
        }
    );
    assert!(matches!(events[1], Event::Incoming { .. }));
}

#[test]
fn hanging_up_ends_the_call_from_every_state_once() {
    let now = Instant::now();
    let mut calling = machine(1);
    calling.place(now, CallMedia::Audio).unwrap();
    let mut ringing = machine(2);
    ringing.handle_message(now, invite(id(1)), FRESH);
    let mut connected = callee(now);
    connected.handle_message(now, answer(id(1)), FRESH);
    connected.handle_connected();
    for mut machine in [calling, ringing, callee(now), connected] {
        outputs(&mut machine);
        machine.hang_up();
        machine.hang_up();
        let events = events(&outputs(&mut machine));
        assert_eq!(events.len(), 1);
        assert!(matches!(events[0], Event::Ended { .. }));
        assert_eq!(machine.poll_timeout(), None);
    }
}

#[test]
fn a_peer_without_frame_encryption_is_refused() {
    let now = Instant::now();
    let mut callee = machine(1);
    let without = Invitation {
        call_type: CallType {
            media: CallMedia::Audio,
            encryption: false,
        },
        dh_public_key: None,
        ..invitation()
    };
    let event = CallEvent::Invitation(without);
    callee.handle_message(
        now,
        CallMessage {
            call_id: id(1),
            event,
        },
        FRESH,
    );
    let missed = |e: &Event| {
        matches!(
            e,
            Event::Missed {
                reason: MissedReason::NoFrameEncryption,
                ..
            }
        )
    };
    assert!(events(&outputs(&mut callee)).iter().any(missed));

    let mut caller = machine(2);
    let call_id = caller.place(now, CallMedia::Audio).unwrap();
    let mut stripped = offer(call_id);
    if let CallEvent::Offer(offer) = &mut stripped.event {
        offer.dh_public_key = None;
    }
    caller.handle_message(now, stripped, FRESH);
    let reason = EndReason::Refused(Refusal::NoFrameEncryption);
    assert!(events(&outputs(&mut caller)).contains(&Event::Ended { call_id, reason }));
}

#[test]
fn a_version_that_was_not_offered_is_refused() {
    let now = Instant::now();
    let mut machine = machine(1);
    let call_id = machine.place(now, CallMedia::Audio).unwrap();
    let mut wrong = offer(call_id);
    if let CallEvent::Offer(offer) = &mut wrong.event {
        offer.version = CallVersion(3);
    }
    machine.handle_message(now, wrong, FRESH);
    let reason = EndReason::BadVersion;
    assert!(events(&outputs(&mut machine)).contains(&Event::Ended { call_id, reason }));
}

#[test]
fn a_key_that_gives_no_secret_is_refused() {
    let now = Instant::now();
    let mut machine = machine(1);
    let call_id = machine.place(now, CallMedia::Audio).unwrap();
    let mut weak = offer(call_id);
    if let CallEvent::Offer(offer) = &mut weak.event {
        offer.dh_public_key = Some(CallDhPublicKey([0; 32]));
    }
    machine.handle_message(now, weak, FRESH);
    let reason = EndReason::Refused(Refusal::BadKey);
    assert!(events(&outputs(&mut machine)).contains(&Event::Ended { call_id, reason }));
}

#[test]
fn in_relay_only_mode_no_other_address_leaves() {
    let now = Instant::now();
    let mut machine = CallMachine::new(CallConfig::default(), StdRng::seed_from_u64(1));
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.accept(now, id(1), CallMedia::Audio).unwrap();
    let sdp = "v=0\r\no=- 1 2 IN IP4 198.51.100.7\r\nc=IN IP4 198.51.100.7\r\n\
               a=candidate:1 1 udp 1 198.51.100.7 4000 typ host\r\n";
    let description = SessionDescription {
        kind: SdpKind::Offer,
        sdp: sdp.into(),
    };
    machine.handle_local_description(now, description);
    let relay = "candidate:2 1 udp 1 203.0.113.5 50000 typ relay raddr 198.51.100.7 rport 4000";
    let relay = IceCandidate {
        candidate: relay.into(),
        ..IceCandidate::default()
    };
    machine.handle_local_candidates(now, vec![candidate(4000), relay]);
    machine.handle_gathering_complete(now);
    let sent = sent(&outputs(&mut machine));
    let CallEvent::Offer(offer) = &sent[0].event else {
        panic!("no offer")
    };
    assert_eq!(offer.session.candidates.len(), 1);
    let candidate = &offer.session.candidates[0].candidate;
    let text = format!("{} {candidate}", offer.session.description.sdp);
    assert!(
        !text.contains("198.51.100.7") && !text.contains("192.0.2.9"),
        "{text}"
    );
    assert!(text.contains("203.0.113.5"));
}

#[test]
fn a_side_without_any_candidate_ends_the_call_at_once() {
    let now = Instant::now();
    let mut machine = machine(1);
    machine.handle_message(now, invite(id(1)), FRESH);
    machine.accept(now, id(1), CallMedia::Audio).unwrap();
    let description = SessionDescription {
        kind: SdpKind::Offer,
        sdp: "v=0\r\n".into(),
    };
    machine.handle_local_description(now, description);
    machine.handle_gathering_complete(now);
    let reason = EndReason::NoCandidates;
    assert!(events(&outputs(&mut machine)).contains(&Event::Ended {
        call_id: id(1),
        reason
    }));
}

#[test]
fn a_connected_call_outlives_its_signal_channel() {
    let now = Instant::now();
    let mut machine = callee(now);
    machine.handle_message(now, answer(id(1)), FRESH);
    machine.handle_connected();
    machine.handle_channel_closed();
    assert!(machine.is_connected());
    let mut early = callee(now);
    early.handle_channel_closed();
    assert_eq!(early.current_call(), None);
}
