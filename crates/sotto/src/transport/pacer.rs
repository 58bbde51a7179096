//! Pacing of connectivity checks.
//!
//! The ICE agent checks all pairs at each tick. A peer that names many addresses would turn that
//! into a flood (RFC 8445 §19.5.1), so checks leave one by one, each pair waiting for its turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Datagram;

/// Between two checks of one call; RFC 8445 §14.2 allows no less.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Pairs that may wait for their turn at once.
const MAX_WAITING: usize = 256;

/// STUN Binding request (RFC 8489 §5).
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];

/// Holds checks back until it is their turn.
#[derive(Default)]
pub(super) struct CheckPacer {
    waiting: VecDeque<Datagram>,
    next: Option<Instant>,
}

impl CheckPacer {
    /// Whether the datagram is a connectivity check.
    pub(super) fn is_check(bytes: &[u8]) -> bool {
        bytes.starts_with(&BINDING_REQUEST)
    }

    /// Queues a check. A newer check of the same pair takes the place of the one that waits.
    pub(super) fn push(&mut self, check: Datagram) {
        let same = |d: &&mut Datagram| d.local == check.local && d.peer == check.peer;
        if let Some(waiting) = self.waiting.iter_mut().find(same) {
            *waiting = check;
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(check);
        }
    }

    /// The next check, if it may leave at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Datagram> {
        if self.next.is_some_and(|at| at > now) {
            return None;
        }
        let check = self.waiting.pop_front()?;
        self.next = Some(now + CHECK_INTERVAL);
        Some(check)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            None
        } else {
            self.next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(port: u16) -> Datagram {
        Datagram {
            local: ([127, 0, 0, 1], 1).into(),
            peer: ([192, 0, 2, 1], port).into(),
            bytes: BINDING_REQUEST.to_vec().into(),
        }
    }

    #[test]
    fn checks_leave_one_by_one_in_turn() {
        let t0 = Instant::now();
        let mut pacer = CheckPacer::default();
        for port in [1, 2, 1] {
            pacer.push(check(port));
        }
        assert_eq!(pacer.pop(t0).map(|d| d.peer.port()), Some(1));
        assert!(pacer.pop(t0).is_none());
        assert_eq!(pacer.poll_timeout(), Some(t0 + CHECK_INTERVAL));
        assert_eq!(
            pacer.pop(t0 + CHECK_INTERVAL).map(|d| d.peer.port()),
            Some(2)
        );
        assert_eq!(pacer.poll_timeout(), None);
    }

    #[test]
    fn a_peer_that_names_many_addresses_costs_bounded_memory() {
        let mut pacer = CheckPacer::default();
        for port in 0..10_000 {
            pacer.push(check(port));
        }
        assert_eq!(pacer.waiting.len(), MAX_WAITING);
    }
}
