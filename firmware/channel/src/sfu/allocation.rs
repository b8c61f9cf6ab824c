//! Shares each subscriber's bandwidth among its pictures, see [`crate::forward::allocation`].

use std::time::Instant;

use livekit_protocol::{StreamState, TrackSource};

use crate::forward::allocation::{Seat, allocate};
use crate::forward::layers::{INDEX_SIZES, MAX_LAYERS};

use super::track::{DownTrack, Track};
use super::{SessionKey, Sfu, TrackKey};

/// Bits a second of layers that no client says anything about and that did not run long enough to be measured.
const UNKNOWN_BPS: [u64; MAX_LAYERS] = [150_000, 500_000, 1_700_000];

impl Sfu {
    /// Gives every picture of a subscriber its layer, by size and by what the link carries.
    pub(super) fn allocate(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let peer = session.peers.subscriber();
        let Some(slot) = self.peers.get(peer) else { return };
        let (mut keys, mut seats, mut audio_bps, mut spent) = (Vec::new(), Vec::new(), 0, 0);
        for (ssrc, track_key) in &slot.senders {
            let Some(track) = self.tracks.get_mut(*track_key) else { continue };
            let costs = costs(track, now);
            let Some(down) = track.down.iter().find(|down| down.ssrc == *ssrc && down.live) else { continue };
            if track.info.muted {
                continue;
            }
            if !track.is_video() {
                audio_bps += costs.iter().flatten().sum::<u64>();
            } else if !down.disabled {
                spent += down.stream.layer().and_then(|layer| costs[layer]).unwrap_or(0);
                seats.push(seat(track, down, costs));
                keys.push(*track_key);
            }
        }
        if seats.is_empty() {
            if let Some(slot) = self.peers.get_mut(peer) {
                slot.link.allocated(now, audio_bps, audio_bps);
            }
            return;
        }
        let budget = slot.link.video_budget_bps(now, audio_bps);
        let congested = spent + audio_bps > slot.link.estimator.estimate_bps(now);
        let (given, wanted_bps) = allocate(&seats, budget);
        let given_bps: u64 = seats.iter().zip(&given).filter_map(|(seat, layer)| seat.costs[(*layer)?]).sum();
        if let Some(slot) = self.peers.get_mut(peer) {
            slot.link.allocated(now, given_bps + audio_bps, wanted_bps + audio_bps);
        }
        for (track, layer) in keys.into_iter().zip(given) {
            self.give(now, key, track, layer, congested);
        }
    }

    /// Notes what one picture may have, and stops at once what is too much for a link that is congested.
    fn give(
        &mut self,
        now: Instant,
        key: SessionKey,
        track: TrackKey,
        layer: Option<usize>,
        congested: bool,
    ) {
        let Some(down) = self.tracks.get_mut(track).and_then(|track| track.down_of(key)) else { return };
        let before = std::mem::replace(&mut down.allowed, layer);
        if before == layer {
            return;
        }
        let falls = match (down.stream.layer(), layer) {
            (Some(has), Some(may)) => has > may,
            (has, None) => has.is_some(),
            (None, _) => false,
        };
        if layer.is_none() || (falls && congested) {
            down.stream.pause();
            down.asked = None;
        }
        if layer.is_none() && std::mem::replace(&mut down.told_active, false) {
            self.tell_stream_state(key, track, StreamState::Paused);
        }
        self.aim(now, track);
    }
}

/// Bits a second of each layer that is sent.
fn costs(track: &mut Track, now: Instant) -> [Option<u64>; MAX_LAYERS] {
    let active = track.active(now);
    let declared = track.declared_bps();
    let is_video = track.is_video();
    std::array::from_fn(|index| {
        let layer = track.layers[index].as_mut().filter(|_| active[index])?;
        let measured = layer.rate.rates(now).map(|(bps, _)| bps);
        let unknown = if is_video { UNKNOWN_BPS[index] } else { 40_000 };
        Some(measured.or(declared[index]).unwrap_or(unknown))
    })
}

fn seat(track: &Track, down: &DownTrack, costs: [Option<u64>; MAX_LAYERS]) -> Seat {
    let (width, height) = down.size.unwrap_or(INDEX_SIZES[down.wanted]);
    Seat {
        area: u64::from(width) * u64::from(height),
        screen: track.info.source() == TrackSource::ScreenShare,
        wanted: down.wanted,
        current: down.allowed.filter(|_| down.stream.layer().is_some()),
        costs,
    }
}
