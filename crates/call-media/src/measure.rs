//! Measures of sound: how loud, how late, how it looks in a plot.

use crate::SAMPLE_RATE;

/// The longest delay that [`delay`] looks for, in ms.
pub const MAX_DELAY_MS: usize = 5_000;

/// Coarse search at a twenty-fourth of the rate, 2 kHz: speech keeps its shape there.
const DECIMATION: usize = 24;

/// Samples of the reference that are looked for, at the coarse and at the full rate: ten seconds
/// and two, the loudest there are. However long the sounds, the search takes no longer.
const COARSE_SAMPLES: usize = 480_000;
const FINE_SAMPLES: usize = 96_000;

/// Sounds below this correlation have nothing to do with each other.
const MIN_CORRELATION: f32 = 0.2;

/// How much later one sound is than another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delay {
    /// Milliseconds, exact to a sample (0.02 ms).
    pub ms: f32,
    /// Normalised correlation at that delay: 1 if one is a scaled copy of the other, near 0 if
    /// they are unrelated.
    pub correlation: f32,
}

/// Finds how much later `received` has the sound of `reference`, both at 48 kHz, from no delay to
/// [`MAX_DELAY_MS`].
///
/// `None` if either is silent or shorter than 100 ms, or if nothing in `received` resembles the
/// loudest ten seconds of `reference`. It takes a fraction of 0.1 s. A pure tone resembles itself after each
/// of its periods: measure with speech or noise.
pub fn delay(reference: &[i16], received: &[i16]) -> Option<Delay> {
    const SHORTEST: usize = SAMPLE_RATE as usize / 10;
    if reference.len() < SHORTEST || received.len() < SHORTEST {
        return None;
    }
    let furthest = MAX_DELAY_MS * SAMPLE_RATE as usize / 1000;
    let (part, behind) = loudest(reference, received, COARSE_SAMPLES)?;
    let behind = behind.get(..part.len() + furthest).unwrap_or(behind);
    let (part_low, behind_low) = (decimate(part), decimate(behind));
    let (coarse, likeness) = best_lag(&part_low, &behind_low, 0..=furthest / DECIMATION)?;
    if likeness < MIN_CORRELATION {
        return None;
    }
    let (part, behind) = loudest(part, behind, FINE_SAMPLES)?;
    let around = coarse * DECIMATION;
    let lags = around.saturating_sub(2 * DECIMATION)..=around + 2 * DECIMATION;
    let (fine, correlation) = best_lag(&to_float(part), &to_float(behind), lags)?;
    Some(Delay {
        ms: fine as f32 * 1000.0 / SAMPLE_RATE as f32,
        correlation,
    })
}

/// Root mean square of samples as a share of full scale, `0.0..=1.0`; of none, 0.
pub fn rms(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let energy: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    ((energy / samples.len() as f64).sqrt() / 32_768.0) as f32
}

/// One column of a waveform plot; all values are shares of full scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// Least sample, `-1.0..=1.0`.
    pub min: f32,
    /// Greatest sample, `-1.0..=1.0`.
    pub max: f32,
    /// Root mean square, `0.0..=1.0`.
    pub rms: f32,
}

/// Sums samples up to at most `columns` columns of a waveform plot, each of the same number of
/// samples (the last may have fewer). No more columns than samples.
pub fn envelope(samples: &[i16], columns: usize) -> Vec<Column> {
    if columns == 0 {
        return Vec::new();
    }
    let width = samples.len().div_ceil(columns).max(1);
    samples
        .chunks(width)
        .map(|chunk| Column {
            min: chunk.iter().min().map_or(0.0, |&s| share(s)),
            max: chunk.iter().max().map_or(0.0, |&s| share(s)),
            rms: rms(chunk),
        })
        .collect()
}

fn share(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

fn to_float(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|&sample| share(sample)).collect()
}

/// Means of [`DECIMATION`] samples each.
fn decimate(samples: &[i16]) -> Vec<f32> {
    samples
        .chunks_exact(DECIMATION)
        .map(|chunk| chunk.iter().map(|&s| share(s)).sum::<f32>() / DECIMATION as f32)
        .collect()
}

/// The loudest `length` samples of `reference`, to a tenth of a second, and `received` from the
/// same place on; `None` if it does not go that far.
fn loudest<'a>(
    reference: &'a [i16],
    received: &'a [i16],
    length: usize,
) -> Option<(&'a [i16], &'a [i16])> {
    const BLOCK: usize = SAMPLE_RATE as usize / 10;
    let energy = |block: &[i16]| block.iter().map(|&s| i64::from(s).pow(2)).sum::<i64>();
    let blocks: Vec<i64> = reference.chunks(BLOCK).map(energy).collect();
    let start = blocks
        .windows((length / BLOCK).clamp(1, blocks.len().max(1)))
        .map(|window| window.iter().sum::<i64>())
        .enumerate()
        .max_by_key(|&(index, energy)| (energy, std::cmp::Reverse(index)))
        .map_or(0, |(index, _)| index * BLOCK);
    let part = reference.get(start..)?;
    Some((part.get(..length).unwrap_or(part), received.get(start..)?))
}

/// The lag, in samples, at which `received` is most like `reference`, and the normalised
/// correlation there; `None` if there is silence at every lag.
fn best_lag(
    reference: &[f32],
    received: &[f32],
    lags: std::ops::RangeInclusive<usize>,
) -> Option<(usize, f32)> {
    let (reference_energy, received_energy) = (energies(reference), energies(received));
    lags.filter_map(|lag| {
        let shifted = received.get(lag..)?;
        let length = reference.len().min(shifted.len());
        // A short overlap is alike by chance.
        if length < reference.len().div_ceil(2) {
            return None;
        }
        let energy = reference_energy.get(length)?
            * (received_energy.get(lag + length)? - received_energy.get(lag)?);
        let product = dot(reference.get(..length)?, shifted.get(..length)?);
        (energy > 0.0).then(|| (lag, product / energy.sqrt() as f32))
    })
    .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// The energy of the first 0, 1, 2, … samples.
fn energies(samples: &[f32]) -> Vec<f64> {
    let sums = samples.iter().scan(0.0, |sum, &sample| {
        *sum += f64::from(sample).powi(2);
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}

/// The sum of products, in lanes that the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    for (x, y) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// Noise that swells and fades like syllables.
    fn babble(seed: u64, samples: usize) -> Vec<i16> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut low = 0.0_f32;
        (0..samples)
            .map(|i| {
                let swell = (i as f32 / 9_000.0).sin().abs();
                low += (rng.random_range(-1.0..1.0) - low) * 0.05;
                (low * swell * 60_000.0) as i16
            })
            .collect()
    }

    fn late(samples: &[i16], by: usize) -> Vec<i16> {
        [&vec![0; by], samples].concat()
    }

    #[test]
    fn a_delayed_copy_is_found_to_the_sample() {
        let reference = babble(1, 240_000);
        for by in [0, 1, 959, 6_001, 48_000, 100_003] {
            let found = delay(&reference, &late(&reference, by)).unwrap();
            assert_eq!((found.ms * 48.0).round() as usize, by);
            assert!(found.correlation > 0.99);
        }
    }

    #[test]
    fn a_quiet_and_noisy_copy_is_found_too() {
        let reference = babble(1, 240_000);
        let noise = babble(2, 240_000);
        let mixed: Vec<i16> = reference
            .iter()
            .zip(&noise)
            .map(|(a, b)| a / 4 + b / 8)
            .collect();
        let found = delay(&reference, &late(&mixed, 7_200)).unwrap();
        assert!((found.ms - 150.0).abs() < 0.1, "{found:?}");
        assert!((0.7..0.98).contains(&found.correlation), "{found:?}");
    }

    #[test]
    fn unrelated_sounds_have_no_delay() {
        assert_eq!(delay(&babble(1, 240_000), &babble(2, 240_000)), None);
    }

    #[test]
    fn silence_has_no_delay() {
        assert_eq!(delay(&[0; 48_000], &[0; 48_000]), None);
        assert_eq!(delay(&[], &babble(1, 48_000)), None);
    }

    #[test]
    fn rms_of_a_square_wave_is_its_height() {
        let square: Vec<i16> = (0..960)
            .map(|i| if i % 2 == 0 { 16_384 } else { -16_384 })
            .collect();
        assert!((rms(&square) - 0.5).abs() < 1e-6);
        assert_eq!(rms(&[]), 0.0);
    }

    #[test]
    fn an_envelope_has_no_more_columns_than_asked() {
        let columns = envelope(&[-32_768, 0, 16_384, 0, 8_192], 2);
        assert_eq!(columns.len(), 2);
        assert_eq!((columns[0].min, columns[0].max), (-1.0, 0.5));
        assert_eq!(columns[1].max, 0.25);
        assert!(envelope(&[1, 2], 0).is_empty());
        assert_eq!(envelope(&[1, 2], 5).len(), 2);
    }
}
