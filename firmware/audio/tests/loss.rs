//! What is heard when packets are lost in bursts, by what the sender does against it.
#![allow(clippy::unwrap_used)]

mod support;

use realfft::RealFftPlanner;
use rostrum_audio::{FRAME, LinkState, PlayOut, TrackKey, TrackStatistics, VoiceOptions};
use std::time::Duration;
use support::{Noise, Sender, Speech, at, plain};

const TRACK: TrackKey = TrackKey(1);
const PACKETS: u32 = 1_000;

/// Edges of the bands that are compared, Hz.
const BANDS: [f32; 13] = [
    100.0, 300.0, 500.0, 750.0, 1_000.0, 1_300.0, 1_700.0, 2_200.0, 2_800.0, 3_600.0, 4_600.0, 6_000.0,
    8_000.0,
];

/// What a sender does against loss.
#[derive(Clone, Copy, Debug)]
enum Against {
    Nothing,
    Correction,
    Deep,
}

fn sender(against: Against) -> Sender {
    let expected_loss_percent = if matches!(against, Against::Correction) { 30 } else { 0 };
    let mut sender = Sender::new(VoiceOptions { expected_loss_percent, ..plain() });
    if matches!(against, Against::Deep) {
        let rtt = Duration::from_millis(50);
        sender.set_link(LinkState { loss_percent: 30.0, rtt, ..LinkState::default() });
    }
    sender
}

/// Which packets are lost: 30 %, in bursts of 2.5 on average (Gilbert's model).
fn lost(seed: u64) -> Vec<bool> {
    let (mut noise, mut bad) = (Noise::new(seed), false);
    for _ in 0..20 {
        noise.next();
    }
    (0..PACKETS)
        .map(|i| {
            let dice = noise.next() * 0.5 + 0.5;
            bad = if bad { dice < 0.6 } else { dice < 0.1714 };
            bad && i > 50
        })
        .collect()
}

/// What is heard of 20 s of speech.
fn hear(against: Against, seed: u64, lost: &[bool]) -> (Vec<f32>, TrackStatistics) {
    let (mut sender, mut speech) = (sender(against), Speech::new(seed));
    let mut play = PlayOut::new(1).unwrap();
    let mut heard = Vec::new();
    for i in 0..PACKETS {
        let mut said: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).rev().collect();
        let packet = sender.packet(|| said.pop().unwrap());
        if !lost[i as usize] {
            play.push(TRACK, packet.sequence, packet.timestamp, &packet.opus, at(f64::from(i) * 20.0));
        }
        for _ in 0..2 {
            let mut out = [0.0; FRAME];
            play.mix(&mut out);
            heard.extend_from_slice(&out);
        }
    }
    (heard, play.statistics(TRACK).unwrap())
}

/// Loudness of each band in each 10 ms, dB.
fn bands(sound: &[f32]) -> Vec<[f32; 12]> {
    let fft = RealFftPlanner::<f32>::new().plan_fft_forward(960);
    let (mut input, mut spectrum) = (fft.make_input_vec(), fft.make_output_vec());
    sound
        .windows(960)
        .step_by(FRAME)
        .map(|window| {
            for (i, (to, from)) in input.iter_mut().zip(window).enumerate() {
                *to = from * (0.5 - 0.5 * (i as f32 * std::f32::consts::TAU / 960.0).cos());
            }
            fft.process(&mut input, &mut spectrum).unwrap();
            std::array::from_fn(|band| {
                let bins = (BANDS[band] / 50.0) as usize..(BANDS[band + 1] / 50.0) as usize;
                let power: f32 = spectrum[bins].iter().map(|bin| bin.norm_sqr()).sum();
                10.0 * (power + 1e-3).log10()
            })
        })
        .collect()
}

/// How far `heard` is from `clean`, dB a band: the least over all delays, for each half of a second with speech.
fn distance_db(heard: &[f32], clean: &[f32]) -> f32 {
    let (heard, clean) = (bands(heard), bands(clean));
    let (mut sum, mut count) = (0.0, 0);
    for start in (200..clean.len() - 100).step_by(50) {
        let block = &clean[start..start + 50];
        if block.iter().flatten().fold(f32::MIN, |most, db| most.max(*db)) < 0.0 {
            continue;
        }
        let at = |lag: usize| -> f32 {
            let pairs = heard.get(start + lag..start + lag + 50).into_iter().flatten().zip(block);
            let differences = pairs.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()));
            differences.sum::<f32>() / (50.0 * 12.0)
        };
        sum += (0..40).map(at).fold(f32::MAX, |least, db| if db > 0.0 { least.min(db) } else { least });
        count += 1;
    }
    sum / count as f32
}

#[test]
fn redundancy_makes_bursts_of_loss_much_less_heard_than_concealment() {
    let none = vec![false; PACKETS as usize];
    let mut figures = [0.0; 3];
    for seed in [5, 6] {
        let lost = lost(seed);
        for (against, figure) in
            [Against::Nothing, Against::Correction, Against::Deep].into_iter().zip(&mut figures)
        {
            let (clean, _) = hear(against, seed, &none);
            let (heard, statistics) = hear(against, seed, &lost);
            let db = distance_db(&heard, &clean);
            *figure += db / 2.0;
            if matches!(against, Against::Deep) {
                let share = statistics.concealed as f64 / f64::from(PACKETS * 960);
                assert!(share < 0.06, "{share} is made up");
                assert!(statistics.delay.as_millis() <= 220, "{statistics:?}");
            }
        }
    }
    let [nothing, correction, deep] = figures;
    assert!(correction < nothing * 0.85, "{correction} dB with copies, {nothing} dB without");
    assert!(deep < nothing * 0.75, "{deep} dB with deep redundancy, {nothing} dB without");
}
