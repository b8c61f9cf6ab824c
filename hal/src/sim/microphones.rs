//! The microphones of the virtual board.

use std::time::Duration;

use super::{
    Fault, PERIOD_FRAMES, RATE_HZ, VirtualBoard,
    clip::ClipAudio,
    room_response::{Ear, LOOK_BACK},
    sleep_until,
    voice::{Random, Voice},
};
use crate::{
    Timestamp,
    microphone::{ArrayFormat, MicrophoneArray, MicrophoneError},
};

/// Periods that wait for a slow reader before they are lost: a busy machine stops a thread for 100 ms now and
/// then, and sound cards hold more than that.
const BUFFER_PERIODS: u64 = 20;
/// Loudness of the noise of a microphone: -73 dB.
const NOISE: f32 = 0.0004;

/// The microphones of a virtual board: the scene's sound, each from its place, the echo of the board's own
/// speaker, and faint noise. The clock of the board paces them.
pub struct SimMicrophones {
    board: VirtualBoard,
    ears: Vec<Ear>,
    source: Option<Source>,
    noise: Random,
    /// The scene's sound: [`LOOK_BACK`] samples of the past, then the period.
    dry: Vec<f32>,
    /// First sample of the next period on the board's clock; `None` before the first.
    next: Option<u64>,
}

enum Source {
    Scene(Box<Voice>),
    Clip(Box<dyn ClipAudio>),
    Silence,
}

impl SimMicrophones {
    pub(super) fn new(board: VirtualBoard) -> Self {
        let options = board.options();
        let ears = Ear::of_array(&options.microphones, options.seed);
        let noise = Random::new(options.seed ^ 0x0153);
        Self { ears, noise, source: None, dry: vec![0.0; LOOK_BACK + PERIOD_FRAMES], next: None, board }
    }

    /// The next period of the scene, behind the past.
    fn listen(&mut self, start: u64) {
        self.dry.copy_within(PERIOD_FRAMES.., 0);
        let board = &self.board;
        let source = self.source.get_or_insert_with(|| Source::open(board, start));
        let period = &mut self.dry[LOOK_BACK..];
        match source {
            Source::Scene(voice) => voice.say(period),
            Source::Clip(clip) => clip.read(period),
            Source::Silence => period.fill(0.0),
        }
        let loudness = self.board.shared.state.lock().scene_loudness;
        period.iter_mut().for_each(|sample| *sample *= loudness);
        self.board.shared.scene.lock().write(start, period.iter().copied());
    }
}

impl Source {
    fn open(board: &VirtualBoard, start: u64) -> Self {
        let options = board.options();
        match &options.clip {
            None => Self::Scene(Box::new(Voice::new(options.seed))),
            Some(clip) => {
                let from = Duration::from_nanos(start * 62_500 / 3);
                clip.audio(from).map_or(Self::Silence, Self::Clip)
            }
        }
    }
}

impl MicrophoneArray for SimMicrophones {
    fn name(&self) -> String {
        format!("virtual microphones ({})", self.ears.len())
    }

    fn format(&self) -> ArrayFormat {
        let geometry = self.board.options().microphones.clone();
        ArrayFormat { rate_hz: RATE_HZ, period_frames: PERIOD_FRAMES, geometry }
    }

    fn read(&mut self, samples: &mut [f32]) -> Result<Timestamp, MicrophoneError> {
        const PERIOD: u64 = PERIOD_FRAMES as u64;
        let channels = self.ears.len();
        if samples.len() != PERIOD_FRAMES * channels {
            let message = format!(
                "{} samples were asked for; a period has {PERIOD_FRAMES} of {channels}",
                samples.len()
            );
            return Err(MicrophoneError::Failed { name: self.name(), message });
        }
        let shared = self.board.shared.clone();
        let now = shared.sample_at(Timestamp::now());
        let start = self.next.unwrap_or_else(|| now.next_multiple_of(PERIOD));
        let late = now.saturating_sub(start + PERIOD) / PERIOD;
        if late > BUFFER_PERIODS {
            for period in 0..late {
                self.listen(start + period * PERIOD);
            }
            self.next = Some(start + late * PERIOD);
            return Err(MicrophoneError::Overrun {
                lost_frames: usize::try_from(late * PERIOD).unwrap_or(usize::MAX),
            });
        }
        self.next = Some(start + PERIOD);
        sleep_until(shared.time_of(start + PERIOD));
        self.listen(start);
        let deaf = {
            let state = shared.state.lock();
            state.mute_switch_cut || state.faults.contains(&Fault::MicrophoneSilent)
        };
        if deaf {
            samples.fill(0.0);
        } else {
            let speaker = shared.speaker.lock();
            for (i, frame) in samples.chunks_exact_mut(channels).enumerate() {
                for (sample, ear) in frame.iter_mut().zip(&self.ears) {
                    let echo = ear.echo(start + i as u64, |at| speaker.at(at));
                    let noise = (self.noise.unit() - 0.5) * NOISE;
                    *sample = (ear.talker(&self.dry, LOOK_BACK + i) + echo + noise).clamp(-1.0, 1.0);
                }
            }
        }
        shared.microphone.lock().write(start, samples.iter().copied().step_by(channels));
        Ok(shared.time_of(start))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        sim::{SoundTap, VirtualBoardOptions},
        speaker::Speaker,
    };

    fn board() -> VirtualBoard {
        VirtualBoard::new(VirtualBoardOptions::default())
    }

    /// Reads `periods` and gives the first microphone; silence where a busy machine lost some.
    fn heard(microphones: &mut SimMicrophones, periods: usize) -> Vec<f32> {
        let mut samples = vec![0.0; PERIOD_FRAMES * 4];
        let mut heard = Vec::new();
        for _ in 0..periods {
            match microphones.read(&mut samples) {
                Ok(_) => heard.extend(samples.iter().step_by(4)),
                Err(MicrophoneError::Overrun { lost_frames }) => heard.resize(heard.len() + lost_frames, 0.0),
                Err(error) => panic!("{error}"),
            }
        }
        heard
    }

    #[test]
    fn periods_follow_each_other_without_gap_at_the_pace_of_the_clock() {
        let mut microphones = board().microphones();
        let mut samples = vec![0.0; PERIOD_FRAMES * 4];
        let first = microphones.read(&mut samples).unwrap();
        for period in 1..20_u32 {
            let start = microphones.read(&mut samples).unwrap();
            let expected = first + Duration::from_millis(10) * period;
            let nanos = start.since_start().abs_diff(expected.since_start()).as_nanos();
            assert!(nanos <= 1, "period {period} is off by {nanos} ns");
            assert!(Timestamp::now() >= start + Duration::from_millis(10), "samples from the future");
        }
    }

    #[test]
    fn the_microphones_hear_the_scene_and_the_handle_knows_what_they_heard() {
        let board = board();
        let heard = heard(&mut board.microphones(), 150);
        let scene = board.sound(SoundTap::Scene, Duration::from_secs(60));
        let microphone = board.sound(SoundTap::Microphone, Duration::from_secs(60));
        assert_eq!((scene.start, scene.samples.len()), (microphone.start, heard.len()));
        assert!(microphone.samples.iter().zip(&heard).all(|(a, b)| (a - b).abs() < 1e-4));
        let energy: f32 = scene.samples.iter().map(|s| s * s).sum();
        assert!(energy > 1.0, "nobody talks: {energy}");
        // The first of the microphones is the farthest from the talker, by less than ten samples.
        let fit =
            |delay: usize| -> f32 { heard[delay..].iter().zip(&scene.samples).map(|(a, b)| a * b).sum() };
        let best = (0..100).max_by(|a, b| fit(*a).total_cmp(&fit(*b))).unwrap();
        assert!((1..10).contains(&best) && fit(best) > energy * 0.8, "delay {best}");
    }

    #[test]
    fn the_speaker_comes_back_as_echo_ten_milliseconds_after_it_was_heard() {
        let board = board();
        board.set_scene_loudness(0.0);
        let (mut microphones, mut speaker) = (board.microphones(), board.speaker());
        let player = std::thread::spawn(move || {
            let mut noise = Random::new(5);
            for _ in 0..40 {
                let period: Vec<f32> = (0..PERIOD_FRAMES).map(|_| noise.unit() - 0.5).collect();
                // A busy machine may be late; what was played is on the tape all the same.
                let _ = speaker.write(&period);
            }
        });
        heard(&mut microphones, 60);
        player.join().unwrap();
        let microphone = board.sound(SoundTap::Microphone, Duration::from_secs(60));
        let played = board.sound(SoundTap::Speaker, Duration::from_secs(60));
        let offset = played.start.since_start().as_secs_f64() - microphone.start.since_start().as_secs_f64();
        let offset = (offset * 48_000.0).round() as i64;
        let fit = |delay: i64| -> f32 {
            let at = |i: i64| usize::try_from(i).ok().and_then(|i| microphone.samples.get(i)).unwrap_or(&0.0);
            (0_i64..).zip(&played.samples).map(|(i, s)| s * at(i + offset + delay)).sum()
        };
        let best = (0..2000).max_by(|a, b| fit(*a).total_cmp(&fit(*b))).unwrap();
        assert!((478..484).contains(&best), "echo after {best} samples");
    }

    #[test]
    fn a_switch_that_cuts_and_the_fault_give_digital_silence_at_the_same_pace() {
        let board = board();
        let mut microphones = board.microphones();
        assert!(heard(&mut microphones, 3).iter().any(|&s| s != 0.0));
        board.set_mute_switch(true);
        assert!(heard(&mut microphones, 3).iter().all(|&s| s == 0.0));
        board.set_mute_switch(false);
        board.set_fault(Fault::MicrophoneSilent, true);
        assert!(heard(&mut microphones, 3).iter().all(|&s| s == 0.0));
        board.set_fault(Fault::MicrophoneSilent, false);
        assert!(heard(&mut microphones, 3).iter().any(|&s| s != 0.0));
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_lost_and_goes_on() {
        let mut microphones = board().microphones();
        let mut samples = vec![0.0; PERIOD_FRAMES * 4];
        let first = microphones.read(&mut samples).unwrap();
        // This is the slowness itself, not a wait for something to happen.
        std::thread::sleep(Duration::from_millis(300));
        let Err(MicrophoneError::Overrun { lost_frames }) = microphones.read(&mut samples) else {
            panic!("no overrun after 300 ms");
        };
        assert!(lost_frames >= 21 * PERIOD_FRAMES && lost_frames % PERIOD_FRAMES == 0);
        let next = microphones.read(&mut samples).unwrap();
        let gap = next.saturating_since(first).as_secs_f64() * 48_000.0;
        assert_eq!(gap.round() as usize, lost_frames + PERIOD_FRAMES);
    }
}
