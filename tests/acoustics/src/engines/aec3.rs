//! The crate `aec3` by itself: its canceller with its high-pass filter, without noise suppression and gain.

use aec3::nodes::audio::AudioFormat;
use aec3::pipelines::linear::{self, LinearPipeline};
use anyhow::anyhow;

use super::{Engine, FRAME, mean};

/// One canceller on the first microphone.
pub struct Aec3(LinearPipeline);

impl Aec3 {
    /// With its own settings.
    ///
    /// # Errors
    /// When it does not build.
    pub fn new() -> anyhow::Result<Self> {
        let format = AudioFormat::ten_ms(48_000, 1);
        let built = linear::builder(format, format)
            .enable_noise_suppression(false)
            .enable_gain_controller2(false)
            .enable_post_filter(false)
            .build();
        Ok(Self(built.map_err(|error| anyhow!("aec3: {error:?}"))?))
    }
}

impl Engine for Aec3 {
    fn playback(&mut self, frame: &[&[f32]]) {
        let mut mono = [0.0; FRAME];
        mean(frame, &mut mono);
        // Sizes are right: see the format above.
        let _ = self.0.handle_render_frame(&mono);
    }

    fn process(&mut self, microphones: &[&[f32]], voice: &mut [f32]) {
        let _ = self.0.process_capture_frame(microphones[0], voice);
    }
}
