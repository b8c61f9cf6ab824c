//! The crate `sonora` by itself: its canceller at 48 kHz, without noise suppression and gain.

use sonora::config::{EchoCanceller, MaxProcessingRate, Pipeline};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::{Engine, FRAME, mean};

/// One canceller on the first microphone.
pub struct Sonora(AudioProcessing);

impl Sonora {
    /// With its own settings, but the rate.
    pub fn new() -> Self {
        let pipeline = Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            ..Pipeline::default()
        };
        let config = Config { pipeline, echo_canceller: Some(EchoCanceller::default()), ..Config::default() };
        let mono = || StreamConfig::new(48_000, 1);
        Self(AudioProcessing::builder().config(config).capture_config(mono()).render_config(mono()).build())
    }
}

impl Default for Sonora {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Sonora {
    fn playback(&mut self, frame: &[&[f32]]) {
        let mut mono = [0.0; FRAME];
        mean(frame, &mut mono);
        let mut unused = [0.0; FRAME];
        // Sizes are right: see the format above.
        let _ = self.0.process_render_f32(&[&mono], &mut [&mut unused]);
    }

    fn process(&mut self, microphones: &[&[f32]], voice: &mut [f32]) {
        let _ = self.0.process_capture_f32(&[microphones[0]], &mut [voice]);
    }
}
