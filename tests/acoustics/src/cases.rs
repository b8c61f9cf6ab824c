//! The rooms that the voice chain is measured in. Each follows from a seed: room, places, voices, clocks.

use rostrum_hal::microphone::Position;

use crate::clocks::PlayClock;
use crate::field::Colour;
use crate::loudspeaker::Loudspeaker;
use crate::random::Random;
use crate::scene::{Heard, Noise, Scene, Source};
use crate::speech::{Speech, TALKERS, Talker};

/// Four microphones on a circle of 6.5 cm.
pub const CIRCLE: [Position; 4] = {
    const R: f32 = 0.0325;
    const fn at(x: f32, y: f32) -> Position {
        Position { x, y, z: 0.0 }
    }
    [at(R, 0.0), at(0.0, R), at(-R, 0.0), at(0.0, -R)]
};

/// Seconds of an echo case.
pub const ECHO_S: f64 = 12.0;
/// When a jump comes, seconds.
pub const JUMP_AT_S: f64 = 6.0;
/// When the near talker begins in double talk, seconds.
pub const TALK_AT_S: f64 = 4.0;

/// What is special about an echo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Echo {
    /// Nothing.
    Linear,
    /// A cheap loudspeaker.
    NonLinear,
    /// The speaker's clock is up to 200 ppm (at least 50) fast or slow.
    Drifting,
    /// 60 ms more delay from [`JUMP_AT_S`] on.
    Jumping,
    /// At [`JUMP_AT_S`] the loudspeaker is moved by some 20 cm and made 6 dB louder by a knob that nobody tells of.
    Moved,
    /// Fans, 5 to 20 dB below the echo.
    Noisy,
    /// Two loudspeakers that play two channels.
    Stereo,
}

/// Two different talkers.
fn talkers(random: &mut Random) -> (Talker, Talker) {
    let first = random.bits() as usize % TALKERS.len();
    let other = (first + 1 + random.bits() as usize % (TALKERS.len() - 1)) % TALKERS.len();
    (TALKERS[first], TALKERS[other])
}

fn far_end(speech: &Speech, geometry: &[Position], length_s: f64, seed: u64) -> (Scene, Random, Talker) {
    let mut random = Random::new(seed ^ 0x6361_7365);
    let (far, near) = talkers(&mut random);
    // As loud as others are played at full volume.
    let mut said = speech.say(far, length_s, seed);
    said.iter_mut().for_each(|sample| *sample = (*sample * 2.5).clamp(-0.99, 0.99));
    (Scene::meeting(seed, geometry, said), random, near)
}

/// Only the far end talks.
pub fn echo(speech: &Speech, geometry: &[Position], echo: Echo, seed: u64) -> Heard {
    let (mut scene, mut random, _) = far_end(speech, geometry, ECHO_S, seed);
    match echo {
        Echo::Linear => {}
        Echo::NonLinear => scene.playback[0].loudspeaker = Loudspeaker::CHEAP,
        Echo::Drifting => {
            let ppm = random.between(50.0, 200.0);
            scene.clock.drift_ppm = if random.bits() % 2 == 0 { ppm } else { -ppm };
        }
        Echo::Jumping => scene.clock.jumps = vec![(JUMP_AT_S, 0.06)],
        Echo::Moved => {
            let from = scene.playback[0].source.places[0].1;
            let away = [random.between(-0.15, 0.15), random.between(0.05, 0.15), 0.0];
            let to = std::array::from_fn(|axis| from[axis] + away[axis]);
            scene.playback[0].source.places.push((JUMP_AT_S, to));
            scene.playback[0].volume = vec![(0.0, 0.5), (JUMP_AT_S, 1.0)];
        }
        Echo::Noisy => {
            scene.noise = Some(Noise { colour: Colour::Fan, snr_db: random.between(5.0, 20.0) });
        }
        Echo::Stereo => {
            let mut second = scene.playback[0].clone();
            let place = &mut second.source.places[0].1;
            for (axis, middle) in place.iter_mut().zip(scene.array_at).take(2) {
                *axis = 2.0 * middle - *axis;
            }
            // A talker who is left of the middle in the far room.
            let (_, other) = talkers(&mut random);
            let more = speech.say(other, ECHO_S, seed + 1);
            for (sample, more) in second.source.signal.iter_mut().zip(more) {
                *sample = *sample * 0.5 + more;
            }
            scene.playback.push(second);
        }
    }
    scene.hear()
}

/// The far end talks, and from [`TALK_AT_S`] on somebody in the room too, so much louder than the echo (dB).
pub fn double_talk(speech: &Speech, geometry: &[Position], near_over_echo_db: f64, seed: u64) -> Heard {
    let (mut scene, mut random, near) = far_end(speech, geometry, ECHO_S, seed);
    let mut said = speech.say(near, ECHO_S, seed + 1);
    said[..(TALK_AT_S * 48_000.0) as usize].fill(0.0);
    let place = scene.place(random.between(-180.0, 180.0), random.between(0.6, 2.0), 1.2);
    scene.talkers.push(Source::at(place, said));
    scene.talker_over_echo_db = Some(near_over_echo_db);
    scene.hear()
}

/// Somebody talks from the first moment on, and all that is ever heard of the far end are tones of 400 Hz, 20 ms long, twice a
/// second: an echo that repeats itself, fills one bin, and is never heard alone.
pub fn talk_over_tones(speech: &Speech, geometry: &[Position], seed: u64) -> Heard {
    let mut random = Random::new(seed ^ 0x746f_6e65);
    let tone = |i: usize| {
        let in_tone = i % 24_000;
        if in_tone < 960 {
            0.4 * (in_tone as f32 * 400.0 * std::f32::consts::TAU / 48_000.0).sin()
        } else {
            0.0
        }
    };
    let mut scene = Scene::meeting(seed, geometry, (0..(ECHO_S * 48_000.0) as usize).map(tone).collect());
    let (near, _) = talkers(&mut random);
    let place = scene.place(random.between(-180.0, 180.0), random.between(0.6, 2.0), 1.2);
    scene.talkers.push(Source::at(place, speech.say(near, ECHO_S, seed + 1)));
    scene.talker_over_echo_db = Some(20.0);
    scene.hear()
}

/// Somebody talks where it is otherwise quiet; nothing is played.
fn talk(speech: &Speech, geometry: &[Position], length_s: f64, seed: u64) -> (Scene, f64, Random) {
    let mut random = Random::new(seed ^ 0x7461_6c6b);
    let (near, _) = talkers(&mut random);
    let mut scene = Scene::meeting(seed, geometry, vec![0.0; (length_s * 48_000.0) as usize]);
    scene.clock = PlayClock::default();
    let azimuth_deg = random.between(-180.0, 180.0);
    let place = scene.place(azimuth_deg, random.between(0.8, 2.0), 1.2);
    let azimuth_deg = scene.azimuth_deg(place);
    scene.talkers.push(Source::at(place, speech.say(near, length_s, seed)));
    (scene, azimuth_deg, random)
}

/// A talker, and diffuse noise so much weaker (dB). Gives what is heard and the talker's azimuth.
pub fn in_noise(
    speech: &Speech,
    geometry: &[Position],
    colour: Colour,
    snr_db: f64,
    seed: u64,
) -> (Heard, f64) {
    let (mut scene, azimuth_deg, _) = talk(speech, geometry, 8.0, seed);
    scene.noise = Some(Noise { colour, snr_db });
    (scene.hear(), azimuth_deg)
}

/// A talker, and another as far away 60 degrees to the side who is as loud and begins 3 s later.
pub fn with_interferer(speech: &Speech, geometry: &[Position], seed: u64) -> (Heard, f64) {
    let (mut scene, azimuth_deg, mut random) = talk(speech, geometry, 10.0, seed);
    let side = if random.bits() % 2 == 0 { 60.0 } else { -60.0 };
    let place = scene.talkers[0].places[0].1;
    let away = crate::room::distance(place, scene.array_at);
    let mut said = speech.say(Talker::Studio, 10.0, seed + 7);
    said[..144_000].fill(0.0);
    let other = scene.place(azimuth_deg + side, away, 1.25);
    scene.talkers.push(Source::at(other, said));
    (scene.hear(), azimuth_deg)
}

/// The same person at 1 m and then at 5 m (or as far as the room lets), with fans 20 dB below the voice at 1 m. Each
/// talks for 6 s.
pub fn near_and_far(speech: &Speech, geometry: &[Position], seed: u64) -> Heard {
    let mut random = Random::new(seed ^ 0x6761_696e);
    let (near, _) = talkers(&mut random);
    let length_s = 12.0;
    let mut scene = Scene::meeting(seed, geometry, vec![0.0; (length_s * 48_000.0) as usize]);
    scene.clock = PlayClock::default();
    // A room in which there are 5 m.
    scene.room.size_m = [7.0, 7.5, 3.0];
    scene.array_at = [3.5, 1.5, 0.8];
    let (close, distant) = (scene.place(10.0, 1.0, 1.2), scene.place(-10.0, 5.0, 1.2));
    let mut talker = Source::at(close, speech.say(near, length_s, seed));
    talker.places.push((length_s / 2.0, distant));
    scene.talkers.push(talker);
    scene.noise = Some(Noise { colour: Colour::Fan, snr_db: 20.0 });
    scene.hear()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_array_has_the_size_that_it_says() {
        let far = CIRCLE[0].x - CIRCLE[2].x;
        assert!((far - 0.065).abs() < 1e-6);
    }
}
