//! Participants that are shown in a second channel: they are seen and heard there as in their own, by the same
//! streams, while they see their own channel only.

use std::time::Instant;

use livekit_protocol::{
    DisconnectReason, ParticipantInfo, ParticipantUpdate, participant_info, signal_response::Message,
};
use rostrum_rtc::names::{ChannelId, UserId};

use super::command::ManageError;
use super::{ChannelKey, SessionKey, Sfu};

/// A second channel that a participant is shown in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) into: ChannelId,
    /// Whether its data goes there too.
    pub(super) data: bool,
}

impl Sfu {
    /// Participants of other channels that are shown in a channel.
    pub(super) fn forwarded_into(&self, channel: &ChannelKey) -> &[SessionKey] {
        self.forwarded.get(channel).map_or(&[], Vec::as_slice)
    }

    /// Shows a participant in a second channel, whether somebody is there yet or not.
    pub(super) fn forward_into(
        &mut self,
        now: Instant,
        key: SessionKey,
        into: ChannelId,
        data: bool,
    ) -> Result<(), ManageError> {
        let session = self.sessions.get_mut(key).ok_or(ManageError::NoParticipant)?;
        if *session.channel() == into {
            return Err(ManageError::OwnChannel);
        }
        if let Some(forward) = session.forwards.iter_mut().find(|forward| forward.into == into) {
            forward.data = data;
            return Ok(());
        }
        let user = session.user().clone();
        let target = (session.app().clone(), into.clone());
        let members = self.members(&target);
        let present = members.iter().chain(self.forwarded_into(&target));
        if present.clone().any(|other| self.sessions.get(*other).is_some_and(|s| *s.user() == user)) {
            return Err(ManageError::UserTaken);
        }
        let limit = self.config.limits.terminals_per_channel;
        if present.count() >= limit {
            return Err(ManageError::ChannelFull { limit });
        }
        self.forwarded.entry(target.clone()).or_default().push(key);
        if let Some(session) = self.sessions.get_mut(key) {
            log::info!(channel:% = session.channel(), user:% = user, into:% = into; "forwarded");
            session.forwards.push(Forward { into, data });
        }
        if self.sessions.get(key).is_some_and(|session| session.identity.grants.hidden) {
            return Ok(());
        }
        for member in members {
            if let Some(info) = self.info_for(key, member) {
                self.send(member, Message::Update(ParticipantUpdate { participants: vec![info] }));
            }
            self.tell_levels(member, &[key]);
            self.subscribe_to_all(now, member);
        }
        Ok(())
    }

    /// Shows a participant in a second channel no longer; `false` when it was not.
    pub(super) fn stop_forward(&mut self, now: Instant, key: SessionKey, into: &ChannelId) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let Some(at) = session.forwards.iter().position(|forward| forward.into == *into) else {
            return false;
        };
        session.forwards.remove(at);
        let tracks = session.tracks.clone();
        let (hidden, target) = (session.identity.grants.hidden, (session.app().clone(), into.clone()));
        self.forget_forward(key, &target);
        let info = self.participant_info(key).map(|info| ParticipantInfo {
            state: participant_info::State::Disconnected.into(),
            disconnect_reason: DisconnectReason::ParticipantRemoved.into(),
            version: info.version + 1,
            tracks: Vec::new(),
            ..info
        });
        for member in self.members(&target) {
            for track in &tracks {
                self.unsubscribe(now, member, *track);
            }
            if let Some(info) = info.clone().filter(|_| !hidden) {
                self.send(member, Message::Update(ParticipantUpdate { participants: vec![info] }));
            }
        }
        let unix_ms = self.unix_ms(now);
        if let (Some(channel), Some(info), false) = (self.channels.get_mut(&target), info, hidden) {
            channel.departed.add(now, unix_ms, info);
        }
        true
    }

    /// Forgets all forwards of a participant that left.
    pub(super) fn forget_forwards(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let app = session.app().clone();
        let targets: Vec<ChannelKey> =
            session.forwards.iter().map(|forward| (app.clone(), forward.into.clone())).collect();
        for target in targets {
            self.forget_forward(key, &target);
        }
    }

    fn forget_forward(&mut self, key: SessionKey, target: &ChannelKey) {
        if let Some(forwarded) = self.forwarded.get_mut(target) {
            forwarded.retain(|other| *other != key);
            if forwarded.is_empty() {
                self.forwarded.remove(target);
            }
        }
    }

    /// A member of a channel comes before somebody of the same name from another one.
    pub(super) fn make_way(&mut self, now: Instant, channel: &ChannelKey, user: &UserId) {
        let same = |key: &SessionKey| self.sessions.get(*key).is_some_and(|session| session.user() == user);
        let former: Vec<SessionKey> = self.forwarded_into(channel).iter().copied().filter(same).collect();
        for key in former {
            self.stop_forward(now, key, &channel.1);
        }
    }

    pub(super) fn members(&self, channel: &ChannelKey) -> Vec<SessionKey> {
        self.channels.get(channel).map(|channel| channel.sessions.clone()).unwrap_or_default()
    }

    /// The members of the channels that a participant is shown in; with `data`, of those that its data goes to.
    pub(super) fn members_abroad(&self, key: SessionKey, data: bool) -> Vec<SessionKey> {
        let Some(session) = self.sessions.get(key) else { return Vec::new() };
        let forwards = session.forwards.iter().filter(|forward| forward.data || !data);
        forwards.flat_map(|forward| self.members(&(session.app().clone(), forward.into.clone()))).collect()
    }
}
