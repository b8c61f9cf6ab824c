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
    played: Vec<f32>,
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
            played: Vec::new(),
            meters: Vec::new(),
        })
    }

    /// How far its voice is behind its microphones, as it says.
    pub fn delay(&self) -> std::time::Duration {
        self.chain.delay()
    }

    /// Where it said that somebody talks, of every frame: degrees.
    pub fn directions(&self) -> Vec<Option<f64>> {
        self.meters.iter().map(|meters| Some(f64::from(meters.direction?.azimuth_deg))).collect()
    }

    /// The chain itself.
    pub fn inner(&mut self) -> &mut CaptureChain {
        &mut self.chain
    }
}

impl Engine for Chain {
    fn playback(&mut self, frame: &[&[f32]]) {
        self.played.resize(frame.len() * FRAME, 0.0);
        interleave(frame, &mut self.played);
        self.chain.playback(&self.played);
    }

    fn process(&mut self, microphones: &[&[f32]], voice: &mut [f32]) {
        interleave(microphones, &mut self.interleaved);
        let _ = self.chain.process(&self.interleaved);
        match self.chain.signals() {
            Some(signals) => voice.copy_from_slice(signals.output),
            None => voice.fill(0.0),
        }
        self.meters.push(self.chain.meters());
    }
}

fn interleave(planes: &[&[f32]], to: &mut [f32]) {
    for (channel, plane) in planes.iter().enumerate() {
        for (to, sample) in to[channel..].iter_mut().step_by(planes.len()).zip(*plane) {
            *to = *sample;
        }
    }
}
