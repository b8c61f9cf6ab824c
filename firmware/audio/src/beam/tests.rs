#![allow(clippy::unwrap_used)]
use super::*;
use crate::RATE_HZ;
use proptest::prelude::*;
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// Four microphones on a circle, 6.5 cm between neighbours.
fn circle() -> Vec<Position> {
    let around = [(0.0, 0.046), (0.046, 0.0), (0.0, -0.046), (-0.046, 0.0)];
    around.map(|(x, y)| Position { x, y, z: 0.0 }).to_vec()
}

/// Four on a line, 6.5 cm apart.
fn line() -> Vec<Position> {
    (0..4).map(|i| Position { x: (i as f32 - 1.5) * 0.065, y: 0.0, z: 0.0 }).collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 2.0
    }
}

/// Something like speech: pulses of a changing pitch through resonances, syllables with gaps.
fn talk(frames: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let (mut phase, mut pitch, mut states) = (0.0_f32, 120.0 + 60.0 * random.next(), [[0.0_f32; 2]; 3]);
    let mut resonances = [600.0, 1_500.0, 2_800.0];
    let (mut length, mut at, mut loud) = (0, 0, 0.0);
    (0..frames * FRAME)
        .map(|_| {
            if at == length {
                at = 0;
                length = 4_000 + (4_000.0 * (random.next() + 1.0)) as usize;
                loud = if random.next() > -0.7 { 0.3 + 0.1 * random.next() } else { 0.0 };
                pitch = 140.0 + 60.0 * random.next();
                resonances = [
                    500.0 + 200.0 * random.next(),
                    1_500.0 + 500.0 * random.next(),
                    2_900.0 + 500.0 * random.next(),
                ];
            }
            let shape = (std::f32::consts::PI * at as f32 / length as f32).sin();
            at += 1;
            phase += pitch / RATE_HZ as f32;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.05 * random.next() };
            phase = phase.fract();
            let mut sum = 0.0;
            for (state, hz) in states.iter_mut().zip(resonances) {
                let (turn, decay) = (std::f32::consts::TAU * hz / RATE_HZ as f32, 0.99_f32);
                let next = pulse + 2.0 * decay * turn.cos() * state[0] - decay * decay * state[1];
                *state = [next, state[0]];
                sum += next;
            }
            0.05 * loud * shape * sum
        })
        .collect()
}

/// What each microphone hears of a far source at `azimuth_deg`.
fn from(azimuth_deg: f32, signal: &[f32], geometry: &[Position]) -> Vec<Vec<f32>> {
    let angle = azimuth_deg.to_radians();
    wave([angle.sin(), angle.cos(), 0.0], signal, geometry)
}

fn wave(unit: [f32; 3], signal: &[f32], geometry: &[Position]) -> Vec<Vec<f32>> {
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(signal.len()), planner.plan_fft_inverse(signal.len()));
    let mut spectrum = forward.make_output_vec();
    forward.process(&mut signal.to_vec(), &mut spectrum).unwrap();
    geometry
        .iter()
        .map(|p| {
            let ahead_s = f64::from(unit[0] * p.x + unit[1] * p.y + unit[2] * p.z) / 343.0;
            let mut turned: Vec<_> = spectrum.clone();
            let last = turned.len() - 1;
            for (bin, value) in turned.iter_mut().enumerate() {
                let hz = bin as f64 * f64::from(RATE_HZ) / signal.len() as f64;
                let angle = std::f64::consts::TAU * hz * ahead_s;
                *value *= Complex::new(angle.cos() as f32, angle.sin() as f32);
            }
            turned[0].im = 0.0;
            turned[last].im = 0.0;
            let mut out = inverse.make_output_vec();
            inverse.process(&mut turned, &mut out).unwrap();
            out.iter().map(|s| s / signal.len() as f32).collect()
        })
        .collect()
}

/// Noise from everywhere.
fn diffuse(frames: usize, geometry: &[Position]) -> Vec<Vec<f32>> {
    let mut sum = vec![vec![0.0; frames * FRAME]; geometry.len()];
    let mut random = Random(77);
    for i in 0..40 {
        let z = 1.0 - (2.0 * i as f32 + 1.0) / 40.0;
        let turn = i as f32 * 2.399_963;
        let flat = (1.0 - z * z).sqrt();
        let signal: Vec<f32> = (0..frames * FRAME).map(|_| 0.02 * random.next()).collect();
        add(&mut sum, &wave([flat * turn.cos(), flat * turn.sin(), z], &signal, geometry));
    }
    sum
}

fn add(to: &mut [Vec<f32>], other: &[Vec<f32>]) {
    for (to, other) in to.iter_mut().zip(other) {
        to.iter_mut().zip(other).for_each(|(to, other)| *to += other);
    }
}

fn sum(parts: &[&[Vec<f32>]]) -> Vec<Vec<f32>> {
    let mut all = parts[0].to_vec();
    parts[1..].iter().for_each(|part| add(&mut all, part));
    all
}

/// Runs planes through a beam, and as its echo planes other ones: what came out of both.
fn run(beam: &mut Beam, planes: &[Vec<f32>], others: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
    let (mut voice, mut other) = (Vec::new(), Vec::new());
    for n in 0..planes[0].len() / FRAME {
        let frame = |planes: &[Vec<f32>]| -> Vec<[f32; FRAME]> {
            planes.iter().map(|plane| plane[n * FRAME..(n + 1) * FRAME].try_into().unwrap()).collect()
        };
        let (mut a, mut b) = ([0.0; FRAME], [0.0; FRAME]);
        beam.process(&frame(planes), &frame(others), &mut a, &mut b);
        voice.extend(a);
        other.extend(b);
    }
    (voice, other)
}

fn energy(signal: &[f32]) -> f32 {
    signal.iter().map(|s| s * s).sum::<f32>().max(1e-12)
}

/// How much weaker `unwanted` is against `wanted` behind the beam than at the first microphone, dB. The beam follows
/// both, and each alone shows what became of it: quiet copies go the way of the echo planes.
fn gain_db(geometry: &[Position], wanted: &[Vec<f32>], unwanted: &[Vec<f32>], from: usize) -> f32 {
    let mixture = sum(&[wanted, unwanted]);
    let alone = |part: &[Vec<f32>]| {
        let quiet: Vec<Vec<f32>> = part.iter().map(|p| p.iter().map(|s| 0.01 * s).collect()).collect();
        let (_, out) = run(&mut Beam::new(geometry), &mixture, &quiet);
        energy(&out[from..]) * 1e4
    };
    let db = |a: f32, b: f32| 10.0 * (a / b).log10();
    db(alone(wanted), alone(unwanted)) - db(energy(&wanted[0][from..]), energy(&unwanted[0][from..]))
}

const SECOND: usize = RATE_HZ as usize;

#[test]
fn a_talker_is_found_wherever_he_is_and_comes_through_as_he_is() {
    for (geometry, azimuths) in
        [(circle(), [-170.0, -64.0, 0.0, 33.0, 118.0]), (line(), [-70.0, -32.0, 0.0, 21.0, 58.0])]
    {
        for azimuth in azimuths {
            let said = from(azimuth, &talk(200, 3), &geometry);
            let mut beam = Beam::new(&geometry);
            let (out, _) =
                run(&mut beam, &said, &said.iter().map(|p| vec![0.0; p.len()]).collect::<Vec<_>>());
            let found = beam.direction().unwrap();
            let off = (found.azimuth_deg - azimuth).abs();
            assert!(off.min(360.0 - off) < 4.0, "{found:?} of {azimuth}");
            assert!(found.confidence > 0.5, "{found:?}");
            // What would have come to the centre of the array.
            let centre = from(azimuth, &talk(200, 3), &[Position::default()]);
            let (late, straight) = (&out[SECOND + FRAME..], &centre[0][SECOND..centre[0].len() - FRAME]);
            let error: Vec<f32> = late.iter().zip(straight).map(|(a, b)| a - b).collect();
            let clean_db = 10.0 * (energy(straight) / energy(&error)).log10();
            assert!(clean_db > 18.0, "{azimuth}: {clean_db} dB");
        }
    }
}

#[test]
fn noise_from_everywhere_is_weaker() {
    for geometry in [circle(), line()] {
        let gain =
            gain_db(&geometry, &from(20.0, &talk(300, 5), &geometry), &diffuse(300, &geometry), SECOND);
        assert!(gain > 3.5, "{gain} dB");
    }
}

#[test]
fn somebody_who_talks_at_the_same_time_is_kept_out() {
    for geometry in [circle(), line()] {
        let mut intrudes = talk(500, 9);
        intrudes[..2 * SECOND].fill(0.0);
        let gain = gain_db(
            &geometry,
            &from(-20.0, &talk(500, 5), &geometry),
            &from(40.0, &intrudes, &geometry),
            5 * SECOND / 2,
        );
        assert!(gain > 8.0, "{gain} dB");
    }
}

/// `signal` only where `when` (seconds).
fn only(signal: &[f32], when: &[std::ops::Range<f32>]) -> Vec<f32> {
    let is_in = |at: usize| when.iter().any(|range| range.contains(&(at as f32 / SECOND as f32)));
    signal.iter().enumerate().map(|(at, sample)| if is_in(at) { *sample } else { 0.0 }).collect()
}

#[test]
fn who_begins_in_a_talkers_pause_is_kept_out_once_the_talker_goes_on() {
    for geometry in [circle(), line()] {
        let said = from(-20.0, &only(&talk(700, 5), &[0.0..3.0, 3.3..7.0]), &geometry);
        let between = from(40.0, &only(&talk(700, 9), &[3.1..7.0]), &geometry);
        let gain = gain_db(&geometry, &said, &between, 9 * SECOND / 2);
        assert!(gain > 8.0, "{gain} dB");
    }
}

#[test]
fn whoever_has_talked_for_longer_of_late_is_not_kept_out_by_a_word_of_the_talker_before() {
    for geometry in [circle(), line()] {
        let before = from(-60.0, &only(&talk(450, 5), &[0.0..2.0, 3.9..4.5]), &geometry);
        let now = from(60.0, &only(&talk(450, 9), &[2.2..4.5]), &geometry);
        let planes = sum(&[&before, &now]);
        let silent: Vec<_> = planes.iter().map(|p| vec![0.0; p.len()]).collect();
        let mut beam = Beam::new(&geometry);
        run(&mut beam, &planes, &silent);
        let direction = beam.direction().unwrap();
        assert!((direction.azimuth_deg - 60.0).abs() < 10.0, "{direction:?}");
    }
}

#[test]
fn the_next_talker_is_not_clipped() {
    let geometry = circle();
    let mut first = talk(400, 5);
    first[2 * SECOND..].fill(0.0);
    let mut second = talk(400, 11);
    second[..2 * SECOND + SECOND / 10].fill(0.0);
    let planes = sum(&[&from(-60.0, &first, &geometry), &from(60.0, &second, &geometry)]);
    let silent: Vec<_> = planes.iter().map(|p| vec![0.0; p.len()]).collect();
    let (out, _) = run(&mut Beam::new(&geometry), &planes, &silent);
    let begins = second.iter().position(|s| s.abs() > 0.01).unwrap();
    for (window_ms, most_lost_db) in [(150, 6.0), (1_000, 2.0)] {
        let window = SECOND * window_ms / 1_000;
        let lost = 10.0
            * (energy(&second[begins..begins + window])
                / energy(&out[begins + FRAME..begins + FRAME + window]))
            .log10();
        assert!(lost < most_lost_db, "{lost} dB of the first {window_ms} ms are lost");
    }
}

#[test]
fn a_dead_microphone_is_found_left_out_and_used_again() {
    let geometry = circle();
    let mut said = from(30.0, &talk(900, 5), &geometry);
    said[2][..6 * SECOND].fill(0.0);
    let silent: Vec<_> = said.iter().map(|_| vec![0.0; 6 * SECOND]).collect();
    let part =
        |from: usize, to: usize| -> Vec<Vec<f32>> { said.iter().map(|p| p[from..to].to_vec()).collect() };
    let mut beam = Beam::new(&geometry);
    let (out, _) = run(&mut beam, &part(0, 6 * SECOND), &silent);
    assert_eq!(beam.faults().collect::<Vec<_>>(), [(2, MicrophoneFault::Dead)]);
    let off = (beam.direction().unwrap().azimuth_deg - 30.0).abs();
    assert!(off < 8.0, "{off} degrees off");
    let kept = 10.0 * (energy(&out[4 * SECOND..]) / energy(&said[0][4 * SECOND..6 * SECOND])).log10();
    assert!(kept.abs() < 1.5, "{kept} dB");
    run(&mut beam, &part(6 * SECOND, 9 * SECOND), &silent);
    assert_eq!(beam.faults().count(), 0);
}

#[test]
fn a_microphone_that_roars_is_left_out() {
    let geometry = circle();
    let quiet: Vec<f32> = talk(500, 5).iter().map(|s| 0.1 * s).collect();
    let mut said = from(30.0, &quiet, &geometry);
    let mut random = Random(3);
    said[1].iter_mut().for_each(|s| *s = 0.9 * random.next());
    let silent: Vec<_> = said.iter().map(|p| vec![0.0; p.len()]).collect();
    let mut beam = Beam::new(&geometry);
    let (out, _) = run(&mut beam, &said, &silent);
    assert_eq!(beam.faults().collect::<Vec<_>>(), [(1, MicrophoneFault::Loud)]);
    let kept = 10.0 * (energy(&out[3 * SECOND..]) / energy(&said[0][3 * SECOND..])).log10();
    assert!(kept.abs() < 1.5, "{kept} dB");
}

#[test]
fn two_microphones_that_were_exchanged_are_told_and_used_in_their_places() {
    let places = [(0.0, 0.05), (0.055, 0.015), (-0.01, -0.05), (-0.06, 0.0)];
    let geometry = places.map(|(x, y)| Position { x, y, z: 0.0 });
    let mut said = from(-60.0, &talk(1_200, 5), &geometry);
    let then = from(50.0, &talk(1_200, 8), &geometry);
    for (said, then) in said.iter_mut().zip(then) {
        said.truncate(6 * SECOND);
        said.extend(&then[..6 * SECOND]);
    }
    said.swap(1, 2);
    let silent: Vec<_> = said.iter().map(|p| vec![0.0; p.len()]).collect();
    let mut beam = Beam::new(&geometry);
    run(&mut beam, &said, &silent);
    let told: Vec<_> = beam.faults().collect();
    assert_eq!(told, [(1, MicrophoneFault::SwappedWith(2)), (2, MicrophoneFault::SwappedWith(1))]);
    let off = (beam.direction().unwrap().azimuth_deg - 50.0).abs();
    assert!(off < 5.0, "{off} degrees off");
}

#[test]
fn the_own_loudspeaker_is_no_talker() {
    let geometry = circle();
    let said = from(90.0, &talk(200, 5), &geometry);
    let mut beam = Beam::new(&geometry);
    run(&mut beam, &said, &said);
    assert_eq!(beam.direction(), None);
}

#[test]
fn one_microphone_and_several_in_one_place_pass_through() {
    for count in [1, 3] {
        let plane = talk(20, 4);
        let planes = vec![plane.clone(); count];
        let mut beam = Beam::new(&vec![Position::default(); count]);
        let (out, _) = run(&mut beam, &planes, &planes);
        assert!(out.iter().zip(&plane).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(beam.delay(), Duration::ZERO);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nothing_poisons_it(
        places in prop::collection::vec((-0.2_f32..0.2, -0.2_f32..0.2, -0.05_f32..0.05), 2..7),
        kinds in prop::collection::vec(0..5_u8, 1..30),
    ) {
        let geometry: Vec<_> = places.iter().map(|(x, y, z)| Position { x: *x, y: *y, z: *z }).collect();
        let mut beam = Beam::new(&geometry);
        let mut random = Random(1);
        let mut last = [0.0; FRAME];
        for kind in kinds.into_iter().chain([4; 8]) {
            let planes: Vec<[f32; FRAME]> = geometry
                .iter()
                .map(|_| std::array::from_fn(|i| match kind {
                    0 => 1.0,
                    1 => if i / 24 % 2 == 0 { 2.0 } else { -2.0 },
                    2 => random.next(),
                    3 => 1e-30,
                    _ => 0.0,
                }))
                .collect();
            let mut echo = [0.0; FRAME];
            beam.process(&planes, &planes, &mut last, &mut echo);
            prop_assert!(last.iter().chain(&echo).all(|s| s.is_finite() && s.abs() < 100.0));
        }
        prop_assert!(last.iter().all(|s| s.abs() < 1e-3));
    }
}
