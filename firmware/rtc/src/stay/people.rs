//! Who is in the channel, as the service tells it.

use std::collections::{BTreeMap, HashMap};

use livekit_protocol as proto;

use crate::{
    Codec, Event, ParticipantView, Quality, RemoteTrack, Speaker, TrackKind, TrackSid, TrackSource, TrackView,
};

/// Participants that are remembered; a channel has far fewer.
const MAX_PARTICIPANTS: usize = 1000;
/// Tracks of one participant likewise.
const MAX_TRACKS: usize = 32;

/// The participants of the channel.
#[derive(Debug, Default)]
pub(super) struct People {
    me: String,
    /// By the service's name for the participant (`PA_...`).
    others: BTreeMap<String, proto::ParticipantInfo>,
    quality: HashMap<String, Quality>,
    levels: HashMap<String, f32>,
    /// Tracks that were announced with [`Event::TrackAdded`].
    announced: HashMap<TrackSid, String>,
    subscribes: bool,
}

impl People {
    pub(super) fn new(subscribes: bool) -> Self {
        Self { subscribes, ..Default::default() }
    }

    /// We are in. Gives our own view and those of the others.
    pub(super) fn joined(
        &mut self,
        me: &proto::ParticipantInfo,
        others: Vec<proto::ParticipantInfo>,
    ) -> (ParticipantView, Vec<ParticipantView>) {
        self.me = me.sid.clone();
        for other in others {
            self.put(other);
        }
        (self.view(me), self.views())
    }

    /// Our own sid; empty before we are in.
    pub(super) fn own_sid(&self) -> &str {
        &self.me
    }

    fn put(&mut self, info: proto::ParticipantInfo) {
        use proto::participant_info::State;
        if info.sid == self.me || info.sid.is_empty() {
            return;
        }
        if info.state() == State::Disconnected {
            self.others.remove(&info.sid);
            self.quality.remove(&info.sid);
            self.levels.remove(&info.sid);
            return;
        }
        // One user is in a channel once: a newer stay replaces an older one.
        self.others.retain(|sid, other| *sid == info.sid || other.identity != info.identity);
        if self.others.len() < MAX_PARTICIPANTS || self.others.contains_key(&info.sid) {
            self.others.insert(info.sid.clone(), info);
        }
    }

    /// Something changed about some participants.
    pub(super) fn update(&mut self, update: proto::ParticipantUpdate, out: &mut Vec<Event>) {
        for info in update.participants {
            self.put(info);
        }
        self.announce(out);
        out.push(Event::Participants(self.views()));
    }

    /// Tells which tracks came and went.
    pub(super) fn announce(&mut self, out: &mut Vec<Event>) {
        if !self.subscribes {
            return;
        }
        let mut present = HashMap::new();
        for info in self.others.values() {
            for track in info.tracks.iter().take(MAX_TRACKS) {
                if let Some(view) = view(track) {
                    present.insert(view.sid.clone(), (info.identity.clone(), track, view));
                }
            }
        }
        let gone: Vec<TrackSid> =
            self.announced.keys().filter(|sid| !present.contains_key(*sid)).cloned().collect();
        for sid in gone {
            self.announced.remove(&sid);
            out.push(Event::TrackRemoved(sid));
        }
        for (sid, (user, track, view)) in present {
            if self.announced.contains_key(&sid) {
                continue;
            }
            self.announced.insert(sid.clone(), user.clone());
            let codec = codec(track, view.kind);
            out.push(Event::TrackAdded(RemoteTrack {
                sid,
                user,
                kind: view.kind,
                source: view.source,
                codec,
            }));
        }
    }

    /// Who speaks changed.
    pub(super) fn speakers(&mut self, changed: proto::SpeakersChanged, out: &mut Vec<Event>) {
        for speaker in changed.speakers {
            if speaker.active && self.levels.len() < MAX_PARTICIPANTS {
                self.levels.insert(speaker.sid, speaker.level.clamp(0.0, 1.0));
            } else {
                self.levels.remove(&speaker.sid);
            }
        }
        let mut speakers: Vec<Speaker> = self
            .levels
            .iter()
            .filter_map(|(sid, level)| {
                Some(Speaker { user: self.others.get(sid)?.identity.clone(), level: *level })
            })
            .collect();
        speakers.sort_by(|a, b| b.level.total_cmp(&a.level));
        out.push(Event::Speakers(speakers));
        out.push(Event::Participants(self.views()));
    }

    /// How well some are connected changed.
    pub(super) fn qualities(&mut self, update: proto::ConnectionQualityUpdate, out: &mut Vec<Event>) {
        let mut changed = false;
        for info in update.updates {
            let quality = match info.quality() {
                proto::ConnectionQuality::Lost => Quality::Lost,
                proto::ConnectionQuality::Poor => Quality::Poor,
                proto::ConnectionQuality::Good => Quality::Good,
                proto::ConnectionQuality::Excellent => Quality::Excellent,
            };
            if self.others.contains_key(&info.participant_sid) {
                changed |= self.quality.insert(info.participant_sid, quality) != Some(quality);
            }
        }
        if changed {
            out.push(Event::Participants(self.views()));
        }
    }

    fn views(&self) -> Vec<ParticipantView> {
        let mut views: Vec<ParticipantView> = self.others.values().map(|info| self.view(info)).collect();
        views.sort_by(|a, b| a.user.cmp(&b.user));
        views
    }

    fn view(&self, info: &proto::ParticipantInfo) -> ParticipantView {
        let mut attributes: Vec<(String, String)> =
            info.attributes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        attributes.sort();
        ParticipantView {
            user: info.identity.clone(),
            name: info.name.clone(),
            tracks: info.tracks.iter().take(MAX_TRACKS).filter_map(view).collect(),
            speaking: self.levels.contains_key(&info.sid),
            quality: self.quality.get(&info.sid).copied().unwrap_or_default(),
            attributes,
        }
    }
}

fn view(track: &proto::TrackInfo) -> Option<TrackView> {
    let kind = match track.r#type() {
        proto::TrackType::Audio => TrackKind::Audio,
        proto::TrackType::Video => TrackKind::Video,
        proto::TrackType::Data => return None,
    };
    let source = match track.source() {
        proto::TrackSource::Camera => TrackSource::Camera,
        proto::TrackSource::Microphone => TrackSource::Microphone,
        proto::TrackSource::ScreenShare => TrackSource::ScreenShare,
        proto::TrackSource::ScreenShareAudio => TrackSource::ScreenShareAudio,
        proto::TrackSource::Unknown => TrackSource::Unknown,
    };
    Some(TrackView {
        sid: TrackSid::new(&track.sid),
        kind,
        source,
        muted: track.muted,
        width: track.width,
        height: track.height,
    })
}

fn codec(track: &proto::TrackInfo, kind: TrackKind) -> Codec {
    if kind == TrackKind::Audio {
        return Codec::Opus;
    }
    let first = track.codecs.first().map(|c| c.mime_type.as_str()).filter(|m| !m.is_empty());
    let mime = first.unwrap_or(&track.mime_type).to_ascii_lowercase();
    match mime.trim_start_matches("video/") {
        "h264" => Codec::H264,
        "vp9" => Codec::Vp9,
        "av1" => Codec::Av1,
        _ => Codec::Vp8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(sid: &str, user: &str, tracks: &[&str]) -> proto::ParticipantInfo {
        let track = |sid: &&str| proto::TrackInfo {
            sid: (*sid).to_owned(),
            r#type: proto::TrackType::Video as i32,
            mime_type: "video/H264".to_owned(),
            ..Default::default()
        };
        proto::ParticipantInfo {
            sid: sid.to_owned(),
            identity: user.to_owned(),
            state: proto::participant_info::State::Active as i32,
            tracks: tracks.iter().map(track).collect(),
            ..Default::default()
        }
    }

    fn update(people: &mut People, infos: Vec<proto::ParticipantInfo>) -> Vec<Event> {
        let mut out = Vec::new();
        people.update(proto::ParticipantUpdate { participants: infos }, &mut out);
        out
    }

    #[test]
    fn tracks_are_announced_once_and_go_with_their_publisher() {
        let mut people = People::new(true);
        people.joined(&info("PA_me", "me", &[]), vec![]);
        let events = update(&mut people, vec![info("PA_1", "guest", &["TR_1"])]);
        assert!(matches!(&events[0], Event::TrackAdded(t) if t.user == "guest" && t.codec == Codec::H264));
        let events = update(&mut people, vec![info("PA_1", "guest", &["TR_1"])]);
        assert_eq!(events.len(), 1, "only the list of participants");
        let mut gone = info("PA_1", "guest", &[]);
        gone.state = proto::participant_info::State::Disconnected as i32;
        let events = update(&mut people, vec![gone]);
        assert_eq!(events[0], Event::TrackRemoved(TrackSid::new("TR_1")));
        assert_eq!(events[1], Event::Participants(vec![]));
    }

    #[test]
    fn a_rejoined_user_is_shown_once_and_we_are_not_shown() {
        let mut people = People::new(true);
        people.joined(&info("PA_me", "me", &[]), vec![info("PA_1", "guest", &["TR_1"])]);
        let events =
            update(&mut people, vec![info("PA_2", "guest", &["TR_2"]), info("PA_me", "me", &["TR_9"])]);
        let Some(Event::Participants(views)) = events.last() else { panic!("no participants: {events:?}") };
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].tracks[0].sid.as_str(), "TR_2");
    }

    #[test]
    fn the_loudest_speaks_first_and_silence_ends_it() {
        let mut people = People::new(true);
        people.joined(&info("PA_me", "me", &[]), vec![info("PA_1", "a", &[]), info("PA_2", "b", &[])]);
        let speaker = |sid: &str, level, active| proto::SpeakerInfo { sid: sid.to_owned(), level, active };
        let mut out = Vec::new();
        let speakers = vec![speaker("PA_1", 0.2, true), speaker("PA_2", 0.7, true)];
        people.speakers(proto::SpeakersChanged { speakers }, &mut out);
        assert!(matches!(&out[0], Event::Speakers(s) if s.len() == 2 && s[0].user == "b"));
        out.clear();
        people.speakers(proto::SpeakersChanged { speakers: vec![speaker("PA_2", 0.0, false)] }, &mut out);
        assert!(matches!(&out[0], Event::Speakers(s) if s.len() == 1 && s[0].user == "a"));
    }
}
