//! Two engines, a network between them and a clock of their own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use call_core::Event;
use call_media::video::{VideoFrame, VideoSink, VideoSource};
use call_media::{AudioFrame, AudioSink, AudioSource, MediaError, SourceState};
use call_signal::{CallMedia, CallMessage};
use netem::{Access, Clock, HostId, Network, Place};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::config::Config;
use crate::engine::{Action, Engine};
use crate::media::MediaStreams;
use crate::statistics::Statistics;
use crate::transport::RtcConfig;

/// Delay of the signal channel, one way.
const SIGNAL_DELAY: Duration = Duration::from_millis(50);

/// One side of the call.
pub(super) struct Side {
    pub(super) engine: Engine,
    pub(super) host: HostId,
    address: SocketAddr,
    /// The process is dead.
    gone: bool,
    pub(super) events: Vec<Event>,
    pub(super) heard: Recording,
    pub(super) seen: Seen,
    pub(super) final_statistics: Option<Statistics>,
    open: bool,
    inbox: VecDeque<(Instant, CallMessage, bool)>,
}

/// Two sides and what is between them.
pub(super) struct Pair {
    pub(super) clock: Clock,
    pub(super) network: Network,
    pub(super) sides: [Side; 2],
    /// What an attacker inside the signal channel does to messages.
    pub(super) tamper: Option<fn(&mut CallMessage)>,
}

/// Index of the side that calls in most tests.
pub(super) const CALLER: usize = 0;
/// Index of the other side.
pub(super) const CALLEE: usize = 1;

impl Pair {
    pub(super) fn new(access: Access) -> Self {
        Self::with([RtcConfig::new(false); 2], access)
    }

    pub(super) fn with(transports: [RtcConfig; 2], access: Access) -> Self {
        let mut network = Network::new(7);
        let mut side = |index: usize, port: u16| {
            let address: SocketAddr = ([192, 0, 2, 1 + index as u8], port).into();
            let host = network
                .add_host(Place::Internet, &[address.ip()], access)
                .unwrap();
            let seed = index as u64 * 2;
            Side {
                engine: Engine::new(
                    Config::direct(),
                    transports[index],
                    StdRng::seed_from_u64(seed),
                    StdRng::seed_from_u64(seed + 1),
                ),
                host,
                address,
                gone: false,
                events: Vec::new(),
                heard: Recording::default(),
                seen: Seen::default(),
                final_statistics: None,
                open: false,
                inbox: VecDeque::new(),
            }
        };
        let sides = [side(CALLER, 4000), side(CALLEE, 5000)];
        Self {
            clock: Clock::new(),
            network,
            sides,
            tamper: None,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn place(&mut self, by: usize, media: CallMedia) {
        let (now, streams) = (self.now(), self.sides[by].streams());
        self.sides[by].engine.place(now, media, streams).unwrap();
        self.settle();
    }

    /// Accepts the ringing call on the callee's side.
    pub(super) fn accept(&mut self, by: usize, media: CallMedia) {
        let call_id = self.sides[by]
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Incoming { call_id, .. } => Some(*call_id),
                _ => None,
            })
            .expect("no call rings");
        let (now, streams) = (self.now(), self.sides[by].streams());
        self.sides[by]
            .engine
            .accept(now, call_id, media, streams)
            .unwrap();
        self.settle();
    }

    pub(super) fn hang_up(&mut self, by: usize) {
        let now = self.now();
        let call_id = self.sides[by].current_call().expect("no call");
        self.sides[by].engine.hang_up(now, call_id);
        self.settle();
    }

    /// Places a call, accepts it as soon as it rings, and runs until both are connected.
    pub(super) fn connect(&mut self, media: CallMedia) {
        self.place(CALLER, media);
        self.run_until(|pair| pair.sides[CALLEE].has(|e| matches!(e, Event::Incoming { .. })));
        self.accept(CALLEE, media);
        self.run_until(|pair| pair.sides.iter().all(Side::is_connected));
    }

    /// One side's process dies without a word.
    pub(super) fn vanish(&mut self, side: usize) {
        self.sides[side].gone = true;
        self.sides[side].open = false;
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.step(end) {}
        self.clock.advance_to(end);
    }

    /// Runs until `done`, for at most four minutes of virtual time.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.now() + Duration::from_secs(240);
        while !done(self) {
            assert!(
                self.step(end),
                "it never happened; events: {:?}",
                self.events()
            );
        }
    }

    pub(super) fn events(&self) -> [&[Event]; 2] {
        [&self.sides[0].events, &self.sides[1].events]
    }

    /// Goes to the next thing that happens before `end`; false if there is none.
    fn step(&mut self, end: Instant) -> bool {
        let next = self
            .sides
            .iter_mut()
            .filter_map(Side::next)
            .chain(self.network.next_event());
        let Some(next) = next.min().filter(|at| *at <= end) else {
            return false;
        };
        self.clock.advance_to(next.max(self.now()));
        let now = self.now();
        while let Some(delivery) = self.network.poll(now) {
            let side = self
                .sides
                .iter_mut()
                .find(|side| side.address == delivery.to);
            if let Some(side) = side.filter(|side| side.open) {
                side.engine
                    .handle_datagram(now, delivery.to, delivery.from, &delivery.payload);
            }
        }
        for index in [CALLER, CALLEE] {
            if self.sides[index].gone {
                continue;
            }
            while let Some((_, message, receipt)) =
                self.sides[index].inbox.pop_front_if(|(at, ..)| *at <= now)
            {
                self.sides[index]
                    .engine
                    .handle_message(now, message, SIGNAL_DELAY);
                if receipt {
                    self.sides[1 - index].engine.handle_delivered(now);
                }
            }
            if self.sides[index]
                .engine
                .poll_timeout()
                .is_some_and(|at| at <= now)
            {
                self.sides[index].engine.handle_timeout(now);
            }
        }
        self.settle();
        true
    }

    /// Carries out what the engines ask for.
    fn settle(&mut self) {
        let now = self.now();
        for index in [CALLER, CALLEE] {
            loop {
                while let Some(datagram) = self.sides[index].engine.poll_datagram() {
                    let bytes = datagram.bytes.to_vec();
                    self.network
                        .send(now, datagram.local, datagram.peer, bytes)
                        .unwrap();
                }
                let Some(action) = self.sides[index].engine.poll_action() else {
                    break;
                };
                self.on_action(now, index, action);
            }
        }
    }

    fn on_action(&mut self, now: Instant, index: usize, action: Action) {
        let side = &mut self.sides[index];
        match action {
            Action::Send {
                mut message,
                receipt,
            } => {
                if let Some(tamper) = self.tamper {
                    tamper(&mut message);
                }
                let arrival = now + SIGNAL_DELAY;
                self.sides[1 - index]
                    .inbox
                    .push_back((arrival, message, receipt));
            }
            Action::OpenNetwork { .. } => {
                side.open = true;
                side.engine.handle_network(now, &[side.address], &[]);
            }
            Action::CloseNetwork => side.open = false,
            Action::Event(event) => side.events.push(event),
            Action::Final { statistics, .. } => side.final_statistics = Some(*statistics),
        }
    }
}

impl Side {
    /// When something is due on this side.
    fn next(&mut self) -> Option<Instant> {
        if self.gone {
            return None;
        }
        let signal = self.inbox.front().map(|(at, ..)| *at);
        [self.engine.poll_timeout(), signal]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn has(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(what)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.has(|event| matches!(event, Event::Connected { .. }))
    }

    pub(super) fn ended(&self) -> Option<call_core::EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    fn current_call(&self) -> Option<call_signal::CallId> {
        self.engine.current_call()
    }

    /// Streams of a new call: a tone in, recordings out.
    fn streams(&mut self) -> MediaStreams {
        self.heard = Recording::default();
        self.seen = Seen::default();
        MediaStreams {
            audio_in: Some(Box::new(Tone::default())),
            audio_out: Some(Box::new(self.heard.clone())),
            video_in: Some(Box::new(Pattern::default())),
            video_out: Some(Box::new(self.seen.clone())),
        }
    }
}

/// A speech-like source: a tone whose loudness changes four times a second.
#[derive(Default)]
struct Tone {
    sample: u64,
}

impl AudioSource for Tone {
    fn next_frame(&mut self, frame: &mut AudioFrame) -> Result<SourceState, MediaError> {
        for sample in frame.samples_mut() {
            let t = self.sample as f64 / 48_000.0;
            let loudness = 0.5 + 0.5 * (t * 8.0 * std::f64::consts::PI).sin();
            *sample = (8_000.0 * loudness * (t * 880.0 * std::f64::consts::PI).sin()) as i16;
            self.sample += 1;
        }
        Ok(SourceState::Frame)
    }
}

/// Keeps what was played.
#[derive(Clone, Default)]
pub(super) struct Recording(Arc<Mutex<Vec<i16>>>);

impl Recording {
    pub(super) fn samples(&self) -> Vec<i16> {
        self.0.lock().unwrap().clone()
    }
}

impl AudioSink for Recording {
    fn write(&mut self, frame: &AudioFrame) -> Result<(), MediaError> {
        self.0.lock().unwrap().extend_from_slice(frame.samples());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        Ok(())
    }
}

/// Frames of 4 kB that say which they are; a key frame each second or on request.
#[derive(Default)]
struct Pattern {
    number: u32,
    key_frame_wanted: bool,
}

impl VideoSource for Pattern {
    fn next_frame(&mut self) -> Result<Option<VideoFrame>, MediaError> {
        let key_frame = self.number.is_multiple_of(30) || self.key_frame_wanted;
        self.key_frame_wanted = false;
        let mut data = vec![u8::from(!key_frame); 4_000];
        data[10..14].copy_from_slice(&self.number.to_be_bytes());
        let timestamp = Duration::from_secs(1) * self.number / 30;
        self.number += 1;
        Ok(Some(VideoFrame {
            timestamp,
            key_frame,
            data: data.into(),
        }))
    }

    fn request_key_frame(&mut self) {
        self.key_frame_wanted = true;
    }
}

/// Numbers of the frames that were shown, and whether each was a key frame.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<(u32, bool)>>>);

impl Seen {
    pub(super) fn frames(&self) -> Vec<(u32, bool)> {
        self.0.lock().unwrap().clone()
    }
}

impl VideoSink for Seen {
    fn write(&mut self, frame: &VideoFrame) -> Result<(), MediaError> {
        let number = u32::from_be_bytes(frame.data[10..14].try_into().unwrap());
        self.0.lock().unwrap().push((number, frame.key_frame));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        Ok(())
    }
}
