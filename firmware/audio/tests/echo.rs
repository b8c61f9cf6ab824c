//! The own speaker is not heard by the far end, whatever clocks, delays and rooms do, and the talker is.
#![allow(clippy::unwrap_used)]

mod support;

use rostrum_audio::{Aec3Mask, Aec3Settings, Aec3Suppressor, CaptureChain, FRAME, VoiceOptions};
use support::{Echo, Noise, Speech, array, db, plain};

const SECOND: usize = 48_000;
/// What the canceller holds back, samples.
const LATE: usize = 240;

/// A terminal whose microphone hears its speaker.
struct Scene {
    /// How much faster the speaker's clock is.
    ppm: f64,
    /// From a second on it is faster still by so many ppm.
    more_ppm: (usize, f64),
    /// From a second on, the sound card's delay is so many samples.
    delays: Vec<(usize, usize)>,
    /// Ways from each channel of the speaker, from a second on.
    ways: Vec<(usize, u64)>,
    channels: usize,
    /// Frames that are pushed at once.
    burst: usize,
    /// How loud the talker is, from a second on.
    talker: (usize, f32),
    /// At a second, frames of the microphones are lost; whether the chain is told.
    lost: (usize, usize, bool),
    seconds: usize,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            ppm: 0.0,
            more_ppm: (0, 0.0),
            delays: vec![(0, 960)],
            ways: vec![(0, 7)],
            channels: 1,
            burst: 1,
            talker: (0, 0.0),
            lost: (0, 0, false),
            seconds: 6,
        }
    }
}

/// What came of it: samples, and per frame what the meters said.
struct Heard {
    echo: Vec<f32>,
    said: Vec<f32>,
    out: Vec<f32>,
    /// What the linear filter left.
    left: Vec<f32>,
    delay_ms: Vec<Option<u32>>,
    ppm: Vec<f32>,
}

impl Heard {
    /// How much of the echo is removed in these seconds, dB.
    fn removed(&self, seconds: std::ops::Range<f32>) -> f32 {
        let range = (seconds.start * SECOND as f32) as usize..(seconds.end * SECOND as f32) as usize;
        db(&self.echo[range.clone()]) - db(&self.out[range])
    }

    /// How alike the talker and what was sent are, 0..=1, in these seconds.
    fn likeness(&self, seconds: std::ops::Range<usize>) -> f32 {
        let said = &self.said[seconds.start * SECOND..seconds.end * SECOND - LATE];
        let out = &self.out[seconds.start * SECOND + LATE..seconds.end * SECOND];
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        (product(said, out) / (product(said, said) * product(out, out)).sqrt()) as f32
    }

    fn delay_at(&self, second: f32) -> Option<u32> {
        self.delay_ms[(second * 100.0) as usize]
    }
}

impl Scene {
    fn run(&self) -> Heard {
        self.run_with(VoiceOptions {
            echo: rostrum_audio::EchoControl::Long,
            speaker_channels: self.channels as u8,
            ..plain()
        })
    }

    fn run_with(&self, options: VoiceOptions) -> Heard {
        let frames = self.seconds * 100;
        let (lost_at, lost, told) = self.lost;
        let there = frames + lost + 20;
        let mut voices: Vec<Speech> = (0..self.channels as u64).map(|i| Speech::new(21 + 13 * i)).collect();
        let played: Vec<Vec<f32>> =
            voices.iter_mut().map(|voice| (0..there).flat_map(|_| voice.frame()).collect()).collect();
        let mut echo = self.echo(&played);
        echo.drain(lost_at * SECOND..lost_at * SECOND + lost * FRAME);
        let mut chain = CaptureChain::new(&array(1), options).unwrap();
        let (mut talker, mut hiss) = (Speech::new(90), Noise::new(5));
        let mut heard =
            Heard { echo, said: vec![], out: vec![], left: vec![], delay_ms: vec![], ppm: vec![] };
        let mut pushed = 0;
        for frame in 0..frames {
            let gone = if frame >= lost_at * 100 { lost } else { 0 };
            let due = (self.taken((frame + gone + 1) * FRAME) / FRAME as f64) as usize;
            while pushed < due.div_ceil(self.burst) * self.burst && pushed < there {
                let of_frame = pushed * FRAME..(pushed + 1) * FRAME;
                let far: Vec<f32> =
                    of_frame.flat_map(|i| played.iter().map(move |channel| channel[i])).collect();
                chain.playback(&far);
                pushed += 1;
            }
            if told && frame == lost_at * 100 {
                chain.lost(lost * FRAME);
            }
            let loud = if frame >= self.talker.0 * 100 { self.talker.1 } else { 0.0 };
            let said = talker.frame().map(|sample| sample * loud);
            let microphone: [f32; FRAME] =
                std::array::from_fn(|i| heard.echo[frame * FRAME + i] + said[i] + hiss.next() * 1e-4);
            chain.process(&microphone);
            heard.said.extend(said);
            heard.out.extend(chain.signals().map_or([0.0; FRAME], |signals| *signals.output));
            heard.left.extend(chain.signals().map_or([0.0; FRAME], |signals| signals.echo_removed[0]));
            heard.delay_ms.push(chain.meters().echo_delay_ms);
            heard.ppm.push(chain.meters().clock_drift_ppm.unwrap());
        }
        heard
    }

    /// What the microphone hears of the speaker, on its own clock.
    fn echo(&self, played: &[Vec<f32>]) -> Vec<f32> {
        let mut rooms = self.ways.iter().map(|(since, seed)| {
            let mut sum = vec![0.0; played[0].len()];
            for (channel, samples) in played.iter().enumerate() {
                let mut way = Echo::new(seed + 100 * channel as u64, 0.5);
                let frames = samples.chunks_exact(FRAME).flat_map(|frame| way.frame(frame));
                sum.iter_mut().zip(frames).for_each(|(sum, sample)| *sum += sample);
            }
            (*since, sum)
        });
        let mut now = rooms.next().unwrap().1;
        for (since, room) in rooms {
            now[since * SECOND..].copy_from_slice(&room[since * SECOND..]);
        }
        let delay = |at: usize| self.delays.iter().rfind(|(since, _)| since * SECOND <= at).unwrap().1;
        (0..self.seconds * SECOND + self.lost.1 * FRAME)
            .map(|at| sample_at(&now, self.taken(at) - delay(at) as f64))
            .collect()
    }

    /// Samples that the speaker has taken when the microphones have heard that many.
    fn taken(&self, heard: usize) -> f64 {
        let (since, more) = self.more_ppm;
        let later = heard.saturating_sub(since * SECOND) as f64;
        heard as f64 * (1.0 + self.ppm * 1e-6) + later * more * 1e-6
    }
}

/// Between samples: a sinc of 32 under a raised cosine.
fn sample_at(samples: &[f32], at: f64) -> f32 {
    let (whole, part) = (at.floor(), at - at.floor());
    if part < 1e-9 {
        return if whole < 0.0 { 0.0 } else { samples.get(whole as usize).copied().unwrap_or(0.0) };
    }
    (-15..=16)
        .map(|tap: i64| {
            let index = whole as i64 + tap;
            let away = std::f64::consts::PI * (tap as f64 - part);
            let weight = away.sin() / away * (away / 32.0).cos().powi(2);
            let sample = usize::try_from(index).ok().and_then(|index| samples.get(index));
            sample.copied().unwrap_or(0.0) * weight as f32
        })
        .sum()
}

#[test]
fn clocks_that_are_300_ppm_apart_are_told_within_10_ppm() {
    for ppm in [-300.0, 300.0] {
        let heard = Scene { ppm, delays: vec![(0, 2_400)], seconds: 10, ..Scene::default() }.run();
        let worst = heard.ppm[600..].iter().fold(0.0_f32, |worst, told| worst.max((told - ppm as f32).abs()));
        assert!(worst < 10.0, "{ppm} ppm are told {worst} ppm wrong");
        assert!(heard.removed(4.0..10.0) > 25.0, "{ppm} ppm: {} dB", heard.removed(4.0..10.0));
    }
}

#[test]
fn one_clock_is_told_as_one() {
    let heard = Scene { talker: (3, 1.0), seconds: 8, ..Scene::default() }.run();
    let worst = heard.ppm[400..].iter().fold(0.0_f32, |worst, told| worst.max(told.abs()));
    assert!(worst < 10.0, "{worst} ppm");
}

#[test]
fn clocks_are_told_within_10_ppm_while_both_talk_without_a_pause() {
    for (ppm, loud) in [(0.0, 1.0), (150.0, 0.5), (-150.0, 2.0)] {
        let heard = Scene { ppm, talker: (10, loud), seconds: 50, ..Scene::default() }.run();
        let worst = heard.ppm[800..].iter().fold(0.0_f32, |worst, told| worst.max((told - ppm as f32).abs()));
        assert!(worst < 10.0, "{ppm} ppm are told {worst} ppm wrong");
    }
}

#[test]
fn a_clock_that_is_changed_for_another_is_learned_again() {
    let heard = Scene { ppm: -60.0, more_ppm: (30, 160.0), seconds: 45, ..Scene::default() }.run();
    let worst = heard.ppm[4_000..].iter().fold(0.0_f32, |worst, told| worst.max((told - 100.0).abs()));
    assert!(worst < 10.0, "{worst} ppm");
    assert!(heard.removed(40.0..45.0) > 25.0, "{} dB", heard.removed(40.0..45.0));
}

#[test]
fn an_echo_is_found_up_to_half_a_second_late() {
    // Samples after those 8 ms that the sound itself takes.
    for delay in [0, 480, 4_800, 14_400, 23_600] {
        let heard = Scene { delays: vec![(0, delay)], seconds: 5, ..Scene::default() }.run();
        let expected = (delay + 400) as f32 / 48.0;
        let told = heard.delay_at(2.0).unwrap_or(9_999) as f32;
        assert!((told - expected).abs() < 3.0, "{expected} ms are told as {told} ms");
        assert!(heard.removed(3.0..5.0) > 35.0, "{expected} ms: {} dB", heard.removed(3.0..5.0));
    }
}

#[test]
fn an_echo_that_jumps_is_found_within_a_second() {
    for (from, to) in [(2_400, 5_280), (5_280, 2_400), (960, 12_960), (12_960, 960)] {
        let delays = vec![(0, from), (4, to)];
        let heard = Scene { delays, seconds: 8, ..Scene::default() }.run();
        let expected = (to + 400) as f32 / 48.0;
        let told = heard.delay_at(5.0).unwrap() as f32;
        assert!((told - expected).abs() < 3.0, "{from} to {to}: told {told} ms, not {expected} ms");
        assert!(heard.removed(6.0..8.0) > 25.0, "{from} to {to}: {} dB", heard.removed(6.0..8.0));
    }
}

#[test]
fn sound_that_the_microphones_lost_does_not_bring_the_echo_back_when_it_is_told() {
    for frames in [8, 25] {
        let scene = |told| Scene { lost: (4, frames, told), delays: vec![(0, 2_400)], ..Scene::default() };
        let removed = |told| scene(told).run().removed(4.0..4.5);
        let (told, untold) = (removed(true), removed(false));
        assert!(told > 40.0 && untold < 15.0, "{frames} frames: {told} dB, untold {untold} dB");
    }
}

#[test]
fn the_echo_is_gone_soon_after_the_start_and_after_the_speaker_was_moved() {
    let heard = Scene { ways: vec![(0, 7), (6, 8)], seconds: 12, ..Scene::default() }.run();
    assert!(heard.removed(1.0..3.0) > 25.0, "seconds 1 to 3: {} dB", heard.removed(1.0..3.0));
    assert!(heard.removed(3.0..6.0) > 40.0, "seconds 3 to 6: {} dB", heard.removed(3.0..6.0));
    assert!(heard.removed(8.0..12.0) > 30.0, "2 s after the move: {} dB", heard.removed(8.0..12.0));
}

#[test]
fn a_talker_is_heard_while_the_far_end_talks() {
    // The echo is about as loud as a talker of 1.0.
    for (loud, least) in [(1.0, 0.9), (0.32, 0.7)] {
        let heard = Scene { talker: (4, loud), seconds: 10, ..Scene::default() }.run();
        let likeness = heard.likeness(5..10);
        assert!(likeness > least, "a talker of {loud} is sent with a likeness of {likeness}");
        let sent = db(&heard.out[5 * SECOND..]) - db(&heard.said[5 * SECOND..]);
        assert!(sent.abs() < 3.0, "a talker of {loud} is sent {sent} dB louder");
    }
}

#[test]
fn a_speaker_that_is_told_of_in_bursts_is_the_same() {
    let heard = Scene { burst: 4, delays: vec![(0, 3_840)], ..Scene::default() }.run();
    assert!(heard.removed(3.0..6.0) > 35.0, "{} dB", heard.removed(3.0..6.0));
}

#[test]
fn two_channels_with_ways_of_their_own_are_both_removed() {
    let heard = Scene { channels: 2, seconds: 8, ..Scene::default() }.run();
    assert!(heard.removed(4.0..8.0) > 30.0, "{} dB", heard.removed(4.0..8.0));
    // Mixed into one they could not be told apart.
    let linear = db(&heard.echo[4 * SECOND..]) - db(&heard.left[4 * SECOND..]);
    assert!(linear > 15.0, "the filter alone removes {linear} dB");
}

#[test]
fn aec3_has_a_linear_filter_and_a_suppressor_that_can_be_told_to_take_nothing() {
    let run = |aec3| {
        let heard = Scene::default().run_with(VoiceOptions {
            echo: rostrum_audio::EchoControl::Aec3,
            aec3,
            ..plain()
        });
        let linear = db(&heard.echo[3 * SECOND..]) - db(&heard.left[3 * SECOND..]);
        (linear, heard.removed(3.0..6.0))
    };
    let shipped = Aec3Settings::default();
    let all_passes = Aec3Mask { enr_transparent: 100.0, enr_suppress: 100.0, emr_transparent: 100.0 };
    let lenient = Aec3Suppressor { mask_lf: all_passes, mask_hf: all_passes, ..shipped.normal };
    let (linear, strict) = run(shipped);
    assert!(linear > 15.0 && strict > linear + 10.0, "{linear} dB, and {strict} dB with the suppressor");
    let (_, lenient) = run(Aec3Settings { normal: lenient, nearend: lenient, ..shipped });
    assert!(strict > lenient + 8.0, "{strict} dB, and {lenient} dB with a lenient suppressor");
}

#[test]
fn a_voice_is_as_late_by_aec3_as_the_chain_says() {
    let options = VoiceOptions { echo: rostrum_audio::EchoControl::Aec3, ..plain() };
    let mut chain = CaptureChain::new(&array(1), options).unwrap();
    let (mut talker, mut said, mut out) = (Speech::new(4), vec![], vec![]);
    for _ in 0..300 {
        let frame = talker.frame();
        chain.playback(&[0.0; FRAME]);
        chain.process(&frame);
        said.extend(frame);
        out.extend_from_slice(chain.signals().unwrap().output);
    }
    let product = |late: usize| -> f32 {
        said[SECOND..2 * SECOND].iter().zip(&out[SECOND + late..]).map(|(said, out)| said * out).sum()
    };
    let late = (0..2_000).max_by(|a, b| product(*a).total_cmp(&product(*b))).unwrap();
    let told = chain.delay().as_secs_f64() * SECOND as f64;
    assert!((late as f64 - told).abs() < 24.0, "{late} samples late, {told} told");
}

#[test]
fn a_chain_with_aec3_goes_on_in_another_thread_and_ends_in_a_third() {
    let options = VoiceOptions { echo: rostrum_audio::EchoControl::Aec3, ..plain() };
    let mut chain = CaptureChain::new(&array(2), options).unwrap();
    let mut frame = move || chain.process(&[0.1; 2 * FRAME]).is_some();
    frame();
    let other = std::thread::spawn(move || (frame(), frame));
    let (packet, frame) = other.join().unwrap();
    assert!(packet);
    std::thread::spawn(move || drop(frame)).join().unwrap();
}

#[test]
fn a_speaker_that_stops_and_a_microphone_that_stumbles_leave_nothing_behind() {
    let mut chain =
        CaptureChain::new(&array(1), VoiceOptions { echo: rostrum_audio::EchoControl::Long, ..plain() })
            .unwrap();
    let (mut far, mut way, mut hiss) = (Speech::new(3), Echo::new(9, 0.5), Noise::new(4));
    let (mut heard, mut out) = (vec![], vec![]);
    for frame in 0..1_200 {
        // For two seconds nothing is played, and the shell says nothing of it.
        let silent = (400..600).contains(&frame);
        let played = if silent { [0.0; FRAME] } else { far.frame() };
        if !silent {
            chain.playback(&played);
        }
        let echo = way.frame(&played);
        // Later the microphones lose 150 ms.
        if (800..815).contains(&frame) {
            continue;
        }
        chain.process(&echo.map(|sample| sample + hiss.next() * 1e-4));
        heard.extend(echo);
        out.extend(chain.signals().map_or([0.0; FRAME], |signals| *signals.output));
    }
    let removed = |frames: std::ops::Range<usize>| {
        let samples = frames.start * FRAME..frames.end * FRAME;
        db(&heard[samples.clone()]) - db(&out[samples])
    };
    assert!(removed(300..400) > 35.0, "before: {} dB", removed(300..400));
    assert!(removed(630..780) > 25.0, "after it stopped: {} dB", removed(630..780));
    assert!(removed(900..1_180) > 25.0, "after the xrun: {} dB", removed(900..1_180));
}
