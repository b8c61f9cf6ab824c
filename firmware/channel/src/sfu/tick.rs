//! What is done from time to time: key frames still missing, speakers, connection quality, and who is gone.

use std::time::{Duration, Instant};

use livekit_protocol::{
    ConnectionQualityInfo, ConnectionQualityUpdate, DisconnectReason, SpeakerInfo, SpeakersChanged,
    leave_request, participant_info, signal_response::Message,
};

use super::{ChannelKey, SessionKey, Sfu, TrackKey, quality, speakers};

/// How often [`Sfu::tick`] runs while somebody is there.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
/// How often connection quality is looked at.
pub(super) const QUALITY_INTERVAL: Duration = Duration::from_secs(2);

impl Sfu {
    pub(super) fn tick(&mut self, now: Instant) {
        self.drop_the_gone(now);
        self.config.totals.set(self.sessions.len(), self.channels.len());
        self.answer_late_offers(now);
        for key in self.sessions.keys().collect::<Vec<SessionKey>>() {
            self.allocate(now, key);
        }
        for key in self.tracks.keys().collect::<Vec<TrackKey>>() {
            self.aim(now, key);
            self.flush_key_requests(now, key);
            self.update_dynacast(now, key);
        }
        let due = |(_, channel): &(&ChannelKey, &super::Channel)| channel.speakers_at <= now;
        let channels: Vec<ChannelKey> =
            self.channels.iter().filter(due).map(|(key, _)| key.clone()).collect();
        for channel in channels {
            self.tell_speakers(now, &channel);
        }
        if self.quality_at <= now {
            self.quality_at = now + QUALITY_INTERVAL;
            self.tell_quality(now);
        }
        let refresh = |(_, session): &(SessionKey, &super::Session)| session.refresh_at <= now;
        for key in self.sessions.iter().filter(refresh).map(|(key, _)| key).collect::<Vec<_>>() {
            self.send_refreshed_token(now, key);
        }
    }

    /// Ends the stay of participants whose socket closed, that are silent, or that do not read.
    fn drop_the_gone(&mut self, now: Instant) {
        let timeouts = &self.config.timeouts;
        let since = |at: Instant| now.saturating_duration_since(at);
        let mut gone = Vec::new();
        for (key, session) in &self.sessions {
            if session.socket_closed.is_some_and(|at| since(at) >= timeouts.socket_closed()) {
                gone.push((key, DisconnectReason::SignalClose));
            } else if since(session.last_heard) >= timeouts.silent() {
                gone.push((key, DisconnectReason::ConnectionTimeout));
            } else if session.stuck {
                gone.push((key, DisconnectReason::SignalClose));
            } else if session.state == participant_info::State::Joined
                && since(session.joined) >= timeouts.connect()
            {
                gone.push((key, DisconnectReason::JoinFailure));
            }
        }
        for (key, reason) in gone {
            self.send_leave(key, reason, leave_request::Action::Reconnect);
            self.remove_session(now, key, reason);
        }
    }

    /// Sends requests for key frames that had to wait.
    fn flush_key_requests(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let peer = track.peer;
        let due: Vec<u32> = track
            .layers
            .iter_mut()
            .flatten()
            .filter_map(|layer| layer.key_requests.due(now).then_some(layer.ssrc))
            .collect();
        for ssrc in due {
            self.send_pli(now, peer, ssrc);
        }
    }

    fn tell_speakers(&mut self, now: Instant, key: &ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.speakers_at = now + speakers::INTERVAL;
        for session in channel.sessions.clone() {
            let tracks = self.sessions.get(session).map(|s| s.tracks.clone()).unwrap_or_default();
            let mut changed = false;
            for track in tracks {
                if let Some(track) = self.tracks.get_mut(track).filter(|track| !track.is_video()) {
                    changed |= track.meter.changed().is_some();
                }
            }
            if changed && let Some(info) = self.speaker_info(session) {
                let changed = SpeakersChanged { speakers: vec![info] };
                self.tell(session, &Message::SpeakersChanged(changed));
            }
        }
    }

    /// How loud a participant speaks, as told last.
    pub(super) fn speaker_info(&self, key: SessionKey) -> Option<SpeakerInfo> {
        let session = self.sessions.get(key)?;
        let tracks = session.tracks.iter().filter_map(|track| self.tracks.get(*track));
        let levels = tracks.filter(|track| !track.is_video()).map(|track| track.meter.level());
        let level = levels.max().unwrap_or_default();
        Some(SpeakerInfo { sid: session.sid.clone(), level: level.value(), active: level.is_speaking() })
    }

    /// Tells everybody whose connection got better or worse.
    fn tell_quality(&mut self, _now: Instant) {
        for track in self.tracks.values_mut() {
            let losses = track.layers.iter_mut().flatten().filter_map(super::track::Layer::take_loss);
            let worst = losses.fold(0.0, f32::max);
            if let Some(owner) = self.sessions.get_mut(track.owner) {
                owner.quality.lost(worst);
            }
        }
        let mut changes = Vec::new();
        for (key, session) in &mut self.sessions {
            let peers: Vec<_> = session.peers.all().filter_map(|peer| self.peers.get(peer)).collect();
            let connected = peers.iter().any(|slot| slot.connected);
            if !connected && session.quality.told().is_none() {
                continue;
            }
            if session.quality.changed(connected).is_some() {
                changes.push(key);
            }
        }
        for key in changes {
            if let Some(info) = self.quality_info(key) {
                self.tell(key, &Message::ConnectionQuality(ConnectionQualityUpdate { updates: vec![info] }));
            }
        }
    }

    /// A participant's connection quality, as told last.
    pub(super) fn quality_info(&self, key: SessionKey) -> Option<ConnectionQualityInfo> {
        let session = self.sessions.get(key)?;
        let quality = session.quality.told()?;
        Some(ConnectionQualityInfo {
            participant_sid: session.sid.clone(),
            quality: quality.into(),
            score: quality::score(quality),
        })
    }

    /// Tells a participant who of `others` speaks and how good their connections are: changes are told as they
    /// come, and this is for those who were not there then.
    pub(super) fn tell_levels(&mut self, key: SessionKey, others: &[SessionKey]) {
        let speakers: Vec<SpeakerInfo> =
            others.iter().filter_map(|other| self.speaker_info(*other)).collect();
        let updates: Vec<ConnectionQualityInfo> =
            others.iter().filter_map(|other| self.quality_info(*other)).collect();
        if !speakers.is_empty() {
            self.send(key, Message::SpeakersChanged(SpeakersChanged { speakers }));
        }
        if !updates.is_empty() {
            self.send(key, Message::ConnectionQuality(ConnectionQualityUpdate { updates }));
        }
    }

    /// Tells something about a participant to itself and to those who see it.
    fn tell(&mut self, key: SessionKey, message: &Message) {
        self.send(key, message.clone());
        if self.sessions.get(key).is_some_and(|session| !session.identity.grants.hidden) {
            for other in self.seers_of(key) {
                self.send(other, message.clone());
            }
        }
    }
}
