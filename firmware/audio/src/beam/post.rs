//! What the weights leave of others is taken down bin by bin: few microphones close together cannot keep out more.
//!
//! Of the field of the room: what is heard at right angles to the talker's wave says how loud it is (after R. Zelinski, "A
//! microphone array with adaptive post-filtering for noise reduction in reverberant rooms", 1988, and S. Leukimmiatis,
//! P. Maragos, "Optimum post-filter estimation for noise reduction in multichannel speech processing", 2006). Of somebody
//! else who talks: each bin belongs to who is the louder one in it (O. Yilmaz, S. Rickard, "Blind separation of speech
//! mixtures via time-frequency masking", 2004). Both stay gentle: a voice with holes in it is worse than one with others
//! around it.

use super::health::MAX;
use super::weights::{Heard, Weights};
use crate::transform::{BINS, Spectrum};

/// How fast powers follow, a frame: the field's and the voices'.
const FIELD: f32 = 0.15;
const VOICES: f32 = 0.5;
/// How much of the field is taken away (power), and the most that is: 4 dB.
const SHARE: f32 = 0.7;
const FIELD_FLOOR: f32 = 0.63;
/// A bin passes whole when so much of it is the talker's (one over it), and the most that is taken of an intruder: 16 dB.
const OWN: f32 = 1.1;
const INTRUDER_FLOOR: f32 = 0.15;

/// The gain of each bin.
pub(super) struct PostFilter {
    powers: Vec<Heard>,
    gain: [f32; BINS],
}

impl PostFilter {
    pub(super) fn new() -> Self {
        Self { powers: vec![Heard::default(); BINS], gain: [1.0; BINS] }
    }

    /// Looks at what the microphones `heard`, of which `weights` made one.
    pub(super) fn look(&mut self, weights: &Weights, heard: &[Spectrum], order: &[u8; MAX]) {
        for (bin, (power, gain)) in self.powers.iter_mut().zip(&mut self.gain).enumerate() {
            let Some(now) = weights.hear(heard, order, bin).filter(Heard::is_finite) else {
                *gain = 1.0;
                continue;
            };
            for (power, now, pace) in [
                (&mut power.plain, now.plain, FIELD),
                (&mut power.field, now.field, FIELD),
                (&mut power.talker, now.talker, VOICES),
                (&mut power.intruder, now.intruder, VOICES),
            ] {
                *power += pace * (now - *power);
            }
            let clear = 1.0 - SHARE * power.field / power.plain.max(1e-20);
            let of_talker = power.talker / (power.talker + power.intruder).max(1e-20);
            *gain = clear.max(0.0).sqrt().max(FIELD_FLOOR)
                * if now.intruder > 0.0 { (OWN * of_talker).clamp(INTRUDER_FLOOR, 1.0) } else { 1.0 };
        }
    }

    pub(super) fn apply(&self, sum: &mut Spectrum) {
        for ((re, im), gain) in sum.re.iter_mut().zip(&mut sum.im).zip(&self.gain) {
            *re *= gain;
            *im *= gain;
        }
    }
}
