//! What a viewer by WHEP gets. The sections of its only offer are its seats: each shows one track, and when that
//! ends another takes the seat, under the same SSRC and with numbers that go on, so that the viewer need not
//! negotiate again (there is no way to ask it to).

use std::collections::HashSet;
use std::time::Instant;

use livekit_protocol::{TrackSource, encryption};

use crate::forward::stream::DownStream;
use crate::transport::{MediaKind, Mid, Section, SenderSpec};

use super::whip::{View, WhipRefusal};
use super::{PeerKey, SessionKey, Sfu, TrackKey};

/// How many sections a viewer may offer.
const MAX_SEATS: usize = 32;

/// A viewer's wishes and seats.
pub(super) struct Viewer {
    view: View,
    seats: Vec<Seat>,
}

/// One section of a viewer's offer.
struct Seat {
    mid: Mid,
    kind: MediaKind,
    ssrc: u32,
    rtx_ssrc: u32,
    /// The track that it shows.
    track: Option<TrackKey>,
    /// Where the numbers of the stream and of its retransmissions go on with the next track.
    resting: Option<(DownStream, u16)>,
}

impl Viewer {
    pub(super) fn new(view: View) -> Self {
        Self { view, seats: Vec::new() }
    }
}

/// Whether a viewer's offer can be served at all.
pub(super) fn check<'a>(sections: impl Iterator<Item = &'a Section>) -> Result<(), WhipRefusal> {
    let mut seats = 0;
    for section in sections.filter(|section| section.kind != MediaKind::Data || !section.is_usable()) {
        if !section.is_usable() {
            return Err(WhipRefusal::NoCodec(section.mid.to_string()));
        }
        if !section.remote_receives() {
            let hint = "a viewer's sections are `recvonly`";
            return Err(WhipRefusal::Direction { mid: section.mid.to_string(), hint });
        }
        seats += 1;
    }
    match seats {
        0 => Err(WhipRefusal::Nothing),
        1..=MAX_SEATS => Ok(()),
        _ => Err(WhipRefusal::TooMany { what: "sound and picture", limit: MAX_SEATS }),
    }
}

impl View {
    /// Whether a source is wanted. `others` are the sources of the same kind.
    fn wants(&self, source: TrackSource) -> bool {
        let kind = |source| match source {
            TrackSource::Microphone | TrackSource::ScreenShareAudio => MediaKind::Audio,
            _ => MediaKind::Video,
        };
        let mut of_kind = self.sources.iter().filter(|wanted| kind(**wanted) == kind(source)).peekable();
        of_kind.peek().is_none() || of_kind.any(|wanted| *wanted == source)
    }
}

impl Sfu {
    /// Makes a seat of every section that the viewer offered; the next answer tells it what will come on which.
    pub(super) fn open_seats(&mut self, key: SessionKey, peer: PeerKey) {
        let Some(slot) = self.peers.get_mut(peer) else { return };
        slot.peer.receive_nothing();
        let sections: Vec<(Mid, MediaKind)> = slot
            .peer
            .sections()
            .filter(|section| section.kind != MediaKind::Data)
            .map(|section| (section.mid, section.kind))
            .collect();
        let mut seats = Vec::new();
        for (mid, kind) in sections {
            let (ssrc, rtx_ssrc) = (self.new_ssrc(peer), self.new_ssrc(peer));
            let of_kind = seats.iter().filter(|seat: &&Seat| seat.kind == kind).count();
            let name = if kind == MediaKind::Audio { "audio" } else { "video" };
            let spec = SenderSpec {
                kind,
                // One stream for all (RFC 9725 §4.4.2): players look for sound and picture in it.
                stream_id: "channel".to_owned(),
                track_id: format!("{name}-{of_kind}"),
                cname: "channel".to_owned(),
                ssrc,
                rtx_ssrc: (kind == MediaKind::Video).then_some(rtx_ssrc),
                codecs: Vec::new(),
                stereo: true,
            };
            // The sections are taken in their order, and so are the free ones of a kind.
            if self.peers.get_mut(peer).and_then(|slot| slot.peer.assign_sender(spec)) == Some(mid) {
                seats.push(Seat { mid, kind, ssrc, rtx_ssrc, track: None, resting: None });
            }
        }
        if let Some(viewer) = self.resources.viewer_mut(key) {
            viewer.seats = seats;
        }
        if let Some(session) = self.sessions.get_mut(key) {
            // From now on it hears of every track that comes.
            session.auto_subscribe = true;
        }
    }

    /// Gives free seats of a viewer to tracks that are there.
    pub(super) fn fill_seats(&mut self, now: Instant, key: SessionKey) {
        let Some(viewer) = self.resources.viewer(key) else { return };
        let mut free: Vec<usize> =
            (0..viewer.seats.len()).filter(|at| viewer.seats[*at].track.is_none()).collect();
        // Pictures first: the sound should be of those who are seen.
        free.sort_by_key(|at| viewer.seats[*at].kind == MediaKind::Audio);
        for at in free {
            if let Some(track) = self.track_for_seat(key, at) {
                self.take_seat(now, key, at, track);
            }
        }
        self.refresh_down_tracks(now, key);
    }

    /// The best track for a seat: one that the viewer wants, may have and can decode, and that it has not yet. A
    /// voice of somebody who is seen comes before others, what is not muted before what is, who came earlier
    /// before who came later.
    fn track_for_seat(&self, key: SessionKey, at: usize) -> Option<TrackKey> {
        let viewer = self.resources.viewer(key)?;
        let session = self.sessions.get(key)?;
        let seat = viewer.seats.get(at)?;
        let peer = &self.peers.get(session.peers.subscriber())?.peer;
        let taken: HashSet<TrackKey> = viewer.seats.iter().filter_map(|seat| seat.track).collect();
        let seen: HashSet<SessionKey> = taken
            .iter()
            .filter_map(|t| self.tracks.get(*t))
            .filter(|t| t.is_video())
            .map(|t| t.owner)
            .collect();
        let mut best: Option<((bool, bool), TrackKey)> = None;
        for other in self.seen_by(key) {
            let Some(owner) = self.sessions.get(other) else { continue };
            if viewer.view.user.as_ref().is_some_and(|user| user != owner.user()) {
                continue;
            }
            for track_key in &owner.tracks {
                let Some(track) = self.tracks.get(*track_key) else { continue };
                let fits = track.announced
                    && track.kind == seat.kind
                    && !taken.contains(track_key)
                    && viewer.view.wants(track.info.source())
                    // There is no way to give a viewer the key.
                    && track.info.encryption() == encryption::Type::None
                    && owner.lets_subscribe(&track.info.sid, session)
                    && track.codecs.iter().any(|codec| peer.payload_type(&seat.mid, *codec).is_some());
                let rank = (!track.is_video() && !seen.contains(&other), track.info.muted);
                if fits && best.is_none_or(|(known, _)| rank < known) {
                    best = Some((rank, *track_key));
                }
            }
        }
        best.map(|(_, track)| track)
    }

    fn take_seat(&mut self, now: Instant, key: SessionKey, at: usize, track_key: TrackKey) {
        self.subscribe_to(now, key, track_key);
        let Some(seat) = self.resources.viewer_mut(key).and_then(|viewer| viewer.seats.get_mut(at)) else {
            return;
        };
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let is_video = track.is_video();
        let Some(down) = track.down_of(key) else { return };
        (down.mid, down.ssrc, down.rtx_ssrc) = (Some(seat.mid), seat.ssrc, seat.rtx_ssrc);
        if let Some((stream, rtx_seq)) = seat.resting.take() {
            (down.stream, down.rtx_seq) = (stream, rtx_seq);
        }
        seat.track = Some(track_key);
        if let Some(slot) = self.peers.get_mut(down.peer) {
            slot.senders.push((seat.ssrc, track_key));
            if is_video {
                slot.senders.push((seat.rtx_ssrc, track_key));
            }
        }
    }

    /// Whether a participant may play what it gets of `owner` in sync with all else that it gets. A viewer has
    /// everything in one stream, though two publishers' clocks have nothing to do with each other: only whoever
    /// is seen first says the time.
    pub(super) fn plays_in_sync(&self, key: SessionKey, owner: SessionKey) -> bool {
        let Some(viewer) = self.resources.viewer(key) else { return true };
        let mut tracks = viewer.seats.iter().filter_map(|seat| self.tracks.get(seat.track?));
        let first = tracks.clone().find(|track| track.is_video()).or_else(|| tracks.next());
        first.is_none_or(|track| track.owner == owner)
    }

    /// A track leaves a viewer's seat; `false` when the participant is no viewer.
    pub(super) fn leave_seat(
        &mut self,
        key: SessionKey,
        track_key: TrackKey,
        mut stream: DownStream,
        rtx_seq: u16,
    ) -> bool {
        let Some(viewer) = self.resources.viewer_mut(key) else { return false };
        if let Some(seat) = viewer.seats.iter_mut().find(|seat| seat.track == Some(track_key)) {
            seat.track = None;
            stream.change_track();
            seat.resting = Some((stream, rtx_seq));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::Service;
    use super::super::whip::tests::{PUBLISH, publisher_offer, viewer_offer};
    use super::super::whip::{Door, Purpose};
    use super::*;
    use rostrum_rtc::names::{ChannelId, UserId};

    /// Who is seen and heard in the seats that are taken, with the SSRC of each.
    fn seated(service: &Service) -> Vec<(String, u32)> {
        let sfu = &service.sfu;
        let mut seated: Vec<(String, u32)> = sfu
            .tracks
            .values()
            .flat_map(|track| track.down.iter().map(|down| (track.owner, down)))
            .filter(|(_, down)| down.mid.is_some())
            .map(|(owner, down)| (sfu.sessions[owner].user().to_string(), down.ssrc))
            .collect();
        seated.sort();
        seated
    }

    /// A viewer with one seat for sound and one for picture.
    fn watch(service: &mut Service, channel: &str, view: View) {
        let offer = publisher_offer().replace("a=sendonly", "a=recvonly");
        assert!(viewer_offer().len() > offer.len(), "that has two of each");
        service.open_in(channel, "eye", &offer, Purpose::Watch(view)).unwrap();
    }

    fn publish(service: &mut Service, user: &str) -> String {
        service.open_in("room", user, &publisher_offer(), PUBLISH).unwrap().id
    }

    #[test]
    fn whoever_comes_first_has_the_seats_and_the_next_goes_on_under_the_same_ssrc() {
        let mut service = Service::new();
        watch(&mut service, "room", View::default());
        let ann = publish(&mut service, "ann");
        let before = seated(&service);
        assert!(before.len() == 2 && before.iter().all(|(user, _)| user == "ann"), "{before:?}");
        publish(&mut service, "bob");
        assert_eq!(seated(&service), before, "nobody jumps from one to the other");
        service.close("ann", Door::Publish, &ann).unwrap();
        let after = seated(&service);
        assert!(after.len() == 2 && after.iter().all(|(user, _)| user == "bob"), "{after:?}");
        let ssrcs = |seated: &[(String, u32)]| {
            let mut ssrcs: Vec<u32> = seated.iter().map(|(_, ssrc)| *ssrc).collect();
            ssrcs.sort_unstable();
            ssrcs
        };
        assert_eq!(ssrcs(&before), ssrcs(&after));
    }

    #[test]
    fn a_viewer_of_one_user_waits_for_that_one() {
        let mut service = Service::new();
        let user = Some(UserId::new("bob").unwrap());
        watch(&mut service, "room", View { user, sources: vec![TrackSource::Camera] });
        publish(&mut service, "ann");
        assert_eq!(seated(&service), []);
        let bob = publish(&mut service, "bob");
        assert_eq!(seated(&service).len(), 2);
        service.close("bob", Door::Publish, &bob).unwrap();
        assert_eq!(seated(&service), []);
    }

    #[test]
    fn who_is_shown_in_the_viewers_channel_is_watched_there() {
        let mut service = Service::new();
        watch(&mut service, "other", View::default());
        publish(&mut service, "ann");
        assert_eq!(seated(&service), []);
        let (now, sfu) = (service.now, &mut service.sfu);
        let ann = sfu.sessions.iter().find(|(_, s)| s.user().as_str() == "ann").map(|(key, _)| key).unwrap();
        sfu.forward_into(now, ann, ChannelId::new("other").unwrap(), false).unwrap();
        sfu.settle(now);
        assert_eq!(seated(&service).len(), 2);
    }

    #[test]
    fn a_source_restricts_its_own_kind_only() {
        let view = View { sources: vec![TrackSource::ScreenShare], ..View::default() };
        assert!(view.wants(TrackSource::ScreenShare) && !view.wants(TrackSource::Camera));
        assert!(view.wants(TrackSource::Microphone) && view.wants(TrackSource::ScreenShareAudio));
        assert!(View::default().wants(TrackSource::Camera));
    }
}
