//! Going on with a stay whose socket was lost: its media connections never stopped, so the client is told what
//! it may have missed, and both ends compare what they have.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use livekit_protocol::{
    DisconnectReason, MuteTrackRequest, ParticipantInfo, ParticipantUpdate, ReconnectResponse, RoomUpdate,
    StreamState, SyncState, TrackUnpublishedResponse, UpdateSubscription, UpdateTrackSettings, leave_request,
    signal_response, signal_response::Message,
};
use tokio::sync::mpsc;

use super::command::{Mode, ResumeSpec, SocketNumber, ToSocket};
use super::join::server_info;
use super::{SessionKey, Sfu, TrackKey};

/// How long, and how many, participants that left are remembered: longer than a stay lasts after its socket
/// was lost, noticed or not.
const DEPARTED_FOR: Duration = Duration::from_secs(30);
const MAX_DEPARTED: usize = 64;

/// Those who left a channel not long ago, the oldest first.
#[derive(Default)]
pub(super) struct Departed(VecDeque<(Instant, u64, ParticipantInfo)>);

impl Departed {
    pub(super) fn add(&mut self, now: Instant, unix_ms: u64, info: ParticipantInfo) {
        while self.0.len() >= MAX_DEPARTED
            || self.0.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > DEPARTED_FOR)
        {
            self.0.pop_front();
        }
        self.0.push_back((now, unix_ms, info));
    }

    /// Those who left after a time, in milliseconds since 1970.
    fn since(&self, unix_ms: u64) -> impl Iterator<Item = &ParticipantInfo> {
        self.0.iter().filter(move |(_, left, _)| *left >= unix_ms).map(|(.., info)| info)
    }
}

impl Sfu {
    /// A socket closed; a stay goes on for a while without one.
    pub(super) fn socket_closed(
        &mut self,
        now: Instant,
        key: SessionKey,
        socket: SocketNumber,
        unsent: Vec<signal_response::Message>,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.keep_unsent(unsent);
        if session.socket == socket {
            session.socket_closed.get_or_insert(now);
        } else {
            session.send_unsent();
        }
    }

    /// A client that lost its socket wants to go on. `None` when its stay ended, or cannot go on: then it has
    /// to join anew.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        spec: ResumeSpec,
        signals: mpsc::Sender<ToSocket>,
    ) -> Option<(SessionKey, SocketNumber)> {
        let ResumeSpec { identity, sid, state, publisher_offer } = spec;
        if self.stopping {
            return None;
        }
        let channel = self.channels.get(&(identity.app.clone(), identity.channel.clone()))?;
        let key = channel.sessions.iter().copied().find(|key| {
            self.sessions.get(*key).is_some_and(|session| {
                *session.user() == identity.user && sid.as_ref().is_none_or(|sid| *sid == session.sid)
            })
        })?;
        // Clients that are told of none forget those that they had.
        let ice_servers = self.ice_servers(now, self.sessions.get(key)?);
        let session = self.sessions.get_mut(key)?;
        let mut peers = session.peers.all().filter_map(|peer| self.peers.get(peer));
        if peers.any(|slot| slot.peer.is_closed()) {
            return None;
        }
        let socket = session.attach(signals);
        session.last_heard = now;
        log::info!(channel:% = session.channel(), user:% = session.user(); "resumed");
        let response = ReconnectResponse {
            ice_servers,
            server_info: Some(server_info()),
            last_message_seq: session.reliable.last_sequence(),
            ..Default::default()
        };
        session.send(Message::Reconnect(response));
        self.send_refreshed_token(now, key);
        self.tell_what_was_missed(now, key);
        if let Some(state) = state {
            self.sync_state(now, key, &state);
        }
        self.renegotiate(now, key, publisher_offer);
        Some((key, socket))
    }

    /// Sets off negotiation anew, for descriptions may have been lost, and the client's network may be another.
    fn renegotiate(
        &mut self,
        now: Instant,
        key: SessionKey,
        publisher_offer: Option<livekit_protocol::SessionDescription>,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.sections_asked = false;
        let (mode, subscriber) = (session.peers.mode(), session.peers.subscriber());
        if mode == Mode::Dual
            && let Some(slot) = self.peers.get_mut(subscriber)
        {
            slot.offer_pending = false;
            slot.peer.offer_ice_restart();
        }
        if let Some(offer) = publisher_offer {
            self.client_offer(now, key, offer);
        }
        self.to_negotiate.insert(key);
    }

    /// Tells a participant everything that it may not have heard while it had no socket.
    fn tell_what_was_missed(&mut self, now: Instant, key: SessionKey) {
        self.tell_who_is_here(key);
        if let Some(room) = self.room(key) {
            self.send(key, Message::RoomUpdate(RoomUpdate { room: Some(room) }));
        }
        let heard = self.heard_by(key);
        self.tell_levels(key, &heard);
        for (track, state) in self.stream_states(key) {
            self.tell_stream_state(key, track, state);
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (own, muted) = (session.tracks.clone(), session.muted_from_afar.clone());
        session.send_unsent();
        for sid in muted {
            self.send(key, Message::Mute(MuteTrackRequest { sid, muted: true }));
        }
        for track in own {
            self.tell_watched_layers(track);
        }
        self.subscribe_to_all(now, key);
    }

    /// The pictures that a participant subscribes to: which flow, and which its link has no room for.
    fn stream_states(&self, key: SessionKey) -> Vec<(TrackKey, StreamState)> {
        let state = |track: &super::Track| {
            let down = track.down.iter().find(|down| down.session == key && down.live && !down.disabled)?;
            match down.told_active {
                true => Some(StreamState::Active),
                false => (track.is_video() && !track.info.muted).then_some(StreamState::Paused),
            }
        };
        self.tracks.iter().filter_map(|(key, track)| Some((key, state(track)?))).collect()
    }

    /// Tells a participant of everybody whom it sees, itself included, and of those who left lately.
    fn tell_who_is_here(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let present: Vec<ParticipantInfo> =
            self.heard_by(key).into_iter().filter_map(|other| self.info_for(other, key)).collect();
        let identities: HashSet<&str> = present.iter().map(|info| info.identity.as_str()).collect();
        let channel = self.channels.get(&Self::channel_key(session));
        let departed = channel.into_iter().flat_map(|channel| channel.departed.since(session.joined_unix_ms));
        // Who came back is told as present: the end of a former stay would end the new one at some clients.
        let departed = departed.filter(|info| !identities.contains(info.identity.as_str()));
        let participants = departed.cloned().chain(present.iter().cloned()).collect();
        self.send(key, Message::Update(ParticipantUpdate { participants }));
    }

    /// Those whom a participant is told of: itself and everybody whom it sees.
    pub(super) fn heard_by(&self, key: SessionKey) -> Vec<SessionKey> {
        let visible =
            |other: &SessionKey| self.sessions.get(*other).is_some_and(|s| !s.identity.grants.hidden);
        std::iter::once(key).chain(self.seen_by(key).into_iter().filter(visible)).collect()
    }

    /// Remembers who left, for those who have no socket to hear it on.
    pub(super) fn note_departed(&mut self, now: Instant, key: SessionKey, info: &ParticipantInfo) {
        let unix_ms = self.unix_ms(now);
        let Some(session) = self.sessions.get(key) else { return };
        let elsewhere = session.forwards.iter().map(|forward| (session.app().clone(), forward.into.clone()));
        for channel in std::iter::once(Self::channel_key(session)).chain(elsewhere) {
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.departed.add(now, unix_ms, info.clone());
            }
        }
    }

    /// The client says what it has: what differs is brought in line.
    pub(super) fn sync_state(&mut self, now: Instant, key: SessionKey, state: &SyncState) {
        if let Some(subscription) = &state.subscription {
            self.sync_subscriptions(now, key, subscription);
        }
        if !state.track_sids_disabled.is_empty() {
            let track_sids = state.track_sids_disabled.clone();
            let settings = UpdateTrackSettings { track_sids, disabled: true, ..Default::default() };
            self.update_track_settings(now, key, &settings);
        }
        let published: Vec<&str> = state
            .publish_tracks
            .iter()
            .filter_map(|published| published.track.as_ref())
            .map(|info| info.sid.as_str())
            .collect();
        for sid in &published {
            if self.own_track(key, sid).is_some() {
                continue;
            }
            let Some(session) = self.sessions.get_mut(key) else { return };
            if session.ended.iter().any(|ended| ended == sid) {
                let track_sid = (*sid).to_string();
                session.send(Message::TrackUnpublished(TrackUnpublishedResponse { track_sid }));
            } else {
                // It thinks to publish what nobody gets: a new connection puts that right.
                log::warn!(channel:% = session.channel(), user:% = session.user(); "a track was lost; joining anew");
                self.send_leave(key, DisconnectReason::StateMismatch, leave_request::Action::Reconnect);
                return self.remove_session(now, key, DisconnectReason::StateMismatch);
            }
        }
        // Announced, and given up with the socket before it was offered.
        let given_up = |track: &TrackKey| {
            self.tracks
                .get(*track)
                .is_some_and(|t| t.mid.is_none() && !published.contains(&t.info.sid.as_str()))
        };
        let own = self.sessions.get(key).map(|session| session.tracks.clone()).unwrap_or_default();
        for track in own.into_iter().filter(given_up).collect::<Vec<_>>() {
            self.drop_track(now, track);
        }
        self.resend_data(now, key, &state.datachannel_receive_states);
    }

    /// The exceptions from what the client gets by itself: with every track subscribed those that it declined,
    /// else those that it wants.
    fn sync_subscriptions(&mut self, now: Instant, key: SessionKey, said: &UpdateSubscription) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.auto_subscribe == said.subscribe {
            return self.update_subscription(now, key, said);
        }
        let listed: HashSet<&String> =
            said.participant_tracks.iter().flat_map(|of| &of.track_sids).chain(&said.track_sids).collect();
        let sids = self.tracks_seen_by(key).into_iter().filter_map(|track| self.tracks.get(track));
        let sids: Vec<String> = sids.map(|track| track.info.sid.clone()).collect();
        let (listed, others): (Vec<_>, Vec<_>) = sids.into_iter().partition(|sid| listed.contains(sid));
        for (track_sids, subscribe) in [(listed, said.subscribe), (others, !said.subscribe)] {
            let update = UpdateSubscription { track_sids, subscribe, ..Default::default() };
            self.update_subscription(now, key, &update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_left_are_forgotten_after_a_while_and_never_too_many() {
        let start = Instant::now();
        let info = |n: u64| ParticipantInfo { identity: n.to_string(), ..Default::default() };
        let mut departed = Departed::default();
        for n in 0..100 {
            departed.add(start, n, info(n));
        }
        assert_eq!(departed.since(0).count(), MAX_DEPARTED);
        assert_eq!(departed.since(98).count(), 2);
        departed.add(start + DEPARTED_FOR + Duration::from_millis(1), 100, info(100));
        assert_eq!(departed.since(0).count(), 1);
    }
}
