//! The way of a packet: from its publisher's connection to those of its subscribers, without waiting.

use std::time::Instant;

use bytes::Bytes;
use livekit_protocol::{StreamState, StreamStateInfo, StreamStateUpdate, signal_response::Message};

use crate::forward::key_frame::{self, KeyFrame};
use crate::forward::layers::{self, MAX_LAYERS};
use crate::forward::red;
use crate::forward::stream::{Aim, Outgoing, Packet, can_start};
use crate::forward::vp8::{Descriptor, Temporal};
use crate::transport::{
    CodecKey, IncomingRtp, MediaKind, OutgoingExtensions, OutgoingRtcp, OutgoingRtp, PayloadMapping,
};

use super::link::Queued;
use super::track::{DownTrack, Layer, Track};
use super::{Counters, PeerKey, PeerSlot, Sfu, TrackKey};
use slotmap::SlotMap;

/// Why a packet is sent again, and its number among those that are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Again {
    /// The subscriber misses it.
    Repair(u16),
    /// Something must be sent, to see whether the link carries it.
    Padding(u16),
}

impl Again {
    fn seq(self) -> u16 {
        let (Again::Repair(seq) | Again::Padding(seq)) = self;
        seq
    }
}

/// How a payload is sent to one subscriber.
pub(super) struct Way {
    pub(super) ssrc: u32,
    pub(super) pt: u8,
    pub(super) seq: u16,
    /// For a retransmission: the number that it repeats.
    pub(super) original_seq: Option<u16>,
}

impl Sfu {
    pub(super) fn forward(&mut self, now: Instant, peer: PeerKey, rtp: IncomingRtp) {
        let Some(slot) = self.peers.get(peer) else { return };
        let Some((_, track_key)) = slot.tracks.iter().find(|(mid, _)| *mid == rtp.mid) else { return };
        let track_key = *track_key;
        let rids =
            slot.peer.section(&rtp.mid).and_then(|s| s.receiving.as_ref()).map_or(&[][..], |r| &r.rids);
        let index = rtp.rid.map_or(0, |rid| {
            let position = rids.iter().position(|known| *known == rid).unwrap_or(0);
            layers::index_of_rid(rids, position)
        });
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some((number, epoch)) = receive(track, index, &rtp) else { return };
        if !track.is_video()
            && !track.info.muted
            && let Some(level) = rtp.audio_level
        {
            track.meter.heard(now, level.below_full_scale_db());
        }
        let start = look_for_start(track, index, number, &rtp);
        let packet = Packet {
            layer: index,
            epoch,
            number,
            timestamp: rtp.timestamp,
            arrival: rtp.arrival,
            codec: rtp.codec,
            start,
            leave_out: track.info.muted || rtp.payload.is_empty(),
            temporal: temporal(track, index, &rtp),
            payload: &rtp.payload,
        };
        let (temporal_layers, fps) = track.layers[index].as_mut().map_or((1, 0.0), |layer| {
            let thinned = layer.temporal_layers > 1;
            (layer.temporal_layers, layer.rate.rates(now).filter(|_| thinned).map_or(0.0, |(_, fps)| fps))
        });
        let active = track.active(now);
        let references = track.references();
        let mut wanted = [false; MAX_LAYERS];
        let mut newly_active = Vec::new();
        let (layer_epochs, is_video, muted) = (
            std::array::from_fn::<_, MAX_LAYERS, _>(|i| track.layers[i].as_ref().map(|layer| layer.epoch)),
            track.is_video(),
            track.info.muted,
        );
        for down in track.down.iter_mut().filter(|down| down.flows()) {
            let aim = down.aim(active, temporal_layers, fps);
            let target = aim.target;
            let out = down.stream.forward(&packet, &aim, &references);
            if is_video
                && !muted
                && let Some(target) = target
                && let Some(epoch) = layer_epochs[target]
                && down.stream.needs_key_frame(target, epoch)
                && down.asked != Some((target, epoch))
            {
                down.asked = Some((target, epoch));
                wanted[target] = true;
            }
            let Some(out) = out else { continue };
            if send(&mut self.peers, &mut self.scratch, &mut self.counters, now, down, &rtp, out, None) {
                if !std::mem::replace(&mut down.told_active, true) {
                    newly_active.push(down.session);
                }
                let slot = &mut self.peers[down.peer];
                if !std::mem::replace(&mut slot.touched, true) {
                    self.touched.push(down.peer);
                }
            }
        }
        for (layer, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            self.request_key_frame(now, track_key, layer);
        }
        if start && is_video {
            self.learn_size(track_key, index, &rtp);
        }
        for session in newly_active {
            self.tell_stream_state(session, track_key, StreamState::Active);
        }
    }

    pub(super) fn tell_stream_state(
        &mut self,
        session: super::SessionKey,
        track: TrackKey,
        state: StreamState,
    ) {
        let Some(track) = self.tracks.get(track) else { return };
        let Some(owner) = self.sessions.get(track.owner) else { return };
        let info = StreamStateInfo {
            participant_sid: owner.sid.clone(),
            track_sid: track.info.sid.clone(),
            state: state.into(),
        };
        self.send(session, Message::StreamStateUpdate(StreamStateUpdate { stream_states: vec![info] }));
    }

    /// Asks a publisher for a key frame of a layer: now (`true`), or as soon as it may be asked again.
    pub(super) fn request_key_frame(&mut self, now: Instant, track: TrackKey, layer: usize) -> bool {
        let Some(track) = self.tracks.get_mut(track) else { return false };
        let peer = track.peer;
        let Some(layer) = track.layers[layer].as_mut() else { return false };
        if !layer.key_requests.request(now) {
            return false;
        }
        let ssrc = layer.ssrc;
        self.send_pli(now, peer, ssrc);
        true
    }

    /// Starts subscribers that just missed a key frame with that one and what came since, so that they need
    /// not wait until its publisher may be asked again.
    pub(super) fn replay(&mut self, now: Instant, track: TrackKey, index: usize) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        let references = track.references();
        let Some(layer) = track.layers[index].as_ref() else { return };
        let Some(stored) = layer.since_key_frame(now) else { return };
        for down in track.down.iter_mut() {
            if !down.flows() || down.stream.layer().is_some() || down.highest() < index {
                continue;
            }
            for (place, stored) in stored.iter().enumerate() {
                let rtp = &stored.packet;
                let packet = Packet {
                    layer: index,
                    epoch: layer.epoch,
                    number: stored.number,
                    timestamp: rtp.timestamp,
                    arrival: rtp.arrival,
                    codec: rtp.codec,
                    start: place == 0,
                    leave_out: rtp.payload.is_empty(),
                    temporal: None,
                    payload: &rtp.payload,
                };
                let aim = Aim::layer(Some(index), down.highest());
                let Some(out) = down.stream.forward(&packet, &aim, &references) else {
                    continue;
                };
                send(&mut self.peers, &mut self.scratch, &mut self.counters, now, down, rtp, out, None);
            }
            down.told_active = true;
            if let Some(slot) = self.peers.get_mut(down.peer)
                && !std::mem::replace(&mut slot.touched, true)
            {
                self.touched.push(down.peer);
            }
        }
    }

    pub(super) fn send_pli(&mut self, now: Instant, peer: PeerKey, ssrc: u32) {
        if let Some(slot) = self.peers.get_mut(peer) {
            self.counters.key_frames_requested += 1;
            slot.peer.send_rtcp(now, &[OutgoingRtcp::Pli { ssrc }]);
            self.touch(peer);
        }
    }
}

/// Notes a packet in its layer. `None` when it was there already; else its number and the layer's stream.
fn receive(track: &mut Track, index: usize, rtp: &IncomingRtp) -> Option<(u64, u32)> {
    let bounds = track.bounds();
    let slot = &mut track.layers[index];
    let anew = slot.as_ref().is_none_or(|layer| layer.ssrc != rtp.ssrc);
    if anew {
        let epoch = slot.as_ref().map_or(0, |layer| layer.epoch + 1);
        *slot = Some(Layer::new(rtp.ssrc, epoch, bounds, rtp.arrival));
    }
    let layer = slot.as_mut()?;
    let received = match layer.receive(rtp) {
        Some(received) => received,
        None => {
            *layer = Layer::new(rtp.ssrc, layer.epoch + 1, bounds, rtp.arrival);
            layer.receive(rtp)?
        }
    };
    let (number, fresh) = received;
    fresh.then_some((number, layer.epoch))
}

/// Whether a decoder can start with a packet.
fn look_for_start(track: &mut Track, index: usize, number: u64, rtp: &IncomingRtp) -> bool {
    if !track.is_video() {
        return true;
    }
    let found = key_frame::detect(rtp.codec, &rtp.payload);
    let Some(layer) = track.layers[index].as_mut() else { return false };
    if found == KeyFrame::Start {
        layer.parameter_sets = true;
    }
    let start = can_start(found, layer.parameter_sets);
    if start {
        layer.key_requests.satisfied();
        // The packets of a picture may each look like its start: the first counts.
        let same = |(first, _): (u64, Instant)| {
            layer.history.get(first).is_some_and(|stored| stored.packet.timestamp == rtp.timestamp)
        };
        if !layer.key_frame.is_some_and(same) {
            layer.key_frame = Some((number, rtp.arrival));
        }
    }
    start
}

/// The temporal layer of a packet, where frames can be left out by it.
fn temporal(track: &mut Track, index: usize, rtp: &IncomingRtp) -> Option<Temporal> {
    if rtp.codec != CodecKey::Vp8 {
        return None;
    }
    let temporal = Descriptor::parse(&rtp.payload)?.temporal()?;
    let layer = track.layers[index].as_mut()?;
    layer.temporal_layers = layer.temporal_layers.max(temporal.layer + 1);
    Some(temporal)
}

/// Sends a packet to one subscriber, or lets it wait for its turn. `false` when it cannot be sent.
#[allow(clippy::too_many_arguments)] // The parts of the service that a packet needs, borrowed apart.
pub(super) fn send(
    peers: &mut SlotMap<PeerKey, PeerSlot>,
    scratch: &mut Vec<u8>,
    counters: &mut Counters,
    now: Instant,
    down: &mut DownTrack,
    rtp: &IncomingRtp,
    out: Outgoing,
    again: Option<Again>,
) -> bool {
    let (Some(mid), Some(slot)) = (down.mid, peers.get_mut(down.peer)) else { return false };
    let mut payload: &[u8] = if out.empty { &[] } else { &rtp.payload };
    let mut mapping = mapping_of(down, slot, rtp.codec);
    if mapping.is_none() && rtp.codec == CodecKey::Red {
        let Some(primary) = red::primary(payload) else { return false };
        payload = primary;
        mapping = mapping_of(down, slot, CodecKey::Opus);
    }
    let Some(mapping) = mapping else { return false };
    let way = match (again, mapping.rtx_pt) {
        (Some(again), Some(pt)) => {
            Way { ssrc: down.rtx_ssrc, pt, seq: again.seq(), original_seq: Some(out.seq) }
        }
        // Without a stream of its own, padding would be a duplicate.
        (Some(Again::Padding(_)), None) => return false,
        _ => Way { ssrc: down.ssrc, pt: mapping.pt, seq: out.seq, original_seq: None },
    };
    let marker = rtp.marker && !out.empty;
    // Sound never waits, and neither does repair, which has a budget of its own.
    let may_wait = again.is_none() && rtp.codec.kind() == MediaKind::Video;
    if may_wait && !slot.link.pacer.may_pass(payload.len(), now) {
        let queued = Queued {
            mid,
            ssrc: way.ssrc,
            pt: way.pt,
            seq: way.seq,
            timestamp: out.timestamp,
            marker,
            video_orientation: rtp.video_orientation,
            playout_delay: rtp.playout_delay,
            dependency_descriptor: rtp.dependency_descriptor.clone(),
            vp8: out.vp8,
            payload: if out.empty { Bytes::new() } else { rtp.payload.clone() },
        };
        slot.link.pacer.push(payload.len(), queued, now);
        counters.packets_forwarded += 1;
        return true;
    }
    let sent = slot.send(
        now,
        OutgoingRtp {
            mid,
            ssrc: way.ssrc,
            pt: way.pt,
            seq: way.seq,
            timestamp: out.timestamp,
            marker,
            extensions: OutgoingExtensions {
                audio_level: rtp.audio_level,
                video_orientation: rtp.video_orientation,
                playout_delay: rtp.playout_delay,
                dependency_descriptor: rtp.dependency_descriptor.as_deref(),
            },
            original_seq: way.original_seq,
            padding: 0,
            payload: out.vp8.applied(payload, scratch),
        },
    );
    match (sent, again) {
        (true, None) => counters.packets_forwarded += 1,
        (true, Some(Again::Repair(_))) => counters.packets_resent += 1,
        (true, Some(Again::Padding(_))) => counters.packets_padding += 1,
        (false, _) => {}
    }
    sent
}

/// Bytes of padding in an empty packet.
pub(super) const EMPTY_PADDING: u8 = 224;

/// Sends a packet of nothing but padding on the retransmission stream. `false` when there is none.
pub(super) fn send_empty(
    peers: &mut SlotMap<PeerKey, PeerSlot>,
    counters: &mut Counters,
    now: Instant,
    down: &mut DownTrack,
    codec: CodecKey,
) -> bool {
    let (Some(mid), Some(slot)) = (down.mid, peers.get_mut(down.peer)) else { return false };
    let Some(pt) = slot.peer.payload_type(&mid, codec).and_then(|mapping| mapping.rtx_pt) else {
        return false;
    };
    let sent = slot.send(
        now,
        OutgoingRtp {
            mid,
            ssrc: down.rtx_ssrc,
            pt,
            seq: down.next_rtx_seq(),
            timestamp: 0,
            marker: false,
            extensions: OutgoingExtensions::default(),
            original_seq: None,
            padding: EMPTY_PADDING,
            payload: &[],
        },
    );
    counters.packets_padding += u64::from(sent);
    sent
}

/// The payload types of a codec at a subscriber, remembered until it negotiates again.
fn mapping_of(down: &mut DownTrack, slot: &PeerSlot, codec: CodecKey) -> Option<PayloadMapping> {
    match down.mapping {
        Some((known, mapping)) if known == codec => mapping,
        _ => {
            let mapping = slot.peer.payload_type(&down.mid?, codec);
            down.mapping = Some((codec, mapping));
            mapping
        }
    }
}
