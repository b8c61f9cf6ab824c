//! What noise suppression makes of a voice on its way through the chain.
#![allow(clippy::unwrap_used)]

mod support;

use rostrum_audio::{CaptureChain, FRAME, Mode, NoiseSuppression, VoiceOptions};
use support::{Speech, array, plain};

/// Where in `heard` is what was said: the samples by which it is late.
fn late(said: &[f32], heard: &[f32]) -> usize {
    let from = 48_000;
    let like = |late: usize| -> f32 { (from..said.len()).map(|at| heard[at] * said[at - late]).sum() };
    (0..1_200).max_by(|a, b| like(*a).total_cmp(&like(*b))).unwrap()
}

#[test]
fn a_voice_is_as_late_as_the_chain_says_in_each_mode() {
    for noise in [NoiseSuppression::Off, NoiseSuppression::Moderate, NoiseSuppression::Neural] {
        for (mode, knocks) in [(Mode::Voice, false), (Mode::Voice, true), (Mode::VoiceWide, true)] {
            let options = VoiceOptions { noise, knocks, ..plain() };
            let mut chain = CaptureChain::new(&array(1), options).unwrap();
            chain.set_mode(mode);
            let mut speech = Speech::new(1);
            let (mut said, mut heard) = (Vec::new(), Vec::new());
            for _ in 0..200 {
                let frame = speech.frame();
                chain.process(&frame);
                said.extend_from_slice(&frame);
                heard.extend_from_slice(chain.signals().map_or(&[0.0; FRAME], |signals| signals.output));
            }
            let told = chain.delay().as_millis() as usize * 48;
            let late = late(&said, &heard);
            assert!(late.abs_diff(told) <= 48, "{noise:?}, {mode:?}, {knocks}: {late} samples, told {told}");
        }
    }
}

#[test]
fn what_the_network_takes_away_does_not_turn_the_gain_up() {
    let options = VoiceOptions { noise: NoiseSuppression::Neural, ..VoiceOptions::default() };
    let mut chain = CaptureChain::new(&array(1), options).unwrap();
    // Made of pulses and filters: for the network it is no voice, for what finds speech it is.
    let mut speech = Speech::new(1);
    let mut rises = Vec::new();
    for _ in 0..800 {
        chain.process(&speech.frame().map(|sample| 0.1 * sample));
        rises.push(chain.meters().gain_db.unwrap());
    }
    let rise = rises[799] - rises[0];
    assert!(rise < 3.0, "the gain rose by {rise} dB");
}
