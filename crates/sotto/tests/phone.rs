//! The SDK as an application uses it: two phones in one process, real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use call_media::{AudioFrame, AudioSink, AudioSource, MediaError, SourceState};
use call_signal::{Incoming, MemoryChannel, SignalChannel as _, memory_pair};
use sotto::{
    Call, CallError, CallEvent, CallMedia, Config, ConfigError, EndReason, Ended, IncomingCall,
    MediaStreams, MissedReason, Phone, PhoneEvent, PlaceError, SrtpProfile,
};

/// Against hanging only; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

fn config() -> Config {
    Config {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        ..Config::direct()
    }
}

fn phones() -> (Phone, Phone) {
    let (a, b) = memory_pair();
    (
        Phone::new(a, config()).unwrap(),
        Phone::new(b, config()).unwrap(),
    )
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it never happened")
}

async fn incoming(phone: &mut Phone) -> IncomingCall {
    match patiently(phone.next_event()).await {
        Some(PhoneEvent::Incoming(call)) => call,
        other => panic!("no incoming call but {other:?}"),
    }
}

async fn wait_for(call: &mut Call, wanted: impl Fn(&CallEvent) -> bool) -> CallEvent {
    loop {
        let event = patiently(call.next_event())
            .await
            .expect("the call is over");
        if wanted(&event) {
            return event;
        }
    }
}

async fn connected(call: &mut Call) {
    let connected = CallEvent::Connected {
        srtp_profile: SrtpProfile::AeadAes256Gcm,
    };
    wait_for(call, |event| *event == connected).await;
}

async fn ended(call: &mut Call) -> Ended {
    match wait_for(call, |event| matches!(event, CallEvent::Ended(_))).await {
        CallEvent::Ended(ended) => ended,
        _ => unreachable!(),
    }
}

/// A square wave.
struct Buzz;

impl AudioSource for Buzz {
    fn next_frame(&mut self, frame: &mut AudioFrame) -> Result<SourceState, MediaError> {
        for (index, sample) in frame.samples_mut().iter_mut().enumerate() {
            *sample = if index % 100 < 50 { 6_000 } else { -6_000 };
        }
        Ok(SourceState::Frame)
    }
}

/// Counts loud frames, and tells the moment of the tenth.
struct Ear {
    loud: Arc<AtomicUsize>,
    tenth: Option<tokio::sync::oneshot::Sender<()>>,
}

impl AudioSink for Ear {
    fn write(&mut self, frame: &AudioFrame) -> Result<(), MediaError> {
        if frame.level().rms_dbfs > -30.0 && self.loud.fetch_add(1, Ordering::Relaxed) == 9 {
            let _ = self.tenth.take().map(|tenth| tenth.send(()));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        Ok(())
    }
}

fn buzzing() -> MediaStreams {
    MediaStreams {
        audio_in: Some(Box::new(Buzz)),
        ..MediaStreams::default()
    }
}

#[tokio::test]
async fn two_phones_talk_and_hang_up() {
    let (caller, mut callee) = phones();
    let mut outgoing = caller.place(CallMedia::Audio, buzzing()).await.unwrap();
    let ringing = incoming(&mut callee).await;
    assert_eq!(ringing.media(), CallMedia::Audio);
    let (tenth, heard) = tokio::sync::oneshot::channel();
    let ear = Ear {
        loud: Arc::default(),
        tenth: Some(tenth),
    };
    let streams = MediaStreams {
        audio_out: Some(Box::new(ear)),
        ..MediaStreams::default()
    };
    let mut answered = ringing.accept(CallMedia::Audio, streams).await.unwrap();
    connected(&mut outgoing).await;
    connected(&mut answered).await;
    patiently(heard).await.unwrap();
    let statistics = patiently(outgoing.statistics()).await.unwrap();
    assert_eq!(
        statistics.transport.local_candidate_type.as_deref(),
        Some("host")
    );
    assert!(statistics.frames.encrypted >= 10);
    outgoing.hang_up();
    assert_eq!(ended(&mut outgoing).await.reason, EndReason::HungUp);
    let ended = ended(&mut answered).await;
    assert_eq!(ended.reason, EndReason::PeerHungUp);
    let statistics = ended.statistics.unwrap();
    assert_eq!(statistics.frames.refused, 0);
    assert!(statistics.accept_to_audio.is_some());
    assert_eq!(
        statistics.transport.srtp_profile,
        Some(SrtpProfile::AeadAes256Gcm)
    );
}

#[tokio::test]
async fn the_caller_hears_that_it_rings_and_may_give_up() {
    let (caller, mut callee) = phones();
    let mut outgoing = caller
        .place(CallMedia::Video, MediaStreams::default())
        .await
        .unwrap();
    let mut ringing = incoming(&mut callee).await;
    wait_for(&mut outgoing, |event| *event == CallEvent::Ringing).await;
    outgoing.hang_up();
    assert_eq!(
        patiently(ringing.cancelled()).await,
        MissedReason::Cancelled
    );
    let answer = ringing
        .accept(CallMedia::Audio, MediaStreams::default())
        .await;
    assert_eq!(answer.unwrap_err(), CallError::Over);
}

#[tokio::test]
async fn a_declined_call_can_be_placed_again() {
    let (caller, mut callee) = phones();
    let outgoing = caller
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    incoming(&mut callee).await.decline();
    let busy = caller
        .place(CallMedia::Audio, MediaStreams::default())
        .await;
    assert_eq!(busy.unwrap_err(), CallError::Place(PlaceError::InCall));
    drop(outgoing);
    let _again = caller
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    incoming(&mut callee).await;
}

#[tokio::test]
async fn dropping_a_call_hangs_up() {
    let (caller, mut callee) = phones();
    let mut outgoing = caller
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    let ringing = incoming(&mut callee).await;
    let mut answered = ringing
        .accept(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    connected(&mut outgoing).await;
    connected(&mut answered).await;
    drop(outgoing);
    assert_eq!(ended(&mut answered).await.reason, EndReason::PeerHungUp);
}

#[tokio::test]
async fn dropping_the_phone_and_its_calls_tells_the_peer() {
    let (caller, mut callee) = phones();
    let mut outgoing = caller
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    let ringing = incoming(&mut callee).await;
    let mut answered = ringing
        .accept(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    connected(&mut outgoing).await;
    connected(&mut answered).await;
    drop((outgoing, caller));
    assert_eq!(ended(&mut answered).await.reason, EndReason::PeerHungUp);
    let closed = patiently(callee.next_event()).await;
    assert!(
        matches!(closed, Some(PhoneEvent::ChannelClosed)),
        "{closed:?}"
    );
}

#[tokio::test]
async fn calling_each_other_at_once_makes_one_call_on_the_handles_of_both() {
    let (mut a, mut b) = phones();
    let (from_a, from_b) = tokio::join!(
        a.place(CallMedia::Audio, buzzing()),
        b.place(CallMedia::Audio, buzzing())
    );
    let (mut from_a, mut from_b) = (from_a.unwrap(), from_b.unwrap());
    tokio::select! {
        () = async { tokio::join!(connected(&mut from_a), connected(&mut from_b)); } => {}
        event = a.next_event() => panic!("a rang: {event:?}"),
        event = b.next_event() => panic!("b rang: {event:?}"),
    }
    from_a.hang_up();
    assert_eq!(ended(&mut from_b).await.reason, EndReason::PeerHungUp);
}

#[tokio::test]
async fn a_closed_channel_ends_a_call_that_is_not_connected() {
    let (near, mut far): (MemoryChannel, MemoryChannel) = memory_pair();
    let mut phone = Phone::new(near, config()).unwrap();
    let mut call = phone
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    far.close().await.unwrap();
    assert_eq!(ended(&mut call).await.reason, EndReason::ChannelClosed);
    let event = patiently(phone.next_event()).await;
    assert!(matches!(event, Some(PhoneEvent::ChannelClosed)));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_calls_go_on() {
    let (near, mut far) = memory_pair();
    let mut phone = Phone::new(near, config()).unwrap();
    far.send_body(br#"{"event":"x.call.inv","params":{"callId":"short"}}"#.to_vec())
        .await
        .unwrap();
    let event = patiently(phone.next_event()).await;
    assert!(matches!(&event, Some(PhoneEvent::BadMessage(text)) if text.contains("callId")));
    let caller = Phone::new(far, config()).unwrap();
    let _call = caller
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    incoming(&mut phone).await;
}

#[tokio::test]
async fn relay_only_calls_without_a_relay_are_refused_at_once() {
    let (near, _far) = memory_pair();
    let error = Phone::new(near, Config::default()).unwrap_err();
    assert_eq!(error, ConfigError::NoRelay);
}

#[tokio::test]
async fn the_late_answer_to_a_cancelled_call_leaves_the_live_call_alone() {
    let (mut near, mut far) = phones();
    let first = near.place(CallMedia::Audio, buzzing()).await.unwrap();
    let mut cancelled = incoming(&mut far).await;
    drop(first);
    patiently(cancelled.cancelled()).await;
    let mut outgoing = far.place(CallMedia::Audio, buzzing()).await.unwrap();
    let streams = MediaStreams::default();
    let mut answered = incoming(&mut near)
        .await
        .accept(CallMedia::Audio, streams)
        .await
        .unwrap();
    connected(&mut outgoing).await;
    connected(&mut answered).await;
    let late = cancelled
        .accept(CallMedia::Audio, MediaStreams::default())
        .await;
    assert_eq!(late.unwrap_err(), CallError::Over);
    outgoing.hang_up();
    assert_eq!(ended(&mut outgoing).await.reason, EndReason::HungUp);
    assert_eq!(ended(&mut answered).await.reason, EndReason::PeerHungUp);
}

#[tokio::test]
async fn dropping_a_call_that_was_replaced_leaves_its_successor_ringing() {
    let (near, mut far) = phones();
    let first = near
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    let mut replaced = incoming(&mut far).await;
    drop(first);
    let _second = near.place(CallMedia::Audio, buzzing()).await.unwrap();
    patiently(replaced.cancelled()).await;
    let mut successor = loop {
        match patiently(far.next_event()).await {
            Some(PhoneEvent::Incoming(call)) => break call,
            Some(PhoneEvent::Missed { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    drop(replaced);
    let answered = tokio::select! {
        biased;
        reason = successor.cancelled() => panic!("cancelled: {reason:?}"),
        // Goes through the same queue as the drop above, hence after it.
        busy = far.place(CallMedia::Audio, MediaStreams::default()) => busy,
    };
    assert_eq!(answered.unwrap_err(), CallError::Place(PlaceError::Ringing));
    successor
        .accept(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_phone_that_is_closed_in_a_hurry_still_says_goodbye() {
    let (near, mut far) = memory_pair();
    let phone = Phone::new(near, config()).unwrap();
    let call = phone
        .place(CallMedia::Audio, MediaStreams::default())
        .await
        .unwrap();
    drop(call);
    patiently(phone.close()).await;
    let mut names = Vec::new();
    loop {
        match patiently(far.receive()).await.unwrap() {
            Incoming::Message(received) => names.push(received.message.name().to_owned()),
            Incoming::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names, ["x.call.inv", "x.call.end"]);
}

#[tokio::test]
async fn servers_that_would_need_tcp_or_tls_are_refused_and_never_asked_over_udp() {
    let lines = [
        "turns:u:p@127.0.0.1",
        "turn:u:p@127.0.0.1?transport=tcp",
        "stuns:127.0.0.1",
    ];
    for line in lines {
        let (near, _far) = memory_pair();
        let config = Config {
            ice_servers: vec![line.parse().unwrap()],
            ..config()
        };
        assert_eq!(
            Phone::new(near, config).unwrap_err(),
            ConfigError::NotOverUdp,
            "{line}"
        );
    }
}
