//! A room in which somebody talks while a loudspeaker plays and fans blow: what the microphones hear of each.

use rostrum_hal::microphone::Position;

use crate::clocks::PlayClock;
use crate::convolve::convolve;
use crate::field::{Colour, diffuse};
use crate::loudspeaker::Loudspeaker;
use crate::random::Random;
use crate::room::{Point, RATE_HZ, Room, distance, placed};
use crate::scores::{energy, level_db};

/// How long a move from one place to the next takes, seconds.
const MOVE_S: f64 = 0.05;
/// Of what the microphones hear, of full scale.
const LOUDEST: f32 = 0.7;
/// The microphones' own noise, of that: -70 dB.
const OWN_NOISE: f64 = 3.16e-4;
/// Samples in which somebody talks or does not.
const PART: usize = 960;

/// Something that sounds, and where, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// From each time on (seconds, the first is 0.0), where it is.
    pub places: Vec<(f64, Point)>,
    /// What it gives, from time 0.
    pub signal: Vec<f32>,
}

impl Source {
    /// One that stays where it is.
    pub fn at(place: Point, signal: Vec<f32>) -> Self {
        Self { places: vec![(0.0, place)], signal }
    }

    /// One that walks evenly from `from` to `to` in steps of some 10 cm.
    pub fn walking(from: Point, to: Point, signal: Vec<f32>) -> Self {
        let steps = (distance(from, to) / 0.1).ceil().max(1.0);
        let length_s = signal.len() as f64 / RATE_HZ;
        let place =
            |step: f64| std::array::from_fn(|axis| from[axis] + (to[axis] - from[axis]) * step / steps);
        let places =
            (0..=steps as usize).map(|step| (step as f64 / (steps + 1.0) * length_s, place(step as f64)));
        Self { places: places.collect(), signal }
    }

    /// Where it is at a time.
    pub fn place_at(&self, time_s: f64) -> Point {
        let before = self.places.iter().rev().find(|(from, _)| *from <= time_s);
        before.or(self.places.first()).map_or([0.0; 3], |(_, place)| *place)
    }

    /// What `microphones` in `room` hear of it. From place to place it is cross-faded.
    pub fn heard(&self, room: &Room, microphones: &[Point], length: usize) -> Vec<Vec<f32>> {
        let mut out = vec![vec![0.0; length]; microphones.len()];
        for (i, (from_s, place)) in self.places.iter().enumerate() {
            let end_s = self.places.get(i + 1).map_or(f64::INFINITY, |(next, _)| *next);
            let ramp = |at_s: f64, since_s: f64| ((at_s - since_s) / MOVE_S).clamp(0.0, 1.0) as f32;
            let share = |at: usize| {
                let at_s = at as f64 / RATE_HZ;
                let begun = if i == 0 { 1.0 } else { ramp(at_s, *from_s) };
                begun - if end_s.is_finite() { ramp(at_s, end_s) } else { 0.0 }
            };
            // Only what is given out there sounds from there, and its reverberation is heard to its end.
            let part: Vec<f32> =
                self.signal.iter().take(length).enumerate().map(|(at, sample)| sample * share(at)).collect();
            let Some(first) = part.iter().position(|sample| *sample != 0.0) else { continue };
            let last = part.iter().rposition(|sample| *sample != 0.0).unwrap_or(first);
            for (plane, response) in out.iter_mut().zip(room.responses(*place, microphones)) {
                let end = (last + 1 + response.len()).min(length);
                let mut given = part[first..=last].to_vec();
                given.resize(end.saturating_sub(first), 0.0);
                for (sample, add) in plane[first..].iter_mut().zip(convolve(&given, &response)) {
                    *sample += add;
                }
            }
        }
        out
    }
}

/// A loudspeaker of the terminal.
#[derive(Clone, Debug)]
pub struct Playback {
    /// What is given to it, and where it stands.
    pub source: Source,
    /// How it bends sound.
    pub loudspeaker: Loudspeaker,
    /// Its volume knob, behind what the canceller knows: factors from each time on (seconds).
    pub volume: Vec<(f64, f32)>,
}

/// Noise in the room.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Its notes.
    pub colour: Colour,
    /// So much weaker than what it is measured against (the near talker; without one, the echo), dB.
    pub snr_db: f64,
}

/// What happens in a room.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The room.
    pub room: Room,
    /// The microphones, relative to the array's centre.
    pub geometry: Vec<Position>,
    /// Where that is.
    pub array_at: Point,
    /// What the terminal plays: a loudspeaker a channel.
    pub playback: Vec<Playback>,
    /// The clock it is played by.
    pub clock: PlayClock,
    /// Who talks. The first is the one that should be heard.
    pub talkers: Vec<Source>,
    /// The first talker so much louder than the echo, dB, over the whole scene; `None` leaves both as they are.
    pub talker_over_echo_db: Option<f64>,
    /// Noise that comes from everywhere.
    pub noise: Option<Noise>,
    /// Length, samples.
    pub length: usize,
}

/// What the microphones hear, one signal a microphone, and its parts.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Everything.
    pub microphones: Vec<Vec<f32>>,
    /// Of the own loudspeakers.
    pub echo: Vec<Vec<f32>>,
    /// Of the first talker.
    pub near: Vec<Vec<f32>>,
    /// Of all others.
    pub others: Vec<Vec<f32>>,
    /// Of fans.
    pub noise: Vec<Vec<f32>>,
    /// What was given to each loudspeaker, in samples of the speaker's clock.
    pub played: Vec<Vec<f32>>,
    /// The clock it was played by.
    pub clock: PlayClock,
    /// The microphones' places.
    pub geometry: Vec<Position>,
}

impl Scene {
    /// A meeting room that `seed` chooses: 3 to 9 m, RT60 0.2 to 0.7 s, the array on a table, a loudspeaker 10 to 40 cm
    /// from it, which plays `far`. The clocks agree; nobody talks; it is quiet.
    pub fn meeting(seed: u64, geometry: &[Position], far: Vec<f32>) -> Self {
        let mut random = Random::new(seed);
        let size_m = [random.between(3.0, 9.0), random.between(3.0, 7.0), random.between(2.4, 3.4)];
        let room = Room { size_m, rt60_s: random.between(0.2, 0.7), seed };
        let array_at = [
            size_m[0] * random.between(0.35, 0.65),
            size_m[1] * random.between(0.25, 0.5),
            random.between(0.75, 1.1),
        ];
        let turn = random.between(0.0, std::f64::consts::TAU);
        let away = random.between(0.1, 0.4);
        let speaker = [array_at[0] + away * turn.cos(), array_at[1] + away * turn.sin(), array_at[2] - 0.03];
        let length = far.len();
        let playback = Playback {
            source: Source::at(speaker, far),
            loudspeaker: Loudspeaker::Linear,
            volume: vec![(0.0, 1.0)],
        };
        Self {
            room,
            geometry: geometry.to_vec(),
            array_at,
            playback: vec![playback],
            clock: PlayClock { delay_s: random.between(0.02, 0.12), ..PlayClock::default() },
            talkers: Vec::new(),
            talker_over_echo_db: None,
            noise: None,
            length,
        }
    }

    /// The place `away_m` from the array at `azimuth_deg`: 0 is straight ahead (y), 90 to the right (x). Kept 30 cm from
    /// the walls.
    pub fn place(&self, azimuth_deg: f64, away_m: f64, height_m: f64) -> Point {
        let angle = azimuth_deg.to_radians();
        let up = height_m - self.array_at[2];
        let flat = (away_m * away_m - up * up).max(0.01).sqrt();
        let direction = [angle.sin(), angle.cos()];
        let room_left = |axis: usize| {
            let left = if direction[axis] > 0.0 {
                self.room.size_m[axis] - 0.3 - self.array_at[axis]
            } else {
                self.array_at[axis] - 0.3
            };
            left / direction[axis].abs().max(1e-9)
        };
        let flat = flat.min(room_left(0)).min(room_left(1));
        [self.array_at[0] + flat * direction[0], self.array_at[1] + flat * direction[1], height_m]
    }

    /// The direction of a place as the array sees it, degrees: 0 straight ahead, 90 to the right, -180..=180.
    pub fn azimuth_deg(&self, place: Point) -> f64 {
        (place[0] - self.array_at[0]).atan2(place[1] - self.array_at[1]).to_degrees()
    }

    /// Lets it sound. Everything is scaled so that the loudest microphone sample is at most 0.7 of full scale.
    pub fn hear(&self) -> Heard {
        let microphones = placed(&self.geometry, self.array_at);
        let silence = || vec![vec![0.0_f32; self.length]; microphones.len()];
        let mut echo = silence();
        for playback in &self.playback {
            let mut sound = self.clock.play(&playback.source.signal, self.length);
            playback.loudspeaker.sound(&mut sound);
            for (i, sample) in sound.iter_mut().enumerate() {
                let at_s = i as f64 / RATE_HZ;
                let now = playback.volume.iter().rev().find(|(from, _)| *from <= at_s);
                *sample *= now.map_or(1.0, |(_, factor)| *factor);
            }
            let source = Source { places: playback.source.places.clone(), signal: sound };
            add(&mut echo, &source.heard(&self.room, &microphones, self.length));
        }
        let mut near = silence();
        let mut others = silence();
        for (i, talker) in self.talkers.iter().enumerate() {
            let to = if i == 0 { &mut near } else { &mut others };
            add(to, &talker.heard(&self.room, &microphones, self.length));
        }
        if let (Some(db), Some(first), Some(echo)) = (self.talker_over_echo_db, near.first(), echo.first()) {
            // Pauses of the talker count for neither.
            let talk = loud_parts(first);
            let level = |signal: &[f32]| level_db(&only(signal, &talk));
            let gain = 10_f64.powf((db + level(echo) - level(first)) / 20.0) as f32;
            near.iter_mut().flatten().for_each(|sample| *sample *= gain);
        }
        let noise = self.noise.map_or_else(silence, |noise| {
            let against = if self.talkers.is_empty() { &echo } else { &near };
            let level = against.first().map_or(0.0, |plane| level_db(&only(plane, &loud_parts(plane))));
            let gain = 10_f64.powf((level - noise.snr_db) / 20.0) as f32;
            let mut planes = diffuse(&microphones, self.length, noise.colour, self.room.seed);
            planes.iter_mut().flatten().for_each(|sample| *sample *= gain);
            planes
        });
        let mut heard = Heard {
            microphones: silence(),
            echo,
            near,
            others,
            noise,
            played: self.playback.iter().map(|playback| playback.source.signal.clone()).collect(),
            clock: self.clock.clone(),
            geometry: self.geometry.clone(),
        };
        heard.mix(self.room.seed);
        heard
    }
}

impl Heard {
    /// Adds the parts and the microphones' own noise (70 dB below the loudest sample), and scales all of them.
    fn mix(&mut self, seed: u64) {
        for parts in [&self.echo, &self.near, &self.others, &self.noise] {
            add(&mut self.microphones, parts);
        }
        let loudest = self.microphones.iter().flatten().fold(1e-9_f32, |loudest, x| loudest.max(x.abs()));
        let gain = LOUDEST / loudest;
        let parts =
            [&mut self.microphones, &mut self.echo, &mut self.near, &mut self.others, &mut self.noise];
        for sample in parts.into_iter().flatten().flatten() {
            *sample *= gain;
        }
        let mut random = Random::new(seed ^ 0x6d69_6373);
        for sample in self.microphones.iter_mut().flatten() {
            *sample += (f64::from(LOUDEST) * OWN_NOISE * random.normal()) as f32;
        }
    }

    /// How many samples there are of each microphone.
    pub fn length(&self) -> usize {
        self.microphones.first().map_or(0, Vec::len)
    }
}

fn add(to: &mut [Vec<f32>], from: &[Vec<f32>]) {
    for (to, from) in to.iter_mut().flatten().zip(from.iter().flatten()) {
        *to += from;
    }
}

/// Which frames of 20 ms are within 30 dB of the loudest: where somebody talks.
fn loud_parts(signal: &[f32]) -> Vec<bool> {
    let energies: Vec<f64> = signal.chunks(PART).map(energy).collect();
    let loudest = energies.iter().copied().fold(0.0, f64::max);
    energies.into_iter().map(|energy| energy > loudest * 1e-3).collect()
}

fn only(signal: &[f32], parts: &[bool]) -> Vec<f32> {
    let kept = signal.chunks(PART).zip(parts).filter(|(_, kept)| **kept);
    kept.flat_map(|(part, _)| part).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..length).map(|_| random.normal() as f32 * 0.05).collect()
    }

    const PAIR: [Position; 2] = [Position { x: -0.03, y: 0.0, z: 0.0 }, Position { x: 0.03, y: 0.0, z: 0.0 }];

    #[test]
    fn parts_are_as_loud_as_was_asked_for_and_add_up() {
        let mut scene = Scene::meeting(5, &PAIR, noise(48_000, 1));
        scene.talkers.push(Source::at(scene.place(30.0, 1.5, 1.2), noise(48_000, 2)));
        scene.talker_over_echo_db = Some(-10.0);
        scene.noise = Some(Noise { colour: Colour::Fan, snr_db: 15.0 });
        let heard = scene.hear();
        let level = |planes: &[Vec<f32>]| level_db(&only(&planes[0], &loud_parts(&heard.near[0])));
        assert!((level(&heard.near) - level(&heard.echo) + 10.0).abs() < 0.1);
        assert!((level(&heard.near) - level(&heard.noise) - 15.0).abs() < 1.5);
        let wrong: Vec<f32> = (0..48_000)
            .map(|i| {
                heard.microphones[1][i]
                    - heard.echo[1][i]
                    - heard.near[1][i]
                    - heard.others[1][i]
                    - heard.noise[1][i]
            })
            .collect();
        assert!(level_db(&wrong) < -70.0);
    }

    #[test]
    fn a_place_is_where_its_direction_says() {
        let scene = Scene::meeting(8, &PAIR, noise(480, 1));
        for azimuth in [-170.0, -90.0, -20.0, 0.0, 45.0, 135.0] {
            let place = scene.place(azimuth, 1.0, 1.2);
            assert!((scene.azimuth_deg(place) - azimuth).abs() < 1e-6);
        }
        // From the right, the right microphone hears first.
        let heard = Source::at(scene.place(90.0, 1.0, 1.0), noise(4_800, 3)).heard(
            &Room { rt60_s: 0.05, ..scene.room },
            &placed(&PAIR, scene.array_at),
            9_600,
        );
        let lag = crate::scores::lag(&heard[1], &heard[0], 30);
        assert!((7..=9).contains(&lag), "{lag}");
    }

    #[test]
    fn who_moves_does_not_click() {
        let scene = Scene::meeting(8, &PAIR, noise(480, 1));
        let tone: Vec<f32> = (0..96_000).map(|i| (i as f32 * 0.02).sin() * 0.1).collect();
        let from = scene.place(-40.0, 1.2, 1.2);
        let to = scene.place(40.0, 1.2, 1.2);
        let heard = Source::walking(from, to, tone).heard(&scene.room, &[scene.array_at], 96_000);
        let jump = heard[0].windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        let loudest = heard[0].iter().fold(0.0_f32, |loudest, x| loudest.max(x.abs()));
        assert!(jump < 0.05 * loudest, "{jump} of {loudest}");
    }
}
