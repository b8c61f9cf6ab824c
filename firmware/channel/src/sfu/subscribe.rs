//! Subscribing to tracks: who gets what, how much of it, and when it can flow.

use std::time::Instant;

use livekit_protocol::{
    SignalTarget, SubscriptionError, SubscriptionPermission, SubscriptionPermissionUpdate,
    SubscriptionResponse, TrackSubscribed, UpdateSubscription, UpdateTrackSettings, VideoQuality,
    signal_response::Message,
};
use rand::Rng;

use crate::forward::layers::{self, MAX_LAYERS};
use crate::forward::stream::DownStream;
use crate::transport::{CodecKey, SenderSpec};

use super::command::Mode;
use super::track::{DownTrack, Track};
use super::{SessionKey, Sfu, TrackKey};

/// How many tracks a participant may decline beforehand.
const MAX_DECLINED: usize = 256;

impl Sfu {
    /// Subscribes to every track of the channel, where the participant wants that.
    pub(super) fn subscribe_to_all(&mut self, now: Instant, key: SessionKey) {
        if !self.sessions.get(key).is_some_and(|session| session.auto_subscribe) {
            return;
        }
        for track in self.tracks_seen_by(key) {
            self.subscribe(now, key, track);
        }
    }

    pub(super) fn unsubscribe_from_all(&mut self, now: Instant, key: SessionKey) {
        let subscribed = |track: &Track| track.down.iter().any(|down| down.session == key);
        let tracks: Vec<TrackKey> =
            self.tracks.iter().filter(|(_, track)| subscribed(track)).map(|(track, _)| track).collect();
        for track in tracks {
            self.unsubscribe(now, key, track);
        }
    }

    pub(super) fn tracks_seen_by(&self, key: SessionKey) -> Vec<TrackKey> {
        let others = self.seen_by(key);
        others
            .iter()
            .filter_map(|other| self.sessions.get(*other))
            .flat_map(|s| s.tracks.iter().copied())
            .collect()
    }

    /// A track of another participant, by its sid.
    fn track_seen_by(&self, key: SessionKey, sid: &str) -> Option<TrackKey> {
        let mut tracks = self.tracks_seen_by(key).into_iter();
        tracks.find(|track| self.tracks.get(*track).is_some_and(|track| track.info.sid == sid))
    }

    /// Starts a subscription, if it may be.
    pub(super) fn subscribe(&mut self, now: Instant, key: SessionKey, track_key: TrackKey) {
        if self.resources.contains(key) {
            // Its seats are filled when all that comes now is there.
            self.to_negotiate.insert(key);
            return;
        }
        self.subscribe_to(now, key, track_key);
    }

    /// Starts a subscription, if it may be: allowed by both sides, announced, and not there already.
    pub(super) fn subscribe_to(&mut self, now: Instant, key: SessionKey, track_key: TrackKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some(track) = self.tracks.get(track_key) else { return };
        let Some(owner) = self.sessions.get(track.owner) else { return };
        let unwanted = session.declined.contains(&track.info.sid)
            || !session.identity.grants.may_subscribe()
            || track.down.iter().any(|down| down.session == key);
        if unwanted || !track.announced {
            return;
        }
        if !owner.lets_subscribe(&track.info.sid, session) {
            let update = SubscriptionPermissionUpdate {
                participant_sid: owner.sid.clone(),
                track_sid: track.info.sid.clone(),
                allowed: false,
            };
            return self.send(key, Message::SubscriptionPermissionUpdate(update));
        }
        let peer = session.peers.subscriber();
        let mode = session.peers.mode();
        let (ssrc, rtx_ssrc) = (self.new_ssrc(peer), self.new_ssrc(peer));
        let first_seq = self.rng.random::<u16>() & 0x7fff;
        let rtx_seq = self.rng.random();
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        track.down.push(DownTrack {
            session: key,
            peer,
            mid: None,
            ssrc,
            rtx_ssrc,
            rtx_seq,
            live: false,
            disabled: false,
            wanted: MAX_LAYERS - 1,
            size: None,
            fps: 0,
            allowed: Some(MAX_LAYERS - 1),
            mapping: None,
            stream: DownStream::new(track.is_video(), first_seq),
            asked: None,
            told_active: false,
        });
        if !std::mem::replace(&mut track.told_subscribed, true) {
            let (owner, track_sid) = (track.owner, track.info.sid.clone());
            self.send(owner, Message::TrackSubscribed(TrackSubscribed { track_sid }));
        }
        if mode == Mode::Dual {
            self.place(key, track_key, false);
        }
        self.to_negotiate.insert(key);
        self.update_dynacast(now, track_key);
    }

    /// Puts a subscribed track on a media section: one of ours, or a free one of the client's last offer.
    fn place(&mut self, key: SessionKey, track_key: TrackKey, of_client: bool) {
        let Some(track) = self.tracks.get(track_key) else { return };
        let Some(owner) = self.sessions.get(track.owner) else { return };
        let Some(down) = track.down.iter().find(|down| down.session == key) else { return };
        let peer = down.peer;
        let reused = !of_client
            && self.peers.get(peer).is_some_and(|slot| {
                slot.peer.sections().any(|section| section.kind == track.kind && section.sending.is_none())
            });
        // Tracks with the same stream are played in sync. On a section that had another track before, clients
        // keep that one's track id: there the stream has to say the track.
        let stream = if reused { &track.info.sid } else { &track.info.stream };
        let spec = SenderSpec {
            kind: track.kind,
            stream_id: format!("{}|{stream}", owner.sid),
            track_id: track.info.sid.clone(),
            cname: owner.sid.clone(),
            ssrc: down.ssrc,
            rtx_ssrc: track.is_video().then_some(down.rtx_ssrc),
            codecs: codecs_to_offer(track),
            stereo: track.stereo,
        };
        let Some(slot) = self.peers.get_mut(peer) else { return };
        let mid = if of_client { slot.peer.assign_sender(spec) } else { slot.peer.add_sender(spec) };
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let is_video = track.is_video();
        let Some(down) = track.down_of(key) else { return };
        down.mid = mid;
        if mid.is_some() {
            slot.senders.push((down.ssrc, track_key));
            if is_video {
                slot.senders.push((down.rtx_ssrc, track_key));
            }
        }
    }

    /// Puts what waits on free sections of the offer that a client with one connection just made.
    pub(super) fn assign_sections(&mut self, key: SessionKey) {
        let waits = |track: &Track| track.down.iter().any(|down| down.session == key && down.mid.is_none());
        let waiting: Vec<TrackKey> =
            self.tracks.iter().filter(|(_, track)| waits(track)).map(|(track, _)| track).collect();
        for track in waiting {
            self.place(key, track, true);
        }
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, now: Instant, key: SessionKey, track_key: TrackKey) {
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some(at) = track.down.iter().position(|down| down.session == key) else { return };
        let down = track.down.swap_remove(at);
        if let Some(slot) = self.peers.get_mut(down.peer) {
            slot.senders.retain(|(ssrc, _)| *ssrc != down.ssrc && *ssrc != down.rtx_ssrc);
        }
        if !self.leave_seat(key, track_key, down.stream, down.rtx_seq)
            && let Some(slot) = self.peers.get_mut(down.peer)
            && let Some(mid) = down.mid
        {
            slot.peer.remove_sender(&mid);
        }
        self.to_negotiate.insert(key);
        self.update_dynacast(now, track_key);
    }

    /// Which subscriptions of a participant can flow now: its connection is up and it agreed to them. Those
    /// that start get a key frame at once.
    pub(super) fn refresh_down_tracks(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let peer = session.peers.subscriber();
        let Some(slot) = self.peers.get(peer) else { return };
        let mut started = Vec::new();
        for (track_key, track) in &mut self.tracks {
            let Some(down) = track.down_of(key) else { continue };
            down.mapping = None;
            let agreed = down.mid.and_then(|mid| slot.peer.section(&mid)).is_some_and(|section| {
                section
                    .sending
                    .as_ref()
                    .is_some_and(|sending| sending.negotiated && sending.spec.ssrc == down.ssrc)
            });
            let live = slot.connected && agreed;
            if live && !std::mem::replace(&mut down.live, live) {
                started.push(track_key);
            }
            down.live = live;
        }
        if !started.is_empty() {
            self.allocate(now, key);
        }
        for track in started {
            self.aim(now, track);
        }
    }

    /// Asks for the key frames that subscribers of a track need to reach the layer that they want.
    pub(super) fn aim(&mut self, now: Instant, track_key: TrackKey) {
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        if !track.is_video() || track.info.muted {
            return;
        }
        let active = track.active(now);
        let mut wanted = [false; MAX_LAYERS];
        for down in track.down.iter_mut().filter(|down| down.flows()) {
            let Some(target) = down.target(active) else { continue };
            let Some(epoch) = track.layers[target].as_ref().map(|layer| layer.epoch) else { continue };
            if down.stream.needs_key_frame(target, epoch) {
                down.asked = Some((target, epoch));
                wanted[target] = true;
            }
        }
        for (layer, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            if !self.request_key_frame(now, track_key, layer) {
                self.replay(now, track_key, layer);
            }
        }
    }

    /// The client wants tracks, or does not want them any more.
    pub(super) fn update_subscription(&mut self, now: Instant, key: SessionKey, update: &UpdateSubscription) {
        let sids = update.participant_tracks.iter().flat_map(|p| &p.track_sids).chain(&update.track_sids);
        for sid in sids {
            let Some(session) = self.sessions.get_mut(key) else { return };
            if update.subscribe {
                session.declined.remove(sid);
            } else if session.declined.len() < MAX_DECLINED {
                session.declined.insert(sid.clone());
            }
            let allowed = session.identity.grants.may_subscribe();
            match (self.track_seen_by(key, sid), update.subscribe) {
                (Some(track), true) if !allowed => self.refuse_subscription(key, track),
                (Some(track), true) => self.subscribe(now, key, track),
                (Some(track), false) => self.unsubscribe(now, key, track),
                (None, true) => {
                    let err = SubscriptionError::SeTrackNotfound.into();
                    let response = SubscriptionResponse { track_sid: sid.clone(), err };
                    self.send(key, Message::SubscriptionResponse(response));
                }
                (None, false) => {}
            }
        }
    }

    /// The client says how much of tracks it shows.
    pub(super) fn update_track_settings(
        &mut self,
        now: Instant,
        key: SessionKey,
        settings: &UpdateTrackSettings,
    ) {
        for sid in &settings.track_sids {
            let Some(track_key) = self.track_seen_by(key, sid) else { continue };
            let Some(track) = self.tracks.get_mut(track_key) else { continue };
            let sizes = track.sizes();
            let Some(down) = track.down_of(key) else { continue };
            let off = settings.quality() == VideoQuality::Off;
            if std::mem::replace(&mut down.disabled, settings.disabled || off) != (settings.disabled || off) {
                down.stream.pause();
                down.asked = None;
            }
            down.wanted = match (settings.width, settings.height) {
                (0, _) | (_, 0) => layers::index_of_quality(settings.quality()).unwrap_or(MAX_LAYERS - 1),
                size => layers::index_for_size(&sizes, size),
            };
            down.size =
                (settings.width > 0 && settings.height > 0).then_some((settings.width, settings.height));
            down.fps = settings.fps;
            self.allocate(now, key);
            self.aim(now, track_key);
            self.update_dynacast(now, track_key);
        }
    }

    /// The client says who may subscribe to its tracks.
    pub(super) fn update_subscription_permission(
        &mut self,
        now: Instant,
        key: SessionKey,
        permission: SubscriptionPermission,
    ) {
        let Some(owner) = self.sessions.get_mut(key) else { return };
        owner.permission = permission;
        let (participant_sid, tracks) = (owner.sid.clone(), owner.tracks.clone());
        for other in self.seers_of(key) {
            for track in &tracks {
                let Some(owner) = self.sessions.get(key) else { return };
                let (Some(info), Some(subscriber)) = (self.tracks.get(*track), self.sessions.get(other))
                else {
                    continue;
                };
                let allowed = owner.lets_subscribe(&info.info.sid, subscriber);
                let has = info.down.iter().any(|down| down.session == other);
                let wants = subscriber.auto_subscribe;
                let update = SubscriptionPermissionUpdate {
                    participant_sid: participant_sid.clone(),
                    track_sid: info.info.sid.clone(),
                    allowed,
                };
                if allowed && !has && wants {
                    self.send(other, Message::SubscriptionPermissionUpdate(update));
                    self.subscribe(now, other, *track);
                } else if !allowed && has {
                    self.unsubscribe(now, other, *track);
                    self.send(other, Message::SubscriptionPermissionUpdate(update));
                }
            }
        }
    }

    /// A trickled candidate: a lite agent only looks at it.
    pub(super) fn trickle(&mut self, key: SessionKey, target: SignalTarget, candidate: &str) {
        let Some(session) = self.sessions.get(key) else { return };
        let peer = match target {
            SignalTarget::Publisher => session.peers.publisher(),
            SignalTarget::Subscriber => session.peers.subscriber(),
        };
        let init: serde_json::Value = serde_json::from_str(candidate).unwrap_or_default();
        let candidate = init.get("candidate").and_then(|c| c.as_str()).unwrap_or_default();
        if let Some(slot) = self.peers.get_mut(peer)
            && !candidate.is_empty()
            && !slot.peer.add_remote_candidate(candidate)
        {
            log::debug!("a trickled candidate that is none");
        }
    }
}

/// The codecs that the track may come in, the likeliest first.
fn codecs_to_offer(track: &Track) -> Vec<CodecKey> {
    let mut codecs = track.codecs.clone();
    if !track.is_video() {
        // RED goes out only where both sides take it; plain Opus always can.
        codecs.retain(|codec| *codec != CodecKey::Opus);
        codecs.insert(0, CodecKey::Opus);
    }
    codecs
}
