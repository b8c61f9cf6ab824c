//! Against real peer connections of the `webrtc` crate, which terminals are built from, over loopback UDP.

use super::network::{config, spec};
use crate::transport::{
    Candidate, CodecKey, DataKind, Demux, IceCredentials, IncomingRtp, MediaKind, OutgoingExtensions,
    OutgoingRtp, Peer, PeerConfig, PeerEvent, RemoteAddress, SenderSpec,
};
use bytes::{Bytes, BytesMut};
use rtc::{
    interceptor::Registry,
    media_stream::MediaStreamTrack,
    peer_connection::configuration::{
        RTCConfigurationBuilder, interceptor_registry::register_default_interceptors,
        media_engine::MediaEngine,
    },
    rtp::{header::Header, packet::Packet},
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability,
        RtpCodecKind,
    },
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, sync::mpsc};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    media_stream::{
        track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP},
        track_remote::{TrackRemote, TrackRemoteEvent},
    },
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    },
    runtime::default_runtime,
};

const LIMIT: Duration = Duration::from_secs(30);
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const LAYERS: [(&str, u32); 3] = [("f", 901), ("h", 902), ("q", 903)];

/// What the other implementation saw.
#[derive(Debug)]
enum Seen {
    Gathered,
    Rtp(Packet),
    Channel(String),
    Message(Bytes),
}

struct Handler(mpsc::UnboundedSender<Seen>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(Seen::Gathered);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        tokio::spawn(watch_channel(channel, self.0.clone()));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let seen = self.0.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let _ = seen.send(Seen::Rtp(packet));
                }
            }
        });
    }
}

/// Says hello on the channel and tells what comes.
async fn watch_channel(channel: Arc<dyn DataChannel>, seen: mpsc::UnboundedSender<Seen>) {
    let label = channel.label().await.unwrap();
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => {
                let _ = seen.send(Seen::Channel(label.clone()));
                channel.send(BytesMut::from(&b"hello"[..])).await.unwrap();
            }
            DataChannelEvent::OnMessage(message) => drop(seen.send(Seen::Message(message.data.freeze()))),
            _ => {}
        }
    }
}

struct Client {
    connection: Arc<dyn PeerConnection>,
    seen: mpsc::UnboundedReceiver<Seen>,
    handler: Arc<Handler>,
}

async fn client() -> Client {
    let (tx, seen) = mpsc::unbounded_channel();
    let handler = Arc::new(Handler(tx));
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().unwrap();
    for uri in [MID, RID, REPAIRED_RID] {
        let capability = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
        engine.register_header_extension(capability, RtpCodecKind::Video, None).unwrap();
    }
    let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_handler(handler.clone())
        .with_runtime(default_runtime().unwrap())
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await
        .unwrap();
    Client { connection: Arc::new(connection), seen, handler }
}

impl Client {
    /// Applies a description of this end, and returns it with its candidates.
    async fn local(&mut self, description: rtc::peer_connection::sdp::RTCSessionDescription) -> String {
        self.connection.set_local_description(description).await.unwrap();
        let gathered = async { while !matches!(self.seen.recv().await, Some(Seen::Gathered) | None) {} };
        tokio::time::timeout(LIMIT, gathered).await.unwrap();
        self.connection.local_description().await.unwrap().sdp
    }
}

/// Our end with its socket.
struct Service {
    socket: UdpSocket,
    peer: Peer,
    demux: Demux<()>,
    events: Vec<PeerEvent>,
}

impl Service {
    async fn new() -> Service {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config =
            PeerConfig::new(config().certificate, vec![Candidate::Udp(socket.local_addr().unwrap())]);
        let credentials = IceCredentials::generate(&mut rand::rng());
        let mut demux = Demux::default();
        demux.register(&credentials, ());
        Service { socket, peer: Peer::new(Instant::now(), &config, credentials), demux, events: Vec::new() }
    }

    /// Runs the loop that the service's media thread runs until `done`.
    async fn run_until(&mut self, mut done: impl FnMut(&mut Service) -> bool) {
        let deadline = Instant::now() + LIMIT;
        let mut buffer = vec![0; 2048];
        while !done(self) {
            assert!(Instant::now() < deadline, "nothing came of it: {:?}", self.events.last());
            while let Some((to, datagram)) = self.peer.poll_transmit() {
                self.socket.send_to(&datagram, to.address).await.unwrap();
            }
            let tick = Instant::now() + Duration::from_millis(10);
            let wake = self.peer.poll_timeout().map_or(tick, |at| at.min(tick));
            if let Ok(received) =
                tokio::time::timeout_at(wake.into(), self.socket.recv_from(&mut buffer)).await
            {
                let (len, from) = received.unwrap();
                let from = RemoteAddress::udp(from);
                if self.demux.route(from, &buffer[..len]).is_some() {
                    self.peer.handle_datagram(
                        Instant::now(),
                        Instant::now(),
                        from,
                        BytesMut::from(&buffer[..len]),
                    );
                }
            }
            if self.peer.poll_timeout().is_some_and(|at| at <= Instant::now()) {
                self.peer.handle_timeout(Instant::now());
            }
            while let Some(event) = self.peer.poll_event() {
                if let PeerEvent::AddressValidated(address) = event {
                    self.demux.bind(address, ());
                }
                self.events.push(event);
            }
        }
    }

    fn rtp(&self) -> impl Iterator<Item = &IncomingRtp> {
        self.events.iter().filter_map(|event| match event {
            PeerEvent::Rtp(rtp) => Some(rtp),
            _ => None,
        })
    }
}

fn codec(mime_type: &str, clock_rate: u32, channels: u16) -> RTCRtpCodec {
    RTCRtpCodec { mime_type: mime_type.into(), clock_rate, channels, ..RTCRtpCodec::default() }
}

fn track(
    name: &str,
    kind: RtpCodecKind,
    codec: &RTCRtpCodec,
    encodings: &[(&str, u32)],
) -> TrackLocalStaticRTP {
    let encodings = encodings.iter().map(|(rid, ssrc)| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            rid: (*rid).into(),
            ssrc: Some(*ssrc),
            ..RTCRtpCodingParameters::default()
        },
        codec: codec.clone(),
        ..RTCRtpEncodingParameters::default()
    });
    TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "stream".into(),
        name.into(),
        name.into(),
        kind,
        encodings.collect(),
    ))
}

/// What an SDP says after some words, on the line of a section that begins with `m`.
fn said<'a>(sdp: &'a str, m: &str, before: &str, after: &str) -> &'a str {
    let section = sdp.split("m=").find(|section| section.starts_with(m)).unwrap();
    let mut lines = section.lines().filter_map(|l| l.strip_prefix(before)?.strip_suffix(after));
    lines.next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_publishes_layers_sound_and_data() {
    let mut client = client().await;
    let video = Arc::new(track("cam", RtpCodecKind::Video, &codec("video/VP8", 90_000, 0), &LAYERS));
    let audio = Arc::new(track("mic", RtpCodecKind::Audio, &codec("audio/opus", 48_000, 2), &[("", 800)]));
    client.connection.add_track(video.clone() as Arc<dyn TrackLocal>).await.unwrap();
    client.connection.add_track(audio.clone() as Arc<dyn TrackLocal>).await.unwrap();
    let channel = client.connection.create_data_channel("_reliable", None).await.unwrap();
    tokio::spawn(watch_channel(channel, client.handler.0.clone()));
    let offer = client.connection.create_offer(None).await.unwrap();
    let offer = client.local(offer).await;

    let mut service = Service::new().await;
    service.peer.handle_offer(&offer).unwrap();
    let answer = service.peer.create_answer();
    let camera = service.peer.sections().find(|s| s.kind == MediaKind::Video).unwrap();
    let mid = camera.mid;
    assert_eq!(camera.receiving.as_ref().unwrap().track_id.as_deref(), Some("cam"));
    assert_eq!(camera.receiving.as_ref().unwrap().rids.len(), 3);
    let vp8 = service.peer.payload_type(&mid, CodecKey::Vp8).unwrap().pt;
    let sound_mid = service.peer.sections().find(|s| s.kind == MediaKind::Audio).unwrap().mid;
    let opus = service.peer.payload_type(&sound_mid, CodecKey::Opus).unwrap().pt;
    let answer = rtc::peer_connection::sdp::RTCSessionDescription::answer(answer).unwrap();
    client.connection.set_remote_description(answer).await.unwrap();
    service.run_until(|s| s.peer.is_connected()).await;

    let ids =
        [MID, RID].map(|uri| said(&offer, "video", "a=extmap:", &format!(" {uri}")).parse::<u8>().unwrap());
    let mid_text = mid.to_string();
    let sending = tokio::spawn(async move {
        for seq in 0..u16::MAX {
            for (rid, ssrc) in LAYERS {
                let mut header = Header {
                    version: 2,
                    payload_type: vp8,
                    sequence_number: seq,
                    timestamp: u32::from(seq) * 3000,
                    ssrc,
                    marker: true,
                    ..Header::default()
                };
                header.set_extension(ids[0], Bytes::copy_from_slice(mid_text.as_bytes())).unwrap();
                header.set_extension(ids[1], Bytes::from_static(rid.as_bytes())).unwrap();
                let _ =
                    video.write_rtp(Packet { header, payload: Bytes::from_static(&[0x10, 1, 2, 3]) }).await;
            }
            let header = Header {
                version: 2,
                payload_type: opus,
                sequence_number: seq,
                timestamp: u32::from(seq) * 960,
                ssrc: 800,
                ..Header::default()
            };
            let _ = audio.write_rtp(Packet { header, payload: Bytes::from_static(&[7; 40]) }).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut echoed = false;
    service
        .run_until(|s| {
            let data =
                s.events.iter().any(|e| matches!(e, PeerEvent::Data { bytes, .. } if &bytes[..] == b"hello"));
            if data && !echoed {
                s.peer.send_data(Instant::now(), DataKind::Reliable, b"welcome").unwrap();
                echoed = true;
            }
            let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
            for packet in s.rtp() {
                *counts.entry(packet.rid.as_ref().map(|r| r.as_str())).or_default() += 1;
            }
            data && counts.len() == 4 && counts.values().all(|count| *count >= 30)
        })
        .await;
    sending.abort();
    for packet in service.rtp() {
        let expected = LAYERS.iter().find(|(_, ssrc)| *ssrc == packet.ssrc).map(|(rid, _)| *rid);
        assert_eq!(packet.rid.as_ref().map(|r| r.as_str()), expected);
        assert_eq!(packet.mid, if expected.is_some() { mid } else { sound_mid });
    }
    let mut seen = client.seen;
    service
        .run_until(|_| {
            std::iter::from_fn(|| seen.try_recv().ok())
                .any(|s| matches!(s, Seen::Message(m) if &m[..] == b"welcome"))
        })
        .await;
    client.connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_receives_what_we_offer() {
    let mut service = Service::new().await;
    service.peer.enable_data_channels();
    let video = SenderSpec { codecs: vec![CodecKey::Vp8], ..spec(MediaKind::Video, "camera", 5000) };
    let mid = service.peer.add_sender(video).unwrap();
    let offer = service.peer.create_offer();
    let mut client = client().await;
    let offer = rtc::peer_connection::sdp::RTCSessionDescription::offer(offer).unwrap();
    client.connection.set_remote_description(offer).await.unwrap();
    let answer = client.connection.create_answer(None).await.unwrap();
    let answer = client.local(answer).await;
    service.peer.handle_answer(&answer).unwrap();
    service.run_until(|s| s.peer.is_connected()).await;

    let pt = service.peer.payload_type(&mid, CodecKey::Vp8).unwrap().pt;
    let mut seq = 0_u16;
    let (mut packets, mut channels, mut messages) = (0, Vec::new(), 0);
    service
        .run_until(|s| {
            s.peer.send_rtp(
                Instant::now(),
                OutgoingRtp {
                    mid,
                    ssrc: 5000,
                    pt,
                    seq,
                    timestamp: u32::from(seq) * 3000,
                    marker: true,
                    extensions: OutgoingExtensions::default(),
                    original_seq: None,
                    padding: 0,
                    payload: &[0x10, 1, 2, 3],
                },
            );
            seq = seq.wrapping_add(1);
            while let Ok(seen) = client.seen.try_recv() {
                match seen {
                    Seen::Rtp(packet) => {
                        assert_eq!((packet.header.ssrc, &packet.payload[..]), (5000, &[0x10, 1, 2, 3][..]));
                        packets += 1;
                    }
                    Seen::Channel(label) => {
                        let kind = DataKind::from_label(&label).unwrap();
                        channels.push(label);
                        s.peer.send_data(Instant::now(), kind, b"welcome").unwrap();
                    }
                    Seen::Message(_) => messages += 1,
                    Seen::Gathered => {}
                }
            }
            packets >= 50 && channels.len() == 3 && messages == 3
        })
        .await;
    let hellos = service.events.iter().filter(|e| matches!(e, PeerEvent::Data { .. })).count();
    assert!(hellos >= 1);
    client.connection.close().await.unwrap();
}
