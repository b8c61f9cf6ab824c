//! What the management API sees and does.

use std::time::Instant;

use livekit_protocol::{
    DisconnectReason, MuteTrackRequest, leave_request, participant_info, signal_response::Message,
};
use rostrum_rtc::names::{AppId, ChannelId, UserId};

use crate::transport::MediaKind;

use super::command::{ChannelView, Manage, ManageError, ParticipantView, TrackChoice, TrackKind, TrackView};
use super::track::Track;
use super::{SessionKey, Sfu, TrackKey};

impl Sfu {
    pub(super) fn manage(&mut self, now: Instant, manage: Manage) {
        // Whoever does not wait for the answer any more does not need it.
        match manage {
            Manage::Channels { app, reply } => {
                let _ = reply.send(self.channel_views(now, &app));
            }
            Manage::Mute { app, channel, user, tracks, muted, reply } => {
                let _ = reply.send(self.mute_of(now, &app, &channel, &user, &tracks, muted));
            }
            Manage::Remove { app, channel, user, reply } => {
                let removed = self.find(&app, &channel, &user).map(|key| {
                    self.send_leave(
                        key,
                        DisconnectReason::ParticipantRemoved,
                        leave_request::Action::Disconnect,
                    );
                    self.remove_session(now, key, DisconnectReason::ParticipantRemoved);
                });
                let _ = reply.send(removed);
            }
        }
    }

    fn find(&self, app: &AppId, channel: &ChannelId, user: &UserId) -> Result<SessionKey, ManageError> {
        let channel = self.channels.get(&(app.clone(), channel.clone())).ok_or(ManageError::NoChannel)?;
        let mut sessions = channel.sessions.iter().copied();
        sessions
            .find(|key| self.sessions.get(*key).is_some_and(|session| session.user() == user))
            .ok_or(ManageError::NoParticipant)
    }

    fn mute_of(
        &mut self,
        now: Instant,
        app: &AppId,
        channel: &ChannelId,
        user: &UserId,
        choice: &TrackChoice,
        muted: bool,
    ) -> Result<Vec<String>, ManageError> {
        let key = self.find(app, channel, user)?;
        let chosen = |track: &Track| match choice {
            TrackChoice::Sid(sid) => track.info.sid == *sid,
            TrackChoice::Kind(kind) => kind_of(track) == *kind,
        };
        let tracks: Vec<TrackKey> = self.sessions.get(key).map(|s| s.tracks.clone()).unwrap_or_default();
        let tracks: Vec<TrackKey> =
            tracks.into_iter().filter(|t| self.tracks.get(*t).is_some_and(chosen)).collect();
        if tracks.is_empty() {
            return Err(ManageError::NoTrack);
        }
        let mut sids = Vec::new();
        for track in tracks {
            let Some(sid) = self.tracks.get(track).map(|t| t.info.sid.clone()) else { continue };
            self.set_muted(now, track, muted);
            // Said even when it was so already: the two ends may have disagreed.
            self.send(key, Message::Mute(MuteTrackRequest { sid: sid.clone(), muted }));
            if let Some(session) = self.sessions.get_mut(key) {
                match muted {
                    true => session.muted_from_afar.insert(sid.clone()),
                    false => session.muted_from_afar.remove(&sid),
                };
            }
            sids.push(sid);
        }
        Ok(sids)
    }

    fn channel_views(&self, now: Instant, app: &AppId) -> Vec<ChannelView> {
        let mut views: Vec<ChannelView> = self
            .channels
            .iter()
            .filter(|((of, _), _)| of == app)
            .map(|((_, id), channel)| ChannelView {
                channel: id.to_string(),
                sid: channel.sid.clone(),
                created_at: channel.created_unix_ms / 1000,
                participants: channel
                    .sessions
                    .iter()
                    .filter_map(|key| self.participant_view(now, *key))
                    .collect(),
            })
            .collect();
        views.sort_by(|a, b| a.channel.cmp(&b.channel));
        views
    }

    fn participant_view(&self, now: Instant, key: SessionKey) -> Option<ParticipantView> {
        let session = self.sessions.get(key)?;
        let tracks = session.tracks.iter().filter_map(|track| self.tracks.get(*track));
        Some(ParticipantView {
            user: session.user().to_string(),
            name: session.name.clone(),
            sid: session.sid.clone(),
            udid: session.identity.udid.clone(),
            joined_at: session.joined_unix_ms / 1000,
            connected: session.state == participant_info::State::Active,
            tracks: tracks.map(|track| track_view(now, track)).collect(),
        })
    }
}

fn kind_of(track: &Track) -> TrackKind {
    if track.kind == MediaKind::Audio { TrackKind::Audio } else { TrackKind::Video }
}

fn track_view(now: Instant, track: &Track) -> TrackView {
    let names = ["low", "mid", "high"];
    let active = track.active(now);
    TrackView {
        sid: track.info.sid.clone(),
        kind: kind_of(track),
        source: track.info.source().as_str_name().to_lowercase(),
        codec: track.info.mime_type.clone(),
        muted: track.info.muted,
        width: track.info.width,
        height: track.info.height,
        layers: names
            .iter()
            .zip(active)
            .filter(|(_, active)| *active)
            .map(|(name, _)| (*name).to_string())
            .collect(),
        subscribers: track.down.len(),
    }
}
