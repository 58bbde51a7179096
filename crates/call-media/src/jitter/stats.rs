//! What the jitter buffer counts.

/// Counts since the beginning, and the state of this moment.
///
/// All counts but [`buffered`](Self::buffered) only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct JitterStats {
    /// Packets that arrived, of whatever fate.
    pub received: u64,
    /// Packets that were not there when their turn came; `late` of them came after all.
    pub lost: u64,
    /// Packets that arrived after their turn, and were of no use.
    pub late: u64,
    /// Packets that arrived a second time.
    pub duplicate: u64,
    /// Packets that arrived in time, yet after one with a higher sequence number.
    pub reordered: u64,
    /// Packets that were refused: too large, or out of the stream's numbers and times.
    pub refused: u64,
    /// Packets that were thrown away unheard, because the buffer was full or far behind.
    pub discarded: u64,
    /// [`Playout::Conceal`](super::Playout::Conceal) outputs for what the network lost or was
    /// late with. An output counts as soon as it is known to be no pause of the sender's.
    pub concealed: u64,
    /// Lost packets that were recovered from the redundancy in the following one.
    pub fec_recovered: u64,
    /// Outputs during pauses of the sender's.
    pub paused: u64,
    /// Corrections of the delay that played two packets in the time of one: a fast sender's
    /// clock, or the way back from a spike.
    pub shortened: u64,
    /// Corrections of the delay that put in a frame of continued sound: a slow sender's clock, or
    /// the way up on a network that has become unsteady.
    pub lengthened: u64,
    /// Times the stream began anew: another source, an absurd jump of its numbers.
    pub restarts: u64,
    /// Packets in the buffer.
    pub buffered: usize,
    /// How long nothing playable has come, in ms; 0 while the sound flows.
    pub waiting_ms: f32,
    /// How long after the earliest time that the network allows sound is played, in ms.
    pub delay_ms: f32,
    /// The delay aimed at, in ms.
    pub target_delay_ms: f32,
    /// Interarrival jitter of RFC 3550 §6.4.1, in ms.
    pub jitter_ms: f32,
}

/// Interarrival jitter of RFC 3550 §6.4.1.
#[derive(Debug, Default)]
pub(super) struct InterarrivalJitter {
    last_transit_us: Option<i64>,
    jitter_us: f32,
}

impl InterarrivalJitter {
    /// Takes the next packet in the order of arrival.
    pub(super) fn observe(&mut self, transit_us: i64) {
        if let Some(last) = self.last_transit_us.replace(transit_us) {
            let difference = transit_us.abs_diff(last) as f32;
            self.jitter_us += (difference - self.jitter_us) / 16.0;
        }
    }

    /// Forgets the last packet: the next one is of another stream.
    pub(super) fn restart(&mut self) {
        self.last_transit_us = None;
    }

    pub(super) fn ms(&self) -> f32 {
        self.jitter_us / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_zero_on_a_steady_network() {
        let mut jitter = InterarrivalJitter::default();
        (0..100).for_each(|_| jitter.observe(7_000));
        assert_eq!(jitter.ms(), 0.0);
    }

    #[test]
    fn jitter_converges_to_the_mean_difference() {
        let mut jitter = InterarrivalJitter::default();
        (0..1000).for_each(|i| jitter.observe((i % 2) * 10_000));
        assert!((jitter.ms() - 10.0).abs() < 0.01, "{}", jitter.ms());
    }
}
