//! Music arrives as it was played.
#![allow(clippy::unwrap_used)]

mod support;

use rostrum_audio::{CaptureChain, FRAME, Mode, PlayOut, TrackKey, VoiceOptions};
use support::{array, at};

/// Amplitude of `hz` in `signal` (one second at 48 kHz; whole cycles).
fn amplitude(signal: &[f32], hz: u32) -> f64 {
    let step = std::f64::consts::TAU * f64::from(hz) / 48_000.0;
    let (mut re, mut im) = (0.0, 0.0);
    for (i, sample) in signal.iter().enumerate() {
        let angle = step * i as f64;
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    2.0 * re.hypot(im) / signal.len() as f64
}

#[test]
fn every_note_from_440_hz_to_16_khz_arrives_within_half_a_decibel_on_both_sides() {
    const LEFT: [u32; 8] = [440, 880, 1_760, 3_000, 5_000, 8_000, 12_000, 16_000];
    const RIGHT: [u32; 8] = [523, 1_000, 2_000, 4_000, 6_500, 10_000, 14_000, 15_500];
    for bitrate in [256_000, 510_000] {
        let options = VoiceOptions { music_bitrate_bps: bitrate, ..VoiceOptions::default() };
        let mut chain = CaptureChain::new(&array(2), options).unwrap();
        chain.set_mode(Mode::Music);
        let mut play = PlayOut::new(2).unwrap();
        // Its levelling is for voices; what the encoder and the decoder do is asked here.
        play.set_levelling(false);
        let (mut sequence, mut heard) = (0_u16, vec![]);
        let tones = |notes: &[u32; 8], n: usize| {
            notes
                .iter()
                .map(|hz| (std::f64::consts::TAU * f64::from(*hz) * n as f64 / 48_000.0).sin() * 0.05)
                .sum::<f64>() as f32
        };
        for frame in 0..300 {
            let ms = frame as f64 * 10.0;
            let sound: Vec<f32> = (frame * FRAME..(frame + 1) * FRAME)
                .flat_map(|n| [tones(&LEFT, n), tones(&RIGHT, n)])
                .collect();
            if let Some(packet) = chain.process(&sound) {
                sequence += 1;
                play.push(TrackKey(1), sequence, u32::from(sequence) * 960, packet.opus, at(ms));
            }
            let mut out = [0.0; FRAME * 2];
            play.mix(&mut out);
            heard.extend_from_slice(&out);
        }
        for (side, notes, others) in [(0, LEFT, RIGHT), (1, RIGHT, LEFT)] {
            let all: Vec<f32> = heard[FRAME * 2 * 200..].iter().skip(side).step_by(2).copied().collect();
            for hz in notes {
                let change_db = 20.0 * (amplitude(&all, hz) / 0.05).log10();
                assert!(change_db.abs() < 0.5, "{hz} Hz at {bitrate} bit/s: {change_db} dB");
            }
            for hz in others {
                let leak_db = 20.0 * (amplitude(&all, hz) / 0.05).log10();
                assert!(leak_db < -30.0, "{hz} Hz of the other side at {bitrate} bit/s: {leak_db} dB");
            }
        }
    }
}
