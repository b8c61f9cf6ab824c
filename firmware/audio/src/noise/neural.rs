//! All that is no voice (keys, cups, paper, traffic), by a small recurrent network.
//!
//! It is RNNoise: J.-M. Valin, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech Enhancement", IEEE MMSP
//! 2018. The crate `nnnoiseless` is a port of it and has the network's weights in its source (88 kB), both under Xiph's
//! BSD 3-clause licence.

use super::{FULL_SCALE, NoiseReduction};
use crate::FRAME;
use nnnoiseless::DenoiseState;
use std::time::Duration;

const _: () = assert!(DenoiseState::FRAME_SIZE == FRAME);

/// Of transforms over 20 ms that overlap by half: a frame is whole when the next one is there.
const DELAY: Duration = Duration::from_millis(10);

/// Gains of 22 bands from 0 to 20 kHz, 0..=1, so that what is taken away has no limit; and between the harmonics of a
/// voice a comb filter. A gain falls to no less than 0.6 of itself in a frame. What is above 20 kHz goes.
///
/// The library plans its transforms once in each thread, in the first frame there; that frame takes memory, none after it
/// does.
pub(super) struct Neural {
    state: Box<DenoiseState<'static>>,
    /// What goes in, in steps of 16 bit samples.
    input: [f32; FRAME],
}

impl Neural {
    /// With the library's own weights.
    pub(super) fn new() -> Self {
        Self { state: DenoiseState::new(), input: [0.0; FRAME] }
    }
}

impl NoiseReduction for Neural {
    fn delay(&self) -> Duration {
        DELAY
    }

    fn process(&mut self, frame: &mut [f32; FRAME]) {
        for (input, sample) in self.input.iter_mut().zip(&*frame) {
            *input = sample * FULL_SCALE;
        }
        self.state.process_frame(frame, &self.input);
        for sample in frame.iter_mut() {
            *sample /= FULL_SCALE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_it_heard_it_is_soon_as_if_it_had_heard_nothing() {
        let tone = |n: usize| -> [f32; FRAME] {
            // A voice of a kind: a pulse of 125 Hz with its overtones, in syllables.
            std::array::from_fn(|i| {
                let at = n * FRAME + i;
                let loud = (at as f32 * 0.000_4).sin().max(0.0);
                let pulse: f32 = (1..20).map(|k| (at as f32 * 0.016_36 * k as f32).sin() / k as f32).sum();
                0.1 * loud * pulse
            })
        };
        let hostile: [fn(usize) -> f32; 4] = [
            |_| 1.0,
            |i| if i / 24 % 2 == 0 { 1.0 } else { -1.0 },
            |i| (i as f32 * 12.9898).sin() * 0.9,
            |_| 1e-30,
        ];
        for bad in hostile {
            let (mut spoilt, mut fresh) = (Neural::new(), Neural::new());
            for _ in 0..300 {
                spoilt.process(&mut std::array::from_fn(bad));
                fresh.process(&mut [0.0; FRAME]);
            }
            let mut energies = [0.0_f32; 2];
            for n in 0..400 {
                for (energy, neural) in energies.iter_mut().zip([&mut spoilt, &mut fresh]) {
                    let mut frame = tone(n);
                    neural.process(&mut frame);
                    assert!(frame.iter().all(|sample| sample.is_finite()));
                    if n >= 300 {
                        *energy += frame.iter().map(|sample| sample * sample).sum::<f32>();
                    }
                }
            }
            let apart_db = 10.0 * (energies[0] / energies[1]).log10();
            assert!(apart_db.abs() < 1.0, "{apart_db} dB, {energies:?}");
            assert!(energies[1] > 1e-3, "nothing comes through");
        }
    }
}
