//! Sound that a speech codec takes for speech.

use std::f32::consts::TAU;

use call_media::{AUDIO_FRAME_SAMPLES, AudioFrame};

/// Voiced syllables of changing pitch and vowel, with pauses between them.
pub(crate) fn babble(seed: u64, seconds: f32) -> Vec<i16> {
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut phase = 0.0_f32;
    (0..(seconds * 48_000.0) as usize)
        .map(|index| {
            let time = index as f32 / 48_000.0;
            // Four syllables a second, no two in a row alike.
            let syllable = (time * 4.0) as u64 + seed * 31;
            let within = (time * 4.0).fract();
            let swell = (within * std::f32::consts::PI).sin().max(0.0).powf(0.5);
            let pitch = 100.0 + (syllable * 37 % 60) as f32 + 15.0 * within;
            let vowel = 400.0 + (syllable * 151 % 500) as f32;
            phase = (phase + pitch / 48_000.0).fract();
            let voice: f32 = (1..40)
                .map(|harmonic| {
                    let frequency = pitch * harmonic as f32;
                    let formant = |at: f32| 1.0 / (1.0 + ((frequency - at) / 120.0).powi(2));
                    let loud = formant(vowel) + 0.5 * formant(vowel * 2.5) + 0.02;
                    loud * (TAU * phase * harmonic as f32).sin()
                })
                .sum();
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let breath = (noise >> 40) as f32 / 16_777_216.0 - 0.5;
            let sound = swell * (voice * 5_000.0 + breath * 400.0);
            sound.clamp(-32_000.0, 32_000.0) as i16
        })
        .collect()
}

/// Whole frames of the sound.
pub(crate) fn frames(pcm: &[i16]) -> impl Iterator<Item = AudioFrame> + '_ {
    pcm.chunks_exact(AUDIO_FRAME_SAMPLES).map(|chunk| {
        let mut frame = AudioFrame::SILENCE;
        frame.samples_mut().copy_from_slice(chunk);
        frame
    })
}
