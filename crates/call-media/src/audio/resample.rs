//! From any sampling rate to 48 kHz, as a stream.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use crate::{AUDIO_FRAME_SAMPLES, SAMPLE_RATE};

/// Taps of the filter: with this window no alias is louder than -90 dB, and 20 kHz of 44.1 pass.
const TAPS: usize = 256;

/// A windowed-sinc resampler that pulls its input and gives a frame at a time.
///
/// The output begins with the first sample of the input (the filter's delay is cut off) and has
/// `input * 48,000 / rate` samples, rounded.
pub(super) struct Resampler {
    sinc: Async<f32>,
    rate: u32,
    input: Vec<f32>,
    /// Samples read so far, and whether the input has ended with them.
    read: u64,
    input_ended: bool,
    /// Samples given so far.
    given: u64,
    /// Samples of the filter's delay that are still to be cut off.
    to_cut: usize,
    /// Output of the last run that did not fit into a frame.
    left_over: Vec<f32>,
}

impl Resampler {
    /// A resampler from `rate` Hz; on error, what is wrong.
    pub(super) fn new(rate: u32) -> Result<Self, String> {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2)
            .interpolation(SincInterpolationType::Cubic);
        let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
        let sinc = Async::new_sinc(
            ratio,
            1.0,
            &parameters,
            AUDIO_FRAME_SAMPLES,
            1,
            FixedAsync::Output,
        )
        .map_err(|error| error.to_string())?;
        Ok(Self {
            input: vec![0.0; sinc.input_frames_max()],
            // Measured: a sample less than half the filter, which `output_delay` gives.
            to_cut: (ratio * TAPS as f64 / 2.0 - 1.0).round() as usize,
            sinc,
            rate,
            read: 0,
            input_ended: false,
            given: 0,
            left_over: Vec::with_capacity(2 * AUDIO_FRAME_SAMPLES),
        })
    }

    /// Fills `out`; returns the number of samples, fewer than a frame only at the end.
    ///
    /// `fill` writes the next input and returns its number, fewer than asked only at the end.
    pub(super) fn next<E>(
        &mut self,
        out: &mut [f32; AUDIO_FRAME_SAMPLES],
        mut fill: impl FnMut(&mut [f32]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        while self.left_over.len() < out.len() && !self.is_spent() {
            self.run(&mut fill)?;
        }
        let count = self.left_over.len().min(out.len()).min(self.owed());
        for (to, from) in out.iter_mut().zip(self.left_over.drain(..count)) {
            *to = from;
        }
        self.given += count as u64;
        Ok(count)
    }

    /// Resamples the next piece of input, or of silence behind its end, into `left_over`.
    fn run<E>(&mut self, fill: &mut impl FnMut(&mut [f32]) -> Result<usize, E>) -> Result<(), E> {
        let wanted = self.sinc.input_frames_next().min(self.input.len());
        let input = &mut self.input[..wanted];
        let mut count = 0;
        if !self.input_ended {
            count = fill(input)?.min(wanted);
            self.input_ended = count < wanted;
            self.read += count as u64;
        }
        input[count..].fill(0.0);
        let mut output = [0.0; AUDIO_FRAME_SAMPLES];
        let made = {
            let from = InterleavedSlice::new(input, 1, wanted);
            let to = InterleavedSlice::new_mut(&mut output, 1, AUDIO_FRAME_SAMPLES);
            match (from, to) {
                (Ok(from), Ok(mut to)) => self
                    .sinc
                    .process_into_buffer(&from, &mut to, None)
                    .map_or(0, |(_, made)| made),
                _ => 0,
            }
        };
        debug_assert_eq!(made, AUDIO_FRAME_SAMPLES, "sizes are the resampler's own");
        let cut = self.to_cut.min(AUDIO_FRAME_SAMPLES);
        self.to_cut -= cut;
        self.left_over.extend_from_slice(&output[cut..]);
        Ok(())
    }

    /// Samples that the input read so far is still good for.
    fn owed(&self) -> usize {
        if !self.input_ended {
            return usize::MAX;
        }
        let rate = u64::from(self.rate);
        let total = (self.read * u64::from(SAMPLE_RATE) + rate / 2) / rate;
        usize::try_from(total.saturating_sub(self.given)).unwrap_or(usize::MAX)
    }

    /// Whether everything that is owed lies in `left_over`.
    fn is_spent(&self) -> bool {
        self.owed() <= self.left_over.len()
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}
