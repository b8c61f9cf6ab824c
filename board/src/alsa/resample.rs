//! Sound of cards that do not run at 48 kHz, in whole periods of 10 ms.

use std::time::Duration;

use rubato::{
    Fft, FixedSync, Resampler as _, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

/// Turns 10 ms at one rate into 10 ms at another.
pub(super) struct Resampler {
    fft: Fft<f32>,
    channels: usize,
    delay: Duration,
}

impl Resampler {
    /// `None` when there is nothing to do. Rates are multiples of 100 Hz.
    pub(super) fn between(from_hz: u32, to_hz: u32, channels: usize) -> Result<Option<Self>, String> {
        if from_hz == to_hz {
            return Ok(None);
        }
        let (from, to) = (from_hz as usize, to_hz as usize);
        let (window, fixed) = (WindowFunction::BlackmanHarris2, FixedSync::Both);
        let fft = Fft::new_custom(from, to, from / 100, 1, channels, window, fixed);
        let fft = fft.map_err(|e| format!("sound at {from_hz} Hz cannot be turned into {to_hz} Hz: {e}"))?;
        if (fft.input_frames_next(), fft.output_frames_next()) != (from / 100, to / 100) {
            return Err(format!("10 ms at {from_hz} Hz are not 10 ms at {to_hz} Hz"));
        }
        let delay = Duration::from_secs_f64(fft.output_delay() as f64 / f64::from(to_hz));
        Ok(Some(Self { fft, channels, delay }))
    }

    /// Time by which what comes out is later than what goes in.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// Turns one period of interleaved samples into another. Allocates nothing.
    pub(super) fn process(&mut self, from: &[f32], to: &mut [f32]) -> Result<(), String> {
        let (frames_in, frames_out) = (from.len() / self.channels, to.len() / self.channels);
        let from = InterleavedSlice::new(from, self.channels, frames_in).map_err(|e| e.to_string())?;
        let mut to = InterleavedSlice::new_mut(to, self.channels, frames_out).map_err(|e| e.to_string())?;
        self.fft.process_into_buffer(&from, &mut to, None).map(drop).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::f32::consts::TAU;

    use super::*;

    /// Two channels, of which the second is silent, at 400 Hz.
    fn tone(rate_hz: u32, from_frame: usize) -> Vec<f32> {
        let frames = from_frame..from_frame + rate_hz as usize / 100;
        frames.flat_map(|frame| [(frame as f32 * 400.0 / rate_hz as f32 * TAU).sin(), 0.0]).collect()
    }

    #[test]
    fn a_tone_stays_what_it_was_at_every_rate() {
        for (from, to) in [8_000, 16_000, 24_000, 32_000, 44_100, 88_200, 96_000, 192_000]
            .map(|rate| [(rate, 48_000), (48_000, rate)])
            .concat()
        {
            let mut resampler = Resampler::between(from, to, 2).unwrap().unwrap();
            let delay = (resampler.delay().as_secs_f64() * f64::from(to)).round() as usize;
            let mut out = Vec::new();
            for period in 0..8 {
                let mut one = vec![0.0; to as usize / 100 * 2];
                resampler.process(&tone(from, period * from as usize / 100), &mut one).unwrap();
                out.extend(one);
            }
            let expected: Vec<f32> = (0..8).flat_map(|p| tone(to, p * to as usize / 100)).collect();
            let after = to as usize / 100 * 2;
            for frame in after..after * 2 {
                let [got, want] = [out[(frame + delay) * 2], expected[frame * 2]];
                // The delay is told in whole frames, of which half a one is 0.026 here.
                assert!((got - want).abs() < 0.03, "{from} to {to} Hz, frame {frame}: {got}, not {want}");
                assert!(out[frame * 2 + 1].abs() < 1e-6);
            }
        }
    }

    #[test]
    fn nothing_is_done_where_nothing_is_to_do() {
        assert!(Resampler::between(48_000, 48_000, 8).unwrap().is_none());
        assert!(Resampler::between(11_025, 48_000, 1).is_err());
    }

    #[test]
    fn resampling_allocates_nothing() {
        let mut resampler = Resampler::between(16_000, 48_000, 2).unwrap().unwrap();
        let (from, mut to) = (tone(16_000, 0), vec![0.0; 960]);
        let counted = allocation_counter::measure(|| {
            for _ in 0..10 {
                resampler.process(&from, &mut to).unwrap();
            }
        });
        assert_eq!(counted.count_total, 0);
    }
}
