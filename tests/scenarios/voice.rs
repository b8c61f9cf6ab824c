//! The own echo goes and the talker in the room stays, in generated rooms with real speech
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_acoustics::cases::{self, CIRCLE, Echo};
use rostrum_acoustics::engines::{Chain, Processed, run};
use rostrum_acoustics::field::Colour;
use rostrum_acoustics::measure;
use rostrum_acoustics::scene::Heard;
use rostrum_acoustics::scores::{lag, median};
use rostrum_acoustics::speech::Speech;
use rostrum_audio::{EchoControl, NoiseSuppression, VoiceOptions};

/// Rooms that the bench does not take by default.
const SEEDS: [u64; 3] = [501, 502, 503];
/// More of them where rooms differ more.
const MORE_SEEDS: [u64; 6] = [501, 502, 503, 504, 505, 506];

/// Gain would count as echo, and noise suppression as echo removed.
fn canceller() -> VoiceOptions {
    VoiceOptions { noise: NoiseSuppression::Off, gain: false, ..VoiceOptions::default() }
}

fn process(heard: &Heard, options: VoiceOptions) -> Processed {
    let speaker_channels = heard.played.len() as u8;
    let mut chain = Chain::new(&heard.geometry, VoiceOptions { speaker_channels, ..options }).unwrap();
    run(&mut chain, heard)
}

/// What `score` says of each seed's room: two rooms at a time.
fn of_each(seeds: &[u64], score: impl Fn(u64) -> f64 + Sync) -> Vec<f64> {
    let (first, second) = seeds.split_at(seeds.len() / 2);
    let of = |seeds: &[u64]| seeds.iter().map(|seed| score(*seed)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| of(first));
        let second = of(second);
        first.join().unwrap().into_iter().chain(second).collect()
    })
}

/// What `score` says of each room's case.
fn of_rooms(seeds: &[u64], case: Echo, score: fn(&Heard, &Processed) -> f64) -> Vec<f64> {
    let speech = Speech::fetch().unwrap();
    let scores = of_each(seeds, |seed| {
        let heard = cases::echo(&speech, &CIRCLE, case, seed);
        score(&heard, &process(&heard, canceller()))
    });
    eprintln!("{case:?}: {scores:.1?}");
    scores
}

fn least(scores: &[f64]) -> f64 {
    scores.iter().copied().fold(f64::INFINITY, f64::min)
}

#[test]
fn a_linear_echo_is_removed_by_40_db_and_by_25_db_from_the_first_second_on() {
    assert!(least(&of_rooms(&MORE_SEEDS, Echo::Linear, measure::after_3s_db)) >= 40.0);
    assert!(least(&of_rooms(&MORE_SEEDS, Echo::Linear, measure::from_1_to_3s_db)) >= 25.0);
}

#[test]
fn clocks_that_drift_by_200_ppm_do_not_bring_the_echo_back() {
    assert!(least(&of_rooms(&SEEDS, Echo::Drifting, measure::after_3s_db)) >= 40.0);
}

#[test]
fn a_bad_loudspeakers_echo_is_removed_by_26_db_and_in_most_rooms_by_much_more() {
    let scores = of_rooms(&MORE_SEEDS, Echo::NonLinear, measure::after_3s_db);
    assert!(least(&scores) >= 26.0);
    // 28 where only what was played is filtered.
    assert!(median(&scores) >= 32.0);
}

#[test]
fn two_seconds_after_a_jump_or_a_move_the_echo_is_gone_again() {
    assert!(least(&of_rooms(&SEEDS, Echo::Jumping, measure::after_jump_db)) >= 20.0);
    assert!(least(&of_rooms(&SEEDS, Echo::Moved, measure::after_jump_db)) >= 20.0);
}

#[test]
fn who_talks_while_others_talk_is_understood() {
    let speech = Speech::fetch().unwrap();
    // Untouched they give some 0.5 and 0.3.
    for (db, goal) in [(0.0, 0.75), (-10.0, 0.55)] {
        let scores = of_each(&MORE_SEEDS, |seed| {
            let heard = cases::double_talk(&speech, &CIRCLE, db, seed);
            measure::double_talk_estoi(&heard, &process(&heard, canceller())).unwrap()
        });
        eprintln!("double talk at {db} dB: ESTOI {scores:.2?}");
        // One room is at the first goal, which the last digits decide.
        assert!(median(&scores) >= goal + 0.05 && least(&scores) >= goal - 0.02, "{scores:?} at {db} dB");
    }
}

#[test]
fn tones_that_repeat_themselves_do_not_make_the_canceller_take_the_talker_for_echo() {
    let speech = Speech::fetch().unwrap();
    let scores = of_each(&MORE_SEEDS, |seed| {
        let heard = cases::talk_over_tones(&speech, &CIRCLE, seed);
        measure::near_estoi(&heard, &process(&heard, canceller()), 1.0).unwrap()
    });
    eprintln!("over tones: ESTOI {scores:.2?}");
    assert!(least(&scores) >= 0.8, "{scores:?}");
}

/// By how much the beam makes the talker stand out of what `unwanted` gives, dB.
fn beam_db(heard: &Heard, unwanted: &[Vec<f32>], from_s: f64) -> f64 {
    let beam = || VoiceOptions { echo: EchoControl::Off, ..canceller() };
    let (with, against) = (process(heard, beam()), process(&measure::turned(heard), beam()));
    measure::ratio_gain_db(heard, unwanted, &with.voice, &against.voice, from_s)
}

#[test]
fn the_beam_keeps_out_fans_by_3_5_db_and_somebody_at_60_degrees_by_8_db() {
    let speech = Speech::fetch().unwrap();
    let fans = of_each(&MORE_SEEDS, |seed| {
        let (heard, _) = cases::in_noise(&speech, &CIRCLE, Colour::Fan, 5.0, seed);
        beam_db(&heard, &heard.noise, 2.0)
    });
    let others = of_each(&MORE_SEEDS, |seed| {
        let (heard, _) = cases::with_interferer(&speech, &CIRCLE, seed);
        beam_db(&heard, &heard.others, 4.0)
    });
    eprintln!("fans: {fans:.1?} dB, somebody else: {others:.1?} dB");
    assert!(median(&fans) >= 3.5, "{fans:?}");
    assert!(median(&others) >= 8.0, "{others:?}");
}

#[test]
fn at_15_db_the_talkers_direction_is_known_within_10_degrees() {
    let speech = Speech::fetch().unwrap();
    let shares = of_each(&MORE_SEEDS, |seed| {
        let (heard, azimuth_deg) = cases::in_noise(&speech, &CIRCLE, Colour::Fan, 15.0, seed);
        let mut chain = Chain::new(&heard.geometry, VoiceOptions::default()).unwrap();
        run(&mut chain, &heard);
        measure::directions_within_percent(&heard, &chain.directions(), azimuth_deg, 10.0, 1.0)
    });
    eprintln!("direction within 10 degrees: {shares:.1?} percent");
    assert!(median(&shares) >= 95.0, "{shares:?}");
}

#[test]
fn near_and_far_talkers_come_out_within_3_db_and_as_late_as_the_chain_says() {
    let speech = Speech::fetch().unwrap();
    for seed in SEEDS {
        let heard = cases::near_and_far(&speech, &CIRCLE, seed);
        let mut chain = Chain::new(&heard.geometry, VoiceOptions::default()).unwrap();
        let out = run(&mut chain, &heard);
        let difference = measure::gain_difference_db(&out.voice);
        assert!(difference < 3.0, "{difference} dB with seed {seed}");
        let from = 96_000;
        let late_ms = lag(&heard.near[0][from..], &out.voice[from..], 4_800) as f64 / 48.0;
        let told_ms = chain.delay().as_secs_f64() * 1e3;
        assert!((late_ms - told_ms).abs() < 2.0, "{late_ms} ms, told {told_ms} ms");
        assert!(told_ms <= 25.0);
    }
}
