//! A camera and a microphone: packets of pre-encoded media, due at their times.

use std::{
    cell::Cell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use str0m::{
    Rtc,
    media::{KeyframeRequest, Mid, Pt, Rid},
    rtp::{ExtensionValues, RtpWrite},
};

use super::{
    clip::{Clip, sound},
    stamp::{SOUND, STREAMS, Stamp, now_us, us},
};

/// Pictures and packets of sound a second, before the load is scaled.
const PICTURE_INTERVAL: Duration = Duration::from_micros(33_333);
const SOUND_INTERVAL: Duration = Duration::from_millis(20);
/// The time over which the packets of one picture (of all layers) are spread, as a pacer does.
const SPREAD: Duration = Duration::from_millis(20);
/// At least so many packets go out at once.
const BURST: usize = 2;
/// How long one participant speaks before the next does.
const TURN_S: u64 = 3;

/// How many packets of each stream were sent.
pub(crate) type Sent = Rc<[Cell<u32>; STREAMS]>;

/// Sends the tracks of one participant.
pub(crate) struct Publisher {
    index: u8,
    clip: Rc<Clip>,
    scale: f64,
    video: (Mid, Pt),
    audio: (Mid, Pt),
    started: Instant,
    sent: Sent,
    /// The next picture of each layer.
    frames: [usize; 3],
    next_picture: Instant,
    next_sound: Instant,
    queue: VecDeque<Queued>,
}

/// A packet of a picture on its way out.
struct Queued {
    at: Instant,
    /// When the picture was due as a whole.
    picture: Instant,
    layer: usize,
    frame: usize,
    payload: usize,
}

impl Publisher {
    /// Starts to send now; publishers do not send at the same moments.
    pub(crate) fn new(
        index: u8,
        clip: Rc<Clip>,
        scale: f64,
        (audio, video): ((Mid, Pt), (Mid, Pt)),
        sent: Sent,
    ) -> Self {
        let now = Instant::now();
        let phase = PICTURE_INTERVAL.mul_f64(f64::from(index) * 0.618 % 1.0);
        Self {
            index,
            clip,
            scale,
            video,
            audio,
            started: now,
            sent,
            frames: [0; 3],
            next_picture: now + phase,
            next_sound: now + phase,
            queue: VecDeque::new(),
        }
    }

    /// When [`Publisher::send`] has something to send.
    pub(crate) fn due(&self) -> Instant {
        let queued = self.queue.front().map_or(self.next_picture, |packet| packet.at);
        queued.min(self.next_picture).min(self.next_sound)
    }

    /// Somebody has lost the picture: the layer starts again with a key frame.
    pub(crate) fn key_frame(&mut self, request: &KeyframeRequest) {
        for (layer, frame) in self.frames.iter_mut().enumerate() {
            let rid = Rid::from(self.clip.layers[layer].rid);
            if request.mid == self.video.0 && request.rid.is_none_or(|asked| asked == rid) {
                *frame = 0;
            }
        }
    }

    /// Hands over what is due. The connection has to be told that time passed afterwards.
    pub(crate) fn send(&mut self, now: Instant, rtc: &mut Rtc) {
        while self.next_picture <= now {
            self.queue_picture(self.next_picture);
            self.next_picture += PICTURE_INTERVAL.div_f64(self.scale);
        }
        while self.queue.front().is_some_and(|packet| packet.at <= now) {
            if let Some(packet) = self.queue.pop_front() {
                self.send_picture_packet(now, rtc, &packet);
            }
        }
        while self.next_sound <= now {
            self.send_sound(now, rtc);
            self.next_sound += SOUND_INTERVAL.div_f64(self.scale);
        }
    }

    fn queue_picture(&mut self, picture: Instant) {
        let first = self.queue.len();
        for (layer, frame) in self.frames.iter_mut().enumerate() {
            let frames = &self.clip.layers[layer].frames;
            let payloads = 0..frames[*frame].len();
            self.queue.extend(payloads.map(|payload| Queued {
                at: picture,
                picture,
                layer,
                frame: *frame,
                payload,
            }));
            *frame = (*frame + 1) % frames.len();
        }
        let count = self.queue.len() - first;
        let steps = SPREAD.as_millis() as usize;
        let burst = count.div_ceil(steps).max(BURST);
        for (place, packet) in self.queue.range_mut(first..).enumerate() {
            packet.at += Duration::from_millis((place / burst) as u64);
        }
    }

    fn send_picture_packet(&mut self, now: Instant, rtc: &mut Rtc, packet: &Queued) {
        let layer = &self.clip.layers[packet.layer];
        let payloads = &layer.frames[packet.frame];
        let (payload, last) = (payloads[packet.payload].clone(), packet.payload + 1 == payloads.len());
        let timestamp = self.timestamp(packet.picture, 90_000);
        let rid = Some(Rid::from(layer.rid));
        let stamped = Stamped { stream: packet.layer as u8, payload, timestamp, marker: last };
        self.write(now, rtc, self.video, rid, ExtensionValues::default(), stamped);
    }

    fn send_sound(&mut self, now: Instant, rtc: &mut Rtc) {
        let number = self.sent[usize::from(SOUND)].get();
        let speaking = us(now) / 1_000_000 / TURN_S % 4 == u64::from(self.index % 4);
        let extensions = ExtensionValues {
            audio_level: Some(if speaking { -20 } else { -70 }),
            voice_activity: Some(speaking),
            ..Default::default()
        };
        let timestamp = self.timestamp(self.next_sound, 48_000);
        let stamped = Stamped { stream: SOUND, payload: sound(number), timestamp, marker: false };
        self.write(now, rtc, self.audio, None, extensions, stamped);
    }

    fn timestamp(&self, at: Instant, rate: u32) -> u32 {
        (at.saturating_duration_since(self.started).as_secs_f64() * f64::from(rate)).round() as u64 as u32
    }

    fn write(
        &self,
        now: Instant,
        rtc: &mut Rtc,
        (mid, pt): (Mid, Pt),
        rid: Option<Rid>,
        extensions: ExtensionValues,
        stamped: Stamped,
    ) {
        let Stamped { stream, mut payload, timestamp, marker } = stamped;
        let counter = &self.sent[usize::from(stream)];
        let number = counter.get();
        let mut api = rtc.direct_api();
        let Some(out) = api.stream_tx_by_mid(mid, rid) else { return };
        counter.set(number + 1);
        Stamp { publisher: self.index, stream, number, sent_us: now_us() }.append(&mut payload);
        let sequence = u64::from(number).into();
        let packet = RtpWrite::new(pt, sequence, timestamp, now, payload)
            .marker(marker)
            .ext_vals(extensions)
            .nackable(stream != SOUND);
        out.write_rtp(packet);
    }
}

struct Stamped {
    stream: u8,
    payload: Vec<u8>,
    timestamp: u32,
    marker: bool,
}
