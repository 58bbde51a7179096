//! Audio: the format, WAV files, Opus, and the receiver of a stream.
pub(crate) mod format;
pub(crate) mod opus;
pub(crate) mod receiver;
mod resample;
pub(crate) mod wav_in;
pub(crate) mod wav_out;
