//! What arrived of what was said, and when.

use std::path::Path;

use call_media::{SAMPLE_RATE, measure};

use super::conduct::{REFERENCE, Recording, Side};
use super::pesq::Pesq;
use super::{BothHeard, speech};
use crate::failure::Failure;

/// Silence put in front of what was heard: its beginning may be missing, so that the same sound is
/// earlier in it than in what was said.
const LEAD: usize = SAMPLE_RATE as usize;

/// Of the whole, this much is enough for the first look.
const FIRST_LOOK: usize = 6 * SAMPLE_RATE as usize;

/// For the delay over time: pieces of this length.
const PIECE: usize = SAMPLE_RATE as usize;

/// How far the delay of a piece may be from that of the whole.
const MARGIN: usize = SAMPLE_RATE as usize / 4;

/// Below this, a piece tells nothing about its delay.
const MIN_CORRELATION: f32 = 0.5;

/// Milliseconds a sample.
const SAMPLE_MS: f64 = 1000.0 / SAMPLE_RATE as f64;

/// What one side heard of the other.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) samples: Vec<i16>,
    /// Sample 0 of this recording was played so much later than sample 0 of the other side's speech
    /// was spoken.
    pub(super) late_ms: Option<f64>,
    /// Time in the speech in seconds, in the middle of a piece, and delay from mouth to ear in milliseconds.
    pub(super) delays: Vec<(f64, f64)>,
    /// The median of `delays`.
    pub(super) mouth_to_ear_ms: Option<f64>,
    pub(super) pesq_wb: Option<f64>,
}

/// What the caller heard, and what the callee heard.
pub(super) fn both(
    out: &Path,
    spoken: &[i16],
    recording: &Recording,
) -> Result<BothHeard, Failure> {
    let mut heard = [Heard::default(), Heard::default()];
    let mut scores = Vec::new();
    for (heard, side) in heard.iter_mut().zip(Side::BOTH) {
        let path = out.join(side.heard());
        heard.samples = speech::read(&path)?;
        heard.late_ms = started_ms(recording, side)
            .zip(started_ms(recording, side.peer()))
            .map(|(played, spoken)| played - spoken);
        let late = heard.late_ms.map_or(0, |ms| (ms / SAMPLE_MS) as i64);
        let Some(offset) = offset(spoken, &heard.samples, late) else {
            continue;
        };
        let offset_ms = offset as f64 * SAMPLE_MS;
        scores.push((side, Pesq::start(&out.join(REFERENCE), &path, offset_ms)));
        if let Some(late_ms) = heard.late_ms {
            let offsets = offsets(spoken, &heard.samples, offset);
            heard.delays = offsets
                .into_iter()
                .map(|(at, ms)| (at, ms + late_ms))
                .collect();
            heard.mouth_to_ear_ms = median(&heard.delays).or(Some(offset_ms + late_ms));
        }
    }
    for (side, pesq) in scores {
        let [caller, callee] = &mut heard;
        let heard = if side == Side::Caller { caller } else { callee };
        heard.pesq_wb = pesq.score();
    }
    Ok(heard)
}

fn started_ms(recording: &Recording, side: Side) -> Option<f64> {
    recording.last(side)?.media_started_unix_ms
}

/// By how many samples `heard` has the same sound later than `spoken`, in their own times, where
/// `heard` begins `late` samples after `spoken` (before, if negative).
fn offset(spoken: &[i16], heard: &[i16], late: i64) -> Option<i64> {
    // What was said before the other side listened, or heard before anything was said.
    let (missed, idle) = (late.max(0) as usize, late.min(0).unsigned_abs() as usize);
    let (spoken, heard) = (spoken.get(missed..)?, heard.get(idle..)?);
    let spoken = spoken.get(..FIRST_LOOK).unwrap_or(spoken);
    // Speech may repeat itself: what is heard of the repetition must not be looked at.
    let heard = heard.get(..spoken.len() + LEAD).unwrap_or(heard);
    let led = [&vec![0; LEAD], heard].concat();
    let delay = measure::delay(spoken, &led)?;
    Some(samples(delay.ms) - LEAD as i64 + idle as i64 - missed as i64)
}

/// Offsets in milliseconds of pieces of the speech, around that of the whole.
fn offsets(spoken: &[i16], heard: &[i16], whole: i64) -> Vec<(f64, f64)> {
    let pieces = (0..spoken.len().saturating_sub(PIECE / 2)).step_by(PIECE);
    pieces
        .filter_map(|start| {
            let piece = spoken.get(start..(start + PIECE).min(spoken.len()))?;
            let from = (start as i64 + whole - MARGIN as i64).max(0);
            let end = (from as usize + piece.len() + 2 * MARGIN).min(heard.len());
            let delay = measure::delay(piece, heard.get(from as usize..end)?)?;
            let later = samples(delay.ms);
            let known = delay.correlation >= MIN_CORRELATION && later <= 2 * MARGIN as i64;
            let offset = from + later - start as i64;
            let middle = (start + piece.len() / 2) as f64 / f64::from(SAMPLE_RATE);
            known.then_some((middle, offset as f64 * SAMPLE_MS))
        })
        .collect()
}

fn samples(ms: f32) -> i64 {
    (f64::from(ms) / SAMPLE_MS).round() as i64
}

fn median(delays: &[(f64, f64)]) -> Option<f64> {
    let mut values: Vec<f64> = delays.iter().map(|(_, ms)| *ms).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that swells and fades like syllables, the same each time.
    fn babble(count: usize) -> Vec<i16> {
        let (mut state, mut low) = (1_u32, 0.0_f32);
        (0..count)
            .map(|index| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 16) as f32 / 32_768.0 - 1.0;
                low += (noise - low) * 0.05;
                (low * (index as f32 / 9_000.0).sin() * 60_000.0) as i16
            })
            .collect()
    }

    #[test]
    fn an_offset_may_be_negative() {
        let spoken = babble(96_000);
        assert_eq!(
            offset(&spoken, &[&vec![0; 4_800], &spoken[..]].concat(), 0),
            Some(4_800)
        );
        assert_eq!(offset(&spoken, &spoken[2_400..], 0), Some(-2_400));
        // The other side began to listen a second later, or a second earlier.
        let late = [&vec![0; 960], &spoken[48_000..]].concat();
        assert_eq!(offset(&spoken, &late, 48_000), Some(960 - 48_000));
        let early = [&vec![0; 48_960], &spoken[..]].concat();
        assert_eq!(offset(&spoken, &early, -48_000), Some(48_960));
        assert_eq!(offset(&spoken, &vec![0; 96_000], 0), None);
    }

    #[test]
    fn offsets_follow_a_delay_that_grows() {
        let spoken = babble(7 * 48_000);
        let (before, after) = spoken.split_at(3 * 48_000);
        let heard = [&vec![0; 2_400], before, &vec![0; 2_400], after].concat();
        let offsets = offsets(&spoken, &heard, 2_400);
        let at = |second: f64| {
            offsets
                .iter()
                .find(|(at, _)| *at == second)
                .map(|(_, ms)| *ms)
        };
        assert!((at(1.5).unwrap() - 50.0).abs() < 0.1, "{offsets:?}");
        assert!((at(5.5).unwrap() - 100.0).abs() < 0.1, "{offsets:?}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[(0.0, 9.0), (1.0, 1.0), (2.0, 5.0)]), Some(5.0));
        assert_eq!(median(&[]), None);
    }
}
