//! Sound and picture of each participant in step. What [`rostrum_audio::LipSync`] is told comes from the stay and from
//! the speaker's thread; what it says goes to the speaker's thread, and to pictures, which wait as they came, before
//! they are decoded.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_audio::{LipSync, TrackKey};
use rostrum_hal::Timestamp;
use rostrum_rtc::{Event, RemoteTrack, TrackSid, TrackSource};

use crate::stay::key_of;

/// From a picture that was decoded to the eye: half of the time between two drawings, and the screen itself.
const SCREEN: Duration = Duration::from_millis(25);
/// Pictures of one track that wait at most; a hold of 250 ms is 15 of them at 60 a second.
const MOST_WAITING: usize = 32;

/// The measures of all participants; shared by all who tell or ask.
#[derive(Clone, Default)]
pub(crate) struct InStep(Arc<Mutex<Vec<Participant>>>);

struct Participant {
    user: String,
    sound: Option<TrackKey>,
    picture: Option<TrackSid>,
    sync: LipSync,
    hold: Duration,
}

impl InStep {
    /// Which tracks belong together.
    pub(crate) fn follow(&self, event: &Event) {
        match event {
            Event::TrackAdded(track) => self.add(track),
            Event::TrackRemoved(sid) => self.remove(sid),
            Event::Lost { .. } | Event::Left { .. } => self.0.lock().clear(),
            _ => {}
        }
    }

    fn add(&self, track: &RemoteTrack) {
        let mut all = self.0.lock();
        let index = all.iter().position(|participant| participant.user == track.user);
        let index = index.unwrap_or_else(|| {
            let user = track.user.clone();
            let sync = LipSync::default();
            all.push(Participant { user, sound: None, picture: None, sync, hold: Duration::ZERO });
            all.len() - 1
        });
        let participant = &mut all[index];
        match track.source {
            TrackSource::Microphone => participant.sound = Some(key_of(&track.sid)),
            TrackSource::Camera => participant.picture = Some(track.sid.clone()),
            _ => return,
        }
        (participant.sync, participant.hold) = (LipSync::default(), Duration::ZERO);
    }

    fn remove(&self, sid: &TrackSid) {
        let key = key_of(sid);
        self.0.lock().retain_mut(|participant| {
            participant.sound = participant.sound.filter(|sound| *sound != key);
            participant.picture = participant.picture.take().filter(|picture| picture != sid);
            participant.sound.is_some() || participant.picture.is_some()
        });
    }

    /// A packet of sound came.
    pub(crate) fn sound(&self, track: TrackKey, captured: Option<Duration>, arrival: Timestamp) {
        let Some(captured) = captured else { return };
        if let Some(participant) = self.0.lock().iter_mut().find(|p| p.sound == Some(track)) {
            participant.sync.sound(captured, arrival);
        }
    }

    /// A picture came, and could be seen after `decoding`; gives how long it shall wait.
    pub(crate) fn picture(
        &self,
        track: &TrackSid,
        captured: Option<Duration>,
        arrival: Timestamp,
        decoding: Duration,
    ) -> Duration {
        let mut all = self.0.lock();
        let Some(participant) = all.iter_mut().find(|p| p.picture.as_ref() == Some(track)) else {
            return Duration::ZERO;
        };
        if let Some(captured) = captured {
            let ready = arrival.since_start() + decoding + SCREEN;
            participant.sync.picture(captured, Timestamp::from_clock(ready));
        }
        participant.hold
    }

    /// How long packets of sound shall wait at least, when they need to wait `needed` and are heard `output` after
    /// that. Asked by the speaker's thread, which does not wait for others: `None` when they are at it.
    pub(crate) fn least_wait(
        &self,
        track: TrackKey,
        now: Timestamp,
        needed: Duration,
        output: Duration,
    ) -> Option<Duration> {
        let mut all = self.0.try_lock()?;
        let participant = all.iter_mut().find(|p| p.sound == Some(track))?;
        let holds = participant.sync.holds(now, needed, output);
        participant.hold = holds.picture;
        Some(holds.sound)
    }
}

/// Pictures that wait for their sound, in the order in which they came.
pub(crate) struct Waiting<T>(HashMap<TrackSid, VecDeque<(Timestamp, T)>>);

impl<T> Waiting<T> {
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Takes a picture that shall not be decoded before `due`.
    pub(crate) fn push(&mut self, track: &TrackSid, due: Timestamp, picture: T) {
        match self.0.get_mut(track) {
            Some(waiting) => waiting.push_back((due, picture)),
            None => drop(self.0.insert(track.clone(), VecDeque::from([(due, picture)]))),
        }
    }

    /// The next one whose time has come. None overtakes one of its track, and none waits when too many do.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<T> {
        let is_due = |waiting: &VecDeque<(Timestamp, T)>| {
            waiting.len() > MOST_WAITING || waiting.front().is_some_and(|(due, _)| *due <= now)
        };
        let waiting = self.0.values_mut().find(|waiting| is_due(waiting))?;
        let picture = waiting.pop_front().map(|(_, picture)| picture);
        self.0.retain(|_, waiting| !waiting.is_empty());
        picture
    }

    /// When the next one's time comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|waiting| waiting.front().map(|(due, _)| *due)).min()
    }
}

#[cfg(test)]
mod tests {
    use rostrum_rtc::{Codec, TrackKind};

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_clock(Duration::from_millis(ms))
    }

    fn track(sid: &str, user: &str, source: TrackSource) -> Event {
        let kind = if source == TrackSource::Camera { TrackKind::Video } else { TrackKind::Audio };
        let codec = Codec::Opus;
        Event::TrackAdded(RemoteTrack { sid: TrackSid::new(sid), user: user.to_owned(), kind, source, codec })
    }

    /// Five seconds in which the sound comes so late and the picture so late, ms.
    fn talk(in_step: &InStep, sound_ms: u64, picture_ms: u64) -> (Option<Duration>, Duration) {
        let (sound, picture) = (key_of(&TrackSid::new("sound")), TrackSid::new("picture"));
        let mut holds = (None, Duration::ZERO);
        for ms in (10_000..15_000).step_by(20) {
            let captured = Some(Duration::from_millis(3_900_000_000_000 + ms));
            in_step.sound(sound, captured, at(ms + sound_ms));
            holds.1 = in_step.picture(&picture, captured, at(ms + picture_ms), Duration::from_millis(5));
            holds.0 = in_step.least_wait(
                sound,
                at(ms + sound_ms),
                Duration::from_millis(20),
                Duration::from_millis(10),
            );
        }
        holds
    }

    #[test]
    fn the_camera_and_the_microphone_of_one_participant_wait_for_each_other() {
        let in_step = InStep::default();
        in_step.follow(&track("sound", "anna", TrackSource::Microphone));
        in_step.follow(&track("picture", "anna", TrackSource::Camera));
        let (sound, picture) = talk(&in_step, 10, 150);
        assert!(sound.is_some_and(|wait| wait > Duration::from_millis(100)), "{sound:?}");
        assert_eq!(picture, Duration::ZERO);
        in_step.follow(&track("picture", "anna", TrackSource::Camera));
        let (sound, picture) = talk(&in_step, 150, 10);
        assert_eq!(sound, Some(Duration::ZERO));
        assert!(picture > Duration::from_millis(90), "{picture:?}");
    }

    #[test]
    fn tracks_of_different_participants_do_not() {
        let in_step = InStep::default();
        in_step.follow(&track("sound", "anna", TrackSource::Microphone));
        in_step.follow(&track("picture", "bert", TrackSource::Camera));
        assert_eq!(talk(&in_step, 10, 150), (Some(Duration::ZERO), Duration::ZERO));
        in_step.follow(&Event::TrackRemoved(TrackSid::new("sound")));
        assert_eq!(talk(&in_step, 10, 150), (None, Duration::ZERO));
    }

    #[test]
    fn pictures_come_when_they_are_due_and_never_out_of_order() {
        let (first, second) = (TrackSid::new("a"), TrackSid::new("b"));
        let mut waiting = Waiting::new();
        waiting.push(&first, at(100), 1);
        // The hold got shorter: the one before goes first all the same.
        waiting.push(&first, at(50), 2);
        waiting.push(&second, at(60), 3);
        assert_eq!(waiting.next_due(), Some(at(60)));
        assert_eq!((waiting.pop(at(59)), waiting.pop(at(60)), waiting.pop(at(99))), (None, Some(3), None));
        assert_eq!(
            (waiting.pop(at(100)), waiting.pop(at(100)), waiting.pop(at(100))),
            (Some(1), Some(2), None)
        );
        assert_eq!(waiting.next_due(), None);
        for i in 0..100 {
            waiting.push(&first, at(1_000), i);
        }
        let at_once = std::iter::from_fn(|| waiting.pop(at(0))).count();
        assert_eq!(at_once, 100 - MOST_WAITING);
    }
}
