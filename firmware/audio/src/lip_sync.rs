//! Sound and picture of one talker in step. Pure: told when packets come and pictures are shown, and when they were
//! captured, it says how long each has to wait. Times of capture are those of the talker's own clock, whatever it
//! shows: only sound and picture are compared.

use rostrum_hal::Timestamp;
use std::time::Duration;

/// Nearer than this nobody sees or hears it.
const NEAR_US: i64 = 15_000;
/// What each waits changes only by more than this: every change is a stretch or a stutter.
const CHANGE_US: i64 = 12_000;
/// Neither waits longer for the other.
const MOST_US: i64 = 250_000;
/// Further apart than this they are of different clocks, and left alone.
const UNBELIEVABLE_US: i64 = 2_000_000;
/// The fastest packet is looked for among those of the last one to two of these.
const FASTEST_PERIOD: Duration = Duration::from_millis(2_500);
/// A picture's delay is followed by this share of its change, and by no more than that much a picture: a large one
/// that comes late alone moves little.
const PICTURE_SHARE: i64 = 16;
const PICTURE_STEP_US: i64 = 4_000;
/// Pictures before their delay is believed.
const PICTURES: u32 = 10;
/// A track that shows or says nothing for this long holds nobody back.
const GONE: Duration = Duration::from_secs(3);

/// How long each waits beyond what it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// The least time a packet of sound waits in the play-out ([`crate::PlayOut::set_least_wait`]); zero: as its
    /// arrivals ask.
    pub sound: Duration,
    /// How much later than they could pictures are shown.
    pub picture: Duration,
}

/// The measure of one talker's sound and picture.
#[derive(Clone, Debug, Default)]
pub struct LipSync {
    sound: Option<Sound>,
    picture: Option<Picture>,
    holds: Holds,
}

#[derive(Clone, Debug)]
struct Sound {
    /// The least from capture to arrival of this and of the last period, microseconds.
    fastest: (i64, i64),
    since: Timestamp,
    last: Timestamp,
}

#[derive(Clone, Debug)]
struct Picture {
    behind_us: i64,
    count: u32,
    last: Timestamp,
}

impl LipSync {
    /// A packet of sound that was captured at `captured` by the talker's clock arrived at `arrival`.
    pub fn sound(&mut self, captured: Duration, arrival: Timestamp) {
        let behind = difference_us(arrival.since_start(), captured);
        let sound =
            self.sound.get_or_insert(Sound { fastest: (behind, behind), since: arrival, last: arrival });
        if arrival.saturating_since(sound.since) >= FASTEST_PERIOD {
            sound.fastest = (behind, sound.fastest.0);
            sound.since = arrival;
        }
        sound.fastest.0 = sound.fastest.0.min(behind);
        sound.last = arrival;
    }

    /// A picture that was captured at `captured` could be shown at `ready`: what it was held back for the sound is
    /// not counted.
    pub fn picture(&mut self, captured: Duration, ready: Timestamp) {
        let behind = difference_us(ready.since_start(), captured);
        let picture = self.picture.get_or_insert(Picture { behind_us: behind, count: 0, last: ready });
        let off = behind - picture.behind_us;
        if off.abs() > UNBELIEVABLE_US {
            // The talker's clock was set.
            *picture = Picture { behind_us: behind, count: 0, last: ready };
        }
        picture.behind_us += (off / PICTURE_SHARE).clamp(-PICTURE_STEP_US, PICTURE_STEP_US);
        picture.count = picture.count.saturating_add(1);
        picture.last = ready;
    }

    /// How long each has to wait from `now` on, when packets need to wait `needed` for their unevenness
    /// ([`crate::TrackStatistics::needed`]) and are heard `output` after that.
    pub fn holds(&mut self, now: Timestamp, needed: Duration, output: Duration) -> Holds {
        let wanted = self.late_sound_us(now, needed, output).map(|late| {
            let late = if late.abs() <= NEAR_US { 0 } else { late.clamp(-MOST_US, MOST_US) };
            let needed = needed.as_micros() as i64;
            (if late < 0 { needed - late } else { 0 }, late.max(0))
        });
        let (sound, picture) = wanted.unwrap_or_default();
        change(&mut self.holds.sound, sound);
        change(&mut self.holds.picture, picture);
        self.holds
    }

    /// How much later than the picture the sound is when neither is held back; `None` while that is not known.
    fn late_sound_us(&self, now: Timestamp, needed: Duration, output: Duration) -> Option<i64> {
        let (sound, picture) = (self.sound.as_ref()?, self.picture.as_ref()?);
        let gone = |last: Timestamp| now.saturating_since(last) > GONE;
        if picture.count < PICTURES || gone(sound.last) || gone(picture.last) {
            return None;
        }
        let fastest = sound.fastest.0.min(sound.fastest.1);
        let late = fastest + (needed + output).as_micros() as i64 - picture.behind_us;
        (late.abs() <= UNBELIEVABLE_US).then_some(late)
    }
}

fn difference_us(later: Duration, earlier: Duration) -> i64 {
    // Both are far below 2^63 microseconds, 292,000 years.
    later.as_micros() as i64 - earlier.as_micros() as i64
}

fn change(hold: &mut Duration, wanted_us: i64) {
    let present = hold.as_micros() as i64;
    if (wanted_us - present).abs() > CHANGE_US || wanted_us == 0 {
        *hold = Duration::from_micros(wanted_us.max(0).unsigned_abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    fn stamp(us: i64) -> Timestamp {
        Timestamp::from_clock(Duration::from_micros(us.unsigned_abs()))
    }

    /// A talker, a network and a listener.
    struct Talk {
        sync: LipSync,
        sound_transit_us: i64,
        picture_transit_us: i64,
        needed_us: i64,
        /// The talker's clock is so much ahead, and gains so much.
        ahead_us: i64,
        ppm: i64,
        noise: u64,
        holds: Holds,
        at_us: i64,
    }

    impl Talk {
        fn new(sound_transit_us: i64, picture_transit_us: i64) -> Self {
            Self {
                sync: LipSync::default(),
                sound_transit_us,
                picture_transit_us,
                needed_us: 30 * MS,
                ahead_us: 3_900_000_000_000_000,
                ppm: 0,
                noise: 3,
                holds: Holds::default(),
                at_us: 0,
            }
        }

        fn jitter(&mut self, most_us: i64) -> i64 {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            (self.noise % most_us.max(1).unsigned_abs()) as i64
        }

        fn captured(&self) -> Duration {
            let us = self.at_us + self.ahead_us + self.at_us * self.ppm / 1_000_000;
            Duration::from_micros(us.unsigned_abs())
        }

        /// Talks on; gives how much later than the picture the sound is in the end.
        fn talk(&mut self, seconds: i64) -> i64 {
            for _ in 0..seconds * 50 {
                let captured = self.captured();
                let jitter = self.jitter(self.needed_us - 10 * MS);
                self.sync.sound(captured, stamp(self.at_us + self.sound_transit_us + jitter));
                if self.at_us % (40 * MS) == 0 {
                    let jitter = self.jitter(15 * MS);
                    self.sync.picture(captured, stamp(self.at_us + self.picture_transit_us + jitter));
                }
                self.at_us += 20 * MS;
                if self.at_us % (500 * MS) == 0 {
                    let needed = Duration::from_micros(self.needed_us.unsigned_abs());
                    self.holds = self.sync.holds(stamp(self.at_us), needed, Duration::from_millis(20));
                }
            }
            let wait = self.needed_us.max(self.holds.sound.as_micros() as i64);
            let sound = self.sound_transit_us + wait + 20 * MS;
            let picture = self.picture_transit_us + 7 * MS + self.holds.picture.as_micros() as i64;
            sound - picture
        }
    }

    #[test]
    fn the_one_that_is_earlier_waits_and_never_both() {
        for (sound, picture) in [(20, 30), (20, 90), (20, 240), (150, 40), (250, 30), (60, 110)] {
            let mut talk = Talk::new(sound * MS, picture * MS);
            let late = talk.talk(6);
            assert!(late.abs() <= 40 * MS, "{sound} and {picture} ms: {late} us, {:?}", talk.holds);
            let holds = talk.holds;
            assert!(holds.sound.is_zero() || holds.picture.is_zero(), "{holds:?}");
        }
    }

    #[test]
    fn a_network_that_changes_and_clocks_that_drift_for_an_hour_stay_in_step() {
        let mut talk = Talk::new(30 * MS, 100 * MS);
        talk.ppm = 200;
        for minute in 0..60 {
            (talk.sound_transit_us, talk.picture_transit_us) = match minute / 10 % 3 {
                0 => (30 * MS, 100 * MS),
                1 => (180 * MS, 60 * MS),
                _ => (60 * MS, 70 * MS),
            };
            talk.needed_us = if minute % 7 == 3 { 90 * MS } else { 30 * MS };
            talk.talk(50);
            let late = talk.talk(10);
            assert!(late.abs() <= 40 * MS, "minute {minute}: {late} us, {:?}", talk.holds);
        }
    }

    #[test]
    fn what_waits_does_not_change_without_need() {
        let mut talk = Talk::new(30 * MS, 150 * MS);
        talk.talk(10);
        let (first, mut changes) = (talk.holds, 0);
        for _ in 0..60 {
            let before = talk.holds;
            talk.talk(1);
            changes += i32::from(before != talk.holds);
        }
        assert!(changes <= 2, "{changes} changes, {first:?} to {:?}", talk.holds);
    }

    #[test]
    fn without_a_picture_or_a_common_clock_nobody_waits() {
        let mut talk = Talk::new(20 * MS, 200 * MS);
        talk.talk(5);
        assert!(talk.holds.sound > Duration::from_millis(100), "{:?}", talk.holds);
        // The camera is switched off.
        for _ in 0..200 {
            talk.sync.sound(talk.captured(), stamp(talk.at_us + 20 * MS));
            talk.at_us += 20 * MS;
        }
        assert_eq!(talk.sync.holds(stamp(talk.at_us), Duration::ZERO, Duration::ZERO), Holds::default());
        let mut strange = Talk::new(20 * MS, 20 * MS);
        strange.talk(1);
        for i in 0..100 {
            let captured = Duration::from_secs(1_000) + Duration::from_millis(40) * i;
            strange.sync.picture(captured, stamp(strange.at_us + i64::from(i) * 40 * MS));
        }
        let holds = strange.sync.holds(stamp(strange.at_us), Duration::ZERO, Duration::ZERO);
        assert_eq!(holds, Holds::default());
    }

    #[test]
    fn a_wait_has_its_limit() {
        let mut talk = Talk::new(20 * MS, 900 * MS);
        talk.talk(5);
        assert!(talk.holds.sound <= Duration::from_millis(280), "{:?}", talk.holds);
    }
}
