//! Which of a camera's formats is taken.
//!
//! The rule, from the first difference that decides:
//! 1. H.264 of the camera's own is taken only when it was asked for, as it cannot be scaled into layers.
//! 2. A format that reaches nine tenths of the wanted rate before one that does not.
//! 3. The size whose number of pixels is closest to the wanted one; of two as close, the larger.
//! 4. The layout that was asked for; else what costs the least to use: planar 4:2:0, then YUYV, then MJPEG, which must be decoded.
//! 5. The rate closest to the wanted one, the higher of two as close.

use std::cmp::Reverse;

use rostrum_hal::{
    FrameSize, PixelFormat,
    camera::{CameraFormat, StreamFormat},
};

/// A camera that reaches this part of the wanted rate is fast enough.
const FAST_ENOUGH: f64 = 0.9;

/// The best of `offers` for `wanted`.
pub(super) fn choose(offers: &[CameraFormat], wanted: StreamFormat) -> Option<StreamFormat> {
    let asked_for_h264 = wanted.pixel_format == PixelFormat::H264;
    let usable = |offer: &&CameraFormat| (offer.pixel_format == PixelFormat::H264) == asked_for_h264;
    let best = offers.iter().filter(usable).min_by_key(|offer| {
        let fast = offer.frame_rates_hz.iter().any(|rate| *rate >= wanted.frame_rate_hz * FAST_ENOUGH);
        let off = pixels(offer.size).abs_diff(pixels(wanted.size));
        let other = offer.pixel_format != wanted.pixel_format;
        (!fast, off, Reverse(pixels(offer.size)), other, cost(offer.pixel_format))
    })?;
    let distance = |rate: f64| (rate - wanted.frame_rate_hz).abs();
    let rates = best.frame_rates_hz.iter().copied();
    let nearest = rates.min_by(|a, b| distance(*a).total_cmp(&distance(*b)).then(b.total_cmp(a)));
    Some(StreamFormat {
        pixel_format: best.pixel_format,
        size: best.size,
        frame_rate_hz: nearest.unwrap_or(wanted.frame_rate_hz),
    })
}

fn pixels(size: FrameSize) -> u64 {
    u64::from(size.width) * u64::from(size.height)
}

fn cost(format: PixelFormat) -> u8 {
    match format {
        PixelFormat::Yuv420 | PixelFormat::Nv12 | PixelFormat::H264 => 0,
        PixelFormat::Yuyv => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn offer(pixel_format: PixelFormat, width: u32, height: u32, rates: &[f64]) -> CameraFormat {
        CameraFormat { pixel_format, size: FrameSize::new(width, height), frame_rates_hz: rates.to_vec() }
    }

    fn wanted(width: u32, height: u32) -> StreamFormat {
        let size = FrameSize::new(width, height);
        StreamFormat { pixel_format: PixelFormat::Yuv420, size, frame_rate_hz: 30.0 }
    }

    /// What a USB 2 camera offers: raw pictures are slow where they are large.
    fn usual() -> Vec<CameraFormat> {
        vec![
            offer(PixelFormat::Yuyv, 640, 360, &[30.0, 15.0]),
            offer(PixelFormat::Yuyv, 1280, 720, &[10.0, 5.0]),
            offer(PixelFormat::Mjpeg, 640, 360, &[30.0]),
            offer(PixelFormat::Mjpeg, 1280, 720, &[60.0, 30.0, 24.0]),
            offer(PixelFormat::H264, 1280, 720, &[30.0]),
        ]
    }

    #[test]
    fn a_size_that_is_slow_as_raw_pictures_is_taken_as_mjpeg() {
        let chosen = choose(&usual(), wanted(1280, 720)).unwrap();
        assert_eq!(
            (chosen.pixel_format, chosen.size, chosen.frame_rate_hz),
            (PixelFormat::Mjpeg, FrameSize::new(1280, 720), 30.0)
        );
    }

    #[test]
    fn a_size_that_is_fast_as_raw_pictures_is_not_decoded() {
        let chosen = choose(&usual(), wanted(640, 360)).unwrap();
        assert_eq!(chosen.pixel_format, PixelFormat::Yuyv);
        let planar = [usual(), vec![offer(PixelFormat::Nv12, 640, 360, &[30.0])]].concat();
        assert_eq!(choose(&planar, wanted(640, 360)).unwrap().pixel_format, PixelFormat::Nv12);
    }

    #[test]
    fn h264_of_the_camera_is_taken_only_when_asked_for() {
        let wanted = StreamFormat { pixel_format: PixelFormat::H264, ..wanted(640, 360) };
        assert_eq!(choose(&usual(), wanted).unwrap().size, FrameSize::new(1280, 720));
        let only = [offer(PixelFormat::H264, 640, 360, &[30.0])];
        assert_eq!(choose(&only, self::wanted(640, 360)), None);
    }

    #[test]
    fn the_closest_size_is_taken_and_the_larger_of_two_as_close() {
        let offers = [100, 300].map(|width| offer(PixelFormat::Yuyv, width, 100, &[30.0]));
        assert_eq!(choose(&offers, wanted(200, 100)).unwrap().size.width, 300);
        assert_eq!(choose(&offers, wanted(190, 100)).unwrap().size.width, 100);
    }

    #[test]
    fn nothing_is_chosen_of_nothing() {
        assert_eq!(choose(&[], wanted(640, 360)), None);
    }

    proptest! {
        #[test]
        fn what_is_chosen_was_offered(
            offers in prop::collection::vec(
                (0..5_usize, 1..4000_u32, 1..4000_u32, prop::collection::vec(0.1..240.0_f64, 0..5)), 0..20),
            width in 1..4000_u32, rate in 1.0..120.0_f64,
        ) {
            use PixelFormat::{H264, Mjpeg, Nv12, Yuv420, Yuyv};
            let formats = [Yuv420, Nv12, Yuyv, Mjpeg, H264];
            let offers: Vec<_> =
                offers.into_iter().map(|(format, w, h, rates)| offer(formats[format], w, h, &rates)).collect();
            let wanted = StreamFormat { frame_rate_hz: rate, ..wanted(width, 720) };
            if let Some(chosen) = choose(&offers, wanted) {
                let offered = offers.iter().any(|offer| {
                    let rates = &offer.frame_rates_hz;
                    (offer.pixel_format, offer.size) == (chosen.pixel_format, chosen.size)
                        && (rates.is_empty() || rates.contains(&chosen.frame_rate_hz))
                });
                prop_assert!(offered, "{:?}", chosen);
            } else {
                let all_h264 = offers.iter().all(|offer| offer.pixel_format == H264);
                prop_assert!(all_h264);
            }
        }
    }
}
