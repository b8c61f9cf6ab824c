//! What the camera can send, and how host and camera agree on it: the probe and commit controls of the
//! streaming interface (UVC 1.1 §4.3.1.1).

use clap::ValueEnum;
use rostrum_hal::FrameSize;

/// Sizes of every format; a frame descriptor's index is its place here, from 1.
pub(crate) const SIZES: [FrameSize; 4] =
    [FrameSize::new(160, 90), FrameSize::new(320, 180), FrameSize::new(640, 360), FrameSize::new(1280, 720)];
/// Index of the frame descriptor that the camera proposes.
pub(crate) const DEFAULT_FRAME: u8 = 2;
/// Frame intervals of every size, in 100 ns: 30, 15 and 10 Hz.
pub(crate) const INTERVALS: [u32; 3] = [333_333, 666_666, 1_000_000];
/// Largest payload, with its header. `uvcvideo` makes URBs of up to 32 packets of 512 bytes, so one URB
/// takes one payload.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16_384;
/// Claimed clock of the camera; payloads carry no time, see [`crate::stream`].
pub(crate) const CLOCK_HZ: u32 = 6_000_000;
/// Bytes of the probe and commit controls of UVC 1.1.
pub(crate) const PROBE_BYTES: usize = 34;
/// A host that knows only UVC 1.0 sends so many of them.
const PROBE_BYTES_1_0: usize = 26;

/// How pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Coding {
    /// YUY2, uncompressed.
    Yuyv,
    /// A JPEG a frame.
    Mjpeg,
    /// Access units of H.264, as a frame based format.
    H264,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Index of the format descriptor, from 1.
    pub(crate) format: u8,
    /// Index of the frame descriptor, from 1.
    pub(crate) frame: u8,
    /// In 100 ns, one of [`INTERVALS`].
    pub(crate) interval: u32,
}

impl Settings {
    /// Size of the frame descriptor.
    pub(crate) fn size(self) -> FrameSize {
        SIZES[usize::from(self.frame.saturating_sub(1)).min(SIZES.len() - 1)]
    }
}

/// What the camera can send.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    codings: Vec<Coding>,
    largest_access_unit: usize,
}

impl Offer {
    /// `codings` in the order of their format descriptors; YUYV when it is empty.
    pub(crate) fn new(mut codings: Vec<Coding>, largest_access_unit: usize) -> Self {
        if codings.is_empty() {
            codings.push(Coding::Yuyv);
        }
        Self { codings, largest_access_unit }
    }

    /// Codings in the order of their format descriptors.
    pub(crate) fn codings(&self) -> &[Coding] {
        &self.codings
    }

    /// Coding of the format descriptor.
    pub(crate) fn coding(&self, settings: Settings) -> Coding {
        let index = usize::from(settings.format.saturating_sub(1));
        self.codings.get(index).copied().unwrap_or(Coding::Yuyv)
    }

    /// The most bytes that a frame can have; exactly so many have those of YUYV.
    pub(crate) fn max_frame_bytes(&self, coding: Coding, size: FrameSize) -> usize {
        // Two bytes a pixel are YUYV, and four times what a JPEG of this scene needs.
        let uncompressed = (size.width * size.height * 2) as usize;
        match coding {
            Coding::Yuyv | Coding::Mjpeg => uncompressed,
            Coding::H264 => uncompressed.max(self.largest_access_unit),
        }
    }

    /// What the camera proposes.
    pub(crate) fn default_settings(&self) -> Settings {
        Settings { format: 1, frame: DEFAULT_FRAME, interval: INTERVALS[0] }
    }

    /// The nearest to what the host proposes in a probe or commit; `None` when it is too short for one.
    pub(crate) fn settle(&self, proposal: &[u8]) -> Option<Settings> {
        let &[_, _, format, frame, i0, i1, i2, i3, ..] = proposal else { return None };
        if proposal.len() < PROBE_BYTES_1_0 {
            return None;
        }
        let default = self.default_settings();
        let known = |index: u8, count: usize| (1..=count).contains(&usize::from(index));
        let wanted = u32::from_le_bytes([i0, i1, i2, i3]);
        let nearest = INTERVALS.into_iter().min_by_key(|interval| interval.abs_diff(wanted));
        Some(Settings {
            format: if known(format, self.codings.len()) { format } else { default.format },
            frame: if known(frame, SIZES.len()) { frame } else { default.frame },
            interval: nearest.unwrap_or(default.interval),
        })
    }

    /// Probe or commit control with these settings.
    pub(crate) fn probe(&self, settings: Settings) -> Vec<u8> {
        let frame_bytes = self.max_frame_bytes(self.coding(settings), settings.size());
        let wire = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let mut probe = Vec::with_capacity(PROBE_BYTES);
        probe.extend([1, 0]); // bmHint: the interval is to be kept
        probe.extend([settings.format, settings.frame]);
        probe.extend(settings.interval.to_le_bytes());
        probe.extend([0; 10]); // key frame rate, P frame rate, quality, window size, delay: fixed
        probe.extend(wire(frame_bytes));
        probe.extend(wire(MAX_PAYLOAD_BYTES));
        probe.extend(CLOCK_HZ.to_le_bytes());
        probe.push(3); // bmFramingInfo: payloads have the FID and EOF bits
        probe.extend([0; 3]); // versions of the payload format: there is one
        probe
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::noise::Noise;

    fn offer() -> Offer {
        Offer::new(vec![Coding::Yuyv, Coding::Mjpeg, Coding::H264], 5_000_000)
    }

    #[test]
    fn what_was_settled_is_settled_again_the_same() {
        let offer = offer();
        for format in 1..=3 {
            for frame in 1..=4 {
                for interval in INTERVALS {
                    let settings = Settings { format, frame, interval };
                    let probe = offer.probe(settings);
                    assert_eq!(probe.len(), PROBE_BYTES);
                    assert_eq!(offer.settle(&probe), Some(settings));
                }
            }
        }
    }

    #[test]
    fn any_proposal_is_settled_to_what_there_is() {
        let offer = offer();
        let mut noise = Noise::new(2);
        for _ in 0..5_000 {
            let length = noise.below(60);
            let Some(settings) = offer.settle(&noise.bytes(length)) else {
                assert!(length < PROBE_BYTES_1_0);
                continue;
            };
            assert!((1..=3).contains(&settings.format) && (1..=4).contains(&settings.frame));
            assert!(INTERVALS.contains(&settings.interval));
        }
    }

    #[test]
    fn frames_of_h264_have_room_for_the_largest_access_unit() {
        assert_eq!(offer().max_frame_bytes(Coding::H264, SIZES[0]), 5_000_000);
        assert_eq!(offer().max_frame_bytes(Coding::Yuyv, SIZES[0]), 160 * 90 * 2);
    }
}
