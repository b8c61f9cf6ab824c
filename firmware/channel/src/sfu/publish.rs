//! Publishing tracks.

use std::time::Instant;

use livekit_protocol::{
    AddTrackRequest, MuteTrackRequest, RequestResponse, SubscribedCodec, SubscribedQuality,
    SubscribedQualityUpdate, TrackPublishedResponse, TrackType, VideoQuality, request_response,
    signal_response::Message,
};

use crate::forward::layers::{self, MAX_LAYERS};
use crate::transport::{AudioPreference, Mid};

use super::track::{Track, mime_type, video_codec};
use super::{SessionKey, Sfu, TrackKey};

impl Sfu {
    /// A client announces a track.
    pub(super) fn add_track(&mut self, now: Instant, key: SessionKey, request: AddTrackRequest) {
        let Some(session) = self.sessions.get(key) else { return };
        let known = session.tracks.iter().filter_map(|t| self.tracks.get(*t)).find(|t| {
            !request.cid.is_empty()
                && (t.cid == request.cid || t.info.codecs.iter().any(|c| c.cid == request.cid))
        });
        if let Some(track) = known {
            let response =
                TrackPublishedResponse { cid: request.cid.clone(), track: Some(track.info.clone()) };
            return self.send(key, Message::TrackPublished(response));
        }
        let refusal = if !session.may_publish(request.source()) {
            let why = match session.identity.grants.hidden {
                true => "participants whom others do not see publish nothing",
                false => "the token does not allow publishing from this source",
            };
            Some((request_response::Reason::NotAllowed, why.to_string()))
        } else if request.r#type() == TrackType::Data || !request.sid.is_empty() {
            Some((
                request_response::Reason::UnsupportedType,
                "data tracks and backup codecs are not supported".to_string(),
            ))
        } else {
            let reason = request_response::Reason::LimitExceeded;
            self.too_many_tracks(key, &request).map(|message| (reason, message))
        };
        if let Some((reason, message)) = refusal {
            let request = Some(request_response::Request::AddTrack(request));
            let response = RequestResponse { reason: reason.into(), message, request, ..Default::default() };
            return self.send(key, Message::RequestResponse(response));
        }
        let peer = session.peers.publisher();
        let sid = self.new_sid(if request.r#type() == TrackType::Audio { "TR_A" } else { "TR_V" });
        let track = Track::new(key, peer, sid, &request);
        let response = TrackPublishedResponse { cid: request.cid.clone(), track: Some(track.info.clone()) };
        let track = self.tracks.insert(track);
        if let Some(session) = self.sessions.get_mut(key) {
            session.tracks.push(track);
            session.send(Message::TrackPublished(response));
        }
        // Its section may have been offered before it was announced.
        self.bind_tracks(now, key);
        self.announce_tracks(now, key);
    }

    /// Matches what a client's offer sends with the tracks that it announced; ends those whose section is gone.
    pub(super) fn bind_tracks(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let (peer, tracks) = (session.peers.publisher(), session.tracks.clone());
        let Some(slot) = self.peers.get(peer) else { return };
        let sections: Vec<_> = slot
            .peer
            .sections()
            .filter_map(|s| s.receiving.as_ref().map(|r| (s.mid, s.kind, r.clone())))
            .collect();
        for track_key in &tracks {
            let Some(track) = self.tracks.get(*track_key) else { continue };
            let Some(mid) = track.mid else { continue };
            let still = sections.iter().any(|(section, _, receiving)| {
                *section == mid && receiving.track_id.as_ref().is_none_or(|id| has_cid(track, id))
            });
            if !still {
                self.unpublish(now, *track_key);
            }
        }
        for (mid, kind, receiving) in sections {
            let bound = |t: &Track| t.mid == Some(mid) && t.peer == peer;
            if tracks.iter().filter_map(|t| self.tracks.get(*t)).any(bound) {
                continue;
            }
            let waiting =
                |t: &&TrackKey| self.tracks.get(**t).is_some_and(|t| t.mid.is_none() && t.kind == kind);
            let by_id = tracks.iter().filter(waiting).find(|t| {
                receiving
                    .track_id
                    .as_ref()
                    .is_some_and(|id| self.tracks.get(**t).is_some_and(|t| has_cid(t, id)))
            });
            let Some(track_key) = by_id.or_else(|| tracks.iter().find(waiting)).copied() else { continue };
            self.bind(track_key, mid, &receiving);
        }
    }

    #[allow(deprecated)] // The place where all clients say DTX.
    fn bind(&mut self, key: TrackKey, mid: Mid, receiving: &crate::transport::Receiving) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.mid = Some(mid);
        track.codecs.clone_from(&receiving.codecs);
        // Clients offer all that they can and announce what they want: they send what the answer puts first.
        let announced = video_codec(&track.info.mime_type);
        track.codecs.sort_by_key(|codec| Some(*codec) != announced);
        track.info.mid = mid.to_string();
        if let Some(codec) = receiving.codecs.first()
            && track.info.mime_type.is_empty()
        {
            track.info.mime_type = mime_type(*codec).to_string();
        }
        if let Some(codec) = track.info.codecs.first_mut() {
            codec.mid = mid.to_string();
        }
        if !track.is_video() {
            track.stereo |= receiving.stereo;
        }
        let preference = AudioPreference { stereo: track.stereo, dtx: !track.info.disable_dtx };
        let (peer, is_video) = (track.peer, track.is_video());
        if let Some(slot) = self.peers.get_mut(peer) {
            slot.tracks.retain(|(known, _)| *known != mid);
            slot.tracks.push((mid, key));
            match announced {
                Some(codec) if is_video => slot.peer.prefer_codec(&mid, codec),
                _ if is_video => {}
                _ => slot.peer.set_audio_preference(&mid, preference),
            }
        }
    }

    /// Tells the others about tracks that are bound now, and subscribes those who want every track.
    pub(super) fn announce_tracks(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let fresh: Vec<TrackKey> = session
            .tracks
            .iter()
            .copied()
            .filter(|t| self.tracks.get(*t).is_some_and(|t| t.mid.is_some() && !t.announced))
            .collect();
        if fresh.is_empty() {
            return;
        }
        for track in &fresh {
            if let Some(track) = self.tracks.get_mut(*track) {
                track.announced = true;
            }
        }
        self.tell_changed(key);
        for other in self.seers_of(key) {
            if self.sessions.get(other).is_some_and(|s| s.auto_subscribe) {
                for track in &fresh {
                    self.subscribe(now, other, *track);
                }
            }
        }
    }

    /// A track ended: takes it from its subscribers and tells everybody.
    pub(super) fn unpublish(&mut self, now: Instant, key: TrackKey) {
        let Some(owner) = self.tracks.get(key).map(|track| track.owner) else { return };
        self.drop_track(now, key);
        self.tell_changed(owner);
    }

    /// Takes a track from its subscribers and forgets it.
    pub(super) fn drop_track(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        for session in track.down.iter().map(|down| down.session).collect::<Vec<_>>() {
            self.unsubscribe(now, session, key);
        }
        let Some(track) = self.tracks.remove(key) else { return };
        if let Some(session) = self.sessions.get_mut(track.owner) {
            session.tracks.retain(|other| *other != key);
        }
        if let Some(slot) = self.peers.get_mut(track.peer) {
            slot.tracks.retain(|(_, other)| *other != key);
        }
    }

    /// The client muted or unmuted a track of its own.
    pub(super) fn mute_own(&mut self, now: Instant, key: SessionKey, request: &MuteTrackRequest) {
        let Some(track) = self.own_track(key, &request.sid) else { return };
        if let Some(session) = self.sessions.get_mut(key) {
            session.muted_from_afar.remove(&request.sid);
        }
        self.set_muted(now, track, request.muted);
    }

    /// A track of a participant by its sid.
    pub(super) fn own_track(&self, key: SessionKey, sid: &str) -> Option<TrackKey> {
        let session = self.sessions.get(key)?;
        session.tracks.iter().copied().find(|t| self.tracks.get(*t).is_some_and(|t| t.info.sid == sid))
    }

    /// Mutes or unmutes a track and tells the others. Nothing of a muted track is forwarded, whatever its
    /// publisher sends.
    pub(super) fn set_muted(&mut self, now: Instant, key: TrackKey, muted: bool) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if std::mem::replace(&mut track.info.muted, muted) == muted {
            return;
        }
        let owner = track.owner;
        for down in &mut track.down {
            down.stream.pause();
            down.asked = None;
        }
        self.tell_changed(owner);
        if !muted {
            self.aim(now, key);
        }
    }

    /// Tells a publisher which layers are watched, where that changed.
    pub(super) fn update_dynacast(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if !track.is_video() {
            return;
        }
        let watched = track.watched_layers();
        if track.dynacast.update(now, watched).is_some() {
            self.tell_watched_layers(key);
        }
    }

    /// Tells a publisher how many layers of a track are watched, as decided last.
    #[allow(deprecated)] // Older clients read `subscribed_qualities`.
    pub(super) fn tell_watched_layers(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get(key).filter(|track| track.is_video()) else { return };
        let Some(watched) = track.dynacast.told() else { return };
        // A track without simulcast is LiveKit's HIGH.
        let simulcast = track.sizes().iter().flatten().count() > 1;
        let qualities: Vec<SubscribedQuality> = (0..MAX_LAYERS)
            .map(|index| SubscribedQuality {
                quality: layers::quality_of_index(index).into(),
                enabled: if simulcast { index < watched } else { watched > 0 },
            })
            .collect();
        debug_assert!(qualities.iter().all(|q| q.quality() != VideoQuality::Off));
        let codec = track.info.mime_type.rsplit('/').next().unwrap_or_default().to_lowercase();
        let update = SubscribedQualityUpdate {
            track_sid: track.info.sid.clone(),
            subscribed_qualities: qualities.clone(),
            subscribed_codecs: vec![SubscribedCodec { codec, qualities }],
        };
        let owner = track.owner;
        self.send(owner, Message::SubscribedQualityUpdate(update));
    }
}

fn has_cid(track: &Track, id: &str) -> bool {
    track.cid == id || track.info.codecs.iter().any(|codec| codec.cid == id)
}
