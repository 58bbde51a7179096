//! Audio: format, WAV, Opus, receiver.
pub(crate) mod format;
pub(crate) mod opus;
pub(crate) mod receiver;
mod resample;
pub(crate) mod wav_in;
pub(crate) mod wav_out;
