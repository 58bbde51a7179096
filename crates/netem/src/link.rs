//! One direction of a path.

mod config;
mod line;
mod loss;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

pub use config::{Jitter, LinkConfig, Reorder};
pub use loss::{GilbertElliott, Loss};

use crate::random::Dice;
use crate::units::after;
use line::Line;
use loss::LossProcess;

/// The streams of a link's seed: one a knob, so that turning one leaves the others' draws alone.
mod stream {
    pub(super) const LOSS: u64 = 0;
    pub(super) const JITTER: u64 = 1;
    pub(super) const REORDER: u64 = 2;
    pub(super) const DUPLICATE: u64 = 3;
}

/// One direction of a path, for packets of type `T`.
///
/// It has no clock: [`send`](Self::send) takes the time of sending; [`poll`](Self::poll), called
/// until it returns `None`, gives what has arrived by then; and [`next_delivery`](Self::next_delivery)
/// says when to poll next. Time never goes back: an earlier `now` counts as the latest one given.
///
/// The same seed and the same calls give the same deliveries.
///
/// ```
/// use std::time::Duration;
/// use netem::{Clock, Link, LinkConfig};
///
/// let mut clock = Clock::new();
/// let mut link = Link::new(LinkConfig::with_delay(Duration::from_millis(30)), 7);
/// link.send(clock.now(), 160, "hello");
/// assert_eq!(link.poll(clock.now()), None);
///
/// clock.advance_to(link.next_delivery().unwrap());
/// assert_eq!(clock.elapsed(), Duration::from_millis(30));
/// assert_eq!(link.poll(clock.now()), Some("hello"));
/// ```
#[derive(Debug, Clone)]
pub struct Link<T> {
    config: LinkConfig,
    loss: LossProcess,
    jitter: Dice,
    reorder: Dice,
    duplicate: Dice,
    line: Line,
    outages: Outages,
    latest: Option<Instant>,
    /// The delivery of the last packet that was not held back; no later packet comes before it.
    floor: Option<Instant>,
    in_flight: BinaryHeap<Reverse<InFlight<T>>>,
    in_flight_bytes: usize,
    scheduled: u64,
    newest_delivered: u64,
    stats: LinkStats,
}

/// What a link has done so far, in packets.
///
/// At any time `sent + duplicated == lost() + delivered + in flight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Packets given to the link.
    pub sent: u64,
    /// Packets lost on the way.
    pub lost_on_the_way: u64,
    /// Packets for which the queue was full.
    pub dropped_by_queue: u64,
    /// Packets that were larger than the link takes.
    pub dropped_by_mtu: u64,
    /// Packets sent while the link was cut.
    pub dropped_by_cut: u64,
    /// Copies made; a packet is copied at most once.
    pub duplicated: u64,
    /// Packets and copies that came out.
    pub delivered: u64,
    /// Of those delivered, the ones that came after a packet sent later (RFC 4737, section 3).
    pub reordered: u64,
}

impl LinkStats {
    /// Packets that went in and never come out, for whatever reason.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost_on_the_way + self.dropped_by_queue + self.dropped_by_mtu + self.dropped_by_cut
    }
}

impl<T> Link<T> {
    /// A link that is up and empty.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            loss: LossProcess::new(config.loss, Dice::new(seed, stream::LOSS)),
            jitter: Dice::new(seed, stream::JITTER),
            reorder: Dice::new(seed, stream::REORDER),
            duplicate: Dice::new(seed, stream::DUPLICATE),
            line: Line::default(),
            outages: Outages::default(),
            latest: None,
            floor: None,
            in_flight: BinaryHeap::new(),
            in_flight_bytes: 0,
            scheduled: 0,
            newest_delivered: 0,
            stats: LinkStats::default(),
        }
    }

    /// The next packet that has arrived by `now`, in the order of arrival.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        let now = self.observe(now);
        if self.next_delivery()? > now {
            return None;
        }
        let Reverse(packet) = self.in_flight.pop()?;
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(packet.bytes);
        self.stats.delivered += 1;
        if packet.number < self.newest_delivered {
            self.stats.reordered += 1;
        }
        self.newest_delivered = self.newest_delivered.max(packet.number);
        Some(packet.item)
    }

    /// When the next packet arrives; `None` where none is under way.
    #[must_use]
    pub fn next_delivery(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(packet)| packet.due)
    }

    /// What the link has done so far.
    #[must_use]
    pub const fn stats(&self) -> LinkStats {
        self.stats
    }

    /// The packets and copies under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The bytes under way, copies included.
    #[must_use]
    pub const fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// What the link does to packets at present.
    #[must_use]
    pub const fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Treats packets differently from now on. What is under way arrives as it was going to, and
    /// later packets do not overtake it unless reordering lets them.
    pub fn reconfigure(&mut self, config: LinkConfig) {
        self.config = config;
        self.loss.replace(config.loss);
    }

    /// Takes the link down until [`restore`](Self::restore). Packets sent while it is down are
    /// lost; those under way still arrive.
    pub fn cut(&mut self) {
        self.outages.cut = true;
    }

    /// Ends a [`cut`](Self::cut). Scheduled outages stay.
    pub fn restore(&mut self) {
        self.outages.cut = false;
    }

    /// Schedules an outage from `from` up to, but not including, `until`. Outages may overlap; an
    /// empty one is ignored.
    pub fn schedule_cut(&mut self, from: Instant, until: Instant) {
        if from < until {
            self.outages.scheduled.push((from, until));
        }
    }

    /// Whether a packet sent at `now` is lost to a cut or a scheduled outage.
    #[must_use]
    pub fn is_cut(&self, now: Instant) -> bool {
        self.outages.cover(now)
    }

    fn observe(&mut self, now: Instant) -> Instant {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(now);
        now
    }
}

impl<T: Clone> Link<T> {
    /// Sends a packet of `bytes` bytes. Its fate is drawn now; what survives comes out of
    /// [`poll`](Self::poll).
    pub fn send(&mut self, now: Instant, bytes: usize, item: T) {
        let now = self.observe(now);
        let number = self.stats.sent;
        self.stats.sent += 1;
        let Some(transmitted) = self.transmit(now, bytes) else {
            return;
        };
        let (lost, doubled) = (
            self.loss.strikes(),
            self.duplicate.chance(self.config.duplicate),
        );
        if lost {
            self.stats.lost_on_the_way += 1;
            return;
        }
        let copy = doubled.then(|| item.clone());
        self.propagate(transmitted, number, bytes, item);
        if let Some(copy) = copy {
            self.stats.duplicated += 1;
            self.propagate(transmitted, number, bytes, copy);
        }
    }

    /// Takes a packet over the line; returns when its last bit has left, or `None` where it did not
    /// get on.
    fn transmit(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        self.outages.forget_before(now);
        if self.outages.cover(now) {
            self.stats.dropped_by_cut += 1;
            return None;
        }
        if self.config.mtu.is_some_and(|mtu| bytes > mtu) {
            self.stats.dropped_by_mtu += 1;
            return None;
        }
        let transmitted = self
            .line
            .admit(now, bytes, self.config.rate, self.config.queue_bytes);
        if transmitted.is_none() {
            self.stats.dropped_by_queue += 1;
        }
        transmitted
    }

    /// Puts a packet on its way, from the end of the line to delivery.
    fn propagate(&mut self, transmitted: Instant, number: u64, bytes: usize, item: T) {
        let held = self.reorder.chance(self.config.reorder.probability);
        let delay = self
            .config
            .jitter
            .apply(self.config.delay, &mut self.jitter);
        let drawn = after(transmitted, delay);
        let in_order = self.floor.map_or(drawn, |floor| floor.max(drawn));
        let due = if held {
            after(in_order, self.config.reorder.hold)
        } else {
            self.floor = Some(in_order);
            in_order
        };
        let order = self.scheduled;
        self.scheduled += 1;
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
        self.in_flight.push(Reverse(InFlight {
            due,
            order,
            number,
            bytes,
            item,
        }));
    }
}

/// When a link is down.
#[derive(Debug, Clone, Default)]
struct Outages {
    cut: bool,
    scheduled: Vec<(Instant, Instant)>,
}

impl Outages {
    fn cover(&self, now: Instant) -> bool {
        self.cut
            || self
                .scheduled
                .iter()
                .any(|&(from, until)| from <= now && now < until)
    }

    fn forget_before(&mut self, now: Instant) {
        self.scheduled.retain(|&(_, until)| now < until);
    }
}

/// A packet under way; ordered by delivery, and by the order of sending where that is equal.
#[derive(Debug, Clone)]
struct InFlight<T> {
    due: Instant,
    order: u64,
    /// The packet's place among all sent; a copy has its original's.
    number: u64,
    bytes: usize,
    item: T,
}

impl<T> Ord for InFlight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

impl<T> PartialOrd for InFlight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for InFlight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for InFlight<T> {}

#[cfg(test)]
mod tests;
