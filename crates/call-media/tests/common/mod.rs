//! A call in virtual time: a sender, a network, a jitter buffer that is pulled each 20 ms.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use call_media::jitter::{JitterBuffer, JitterConfig, JitterPacket, JitterStats, Playout};
use netem::{Clock, Link, LinkConfig};

/// Nominal time between two packets and two pulls.
const FRAME: Duration = Duration::from_millis(20);

/// What is to happen in a call; fields that are not of interest come from `default`.
pub(crate) struct Scenario {
    pub(crate) link: LinkConfig,
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    /// By how much the sender's clock is faster than the receiver's, in parts per million.
    pub(crate) sender_ppm: f64,
    /// Whether packets carry redundancy.
    pub(crate) fec: bool,
    /// Whether the sender does not send a frame, though its media time goes on.
    pub(crate) silent: fn(u32) -> bool,
    /// Times of arrival in which everything is held up until the end of the range.
    pub(crate) stalls: Vec<Range<Duration>>,
    /// Another link from some time on.
    pub(crate) handover: Option<(Duration, LinkConfig)>,
    /// Whether the sound is quiet at a pull.
    pub(crate) quiet: fn(usize) -> bool,
    pub(crate) first_seq: u16,
    pub(crate) first_timestamp: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            link: LinkConfig::with_delay(Duration::from_millis(50)),
            seed: 1,
            length: Duration::from_secs(60),
            sender_ppm: 0.0,
            fec: true,
            silent: |_| false,
            stalls: Vec::new(),
            handover: None,
            // Speech with pauses: 0.4 s in each 2 s.
            quiet: |pull| pull % 100 >= 80,
            first_seq: 65_000,
            first_timestamp: u32::MAX - 960 * 500,
        }
    }
}

/// What was heard at a pull. Packets are known by the number of their frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Packet(u32),
    Merge(u32, u32),
    /// The lost one in front of this packet.
    Fec(u32),
    Conceal,
    Pause,
    NotStarted,
}

/// The state after a pull.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) heard: Heard,
    pub(crate) stats: JitterStats,
}

/// A call that is over.
pub(crate) struct Trace {
    pub(crate) moments: Vec<Moment>,
    pub(crate) sent: u32,
}

impl Trace {
    pub(crate) fn stats(&self) -> JitterStats {
        self.moments.last().unwrap().stats
    }

    /// Numbers of the frames whose packets were heard, in the order of hearing.
    pub(crate) fn packets(&self) -> Vec<u32> {
        self.moments
            .iter()
            .flat_map(|moment| match moment.heard {
                Heard::Packet(one) => vec![one],
                Heard::Merge(one, other) => vec![one, other],
                _ => vec![],
            })
            .collect()
    }

    pub(crate) fn count(&self, of: impl Fn(Heard) -> bool) -> usize {
        self.moments
            .iter()
            .filter(|moment| of(moment.heard))
            .count()
    }

    /// Least, mean and greatest delay in ms from a time on.
    pub(crate) fn delays(&self, from: Duration) -> (f32, f32, f32) {
        let delays: Vec<f32> = self
            .since(from)
            .iter()
            .map(|moment| moment.stats.delay_ms)
            .collect();
        (
            delays.iter().copied().fold(f32::INFINITY, f32::min),
            delays.iter().sum::<f32>() / delays.len() as f32,
            delays.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        )
    }

    pub(crate) fn since(&self, from: Duration) -> &[Moment] {
        &self.moments[(from.as_millis() / 20) as usize..]
    }
}

/// Plays a scenario.
pub(crate) fn play(scenario: &Scenario) -> Trace {
    let mut clock = Clock::new();
    let start = clock.now();
    let mut link = Link::new(scenario.link, scenario.seed);
    let mut buffer = JitterBuffer::new(JitterConfig::default());
    let mut held = BTreeMap::new();
    let mut moments = Vec::new();
    let mut sent = 0;
    let period = FRAME.div_f64(1.0 + scenario.sender_ppm / 1e6);
    let (mut next_send, mut frame) = (start, 0_u32);
    // The pull is out of phase with the sender.
    let mut next_pull = start + Duration::from_millis(7);
    let mut handover = scenario.handover;
    while next_pull - start < scenario.length {
        let arrival = link.next_delivery().map(|at| hold(scenario, at - start));
        let held_until = held.keys().next().map(|&(at, _)| at);
        let next_arrival = [arrival, held_until].into_iter().flatten().min();
        let next = [
            Some(next_send - start),
            Some(next_pull - start),
            next_arrival,
        ];
        let now = start + next.into_iter().flatten().min().unwrap();
        clock.advance_to(now.max(link.next_delivery().map_or(now, |at| at.min(now))));
        while let Some(packet) = link.poll(clock.now()) {
            let number = held.len();
            held.insert((hold(scenario, clock.elapsed()), number), packet);
        }
        while let Some(entry) = held.first_entry() {
            if entry.key().0 > clock.elapsed() {
                break;
            }
            buffer.insert(clock.now(), entry.remove());
        }
        if clock.now() >= next_send {
            if !(scenario.silent)(frame) {
                link.send(clock.now(), 120, packet(scenario, sent, frame));
                sent += 1;
            }
            frame += 1;
            next_send = start + period.mul_f64(f64::from(frame));
        }
        if clock.now() >= next_pull {
            buffer.set_quiet((scenario.quiet)(moments.len()));
            let heard = hear(buffer.pull(clock.now()));
            let stats = buffer.stats();
            moments.push(Moment { heard, stats });
            next_pull += FRAME;
        }
        if let Some((_, config)) = handover.take_if(|(at, _)| clock.elapsed() >= *at) {
            link.reconfigure(config);
        }
    }
    Trace { moments, sent }
}

/// When a packet that arrives at `at` gets through.
fn hold(scenario: &Scenario, at: Duration) -> Duration {
    let stall = scenario.stalls.iter().find(|stall| stall.contains(&at));
    stall.map_or(at, |stall| stall.end)
}

fn packet(scenario: &Scenario, sent: u32, frame: u32) -> JitterPacket {
    JitterPacket {
        seq: scenario.first_seq.wrapping_add(sent as u16),
        timestamp: scenario
            .first_timestamp
            .wrapping_add(frame.wrapping_mul(960)),
        duration: 960,
        has_fec: scenario.fec,
        payload: Bytes::copy_from_slice(&frame.to_be_bytes()),
    }
}

fn hear(playout: Playout) -> Heard {
    match playout {
        Playout::Packet(packet) => Heard::Packet(number(&packet)),
        Playout::Merge(one, other) => Heard::Merge(number(&one), number(&other)),
        Playout::Fec { following, samples } => {
            assert_eq!(samples, 960);
            Heard::Fec(number(&following))
        }
        Playout::Conceal { samples } => {
            assert_eq!(samples, 960);
            Heard::Conceal
        }
        Playout::Pause { .. } => Heard::Pause,
        Playout::NotStarted => Heard::NotStarted,
        other => panic!("unknown playout {other:?}"),
    }
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().unwrap())
}
