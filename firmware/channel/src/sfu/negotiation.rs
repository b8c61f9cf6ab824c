//! Offers and answers of both modes.

use std::collections::HashMap;
use std::time::Instant;

use livekit_protocol::{
    DisconnectReason, MediaSectionsRequirement, SessionDescription, leave_request, participant_info,
    signal_response::Message,
};

use crate::transport::MediaKind;

use super::command::Mode;
use super::{PeerKey, SessionKey, Sfu};

impl Sfu {
    /// The client offers: on its publisher connection, or on its only one.
    pub(super) fn client_offer(&mut self, now: Instant, key: SessionKey, offer: SessionDescription) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (peer, mode) = (session.peers.publisher(), session.peers.mode());
        session.sections_asked = false;
        session.late_offer = None;
        let Some(slot) = self.peers.get_mut(peer) else { return };
        if let Err(error) = slot.peer.handle_offer(&offer.sdp) {
            return self.negotiation_failed(now, key, &error);
        }
        self.bind_tracks(now, key);
        if mode == Mode::Single {
            self.assign_sections(key);
        }
        let Some(slot) = self.peers.get_mut(peer) else { return };
        let answer = slot.peer.create_answer();
        self.touch(peer);
        self.send(
            key,
            Message::Answer(SessionDescription {
                r#type: "answer".to_string(),
                sdp: answer,
                id: offer.id,
                mid_to_track_id: self.mid_to_track_id(peer),
            }),
        );
        self.announce_tracks(now, key);
        self.refresh_down_tracks(now, key);
        self.to_negotiate.insert(key);
    }

    /// The client answers our offer on its subscriber connection.
    pub(super) fn client_answer(&mut self, now: Instant, key: SessionKey, answer: SessionDescription) {
        let Some(session) = self.sessions.get(key) else { return };
        let peer = session.peers.subscriber();
        let Some(slot) = self.peers.get_mut(peer) else { return };
        if !slot.offer_pending || (answer.id != 0 && answer.id != slot.offer_id) {
            log::debug!("an answer to no offer of ours");
            return;
        }
        slot.offer_pending = false;
        if let Err(error) = slot.peer.handle_answer(&answer.sdp) {
            return self.negotiation_failed(now, key, &error);
        }
        self.touch(peer);
        self.refresh_down_tracks(now, key);
        self.to_negotiate.insert(key);
    }

    fn negotiation_failed(&mut self, now: Instant, key: SessionKey, error: &crate::transport::SdpError) {
        if let Some(session) = self.sessions.get(key) {
            log::warn!(channel:% = session.channel(), user:% = session.user(), error:%; "negotiation failed");
        }
        // A new connection starts from a clean state.
        self.send_leave(key, DisconnectReason::StateMismatch, leave_request::Action::Reconnect);
        self.remove_session(now, key, DisconnectReason::StateMismatch);
    }

    /// Tells the client what changed about what we send: by an offer of ours, or by asking for one.
    pub(super) fn negotiate(&mut self, now: Instant, key: SessionKey) {
        if self.resources.contains(key) {
            // It cannot be asked for another offer: it gets what fits into its first.
            return self.fill_seats(now, key);
        }
        let Some(session) = self.sessions.get(key) else { return };
        let peer = session.peers.subscriber();
        match session.peers.mode() {
            Mode::Dual => {
                let Some(slot) = self.peers.get_mut(peer) else { return };
                if slot.offer_pending || !slot.peer.negotiation_needed() {
                    return;
                }
                slot.offer_id += 1;
                slot.offer_pending = true;
                let (id, sdp) = (slot.offer_id, slot.peer.create_offer());
                self.touch(peer);
                self.send(
                    key,
                    Message::Offer(SessionDescription {
                        r#type: "offer".to_string(),
                        sdp,
                        id,
                        mid_to_track_id: self.mid_to_track_id(peer),
                    }),
                );
            }
            Mode::Single => {
                if session.sections_asked {
                    return;
                }
                let (audios, videos) = self.missing_sections(key);
                let removal = self.peers.get(peer).is_some_and(|slot| slot.peer.negotiation_needed());
                if audios + videos == 0 && !removal {
                    return;
                }
                if let Some(session) = self.sessions.get_mut(key) {
                    session.sections_asked = true;
                    session.send(Message::MediaSectionsRequirement(MediaSectionsRequirement {
                        num_audios: audios,
                        num_videos: videos,
                    }));
                }
            }
        }
    }

    /// How many more sections a client with one connection must offer for what it subscribes to. Free ones
    /// that it offered already serve with its next offer.
    fn missing_sections(&self, key: SessionKey) -> (u32, u32) {
        let (mut audios, mut videos) = (0, 0);
        for track in self.tracks.values() {
            if track.down.iter().any(|down| down.session == key && down.mid.is_none()) {
                match track.kind {
                    MediaKind::Audio => audios += 1,
                    _ => videos += 1,
                }
            }
        }
        (audios, videos)
    }

    /// Which section carries which of our tracks.
    fn mid_to_track_id(&self, peer: PeerKey) -> HashMap<String, String> {
        let Some(slot) = self.peers.get(peer) else { return HashMap::new() };
        slot.peer
            .sections()
            .filter_map(|section| {
                let sending = section.sending.as_ref()?;
                Some((section.mid.to_string(), sending.spec.track_id.clone()))
            })
            .collect()
    }

    /// A connection is up.
    pub(super) fn peer_connected(&mut self, now: Instant, peer: PeerKey) {
        let Some(slot) = self.peers.get_mut(peer) else { return };
        slot.connected = true;
        let key = slot.session;
        self.refresh_down_tracks(now, key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.state != participant_info::State::Active {
            session.state = participant_info::State::Active;
            self.tell_changed(key);
            // Not with the answer to its join: clients pass over what comes before they have taken that in.
            let heard = self.heard_by(key);
            self.tell_levels(key, &heard);
        }
    }
}
