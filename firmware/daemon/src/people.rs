//! Who is in the channel, as the panel and the screen show it.

use rostrum_media::{Seat, Share};
use rostrum_panel::{Participant, Quality};
use rostrum_rtc::{ParticipantView, Speaker, TrackKind, TrackSid, TrackSource, TrackView};

/// The others in the channel, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct People {
    all: Vec<ParticipantView>,
    /// UserId of who spoke last.
    last_speaker: Option<String>,
}

/// What a new list of people tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Somebody is there who was not.
    pub(crate) came: bool,
    /// Somebody is not there who was.
    pub(crate) left: bool,
}

impl People {
    /// Takes the service's list; who was there before keeps the place.
    pub(crate) fn set(&mut self, mut now: Vec<ParticipantView>) -> Change {
        let lacks =
            |all: &[ParticipantView], one: &ParticipantView| all.iter().all(|other| other.user != one.user);
        let change = Change {
            came: now.iter().any(|one| lacks(&self.all, one)),
            left: self.all.iter().any(|one| lacks(&now, one)),
        };
        let place = |one: &ParticipantView| {
            self.all.iter().position(|before| before.user == one.user).unwrap_or(usize::MAX)
        };
        now.sort_by_key(place);
        self.all = now;
        change
    }

    pub(crate) fn set_speakers(&mut self, speakers: &[Speaker]) {
        let here = |speaker: &&Speaker| self.all.iter().any(|one| one.user == speaker.user);
        if let Some(loudest) = speakers.iter().find(here) {
            self.last_speaker = Some(loudest.user.clone());
        }
        for one in &mut self.all {
            one.speaking = speakers.iter().any(|speaker| speaker.user == one.user);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.last_speaker = None;
    }

    /// All tracks with pictures.
    pub(crate) fn video_tracks(&self) -> Vec<TrackSid> {
        let tracks = self.all.iter().flat_map(|one| &one.tracks);
        tracks.filter(|track| track.kind == TrackKind::Video).map(|track| track.sid.clone()).collect()
    }

    pub(crate) fn for_panel(&self) -> Vec<Participant> {
        let show = |one: &ParticipantView| Participant {
            user: one.user.clone(),
            name: name_of(one).to_owned(),
            speaking: one.speaking,
            muted: track(one, TrackSource::Microphone).is_none_or(|microphone| microphone.muted),
            camera: track(one, TrackSource::Camera).is_some_and(|camera| !camera.muted),
            sharing: track(one, TrackSource::ScreenShare).is_some(),
            quality: match one.quality {
                rostrum_rtc::Quality::Lost => Quality::Lost,
                rostrum_rtc::Quality::Poor => Quality::Poor,
                rostrum_rtc::Quality::Good => Quality::Good,
                rostrum_rtc::Quality::Excellent => Quality::Excellent,
            },
        };
        self.all.iter().map(show).collect()
    }

    /// Seats, named after the camera's track, and what is shared; with `audio_only` nobody has a picture.
    pub(crate) fn for_screen(&self, audio_only: bool) -> (Vec<Seat>, Option<Share>) {
        let shared = self.all.iter().find_map(|one| {
            let screen =
                track(one, TrackSource::ScreenShare).filter(|screen| !screen.muted && !audio_only)?;
            Some(Share { id: screen.sid.to_string(), name: name_of(one).to_owned() })
        });
        (self.all.iter().map(|one| seat_of(one, audio_only)).collect(), shared)
    }

    /// Whom a screen shows large: who spoke last, else the first with a picture, else the first.
    pub(crate) fn spotlight(&self, audio_only: bool) -> Option<Seat> {
        let spoke = self.all.iter().find(|one| self.last_speaker.as_ref() == Some(&one.user));
        let seat = |one| seat_of(one, audio_only);
        let seen = || self.all.iter().map(seat).find(|seat| seat.video);
        spoke.map(seat).or_else(seen).or_else(|| self.all.first().map(seat))
    }
}

fn seat_of(one: &ParticipantView, audio_only: bool) -> Seat {
    let camera = track(one, TrackSource::Camera).or_else(|| track(one, TrackSource::Unknown));
    Seat {
        id: camera.map_or_else(|| format!("without-camera:{}", one.user), |camera| camera.sid.to_string()),
        name: name_of(one).to_owned(),
        video: !audio_only && camera.is_some_and(|camera| !camera.muted),
        speaking: one.speaking,
        muted: track(one, TrackSource::Microphone).is_none_or(|microphone| microphone.muted),
    }
}

fn name_of(one: &ParticipantView) -> &str {
    if one.name.is_empty() { &one.user } else { &one.name }
}

fn track(one: &ParticipantView, source: TrackSource) -> Option<&TrackView> {
    one.tracks.iter().find(|track| {
        track.source == source && (source != TrackSource::Unknown || track.kind == TrackKind::Video)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn participant(user: &str, sources: &[(TrackSource, TrackKind)]) -> ParticipantView {
        let track = |(source, kind): &(TrackSource, TrackKind)| TrackView {
            sid: TrackSid::new(&format!("TR_{user}_{source:?}")),
            kind: *kind,
            source: *source,
            muted: false,
            width: 0,
            height: 0,
        };
        ParticipantView {
            user: user.into(),
            name: String::new(),
            tracks: sources.iter().map(track).collect(),
            speaking: false,
            quality: rostrum_rtc::Quality::default(),
            attributes: Vec::new(),
        }
    }

    const CAMERA: (TrackSource, TrackKind) = (TrackSource::Camera, TrackKind::Video);
    const SCREEN: (TrackSource, TrackKind) = (TrackSource::ScreenShare, TrackKind::Video);

    #[test]
    fn who_came_first_keeps_the_place() {
        let mut people = People::default();
        people.set(vec![participant("ada", &[]), participant("grace", &[])]);
        people.set(vec![participant("linus", &[]), participant("grace", &[]), participant("ada", &[])]);
        let users: Vec<_> = people.for_panel().into_iter().map(|one| one.user).collect();
        assert_eq!(users, ["ada", "grace", "linus"]);
    }

    #[test]
    fn who_comes_and_who_leaves_is_told_and_who_stays_is_not() {
        let mut people = People::default();
        let ada = || participant("ada", &[]);
        assert_eq!(people.set(vec![ada()]), Change { came: true, left: false });
        assert_eq!(people.set(vec![participant("ada", &[CAMERA])]), Change::default());
        assert_eq!(people.set(vec![participant("grace", &[])]), Change { came: true, left: true });
        assert_eq!(people.set(vec![]), Change { came: false, left: true });
    }

    #[test]
    fn what_is_shared_is_large_and_the_sharer_keeps_a_seat() {
        let mut people = People::default();
        people.set(vec![participant("ada", &[CAMERA, SCREEN])]);
        let (seats, share) = people.for_screen(false);
        assert_eq!(seats.len(), 1);
        assert_eq!(share.map(|share| share.id).as_deref(), Some("TR_ada_ScreenShare"));
    }

    #[test]
    fn the_spotlight_stays_with_who_spoke_last() {
        let mut people = People::default();
        assert_eq!(people.spotlight(false), None);
        people.set(vec![
            participant("ada", &[]),
            participant("grace", &[CAMERA]),
            participant("linus", &[CAMERA]),
        ]);
        let name = |people: &People| people.spotlight(false).map(|seat| seat.name);
        assert_eq!(name(&people).as_deref(), Some("grace"), "the first who is seen");
        let speaker = |user: &str| Speaker { user: user.into(), level: 0.5 };
        people.set_speakers(&[speaker("nobody"), speaker("linus"), speaker("ada")]);
        assert_eq!(name(&people).as_deref(), Some("linus"));
        people.set_speakers(&[]);
        assert_eq!(name(&people).as_deref(), Some("linus"), "silence moves nobody");
        people.set(vec![participant("ada", &[])]);
        assert_eq!(name(&people).as_deref(), Some("ada"));
    }

    #[test]
    fn with_sound_only_nobody_has_a_picture() {
        let mut people = People::default();
        people.set(vec![participant("ada", &[CAMERA, SCREEN])]);
        let (seats, share) = people.for_screen(true);
        assert!(share.is_none() && seats.iter().all(|seat| !seat.video));
    }
}
