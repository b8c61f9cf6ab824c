//! What a participant may do, and changes of that and of what others are told of it, while it is connected.

use std::time::Instant;

use livekit_protocol::{
    DisconnectReason, ParticipantInfo, SubscriptionPermissionUpdate, TrackUnpublishedResponse,
    UpdateParticipantMetadata, participant_info, request_response, signal_response::Message,
};
use rostrum_rtc::names::DisplayName;
use rostrum_rtc::token::{Grants, UDID_ATTRIBUTE};

use super::command::{ChangeRefusal, ParticipantChange};
use super::{SessionKey, Sfu, TrackKey};

/// Bytes of metadata, and of all attributes, of a participant.
pub(super) const MAX_METADATA: usize = 64 * 1024;

impl Sfu {
    /// Changes what a participant may do. Tracks that it may not publish any more end, and so do its
    /// subscriptions when it may have none; everybody is told, and it gets a token that says the same.
    pub(super) fn set_permissions(&mut self, now: Instant, key: SessionKey, grants: Grants) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let former = session.identity.grants.clone();
        let (former_subscribes, former_hidden) = (former.may_subscribe(), former.hidden);
        session.identity.grants = Grants {
            room_join: former.room_join,
            room: former.room,
            room_admin: former.room_admin,
            recorder: former.recorder,
            agent: former.agent,
            ..grants
        };
        session.told_no_data = false;
        let (hidden, subscribes) = (session.identity.grants.hidden, session.identity.grants.may_subscribe());
        let ending: Vec<TrackKey> = session
            .tracks
            .iter()
            .copied()
            .filter(|track| self.tracks.get(*track).is_some_and(|t| !session.may_publish(t.info.source())))
            .collect();
        for track in ending {
            self.end_track(now, track);
        }
        if hidden && !former_hidden {
            self.tell_hidden(now, key);
        }
        if !subscribes {
            self.unsubscribe_from_all(now, key);
        } else if !former_subscribes {
            self.subscribe_to_all(now, key);
        }
        self.tell_changed(key);
        self.send_refreshed_token(now, key);
    }

    /// Ends a track of a participant for it, and tells it so.
    fn end_track(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        let (owner, track_sid) = (track.owner, track.info.sid.clone());
        self.drop_track(now, key);
        if let Some(session) = self.sessions.get_mut(owner) {
            session.note_ended(track_sid.clone());
            session.send(Message::TrackUnpublished(TrackUnpublishedResponse { track_sid }));
        }
    }

    /// Says that a participant may not subscribe to a track that it asked for.
    pub(super) fn refuse_subscription(&mut self, key: SessionKey, track: TrackKey) {
        let Some(track) = self.tracks.get(track) else { return };
        let Some(owner) = self.sessions.get(track.owner) else { return };
        let update = SubscriptionPermissionUpdate {
            participant_sid: owner.sid.clone(),
            track_sid: track.info.sid.clone(),
            allowed: false,
        };
        self.send(key, Message::SubscriptionPermissionUpdate(update));
    }

    /// For the others, somebody whom they do not see any more left.
    fn tell_hidden(&mut self, now: Instant, key: SessionKey) {
        let Some(info) = self.participant_info(key) else { return };
        let info = ParticipantInfo {
            state: participant_info::State::Disconnected.into(),
            disconnect_reason: DisconnectReason::ParticipantRemoved.into(),
            version: info.version + 1,
            ..info
        };
        self.tell_seers(key, &info);
        self.note_departed(now, key, &info);
    }

    /// The client changes its own name, metadata or attributes.
    pub(super) fn update_metadata(&mut self, key: SessionKey, update: UpdateParticipantMetadata) {
        use request_response::Reason;
        let Some(session) = self.sessions.get(key) else { return };
        let allowed = session.identity.grants.may_update_own_metadata();
        let name = match update.name.as_str() {
            "" => Ok(None),
            name => DisplayName::new(name).map(Some),
        };
        let request_id = update.request_id;
        let refusal = match (allowed, name) {
            (false, _) => Some((
                Reason::NotAllowed,
                "the token does not allow changing name, metadata or attributes".to_string(),
            )),
            (true, Err(error)) => Some((Reason::InvalidName, error.to_string())),
            (true, Ok(name)) => {
                let change = ParticipantChange {
                    name,
                    metadata: Some(update.metadata.clone()).filter(|metadata| !metadata.is_empty()),
                    attributes: update.attributes.clone().into_iter().collect(),
                };
                self.change_participant(key, change).err().map(|refusal| match refusal {
                    ChangeRefusal::TooLarge { .. } => (Reason::LimitExceeded, refusal.to_string()),
                    ChangeRefusal::Udid(_) => (Reason::NotAllowed, refusal.to_string()),
                })
            }
        };
        match refusal {
            Some((reason, message)) => {
                let request = Some(request_response::Request::UpdateMetadata(update));
                self.respond(key, request_id, reason, &message, request);
            }
            None => self.respond(key, request_id, Reason::Ok, "", None),
        }
    }

    /// Changes name, metadata or attributes of a participant and tells everybody.
    pub(super) fn change_participant(
        &mut self,
        key: SessionKey,
        change: ParticipantChange,
    ) -> Result<(), ChangeRefusal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if change.attributes.contains_key(UDID_ATTRIBUTE) {
            return Err(ChangeRefusal::Udid(UDID_ATTRIBUTE));
        }
        let mut attributes = session.attributes.clone();
        attributes.extend(change.attributes);
        attributes.retain(|_, value| !value.is_empty());
        let size: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_METADATA || change.metadata.as_ref().is_some_and(|text| text.len() > MAX_METADATA) {
            return Err(ChangeRefusal::TooLarge { limit: MAX_METADATA });
        }
        session.attributes = attributes;
        if let Some(name) = change.name {
            session.name = name.to_string();
        }
        if let Some(metadata) = change.metadata {
            session.metadata = metadata;
        }
        self.tell_changed(key);
        Ok(())
    }
}
