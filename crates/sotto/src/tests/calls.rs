//! What calls do.

use std::time::Duration;

use call_core::{EndReason, Event, Refusal};
use call_signal::{CallDhPublicKey, CallEvent, CallMedia, CallMessage, IceCandidate};
use netem::{Access, Jitter, LinkConfig, Loss, Probability};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::pair::{CALLEE, CALLER, Pair, Pattern, Side, Tone};
use crate::media::Source;
use crate::pipeline::LineChange;
use crate::transport::{MediaLine, RtcConfig, SrtpProfile};

fn wan() -> Access {
    Access::both(LinkConfig::with_delay(Duration::from_millis(10)))
}

#[test]
fn a_call_connects_and_carries_speech_both_ways() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    pair.run_for(Duration::from_secs(2));
    for side in &mut pair.sides {
        let samples = side.ends.heard.samples();
        let loud = samples.iter().filter(|s| s.unsigned_abs() > 1_000).count();
        assert!(
            loud > samples.len() / 4,
            "{loud} of {} samples are loud",
            samples.len()
        );
    }
    pair.hang_up(CALLER);
    pair.run_until(|pair| pair.sides.iter().all(|side| side.ended().is_some()));
    assert_eq!(pair.sides[CALLER].ended(), Some(EndReason::HungUp));
    assert_eq!(pair.sides[CALLEE].ended(), Some(EndReason::PeerHungUp));
    for side in &pair.sides {
        let statistics = side.final_statistics.as_ref().unwrap();
        assert_eq!(
            statistics.transport.srtp_profile,
            Some(SrtpProfile::AeadAes256Gcm)
        );
        assert!(statistics.frames.decrypted > 80, "{statistics:?}");
        assert_eq!(statistics.frames.refused, 0);
    }
}

#[test]
fn a_call_is_set_up_within_a_few_round_trips() {
    let mut pair = Pair::on(wan());
    pair.place(CALLER, CallMedia::Audio);
    pair.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
    let accepted = pair.now();
    pair.accept(CALLEE, CallMedia::Audio);
    pair.run_until(|pair| pair.sides.iter().all(Side::is_connected));
    // Offer and answer take 50 ms each, ICE and DTLS four round trips of 20 ms, and ICE may wait
    // for a tick or two.
    let took = pair.now() - accepted;
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[test]
fn video_survives_loss_by_retransmission_and_key_frames() {
    let lossy = LinkConfig {
        loss: Loss::Independent(Probability::percent(5.0)),
        ..LinkConfig::with_delay(Duration::from_millis(10))
    };
    let mut pair = Pair::on(Access {
        up: lossy,
        ..Access::default()
    });
    pair.connect(CallMedia::Video);
    pair.run_for(Duration::from_secs(10));
    for side in &pair.sides {
        let frames = side.ends.seen.frames();
        assert!(
            frames.len() > 270,
            "{} of 300 frames were shown",
            frames.len()
        );
        assert!(
            frames.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "frames out of order"
        );
        let broken = frames
            .windows(2)
            .filter(|p| p[1].0 != p[0].0 + 1 && !p[1].1)
            .count();
        assert_eq!(broken, 0, "a frame whose reference is missing was shown");
    }
}

#[test]
fn a_muted_source_sends_nothing_and_comes_back() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    pair.run_for(Duration::from_secs(1));
    pair.change(CALLER, MediaLine::Microphone, LineChange::Mute(true));
    pair.run_for(Duration::from_millis(100));
    let before = sent_packets(&mut pair, CALLER);
    pair.run_for(Duration::from_secs(4));
    assert_eq!(sent_packets(&mut pair, CALLER), before);
    pair.change(CALLER, MediaLine::Microphone, LineChange::Mute(false));
    let heard = pair.sides[CALLEE].ends.heard.samples().len();
    pair.run_for(Duration::from_secs(2));
    let samples = pair.sides[CALLEE].ends.heard.samples();
    let loud = samples[heard..]
        .iter()
        .filter(|s| s.unsigned_abs() > 1_000)
        .count();
    assert!(loud > 24_000, "{loud} samples are loud after the mute");
}

fn sent_packets(pair: &mut Pair, side: usize) -> u64 {
    let now = pair.now();
    let statistics = pair.sides[side].engine.statistics(now).unwrap();
    let line = statistics
        .transport
        .lines
        .iter()
        .find(|l| l.line == MediaLine::Microphone);
    line.unwrap().packets_sent
}

#[test]
fn both_calling_at_once_makes_one_call() {
    let mut pair = Pair::on(wan());
    pair.place(CALLER, CallMedia::Audio);
    pair.place(CALLEE, CallMedia::Audio);
    pair.run_until(|pair| pair.sides.iter().all(Side::is_connected));
    pair.run_for(Duration::from_secs(1));
    let ids = pair.sides.each_ref().map(|side| side.engine.current_call());
    assert!(ids[0].is_some());
    assert_eq!(ids[0], ids[1]);
    let superseded = |side: &Side| side.has(|e| matches!(e, Event::Superseded { .. }));
    assert_eq!(pair.sides.iter().filter(|side| superseded(side)).count(), 1);
}

#[test]
fn a_peer_without_aes_256_gcm_is_refused_within_15_s() {
    for (weak, strong) in [(CALLER, CALLEE), (CALLEE, CALLER)] {
        let mut transports = [RtcConfig::new(false); 2];
        transports[weak].srtp_profile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let mut pair = Pair::with(transports, wan());
        pair.place(CALLER, CallMedia::Audio);
        pair.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
        pair.accept(CALLEE, CallMedia::Audio);
        let accepted = pair.now();
        pair.run_until(|pair| pair.sides[strong].ended().is_some());
        assert!(pair.now() - accepted < Duration::from_secs(15));
        let reason = pair.sides[strong].ended();
        assert_eq!(reason, Some(EndReason::Refused(Refusal::NoAes256Gcm)));
        assert!(!pair.sides[strong].is_connected());
        assert!(pair.sides[strong].ends.heard.samples().is_empty());
    }
}

#[test]
fn a_certificate_that_is_not_the_one_in_the_description_is_refused() {
    for victim in [CALLER, CALLEE] {
        let mut pair = Pair::on(wan());
        pair.tamper = Some(if victim == CALLER {
            swap_offer
        } else {
            swap_answer
        });
        pair.place(CALLER, CallMedia::Audio);
        pair.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
        pair.accept(CALLEE, CallMedia::Audio);
        pair.run_until(|pair| pair.sides[victim].ended().is_some());
        let reason = pair.sides[victim].ended();
        assert_eq!(reason, Some(EndReason::Refused(Refusal::Fingerprint)));
        assert!(!pair.sides[victim].is_connected());
    }
}

fn swap_offer(message: &mut CallMessage) {
    if let CallEvent::Offer(offer) = &mut message.event {
        swap_fingerprint(&mut offer.session.description.sdp);
    }
}

fn swap_answer(message: &mut CallMessage) {
    if let CallEvent::Answer(answer) = &mut message.event {
        swap_fingerprint(&mut answer.session.description.sdp);
    }
}

/// Puts another digest in the place of the real one.
fn swap_fingerprint(sdp: &mut String) {
    let lines = sdp
        .split("\r\n")
        .map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(_) => format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":")),
            None => line.to_owned(),
        });
    *sdp = lines.collect::<Vec<_>>().join("\r\n");
}

#[test]
fn a_description_that_is_no_sdp_ends_the_call() {
    let mut pair = Pair::on(wan());
    pair.tamper = Some(|message| {
        if let CallEvent::Offer(offer) = &mut message.event {
            offer.session.description.sdp = "hello".into();
        }
    });
    pair.place(CALLER, CallMedia::Audio);
    pair.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
    pair.accept(CALLEE, CallMedia::Audio);
    pair.run_until(|pair| pair.sides.iter().all(|side| side.ended().is_some()));
    assert_eq!(
        pair.sides[CALLER].ended(),
        Some(EndReason::BadSessionDescription)
    );
    assert_eq!(pair.sides[CALLEE].ended(), Some(EndReason::PeerHungUp));
}

#[test]
fn a_peer_that_vanishes_ends_the_call() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    pair.vanish(CALLEE);
    pair.run_until(|pair| pair.sides[CALLER].ended().is_some());
    assert_eq!(pair.sides[CALLER].ended(), Some(EndReason::Disconnected));
}

#[test]
fn a_short_outage_interrupts_the_call_and_it_goes_on() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    let now = pair.now();
    let outage = Duration::from_secs(12);
    let host = pair.sides[CALLEE].ends.host;
    pair.wire
        .schedule_cut(now, host, now, now + outage)
        .unwrap();
    pair.run_for(outage + Duration::from_secs(5));
    for side in &pair.sides {
        assert!(
            side.has(|e| matches!(e, Event::Interrupted { .. })),
            "{:?}",
            side.events
        );
        assert!(
            side.has(|e| matches!(e, Event::Resumed { .. })),
            "{:?}",
            side.events
        );
        assert_eq!(side.ended(), None);
    }
}

#[test]
fn frames_with_a_flipped_bit_are_dropped_and_the_call_goes_on() {
    let mut pair = Pair::on(wan());
    pair.tamper = Some(|message| {
        // Another key on one side: its frames never open on the other.
        if let CallEvent::Offer(offer) = &mut message.event {
            offer.dh_public_key = Some(CallDhPublicKey([9; 32]));
        }
    });
    pair.connect(CallMedia::Audio);
    pair.run_for(Duration::from_secs(2));
    let now = pair.now();
    for side in &mut pair.sides {
        let statistics = side.engine.statistics(now).unwrap();
        assert!(statistics.frames.refused > 50, "{:?}", statistics.frames);
        assert_eq!(statistics.frames.decrypted, 0);
        assert!(side.ends.heard.samples().iter().all(|sample| *sample == 0));
        assert_eq!(side.ended(), None);
    }
}

#[test]
fn a_flood_of_candidates_does_not_stop_the_call() {
    let mut pair = Pair::on(wan());
    pair.tamper = Some(|message| {
        if let CallEvent::Answer(answer) = &mut message.event {
            let real = std::mem::take(&mut answer.session.candidates);
            let flood = (0..100_000_u32).map(|n| IceCandidate {
                candidate: format!(
                    "candidate:{n} 1 udp 2113937151 198.51.{}.{} {} typ host",
                    n % 200,
                    n % 250,
                    1024 + n % 60_000
                ),
                ..IceCandidate::default()
            });
            answer.session.candidates = real.into_iter().chain(flood).collect();
        }
    });
    pair.connect(CallMedia::Audio);
}

#[test]
fn the_encoder_follows_the_loss_that_the_peer_reports() {
    let lossy = LinkConfig {
        loss: Loss::Independent(Probability::percent(20.0)),
        ..LinkConfig::with_delay(Duration::from_millis(10))
    };
    let mut pair = Pair::on(Access {
        up: lossy,
        ..Access::default()
    });
    pair.connect(CallMedia::Audio);
    pair.run_for(Duration::from_secs(10));
    let now = pair.now();
    for side in &mut pair.sides {
        let statistics = side.engine.statistics(now).unwrap();
        let line = &statistics.transport.lines[0];
        let reported = line.peer_fraction_lost.unwrap();
        assert!((0.05..0.5).contains(&reported), "{reported}");
    }
}

#[test]
fn a_hang_up_reaches_the_peer_by_the_transport_where_signalling_is_cut() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    pair.signals_cut = true;
    let hung_up = pair.now();
    pair.hang_up(CALLER);
    pair.run_until(|pair| pair.sides[CALLEE].ended().is_some());
    assert_eq!(pair.sides[CALLEE].ended(), Some(EndReason::PeerHungUp));
    assert!(pair.now() - hung_up < Duration::from_secs(1));
}

#[test]
fn camera_and_screen_join_and_leave_without_a_new_negotiation() {
    let mut pair = Pair::on(wan());
    pair.connect(CallMedia::Audio);
    pair.change(CALLER, MediaLine::Camera, LineChange::Detach);
    pair.run_for(Duration::from_millis(500));
    let camera = pair.sides[CALLEE].ends.seen.frames().len();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.sides[CALLEE].ends.seen.frames().len(), camera);

    let screen = || LineChange::Attach(Source::Video(Box::new(Pattern::default())));
    let sound = LineChange::Attach(Source::Audio(Box::new(Tone::default())));
    pair.change(CALLER, MediaLine::Screen, screen());
    pair.change(CALLER, MediaLine::ScreenAudio, sound);
    pair.change(CALLER, MediaLine::Camera, screen());
    pair.run_for(Duration::from_secs(2));
    let ends = &pair.sides[CALLEE].ends;
    assert!(ends.screen.frames().len() > 50);
    assert!(ends.seen.frames().len() > camera + 50);
    let heard = ends.screen_sound.samples();
    let loud = heard.iter().filter(|s| s.unsigned_abs() > 1_000).count();
    assert!(loud > 24_000, "{loud} samples of the screen are loud");
    assert!(pair.sides[CALLER].ends.screen.frames().is_empty());
}

#[test]
fn a_lossy_network_delays_the_handshake_but_does_not_end_it() {
    for jitter in [0, 80] {
        let lossy = LinkConfig {
            loss: Loss::Independent(Probability::percent(10.0)),
            jitter: Jitter::Normal {
                deviation: Duration::from_millis(jitter),
            },
            ..LinkConfig::with_delay(Duration::from_millis(10))
        };
        let access = Access {
            up: lossy,
            ..Access::default()
        };
        for seed in 0..60 {
            let mut pair = Pair::seeded(seed, [RtcConfig::new(false); 2], access);
            pair.connect(CallMedia::Audio);
            let ended = pair.sides.each_ref().map(Side::ended);
            assert_eq!(ended, [None, None], "seed {seed}, jitter {jitter} ms");
        }
    }
}
