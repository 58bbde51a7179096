//! Which socket stands for whom, and the two links between the sides. No sockets and no clock: a
//! socket is whatever `S` its owner uses.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{ForwarderConfig, ForwarderStats, Side};
use crate::link::{Link, LinkConfig};
use crate::units::wire_bytes;

/// A socket's place in the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StandId(usize);

/// A datagram on its way: the socket to send it from, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing<S> {
    pub(super) socket: S,
    pub(super) to: SocketAddr,
    pub(super) payload: Arc<[u8]>,
}

/// What is to become of a datagram that has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Forward(Hop),
    /// It goes on once a socket stands for its sender.
    Learn {
        /// The side of the sender.
        side: Side,
        /// The sender's real address.
        real: SocketAddr,
    },
    /// It goes nowhere, and is counted.
    Drop,
}

/// A datagram's way across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    sender: Side,
    via: StandId,
    to: SocketAddr,
}

/// A socket that stands for a real address.
#[derive(Debug)]
struct Stand<S> {
    /// The side that the real address belongs to.
    side: Side,
    real: Option<SocketAddr>,
    local: SocketAddr,
    socket: S,
}

/// The state of a forwarder.
#[derive(Debug)]
pub(super) struct Exchange<S> {
    stands: Vec<Stand<S>>,
    by_real: HashMap<(Side, SocketAddr), StandId>,
    a_to_b: Link<Outgoing<S>>,
    b_to_a: Link<Outgoing<S>>,
    socket_limit: usize,
    in_flight_limit: usize,
    /// What the links do not count.
    counts: ForwarderStats,
}

impl<S: Clone> Exchange<S> {
    pub(super) fn new(config: &ForwarderConfig) -> Self {
        Self {
            stands: Vec::new(),
            by_real: HashMap::new(),
            a_to_b: Link::new(config.a_to_b, config.seed),
            b_to_a: Link::new(config.b_to_a, config.seed.wrapping_add(1)),
            socket_limit: config.socket_limit,
            in_flight_limit: config.in_flight_limit,
            counts: ForwarderStats::default(),
        }
    }

    /// The address of the socket that stands for `real`.
    pub(super) fn local_of(&self, side: Side, real: SocketAddr) -> Option<SocketAddr> {
        let stand = self.by_real.get(&(side, real))?;
        self.stands.get(stand.0).map(|stand| stand.local)
    }

    pub(super) fn is_full(&self) -> bool {
        self.stands.len() >= self.socket_limit
    }

    /// Whether `address` is that of one of the sockets.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        self.stands.iter().any(|stand| stand.local == address)
    }

    pub(super) fn add(
        &mut self,
        side: Side,
        real: Option<SocketAddr>,
        local: SocketAddr,
        socket: S,
    ) -> StandId {
        let id = StandId(self.stands.len());
        self.stands.push(Stand {
            side,
            real,
            local,
            socket,
        });
        if let Some(real) = real {
            self.by_real.insert((side, real), id);
        }
        id
    }

    /// Makes the socket at `local` stand for `real`; false where there is none or where it stands
    /// for another address already.
    pub(super) fn assign(&mut self, local: SocketAddr, real: SocketAddr) -> bool {
        let index = self.stands.iter().position(|stand| stand.local == local);
        let Some((index, stand)) = index.and_then(|i| Some((i, self.stands.get_mut(i)?))) else {
            return false;
        };
        if stand.real.is_some_and(|known| known != real) {
            return false;
        }
        stand.real = Some(real);
        self.by_real.insert((stand.side, real), StandId(index));
        true
    }

    /// Judges a datagram from `from` that came in at the socket `at`.
    pub(super) fn judge(&self, at: StandId, from: SocketAddr) -> Verdict {
        let Some(stand) = self.stands.get(at.0) else {
            return Verdict::Drop;
        };
        let sender = stand.side.other();
        match (stand.real, self.by_real.get(&(sender, from))) {
            (Some(to), Some(&via)) => Verdict::Forward(Hop { sender, via, to }),
            (Some(_), None) if !self.is_full() && !self.is_own(from) => Verdict::Learn {
                side: sender,
                real: from,
            },
            _ => Verdict::Drop,
        }
    }

    /// Puts a datagram on the link.
    pub(super) fn forward(&mut self, now: Instant, hop: Hop, payload: Arc<[u8]>) {
        let Some(socket) = self.stands.get(hop.via.0).map(|stand| stand.socket.clone()) else {
            return self.count_unroutable();
        };
        let bytes = wire_bytes(hop.to, payload.len());
        let limit = self.in_flight_limit;
        let link = self.link(hop.sender);
        // A datagram may be doubled on the way.
        if link
            .in_flight_bytes()
            .saturating_add(bytes.saturating_mul(2))
            > limit
        {
            self.counts.overflowed += 1;
            return;
        }
        link.send(
            now,
            bytes,
            Outgoing {
                socket,
                to: hop.to,
                payload,
            },
        );
    }

    /// When the next datagram is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (a_to_b, b_to_a) = (self.a_to_b.next_delivery(), self.b_to_a.next_delivery());
        a_to_b.into_iter().chain(b_to_a).min()
    }

    /// A datagram that is due by `now`, and since when.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Instant, Outgoing<S>)> {
        let due = self.next_due().filter(|&due| due <= now)?;
        let first = if self.a_to_b.next_delivery() == Some(due) {
            Side::A
        } else {
            Side::B
        };
        self.link(first).poll(due).map(|outgoing| (due, outgoing))
    }

    pub(super) fn link(&mut self, sender: Side) -> &mut Link<Outgoing<S>> {
        match sender {
            Side::A => &mut self.a_to_b,
            Side::B => &mut self.b_to_a,
        }
    }

    pub(super) fn reconfigure(&mut self, sender: Side, config: LinkConfig) {
        self.link(sender).reconfigure(config);
    }

    pub(super) fn count_unroutable(&mut self) {
        self.counts.unroutable += 1;
    }

    /// Counts a datagram that was due at `due` and went out at `sent`, or that its socket refused.
    pub(super) fn count_sent(&mut self, due: Instant, sent: Instant, accepted: bool) {
        let lateness = sent.saturating_duration_since(due);
        self.counts.worst_lateness = self.counts.worst_lateness.max(lateness);
        if !accepted {
            self.count_socket_error();
        }
    }

    pub(super) fn count_socket_error(&mut self) {
        self.counts.socket_errors += 1;
    }

    pub(super) fn stats(&self) -> ForwarderStats {
        ForwarderStats {
            a_to_b: self.a_to_b.stats(),
            b_to_a: self.b_to_a.stats(),
            sockets: self.stands.len(),
            ..self.counts
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::Loss;
    use crate::units::Probability;

    const A: &str = "192.0.2.1:1000";
    const B: &str = "192.0.2.2:2000";
    const AS_A: &str = "127.0.0.1:1";
    const AS_B: &str = "127.0.0.1:2";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// An exchange with the socket "a" for A and the socket "b" for B.
    fn exchange(config: ForwarderConfig) -> (Exchange<&'static str>, StandId, StandId) {
        let mut exchange = Exchange::new(&config);
        let a = exchange.add(Side::A, Some(at(A)), at(AS_A), "a");
        let b = exchange.add(Side::B, Some(at(B)), at(AS_B), "b");
        (exchange, a, b)
    }

    fn forward(exchange: &mut Exchange<&'static str>, now: Instant, id: StandId, from: &str) {
        match exchange.judge(id, at(from)) {
            Verdict::Forward(hop) => exchange.forward(now, hop, Arc::from(*b"hello")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_datagram_leaves_from_the_socket_that_stands_for_its_sender() {
        let (mut exchange, a, b) = exchange(ForwarderConfig::default());
        let now = Instant::now();
        forward(&mut exchange, now, b, A);
        forward(&mut exchange, now, a, B);
        let mut next = || exchange.take_due(now).map(|(_, out)| (out.socket, out.to));
        assert_eq!(
            [next(), next(), next()],
            [Some(("a", at(B))), Some(("b", at(A))), None]
        );
    }

    #[test]
    fn each_direction_has_its_own_link() {
        let (a_to_b, b_to_a) = (Duration::from_millis(10), Duration::from_millis(30));
        let (mut exchange, a, b) = exchange(ForwarderConfig {
            a_to_b: LinkConfig::with_delay(a_to_b),
            b_to_a: LinkConfig::with_delay(b_to_a),
            ..ForwarderConfig::default()
        });
        let now = Instant::now();
        forward(&mut exchange, now, a, B);
        forward(&mut exchange, now, b, A);
        assert_eq!(exchange.take_due(now), None);
        let late = now + Duration::from_secs(1);
        let dues: Vec<_> = (0..2).filter_map(|_| exchange.take_due(late)).collect();
        assert_eq!((dues[0].0, dues[0].1.to), (now + a_to_b, at(B)));
        assert_eq!((dues[1].0, dues[1].1.to), (now + b_to_a, at(A)));
    }

    #[test]
    fn each_links_losses_follow_from_its_seed() {
        const PACKETS: usize = 64;
        let lossy = LinkConfig {
            loss: Loss::Independent(Probability::percent(50.0)),
            ..LinkConfig::PERFECT
        };
        let config = ForwarderConfig {
            a_to_b: lossy,
            b_to_a: lossy,
            seed: 5,
            ..Default::default()
        };
        let (mut exchange, a, b) = exchange(config);
        let now = Instant::now();
        for (id, from, seed) in [(b, A, 5), (a, B, 6)] {
            let mut link = Link::new(lossy, seed);
            for _ in 0..PACKETS {
                forward(&mut exchange, now, id, from);
                link.send(now, 0, ());
                assert_eq!(exchange.take_due(now).is_some(), link.poll(now).is_some());
            }
        }
    }

    #[test]
    fn an_unknown_sender_is_learned_until_the_sockets_run_out() {
        let stranger = "192.0.2.9:9";
        let limited = ForwarderConfig {
            socket_limit: 3,
            ..ForwarderConfig::default()
        };
        let (mut exchange, a, _) = exchange(limited);
        let learn = Verdict::Learn {
            side: Side::B,
            real: at(stranger),
        };
        assert_eq!(exchange.judge(a, at(stranger)), learn);
        exchange.add(Side::B, None, at("127.0.0.1:3"), "other");
        assert_eq!(exchange.judge(a, at(stranger)), Verdict::Drop);
    }

    #[test]
    fn nothing_from_the_forwarders_own_sockets_goes_round() {
        let (exchange, a, _) = exchange(ForwarderConfig::default());
        assert_eq!(exchange.judge(a, at(AS_B)), Verdict::Drop);
    }

    #[test]
    fn a_reserved_socket_passes_nothing_until_it_is_assigned() {
        let (mut exchange, _, _) = exchange(ForwarderConfig::default());
        let (local, real) = (at("127.0.0.1:3"), at("192.0.2.3:3"));
        let reserved = exchange.add(Side::B, None, local, "reserved");
        assert_eq!(exchange.judge(reserved, at(A)), Verdict::Drop);
        assert!(exchange.assign(local, real));
        assert!(matches!(
            exchange.judge(reserved, at(A)),
            Verdict::Forward(_)
        ));
        assert!(exchange.assign(local, real), "again is no change");
        assert!(!exchange.assign(local, at(B)), "another is refused");
        assert!(!exchange.assign(at("127.0.0.1:4"), real), "no such socket");
    }

    #[test]
    fn an_assigned_socket_replaces_a_learned_one() {
        let (mut exchange, a, _) = exchange(ForwarderConfig::default());
        let (local, real) = (at("127.0.0.1:3"), at("192.0.2.3:3"));
        exchange.add(Side::B, None, local, "reserved");
        exchange.add(Side::B, Some(real), at("127.0.0.1:4"), "learned");
        exchange.assign(local, real);
        let now = Instant::now();
        forward(&mut exchange, now, a, "192.0.2.3:3");
        assert_eq!(
            exchange.take_due(now).map(|(_, out)| out.socket),
            Some("reserved")
        );
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let (mut exchange, a, _) = exchange(ForwarderConfig {
            b_to_a: LinkConfig::with_delay(Duration::from_secs(1)),
            in_flight_limit: 100,
            ..ForwarderConfig::default()
        });
        let now = Instant::now();
        (0..10).for_each(|_| forward(&mut exchange, now, a, B));
        let stats = exchange.stats();
        assert_eq!((stats.b_to_a.sent, stats.overflowed), (2, 8));
    }

    #[test]
    fn the_worst_lateness_is_kept() {
        let (mut exchange, _, _) = exchange(ForwarderConfig::default());
        let due = Instant::now();
        exchange.count_sent(due, due + Duration::from_micros(300), true);
        exchange.count_sent(due, due + Duration::from_micros(100), false);
        let stats = exchange.stats();
        assert_eq!(stats.worst_lateness, Duration::from_micros(300));
        assert_eq!(stats.socket_errors, 1);
    }
}
