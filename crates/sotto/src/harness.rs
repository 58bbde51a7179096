//! Two engines over a wire, with a clock of their own: what tests and benchmarks drive.
//!
//! Not part of the SDK. It is here so that benchmarks measure the engine without sockets and
//! timers, and it may change with any version.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use call_core::{Event, FrameKind};
use call_media::AUDIO_FRAME_DURATION;
use call_signal::{CallId, CallMedia, CallMessage};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::config::Config;
use crate::engine::{Action, Engine};
use crate::media::MediaStreams;
use crate::pipeline::OutgoingFrame;
use crate::statistics::Statistics;
use crate::transport::{MediaLine, RtcConfig};

/// Index of the side that calls, in most tests.
pub const CALLER: usize = 0;

/// Index of the other side.
pub const CALLEE: usize = 1;

/// Virtual time after which something that was waited for counts as never happening.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is between the two sides.
pub trait Wire {
    /// Takes a datagram.
    fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Bytes);

    /// The next datagram that has arrived.
    fn poll(&mut self, now: Instant) -> Option<Arrival>;

    /// When the next one arrives.
    fn next_arrival(&self) -> Option<Instant>;
}

/// A datagram at its destination.
#[derive(Debug)]
pub struct Arrival {
    /// Where it came from.
    pub from: SocketAddr,
    /// Where it arrived.
    pub to: SocketAddr,
    /// What it says.
    pub bytes: Bytes,
}

/// A perfect network: everything arrives, at once and in order.
#[derive(Debug, Default)]
pub struct DirectWire(VecDeque<(Instant, Arrival)>);

impl Wire for DirectWire {
    fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.0.push_back((now, Arrival { from, to, bytes }));
    }

    fn poll(&mut self, _now: Instant) -> Option<Arrival> {
        self.0.pop_front().map(|(_, arrival)| arrival)
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at)
    }
}

/// Two sides and what is between them.
pub struct Pair<W, E = ()> {
    now: Instant,
    pub(crate) wire: W,
    pub(crate) sides: [Side<E>; 2],
    /// One way.
    signal_delay: Duration,
    /// What an attacker inside the signal channel does to messages.
    pub(crate) tamper: Option<fn(&mut CallMessage)>,
    /// Nothing gets through the signal channel.
    pub(crate) signals_cut: bool,
}

/// One side of the call.
pub struct Side<E> {
    pub(crate) engine: Engine,
    /// What the engine takes media from and gives it to.
    pub ends: E,
    pub(crate) address: SocketAddr,
    /// The process is dead.
    pub(crate) gone: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) final_statistics: Option<Statistics>,
    open: bool,
    inbox: VecDeque<(Instant, CallMessage, bool)>,
}

impl Pair<DirectWire> {
    /// Two sides on a perfect network, with a signal channel that takes no time.
    pub fn direct() -> Self {
        let sides = [CALLER, CALLEE].map(|index| {
            let address = ([192, 0, 2, 1 + index as u8], 4000).into();
            Side::new(index, RtcConfig::new(false), address, ())
        });
        Self::new(DirectWire::default(), Duration::ZERO, sides)
    }

    /// Places an audio call and lets it ring.
    pub fn ring(&mut self, streams: MediaStreams) {
        self.place_with(CALLER, CallMedia::Audio, streams);
        self.run_until(|pair| pair.sides[CALLEE].ringing_call().is_some());
    }

    /// Accepts the call that rings and runs until both sides are connected; returns the virtual
    /// time that this took.
    pub fn accept_and_connect(&mut self, streams: MediaStreams) -> Duration {
        let accepted = self.now;
        self.accept_with(CALLEE, CallMedia::Audio, streams);
        self.run_until(|pair| pair.sides.iter().all(Side::is_connected));
        self.now - accepted
    }

    /// Takes codecs and jitter buffers away: frames come from [`exchange`](Self::exchange), and
    /// those that arrive are decrypted and dropped.
    pub fn remove_codecs(&mut self) {
        for side in &mut self.sides {
            if let Some(session) = side.engine.live_session() {
                session.remove_pipeline();
            }
        }
    }

    /// Sends `payload` as a frame of audio from both sides, and lets the 20 ms pass that it lasts.
    pub fn exchange(&mut self, timestamp: u32, payload: &Bytes) {
        let now = self.now;
        for side in &mut self.sides {
            side.engine.handle_timeout(now);
            if let Some(session) = side.engine.live_session() {
                let frame = OutgoingFrame {
                    line: MediaLine::Microphone,
                    kind: FrameKind::Audio,
                    timestamp,
                    data: payload.clone(),
                };
                session.send_encoded(now, frame);
            }
        }
        self.settle();
        self.run_for(AUDIO_FRAME_DURATION);
    }

    /// Ends the call; returns the figures of both sides, where it got as far as a transport.
    pub fn hang_up(mut self) -> [Option<Statistics>; 2] {
        let engine = &mut self.sides[CALLER].engine;
        if let Some(call) = engine.current_call() {
            engine.hang_up(self.now, call);
        }
        self.settle();
        self.run_for(AUDIO_FRAME_DURATION);
        self.sides.map(|side| side.final_statistics)
    }
}

impl<W: Wire, E> Pair<W, E> {
    pub(crate) fn new(wire: W, signal_delay: Duration, sides: [Side<E>; 2]) -> Self {
        Self {
            now: Instant::now(),
            wire,
            sides,
            signal_delay,
            tamper: None,
            signals_cut: false,
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn place_with(&mut self, by: usize, media: CallMedia, streams: MediaStreams) {
        let placed = self.sides[by].engine.place(self.now, media, streams);
        assert!(placed.is_ok(), "can't place: {placed:?}");
        self.settle();
    }

    /// Accepts the call that rings on this side.
    pub(crate) fn accept_with(&mut self, by: usize, media: CallMedia, streams: MediaStreams) {
        let (now, side) = (self.now, &mut self.sides[by]);
        let accepted = side
            .ringing_call()
            .is_some_and(|call| side.engine.accept(now, call, media, streams).is_ok());
        assert!(accepted, "no call rings");
        self.settle();
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`, for at most four minutes of virtual time.
    pub(crate) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.now + PATIENCE;
        while !done(self) {
            let went_on = self.step(end);
            let events = self.sides.each_ref().map(|side| &side.events);
            assert!(went_on, "it never happened; events: {events:?}");
        }
    }

    /// Goes to the next thing that happens before `end`; false if there is none.
    fn step(&mut self, end: Instant) -> bool {
        let next = self
            .sides
            .iter_mut()
            .filter_map(Side::next)
            .chain(self.wire.next_arrival());
        let Some(next) = next.min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        self.deliver_datagrams();
        for index in [CALLER, CALLEE] {
            if !self.sides[index].gone {
                self.deliver_signals(index);
                self.sides[index].handle_timeout(self.now);
            }
        }
        self.settle();
        true
    }

    fn deliver_datagrams(&mut self) {
        while let Some(Arrival { from, to, bytes }) = self.wire.poll(self.now) {
            let receiver = self.sides.iter_mut().find(|side| side.address == to);
            if let Some(side) = receiver.filter(|side| side.open && !side.gone) {
                side.engine.handle_datagram(self.now, to, from, &bytes);
            }
        }
    }

    fn deliver_signals(&mut self, index: usize) {
        let now = self.now;
        while let Some((_, message, receipt)) =
            self.sides[index].inbox.pop_front_if(|(at, ..)| *at <= now)
        {
            self.sides[index]
                .engine
                .handle_message(now, message, self.signal_delay);
            if receipt {
                self.sides[1 - index].engine.handle_delivered(now);
            }
        }
    }

    /// Carries out what the engines ask for.
    pub(crate) fn settle(&mut self) {
        for index in [CALLER, CALLEE] {
            loop {
                while let Some(datagram) = self.sides[index].engine.poll_datagram() {
                    self.wire
                        .send(self.now, datagram.local, datagram.peer, datagram.bytes);
                }
                let Some(action) = self.sides[index].engine.poll_action() else {
                    break;
                };
                self.on_action(index, action);
            }
        }
    }

    fn on_action(&mut self, index: usize, action: Action) {
        let side = &mut self.sides[index];
        match action {
            Action::Send { .. } if self.signals_cut => {}
            Action::Send {
                mut message,
                receipt,
            } => {
                if let Some(tamper) = self.tamper {
                    tamper(&mut message);
                }
                let arrival = self.now + self.signal_delay;
                self.sides[1 - index]
                    .inbox
                    .push_back((arrival, message, receipt));
            }
            Action::OpenNetwork { .. } => {
                side.open = true;
                side.engine.handle_network(self.now, &[side.address], &[]);
            }
            Action::CloseNetwork => side.open = false,
            Action::Event(event) => side.events.push(event),
            Action::Final { statistics, .. } => side.final_statistics = Some(*statistics),
        }
    }
}

impl<E> Side<E> {
    pub(crate) fn new(index: usize, transport: RtcConfig, address: SocketAddr, ends: E) -> Self {
        let seed = index as u64 * 2;
        Self {
            engine: Engine::new(
                Config::direct(),
                transport,
                StdRng::seed_from_u64(seed),
                StdRng::seed_from_u64(seed + 1),
            ),
            ends,
            address,
            gone: false,
            events: Vec::new(),
            final_statistics: None,
            open: false,
            inbox: VecDeque::new(),
        }
    }

    pub(crate) fn has(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(what)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.has(|event| matches!(event, Event::Connected { .. }))
    }

    fn ringing_call(&self) -> Option<CallId> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Incoming { call_id, .. } => Some(*call_id),
            _ => None,
        })
    }

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

    fn handle_timeout(&mut self, now: Instant) {
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
    }
}
