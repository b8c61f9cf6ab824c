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
