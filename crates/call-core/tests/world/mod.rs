//! Two machines, a signal channel and a model of the media transport, in virtual time.

use std::time::{Duration, Instant};

use call_core::{CallConfig, CallMachine, EndReason, Event, MediaKey, Output, SdpSide};
use call_signal::{CallId, CallMedia, CallMessage, IceCandidate, SdpKind, SessionDescription};
use netem::{Clock, Link, LinkConfig, Loss, Probability, Reorder};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Silence after which the transport says that the path is down.
const SILENCE: Duration = Duration::from_secs(5);

/// What a user wants, in milliseconds from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intent {
    pub(crate) call_at: Option<u64>,
    /// Accept this long after it began to ring; `None` lets it ring.
    pub(crate) accept_after: Option<u64>,
    pub(crate) decline: bool,
    pub(crate) hang_up_at: Option<u64>,
    pub(crate) media: CallMedia,
}

impl Intent {
    pub(crate) fn call_at(ms: u64) -> Self {
        Self {
            call_at: Some(ms),
            ..Self::accept_after(0)
        }
    }

    pub(crate) fn accept_after(ms: u64) -> Self {
        Self {
            call_at: None,
            accept_after: Some(ms),
            decline: false,
            hang_up_at: None,
            media: CallMedia::Audio,
        }
    }

    pub(crate) fn hang_up_at(self, ms: u64) -> Self {
        Self {
            hang_up_at: Some(ms),
            ..self
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) link: LinkConfig,
    pub(crate) intents: [Intent; 2],
    /// Part of the transports that never connect.
    pub(crate) no_path: bool,
    /// The goodbye of the transport is lost.
    pub(crate) close_lost: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            link: LinkConfig::default(),
            intents: [Intent::call_at(0), Intent::accept_after(0)],
            no_path: false,
            close_lost: false,
        }
    }
}

impl Plan {
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let bad = rng.random_bool(0.7);
        let mut percent = |most: f64| {
            Probability::percent(if bad {
                rng.random_range(0.0..most)
            } else {
                0.0
            })
        };
        let (loss, duplicate, reorder) = (percent(30.0), percent(30.0), percent(30.0));
        let link = LinkConfig {
            loss: Loss::Independent(loss),
            duplicate,
            reorder: Reorder {
                probability: reorder,
                hold: Duration::from_millis(rng.random_range(1..3_000)),
            },
            ..LinkConfig::with_delay(Duration::from_millis(rng.random_range(5..2_000)))
        };
        let intents = [0, 1].map(|side| Intent {
            call_at: (side == 0 || rng.random_bool(0.4)).then(|| rng.random_range(0..4_000)),
            accept_after: rng.random_bool(0.85).then(|| rng.random_range(0..20_000)),
            decline: rng.random_bool(0.1),
            hang_up_at: rng.random_bool(0.6).then(|| rng.random_range(0..60_000)),
            media: if rng.random_bool(0.5) {
                CallMedia::Audio
            } else {
                CallMedia::Video
            },
        });
        let (no_path, close_lost) = (rng.random_bool(0.1), rng.random_bool(0.5));
        Self {
            link,
            intents,
            no_path,
            close_lost,
        }
    }
}

pub(crate) struct Side {
    pub(crate) machine: CallMachine,
    pub(crate) events: Vec<Event>,
    pub(crate) placed: Option<CallId>,
    pub(crate) opened: Option<CallMedia>,
    /// Key of the last call that went live.
    pub(crate) key: Option<MediaKey>,
    intent: Intent,
    rings_since: Option<(CallId, Instant)>,
    transport: Option<Transport>,
}

/// As much of a transport as the machine sees.
struct Transport {
    call_id: CallId,
    gathered: Option<Instant>,
    remote_described: bool,
    remote_candidates: bool,
    connects: Option<Instant>,
    connected: bool,
    /// When this side learns that the peer's transport is closed.
    peer_gone: Option<Instant>,
    /// The peer's transport is closed: no path any more.
    dead: bool,
}

pub(crate) struct World {
    pub(crate) sides: [Side; 2],
    clock: Clock,
    start: Instant,
    links: [Link<(CallMessage, bool)>; 2],
    receipts: [Link<()>; 2],
    rng: StdRng,
    no_path: bool,
    close_lost: bool,
}

impl World {
    pub(crate) fn new(seed: u64, plan: &Plan) -> Self {
        let clock = Clock::new();
        let side = |index: u64| Side {
            machine: CallMachine::new(
                CallConfig {
                    relay_only: false,
                    ..CallConfig::default()
                },
                StdRng::seed_from_u64(seed ^ (index + 1) << 32),
            ),
            events: Vec::new(),
            placed: None,
            opened: None,
            key: None,
            intent: plan.intents[index as usize],
            rings_since: None,
            transport: None,
        };
        Self {
            sides: [side(0), side(1)],
            start: clock.now(),
            clock,
            links: [0, 1].map(|index| Link::new(plan.link, seed * 4 + index)),
            receipts: [2, 3].map(|index| Link::new(plan.link, seed * 4 + index)),
            rng: StdRng::seed_from_u64(seed),
            no_path: plan.no_path,
            close_lost: plan.close_lost,
        }
    }

    /// Runs until nothing is left to happen; panics if that takes longer than `limit` after the
    /// last wish of a user.
    pub(crate) fn run(&mut self, limit: Duration) {
        let last_wish = self
            .sides
            .iter()
            .flat_map(|side| [side.intent.call_at, side.intent.hang_up_at])
            .flatten()
            .max()
            .unwrap_or(0);
        let end = self.start + Duration::from_millis(last_wish) + limit;
        while let Some(next) = self.next() {
            assert!(next <= end, "no rest within {limit:?}");
            self.clock.advance_to(next.max(self.clock.now()));
            let now = self.clock.now();
            for index in [0, 1] {
                self.wishes(now, index);
                self.deliver(now, index);
                self.transport(now, index);
                if self.sides[index]
                    .machine
                    .poll_timeout()
                    .is_some_and(|at| at <= now)
                {
                    self.sides[index].machine.handle_timeout(now);
                }
                self.outputs(now, index);
                self.outputs(now, 1 - index);
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let sides = self.sides.iter().flat_map(|side| {
            let wish = |ms: Option<u64>| ms.map(|ms| self.start + Duration::from_millis(ms));
            let accept = side.rings_since.zip(side.intent.accept_after);
            let transport = side.transport.as_ref().and_then(Transport::next);
            [
                side.machine.poll_timeout(),
                wish(side.intent.call_at),
                wish(side.intent.hang_up_at),
                accept.map(|((_, since), after)| since + Duration::from_millis(after)),
                transport,
            ]
        });
        let links = self.links.iter().map(Link::next_delivery);
        let receipts = self.receipts.iter().map(Link::next_delivery);
        sides.chain(links).chain(receipts).flatten().min()
    }

    fn wishes(&mut self, now: Instant, index: usize) {
        let start = self.start;
        let due = |ms: &mut u64| start + Duration::from_millis(*ms) <= now;
        let side = &mut self.sides[index];
        if side.intent.call_at.take_if(due).is_some() {
            // Refused where a call is going on or rings already.
            side.placed = side
                .machine
                .place(now, side.intent.media)
                .ok()
                .or(side.placed);
        }
        if side.intent.hang_up_at.take_if(due).is_some() {
            side.machine.hang_up();
        }
        let after = side.intent.accept_after.map(Duration::from_millis);
        if let Some((call_id, _)) = side
            .rings_since
            .take_if(|(_, since)| after.is_some_and(|after| *since + after <= now))
        {
            // The call may be gone by now.
            let _ = if side.intent.decline {
                side.machine.decline(call_id)
            } else {
                side.machine.accept(now, call_id, side.intent.media)
            };
        }
    }

    fn deliver(&mut self, now: Instant, index: usize) {
        while let Some((message, receipt)) = self.links[index].poll(now) {
            self.sides[index]
                .machine
                .handle_message(now, message, Duration::ZERO);
            if receipt {
                self.receipts[1 - index].send(now, 100, ());
            }
        }
        while self.receipts[index].poll(now).is_some() {
            self.sides[index].machine.handle_delivered();
        }
    }

    fn transport(&mut self, now: Instant, index: usize) {
        let side = &mut self.sides[index];
        let Some(transport) = &mut side.transport else {
            return;
        };
        if transport.gathered.take_if(|at| *at <= now).is_some() {
            let candidate = IceCandidate {
                candidate: "candidate:1 1 udp 1 192.0.2.1 4000 typ host".into(),
                ..IceCandidate::default()
            };
            side.machine.handle_local_candidates(now, vec![candidate]);
            side.machine.handle_gathering_complete(now);
        }
        if transport.connects.take_if(|at| *at <= now).is_some() && !transport.dead {
            transport.connected = true;
            side.machine.handle_connected();
        }
        if transport.peer_gone.take_if(|at| *at <= now).is_some() {
            if self.close_lost {
                side.machine.handle_interrupted(now);
            } else {
                side.machine.handle_transport_closed();
            }
        }
        self.connect(now);
    }

    /// Both transports connect once each knows the other's description and a candidate is known.
    fn connect(&mut self, now: Instant) {
        let [a, b] = &mut self.sides;
        let (Some(a), Some(b)) = (&mut a.transport, &mut b.transport) else {
            return;
        };
        let described = a.remote_described && b.remote_described;
        let candidates = a.remote_candidates || b.remote_candidates;
        if self.no_path || a.dead || b.dead || a.call_id != b.call_id || !described || !candidates {
            return;
        }
        for transport in [a, b] {
            if !transport.connected && transport.connects.is_none() {
                let delay = Duration::from_millis(self.rng.random_range(10..1_000));
                transport.connects = Some(now + delay);
            }
        }
    }

    fn outputs(&mut self, now: Instant, index: usize) {
        while let Some(output) = self.sides[index].machine.poll_output() {
            let side = &mut self.sides[index];
            match output {
                Output::Send { message, receipt } => {
                    self.links[1 - index].send(now, 500, (message, receipt));
                }
                Output::Open(open) => {
                    let kind = match &open.side {
                        SdpSide::Offer => SdpKind::Offer,
                        SdpSide::Answer(_) => SdpKind::Answer,
                    };
                    side.opened = Some(open.media);
                    side.key = open.frame_key;
                    let delay = Duration::from_millis(self.rng.random_range(0..2_000));
                    side.transport = Some(Transport {
                        call_id: open.call_id,
                        gathered: Some(now + delay),
                        remote_described: kind == SdpKind::Answer,
                        remote_candidates: false,
                        connects: None,
                        connected: false,
                        peer_gone: None,
                        dead: false,
                    });
                    let description = SessionDescription {
                        kind,
                        sdp: String::new(),
                    };
                    side.machine.handle_local_description(now, description);
                }
                Output::ApplyAnswer(_) => {
                    side.transport.as_mut().unwrap().remote_described = true;
                }
                Output::AddCandidates(candidates) => {
                    let transport = side.transport.as_mut().unwrap();
                    assert!(
                        transport.remote_described,
                        "candidates before the description"
                    );
                    transport.remote_candidates |= !candidates.is_empty();
                }
                Output::CloseTransport { call_id } => self.close(now, index, call_id),
                Output::Event(event) => side.on_event(now, event),
            }
        }
        self.connect(now);
    }

    fn close(&mut self, now: Instant, index: usize, call_id: CallId) {
        let closed = self.sides[index].transport.take().expect("closed twice");
        assert_eq!(closed.call_id, call_id);
        let delay = if self.close_lost {
            SILENCE
        } else {
            Duration::from_millis(50)
        };
        if let Some(peer) = &mut self.sides[1 - index].transport
            && peer.call_id == call_id
        {
            peer.dead = true;
            peer.peer_gone = peer.connected.then_some(now + delay);
        }
    }
}

impl Transport {
    fn next(&self) -> Option<Instant> {
        [self.gathered, self.connects, self.peer_gone]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Side {
    pub(crate) fn has(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(what)
    }

    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        if let Event::Incoming { call_id, .. } = event {
            self.rings_since = Some((call_id, now));
        }
        self.events.push(event);
    }
}
