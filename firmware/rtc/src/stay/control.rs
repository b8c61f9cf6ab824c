//! What the owner asks for.

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use livekit_protocol::{self as proto, signal_request::Message as Request};
use prost::Message as _;

use super::{LOSSY, MAX_SECTIONS, Outcome, RELIABLE, Stay, metadata};
use crate::{
    LeaveReason, TrackKind, VideoPlan,
    sdp::{LocalSection, MediaKind, SectionKind},
    terminal::Control,
};

/// Largest message to send.
const MAX_DATA: usize = 60_000;
/// Messages that wait for their channel to open.
const MAX_WAITING: usize = 64;

impl Stay {
    /// The owner asks for something.
    pub(crate) fn handle_control(&mut self, now: Instant, control: Control) {
        match control {
            Control::SetMuted { kind, muted } => {
                self.options.muted[usize::from(kind == TrackKind::Video)] = muted;
                let muted = muted || (kind == TrackKind::Video && self.video_off);
                self.mute(kind, muted);
            }
            Control::SetVideoPlan(plan) => self.set_video_plan(plan),
            Control::RequestKeyFrame(track) => {
                self.receivers.iter_mut().for_each(|r| r.request_key_frame(&track));
                self.handle_timeout(now);
            }
            Control::SetSeat(track, size) => {
                let (width, height) = size.unwrap_or_default();
                self.requests.push_back(Request::TrackSetting(proto::UpdateTrackSettings {
                    track_sids: vec![track.as_str().to_owned()],
                    disabled: size.is_none(),
                    quality: proto::VideoQuality::High as i32,
                    width,
                    height,
                    ..Default::default()
                }));
            }
            Control::SetName(name) => self.requests.push_back(metadata(name, HashMap::new())),
            Control::SetAttributes(attributes) => {
                self.requests.push_back(metadata(String::new(), attributes.into_iter().collect()));
            }
            Control::SendData { bytes, topic, reliable, to } => {
                self.send_data(now, &bytes, topic, reliable, to)
            }
            Control::Leave(_) => {
                self.requests.push_back(Request::Leave(proto::LeaveRequest {
                    reason: proto::DisconnectReason::ClientInitiated as i32,
                    action: proto::leave_request::Action::Disconnect as i32,
                    ..Default::default()
                }));
                self.publisher.close(now);
                if let Some(peer) = &mut self.subscriber {
                    peer.close(now);
                }
                self.end(Outcome::Left(LeaveReason::Asked));
            }
        }
    }

    fn mute(&mut self, kind: TrackKind, muted: bool) {
        if let Some(mute) = self.publish.set_muted(kind, muted) {
            self.requests.push_back(Request::Mute(mute));
        }
    }

    fn set_video_plan(&mut self, plan: Option<VideoPlan>) {
        let plan = plan.filter(|plan| !plan.layers.is_empty());
        self.options.video.clone_from(&plan);
        let Some(plan) = plan else {
            self.video_off = true;
            self.mute(TrackKind::Video, true);
            return;
        };
        if let Some(video) = self.publish.video().filter(|video| video.fits(&plan)) {
            video.replan(&plan);
            let (width, height) = video.size();
            if let Some(track_sid) = video.sid.clone() {
                let track = proto::UpdateLocalVideoTrack { track_sid, width, height };
                self.requests.push_back(Request::UpdateVideoTrack(track));
            }
        } else if self.sections.len() >= MAX_SECTIONS {
            let reason = "the camera's layers changed too often".to_owned();
            self.end(Outcome::Lost { reason, service: false });
        } else {
            // Layers cannot come and go within a section: another one takes over.
            let mid = self.sections.len().to_string();
            let kind = SectionKind::Stopped(MediaKind::Video);
            self.sections.push(LocalSection { mid: mid.clone(), kind });
            self.publish.add_video(&plan, &mid, &mut self.random);
            if let Some(track) = self.publish.video_announcement().filter(|_| self.joined) {
                self.requests.push_back(Request::AddTrack(track));
                self.negotiate();
            }
        }
        if std::mem::take(&mut self.video_off) {
            self.mute(TrackKind::Video, self.options.muted[1]);
        }
    }

    fn send_data(&mut self, now: Instant, bytes: &Bytes, topic: String, reliable: bool, to: Vec<String>) {
        if bytes.len() > MAX_DATA {
            log::warn!(bytes = bytes.len(); "a data message is too long and was dropped");
            return;
        }
        let kind =
            if reliable { proto::data_packet::Kind::Reliable } else { proto::data_packet::Kind::Lossy };
        #[allow(deprecated)]
        let packet = proto::DataPacket {
            kind: kind as i32,
            destination_identities: to.clone(),
            value: Some(proto::data_packet::Value::User(proto::UserPacket {
                payload: bytes.to_vec(),
                topic: (!topic.is_empty()).then_some(topic),
                destination_identities: to,
                ..Default::default()
            })),
            ..Default::default()
        };
        let bytes: Bytes = packet.encode_to_vec().into();
        if !self.publisher.send_data(now, if reliable { RELIABLE } else { LOSSY }, &bytes)
            && reliable
            && self.waiting.len() < MAX_WAITING
        {
            self.waiting.push_back(bytes);
        }
    }
}
