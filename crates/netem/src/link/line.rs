//! The line of a link: one packet at a time at a given rate, and a drop-tail queue before it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::units::{BitRate, after};

/// When the line is free, and what waits for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    free_at: Option<Instant>,
    /// The packets that wait: when each gets on to the line, and its bytes.
    waiting: VecDeque<(Instant, usize)>,
    waiting_bytes: usize,
}

impl Line {
    /// Puts a packet on the line, or in the queue before it, and returns when its last bit has
    /// left. `None` where it must wait and `queue_bytes` do not hold it.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        bytes: usize,
        rate: Option<BitRate>,
        queue_bytes: usize,
    ) -> Option<Instant> {
        self.forget_started(now);
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        let occupied = bytes.max(1);
        if start > now {
            let needed = self.waiting_bytes.saturating_add(occupied);
            if needed > queue_bytes {
                return None;
            }
            self.waiting.push_back((start, occupied));
            self.waiting_bytes = needed;
        }
        let end = rate.map_or(start, |rate| after(start, rate.time_for(bytes)));
        self.free_at = Some(end);
        Some(end)
    }

    fn forget_started(&mut self, now: Instant) {
        while let Some((start, bytes)) = self.waiting.front().copied()
            && start <= now
        {
            self.waiting.pop_front();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 1,000 bytes a second: a byte takes a millisecond.
    const RATE: Option<BitRate> = Some(BitRate::from_kbps(8));
    const QUEUE: usize = 20;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn packets_follow_one_another_on_the_line() {
        let (mut line, now) = (Line::default(), Instant::now());
        assert_eq!(line.admit(now, 10, RATE, QUEUE), Some(now + ms(10)));
        assert_eq!(line.admit(now, 10, RATE, QUEUE), Some(now + ms(20)));
        assert_eq!(
            line.admit(now + ms(50), 10, RATE, QUEUE),
            Some(now + ms(60))
        );
    }

    #[test]
    fn the_queue_drops_its_tail() {
        let (mut line, now) = (Line::default(), Instant::now());
        assert!(
            line.admit(now, 1_000, RATE, QUEUE).is_some(),
            "goes straight on the line"
        );
        assert!(line.admit(now, 15, RATE, QUEUE).is_some());
        assert!(line.admit(now, 6, RATE, QUEUE).is_none());
        assert!(
            line.admit(now, 5, RATE, QUEUE).is_some(),
            "a smaller packet still fits"
        );
    }

    #[test]
    fn the_queue_empties_as_packets_get_on_the_line() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.admit(now, 10, RATE, QUEUE);
        line.admit(now, 20, RATE, QUEUE);
        assert!(line.admit(now + ms(9), 1, RATE, QUEUE).is_none());
        assert!(line.admit(now + ms(10), 1, RATE, QUEUE).is_some());
    }

    #[test]
    fn a_queue_of_nothing_passes_only_what_need_not_wait() {
        let (mut line, now) = (Line::default(), Instant::now());
        assert!(line.admit(now, 10, RATE, 0).is_some());
        assert!(line.admit(now + ms(9), 10, RATE, 0).is_none());
        assert!(line.admit(now + ms(10), 10, RATE, 0).is_some());
    }

    #[test]
    fn empty_packets_cannot_fill_memory() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.admit(now, 10, RATE, QUEUE);
        let admitted = (0..1_000)
            .filter(|_| line.admit(now, 0, RATE, QUEUE).is_some())
            .count();
        assert_eq!(admitted, QUEUE);
    }

    #[test]
    fn a_line_without_a_rate_has_no_queue() {
        let (mut line, now) = (Line::default(), Instant::now());
        assert!((0..1_000).all(|_| line.admit(now, 1_500, None, 0) == Some(now)));
    }
}
