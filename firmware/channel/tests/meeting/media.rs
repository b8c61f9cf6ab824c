//! Made-up H.264 and Opus whose packets say what they are.

use std::time::{Duration, Instant};

use str0m::media::Rid;

/// The layers of a camera, lowest first: RID, size, and bits a second at 30 frames.
pub(crate) const LAYERS: [(&str, (u32, u32), usize); 3] =
    [("q", (320, 180), 150_000), ("h", (640, 360), 500_000), ("f", (1280, 720), 1_700_000)];
pub(crate) const FRAME: Duration = Duration::from_micros(33_333);
pub(crate) const SOUND: Duration = Duration::from_millis(20);
const PACKET: usize = 1100;
/// A key frame has so many times the bytes of another.
const KEY: usize = 5;
const STAMP: usize = 16;

/// What a packet is: written into the end of its payload, where the service does not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: u8,
    /// 0 to 2, or 9 for sound.
    pub(crate) layer: u8,
    pub(crate) key: bool,
    pub(crate) last: bool,
    pub(crate) frame: u32,
    /// Since the beginning of the world.
    pub(crate) sent_us: u64,
}

impl Stamp {
    fn write(self, payload: &mut Vec<u8>, len: usize) {
        payload.resize(len.max(payload.len() + STAMP) - STAMP, 0);
        payload.extend([self.publisher, self.layer, self.key.into(), self.last.into()]);
        payload.extend(self.frame.to_be_bytes());
        payload.extend(self.sent_us.to_be_bytes());
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let at = payload.last_chunk::<STAMP>()?;
        Some(Self {
            publisher: at[0],
            layer: at[1],
            key: at[2] == 1,
            last: at[3] == 1,
            frame: u32::from_be_bytes(at[4..8].try_into().ok()?),
            sent_us: u64::from_be_bytes(at[8..].try_into().ok()?),
        })
    }
}

/// A packet to send.
pub(crate) struct Packet {
    pub(crate) rid: Option<Rid>,
    pub(crate) number: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
}

/// A camera with three layers and a microphone.
pub(crate) struct Source {
    publisher: u8,
    began: Instant,
    next_frame: Instant,
    next_sound: Instant,
    frames: u32,
    sounds: u32,
    numbers: [u64; 4],
    pub(crate) key_wanted: [bool; 3],
    /// Which layers are sent.
    pub(crate) enabled: [bool; 3],
    pub(crate) key_frames: [u32; 3],
}

impl Source {
    pub(crate) fn new(publisher: u8, now: Instant) -> Self {
        Self {
            publisher,
            began: now,
            next_frame: now,
            next_sound: now,
            frames: 0,
            sounds: 0,
            // Sequence numbers that wrap soon.
            numbers: [65_000, 100, 30_000, 5],
            key_wanted: [true; 3],
            enabled: [true; 3],
            key_frames: [0; 3],
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.next_frame.min(self.next_sound)
    }

    /// The packets of a frame of every layer, or of a piece of sound, that are due.
    pub(crate) fn take(&mut self, now: Instant, world_began: Instant) -> (Vec<Packet>, Vec<Packet>) {
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        let sent_us = (now - world_began).as_micros() as u64;
        if now >= self.next_frame {
            self.next_frame += FRAME;
            let timestamp = ((now - self.began).as_secs_f64() * 90_000.0) as u32;
            for (layer, (rid, _, bps)) in LAYERS.into_iter().enumerate() {
                if !self.enabled[layer] {
                    continue;
                }
                let key = std::mem::take(&mut self.key_wanted[layer]);
                self.key_frames[layer] += u32::from(key);
                let bytes = bps / 30 / 8 * if key { KEY } else { 1 };
                let packets = bytes.div_ceil(PACKET);
                for packet in 0..packets {
                    // A key frame begins with its parameter sets.
                    let mut payload = vec![if key && packet == 0 { 0x67 } else { 0x41 }];
                    let last = packet + 1 == packets;
                    let stamp = Stamp {
                        publisher: self.publisher,
                        layer: layer as u8,
                        key,
                        last,
                        frame: self.frames,
                        sent_us,
                    };
                    stamp.write(&mut payload, (bytes / packets).max(40));
                    let number = self.numbers[layer];
                    self.numbers[layer] += 1;
                    let rid = Some(Rid::from(rid));
                    video.push(Packet { rid, number, timestamp, marker: last, payload });
                }
            }
            self.frames += 1;
        }
        if now >= self.next_sound {
            self.next_sound += SOUND;
            let mut payload = vec![0x78];
            let stamp = Stamp {
                publisher: self.publisher,
                layer: 9,
                key: false,
                last: true,
                frame: self.sounds,
                sent_us,
            };
            stamp.write(&mut payload, 80);
            let (number, timestamp) = (self.numbers[3], self.sounds * 960);
            self.numbers[3] += 1;
            self.sounds += 1;
            audio.push(Packet { rid: None, number, timestamp, marker: false, payload });
        }
        (video, audio)
    }
}
