//! Calls that are over, so that a late or replayed message can't revive one.

use std::collections::VecDeque;

use call_signal::CallId;

/// How many ended calls are remembered.
const REMEMBERED: usize = 256;

/// The last calls that ended, oldest first.
#[derive(Default)]
pub(super) struct PastCalls(VecDeque<CallId>);

impl PastCalls {
    pub(super) fn contains(&self, id: CallId) -> bool {
        self.0.contains(&id)
    }

    pub(super) fn insert(&mut self, id: CallId) {
        if self.contains(id) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let id = |n: u16| {
            let mut bytes = [0; CallId::LEN];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            CallId(bytes)
        };
        let mut past = PastCalls::default();
        for n in 0..=REMEMBERED as u16 {
            past.insert(id(n));
        }
        assert!(!past.contains(id(0)));
        assert!(past.contains(id(1)));
        assert_eq!(past.0.len(), REMEMBERED);
    }
}
