//! What the management API sees and does.

use std::time::Instant;

use livekit_protocol::{
    DisconnectReason, MuteTrackRequest, RoomUpdate, UserPacket, leave_request, participant_info,
    signal_response::Message,
};
use rostrum_rtc::names::{AppId, ChannelId};
use rostrum_rtc::token::Grants;

use crate::transport::{DataKind, MediaKind};

use super::command::{
    ChangeRefusal, ChannelView, DataToSend, ForwardedView, Manage, ManageError, ParticipantView,
    PermissionView, TrackChoice, TrackKind, TrackView, Whom,
};
use super::permissions::MAX_METADATA;
use super::track::Track;
use super::{SessionKey, Sfu, TrackKey};

impl Sfu {
    pub(super) fn manage(&mut self, now: Instant, manage: Manage) {
        // Whoever does not wait for the answer any more does not need it.
        match manage {
            Manage::Channels { app, reply } => {
                let _ = reply.send(self.channel_views(now, &app));
            }
            Manage::SetChannelMetadata { app, channel, metadata, reply } => {
                let _ = reply.send(self.set_channel_metadata(app, channel, metadata));
            }
            Manage::SendData { app, channel, data, reply } => {
                let _ = reply.send(self.data_of_service(now, app, channel, *data));
            }
            Manage::Mute { whom, tracks, muted, reply } => {
                let _ = reply.send(self.mute_of(now, &whom, &tracks, muted));
            }
            Manage::Remove { whom, reply } => {
                let removed = self.find(&whom).map(|key| {
                    self.send_leave(
                        key,
                        DisconnectReason::ParticipantRemoved,
                        leave_request::Action::Disconnect,
                    );
                    self.remove_session(now, key, DisconnectReason::ParticipantRemoved);
                });
                let _ = reply.send(removed);
            }
            Manage::SetPermissions { whom, grants, reply } => {
                let changed = self.find(&whom).and_then(|key| {
                    self.set_permissions(now, key, *grants);
                    self.participant_view(now, key).ok_or(ManageError::NoParticipant)
                });
                let _ = reply.send(changed);
            }
            Manage::Update { whom, change, reply } => {
                let changed = self.find(&whom).and_then(|key| {
                    self.change_participant(key, *change)?;
                    self.send_refreshed_token(now, key);
                    self.participant_view(now, key).ok_or(ManageError::NoParticipant)
                });
                let _ = reply.send(changed);
            }
            Manage::Find { whom, reply } => {
                let _ = reply.send(self.find(&whom).map(|_| ()));
            }
            Manage::Forward { whom, into, data, reply } => {
                let done = self.find(&whom).and_then(|key| self.forward_into(now, key, into, data));
                let _ = reply.send(done);
            }
            Manage::StopForward { whom, into, reply } => {
                let done = self.find(&whom).and_then(|key| match self.stop_forward(now, key, &into) {
                    true => Ok(()),
                    false => Err(ManageError::NoForward),
                });
                let _ = reply.send(done);
            }
        }
    }

    fn find(&self, whom: &Whom) -> Result<SessionKey, ManageError> {
        let channel_key = (whom.app.clone(), whom.channel.clone());
        let channel = self.channels.get(&channel_key).ok_or(ManageError::NoChannel)?;
        let mut sessions = channel.sessions.iter().copied();
        sessions
            .find(|key| self.sessions.get(*key).is_some_and(|session| *session.user() == whom.user))
            .ok_or(ManageError::NoParticipant)
    }

    fn set_channel_metadata(
        &mut self,
        app: AppId,
        channel: ChannelId,
        metadata: String,
    ) -> Result<(), ManageError> {
        let channel = self.channels.get_mut(&(app, channel)).ok_or(ManageError::NoChannel)?;
        if metadata.len() > MAX_METADATA {
            return Err(ChangeRefusal::TooLarge { limit: MAX_METADATA }.into());
        }
        channel.metadata = metadata;
        let sessions = channel.sessions.clone();
        let room = sessions.first().and_then(|first| self.room(*first));
        for key in sessions {
            self.send(key, Message::RoomUpdate(RoomUpdate { room: room.clone() }));
        }
        Ok(())
    }

    fn data_of_service(
        &mut self,
        now: Instant,
        app: AppId,
        channel: ChannelId,
        data: DataToSend,
    ) -> Result<usize, ManageError> {
        let channel = self.channels.get(&(app, channel)).ok_or(ManageError::NoChannel)?;
        let sessions = channel.sessions.clone();
        let kind = if data.lossy { DataKind::Lossy } else { DataKind::Reliable };
        let message = UserPacket {
            payload: data.payload,
            topic: Some(data.topic).filter(|topic| !topic.is_empty()),
            ..Default::default()
        };
        Ok(self.send_from_service(now, &sessions, kind, message, &data.users))
    }

    fn mute_of(
        &mut self,
        now: Instant,
        whom: &Whom,
        choice: &TrackChoice,
        muted: bool,
    ) -> Result<Vec<String>, ManageError> {
        let key = self.find(whom)?;
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
                metadata: channel.metadata.clone(),
                forwarded: self
                    .forwarded_into(&(app.clone(), id.clone()))
                    .iter()
                    .filter_map(|key| self.sessions.get(*key))
                    .map(|session| ForwardedView {
                        user: session.user().to_string(),
                        from: session.channel().to_string(),
                    })
                    .collect(),
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
            metadata: session.metadata.clone(),
            attributes: session.attributes.clone(),
            permissions: permission_view(&session.identity.grants),
            forwarded_into: session.forwards.iter().map(|forward| forward.into.to_string()).collect(),
            tracks: tracks.map(|track| track_view(now, track)).collect(),
        })
    }
}

fn permission_view(grants: &Grants) -> PermissionView {
    PermissionView {
        can_publish: grants.may_publish(),
        can_publish_sources: grants.can_publish_sources.clone(),
        can_subscribe: grants.may_subscribe(),
        can_publish_data: grants.may_publish_data(),
        can_update_own_metadata: grants.may_update_own_metadata(),
        hidden: grants.hidden,
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
