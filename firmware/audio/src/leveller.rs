//! Talkers of one loudness: those who are loud a little lower, those who are quiet a little louder, slowly, and only by
//! what they say.

use crate::FRAME;

/// Speech comes out so loud, dB of full scale: RMS while somebody speaks, as gain control leaves it.
const WANTED_DB: f32 = -24.0;
/// The most that is added or taken away. More would bring up the noise of a quiet room with its talker.
const MOST_DB: f32 = 15.0;
/// How fast a talker gets louder and quieter while speaking, dB a frame: 4 and 6 dB a second.
const LOUDER: f32 = 0.04;
const QUIETER: f32 = 0.06;
/// Loudness is right when it is as near as this.
const NEAR_DB: f32 = 0.5;
/// Speech stands out from what is there all the time by so much, and is not quieter than that.
const ABOVE_FLOOR_DB: f32 = 10.0;
const FAINTEST_DB: f32 = -60.0;
/// The floor is the least of the last one to two of these: 1.5 s of frames. Nobody speaks so long without a breath.
const FLOOR_FRAMES: u32 = 150;
/// Frames of speech over which loudness is measured (3 s), and those without which nothing is done.
const MEASURED: u32 = 300;
const AT_LEAST: u32 = 30;
/// A frame is not made louder than this.
const PEAK: f32 = 0.9;

/// The state for one talker.
#[derive(Clone, Debug)]
pub(crate) struct Leveller {
    /// The least power of this and of the last period; `None` before one is over.
    least: f32,
    floor: Option<f32>,
    period: u32,
    smooth: f32,
    /// Mean power of the frames with speech.
    speech: f32,
    frames: u32,
    gain_db: f32,
    applied: f32,
}

impl Leveller {
    pub(crate) fn new() -> Self {
        Self {
            least: f32::MAX,
            floor: None,
            period: 0,
            smooth: 0.0,
            speech: 0.0,
            frames: 0,
            gain_db: 0.0,
            applied: 1.0,
        }
    }

    /// Levels a frame in place, interleaved. What is sent in `stereo` is music, or is meant to stay as it is: it
    /// glides back to its own loudness.
    pub(crate) fn process(&mut self, frame: &mut [f32], stereo: bool) {
        let (mut power, mut peak) = (0.0, 0.0_f32);
        for sample in frame.iter() {
            power += sample * sample;
            peak = peak.max(sample.abs());
        }
        let power = power / frame.len().max(1) as f32;
        if stereo {
            self.gain_db -= self.gain_db.clamp(-QUIETER, QUIETER);
        } else if self.is_speech(power) {
            self.follow(power);
        }
        let mut gain = db_to_gain(self.gain_db);
        if gain > 1.0 && peak * gain > PEAK {
            gain = (PEAK / peak).max(1.0);
        }
        if gain == 1.0 && self.applied == 1.0 {
            return;
        }
        let channels = (frame.len() / FRAME).max(1);
        let step = (gain - self.applied) / FRAME as f32;
        for samples in frame.chunks_exact_mut(channels) {
            self.applied += step;
            samples.iter_mut().for_each(|sample| *sample *= self.applied);
        }
        self.applied = gain;
    }

    /// Whether somebody speaks: what is there stands out from what is there all the time.
    fn is_speech(&mut self, power: f32) -> bool {
        self.smooth += (power - self.smooth) * 0.3;
        self.least = self.least.min(self.smooth);
        self.period += 1;
        let floor = self.floor.map(|floor| floor.min(self.least));
        if self.period >= FLOOR_FRAMES {
            self.floor = Some(self.least);
            (self.least, self.period) = (f32::MAX, 0);
        }
        let db = power_to_db(power);
        db > FAINTEST_DB && floor.is_some_and(|floor| db > power_to_db(floor) + ABOVE_FLOOR_DB)
    }

    fn follow(&mut self, power: f32) {
        self.frames = (self.frames + 1).min(MEASURED);
        self.speech += (power - self.speech) / self.frames as f32;
        if self.frames < AT_LEAST {
            return;
        }
        let wanted = (WANTED_DB - power_to_db(self.speech)).clamp(-MOST_DB, MOST_DB);
        let off = wanted - self.gain_db;
        if off.abs() > NEAR_DB {
            self.gain_db += off.clamp(-QUIETER, LOUDER);
        }
    }
}

fn power_to_db(power: f32) -> f32 {
    10.0 * power.max(1e-12).log10()
}

fn db_to_gain(db: f32) -> f32 {
    if db == 0.0 { 1.0 } else { 10.0_f32.powf(db / 20.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that talks in syllables with breaths, so loud; noise all the time when `breath` is 1.
    struct Talker {
        state: u32,
        at: usize,
        loud: f32,
        breath: f32,
    }

    impl Talker {
        fn new(db: f32, breath: f32) -> Self {
            Self { state: 7, at: 0, loud: db_to_gain(db) * 1.732, breath }
        }

        fn frame(&mut self) -> [f32; FRAME] {
            std::array::from_fn(|_| {
                self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                self.at += 1;
                let speaks = (self.at % 24_000) < 17_000;
                let loud = if speaks { self.loud } else { self.loud * self.breath };
                ((self.state >> 8) as f32 / 8_388_608.0 - 1.0) * loud
            })
        }
    }

    /// Loudness of speech, dB, after so many seconds, and the largest change of the gain within a frame.
    fn after(seconds: usize, talker: &mut Talker, stereo: bool) -> f32 {
        let mut leveller = Leveller::new();
        let mut loudest = Vec::new();
        for i in 0..seconds * 100 {
            let mut frame = talker.frame();
            leveller.process(&mut frame, stereo);
            if i + 100 > seconds * 100 {
                loudest.push(frame.iter().map(|s| s * s).sum::<f32>() / FRAME as f32);
            }
        }
        loudest.sort_by(f32::total_cmp);
        power_to_db(loudest[loudest.len() * 3 / 4])
    }

    #[test]
    fn talkers_20_db_apart_come_within_3_db() {
        let (loud, quiet) = (
            after(12, &mut Talker::new(-14.0, 0.001), false),
            after(12, &mut Talker::new(-34.0, 0.001), false),
        );
        assert!((loud - quiet).abs() < 3.0, "{loud} and {quiet} dB");
    }

    #[test]
    fn what_is_added_is_bounded() {
        let faint = after(30, &mut Talker::new(-50.0, 0.01), false);
        assert!((-37.0..-33.0).contains(&faint), "{faint} dB");
    }

    #[test]
    fn noise_and_stereo_are_left_as_they_are() {
        let fan = after(20, &mut Talker::new(-45.0, 1.0), false);
        assert!((fan + 45.0).abs() < 0.5, "{fan} dB");
        let music = after(20, &mut Talker::new(-40.0, 0.001), true);
        assert!((music + 40.0).abs() < 0.5, "{music} dB");
    }

    #[test]
    fn a_pause_changes_nothing() {
        let mut leveller = Leveller::new();
        let mut talker = Talker::new(-34.0, 0.001);
        for _ in 0..1_000 {
            leveller.process(&mut talker.frame(), false);
        }
        let before = leveller.gain_db;
        let mut room = Talker::new(-70.0, 1.0);
        for _ in 0..3_000 {
            leveller.process(&mut room.frame(), false);
        }
        assert!((leveller.gain_db - before).abs() < 0.2, "{before} dB became {}", leveller.gain_db);
    }
}
