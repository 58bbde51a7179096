//! When to play faster or slower to bring the delay to its target.

/// Share of a new measurement in the smoothed delay: it follows within a third of a second, and
/// a late wake-up of the caller does not move it.
const SMOOTHING: f32 = 1.0 / 16.0;

/// Above the target by a frame and this, in µs, the delay is too long; below by twice this, short.
const TOLERANCE_US: f32 = 5_000.0;

/// Above the target by this, in µs, the way back is taken at a fifth above normal speed.
const FAR_US: f32 = 60_000.0;

/// What to do about the delay with the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Correction {
    Keep,
    /// Play two packets in the time of one.
    Shorten,
    /// Put in a frame before the next packet.
    Lengthen,
}

/// Follows the delay and spaces its corrections.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// Whether the sound is quiet just now.
    pub(super) quiet: bool,
    delay_us: f32,
    /// Packets since the last correction, and since the delay has been out of bounds.
    since_correction: u32,
    since_astray: u32,
}

impl Pacer {
    /// The smoothed delay.
    pub(super) fn delay_us(&self) -> f32 {
        self.delay_us
    }

    /// The delay has been set anew.
    pub(super) fn set_delay(&mut self, delay_us: i64) {
        self.delay_us = delay_us as f32;
        self.since_astray = 0;
    }

    /// A packet is due at this delay.
    pub(super) fn observe(&mut self, delay_us: i64) {
        self.delay_us += (delay_us as f32 - self.delay_us) * SMOOTHING;
        self.since_correction = self.since_correction.saturating_add(1);
    }

    /// The delay has grown by itself: a late packet was waited for.
    pub(super) fn moved(&mut self, by_us: i64) {
        self.delay_us += by_us as f32;
    }

    /// A correction has been made.
    pub(super) fn corrected(&mut self, by_us: i64) {
        self.moved(by_us);
        self.since_correction = 0;
    }

    /// What to do, given the target and what shortening by a packet takes off.
    pub(super) fn correction(&mut self, target_us: i64, packet_us: i64) -> Correction {
        let excess = self.delay_us - target_us as f32;
        let wanted = if excess > packet_us as f32 + TOLERANCE_US {
            Correction::Shorten
        } else if excess < -2.0 * TOLERANCE_US {
            Correction::Lengthen
        } else {
            self.since_astray = 0;
            return Correction::Keep;
        };
        self.since_astray = self.since_astray.saturating_add(1);
        let (patience, spacing) = self.reluctance(wanted, excess);
        if self.since_astray > patience && self.since_correction > spacing {
            wanted
        } else {
            Correction::Keep
        }
    }

    /// For how many packets to hope for a quiet one, and how many to leave between corrections.
    fn reluctance(&self, wanted: Correction, excess: f32) -> (u32, u32) {
        match wanted {
            Correction::Shorten if self.quiet => (0, 1),
            Correction::Shorten if excess > FAR_US => (10, 4),
            Correction::Shorten => (100, 25),
            _ if self.quiet => (0, 4),
            _ => (50, 25),
        }
    }
}
