//! How late packets come: the base, the histogram of delays above it, the target.

use std::collections::VecDeque;
use std::time::Duration;

/// The base is the least transit within this time, in µs.
const BASE_WINDOW_US: i64 = 2_000_000;

/// Entries of the window at most; one of a thousand packets a second still has its place.
const MAX_WINDOW: usize = 2_048;

/// Width of a bucket in µs, and their number: one second in all.
const BUCKET_US: i64 = 5_000;
const BUCKETS: usize = 200;

/// Packets over which the histogram forgets: ten seconds of 20 ms each.
const MEMORY: f64 = 500.0;

/// The share of packets that may come later than the target.
const LATE_SHARE: f64 = 0.03;

/// Below this number of packets the histogram is not yet believed to be good news.
const ENOUGH: u64 = 50;

/// A rise of the base by this much is another route, not the end of a lucky streak, in µs.
const STEP_US: i64 = 20_000;

/// A weight beyond this is scaled down, before it loses precision.
const HEAVY: f64 = 1e12;

/// Watches arrivals and says how much delay the network needs.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    /// Arrival and transit, both in µs, transits rising: the first is the least.
    window: VecDeque<(i64, i64)>,
    base_us: Option<i64>,
    /// Weight of the packets that came so much later than the base.
    histogram: [f64; BUCKETS],
    total: f64,
    /// Weight of the next packet: it grows, which is the same as letting the older ones fade.
    weight: f64,
    seen: u64,
}

impl DelayEstimator {
    pub(super) fn new() -> Self {
        Self {
            window: VecDeque::new(),
            base_us: None,
            histogram: [0.0; BUCKETS],
            total: 0.0,
            weight: 1.0,
            seen: 0,
        }
    }

    /// Takes the arrival time and the transit of a packet, in µs.
    pub(super) fn observe(&mut self, arrival_us: i64, transit_us: i64) {
        let old = self.base_us;
        let base = self.move_window(arrival_us, transit_us);
        self.base_us = Some(base);
        if let Some(rise) = old.map(|old| base - old).filter(|&rise| rise >= STEP_US) {
            self.shift(rise);
        }
        let bucket = usize::try_from((transit_us - base + BUCKET_US - 1) / BUCKET_US)
            .unwrap_or(0)
            .min(BUCKETS - 1);
        if let Some(slot) = self.histogram.get_mut(bucket) {
            *slot += self.weight;
        }
        self.total += self.weight;
        self.seen += 1;
        // As long as it is young, the histogram is a plain mean.
        if self.seen >= MEMORY as u64 {
            self.weight *= MEMORY / (MEMORY - 1.0);
        }
        if self.weight > HEAVY {
            self.rescale();
        }
    }

    /// The least transit of late, in µs; `None` before the first packet.
    pub(super) fn base_us(&self) -> Option<i64> {
        self.base_us
    }

    /// Whether enough packets have been seen to trust a low answer.
    pub(super) fn is_settled(&self) -> bool {
        self.seen >= ENOUGH
    }

    /// The delay above the base within which all but 3 % of the packets come.
    pub(super) fn quantile(&self) -> Duration {
        let allowed = self.total * LATE_SHARE;
        let mut later = 0.0;
        for (bucket, weight) in self.histogram.iter().enumerate().rev() {
            later += weight;
            if later > allowed {
                return Duration::from_micros(BUCKET_US as u64 * bucket as u64);
            }
        }
        Duration::ZERO
    }

    /// Another stream has begun: transits start anew, what is known of the network stays.
    pub(super) fn restart(&mut self) {
        self.window.clear();
        self.base_us = None;
    }

    /// Adds to the window and returns the least transit in it.
    fn move_window(&mut self, arrival_us: i64, transit_us: i64) -> i64 {
        while self.window.back().is_some_and(|&(_, t)| t >= transit_us) {
            self.window.pop_back();
        }
        while self.window.len() >= MAX_WINDOW
            || self
                .window
                .front()
                .is_some_and(|&(at, _)| arrival_us - at > BASE_WINDOW_US)
        {
            self.window.pop_front();
        }
        self.window.push_back((arrival_us, transit_us));
        self.window.front().map_or(transit_us, |&(_, t)| t)
    }

    /// The base rose by `rise_us`: what was late against the old one was in time against the new.
    fn shift(&mut self, rise_us: i64) {
        let by = usize::try_from(rise_us / BUCKET_US).map_or(BUCKETS, |by| by.min(BUCKETS));
        let in_time: f64 = self.histogram.iter().take(by + 1).sum();
        self.histogram.rotate_left(by.min(BUCKETS - 1));
        let kept = BUCKETS - by.min(BUCKETS - 1);
        for slot in self.histogram.iter_mut().skip(kept) {
            *slot = 0.0;
        }
        if let Some(first) = self.histogram.first_mut() {
            *first = in_time;
        }
    }

    fn rescale(&mut self) {
        let by = self.weight;
        self.histogram.iter_mut().for_each(|slot| *slot /= by);
        self.total /= by;
        self.weight = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds transits of packets that are sent each 20 ms.
    fn feed(estimator: &mut DelayEstimator, from_ms: i64, transits_ms: &[i64]) {
        for (i, &transit) in transits_ms.iter().enumerate() {
            let arrival = (from_ms + 20 * i as i64 + transit) * 1000;
            estimator.observe(arrival, transit * 1000);
        }
    }

    #[test]
    fn a_steady_network_needs_no_delay() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0, &[30; 500]);
        assert_eq!(estimator.quantile(), Duration::ZERO);
        assert_eq!(estimator.base_us(), Some(30_000));
    }

    #[test]
    fn every_tenth_packet_being_late_sets_the_quantile() {
        let mut estimator = DelayEstimator::new();
        let transits: Vec<i64> = (0..500).map(|i| if i % 10 == 0 { 72 } else { 0 }).collect();
        feed(&mut estimator, 0, &transits);
        assert_eq!(estimator.quantile(), Duration::from_millis(75));
    }

    #[test]
    fn one_packet_in_a_hundred_being_late_does_not() {
        let mut estimator = DelayEstimator::new();
        let transits: Vec<i64> = (0..500)
            .map(|i| if i % 100 == 0 { 72 } else { 0 })
            .collect();
        feed(&mut estimator, 0, &transits);
        assert_eq!(estimator.quantile(), Duration::ZERO);
    }

    #[test]
    fn a_spike_is_forgotten_within_some_seconds() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0, &[0; 1000]);
        let spike: Vec<i64> = (0..25).map(|i| 500 - 20 * i).collect();
        feed(&mut estimator, 20_000, &spike);
        assert!(estimator.quantile() >= Duration::from_millis(100));
        feed(&mut estimator, 20_500, &[0; 300]);
        assert_eq!(estimator.quantile(), Duration::ZERO);
    }

    #[test]
    fn a_longer_route_is_the_new_base_and_costs_no_delay() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0, &[10; 1000]);
        feed(&mut estimator, 20_000, &[210; 105]);
        assert_eq!(estimator.base_us(), Some(210_000));
        assert!(estimator.quantile() <= Duration::from_millis(15));
    }

    #[test]
    fn a_shorter_route_is_the_new_base_at_once() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0, &[210; 100]);
        feed(&mut estimator, 2_000, &[10]);
        assert_eq!(estimator.base_us(), Some(10_000));
    }
}
