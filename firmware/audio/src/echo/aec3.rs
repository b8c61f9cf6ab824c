//! AEC3, WebRTC's canceller, by the crate `aec3`: its settings and its linear output are within reach.

use super::MAX_MICROPHONES;
use super::settings::Aec3Settings;
use crate::{FRAME, RATE_HZ};
use aec3::api::{EchoControl as _, Metrics};
use aec3::audio_processing::aec3::echo_canceller3::EchoCanceller3;
use aec3::audio_processing::audio_buffer::AudioBuffer;
use aec3::audio_processing::stream_config::StreamConfig;
use send_wrapper::SendWrapper;

/// How much of an energy is still counted after a frame.
const MEMORY: f32 = 0.9;
/// Energy of ten frames at -70 dB of full scale.
const SILENCE: f32 = 10.0 * FRAME as f32 * 1e-7;
/// What its linear output runs at.
const LINEAR_HZ: usize = 16_000;

/// The canceller of an array, and what it gives beside the voice.
pub(crate) struct Aec3 {
    settings: Aec3Settings,
    output_used: bool,
    /// What the linear filter alone leaves of each microphone, up to 8 kHz.
    linear: Vec<[f32; FRAME]>,
    /// Energies of what is played, what the microphones hear, and what is left of it, over some frames.
    energies: [f32; 3],
    /// Made by the first frame: the crate's canceller stays in its thread.
    engine: Option<SendWrapper<Engine>>,
}

struct Engine {
    canceller: EchoCanceller3,
    output_used: bool,
    render: AudioBuffer,
    capture: AudioBuffer,
    linear: AudioBuffer,
    mono: StreamConfig,
    array: StreamConfig,
}

impl Engine {
    fn new(settings: &Aec3Settings, microphones: usize) -> Self {
        let rate = RATE_HZ as usize;
        let buffer = |channels, inner| AudioBuffer::from_sample_rates(rate, channels, inner, channels, rate);
        Self {
            canceller: EchoCanceller3::new(settings.of_the_crate(), rate as i32, 1, microphones),
            output_used: true,
            render: buffer(1, rate),
            capture: buffer(microphones, rate),
            linear: buffer(microphones, LINEAR_HZ),
            mono: StreamConfig::new(rate, 1, false),
            array: StreamConfig::new(rate, microphones, false),
        }
    }
}

impl Aec3 {
    /// For that many `microphones`.
    pub(crate) fn new(settings: Aec3Settings, microphones: usize) -> Self {
        Self {
            settings,
            output_used: true,
            linear: vec![[0.0; FRAME]; microphones],
            energies: [0.0; 3],
            engine: None,
        }
    }

    /// Whether anybody will use what comes out.
    pub(crate) fn set_output_used(&mut self, used: bool) {
        self.output_used = used;
    }

    /// Takes the echo of `far` out of what each microphone `heard`.
    pub(crate) fn process(&mut self, far: &[f32; FRAME], heard: &[[f32; FRAME]], out: &mut [[f32; FRAME]]) {
        if self.engine.as_ref().is_some_and(|engine| !engine.valid()) {
            self.forget();
        }
        let engine = self
            .engine
            .get_or_insert_with(|| SendWrapper::new(Engine::new(&self.settings, self.linear.len())));
        if engine.output_used != self.output_used {
            engine.output_used = self.output_used;
            engine.canceller.set_capture_output_usage(self.output_used);
        }
        let Engine { canceller, render, capture, linear, mono, array, .. } = &mut **engine;
        render.copy_from(&[far], mono);
        render.split_into_frequency_bands();
        canceller.analyze_render(render);

        let planes = heard.len();
        let mut from = heard.iter();
        let from: [&[f32]; MAX_MICROPHONES] =
            std::array::from_fn(|_| from.next().map_or(&[][..], |plane| plane.as_slice()));
        capture.copy_from(&from[..planes], array);
        canceller.analyze_capture(capture);
        capture.split_into_frequency_bands();
        canceller.process_capture_with_linear_output(capture, linear, false);
        capture.merge_frequency_bands();
        linear.merge_frequency_bands();
        for (buffer, planes) in [(capture, &mut out[..]), (linear, &mut self.linear[..])] {
            let count = planes.len();
            let mut to = planes.iter_mut();
            let mut to: [&mut [f32]; MAX_MICROPHONES] =
                std::array::from_fn(|_| to.next().map_or(&mut [][..], |plane| plane.as_mut_slice()));
            buffer.copy_to_stream(array, &mut to[..count]);
        }
        let energy =
            |planes: &[[f32; FRAME]]| planes.iter().flatten().map(|sample| sample * sample).sum::<f32>();
        let now = [energy(std::slice::from_ref(far)), energy(heard), energy(out)];
        for (energy, now) in self.energies.iter_mut().zip(now) {
            *energy = MEMORY * *energy + now;
        }
    }

    /// Whether most of what the microphones hear is echo: what is left may be more of it than of a talker.
    pub(crate) fn is_echo(&self) -> bool {
        let [far, heard, left] = self.energies;
        far > SILENCE && left < 0.5 * heard
    }

    /// What the linear filter alone leaves of each microphone, up to 8 kHz.
    pub(crate) fn linear(&self) -> &[[f32; FRAME]] {
        &self.linear
    }

    /// What it says of itself; nothing before the first frame.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        self.engine.as_ref().filter(|engine| engine.valid()).map(|engine| engine.canceller.metrics())
    }

    /// An engine of another thread cannot even be given back there.
    fn forget(&mut self) {
        std::mem::forget(self.engine.take());
    }
}

impl Drop for Aec3 {
    fn drop(&mut self) {
        if self.engine.as_ref().is_some_and(|engine| !engine.valid()) {
            self.forget();
        }
    }
}
