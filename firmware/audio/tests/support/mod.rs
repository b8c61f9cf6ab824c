//! Sounds, rooms and networks for the tests.
#![allow(dead_code, unreachable_pub)] // Each test uses its part.
#![allow(clippy::unwrap_used)]

use rostrum_audio::{CaptureChain, FRAME, LinkState, PACKET, VoiceOptions};
use rostrum_hal::Timestamp;
use rostrum_hal::microphone::{ArrayFormat, Position};
use std::collections::VecDeque;
use std::time::Duration;

/// An array of so many microphones at 48 kHz.
pub fn array(microphones: usize) -> ArrayFormat {
    ArrayFormat { rate_hz: 48_000, period_frames: FRAME, geometry: vec![Position::default(); microphones] }
}

/// A time after the start of the test.
pub fn at(milliseconds: f64) -> Timestamp {
    Timestamp::from_clock(Duration::from_micros(1_000_000 + (milliseconds * 1_000.0) as u64))
}

/// Random numbers that are the same in every run, -1.0..1.0.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Something like speech: pulses of a gliding pitch and some breath through two formants, in syllables of
/// a quarter of a second with pauses between words.
pub struct Speech {
    noise: Noise,
    at: usize,
    phase: f32,
    closing: f32,
    formants: [[f32; 2]; 2],
    hz: [f32; 2],
    pitch: f32,
    loud: f32,
}

impl Speech {
    pub fn new(seed: u64) -> Self {
        Self {
            noise: Noise::new(seed),
            at: 0,
            phase: 0.0,
            closing: 0.0,
            formants: [[0.0; 2]; 2],
            hz: [500.0, 1_500.0],
            pitch: 120.0,
            loud: 0.0,
        }
    }

    fn sample(&mut self) -> f32 {
        if self.at.is_multiple_of(12_000) {
            self.pitch = 130.0 + 50.0 * self.noise.next();
            self.hz = [500.0 + 250.0 * self.noise.next(), 1_600.0 + 700.0 * self.noise.next()];
            self.loud = if self.noise.next() < -0.5 { 0.0 } else { 0.7 + 0.3 * self.noise.next() };
        }
        let in_syllable = (self.at % 12_000) as f32 / 12_000.0;
        self.at += 1;
        let envelope = self.loud * (in_syllable * std::f32::consts::PI).sin();
        self.phase += self.pitch * (1.0 + 0.1 * in_syllable) / 48_000.0;
        let mut pulse = 0.03 * self.noise.next() - std::mem::take(&mut self.closing);
        if self.phase >= 1.0 {
            self.phase -= 1.0;
            pulse += 1.0;
            // A pulse of the throat has no direct current in it.
            self.closing = 1.0;
        }
        let mut sum = 0.0;
        for (state, hz) in self.formants.iter_mut().zip(self.hz) {
            let (radius, angle) = (0.985_f32, hz * std::f32::consts::TAU / 48_000.0);
            let out = pulse + 2.0 * radius * angle.cos() * state[0] - radius * radius * state[1];
            *state = [out, state[0]];
            sum += out;
        }
        (sum * envelope * 0.1).clamp(-1.0, 1.0)
    }

    pub fn frame(&mut self) -> [f32; FRAME] {
        std::array::from_fn(|_| self.sample())
    }
}

/// The way from a speaker to a microphone: a direct sound after some milliseconds and a tail that dies away
/// within 100 ms or so.
pub struct Echo {
    taps: Vec<(usize, f32)>,
    past: VecDeque<f32>,
}

impl Echo {
    pub fn new(seed: u64, gain: f32) -> Self {
        let mut noise = Noise::new(seed);
        let mut taps = vec![(400, gain)];
        for i in 1..40_usize {
            let decay = (-(i as f32) / 10.0).exp() * 0.5;
            taps.push((400 + i * 97 + (noise.next().abs() * 60.0) as usize, gain * decay * noise.next()));
        }
        Self { taps, past: VecDeque::from(vec![0.0; 6_000]) }
    }

    pub fn frame(&mut self, played: &[f32]) -> [f32; FRAME] {
        std::array::from_fn(|i| {
            self.past.pop_back();
            self.past.push_front(played[i]);
            self.taps.iter().map(|(delay, gain)| self.past[*delay] * gain).sum()
        })
    }
}

/// Root mean square in dB of full scale; -200 for silence.
pub fn db(samples: &[f32]) -> f32 {
    let mean = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len().max(1) as f64;
    (10.0 * mean.max(1e-20).log10()) as f32
}

/// Packets of a track, as a terminal sends them.
pub struct Sender {
    chain: CaptureChain,
    pub sequence: u16,
    pub timestamp: u32,
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    pub sequence: u16,
    pub timestamp: u32,
    pub opus: Vec<u8>,
}

/// Options that leave the sound alone.
pub fn plain() -> VoiceOptions {
    VoiceOptions {
        echo: rostrum_audio::EchoControl::Off,
        noise: rostrum_audio::NoiseSuppression::Off,
        gain: false,
        ..VoiceOptions::default()
    }
}

impl Sender {
    pub fn new(options: VoiceOptions) -> Self {
        Self {
            chain: CaptureChain::new(&array(1), options).unwrap(),
            sequence: 65_500,
            timestamp: u32::MAX - 50_000,
        }
    }

    /// What it learns of the way to the service.
    pub fn set_link(&mut self, link: LinkState) {
        self.chain.set_link(link);
    }

    /// What its chain holds back.
    pub fn delay(&self) -> Duration {
        self.chain.delay()
    }

    /// Takes 20 ms of sound.
    pub fn packet(&mut self, mut sound: impl FnMut() -> f32) -> Packet {
        loop {
            if let Some(packet) = self.packet_if_any(&mut sound) {
                return packet;
            }
        }
    }

    /// Takes 20 ms of sound; silence needs no packet where the link is narrow.
    pub fn packet_if_any(&mut self, mut sound: impl FnMut() -> f32) -> Option<Packet> {
        for _ in 0..2 {
            let frame: [f32; FRAME] = std::array::from_fn(|_| sound());
            if let Some(encoded) = self.chain.process(&frame) {
                let opus = encoded.opus.to_vec();
                let packet = Packet { sequence: self.sequence, timestamp: self.timestamp, opus };
                self.sequence = self.sequence.wrapping_add(1);
                self.timestamp = self.timestamp.wrapping_add(PACKET as u32);
                return Some(packet);
            }
        }
        None
    }

    /// A pause: time goes on, packets do not.
    pub fn pause(&mut self, packets: u32) {
        self.timestamp = self.timestamp.wrapping_add(packets * PACKET as u32);
    }
}
