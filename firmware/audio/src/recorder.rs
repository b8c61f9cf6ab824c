//! The inner signals of the chain, for a fault report: what each step made of the last frame.

use crate::FRAME;

/// The inner signals of one frame (10 ms, 48 kHz, -1.0..=1.0), as they were; each step's delay is still in them.
#[derive(Clone, Copy, Debug)]
pub struct Signals<'a> {
    /// What the array gave, one plane a microphone.
    pub microphones: &'a [[f32; FRAME]],
    /// What the speaker plays, as the canceller knows it, one plane a channel.
    pub reference: &'a [[f32; FRAME]],
    /// What the canceller's linear filter leaves, one plane a microphone. AEC3's goes up to 8 kHz, and its suppressor is
    /// in `beam`.
    pub echo_removed: &'a [[f32; FRAME]],
    /// One voice: after the beam, and after the rest of the echo was suppressed.
    pub beam: &'a [f32; FRAME],
    /// After noise suppression.
    pub noise_removed: &'a [f32; FRAME],
    /// What is encoded: after gain and limiter.
    pub output: &'a [f32; FRAME],
}

/// Keeps the inner signals of the last frame. All memory is taken in `new`.
pub(crate) struct Taps {
    pub(crate) microphones: Vec<[f32; FRAME]>,
    pub(crate) reference: Vec<[f32; FRAME]>,
    pub(crate) echo_removed: Vec<[f32; FRAME]>,
    pub(crate) beam: [f32; FRAME],
    pub(crate) noise_removed: [f32; FRAME],
}

impl Taps {
    /// For an array of `microphones`, a speaker of `playback` channels, and a canceller of `cancelled` planes.
    pub(crate) fn new(microphones: usize, playback: usize, cancelled: usize) -> Self {
        Self {
            microphones: vec![[0.0; FRAME]; microphones],
            reference: vec![[0.0; FRAME]; playback],
            echo_removed: vec![[0.0; FRAME]; cancelled],
            beam: [0.0; FRAME],
            noise_removed: [0.0; FRAME],
        }
    }

    /// Takes a frame of all microphones, interleaved.
    pub(crate) fn hear(&mut self, microphones: &[f32]) {
        let count = self.microphones.len();
        for (i, samples) in microphones.chunks_exact(count).take(FRAME).enumerate() {
            for (plane, sample) in self.microphones.iter_mut().zip(samples) {
                plane[i] = *sample;
            }
        }
    }

    /// Takes a frame of the speaker, interleaved, of `channels`; where there are more than planes the last are left out.
    pub(crate) fn play(&mut self, far: &[f32], channels: usize) {
        for (i, samples) in far.chunks_exact(channels).take(FRAME).enumerate() {
            for (plane, sample) in self.reference.iter_mut().zip(samples) {
                plane[i] = *sample;
            }
        }
    }

    /// The signals, with the voice that came out.
    pub(crate) fn signals<'a>(&'a self, output: &'a [f32; FRAME]) -> Signals<'a> {
        Signals {
            microphones: &self.microphones,
            reference: &self.reference,
            echo_removed: &self.echo_removed,
            beam: &self.beam,
            noise_removed: &self.noise_removed,
            output,
        }
    }
}

/// Turns [`Signals`] into frames of one file with a channel for each of them. Does no I/O: a shell writes what
/// [`Recorder::take`] gives, as interleaved `f32` at 48 kHz.
pub struct Recorder {
    names: Vec<String>,
    shape: [usize; 3],
    frame: Vec<f32>,
}

impl Recorder {
    /// For frames of the shape of `signals`.
    pub fn new(signals: &Signals<'_>) -> Self {
        let shape = [signals.microphones.len(), signals.reference.len(), signals.echo_removed.len()];
        let numbered = |name: &str, count: usize| -> Vec<String> {
            (1..=count).map(|number| format!("{name}_{number}")).collect()
        };
        let mut names = numbered("microphone", shape[0]);
        names.extend(numbered("reference", shape[1]));
        names.extend(numbered("echo_removed", shape[2]));
        names.extend(["beam", "noise_removed", "output"].map(str::to_owned));
        let frame = vec![0.0; names.len() * FRAME];
        Self { names, shape, frame }
    }

    /// The name of each channel, in their order.
    pub fn channels(&self) -> &[String] {
        &self.names
    }

    /// One frame, interleaved: 480 samples of each channel. `None` for what must not be recorded, which
    /// [`crate::CaptureChain::signals`] gives as `None`, and for another shape. Allocates nothing.
    pub fn take(&mut self, signals: Option<Signals<'_>>) -> Option<&[f32]> {
        let signals = signals?;
        let shape = [signals.microphones.len(), signals.reference.len(), signals.echo_removed.len()];
        if shape != self.shape {
            return None;
        }
        let channels = self.names.len();
        let planes = signals.microphones.iter().chain(signals.reference).chain(signals.echo_removed);
        let planes = planes.chain([signals.beam, signals.noise_removed, signals.output]);
        for (channel, plane) in planes.enumerate() {
            for (to, sample) in self.frame[channel..].iter_mut().step_by(channels).zip(plane) {
                *to = *sample;
            }
        }
        Some(&self.frame)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_signal_is_in_the_channel_of_its_name() {
        let mut taps = Taps::new(2, 1, 2);
        let heard: Vec<f32> = (0..2 * FRAME).map(|i| if i % 2 == 0 { 0.1 } else { 0.2 }).collect();
        taps.hear(&heard);
        taps.reference[0] = [0.3; FRAME];
        taps.echo_removed = vec![[0.4; FRAME], [0.5; FRAME]];
        taps.beam = [0.6; FRAME];
        taps.noise_removed = [0.7; FRAME];
        let output = [0.8; FRAME];
        let mut recorder = Recorder::new(&taps.signals(&output));
        let names = recorder.channels().to_vec();
        let expected = [
            ("microphone_1", 0.1),
            ("microphone_2", 0.2),
            ("reference_1", 0.3),
            ("echo_removed_1", 0.4),
            ("echo_removed_2", 0.5),
            ("beam", 0.6),
            ("noise_removed", 0.7),
            ("output", 0.8),
        ];
        let frame = recorder.take(Some(taps.signals(&output))).unwrap();
        assert_eq!(names, expected.map(|(name, _)| name));
        for samples in frame.chunks_exact(names.len()) {
            assert_eq!(samples, expected.map(|(_, sample)| sample));
        }
    }

    #[test]
    fn what_must_not_be_recorded_and_what_has_another_shape_is_not() {
        let output = [0.0; FRAME];
        let taps = Taps::new(2, 1, 2);
        let mut recorder = Recorder::new(&taps.signals(&output));
        assert!(recorder.take(None).is_none());
        assert!(recorder.take(Some(Taps::new(3, 1, 2).signals(&output))).is_none());
        assert!(recorder.take(Some(taps.signals(&output))).is_some());
    }
}
