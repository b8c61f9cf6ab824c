//! RTCP that needs a decision: key frames, repair, reports.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::forward::stream::{Resend, TimeReference};
use crate::transport::{OutgoingRtcp, Rtcp};

use super::forwarding::{self, Again};
use super::track::{DEFAULT_ROUND_TRIP, MIN_ROUND_TRIP};
use super::{PeerKey, Sfu, TrackKey};

/// Smaller packets fill no path.
const MIN_PADDING: usize = 200;
/// Bytes of headers that padding brings along.
const PADDING_OVERHEAD: usize = 40;

impl Sfu {
    pub(super) fn handle_feedback(&mut self, now: Instant, peer: PeerKey, rtcp: Rtcp) {
        match rtcp {
            Rtcp::Pli { ssrc } | Rtcp::Fir { ssrc } => self.key_frame_wanted(now, peer, ssrc),
            Rtcp::Nack { ssrc, seqs } => self.resend(now, peer, ssrc, &seqs),
            Rtcp::ReceiverReport { fraction_lost, round_trip, .. } => {
                let session = self.peers.get(peer).map(|slot| slot.session);
                if let Some(session) = session.and_then(|key| self.sessions.get_mut(key)) {
                    session.quality.lost(f32::from(fraction_lost) / 256.0);
                    if let Some(round_trip) = round_trip {
                        session.quality.round_trip(round_trip);
                    }
                }
            }
            Rtcp::SenderReport { ssrc, ntp_time, rtp_time } => {
                self.sender_report(now, peer, ssrc, TimeReference { ntp_time, rtp_time });
            }
            Rtcp::TransportFeedback(feedback) => {
                if let Some(slot) = self.peers.get_mut(peer) {
                    slot.link.reported(now, &feedback);
                    self.follow_link(now, peer);
                }
            }
            Rtcp::Remb { bitrate_bps, .. } => {
                if let Some(slot) = self.peers.get_mut(peer) {
                    slot.link.estimator.limited(bitrate_bps, now);
                    self.follow_link(now, peer);
                }
            }
            Rtcp::Bye { .. } => {}
        }
    }

    /// What a link carries changed: what is too much for it now is taken back at once, more is given with the next
    /// tick.
    fn follow_link(&mut self, now: Instant, peer: PeerKey) {
        let Some(slot) = self.peers.get(peer) else { return };
        if slot.link.is_overcommitted(now) {
            self.allocate(now, slot.session);
        }
    }

    /// Sends what waited for its turn, and the padding that a probe needs.
    pub(super) fn serve_link(&mut self, now: Instant, key: PeerKey) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        while let Some(queued) = slot.link.pacer.poll(now) {
            slot.send(now, queued.outgoing(&mut self.scratch));
        }
        let stale = slot.link.pacer.take_stale(now);
        let padding = slot.link.estimator.padding(now);
        let tracks: BTreeSet<TrackKey> =
            stale.iter().filter_map(|queued| self.track_of_sender(key, queued.ssrc)).collect();
        for track in tracks {
            // What was given up leaves a hole: only a key frame helps.
            if let Some(down) =
                self.tracks.get_mut(track).and_then(|t| t.down.iter_mut().find(|d| d.peer == key))
            {
                down.stream.pause();
                down.asked = None;
            }
            self.aim(now, track);
        }
        if padding > 0 {
            self.pad(now, key, padding);
        }
    }

    /// Fills a link up for a probe: with packets that were just sent, which are repair too, else with empty ones.
    fn pad(&mut self, now: Instant, key: PeerKey, bytes: usize) {
        let Some(slot) = self.peers.get(key) else { return };
        let senders = slot.senders.clone();
        let mut left = bytes;
        for (ssrc, track_key) in &senders {
            let Some(track) = self.tracks.get_mut(*track_key).filter(|track| track.is_video()) else {
                continue;
            };
            let Some(down) = track.down.iter_mut().find(|d| d.ssrc == *ssrc && d.flows()) else { continue };
            let newest: Vec<Resend> = down.stream.newest().collect();
            for resend in newest {
                let Some(layer) = track.layers[resend.layer].as_ref().filter(|l| l.epoch == resend.epoch)
                else {
                    continue;
                };
                let Some(stored) = layer.history.get(resend.number) else { continue };
                if left == 0 {
                    return;
                }
                if stored.packet.payload.len() < MIN_PADDING {
                    continue;
                }
                let again = Some(Again::Padding(down.next_rtx_seq()));
                let (peers, scratch, counters) = (&mut self.peers, &mut self.scratch, &mut self.counters);
                forwarding::send(peers, scratch, counters, now, down, &stored.packet, resend.out, again);
                left = left.saturating_sub(stored.packet.payload.len() + PADDING_OVERHEAD);
            }
        }
        for (ssrc, track_key) in &senders {
            let Some(track) = self.tracks.get_mut(*track_key).filter(|track| track.is_video()) else {
                continue;
            };
            let Some(codec) = track.codecs.first().copied() else { continue };
            let Some(down) = track.down.iter_mut().find(|d| d.ssrc == *ssrc && d.live) else { continue };
            let (peers, counters) = (&mut self.peers, &mut self.counters);
            while left > 0 && forwarding::send_empty(peers, counters, now, down, codec) {
                left = left.saturating_sub(usize::from(forwarding::EMPTY_PADDING) + PADDING_OVERHEAD);
            }
        }
    }

    fn track_of_sender(&self, peer: PeerKey, ssrc: u32) -> Option<TrackKey> {
        let senders = &self.peers.get(peer)?.senders;
        senders.iter().find(|(known, _)| *known == ssrc).map(|(_, track)| *track)
    }

    /// A subscriber cannot decode.
    fn key_frame_wanted(&mut self, now: Instant, peer: PeerKey, ssrc: u32) {
        let Some(track_key) = self.track_of_sender(peer, ssrc) else { return };
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some(down) = track.down.iter().find(|down| down.peer == peer) else { return };
        match down.stream.layer() {
            Some(layer) => {
                self.request_key_frame(now, track_key, layer);
            }
            None => self.aim(now, track_key),
        }
    }

    /// A subscriber misses packets.
    fn resend(&mut self, now: Instant, peer: PeerKey, ssrc: u32, seqs: &[u16]) {
        let Some(track_key) = self.track_of_sender(peer, ssrc) else { return };
        let round_trip = self.peers.get(peer).and_then(|slot| slot.peer.round_trip());
        let round_trip = round_trip.unwrap_or(DEFAULT_ROUND_TRIP).max(MIN_ROUND_TRIP);
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some(down) = track.down.iter_mut().find(|down| down.peer == peer && down.flows()) else { return };
        for seq in seqs {
            let Some(resend) = down.stream.resend(now, *seq, round_trip) else { continue };
            let Some(layer) = track.layers[resend.layer].as_ref().filter(|l| l.epoch == resend.epoch) else {
                continue;
            };
            let Some(stored) = layer.history.get(resend.number) else { continue };
            let Some(slot) = self.peers.get_mut(peer) else { return };
            if !slot.link.pacer.may_repair(stored.packet.payload.len(), now) {
                break;
            }
            let again = Some(Again::Repair(down.next_rtx_seq()));
            forwarding::send(
                &mut self.peers,
                &mut self.scratch,
                &mut self.counters,
                now,
                down,
                &stored.packet,
                resend.out,
                again,
            );
        }
        self.touch(peer);
    }

    /// A publisher says which wall clock time an RTP timestamp is: remembered for switches of layers, and
    /// passed on in the numbering of each subscriber, so that sound and picture stay in sync.
    fn sender_report(&mut self, now: Instant, peer: PeerKey, ssrc: u32, reference: TimeReference) {
        let Some(slot) = self.peers.get(peer) else { return };
        let of_ssrc = |track: &TrackKey| {
            let layers = &self.tracks.get(*track)?.layers;
            let index = layers.iter().position(|l| l.as_ref().is_some_and(|l| l.ssrc == ssrc))?;
            Some((*track, index))
        };
        let Some((track_key, index)) = slot.tracks.iter().find_map(|(_, track)| of_ssrc(track)) else {
            return;
        };
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some(layer) = track.layers[index].as_mut() else { return };
        layer.reference = Some(reference);
        let epoch = layer.epoch;
        let mut reports = Vec::new();
        for down in track.down.iter().filter(|down| down.live) {
            if let Some(rtp_time) = down.stream.map_timestamp(index, epoch, reference.rtp_time) {
                let report =
                    OutgoingRtcp::SenderReport { ssrc: down.ssrc, ntp_time: reference.ntp_time, rtp_time };
                reports.push((down.session, down.peer, report));
            }
        }
        let owner = track.owner;
        for (session, peer, report) in reports {
            if !self.plays_in_sync(session, owner) {
                continue;
            }
            if let Some(slot) = self.peers.get_mut(peer) {
                slot.peer.send_rtcp(now, &[report]);
                self.touch(peer);
            }
        }
    }
}
