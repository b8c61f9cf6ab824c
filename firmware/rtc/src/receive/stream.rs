//! One received SSRC: numbering, holes, frames.

use std::time::{Duration, Instant};

use rtc::rtcp::{
    Packet as ControlPacket,
    payload_feedbacks::picture_loss_indication::PictureLossIndication,
    reception_report::ReceptionReport,
    transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers},
};

use super::{
    assemble::{Assembler, Frame},
    clock_rate,
    nack::Nack,
    patience,
    reorder::Reorder,
    sender_clock::SenderClock,
    statistics::Reception,
};
use crate::{
    Codec,
    rtp::{Extender, Packet},
};

/// A stream that was silent for this long is paused: nothing is missed.
const PAUSED: Duration = Duration::from_millis(1500);
/// Requests of the owner for key frames within this become one.
const REQUESTS: Duration = Duration::from_millis(300);

#[derive(Debug)]
enum Media {
    Audio(Reorder),
    Video(Assembler, Nack),
}

#[derive(Debug)]
pub(super) struct Stream {
    mid: String,
    extender: Extender,
    media: Media,
    reception: Reception,
    sender_clock: SenderClock,
    last_packet: Instant,
    wanted: bool,
    last_request: Option<Instant>,
    skipped: u64,
    frames: Vec<Frame>,
    audio: Vec<(u64, Packet, Instant)>,
}

impl Stream {
    pub(super) fn new(codec: Codec, mid: &str, now: Instant) -> Self {
        let media = match codec {
            Codec::Opus => Media::Audio(Reorder::default()),
            _ => Media::Video(Assembler::new(now), Nack::default()),
        };
        Self {
            mid: mid.to_owned(),
            extender: Extender::default(),
            media,
            reception: Reception::new(clock_rate(codec), now),
            sender_clock: SenderClock::new(clock_rate(codec)),
            last_packet: now,
            wanted: false,
            last_request: None,
            skipped: 0,
            frames: Vec::new(),
            audio: Vec::new(),
        }
    }

    pub(super) fn mid(&self) -> &str {
        &self.mid
    }

    pub(super) fn last_packet(&self) -> Instant {
        self.last_packet
    }

    /// Whether a repair of this packet is of use.
    pub(super) fn is_missing(&self, sequence: u16) -> bool {
        let sequence = self.extender.peek(sequence);
        matches!(&self.media, Media::Video(_, nack) if nack.is_missing(sequence))
    }

    pub(super) fn handle(&mut self, now: Instant, packet: Packet, codec: Codec, repair: bool) {
        let sequence = self.extender.extend(packet.sequence);
        if !repair {
            self.last_packet = now;
            self.reception.received(sequence, packet.timestamp, now);
        }
        match &mut self.media {
            Media::Audio(reorder) => reorder.insert(sequence, packet, now, &mut self.audio),
            Media::Video(assembler, nack) => {
                nack.received(sequence, now);
                assembler.insert(sequence, packet, codec, now, &mut self.frames);
                if let Some(next) = assembler.next() {
                    nack.forget_before(next);
                }
            }
        }
    }

    /// A sender report: the RTP timestamp `rtp` is `ntp` by the publisher's wall clock.
    pub(super) fn sender_report(&mut self, rtp: u32, ntp: u64, now: Instant) {
        self.reception.sender_report(ntp, now);
        self.sender_clock.report(rtp, ntp);
    }

    /// See [`SenderClock::captured`].
    pub(super) fn captured(&self, rtp: u32) -> Option<Duration> {
        self.sender_clock.captured(rtp)
    }

    pub(super) fn request_key_frame(&mut self) {
        self.wanted = true;
    }

    /// Adds what this stream has to ask for; returns how many key frames were asked for.
    pub(super) fn poll_rtcp(
        &mut self,
        now: Instant,
        our_ssrc: u32,
        ssrc: u32,
        round_trip: Duration,
        out: &mut Vec<Box<dyn ControlPacket>>,
    ) -> u64 {
        let Media::Video(assembler, nack) = &mut self.media else { return 0 };
        let missing = nack.due(now, round_trip);
        if !missing.is_empty() {
            out.push(Box::new(TransportLayerNack {
                sender_ssrc: our_ssrc,
                media_ssrc: ssrc,
                nacks: nack_pairs_from_sequence_numbers(&missing),
            }));
        }
        let active = now.duration_since(self.last_packet) < PAUSED;
        let own = active && assembler.wants_key_frame(now, patience(round_trip));
        let may = self.last_request.is_none_or(|at| now.duration_since(at) >= REQUESTS);
        if own || (self.wanted && may) {
            self.wanted = false;
            self.last_request = Some(now);
            out.push(Box::new(PictureLossIndication { sender_ssrc: our_ssrc, media_ssrc: ssrc }));
            return 1;
        }
        0
    }

    pub(super) fn report(&mut self, ssrc: u32, now: Instant) -> Option<(ReceptionReport, u64, u64)> {
        self.reception.report(ssrc, now)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.media {
            Media::Audio(reorder) => reorder.release(now, &mut self.audio),
            Media::Video(assembler, nack) => {
                assembler.handle_timeout(now, &mut self.frames);
                if let Some(next) = assembler.next() {
                    nack.forget_before(next);
                }
            }
        }
    }

    pub(super) fn poll_timeout(&self, now: Instant, round_trip: Duration) -> Option<Instant> {
        match &self.media {
            Media::Audio(reorder) => reorder.poll_timeout(),
            Media::Video(assembler, nack) => {
                let active = now.duration_since(self.last_packet) < PAUSED;
                let assembler = assembler.poll_timeout(patience(round_trip)).filter(|_| active);
                let wanted = self.wanted.then(|| self.last_request.map_or(now, |at| at + REQUESTS));
                [assembler, nack.poll_timeout(), wanted].into_iter().flatten().min()
            }
        }
    }

    pub(super) fn take_frames(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }

    pub(super) fn take_audio(&mut self) -> Vec<(u64, Packet, Instant)> {
        std::mem::take(&mut self.audio)
    }

    /// Frames given up since the last call.
    pub(super) fn take_skipped(&mut self) -> u64 {
        let Media::Video(assembler, _) = &self.media else { return 0 };
        let new = assembler.skipped() - self.skipped;
        self.skipped = assembler.skipped();
        new
    }
}
