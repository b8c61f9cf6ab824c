//! Our own chain.

use rostrum_audio::{AudioError, CaptureChain, CaptureMeters, VoiceOptions};
use rostrum_hal::microphone::{ArrayFormat, Position};

use super::{Engine, FRAME};

/// What the chain said after a frame.
pub type Frame = CaptureMeters;

/// The whole chain, with Opus; its voice is taken before Opus.
pub struct Chain {
    chain: CaptureChain,
    interleaved: Vec<f32>,
    /// The meters of every frame.
    pub meters: Vec<CaptureMeters>,
}

impl Chain {
    /// For an array of a geometry.
    ///
    /// # Errors
    /// As [`CaptureChain::new`].
    pub fn new(geometry: &[Position], options: VoiceOptions) -> Result<Self, AudioError> {
        let array = ArrayFormat { rate_hz: 48_000, period_frames: FRAME, geometry: geometry.to_vec() };
        Ok(Self {
            chain: CaptureChain::new(&array, options)?,
            interleaved: vec![0.0; geometry.len() * FRAME],
            meters: Vec::new(),
        })
    }

    /// How far its voice is behind its microphones, as it says.
    pub fn delay(&self) -> std::time::Duration {
        self.chain.delay()
    }

    /// The chain itself.
    pub fn inner(&mut self) -> &mut CaptureChain {
        &mut self.chain
    }
}

impl Engine for Chain {
    fn playback(&mut self, frame: &[&[f32]]) {
        self.chain.playback(frame[0]);
    }

    fn process(&mut self, microphones: &[&[f32]], voice: &mut [f32]) {
        let count = microphones.len();
        for (channel, plane) in microphones.iter().enumerate() {
            for (to, sample) in self.interleaved[channel..].iter_mut().step_by(count).zip(*plane) {
                *to = *sample;
            }
        }
        let _ = self.chain.process(&self.interleaved);
        match self.chain.signals() {
            Some(signals) => voice.copy_from_slice(signals.output),
            None => voice.fill(0.0),
        }
        self.meters.push(self.chain.meters());
    }
}
