#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use rtc::rtcp::{
    payload_feedbacks::picture_loss_indication::PictureLossIndication,
    transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers},
};

use super::*;
use crate::{
    LayerPlan, Rid, TrackKind, TrackSid,
    rtp::Packet,
    sdp::{self, Description, ExtensionMap},
    terminal::Control,
};

const OURS: &str = "127.0.0.1:1001";
const SERVICE: &str = "127.0.0.1:1002";

fn plan(rids: &[Rid]) -> VideoPlan {
    let layer = |rid: &Rid| LayerPlan {
        rid: *rid,
        width: 320 << rid.index(),
        height: 180 << rid.index(),
        max_bitrate_bps: 300_000,
        frame_rate: 30,
    };
    VideoPlan { layers: rids.iter().map(layer).collect() }
}

/// A stay, and the service's end of its one media connection.
struct Scene {
    stay: Stay,
    peer: Peer,
    now: Instant,
    requests: Vec<Request>,
    events: Vec<Event>,
    /// Media and control packets at the service.
    rtp: Vec<Packet>,
    answers: u32,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let certificate = Arc::new(Certificate::generate().unwrap());
        let options = StayOptions {
            door: Door::One,
            certificate: certificate.clone(),
            clock: Clock::new(),
            publisher_addresses: vec![OURS.parse().unwrap()],
            subscriber_addresses: vec![],
            udid: "unit-1".to_owned(),
            display_name: "Room".to_owned(),
            video: Some(plan(&Rid::ALL)),
            audio: Some(AudioPlan { stereo: false }),
            muted: [false; 2],
            auto_subscribe: true,
            seed: 1,
        };
        let stay = Stay::new(now, options).unwrap();
        let peer = Peer::new(now, &[SERVICE.parse().unwrap()], certificate, 9).unwrap();
        Self { stay, peer, now, requests: vec![], events: vec![], rtp: vec![], answers: 0 }
    }

    /// Takes an offer as the service does.
    fn answer(&mut self, offer: &proto::SessionDescription) {
        let description = Description::parse(&offer.sdp).unwrap();
        self.peer.set_remote(self.now, &description, false).unwrap();
        let sdp = sdp::answer(&self.peer.transport(), &description);
        let answer = proto::SessionDescription { sdp, id: offer.id, ..Default::default() };
        self.answers += 1;
        self.stay.handle_signal(self.now, Response::Answer(answer));
    }

    /// Joins, and connects media.
    fn join() -> Self {
        let mut scene = Self::new();
        let hello = scene.stay.hello();
        assert_eq!(hello.attributes["udid"], "unit-1");
        assert_eq!(hello.tracks.len(), 2);
        let participant = |sid: &str, user: &str| proto::ParticipantInfo {
            sid: sid.to_owned(),
            identity: user.to_owned(),
            state: proto::participant_info::State::Active as i32,
            ..Default::default()
        };
        let join = proto::JoinResponse {
            room: Some(proto::Room { name: "hall".to_owned(), ..Default::default() }),
            participant: Some(participant("PA_me", "me")),
            other_participants: vec![participant("PA_1", "guest")],
            ping_interval: 5,
            ping_timeout: 15,
            ..Default::default()
        };
        scene.stay.handle_signal(scene.now, Response::Join(join));
        scene.answer(&hello.offer.unwrap());
        scene.run(200);
        assert!(scene.events.contains(&Event::MediaUp), "{:?}", scene.events);
        for (track, sid) in hello.tracks.into_iter().zip(["TR_audio", "TR_video"]) {
            let info = proto::TrackInfo { sid: sid.to_owned(), ..Default::default() };
            let response = proto::TrackPublishedResponse { cid: track.cid, track: Some(info) };
            scene.stay.handle_signal(scene.now, Response::TrackPublished(response));
        }
        scene
    }

    /// Lets `ms` milliseconds pass; offers are answered.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            while let Some((_, t)) = self.stay.poll_transmit() {
                self.peer.handle_datagram(self.now, t.to, t.from, t.bytes);
            }
            while let Some(t) = self.peer.poll_transmit() {
                self.stay.handle_datagram(self.now, Link::Publisher, t.to, t.from, t.bytes);
            }
            while let Some(event) = self.peer.poll_event() {
                if let PeerEvent::Rtp(packet) = event {
                    self.rtp.push(packet);
                }
            }
            self.events.extend(self.stay.take_events());
            while let Some(request) = self.stay.poll_request() {
                if let Request::Offer(offer) = &request {
                    self.answer(&offer.clone());
                }
                self.requests.push(request);
            }
            if self.now >= end {
                return;
            }
            self.now += Duration::from_millis(1);
            let mut turns = 0;
            while self.stay.poll_timeout(self.now) <= self.now && self.stay.outcome().is_none() {
                self.stay.handle_timeout(self.now);
                turns += 1;
                assert!(turns < 3, "a timer that is never done keeps a processor busy");
            }
            self.peer.handle_timeout(self.now);
        }
    }

    fn send(&mut self, rid: Rid, key_frame: bool) {
        let data: &[u8] =
            if key_frame { &[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 2] } else { &[0, 0, 0, 1, 0x41, 3] };
        let capture_time = self.stay.options.clock.since_start(self.now);
        let data = Bytes::copy_from_slice(data);
        self.stay.handle_media(self.now, Outgoing::Video { rid, data, capture_time, key_frame });
        self.run(5);
    }

    fn wanted(&mut self) -> Vec<Rid> {
        let rid = |e: &Event| if let Event::KeyFrameWanted { rid } = e { Some(*rid) } else { None };
        let out = self.events.iter().filter_map(rid).collect();
        self.events.clear();
        out
    }
}

#[test]
fn every_layer_begins_with_a_key_frame_and_says_its_name() {
    let mut scene = Scene::join();
    assert_eq!(scene.wanted(), [Rid::F, Rid::H, Rid::Q]);
    scene.send(Rid::H, false);
    assert!(scene.rtp.is_empty(), "nothing that cannot be decoded is sent");
    for rid in Rid::ALL {
        scene.send(rid, true);
    }
    let names: Vec<&[u8]> = scene.rtp.iter().map(|p| p.extension(10).unwrap()).collect();
    assert_eq!(names, [b"q", b"h", b"f"]);
    assert!(scene.rtp.iter().all(|p| p.marker && p.payload_type == 125));
}

#[test]
fn a_lost_packet_is_sent_again_and_a_lost_picture_renewed() {
    let mut scene = Scene::join();
    scene.send(Rid::Q, true);
    scene.wanted();
    let lost = scene.rtp[0].clone();
    let nack = TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: lost.ssrc,
        nacks: nack_pairs_from_sequence_numbers(&[lost.sequence]),
    };
    scene.peer.send_rtcp(&[Box::new(nack)]);
    scene.run(5);
    let repair = scene.rtp[1].clone();
    assert_eq!(repair.extension(11), Some(&b"q"[..]));
    let again = repair.unwrap_retransmission(lost.ssrc, lost.payload_type).unwrap();
    assert_eq!((again.sequence, again.payload), (lost.sequence, lost.payload));

    scene.peer.send_rtcp(&[Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: lost.ssrc })]);
    scene.run(300);
    assert!(scene.wanted().contains(&Rid::Q));
}

#[test]
fn a_muted_track_sends_nothing_and_the_service_hears_of_it() {
    let mut scene = Scene::join();
    for muted in [true, false] {
        scene.stay.handle_control(scene.now, Control::SetMuted { kind: TrackKind::Audio, muted });
        let capture_time = scene.stay.options.clock.since_start(scene.now);
        let opus = Bytes::from_static(b"sound");
        scene
            .stay
            .handle_media(scene.now, Outgoing::Audio { opus, capture_time, samples: 960, level_dbov: 30 });
        scene.run(5);
        assert_eq!(scene.rtp.len(), usize::from(!muted));
        let request = proto::MuteTrackRequest { sid: "TR_audio".to_owned(), muted };
        assert_eq!(scene.requests.last(), Some(&Request::Mute(request)));
    }
    assert_eq!(scene.rtp[0].extension(1), Some(&[0x80 | 30][..]));
}

#[test]
fn a_moderators_mute_is_told_once_and_kept_for_the_next_stay() {
    let mut scene = Scene::join();
    scene.events.clear();
    let request = proto::MuteTrackRequest { sid: "TR_audio".to_owned(), muted: true };
    for _ in 0..2 {
        scene.stay.handle_signal(scene.now, Response::Mute(request.clone()));
    }
    let told = Event::MutedByService { kind: TrackKind::Audio, muted: true };
    assert_eq!(scene.stay.take_events(), [told]);
    assert_eq!(scene.stay.keep().0, [true, false]);
}

#[test]
fn other_layers_are_published_anew_and_the_same_layers_are_not() {
    let mut scene = Scene::join();
    scene.requests.clear();
    scene.stay.handle_control(scene.now, Control::SetVideoPlan(Some(plan(&Rid::ALL))));
    scene.run(5);
    assert!(matches!(scene.requests[..], [Request::UpdateVideoTrack(_)]), "{:?}", scene.requests);
    scene.stay.handle_control(scene.now, Control::SetVideoPlan(Some(plan(&[Rid::Q, Rid::H]))));
    scene.run(5);
    let [.., Request::AddTrack(track), Request::Offer(offer)] = &scene.requests[..] else {
        panic!("no new track: {:?}", scene.requests)
    };
    assert_eq!(track.layers.len(), 2);
    assert!(offer.sdp.contains("a=simulcast:send h;q") && offer.sdp.contains("a=inactive"));
    scene.send(Rid::H, true);
    assert_eq!(scene.rtp.len(), 1);
    scene.send(Rid::F, true);
    assert_eq!(scene.rtp.len(), 1, "a layer that is not published");
}

#[test]
fn a_picture_taken_out_is_muted_and_comes_back() {
    let mut scene = Scene::join();
    for (plan, muted) in [(None, true), (Some(plan(&Rid::ALL)), false)] {
        scene.stay.handle_control(scene.now, Control::SetVideoPlan(plan));
        scene.run(5);
        let request = proto::MuteTrackRequest { sid: "TR_video".to_owned(), muted };
        assert_eq!(scene.requests.last(), Some(&Request::Mute(request)));
    }
}

#[test]
fn more_room_for_others_is_offered_when_the_service_asks() {
    let mut scene = Scene::join();
    let needed = proto::MediaSectionsRequirement { num_audios: 2, num_videos: 1 };
    for _ in 0..2 {
        // Twice before the answer to the first: the second offer comes after it.
        scene.stay.handle_signal(scene.now, Response::MediaSectionsRequirement(needed));
    }
    scene.run(5);
    let offers = scene.requests.iter().filter_map(|r| if let Request::Offer(o) = r { Some(o) } else { None });
    let sections = offers.map(|o| o.sdp.matches("a=recvonly").count()).collect::<Vec<_>>();
    assert_eq!(sections, [6 + 3, 6 + 6]);
    assert_eq!(scene.answers, 3);
}

#[test]
fn what_others_send_reaches_the_owner_whole() {
    let mut scene = Scene::join();
    // The service puts a track into the first section for video of others.
    let text = sdp::offer(
        &scene.peer.transport(),
        &[LocalSection {
            mid: "6".to_owned(),
            kind: SectionKind::SendVideo { track: "TR_9".to_owned(), layers: vec![(Rid::F, 77, 78)] },
        }],
    );
    let description = Description::parse(&text.replace("actpass", "active")).unwrap();
    let ids = ExtensionMap::new(&description.sections[0]).0;
    scene.stay.receivers[0].set_sections(&description, &HashMap::new());
    let config = crate::send::stream::StreamConfig {
        ssrc: 77,
        payload_type: 125,
        repair: Some((78, 107)),
        clock_rate: 90_000,
        mid: Bytes::from_static(b"6"),
        rid: "",
        extensions: ids,
    };
    let mut stream = crate::send::stream::Stream::new(config, [1, 2, 3]);
    let access_unit = Bytes::from_static(&[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 9, 9, 9]);
    let mut counter = 0;
    let payloads = crate::send::h264::packetise(&access_unit, 16);
    let last = payloads.len() - 1;
    for (i, payload) in payloads.into_iter().enumerate() {
        let content = crate::send::stream::Content {
            payload,
            timestamp: 4,
            capture_time: Duration::ZERO,
            marker: i == last,
            audio_level: None,
        };
        let ready = stream.packet(content, &mut counter, scene.now);
        scene.peer.send_rtp(&ready.packet);
    }
    scene.run(5);
    let media = scene.stay.poll_media();
    let Some(Media::Video { track, data, key_frame: true, .. }) = media else { panic!("{media:?}") };
    assert_eq!((track, data), (TrackSid::new("TR_9"), access_unit));
}

#[test]
fn data_reaches_the_service_and_its_users() {
    let mut scene = Scene::join();
    let control = Control::SendData {
        bytes: Bytes::from_static(b"hi"),
        topic: "chat".to_owned(),
        reliable: true,
        to: vec!["guest".to_owned()],
    };
    scene.stay.handle_control(scene.now, control);
    scene.run(100);
    let packet = proto::DataPacket {
        participant_identity: "guest".to_owned(),
        value: Some(proto::data_packet::Value::User(proto::UserPacket {
            payload: b"hello".to_vec(),
            topic: Some("chat".to_owned()),
            ..Default::default()
        })),
        ..Default::default()
    };
    let bytes = packet.encode_to_vec().into();
    assert!(scene.peer.send_data(scene.now, RELIABLE, &bytes), "our channel is open at the service");
    scene.run(50);
    let data = Event::Data {
        user: "guest".to_owned(),
        topic: "chat".to_owned(),
        bytes: Bytes::from_static(b"hello"),
    };
    assert!(scene.events.contains(&data), "{:?}", scene.events);
}

#[test]
fn the_end_is_told_with_its_reason() {
    use proto::{DisconnectReason as Reason, leave_request::Action};
    let end = |reason: Reason, action: Action| {
        let mut scene = Scene::new();
        let leave =
            proto::LeaveRequest { reason: reason as i32, action: action as i32, ..Default::default() };
        scene.stay.handle_signal(scene.now, Response::Leave(leave));
        scene.stay.outcome().cloned().unwrap()
    };
    let left = |reason| Outcome::Left(reason);
    assert_eq!(end(Reason::DuplicateIdentity, Action::Disconnect), left(LeaveReason::DuplicateIdentity));
    assert_eq!(end(Reason::ParticipantRemoved, Action::Disconnect), left(LeaveReason::Removed));
    assert_eq!(end(Reason::RoomDeleted, Action::Disconnect), left(LeaveReason::ChannelClosed));
    assert!(matches!(end(Reason::ServerShutdown, Action::Reconnect), Outcome::Lost { service: true, .. }));
    assert!(matches!(end(Reason::StateMismatch, Action::Disconnect), Outcome::Lost { .. }));
}

#[test]
fn a_stay_without_media_rests_and_ends_after_twelve_seconds() {
    let mut scene = Scene::new();
    scene.stay.hello();
    scene.run(11_900);
    assert_eq!(scene.stay.outcome(), None);
    scene.run(200);
    assert!(matches!(scene.stay.outcome(), Some(Outcome::Lost { service: false, .. })));
}

#[test]
fn a_service_that_says_nothing_is_left_after_its_own_timeout() {
    let mut scene = Scene::join();
    let heard = scene.now;
    while scene.stay.outcome().is_none() && scene.now < heard + Duration::from_secs(60) {
        scene.run(100);
    }
    assert!(matches!(scene.stay.outcome(), Some(Outcome::Lost { .. })));
    assert!(scene.now - heard >= Duration::from_secs(15) && scene.now - heard < Duration::from_secs(25));
    assert!(scene.requests.iter().filter(|r| matches!(r, Request::PingReq(_))).count() >= 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_message_of_the_service_breaks_a_stay(
        messages in prop::collection::vec((1u8..=31, prop::collection::vec(any::<u8>(), 0..60)), 1..40),
    ) {
        let mut scene = Scene::new();
        for (tag, body) in messages {
            // A field of that number, with whatever is in it.
            let mut bytes = Vec::new();
            prost::encoding::encode_key(u32::from(tag), prost::encoding::WireType::LengthDelimited, &mut bytes);
            prost::encoding::encode_varint(body.len() as u64, &mut bytes);
            bytes.extend(body);
            if let Ok(proto::SignalResponse { message: Some(message) }) = proto::SignalResponse::decode(&bytes[..]) {
                scene.stay.handle_signal(scene.now, message);
                scene.stay.handle_timeout(scene.now);
            }
        }
        prop_assert!(scene.stay.sections.len() <= MAX_SECTIONS);
    }
}
