//! What the service says, and descriptions of the connections.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use livekit_protocol::{
    self as proto, signal_request::Message as Request, signal_response::Message as Response,
};

use super::{MAX_SECTIONS, Outcome, Stay, metadata};
use crate::{
    Event, LeaveReason, RtcError, TrackKind,
    sdp::{self, Description, LocalSection, MediaKind, SectionKind},
    signal::Door,
};

impl Stay {
    pub(super) fn make_offer(&mut self) -> proto::SessionDescription {
        for section in &mut self.sections {
            if let Some(kind) = self.publish.section(&section.mid) {
                section.kind = kind;
            } else if let SectionKind::SendVideo { .. } = section.kind {
                section.kind = SectionKind::Stopped(MediaKind::Video);
            }
        }
        self.offer_id += 1;
        self.offered = true;
        self.offer_again = false;
        proto::SessionDescription {
            r#type: "offer".to_owned(),
            sdp: sdp::offer(&self.publisher.transport(), &self.sections),
            id: self.offer_id,
            ..Default::default()
        }
    }

    /// Describes what changed, now or after the answer to an earlier offer.
    pub(super) fn negotiate(&mut self) {
        if self.offered {
            self.offer_again = true;
        } else {
            let offer = self.make_offer();
            self.requests.push_back(Request::Offer(offer));
        }
    }

    /// A message of the service.
    pub(crate) fn handle_signal(&mut self, now: Instant, message: Response) {
        self.ping.heard = now;
        match message {
            Response::Join(join) => self.handle_join(now, join),
            Response::Answer(answer) => self.handle_answer(now, &answer),
            Response::Offer(offer) => self.handle_offer(now, &offer),
            Response::Trickle(trickle) => self.handle_trickle(now, &trickle),
            Response::Update(update) => self.people.update(update, &mut self.events),
            Response::TrackPublished(response) => {
                if let Some(mute) = self.publish.published(&response) {
                    self.requests.push_back(Request::Mute(mute));
                }
            }
            Response::Leave(leave) => self.handle_leave(&leave),
            Response::Mute(mute) => {
                if let Some(kind) = self.publish.muted_by_service(&mute) {
                    self.options.muted[usize::from(kind == TrackKind::Video)] = mute.muted;
                    self.events.push(Event::MutedByService { kind, muted: mute.muted });
                }
            }
            Response::SpeakersChanged(changed) => self.people.speakers(changed, &mut self.events),
            Response::ConnectionQuality(update) => self.people.qualities(update, &mut self.events),
            Response::SubscribedQualityUpdate(update) => {
                if let Some(wanted) = self.publish.watched(&update) {
                    self.events.push(Event::LayersWanted(wanted));
                }
            }
            Response::RefreshToken(token) => self.refreshed_token = Some(token),
            Response::PongResp(pong) => {
                self.ping.round_trip_ms =
                    (self.options.clock.wall_ms(now) - pong.last_ping_timestamp).clamp(0, 60_000);
            }
            Response::MediaSectionsRequirement(needed) => {
                self.add_sections(MediaKind::Audio, needed.num_audios);
                self.add_sections(MediaKind::Video, needed.num_videos);
                self.negotiate();
            }
            // Of no consequence for a terminal, or answers to what we never ask.
            _ => {}
        }
    }

    fn add_sections(&mut self, kind: MediaKind, count: u32) {
        for _ in 0..count {
            if self.sections.len() >= MAX_SECTIONS {
                return;
            }
            let mid = self.sections.len().to_string();
            self.sections.push(LocalSection { mid, kind: SectionKind::Receive(kind) });
        }
    }

    fn handle_join(&mut self, now: Instant, join: proto::JoinResponse) {
        if self.joined {
            return;
        }
        self.joined = true;
        if join.ping_interval > 0 {
            self.ping.interval = Duration::from_secs(join.ping_interval.clamp(1, 60).unsigned_abs().into());
        }
        if join.ping_timeout > 0 {
            self.ping.timeout = Duration::from_secs(join.ping_timeout.clamp(2, 120).unsigned_abs().into());
        }
        self.ping.next = Some(now + self.ping.interval);
        let me = join.participant.unwrap_or_default();
        let channel = join.room.map(|room| room.name).unwrap_or_default();
        let name_differs = !self.options.display_name.is_empty() && self.options.display_name != me.name;
        if name_differs {
            let name = self.options.display_name.clone();
            self.requests.push_back(metadata(name, HashMap::new()));
        }
        let (me, participants) = self.people.joined(&me, join.other_participants);
        self.events.push(Event::Joined { channel, me, participants });
        self.people.announce(&mut self.events);
        if self.options.door == Door::Two {
            for track in self.publish.announcements() {
                self.requests.push_back(Request::AddTrack(track));
            }
            self.negotiate();
        }
    }

    fn handle_answer(&mut self, now: Instant, answer: &proto::SessionDescription) {
        // An answer to an older offer says nothing about the newest; 0 is of services that do not count.
        if !self.offered || (answer.id != 0 && answer.id != self.offer_id) {
            return;
        }
        self.offered = false;
        let result = Description::parse(&answer.sdp).map_err(RtcError::from).and_then(|description| {
            self.publisher.set_remote(now, &description, true)?;
            self.publish.set_answer(&description, &mut self.random);
            if self.options.door == Door::One {
                self.receivers[0].set_sections(&description, &answer.mid_to_track_id);
            }
            Ok(())
        });
        if let Err(error) = result {
            self.end(Outcome::Lost { reason: error.to_string(), service: false });
        } else if self.offer_again {
            self.negotiate();
        }
    }

    fn handle_offer(&mut self, now: Instant, offer: &proto::SessionDescription) {
        let Some(peer) = &mut self.subscriber else { return };
        let result = Description::parse(&offer.sdp).map_err(RtcError::from).and_then(|description| {
            peer.set_remote(now, &description, false)?;
            self.receivers[1].set_sections(&description, &offer.mid_to_track_id);
            Ok(sdp::answer(&peer.transport(), &description))
        });
        match result {
            Ok(sdp) => self.requests.push_back(Request::Answer(proto::SessionDescription {
                r#type: "answer".to_owned(),
                sdp,
                id: offer.id,
                ..Default::default()
            })),
            Err(error) => self.end(Outcome::Lost { reason: error.to_string(), service: false }),
        }
    }

    fn handle_trickle(&mut self, now: Instant, trickle: &proto::TrickleRequest) {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&trickle.candidate_init) else { return };
        let Some(candidate) = json.get("candidate").and_then(|c| c.as_str()) else { return };
        let peer = match (trickle.target(), &mut self.subscriber) {
            (proto::SignalTarget::Subscriber, Some(subscriber)) => subscriber,
            _ => &mut self.publisher,
        };
        if !candidate.is_empty() {
            peer.add_remote_candidate(now, candidate);
        }
    }

    fn handle_leave(&mut self, leave: &proto::LeaveRequest) {
        use proto::{DisconnectReason as Reason, leave_request::Action};
        let again = leave.action() != Action::Disconnect || leave.can_reconnect;
        let left = match leave.reason() {
            Reason::DuplicateIdentity => Some(LeaveReason::DuplicateIdentity),
            Reason::ParticipantRemoved => Some(LeaveReason::Removed),
            Reason::RoomDeleted | Reason::RoomClosed if !again => Some(LeaveReason::ChannelClosed),
            _ => None,
        };
        self.end(match left {
            Some(reason) => Outcome::Left(reason),
            None => {
                let reason = match leave.reason() {
                    Reason::ServerShutdown => "the service is being restarted".to_owned(),
                    Reason::UnknownReason => "the service asked to join again".to_owned(),
                    other => format!("the service ended the stay ({})", other.as_str_name()),
                };
                Outcome::Lost { reason, service: true }
            }
        });
    }
}
