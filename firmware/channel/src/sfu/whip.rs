//! Participants that come by HTTP requests instead of a WebSocket: to publish (WHIP, RFC 9725) and to watch
//! (WHEP, draft-ietf-wish-whep). They are participants like any other, with one connection and without messages;
//! what is theirs alone is an address with which they end their stay and restart ICE.
//!
//! What a viewer gets is decided in `whep.rs`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use livekit_protocol::{
    AddTrackRequest, ClientInfo, DisconnectReason, TrackSource, TrackType, VideoLayer, VideoQuality,
};
use rand::Rng;
use rostrum_rtc::token::Identity;
use slotmap::SecondaryMap;
use tokio::sync::mpsc;

use crate::forward::{layers, picture_size};
use crate::transport::{IceCredentials, IncomingRtp, MediaKind, Peer, SdpError, SdpFragment, Section};

use super::command::{JoinSpec, Mode};
use super::session::may_publish;
use super::whep::Viewer;
pub use super::whip_command::{
    Door, IfMatch, OpenSpec, Opened, Patched, Purpose, Target, View, WhipCommand, WhipRefusal,
};
use super::{PeerKey, SessionKey, Sfu, TrackKey};

/// Characters of the secret part of a stay's address: 139 bits of randomness.
const ID_LEN: usize = 24;

/// What a participant by HTTP has besides a session.
struct Resource {
    id: String,
    door: Door,
    viewer: Option<Viewer>,
}

/// All participants by HTTP.
#[derive(Default)]
pub(super) struct Resources {
    by_session: SecondaryMap<SessionKey, Resource>,
    by_id: HashMap<String, SessionKey>,
}

impl Resources {
    fn insert(&mut self, key: SessionKey, resource: Resource) {
        self.by_id.insert(resource.id.clone(), key);
        self.by_session.insert(key, resource);
    }

    /// Forgets a participant.
    pub(super) fn remove(&mut self, key: SessionKey) {
        if let Some(resource) = self.by_session.remove(key) {
            self.by_id.remove(&resource.id);
        }
    }

    /// Whether a participant came by HTTP.
    pub(super) fn contains(&self, key: SessionKey) -> bool {
        self.by_session.contains_key(key)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_session.len().max(self.by_id.len())
    }

    /// What a viewer watches; `None` for others.
    pub(super) fn viewer(&self, key: SessionKey) -> Option<&Viewer> {
        self.by_session.get(key)?.viewer.as_ref()
    }

    pub(super) fn viewer_mut(&mut self, key: SessionKey) -> Option<&mut Viewer> {
        self.by_session.get_mut(key)?.viewer.as_mut()
    }
}

impl Sfu {
    pub(super) fn whip(&mut self, now: Instant, command: WhipCommand) {
        // Whoever does not wait for the answer any more does not need it.
        match command {
            WhipCommand::Open { spec, reply } => {
                if reply.is_closed() {
                    return;
                }
                let opened = self.open_by_http(now, *spec);
                if let Err(Ok(opened)) = reply.send(opened)
                    && let Some(key) = self.resources.by_id.get(&opened.id)
                {
                    self.remove_session(now, *key, DisconnectReason::JoinFailure);
                }
            }
            WhipCommand::Patch { target, if_match, fragment, reply } => {
                let _ = reply.send(self.patch_by_http(&target, if_match.as_ref(), &fragment));
            }
            WhipCommand::Close { target, reply } => {
                let closed = self.session_of(&target).map(|key| {
                    self.remove_session(now, key, DisconnectReason::ClientInitiated);
                });
                let _ = reply.send(closed);
            }
        }
    }

    /// A connection ended or is not heard any more. Nobody by HTTP comes back on a socket: the stay ends.
    pub(super) fn peer_of_http_ended(&mut self, now: Instant, peer: PeerKey, closed: bool) {
        let Some(session) = self.peers.get(peer).map(|slot| slot.session) else { return };
        if self.resources.contains(session) {
            let reason =
                if closed { DisconnectReason::ClientInitiated } else { DisconnectReason::ConnectionTimeout };
            self.remove_session(now, session, reason);
        }
    }

    fn open_by_http(&mut self, now: Instant, spec: OpenSpec) -> Result<Opened, WhipRefusal> {
        // An offer that cannot be used must not cost the user's former stay.
        let mut probe = Peer::new(now, &self.config.peer, IceCredentials::generate(&mut self.rng));
        probe.handle_offer(&spec.offer)?;
        let add_tracks = match &spec.purpose {
            Purpose::Publish { screen } => tracks_of(probe.sections(), &spec.identity, *screen)?,
            Purpose::Watch(_) => {
                if !spec.identity.grants.may_subscribe() {
                    return Err(WhipRefusal::NotAllowed("subscribing"));
                }
                super::whep::check(probe.sections())?;
                Vec::new()
            }
        };
        let limits = &self.config.limits;
        let limit = limits.audio_tracks_per_terminal + limits.video_tracks_per_terminal;
        if add_tracks.len() > limit {
            return Err(WhipRefusal::Tracks { limit });
        }

        // Nobody reads what it is told: there is no socket.
        let (signals, _) = mpsc::channel(1);
        let published = add_tracks.len();
        let join = JoinSpec {
            identity: spec.identity,
            mode: Mode::Single,
            auto_subscribe: false,
            client: ClientInfo::default(),
            publisher_offer: None,
            add_tracks,
            metadata: String::new(),
            attributes: HashMap::new(),
        };
        let key = self.join(now, join, signals)?;
        let id: String =
            (0..ID_LEN).map(|_| char::from(self.rng.sample(rand::distr::Alphanumeric))).collect();
        let (door, viewer) = match spec.purpose {
            Purpose::Publish { .. } => (Door::Publish, None),
            Purpose::Watch(view) => (Door::Watch, Some(Viewer::new(view))),
        };
        self.resources.insert(key, Resource { id: id.clone(), door, viewer });
        let negotiated = self.negotiate_by_http(now, key, &spec.offer);
        let bound = self.sessions.get(key).is_some_and(|session| {
            let is_bound = |t| self.tracks.get(t).is_some_and(|track| track.mid.is_some());
            session.tracks.iter().copied().filter(|t| is_bound(*t)).count() == published
        });
        match negotiated {
            Ok((answer, etag)) if bound => {
                let user =
                    self.sessions.get(key).map(|session| session.user().to_string()).unwrap_or_default();
                let unix = Duration::from_millis(self.unix_ms(now));
                let ice_servers = super::turn::servers(&self.config.turn, &user, unix);
                Ok(Opened { id, answer, etag, ice_servers })
            }
            failed => {
                self.remove_session(now, key, DisconnectReason::JoinFailure);
                Err(failed.err().map_or(WhipRefusal::Tracks { limit }, WhipRefusal::Offer))
            }
        }
    }

    /// Takes the offer of a participant by HTTP; returns the answer and the name of the ICE session.
    fn negotiate_by_http(
        &mut self,
        now: Instant,
        key: SessionKey,
        offer: &str,
    ) -> Result<(String, String), SdpError> {
        let peer = self.sessions.get(key).map(|session| session.peers.publisher()).unwrap_or_default();
        if let Some(slot) = self.peers.get_mut(peer) {
            slot.peer.handle_offer(offer)?;
        }
        if self.resources.viewer(key).is_some() {
            self.open_seats(key, peer);
        } else {
            self.bind_tracks(now, key);
        }
        let Some(slot) = self.peers.get_mut(peer) else { return Err(SdpError::UnexpectedAnswer) };
        let answer = for_http(&slot.peer.create_answer());
        let etag = slot.peer.local_ufrag().to_owned();
        self.touch(peer);
        self.announce_tracks(now, key);
        self.to_negotiate.insert(key);
        Ok((answer, etag))
    }

    /// Takes the size of a layer from its picture: nobody announced it as other clients do, and who shows it small
    /// must be able to ask for a layer that fits.
    #[allow(deprecated)] // Older clients read layers there.
    pub(super) fn learn_size(&mut self, track_key: TrackKey, index: usize, rtp: &IncomingRtp) {
        let Some(track) = self.tracks.get_mut(track_key).filter(|track| self.resources.contains(track.owner))
        else {
            return;
        };
        let Some((width, height)) = picture_size::detect(rtp.codec, &rtp.payload) else { return };
        let info = &mut track.info;
        let before = (info.layers.clone(), info.width, info.height);
        match info.layers.iter_mut().find(|layer| layer.quality() == layers::quality_of_index(index)) {
            Some(layer) => {
                (layer.width, layer.height) = (width, height);
                let largest = info.layers.iter().map(|layer| (layer.width, layer.height));
                (info.width, info.height) = largest.max().unwrap_or_default();
            }
            None => (info.width, info.height) = (width, height),
        }
        if before != (info.layers.clone(), info.width, info.height) {
            let owner = track.owner;
            self.tell_changed(owner);
        }
    }

    fn session_of(&self, target: &Target) -> Result<SessionKey, WhipRefusal> {
        let key = *self.resources.by_id.get(&target.id).ok_or(WhipRefusal::Gone)?;
        let resource = self.resources.by_session.get(key).filter(|resource| resource.door == target.door);
        let (Some(_), Some(session)) = (resource, self.sessions.get(key)) else {
            return Err(WhipRefusal::Gone);
        };
        let asks = &target.identity;
        let own =
            *session.app() == asks.app && *session.channel() == asks.channel && *session.user() == asks.user;
        if own { Ok(key) } else { Err(WhipRefusal::Foreign) }
    }

    fn patch_by_http(
        &mut self,
        target: &Target,
        if_match: Option<&IfMatch>,
        fragment: &SdpFragment,
    ) -> Result<Patched, WhipRefusal> {
        let key = self.session_of(target)?;
        let peer = self.sessions.get(key).map(|session| session.peers.publisher()).unwrap_or_default();
        let slot = self.peers.get_mut(peer).ok_or(WhipRefusal::Gone)?;
        match if_match {
            None => return Err(WhipRefusal::ConditionMissing),
            Some(IfMatch::Tags(tags)) if !tags.iter().any(|tag| tag == slot.peer.local_ufrag()) => {
                return Err(WhipRefusal::ConditionFailed);
            }
            Some(_) => {}
        }
        let fresh = fragment.ufrag.as_deref().filter(|ufrag| slot.peer.remote_ufrag() != Some(ufrag));
        let Some(ufrag) = fresh else {
            for candidate in &fragment.candidates {
                // What is not understood is passed over without a word (RFC 9725 §4.3.2).
                slot.peer.add_remote_candidate(candidate);
            }
            return Ok(Patched::Trickled);
        };
        slot.peer.restart_ice(ufrag);
        let fragment = SdpFragment::text_of(&for_http(&slot.peer.create_answer()));
        let etag = slot.peer.local_ufrag().to_owned();
        self.touch(peer);
        Ok(Patched::Restarted { etag, fragment })
    }
}

/// What RFC 9725 wants in an answer beyond what all answers say: trickled candidates are welcome, and RTCP has
/// no port of its own (§4.4.1).
fn for_http(answer: &str) -> String {
    answer
        .replacen("a=ice-lite\r\n", "a=ice-lite\r\na=ice-options:trickle\r\n", 1)
        .replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
}

/// The tracks that an offer publishes: at most one sound and one picture (RFC 9725 §4.4.2), all of it or nothing
/// (§4.4.3).
#[allow(deprecated)] // The place where all clients say DTX.
fn tracks_of<'a>(
    sections: impl Iterator<Item = &'a Section>,
    identity: &Identity,
    screen: bool,
) -> Result<Vec<AddTrackRequest>, WhipRefusal> {
    let mut tracks: Vec<AddTrackRequest> = Vec::new();
    for section in sections {
        if !section.is_usable() {
            return Err(WhipRefusal::NoCodec(section.mid.to_string()));
        }
        let (kind, source, what) = match (section.kind, screen) {
            (MediaKind::Data, _) => continue,
            (MediaKind::Audio, false) => (TrackType::Audio, TrackSource::Microphone, "publishing sound"),
            (MediaKind::Audio, true) => {
                (TrackType::Audio, TrackSource::ScreenShareAudio, "publishing a screen's sound")
            }
            (MediaKind::Video, false) => (TrackType::Video, TrackSource::Camera, "publishing a camera"),
            (MediaKind::Video, true) => (TrackType::Video, TrackSource::ScreenShare, "publishing a screen"),
        };
        let Some(receiving) = &section.receiving else {
            let hint = "a publisher's sections are `sendonly`";
            return Err(WhipRefusal::Direction { mid: section.mid.to_string(), hint });
        };
        if tracks.iter().any(|track| track.r#type() == kind) {
            let what = if kind == TrackType::Audio { "sound" } else { "picture" };
            return Err(WhipRefusal::TooMany { what, limit: 1 });
        }
        if !may_publish(&identity.grants, source) {
            return Err(WhipRefusal::NotAllowed(what));
        }
        let rids = &receiving.rids;
        let mut layers: Vec<usize> = (0..rids.len()).map(|at| layers::index_of_rid(rids, at)).collect();
        layers.sort_unstable();
        layers.dedup();
        let layers = if layers.len() > 1 { layers.into_iter().map(layer).collect() } else { Vec::new() };
        tracks.push(AddTrackRequest {
            cid: receiving.track_id.clone().unwrap_or_else(|| section.mid.to_string()),
            r#type: kind.into(),
            source: source.into(),
            layers,
            disable_dtx: !receiving.dtx,
            ..Default::default()
        });
    }
    if tracks.is_empty() { Err(WhipRefusal::Nothing) } else { Ok(tracks) }
}

/// A simulcast layer of which nothing is known but its place.
fn layer(index: usize) -> VideoLayer {
    let quality: VideoQuality = layers::quality_of_index(index);
    VideoLayer { quality: quality.into(), ..Default::default() }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{OFFER, Service, identity};
    use super::*;
    use crate::sfu::command::Command;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    impl Service {
        fn whip(&mut self, command: WhipCommand) {
            self.sfu.handle_command(self.now, Command::Whip(command));
        }

        fn open(&mut self, user: &str, offer: &str, purpose: Purpose) -> Result<Opened, WhipRefusal> {
            self.open_in("room", user, offer, purpose)
        }

        pub(in crate::sfu) fn open_in(
            &mut self,
            channel: &str,
            user: &str,
            offer: &str,
            purpose: Purpose,
        ) -> Result<Opened, WhipRefusal> {
            let (reply, mut answer) = oneshot::channel();
            let spec =
                Box::new(OpenSpec { identity: identity(channel, user), offer: offer.to_owned(), purpose });
            self.whip(WhipCommand::Open { spec, reply });
            answer.try_recv().unwrap()
        }

        pub(in crate::sfu) fn close(&mut self, user: &str, door: Door, id: &str) -> Result<(), WhipRefusal> {
            let (reply, mut answer) = oneshot::channel();
            let target = Box::new(Target { door, id: id.to_owned(), identity: identity("room", user) });
            self.whip(WhipCommand::Close { target, reply });
            answer.try_recv().unwrap()
        }

        /// Participants, connections, tracks and addresses that are there.
        fn census(&self) -> [usize; 4] {
            [self.sfu.sessions.len(), self.sfu.peers.len(), self.sfu.tracks.len(), self.sfu.resources.len()]
        }
    }

    /// What Chromium offers, as a viewer.
    pub(in crate::sfu) fn viewer_offer() -> String {
        OFFER.replace("a=sendonly", "a=recvonly").replace("a=sendrecv", "a=recvonly")
    }

    /// What Chromium offers, its sections to publish only.
    pub(in crate::sfu) fn publisher_offer() -> String {
        OFFER[..OFFER.rfind("m=audio").unwrap()].to_owned()
    }

    pub(in crate::sfu) const PUBLISH: Purpose = Purpose::Publish { screen: false };

    fn watch() -> Purpose {
        Purpose::Watch(View::default())
    }

    #[test]
    fn the_layers_of_a_publisher_are_announced() {
        let mut service = Service::new();
        service.open("cam", &publisher_offer(), PUBLISH).unwrap();
        let tracks: Vec<_> = service.sfu.tracks.values().collect();
        let camera = tracks.iter().find(|track| track.is_video()).unwrap();
        assert!(camera.announced);
        assert_eq!(camera.sizes(), [Some((0, 0)); 3], "their sizes are seen later");
        assert_eq!(camera.info.source(), TrackSource::Camera);
    }

    #[test]
    fn nothing_is_left_of_who_leaves_is_replaced_or_does_not_wait() {
        let mut service = Service::new();
        let first = service.open("eye", &viewer_offer(), watch()).unwrap();
        assert_eq!(service.census(), [1, 1, 0, 1]);
        let second = service.open("eye", &viewer_offer(), watch()).unwrap();
        assert_eq!(service.census(), [1, 1, 0, 1]);
        assert!(matches!(service.close("eye", Door::Watch, &first.id), Err(WhipRefusal::Gone)));
        assert!(matches!(service.close("eye", Door::Publish, &second.id), Err(WhipRefusal::Gone)));
        assert!(matches!(service.close("other", Door::Watch, &second.id), Err(WhipRefusal::Foreign)));
        service.close("eye", Door::Watch, &second.id).unwrap();
        assert_eq!(service.census(), [0; 4]);
        let (reply, answer) = oneshot::channel();
        drop(answer);
        let spec = OpenSpec { identity: identity("room", "eye"), offer: viewer_offer(), purpose: watch() };
        service.whip(WhipCommand::Open { spec: Box::new(spec), reply });
        assert_eq!(service.census(), [0; 4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_offer_panics_and_whoever_is_not_let_in_leaves_nothing(
            cut in any::<prop::sample::Index>(),
            junk in "\\PC{0,12}",
            viewer: bool,
            publish: bool,
        ) {
            let mut service = Service::new();
            let offer = if viewer { viewer_offer() } else { publisher_offer() };
            let at = cut.index(offer.len());
            let offer = format!("{}{junk}{}", &offer[..at], &offer[at..]);
            let (door, purpose) = if publish { (Door::Publish, PUBLISH) } else { (Door::Watch, watch()) };
            if let Ok(opened) = service.open("eye", &offer, purpose) {
                prop_assert_eq!(service.census()[3], 1);
                service.close("eye", door, &opened.id).unwrap();
            }
            prop_assert_eq!(service.census(), [0; 4]);
        }
    }
}
