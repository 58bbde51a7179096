//! When local candidates are sent: the first batch with the description, the rest in steps.

use std::time::{Duration, Instant};

use call_signal::IceCandidate;

/// The description waits this long for candidates, unless gathering ends sooner.
pub const FIRST_BATCH_DELAY: Duration = Duration::from_millis(750);

/// Later candidates are sent together at this interval.
pub const BATCH_INTERVAL: Duration = Duration::from_millis(1500);

/// Candidates found later than this after the description was made are not sent any more.
pub const TRICKLE_LIMIT: Duration = Duration::from_secs(12);

/// Batches the local candidates of one call.
#[derive(Debug)]
pub(super) struct Trickle {
    started: Instant,
    next_batch: Option<Instant>,
    not_before: Instant,
    pending: Vec<IceCandidate>,
    any: bool,
    complete: bool,
}

impl Trickle {
    /// Starts at the moment when the local description was made.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            next_batch: Some(now + FIRST_BATCH_DELAY),
            not_before: now,
            pending: Vec::new(),
            any: false,
            complete: false,
        }
    }

    pub(super) fn add(&mut self, now: Instant, candidates: impl IntoIterator<Item = IceCandidate>) {
        if self.complete || now >= self.started + TRICKLE_LIMIT {
            return;
        }
        self.pending.extend(candidates);
        self.any |= !self.pending.is_empty();
        if !self.pending.is_empty() && self.next_batch.is_none() {
            self.next_batch = Some(now.max(self.not_before));
        }
    }

    /// Gathering ended: what is pending goes out now. Returns whether there was any candidate.
    pub(super) fn complete(&mut self, now: Instant) -> bool {
        if !self.complete {
            self.complete = true;
            self.next_batch = self.next_batch.map(|at| at.min(now));
        }
        self.any
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_batch
    }

    /// The batch that is due, perhaps empty.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Vec<IceCandidate>> {
        self.next_batch.take_if(|at| *at <= now)?;
        self.not_before = now + BATCH_INTERVAL;
        Some(std::mem::take(&mut self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str) -> IceCandidate {
        IceCandidate {
            candidate: name.into(),
            ..IceCandidate::default()
        }
    }

    #[test]
    fn the_first_batch_waits_750_ms() {
        let t0 = Instant::now();
        let mut trickle = Trickle::new(t0);
        trickle.add(t0, [candidate("a")]);
        assert_eq!(trickle.poll_timeout(), Some(t0 + FIRST_BATCH_DELAY));
        assert_eq!(trickle.take_due(t0), None);
        assert_eq!(
            trickle.take_due(t0 + FIRST_BATCH_DELAY),
            Some(vec![candidate("a")])
        );
    }

    #[test]
    fn the_first_batch_goes_when_gathering_ends() {
        let t0 = Instant::now();
        let mut trickle = Trickle::new(t0);
        trickle.add(t0, [candidate("a")]);
        assert!(trickle.complete(t0));
        assert_eq!(trickle.take_due(t0), Some(vec![candidate("a")]));
        assert_eq!(trickle.poll_timeout(), None);
    }

    #[test]
    fn later_candidates_go_every_1500_ms() {
        let t0 = Instant::now();
        let mut trickle = Trickle::new(t0);
        trickle.add(t0, [candidate("a")]);
        let t1 = t0 + FIRST_BATCH_DELAY;
        trickle.take_due(t1);
        trickle.add(t1, [candidate("b")]);
        assert_eq!(trickle.take_due(t1), None);
        assert_eq!(trickle.poll_timeout(), Some(t1 + BATCH_INTERVAL));
        assert_eq!(
            trickle.take_due(t1 + BATCH_INTERVAL),
            Some(vec![candidate("b")])
        );
    }

    #[test]
    fn nothing_is_sent_after_12_s() {
        let t0 = Instant::now();
        let mut trickle = Trickle::new(t0);
        trickle.take_due(t0 + FIRST_BATCH_DELAY);
        trickle.add(t0 + TRICKLE_LIMIT, [candidate("late")]);
        assert_eq!(trickle.poll_timeout(), None);
    }

    #[test]
    fn no_candidate_at_the_end_of_gathering_is_told() {
        let t0 = Instant::now();
        assert!(!Trickle::new(t0).complete(t0));
    }
}
